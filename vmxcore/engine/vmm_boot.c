/* SPDX-License-Identifier: MIT */
/* From image files to a VM that is ready to run. */
#include "engine/vmm_job.h"

#include "plat/atomic.h"

#include <stdlib.h>

/* --- loading --------------------------------------------------------------------------------- */

static const enum engine_field fields[] = {
	[LOADER_FIELD_NONE] = ENGINE_FIELD_NONE,
	[LOADER_FIELD_IMAGE] = ENGINE_FIELD_IMAGE,
	[LOADER_FIELD_MODULE] = ENGINE_FIELD_MODULE,
	[LOADER_FIELD_CMDLINE] = ENGINE_FIELD_CMDLINE,
	[LOADER_FIELD_LOAD_GPA] = ENGINE_FIELD_LOAD_GPA,
	[LOADER_FIELD_MEMORY] = ENGINE_FIELD_MEMORY,
};

static const enum loader_format formats[] = {
	[ENGINE_IMAGE_AUTO] = LOADER_AUTO,
	[ENGINE_IMAGE_MULTIBOOT] = LOADER_MULTIBOOT,
	[ENGINE_IMAGE_ELF64] = LOADER_ELF64,
	[ENGINE_IMAGE_FLAT] = LOADER_FLAT,
};

/* --- what is loaded -------------------------------------------------------------------------- */

/* Bytes between two looks at how far it is. */
#define PIECE (UINT64_C(1) << 20)
/* Zeroing goes by larger ones: pages that were never touched cost nothing. */
#define ZERO_PIECE (UINT64_C(64) << 20)
/* Less than this the machine's thread does itself: handing it over would take longer. */
#define INLINE_BYTES (UINT64_C(4) << 20)

/*
 * The RAM as new: zeroed, if a former run is to be forgotten, and with the image. On a
 * thread of its own where it is much; the VM does not run, its requests wait, and nobody
 * else has this slot.
 */
struct fill {
	struct work work;
	struct vmm_vm *vm;
	bool zero;
	int (*then)(struct vmm *, struct vmm_vm *, struct vmm_reply *);
	struct loader_error error;
	int err;
};

static void zero(struct fill *f)
{
	const struct backend *b = f->vm->machine->backend;
	struct vmm_slot *slot = f->vm->slots[0];
	uint64_t at = 0;

	while (at < slot->core.size) {
		uint64_t left = slot->core.size - at, n = left < ZERO_PIECE ? left : ZERO_PIECE;

		b->slot_zero(f->vm, slot, at, n, false);
		at += n;
		plat_fetch_add(&f->work.done, n);
	}
}

static int write_ram(void *ctx, uint64_t at, const void *buf, size_t len)
{
	struct fill *f = ctx;
	const struct backend *b = f->vm->machine->backend;
	const uint8_t *from = buf;

	while (len != 0) {
		size_t n = len < PIECE ? len : PIECE;
		int err = b->slot_fill(f->vm, f->vm->slots[0], at, from, n);

		if (err)
			return err;
		at += n;
		from += n;
		len -= n;
		plat_fetch_add(&f->work.done, n);
	}
	return 0;
}

static int write_nothing(void *ctx, uint64_t at, const void *buf, size_t len)
{
	(void)ctx, (void)at, (void)buf, (void)len;
	return 0;
}

static int load(const struct vmm_vm *vm,
		int (*write)(void *ctx, uint64_t at, const void *buf, size_t len), void *ctx,
		struct loader_start *ret, struct loader_error *error)
{
	struct loader_request req = {
		.format = formats[vm->config.image_format],
		.image = {vm->image->data, vm->image->size},
		.modules = vm->config.modules,
		.cmdline = vm->config.cmdline[0] ? vm->config.cmdline : NULL,
		.load_gpa = vm->config.load_gpa,
		.ram_bytes = vm->config.memory_bytes,
		.vcpus = vm->config.vcpus,
		.write = write,
		.ctx = ctx,
	};
	uint32_t i;

	for (i = 0; i < vm->config.modules; i++)
		req.module[i] = (struct loader_blob){vm->module[i]->data, vm->module[i]->size};
	return loader_load(&req, ret, error);
}

static int refused(struct vmm_reply *reply, int err, const struct loader_error *e)
{
	reply->error.index = e->index;
	return vmm_fail(reply, err, fields[e->field], e->limit, "%s", e->text);
}

int vmm_boot_check(struct vmm *s, struct vmm_vm *vm, struct vmm_reply *reply)
{
	struct loader_error e;
	int err = load(vm, write_nothing, NULL, &vm->start, &e);

	(void)s;
	return err ? refused(reply, err, &e) : 0;
}

