// SPDX-License-Identifier: MIT
/*
 * The daemon over an engine that does as it is told: the order of replies, what is
 * refused, descriptors, clients that go or don't read, and the end.
 */
#include "fake_engine.h"
#include "hvd/hvd.h"
#include "hvd/log.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define PATIENCE_MS 20000

static char folder[64], path[96];

/* --- a daemon in this thread ------------------------------------------------------------ */

static struct hvd daemon_;

static void start_with(const struct hvd_bounds *bounds)
{
	const struct hvd_config config = {.socket = path, .engine = "fake", .bounds = *bounds};

	assert_int_equal(hvd_start(&daemon_, &config), 0);
}

static int start(void **state)
{
	(void)state;
	start_with(&hvd_default_bounds);
	return 0;
}

static unsigned open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static unsigned descriptors_before;

static int stop(void **state)
{
	(void)state;
	hvd_stop(&daemon_);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(fake_open_count(), 0);
	return 0;
}

static void turn(void)
{
	const struct timeval soon = {.tv_usec = 2000};

	event_base_loopexit(daemon_.base, &soon);
	event_base_dispatch(daemon_.base);
}

/* --- clients ------------------------------------------------------------------------------- */

struct client {
	int fd;
	struct proto_framer in;
	bool eof;
};

static struct client connect_client(void)
{
	struct client c = {.fd = proto_connect(path), .in = {.limit = SIZE_MAX}};

	assert_true(c.fd >= 0);
	fcntl(c.fd, F_SETFL, O_NONBLOCK);
	return c;
}

static void disconnect(struct client *c)
{
	close(c->fd);
	proto_framer_free(&c->in);
	turn();
}

static void send_bytes(struct client *c, const char *data, size_t len)
{
	while (len) {
		const ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);

		if (n > 0) {
			data += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			turn();
		} else {
			return; /* the daemon hung up: the test looks at what it said */
		}
	}
}

static void say(struct client *c, const char *line)
{
	send_bytes(c, line, strlen(line));
	send_bytes(c, "\n", 1);
}

/* Takes what there is; NULL: no whole line. */
static char *take_line(struct client *c)
{
	size_t room, len;
	ssize_t n;
	char *buf;

	while (proto_framer_next(&c->in, &buf, &len)) {
		assert_int_equal(proto_framer_reserve(&c->in, 4096, &buf, &room), 0);
		n = recv(c->fd, buf, room, 0);
		if (n <= 0) {
			c->eof |= !n || errno == ECONNRESET;
			return NULL;
		}
		proto_framer_filled(&c->in, (size_t)n);
	}
	return buf;
}

static struct json_object *hear(struct client *c)
{
	const uint64_t begin = hvd_now_ms();
	struct json_object *obj;
	char *line = take_line(c);

	while (!line && !c->eof && hvd_now_ms() - begin < PATIENCE_MS) {
		turn();
		line = take_line(c);
	}
	if (!line)
		fail_msg("no reply%s", c->eof ? ": the daemon hung up" : "");
	assert_int_equal(proto_json_parse_reply(line, strlen(line), &obj, NULL), 0);
	return obj;
}

static void hear_nothing(struct client *c)
{
	const char *line;

	for (int i = 0; i < 5; i++)
		turn();
	line = take_line(c);
	if (line)
		fail_msg("unexpected: %s", line);
}

static void hear_eof(struct client *c)
{
	const uint64_t begin = hvd_now_ms();

	while (!c->eof && hvd_now_ms() - begin < PATIENCE_MS) {
		assert_null(take_line(c));
		turn();
	}
	assert_true(c->eof);
}

/* The member at a path of names: "error.data.kind". NULL: none, or null. */
static struct json_object *at(struct json_object *obj, const char *where)
{
	char names[100], *name, *save;

	strcpy(names, where);
	for (name = strtok_r(names, ".", &save); name; name = strtok_r(NULL, ".", &save))
		if (!json_object_object_get_ex(obj, name, &obj))
			return NULL;
	return obj;
}

static void expect(struct client *c, const char *where, const char *value)
{
	struct json_object *obj = hear(c), *v = at(obj, where);

	if (!v || strcmp(json_object_get_string(v), value))
		fail_msg("%s is not %s: %s", where, value, json_object_to_json_string(obj));
	json_object_put(obj);
}

