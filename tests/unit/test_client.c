// SPDX-License-Identifier: MIT
/*
 * libhvd against a daemon that a test plays: it writes what it likes into the other end of a
 * socketpair, and reads what was sent.
 */
#include <errno.h>
#include <hvd/client.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define PATIENCE_MS 60000

/* --- the other end ---------------------------------------------------------------------- */

static struct hvd_client *client;
static int daemon_fd;

static int start(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(hvd_client_adopt(fds[0], &client), 0);
	hvd_client_set_timeout(client, PATIENCE_MS);
	daemon_fd = fds[1];
	return 0;
}

static int stop(void **state)
{
	(void)state;
	hvd_client_close(client);
	client = NULL;
	if (daemon_fd >= 0)
		close(daemon_fd);
	return 0;
}

static void hang_up(void)
{
	close(daemon_fd);
	daemon_fd = -1;
}

static void say_bytes(const char *data, size_t len)
{
	while (len) {
		const ssize_t n = send(daemon_fd, data, len, MSG_NOSIGNAL);

		assert_true(n > 0);
		data += n;
		len -= (size_t)n;
	}
}

static void say(const char *line)
{
	say_bytes(line, strlen(line));
	say_bytes("\n", 1);
}

/* The next request, to be put. */
static struct json_object *hear(void)
{
	static char line[1 << 16];
	struct json_object *obj;
	size_t n = 0;

	while (recv(daemon_fd, line + n, 1, 0) == 1 && line[n] != '\n')
		n++;
	line[n] = '\0';
	obj = json_tokener_parse(line);
	assert_non_null(obj);
	return obj;
}

static const char *text_of(struct json_object *obj, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(obj, key, &v) ? json_object_get_string(v) : NULL;
}

static void hear_nothing(void)
{
	char c;

	assert_int_equal(recv(daemon_fd, &c, 1, MSG_DONTWAIT), -1);
}

/* --- calls -------------------------------------------------------------------------------- */

/* The daemon's answer is there before the question: ids count from 1. */
static int ask(struct json_object **ret, struct hvd_error *err)
{
	return hvd_client_call(client, "vm.list", NULL, NULL, 0, ret, err);
}

static void test_call(void **state)
{
	struct json_object *params = json_object_new_object(), *result = NULL, *request;

	(void)state;
	json_object_object_add(params, "vm", json_object_new_string("d\xc3\xa9mo\n"));
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"n\":18446744073709551615,\"x\":1.10}}");
	assert_int_equal(hvd_client_call(client, "vm.get", params, NULL, 0, &result, NULL), 0);
	assert_string_equal(json_object_to_json_string_ext(result, JSON_C_TO_STRING_PLAIN),
			    "{\"n\":18446744073709551615,\"x\":1.10}");
	json_object_put(result);
	request = hear();
	assert_string_equal(text_of(request, "jsonrpc"), "2.0");
	assert_string_equal(text_of(request, "id"), "1");
	assert_string_equal(text_of(request, "method"), "vm.get");
	assert_true(json_object_equal(json_object_object_get(request, "params"), params));
	json_object_put(request);
	assert_int_equal(json_object_put(params), 1); /* nobody else holds it */

	/* without parameters; the result is not wanted */
	say("{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}");
	assert_int_equal(ask(NULL, NULL), 0);
	request = hear();
	assert_null(text_of(request, "params"));
	json_object_put(request);
	assert_int_equal(hvd_client_outstanding(client), 0);
	assert_null(hvd_client_error_object(client));
}

static const struct {
	const char *error;
	const char *kind, *field, *text;
	int code;
	bool has_limit;
	uint64_t limit;
} refusals[] = {
	{"{\"code\":-32004,\"message\":\"memory.map: gpa: "
	 "overlaps\",\"data\":{\"kind\":\"overlap\","
	 "\"field\":\"gpa\",\"existing\":[\"0x0\",\"0xfff\"]}}",
	 "overlap", "gpa", "memory.map: gpa: overlaps", -32004, false, 0},
	{"{\"code\":-32007,\"message\":\"m\",\"data\":{\"kind\":\"limit\",\"limit\":"
	 "18446744073709551615}}",
	 "limit", "", "m", -32007, true, UINT64_MAX},
	{"{\"code\":-32001,\"message\":\"\\u001b[31m\\n\xc3\xa9\"}", "", "", "?[31m???", -32001,
	 false, 0},
	{"{}", "", "", "", -32603, false, 0},
	{"{\"code\":\"x\",\"message\":5,\"data\":[]}", "", "", "", -32603, false, 0},
	{"{\"code\":7,\"message\":\"\",\"data\":{\"kind\":3,\"field\":null,\"limit\":\"many\"}}",
	 "", "", "", 7, false, 0},
};