static void fill_run(struct work *w)
{
	struct fill *f = (struct fill *)w;
	struct loader_start start;

	if (f->zero)
		zero(f);
	f->err = load(f->vm, write_ram, f, &start, &f->error);
}

static void fill_drop(struct work *w)
{
	free(w);
}

static int fill_end(struct vmm *s, struct fill *f, struct vmm_reply *reply)
{
	struct vmm_vm *vm = f->vm;
	int err = f->err ? refused(reply, f->err, &f->error) : 0;

	s->backend->slot_written(vm, vm->slots[0]);
	vm->loaded = !err;
	if (!err && f->then)
		err = f->then(s, vm, reply);
	free(f);
	return err;
}

/* Cancelling comes too late: what was in the RAM is gone. */
static int step_fill(struct vmm *s, struct vmm_job *job)
{
	struct fill *f = job->state;
	int r;

	if (vmm_job_at_work(job))
		return VMM_JOB_PARK;
	if (!job->work) {
		r = vmm_job_work(job, s->movers, &f->work);
		if (r >= 0)
			return r;
		fill_run(&f->work); /* no thread to be had: slowly, but surely */
	}
	return fill_end(s, f, &job->reply);
}

static uint64_t image_bytes(const struct vmm_vm *vm)
{
	uint64_t sum = vm->image->size;
	uint32_t i;

	for (i = 0; i < vm->config.modules; i++)
		sum += vm->module[i]->size;
	return sum;
}

int vmm_boot_load(struct vmm *s, struct vmm_vm *vm, bool zero_first,
		  int (*then)(struct vmm *, struct vmm_vm *, struct vmm_reply *),
		  struct vmm_reply *reply)
{
	struct fill *f = calloc(1, sizeof(*f));
	int err;

	if (!f)
		return -ENOMEM;
	f->vm = vm;
	f->zero = zero_first;
	f->work.run = fill_run;
	f->work.drop = fill_drop;
	f->work.total = image_bytes(vm) + (zero_first ? vm->config.memory_bytes : 0);
	if (f->work.total <= INLINE_BYTES) {
		fill_run(&f->work);
		return fill_end(s, f, reply);
	}
	f->then = then;
	err = vmm_job_new(s, vm, reply, step_fill, f);
	if (err)
		free(f);
	return err;
}

/* --- vCPUs --------------------------------------------------------------------------------- */

/* "Guest Non-Register State" */
#define ACTIVITY_WAIT_FOR_SIPI 3u

/*
 * A vCPU that begins anew has nothing of its former life: no event on its way, and no
 * translation (its tag is a fresh one). Its counters go on.
 */
static int renew(struct vmm_vcpu *v)
{
	const struct backend *b = v->vm->machine->backend;
	uint64_t exits[VMX_EXIT_REASONS];
	struct core_stats stats;
	uint32_t i;
	int err;

	b->vcpu_stats(v, &stats, exits);
	err = b->vcpu_renew(v);
	if (err)
		return err;
	for (i = 0; i < CORE_STAT_COUNT; i++)
		v->past.v[i] += stats.v[i];
	for (i = 0; i < VMX_EXIT_REASONS; i++)
		v->past_exits[i] += exits[i];
	return 0;
}

static void first_regs(const struct loader_start *start, struct core_regs *r)
{
	if (start->mode == LOADER_MODE_LONG)
		core_regs_long_mode(r, start->entry, start->cr3, start->rsp);
	else
		core_regs_protected_flat(r, (uint32_t)start->entry);
	r->gp.r[HW_RAX] = start->rax;
	r->gp.r[HW_RBX] = start->rbx;
	r->gp.r[HW_RDI] = start->rdi;
}

int vmm_boot_vcpus(struct vmm *s, struct vmm_vm *vm, struct vmm_reply *reply)
{
	uint32_t i;
	int err;

	for (i = 0; i < vm->vcpu_count; i++) {
		struct vmm_vcpu *v = &vm->vcpus[i];
		const char *field = "";
		struct core_regs r;

		if (vm->has_run) {
			err = renew(v);
			if (err)
				return err;
		}
		core_regs_reset(&r);
		if (i == 0)
			first_regs(&vm->start, &r);
		else
			r.activity = ACTIVITY_WAIT_FOR_SIPI;
		vmm_hold(v);
		err = s->backend->set_regs(v, &r, &field);
		vmm_release(v);
		if (err)
			return vmm_fail(reply, err, ENGINE_FIELD_IMAGE, 0,
					"vcpu %u: the first state is refused: %s", i, field);
		v->run = i ? VMM_VCPU_WAIT_SIPI : VMM_VCPU_READY;
	}
	return 0;
}
