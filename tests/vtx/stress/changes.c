/* SPDX-License-Identifier: MIT */
/* Changes of mappings under vCPUs that run: on their processors, moving, with few VPIDs. */
#include <sched.h>
#include <stddef.h>
#include <unistd.h>

#include "rig.h"
#include "say.h"
#include "stats.h"
#include "stress.h"

#define CHANGES 3000u
#define MOVING_CHANGES 1500u
#define VPID_CHANGES 600u
#define ROUNDS 20u

bool stress_change_some(struct rig *r, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (!rig_change(r))
			return false;
		if (rig_draw(&r->random) % 256 == 0)
			usleep(1000);
	}
	return true;
}

bool stress_changes(int dev, uint64_t seed)
{
	static const unsigned long masks[] = {2, 2, 1};
	struct rig_sums s;
	struct rig r;
	bool ok;

	if (!rig_open(&r, dev, 3, seed))
		return false;
	rig_pin(0, 1);
	ok = rig_start(&r, masks) && rig_goes_on(&r, ROUNDS) && stress_change_some(&r, CHANGES) &&
	     rig_goes_on(&r, ROUNDS);
	rig_stop(&r);
	rig_pin(0, 3);
	ok = rig_sound(&r, "changes") && ok;
	rig_sum(&r, &s);
	say("changes: %llu under %u vCPUs: %llu stale reads, %llu stale writes, processors "
	    "interrupted %s",
	    (unsigned long long)r.changes, r.vcpu_count, (unsigned long long)s.stale_reads,
	    (unsigned long long)r.stale_writes, r.interrupts ? "yes" : "no");
	rig_close(&r);
	return ok && r.interrupts != 0;
}

/* --- moving ---------------------------------------------------------------------------------- */

struct mover {
	pthread_t thread;
	struct rig *rigs;
	unsigned count;
	uint64_t random;
	bool stop;
};

static void *mover_thread(void *arg)
{
	struct mover *m = arg;

	while (!__atomic_load_n(&m->stop, __ATOMIC_RELAXED)) {
		struct rig *r = &m->rigs[rig_draw(&m->random) % m->count];
		struct rig_vcpu *v = &r->vcpus[rig_draw(&m->random) % r->vcpu_count];

		rig_pin(v->tid, 1 + rig_draw(&m->random) % 2);
		usleep(500);
	}
	return NULL;
}

static bool mover_start(struct mover *m, struct rig *rigs, unsigned count, uint64_t seed)
{
	*m = (struct mover){.rigs = rigs, .count = count, .random = seed | 1};
	return pthread_create(&m->thread, NULL, mover_thread, m) == 0;
}

static void mover_stop(struct mover *m)
{
	__atomic_store_n(&m->stop, true, __ATOMIC_RELAXED);
	pthread_join(m->thread, NULL);
}

/* Changes in turn, the changer moving too. */
static bool change_in_turn(struct rig *rigs, unsigned count, unsigned changes)
{
	for (unsigned i = 0; i < changes; i++) {
		struct rig *r = &rigs[i % count];

		if (i % 16 == 0)
			rig_pin(0, 1 + i / 16 % 2);
		if (!rig_change(r))
			return false;
		if (i % 64 == 0)
			usleep(500);
	}
	return true;
}

/* The vCPUs of two VMs move from processor to processor, and so does who changes. */
static bool run_moving(struct rig rigs[2], unsigned changes, uint64_t seed)
{
	bool ok = rig_start(&rigs[0], NULL) && rig_start(&rigs[1], NULL);
	struct mover m;

	if (ok && mover_start(&m, rigs, 2, seed)) {
		ok = change_in_turn(rigs, 2, changes);
		mover_stop(&m);
	}
	ok = ok && rig_goes_on(&rigs[0], ROUNDS) && rig_goes_on(&rigs[1], ROUNDS);
	rig_stop(&rigs[0]);
	rig_stop(&rigs[1]);
	rig_pin(0, 3);
	return ok;
}

static bool open_two(struct rig rigs[2], int dev, unsigned vcpus, uint64_t seed)
{
	if (!rig_open(&rigs[0], dev, vcpus, seed))
		return false;
	if (rig_open(&rigs[1], dev, vcpus, ~seed))
		return true;
	rig_close(&rigs[0]);
	return false;
}

bool stress_migration(int dev, uint64_t seed)
{
	struct rig rigs[2];
	struct rig_sums s[2];
	bool ok;

	if (!open_two(rigs, dev, 3, seed))
		return false;
	ok = run_moving(rigs, MOVING_CHANGES, seed);
	for (unsigned i = 0; i < 2; i++) {
		ok = rig_sound(&rigs[i], "migration") && ok;
		rig_sum(&rigs[i], &s[i]);
	}
	say("migration: %llu changes under 6 vCPUs of 2 VMs, which moved more than 100 times: %s, "
	    "stale %llu",
	    (unsigned long long)(rigs[0].changes + rigs[1].changes),
	    s[0].moves + s[1].moves > 100 ? "yes" : "no",
	    (unsigned long long)(s[0].stale_reads + s[1].stale_reads + rigs[0].stale_writes +
				 rigs[1].stale_writes));
	rig_close(&rigs[0]);
	rig_close(&rigs[1]);
	return ok;
}

/* --- few VPIDs -------------------------------------------------------------------------------- */

bool stress_vpids(int dev, uint64_t seed)
{
	struct rig rigs[2];
	uint64_t recycled;
	bool ok;

	if (!open_two(rigs, dev, 4, seed))
		return false;
	ok = run_moving(rigs, VPID_CHANGES, seed);
	recycled = rig_processor_stat(&rigs[0], 0, STAT_VPID_RECYCLES) +
		   rig_processor_stat(&rigs[0], 1, STAT_VPID_RECYCLES);
	ok = rig_sound(&rigs[0], "vpids") && rig_sound(&rigs[1], "vpids") && ok;
	say("vpids: 8 vCPUs with 3 on a processor: %llu changes, recycled more than 50 times: %s",
	    (unsigned long long)(rigs[0].changes + rigs[1].changes), recycled > 50 ? "yes" : "no");
	rig_close(&rigs[0]);
	rig_close(&rigs[1]);
	return ok;
}
