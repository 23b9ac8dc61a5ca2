/* SPDX-License-Identifier: MIT */
/*
 * Slots by request. A file is looked at on another thread first, since the server that it
 * lies on may be away; that it answers later, when guests use the memory, nobody can see
 * to: an access to a file's page waits for the page. What a backend has to do with much
 * memory before it can be used is another thread's, too.
 */
#include "engine/vmm_job.h"

#include "plat/atomic.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- what takes long of a new slot --------------------------------------------------------- */

struct populate {
	struct work work;
	struct vmm_vm *vm;
	struct vmm_slot *slot;
	int err;
};

static void populate_run(struct work *w)
{
	struct populate *p = (struct populate *)w;

	p->err = p->vm->machine->backend->slot_populate(p->vm, p->slot, &w->done);
}

static void populate_drop(struct work *w)
{
	free(w);
}

static int populate_end(struct populate *p, struct vmm_job *job)
{
	int err = p->err;

	if (err)
		vmm_slot_refuse(p->vm->machine, &job->reply, p->slot->kind, err);
	else if (vmm_job_cancelled(job))
		err = -ECANCELED;
	job->work = NULL;
	free(p);
	return err;
}

int vmm_populate(struct vmm *s, struct vmm_job *job, struct vmm_vm *vm, struct vmm_slot *slot)
{
	struct populate *p;
	int r;

	if (!s->backend->slot_populate)
		return 0;
	if (vmm_job_cancelled(job))
		return -ECANCELED;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->work.run = populate_run;
	p->work.drop = populate_drop;
	p->work.total = slot->core.size;
	p->vm = vm;
	p->slot = slot;
	r = vmm_job_work(job, s->movers, &p->work);
	if (r >= 0)
		return r;
	populate_run(&p->work); /* no thread to be had */
	return populate_end(p, job);
}

/* The work itself can't be given up: half of a slot is of no use to anybody. */
int vmm_populated(struct vmm_job *job)
{
	if (vmm_job_at_work(job))
		return VMM_JOB_PARK;
	return populate_end((struct populate *)job->work, job);
}

/* --- the request ---------------------------------------------------------------------------- */

struct look {
	struct work work;
	int fd;
	int err;
};

static void run(struct work *w)
{
	struct look *l = (struct look *)w;
	struct stat st;

	l->err = fstat(l->fd, &st) != 0 ? -errno : 0;
}

static void drop(struct work *w)
{
	struct look *l = (struct look *)w;

	if (l->fd >= 0)
		close(l->fd);
	free(l);
}

/* It is populated: r. */
static int use(struct vmm *s, struct vmm_job *job, int r)
{
	if (r && r != VMM_JOB_PARK)
		vmm_slot_free(s, job->vm, vmm_find_slot(job->vm, job->rq->req.u.slot_add.slot));
	return r;
}

static int step_populated(struct vmm *s, struct vmm_job *job)
{
	return use(s, job, vmm_populated(job));
}

static int add(struct vmm *s, struct vmm_job *job, int fd)
{
	const struct engine_slot_add *a = &job->rq->req.u.slot_add;
	int err = vmm_slot_new(s, job->vm, a, fd, &job->reply);

	if (err)
		return err;
	job->step = step_populated;
	return use(s, job, vmm_populate(s, job, job->vm, vmm_find_slot(job->vm, a->slot)));
}

static int step_add(struct vmm *s, struct vmm_job *job)
{
	struct look *l = job->state;
	int err;

	if (vmm_job_at_work(job)) {
		vmm_job_give_up_work(job);
		return -ECANCELED;
	}
	err = vmm_job_cancelled(job) ? -ECANCELED : l->err;
	if (err && err != -ECANCELED)
		vmm_fail(&job->reply, err, ENGINE_FIELD_FILE, 0, "the file is not to be had: %s",
			 strerrordesc_np(-err));
	if (!err)
		err = add(s, job, l->fd);
	drop(&l->work);
	return err;
}

static int step_look(struct vmm *s, struct vmm_job *job)
{
	struct look *l = job->state;
	int r;

	job->step = step_add;
	if (!job->rq->fd_count)
		return step_add(s, job);
	l->fd = job->rq->fds[0];
	job->rq->fd_count = 0;
	r = vmm_job_work(job, s->readers, &l->work);
	if (r < 0)
		drop(&l->work);
	return r;
}

int vmm_slot_add(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		 struct vmm_reply *reply)
{
	struct look *l;
	int err;

	if (!rq->fd_count && !s->backend->slot_populate)
		return vmm_slot_new(s, vm, &rq->req.u.slot_add, -1, reply);
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->work.run = run;
	l->work.drop = drop;
	l->fd = -1;
	err = vmm_job_new(s, vm, reply, step_look, l);
	if (err)
		free(l);
	return err;
}
