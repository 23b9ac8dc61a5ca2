/* SPDX-License-Identifier: MIT */
/* An input is a sequence of ioctls at the kernel module's device (kernel/fakedev.h). */
#include "fuzz.h"
#include "kernel/device_random.h"

#define STEPS_MAX 400u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct random_device d;
	static bool held;
	struct choice_source s = {.data = data, .left = size};

	/* The processors stay, as they do in a kernel where some VM is always there. */
	if (!held) {
		fakedev_configure(&(struct fakedev_config){.processors = 2, .wander = true});
		CHECK(fakedev_hold() == 0);
		held = true;
	}
	random_device_open(&d);
	for (unsigned i = 0; i < STEPS_MAX && s.left != 0; i++)
		random_device_step(&d, &s);
	random_device_close(&d);
	return 0;
}
