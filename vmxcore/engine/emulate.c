/* SPDX-License-Identifier: MIT */
#include "engine/vmm.h"

#include "x86/x86.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define CR4_PAE VMX_BIT(5)
#define EFER_LMA VMX_BIT(10)
#define RFLAGS_TF VMX_BIT(8)
#define RFLAGS_AC VMX_BIT(18)
#define ENTRY_ACCESSED VMX_BIT(5)
#define ENTRY_DIRTY VMX_BIT(6)
/* Exit qualification of an EPT violation, "Exit Qualification for EPT Violations". */
#define QUAL_FINAL VMX_BIT(8)
/* "VM-Entry Interruption-Information Field" */
#define INTR_VALID (UINT32_C(1) << 31)
#define INTR_ERROR_CODE (UINT32_C(1) << 11)
#define INTR_HARDWARE_EXCEPTION (UINT32_C(3) << 8)
#define VECTOR_GP 13u
#define VECTOR_PF 14u

/* Iterations of a string instruction at a time: a guest's REP of any length must not
 * keep the machine's thread. */
#define ITERATIONS_MAX 4096u

struct emulator {
	const struct backend *backend;
	struct x86_cpu *x86;
	/* of the emulation in progress */
	struct vmm_vcpu *vcpu;
	const struct emulate_io *io;
	struct emulate_result result;
	struct core_regs regs;
	struct x86_fault fault;
	unsigned iterations;
	bool faulted, paused;
	/* Copies of the pages that it is fetched from, where the backend has to make them: two
	 * that follow each other at most, so an even and an odd one. */
	uint8_t code[2][VMX_PAGE_SIZE];
};

static enum x86_result broken(struct emulator *em, uint64_t linear, uint64_t at, const char *text)
{
	em->result.outcome = EMULATE_BROKEN;
	em->result.linear = gva(linear);
	em->result.gpa = gpa(at);
	snprintf(em->result.text, sizeof(em->result.text), "%s", text);
	return X86_EXIT;
}

/* --- memory ----------------------------------------------------------------------------- */

/* The walk went through these entries: set A, and D in the leaf of a write, as the
 * processor does ("Accessed and Dirty Flags"). */
static void set_accessed(struct emulator *em, const struct core_walk_result *w, bool write)
{
	bool pae = em->regs.cr4 & CR4_PAE;
	bool pae32 = pae && !(em->regs.efer & EFER_LMA);
	uint32_t i;

	for (i = 0; i < w->count; i++) {
		const struct core_walk_ref *r = &w->refs[i];
		uint64_t old = r->entry, new = old | ENTRY_ACCESSED;

		/* PDPTEs of PAE paging have no accessed bit. */
		if (r->dimension != CORE_WALK_GUEST || (pae32 && r->level == 3))
			continue;
		if (write && r->leaf)
			new |= ENTRY_DIRTY;
		/* An entry that changed meanwhile has been written by a guest: it wins. */
		if (new != old)
			(void)em->backend->cmpxchg(em->vcpu->vm, gpa(r->gpa), pae ? 8 : 4, &old,
						   new);
	}
}

static enum x86_result raise(struct emulator *em, uint8_t vector, uint32_t error, uint64_t cr2)
{
	*x86_pending(em->x86) =
		(struct x86_fault){.vector = vector, .has_error = true, .error = error, .cr2 = cr2};
	return X86_FAULT;
}

static enum x86_result found(struct emulator *em, uint64_t linear, uint32_t access, uint64_t at,
			     const struct core_walk_result *w, struct x86_xlate *ret)
{
	*ret = (struct x86_xlate){
		.hpa = at & VMX_PAGE_MASK,
		.allow = access & (X86_READ | X86_WRITE | X86_EXEC),
	};
	if (access & X86_EXEC) {
		/* Fetches only read it. */
		ret->host = (void *)em->backend->code(em->vcpu->vm, w,
						      em->code[linear / VMX_PAGE_SIZE % 2]);
		if (!ret->host)
			return broken(em, linear, at, "instruction fetch where no memory is");
	}
	set_accessed(em, w, access & X86_WRITE);
	return X86_OK;
}

