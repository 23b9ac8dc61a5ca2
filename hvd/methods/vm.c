// SPDX-License-Identifier: MIT
/* vm.start, pause, resume, stop, reset, list, get */
#include "hvd/methods/vm.h"
#include "hvd/waits.h"
#include <string.h>

/* Numbers go from one to the other as they are. */
_Static_assert((int)PROTO_STATE_RUNNING == ENGINE_STATE_RUNNING &&
		       (int)PROTO_STATE_PAUSED == ENGINE_STATE_PAUSED &&
		       (int)PROTO_STATE_SHUTOFF == ENGINE_STATE_SHUTOFF &&
		       (int)PROTO_STATE_CRASHED == ENGINE_STATE_CRASHED,
	       "states");
_Static_assert((int)PROTO_IMAGE_AUTO == ENGINE_IMAGE_AUTO &&
		       (int)PROTO_IMAGE_MULTIBOOT == ENGINE_IMAGE_MULTIBOOT &&
		       (int)PROTO_IMAGE_ELF64 == ENGINE_IMAGE_ELF64 &&
		       (int)PROTO_IMAGE_FLAT == ENGINE_IMAGE_FLAT,
	       "image formats");

bool vm_is_stopped(const struct vm *vm)
{
	return vm->state.state == ENGINE_STATE_SHUTOFF || vm->state.state == ENGINE_STATE_CRASHED;
}

void vm_take_state(struct vm *vm, const struct engine_state_info *state)
{
	vm->state = *state;
	waits_state_changed(vm);
}

/* --- vm.get, and what vm.create replies ------------------------------------------------- */

static const char *activity_name(uint32_t activity)
{
	/* VMCS format: "Guest Non-Register State" */
	static const char *const names[] = {"active", "halted", "shutdown", "wait-for-sipi"};

	return activity < 4 ? names[activity] : NULL;
}

static void describe_vcpu(const struct engine_vcpu_info *in, struct proto_vcpu *out)
{
	out->id = in->vcpu;
	if (in->processor != UINT32_MAX)
		PROTO_SET(out, processor, in->processor);
	if (in->vpid)
		PROTO_SET(out, vpid, in->vpid);
	PROTO_SET(out, rip, in->rip);
	if (activity_name(in->activity))
		PROTO_SET(out, activity, activity_name(in->activity));
	CALL_SET_OBSERVED(out, retired, in->retired);
	PROTO_SET(out, exits, in->exits);
}

static bool has_cause(uint32_t reason)
{
	return reason == ENGINE_REASON_EPT_DENIED || reason == ENGINE_REASON_TRIPLE_FAULT ||
	       reason == ENGINE_REASON_UNEXPECTED || reason == ENGINE_REASON_ENTRY_FAILED ||
	       reason == ENGINE_REASON_INTERNAL;
}

void vm_reply_info(struct call *c, const struct engine_event *ev)
{
	const struct engine_vcpu_info *vcpus = ev->payload;
	const struct engine_state_info *s = &ev->state;
	const size_t n = ev->payload_bytes / sizeof(*vcpus);
	struct proto_vm result = {
		.uuid = c->vm->uuid,
		.persistent = c->vm->persistent,
		.engine = c->hvd->engine_info.name,
		.engine_reason = c->hvd->engine_info.reason,
		.memory_bytes = c->vm->memory_bytes,
		.ept_page = c->vm->ept_page,
		.vpid_enabled = c->vm->use_vpid,
		.vcpus = proto_alloc(&c->arena, n, sizeof(*result.vcpus)),
		.vcpus_count = n,
	};

	if (!result.vcpus) {
		call_failf(c, PROTO_ERROR_NO_MEMORY, "", "out of memory for the reply");
		return;
	}
	c->vm->state = *s;
	VM_DESCRIBE(c, &result, c->vm);
	CALL_SET_OBSERVED(&result, guest_time, s->guest_time);
	PROTO_SET(&result, console_bytes, s->console_bytes);
	if (has_cause(s->reason)) {
		const struct proto_stop_cause cause = {
			.vcpu = s->vcpu,
			.rip = s->rip,
			.gpa = s->gpa,
			.gva = s->gva,
			.qualification = s->qualification,
			.exit_reason = s->exit_reason,
			.instruction_error = s->insn_error,
		};

		PROTO_SET(&result, cause, cause);
	}
	for (size_t i = 0; i < n; i++)
		describe_vcpu(&vcpus[i], &result.vcpus[i]);
	call_reply(c, &result);
}

void method_vm_get(struct call *c)
{
	const struct proto_vm_params *p = c->params;
	struct engine_request req = {.op = ENGINE_VM_INFO};

	if (!call_find_vm(c, p->vm))
		return;
	req.vm = c->vm->id;
	call_submit(c, &req, NULL, 0, NULL, 0, vm_reply_info);
}

/* --- start, pause, resume, stop, reset ------------------------------------------------------- */

static void describe_state(struct call *c, const struct vm *vm, struct proto_vm_state *out)
{
	VM_DESCRIBE(c, out, vm);
	if (vm->state.state != ENGINE_STATE_RUNNING)
		PROTO_SET(out, console_bytes, vm->state.console_bytes);
}

static void reply_state(struct call *c)
{
	struct proto_vm_state result = {0};

	describe_state(c, c->vm, &result);
	call_reply(c, &result);
}

static void on_state_changed(struct call *c, const struct engine_event *ev)
{
	vm_take_state(c->vm, &ev->state);
	reply_state(c);
}

static void change_state(struct call *c, const char *vm, enum engine_op op)
{
	struct engine_request req = {.op = op};

	if (!call_find_vm(c, vm))
		return;
	req.vm = c->vm->id;
	call_submit(c, &req, NULL, 0, NULL, 0, on_state_changed);
}

void method_vm_start(struct call *c)
{
	const struct proto_vm_long_params *p = c->params;

	change_state(c, p->vm, ENGINE_VM_START);
}

void method_vm_pause(struct call *c)
{
	const struct proto_vm_params *p = c->params;

	change_state(c, p->vm, ENGINE_VM_PAUSE);
}

void method_vm_resume(struct call *c)
{
	const struct proto_vm_params *p = c->params;

	change_state(c, p->vm, ENGINE_VM_RESUME);
}

void method_vm_stop(struct call *c)
{
	const struct proto_vm_params *p = c->params;

	change_state(c, p->vm, ENGINE_VM_STOP);
}

void method_vm_reset(struct call *c)
{
	const struct proto_vm_long_params *p = c->params;

	change_state(c, p->vm, ENGINE_VM_RESET);
}

/* --- vm.list ------------------------------------------------------------------------------- */

void method_vm_list(struct call *c)
{
	const struct registry *r = c->hvd->registry;
	const size_t n = registry_count(r);
	struct proto_vm_list result = {.vms = proto_alloc(&c->arena, n, sizeof(*result.vms))};

	if (!result.vms) {
		call_failf(c, PROTO_ERROR_NO_MEMORY, "", "out of memory for the reply");
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const struct vm *vm = registry_at(r, i);

		if (vm->phase != VM_CREATING)
			describe_state(c, vm, &result.vms[result.vms_count++]);
	}
	call_reply(c, &result);
}
