// SPDX-License-Identifier: MIT
/* vm.create, start, pause, resume, stop, reset, delete, list, get */
#include "hvd/methods/vm.h"
#include "hvd/events.h"
#include "hvd/log.h"
#include "hvd/methods/files.h"
#include "hvd/waits.h"
#include "hvd/watch.h"
#include <stdio.h>
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

static void take_state(struct vm *vm, const struct engine_state_info *state)
{
	vm->state = *state;
	waits_state_changed(vm);
}

/* The engine has deleted it. */
static void vm_is_gone(struct hvd *h, struct vm *vm)
{
	if (vm->id) /* else it was never told of */
		events_publish_vm(h, PROTO_EVENT_TYPE_VM_DELETED, vm);
	registry_remove(h->registry, vm);
	waits_state_changed(vm);
	watch_tell(vm, WATCH_GONE);
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
	PROTO_SET(out, retired, in->retired);
	PROTO_SET(out, exits, in->exits);
}

static bool has_cause(uint32_t reason)
{
	return reason == ENGINE_REASON_EPT_DENIED || reason == ENGINE_REASON_TRIPLE_FAULT ||
	       reason == ENGINE_REASON_UNEXPECTED || reason == ENGINE_REASON_ENTRY_FAILED ||
	       reason == ENGINE_REASON_INTERNAL;
}

static void on_info(struct call *c, const struct engine_event *ev)
{
	const struct engine_vcpu_info *vcpus = ev->payload;
	const struct engine_state_info *s = &ev->state;
	const size_t n = ev->payload_bytes / sizeof(*vcpus);
	struct proto_vm result = {
		.uuid = c->vm->uuid,
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
	PROTO_SET(&result, guest_time, s->guest_time);
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

static void get_info(struct call *c)
{
	const struct engine_request req = {.op = ENGINE_VM_INFO, .vm = c->vm->id};

	call_submit(c, &req, NULL, 0, NULL, 0, on_info);
}

void method_vm_get(struct call *c)
{
	const struct proto_vm_params *p = c->params;

	if (call_find_vm(c, p->vm))
		get_info(c);
}

/* --- vm.create ------------------------------------------------------------------------------ */

/* Why a VM that was created can't be had all the same; told when it is deleted again. */
struct creation {
	struct proto_error error;
};

static void on_undone(struct call *c, const struct engine_event *ev)
{
	const struct creation *creation = c->state;
	const struct proto_error error = creation->error;

	if (ev->error.code)
		log_error("%s can't be deleted again: %s", c->vm->name, ev->error.text);
	vm_is_gone(c->hvd, c->vm);
	call_fail(c, &error);
}

static void undo_creation(struct call *c, uint64_t id, const struct engine_error *why)
{
	const struct engine_request req = {.op = ENGINE_VM_DELETE, .vm = id};
	struct creation *creation = c->state;

	call_error_from_engine(c, why, &creation->error);
	c->vm->phase = VM_DELETING;
	c->committed = true;
	call_submit_raw(c, &req, NULL, 0, NULL, 0, on_undone);
}

static void on_first_start(struct call *c, const struct engine_event *ev)
{
	if (ev->error.code) {
		undo_creation(c, c->vm->id, &ev->error);
		return;
	}
	take_state(c->vm, &ev->state);
	c->committed = true;
	get_info(c);
}

static void on_created(struct call *c, const struct engine_event *ev)
{
	const struct proto_vm_create_params *p = c->params;
	const struct engine_error no_memory = {.code = -ENOMEM};
	const struct engine_error cancelled = {.code = -ECANCELED};
	struct engine_request start = {.op = ENGINE_VM_START, .vm = ev->vm};
	struct proto_error err;

	if (ev->error.code) {
		call_error_from_engine(c, &ev->error, &err);
		registry_remove(c->hvd->registry, c->vm);
		call_fail(c, &err);
		return;
	}
	if (registry_set_id(c->hvd->registry, c->vm, ev->vm)) {
		undo_creation(c, ev->vm, &no_memory);
		return;
	}
	/* One that has come too late for the creation is not too late for the start. */
	if (p->start && c->cancelled) {
		undo_creation(c, ev->vm, &cancelled);
		return;
	}
	log_info("%s: created", c->vm->name);
	take_state(c->vm, &ev->state);
	events_publish_vm(c->hvd, PROTO_EVENT_TYPE_VM_CREATED, c->vm);
	if (p->start) {
		call_submit_raw(c, &start, NULL, 0, NULL, 0, on_first_start);
	} else {
		c->committed = true;
		get_info(c);
	}
}

static bool open_files(struct call *c, const struct proto_vm_create_params *p, struct files *files,
		       struct proto_error *err)
{
	char name[PROTO_FIELD_LEN];

	if (p->has_image && !files_add(c, &p->image, "image", false, files, err))
		return false;
	for (size_t i = 0; i < p->modules_count; i++) {
		snprintf(name, sizeof(name), "modules[%zu]", i);
		if (!files_add(c, &p->modules[i], name, false, files, err))
			return false;
	}
	return true;
}

static void fill_create(const struct proto_vm_create_params *p, struct engine_vm_create *out)
{
	*out = (struct engine_vm_create){
		.memory_bytes = p->memory_bytes,
		.ept_page_bytes = p->ept_page,
		.load_gpa = p->has_load_gpa ? p->load_gpa : 0,
		.vcpus = p->vcpus,
		.use_vpid = p->vpid,
		.accessed_dirty = p->accessed_dirty,
		.huge_pages = p->huge_pages,
		.image_format = p->image_format,
		.has_image = p->has_image,
		.modules = (uint32_t)p->modules_count,
	};
	for (size_t i = 0; i < ENGINE_MAX_VCPUS; i++)
		out->processor[i] =
			i < p->processors_count ? p->processors[i] : ENGINE_ANY_PROCESSOR;
	snprintf(out->cmdline, sizeof(out->cmdline), "%s", p->command_line);
}

static bool check_create(struct call *c, const struct proto_vm_create_params *p)
{
	if (p->modules_count && !p->has_image)
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "modules", "modules need an image");
	else if (p->processors_count && p->processors_count != p->vcpus)
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "processors", "%zu are given for %u vCPUs",
			   p->processors_count, p->vcpus);
	else
		return true;
	return false;
}

