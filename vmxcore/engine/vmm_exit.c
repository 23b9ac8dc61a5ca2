/* SPDX-License-Identifier: MIT */
/* Scheduling vCPUs in quanta, and what becomes of the exits that core hands up. */
#include "engine/vmm.h"

#include <inttypes.h>
#include <stdio.h>

/* Exits cost the host more than instructions do: a quantum ends after this many, too, so
 * that requests never wait long. It depends on the guest alone, as determinism wants. */
#define EXITS_PER_QUANTUM 64u

/* --- who is runnable ------------------------------------------------------------------------ */

static void enqueue(struct vmm *s, struct vmm_vcpu *v)
{
	struct vmm_processor *p = &s->processor[v->home];

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

static void dequeue(struct vmm *s, struct vmm_vcpu *v)
{
	struct vmm_processor *p = &s->processor[v->home];

	if (!v->next)
		return;
	if (p->turn == v)
		p->turn = v->next == v ? NULL : v->next;
	v->prev->next = v->next;
	v->next->prev = v->prev;
	v->next = v->prev = NULL;
}

void vmm_set_state(struct vmm *s, struct vmm_vm *vm, enum engine_vm_state state,
		   enum engine_state_reason reason)
{
	uint32_t i;

	vm->state = (struct engine_state_info){.state = state, .reason = reason};
	vm->state_changed = true;
	for (i = 0; i < vm->vcpu_count; i++) {
		struct vmm_vcpu *v = &vm->vcpus[i];

		if (state == ENGINE_STATE_RUNNING && v->run == VMM_VCPU_READY)
			enqueue(s, v);
		else
			dequeue(s, v);
	}
}

void vmm_wake(struct vmm *s, struct vmm_vcpu *v)
{
	v->run = VMM_VCPU_READY;
	if (v->vm->state.state == ENGINE_STATE_RUNNING)
		enqueue(s, v);
}

uint64_t vmm_guest_time(const struct vmm_vm *vm)
{
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i < vm->vcpu_count; i++)
		sum += vm->vcpus[i].account.retired;
	return sum;
}

/* --- exits ---------------------------------------------------------------------------------- */

/* The VM leaves the running state because of a vCPU's exit. */
static void stop_for(struct vmm *s, struct vmm_vcpu *v, const struct core_run_exit *x,
		     enum engine_vm_state state, enum engine_state_reason reason)
{
	struct engine_state_info *st = &v->vm->state;

	vmm_set_state(s, v->vm, state, reason);
	st->vcpu = v->index;
	st->rip = x->rip;
	st->gpa = x->gpa.v;
	st->gva = x->linear_valid ? x->linear.v : 0;
	st->qualification = x->qualification;
	st->exit_reason = x->exit_reason;
	st->insn_error = x->insn_error;
}

#define REPORT(v, ...) snprintf((v)->vm->state.report, sizeof((v)->vm->state.report), __VA_ARGS__)

static void on_time(struct vmm *s, struct vmm_vcpu *v, const struct core_run_exit *x)
{
	(void)s;
	(void)v;
	(void)x;
}

static void on_hlt(struct vmm *s, struct vmm_vcpu *v, const struct core_run_exit *x)
{
	uint32_t i;

	v->run = VMM_VCPU_HALTED;
	dequeue(s, v);
	for (i = 0; i < v->vm->vcpu_count; i++)
		if (v->vm->vcpus[i].run == VMM_VCPU_READY)
			return;
	stop_for(s, v, x, ENGINE_STATE_SHUTOFF, ENGINE_REASON_HALTED);
	REPORT(v, "vcpu %u halted at rip 0x%" PRIx64 "; nothing can wake the VM", v->index, x->rip);
}

/* The guest ended itself through the exit port? */
static void check_exit_port(struct vmm *s, struct vmm_vcpu *v, const struct core_run_exit *x)
{
	struct vmm_vm *vm = v->vm;

	if (!vm->exit_port.written)
		return;
	stop_for(s, v, x, ENGINE_STATE_SHUTOFF, ENGINE_REASON_EXITED);
	vm->state.exit_status = vm->exit_port.status;
	REPORT(v, "vcpu %u wrote exit status %" PRIu32 " (0x%" PRIx32 ") at rip 0x%" PRIx64,
	       v->index, vm->exit_port.status, vm->exit_port.status, x->rip);
}

