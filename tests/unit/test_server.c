// SPDX-License-Identifier: MIT
/*
 * The daemon over an engine that does as it is told: what is refused, framing, batches, the
 * order of replies.
 */
#include "fake_engine.h"
#include "server_rig.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- requests that are not right -------------------------------------------------------------- */

static const struct {
	const char *line, *kind, *field;
	const char *id; /* of the reply */
} bad[] = {
	{"nonsense", "parse", "", "null"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"daemon.info\"", "parse", "", "null"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"daemon.info\"}", "parse", "id",
	 "null"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"daemon.info\",\"params\":{\"\xff\":1}}",
	 "parse", "", "null"},
	{"1", "invalid-request", "", "null"},
	{"null", "invalid-request", "", "null"},
	{"\"x\"", "invalid-request", "", "null"},
	{"[]", "invalid-request", "", "null"},
	{"{}", "invalid-request", "jsonrpc", "null"},
	{"{\"id\":1,\"method\":\"daemon.info\"}", "invalid-request", "jsonrpc", "1"},
	{"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"daemon.info\"}", "invalid-request", "jsonrpc",
	 "1"},
	{"{\"jsonrpc\":2.0,\"id\":1,\"method\":\"daemon.info\"}", "invalid-request", "jsonrpc",
	 "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1}", "invalid-request", "method", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", "invalid-request", "method", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":[1],\"method\":\"daemon.info\"}", "invalid-request", "id",
	 "null"},
	{"{\"jsonrpc\":\"2.0\",\"id\":true,\"method\":\"daemon.info\"}", "invalid-request", "id",
	 "null"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"daemon.info\",\"param\":{}}",
	 "invalid-request", "param", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"vm.explode\"}", "unknown-method", "method",
	 "\"a\""},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\"}", "unknown-method", "method", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":18446744073709551616,\"method\":\"vm.get\"}",
	 "missing-parameter", "vm", "18446744073709551616"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1.50,\"method\":\"vm.get\"}", "missing-parameter", "vm",
	 "1.50"},
	{"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"vm.get\"}", "missing-parameter", "vm",
	 "null"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"daemon.info\",\"params\":null}",
	 "invalid-type", "params", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.get\",\"params\":[\"demo\"]}",
	 "invalid-type", "params", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.get\",\"params\":{\"vm\":\"no\"}}",
	 "not-found", "vm", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.create\",\"params\":{\"name\":\"demo\"}}",
	 "exists", "name", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.create\",\"params\":{\"name\":\"x\","
	 "\"image\":"
	 "{\"fd\":0}}}",
	 "out-of-range", "image.fd", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.create\",\"params\":{\"name\":\"x\","
	 "\"image\":"
	 "{\"path\":\"relative\"}}}",
	 "invalid-value", "image.path", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.create\",\"params\":{\"name\":\"x\","
	 "\"image\":"
	 "{\"path\":\"/nonexistent/image\"}}}",
	 "file", "image.path", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.create\",\"params\":{\"name\":\"x\","
	 "\"image\":"
	 "{\"path\":\"/dev/zero\"}}}",
	 "file", "image.path", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.create\",\"params\":{\"name\":\"x\","
	 "\"modules\":[{\"fd\":0}]}}",
	 "invalid-value", "modules", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.create\",\"params\":{\"name\":\"x\","
	 "\"vcpus\":"
	 "2,\"processors\":[0]}}",
	 "invalid-value", "processors", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"memory.read\",\"params\":{\"vm\":\"demo\","
	 "\"size_"
	 "bytes\":1}}",
	 "missing-parameter", "gpa", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"memory.read\",\"params\":{\"vm\":\"demo\","
	 "\"size_"
	 "bytes\":1,\"gpa\":\"0x0\",\"gva\":\"0x0\"}}",
	 "invalid-value", "gva", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"memory.read\",\"params\":{\"vm\":\"demo\","
	 "\"size_"
	 "bytes\":1,\"gpa\":\"0x0\",\"vcpu\":0}}",
	 "invalid-value", "vcpu", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"memory.read\",\"params\":{\"vm\":\"demo\","
	 "\"size_"
	 "bytes\":1,\"gpa\":\"0x0\",\"offset_bytes\":0}}",
	 "invalid-value", "offset_bytes", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"memory.read\",\"params\":{\"vm\":\"demo\","
	 "\"size_"
	 "bytes\":1,\"slot\":\"none\"}}",
	 "not-found", "slot", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"memory.read\",\"params\":{\"vm\":\"demo\","
	 "\"size_"
	 "bytes\":1,\"gpa\":\"0xffffffffffffffff\"}}",
	 "fault", "gpa", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"memory.unmap\",\"params\":{\"vm\":\"demo\","
	 "\"gpa\":\"0x0\",\"size_bytes\":4096,\"skip_invalidation\":true}}",
	 "denied", "skip_invalidation", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"memory.slot.add\",\"params\":{\"vm\":\"demo\","
	 "\"slot\":\"ram\",\"size_bytes\":4096}}",
	 "exists", "slot", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"memory.slot.add\",\"params\":{\"vm\":\"demo\","
	 "\"slot\":\"s\",\"size_bytes\":4097}}",
	 "invalid-value", "size_bytes", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.pause\",\"params\":{\"vm\":\"demo\"}}",
	 "invalid-state", "", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.wait\",\"params\":{\"vm\":\"demo\","
	 "\"until\":"
	 "\"console\"}}",
	 "missing-parameter", "text", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.wait\",\"params\":{\"vm\":\"demo\","
	 "\"text\":"
	 "\"x\"}}",
	 "invalid-value", "text", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.wait\",\"params\":{\"vm\":\"demo\","
	 "\"until\":"
	 "\"running\",\"timeout_ms\":0}}",
	 "timeout", "", "1"},
	{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tlb.entries\",\"params\":{\"processor\":2}}",
	 "not-found", "processor", "1"},
};

