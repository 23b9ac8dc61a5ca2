/* SPDX-License-Identifier: MIT */
/*
 * A /dev/vmxcore that answers what a test tells it to, and counts descriptors. Nothing runs
 * on it: VMXCORE_RUN waits for a kick, or fails.
 */
#ifndef TESTS_UNIT_FAKE_DEVICE_H
#define TESTS_UNIT_FAKE_DEVICE_H

#include <vmxcore/uapi.h>

#include "engine/vmx_dev.h"

#define FAKE_BINDS 64u

struct fake_device {
	/* What it is; set before it is used. */
	bool no_vmx;
	int stat_error, open_error;
	struct stat stat;
	struct vmxcore_info info;
	/* This ioctl fails with this error, after so many that don't. */
	unsigned long fail_cmd;
	int fail_error;
	unsigned fail_after;
	/* Processors from this one on can't be had (bind()); 0: all can. */
	uint32_t absent_from;
};

struct fake_counts {
	unsigned open;	  /* descriptors */
	unsigned misused; /* ioctls and closes of what is none */
	unsigned runs, kicks, completions, removed_slots;
	unsigned completed_runs; /* that completed an IN or OUT on their way */
	uint32_t in_value;	 /* of the last of these */
	unsigned binds;
	uint32_t bind[FAKE_BINDS]; /* to which processors */
};

/* In the place of the system's from now on; f is read at once. */
void fake_device_use(const struct fake_device *f);
/* Changes which ioctl fails. */
void fake_device_fail(unsigned long cmd, int error, unsigned after);
/* The next runs end at once, each with VPIDs of the next of these generations, up to a 0. */
void fake_device_generations(const uint64_t *generations);
/* The next runs end at once, so. */
void fake_device_exits(const struct vmxcore_run *exits, unsigned count);
/* A run that is kicked ends with this reason (VMXCORE_EXIT_*), not with -EINTR. */
void fake_device_exit_at_kick(uint32_t reason);
/* Of each vCPU's 100 misses and 7000 cycles of walks, those of these bits can be observed. */
void fake_device_events(uint32_t events);
/* Until VMXCORE_RUN has been called so often. */
void fake_device_await_runs(unsigned runs);
struct fake_counts fake_device_counts(void);

#endif
