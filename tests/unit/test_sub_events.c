// SPDX-License-Identifier: MIT
/* events.subscribe: order, replay, filters, gaps, and what a slow reader is told. */
#include "fake_engine.h"
#include "hvd/events.h"
#include "server_rig.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- telling and hearing --------------------------------------------------------------- */

static void publish(uint32_t type, const char *vm)
{
	struct proto_event ev = {.type = type};

	if (vm)
		PROTO_SET(&ev, vm, vm);
	events_publish(&daemon_, &ev);
}

static void publish_many(unsigned count, const char *vm)
{
	for (unsigned i = 0; i < count; i++)
		publish(PROTO_EVENT_TYPE_VM_STATE, vm);
}

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

static void expect_event(struct client *c, uint64_t seq, const char *type, const char *vm)
{
	struct json_object *obj = hear(c);

	if (strcmp(text(obj, "method"), "event") != 0 || number(obj, "params.seq") != seq ||
	    strcmp(text(obj, "params.type"), type) != 0 || strcmp(text(obj, "params.vm"), vm) != 0)
		fail_msg("not event %" PRIu64 " (%s of %s): %s", seq, type, vm,
			 json_object_to_json_string(obj));
	json_object_put(obj);
}

static void expect_gap(struct client *c, uint64_t missed, uint64_t first, uint64_t next)
{
	struct json_object *obj = hear(c);

	if (strcmp(text(obj, "method"), "gap") != 0 || number(obj, "params.missed") != missed ||
	    number(obj, "params.first_seq") != first || number(obj, "params.next_seq") != next)
		fail_msg("not a gap of %" PRIu64 " from %" PRIu64 " to %" PRIu64 ": %s", missed,
			 first, next, json_object_to_json_string(obj));
	json_object_put(obj);
}

static void subscribe(struct client *c, const char *params)
{
	call(c, "events.subscribe", params);
	expect(c, "id", "1");
}

/* --- what is told ---------------------------------------------------------------------- */

static void test_life(void **state)
{
	struct client watcher = connect_client(), c = connect_client();
	struct json_object *obj;
	char uuid[40];

	(void)state;
	subscribe(&watcher, "{}");
	create(&c, "x");
	obj = hear(&watcher);
	assert_string_equal(text(obj, "params.type"), "vm.created");
	assert_int_equal(number(obj, "params.seq"), 1);
	assert_int_equal(number(obj, "params.subscription"), 1);
	assert_string_equal(text(obj, "params.state.name"), "shutoff");
	assert_true(number(obj, "params.time_ns") > UINT64_C(1000000000000000000));
	assert_null(at(obj, "params.exit_status"));
	snprintf(uuid, sizeof(uuid), "%s", text(obj, "params.uuid"));
	json_object_put(obj);
	fake_change_state(ENGINE_STATE_RUNNING, ENGINE_REASON_STARTED);
	expect_event(&watcher, 2, "vm.state", "x");
	fake_change_state(ENGINE_STATE_SHUTOFF, ENGINE_REASON_EXITED);
	obj = hear(&watcher);
	assert_string_equal(text(obj, "params.reason"), "exited");
	assert_int_equal(number(obj, "params.exit_status"), 0);
	assert_string_equal(text(obj, "params.uuid"), uuid);
	json_object_put(obj);
	fake_change_state(ENGINE_STATE_CRASHED, ENGINE_REASON_TRIPLE_FAULT);
	expect_event(&watcher, 4, "vm.state", "x");
	expect_event(&watcher, 5, "vm.unexpected-exit", "x");
	call(&c, "vm.delete", "{\"vm\":\"x\"}");
	expect(&c, "result.vm", "x");
	expect_event(&watcher, 6, "vm.deleted", "x");
	hear_nothing(&watcher);
	disconnect(&watcher);
	disconnect(&c);
}

/* A VM that could not be had is told of only if it was there for a while. */
static void test_create_fails(void **state)
{
	static const struct engine_error refused = {.code = -ENOMEM};
	struct client c = connect_client(), watcher = connect_client();

	(void)state;
	subscribe(&watcher, "{}");
	fake_fail_next(ENGINE_VM_CREATE, &refused);
	call(&c, "vm.create", "{\"name\":\"x\"}");
	expect_error(&c, "no-memory", "");
	hear_nothing(&watcher);
	fake_fail_next(ENGINE_VM_START, &refused);
	call(&c, "vm.create", "{\"name\":\"x\",\"start\":true}");
	expect_error(&c, "no-memory", "");
	expect_event(&watcher, 1, "vm.created", "x");
	expect_event(&watcher, 2, "vm.deleted", "x");
	hear_nothing(&watcher);
	disconnect(&c);
	disconnect(&watcher);
}

