// SPDX-License-Identifier: MIT
/*
 * Subscriptions: their order after replies, their bounds, their end. stats.subscribe is
 * replaced (ld --wrap) by sources of notifications that tests turn on and off.
 */
#include "fake_engine.h"
#include "hvd/stream.h"
#include "server_rig.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOURCES 8

/* Sends console notifications, whose offsets count them, until next is limit. */
static struct source {
	struct stream *stream;
	uint64_t next, limit;
	size_t bytes; /* of each */
	unsigned fills, ends;
} sources[SOURCES];
static size_t source_count;

/* For the sources to come. */
static uint64_t new_limit;
static size_t new_bytes;
static bool end_at_once; /* before the reply */

static void fill(struct stream *s, void *ctx)
{
	static uint8_t data[65536];
	struct source *src = ctx;
	bool room = true;

	assert_ptr_equal(s, src->stream);
	src->fills++;
	while (room && src->next < src->limit) {
		const struct proto_console_output out = {.subscription = stream_id(s),
							 .vm = "x",
							 .offset = src->next++,
							 .data = {data, src->bytes}};

		room = stream_send(s, PROTO_NOTIFICATION_console, &out);
	}
}

static void on_end(void *ctx)
{
	struct source *src = ctx;

	src->ends++;
	src->stream = NULL;
}

static const struct stream_ops ops = {fill, on_end};

void __wrap_method_stats_subscribe(struct call *c);

void __wrap_method_stats_subscribe(struct call *c)
{
	struct proto_subscription result = {0};
	struct source *src = &sources[source_count];
	struct proto_error err;

	*src = (struct source){.limit = new_limit, .bytes = new_bytes};
	src->stream = stream_new(c, &ops, src, &err);
	if (!src->stream) {
		call_fail(c, &err);
		return;
	}
	source_count++;
	result.subscription = stream_id(src->stream);
	if (end_at_once)
		stream_end(src->stream, "over already");
	call_reply(c, &result);
}

static void begin(uint64_t limit, size_t bytes)
{
	source_count = 0;
	end_at_once = false;
	new_limit = limit;
	new_bytes = bytes;
}

#define SUBSCRIBE "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats.subscribe\"}"

static void end_call(struct client *c, unsigned subscription)
{
	char params[40];

	snprintf(params, sizeof(params), "{\"subscription\":%u}", subscription);
	call(c, "subscription.end", params);
}

/* --- order ----------------------------------------------------------------------------- */

static void expect_notification(struct client *c, const char *subscription, const char *offset)
{
	struct json_object *obj = hear(c);

	assert_string_equal(json_object_get_string(at(obj, "method")), "console");
	assert_null(at(obj, "id"));
	assert_string_equal(json_object_get_string(at(obj, "params.subscription")), subscription);
	assert_string_equal(json_object_get_string(at(obj, "params.offset")), offset);
	json_object_put(obj);
}

static void test_after_the_reply(void **state)
{
	struct client c = connect_client(), other = connect_client();

	(void)state;
	begin(2, 10);
	say(&c, SUBSCRIBE "\n" SUBSCRIBE);
	expect(&c, "result.subscription", "1");
	expect(&c, "result.subscription", "2");
	for (int i = 0; i < 2; i++) {
		expect_notification(&c, i ? "2" : "1", "0");
		expect_notification(&c, i ? "2" : "1", "1");
	}
	/* numbers are of the connection */
	say(&other, SUBSCRIBE);
	expect(&other, "result.subscription", "1");
	expect_notification(&other, "1", "0");
	sources[1].limit = 3;
	stream_wake(sources[1].stream);
	expect_notification(&c, "2", "2");
	hear_nothing(&c);
	disconnect(&c);
	disconnect(&other);
}

static void test_in_a_batch(void **state)
{
	struct client c = connect_client();
	struct json_object *obj;

	(void)state;
	begin(1, 10);
	create(&c, "x");
	fake_hold(ENGINE_VM_INFO);
	say(&c, "[" SUBSCRIBE ",{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"vm.get\",\"params\":"
		"{\"vm\":\"x\"}}]");
	hear_nothing(&c);
	assert_int_equal(sources[0].fills, 0);
	stream_wake(sources[0].stream);
	hear_nothing(&c);
	fake_release();
	obj = hear(&c);
	assert_int_equal(json_object_array_length(obj), 2);
	json_object_put(obj);
	expect_notification(&c, "1", "0");
	disconnect(&c);
}