/* Each is refused by name; the connection, and the daemon's VMs, are as before. */
static void test_bad_requests(void **state)
{
	struct client c = connect_client();

	(void)state;
	create(&c, "demo");
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct json_object *obj, *kind, *field;

		say(&c, bad[i].line);
		obj = hear(&c);
		kind = at(obj, "error.data.kind");
		field = at(obj, "error.data.field");
		if (!kind || strcmp(json_object_get_string(kind), bad[i].kind) ||
		    strcmp(field ? json_object_get_string(field) : "", bad[i].field) ||
		    strcmp(json_object_to_json_string(at(obj, "id")), bad[i].id))
			fail_msg("%s\n%s\nis not %s of %s, id %s", bad[i].line,
				 json_object_to_json_string(obj), bad[i].kind, bad[i].field,
				 bad[i].id);
		json_object_put(obj);
	}
	call(&c, "daemon.info", "{}");
	expect(&c, "result.vms", "1");
	disconnect(&c);
}

/* --- framing and batches ------------------------------------------------------------------- */

static const char info_request[] = "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"daemon.info\"}\n";

static void test_split_at_every_byte(void **state)
{
	struct client c = connect_client();

	(void)state;
	for (size_t at_byte = 1; at_byte < sizeof(info_request) - 1; at_byte++) {
		send_bytes(&c, info_request, at_byte);
		turn();
		assert_null(take_line(&c));
		send_bytes(&c, info_request + at_byte, sizeof(info_request) - 1 - at_byte);
		expect(&c, "id", "9");
	}
	/* byte by byte */
	for (size_t i = 0; i < sizeof(info_request) - 1; i++) {
		send_bytes(&c, info_request + i, 1);
		turn();
	}
	expect(&c, "id", "9");
	/* blank lines are nothing */
	say(&c, "");
	say(&c, " \t\r");
	hear_nothing(&c);
	disconnect(&c);
}

static void test_pipelined(void **state)
{
	struct client c = connect_client();
	char line[100], id[20];

	(void)state;
	for (int i = 0; i < 500; i++) {
		snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"%s\"}", i,
			 i % 3 ? "vm.list" : "no.such");
		say(&c, line);
	}
	for (int i = 0; i < 500; i++) {
		snprintf(id, sizeof(id), "%d", i);
		expect(&c, "id", id);
	}
	disconnect(&c);
}

