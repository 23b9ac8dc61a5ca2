// SPDX-License-Identifier: MIT
/* trace.subscribe: what the engine is asked for, filters, bounds, gaps and ends. */
#include "fake_engine.h"
#include "server_rig.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXIT (1u << ENGINE_TRACE_EXIT)
#define VIOLATION (1u << ENGINE_TRACE_VIOLATION)
#define INVALIDATION (1u << ENGINE_TRACE_INVALIDATION)
#define BIT(n) (UINT64_C(1) << (n))

static uint64_t number(struct json_object *obj, const char *where)
{
	struct json_object *v = at(obj, where);

	if (!v)
		fail_msg("there is no %s: %s", where, json_object_to_json_string(obj));
	return json_object_get_uint64(v);
}

static const char *text(struct json_object *obj, const char *where)
{
	struct json_object *v = at(obj, where);

	return v ? json_object_get_string(v) : "";
}

static void subscribe(struct client *c, const char *more)
{
	char params[300];

	snprintf(params, sizeof(params), "{\"vm\":\"x\"%s}", more);
	call(c, "trace.subscribe", params);
	expect(c, "id", "1");
}

static void exits(unsigned count, uint32_t reason)
{
	const struct engine_trace_record r = {
		.kind = ENGINE_TRACE_EXIT, .exit_reason = reason, .rip = 0x1000};

	for (unsigned i = 0; i < count; i++)
		fake_trace(&r);
}

/* --- records ------------------------------------------------------------------------------ */

static const struct {
	struct engine_trace_record record;
	const char *told;
} records[] = {
	{{.kind = ENGINE_TRACE_EXIT,
	  .guest_time = 7,
	  .time_ns = UINT64_MAX,
	  .rip = 0x100000,
	  .qualification = 3,
	  .vcpu = 1,
	  .processor = 2,
	  .exit_reason = 10,
	  .vpid = 4},
	 "{ \"seq\": 1, \"guest_time\": 7, \"time_ns\": null, \"kind\": \"exit\", \"vcpu\": 1, "
	 "\"processor\": 2, "
	 "\"vpid\": 4, \"exit\": \"cpuid\", \"exit_reason\": 10, \"rip\": \"0x100000\", "
	 "\"qualification\": \"0x3\" }"},
	{{.kind = ENGINE_TRACE_EXIT, .time_ns = UINT64_MAX, .exit_reason = 99},
	 "{ \"seq\": 2, \"guest_time\": 0, \"time_ns\": null, \"kind\": \"exit\", \"vcpu\": 0, "
	 "\"processor\": 0, "
	 "\"exit_reason\": 99, \"rip\": \"0x0\", \"qualification\": \"0x0\" }"},
	{{.kind = ENGINE_TRACE_VIOLATION,
	  .guest_time = UINT64_MAX,
	  .time_ns = 8000000001,
	  .gpa = 0x5000,
	  .gva = 0x6000,
	  .gva_valid = 1,
	  .exit_reason = 48},
	 "{ \"seq\": 3, \"guest_time\": null, \"time_ns\": 8000000001, \"kind\": \"violation\", "
	 "\"vcpu\": 0, \"processor\": 0, "
	 "\"exit\": \"ept-violation\", \"exit_reason\": 48, \"rip\": \"0x0\", \"qualification\": "
	 "\"0x0\", \"gpa\": \"0x5000\", \"gva\": \"0x6000\" }"},
	{{.kind = ENGINE_TRACE_VIOLATION,
	  .guest_time = UINT64_MAX,
	  .time_ns = 0,
	  .gpa = 0x5000,
	  .gva = 0x6000,
	  .exit_reason = 48},
	 "{ \"seq\": 4, \"guest_time\": null, \"time_ns\": 0, \"kind\": \"violation\", \"vcpu\": "
	 "0, \"processor\": 0, "
	 "\"exit\": \"ept-violation\", \"exit_reason\": 48, \"rip\": \"0x0\", \"qualification\": "
	 "\"0x0\", \"gpa\": \"0x5000\" }"},
	{{.kind = ENGINE_TRACE_INVALIDATION,
	  .time_ns = UINT64_MAX,
	  .vcpu = UINT32_MAX,
	  .processor = 1,
	  .ep4ta = 0x7000,
	  .invalidation = ENGINE_INVEPT_SINGLE,
	  .cause = ENGINE_CAUSE_CHANGE},
	 "{ \"seq\": 5, \"guest_time\": 0, \"time_ns\": null, \"kind\": \"invalidation\", "
	 "\"processor\": 1, "
	 "\"invalidation\": \"invept-single-context\", \"cause\": \"change\", \"ep4ta\": "
	 "\"0x7000\" }"},
	{{.kind = ENGINE_TRACE_INVALIDATION,
	  .time_ns = UINT64_MAX,
	  .gva = 0x8000,
	  .vpid = 9,
	  .invalidation = ENGINE_INVVPID_ADDRESS,
	  .cause = ENGINE_CAUSE_REQUEST},
	 "{ \"seq\": 6, \"guest_time\": 0, \"time_ns\": null, \"kind\": \"invalidation\", "
	 "\"vcpu\": 0, \"processor\": "
	 "0, \"vpid\": 9, \"gva\": \"0x8000\", \"invalidation\": \"invvpid-individual-address\", "
	 "\"cause\": \"request\" }"},
};

