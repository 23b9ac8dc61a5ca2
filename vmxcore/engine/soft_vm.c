/* SPDX-License-Identifier: MIT */
/* A VM's life: made, started, paused, stopped, deleted. */
#include "engine/soft.h"

#include "x86/x86.h"

#include <inttypes.h>
#include <stdlib.h>

#define MEMORY_MIN (UINT64_C(1) << 20)

/* --- the list, sorted by id --------------------------------------------------------------- */

static size_t position(const struct soft *s, uint64_t id)
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

struct soft_vm *soft_find_vm(struct soft *s, uint64_t id)
{
	size_t at = position(s, id);

	return at < s->vm_count && s->vms[at]->id == id ? s->vms[at] : NULL;
}

static int reserve_place(struct soft *s)
{
	size_t room = s->vm_room ? s->vm_room * 2 : 16;
	struct soft_vm **vms;

	if (s->vm_count < s->vm_room)
		return 0;
	vms = realloc(s->vms, room * sizeof(*vms));
	if (!vms)
		return -ENOMEM;
	s->vms = vms;
	s->vm_room = room;
	return 0;
}

/* --- making ----------------------------------------------------------------------------------- */

static int check_memory(const struct soft *s, const struct engine_vm_create *c,
			struct soft_reply *reply)
{
	uint64_t left = s->cfg.memory_bytes - s->memory_used;

	if (c->memory_bytes % VMX_PAGE_SIZE != 0)
		return soft_fail(reply, -EINVAL, ENGINE_FIELD_MEMORY, VMX_PAGE_SIZE,
				 "%" PRIu64 " bytes of memory: not a multiple of 4096",
				 c->memory_bytes);
	if (c->memory_bytes < MEMORY_MIN)
		return soft_fail(reply, -EINVAL, ENGINE_FIELD_MEMORY, MEMORY_MIN,
				 "%" PRIu64 " bytes of memory: at least %" PRIu64 " are needed",
				 c->memory_bytes, MEMORY_MIN);
	if (c->memory_bytes > left)
		return soft_fail(reply, -ENOMEM, ENGINE_FIELD_MEMORY, left,
				 "%" PRIu64 " bytes of memory: the machine has %" PRIu64 " left",
				 c->memory_bytes, left);
	return 0;
}

static int check_processors(const struct soft *s, const struct engine_vm_create *c,
			    struct soft_reply *reply)
{
	uint32_t i;

	if (c->vcpus < 1 || c->vcpus > ENGINE_MAX_VCPUS)
		return soft_fail(reply, -EINVAL, ENGINE_FIELD_VCPUS, ENGINE_MAX_VCPUS,
				 "%u vCPUs: 1 to %u are possible", c->vcpus, ENGINE_MAX_VCPUS);
	for (i = 0; i < c->vcpus; i++)
		if (c->processor[i] != ENGINE_ANY_PROCESSOR && c->processor[i] >= s->cfg.processors)
			return soft_fail(reply, -EINVAL, ENGINE_FIELD_PROCESSOR,
					 s->cfg.processors - 1,
					 "vcpu %u on processor %u: the last is %u", i,
					 c->processor[i], s->cfg.processors - 1);
	return 0;
}

static int check_features(const struct soft *s, const struct engine_vm_create *c,
			  struct soft_reply *reply)
{
	const struct core_caps *caps = &s->core->caps;
	uint64_t page = c->ept_page_bytes;
	uint64_t largest = caps->ept_1g ? VMX_SIZE_1G : caps->ept_2m ? VMX_SIZE_2M : VMX_SIZE_4K;

	if (page != 0 && page != VMX_SIZE_4K && !(page == VMX_SIZE_2M && caps->ept_2m) &&
	    !(page == VMX_SIZE_1G && caps->ept_1g))
		return soft_fail(reply, -EINVAL, ENGINE_FIELD_EPT_PAGE, largest,
				 "no EPT pages of %" PRIu64
				 " bytes: 4096, 2097152 or 1073741824, at most %" PRIu64,
				 page, largest);
	if (c->use_vpid && !caps->vpid)
		return soft_fail(reply, -ENOTSUP, ENGINE_FIELD_VPID, 0,
				 "the processor has no VPIDs");
	if (c->image_format > ENGINE_IMAGE_FLAT)
		return soft_fail(reply, -EINVAL, ENGINE_FIELD_IMAGE, ENGINE_IMAGE_FLAT,
				 "unknown image format %u", c->image_format);
	if (c->modules && !c->has_image)
		return soft_fail(reply, -EINVAL, ENGINE_FIELD_MODULE, 0,
				 "modules without an image");
	return 0;
}

static int check_create(const struct soft *s, const struct engine_vm_create *c,
			struct soft_reply *reply)
{
	int err;

