/* SPDX-License-Identifier: MIT */
/*
 * The VMX instructions but for VM entry ("VMX Instruction Reference").
 *
 * A VMCS region's format is the implementation's own. Here: revision identifier,
 * abort indicator, launch state, and each field in 8 bytes.
 */
#include "hw/model/processor.h"

#include <stdlib.h>

#define REGION_REVISION 0u
#define REGION_LAUNCH_STATE 8u /* 1: launched */
#define REGION_FIELDS 16u

_Static_assert(REGION_FIELDS + 8u * VMCS_FIELD_COUNT <= VMX_PAGE_SIZE, "a VMCS fits its region");

/* "Conventions": VMfail(number) is VMfailValid if there is a current VMCS. */
static enum hw_result vmfail(struct hw_cpu *cpu, unsigned number)
{
	if (!cpu->current)
		return HW_FAIL_INVALID;
	F(cpu, INSTRUCTION_ERROR) = number;
	return HW_FAIL_VALID;
}

static bool bad_region(const struct hw_cpu *cpu, uint64_t addr)
{
	return (addr & ~VMX_PAGE_MASK) || beyond_physical(cpu, addr);
}

enum hw_result hw_vmxon(struct hw_cpu *cpu, hpa_t region)
{
	const uint64_t cr4_fixed1 = caps_cr4_fixed1(cpu);
	const uint64_t needed = FEATURE_CONTROL_LOCKED | FEATURE_CONTROL_VMX;

	if (!(cpu->host.cr4 & CR4_VMXE))
		return HW_FAULT_UD;
	if (cpu->vmx_on)
		return vmfail(cpu, VMERR_VMXON_IN_ROOT);
	if ((cpu->host.cr0 & CAPS_CR0_FIXED0) != CAPS_CR0_FIXED0 ||
	    (cpu->host.cr0 & ~CAPS_CR0_FIXED1) || (cpu->host.cr4 & ~cr4_fixed1) ||
	    (cpu->feature_control & needed) != needed)
		return HW_FAULT_GP;
	if (bad_region(cpu, region.v) ||
	    mem_read32(cpu, region.v + REGION_REVISION) != MODEL_VMCS_REVISION)
		return HW_FAIL_INVALID;
	cpu->vmxon_region = region.v;
	cpu->current = NULL;
	cpu->vmx_on = true;
	cpu->vmx_epoch++;
	return HW_SUCCEED;
}

enum hw_result hw_vmxoff(struct hw_cpu *cpu)
{
	if (!cpu->vmx_on)
		return HW_FAULT_UD;
	cpu->vmx_on = false;
	cpu->current = NULL;
	return HW_SUCCEED;
}

/* --- regions ---------------------------------------------------------------------- */

static void write_back(struct hw_cpu *cpu, const struct vmcs_data *v)
{
	for (unsigned i = 0; i < VMCS_FIELD_COUNT; i++)
		mem_write64(cpu, v->hpa + REGION_FIELDS + 8 * i, v->field[i]);
}

enum hw_result hw_vmclear(struct hw_cpu *cpu, hpa_t vmcs)
{
	struct vmcs_data *v;

	if (!cpu->vmx_on)
		return HW_FAULT_UD;
	if (bad_region(cpu, vmcs.v))
		return vmfail(cpu, VMERR_VMCLEAR_ADDRESS);
	if (vmcs.v == cpu->vmxon_region)
		return vmfail(cpu, VMERR_VMCLEAR_VMXON_POINTER);
	v = vmcs_table_find(&cpu->vmcs, vmcs.v);
	if (v) {
		write_back(cpu, v);
		vmcs_table_remove(&cpu->vmcs, v);
		if (cpu->current == v)
			cpu->current = NULL;
		free(v);
	}
	mem_write64(cpu, vmcs.v + REGION_LAUNCH_STATE, 0);
	return HW_SUCCEED;
}

static void report_misuse(struct hw_cpu *cpu, uint64_t vmcs)
{
	struct model *m = cpu->model;

	for (unsigned i = 0; i < m->cpus; i++) {
		if (m->cpu[i] != cpu && vmcs_table_find(&m->cpu[i]->vmcs, vmcs) && m->misuse)
			m->misuse(m->ctx, MODEL_VMCS_ACTIVE_ON_TWO, cpu->id, hpa(vmcs));
	}
}

/*
 * Takes a VMCS in from memory. Real processors need no memory for this; here it can
 * run out, and a processor that can't hold the VMCS stops the machine.
 */
static struct vmcs_data *activate(struct hw_cpu *cpu, uint64_t vmcs)
{
	struct vmcs_data *v = calloc(1, sizeof(*v));