static void test_records(void **state)
{
	struct client c = connect_client();
	size_t heard = 0;

	(void)state;
	create(&c, "x");
	subscribe(&c, "");
	for (size_t i = 0; i < COUNT(records); i++)
		fake_trace(&records[i].record);
	while (heard < COUNT(records)) {
		struct json_object *obj = hear(&c), *list = at(obj, "params.records");

		assert_string_equal(text(obj, "method"), "trace");
		assert_string_equal(text(obj, "params.vm"), "x");
		for (size_t i = 0; i < json_object_array_length(list); i++)
			assert_string_equal(
				json_object_get_string(json_object_array_get_idx(list, i)),
				records[heard++].told);
		json_object_put(obj);
	}
	hear_nothing(&c);
	disconnect(&c);
}

/* --- hearing ------------------------------------------------------------------------------- */

struct heard {
	uint64_t told, missed, gaps, first, last; /* seq */
	size_t largest;				  /* records in a notification */
};

static void take_message(struct json_object *obj, struct heard *h)
{
	struct json_object *list = at(obj, "params.records");

	if (!strcmp(text(obj, "method"), "gap")) {
		assert_true(number(obj, "params.first_seq") > h->last);
		assert_true(number(obj, "params.next_seq") > number(obj, "params.first_seq"));
		h->last = number(obj, "params.next_seq") - 1;
		h->missed += number(obj, "params.missed");
		h->gaps++;
		return;
	}
	if (!list)
		fail_msg("neither trace nor gap: %s", json_object_to_json_string(obj));
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		const uint64_t seq = number(json_object_array_get_idx(list, i), "seq");

		assert_true(seq > h->last);
		h->first = h->told ? h->first : seq;
		h->last = seq;
		h->told++;
	}
	if (json_object_array_length(list) > h->largest)
		h->largest = json_object_array_length(list);
}

/* Until all of them were told or missed. */
static struct heard hear_records(struct client *c, uint64_t total)
{
	struct heard h = {0};

	while (h.told + h.missed < total) {
		struct json_object *obj = hear(c);

		take_message(obj, &h);
		json_object_put(obj);
	}
	assert_int_equal(h.told + h.missed, total);
	hear_nothing(c);
	return h;
}

static void test_batches(void **state)
{
	struct client c = connect_client();
	struct heard h;

	(void)state;
	create(&c, "x");
	subscribe(&c, ",\"buffer_records\":65536");
	exits(15000, 10);
	h = hear_records(&c, 15000);
	assert_int_equal(h.missed, 0);
	assert_int_equal(h.first, 1);
	assert_int_equal(h.last, 15000);
	assert_int_equal(h.largest, 256);
	disconnect(&c);
}

/* --- filters -------------------------------------------------------------------------------- */

