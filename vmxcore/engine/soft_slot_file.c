/* SPDX-License-Identifier: MIT */
/*
 * Slots by request. A file is looked at on another thread first, since the server that it
 * lies on may be away; that it answers later, when guests use the memory, nobody can see
 * to: an access to a file's page waits for the page.
 */
#include "engine/soft_job.h"

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

static int step_add(struct soft *s, struct soft_job *job)
{
	struct look *l = job->state;
	int err;

	if (soft_job_at_work(job)) {
		soft_job_give_up_work(job);
		return -ECANCELED;
	}
	err = soft_job_cancelled(job) ? -ECANCELED : l->err;
	if (err && err != -ECANCELED)
		soft_fail(&job->reply, err, ENGINE_FIELD_FILE, 0, "the file is not to be had: %s",
			  strerrordesc_np(-err));
	if (!err)
		err = soft_slot_new(s, job->vm, &job->rq->req.u.slot_add, l->fd, &job->reply);
	drop(&l->work);
	return err;
}

static int step_look(struct soft *s, struct soft_job *job)
{
	struct look *l = job->state;
	int r;

	l->fd = job->rq->fds[0];
	job->rq->fd_count = 0;
	job->step = step_add;
	r = soft_job_work(job, s->readers, &l->work);
	if (r < 0)
		drop(&l->work);
	return r;
}

int soft_slot_add(struct soft *s, struct soft_vm *vm, const struct queue_request *rq,
		  struct soft_reply *reply)
{
	struct look *l;
	int err;

	if (!rq->fd_count)
		return soft_slot_new(s, vm, &rq->req.u.slot_add, -1, reply);
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->work.run = run;
	l->work.drop = drop;
	err = soft_job_new(s, vm, reply, step_look, l);
	if (err)
		free(l);
	return err;
}
