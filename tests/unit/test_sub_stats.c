// SPDX-License-Identifier: MIT
/* stats.subscribe: reports at an interval, filters, what is skipped, ends. */
#include "fake_engine.h"
#include "server_rig.h"
#include <stdio.h>
#include <string.h>

static struct json_object *member(struct json_object *obj, const char *where)
{
	struct json_object *v = at(obj, where);

	if (!v)
		fail_msg("there is no %s: %s", where, json_object_to_json_string(obj));
	return v;
}

static uint64_t number(struct json_object *obj, const char *where)
{
	return json_object_get_uint64(member(obj, where));
}

static void subscribe(struct client *c, const char *params)
{
	call(c, "stats.subscribe", params);
	expect(c, "id", "1");
}

static struct json_object *hear_report(struct client *c)
{
	struct json_object *obj = hear(c);

	assert_string_equal(json_object_get_string(member(obj, "method")), "stats");
	return obj;
}

static void wait_ms(unsigned ms)
{
	const uint64_t end = hvd_now_ms() + ms;

	while (hvd_now_ms() < end)
		turn();
}

static void test_reports(void **state)
{
	struct client c = connect_client();
	uint64_t last = 0;

	(void)state;
	create(&c, "x");
	subscribe(&c, "{\"vm\":\"x\",\"interval_ms\":100}");
	for (int i = 0; i < 4; i++) {
		struct json_object *obj = hear_report(&c), *stat;

		assert_int_equal(json_object_array_length(member(obj, "params.stats")), 4);
		stat = json_object_array_get_idx(member(obj, "params.stats"), 0);
		assert_string_equal(json_object_get_string(member(stat, "name")), "exit.cpuid");
		assert_string_equal(json_object_get_string(member(stat, "vm")), "x");
		assert_int_equal(number(stat, "value"), i + 1); /* one request a report */
		assert_int_equal(json_object_array_length(member(obj, "params.vcpus")), 0);
		assert_true(number(obj, "params.time_ns") > last);
		last = number(obj, "params.time_ns");
		json_object_put(obj);
	}
	assert_int_equal(fake_count(ENGINE_TLB_STATS), 0);
	call(&c, "subscription.end", "{\"subscription\":1}");
	expect(&c, "result.subscription", "1");
	wait_ms(150);
	hear_nothing(&c);
	disconnect(&c);
}

static const struct {
	const char *more;
	size_t stats, vcpus;
} filters[] = {
	{"", 4, 0},
	{",\"names\":[\"exit.\"]", 2, 0},
	{",\"names\":[\"exit.cpuid\",\"inv\"]", 2, 0},
	{",\"names\":[\"nothing\"]", 0, 0},
	{",\"names\":[\"exit.cpuid\"],\"tlb\":true", 1, 1},
};

static void test_filters(void **state)
{
	char params[120];

	(void)state;
	for (size_t i = 0; i < COUNT(filters); i++) {
		struct client c = connect_client();
		struct json_object *obj;

		if (!i)
			create(&c, "x");
		snprintf(params, sizeof(params), "{\"vm\":\"x\"%s}", filters[i].more);
		subscribe(&c, params);
		obj = hear_report(&c);
		assert_int_equal(json_object_array_length(member(obj, "params.stats")),
				 filters[i].stats);
		assert_int_equal(json_object_array_length(member(obj, "params.vcpus")),
				 filters[i].vcpus);
		json_object_put(obj);
		disconnect(&c);
	}
}

/* What the engine can't observe is null, not 0. */
static void test_unobservable(void **state)
{
	struct client c = connect_client();
	struct json_object *obj, *stat;

	(void)state;
	create(&c, "x");
	for (int observed = 1; observed >= 0; observed--) {
		fake_observe_instructions(observed);
		subscribe(&c, "{\"vm\":\"x\",\"names\":[\"retired\"],\"tlb\":true}");
		obj = hear_report(&c);
		stat = json_object_array_get_idx(member(obj, "params.stats"), 0);
		assert_true(json_object_object_get_ex(stat, "value", &stat));
		assert_int_equal(stat != NULL, observed);
		stat = json_object_array_get_idx(member(obj, "params.vcpus"), 0);
		assert_true(json_object_object_get_ex(stat, "data_lookups", &stat));
		assert_null(stat); /* it sees no TLB */
		json_object_put(obj);
		call(&c, "subscription.end",
		     observed ? "{\"subscription\":1}" : "{\"subscription\":2}");
		expect(&c, "id", "1");
	}
	disconnect(&c);
}

static void test_all_vms(void **state)
{
	struct client c = connect_client();
	struct json_object *obj;

	(void)state;
	subscribe(&c, "{}");
	obj = hear_report(&c);
	assert_int_equal(fake_last()->vm, 0);
	json_object_put(obj);
	disconnect(&c);
}