static void test_ended_before_the_reply(void **state)
{
	struct client c = connect_client();

	(void)state;
	begin(5, 10);
	end_at_once = true;
	say(&c, SUBSCRIBE);
	expect(&c, "result.subscription", "1");
	expect(&c, "params.reason", "over already");
	assert_int_equal(sources[0].ends, 1);
	assert_int_equal(sources[0].fills, 0);
	end_call(&c, 1);
	expect_error(&c, "not-found", "subscription");
	disconnect(&c);
	assert_int_equal(sources[0].ends, 1);
}

/* --- bounds ------------------------------------------------------------------------------ */

static void turns(int n)
{
	while (n--)
		turn();
}

static void test_output_bounded(void **state)
{
	struct hvd_bounds bounds = hvd_default_bounds;
	struct client c, other;
	uint64_t sent;
	unsigned before;

	(void)state;
	bounds.output_bytes = 64 << 10;
	start_with(&bounds);
	c = connect_client();
	other = connect_client();
	begin(UINT64_MAX, 3000); /* 4000 characters and some */
	create(&other, "x");
	before = fake_count(ENGINE_VM_INFO);
	say(&c, SUBSCRIBE "\n" SUBSCRIBE);
	turns(20);
	sent = sources[0].next + sources[1].next;
	turns(20);
	assert_int_equal(sources[0].next + sources[1].next, sent);
	assert_true(sent < 512); /* half of the bound, and what the socket holds */
	assert_true(sources[0].next > 2 && sources[1].next > 2);
	/* notifications that wait hold up neither its own requests nor others' */
	call(&c, "vm.get", "{\"vm\":\"x\"}");
	turns(3);
	assert_int_equal(fake_count(ENGINE_VM_INFO), before + 1);
	call(&other, "vm.get", "{\"vm\":\"x\"}");
	expect(&other, "result.vm", "x");
	/* nothing is lost: both go on where they were */
	for (uint64_t next[2] = {0}; next[0] < 400 || next[1] < 400;) {
		struct json_object *obj = hear(&c), *which = at(obj, "params.subscription");

		if (which)
			assert_int_equal(json_object_get_uint64(at(obj, "params.offset")),
					 next[json_object_get_int(which) - 1]++);
		json_object_put(obj);
	}
	disconnect(&c);
	disconnect(&other);
	assert_int_equal(sources[0].ends + sources[1].ends, 2);
	hvd_stop(&daemon_);
}

/* One who reads nothing is dropped, though it be woken all the time. */
static void test_slow_subscriber(void **state)
{
	struct hvd_bounds bounds = hvd_default_bounds;
	const uint64_t start_ms = hvd_now_ms();
	struct client c;

	(void)state;
	bounds.client_timeout_ms = 200;
	start_with(&bounds);
	c = connect_client();
	begin(UINT64_MAX, 3000);
	say(&c, SUBSCRIBE);
	while (!source_count || !sources[0].ends) {
		assert_true(hvd_now_ms() - start_ms < PATIENCE_MS);
		if (source_count && sources[0].stream)
			stream_wake(sources[0].stream);
		call(&c, "vm.list", "{}");
		turn();
	}
	disconnect(&c);
	hvd_stop(&daemon_);
}

static void test_count_bounded(void **state)
{
	struct hvd_bounds bounds = hvd_default_bounds;
	struct json_object *obj;
	struct client c;

	(void)state;
	bounds.subscriptions_per_connection = 2;
	start_with(&bounds);
	c = connect_client();
	begin(0, 10);
	say(&c, SUBSCRIBE "\n" SUBSCRIBE);
	expect(&c, "result.subscription", "1");
	expect(&c, "result.subscription", "2");
	say(&c, SUBSCRIBE);
	obj = hear(&c);
	assert_string_equal(json_object_get_string(at(obj, "error.data.kind")), "limit");
	assert_string_equal(json_object_get_string(at(obj, "error.data.limit")), "2");
	json_object_put(obj);
	end_call(&c, 1);
	expect(&c, "result.subscription", "1");
	say(&c, SUBSCRIBE);
	expect(&c, "result.subscription", "3");
	disconnect(&c);
	hvd_stop(&daemon_);
}

/* --- the end ------------------------------------------------------------------------------- */