/* EPT forbids it: a hole is device memory, a mapping is the client's will. */
static enum x86_result violation(struct emulator *em, uint64_t linear, uint32_t access,
				 const struct core_walk_result *w, struct x86_xlate *ret)
{
	struct core_range range;

	if (em->backend->lookup(em->vcpu->vm, w->fault_gpa, &range) == 0) {
		em->result.outcome = EMULATE_DENIED;
		em->result.gpa = w->fault_gpa;
		em->result.linear = gva(linear);
		em->result.qualification = w->qualification;
		return X86_EXIT;
	}
	if (!(w->qualification & QUAL_FINAL))
		return broken(em, linear, w->fault_gpa.v,
			      "a guest paging structure lies where no memory is");
	if (access & X86_EXEC)
		return broken(em, linear, w->fault_gpa.v, "instruction fetch where no memory is");
	return found(em, linear, access, w->fault_gpa.v, w, ret);
}

static enum x86_result translate(void *env, uint64_t linear, uint32_t access, struct x86_xlate *ret)
{
	struct emulator *em = env;
	uint32_t kind = access & X86_EXEC    ? CORE_PROT_X
			: access & X86_WRITE ? CORE_PROT_W
					     : CORE_PROT_R;
	bool smap_off = (em->regs.rflags & RFLAGS_AC) && !(access & X86_IMPLICIT);
	struct core_walk_result w;

	if (em->backend->walk(em->vcpu, gva(linear), kind, access & X86_USER, smap_off, &w) != 0)
		return broken(em, linear, 0, "the guest's page tables can't be walked");
	switch (w.outcome) {
	case CORE_WALK_OK:
		return found(em, linear, access, w.gpa.v, &w, ret);
	case CORE_WALK_NOT_CANONICAL:
		return raise(em, VECTOR_GP, 0, 0);
	case CORE_WALK_PAGE_FAULT:
		return raise(em, VECTOR_PF, w.error_code, linear);
	case CORE_WALK_EPT_VIOLATION:
		return violation(em, linear, access, &w, ret);
	case CORE_WALK_EPT_MISCONFIG:
		break;
	}
	return broken(em, linear, w.fault_gpa.v, "EPT misconfiguration");
}

/* Pauses a long string instruction between two iterations. */
static bool must_pause(struct emulator *em)
{
	if (em->iterations++ < ITERATIONS_MAX && !em->io->stop(em->io->ctx))
		return false;
	em->paused = true;
	return true;
}

/* All data accesses come here: translate() gives no host pointer for data. */
static enum x86_result memory(void *env, uint64_t at, void *buf, unsigned size, bool write)
{
	struct emulator *em = env;
	const struct backend *b = em->backend;
	struct vmm_vm *vm = em->vcpu->vm;
	struct core_range range;
	int err;

	if (b->lookup(vm, gpa(at), &range) != 0) {
		if (must_pause(em))
			return X86_EXIT;
		em->io->mmio(em->io->ctx, at, buf, size, write);
		return X86_OK;
	}
	err = write ? b->write(vm, gpa(at), buf, size) : b->read(vm, gpa(at), buf, size);
	return err ? broken(em, 0, at, "guest memory went away") : X86_OK;
}

/* --- instructions that belong to the processor ----------------------------------------------- */

static enum x86_result port_in(struct emulator *em, struct x86_special_info *info)
{
	if (must_pause(em))
		return X86_EXIT;
	info->value = em->io->in(em->io->ctx, info->port, info->size);
	return X86_OK;
}