	if (s->vm_count >= SOFT_MAX_VMS)
		return soft_fail(reply, -EBUSY, ENGINE_FIELD_VM, SOFT_MAX_VMS,
				 "there are %u VMs already", SOFT_MAX_VMS);
	err = check_memory(s, c, reply);
	if (!err)
		err = check_processors(s, c, reply);
	if (!err)
		err = check_features(s, c, reply);
	return err;
}

/* CPUID answers what the executor implements. */
static int set_cpuid(struct soft_vm *vm)
{
	struct core_cpuid_entry entry[CORE_MAX_CPUID_ENTRIES];
	size_t count, i;
	const struct x86_cpuid_entry *table = x86_cpuid_table(&count);

	if (count > CORE_MAX_CPUID_ENTRIES)
		return -E2BIG;
	for (i = 0; i < count; i++)
		entry[i] = (struct core_cpuid_entry){
			.leaf = table[i].leaf,
			.subleaf = table[i].subleaf,
			.eax = table[i].regs[0],
			.ebx = table[i].regs[1],
			.ecx = table[i].regs[2],
			.edx = table[i].regs[3],
		};
	return core_vm_set_cpuid(vm->core, entry, count);
}

static int make_core_vm(struct soft *s, struct soft_vm *vm)
{
	const struct core_vm_config cfg = {
		.as = {.max_page_bytes = vm->config.ept_page_bytes,
		       .accessed_dirty = vm->config.accessed_dirty,
		       .walk_length = 4},
		.use_vpid = vm->config.use_vpid,
	};
	int err = core_vm_create(s->core, &cfg, &vm->core);

	return err ? err : set_cpuid(vm);
}

static uint32_t least_loaded(const struct soft *s)
{
	uint32_t best = 0, i;

	for (i = 1; i < s->cfg.processors; i++)
		if (s->processor[i].vcpus < s->processor[best].vcpus)
			best = i;
	return best;
}

static int make_vcpus(struct soft *s, struct soft_vm *vm)
{
	int err;

	vm->vcpus = calloc(vm->config.vcpus, sizeof(*vm->vcpus));
	if (!vm->vcpus)
		return -ENOMEM;
	while (vm->vcpu_count < vm->config.vcpus) {
		uint32_t i = vm->vcpu_count;
		struct soft_vcpu *v = &vm->vcpus[i];
		uint32_t home = vm->config.processor[i];

		err = core_vcpu_create(vm->core, i, &v->core);
		if (err)
			return err;
		v->vm = vm;
		v->index = i;
		v->home = home == ENGINE_ANY_PROCESSOR ? least_loaded(s) : home;
		v->run = i ? SOFT_VCPU_WAIT_SIPI : SOFT_VCPU_READY;
		s->processor[v->home].vcpus++;
		vm->vcpu_count++;
	}
	return 0;
}

static void reset_devices(struct soft_vm *vm)
{
	uart_init(&vm->uart, &vm->console);
	vm->exit_port = (struct exit_port){0};
	console_clear(&vm->console);
	vm->console_told = 0;
}

static int make_devices(struct soft_vm *vm)
{
	int err;

	console_init(&vm->console, CONSOLE_KEEP_BYTES);
	reset_devices(vm);
	err = port_bus_claim(&vm->bus, &uart_com1, &vm->uart);
	if (!err)
		err = port_bus_claim(&vm->bus, &exit_port_device, &vm->exit_port);
	return err;
}

static int make_ram(struct soft *s, struct soft_vm *vm, struct soft_reply *reply)
{
	const struct engine_slot_add ram = {
		.size_bytes = vm->config.memory_bytes,
		.slot = SOFT_RAM_SLOT,
		.kind = vm->config.huge_pages ? ENGINE_SLOT_HUGE : ENGINE_SLOT_ANON,
	};
	int err = soft_slot_new(s, vm, &ram, -1, reply);

	return err ? err : soft_map_ram(s, vm, reply);
}

static int make(struct soft *s, struct soft_vm *vm, const struct queue_request *rq,
		struct soft_reply *reply)
{
	int err = make_core_vm(s, vm);

	if (!err)
		err = make_ram(s, vm, reply);
	if (!err)
		err = make_vcpus(s, vm);
	if (!err)
		err = make_devices(vm);
	if (!err)
		err = soft_boot_read(s, vm, rq, reply);
	if (!err && vm->config.has_image)
		err = soft_boot_load(s, vm, reply);
	if (!err && vm->config.has_image)
		err = soft_boot_vcpus(s, vm, reply);
	return err;
}

int soft_vm_create(struct soft *s, struct soft_vm *none, const struct queue_request *rq,
		   struct soft_reply *reply)
{
	struct soft_vm *vm;
	int err;

	(void)none;
	if (rq->req.vm != 0)
		return soft_fail(reply, -EINVAL, ENGINE_FIELD_VM, 0, "the engine gives the id");
	err = check_create(s, &rq->req.u.create, reply);
	if (!err)
		err = reserve_place(s);
	if (err)
		return err;
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return -ENOMEM;
	vm->config = rq->req.u.create;
	vm->state.state = ENGINE_STATE_SHUTOFF;
	vm->state.reason = ENGINE_REASON_CREATED;
	err = make(s, vm, rq, reply);
	if (err) {
		soft_vm_free(s, vm);
		return err;
	}
	vm->id = s->next_vm++;
	s->vms[s->vm_count++] = vm;
	reply->vm = vm->id;
	return 0;
}