static const struct {
	const char *more;
	uint32_t kinds, vcpu;
	uint64_t exits;
	unsigned told; /* of test_filters()'s records */
} filters[] = {
	{"", EXIT | VIOLATION | INVALIDATION, UINT32_MAX, 0, 7},
	{",\"kinds\":[\"exit\"]", EXIT, UINT32_MAX, 0, 4},
	{",\"kinds\":[\"violation\",\"invalidation\"]", VIOLATION | INVALIDATION, UINT32_MAX, 0, 3},
	{",\"kinds\":[\"exit\"],\"exits\":[\"cpuid\"]", EXIT, UINT32_MAX, BIT(10), 2},
	{",\"kinds\":[\"exit\"],\"exits\":[\"hlt\",\"io-instruction\"]", EXIT, UINT32_MAX,
	 BIT(12) | BIT(30), 2},
	{",\"exits\":[\"cpuid\"]", EXIT | VIOLATION | INVALIDATION, UINT32_MAX, BIT(10), 5},
	{",\"kinds\":[\"exit\"],\"vcpu\":1", EXIT, 1, 0, 1},
};

static void trace_some(void)
{
	static const struct engine_trace_record some[] = {
		{.kind = ENGINE_TRACE_EXIT, .exit_reason = 10},
		{.kind = ENGINE_TRACE_EXIT, .exit_reason = 12},
		{.kind = ENGINE_TRACE_EXIT, .exit_reason = 10, .vcpu = 1},
		{.kind = ENGINE_TRACE_EXIT, .exit_reason = 30},
		{.kind = ENGINE_TRACE_VIOLATION, .exit_reason = 48},
		{.kind = ENGINE_TRACE_INVALIDATION, .vcpu = UINT32_MAX},
		{.kind = ENGINE_TRACE_INVALIDATION},
	};

	for (size_t i = 0; i < COUNT(some); i++)
		fake_trace(&some[i]);
}

static void test_filters(void **state)
{
	struct client maker = connect_client();

	(void)state;
	create(&maker, "x");
	call(&maker, "vm.delete", "{\"vm\":\"x\"}");
	expect(&maker, "result.vm", "x");
	call(&maker, "vm.create", "{\"name\":\"x\",\"vcpus\":2}");
	expect(&maker, "result.vm", "x");
	for (size_t i = 0; i < COUNT(filters); i++) {
		struct client c = connect_client();
		const struct engine_trace_set *set = &fake_last()->u.trace_set;

		subscribe(&c, filters[i].more);
		assert_int_equal(fake_last()->op, ENGINE_TRACE_SET);
		assert_int_equal(set->kinds, filters[i].kinds);
		assert_int_equal(set->vcpu, filters[i].vcpu);
		assert_int_equal(set->exits[0], filters[i].exits);
		assert_in_range(set->records, 1, ENGINE_MAX_TRACE);
		trace_some();
		assert_int_equal(hear_records(&c, filters[i].told).missed, 0);
		disconnect(&c);
	}
	disconnect(&maker);
}

/* Each is told what it asked for; the engine is asked for what any of them wants, and no more. */
static void test_two(void **state)
{
	struct client a = connect_client(), b = connect_client();
	const struct engine_trace_set *set = &fake_last()->u.trace_set;
	struct heard h;

	(void)state;
	create(&a, "x");
	subscribe(&a, ",\"kinds\":[\"exit\"],\"exits\":[\"cpuid\"]");
	exits(5, 10);
	subscribe(&b, ",\"kinds\":[\"exit\"],\"exits\":[\"hlt\"],\"vcpu\":0");
	assert_int_equal(fake_count(ENGINE_TRACE_SET), 2);
	assert_int_equal(set->exits[0], BIT(10) | BIT(12));
	assert_int_equal(set->vcpu, UINT32_MAX);
	trace_some();
	/* the five were read before the engine was asked for more */
	h = hear_records(&a, 7);
	assert_int_equal(h.missed, 0);
	assert_int_equal(h.last, 8); /* 5 cpuid, cpuid, hlt, cpuid */
	h = hear_records(&b, 1);
	assert_int_equal(h.first, 7);
	/* a third that needs nothing new */
	subscribe(&b, ",\"kinds\":[\"exit\"],\"exits\":[\"hlt\"]");
	assert_int_equal(fake_count(ENGINE_TRACE_SET), 2);
	disconnect(&b);
	assert_int_equal(fake_count(ENGINE_TRACE_SET), 3);
	assert_int_equal(set->exits[0], BIT(10));
	exits(1, 10);
	assert_int_equal(hear_records(&a, 1).first, 9);
	disconnect(&a);
	assert_int_equal(fake_count(ENGINE_TRACE_SET), 4);
	assert_int_equal(set->kinds, 0);
}