static void expect_error(struct client *c, const char *kind, const char *field)
{
	struct json_object *obj = hear(c), *k = at(obj, "error.data.kind"),
			   *f = at(obj, "error.data.field");

	if (!k || strcmp(json_object_get_string(k), kind) ||
	    strcmp(f ? json_object_get_string(f) : "", field))
		fail_msg("not %s of %s: %s", kind, field, json_object_to_json_string(obj));
	json_object_put(obj);
}

static void call(struct client *c, const char *method, const char *params)
{
	char line[8192];

	snprintf(line, sizeof(line),
		 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}", method, params);
	say(c, line);
}

static void create(struct client *c, const char *name)
{
	char params[200];

	snprintf(params, sizeof(params), "{\"name\":\"%s\"}", name);
	call(c, "vm.create", params);
	expect(c, "result.vm", name);
}

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

/* --- descriptors --------------------------------------------------------------------------- */

static int memfd_with(const char *text)
{
	const int fd = memfd_create("test", MFD_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void say_with(struct client *c, const char *line, const int *fds, size_t n)
{
	assert_int_equal(proto_send_line(c->fd, line, strlen(line), fds, n), 0);
}

static void test_descriptors(void **state)
{
	struct client c = connect_client();
	unsigned before;
	int fds[PROTO_FDS_MAX], pipes[2];

	(void)state;
	fds[0] = memfd_with("zero");
	fds[1] = memfd_with("one");
	create(&c, "other");
	before = open_descriptors();
	/* two messages in flight, each with its own */
	say_with(
		&c,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.create\",\"params\":{\"name\":\"a\","
		"\"image\":{\"fd\":1}}}",
		fds, 2);
	say_with(
		&c,
		"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"vm.create\",\"params\":{\"name\":\"b\","
		"\"image\":{\"fd\":0}}}",
		fds, 1);
	expect(&c, "result.vm", "a");
	expect(&c, "result.vm", "b");
	assert_int_equal(open_descriptors(), before);
	/* one that was not sent; one that nobody wants */
	say_with(
		&c,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.create\",\"params\":{\"name\":\"c\","
		"\"image\":{\"fd\":1}}}",
		fds, 1);
	expect_error(&c, "out-of-range", "image.fd");
	say_with(&c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.list\"}", fds, 2);
	expect(&c, "id", "1");
	say_with(&c, "not json", fds, 2);
	expect_error(&c, "parse", "");
	assert_int_equal(open_descriptors(), before);
	/* the content that was meant */
	say_with(&c,
		 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"memory.slot.add\",\"params\":{\"vm\":"
		 "\"a\",\"slot\":\"f\",\"size_bytes\":4096,\"file\":{\"fd\":1}}}",
		 fds, 2);
	expect(&c, "result.kind", "file");
	/* a pipe would make the daemon wait */
	assert_int_equal(pipe(pipes), 0);
	say_with(
		&c,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.create\",\"params\":{\"name\":\"c\","
		"\"image\":{\"fd\":0}}}",
		pipes, 1);
	expect_error(&c, "file", "image.fd");
	close(pipes[0]);
	close(pipes[1]);
	close(fds[0]);
	close(fds[1]);
	disconnect(&c);
}

/* They belong to the message with whose bytes they came, were it a single byte. */
static void test_descriptors_of_the_next(void **state)
{
	static const char line[] = "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"vm.create\","
				   "\"params\":{\"name\":\"c\",\"image\":{\"fd\":0}}}\n";
	struct client c = connect_client();
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	struct iovec iov = {(void *)(uintptr_t)line, 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
	const int fd = memfd_with("image");

	(void)state;
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	fake_hold(ENGINE_VM_CREATE);
	call(&c, "vm.create", "{\"name\":\"a\"}");
	say(&c, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"vm.list\"}");
	turn();
	assert_int_equal(sendmsg(c.fd, &msg, MSG_NOSIGNAL), 1);
	turn();
	turn();
	fake_release();
	expect(&c, "id", "1");
	expect(&c, "id", "2");
	send_bytes(&c, line + 1, sizeof(line) - 2);
	expect(&c, "result.vm", "c");
	close(fd);
	disconnect(&c);
}

static void test_image_content(void **state)
{
	struct client c = connect_client();
	int fd = memfd_with("the image");

	(void)state;
	fake_hold(ENGINE_VM_CREATE);
	say_with(
		&c,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.create\",\"params\":{\"name\":\"a\","
		"\"image\":{\"fd\":0},\"image_format\":\"flat\",\"load_gpa\":\"0x7c00\"}}",
		&fd, 1);
	close(fd);
	hear_nothing(&c);
	assert_string_equal(fake_last_file(), "the image");
	assert_int_equal(fake_last()->u.create.image_format, ENGINE_IMAGE_FLAT);
	assert_int_equal(fake_last()->u.create.load_gpa, 0x7c00);
	assert_int_equal(fake_last()->u.create.processor[0], ENGINE_ANY_PROCESSOR);
	fake_release();
	expect(&c, "result.vm", "a");
	disconnect(&c);
}

/* As many as the kernel sends at a time, again and again, in one message and in none. */
static void test_too_many_descriptors(void **state)
{
	struct client c = connect_client();
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 253)];
	} control = {.bytes = {0}};
	char data[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.list\"}\n";
	struct iovec iov = {data, sizeof(data) - 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
	const unsigned before = open_descriptors();

	(void)state;
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int) * 253);
	for (int i = 0; i < 253; i++)
		memcpy(CMSG_DATA(h) + i * sizeof(int), &(int){STDERR_FILENO}, sizeof(int));
	assert_true(sendmsg(c.fd, &msg, MSG_NOSIGNAL) > 0);
	expect_error(&c, "too-large", "");
	assert_int_equal(open_descriptors(), before + 1); /* and the daemon's end */
	/* the next message is none the worse */
	say(&c, "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"vm.list\"}");
	expect(&c, "id", "5");
	/* 20 at a time with a byte each: a message without end that gathers them */
	h->cmsg_len = CMSG_LEN(sizeof(int) * 20);
	msg.msg_controllen = CMSG_SPACE(sizeof(int) * 20);
	iov.iov_base = (char[]){' '};
	iov.iov_len = 1;
	for (int i = 0; i < 10; i++) {
		sendmsg(c.fd, &msg, MSG_NOSIGNAL);
		turn();
	}
	expect_error(&c, "too-large", "");
	hear_eof(&c);
	disconnect(&c);
	turn();
	assert_int_equal(open_descriptors(), before - 1);
}

