/* SPDX-License-Identifier: MIT */
/*
 * Giving memory back. What has been touched takes the host its time, some tenths of a
 * second a gigabyte: another thread does that first, and what is left to do is little.
 */
#include "engine/vmm_job.h"

#include "plat/atomic.h"

#include <stdlib.h>

/* Entries of EPT tables freed at a time. */
#define PIECE_ENTRIES 131072u
/* Bytes between two looks at how far it is. */
#define PIECE (UINT64_C(64) << 20)
/* Less than this the machine's thread does itself. */
#define INLINE_BYTES (UINT64_C(16) << 20)

/* The memory of slots that nothing maps any more, or whose VM will not run again. */
struct erase {
	struct work work;
	struct vmm_vm *vm;
	/* What is left to do: 0, or VMM_JOB_MORE. */
	int (*then)(struct vmm *s, struct vmm_job *job, struct erase *e);
	uint64_t shrunk;
	size_t count;
	struct vmm_slot *slot[];
};

static void run(struct work *w)
{
	struct erase *e = (struct erase *)w;
	const struct backend *b = e->vm->machine->backend;
	uint64_t at, size, n;
	size_t i;

	for (i = 0; i < e->count; i++) {
		size = e->slot[i]->core.size;
		for (at = 0; at < size; at += n) {
			n = size - at < PIECE ? size - at : PIECE;
			b->slot_zero(e->vm, e->slot[i], at, n, true);
			plat_fetch_add(&w->done, n);
		}
	}
}

static void drop(struct work *w)
{
	free(w);
}

/* Once it has begun, cancelling comes too late. */
static int step_erase(struct vmm *s, struct vmm_job *job)
{
	struct erase *e = job->state;
	int r;

	if (vmm_job_at_work(job))
		return VMM_JOB_PARK;
	if (!job->work && e->work.total > INLINE_BYTES) {
		r = vmm_job_work(job, s->movers, &e->work);
		if (r >= 0)
			return r;
		/* No thread is to be had: freeing alone does it, too. */
	}
	r = e->then(s, job, e);
	if (r != VMM_JOB_MORE)
		free(e);
	return r;
}

static struct erase *new_erase(struct vmm_vm *vm, size_t count)
{
	struct erase *e = calloc(1, sizeof(*e) + count * sizeof(struct vmm_slot *));

	if (!e)
		return NULL;
	e->vm = vm;
	e->work.run = run;
	e->work.drop = drop;
	return e;
}

static void add_slot(struct erase *e, struct vmm_slot *slot)
{
	e->slot[e->count++] = slot;
	e->work.total += slot->core.size;
}

static int begin(struct vmm *s, struct vmm_vm *vm, struct erase *e, struct vmm_reply *reply)
{
	int err = vmm_job_new(s, vm, reply, step_erase, e);

	if (err)
		free(e);
	return err;
}

/* --- a VM ------------------------------------------------------------------------------------ */

static int free_vm(struct vmm *s, struct vmm_job *job, struct erase *e)
{
	const struct backend *b = s->backend;
	uint64_t before = b->table_bytes(job->vm);
	bool more = b->vm_shrink && b->vm_shrink(job->vm, &e->shrunk, PIECE_ENTRIES);

	s->table_bytes -= before - b->table_bytes(job->vm);
	if (more)
		return VMM_JOB_MORE;
	vmm_vm_free(s, job->vm);
	job->vm = NULL;
	return 0;
}

int vmm_vm_delete(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		  struct vmm_reply *reply)
{
	struct erase *e = new_erase(vm, vm->slot_count);
	size_t i;

	(void)rq;
	if (!e)
		return -ENOMEM;
	/* A vCPU that ended the VM may not have been its last in guest. */
	vmm_quiesce(vm);
	for (i = 0; i < vm->slot_count; i++)
		add_slot(e, vm->slots[i]);
	e->then = free_vm;
	return begin(s, vm, e, reply);
}

/* --- a slot ---------------------------------------------------------------------------------- */

static int free_slot(struct vmm *s, struct vmm_job *job, struct erase *e)
{
	vmm_slot_free(s, job->vm, e->slot[0]);
	return 0;
}

int vmm_slot_erase(struct vmm *s, struct vmm_vm *vm, struct vmm_slot *slot, struct vmm_reply *reply)
{
	struct erase *e = new_erase(vm, 1);

	if (!e)
		return -ENOMEM;
	add_slot(e, slot);
	e->then = free_slot;
	return begin(s, vm, e, reply);
}
