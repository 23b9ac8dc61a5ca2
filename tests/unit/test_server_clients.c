// SPDX-License-Identifier: MIT
/*
 * Clients that go, don't read or are too many; vm.wait; the daemon's beginning and end.
 */
#include "fake_engine.h"
#include "server_rig.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char info_request[] = "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"daemon.info\"}\n";

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
	struct json_object *refused;
	struct client c;

	(void)state;
	bounds.waits_per_connection = 2;
	start_with(&bounds);
	c = connect_client();
	create(&c, "x");
	wait_call(&c, 1, WAIT("running"));
	wait_call(&c, 2, WAIT("running"));
	wait_call(&c, 3, WAIT("running"));
	refused = hear(&c);
	assert_int_equal(json_object_get_int(at(refused, "id")), 3);
	assert_string_equal(json_object_get_string(at(refused, "error.data.kind")), "limit");
	json_object_put(refused);
	say(&c,
	    "[{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"vm.wait\",\"params\":{\"vm\":\"x\"}},"
	    "{\"jsonrpc\":\"2.0\",\"id\":\"b\",\"method\":\"vm.list\"},7]");
	refused = hear(&c);
	assert_int_equal(json_object_array_length(refused), 3);
	for (size_t i = 0; i < 3; i++) {
		static const char *const ids[] = {"a", "b", NULL};
		struct json_object *one = json_object_array_get_idx(refused, i);

		assert_string_equal(json_object_get_string(at(one, "error.data.kind")), "limit");
		assert_true(ids[i] ? !strcmp(json_object_get_string(at(one, "id")), ids[i])
				   : !at(one, "id"));
	}
	json_object_put(refused);
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
	expect_error(&a, "cancelled", ""); /* it had not been begun */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_gone_in_mid_request),	 RIG_TEST(test_half_closed),
		cmocka_unit_test(test_slow_reader),	 RIG_TEST(test_batch_reply_bounded),
		cmocka_unit_test(test_connection_limit), RIG_TEST(test_wait_state),
		RIG_TEST(test_wait_ends_otherwise),	 RIG_TEST(test_wait_console),
		RIG_TEST(test_wait_console_of_two_runs), RIG_TEST(test_wait_clients_go),
		cmocka_unit_test(test_wait_limit),	 cmocka_unit_test(test_socket),
		cmocka_unit_test(test_no_engine),	 cmocka_unit_test(test_stop_in_the_middle),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