static void test_notifications(void **state)
{
	struct client c = connect_client();

	(void)state;
	say(&c, "{\"jsonrpc\":\"2.0\",\"method\":\"vm.create\",\"params\":{\"name\":\"quiet\"}}");
	say(&c, "{\"jsonrpc\":\"2.0\",\"method\":\"vm.create\",\"params\":{\"name\":\"quiet\"}}");
	say(&c, "{\"jsonrpc\":\"2.0\",\"method\":\"no.such\"}");
	say(&c, "{\"jsonrpc\":\"2.0\",\"method\":\"vm.get\",\"params\":[]}");
	say(&c, "[{\"jsonrpc\":\"2.0\",\"method\":\"vm.list\"}]");
	hear_nothing(&c);
	call(&c, "vm.get", "{\"vm\":\"quiet\"}");
	expect(&c, "result.vm", "quiet");
	disconnect(&c);
}

/* The member must be there; its value may be null. */
static void expect_member(struct json_object *obj, const char *name, const char *value)
{
	struct json_object *v;

	if (!json_object_object_get_ex(obj, name, &v) ||
	    strcmp(v ? json_object_get_string(v) : "null", value))
		fail_msg("%s is not %s: %s", name, value, json_object_to_json_string(obj));
}

/* Instructions that the engine does not count are null; the rest is told. */
static void test_unobservable(void **state)
{
	static const struct {
		const char *method, *params, *list, *name;
	} cases[] = {
		{"vm.stop", "{\"vm\":\"x\"}", NULL, "guest_time"},
		{"vm.get", "{\"vm\":\"x\"}", NULL, "guest_time"},
		{"vm.get", "{\"vm\":\"x\"}", "result.vcpus", "retired"},
		{"vm.list", "{}", "result.vms", "guest_time"},
		{"vm.wait", "{\"vm\":\"x\"}", NULL, "guest_time"},
	};
	struct client c = connect_client();

	(void)state;
	create(&c, "x");
	for (int observed = 1; observed >= 0; observed--) {
		fake_observe_instructions(observed);
		for (size_t i = 0; i < COUNT(cases); i++) {
			struct json_object *obj, *in;

			call(&c, cases[i].method, cases[i].params);
			obj = hear(&c);
			in = at(obj, cases[i].list ? cases[i].list : "result");
			if (cases[i].list)
				in = json_object_array_get_idx(in, 0);
			expect_member(in, cases[i].name, observed ? "1000" : "null");
			if (json_object_object_get_ex(in, "console_bytes", NULL))
				expect_member(in, "console_bytes", "0");
			json_object_put(obj);
		}
	}
	disconnect(&c);
}

static void test_batches(void **state)
{
	struct client c = connect_client();
	struct json_object *obj;
	char big[PROTO_BATCH_MAX * 8 + 10] = "[";

	(void)state;
	say(&c,
	    "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.create\",\"params\":{\"name\":\"b\"}},"
	    "{\"jsonrpc\":\"2.0\",\"method\":\"vm.list\"},7,"
	    "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"vm.start\",\"params\":{\"vm\":\"b\"}},"
	    "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"nope\"}]");
	obj = hear(&c);
	assert_int_equal(json_object_array_length(obj), 4);
	assert_string_equal(
		json_object_get_string(at(json_object_array_get_idx(obj, 0), "result.vm")), "b");
	assert_string_equal(
		json_object_get_string(at(json_object_array_get_idx(obj, 1), "error.data.kind")),
		"invalid-request");
	assert_string_equal(
		json_object_get_string(at(json_object_array_get_idx(obj, 2), "result.state.name")),
		"running");
	assert_string_equal(
		json_object_get_string(at(json_object_array_get_idx(obj, 3), "error.data.kind")),
		"unknown-method");
	json_object_put(obj);
	for (int i = 0; i <= PROTO_BATCH_MAX; i++)
		strcat(big, i ? ",0" : "0");
	strcat(big, "]");
	say(&c, big);
	expect(&c, "error.data.limit", "64");
	disconnect(&c);
}

