/* SPDX-License-Identifier: MIT */
/*
 * Thousands of random ioctls from a seed: nothing comes of them but errors and changes of these
 * VMs, everything that they leave can be taken down, and they do the same each time.
 */
#include "kernel/device_random.h"

#include "kernel/memory.h"

#define CALLS 20000u
#define SEED UINT64_C(0x9e3779b97f4a7c15)

static void run(struct random_device *d, uint64_t seed, unsigned calls)
{
	struct choice_source s = {.seed = seed};

	random_device_open(d);
	for (unsigned i = 0; i < calls; i++)
		random_device_step(d, &s);
	random_device_close(d);
}

static void test_random(void **state)
{
	static struct random_device d;

	(void)state;
	fakedev_configure(&(struct fakedev_config){.processors = 3, .wander = true});
	run(&d, SEED, CALLS);
	print_message("%u ioctls, %u succeeded\n", (unsigned)d.calls, (unsigned)d.done);
	/* Each was got right, and each wrong. */
	for (unsigned i = 0; i < DEVICE_COMMANDS; i++) {
		const char *name = device_commands[i].name;

		if (d.succeeded[i] == 0 || d.failed[i] == 0)
			fail_msg("%s: %u succeeded, %u failed", name, d.succeeded[i], d.failed[i]);
	}
}

/* Two runs of one seed: the same results in the same order. */
static void test_repeatable(void **state)
{
	static struct random_device a, b;

	(void)state;
	fakedev_configure(&(struct fakedev_config){.processors = 2, .scatter = true});
	run(&a, 1, 1000);
	run(&b, 1, 1000);
	assert_int_equal(a.digest, b.digest);
	run(&b, 2, 1000);
	assert_int_not_equal(a.digest, b.digest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_repeatable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