/* --- unmaking ------------------------------------------------------------------------------ */

void soft_vcpu_destroy(struct soft *s, struct core_vcpu *core)
{
	int cpu = core_vcpu_active_cpu(core);

	if (cpu >= 0)
		core_vcpu_deactivate(core, s->processor[cpu].core);
	core_vcpu_destroy(core);
}

static void free_vcpus(struct soft *s, struct soft_vm *vm)
{
	uint32_t i;

	for (i = 0; i < vm->vcpu_count; i++) {
		struct soft_vcpu *v = &vm->vcpus[i];

		soft_vcpu_destroy(s, v->core);
		model_account_forget(s->model, &v->account);
		s->processor[v->home].vcpus--;
	}
	free(vm->vcpus);
}

/* Takes a VM that is only partly made, too. */
void soft_vm_free(struct soft *s, struct soft_vm *vm)
{
	size_t at = position(s, vm->id), i;

	if (vm->state.state == ENGINE_STATE_RUNNING)
		soft_set_state(s, vm, ENGINE_STATE_SHUTOFF, ENGINE_REASON_USER);
	if (at < s->vm_count && s->vms[at] == vm) {
		s->vm_count--;
		memmove(&s->vms[at], &s->vms[at + 1], (s->vm_count - at) * sizeof(*s->vms));
	}
	queue_forget(&s->queue, &vm->console_queued);
	soft_trace_forget(s, vm);
	free_vcpus(s, vm);
	if (vm->core)
		core_vm_destroy(vm->core);
	soft_slots_free(s, vm);
	console_fini(&vm->console);
	s->memory_used -= vm->blob_bytes;
	free(vm->image.data);
	for (i = 0; i < ENGINE_MAX_MODULES; i++)
		free(vm->module[i].data);
	free(vm);
}

int soft_vm_delete(struct soft *s, struct soft_vm *vm, const struct queue_request *rq,
		   struct soft_reply *reply)
{
	(void)rq;
	(void)reply;
	soft_vm_free(s, vm);
	return 0;
}

/* --- states -------------------------------------------------------------------------------- */

/*
 * Starts it as new: after a first run its RAM slot is zeroed and the image put there
 * again. What the client mapped stays mapped: only the slot is new, not the map.
 */
int soft_vm_start(struct soft *s, struct soft_vm *vm, const struct queue_request *rq,
		  struct soft_reply *reply)
{
	int err = 0;

	(void)rq;
	if (!vm->config.has_image)
		return soft_fail(reply, -EINVAL, ENGINE_FIELD_IMAGE, 0,
				 "the VM has no image to start; create it with one");
	if (vm->has_run) {
		err = soft_slot_zero(s, vm->slots[0]);
		if (!err)
			err = soft_boot_load(s, vm, reply);
		if (!err)
			err = soft_boot_vcpus(s, vm, reply);
		reset_devices(vm);
	}
	if (err)
		return err;
	vm->has_run = true;
	soft_set_state(s, vm, ENGINE_STATE_RUNNING, ENGINE_REASON_STARTED);
	return 0;
}

/* Between two quanta no vCPU is in its guest: the pause holds at once. */
int soft_vm_pause(struct soft *s, struct soft_vm *vm, const struct queue_request *rq,
		  struct soft_reply *reply)
{
	(void)rq;
	(void)reply;
	soft_set_state(s, vm, ENGINE_STATE_PAUSED, ENGINE_REASON_USER);
	return 0;
}

int soft_vm_resume(struct soft *s, struct soft_vm *vm, const struct queue_request *rq,
		   struct soft_reply *reply)
{
	(void)rq;
	(void)reply;
	soft_set_state(s, vm, ENGINE_STATE_RUNNING, ENGINE_REASON_USER);
	return 0;
}

int soft_vm_stop(struct soft *s, struct soft_vm *vm, const struct queue_request *rq,
		 struct soft_reply *reply)
{
	(void)rq;
	(void)reply;
	if (vm->state.state != ENGINE_STATE_SHUTOFF)
		soft_set_state(s, vm, ENGINE_STATE_SHUTOFF, ENGINE_REASON_USER);
	return 0;
}

/*
 * As a reset line: the vCPUs and the RAM slot begin anew, all else stays. Nobody sees it
 * shutoff in between, for a STATE event tells the state at the request's end.
 */
int soft_vm_reset(struct soft *s, struct soft_vm *vm, const struct queue_request *rq,
		  struct soft_reply *reply)
{
	soft_set_state(s, vm, ENGINE_STATE_SHUTOFF, ENGINE_REASON_USER);
	return soft_vm_start(s, vm, rq, reply);
}