static enum x86_result port_out(struct emulator *em, struct x86_special_info *info)
{
	if (must_pause(em))
		return X86_EXIT;
	em->io->out(em->io->ctx, info->port, info->size, (uint32_t)info->value);
	return X86_OK;
}

/* The guest's own IDT delivers it, at the next VM entry. */
static enum x86_result exception(struct emulator *em, struct x86_special_info *info)
{
	em->fault = *info->fault;
	em->faulted = true;
	return X86_EXIT;
}

static enum x86_result go_on(struct emulator *em, struct x86_special_info *info)
{
	(void)em;
	(void)info;
	return X86_OK;
}

/* Instructions without a row can't reach device memory or ports. */
static enum x86_result (*const specials[X86_SP_COUNT])(struct emulator *,
						       struct x86_special_info *) = {
	[X86_SP_IN] = port_in,	 [X86_SP_OUT] = port_out,  [X86_SP_EXCEPTION] = exception,
	[X86_SP_DTABLE] = go_on, [X86_SP_LDTR_TR] = go_on,
};

static enum x86_result special(void *env, enum x86_special what, struct x86_special_info *info)
{
	struct emulator *em = env;

	if ((unsigned)what >= X86_SP_COUNT || !specials[what])
		return broken(em, info->linear, 0, "an instruction that is not emulated");
	return specials[what](em, info);
}

static void unimplemented(void *env, const char *mnemonic, uint64_t rip)
{
	(void)env;
	(void)mnemonic;
	(void)rip;
}

static bool attention(void *env)
{
	(void)env;
	return false;
}

static const struct x86_ops ops = {
	.translate = translate,
	.mmio = memory,
	.special = special,
	.unimplemented = unimplemented,
	.attention = attention,
};

/* --- registers -------------------------------------------------------------------------------- */

static_assert((int)X86_RAX == HW_RAX && (int)X86_RSP == HW_RSP && (int)X86_R15 == HW_R15,
	      "general registers are numbered alike");
static_assert((int)X86_ES == CORE_ES && (int)X86_LDTR == CORE_LDTR && (int)X86_TR == CORE_TR,
	      "segments are numbered alike");

static void load_state(struct x86_state *x, const struct core_regs *r)
{
	unsigned i;

	*x = (struct x86_state){
		.rip = r->rip,
		/* core makes the single-step trap due. */
		.rflags = r->rflags & ~RFLAGS_TF,
		.gdtr = {.base = r->gdtr_base, .limit = (uint16_t)r->gdtr_limit},
		.idtr = {.base = r->idtr_base, .limit = (uint16_t)r->idtr_limit},
		.cr0 = r->cr0,
		.cr2 = r->gp.cr2,
		.cr3 = r->cr3,
		.cr4 = r->cr4,
		.efer = r->efer,
		.pat = r->pat,
		.tsc_aux = r->tsc_aux,
		.star = r->star,
		.lstar = r->lstar,
		.cstar = r->cstar,
		.fmask = r->fmask,
		.kernel_gs_base = r->kernel_gs_base,
		.sysenter_cs = r->sysenter_cs,
		.sysenter_esp = r->sysenter_esp,
		.sysenter_eip = r->sysenter_eip,
		.interruptibility = r->interruptibility,
		.activity = r->activity,
	};
	for (i = 0; i < X86_GPR_COUNT; i++)
		x->gpr[i] = r->gp.r[i];
	x->gpr[X86_RSP] = r->rsp;
	for (i = 0; i < 4; i++)
		x->dr[i] = r->gp.dr[i];
	x->dr[6] = r->gp.dr6;
	x->dr[7] = r->dr7;
	for (i = 0; i < X86_SEG_COUNT; i++)
		x->seg[i] = (struct x86_seg){.base = r->seg[i].base,
					     .limit = r->seg[i].limit,
					     .ar = r->seg[i].ar,
					     .sel = r->seg[i].sel};
}

