/* SPDX-License-Identifier: MIT */
/* Making a VM: in order, files read by another thread, its parts, its RAM mapped. */
#include "engine/vmm_change.h"
#include "engine/vmm_image.h"

#include "x86/x86.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MEMORY_MIN (UINT64_C(1) << 20)

/* --- what may be made ----------------------------------------------------------------------- */

static int check_memory(const struct vmm *s, const struct engine_vm_create *c,
			struct vmm_reply *reply)
{
	uint64_t left = s->cfg.memory_bytes - s->memory_used;

	if (c->memory_bytes % VMX_PAGE_SIZE != 0)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_MEMORY, VMX_PAGE_SIZE,
				"%" PRIu64 " bytes of memory: not a multiple of 4096",
				c->memory_bytes);
	if (c->memory_bytes < MEMORY_MIN)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_MEMORY, MEMORY_MIN,
				"%" PRIu64 " bytes of memory: at least %" PRIu64 " are needed",
				c->memory_bytes, MEMORY_MIN);
	if (c->memory_bytes > left)
		return vmm_fail(reply, -ENOMEM, ENGINE_FIELD_MEMORY, left,
				"%" PRIu64 " bytes of memory: the machine has %" PRIu64 " left",
				c->memory_bytes, left);
	return 0;
}

static int check_processors(const struct vmm *s, const struct engine_vm_create *c,
			    struct vmm_reply *reply)
{
	uint32_t i;

	if (c->vcpus < 1 || c->vcpus > ENGINE_MAX_VCPUS)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_VCPUS, ENGINE_MAX_VCPUS,
				"%u vCPUs: 1 to %u are possible", c->vcpus, ENGINE_MAX_VCPUS);
	for (i = 0; i < c->vcpus; i++)
		if (c->processor[i] != ENGINE_ANY_PROCESSOR && c->processor[i] >= s->processors)
			return vmm_fail(reply, -EINVAL, ENGINE_FIELD_PROCESSOR, s->processors - 1,
					"vcpu %u on processor %u: the last is %u", i,
					c->processor[i], s->processors - 1);
	return 0;
}

static int check_features(const struct vmm *s, const struct engine_vm_create *c,
			  struct vmm_reply *reply)
{
	const uint32_t caps = s->info.capabilities;
	const bool has_2m = caps & ENGINE_CAP_EPT_2M, has_1g = caps & ENGINE_CAP_EPT_1G;
	uint64_t page = c->ept_page_bytes;
	uint64_t largest = has_1g ? VMX_SIZE_1G : has_2m ? VMX_SIZE_2M : VMX_SIZE_4K;

	if (page != 0 && page != VMX_SIZE_4K && !(page == VMX_SIZE_2M && has_2m) &&
	    !(page == VMX_SIZE_1G && has_1g))
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_EPT_PAGE, largest,
				"no EPT pages of %" PRIu64
				" bytes: 4096, 2097152 or 1073741824, at most %" PRIu64,
				page, largest);
	if (c->use_vpid && !(caps & ENGINE_CAP_VPID))
		return vmm_fail(reply, -ENOTSUP, ENGINE_FIELD_VPID, 0,
				"the processor has no VPIDs");
	if (c->image_format > ENGINE_IMAGE_FLAT)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_IMAGE, ENGINE_IMAGE_FLAT,
				"unknown image format %u", c->image_format);
	if (c->modules && !c->has_image)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_MODULE, 0, "modules without an image");
	return 0;
}

static int check_create(const struct vmm *s, const struct engine_vm_create *c,
			struct vmm_reply *reply)
{
	int err;

	if (s->vm_count + s->creating >= VMM_MAX_VMS)
		return vmm_fail(reply, -EBUSY, ENGINE_FIELD_VM, VMM_MAX_VMS,
				"there are %u VMs already", VMM_MAX_VMS);
	err = check_memory(s, c, reply);
	if (!err)
		err = check_processors(s, c, reply);
	if (!err)
		err = check_features(s, c, reply);
	return err;
}

/* --- its parts ------------------------------------------------------------------------------- */

int vmm_cpuid(struct core_cpuid_entry ret[CORE_MAX_CPUID_ENTRIES], size_t *ret_count)
{
	size_t count, i;
	const struct x86_cpuid_entry *table = x86_cpuid_table(&count);

	if (count > CORE_MAX_CPUID_ENTRIES)
		return -E2BIG;
	for (i = 0; i < count; i++)
		ret[i] = (struct core_cpuid_entry){
			.leaf = table[i].leaf,
			.subleaf = table[i].subleaf,
			.eax = table[i].regs[0],
			.ebx = table[i].regs[1],
			.ecx = table[i].regs[2],
			.edx = table[i].regs[3],
		};
	*ret_count = count;
	return 0;
}

