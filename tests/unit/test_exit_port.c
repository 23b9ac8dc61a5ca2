/* SPDX-License-Identifier: MIT */
/* The exit port, the bus around it, and the console's ring. */
#include "devices/console.h"
#include "devices/exit_port.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka needs the three above first. */
#include <cmocka.h>

static const struct {
	unsigned size;
	uint32_t out, status;
} exits[] = {
	{1, 0, 0},
	{1, 0x1ff, 0xff},
	{2, 0x12345, 0x2345},
	{4, 0xdeadbeef, 0xdeadbeef},
};

static void test_status(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < VMX_ARRAY_SIZE(exits); i++) {
		struct exit_port port = {0};
		struct port_bus bus = {0};

		assert_int_equal(port_bus_claim(&bus, &exit_port_device, &port), 0);
		assert_false(port.written);
		port_bus_out(&bus, EXIT_PORT, exits[i].size, exits[i].out);
		assert_true(port.written);
		assert_int_equal(port.status, exits[i].status);
		/* The first one counts. */
		port_bus_out(&bus, EXIT_PORT, 1, 7);
		assert_int_equal(port.status, exits[i].status);
		assert_int_equal(bus.outs, 2);
		assert_int_equal(bus.unclaimed, 0);
	}
}

static const struct {
	unsigned size;
	uint32_t ones;
} sizes[] = {{1, 0xff}, {2, 0xffff}, {4, 0xffffffff}};

static void test_unclaimed(void **state)
{
	struct port_bus bus = {0};
	size_t i;

	(void)state;
	for (i = 0; i < VMX_ARRAY_SIZE(sizes); i++) {
		assert_int_equal(port_bus_in(&bus, 0x80, sizes[i].size), sizes[i].ones);
		port_bus_out(&bus, 0x80, sizes[i].size, 0);
	}
	assert_int_equal(port_bus_in(&bus, 0xffff, 4), 0xffffffff);
	assert_int_equal(bus.unclaimed, 7);
	assert_int_equal(bus.ins, 4);
	assert_int_equal(bus.outs, 3);
}

static const struct {
	uint16_t first, count;
	int err;
} claims[] = {
	{0x100, 8, 0},	     {0x107, 1, -EEXIST}, {0xf9, 8, -EEXIST},	 {0xf8, 8, 0},
	{0x108, 0, -EINVAL}, {0xfff0, 16, 0},	  {0xfff8, 16, -EINVAL}, {0, 1, 0},
	{0x10, 1, 0},	     {0x20, 1, 0},	  {0x30, 1, 0},		 {0x40, 1, 0},
	{0x50, 1, -ENOSPC},
};

static void test_claims(void **state)
{
	struct port_device dev[VMX_ARRAY_SIZE(claims)];
	struct port_bus bus = {0};
	size_t i;

	(void)state;
	for (i = 0; i < VMX_ARRAY_SIZE(claims); i++) {
		dev[i] = exit_port_device;
		dev[i].first = claims[i].first;
		dev[i].count = claims[i].count;
		assert_int_equal(port_bus_claim(&bus, &dev[i], NULL), claims[i].err);
	}
}

/* Whatever the limit, the last bytes are kept and the count is of all. */
static void test_console(void **state)
{
	static const size_t limits[] = {1, 7, 4096, 5000, 100000};
	size_t i;

	(void)state;
	for (i = 0; i < VMX_ARRAY_SIZE(limits); i++) {
		size_t total = 3 * limits[i] + 5, o, n;
		uint8_t *buf = malloc(limits[i] + 10);
		struct console c;
		uint64_t first;

		console_init(&c, limits[i]);
		assert_int_equal(console_read(&c, 0, buf, 1, &first), 0);
		for (o = 0; o < total; o++)
			console_put(&c, (uint8_t)(o * 7 + (o >> 8)));
		assert_int_equal(c.total, total);
		n = console_read(&c, 0, buf, limits[i] + 10, &first);
		assert_int_equal(n, limits[i]);
		assert_int_equal(first, total - limits[i]);
		for (o = 0; o < n; o++)
			assert_int_equal(buf[o], (uint8_t)((first + o) * 7 + ((first + o) >> 8)));
		/* From the middle, and past the end. */
		assert_int_equal(console_read(&c, total - 1, buf, 9, &first), 1);
		assert_int_equal(first, total - 1);
		assert_int_equal(console_read(&c, total + 5, buf, 9, &first), 0);
		assert_int_equal(first, total);
		console_clear(&c);
		assert_int_equal(console_read(&c, 0, buf, 9, &first), 0);
		console_fini(&c);
		free(buf);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_unclaimed),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_console),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
