/* SPDX-License-Identifier: MIT */
#include "engine/vmm_job.h"

#include "plat/atomic.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_NS (VMM_JOB_PROGRESS_MS * UINT64_C(1000000))
#define CLOSING_POLL_US 200

/* --- lists ------------------------------------------------------------------------------ */

static void take_out(struct vmm_job *job)
{
	if (!job->list)
		return;
	if (*job->list == job)
		*job->list = job->next == job ? NULL : job->next;
	job->prev->next = job->next;
	job->next->prev = job->prev;
	job->list = NULL;
}

/* Last in the round. */
static void put_in(struct vmm_job **list, struct vmm_job *job)
{
	take_out(job);
	job->list = list;
	if (!*list) {
		*list = job->next = job->prev = job;
		return;
	}
	job->next = *list;
	job->prev = (*list)->prev;
	job->prev->next = job;
	job->next->prev = job;
}

/* --- progress ------------------------------------------------------------------------------ */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void learn_progress(struct vmm_job *job)
{
	if (!job->workers)
		return;
	job->total = job->before + plat_load(&job->work->total);
	job->done = job->before + plat_load(&job->work->done);
}

static void tell_progress(struct vmm *s, struct vmm_job *job)
{
	struct engine_event ev = {.type = ENGINE_EVENT_PROGRESS};
	uint64_t now;

	learn_progress(job);
	if (!job->rq || job->done == 0 || job->done >= job->total || job->done <= job->told)
		return;
	now = now_ns();
	if (job->told_ns && now - job->told_ns < PROGRESS_NS)
		return;
	job->told = job->done;
	job->told_ns = now;
	ev.op = job->rq->req.op;
	ev.token = job->rq->req.token;
	ev.vm = job->rq->req.vm;
	ev.done = job->done;
	ev.total = job->total;
	queue_push(&s->queue, &ev);
}

/* --- life ---------------------------------------------------------------------------------- */

int vmm_job_new(struct vmm *s, struct vmm_vm *vm, struct vmm_reply *reply,
		int (*step)(struct vmm *s, struct vmm_job *job), void *state)
{
	struct vmm_job *job = calloc(1, sizeof(*job));

	(void)s;
	if (!job)
		return -ENOMEM;
	job->vm = vm;
	job->step = step;
	job->state = state;
	reply->job = job;
	return 0;
}

/* Its completion comes before those of the requests that waited for it. */
static void finish(struct vmm *s, struct vmm_job *job, int err)
{
	struct queue_request *rq = job->first_waiting, *next;

	take_out(job);
	if (job->vm)
		job->vm->job = NULL;
	if (job->rq)
		vmm_complete(s, job->rq, &job->reply, err);
	else
		free(job->reply.payload);
	free(job);
	if (s->locked)
		vmm_unlock(s);
	for (; rq; rq = next) {
		next = rq->next;
		rq->next = NULL;
		vmm_serve(s, rq);
	}
}

static void step(struct vmm *s, struct vmm_job *job)
{
	int r;

	if (job->vm)
		vmm_lock(s, job->vm);
	r = job->step(s, job);
	if (r != VMM_JOB_MORE && r != VMM_JOB_PARK) {
		finish(s, job, r);
		return;
	}
	if (s->locked)
		vmm_unlock(s);
	put_in(r == VMM_JOB_MORE ? &s->ready : &s->parked, job);
	tell_progress(s, job);
}

void vmm_job_begin(struct vmm *s, struct queue_request *rq, struct vmm_reply *reply)
{
	struct vmm_job *job = reply->job;

	reply->job = NULL;
	job->reply = *reply;
	job->rq = rq;
	if (job->vm)
		job->vm->job = job;
	step(s, job);
}

void vmm_job_wait(struct vmm_job *job, struct queue_request *rq)
{
	rq->next = NULL;
	if (job->last_waiting)
		job->last_waiting->next = rq;
	else
		job->first_waiting = rq;
	job->last_waiting = rq;
}