static void test_errors(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(refusals); i++) {
		struct json_object *result = (void *)&result;
		struct hvd_error err;
		char line[512];

		snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":%zu,\"error\":%s}", i + 1,
			 refusals[i].error);
		say(line);
		assert_int_equal(ask(&result, &err), -EREMOTEIO);
		assert_ptr_equal(result, &result);
		assert_string_equal(err.kind, refusals[i].kind);
		assert_string_equal(err.field, refusals[i].field);
		assert_string_equal(err.text, refusals[i].text);
		assert_int_equal(err.code, refusals[i].code);
		assert_int_equal(err.has_limit, refusals[i].has_limit);
		assert_true(err.limit == refusals[i].limit);
		assert_string_equal(
			json_object_to_json_string_ext(hvd_client_error_object(client),
						       JSON_C_TO_STRING_PLAIN |
							       JSON_C_TO_STRING_NOSLASHESCAPE),
			refusals[i].error[0] == '{' && i == 2
				? "{\"code\":-32001,\"message\":\"\\u001b[31m\\n\xc3\xa9\"}"
				: refusals[i].error);
	}
	/* it goes on */
	say("{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}");
	assert_int_equal(ask(NULL, NULL), 0);
}

/* Texts that don't fit are cut, whatever the daemon sends. */
static void test_long_error(void **state)
{
	static char line[8192], many[3000];
	struct hvd_error err;

	(void)state;
	memset(many, 'a', sizeof(many) - 1);
	snprintf(line, sizeof(line),
		 "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-1,\"message\":\"%.2000s\","
		 "\"data\":{\"kind\":\"%.2000s\",\"field\":\"%.2000s\"}}}",
		 many, many, many);
	say(line);
	assert_int_equal(ask(NULL, &err), -EREMOTEIO);
	assert_int_equal(strlen(err.text), HVD_TEXT_SIZE - 1);
	assert_int_equal(strlen(err.kind), HVD_KIND_SIZE - 1);
	assert_int_equal(strlen(err.field), HVD_FIELD_SIZE - 1);
}

/* What is not even sent. */
static void test_bad_requests(void **state)
{
	struct json_object *list = json_object_new_array(), *params = json_object_new_object();
	struct json_object *deep = json_object_new_object(), *inner = deep, *next;
	char *big = malloc(HVD_REQUEST_MAX);
	int fds[HVD_FDS_MAX + 1] = {0};
	struct hvd_error err;

	(void)state;
	assert_int_equal(hvd_client_call(client, "m", list, NULL, 0, NULL, &err), -EINVAL);
	assert_int_equal(err.code, 0);
	assert_int_equal(hvd_client_call(client, "m", NULL, fds, COUNT(fds), NULL, &err), -E2BIG);
	json_object_object_add(params, "a", json_object_new_string_len("a\0b", 3));
	assert_int_equal(hvd_client_call(client, "m", params, NULL, 0, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.text, "NUL"));
	json_object_object_add(params, "a", json_object_new_double(1.0 / 0.0));
	assert_int_equal(hvd_client_call(client, "m", params, NULL, 0, NULL, &err), -EINVAL);
	json_object_object_add(params, "a", json_object_new_string("\xff"));
	assert_int_equal(hvd_client_call(client, "m", params, NULL, 0, NULL, &err), -EINVAL);
	for (int i = 0; i < 20; i++) {
		next = json_object_new_object();
		json_object_object_add(inner, "a", next);
		inner = next;
	}
	assert_int_equal(hvd_client_call(client, "m", deep, NULL, 0, NULL, &err), -EINVAL);
	memset(big, 'x', HVD_REQUEST_MAX);
	json_object_object_add(params, "a", json_object_new_string_len(big, (int)HVD_REQUEST_MAX));
	assert_int_equal(hvd_client_call(client, "m", params, NULL, 0, NULL, &err), -EMSGSIZE);
	assert_int_equal(hvd_client_outstanding(client), 0);
	assert_int_equal(hvd_client_wait(client, 1, 0, NULL, &err), -ENOENT);
	hear_nothing();
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}");
	assert_int_equal(ask(NULL, &err), 0); /* no id was used up */
	json_object_put(list);
	json_object_put(params);
	json_object_put(deep);
	free(big);
}