/* --- clients that go, or don't read -------------------------------------------------------- */

static void test_gone_in_mid_request(void **state)
{
	struct client c = connect_client(), other = connect_client();

	(void)state;
	fake_hold(ENGINE_VM_CREATE);
	call(&c, "vm.create", "{\"name\":\"orphan\"}");
	call(&c, "vm.create", "{\"name\":\"orphan2\"}");
	send_bytes(&c, info_request, 20);
	turn();
	disconnect(&c);
	turn();
	fake_release();
	for (int i = 0; i < 5; i++)
		turn();
	/* what was asked for in full has been done; the half request has not */
	call(&other, "vm.get", "{\"vm\":\"orphan\"}");
	expect(&other, "result.vm", "orphan");
	call(&other, "vm.get", "{\"vm\":\"orphan2\"}");
	expect(&other, "result.vm", "orphan2");
	disconnect(&other);
}

static void test_half_closed(void **state)
{
	struct client c = connect_client();

	(void)state;
	fake_hold(ENGINE_VM_CREATE);
	call(&c, "vm.create", "{\"name\":\"x\"}");
	call(&c, "vm.get", "{\"vm\":\"x\"}");
	shutdown(c.fd, SHUT_WR);
	turn();
	fake_release();
	expect(&c, "result.vm", "x");
	expect(&c, "result.vm", "x");
	hear_eof(&c);
	disconnect(&c);
}

static void test_slow_reader(void **state)
{
	struct hvd_bounds bounds = hvd_default_bounds;
	struct client c, other;
	char params[100];
	unsigned before;

	(void)state;
	bounds.output_bytes = 64 << 10;
	bounds.client_timeout_ms = 200;
	start_with(&bounds);
	c = connect_client();
	other = connect_client();
	create(&c, "x");
	before = fake_count(ENGINE_MEM_READ);
	snprintf(params, sizeof(params), "{\"vm\":\"x\",\"gpa\":\"0x0\",\"size_bytes\":%u}",
		 PROTO_BYTES_MAX);
	for (int i = 0; i < 100; i++)
		call(&c, "memory.read", params);
	for (int i = 0; i < 20; i++)
		turn();
	/* its requests wait: what it leaves unread does not pile up */
	assert_true(fake_count(ENGINE_MEM_READ) - before < 5);
	/* others are served, and in the end it is dropped */
	call(&other, "vm.list", "{}");
	expect(&other, "id", "1");
	for (uint64_t begin = hvd_now_ms(); hvd_now_ms() - begin < 600;)
		turn();
	while (take_line(&c))
		;
	for (uint64_t begin = hvd_now_ms(); !c.eof && hvd_now_ms() - begin < PATIENCE_MS;) {
		while (take_line(&c))
			;
		turn();
	}
	assert_true(c.eof);
	/* a batch of them ends, too */
	disconnect(&c);
	disconnect(&other);
	hvd_stop(&daemon_);
}