static int open_vm(struct vmm *s, struct vmm_vm *vm, struct vmm_reply *reply)
{
	char why[ENGINE_TEXT_LEN];
	int err = s->backend->vm_open(vm);

	if (!err) {
		s->table_bytes += s->backend->table_bytes(vm);
		return 0;
	}
	snprintf(why, sizeof(why), "%s", strerrordesc_np(-err));
	if (s->backend->vm_error)
		s->backend->vm_error(err, why, sizeof(why));
	return vmm_fail(reply, err, ENGINE_FIELD_NONE, 0, "%s", why);
}

static uint32_t least_loaded(const struct vmm *s)
{
	uint32_t best = 0, i;

	for (i = 1; i < s->processors; i++)
		if (s->processor[i].vcpus < s->processor[best].vcpus)
			best = i;
	return best;
}

static int make_vcpus(struct vmm *s, struct vmm_vm *vm)
{
	int err;

	vm->vcpus = calloc(vm->config.vcpus, sizeof(*vm->vcpus));
	if (!vm->vcpus)
		return -ENOMEM;
	while (vm->vcpu_count < vm->config.vcpus) {
		uint32_t i = vm->vcpu_count;
		struct vmm_vcpu *v = &vm->vcpus[i];
		uint32_t home = vm->config.processor[i];

		v->vm = vm;
		v->index = i;
		v->pinned = home != ENGINE_ANY_PROCESSOR;
		v->home = v->pinned ? home : least_loaded(s);
		v->run = i ? VMM_VCPU_WAIT_SIPI : VMM_VCPU_READY;
		err = s->backend->vcpu_open(v);
		if (err)
			return err;
		s->processor[v->home].vcpus++;
		vm->vcpu_count++;
	}
	return 0;
}

void vmm_reset_devices(struct vmm_vm *vm)
{
	uart_init(&vm->uart, &vm->console);
	vm->exit_port = (struct exit_port){0};
	console_clear(&vm->console);
	vm->console_told = 0;
}

static int make_devices(struct vmm_vm *vm)
{
	int err;

	console_init(&vm->console, CONSOLE_KEEP_BYTES);
	vmm_reset_devices(vm);
	err = port_bus_claim(&vm->bus, &uart_com1, &vm->uart);
	if (!err)
		err = port_bus_claim(&vm->bus, &exit_port_device, &vm->exit_port);
	return err;
}

static int make_ram(struct vmm *s, struct vmm_vm *vm, struct vmm_reply *reply)
{
	const struct engine_slot_add ram = {
		.size_bytes = vm->config.memory_bytes,
		.slot = VMM_RAM_SLOT,
		.kind = vm->config.huge_pages ? ENGINE_SLOT_HUGE : ENGINE_SLOT_ANON,
	};

	return vmm_slot_new(s, vm, &ram, -1, reply);
}

static int make(struct vmm *s, struct vmm_vm *vm, struct vmm_reply *reply)
{
	int err = open_vm(s, vm, reply);

	if (!err)
		err = make_ram(s, vm, reply);
	if (!err)
		err = make_vcpus(s, vm);
	if (!err)
		err = make_devices(vm);
	if (!err && vm->config.has_image)
		err = vmm_boot_check(s, vm, reply);
	if (!err && vm->config.has_image)
		err = vmm_boot_vcpus(s, vm, reply);
	return err;
}

/* --- in pieces ---------------------------------------------------------------------------------
 */

/* A VM that is not listed yet. */
struct making {
	struct vmm_vm *vm;
	struct image_read *read;
	uint32_t next;		  /* file to share: 0 the image, then the modules */
	struct vmm_change change; /* the mapping of the RAM */
	struct core_map_op ram;
};

static int end_making(struct vmm *s, struct making *m, int err)
{
	s->creating--;
	image_read_drop(s, m->read);
	if (err)
		vmm_vm_free(s, m->vm);
	free(m);
	return err;
}

static struct vmm_blob **place_of(struct vmm_vm *vm, uint32_t file)
{
	return file ? &vm->module[file - 1] : &vm->image;
}

