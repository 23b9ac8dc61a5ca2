/* SPDX-License-Identifier: MIT */
/*
 * Requests that take long: a job is stepped by the machine's thread, a bounded piece at a
 * time, between quanta. Requests to a VM that has a job wait in the job's list, and are
 * served in order when it ends.
 *
 * A piece is a bounded number of entries, pages or bytes, never a time: how far a job gets
 * in a quantum depends on nothing that differs from run to run. What may hang or is only
 * copying is work for other threads (workers.h), which hold no VM's lock; the job is parked
 * meanwhile.
 */
#ifndef VMXCORE_ENGINE_VMM_JOB_H
#define VMXCORE_ENGINE_VMM_JOB_H

#include "engine/vmm.h"

/* How often a parked job's progress is looked at, and told at most. */
#define VMM_JOB_PROGRESS_MS 50

/* What a step returns, besides an error (then it has undone all) and 0: done. */
#define VMM_JOB_MORE 1
#define VMM_JOB_PARK 2 /* until its work is done, or its end is asked for */

struct vmm_job {
	struct vmm_job *next, *prev; /* of the list that it is in */
	struct vmm_job **list;
	struct queue_request *rq; /* NULL: nobody asked for it by itself */
	struct vmm_vm *vm;	  /* whose requests wait; NULL: one that is not listed yet */
	struct vmm_reply reply;
	/* With the VM's lock; a step that frees the VM has let go of it. */
	int (*step)(struct vmm *s, struct vmm_job *job);
	void *state; /* the step's */
	struct work *work;
	struct workers *workers; /* that have the work; NULL: it is the job's */
	uint64_t before;	 /* bytes of the work that is done */
	uint64_t done, total;	 /* bytes, those before among them */
	uint64_t told;		 /* done, at the last event */
	uint64_t told_ns;
	struct queue_request *first_waiting, *last_waiting;
};

/* What a handler returns for a request that takes long; -ENOMEM. The state stays its own. */
int vmm_job_new(struct vmm *s, struct vmm_vm *vm, struct vmm_reply *reply,
		int (*step)(struct vmm *s, struct vmm_job *job), void *state);
/* Takes reply->job from the handler, and makes the first step. rq may be NULL. */
void vmm_job_begin(struct vmm *s, struct queue_request *rq, struct vmm_reply *reply);
/* rq waits for the end of the job. */
void vmm_job_wait(struct vmm_job *job, struct queue_request *rq);

/* --- for steps --- */

/* Its end is asked for. */
bool vmm_job_cancelled(const struct vmm_job *job);
/* Hands work out. VMM_JOB_PARK, or -EAGAIN. */
int vmm_job_work(struct vmm_job *job, struct workers *workers, struct work *work);
/* The work is under way still: the job was woken to be cancelled. */
bool vmm_job_at_work(const struct vmm_job *job);
/* The workers drop it when it returns. */
void vmm_job_give_up_work(struct vmm_job *job);

/* --- for the machine's thread --- */

/* Some job can be stepped. */
bool vmm_jobs_ready(const struct vmm *s);
/* How long the thread may sleep when nothing runs: see queue_take(). */
int vmm_jobs_patience(const struct vmm *s);
/* Takes notice of finished work and, if `cancelling`, of requests whose end is asked for. */
void vmm_jobs_poll(struct vmm *s, bool cancelling);
/* Steps the next job, if there is one. */
void vmm_jobs_step(struct vmm *s);
/* Ends all of them, as if all were cancelled. */
void vmm_jobs_end(struct vmm *s);

#endif