static void test_descriptors(void **state)
{
	const int fd = memfd_create("hvd-test", MFD_CLOEXEC);
	char byte, control[CMSG_SPACE(sizeof(int) * 2)] = {0};
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	struct stat sent, got;
	int fds[2] = {fd, fd}, received[2];

	(void)state;
	assert_int_equal(hvd_client_send(client, "vm.create", NULL, fds, 2, NULL, NULL,
					 &(uint64_t){0}, NULL),
			 0);
	assert_int_equal(recvmsg(daemon_fd, &msg, 0), 1);
	assert_int_equal(CMSG_FIRSTHDR(&msg)->cmsg_len, CMSG_LEN(sizeof(received)));
	memcpy(received, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(received));
	fstat(fd, &sent);
	for (int i = 0; i < 2; i++) {
		fstat(received[i], &got);
		assert_int_equal(sent.st_ino, got.st_ino);
		close(received[i]);
	}
	close(fd); /* it is still ours */
}

/* --- several at a time ------------------------------------------------------------------------ */

struct heard {
	char text[512];
};

static void note(struct heard *h, const char *fmt, const char *a, int b)
{
	const size_t n = strlen(h->text);

	snprintf(h->text + n, sizeof(h->text) - n, fmt, a, b);
}

static void on_reply(void *ctx, int status, struct json_object *result, const struct hvd_error *err)
{
	assert_true((status == 0) == (err == NULL));
	assert_true(status == 0 || !result);
	note(ctx, "%s:%d ", status ? err->kind : text_of(result, "a"), status);
}

static void on_notification(void *ctx, const char *method, struct json_object *params)
{
	note(ctx, "%s(%d) ", method,
	     json_object_get_int(json_object_object_get(params, "subscription")));
}

static uint64_t post(hvd_reply_fn *fn, void *ctx)
{
	uint64_t id;

	assert_int_equal(hvd_client_send(client, "vm.wait", NULL, NULL, 0, fn, ctx, &id, NULL), 0);
	return id;
}

/* Replies out of order, notifications between them; a call in the midst of it. */
static void test_pipelining(void **state)
{
	struct json_object *result;
	struct heard h = {""};
	uint64_t kept;

	(void)state;
	hvd_client_on_notification(client, on_notification, &h);
	assert_int_equal(post(on_reply, &h), 1);
	kept = post(NULL, NULL);
	assert_int_equal(post(on_reply, &h), 3);
	assert_int_equal(hvd_client_outstanding(client), 3);
	assert_int_equal(hvd_client_dispatch(client, 0), 0);
	say("{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"subscription\":1}}");
	say("{\"jsonrpc\":\"2.0\",\"id\":3,\"error\":{\"code\":-1,\"message\":\"\",\"data\":{"
	    "\"kind\":\"timeout\"}}}");
	say("{\"jsonrpc\":\"2.0\",\"method\":\"trace\",\"params\":{\"subscription\":2}}");
	say("{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"a\":\"two\"}}");
	say("{\"jsonrpc\":\"2.0\",\"id\":4,\"result\":{\"a\":\"four\"}}");
	assert_int_equal(ask(&result, NULL), 0);
	assert_string_equal(text_of(result, "a"), "four");
	json_object_put(result);
	assert_string_equal(h.text, "event(1) timeout:-121 trace(2) ");
	assert_int_equal(hvd_client_wait(client, kept, 0, &result, NULL), 0);
	assert_string_equal(text_of(result, "a"), "two");
	json_object_put(result);
	assert_int_equal(hvd_client_wait(client, kept, 0, &result, NULL), -ENOENT);
	assert_int_equal(hvd_client_wait(client, 1, 0, &result, NULL),
			 -ENOENT); /* it has a callback */
	assert_int_equal(hvd_client_outstanding(client), 1);
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"one\"}}");
	assert_int_equal(hvd_client_dispatch(client, PATIENCE_MS), 1);
	assert_string_equal(h.text, "event(1) timeout:-121 trace(2) one:0 ");
	assert_int_equal(hvd_client_dispatch(client, 0), 0);
}

