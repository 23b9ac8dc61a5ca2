/* SPDX-License-Identifier: MIT */
/* The checks of VM entry: the rows are in entry_checks.def, what they ask is here. */
#include "hw/model/processor.h"

#define CODE_DATA_SEGMENTS 6u /* ES CS SS DS FS GS, in the order of enum x86_seg_index */

/* --- controls --------------------------------------------------------------------- */

static bool controls_ok(const struct hw_cpu *cpu, uint32_t msr, uint64_t value)
{
	uint32_t must = caps_must_be_1(cpu, msr), may = caps_may_be_1(cpu, msr);

	return (value & must) == must && !(value & ~(uint64_t)may);
}

static bool page_ok(const struct hw_cpu *cpu, uint64_t addr)
{
	return !(addr & ~VMX_PAGE_MASK) && !beyond_physical(cpu, addr);
}

static bool msr_area_ok(const struct hw_cpu *cpu, uint64_t addr, uint64_t count)
{
	if (count == 0)
		return true;
	return !(addr & 15) && !beyond_physical(cpu, addr) &&
	       !beyond_physical(cpu, addr + count * sizeof(struct vmx_msr_entry) - 1);
}

static bool injects(const struct hw_cpu *cpu)
{
	return (F(cpu, ENTRY_INTR_INFO) & INTR_VALID) != 0;
}

static unsigned inject_type(const struct hw_cpu *cpu)
{
	return F(cpu, ENTRY_INTR_INFO) & INTR_TYPE_MASK;
}

static unsigned inject_vector(const struct hw_cpu *cpu)
{
	return F(cpu, ENTRY_INTR_INFO) & INTR_VECTOR_MASK;
}

static bool injects_type(const struct hw_cpu *cpu, unsigned type)
{
	return injects(cpu) && inject_type(cpu) == type;
}

static bool inject_type_ok(const struct hw_cpu *cpu)
{
	switch (inject_type(cpu)) {
	case INTR_TYPE_RESERVED:
		return false;
	case INTR_TYPE_NMI:
		return inject_vector(cpu) == VECTOR_NMI;
	case INTR_TYPE_HARD_EXCEPTION:
		return inject_vector(cpu) <= 31;
	case INTR_TYPE_OTHER:
		return false; /* a pending monitor trap: not offered */
	default:
		return true;
	}
}

static bool inject_has_error(const struct hw_cpu *cpu)
{
	return (F(cpu, ENTRY_INTR_INFO) & INTR_ERROR_CODE) != 0;
}

/* #CP has no error code here: the processor has no CET. */
static bool inject_wants_error(const struct hw_cpu *cpu)
{
	uint32_t with_error = VECTORS_WITH_ERROR_CODE & ~VMXDEF_BIT32(VECTOR_CP);

	if ((cpu->proc2 & PROC2_UNRESTRICTED) && !(F(cpu, GUEST_CR0) & CR0_PE))
		return false;
	return inject_type(cpu) == INTR_TYPE_HARD_EXCEPTION && inject_vector(cpu) <= 31 &&
	       (with_error >> inject_vector(cpu) & 1);
}

static bool inject_software(const struct hw_cpu *cpu)
{
	unsigned type = inject_type(cpu);

	return type == INTR_TYPE_SOFT_INT || type == INTR_TYPE_PRIV_SOFT_EXCEPTION ||
	       type == INTR_TYPE_SOFT_EXCEPTION;
}

/* --- host ------------------------------------------------------------------------- */

static bool host_efer_ok(const struct hw_cpu *cpu)
{
	uint64_t efer = F(cpu, HOST_EFER);
	uint64_t long_mode = cpu->exit_ctl & VMEXIT_HOST_64 ? EFER_LMA | EFER_LME : 0;

	return msr_efer_ok(cpu, efer) && (efer & (EFER_LMA | EFER_LME)) == long_mode;
}

static uint64_t host_selectors(const struct hw_cpu *cpu)
{
	return F(cpu, HOST_ES_SELECTOR) | F(cpu, HOST_CS_SELECTOR) | F(cpu, HOST_SS_SELECTOR) |
	       F(cpu, HOST_DS_SELECTOR) | F(cpu, HOST_FS_SELECTOR) | F(cpu, HOST_GS_SELECTOR) |
	       F(cpu, HOST_TR_SELECTOR);
}

/* --- guest registers -------------------------------------------------------------- */

static bool unrestricted(const struct hw_cpu *cpu)
{
	return (cpu->proc2 & PROC2_UNRESTRICTED) != 0;
}

static bool ia32e(const struct hw_cpu *cpu)
{
	return (cpu->entry_ctl & VMENTRY_IA32E_GUEST) != 0;
}

