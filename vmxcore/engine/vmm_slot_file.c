/* SPDX-License-Identifier: MIT */
/*
 * Slots by request. A file is looked at on another thread first, since the server that it
 * lies on may be away; that it answers later, when guests use the memory, nobody can see
 * to: an access to a file's page waits for the page.
 */
#include "engine/vmm_job.h"

#include "plat/atomic.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

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

	close(l->fd);
	free(l);
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
		err = vmm_slot_new(s, job->vm, &job->rq->req.u.slot_add, l->fd, &job->reply);
	drop(&l->work);
	return err;
}

static int step_look(struct vmm *s, struct vmm_job *job)
{
	struct look *l = job->state;
	int r;

	l->fd = job->rq->fds[0];
	job->rq->fd_count = 0;
	job->step = step_add;
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

	if (!rq->fd_count)
		return vmm_slot_new(s, vm, &rq->req.u.slot_add, -1, reply);
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->work.run = run;
	l->work.drop = drop;
	err = vmm_job_new(s, vm, reply, step_look, l);
	if (err)
		free(l);
	return err;
}