/* While the engine has not answered, no more is asked of it. */
static void test_skipped(void **state)
{
	struct client c = connect_client();
	struct json_object *obj;

	(void)state;
	create(&c, "x");
	fake_hold(ENGINE_STATS);
	subscribe(&c, "{\"vm\":\"x\",\"interval_ms\":100}");
	wait_ms(350);
	assert_int_equal(fake_count(ENGINE_STATS), 1);
	fake_release();
	obj = hear_report(&c);
	assert_in_range(number(obj, "params.skipped"), 1, 3);
	json_object_put(obj);
	obj = hear_report(&c);
	assert_int_equal(number(obj, "params.skipped"), 0);
	json_object_put(obj);
	disconnect(&c);
}

/* A report that can't be had is left out. */
static void test_engine_fails(void **state)
{
	static const struct engine_error failed = {.code = -ENOMEM};
	static const enum engine_op ops[] = {ENGINE_STATS, ENGINE_TLB_STATS};
	struct client c = connect_client();

	(void)state;
	create(&c, "x");
	for (size_t i = 0; i < COUNT(ops); i++) {
		struct json_object *obj;

		fake_fail_next(ops[i], &failed);
		subscribe(&c, "{\"vm\":\"x\",\"interval_ms\":100,\"tlb\":true}");
		obj = hear_report(&c);
		assert_int_equal(number(obj, "params.skipped"), 1);
		json_object_put(obj);
		disconnect(&c);
		c = connect_client();
	}
	disconnect(&c);
}

static void test_slow_reader(void **state)
{
	struct hvd_bounds bounds = hvd_default_bounds;
	struct client c;
	uint64_t skipped = 0;
	unsigned asked;

	(void)state;
	bounds.output_bytes = 4096; /* and what the socket takes */
	start_with(&bounds);
	c = connect_client();
	create(&c, "x");
	for (int i = 0; i < 16; i++) {
		char params[80];

		snprintf(params, sizeof(params), "{\"interval_ms\":100,\"vm\":\"x\"%s}",
			 i ? ",\"tlb\":true" : "");
		call(&c, "stats.subscribe", params);
	}
	/* until nothing more goes out */
	do {
		asked = fake_count(ENGINE_STATS);
		wait_ms(220);
	} while (fake_count(ENGINE_STATS) != asked);
	wait_ms(500);
	assert_int_equal(fake_count(ENGINE_STATS), asked);
	while (!skipped) {
		struct json_object *obj = hear(&c);

		if (at(obj, "method"))
			skipped += number(obj, "params.skipped");
		json_object_put(obj);
	}
	disconnect(&c);
	stop(NULL);
}

static void test_vm_deleted(void **state)
{
	struct client c = connect_client(), other = connect_client();
	struct json_object *obj;

	(void)state;
	create(&other, "x");
	subscribe(&c, "{\"vm\":\"x\"}");
	obj = hear_report(&c);
	json_object_put(obj);
	call(&other, "vm.delete", "{\"vm\":\"x\"}");
	expect(&other, "result.vm", "x");
	expect(&c, "params.reason", "the VM was deleted");
	hear_nothing(&c);
	disconnect(&c);
	disconnect(&other);
}

static void test_hang_up(void **state)
{
	struct client c = connect_client(), other = connect_client();

	(void)state;
	create(&other, "x");
	fake_hold(ENGINE_STATS);
	subscribe(&c, "{\"vm\":\"x\",\"tlb\":true}");
	turn();
	disconnect(&c);
	turn();
	fake_release();
	hear_nothing(&other);
	disconnect(&other);
}

static const struct {
	const char *params, *kind, *field;
} bad[] = {
	{"{\"vm\":\"y\"}", "not-found", "vm"},
	{"{\"names\":[]}", "invalid-value", "names"},
	{"{\"names\":[\"\"]}", "out-of-range", "names[0]"},
	{"{\"interval_ms\":99}", "out-of-range", "interval_ms"},
	{"{\"interval_ms\":3600001}", "out-of-range", "interval_ms"},
};

static void test_bad(void **state)
{
	struct client c = connect_client();

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		call(&c, "stats.subscribe", bad[i].params);
		expect_error(&c, bad[i].kind, bad[i].field);
	}
	disconnect(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_reports),
		RIG_TEST(test_filters),
		RIG_TEST(test_all_vms),
		RIG_TEST(test_skipped),
		RIG_TEST(test_engine_fails),
		RIG_TEST(test_unobservable),
		cmocka_unit_test(test_slow_reader),
		RIG_TEST(test_vm_deleted),
		RIG_TEST(test_hang_up),
		RIG_TEST(test_bad),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
