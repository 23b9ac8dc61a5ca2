/* SPDX-License-Identifier: MIT */
/* The module comes and goes, with VMs in between: memory is back where it was. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"
#include "rig.h"
#include "stress.h"

#define TIMES 5u
#define CHANGES 50u
/* Of TIMES loads, and of TIMES more: what is leaked is missing both times. */
#define DRIFT_MAX_KIB 256

/* What is free once all is given back that can be: also what RCU and lazy unmapping keep. */
static long free_kib(void)
{
	char line[128];
	long kib = -1;
	FILE *f;

	usleep(300000);
	host_write("/proc/sys/vm/drop_caches", "3\n");
	usleep(100000);
	f = fopen("/proc/meminfo", "re");
	while (f && kib < 0 && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemFree: %ld", &kib) != 1)
			kib = -1;
	if (f)
		fclose(f);
	return kib;
}

static bool use(uint64_t seed)
{
	int dev = open(VMXCORE_DEVICE, O_RDWR | O_CLOEXEC);
	struct rig r;
	bool ok;

	if (dev < 0 || !rig_open(&r, dev, 2, seed))
		return false;
	/* In use, it stays. */
	ok = host_unload_quietly("vmxcore") != 0;
	ok = rig_start(&r, NULL) && stress_change_some(&r, CHANGES) && ok;
	rig_stop(&r);
	ok = rig_sound(&r, "modules") && ok;
	rig_close(&r);
	close(dev);
	return ok;
}

static bool come_and_go(unsigned times, uint64_t seed, unsigned *ret_done)
{
	for (*ret_done = 0; *ret_done < times; (*ret_done)++) {
		int err = host_load_quietly("vmxcore", "");

		if (err || !use(seed + *ret_done)) {
			say("modules: FAILED: load %u: %s", *ret_done, strerror(-err));
			return false;
		}
		err = host_unload_quietly("vmxcore");
		if (err) {
			say("modules: FAILED: unload %u: %s", *ret_done, strerror(-err));
			return false;
		}
	}
	return true;
}

bool stress_modules(uint64_t seed)
{
	long before, between, after, drift;
	unsigned done = 0, more = 0;
	bool ok;

	ok = come_and_go(1, seed, &done);
	before = free_kib();
	ok = ok && come_and_go(TIMES, seed, &done);
	between = free_kib();
	ok = ok && come_and_go(TIMES, seed + TIMES, &more);
	after = free_kib();
	drift = before - between < between - after ? before - between : between - after;
	say("modules: came and went %u times with VMs; memory back where it was: %s", done + more,
	    drift < DRIFT_MAX_KIB ? "yes" : "no");
	say("modules: %ld KiB less are free, and then %ld", before - between, between - after);
	return ok && drift < DRIFT_MAX_KIB;
}
