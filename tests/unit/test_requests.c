// SPDX-License-Identifier: MIT
/*
 * Requests that wait: their bound, what is carried out before them, request.cancel, and the
 * progress of those in progress.
 */
#include "fake_engine.h"
#include "hvd/call.h"
#include "server_rig.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REQUEST(id, method, params) \
	"{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"" method "\",\"params\":" params "}"
#define CANCEL(id) REQUEST("99", "request.cancel", "{\"id\":" id "}")
#define GET(id) REQUEST(id, "vm.get", "{\"vm\":\"x\"}")
#define CREATE(id, name) REQUEST(id, "vm.create", "{\"name\":\"" name "\"}")

static void turns(int n)
{
	while (n--)
		turn();
}

static void expect_reply(struct client *c, const char *id, const char *where, const char *value)
{
	struct json_object *obj = hear(c), *v = at(obj, where);

	if (!v || strcmp(json_object_get_string(v), value) != 0 ||
	    strcmp(json_object_get_string(at(obj, "id")), id) != 0)
		fail_msg("not %s: %s is %s: %s", id, where, value, json_object_to_json_string(obj));
	json_object_put(obj);
}

static void expect_found(struct client *c, bool found)
{
	expect_reply(c, "99", "result.found", found ? "true" : "false");
}

static void expect_cancelled(struct client *c, const char *id)
{
	expect_reply(c, id, "error.data.kind", "cancelled");
}

/* A client whose requests wait behind a creation. */
static struct client waiting_client(void)
{
	struct client c = connect_client();

	create(&c, "x");
	fake_hold(ENGINE_VM_CREATE);
	say(&c, CREATE("1", "slow"));
	turns(2);
	return c;
}

static unsigned lists;

/* --- what waits is found ------------------------------------------------------------------ */

static const struct {
	const char *sent, *cancel;
	bool found;
} ids[] = {
	{"7", "7", true},
	{"\"7\"", "\"7\"", true},
	{"7", "\"7\"", false},
	{"\"7\"", "7", false},
	{"7", "8", false},
	{"18446744073709551615", "18446744073709551615", true},
	{"18446744073709551615", "-1", false},
	{"-1", "-1", true},
	{"1.5", "1.5", true},
	{"2", "2.0", false},
	{"\"a\\u0062\"", "\"ab\"", true},
	{"\"\"", "\"\"", true},
	{"null", "0", false},
};

static void test_ids(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(ids); i++) {
		struct client c = waiting_client();
		char line[300];

		snprintf(line, sizeof(line),
			 "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"vm.delete\",\"params\":"
			 "{\"vm\":\"x\"}}\n{\"jsonrpc\":\"2.0\",\"id\":99,\"method\":"
			 "\"request.cancel\",\"params\":{\"id\":%s}}",
			 ids[i].sent, ids[i].cancel);
		say(&c, line);
		expect_found(&c, ids[i].found);
		assert_int_equal(fake_cancels(), 0);
		fake_release();
		expect_reply(&c, "1", "result.vm", "slow");
		/* in its place among the replies, and not done */
		if (ids[i].found)
			expect(&c, "error.data.kind", "cancelled");
		else
			expect(&c, "result.vm", "x");
		say(&c, GET("3"));
		expect(&c, ids[i].found ? "result.vm" : "error.data.kind",
		       ids[i].found ? "x" : "not-found");
		disconnect(&c);
		stop(NULL);
		start(NULL);
	}
}

static void test_bad_id(void **state)
{
	static const char *const bad[] = {"null", "true", "[1]", "{}"};
	struct client c = connect_client();

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		char params[40];

		snprintf(params, sizeof(params), "{\"id\":%s}", bad[i]);
		call(&c, "request.cancel", params);
		expect_error(&c, "invalid-type", "id");
	}
	call(&c, "request.cancel", "{}");
	expect_error(&c, "missing-parameter", "id");
	disconnect(&c);
}