/* Of the engine's own loss nobody knows whose it is: it is told to all. */
static void test_engine_loses(void **state)
{
	struct client c = connect_client();
	struct heard h;

	(void)state;
	create(&c, "x");
	subscribe(&c, "");
	fake_set_trace_room(10);
	exits(30, 10);
	h = hear_records(&c, 30);
	assert_int_equal(h.told, 10);
	assert_int_equal(h.gaps, 1);
	assert_int_equal(h.last, 30);
	exits(1, 10);
	assert_int_equal(hear_records(&c, 1).first, 31);
	disconnect(&c);
}

/* All is read before the engine is asked for something else, and what it drops then is told. */
static void test_setting_drops(void **state)
{
	struct client c = connect_client(), other = connect_client();
	struct heard h;

	(void)state;
	create(&c, "x");
	subscribe(&c, ",\"kinds\":[\"exit\"],\"buffer_records\":65536");
	exits(29000, 10);
	call(&other, "trace.subscribe", "{\"vm\":\"x\"}");
	h = hear_records(&c, 29000);
	assert_in_range(h.told, 5 * 4096, 29000);
	assert_true(h.gaps <= 1);
	expect(&other, "result.vm", "x");
	exits(3, 10);
	assert_int_equal(hear_records(&other, 3).first, 29001);
	assert_int_equal(hear_records(&c, 3).missed, 0);
	disconnect(&c);
	disconnect(&other);
}

/* --- slow readers ------------------------------------------------------------------------------
 */

static void test_small_buffer(void **state)
{
	struct client c = connect_client();
	struct json_object *obj;
	struct heard h;

	(void)state;
	create(&c, "x");
	subscribe(&c, ",\"buffer_records\":3");
	exits(10, 10); /* all in one read of the engine */
	obj = hear(&c);
	assert_int_equal(json_object_array_length(at(obj, "params.records")), 3);
	json_object_put(obj);
	obj = hear(&c);
	assert_string_equal(text(obj, "method"), "gap");
	assert_int_equal(number(obj, "params.missed"), 7);
	assert_int_equal(number(obj, "params.first_seq"), 4);
	assert_int_equal(number(obj, "params.next_seq"), 11);
	json_object_put(obj);
	exits(2, 10);
	h = hear_records(&c, 2);
	assert_int_equal(h.first, 11);
	disconnect(&c);
}

static void take_one(struct client *c, struct heard *h)
{
	struct json_object *obj;
	const char *line = take_line(c);

	if (!line)
		return;
	assert_int_equal(proto_json_parse_reply(line, strlen(line), &obj, NULL), 0);
	take_message(obj, h);
	json_object_put(obj);
}

/* A loss has its place: before the record that came after it. */
static void test_gap_in_the_middle(void **state)
{
	struct client c = connect_client(), slow = connect_client();
	const uint64_t total = 300u * 200;
	struct heard h = {0};

	(void)state;
	create(&c, "x");
	subscribe(&slow, ",\"buffer_records\":8000");
	subscribe(&c, ",\"buffer_records\":65536");
	for (unsigned i = 0; i < 200; i++) {
		exits(300, 10);
		assert_int_equal(hear_records(&c, 300).missed, 0);
		if (i >= 100) /* it is full, and room comes piece by piece */
			take_one(&slow, &h);
	}
	while (h.told + h.missed < total) {
		struct json_object *obj = hear(&slow);

		take_message(obj, &h);
		json_object_put(obj);
	}
	assert_int_equal(h.told + h.missed, total);
	assert_int_equal(h.last, total);
	assert_in_range(h.gaps, 2, 200);
	disconnect(&c);
	disconnect(&slow);
}

