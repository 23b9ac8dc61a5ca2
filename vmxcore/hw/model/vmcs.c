/* SPDX-License-Identifier: MIT */
/* VMCS data inside the processor: which are active here, and which fields exist. */
#include "hw/model/processor.h"

#include <stdlib.h>

/* Fields of features that this processor does not have: VMREAD and VMWRITE fail on them. */
static const bool unsupported[VMCS_FIELD_COUNT] = {
	[VMCS_IX_POSTED_INTERRUPT_VECTOR] = true,
	[VMCS_IX_EPTP_INDEX] = true,
	[VMCS_IX_HLAT_PREFIX_SIZE] = true,
	[VMCS_IX_LAST_PID_POINTER_INDEX] = true,
	[VMCS_IX_VIRTUAL_TIMER_VECTOR] = true,
	[VMCS_IX_GUEST_INTERRUPT_STATUS] = true,
	[VMCS_IX_PML_INDEX] = true,
	[VMCS_IX_GUEST_UINV] = true,
	[VMCS_IX_PML_ADDRESS] = true,
	[VMCS_IX_VIRTUAL_APIC_ADDRESS] = true,
	[VMCS_IX_APIC_ACCESS_ADDRESS] = true,
	[VMCS_IX_POSTED_INTERRUPT_DESCRIPTOR] = true,
	[VMCS_IX_VM_FUNCTION_CONTROLS] = true,
	[VMCS_IX_EOI_EXIT_BITMAP_0] = true,
	[VMCS_IX_EOI_EXIT_BITMAP_1] = true,
	[VMCS_IX_EOI_EXIT_BITMAP_2] = true,
	[VMCS_IX_EOI_EXIT_BITMAP_3] = true,
	[VMCS_IX_EPTP_LIST_ADDRESS] = true,
	[VMCS_IX_VMREAD_BITMAP] = true,
	[VMCS_IX_VMWRITE_BITMAP] = true,
	[VMCS_IX_VE_INFORMATION_ADDRESS] = true,
	[VMCS_IX_XSS_EXITING_BITMAP] = true,
	[VMCS_IX_ENCLS_EXITING_BITMAP] = true,
	[VMCS_IX_SPP_TABLE_POINTER] = true,
	[VMCS_IX_TSC_MULTIPLIER] = true,
	[VMCS_IX_PROC_CONTROLS_3] = true,
	[VMCS_IX_ENCLV_EXITING_BITMAP] = true,
	[VMCS_IX_LOW_PASID_DIRECTORY] = true,
	[VMCS_IX_HIGH_PASID_DIRECTORY] = true,
	[VMCS_IX_SHARED_EPT_POINTER] = true,
	[VMCS_IX_PCONFIG_EXITING_BITMAP] = true,
	[VMCS_IX_HLAT_POINTER] = true,
	[VMCS_IX_PID_POINTER_TABLE] = true,
	[VMCS_IX_EXIT_CONTROLS_2] = true,
	[VMCS_IX_SPEC_CTRL_MASK] = true,
	[VMCS_IX_SPEC_CTRL_SHADOW] = true,
	[VMCS_IX_GUEST_DEADLINE_SHADOW] = true,
	[VMCS_IX_INJECTED_EVENT_DATA] = true,
	[VMCS_IX_MSR_DATA] = true,
	[VMCS_IX_ORIGINAL_EVENT_DATA] = true,
	[VMCS_IX_GUEST_PERF_GLOBAL_CTRL] = true,
	[VMCS_IX_GUEST_BNDCFGS] = true,
	[VMCS_IX_GUEST_RTIT_CTL] = true,
	[VMCS_IX_GUEST_LBR_CTL] = true,
	[VMCS_IX_GUEST_PKRS] = true,
	[VMCS_IX_GUEST_FRED_CONFIG] = true,
	[VMCS_IX_GUEST_FRED_RSP1] = true,
	[VMCS_IX_GUEST_FRED_RSP2] = true,
	[VMCS_IX_GUEST_FRED_RSP3] = true,
	[VMCS_IX_GUEST_FRED_STKLVLS] = true,
	[VMCS_IX_GUEST_FRED_SSP1] = true,
	[VMCS_IX_GUEST_FRED_SSP2] = true,
	[VMCS_IX_GUEST_FRED_SSP3] = true,
	[VMCS_IX_GUEST_SPEC_CTRL] = true,
	[VMCS_IX_GUEST_DEADLINE] = true,
	[VMCS_IX_HOST_PERF_GLOBAL_CTRL] = true,
	[VMCS_IX_HOST_PKRS] = true,
	[VMCS_IX_HOST_FRED_CONFIG] = true,
	[VMCS_IX_HOST_FRED_RSP1] = true,
	[VMCS_IX_HOST_FRED_RSP2] = true,
	[VMCS_IX_HOST_FRED_RSP3] = true,
	[VMCS_IX_HOST_FRED_STKLVLS] = true,
	[VMCS_IX_HOST_FRED_SSP1] = true,
	[VMCS_IX_HOST_FRED_SSP2] = true,
	[VMCS_IX_HOST_FRED_SSP3] = true,
	[VMCS_IX_HOST_SPEC_CTRL] = true,
	[VMCS_IX_TPR_THRESHOLD] = true,
	[VMCS_IX_PLE_GAP] = true,
	[VMCS_IX_PLE_WINDOW] = true,
	[VMCS_IX_INSTRUCTION_TIMEOUT] = true,
	[VMCS_IX_GUEST_S_CET] = true,
	[VMCS_IX_GUEST_SSP] = true,
	[VMCS_IX_GUEST_INTERRUPT_SSP_TABLE] = true,
	[VMCS_IX_HOST_S_CET] = true,
	[VMCS_IX_HOST_SSP] = true,
	[VMCS_IX_HOST_INTERRUPT_SSP_TABLE] = true,
};