static void test_once_only(void **state)
{
	struct client c = waiting_client(), other = connect_client();

	(void)state;
	say(&c, GET("2") "\n" GET("2"));
	/* of this connection alone */
	say(&other, CANCEL("2"));
	expect_found(&other, false);
	/* itself it can't name: it is not among those */
	say(&c, CANCEL("99"));
	expect_found(&c, false);
	say(&c, CANCEL("2"));
	expect_found(&c, true);
	say(&c, CANCEL("2"));
	expect_found(&c, true); /* the second of that id */
	say(&c, CANCEL("2"));
	expect_found(&c, false);
	fake_release();
	expect_reply(&c, "1", "result.vm", "slow");
	expect_cancelled(&c, "2");
	expect_cancelled(&c, "2");
	say(&c, CANCEL("2"));
	expect_found(&c, false);
	disconnect(&c);
	disconnect(&other);
}

/* In a batch, it has its place. */
static void test_in_batches(void **state)
{
	struct client c = waiting_client();
	struct json_object *obj;

	(void)state;
	say(&c, "[" GET("2") "," GET("3") "," CANCEL("4") "," GET("4") "]");
	say(&c, CANCEL("3"));
	expect_found(&c, true);
	hear_nothing(&c);
	fake_release();
	expect_reply(&c, "1", "result.vm", "slow");
	obj = hear(&c);
	assert_int_equal(json_object_array_length(obj), 4);
	for (size_t i = 0; i < 4; i++) {
		struct json_object *r = json_object_array_get_idx(obj, i);

		if (i == 1 || i == 3)
			assert_string_equal(json_object_get_string(at(r, "error.data.kind")),
					    "cancelled");
		else
			assert_non_null(at(r, "result"));
	}
	json_object_put(obj);
	disconnect(&c);
}

/* --- what is in progress --------------------------------------------------------------------- */

static void test_engine_request(void **state)
{
	struct client c = waiting_client();

	(void)state;
	say(&c, CANCEL("1"));
	expect_found(&c, true);
	expect_cancelled(&c, "1");
	assert_int_equal(fake_cancels(), 1);
	/* the name is free again */
	fake_release();
	say(&c, CREATE("2", "slow"));
	expect_reply(&c, "2", "result.vm", "slow");
	disconnect(&c);
}

static void test_too_late(void **state)
{
	struct client c = waiting_client();

	(void)state;
	fake_let_cancel(false);
	say(&c, CANCEL("1") "\n" CANCEL("1"));
	expect_found(&c, true);
	expect_found(&c, false);
	hear_nothing(&c);
	fake_release();
	/* as if it had been let alone */
	expect_reply(&c, "1", "result.vm", "slow");
	assert_int_equal(fake_cancels(), 1);
	disconnect(&c);
}

/* The reading of what was created is not what takes long. */
static void test_committed(void **state)
{
	struct client c = connect_client();

	(void)state;
	fake_hold(ENGINE_VM_INFO);
	say(&c, CREATE("1", "x"));
	turns(3);
	say(&c, CANCEL("1"));
	expect_found(&c, true);
	assert_int_equal(fake_cancels(), 0);
	fake_release();
	expect_reply(&c, "1", "result.vm", "x");
	disconnect(&c);
}

/* Created, and then not started: it is deleted again, and that can't be cancelled. */
static void test_created_and_started(void **state)
{
	const bool late[] = {false, true};

	(void)state;
	for (size_t i = 0; i < COUNT(late); i++) {
		struct client c = connect_client();
		const unsigned deleted = fake_count(ENGINE_VM_DELETE);

		fake_let_cancel(late[i]);
		fake_hold(late[i] ? ENGINE_VM_START : ENGINE_VM_CREATE);
		say(&c, REQUEST("1", "vm.create", "{\"name\":\"x\",\"start\":true}"));
		turns(3);
		say(&c, CANCEL("1"));
		expect_found(&c, true);
		fake_release();
		expect_cancelled(&c, "1");
		assert_int_equal(fake_count(ENGINE_VM_DELETE), deleted + 1);
		say(&c, GET("2"));
		expect_reply(&c, "2", "error.data.kind", "not-found");
		disconnect(&c);
	}
}