/* A subscription: the reply with its number, and at once what it tells. */
static void test_behind_reply(void **state)
{
	struct heard h = {""};
	uint64_t id;

	(void)state;
	hvd_client_on_notification(client, on_notification, &h);
	for (int i = 1; i <= 3; i++) {
		id = post(NULL, NULL);
		say(i == 1   ? "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}"
		    : i == 2 ? "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}"
			     : "{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{}}");
		say("{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"subscription\":1}}");
		if (i == 3)
			hang_up();
		assert_int_equal(hvd_client_wait(client, id, PATIENCE_MS, NULL, NULL), 0);
		assert_int_equal(strlen(h.text), (i - 1) * strlen("event(1) "));
		if (i == 1)
			continue; /* the next wait handles it */
		assert_int_equal(hvd_client_dispatch(client, 0), 1);
		assert_int_equal(strlen(h.text), i * strlen("event(1) "));
	}
	assert_int_equal(hvd_client_dispatch(client, PATIENCE_MS), -ECONNRESET);
}

/* Every place at which a stream may be cut. */
static void test_split_lines(void **state)
{
	static const char stream[] =
		"{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"subscription\":7}}\n"
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"x\"}}\n";

	for (size_t cut = 1; cut + 1 < sizeof(stream); cut++) {
		struct heard h = {""};
		int n;

		start(state);
		hvd_client_on_notification(client, on_notification, &h);
		post(on_reply, &h);
		say_bytes(stream, cut);
		n = hvd_client_dispatch(client, 0);
		assert_int_equal(n, strchr(stream, '\n') < stream + cut);
		say_bytes(stream + cut, sizeof(stream) - 1 - cut);
		while (n < 2)
			n += hvd_client_dispatch(client, PATIENCE_MS);
		assert_string_equal(h.text, "event(7) x:0 ");
		stop(state);
	}
}

static const char *method_of_next(int timeout_ms)
{
	static char text[64];
	struct json_object *n;
	const int r = hvd_client_next(client, timeout_ms, &n);

	if (r) {
		snprintf(text, sizeof(text), "%d", r);
		return text;
	}
	snprintf(text, sizeof(text), "%s", text_of(n, "method"));
	json_object_put(n);
	return text;
}

static void test_next(void **state)
{
	struct heard h = {""};
	char expected[16];

	(void)state;
	snprintf(expected, sizeof(expected), "%d", -ETIMEDOUT);
	assert_string_equal(method_of_next(0), expected);
	assert_string_equal(method_of_next(5), expected);
	say("{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"params\":{}}");
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}");
	say("{\"jsonrpc\":\"2.0\",\"method\":\"b\",\"params\":{}}");
	say("{\"jsonrpc\":\"2.0\",\"method\":\"c\",\"params\":{}}");
	assert_int_equal(ask(NULL, NULL), 0);
	assert_string_equal(method_of_next(0), "a");
	/* who sets a callback gets what is kept */
	hvd_client_on_notification(client, on_notification, &h);
	assert_int_equal(hvd_client_dispatch(client, 0), 2);
	assert_string_equal(h.text, "b(0) c(0) ");
	hvd_client_on_notification(client, NULL, NULL);
	say("{\"jsonrpc\":\"2.0\",\"method\":\"d\",\"params\":{}}");
	hang_up();
	assert_string_equal(method_of_next(PATIENCE_MS), "d");
	snprintf(expected, sizeof(expected), "%d", -ECONNRESET);
	assert_string_equal(method_of_next(0), expected);
}

/* A reply of 8 MiB, and one more behind it. */
static void *say_big(void *arg)
{
	const size_t n = 8u << 20;
	char *line = malloc(n + 100);

	(void)arg;
	memset(line, 'z', n + 100);
	memcpy(line, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"", 39);
	strcpy(line + 39 + n, "\"}}\n{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}");
	say(line);
	free(line);
	return NULL;
}

