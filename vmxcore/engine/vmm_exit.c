/* SPDX-License-Identifier: MIT */
/* States of a VM, and what becomes of the exits that core hands up. */
#include "engine/vmm.h"

#include <inttypes.h>
#include <stdio.h>

/* --- states ---------------------------------------------------------------------------------- */

void vmm_set_state(struct vmm_vm *vm, enum engine_vm_state state, enum engine_state_reason reason)
{
	const struct backend *b = vm->machine->backend;
	uint32_t i;

	vm->state = (struct engine_state_info){.state = state, .reason = reason};
	vm->state_changed = true;
	if (state != ENGINE_STATE_PAUSED)
		vm->halt.due = false;
	for (i = 0; i < vm->vcpu_count; i++)
		b->vcpu_run(&vm->vcpus[i], vmm_may_run(&vm->vcpus[i]));
}

bool vmm_may_run(const struct vmm_vcpu *v)
{
	return v->vm->state.state == ENGINE_STATE_RUNNING && v->run == VMM_VCPU_READY;
}

void vmm_wake(struct vmm_vcpu *v)
{
	v->run = VMM_VCPU_READY;
	if (vmm_may_run(v))
		v->vm->machine->backend->vcpu_run(v, true);
}

uint64_t vmm_guest_time(const struct vmm_vm *vm)
{
	const struct backend *b = vm->machine->backend;
	uint64_t sum = 0, one;
	uint32_t i;

	for (i = 0; i < vm->vcpu_count; i++) {
		if (!b->retired(&vm->vcpus[i], &one))
			return UINT64_MAX;
		sum += one;
	}
	return sum;
}

/* --- exits ---------------------------------------------------------------------------------- */

/*
 * The VM changes its state because of a vCPU's exit; a report follows, if it does. Where
 * vCPUs have threads, an exit may come while the VM is paused: that counts, too. A VM that
 * has ended stays as it is.
 */
static bool stop_for(struct vmm_vcpu *v, const struct core_run_exit *x, enum engine_vm_state state,
		     enum engine_state_reason reason)
{
	struct engine_state_info *st = &v->vm->state;

	if (st->state != ENGINE_STATE_RUNNING && st->state != ENGINE_STATE_PAUSED)
		return false;
	vmm_set_state(v->vm, state, reason);
	st->vcpu = v->index;
	st->rip = x->rip;
	st->gpa = x->gpa.v;
	st->gva = x->linear_valid ? x->linear.v : 0;
	st->qualification = x->qualification;
	st->exit_reason = x->exit_reason;
	st->insn_error = x->insn_error;
	return true;
}

#define REPORT(v, ...) snprintf((v)->vm->state.report, sizeof((v)->vm->state.report), __VA_ARGS__)

static void on_time(struct vmm_vcpu *v, struct emulator *emulator, const struct core_run_exit *x)
{
	(void)emulator;
	(void)v;
	(void)x;
}

static void end_halted(struct vmm_vcpu *v, const struct core_run_exit *x)
{
	if (stop_for(v, x, ENGINE_STATE_SHUTOFF, ENGINE_REASON_HALTED))
		REPORT(v, "vcpu %u halted at rip 0x%" PRIx64 "; nothing can wake the VM", v->index,
		       x->rip);
}

void vmm_end_halted(struct vmm_vm *vm)
{
	const struct vmm_halt halt = vm->halt;

	end_halted(&vm->vcpus[halt.vcpu], &halt.exit);
}

/* While it is paused, something may still be sent that wakes it. */
static void on_hlt(struct vmm_vcpu *v, struct emulator *emulator, const struct core_run_exit *x)
{
	struct vmm_vm *vm = v->vm;
	uint32_t i;

	(void)emulator;
	v->run = VMM_VCPU_HALTED;
	vm->machine->backend->vcpu_run(v, false);
	for (i = 0; i < vm->vcpu_count; i++)
		if (vm->vcpus[i].run == VMM_VCPU_READY)
			return;
	if (vm->state.state == ENGINE_STATE_PAUSED)
		vm->halt = (struct vmm_halt){.due = true, .vcpu = v->index, .exit = *x};
	else
		end_halted(v, x);
}

/* The guest ended itself through the exit port? */
static void check_exit_port(struct vmm_vcpu *v, const struct core_run_exit *x)
{
	struct vmm_vm *vm = v->vm;

	if (!vm->exit_port.written || !stop_for(v, x, ENGINE_STATE_SHUTOFF, ENGINE_REASON_EXITED))
		return;
	vm->state.exit_status = vm->exit_port.status;
	REPORT(v, "vcpu %u wrote exit status %" PRIu32 " (0x%" PRIx32 ") at rip 0x%" PRIx64,
	       v->index, vm->exit_port.status, vm->exit_port.status, x->rip);
}