	report_misuse(cpu, vmcs);
	if (!v)
		abort();
	v->hpa = vmcs;
	v->launched = mem_read64(cpu, vmcs + REGION_LAUNCH_STATE) == 1;
	for (unsigned i = 0; i < VMCS_FIELD_COUNT; i++)
		v->field[i] = mem_read64(cpu, vmcs + REGION_FIELDS + 8 * i) &
			      vmcs_width_mask(vmcs_field_info[i].width);
	if (vmcs_table_add(&cpu->vmcs, v) != 0)
		abort();
	return v;
}

enum hw_result hw_vmptrld(struct hw_cpu *cpu, hpa_t vmcs)
{
	struct vmcs_data *v;

	if (!cpu->vmx_on)
		return HW_FAULT_UD;
	if (bad_region(cpu, vmcs.v))
		return vmfail(cpu, VMERR_VMPTRLD_ADDRESS);
	if (vmcs.v == cpu->vmxon_region)
		return vmfail(cpu, VMERR_VMPTRLD_VMXON_POINTER);
	if (mem_read32(cpu, vmcs.v + REGION_REVISION) != MODEL_VMCS_REVISION)
		return vmfail(cpu, VMERR_VMPTRLD_REVISION);
	v = vmcs_table_find(&cpu->vmcs, vmcs.v);
	cpu->current = v ? v : activate(cpu, vmcs.v);
	return HW_SUCCEED;
}

enum hw_result hw_vmptrst(struct hw_cpu *cpu, hpa_t *ret_vmcs)
{
	if (!cpu->vmx_on)
		return HW_FAULT_UD;
	*ret_vmcs = hpa(cpu->current ? cpu->current->hpa : UINT64_MAX);
	return HW_SUCCEED;
}

/* --- fields ----------------------------------------------------------------------- */

static int field_index(uint32_t field, bool *ret_high)
{
	int i = vmcs_field_index(field, ret_high);

	return i >= 0 && vmcs_field_supported((unsigned)i) ? i : -1;
}

enum hw_result hw_vmread(struct hw_cpu *cpu, uint32_t field, uint64_t *ret_value)
{
	bool high;
	int i;

	if (!cpu->vmx_on)
		return HW_FAULT_UD;
	if (!cpu->current)
		return HW_FAIL_INVALID;
	i = field_index(field, &high);
	if (i < 0)
		return vmfail(cpu, VMERR_UNSUPPORTED_FIELD);
	*ret_value = high ? cpu->current->field[i] >> 32 : cpu->current->field[i];
	return HW_SUCCEED;
}

enum hw_result hw_vmwrite(struct hw_cpu *cpu, uint32_t field, uint64_t value)
{
	uint64_t *at;
	bool high;
	int i;

	if (!cpu->vmx_on)
		return HW_FAULT_UD;
	if (!cpu->current)
		return HW_FAIL_INVALID;
	i = field_index(field, &high);
	if (i < 0)
		return vmfail(cpu, VMERR_UNSUPPORTED_FIELD);
	if (vmcs_field_info[i].type == VMCS_TYPE_READONLY)
		return vmfail(cpu, VMERR_READ_ONLY_FIELD);
	at = &cpu->current->field[i];
	if (high)
		*at = (*at & 0xffffffffu) | value << 32;
	else
		*at = value & vmcs_width_mask(vmcs_field_info[i].width);
	return HW_SUCCEED;
}

/* --- invalidation ----------------------------------------------------------------- */

enum hw_result hw_invept(struct hw_cpu *cpu, uint64_t type, const struct hw_invept_desc *desc)
{
	if (!cpu->vmx_on)
		return HW_FAULT_UD;
	if (type != HW_INVEPT_SINGLE && type != HW_INVEPT_ALL)
		return vmfail(cpu, VMERR_INVEPT_INVVPID_OPERAND);
	if (type == HW_INVEPT_SINGLE && !mmu_eptp_ok(cpu, desc->eptp))
		return vmfail(cpu, VMERR_INVEPT_INVVPID_OPERAND);
	tlb_drop_invept(cpu, type, desc->eptp);
	return HW_SUCCEED;
}

enum hw_result hw_invvpid(struct hw_cpu *cpu, uint64_t type, const struct hw_invvpid_desc *desc)
{
	if (!cpu->vmx_on)
		return HW_FAULT_UD;
	if (type > HW_INVVPID_SINGLE_KEEP_GLOBAL || desc->vpid >> 16)
		return vmfail(cpu, VMERR_INVEPT_INVVPID_OPERAND);
	if (type != HW_INVVPID_ALL && desc->vpid == 0)
		return vmfail(cpu, VMERR_INVEPT_INVVPID_OPERAND);
	if (type == HW_INVVPID_ADDRESS && !canonical(desc->linear))
		return vmfail(cpu, VMERR_INVEPT_INVVPID_OPERAND);
	tlb_drop_invvpid(cpu, type, (uint16_t)desc->vpid, desc->linear);
	return HW_SUCCEED;
}
