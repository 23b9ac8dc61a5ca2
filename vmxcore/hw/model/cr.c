/* SPDX-License-Identifier: MIT */
/*
 * Guest accesses to control registers: masks and read shadows, exits, the checks
 * that end in #GP(0), and the invalidations ("Changes to Instruction Behavior in VMX
 * Non-Root Operation", "Control Registers").
 */
#include "hw/model/processor.h"

#define LMSW_BITS UINT64_C(0xf)

enum x86_result raise(struct hw_cpu *cpu, uint8_t vector, bool has_error, uint32_t error)
{
	*x86_pending(cpu->x86) =
		(struct x86_fault){.vector = vector, .has_error = has_error, .error = error};
	return X86_FAULT;
}

static enum x86_result gp(struct hw_cpu *cpu)
{
	return raise(cpu, VECTOR_GP, true, 0);
}

static bool unrestricted(const struct hw_cpu *cpu)
{
	return (cpu->proc2 & PROC2_UNRESTRICTED) != 0;
}

static enum x86_result cr_exit(struct hw_cpu *cpu, unsigned type,
			       const struct x86_special_info *info)
{
	return exit_insn(cpu, EXIT_CR_ACCESS,
			 info->reg | type << CRQ_TYPE_SHIFT | (uint64_t)info->gpr << CRQ_GPR_SHIFT);
}

static uint64_t through_shadow(uint64_t value, uint64_t mask, uint64_t shadow)
{
	return (value & ~mask) | (shadow & mask);
}

enum x86_result cr_read(struct hw_cpu *cpu, struct x86_special_info *info)
{
	struct x86_state *st = cpu->st;

	switch (info->reg) {
	case 0:
		info->value = through_shadow(st->cr0, F(cpu, CR0_MASK), F(cpu, CR0_SHADOW));
		return X86_OK;
	case 2:
		info->value = st->cr2;
		return X86_OK;
	case 3:
		if (cpu->proc & PROC_CR3_STORE)
			return cr_exit(cpu, CRQ_MOV_FROM, info);
		info->value = st->cr3;
		return X86_OK;
	case 4:
		info->value = through_shadow(st->cr4, F(cpu, CR4_MASK), F(cpu, CR4_SHADOW));
		return X86_OK;
	case 8:
		if (cpu->proc & PROC_CR8_STORE)
			return cr_exit(cpu, CRQ_MOV_FROM, info);
		info->value = st->cr8;
		return X86_OK;
	default:
		return raise(cpu, VECTOR_UD, false, 0);
	}
}

static bool pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LME);
}

/* Loads the PDPTE registers; X86_OK, or the #GP(0) or exit that this gives. */
static enum x86_result load_pdptes(struct hw_cpu *cpu, uint64_t cr3)
{
	uint64_t pdpte[4];
	enum x86_result bad = X86_OK;

	if (!mmu_load_pdptes(cpu, cr3, pdpte, &bad))
		return bad == X86_FAULT ? gp(cpu) : bad;
	memcpy(cpu->mmu.pdpte, pdpte, sizeof(pdpte));
	return X86_OK;
}

/* --- CR0 -------------------------------------------------------------------------- */

static bool cr0_ok(const struct hw_cpu *cpu, uint64_t value)
{
	const struct x86_state *st = cpu->st;
	uint64_t fixed = CAPS_CR0_FIXED0 & ~(unrestricted(cpu) ? CR0_PE | CR0_PG : 0);
	bool pg = (value & CR0_PG) != 0;

	if ((value & ~CAPS_CR0_FIXED1) || (value & fixed) != fixed)
		return false;
	if ((pg && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD)))
		return false;
	if (pg && !(st->cr0 & CR0_PG) && (st->efer & EFER_LME))
		return (st->cr4 & CR4_PAE) && !(st->seg[X86_CS].ar & AR_L) &&
		       (st->seg[X86_TR].ar & AR_TYPE_MASK) != AR_TYPE_TSS16_BUSY;
	if (!pg && (st->cr0 & CR0_PG))
		return !(st->cr4 & CR4_PCIDE) &&
		       !((st->efer & EFER_LMA) && (st->seg[X86_CS].ar & AR_L));
	return true;
}

static enum x86_result set_cr0(struct hw_cpu *cpu, uint64_t value)
{
	struct x86_state *st = cpu->st;
	uint64_t old = st->cr0;
	enum x86_result r;

	value |= CR0_ET;
	if (!cr0_ok(cpu, value))
		return gp(cpu);
	value &= CR0_DEFINED;
	if (pae_paging(value, st->cr4, st->efer) && ((old ^ value) & (CR0_PG | CR0_CD | CR0_NW))) {
		r = load_pdptes(cpu, st->cr3);
		if (r != X86_OK)
			return r;
	}
	tlb_drop_mov_cr0(cpu, old, value);
	st->cr0 = value;
	if (value & CR0_PG)
		st->efer |= st->efer & EFER_LME ? EFER_LMA : 0;
	else
		st->efer &= ~EFER_LMA;
	x86_mode_changed(cpu->x86);
	mmu_update(cpu);
	return X86_OK;
}

static enum x86_result write_cr0(struct hw_cpu *cpu, struct x86_special_info *info)
{
	uint64_t mask = F(cpu, CR0_MASK);

	if ((info->value ^ F(cpu, CR0_SHADOW)) & mask)
		return cr_exit(cpu, CRQ_MOV_TO, info);
	return set_cr0(cpu, (cpu->st->cr0 & mask) | (info->value & ~mask));
}

