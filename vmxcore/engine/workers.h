/* SPDX-License-Identifier: MIT */
/*
 * Threads beside the machine's, for what must not stop guests: reading files, and giving
 * back or filling much memory. A piece of work belongs to its thread while that runs it,
 * and to its submitter before and after.
 *
 * What hangs (a file of a server that is away) can be given up: its thread keeps it, lets
 * it go when the call returns, and another thread takes that one's place. There are so
 * many such strays at most; then work waits until one comes back.
 */
#ifndef VMXCORE_ENGINE_WORKERS_H
#define VMXCORE_ENGINE_WORKERS_H

#include <vmxcore/types.h>

enum work_state { WORK_IDLE, WORK_QUEUED, WORK_RUNNING, WORK_DONE, WORK_GIVEN_UP };

struct work {
	/* On a thread of its own. It looks at `stop` now and then, and counts in `done`. */
	void (*run)(struct work *w);
	/* Frees what was given up; touches nothing that is not the work's own. */
	void (*drop)(struct work *w);
	uint64_t done, total; /* atomic: bytes */
	uint32_t stop;	      /* atomic: its result is not wanted any more */
	void *owner;	      /* the submitter's */
	struct work *next;    /* the workers', until it is collected */
	enum work_state state;
};

struct workers; /* opaque */

struct workers_config {
	unsigned threads;	 /* at a time, without strays */
	unsigned strays;	 /* at most */
	void (*wake)(void *ctx); /* some work is done; from its thread, under a lock */
	void *ctx;
};

/* -ENOMEM. Threads are made when they are needed. */
int workers_new(const struct workers_config *cfg, struct workers **ret);
/*
 * All work has been taken back or given up. Waits for the threads to end, but not long for
 * strays: they end by themselves.
 */
void workers_delete(struct workers *p);
/* 0, or -EAGAIN: there is no thread, and none can be made. */
int workers_submit(struct workers *p, struct work *w);
/* All that is done, as a list; it is the submitter's again. */
struct work *workers_collect(struct workers *p);
/* Work that was submitted and not collected: it is dropped, now or when it returns. */
void workers_give_up(struct workers *p, struct work *w);

#endif
