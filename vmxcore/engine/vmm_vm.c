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

void vmm_vcpu_destroy(struct vmm *s, struct core_vcpu *core)
{
	int cpu = core_vcpu_active_cpu(core);

	if (cpu >= 0)
		core_vcpu_deactivate(core, s->processor[cpu].core);
	core_vcpu_destroy(core);
}

static void free_vcpus(struct vmm *s, struct vmm_vm *vm)
{
	uint32_t i;

	for (i = 0; i < vm->vcpu_count; i++) {
		struct vmm_vcpu *v = &vm->vcpus[i];

		vmm_vcpu_destroy(s, v->core);
		model_account_forget(s->model, &v->account);
		s->processor[v->home].vcpus--;
	}
	free(vm->vcpus);
}

/* Takes a VM that is only partly made, too. */
void vmm_vm_free(struct vmm *s, struct vmm_vm *vm)
{
	size_t at = position(s, vm->id), i;

	if (vm->state.state == ENGINE_STATE_RUNNING)
		vmm_set_state(s, vm, ENGINE_STATE_SHUTOFF, ENGINE_REASON_USER);
	if (at < s->vm_count && s->vms[at] == vm) {
		s->vm_count--;
		memmove(&s->vms[at], &s->vms[at + 1], (s->vm_count - at) * sizeof(*s->vms));
	}
	queue_forget(&s->queue, &vm->console_queued);
	vmm_trace_forget(s, vm);
	free_vcpus(s, vm);
	if (vm->core) {
		s->table_bytes -= core_as_table_bytes(core_vm_as(vm->core));
		core_vm_destroy(vm->core);
	}
	vmm_slots_free(s, vm);
	console_fini(&vm->console);
	vmm_blob_put(s, vm->image);
	for (i = 0; i < ENGINE_MAX_MODULES; i++)
		vmm_blob_put(s, vm->module[i]);
	free(vm);
}

/* --- states -------------------------------------------------------------------------------- */

static void run(struct vmm *s, struct vmm_vm *vm)
{
	vm->has_run = true;
	vmm_set_state(s, vm, ENGINE_STATE_RUNNING, ENGINE_REASON_STARTED);
}

/* After a former run: the RAM is as new. */
static int run_again(struct vmm *s, struct vmm_vm *vm, struct vmm_reply *reply)
{
	int err = vmm_boot_vcpus(s, vm, reply);

	vmm_reset_devices(vm);
	if (!err)
		run(s, vm);
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
	if (!vm->has_run) {
		run(s, vm);
		return 0;
	}
	err = vmm_boot_load(s, vm, true, run_again, reply);
	return err || reply->job ? err : run_again(s, vm, reply);
}

/* Between two quanta no vCPU is in its guest: the pause holds at once. */
int vmm_vm_pause(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		 struct vmm_reply *reply)
{
	(void)rq;
	(void)reply;
	vmm_set_state(s, vm, ENGINE_STATE_PAUSED, ENGINE_REASON_USER);
	return 0;
}

int vmm_vm_resume(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		  struct vmm_reply *reply)
{
	(void)rq;
	(void)reply;
	vmm_set_state(s, vm, ENGINE_STATE_RUNNING, ENGINE_REASON_USER);
	return 0;
}

int vmm_vm_stop(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		struct vmm_reply *reply)
{
	(void)rq;
	(void)reply;
	if (vm->state.state != ENGINE_STATE_SHUTOFF)
		vmm_set_state(s, vm, ENGINE_STATE_SHUTOFF, ENGINE_REASON_USER);
	return 0;
}

/*
 * As a reset line: the vCPUs and the RAM slot begin anew, all else stays. Nobody sees it
 * shutoff in between, for a STATE event tells the state at the request's end.
 */
int vmm_vm_reset(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		 struct vmm_reply *reply)
{
	vmm_set_state(s, vm, ENGINE_STATE_SHUTOFF, ENGINE_REASON_USER);
	return vmm_vm_start(s, vm, rq, reply);
}