static void test_batch_reply_bounded(void **state)
{
	struct client c = connect_client();
	char *batch = malloc(PROTO_BATCH_MAX * 200 + 2), *p = batch;
	size_t done = 0, refused = 0;
	struct json_object *obj;

	(void)state;
	create(&c, "x");
	for (int i = 0; i < PROTO_BATCH_MAX; i++)
		p += sprintf(
			p,
			"%c{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"memory.read\",\"params\":"
			"{\"vm\":\"x\",\"gpa\":\"0x0\",\"size_bytes\":1048576}}",
			i ? ',' : '[', i);
	strcpy(p, "]");
	say(&c, batch);
	obj = hear(&c);
	assert_int_equal(json_object_array_length(obj), PROTO_BATCH_MAX);
	for (size_t i = 0; i < PROTO_BATCH_MAX; i++) {
		struct json_object *r = json_object_array_get_idx(obj, i);

		done += at(r, "result") != NULL;
		refused += at(r, "error.data.limit") != NULL;
	}
	assert_int_equal(done + refused, PROTO_BATCH_MAX);
	assert_true(done >= 5 && done <= 8);
	json_object_put(obj);
	free(batch);
	disconnect(&c);
}

static void test_connection_limit(void **state)
{
	struct hvd_bounds bounds = hvd_default_bounds;
	struct client c[4];

	(void)state;
	bounds.connections = 3;
	start_with(&bounds);
	for (int i = 0; i < 4; i++) {
		c[i] = connect_client();
		turn();
	}
	expect_error(&c[3], "limit", "");
	hear_eof(&c[3]);
	disconnect(&c[3]);
	disconnect(&c[0]);
	c[0] = connect_client();
	for (int i = 0; i < 3; i++) {
		send_bytes(&c[i], info_request, sizeof(info_request) - 1);
		expect(&c[i], "id", "9");
		disconnect(&c[i]);
	}
	hvd_stop(&daemon_);
}

/* --- vm.wait ------------------------------------------------------------------------------- */

#define WAIT(until) "{\"vm\":\"x\",\"until\":\"" until "\"}"

static void wait_call(struct client *c, int id, const char *params)
{
	char line[300];

	snprintf(line, sizeof(line),
		 "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"vm.wait\",\"params\":%s}", id,
		 params);
	say(c, line);
}

static void test_wait_state(void **state)
{
	struct client c = connect_client();

	(void)state;
	create(&c, "x");
	wait_call(&c, 7, WAIT("stopped")); /* it is */
	expect(&c, "id", "7");
	wait_call(&c, 8, WAIT("running"));
	wait_call(&c, 9, WAIT("paused"));
	call(&c, "vm.list", "{}"); /* goes ahead of both */
	expect(&c, "id", "1");
	call(&c, "vm.start", "{\"vm\":\"x\"}");
	expect(&c, "id", "8");
	expect(&c, "result.state.name", "running");
	wait_call(&c, 10, WAIT("stopped"));
	fake_change_state(ENGINE_STATE_PAUSED, ENGINE_REASON_EPT_DENIED);
	expect(&c, "id", "9");
	fake_change_state(ENGINE_STATE_SHUTOFF, ENGINE_REASON_EXITED);
	expect(&c, "result.reason", "exited");
	hear_nothing(&c);
	disconnect(&c);
}

static void test_wait_ends_otherwise(void **state)
{
	struct client c = connect_client();

	(void)state;
	create(&c, "x");
	wait_call(&c, 1, "{\"vm\":\"x\",\"until\":\"paused\",\"timeout_ms\":30}");
	expect_error(&c, "timeout", "");
	wait_call(&c, 2, WAIT("running"));
	call(&c, "vm.delete", "{\"vm\":\"x\"}");
	expect_error(&c, "not-found", "vm");
	expect(&c, "result.vm", "x");
	disconnect(&c);
}

