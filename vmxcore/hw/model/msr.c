/* SPDX-License-Identifier: MIT */
/*
 * Model-specific registers, as RDMSR and WRMSR reach them in both modes of
 * operation and as MSR areas load and store them. One row a register.
 */
#include "hw/model/processor.h"

enum msr_kind {
	MSR_STATE,     /* a 64-bit member of struct x86_state */
	MSR_CANONICAL, /* the same; must hold a canonical address */
	MSR_LOW32,     /* the same; bits 63:32 must be 0 */
	MSR_TSC,
	MSR_EFER,
	MSR_PAT,
	MSR_FS_BASE,
	MSR_GS_BASE,
	MSR_DEBUGCTL,
	MSR_CONSTANT, /* reads as 0; writes are ignored */
	MSR_ZERO,     /* reads as 0; not writable */
};

struct msr_row {
	uint32_t msr;
	enum msr_kind kind;
	size_t offset;
};

#define STATE(member) offsetof(struct x86_state, member)

static const struct msr_row rows[] = {
	{IA32_TSC, MSR_TSC, 0},
	{IA32_BIOS_SIGN_ID, MSR_CONSTANT, 0},
	{IA32_MTRRCAP, MSR_ZERO, 0},
	{IA32_MISC_ENABLE, MSR_CONSTANT, 0},
	{IA32_SYSENTER_CS, MSR_STATE, STATE(sysenter_cs)},
	{IA32_SYSENTER_ESP, MSR_CANONICAL, STATE(sysenter_esp)},
	{IA32_SYSENTER_EIP, MSR_CANONICAL, STATE(sysenter_eip)},
	{IA32_DEBUGCTL, MSR_DEBUGCTL, 0},
	{IA32_PAT, MSR_PAT, STATE(pat)},
	{IA32_EFER, MSR_EFER, STATE(efer)},
	{IA32_STAR, MSR_STATE, STATE(star)},
	{IA32_LSTAR, MSR_CANONICAL, STATE(lstar)},
	{IA32_CSTAR, MSR_CANONICAL, STATE(cstar)},
	{IA32_FMASK, MSR_LOW32, STATE(fmask)},
	{IA32_FS_BASE, MSR_FS_BASE, 0},
	{IA32_GS_BASE, MSR_GS_BASE, 0},
	{IA32_KERNEL_GS_BASE, MSR_CANONICAL, STATE(kernel_gs_base)},
	{IA32_TSC_AUX, MSR_LOW32, STATE(tsc_aux)},
};

static const struct msr_row *find_row(uint32_t msr)
{
	for (size_t i = 0; i < VMX_ARRAY_SIZE(rows); i++) {
		if (rows[i].msr == msr)
			return &rows[i];
	}
	return NULL;
}

static uint64_t *state_member(struct hw_cpu *cpu, const struct msr_row *row)
{
	return (uint64_t *)(void *)((char *)cpu->st + row->offset);
}

int msr_read(struct hw_cpu *cpu, uint32_t msr, uint64_t *ret)
{
	const struct msr_row *row = find_row(msr);

	if (!row)
		return caps_rdmsr(cpu, msr, ret);
	switch (row->kind) {
	case MSR_TSC:
		*ret = cpu_time(cpu) + cpu->tsc_adjust;
		return 0;
	case MSR_FS_BASE:
		*ret = cpu->st->seg[X86_FS].base;
		return 0;
	case MSR_GS_BASE:
		*ret = cpu->st->seg[X86_GS].base;
		return 0;
	case MSR_DEBUGCTL:
		*ret = cpu->debugctl;
		return 0;
	case MSR_CONSTANT:
	case MSR_ZERO:
		*ret = 0;
		return 0;
	default:
		*ret = *state_member(cpu, row);
		return 0;
	}
}