static bool v8086(const struct hw_cpu *cpu)
{
	return (F(cpu, GUEST_RFLAGS) & RFLAGS_VM) != 0;
}

static bool guest_cr0_ok(const struct hw_cpu *cpu)
{
	uint64_t fixed = CAPS_CR0_FIXED0 & ~(unrestricted(cpu) ? CR0_PE | CR0_PG : 0);

	return (F(cpu, GUEST_CR0) & fixed) == fixed && !(F(cpu, GUEST_CR0) & ~CAPS_CR0_FIXED1);
}

static bool guest_efer_ok(const struct hw_cpu *cpu)
{
	uint64_t efer = F(cpu, GUEST_EFER);
	bool lma = (efer & EFER_LMA) != 0, lme = (efer & EFER_LME) != 0;

	if (!msr_efer_ok(cpu, efer) || lma != ia32e(cpu))
		return false;
	return !(F(cpu, GUEST_CR0) & CR0_PG) || lma == lme;
}

/* --- guest segments --------------------------------------------------------------- */

static uint64_t ar_of(const struct hw_cpu *cpu, unsigned seg)
{
	return cpu->current->field[segment_fields[seg].ar];
}

static uint64_t selector_of(const struct hw_cpu *cpu, unsigned seg)
{
	return cpu->current->field[segment_fields[seg].selector];
}

static uint64_t base_of(const struct hw_cpu *cpu, unsigned seg)
{
	return cpu->current->field[segment_fields[seg].base];
}

static uint64_t limit_of(const struct hw_cpu *cpu, unsigned seg)
{
	return cpu->current->field[segment_fields[seg].limit];
}

static bool usable(const struct hw_cpu *cpu, unsigned seg)
{
	return !(ar_of(cpu, seg) & AR_UNUSABLE);
}

static unsigned type_of(const struct hw_cpu *cpu, unsigned seg)
{
	return ar_of(cpu, seg) & AR_TYPE_MASK;
}

static unsigned dpl_of(const struct hw_cpu *cpu, unsigned seg)
{
	return ar_of(cpu, seg) >> AR_DPL_SHIFT & AR_DPL_MASK;
}

static bool v8086_segments_ok(const struct hw_cpu *cpu)
{
	for (unsigned seg = 0; seg < CODE_DATA_SEGMENTS; seg++) {
		if (base_of(cpu, seg) != selector_of(cpu, seg) << 4 ||
		    limit_of(cpu, seg) != 0xffff || ar_of(cpu, seg) != 0xf3)
			return false;
	}
	return true;
}

static bool low_base(const struct hw_cpu *cpu, unsigned seg)
{
	return !usable(cpu, seg) || !(base_of(cpu, seg) >> 32);
}

static bool cs_type_ok(const struct hw_cpu *cpu)
{
	unsigned type = type_of(cpu, X86_CS);

	return (type & (AR_TYPE_CODE | AR_TYPE_ACCESSED)) == (AR_TYPE_CODE | AR_TYPE_ACCESSED) ||
	       (unrestricted(cpu) && type == 3);
}

static bool data_type_ok(const struct hw_cpu *cpu, unsigned seg)
{
	unsigned type = type_of(cpu, seg);

	if (!usable(cpu, seg))
		return true;
	return (type & AR_TYPE_ACCESSED) && (!(type & AR_TYPE_CODE) || (type & AR_TYPE_READABLE));
}

static bool cs_dpl_ok(const struct hw_cpu *cpu)
{
	unsigned type = type_of(cpu, X86_CS), dpl = dpl_of(cpu, X86_CS);

	if (type == 3)
		return dpl == 0;
	return type & AR_TYPE_CONFORMING ? dpl <= dpl_of(cpu, X86_SS) : dpl == dpl_of(cpu, X86_SS);
}

static bool data_dpl_ok(const struct hw_cpu *cpu, unsigned seg)
{
	return !usable(cpu, seg) || type_of(cpu, seg) > 11 ||
	       dpl_of(cpu, seg) >= (selector_of(cpu, seg) & SEL_RPL_MASK);
}

/* CS is always usable. */
static bool checked(const struct hw_cpu *cpu, unsigned seg)
{
	return seg == X86_CS || usable(cpu, seg);
}

static bool all_code_data(const struct hw_cpu *cpu, uint32_t bits)
{
	for (unsigned seg = 0; seg < CODE_DATA_SEGMENTS; seg++) {
		if (checked(cpu, seg) && (ar_of(cpu, seg) & bits) != bits)
			return false;
	}
	return true;
}

static bool none_code_data(const struct hw_cpu *cpu, uint32_t bits)
{
	for (unsigned seg = 0; seg < CODE_DATA_SEGMENTS; seg++) {
		if (checked(cpu, seg) && (ar_of(cpu, seg) & bits))
			return false;
	}
	return true;
}