static void test_wait_console(void **state)
{
	struct client c = connect_client();
	char noise[3000];

	(void)state;
	create(&c, "x");
	wait_call(&c, 1, "{\"vm\":\"x\",\"until\":\"console\",\"text\":\"ready\"}");
	call(&c, "vm.start", "{\"vm\":\"x\"}");
	expect(&c, "result.state.name", "running");
	memset(noise, 'r', sizeof(noise) - 1);
	noise[sizeof(noise) - 1] = '\0';
	fake_print(noise);
	turn();
	fake_print("re");
	turn();
	fake_print("ad");
	turn();
	hear_nothing(&c);
	fake_print("y now");
	expect(&c, "result.next_offset", "3004");
	/* from behind it, the text is not there any more */
	wait_call(&c, 2, "{\"vm\":\"x\",\"until\":\"console\",\"text\":\"ready\",\"offset\":3004}");
	hear_nothing(&c);
	fake_change_state(ENGINE_STATE_CRASHED, ENGINE_REASON_TRIPLE_FAULT);
	expect_error(&c, "invalid-state", "vm");
	/* a new start is a new console */
	wait_call(&c, 3, "{\"vm\":\"x\",\"until\":\"console\",\"text\":\"now\",\"offset\":3006}");
	expect_error(&c, "invalid-state", "vm");
	call(&c, "vm.start", "{\"vm\":\"x\"}");
	expect(&c, "id", "1");
	wait_call(&c, 4, "{\"vm\":\"x\",\"until\":\"console\",\"text\":\"ready\"}");
	hear_nothing(&c);
	fake_print("ready");
	expect(&c, "result.next_offset", "5");
	disconnect(&c);
}

/* Stopped and started anew while the old console was on its way: that one is not it. */
static void test_wait_console_of_two_runs(void **state)
{
	struct client c = connect_client(), other = connect_client();

	(void)state;
	create(&c, "x");
	call(&c, "vm.start", "{\"vm\":\"x\"}");
	expect(&c, "id", "1");
	wait_call(&c, 2, "{\"vm\":\"x\",\"until\":\"console\",\"text\":\"fresh\"}");
	fake_print("something old, fre");
	hear_nothing(&c);
	fake_hold(ENGINE_CONSOLE_READ);
	fake_change_state(ENGINE_STATE_SHUTOFF, ENGINE_REASON_EXITED);
	turn();
	call(&other, "vm.start", "{\"vm\":\"x\"}");
	expect(&other, "id", "1");
	fake_print("sh and fresh");
	turn();
	fake_release();
	expect(&c, "result.next_offset", "12");
	disconnect(&c);
	disconnect(&other);
}

static void test_wait_clients_go(void **state)
{
	struct client b = connect_client(), a, c;
	unsigned before;

	(void)state;
	create(&b, "x");
	before = open_descriptors();
	a = connect_client();
	c = connect_client();
	for (int i = 0; i < 5; i++) {
		wait_call(&a, i, WAIT("running"));
		wait_call(&b, i, WAIT("running"));
		wait_call(&c, i, "{\"vm\":\"x\",\"until\":\"console\",\"text\":\"never\"}");
	}
	turn();
	/* one closes, one only its sending side: this one is still told */
	shutdown(b.fd, SHUT_WR);
	fake_hold(ENGINE_CONSOLE_READ);
	fake_print("never mind");
	turn();
	disconnect(&c);
	disconnect(&a);
	turn();
	fake_release();
	turn();
	assert_int_equal(open_descriptors(), before); /* nobody waits for those who are gone */
	fake_change_state(ENGINE_STATE_RUNNING, ENGINE_REASON_STARTED);
	for (int i = 0; i < 5; i++)
		expect(&b, "result.state.name", "running");
	hear_eof(&b);
	disconnect(&b);
}

static void test_wait_limit(void **state)
{
	struct hvd_bounds bounds = hvd_default_bounds;
	struct client c;

	(void)state;
	bounds.waits_per_connection = 2;
	start_with(&bounds);
	c = connect_client();
	create(&c, "x");
	wait_call(&c, 1, WAIT("running"));
	wait_call(&c, 2, WAIT("running"));
	wait_call(&c, 3, WAIT("running"));
	expect_error(&c, "limit", "");
	call(&c, "vm.start", "{\"vm\":\"x\"}");
	for (int i = 0; i < 3; i++)
		json_object_put(hear(&c));
	wait_call(&c, 4, WAIT("running"));
	expect(&c, "id", "4");
	disconnect(&c);
	hvd_stop(&daemon_);
}