static void test_big_reply(void **state)
{
	const uint64_t first = post(NULL, NULL), second = post(NULL, NULL);
	struct json_object *result;
	pthread_t thread;

	(void)state;
	pthread_create(&thread, NULL, say_big, NULL);
	assert_int_equal(hvd_client_wait(client, second, PATIENCE_MS, NULL, NULL), 0);
	assert_int_equal(hvd_client_wait(client, first, PATIENCE_MS, &result, NULL), 0);
	assert_int_equal(strlen(text_of(result, "a")), 8u << 20);
	json_object_put(result);
	pthread_join(thread, NULL);
}

/* Until the client hangs up: a line without end, or lines. */
static void *say_too_much(void *line)
{
	while (send(daemon_fd, line, strlen(line), MSG_NOSIGNAL) > 0)
		;
	return NULL;
}

/* A line without end, and notifications that nobody takes, are bounded. */
static void test_bound(void **state)
{
	static char endless[] = "zzzzzzzzzzzzzzzzzzzz";
	static char event[] = "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"x\":1}}\n";
	char *const kinds[] = {endless, event};

	for (size_t i = 0; i < COUNT(kinds); i++) {
		struct hvd_error err;
		pthread_t thread;

		start(state);
		hvd_client_set_held_max(client, 20000);
		pthread_create(&thread, NULL, say_too_much, kinds[i]);
		assert_int_equal(ask(NULL, &err), -ENOBUFS);
		assert_non_null(strstr(err.text, "20000"));
		assert_int_equal(ask(NULL, &err), -ENOBUFS);
		assert_int_equal(hvd_client_dispatch(client, 0), -ENOBUFS);
		hvd_client_close(client);
		client = NULL;
		pthread_join(thread, NULL);
		hang_up();
	}
}

/* --- what goes wrong ---------------------------------------------------------------------------
 */

static const char *const nonsense[] = {
	"",
	"hello",
	"[]",
	"null",
	"7",
	"{}",
	"{\"jsonrpc\":\"1.0\",\"id\":1,\"result\":{}}",
	"{\"id\":1,\"result\":{}}",
	"{\"jsonrpc\":\"2.0\",\"id\":1}",
	"{\"jsonrpc\":\"2.0\",\"result\":{}}",
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{},\"error\":{}}",
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":null}",
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":\"no\"}",
	"{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":{}}",
	"{\"jsonrpc\":\"2.0\",\"id\":\"1\",\"result\":{}}",
	"{\"jsonrpc\":\"2.0\",\"id\":1.0,\"result\":{}}",
	"{\"jsonrpc\":\"2.0\",\"id\":-1,\"result\":{}}",
	"{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{}}",
	"{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{}}",
	"{\"jsonrpc\":\"2.0\",\"id\":4294967297,\"result\":{}}",
	"{\"jsonrpc\":\"2.0\",\"method\":\"\",\"params\":{}}",
	"{\"jsonrpc\":\"2.0\",\"method\":\"event\"}",
	"{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":[]}",
	"{\"jsonrpc\":\"2.0\",\"method\":7,\"params\":{}}",
	"{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{},\"id\":1}",
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":1,\"a\":2}}",
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"\xff\"}}",
};

static void test_nonsense(void **state)
{
	for (size_t i = 0; i < COUNT(nonsense); i++) {
		struct hvd_error err = {0};
		struct heard h = {""};
		uint64_t id;
		int r;

		start(state);
		id = post(NULL, NULL);
		post(on_reply, &h);
		say(nonsense[i]);
		r = hvd_client_wait(client, id, PATIENCE_MS, NULL, &err);
		if (r != -EBADMSG || !*err.text || err.code)
			fail_msg("'%s': %d %s", nonsense[i], r, err.text);
		assert_string_equal(h.text, ":-74 ");
		assert_int_equal(hvd_client_outstanding(client), 0);
		assert_int_equal(ask(NULL, NULL), -EBADMSG);
		assert_int_equal(hvd_client_dispatch(client, -1), -EBADMSG);
		assert_int_equal(hvd_client_cancel(client, id), -EBADMSG);
		stop(state);
	}
}