static void on_io(struct vmm *s, struct vmm_vcpu *v, const struct core_run_exit *x)
{
	uint32_t value = 0;

	if (x->io.in)
		value = port_bus_in(&v->vm->bus, x->io.port, x->io.size);
	else
		port_bus_out(&v->vm->bus, x->io.port, x->io.size, x->io.value);
	core_vcpu_complete_io(v->core, value);
	check_exit_port(s, v, x);
}

/* "rw-" */
static const char *prot_text(uint32_t prot, char buf[4])
{
	buf[0] = prot & CORE_PROT_R ? 'r' : '-';
	buf[1] = prot & CORE_PROT_W ? 'w' : '-';
	buf[2] = prot & CORE_PROT_X ? 'x' : '-';
	buf[3] = '\0';
	return buf;
}

/* "Exit Qualification for EPT Violations": bits 2:0 tell the access. */
static const char *access_text(uint64_t qualification)
{
	return qualification & 4 ? "fetch" : qualification & 2 ? "write" : "read";
}

static void on_denied(struct vmm *s, struct vmm_vcpu *v, const struct core_run_exit *x)
{
	struct core_range range;
	char where[40] = "", prot[4];

	stop_for(s, v, x, ENGINE_STATE_PAUSED, ENGINE_REASON_EPT_DENIED);
	if (x->linear_valid)
		snprintf(where, sizeof(where), " (gva 0x%" PRIx64 ")", x->linear.v);
	if (core_as_lookup(core_vm_as(v->vm->core), x->gpa, &range) != 0)
		range.prot = 0;
	REPORT(v, "vcpu %u: %s at gpa 0x%" PRIx64 "%s denied: the mapping is %s; rip 0x%" PRIx64,
	       v->index, access_text(x->qualification), x->gpa.v, where,
	       prot_text(range.prot, prot), x->rip);
}

static void on_misconfig(struct vmm *s, struct vmm_vcpu *v, const struct core_run_exit *x)
{
	stop_for(s, v, x, ENGINE_STATE_CRASHED, ENGINE_REASON_INTERNAL);
	REPORT(v, "vcpu %u: EPT misconfiguration at gpa 0x%" PRIx64 ", rip 0x%" PRIx64, v->index,
	       x->gpa.v, x->rip);
}

static void on_triple_fault(struct vmm *s, struct vmm_vcpu *v, const struct core_run_exit *x)
{
	stop_for(s, v, x, ENGINE_STATE_CRASHED, ENGINE_REASON_TRIPLE_FAULT);
	REPORT(v, "vcpu %u: triple fault at rip 0x%" PRIx64, v->index, x->rip);
}

static const char *exit_name(const struct core_run_exit *x)
{
	const char *name = core_exit_name(x->exit_reason & 0xffff);

	return name ? name : "unknown";
}

static void on_unexpected(struct vmm *s, struct vmm_vcpu *v, const struct core_run_exit *x)
{
	stop_for(s, v, x, ENGINE_STATE_CRASHED, ENGINE_REASON_UNEXPECTED);
	REPORT(v,
	       "vcpu %u: exit %s (%u) has no handler; rip 0x%" PRIx64 ", qualification 0x%" PRIx64
	       ", interruption 0x%x",
	       v->index, exit_name(x), x->exit_reason & 0xffff, x->rip, x->qualification,
	       x->intr_info);
}

static void on_entry_failed(struct vmm *s, struct vmm_vcpu *v, const struct core_run_exit *x)
{
	const char *check = model_entry_refused(s->processor[v->home].hw);

	check = check ? check : "no check";
	stop_for(s, v, x, ENGINE_STATE_CRASHED, ENGINE_REASON_ENTRY_FAILED);
	if (x->insn_error)
		REPORT(v, "vcpu %u: VM entry refused: VM-instruction error %u, %s; rip 0x%" PRIx64,
		       v->index, x->insn_error, check, x->rip);
	else
		REPORT(v,
		       "vcpu %u: VM entry failed: exit reason 0x%x, qualification 0x%" PRIx64
		       ", %s; rip 0x%" PRIx64,
		       v->index, x->exit_reason, x->qualification, check, x->rip);
}

/* --- emulation ----------------------------------------------------------------------------- */

static uint32_t emulated_in(void *ctx, uint16_t port, unsigned size)
{
	return port_bus_in(&((struct vmm_vm *)ctx)->bus, port, size);
}

static void emulated_out(void *ctx, uint16_t port, unsigned size, uint32_t value)
{
	port_bus_out(&((struct vmm_vm *)ctx)->bus, port, size, value);
}