/* --- beginning and end --------------------------------------------------------------------- */

static void test_socket(void **state)
{
	const struct hvd_config config = {
		.socket = path, .engine = "fake", .bounds = hvd_default_bounds};
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct hvd other;
	struct stat st;
	int fd;

	(void)state;
	/* what a daemon that died leaves behind */
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 1), 0);
	close(fd);
	start_with(&hvd_default_bounds);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* a daemon that lives keeps it */
	assert_int_equal(hvd_start(&other, &config), -EADDRINUSE);
	hvd_stop(&other);
	assert_int_equal(access(path, F_OK), 0);
	/* a socket that another has put there since is not ours to remove */
	unlink(path);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	hvd_stop(&daemon_);
	assert_int_equal(access(path, F_OK), 0);
	/* a file is not replaced */
	assert_int_equal(hvd_start(&other, &config), -EEXIST);
	hvd_stop(&other);
	assert_int_equal(access(path, F_OK), 0);
	close(fd);
	unlink(path);
}

static void test_no_engine(void **state)
{
	struct hvd_config config = {.socket = path, .engine = "vmx", .bounds = hvd_default_bounds};
	struct hvd h;

	(void)state;
	assert_int_equal(hvd_start(&h, &config), -ENODEV);
	hvd_stop(&h);
	config.engine = "none";
	assert_int_equal(hvd_start(&h, &config), -ENOENT);
	hvd_stop(&h);
	config.engine = NULL; /* the first that is available */
	assert_int_equal(hvd_start(&h, &config), 0);
	assert_string_equal(h.engine_info.name, "fake");
	hvd_stop(&h);
	assert_int_equal(access(path, F_OK), -1);
}

/* With requests and waits in progress, and clients connected. */
static void test_stop_in_the_middle(void **state)
{
	struct client a, b, c;

	(void)state;
	start_with(&hvd_default_bounds);
	a = connect_client();
	b = connect_client();
	c = connect_client();
	create(&a, "x");
	wait_call(&b, 1, WAIT("running"));
	wait_call(&c, 1, "{\"vm\":\"x\",\"until\":\"console\",\"text\":\"never\"}");
	fake_hold(ENGINE_VM_CREATE);
	call(&a, "vm.create", "{\"name\":\"y\"}");
	call(&a, "vm.list", "{}");
	turn();
	turn();
	hvd_stop(&daemon_);
	assert_int_equal(access(path, F_OK), -1);
	expect_error(&a, "cancelled", "");
	expect_error(&b, "cancelled", "");
	expect_error(&c, "cancelled", "");
	assert_null(take_line(&a));
	assert_true(a.eof);
	close(a.fd);
	close(b.fd);
	close(c.fd);
	proto_framer_free(&a.in);
	proto_framer_free(&b.in);
	proto_framer_free(&c.in);
}

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/hvd-test-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/hvd.sock", folder);
	signal(SIGPIPE, SIG_IGN);
	if (!getenv("HVD_TEST_LOG"))
		log_set_level(LOG_LEVEL_ERROR);
	descriptors_before = open_descriptors();
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	assert_int_equal(open_descriptors(), descriptors_before);
	return rmdir(folder);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_bad_requests),
		TEST(test_split_at_every_byte),
		TEST(test_pipelined),
		TEST(test_notifications),
		TEST(test_batches),
		TEST(test_oversize),
		TEST(test_replies_in_order),
		TEST(test_create_fails),
		TEST(test_overlap),
		TEST(test_life),
		TEST(test_descriptors),
		TEST(test_descriptors_of_the_next),
		TEST(test_image_content),
		TEST(test_too_many_descriptors),
		TEST(test_gone_in_mid_request),
		TEST(test_half_closed),
		cmocka_unit_test(test_slow_reader),
		TEST(test_batch_reply_bounded),
		cmocka_unit_test(test_connection_limit),
		TEST(test_wait_state),
		TEST(test_wait_ends_otherwise),
		TEST(test_wait_console),
		TEST(test_wait_console_of_two_runs),
		TEST(test_wait_clients_go),
		cmocka_unit_test(test_wait_limit),
		cmocka_unit_test(test_socket),
		cmocka_unit_test(test_no_engine),
		cmocka_unit_test(test_stop_in_the_middle),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