/* --- for steps ------------------------------------------------------------------------------- */

bool vmm_job_cancelled(const struct vmm_job *job)
{
	return job->rq && plat_load(&job->rq->cancelled);
}

int vmm_job_work(struct vmm_job *job, struct workers *workers, struct work *work)
{
	int err;

	work->owner = job;
	err = workers_submit(workers, work);
	if (err)
		return err;
	job->work = work;
	job->workers = workers;
	return VMM_JOB_PARK;
}

bool vmm_job_at_work(const struct vmm_job *job)
{
	return job->workers != NULL;
}

void vmm_job_give_up_work(struct vmm_job *job)
{
	workers_give_up(job->workers, job->work);
	job->workers = NULL;
	job->work = NULL;
}

/* --- for the machine's thread ---------------------------------------------------------------- */

bool vmm_jobs_ready(const struct vmm *s)
{
	return s->ready != NULL;
}

int vmm_jobs_patience(const struct vmm *s)
{
	return s->ready ? 0 : s->parked ? VMM_JOB_PROGRESS_MS : QUEUE_FOREVER;
}

static void collect(struct vmm *s, struct workers *workers)
{
	struct work *w = workers_collect(workers), *next;

	for (; w; w = next) {
		struct vmm_job *job = w->owner;

		next = w->next;
		learn_progress(job);
		job->before = job->done;
		job->workers = NULL;
		put_in(&s->ready, job);
	}
}

/* Requests that wait for the job, and need not any more. */
static void end_waiting(struct vmm *s, struct vmm_job *job)
{
	struct queue_request *rq = job->first_waiting, *next;
	struct vmm_reply reply = {0};

	job->first_waiting = NULL;
	job->last_waiting = NULL;
	for (; rq; rq = next) {
		next = rq->next;
		if (!plat_load(&rq->cancelled)) {
			vmm_job_wait(job, rq);
			continue;
		}
		reply = (struct vmm_reply){.vm = rq->req.vm};
		vmm_complete(s, rq, &reply, -ECANCELED);
	}
}

/* fn may put the job into the other list. */
static void each_job(struct vmm *s, struct vmm_job **list,
		     void (*fn)(struct vmm *s, struct vmm_job *job))
{
	struct vmm_job *job = *list, *last = job ? job->prev : NULL, *next;

	for (; job; job = next) {
		next = job == last ? NULL : job->next;
		fn(s, job);
	}
}

static void wake_cancelled(struct vmm *s, struct vmm_job *job)
{
	if (vmm_job_cancelled(job))
		put_in(&s->ready, job);
}

void vmm_jobs_poll(struct vmm *s, bool cancelling)
{
	uint64_t now;

	if (s->parked) {
		collect(s, s->readers);
		collect(s, s->movers);
		now = now_ns();
		if (now - s->polled_ns >= PROGRESS_NS) {
			s->polled_ns = now;
			each_job(s, &s->parked, tell_progress);
		}
	}
	if (!cancelling)
		return;
	each_job(s, &s->ready, end_waiting);
	each_job(s, &s->parked, end_waiting);
	each_job(s, &s->parked, wake_cancelled);
}

void vmm_jobs_step(struct vmm *s)
{
	if (s->ready)
		step(s, s->ready);
}

static void cancel_all(struct vmm *s, struct vmm_job *job)
{
	struct queue_request *rq;

	(void)s;
	if (job->rq)
		plat_store(&job->rq->cancelled, 1);
	for (rq = job->first_waiting; rq; rq = rq->next)
		plat_store(&rq->cancelled, 1);
}

void vmm_jobs_end(struct vmm *s)
{
	each_job(s, &s->ready, cancel_all);
	each_job(s, &s->parked, cancel_all);
	vmm_jobs_poll(s, true);
	while (s->ready || s->parked) {
		if (s->ready) {
			step(s, s->ready);
			continue;
		}
		/* Work that can't be given up. */
		usleep(CLOSING_POLL_US);
		vmm_jobs_poll(s, false);
	}
}