static void test_wait(void **state)
{
	struct client c = connect_client();

	(void)state;
	create(&c, "x");
	say(&c, REQUEST("5", "vm.wait", "{\"vm\":\"x\",\"until\":\"running\"}"));
	say(&c, REQUEST("\"6\"", "vm.wait", "{\"vm\":\"x\",\"until\":\"running\"}"));
	turns(2);
	say(&c, CANCEL("\"6\""));
	expect_cancelled(&c, "6");
	expect_found(&c, true);
	say(&c, CANCEL("\"6\""));
	expect_found(&c, false);
	say(&c, CANCEL("5"));
	expect_cancelled(&c, "5");
	expect_found(&c, true);
	disconnect(&c);
}

/* --- the bound ------------------------------------------------------------------------------- */

/* Those beyond it are not read: what cancels them has to wait with them. */
static void test_bound(void **state)
{
	struct hvd_bounds bounds = hvd_default_bounds;
	struct client c;

	(void)state;
	bounds.requests_per_connection = 3;
	start_with(&bounds);
	c = waiting_client();
	for (int i = 2; i < 5; i++) {
		char line[200];

		snprintf(line, sizeof(line),
			 "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"vm.get\",\"params\":"
			 "{\"vm\":\"x\"}}",
			 i);
		if (i == 4) {
			say(&c, CANCEL("3"));
			expect_found(&c, true);
		}
		say(&c, line);
	}
	say(&c, CANCEL("4"));
	hear_nothing(&c);
	fake_release();
	expect_reply(&c, "1", "result.vm", "slow");
	/* now there is room for it, and the last still waits */
	expect_found(&c, true);
	expect_reply(&c, "2", "result.vm", "x");
	expect_cancelled(&c, "3");
	expect_cancelled(&c, "4");
	disconnect(&c);
	hvd_stop(&daemon_);
}

/* Thousands at once, most of them not read while others are done. */
static void test_many(void **state)
{
	struct client c = connect_client();
	const size_t n = 5000;
	char *lines = malloc(n * 100), *p = lines;

	(void)state;
	create(&c, "x");
	for (size_t i = 0; i < n; i++)
		p += sprintf(p,
			     "{\"jsonrpc\":\"2.0\",\"id\":%zu,\"method\":\"vm.get\",\"params\":"
			     "{\"vm\":\"x\"}}\n",
			     i);
	send_bytes(&c, lines, (size_t)(p - lines));
	free(lines);
	for (size_t i = 0; i < n; i++) {
		struct json_object *obj = hear(&c);

		assert_int_equal(json_object_get_int(at(obj, "id")), (int)i);
		json_object_put(obj);
	}
	disconnect(&c);
}

/* --- a batch and the others ------------------------------------------------------------------- */

void __real_method_engine_list(struct call *c);
void __wrap_method_engine_list(struct call *c);

/* In place of engine.list: it takes a millisecond. */
void __wrap_method_engine_list(struct call *c)
{
	const uint64_t begin = hvd_now_us();

	while (hvd_now_us() - begin < 1000)
		;
	lists++;
	__real_method_engine_list(c);
}

static void say_batch(struct client *c)
{
	char *text = malloc(PROTO_BATCH_MAX * 80 + 2), *p = text;

	for (int i = 0; i < PROTO_BATCH_MAX; i++)
		p += sprintf(p, "%c{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"engine.list\"}",
			     i ? ',' : '[', i);
	*p++ = ']';
	*p = '\0';
	lists = 0;
	say(c, text);
	free(text);
}

/* It pauses, so that others get their turn. */
static void test_batch_pauses(void **state)
{
	struct client c = connect_client(), other = connect_client();
	struct json_object *obj;

	(void)state;
	say(&c, GET("1"));
	json_object_put(hear(&c));
	say_batch(&c);
	say(&c, GET("2"));
	say(&other, GET("3"));
	expect_reply(&other, "3", "error.data.kind", "not-found");
	assert_true(lists < PROTO_BATCH_MAX);
	obj = hear(&c);
	assert_int_equal(json_object_array_length(obj), PROTO_BATCH_MAX);
	for (size_t i = 0; i < PROTO_BATCH_MAX; i++) {
		struct json_object *r = json_object_array_get_idx(obj, i);

		assert_int_equal(json_object_get_int(at(r, "id")), (int)i);
		assert_non_null(at(r, "result"));
	}
	json_object_put(obj);
	expect_reply(&c, "2", "error.data.kind", "not-found");
	disconnect(&c);
	disconnect(&other);
}