static void test_oversize(void **state)
{
	struct client c = connect_client(), other = connect_client();
	char *data = malloc(PROTO_MESSAGE_MAX);

	(void)state;
	memset(data, ' ', PROTO_MESSAGE_MAX);
	/* as large as it may be: refused for what it says */
	data[0] = '7';
	send_bytes(&c, data, PROTO_MESSAGE_MAX - 1);
	send_bytes(&c, "\n", 1);
	expect_error(&c, "invalid-request", "");
	/* one more: refused for its size, behind the replies to what came before */
	send_bytes(&c, info_request, sizeof(info_request) - 1);
	send_bytes(&c, data, PROTO_MESSAGE_MAX);
	expect(&c, "id", "9");
	expect_error(&c, "too-large", "");
	hear_eof(&c);
	send_bytes(&other, info_request, sizeof(info_request) - 1);
	expect(&other, "id", "9");
	free(data);
	disconnect(&c);
	disconnect(&other);
}

/* --- order --------------------------------------------------------------------------------- */

static void test_replies_in_order(void **state)
{
	struct client c = connect_client(), other = connect_client();

	(void)state;
	fake_hold(ENGINE_VM_CREATE);
	call(&c, "vm.create", "{\"name\":\"slow\"}");
	call(&c, "vm.start", "{\"vm\":\"slow\"}"); /* finds the VM that the first has created */
	call(&c, "daemon.info", "{}");
	hear_nothing(&c);
	assert_int_equal(fake_held(), 1);
	/* nobody else can take the name, or use it, or wait for it to be there */
	call(&other, "vm.create", "{\"name\":\"slow\"}");
	expect_error(&other, "exists", "name");
	call(&other, "vm.start", "{\"vm\":\"slow\"}");
	expect_error(&other, "busy", "vm");
	call(&other, "vm.list", "{}");
	expect(&other, "result.vms", "[ ]");
	fake_release();
	expect(&c, "result.vm", "slow");
	expect(&c, "result.state.name", "running");
	expect(&c, "result.engine.name", "fake");
	call(&c, "daemon.info", "{}");
	expect(&c, "result.engine_choice", "it was asked for");
	disconnect(&c);
	disconnect(&other);
}

static void test_create_fails(void **state)
{
	const struct engine_error bad_image = {
		.code = -EINVAL, .field = ENGINE_FIELD_IMAGE, .text = "no Multiboot header"};
	const struct engine_error no_start = {.code = -ENOMEM, .text = "no memory"};
	struct client c = connect_client();

	(void)state;
	fake_fail_next(ENGINE_VM_CREATE, &bad_image);
	call(&c, "vm.create", "{\"name\":\"x\"}");
	expect_error(&c, "bad-image", "image");
	create(&c, "x"); /* the name is free */
	fake_fail_next(ENGINE_VM_START, &no_start);
	call(&c, "vm.create", "{\"name\":\"y\",\"start\":true}");
	expect_error(&c, "no-memory", "");
	call(&c, "vm.get", "{\"vm\":\"y\"}"); /* nothing is left half done */
	expect_error(&c, "not-found", "vm");
	assert_int_equal(fake_count(ENGINE_VM_DELETE), 1);
	call(&c, "vm.create", "{\"name\":\"y\",\"start\":true}");
	expect(&c, "result.state.name", "running");
	disconnect(&c);
}

