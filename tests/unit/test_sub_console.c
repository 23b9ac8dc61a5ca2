// SPDX-License-Identifier: MIT
/* console.attach and console.write: history, what is printed, new runs, slow readers, ends. */
#include "fake_engine.h"
#include "server_rig.h"
#include <stdio.h>
#include <stdlib.h>
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

/* The text of a notification; the caller frees it. */
static char *printed(struct json_object *obj, size_t *ret_len)
{
	const char *data = json_object_get_string(member(obj, "params.data"));
	uint8_t *out = malloc(strlen(data) + 1);

	assert_int_equal(proto_base64_decode(data, strlen(data), out, ret_len), 0);
	out[*ret_len] = '\0';
	return (char *)out;
}

static void expect_output(struct client *c, uint64_t offset, const char *text, bool restarted)
{
	struct json_object *obj = hear(c);
	size_t len;
	char *out = printed(obj, &len);

	if (number(obj, "params.offset") != offset || strcmp(out, text) != 0 ||
	    json_object_get_boolean(member(obj, "params.restarted")) != restarted)
		fail_msg("not \"%s\" at %d: \"%s\": %s", text, (int)offset, out,
			 json_object_to_json_string(obj));
	free(out);
	json_object_put(obj);
}

/* Replies with the offset. */
static uint64_t attach(struct client *c, const char *more)
{
	struct json_object *obj;
	char params[100];
	uint64_t offset;

	snprintf(params, sizeof(params), "{\"vm\":\"x\"%s}", more);
	call(c, "console.attach", params);
	obj = hear(c);
	offset = number(obj, "result.offset");
	json_object_put(obj);
	return offset;
}

static void make(struct client *c)
{
	create(c, "x");
	call(c, "vm.start", "{\"vm\":\"x\"}");
	expect(c, "result.vm", "x");
}

static void test_history_and_more(void **state)
{
	struct client c = connect_client(), other = connect_client();

	(void)state;
	make(&c);
	fake_print("one ");
	assert_int_equal(attach(&c, ""), 0);
	expect_output(&c, 0, "one ", false);
	hear_nothing(&c);
	fake_print("two ");
	expect_output(&c, 4, "two ", false);
	assert_int_equal(attach(&other, ",\"offset\":6"), 6);
	expect_output(&other, 6, "o ", false);
	fake_print("three");
	expect_output(&c, 8, "three", false);
	expect_output(&other, 8, "three", false);
	/* one that wants only what is to come */
	assert_int_equal(attach(&other, ",\"offset\":13"), 13);
	hear_nothing(&other);
	disconnect(&c);
	fake_print("!");
	expect_output(&other, 13, "!", false);
	expect_output(&other, 13, "!", false);
	disconnect(&other);
}

static void test_offset_not_printed(void **state)
{
	struct client c = connect_client();
	struct json_object *obj;

	(void)state;
	make(&c);
	fake_print("one");
	call(&c, "console.attach", "{\"vm\":\"x\",\"offset\":4}");
	obj = hear(&c);
	assert_string_equal(json_object_get_string(member(obj, "error.data.kind")), "out-of-range");
	assert_string_equal(json_object_get_string(member(obj, "error.data.field")), "offset");
	assert_int_equal(number(obj, "error.data.limit"), 3);
	json_object_put(obj);
	disconnect(&c);
}

static void test_not_kept(void **state)
{
	struct client c = connect_client();

	(void)state;
	make(&c);
	fake_print("0123456789");
	fake_forget_console(4);
	assert_int_equal(attach(&c, ",\"offset\":1"), 4);
	expect_output(&c, 4, "456789", false);
	disconnect(&c);
}

static void test_restart(void **state)
{
	struct client c = connect_client();

	(void)state;
	make(&c);
	fake_print("first run");
	attach(&c, "");
	expect_output(&c, 0, "first run", false);
	fake_restart();
	expect_output(&c, 0, "", true);
	fake_print("second");
	expect_output(&c, 0, "second", false);
	/* printed before the client is told of the start */
	fake_restart();
	fake_print("third");
	expect_output(&c, 0, "third", true);
	/* other changes of state begin nothing */
	fake_change_state(ENGINE_STATE_PAUSED, ENGINE_REASON_USER);
	fake_change_state(ENGINE_STATE_RUNNING, ENGINE_REASON_USER);
	hear_nothing(&c);
	fake_print(" goes on");
	expect_output(&c, 5, " goes on", false);
	disconnect(&c);
}