bool vmcs_field_supported(unsigned index)
{
	return !unsupported[index];
}

unsigned vmcs_highest_index(void)
{
	unsigned highest = 0;

	for (unsigned i = 0; i < VMCS_FIELD_COUNT; i++) {
		unsigned index = vmcs_field_info[i].encoding >> 1 & 0x1ff;

		if (vmcs_field_supported(i) && index > highest)
			highest = index;
	}
	return highest;
}

const struct segment_fields segment_fields[X86_SEG_COUNT] = {
#define SEGMENT(NAME)                                                                 \
	[X86_##NAME] = {VMCS_IX_GUEST_##NAME##_SELECTOR, VMCS_IX_GUEST_##NAME##_BASE, \
			VMCS_IX_GUEST_##NAME##_LIMIT, VMCS_IX_GUEST_##NAME##_AR}
	SEGMENT(ES), SEGMENT(CS), SEGMENT(SS),	 SEGMENT(DS),
	SEGMENT(FS), SEGMENT(GS), SEGMENT(LDTR), SEGMENT(TR),
#undef SEGMENT
};

/* --- active VMCSs ----------------------------------------------------------------- */

static uint32_t home(const struct vmcs_table *t, uint64_t addr)
{
	return (uint32_t)((addr >> 12) * 0x9e3779b1u) & (t->size - 1);
}

struct vmcs_data *vmcs_table_find(const struct vmcs_table *t, uint64_t addr)
{
	if (t->size == 0)
		return NULL;
	for (uint32_t i = home(t, addr); t->slot[i]; i = (i + 1) & (t->size - 1)) {
		if (t->slot[i]->hpa == addr)
			return t->slot[i];
	}
	return NULL;
}

static void place(struct vmcs_table *t, struct vmcs_data *v)
{
	uint32_t i = home(t, v->hpa);

	while (t->slot[i])
		i = (i + 1) & (t->size - 1);
	t->slot[i] = v;
}

static int grow(struct vmcs_table *t)
{
	struct vmcs_table next = {.size = t->size ? 2 * t->size : 64, .count = t->count};

	next.slot = calloc(next.size, sizeof(struct vmcs_data *));
	if (!next.slot)
		return -ENOMEM;
	for (uint32_t i = 0; i < t->size; i++) {
		if (t->slot[i])
			place(&next, t->slot[i]);
	}
	free(t->slot);
	*t = next;
	return 0;
}

int vmcs_table_add(struct vmcs_table *t, struct vmcs_data *v)
{
	if (2 * (t->count + 1) > t->size && grow(t) != 0)
		return -ENOMEM;
	place(t, v);
	t->count++;
	return 0;
}

void vmcs_table_remove(struct vmcs_table *t, struct vmcs_data *v)
{
	uint32_t mask = t->size - 1, hole = home(t, v->hpa), i;

	while (t->slot[hole] != v)
		hole = (hole + 1) & mask;
	/* Whoever probed past the hole moves up. */
	for (i = (hole + 1) & mask; t->slot[i]; i = (i + 1) & mask) {
		uint32_t from = home(t, t->slot[i]->hpa);

		if (((i - from) & mask) >= ((i - hole) & mask)) {
			t->slot[hole] = t->slot[i];
			hole = i;
		}
	}
	t->slot[hole] = NULL;
	t->count--;
}

void vmcs_table_fini(struct vmcs_table *t)
{
	for (uint32_t i = 0; i < t->size; i++)
		free(t->slot[i]);
	free(t->slot);
	*t = (struct vmcs_table){0};
}
