/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the processor's performance counters tell of a vCPU's guest, and of it alone: counted
 * by perf for the thread that runs the vCPU, while it is in the guest. Off unless the module's
 * parameter "guest_events" asks for it: other users of the counters have fewer then.
 *
 * Compiled and reviewed; Bochs has no performance counters, so there nothing is observable.
 */
#ifndef VMXCORE_LINUX_EVENTS_H
#define VMXCORE_LINUX_EVENTS_H

#include <linux/mutex.h>
#include <linux/types.h>

struct perf_event;
struct task_struct;

enum event_kind { EVENT_DTLB_LOAD_MISSES, EVENT_EPT_WALK_CYCLES, EVENT_KINDS };

struct events {
	struct mutex lock; /* of what follows */
	struct task_struct *task;
	struct perf_event *event[EVENT_KINDS]; /* of that thread; NULL: can't be had */
	u64 before[EVENT_KINDS];	       /* by threads that ran it earlier */
	bool incomplete[EVENT_KINDS];	       /* one of them was not counted, or not always */
	bool ran;			       /* since it was made, counted or not */
};

void events_init(struct events *e);
/* Nobody uses it any more. May sleep. */
void events_destroy(struct events *e);
/* The calling thread is about to run the guest. May sleep. */
void events_attach(struct events *e);
/* Bit n of the result: kind n is observable, and values[n] is its count. May sleep. */
u32 events_read(struct events *e, u64 values[EVENT_KINDS]);

#endif