static void test_subscription_end(void **state)
{
	struct client c = connect_client(), other = connect_client();

	(void)state;
	begin(1, 10);
	say(&c, SUBSCRIBE "\n" SUBSCRIBE);
	for (int i = 0; i < 4; i++)
		json_object_put(hear(&c));
	end_call(&other, 1);
	expect_error(&other, "not-found", "subscription");
	end_call(&c, 0);
	expect_error(&c, "out-of-range", "subscription");
	end_call(&c, 3);
	expect_error(&c, "not-found", "subscription");
	end_call(&c, 1);
	expect(&c, "result.subscription", "1");
	assert_int_equal(sources[0].ends, 1);
	end_call(&c, 1);
	expect_error(&c, "not-found", "subscription");
	sources[1].limit = 2;
	stream_wake(sources[1].stream);
	expect_notification(&c, "2", "1");
	disconnect(&c);
	disconnect(&other);
	assert_int_equal(sources[0].ends, 1);
	assert_int_equal(sources[1].ends, 1);
}

static void test_ended(void **state)
{
	struct client c = connect_client();
	struct json_object *obj;

	(void)state;
	begin(0, 10);
	say(&c, SUBSCRIBE);
	expect(&c, "result.subscription", "1");
	stream_end(sources[0].stream, "the VM was deleted");
	assert_int_equal(sources[0].ends, 1);
	obj = hear(&c);
	assert_string_equal(json_object_get_string(at(obj, "method")), "ended");
	assert_string_equal(json_object_get_string(at(obj, "params.subscription")), "1");
	assert_string_equal(json_object_get_string(at(obj, "params.reason")), "the VM was deleted");
	json_object_put(obj);
	disconnect(&c);
	assert_int_equal(sources[0].ends, 1);
}

static void test_half_closed(void **state)
{
	struct client c = connect_client();
	const uint64_t begin_ms = hvd_now_ms();

	(void)state;
	begin(1, 10);
	say(&c, SUBSCRIBE);
	shutdown(c.fd, SHUT_WR);
	expect(&c, "result.subscription", "1");
	expect_notification(&c, "1", "0");
	sources[0].limit = 2;
	stream_wake(sources[0].stream);
	expect_notification(&c, "1", "1");
	assert_int_equal(sources[0].ends, 0);
	close(c.fd);
	while (!sources[0].ends && hvd_now_ms() - begin_ms < PATIENCE_MS)
		turn();
	assert_int_equal(sources[0].ends, 1);
	disconnect(&(struct client){.fd = -1, .in = c.in});
}

/* While its request is in progress. */
static void test_gone_before_the_reply(void **state)
{
	struct client c = connect_client();

	(void)state;
	begin(UINT64_MAX, 10);
	create(&c, "x");
	fake_hold(ENGINE_VM_INFO);
	say(&c, "[" SUBSCRIBE ",{\"jsonrpc\":\"2.0\",\"method\":\"vm.get\",\"params\":"
		"{\"vm\":\"x\"}}," SUBSCRIBE "]");
	turns(3);
	disconnect(&c);
	turns(3);
	assert_int_equal(source_count, 1);
	assert_int_equal(sources[0].ends, 1);
	fake_release();
	turns(3);
	/* the second is refused: nobody would be told */
	assert_int_equal(source_count, 1);
	assert_int_equal(sources[0].fills, 0);
}

static void test_daemon_ends(void **state)
{
	struct client c;

	(void)state;
	start_with(&hvd_default_bounds);
	c = connect_client();
	begin(0, 10);
	say(&c, SUBSCRIBE);
	expect(&c, "result.subscription", "1");
	hvd_stop(&daemon_);
	assert_int_equal(sources[0].ends, 1);
	expect(&c, "params.reason", "the daemon is stopping");
	close(c.fd);
	proto_framer_free(&c.in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_after_the_reply),
		RIG_TEST(test_in_a_batch),
		RIG_TEST(test_ended_before_the_reply),
		cmocka_unit_test(test_output_bounded),
		cmocka_unit_test(test_slow_subscriber),
		cmocka_unit_test(test_count_bounded),
		RIG_TEST(test_subscription_end),
		RIG_TEST(test_ended),
		RIG_TEST(test_half_closed),
		RIG_TEST(test_gone_before_the_reply),
		cmocka_unit_test(test_daemon_ends),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
