/* SPDX-License-Identifier: MIT */
/*
 * The stress machine's first process: one test after the other, the module loaded anew for
 * those that want it otherwise. The kernel's command line may say vtx_seed=, vtx_fuzz= (random
 * ioctls), and vtx_only= (the number of one test).
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <vmxcore/uapi.h>

#include "host.h"
#include "stress.h"

#define SEED UINT64_C(0x2545f4914f6cdd1d)
#define FUZZ_IOCTLS 20000u

struct test {
	const char *name;
	bool (*fn)(int dev, uint64_t seed);
	const char *options; /* of the module */
};

static const struct test tests[] = {
	{"fields", stress_fields, ""},
	{"registers", stress_registers, ""},
	{"changes", stress_changes, ""},
	{"migration", stress_migration, ""},
	{"clock", stress_clock, ""},
	{"kill", stress_kill, ""},
	{"processes", stress_processes, ""},
	{"hotplug", stress_hotplug, ""},
	{"vpids", stress_vpids, "vpid_limit=3"},
};

static const char *loaded; /* the module's options; NULL: it isn't */

static void load(const char *options)
{
	if (loaded && (!options || loaded != options)) {
		host_unload("vmxcore");
		loaded = NULL;
	}
	if (options && !loaded && host_load("vmxcore", options))
		loaded = options;
}

static bool left_nothing(int dev)
{
	struct vmxcore_info info = {0};

	return ioctl(dev, VMXCORE_GET_INFO, &info) == 0 && info.vms == 0 && info.pinned_bytes == 0;
}

static void run(const struct test *t, uint64_t seed)
{
	struct timespec start, end;
	bool ok, clean;
	int dev;

	load(t->options);
	dev = open(VMXCORE_DEVICE, O_RDWR | O_CLOEXEC);
	clock_gettime(CLOCK_MONOTONIC, &start);
	ok = t->fn(dev, seed);
	clock_gettime(CLOCK_MONOTONIC, &end);
	clean = left_nothing(dev);
	close(dev);
	say("%s: %s, %s left; %ld ms", t->name, ok ? "passed" : "FAILED",
	    clean ? "nothing" : "SOMETHING",
	    (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000);
}

int main(void)
{
	unsigned only;
	uint64_t seed;

	host_start();
	seed = host_option("vtx_seed", SEED);
	only = (unsigned)host_option("vtx_only", 0);
	say("seed 0x%" PRIx64, seed);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (only == 0 || only == i + 1)
			run(&tests[i], seed + i);
	}
	if (only == 0) {
		load("");
		test_device_fuzz((unsigned)host_option("vtx_fuzz", FUZZ_IOCTLS), seed);
		load(NULL);
		say("modules: %s", stress_modules(seed) ? "passed" : "FAILED");
	}
	load(NULL);
	host_off();
}