/* What is being read when a start is told of was asked for with the old offset. */
static void test_restart_while_reading(void **state)
{
	struct client c = connect_client();

	(void)state;
	make(&c);
	fake_print("first run");
	attach(&c, "");
	expect_output(&c, 0, "first run", false);
	fake_print("!");
	fake_hold(ENGINE_CONSOLE_READ);
	while (!fake_held())
		turn();
	fake_restart();
	fake_print("a second run");
	for (int i = 0; i < 3; i++)
		turn();
	assert_int_equal(fake_held(), 1); /* one at a time */
	fake_release();
	expect_output(&c, 0, "a second run", true);
	hear_nothing(&c);
	disconnect(&c);
}

/* Nothing is kept for a slow client but one piece; what the engine drops meanwhile is left out. */
static void test_slow_reader(void **state)
{
	const size_t piece = 65536, total = 15 * piece;
	struct client slow = connect_client();
	char *text = malloc(piece + 1);
	uint64_t next = 0, told = 0;
	unsigned jumps = 0;

	(void)state;
	memset(text, 'x', piece);
	text[piece] = '\0';
	make(&slow);
	attach(&slow, "");
	for (size_t n = 0; n < total; n += piece) {
		fake_print(text);
		for (int i = 0; i < 5; i++)
			turn();
	}
	/* a part of it is on its way; the rest waits in the engine, which drops some */
	assert_in_range(fake_count(ENGINE_CONSOLE_READ), 2, 14);
	fake_forget_console(total - 3 * piece);
	while (next < total) {
		struct json_object *obj = hear(&slow);
		const uint64_t offset = number(obj, "params.offset");
		size_t len;
		char *out = printed(obj, &len);

		assert_true(offset >= next);
		jumps += offset > next;
		next = offset + len;
		told += len;
		free(out);
		json_object_put(obj);
	}
	assert_int_equal(next, total);
	assert_int_equal(jumps, 1);
	assert_true(told < total);
	disconnect(&slow);
	free(text);
}

static void test_vm_deleted(void **state)
{
	struct client c = connect_client(), other = connect_client();

	(void)state;
	create(&other, "x");
	attach(&c, "");
	attach(&c, "");
	call(&other, "vm.delete", "{\"vm\":\"x\"}");
	expect(&other, "result.vm", "x");
	expect(&c, "params.reason", "the VM was deleted");
	expect(&c, "params.reason", "the VM was deleted");
	hear_nothing(&c);
	disconnect(&c);
	disconnect(&other);
}

static void test_engine_fails(void **state)
{
	static const struct engine_error failed = {.code = -ENOMEM, .text = "no memory for that"};
	struct client c = connect_client();

	(void)state;
	make(&c);
	attach(&c, "");
	fake_fail_next(ENGINE_CONSOLE_READ, &failed);
	fake_print("x");
	expect(&c, "params.reason", "no memory for that");
	fake_fail_next(ENGINE_CONSOLE_READ, &failed);
	call(&c, "console.attach", "{\"vm\":\"x\"}");
	expect_error(&c, "no-memory", "");
	disconnect(&c);
}

static void test_hang_up(void **state)
{
	struct client c = connect_client(), other = connect_client();

	(void)state;
	make(&other);
	fake_print("x");
	attach(&c, ""); /* with a piece that waits */
	disconnect(&c);
	c = connect_client();
	attach(&c, "");
	expect_output(&c, 0, "x", false);
	fake_hold(ENGINE_CONSOLE_READ);
	fake_print("y");
	while (!fake_held())
		turn();
	disconnect(&c);
	turn();
	fake_release();
	hear_nothing(&other);
	disconnect(&other);
}

static void test_write(void **state)
{
	struct client c = connect_client();
	struct json_object *obj;

	(void)state;
	make(&c);
	fake_set_input_room(6);
	call(&c, "console.write", "{\"vm\":\"x\",\"data\":\"aGVsbG8=\"}");
	obj = hear(&c);
	assert_int_equal(number(obj, "result.accepted_bytes"), 5);
	assert_int_equal(number(obj, "result.waiting_bytes"), 5);
	json_object_put(obj);
	assert_int_equal(fake_last()->u.console_write.size_bytes, 5);
	call(&c, "console.write", "{\"vm\":\"x\",\"data\":\"aGVsbG8=\"}");
	obj = hear(&c);
	assert_int_equal(number(obj, "result.accepted_bytes"), 1);
	assert_int_equal(number(obj, "result.waiting_bytes"), 6);
	json_object_put(obj);
	call(&c, "console.write", "{\"vm\":\"x\",\"data\":\"\"}");
	expect_error(&c, "out-of-range", "data");
	disconnect(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_history_and_more),
		RIG_TEST(test_offset_not_printed),
		RIG_TEST(test_not_kept),
		RIG_TEST(test_restart),
		RIG_TEST(test_restart_while_reading),
		RIG_TEST(test_slow_reader),
		RIG_TEST(test_vm_deleted),
		RIG_TEST(test_engine_fails),
		RIG_TEST(test_hang_up),
		RIG_TEST(test_write),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