/* --- the end --------------------------------------------------------------------------- */

static void test_vm_deleted(void **state)
{
	struct client c = connect_client(), other = connect_client();
	struct heard h = {0};
	struct json_object *obj;

	(void)state;
	create(&other, "x");
	subscribe(&c, "");
	exits(9000, 10); /* more than one read */
	call(&other, "vm.delete", "{\"vm\":\"x\"}");
	expect(&other, "result.vm", "x");
	while (obj = hear(&c), strcmp(text(obj, "method"), "ended") != 0) {
		take_message(obj, &h);
		json_object_put(obj);
	}
	assert_string_equal(text(obj, "params.reason"), "the VM was deleted");
	json_object_put(obj);
	assert_int_equal(h.told + h.missed, 9000);
	/* no more is asked of the engine, and the number is free */
	call(&c, "subscription.end", "{\"subscription\":1}");
	expect_error(&c, "not-found", "subscription");
	assert_int_equal(fake_count(ENGINE_TRACE_SET), 1);
	disconnect(&c);
	disconnect(&other);
}

static void test_deleted_while_it_begins(void **state)
{
	struct client c = connect_client(), other = connect_client();

	(void)state;
	create(&other, "x");
	fake_hold(ENGINE_TRACE_SET);
	call(&c, "trace.subscribe", "{\"vm\":\"x\"}");
	hear_nothing(&c);
	call(&other, "vm.delete", "{\"vm\":\"x\"}");
	expect(&other, "result.vm", "x");
	expect_error(&c, "not-found", "vm");
	fake_release();
	hear_nothing(&c);
	disconnect(&c);
	disconnect(&other);
}

static void test_hang_up(void **state)
{
	struct client c = connect_client(), other = connect_client();

	(void)state;
	create(&other, "x");
	/* while it begins */
	fake_hold(ENGINE_TRACE_SET);
	call(&c, "trace.subscribe", "{\"vm\":\"x\"}");
	hear_nothing(&c);
	disconnect(&c);
	fake_release();
	/* while records are on their way */
	c = connect_client();
	subscribe(&c, "");
	subscribe(&c, ",\"kinds\":[\"exit\"]");
	fake_hold(ENGINE_TRACE_READ);
	exits(10, 10);
	turn();
	assert_true(fake_held() > 0);
	disconnect(&c);
	fake_release();
	for (int i = 0; i < 3; i++)
		turn();
	assert_int_equal(fake_last()->op, ENGINE_TRACE_SET);
	assert_int_equal(fake_last()->u.trace_set.kinds, 0);
	disconnect(&other);
}

static void test_refused(void **state)
{
	static const struct engine_error refused = {.code = -EOPNOTSUPP,
						    .text = "it can't be traced"};
	struct client c = connect_client();

	(void)state;
	create(&c, "x");
	fake_fail_next(ENGINE_TRACE_SET, &refused);
	call(&c, "trace.subscribe", "{\"vm\":\"x\"}");
	expect_error(&c, "unsupported", "");
	subscribe(&c, ",\"kinds\":[\"exit\"]");
	/* the one that is there goes on */
	fake_fail_next(ENGINE_TRACE_SET, &refused);
	call(&c, "trace.subscribe", "{\"vm\":\"x\"}");
	expect_error(&c, "unsupported", "");
	exits(2, 10);
	assert_int_equal(hear_records(&c, 2).missed, 0);
	assert_int_equal(fake_count(ENGINE_TRACE_SET), 3);
	disconnect(&c);
}

static void hear_replies(struct client *c, size_t count)
{
	while (count) {
		struct json_object *obj = hear(c);

		count -= at(obj, "id") != NULL;
		json_object_put(obj);
	}
}