enum x86_result cr_clts(struct hw_cpu *cpu, struct x86_special_info *info)
{
	(void)info;
	if (F(cpu, CR0_MASK) & CR0_TS) {
		if (F(cpu, CR0_SHADOW) & CR0_TS)
			return exit_insn(cpu, EXIT_CR_ACCESS, CRQ_CLTS << CRQ_TYPE_SHIFT);
		return X86_OK; /* TS stays as it is */
	}
	cpu->st->cr0 &= ~CR0_TS;
	x86_mode_changed(cpu->x86);
	return X86_OK;
}

enum x86_result cr_lmsw(struct hw_cpu *cpu, struct x86_special_info *info)
{
	uint64_t mask = F(cpu, CR0_MASK) & LMSW_BITS, shadow = F(cpu, CR0_SHADOW);
	uint64_t source = info->value & LMSW_BITS;
	bool sets_pe = (mask & CR0_PE) && (source & CR0_PE) && !(shadow & CR0_PE);
	uint64_t writable;

	if (sets_pe || ((source ^ shadow) & mask & ~CR0_PE)) {
		exit_insn(cpu, EXIT_CR_ACCESS,
			  CRQ_LMSW << CRQ_TYPE_SHIFT | (info->has_mem ? CRQ_LMSW_MEMORY : 0) |
				  (info->value & 0xffff) << CRQ_LMSW_SOURCE_SHIFT);
		if (info->has_mem)
			cpu->exit.linear = info->linear;
		return X86_EXIT;
	}
	writable = LMSW_BITS & ~mask;
	/* LMSW sets PE and never clears it. */
	if (!(source & CR0_PE))
		writable &= ~CR0_PE;
	return set_cr0(cpu, (cpu->st->cr0 & ~writable) | (source & writable));
}

enum x86_result cr_smsw(struct hw_cpu *cpu, struct x86_special_info *info)
{
	info->value = through_shadow(cpu->st->cr0, F(cpu, CR0_MASK), F(cpu, CR0_SHADOW));
	return X86_OK;
}

/* --- CR3 -------------------------------------------------------------------------- */

static bool is_cr3_target(const struct hw_cpu *cpu, uint64_t value)
{
	const uint64_t targets[MODEL_CR3_TARGETS] = {
		F(cpu, CR3_TARGET_0),
		F(cpu, CR3_TARGET_1),
		F(cpu, CR3_TARGET_2),
		F(cpu, CR3_TARGET_3),
	};

	for (unsigned i = 0; i < F(cpu, CR3_TARGET_COUNT); i++) {
		if (targets[i] == value)
			return true;
	}
	return false;
}

static enum x86_result write_cr3(struct hw_cpu *cpu, struct x86_special_info *info)
{
	struct x86_state *st = cpu->st;
	uint64_t value = info->value;
	enum x86_result r;

	if ((cpu->proc & PROC_CR3_LOAD) && !is_cr3_target(cpu, value))
		return cr_exit(cpu, CRQ_MOV_TO, info);
	if (st->cr4 & CR4_PCIDE)
		value &= ~CR3_NO_FLUSH;
	if (beyond_physical(cpu, value))
		return gp(cpu);
	if (cpu->mmu.mode == PAGING_PAE) {
		r = load_pdptes(cpu, value);
		if (r != X86_OK)
			return r;
	}
	tlb_drop_mov_cr3(cpu, info->value);
	st->cr3 = value;
	mmu_update(cpu);
	return X86_OK;
}

/* --- CR4 -------------------------------------------------------------------------- */

static bool cr4_ok(const struct hw_cpu *cpu, uint64_t value)
{
	const struct x86_state *st = cpu->st;
	bool lma = (st->efer & EFER_LMA) != 0;

	if ((value & ~caps_cr4_fixed1(cpu)) || (value & CAPS_CR4_FIXED0) != CAPS_CR4_FIXED0)
		return false;
	if (lma && !(value & CR4_PAE))
		return false;
	if ((value & CR4_PCIDE) && !(st->cr4 & CR4_PCIDE))
		return lma && !(st->cr3 & CR3_PCID_MASK);
	return true;
}

static enum x86_result write_cr4(struct hw_cpu *cpu, struct x86_special_info *info)
{
	const uint64_t reload = CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP;
	struct x86_state *st = cpu->st;
	uint64_t mask = F(cpu, CR4_MASK), old = st->cr4, value;
	enum x86_result r;

	if ((info->value ^ F(cpu, CR4_SHADOW)) & mask)
		return cr_exit(cpu, CRQ_MOV_TO, info);
	value = (old & mask) | (info->value & ~mask);
	if (!cr4_ok(cpu, value))
		return gp(cpu);
	if (pae_paging(st->cr0, value, st->efer) && ((old ^ value) & reload)) {
		r = load_pdptes(cpu, st->cr3);
		if (r != X86_OK)
			return r;
	}
	tlb_drop_mov_cr4(cpu, old, value);
	st->cr4 = value;
	x86_mode_changed(cpu->x86);
	mmu_update(cpu);
	return X86_OK;
}

enum x86_result cr_write(struct hw_cpu *cpu, struct x86_special_info *info)
{
	switch (info->reg) {
	case 0:
		return write_cr0(cpu, info);
	case 2:
		cpu->st->cr2 = info->value;
		return X86_OK;
	case 3:
		return write_cr3(cpu, info);
	case 4:
		return write_cr4(cpu, info);
	case 8:
		if (cpu->proc & PROC_CR8_LOAD)
			return cr_exit(cpu, CRQ_MOV_TO, info);
		if (info->value >> 4)
			return gp(cpu);
		cpu->st->cr8 = info->value;
		return X86_OK;
	default:
		return raise(cpu, VECTOR_UD, false, 0);
	}
}