/* What an emulated instruction can change: control registers and MSRs it can't. */
static void store_state(struct core_regs *r, const struct x86_state *x)
{
	unsigned i;

	r->rip = x->rip;
	r->rflags = x->rflags | (r->rflags & RFLAGS_TF);
	for (i = 0; i < X86_GPR_COUNT; i++)
		r->gp.r[i] = x->gpr[i];
	r->rsp = x->gpr[X86_RSP];
	for (i = 0; i < X86_SEG_COUNT; i++)
		r->seg[i] = (struct core_segment){.base = x->seg[i].base,
						  .limit = x->seg[i].limit,
						  .ar = x->seg[i].ar,
						  .sel = x->seg[i].sel};
	r->gdtr_base = x->gdtr.base;
	r->gdtr_limit = x->gdtr.limit;
	r->idtr_base = x->idtr.base;
	r->idtr_limit = x->idtr.limit;
}

/* --- one instruction ----------------------------------------------------------------------- */

struct emulator *emulator_new(const struct backend *backend)
{
	struct emulator *em = calloc(1, sizeof(*em));

	if (!em)
		return NULL;
	em->backend = backend;
	em->x86 = x86_cpu_new(&ops, em, NULL);
	if (!em->x86) {
		free(em);
		return NULL;
	}
	return em;
}

void emulator_delete(struct emulator *em)
{
	if (!em)
		return;
	x86_cpu_delete(em->x86);
	free(em);
}

static int inject(struct emulator *em)
{
	struct core_event event = {
		.info = em->fault.vector | INTR_HARDWARE_EXCEPTION | INTR_VALID |
			(em->fault.has_error ? INTR_ERROR_CODE : 0),
		.error_code = em->fault.error,
	};

	return em->backend->inject(em->vcpu, &event);
}

/* The registers go back: after the instruction, or with what a string instruction
 * completed of its iterations before it was paused or raised an exception. */
static void finish(struct emulator *em)
{
	const struct backend *b = em->backend;
	int err;

	store_state(&em->regs, x86_state(em->x86));
	if (em->faulted && em->fault.vector == VECTOR_PF)
		em->regs.gp.cr2 = em->fault.cr2;
	if (em->faulted) {
		/* The instruction is not done: no single-step trap behind it. */
		err = b->set_regs(em->vcpu, &em->regs, NULL);
		if (!err)
			err = inject(em);
	} else {
		err = b->complete_emulation(em->vcpu, &em->regs);
	}
	if (err)
		(void)broken(em, 0, 0, "the emulated state is refused");
	else if (em->faulted)
		em->result.outcome = EMULATE_INJECTED;
}

void emulate_one(struct emulator *em, struct vmm_vcpu *vcpu, const struct core_run_exit *why,
		 const struct emulate_io *io, struct emulate_result *ret)
{
	uint64_t retired;
	enum x86_stop stop;

	em->vcpu = vcpu;
	em->io = io;
	em->result = (struct emulate_result){0};
	em->iterations = 0;
	em->faulted = false;
	em->paused = false;
	/* Not the instruction failed, but the delivery of an event through the IDT. */
	if (why->vectoring_info & INTR_VALID) {
		(void)broken(em, why->linear.v, why->gpa.v,
			     "event delivery reached where no memory is");
		*ret = em->result;
		return;
	}
	if (em->backend->get_regs(vcpu, &em->regs) != 0) {
		(void)broken(em, why->linear.v, why->gpa.v, "the registers can't be read");
		*ret = em->result;
		return;
	}
	load_state(x86_state(em->x86), &em->regs);
	x86_mode_changed(em->x86);
	x86_front_flush(em->x86);
	stop = x86_run(em->x86, 1, &retired);
	if (stop == X86_STOP_BUDGET || em->faulted || em->paused)
		finish(em);
	else if (em->result.outcome == EMULATE_DONE)
		(void)broken(em, why->linear.v, why->gpa.v, "the instruction can't be emulated");
	*ret = em->result;
}