/* The same reply twice. */
static void test_twice(void **state)
{
	uint64_t id = post(NULL, NULL);

	(void)state;
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}");
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}");
	assert_int_equal(hvd_client_dispatch(client, PATIENCE_MS), -EBADMSG);
	/* what came in order is still given */
	assert_int_equal(hvd_client_wait(client, id, 0, NULL, NULL), 0);
}

static void test_turned_away(void **state)
{
	struct hvd_error err;

	(void)state;
	say("{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32008,\"message\":\"no role\","
	    "\"data\":{\"kind\":\"denied\"}}}");
	hang_up(); /* the request can't even be sent */
	assert_int_equal(ask(NULL, &err), -EREMOTEIO);
	assert_string_equal(err.kind, "denied");
	assert_string_equal(err.text, "no role");
	assert_int_equal(ask(NULL, &err), -EREMOTEIO);
	assert_string_equal(text_of(hvd_client_error_object(client), "message"), "no role");
}

static void test_disconnect(void **state)
{
	struct hvd_error err;
	struct heard h = {""};
	uint64_t id = post(NULL, NULL), other = post(NULL, NULL);

	(void)state;
	post(on_reply, &h);
	say("{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}");
	say_bytes("{\"jsonrpc\":\"2.0\",\"id\":1,\"res", 29);
	hang_up();
	assert_int_equal(hvd_client_wait(client, id, PATIENCE_MS, NULL, &err), -ECONNRESET);
	assert_string_equal(h.text, ":-104 ");
	assert_int_equal(hvd_client_wait(client, other, 0, NULL, &err), 0);
	assert_int_equal(hvd_client_send(client, "m", NULL, NULL, 0, NULL, NULL, &id, &err),
			 -ECONNRESET);
}

static void test_close_ends_requests(void **state)
{
	struct heard h = {""};

	(void)state;
	post(on_reply, &h);
	post(NULL, NULL);
	hvd_client_close(client);
	client = NULL;
	assert_string_equal(h.text, ":-125 ");
	hvd_client_close(NULL);
}

static void test_timeout(void **state)
{
	struct hvd_error err;
	struct json_object *result;
	uint64_t id;

	(void)state;
	hvd_client_set_timeout(client, 1);
	assert_int_equal(ask(NULL, &err), -ETIMEDOUT);
	id = post(NULL, NULL);
	assert_int_equal(hvd_client_wait(client, id, 1, NULL, &err), -ETIMEDOUT);
	/* the first reply is dropped, the second one was waited for */
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"late\"}}");
	say("{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"a\":\"mine\"}}");
	assert_int_equal(hvd_client_wait(client, id, PATIENCE_MS, &result, &err), 0);
	assert_string_equal(text_of(result, "a"), "mine");
	json_object_put(result);
	assert_int_equal(hvd_client_outstanding(client), 0);
	assert_int_equal(hvd_client_wait(client, 1, 0, &result, &err), -ENOENT);
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* A signal handler that runs ends a wait, and not a call. */
static void test_signal(void **state)
{
	const struct sigaction act = {.sa_handler = on_alarm};
	const struct itimerval often = {{0, 2000}, {0, 2000}}, off = {{0, 0}, {0, 0}};
	struct sigaction old;
	struct hvd_error err;
	uint64_t id;

	(void)state;
	sigaction(SIGALRM, &act, &old);
	id = post(NULL, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	assert_int_equal(hvd_client_wait(client, id, -1, NULL, &err), -EINTR);
	assert_int_equal(hvd_client_dispatch(client, -1), -EINTR);
	hvd_client_set_timeout(client, 30);
	assert_int_equal(ask(NULL, &err), -ETIMEDOUT);
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &old, NULL);
}

/*
 * Requests are sent without end to a daemon that answers each, and does not read on before its
 * answers are read.
 */