bool msr_pat_ok(uint64_t value)
{
	for (unsigned i = 0; i < 8; i++, value >>= 8) {
		unsigned type = value & 0xff;

		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	return true;
}

bool msr_efer_ok(const struct hw_cpu *cpu, uint64_t value)
{
	uint64_t defined = EFER_SCE | EFER_LME | EFER_LMA;

	if (cpu->model->features.nx)
		defined |= EFER_NXE;
	return !(value & ~defined);
}

/* LMA is the processor's; LME stays while paging is on. */
static int write_efer(struct hw_cpu *cpu, uint64_t value)
{
	struct x86_state *st = cpu->st;

	if (!msr_efer_ok(cpu, value))
		return -EIO;
	if ((st->cr0 & CR0_PG) && ((st->efer ^ value) & EFER_LME))
		return -EIO;
	st->efer = (value & ~EFER_LMA) | (st->efer & EFER_LMA);
	x86_mode_changed(cpu->x86);
	if (cpu->in_guest)
		mmu_update(cpu);
	return 0;
}

static int write_base(struct hw_cpu *cpu, unsigned seg, uint64_t value)
{
	if (!canonical(value))
		return -EIO;
	cpu->st->seg[seg].base = value;
	x86_mode_changed(cpu->x86);
	return 0;
}

int msr_write(struct hw_cpu *cpu, uint32_t msr, uint64_t value)
{
	const struct msr_row *row = find_row(msr);

	if (!row)
		return -EIO;
	switch (row->kind) {
	case MSR_TSC:
		cpu->tsc_adjust = value - cpu_time(cpu);
		return 0;
	case MSR_EFER:
		return write_efer(cpu, value);
	case MSR_FS_BASE:
		return write_base(cpu, X86_FS, value);
	case MSR_GS_BASE:
		return write_base(cpu, X86_GS, value);
	case MSR_PAT:
		if (!msr_pat_ok(value))
			return -EIO;
		break;
	case MSR_CANONICAL:
		if (!canonical(value))
			return -EIO;
		break;
	case MSR_LOW32:
		if (value >> 32)
			return -EIO;
		break;
	case MSR_DEBUGCTL:
		if (value & ~(DEBUGCTL_LBR | DEBUGCTL_BTF))
			return -EIO;
		cpu->debugctl = value;
		return 0;
	case MSR_CONSTANT:
		return 0;
	case MSR_ZERO:
		return -EIO;
	case MSR_STATE:
		break;
	}
	*state_member(cpu, row) = value;
	return 0;
}

/* --- root operation --------------------------------------------------------------- */

/* These have a value for the host and one for the guest: VM entry and exit load them. */
static uint64_t *host_msr(struct hw_cpu *cpu, uint32_t msr)
{
	const struct {
		uint32_t msr;
		uint64_t *at;
	} host[] = {
		{IA32_EFER, &cpu->host.efer},
		{IA32_PAT, &cpu->host.pat},
		{IA32_SYSENTER_CS, &cpu->host.sysenter_cs},
		{IA32_SYSENTER_ESP, &cpu->host.sysenter_esp},
		{IA32_SYSENTER_EIP, &cpu->host.sysenter_eip},
		{IA32_FS_BASE, &cpu->host.fs_base},
		{IA32_GS_BASE, &cpu->host.gs_base},
	};

	for (size_t i = 0; i < VMX_ARRAY_SIZE(host); i++) {
		if (host[i].msr == msr)
			return host[i].at;
	}
	return NULL;
}

int msr_read_root(struct hw_cpu *cpu, uint32_t msr, uint64_t *ret)
{
	const uint64_t *at = host_msr(cpu, msr);

	if (msr == IA32_FEATURE_CONTROL) {
		*ret = cpu->feature_control;
		return 0;
	}
	if (!at)
		return msr_read(cpu, msr, ret);
	*ret = *at;
	return 0;
}

static bool host_value_ok(const struct hw_cpu *cpu, uint32_t msr, uint64_t value)
{
	switch (msr) {
	case IA32_EFER:
		/* The host is in 64-bit mode and stays there. */
		return msr_efer_ok(cpu, value) && !((value ^ cpu->host.efer) & EFER_LME);
	case IA32_PAT:
		return msr_pat_ok(value);
	case IA32_SYSENTER_CS:
		return true;
	default:
		return canonical(value);
	}
}

int msr_write_root(struct hw_cpu *cpu, uint32_t msr, uint64_t value)
{
	uint64_t *at = host_msr(cpu, msr);

	if (msr == IA32_FEATURE_CONTROL) {
		if (cpu->feature_control & FEATURE_CONTROL_LOCKED)
			return -EIO;
		cpu->feature_control = value;
		return 0;
	}
	if (!at)
		return msr_write(cpu, msr, value);
	if (!host_value_ok(cpu, msr, value))
		return -EIO;
	*at = msr == IA32_EFER ? (value & ~EFER_LMA) | (*at & EFER_LMA) : value;
	return 0;
}