/* Its RAM is mapped: the VM is whole. r: of that. */
static int list(struct vmm *s, struct vmm_job *job, int r)
{
	struct making *m = job->state;

	if (r == VMM_JOB_MORE || r == VMM_JOB_PARK)
		return r;
	if (!r)
		r = vmm_vm_list(s, m->vm);
	if (!r)
		job->reply.vm = m->vm->id;
	return end_making(s, m, r);
}

static int step_map(struct vmm *s, struct vmm_job *job)
{
	struct making *m = job->state;
	int r;

	vmm_lock(s, m->vm);
	r = vmm_change_step(s, &m->change, job);
	vmm_unlock(s);
	return list(s, job, r);
}

/* Its memory is there: r. */
static int map(struct vmm *s, struct vmm_job *job, int r)
{
	struct making *m = job->state;

	if (r)
		return r == VMM_JOB_PARK ? r : end_making(s, m, r);
	vmm_change_ram(m->vm, &m->ram, &m->change);
	job->step = step_map;
	vmm_lock(s, m->vm);
	r = vmm_change_begin(s, &m->change, &job->reply);
	vmm_unlock(s);
	return list(s, job, r);
}

static int step_populated(struct vmm *s, struct vmm_job *job)
{
	return map(s, job, vmm_populated(job));
}

static int step_make(struct vmm *s, struct vmm_job *job)
{
	struct making *m = job->state;
	int r = -ECANCELED;

	if (!vmm_job_cancelled(job)) {
		vmm_lock(s, m->vm);
		r = make(s, m->vm, &job->reply);
		vmm_unlock(s);
	}
	if (r)
		return end_making(s, m, r);
	job->step = step_populated;
	return map(s, job, vmm_populate(s, job, m->vm, m->vm->slots[0]));
}

/* The files are there: those that another VM has already are shared. */
static int step_share(struct vmm *s, struct vmm_job *job)
{
	struct making *m = job->state;
	int r = vmm_job_cancelled(job) ? -ECANCELED : 0;

	while (!r && m->next < 1 + m->vm->config.modules) {
		r = image_take(s, m->read, m->next, place_of(m->vm, m->next), &job->reply);
		if (!r)
			m->next++;
	}
	if (r < 0)
		return end_making(s, m, r);
	if (r == 0)
		job->step = step_make;
	return r == 0 ? job->step(s, job) : r;
}

static int step_read(struct vmm *s, struct vmm_job *job)
{
	struct making *m = job->state;

	if (vmm_job_at_work(job)) {
		/* Cancelled. The reader may hang: it is left with what it has. */
		vmm_job_give_up_work(job);
		m->read = NULL;
		return end_making(s, m, -ECANCELED);
	}
	if (image_read_failed(m->read, &job->reply))
		return end_making(s, m, job->reply.error.code);
	job->step = step_share;
	return step_share(s, job);
}

static int step_begin(struct vmm *s, struct vmm_job *job)
{
	struct making *m = job->state;
	int r;

	if (!m->vm->config.has_image) {
		m->vm->loaded = true;
		job->step = step_make;
		return step_make(s, job);
	}
	r = image_read_new(s, job->rq, &m->read);
	if (r)
		return end_making(s, m, r);
	job->step = step_read;
	r = vmm_job_work(job, s->readers, image_read_work(m->read));
	return r < 0 ? end_making(s, m, r) : r;
}

static int new_making(struct vmm *s, const struct engine_vm_create *config, struct vmm_reply *reply)
{
	struct making *m = calloc(1, sizeof(*m));
	int err = -ENOMEM;

	if (!m)
		return err;
	m->vm = calloc(1, sizeof(*m->vm));
	if (m->vm)
		err = vmm_job_new(s, NULL, reply, step_begin, m);
	if (err) {
		free(m->vm);
		free(m);
		return err;
	}
	pthread_mutex_init(&m->vm->lock, NULL);
	m->vm->machine = s;
	m->vm->config = *config;
	m->vm->state.state = ENGINE_STATE_SHUTOFF;
	m->vm->state.reason = ENGINE_REASON_CREATED;
	s->creating++;
	return 0;
}

int vmm_vm_create(struct vmm *s, struct vmm_vm *none, const struct queue_request *rq,
		  struct vmm_reply *reply)
{
	int err;

	(void)none;
	if (rq->req.vm != 0)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_VM, 0, "the engine gives the id");
	err = check_create(s, &rq->req.u.create, reply);
	return err ? err : new_making(s, &rq->req.u.create, reply);
}