/* No device is memory-mapped: reads float high, writes go nowhere. */
static void emulated_mmio(void *ctx, uint64_t at, void *buf, unsigned size, bool write)
{
	struct vmm_vm *vm = ctx;

	(void)at;
	vm->mmio_unclaimed++;
	if (!write)
		memset(buf, 0xff, size);
}

static bool emulated_stop(void *ctx)
{
	return ((struct vmm_vm *)ctx)->exit_port.written;
}

static void on_broken(struct vmm *s, struct vmm_vcpu *v, struct core_run_exit *x,
		      const struct emulate_result *r)
{
	x->gpa = r->gpa;
	x->linear = r->linear;
	x->linear_valid = true;
	stop_for(s, v, x, ENGINE_STATE_CRASHED, ENGINE_REASON_UNEXPECTED);
	REPORT(v, "vcpu %u: %s: gpa 0x%" PRIx64 ", gva 0x%" PRIx64 ", rip 0x%" PRIx64, v->index,
	       r->text, r->gpa.v, r->linear.v, x->rip);
}

static void on_emulate(struct vmm *s, struct vmm_vcpu *v, const struct core_run_exit *exit)
{
	const struct emulate_io io = {
		.in = emulated_in,
		.out = emulated_out,
		.mmio = emulated_mmio,
		.stop = emulated_stop,
		.ctx = v->vm,
	};
	struct core_run_exit x = *exit;
	struct emulate_result r;

	emulate_one(s->emulator, v->core, exit, &io, &r);
	v->vm->emulated++;
	switch (r.outcome) {
	case EMULATE_INJECTED:
		v->vm->injected++;
		break;
	case EMULATE_DENIED:
		x.gpa = r.gpa;
		x.linear = r.linear;
		x.linear_valid = true;
		x.qualification = r.qualification;
		on_denied(s, v, &x);
		return;
	case EMULATE_BROKEN:
		on_broken(s, v, &x, &r);
		return;
	case EMULATE_DONE:
		break;
	}
	check_exit_port(s, v, exit);
}

static void (*const on_exit_reason[])(struct vmm *, struct vmm_vcpu *,
				      const struct core_run_exit *) = {
	[CORE_RUN_BUDGET] = on_time,
	[CORE_RUN_KICKED] = on_time,
	[CORE_RUN_HLT] = on_hlt,
	[CORE_RUN_IO] = on_io,
	[CORE_RUN_EMULATE] = on_emulate,
	[CORE_RUN_EPT_DENIED] = on_denied,
	[CORE_RUN_EPT_MISCONFIG] = on_misconfig,
	[CORE_RUN_TRIPLE_FAULT] = on_triple_fault,
	[CORE_RUN_UNEXPECTED] = on_unexpected,
	[CORE_RUN_ENTRY_FAILED] = on_entry_failed,
};

/* --- quanta -------------------------------------------------------------------------------- */

static void run_quantum(struct vmm *s, struct vmm_processor *p, struct vmm_vcpu *v)
{
	uint64_t start = v->account.retired;
	unsigned exits = 0;

	model_cpu_set_account(p->hw, &v->account);
	/* It leaves the list when it halts or its VM stops. */
	while (v->next && exits < EXITS_PER_QUANTUM) {
		uint64_t used = v->account.retired - start;
		struct core_run_exit x;

		if (used >= s->cfg.quantum)
			break;
		core_vcpu_run(v->core, p->core, s->cfg.quantum - used, &x);
		v->exits++;
		exits++;
		on_exit_reason[x.reason](s, v, &x);
		if (x.reason == CORE_RUN_BUDGET)
			break;
	}
	model_cpu_set_account(p->hw, NULL);
}

static void tell_console(struct vmm *s, struct vmm_vm *vm)
{
	struct engine_event ev = {.type = ENGINE_EVENT_CONSOLE, .vm = vm->id};

	if (vm->console.total == vm->console_told)
		return;
	vm->console_told = vm->console.total;
	ev.total = vm->console.total;
	queue_push_once(&s->queue, &ev, &vm->console_queued);
}

bool vmm_run_some(struct vmm *s)
{
	uint32_t i;

	for (i = 0; i < s->cfg.processors; i++) {
		struct vmm_processor *p = &s->processor[(s->turn + i) % s->cfg.processors];
		struct vmm_vcpu *v = p->turn;

		if (!v)
			continue;
		s->turn = (s->turn + i + 1) % s->cfg.processors;
		p->turn = v->next;
		run_quantum(s, p, v);
		tell_console(s, v->vm);
		vmm_tell_notices(s, p, v);
		vmm_tell_trace(s, v->vm);
		vmm_tell_state(s, v->vm);
		return true;
	}
	return false;
}