static void test_notices(void **state)
{
	static const struct engine_notice recycled = {
		.kind = ENGINE_NOTICE_VPIDS_RECYCLED, .processor = 1, .generation = 7};
	struct engine_notice missing = {
		.kind = ENGINE_NOTICE_UNIMPLEMENTED, .vm = 1, .rip = 0x1234, .text = "vpaddd"};
	struct client c = connect_client();
	struct json_object *obj;

	(void)state;
	create(&c, "x");
	subscribe(&c, "{}");
	fake_notice(&recycled);
	obj = hear(&c);
	assert_string_equal(text(obj, "params.type"), "vpid.pressure");
	assert_int_equal(number(obj, "params.processor"), 1);
	assert_int_equal(number(obj, "params.generation"), 7);
	json_object_put(obj);
	fake_notice(&missing);
	obj = hear(&c);
	assert_string_equal(text(obj, "params.type"), "vm.unimplemented");
	assert_string_equal(text(obj, "params.vm"), "x");
	assert_string_equal(text(obj, "params.detail"), "vpaddd");
	assert_string_equal(text(obj, "params.rip"), "0x1234");
	json_object_put(obj);
	missing.vm = 99; /* deleted meanwhile */
	fake_notice(&missing);
	hear_nothing(&c);
	disconnect(&c);
}

static void test_text_is_bounded(void **state)
{
	struct client c = connect_client();
	struct json_object *obj;
	char detail[600];
	struct proto_event ev = {.type = PROTO_EVENT_TYPE_DEFINITION_DAMAGED};

	(void)state;
	subscribe(&c, "{}");
	memset(detail, 'a', sizeof(detail) - 1);
	detail[sizeof(detail) - 1] = '\0';
	detail[0] = '\xff';
	memcpy(detail + 254, "\xc3\xa4", 2); /* would be cut in the middle */
	PROTO_SET(&ev, detail, detail);
	events_publish(&daemon_, &ev);
	memset(detail, 'b', sizeof(detail) - 1); /* it is a copy */
	obj = hear(&c);
	assert_int_equal(strlen(text(obj, "params.detail")), 254);
	assert_int_equal(text(obj, "params.detail")[0], '?');
	assert_int_equal(text(obj, "params.detail")[253], 'a');
	json_object_put(obj);
	disconnect(&c);
}

/* --- since ----------------------------------------------------------------------------- */

static void test_replay(void **state)
{
	struct client c = connect_client();
	char params[80];

	(void)state;
	publish_many(5, "x");
	subscribe(&c, "{}"); /* only what happens from now on */
	hear_nothing(&c);
	publish_many(1, "x");
	expect_event(&c, 6, "vm.state", "x");
	for (unsigned since = 0; since <= 7; since++) {
		struct client other = connect_client();

		snprintf(params, sizeof(params), "{\"since\":%u}", since);
		subscribe(&other, params);
		for (unsigned seq = since ? since : 1; seq < 7; seq++)
			expect_event(&other, seq, "vm.state", "x");
		hear_nothing(&other);
		disconnect(&other);
	}
	disconnect(&c);
}

static void test_reply(void **state)
{
	struct client c = connect_client();
	struct json_object *obj;

	(void)state;
	publish_many(HVD_EVENTS_KEPT + 9, "x");
	call(&c, "events.subscribe", "{}");
	obj = hear(&c);
	assert_int_equal(number(obj, "result.next_seq"), HVD_EVENTS_KEPT + 10);
	assert_int_equal(number(obj, "result.oldest_seq"), 10);
	assert_int_equal(strlen(text(obj, "result.epoch")), 16);
	json_object_put(obj);
	disconnect(&c);
}

static void test_replay_of_what_is_gone(void **state)
{
	struct client c = connect_client(), other = connect_client();

	(void)state;
	publish_many(HVD_EVENTS_KEPT, "x");
	subscribe(&c, "{\"since\":1}"); /* all are there still */
	for (unsigned seq = 1; seq <= HVD_EVENTS_KEPT; seq++)
		expect_event(&c, seq, "vm.state", "x");
	publish_many(10, "x");
	subscribe(&other, "{\"since\":3}");
	expect_gap(&other, 8, 3, 11);
	for (unsigned seq = 11; seq <= HVD_EVENTS_KEPT + 10; seq++)
		expect_event(&other, seq, "vm.state", "x");
	hear_nothing(&other);
	disconnect(&c);
	disconnect(&other);
}

