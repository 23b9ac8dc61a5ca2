/* SPDX-License-Identifier: MIT */
/*
 * Processor 1 goes and comes while vCPUs run there and changes are made: a run that finds it
 * leaving ends with -ENODEV, nothing is lost, and all go on where they are moved to.
 */
#include <string.h>
#include <unistd.h>

#include "host.h"
#include "rig.h"
#include "stress.h"

#define ONLINE "/sys/devices/system/cpu/cpu1/online"
#define TIMES 6u
#define CHANGES 40u
#define ROUNDS 20u

struct changer {
	pthread_t thread;
	struct rig *rig;
	bool stop, ok;
};

static void *changer_thread(void *arg)
{
	struct changer *c = arg;

	c->ok = true;
	while (c->ok && !__atomic_load_n(&c->stop, __ATOMIC_RELAXED)) {
		c->ok = stress_change_some(c->rig, CHANGES);
		usleep(1000);
	}
	return NULL;
}

static bool switch_processor(const char *to)
{
	int err = host_write(ONLINE, to);

	if (err)
		say("hotplug: FAILED: processor 1 can't be switched to %s: %s", to, strerror(-err));
	return err == 0;
}

static bool away_and_back(struct rig *r)
{
	/* Threads that the processor's going has moved are free to come back. */
	for (unsigned i = 0; i < r->vcpu_count; i++)
		rig_pin(r->vcpus[i].tid, i % 2 ? 2 : 3);
	usleep(2000);
	if (!switch_processor("0"))
		return false;
	if (!rig_goes_on(r, ROUNDS))
		return false;
	return switch_processor("1") && rig_goes_on(r, ROUNDS);
}

bool stress_hotplug(int dev, uint64_t seed)
{
	struct changer c = {0};
	struct rig_sums s;
	struct rig r;
	unsigned times = 0;
	bool ok;

	if (!rig_open(&r, dev, 4, seed))
		return false;
	c.rig = &r;
	ok = rig_start(&r, NULL) && pthread_create(&c.thread, NULL, changer_thread, &c) == 0;
	if (ok) {
		while (ok && times < TIMES) {
			ok = away_and_back(&r);
			times += ok;
		}
		__atomic_store_n(&c.stop, true, __ATOMIC_RELAXED);
		pthread_join(c.thread, NULL);
	}
	ok = ok && c.ok;
	rig_stop(&r);
	ok = rig_sound(&r, "hotplug") && ok;
	rig_sum(&r, &s);
	say("hotplug: processor 1 went and came %u times under 4 vCPUs; more than 100 changes: %s",
	    times, r.changes > 100 ? "yes" : "no");
	say("hotplug: %llu runs met a processor on its way out", (unsigned long long)s.no_device);
	rig_close(&r);
	return ok;
}
