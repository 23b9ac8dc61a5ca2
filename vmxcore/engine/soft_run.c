/* SPDX-License-Identifier: MIT */
/* Scheduling vCPUs in quanta, on the machine's thread. */
#include "engine/soft.h"

/* Exits cost the host more than instructions do: a quantum ends after this many, too, so
 * that requests never wait long. It depends on the guest alone, as determinism wants. */
#define EXITS_PER_QUANTUM 64u

/* --- who is runnable ------------------------------------------------------------------------ */

static void enqueue(struct soft_processor *p, struct soft_vcpu *v)
{
	if (v->next)
		return;
	if (!p->turn) {
		v->next = v->prev = v;
		p->turn = v;
		return;
	}
	/* Last in the round. */
	v->next = p->turn;
	v->prev = p->turn->prev;
	v->prev->next = v;
	v->next->prev = v;
}

static void dequeue(struct soft_processor *p, struct soft_vcpu *v)
{
	if (!v->next)
		return;
	if (p->turn == v)
		p->turn = v->next == v ? NULL : v->next;
	v->prev->next = v->next;
	v->next->prev = v->prev;
	v->next = v->prev = NULL;
}

void soft_vcpu_run(struct vmm_vcpu *v, bool run)
{
	struct soft_processor *p = &soft_of(v->vm->machine)->processor[v->home];

	if (run)
		enqueue(p, soft_vcpu_of(v));
	else
		dequeue(p, soft_vcpu_of(v));
}

/* --- quanta -------------------------------------------------------------------------------- */

/*
 * No VM's lock is taken: the lock keeps a vCPU's thread and the machine's apart, and here
 * they are one. Exits are handled between two requests, never in one.
 */
static void run_quantum(struct soft *f, struct soft_processor *p, struct soft_vcpu *v)
{
	const uint64_t quantum = f->vmm->cfg.quantum, start = v->account.retired;
	unsigned exits = 0;

	model_cpu_set_account(p->hw, &v->account);
	/* It leaves the list when it halts or its VM stops. */
	while (v->next && exits < EXITS_PER_QUANTUM) {
		uint64_t used = v->account.retired - start;
		struct core_run_exit x;

		if (used >= quantum)
			break;
		core_vcpu_run(v->core, p->core, quantum - used, &x);
		exits++;
		vmm_exit(v->vcpu, f->emulator, &x);
		if (x.reason == CORE_RUN_BUDGET)
			break;
	}
	model_cpu_set_account(p->hw, NULL);
}

/* The account has a row for each mnemonic, the first MODEL_UNIMPLEMENTED_MAX of a vCPU. */
static void tell_notices(struct soft_processor *p, struct soft_vcpu *v)
{
	const struct vmm *s = v->vcpu->vm->machine;
	const struct model_account *a = &v->account;

	if (p->core->vpids.generation != s->processor[p->core->id].generation_told)
		vmm_tell_recycled(v->vcpu, p->core->id, p->core->vpids.generation);
	while (v->unimplemented_told < a->unimplemented_count) {
		const struct model_unimplemented *row = &a->unimplemented[v->unimplemented_told++];

		vmm_tell_unimplemented(v->vcpu, row->mnemonic, row->first_rip);
	}
}

bool soft_run_some(struct vmm *s)
{
	struct soft *f = soft_of(s);
	uint32_t i;

	for (i = 0; i < s->cfg.processors; i++) {
		struct soft_processor *p = &f->processor[(f->turn + i) % s->cfg.processors];
		struct soft_vcpu *v = p->turn;

		if (!v)
			continue;
		f->turn = (f->turn + i + 1) % s->cfg.processors;
		p->turn = v->next;
		run_quantum(f, p, v);
		tell_notices(p, v);
		vmm_tell(v->vcpu);
		return true;
	}
	return false;
}
