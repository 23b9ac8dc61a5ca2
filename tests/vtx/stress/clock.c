/* SPDX-License-Identifier: MIT */
/*
 * The host's interrupts while guests run: its timer ticks on every processor, its clocks go
 * on, and an NMI that ends a guest's turn is handled as any other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "host.h"
#include "rig.h"
#include "stress.h"

#define NMIS 40u
#define PAUSE_US 10000u
#define LAG_MAX_NS 100000000 /* of the clock that ticks, behind the one that is read */
#define TICKS_MIN 25u	     /* of a processor's timer in the NMIS pauses; 100 at 250 Hz */
#define ROUNDS 20u

static int64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* The local timer's interrupts of processors 0 and 1. */
static bool timer_interrupts(unsigned long ret[2])
{
	FILE *f = fopen("/proc/interrupts", "re");
	char line[512];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, " LOC: %lu %lu", &ret[0], &ret[1]) == 2;
	if (f)
		fclose(f);
	return found;
}

static unsigned nmis_handled(void)
{
	FILE *f = fopen("/sys/module/nmi/parameters/handled", "re");
	unsigned n = 0;

	if (!f || fscanf(f, "%u", &n) != 1)
		say("clock: FAILED: the count of NMIs can't be read");
	if (f)
		fclose(f);
	return n;
}

static uint64_t nmi_exits(struct rig *r)
{
	uint64_t values[64], exits[80], sum = 0;

	for (unsigned i = 0; i < r->vcpu_count; i++) {
		struct vmxcore_vcpu_stats s = {.values = (uintptr_t)values,
					       .exits = (uintptr_t)exits,
					       .count = 64,
					       .exit_count = 80};

		if (ioctl(r->vcpus[i].fd, VMXCORE_VCPU_STATS, &s) == 0)
			sum += exits[0]; /* exception or NMI: the guests raise none */
	}
	return sum;
}

/* Sends an NMI to each processor in turn; the greatest lag of the clock that ticks. */
static int64_t disturb(unsigned *ret_sent)
{
	int64_t lag, greatest = 0;

	for (*ret_sent = 0; *ret_sent < NMIS; (*ret_sent)++) {
		if (host_write("/sys/module/nmi/parameters/send", *ret_sent % 2 ? "1" : "0"))
			break;
		usleep(PAUSE_US);
		lag = now(CLOCK_MONOTONIC_COARSE);
		lag = now(CLOCK_MONOTONIC) - lag;
		if (lag > greatest)
			greatest = lag;
	}
	return greatest;
}

bool stress_clock(int dev, uint64_t seed)
{
	static const unsigned long masks[] = {1, 2, 2};
	unsigned long before[2] = {0}, after[2] = {0};
	unsigned sent = 0, handled;
	int64_t lag = 0;
	struct rig r;
	bool ok, ticked;

	if (!host_load("nmi", "") || !rig_open(&r, dev, 3, seed))
		return false;
	ok = rig_start(&r, masks) && rig_goes_on(&r, ROUNDS) && timer_interrupts(before);
	if (ok)
		lag = disturb(&sent);
	ok = ok && timer_interrupts(after) && rig_goes_on(&r, ROUNDS);
	rig_stop(&r);
	handled = nmis_handled();
	ticked = after[0] - before[0] >= TICKS_MIN && after[1] - before[1] >= TICKS_MIN;
	say("clock: %u NMIs sent, %u handled, some in a guest: %s", sent, handled,
	    nmi_exits(&r) ? "yes" : "no");
	say("clock: both processors' timers ticked: %s; the ticking clock kept pace: %s",
	    ticked ? "yes" : "no", lag < LAG_MAX_NS ? "yes" : "no");
	say("clock: %lu and %lu ticks, at most %lld us behind", after[0] - before[0],
	    after[1] - before[1], (long long)lag / 1000);
	ok = rig_sound(&r, "clock") && ok;
	rig_close(&r);
	return host_unload("nmi") && ok && ticked && handled == sent && lag < LAG_MAX_NS;
}