static void test_epoch(void **state)
{
	struct client c = connect_client();
	char params[100];

	(void)state;
	publish_many(3, "x");
	snprintf(params, sizeof(params), "{\"since\":3,\"epoch\":\"%s\"}", events_epoch(&daemon_));
	subscribe(&c, params);
	expect_event(&c, 3, "vm.state", "x");
	hear_nothing(&c);
	/* another daemon's numbers: whatever they are, everything comes */
	subscribe(&c, "{\"since\":1000,\"epoch\":\"0123456789abcdef\"}");
	for (unsigned seq = 1; seq <= 3; seq++)
		expect_event(&c, seq, "vm.state", "x");
	hear_nothing(&c);
	disconnect(&c);
}

static const struct {
	const char *params, *kind, *field;
} bad[] = {
	{"{\"since\":5}", "out-of-range", "since"},
	{"{\"since\":18446744073709551615}", "out-of-range", "since"},
	{"{\"epoch\":\"0123456789abcdef\"}", "invalid-value", "epoch"},
	{"{\"types\":[]}", "invalid-value", "types"},
	{"{\"types\":[\"vm.exploded\"]}", "invalid-value", "types[0]"},
};

static void test_bad(void **state)
{
	struct client c = connect_client();
	struct json_object *obj;

	(void)state;
	publish_many(3, "x");
	for (size_t i = 0; i < COUNT(bad); i++) {
		call(&c, "events.subscribe", bad[i].params);
		expect_error(&c, bad[i].kind, bad[i].field);
	}
	call(&c, "events.subscribe", "{\"since\":5}");
	obj = hear(&c);
	assert_int_equal(number(obj, "error.data.limit"), 4);
	json_object_put(obj);
	hear_nothing(&c);
	disconnect(&c);
}

/* --- filters --------------------------------------------------------------------------- */

static void publish_mixed(void)
{
	publish(PROTO_EVENT_TYPE_VM_CREATED, "a");
	publish(PROTO_EVENT_TYPE_VM_CREATED, "b");
	publish(PROTO_EVENT_TYPE_VM_STATE, "a");
	publish(PROTO_EVENT_TYPE_RELOADED, NULL);
	publish(PROTO_EVENT_TYPE_VM_DELETED, "b");
}

static const struct {
	const char *params;
	unsigned seqs[6]; /* of publish_mixed(), from 1 */
} filters[] = {
	{"{}", {1, 2, 3, 4, 5}},
	{"{\"vm\":\"a\"}", {1, 3}},
	{"{\"vm\":\"none\"}", {0}},
	{"{\"types\":[\"vm.created\"]}", {1, 2}},
	{"{\"types\":[\"daemon.reloaded\",\"vm.deleted\"]}", {4, 5}},
	{"{\"types\":[\"vm.created\"],\"vm\":\"b\"}", {2}},
	{"{\"types\":[\"daemon.reloaded\"],\"vm\":\"a\"}", {0}},
};

static void test_filters(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(filters); i++) {
		const uint64_t before = events_next(&daemon_) - 1;
		struct client c = connect_client();

		subscribe(&c, filters[i].params);
		publish_mixed();
		for (size_t k = 0; filters[i].seqs[k]; k++) {
			struct json_object *obj = hear(&c);

			assert_int_equal(number(obj, "params.seq"), before + filters[i].seqs[k]);
			json_object_put(obj);
		}
		hear_nothing(&c);
		disconnect(&c);
	}
}

/* What others lose is no loss of this one's. */
static void test_no_false_gap(void **state)
{
	struct client c = connect_client();

	(void)state;
	subscribe(&c, "{\"vm\":\"a\"}");
	publish_many(3 * HVD_EVENTS_KEPT, "b");
	publish_many(1, "a");
	publish_many(100, "b");
	expect_event(&c, 3 * HVD_EVENTS_KEPT + 1, "vm.state", "a");
	hear_nothing(&c);
	disconnect(&c);
}

/* No turn of the loop, so nothing is told while the ring goes round. */
static void test_gap_counts_its_own(void **state)
{
	struct client a = connect_client(), all = connect_client();

	(void)state;
	subscribe(&a, "{\"vm\":\"a\"}");
	subscribe(&all, "{}");
	for (unsigned i = 0; i < HVD_EVENTS_KEPT; i++)
		publish_many(1, i % 4 ? "b" : "a"); /* 1, 5, 9, ... */
	publish_many(10, "b");			    /* 1..10 are gone */
	expect_gap(&a, 3, 1, 13);
	for (unsigned seq = 13; seq <= HVD_EVENTS_KEPT; seq += 4)
		expect_event(&a, seq, "vm.state", "a");
	hear_nothing(&a);
	expect_gap(&all, 10, 1, 11);
	for (unsigned seq = 11; seq <= HVD_EVENTS_KEPT + 10; seq++)
		expect_event(&all, seq, "vm.state",
			     (seq - 1) % 4 || seq > HVD_EVENTS_KEPT ? "b" : "a");
	hear_nothing(&all);
	disconnect(&a);
	disconnect(&all);
}

