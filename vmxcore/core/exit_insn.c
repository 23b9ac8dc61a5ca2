// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Exits by instructions, but for control registers (cr.c) and MSRs (msr.c).
 * Source: SDM volume 3, "Instructions That Cause VM Exits".
 */
#include "core/vcpu_internal.h"
#include "core/vmcs.h"

/* Nearly always nothing but RIP changes: the rest of vcpu_advance() has nothing to do. */
void vcpu_skip_instruction(struct core_vcpu *v)
{
	const uint32_t needed = REG_RIP | REG_RFLAGS | REG_INTERRUPTIBILITY;
	const uint32_t shadow = BLOCKED_BY_STI | BLOCKED_BY_MOV_SS;
	uint64_t rip = v->regs.rip + (uint32_t)v->last.insn_length;

	if ((v->have & needed) != needed || (rip ^ v->regs.rip) >> 32 != 0 ||
	    v->regs.interruptibility & shadow || v->regs.rflags & (RFLAGS_RF | RFLAGS_TF)) {
		vcpu_advance(v, (uint32_t)v->last.insn_length);
		return;
	}
	v->regs.rip = rip;
	v->dirty |= REG_RIP;
}

enum exit_step exit_raise_gp(struct core_vcpu *v)
{
	event_raise_error(v, VECTOR_GP, 0);
	return EXIT_RESUME;
}

/* Instructions that this guest's processor doesn't have. */
enum exit_step exit_undefined(struct core_vcpu *v, struct core_run_exit *ret)
{
	(void)ret;
	event_raise(v, VECTOR_UD);
	return EXIT_RESUME;
}

/* RDPMC: no counter exists. */
enum exit_step exit_protection(struct core_vcpu *v, struct core_run_exit *ret)
{
	(void)ret;
	return exit_raise_gp(v);
}

/* Caches are coherent, and a guest has no devices that look past them. */
enum exit_step exit_skip(struct core_vcpu *v, struct core_run_exit *ret)
{
	(void)ret;
	vcpu_skip_instruction(v);
	return EXIT_RESUME;
}

/* --- CPUID ---------------------------------------------------------------------------------- */

/* Bits that tell the state of this vCPU, not the features of its VM. */
static void cpuid_1(struct core_vcpu *v, struct core_cpuid_entry *e)
{
	vcpu_need(v, REG_CR);
	e->ecx &= ~CPUID_1_ECX_OSXSAVE;
	if (v->regs.cr4 & CR4_OSXSAVE)
		e->ecx |= CPUID_1_ECX_OSXSAVE;
	/* Initial APIC ID */
	e->ebx = (e->ebx & UINT32_C(0x00ffffff)) | v->index << 24;
}

static void cpuid_topology(struct core_vcpu *v, struct core_cpuid_entry *e)
{
	if (e->ebx != 0)
		e->edx = v->index;
}

struct cpuid_reflection {
	uint32_t leaf;
	void (*reflect)(struct core_vcpu *v, struct core_cpuid_entry *e);
};

static const struct cpuid_reflection reflections[] = {
	{1, cpuid_1},
	{0xb, cpuid_topology},
	{0x1f, cpuid_topology},
};

static void answer(struct core_vcpu *v, const struct core_cpuid_entry *e)
{
	uint64_t *r = v->regs.gp.r;

	r[HW_RAX] = e->eax;
	r[HW_RBX] = e->ebx;
	r[HW_RCX] = e->ecx;
	r[HW_RDX] = e->edx;
}

static VMX_NOINLINE void answer_reflected(struct core_vcpu *v, const struct core_cpuid_entry *e,
					  const struct cpuid_reflection *r)
{
	struct core_cpuid_entry copy = *e;

	r->reflect(v, &copy);
	answer(v, &copy);
}

enum exit_step exit_cpuid(struct core_vcpu *v, struct core_run_exit *ret)
{
	uint32_t leaf = (uint32_t)v->regs.gp.r[HW_RAX];
	const struct core_cpuid_entry *e = vm_cpuid(v->vm, leaf, (uint32_t)v->regs.gp.r[HW_RCX]);
	const struct cpuid_reflection *reflection = NULL;

	(void)ret;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(reflections); i++) {
		if (reflections[i].leaf == leaf)
			reflection = &reflections[i];
	}
	if (reflection)
		answer_reflected(v, e, reflection);
	else
		answer(v, e);
	vcpu_skip_instruction(v);
	return EXIT_RESUME;
}

/* --- HLT, I/O ------------------------------------------------------------------------------ */

enum exit_step exit_hlt(struct core_vcpu *v, struct core_run_exit *ret)
{
	vcpu_skip_instruction(v);
	v->regs.activity = ACTIVITY_HLT;
	v->have |= REG_ACTIVITY;
	v->dirty |= REG_ACTIVITY;
	if (event_wakes(v))
		return EXIT_RESUME;
	return exit_return(ret, CORE_RUN_HLT);
}

/* "Exit Qualification for I/O Instructions" */
enum exit_step exit_io(struct core_vcpu *v, struct core_run_exit *ret)
{
	uint64_t q = vcpu_vmread(v, VMCS_EXIT_QUALIFICATION);
	uint8_t size = (uint8_t)((q & IOQ_SIZE_MASK) + 1);

	ret->io.port = (uint16_t)(q >> IOQ_PORT_SHIFT);
	ret->io.size = size;
	ret->io.in = !!(q & IOQ_IN);
	if (q & IOQ_STRING)
		return exit_return(ret, CORE_RUN_EMULATE);
	if (!ret->io.in)
		ret->io.value = (uint32_t)(v->regs.gp.r[HW_RAX] & (VMX_BIT(8 * size) - 1));
	v->io = (struct vcpu_io){
		.size = size,
		.in = ret->io.in,
		.insn_length = (uint32_t)v->last.insn_length,
	};
	return exit_return(ret, CORE_RUN_IO);
}