static void test_overlap(void **state)
{
	const struct engine_error overlap = {.code = -EEXIST,
					     .field = ENGINE_FIELD_GPA,
					     .slot = 0,
					     .requested_first = 0x200000,
					     .requested_last = 0x3fffff,
					     .existing_last = 0x3ffffff};
	struct client c = connect_client();

	(void)state;
	create(&c, "x");
	fake_fail_next(ENGINE_MEM_APPLY, &overlap);
	call(&c, "memory.map",
	     "{\"vm\":\"x\",\"gpa\":\"0x200000\",\"size_bytes\":2097152,\"slot\":\"ram\"}");
	expect(&c, "error",
	       "{ \"code\": -32004, \"message\": \"memory.map: gpa: 0x200000-0x3fffff overlaps "
	       "0x0-0x3ffffff (slot ram)\", \"data\": { \"kind\": \"overlap\", \"field\": \"gpa\", "
	       "\"requested\": [ \"0x200000\", \"0x3fffff\" ], \"existing\": [ \"0x0\", "
	       "\"0x3ffffff\" ], \"slot\": \"ram\", \"libvirt\": 8 } }");
	disconnect(&c);
}

static void test_life(void **state)
{
	struct client c = connect_client();
	struct json_object *obj, *vcpu, *v;

	(void)state;
	create(&c, "x");
	/* a name that was refused is free */
	call(&c, "memory.slot.add", "{\"vm\":\"x\",\"slot\":\"spare\",\"size_bytes\":4097}");
	expect_error(&c, "invalid-value", "size_bytes");
	call(&c, "memory.slot.add", "{\"vm\":\"x\",\"slot\":\"spare\",\"size_bytes\":8192}");
	expect(&c, "result.slot", "spare");
	call(&c, "memory.slot.list", "{\"vm\":\"x\"}");
	expect(&c, "result.slots",
	       "[ { \"slot\": \"ram\", \"kind\": \"anonymous\", \"size_bytes\": 67108864, "
	       "\"mapped_bytes\": 67108864, \"extents\": 1, \"huge\": false, \"hpa_first\": "
	       "\"0x100000\" }, { \"slot\": \"spare\", \"kind\": \"anonymous\", \"size_bytes\": "
	       "8192, "
	       "\"mapped_bytes\": 0, \"extents\": 1, \"huge\": false, \"hpa_first\": null } ]");
	call(&c, "memory.remap",
	     "{\"vm\":\"x\",\"gpa\":\"0x200000\",\"size_bytes\":4096,\"slot\":\"spare\","
	     "\"offset_bytes\":4096,\"dry_run\":true}");
	expect(&c, "result.invalidation.reason", "leaf-address-changed");
	assert_int_equal(fake_last_map()->kind, ENGINE_REMAP);
	assert_int_equal(fake_last_map()->gpa, 0x200000);
	assert_int_equal(fake_last_map()->slot, 2); /* numbers are not used twice */
	assert_int_equal(fake_last_map()->offset_bytes, 4096);
	assert_int_equal(fake_last()->u.apply.flags, ENGINE_CHANGE_DRY_RUN);
	call(&c, "memory.write", "{\"vm\":\"x\",\"gpa\":\"0x100\",\"data\":\"3q2+7w==\"}");
	expect(&c, "result.size_bytes", "4");
	call(&c, "memory.read", "{\"vm\":\"x\",\"gpa\":\"0x100\",\"size_bytes\":4}");
	expect(&c, "result.data", "3q2+7w==");
	call(&c, "memory.walk", "{\"vm\":\"x\",\"gva\":\"0x401000\"}");
	expect(&c, "result.hpa", "0x101000");
	/* what the engine can't observe is null, and there */
	call(&c, "tlb.stats", "{\"vm\":\"x\"}");
	obj = hear(&c);
	vcpu = json_object_array_get_idx(at(obj, "result.vcpus"), 0);
	assert_true(json_object_object_get_ex(vcpu, "data_misses", &v));
	assert_null(v);
	assert_true(json_object_object_get_ex(vcpu, "held", &v));
	assert_null(v);
	json_object_put(obj);
	disconnect(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_bad_requests),	 RIG_TEST(test_split_at_every_byte),
		RIG_TEST(test_pipelined),	 RIG_TEST(test_notifications),
		RIG_TEST(test_batches),		 RIG_TEST(test_oversize),
		RIG_TEST(test_replies_in_order), RIG_TEST(test_create_fails),
		RIG_TEST(test_overlap),		 RIG_TEST(test_life),
		RIG_TEST(test_unobservable),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