/* --- slow readers ------------------------------------------------------------------------ */

/* Hears all up to a number: every one was told or missed, in order. Returns how many were told. */
static uint64_t hear_all(struct client *c, uint64_t first, uint64_t last, unsigned *ret_gaps)
{
	uint64_t next = first, told = 0;

	*ret_gaps = 0;
	while (next <= last) {
		struct json_object *obj = hear(c);

		if (!strcmp(text(obj, "method"), "gap")) {
			assert_int_equal(number(obj, "params.first_seq"), next);
			assert_int_equal(number(obj, "params.next_seq") - next,
					 number(obj, "params.missed"));
			next = number(obj, "params.next_seq");
			++*ret_gaps;
		} else {
			assert_int_equal(number(obj, "params.seq"), next);
			next++;
			told++;
		}
		json_object_put(obj);
	}
	return told;
}

static void test_slow_reader(void **state)
{
	const uint64_t total = 10 * HVD_EVENTS_KEPT;
	struct client slow = connect_client(), quick = connect_client();
	unsigned gaps;

	(void)state;
	subscribe(&slow, "{}");
	subscribe(&quick, "{}");
	for (uint64_t done = 0; done < total; done += 1024) {
		publish_many(1024, "x");
		assert_int_equal(hear_all(&quick, done + 1, done + 1024, &gaps), 1024);
		assert_int_equal(gaps, 0);
	}
	assert_in_range(hear_all(&slow, 1, total, &gaps), HVD_EVENTS_KEPT, total - 1);
	assert_int_equal(gaps, 1);
	/* and goes on as any other */
	publish_many(2, "x");
	expect_event(&slow, total + 1, "vm.state", "x");
	expect_event(&slow, total + 2, "vm.state", "x");
	disconnect(&slow);
	disconnect(&quick);
}

static void test_hang_up(void **state)
{
	struct client c = connect_client(), other = connect_client();

	(void)state;
	for (int i = 0; i < 5; i++)
		subscribe(&c, "{\"since\":0}");
	subscribe(&other, "{}");
	publish_many(6000, "x"); /* not all of it fits */
	disconnect(&c);
	publish_many(10, "x");
	expect_gap(&other, 6000 - HVD_EVENTS_KEPT, 1, 6001 - HVD_EVENTS_KEPT);
	expect_event(&other, 6001 - HVD_EVENTS_KEPT, "vm.state", "x");
	disconnect(&other);
}

static void test_end_of_one(void **state)
{
	struct client c = connect_client();

	(void)state;
	subscribe(&c, "{}");
	call(&c, "events.subscribe", "{\"vm\":\"x\"}");
	expect(&c, "result.subscription", "2");
	call(&c, "subscription.end", "{\"subscription\":1}");
	expect(&c, "result.subscription", "1");
	publish_many(1, "x");
	expect(&c, "params.subscription", "2");
	hear_nothing(&c);
	disconnect(&c);
}

static void test_limit(void **state)
{
	struct client c = connect_client();
	char id[16];

	(void)state;
	for (unsigned i = 1; i <= hvd_default_bounds.subscriptions_per_connection; i++) {
		snprintf(id, sizeof(id), "%u", i);
		call(&c, "events.subscribe", "{}");
		expect(&c, "result.subscription", id);
	}
	call(&c, "events.subscribe", "{}");
	expect_error(&c, "limit", "");
	disconnect(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_life),
		RIG_TEST(test_create_fails),
		RIG_TEST(test_notices),
		RIG_TEST(test_text_is_bounded),
		RIG_TEST(test_replay),
		RIG_TEST(test_reply),
		RIG_TEST(test_replay_of_what_is_gone),
		RIG_TEST(test_epoch),
		RIG_TEST(test_bad),
		RIG_TEST(test_filters),
		RIG_TEST(test_no_false_gap),
		RIG_TEST(test_gap_counts_its_own),
		RIG_TEST(test_slow_reader),
		RIG_TEST(test_hang_up),
		RIG_TEST(test_end_of_one),
		RIG_TEST(test_limit),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