static void *answer_all(void *arg)
{
	const int *count = arg;

	for (int i = 1; i <= *count; i++) {
		struct json_object *request = hear();
		char line[4200];

		snprintf(line, sizeof(line),
			 "{\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":{\"a\":\"%04000d\"}}",
			 json_object_get_int(json_object_object_get(request, "id")), i);
		json_object_put(request);
		say(line);
	}
	return NULL;
}

static void count_replies(void *ctx, int status, struct json_object *result,
			  const struct hvd_error *err)
{
	int *n = ctx;

	(void)err;
	assert_int_equal(status, 0);
	assert_int_equal(atoi(text_of(result, "a")), ++*n);
}

static void test_no_deadlock(void **state)
{
	struct json_object *params = json_object_new_object();
	int count = 500, n = 0;
	char pad[2000];
	pthread_t thread;

	(void)state;
	memset(pad, 'p', sizeof(pad));
	json_object_object_add(params, "pad", json_object_new_string_len(pad, sizeof(pad)));
	pthread_create(&thread, NULL, answer_all, &count);
	for (int i = 0; i < count; i++)
		assert_int_equal(hvd_client_send(client, "m", params, NULL, 0, count_replies, &n,
						 NULL, NULL),
				 0);
	assert_true(n == 0); /* a send calls nobody back */
	while (hvd_client_outstanding(client))
		assert_true(hvd_client_dispatch(client, PATIENCE_MS) > 0);
	assert_int_equal(n, count);
	pthread_join(thread, NULL);
	json_object_put(params);
}

/* A socket that takes nothing more: the time is up, and nothing may follow half a line. */
static void test_send_timeout(void **state)
{
	struct json_object *params = json_object_new_object();
	char *pad = malloc(3u << 20);
	struct hvd_error err;

	(void)state;
	memset(pad, 'p', 3u << 20);
	json_object_object_add(params, "pad", json_object_new_string_len(pad, 3 << 20));
	hvd_client_set_timeout(client, 20);
	assert_int_equal(hvd_client_call(client, "m", params, NULL, 0, NULL, &err), -ETIMEDOUT);
	assert_int_equal(ask(NULL, &err), -ETIMEDOUT);
	assert_int_equal(hvd_client_dispatch(client, 0), -ETIMEDOUT);
	json_object_put(params);
	free(pad);
}

/* --- callbacks
 * ------------------------------------------------------------------------------------ */

static void chain(void *ctx, int status, struct json_object *result, const struct hvd_error *err)
{
	int *left = ctx;
	struct hvd_error e;

	(void)result, (void)err;
	assert_int_equal(status, 0);
	assert_int_equal(ask(NULL, &e), -EDEADLK);
	assert_int_equal(hvd_client_dispatch(client, 0), -EDEADLK);
	assert_int_equal(hvd_client_wait(client, 1, 0, NULL, &e), -EDEADLK);
	assert_int_equal(hvd_client_next(client, 0, NULL), -EDEADLK);
	if (--*left)
		post(chain, left);
}

static void test_from_callbacks(void **state)
{
	int left = 3;

	(void)state;
	post(chain, &left);
	for (int i = 1; i <= 3; i++) {
		char line[64];

		snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":{}}", i);
		say(line);
		assert_int_equal(hvd_client_dispatch(client, PATIENCE_MS), 1);
	}
	assert_int_equal(left, 0);
	assert_int_equal(hvd_client_outstanding(client), 0);
}

static void test_cancel(void **state)
{
	struct json_object *request;
	struct hvd_error err;
	uint64_t id = post(NULL, NULL);

	(void)state;
	assert_int_equal(hvd_client_cancel(client, 99), -ENOENT);
	assert_int_equal(hvd_client_cancel(client, id), 0);
	json_object_put(hear());
	request = hear();
	assert_string_equal(text_of(request, "method"), "request.cancel");
	assert_string_equal(text_of(json_object_object_get(request, "params"), "id"), "1");
	json_object_put(request);
	say("{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"found\":true}}");
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32015,\"message\":\"c\",\"data\":{"
	    "\"kind\":\"cancelled\"}}}");
	assert_int_equal(hvd_client_wait(client, id, PATIENCE_MS, NULL, &err), -EREMOTEIO);
	assert_string_equal(err.kind, "cancelled");
	assert_int_equal(hvd_client_cancel(client, id), -ENOENT);
	assert_int_equal(hvd_client_outstanding(client), 0);
}

/* --- opening -------------------------------------------------------------------------------------
 */

