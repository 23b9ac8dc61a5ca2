// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* See events.h. */
#include <linux/err.h>
#include <linux/moduleparam.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/string.h>

#include <asm/processor.h>

#include "events.h"

static bool guest_events;
module_param(guest_events, bool, 0644);
MODULE_PARM_DESC(guest_events,
		 "count the guests' dTLB load misses and cycles of EPT walks where the "
		 "processor can, of vCPUs that are made from then on (default: "
		 "no); takes two performance counters");

/* --- which events ------------------------------------------------------------------------ */

/*
 * Model-specific: cycles in which a page walker is busy with an EPT walk, event 4FH with unit
 * mask 10H, from Sandy Bridge to Skylake and its kin. Source: SDM volume 3, "Performance
 * Monitoring Events".
 */
#define EPT_WALK_CYCLES 0x104fu

static const u8 ept_walk_models[] = {
	0x2a, 0x2d, 0x3a, 0x3e,			  /* Sandy Bridge, Ivy Bridge */
	0x3c, 0x3f, 0x45, 0x46,			  /* Haswell */
	0x3d, 0x47, 0x4f, 0x56,			  /* Broadwell */
	0x4e, 0x5e, 0x55, 0x8e, 0x9e, 0xa5, 0xa6, /* Skylake */
};

static bool has_ept_walk_cycles(void)
{
	size_t i;

	if (boot_cpu_data.x86_vendor != X86_VENDOR_INTEL || boot_cpu_data.x86 != 6)
		return false;
	for (i = 0; i < ARRAY_SIZE(ept_walk_models); i++)
		if (boot_cpu_data.x86_model == ept_walk_models[i])
			return true;
	return false;
}

/* Pinned: it counts all the time, or says that it didn't. */
static struct perf_event *create(enum event_kind kind)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.pinned = 1,
		.exclude_host = 1,
	};
	struct perf_event *event;

	if (kind == EVENT_DTLB_LOAD_MISSES) {
		attr.type = PERF_TYPE_HW_CACHE;
		attr.config = PERF_COUNT_HW_CACHE_DTLB | PERF_COUNT_HW_CACHE_OP_READ << 8 |
			      PERF_COUNT_HW_CACHE_RESULT_MISS << 16;
	} else if (has_ept_walk_cycles()) {
		attr.type = PERF_TYPE_RAW;
		attr.config = EPT_WALK_CYCLES;
	} else {
		return NULL;
	}
	event = perf_event_create_kernel_counter(&attr, -1, current, NULL, NULL);
	return IS_ERR(event) ? NULL : event;
}

/* --- a vCPU's --------------------------------------------------------------------------------- */

void events_init(struct events *e)
{
	memset(e, 0, sizeof(*e));
	mutex_init(&e->lock);
}

/* False: the counter was not there all the time that its thread was running. */
static bool count(struct perf_event *event, u64 *ret)
{
	u64 enabled, running;

	*ret = perf_event_read_value(event, &enabled, &running);
	/* A pinned one that found no place is in error from then on. */
	return running == enabled && READ_ONCE(event->state) != PERF_EVENT_STATE_ERROR;
}

/* The lock is held. What was counted stays. */
static void detach(struct events *e)
{
	unsigned int i;
	u64 n;

	for (i = 0; i < EVENT_KINDS; i++) {
		if (!e->event[i])
			continue;
		if (!count(e->event[i], &n))
			e->incomplete[i] = true;
		e->before[i] += n;
		perf_event_release_kernel(e->event[i]);
		e->event[i] = NULL;
	}
	if (e->task)
		put_task_struct(e->task);
	e->task = NULL;
}

void events_destroy(struct events *e)
{
	detach(e);
	mutex_destroy(&e->lock);
}

void events_attach(struct events *e)
{
	bool wanted = READ_ONCE(guest_events);
	unsigned int i;

	if (READ_ONCE(e->task) == current || (!wanted && !READ_ONCE(e->task) && e->ran))
		return;
	mutex_lock(&e->lock);
	/* It has run without being counted: what is counted now would not be all. */
	for (i = 0; i < EVENT_KINDS && e->ran && !e->task; i++)
		e->incomplete[i] = true;
	e->ran = true;
	detach(e);
	for (i = 0; i < EVENT_KINDS && wanted; i++)
		e->event[i] = create((enum event_kind)i);
	for (i = 0; i < EVENT_KINDS; i++)
		if (!e->event[i])
			e->incomplete[i] = true;
	if (wanted) {
		get_task_struct(current);
		WRITE_ONCE(e->task, current);
	}
	mutex_unlock(&e->lock);
}

u32 events_read(struct events *e, u64 values[EVENT_KINDS])
{
	u32 observable = 0;
	unsigned int i;
	u64 n;

	mutex_lock(&e->lock);
	for (i = 0; i < EVENT_KINDS; i++) {
		values[i] = 0;
		if (!e->event[i] || e->incomplete[i] || !count(e->event[i], &n))
			continue;
		values[i] = e->before[i] + n;
		observable |= 1u << i;
	}
	mutex_unlock(&e->lock);
	return observable;
}