/* At the daemon's end, what it has not begun is not done. */
static void test_paused_at_the_end(void **state)
{
	struct client c;
	struct json_object *obj;
	size_t done = 0;

	(void)state;
	start_with(&hvd_default_bounds);
	c = connect_client();
	say_batch(&c);
	while (!lists)
		turn();
	hvd_stop(&daemon_);
	assert_true(lists < PROTO_BATCH_MAX);
	obj = hear(&c);
	assert_int_equal(json_object_array_length(obj), PROTO_BATCH_MAX);
	for (size_t i = 0; i < PROTO_BATCH_MAX; i++)
		done += at(json_object_array_get_idx(obj, i), "result") != NULL;
	assert_int_equal(done, lists);
	json_object_put(obj);
	close(c.fd);
	proto_framer_free(&c.in);
}

/* --- progress --------------------------------------------------------------------------------- */

#define SLOW(id, name) REQUEST(id, "vm.create", "{\"name\":\"" name "\",\"progress\":true}")

static void test_progress(void **state)
{
	struct client c = connect_client();
	uint64_t begin;
	unsigned told = 0;

	(void)state;
	fake_hold(ENGINE_VM_CREATE);
	say(&c, SLOW("\"it\"", "a"));
	turns(2);
	begin = hvd_now_ms();
	for (unsigned i = 1; hvd_now_ms() - begin < 350; i++) {
		fake_progress(i, 1000000);
		turn();
	}
	fake_release();
	for (bool done = false; !done;) {
		struct json_object *obj = hear(&c);

		done = at(obj, "result.vm") != NULL;
		if (!done) {
			assert_string_equal(json_object_get_string(at(obj, "method")), "progress");
			assert_string_equal(json_object_get_string(at(obj, "params.id")), "it");
			assert_string_equal(json_object_get_string(at(obj, "params.total")),
					    "1000000");
			told++;
		}
		json_object_put(obj);
	}
	/* ten a second, however long this took */
	assert_true(told >= 2 && told <= (hvd_now_ms() - begin) / 100 + 1);
	hear_nothing(&c);
	disconnect(&c);
}

static void test_no_progress(void **state)
{
	static const char *const silent[] = {
		CREATE("1", "a"),
		"[" SLOW("1", "a") "]",
		"{\"jsonrpc\":\"2.0\",\"method\":\"vm.create\",\"params\":{\"name\":\"a\","
		"\"progress\":true}}\n" CREATE("1", "a"),
	};

	(void)state;
	for (size_t i = 0; i < COUNT(silent); i++) {
		struct client c = connect_client();

		fake_hold(ENGINE_VM_CREATE);
		say(&c, silent[i]);
		turns(2);
		fake_progress(1, 2);
		hear_nothing(&c);
		fake_release();
		json_object_put(hear(&c));
		disconnect(&c);
		stop(NULL);
		start(NULL);
	}
}

/* The rows say so in two places: they agree. */
static void test_long_methods(void **state)
{
	(void)state;
	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++) {
		const struct proto_method *m = &proto_methods[i];
		const struct proto_field *f = proto_field_by_name(m->params(), "progress");

		assert_int_equal((m->flags & PROTO_METHOD_LONG) != 0, f != NULL);
		assert_true(!f || f->type == PROTO_BOOL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_ids),
		RIG_TEST(test_bad_id),
		RIG_TEST(test_once_only),
		RIG_TEST(test_in_batches),
		RIG_TEST(test_engine_request),
		RIG_TEST(test_too_late),
		RIG_TEST(test_committed),
		RIG_TEST(test_created_and_started),
		RIG_TEST(test_wait),
		cmocka_unit_test(test_bound),
		RIG_TEST(test_many),
		RIG_TEST(test_batch_pauses),
		cmocka_unit_test(test_paused_at_the_end),
		RIG_TEST(test_progress),
		RIG_TEST(test_no_progress),
		cmocka_unit_test(test_long_methods),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