static void test_open(void **state)
{
	struct hvd_client *c = (void *)&c;
	struct hvd_error err;
	char path[200];
	int fds[2];

	(void)state;
	setenv(HVD_SOCKET_VARIABLE, "/nowhere/hvd.sock", 1);
	assert_int_equal(hvd_client_open(NULL, &c, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nowhere/hvd.sock"));
	assert_int_equal(hvd_client_open("/nowhere/other.sock", &c, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nowhere/other.sock"));
	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(hvd_client_open(path, &c, NULL), -ENAMETOOLONG);
	unsetenv(HVD_SOCKET_VARIABLE);
	assert_int_equal(hvd_client_adopt(-1, &c), -EBADF);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(hvd_client_adopt(fds[0], &c), -ENOTSOCK);
	close(fds[0]);
	close(fds[1]);
	assert_ptr_equal(c, &c);
}

/* The descriptor is for poll(): readable when there is something to do. */
static void test_poll(void **state)
{
	struct pollfd p = {.fd = hvd_client_fd(client), .events = POLLIN};
	struct heard h = {""};

	(void)state;
	post(on_reply, &h);
	assert_int_equal(poll(&p, 1, 0), 0);
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"x\"}}");
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_int_equal(hvd_client_dispatch(client, 0), 1);
	assert_int_equal(poll(&p, 1, 0), 0);
}

/* --- values
 * --------------------------------------------------------------------------------------- */

static void test_bytes(void **state)
{
	static const char *const bad[] = {"a", "abc", "ab=c", "====", "YQ==\n", "Y Q=", "YR=="};
	struct json_object *value;
	char data[256], back[256];
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)i;
	for (size_t size = 0; size <= sizeof(data); size++) {
		value = hvd_json_bytes(data, size);
		assert_int_equal(hvd_json_get_bytes(value, back, size, &n), 0);
		assert_int_equal(n, size);
		assert_memory_equal(data, back, size);
		if (size)
			assert_int_equal(hvd_json_get_bytes(value, back, size - 1, &n), -ENOSPC);
		json_object_put(value);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		value = json_object_new_string(bad[i]);
		assert_int_equal(hvd_json_get_bytes(value, back, sizeof(back), &n), -EINVAL);
		json_object_put(value);
	}
	value = json_object_new_int(1);
	assert_int_equal(hvd_json_get_bytes(value, back, sizeof(back), &n), -EINVAL);
	assert_int_equal(hvd_json_get_bytes(NULL, back, sizeof(back), &n), -EINVAL);
	json_object_put(value);
}

static void test_address(void **state)
{
	static const struct {
		const char *text;
		int status;
		uint64_t address;
	} cases[] = {
		{"0x0", 0, 0},	     {"0x400000", 0, 0x400000},
		{"0xAbC", 0, 0xabc}, {"0xffffffffffffffff", 0, UINT64_MAX},
		{"0x", -EINVAL, 0},  {"400000", -EINVAL, 0},
		{"0xg", -EINVAL, 0}, {"0x10000000000000000", -EINVAL, 0},
		{"", -EINVAL, 0},    {"0x-1", -EINVAL, 0},
	};
	struct json_object *value;
	uint64_t got;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		value = json_object_new_string(cases[i].text);
		got = 0;
		assert_int_equal(hvd_json_get_address(value, &got), cases[i].status);
		assert_true(got == cases[i].address);
		json_object_put(value);
	}
	value = hvd_json_address(UINT64_MAX);
	assert_string_equal(json_object_get_string(value), "0xffffffffffffffff");
	json_object_put(value);
	assert_int_equal(hvd_json_get_address(NULL, &got), -EINVAL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_call),
		T(test_errors),
		T(test_long_error),
		T(test_bad_requests),
		T(test_descriptors),
		T(test_pipelining),
		T(test_next),
		T(test_big_reply),
		T(test_twice),
		T(test_turned_away),
		T(test_disconnect),
		T(test_close_ends_requests),
		T(test_timeout),
		T(test_signal),
		T(test_no_deadlock),
		T(test_send_timeout),
		T(test_from_callbacks),
		T(test_cancel),
		T(test_poll),
		T(test_behind_reply),
		cmocka_unit_test(test_split_lines),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