static bool take_name(struct call *c, const struct proto_vm_create_params *p)
{
	struct vm *vm;
	const int r = registry_add(c->hvd->registry, p->name, &vm);

	if (r == -EEXIST)
		call_failf(c, PROTO_ERROR_EXISTS, "name", "there is a VM %s already", p->name);
	else if (r)
		call_failf(c, PROTO_ERROR_NO_MEMORY, "", "%s", strerror(-r));
	if (r)
		return false;
	vm->memory_bytes = p->memory_bytes;
	vm->ept_page = p->ept_page;
	vm->vcpus = p->vcpus;
	vm->use_vpid = p->vpid;
	c->vm = vm_ref(vm);
	return true;
}

void method_vm_create(struct call *c)
{
	const struct proto_vm_create_params *p = c->params;
	struct engine_request req = {.op = ENGINE_VM_CREATE};
	struct files files = {.count = 0};
	struct proto_error err;

	c->state = proto_alloc(&c->arena, 1, sizeof(struct creation));
	if (!c->state) {
		call_failf(c, PROTO_ERROR_NO_MEMORY, "", "out of memory");
		return;
	}
	if (!check_create(c, p))
		return;
	if (!open_files(c, p, &files, &err)) {
		files_close(&files);
		call_fail(c, &err);
		return;
	}
	fill_create(p, &req.u.create);
	if (take_name(c, p))
		call_submit_raw(c, &req, NULL, 0, files.fds, files.count, on_created);
	files_close(&files); /* the engine has its own copies */
}

/* --- start, pause, resume, stop, delete ------------------------------------------------------- */

static void reply_state(struct call *c)
{
	struct proto_vm_state result = {0};

	VM_DESCRIBE(c, &result, c->vm);
	if (result.has_guest_time)
		PROTO_SET(&result, console_bytes, c->vm->state.console_bytes);
	call_reply(c, &result);
}

static void on_state_changed(struct call *c, const struct engine_event *ev)
{
	take_state(c->vm, &ev->state);
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

static void on_deleted(struct call *c, const struct engine_event *ev)
{
	struct proto_vm_deleted result = {.vm = c->vm->name};

	if (ev->error.code) {
		c->vm->phase = VM_READY;
		call_fail_engine(c, &ev->error);
		return;
	}
	log_info("%s: deleted", c->vm->name);
	vm_is_gone(c->hvd, c->vm);
	call_reply(c, &result);
}

void method_vm_delete(struct call *c)
{
	const struct proto_vm_long_params *p = c->params;
	struct engine_request req = {.op = ENGINE_VM_DELETE};

	if (!call_find_vm(c, p->vm))
		return;
	if (!vm_is_stopped(c->vm)) {
		call_failf(c, PROTO_ERROR_INVALID_STATE, "vm", "%s is %s: stop it first",
			   c->vm->name, engine_state_name(c->vm->state.state));
		return;
	}
	req.vm = c->vm->id;
	watch_tell(c->vm, WATCH_DELETING);
	c->vm->phase = VM_DELETING;
	call_submit_raw(c, &req, NULL, 0, NULL, 0, on_deleted);
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
		struct proto_vm_state *out = &result.vms[result.vms_count];

		if (vm->phase == VM_CREATING)
			continue;
		VM_DESCRIBE(c, out, vm);
		if (out->has_guest_time)
			PROTO_SET(out, console_bytes, vm->state.console_bytes);
		result.vms_count++;
	}
	call_reply(c, &result);
}
