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

#define WARM_UP 3u
#define TIMES 10u
#define CHANGES 50u
#define DRIFT_MAX_KIB 512

/* Free, after what can be given back was. */
static long free_kib(void)
{
	char line[128];
	long kib = -1;
	FILE *f;

	usleep(20000); /* what is freed after a grace period */
	host_write("/proc/sys/vm/drop_caches", "3\n");
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
	unsigned done = 0;
	long before, drift;
	bool ok;

	ok = come_and_go(WARM_UP, seed, &done);
	before = free_kib();
	ok = ok && come_and_go(TIMES, seed, &done);
	drift = before - free_kib();
	say("modules: came and went %u times with VMs; memory back where it was: %s", done,
	    drift < DRIFT_MAX_KIB ? "yes" : "no");
	say("modules: %ld KiB less are free", drift);
	return ok && drift < DRIFT_MAX_KIB;
}