static bool limit_ok(const struct hw_cpu *cpu, unsigned seg)
{
	uint64_t limit = limit_of(cpu, seg);

	if (ar_of(cpu, seg) & AR_G)
		return (limit & 0xfff) == 0xfff;
	return !(limit >> 20);
}

static bool all_limits_ok(const struct hw_cpu *cpu)
{
	for (unsigned seg = 0; seg < CODE_DATA_SEGMENTS; seg++) {
		if (checked(cpu, seg) && !limit_ok(cpu, seg))
			return false;
	}
	return true;
}

/* --- guest non-register state ----------------------------------------------------- */

static bool hlt_injection_ok(const struct hw_cpu *cpu)
{
	if (!injects(cpu))
		return true;
	switch (inject_type(cpu)) {
	case INTR_TYPE_EXTERNAL:
	case INTR_TYPE_NMI:
		return true;
	case INTR_TYPE_HARD_EXCEPTION:
		return inject_vector(cpu) == VECTOR_DB || inject_vector(cpu) == VECTOR_MC;
	default:
		return false;
	}
}

/* Where an instruction has just blocked events, or HLT, single-stepping must be pending. */
static bool pending_bs_ok(const struct hw_cpu *cpu)
{
	bool bs = (F(cpu, GUEST_PENDING_DEBUG) & PENDING_DBG_BS) != 0;
	bool stepping =
		(F(cpu, GUEST_RFLAGS) & RFLAGS_TF) && !(F(cpu, GUEST_DEBUGCTL) & DEBUGCTL_BTF);

	if (!(F(cpu, GUEST_INTERRUPTIBILITY) & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)) &&
	    F(cpu, GUEST_ACTIVITY) != ACTIVITY_HLT)
		return true;
	return bs == stepping;
}

static bool link_pointer_ok(const struct hw_cpu *cpu)
{
	uint64_t link = F(cpu, VMCS_LINK_POINTER);

	return link == VMCS_LINK_NONE || (page_ok(cpu, link) && link != cpu->current->hpa &&
					  mem_read32(cpu, link) == MODEL_VMCS_REVISION);
}

/* With EPT they come from the VMCS, without it from memory at CR3. */
static bool pdptes_ok(const struct hw_cpu *cpu)
{
	uint64_t at = F(cpu, GUEST_CR3) & 0xffffffe0u;
	const uint64_t field[4] = {
		F(cpu, GUEST_PDPTE0),
		F(cpu, GUEST_PDPTE1),
		F(cpu, GUEST_PDPTE2),
		F(cpu, GUEST_PDPTE3),
	};

	if (!(F(cpu, GUEST_CR0) & CR0_PG) || !(F(cpu, GUEST_CR4) & CR4_PAE) || ia32e(cpu))
		return true;
	for (unsigned i = 0; i < 4; i++) {
		bool ept = (cpu->proc2 & PROC2_EPT) != 0;

		if (!mmu_pdpte_ok(cpu, ept ? field[i] : mem_read64(cpu, at + 8 * i)))
			return false;
	}
	return true;
}

/* --- running them ----------------------------------------------------------------- */

enum stage { STAGE_CONTROLS, STAGE_HOST, STAGE_GUEST };

struct check {
	enum stage stage;
	uint8_t qualification;
	const char *name;
	bool (*holds)(const struct hw_cpu *cpu);
};

#define CHECK(stage, name, qualification, section, holds)  \
	static bool check_##name(const struct hw_cpu *cpu) \
	{                                                  \
		return (holds);                            \
	}
#include "hw/model/entry_checks.def"
#undef CHECK

static const struct check checks[] = {
#define CHECK(stage, name, qualification, section, holds) \
	{STAGE_##stage, (qualification), #name " (" section ")", check_##name},
#include "hw/model/entry_checks.def"
#undef CHECK
};

static const char *run_stage(const struct hw_cpu *cpu, enum stage stage,
			     uint64_t *ret_qualification)
{
	for (size_t i = 0; i < VMX_ARRAY_SIZE(checks); i++) {
		if (checks[i].stage != stage || checks[i].holds(cpu))
			continue;
		*ret_qualification = checks[i].qualification;
		return checks[i].name;
	}
	return NULL;
}

const char *check_controls(struct hw_cpu *cpu)
{
	uint64_t unused;

	return run_stage(cpu, STAGE_CONTROLS, &unused);
}

const char *check_host_state(struct hw_cpu *cpu)
{
	uint64_t unused;

	return run_stage(cpu, STAGE_HOST, &unused);
}

const char *check_guest_state(struct hw_cpu *cpu, uint64_t *ret_qualification)
{
	return run_stage(cpu, STAGE_GUEST, ret_qualification);
}