static void on_io(struct vmm_vcpu *v, struct emulator *emulator, const struct core_run_exit *x)
{
	struct vmm_vm *vm = v->vm;
	uint32_t value = 0;
	int err;

	(void)emulator;
	if (x->io.in)
		value = port_bus_in(&vm->bus, x->io.port, x->io.size);
	else
		port_bus_out(&vm->bus, x->io.port, x->io.size, x->io.value);
	err = vm->machine->backend->complete_io(v, value);
	check_exit_port(v, x);
	if (err && stop_for(v, x, ENGINE_STATE_CRASHED, ENGINE_REASON_INTERNAL))
		REPORT(v, "vcpu %u: I/O at rip 0x%" PRIx64 " can't be completed: %s", v->index,
		       x->rip, strerrordesc_np(-err));
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

static void stop_denied(struct vmm_vcpu *v, const struct core_run_exit *x)
{
	struct core_range range;
	char where[40] = "", prot[4];

	if (!stop_for(v, x, ENGINE_STATE_PAUSED, ENGINE_REASON_EPT_DENIED))
		return;
	if (x->linear_valid)
		snprintf(where, sizeof(where), " (gva 0x%" PRIx64 ")", x->linear.v);
	if (v->vm->machine->backend->lookup(v->vm, x->gpa, &range) != 0)
		range.prot = 0;
	REPORT(v, "vcpu %u: %s at gpa 0x%" PRIx64 "%s denied: the mapping is %s; rip 0x%" PRIx64,
	       v->index, access_text(x->qualification), x->gpa.v, where,
	       prot_text(range.prot, prot), x->rip);
}

static void on_denied(struct vmm_vcpu *v, struct emulator *emulator, const struct core_run_exit *x)
{
	(void)emulator;
	stop_denied(v, x);
}

static void on_misconfig(struct vmm_vcpu *v, struct emulator *emulator,
			 const struct core_run_exit *x)
{
	(void)emulator;
	if (!stop_for(v, x, ENGINE_STATE_CRASHED, ENGINE_REASON_INTERNAL))
		return;
	REPORT(v, "vcpu %u: EPT misconfiguration at gpa 0x%" PRIx64 ", rip 0x%" PRIx64, v->index,
	       x->gpa.v, x->rip);
}

static void on_triple_fault(struct vmm_vcpu *v, struct emulator *emulator,
			    const struct core_run_exit *x)
{
	(void)emulator;
	if (!stop_for(v, x, ENGINE_STATE_CRASHED, ENGINE_REASON_TRIPLE_FAULT))
		return;
	REPORT(v, "vcpu %u: triple fault at rip 0x%" PRIx64, v->index, x->rip);
}

static const char *exit_name(const struct core_run_exit *x)
{
	const char *name = core_exit_name(x->exit_reason & 0xffff);

	return name ? name : "unknown";
}

static void on_unexpected(struct vmm_vcpu *v, struct emulator *emulator,
			  const struct core_run_exit *x)
{
	(void)emulator;
	if (!stop_for(v, x, ENGINE_STATE_CRASHED, ENGINE_REASON_UNEXPECTED))
		return;
	REPORT(v,
	       "vcpu %u: exit %s (%u) has no handler; rip 0x%" PRIx64 ", qualification 0x%" PRIx64
	       ", interruption 0x%x",
	       v->index, exit_name(x), x->exit_reason & 0xffff, x->rip, x->qualification,
	       x->intr_info);
}

static void on_entry_failed(struct vmm_vcpu *v, struct emulator *emulator,
			    const struct core_run_exit *x)
{
	const char *check = v->vm->machine->backend->entry_refused(v);
	const char *comma = check ? ", " : "";

	(void)emulator;
	check = check ? check : "";
	if (!stop_for(v, x, ENGINE_STATE_CRASHED, ENGINE_REASON_ENTRY_FAILED))
		return;
	if (x->insn_error)
		REPORT(v, "vcpu %u: VM entry refused: VM-instruction error %u%s%s; rip 0x%" PRIx64,
		       v->index, x->insn_error, comma, check, x->rip);
	else
		REPORT(v,
		       "vcpu %u: VM entry failed: exit reason 0x%x, qualification 0x%" PRIx64
		       "%s%s; rip 0x%" PRIx64,
		       v->index, x->exit_reason, x->qualification, comma, check, x->rip);
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

static void on_broken(struct vmm_vcpu *v, struct core_run_exit *x, const struct emulate_result *r)
{
	x->gpa = r->gpa;
	x->linear = r->linear;
	x->linear_valid = true;
	if (!stop_for(v, x, ENGINE_STATE_CRASHED, ENGINE_REASON_UNEXPECTED))
		return;
	REPORT(v, "vcpu %u: %s: gpa 0x%" PRIx64 ", gva 0x%" PRIx64 ", rip 0x%" PRIx64, v->index,
	       r->text, r->gpa.v, r->linear.v, x->rip);
}

static void on_emulate(struct vmm_vcpu *v, struct emulator *emulator,
		       const struct core_run_exit *exit)
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

	emulate_one(emulator, v, exit, &io, &r);
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
		stop_denied(v, &x);
		return;
	case EMULATE_BROKEN:
		on_broken(v, &x, &r);
		return;
	case EMULATE_DONE:
		break;
	}
	check_exit_port(v, exit);
}

static void (*const on_exit_reason[])(struct vmm_vcpu *, struct emulator *,
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

void vmm_exit(struct vmm_vcpu *v, struct emulator *emulator, const struct core_run_exit *x)
{
	v->exits++;
	on_exit_reason[x->reason](v, emulator, x);
}

/* --- telling --------------------------------------------------------------------------------- */

static void tell_console(struct vmm_vm *vm)
{
	struct engine_event ev = {.type = ENGINE_EVENT_CONSOLE, .vm = vm->id};

	if (vm->console.total == vm->console_told)
		return;
	vm->console_told = vm->console.total;
	ev.total = vm->console.total;
	queue_push_once(&vm->machine->queue, &ev, &vm->console_queued);
}

void vmm_tell(struct vmm_vcpu *v)
{
	tell_console(v->vm);
	vmm_tell_trace(v->vm);
	vmm_tell_state(v->vm);
}
