/* SPDX-License-Identifier: MIT */
/* A VM's life: listed, started, paused, stopped, deleted. */
#include "engine/vmm_job.h"

#include <stdlib.h>

/* --- the list, sorted by id --------------------------------------------------------------- */

static size_t position(const struct vmm *s, uint64_t id)
{
	size_t low = 0, high = s->vm_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->vms[mid]->id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct vmm_vm *vmm_find_vm(struct vmm *s, uint64_t id)
{
	size_t at = position(s, id);

	return at < s->vm_count && s->vms[at]->id == id ? s->vms[at] : NULL;
}

static int reserve_place(struct vmm *s)
{
	size_t room = s->vm_room ? s->vm_room * 2 : 16;
	struct vmm_vm **vms;

	if (s->vm_count < s->vm_room)
		return 0;
	vms = realloc(s->vms, room * sizeof(*vms));
	if (!vms)
		return -ENOMEM;
	s->vms = vms;
	s->vm_room = room;
	return 0;
}

int vmm_vm_list(struct vmm *s, struct vmm_vm *vm)
{
	int err = reserve_place(s);

	if (err)
		return err;
	vm->id = s->next_vm++;
	s->vms[s->vm_count++] = vm;
	return 0;
}

/* --- unmaking ------------------------------------------------------------------------------ */

static void free_vcpus(struct vmm *s, struct vmm_vm *vm)
{
	uint32_t i;

	for (i = 0; i < vm->vcpu_count; i++) {
		struct vmm_vcpu *v = &vm->vcpus[i];

		s->backend->vcpu_close(v);
		s->processor[v->home].vcpus--;
	}
	free(vm->vcpus);
}

/* From here on it is this thread's alone: a vCPU's own may want the lock to come to its end. */
static void withdraw(struct vmm *s, struct vmm_vm *vm)
{
	if (vm->state.state == ENGINE_STATE_RUNNING)
		vmm_set_state(vm, ENGINE_STATE_SHUTOFF, ENGINE_REASON_USER);
	if (s->locked != vm)
		return;
	vmm_quiesce(vm);
	vmm_unlock(s);
}

void vmm_vm_free(struct vmm *s, struct vmm_vm *vm)
{
	size_t at = position(s, vm->id), i;

	withdraw(s, vm);
	if (at < s->vm_count && s->vms[at] == vm) {
		s->vm_count--;
		memmove(&s->vms[at], &s->vms[at + 1], (s->vm_count - at) * sizeof(*s->vms));
	}
	queue_forget(&s->queue, &vm->console_queued);
	vmm_trace_forget(s, vm);
	free_vcpus(s, vm);
	vmm_notices_forget(vm);
	if (vm->back) {
		s->table_bytes -= s->backend->table_bytes(vm);
		s->backend->vm_close(vm);
	}
	vmm_slots_free(s, vm);
	console_fini(&vm->console);
	vmm_blob_put(s, vm->image);
	for (i = 0; i < ENGINE_MAX_MODULES; i++)
		vmm_blob_put(s, vm->module[i]);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
}

/* --- states -------------------------------------------------------------------------------- */

void vmm_quiesce(struct vmm_vm *vm)
{
	uint32_t i;

	for (i = 0; i < vm->vcpu_count; i++) {
		vmm_hold(&vm->vcpus[i]);
		vmm_release(&vm->vcpus[i]);
	}
}

static void run(struct vmm_vm *vm)
{
	vm->has_run = true;
	vmm_set_state(vm, ENGINE_STATE_RUNNING, ENGINE_REASON_STARTED);
}

/* After a former run: the RAM is as new. */
static int run_again(struct vmm *s, struct vmm_vm *vm, struct vmm_reply *reply)
{
	int err = vmm_boot_vcpus(s, vm, reply);

	vmm_reset_devices(vm);
	if (!err)
		run(vm);
	return err;
}

/*
 * Starts it as new: after a first run its RAM slot is zeroed and the image put there
 * again. What the client mapped stays mapped: only the slot is new, not the map.
 */
int vmm_vm_start(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		 struct vmm_reply *reply)
{
	int err;

	(void)rq;
	if (!vm->config.has_image)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_IMAGE, 0,
				"the VM has no image to start; create it with one");
	/* What ended it may have been one of its vCPUs: the others may not have left yet. */
	vmm_quiesce(vm);
	if (!vm->has_run) {
		run(vm);
		return 0;
	}
	err = vmm_boot_load(s, vm, true, run_again, reply);
	return err || reply->job ? err : run_again(s, vm, reply);
}

/* The pause holds when it is complete. An exit that was on its way may have ended the VM. */
int vmm_vm_pause(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		 struct vmm_reply *reply)
{
	(void)s;
	(void)rq;
	(void)reply;
	vmm_set_state(vm, ENGINE_STATE_PAUSED, ENGINE_REASON_USER);
	vmm_quiesce(vm);
	return 0;
}

/* Its last vCPU halted in the pause, and nothing has woken one since. */
static bool can_never_run(const struct vmm_vm *vm)
{
	uint32_t i;

	for (i = 0; i < vm->vcpu_count; i++)
		if (vm->vcpus[i].run == VMM_VCPU_READY)
			return false;
	return vm->halt.due;
}

int vmm_vm_resume(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		  struct vmm_reply *reply)
{
	(void)s;
	(void)rq;
	(void)reply;
	if (can_never_run(vm))
		vmm_end_halted(vm);
	else
		vmm_set_state(vm, ENGINE_STATE_RUNNING, ENGINE_REASON_USER);
	return 0;
}

int vmm_vm_stop(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		struct vmm_reply *reply)
{
	(void)s;
	(void)rq;
	(void)reply;
	if (vm->state.state != ENGINE_STATE_SHUTOFF) {
		vmm_set_state(vm, ENGINE_STATE_SHUTOFF, ENGINE_REASON_USER);
		vmm_quiesce(vm);
	}
	return 0;
}

/*
 * As a reset line: the vCPUs and the RAM slot begin anew, all else stays. Nobody sees it
 * shutoff in between, for a STATE event tells the state at the request's end.
 */
int vmm_vm_reset(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		 struct vmm_reply *reply)
{
	vmm_set_state(vm, ENGINE_STATE_SHUTOFF, ENGINE_REASON_USER);
	return vmm_vm_start(s, vm, rq, reply);
}