/* The daemon ends with everything on its way. */
static void test_stop(void **state)
{
	static const char *const all[] = {"trace.subscribe", "stats.subscribe", "console.attach",
					  "vm.get"};
	struct client c, waiting;

	(void)state;
	start(NULL);
	c = connect_client();
	waiting = connect_client();
	create(&c, "x");
	call(&c, "events.subscribe", "{}");
	for (size_t i = 0; i < COUNT(all); i++)
		call(&c, all[i], "{\"vm\":\"x\"}");
	call(&c, "subscription.end", "{\"subscription\":2}");
	call(&c, "trace.subscribe", "{\"vm\":\"x\",\"kinds\":[\"exit\"]}");
	hear_replies(&c, COUNT(all) + 3);
	fake_hold(ENGINE_TRACE_READ);
	exits(10, 10);
	fake_print("x");
	call(&waiting, "trace.subscribe", "{\"vm\":\"x\"}");
	hear_nothing(&waiting);
	assert_true(fake_held() > 0);
	stop(NULL);
	expect_error(&waiting, "cancelled", "");
	close(c.fd);
	close(waiting.fd);
	proto_framer_free(&c.in);
	proto_framer_free(&waiting.in);
}

/* --- parameters ------------------------------------------------------------------------ */

static const struct {
	const char *params, *kind, *field;
} bad[] = {
	{"{\"vm\":\"y\"}", "not-found", "vm"},
	{"{\"vm\":\"x\",\"exits\":[\"cpuid\",\"nonsense\"]}", "invalid-value", "exits[1]"},
	{"{\"vm\":\"x\",\"exits\":[\"ept-violation\"]}", "invalid-value", "exits[0]"},
	{"{\"vm\":\"x\",\"exits\":[]}", "invalid-value", "exits"},
	{"{\"vm\":\"x\",\"kinds\":[]}", "invalid-value", "kinds"},
	{"{\"vm\":\"x\",\"kinds\":[\"violation\"],\"exits\":[\"cpuid\"]}", "invalid-value",
	 "exits"},
	{"{\"vm\":\"x\",\"vcpu\":1}", "not-found", "vcpu"},
	{"{\"vm\":\"x\",\"buffer_records\":0}", "out-of-range", "buffer_records"},
	{"{\"vm\":\"x\",\"buffer_records\":65537}", "out-of-range", "buffer_records"},
};

static void test_bad(void **state)
{
	struct client c = connect_client();

	(void)state;
	create(&c, "x");
	for (size_t i = 0; i < COUNT(bad); i++) {
		call(&c, "trace.subscribe", bad[i].params);
		expect_error(&c, bad[i].kind, bad[i].field);
	}
	assert_int_equal(fake_count(ENGINE_TRACE_SET), 0);
	disconnect(&c);
}

/* All that the daemon keeps for all who trace is bounded, and given back. */
static void test_room_is_bounded(void **state)
{
	struct client c = connect_client(), other = connect_client();
	struct json_object *obj;

	(void)state;
	create(&c, "x");
	for (unsigned i = 0; i < HVD_TRACE_RECORDS / 65536; i++)
		subscribe(&c, ",\"buffer_records\":65536");
	call(&other, "trace.subscribe", "{\"vm\":\"x\"}");
	obj = hear(&other);
	assert_string_equal(text(obj, "error.data.kind"), "limit");
	assert_string_equal(text(obj, "error.data.field"), "buffer_records");
	assert_int_equal(number(obj, "error.data.limit"), 0);
	json_object_put(obj);
	call(&c, "subscription.end", "{\"subscription\":3}");
	expect(&c, "result.subscription", "3");
	subscribe(&other, ",\"buffer_records\":65536");
	disconnect(&c);
	disconnect(&other);
	assert_int_equal(daemon_.trace_records, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_records),		RIG_TEST(test_batches),
		RIG_TEST(test_filters),		RIG_TEST(test_two),
		RIG_TEST(test_engine_loses),	RIG_TEST(test_setting_drops),
		RIG_TEST(test_small_buffer),	RIG_TEST(test_gap_in_the_middle),
		RIG_TEST(test_vm_deleted),	RIG_TEST(test_deleted_while_it_begins),
		RIG_TEST(test_hang_up),		RIG_TEST(test_refused),
		cmocka_unit_test(test_stop),	RIG_TEST(test_bad),
		RIG_TEST(test_room_is_bounded),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
