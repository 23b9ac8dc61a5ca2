// SPDX-License-Identifier: MIT
/* Lines out of a stream, and the strict parser of one message. */
#include "proto/proto.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* --- JSON ------------------------------------------------------------------------- */

static const struct {
	const char *text;
	const char *json;  /* how it prints; NULL: refused */
	const char *field; /* of the refusal */
} messages[] = {
	{"{}", "{}", NULL},
	{" \t\r{ } ", "{}", NULL},
	{"null", "null", NULL},
	{"[1,-1,0,-0]", "[1,-1,0,0]", NULL},
	{"[true,false,null]", "[true,false,null]", NULL},
	{"9223372036854775807", "9223372036854775807", NULL},
	{"9223372036854775808", "9223372036854775808", NULL},
	{"18446744073709551615", "18446744073709551615", NULL},
	{"18446744073709551616", "18446744073709551616", NULL},
	{"-9223372036854775808", "-9223372036854775808", NULL},
	{"-9223372036854775809", "-9223372036854775809", NULL},
	{"1.10", "1.10", NULL},
	{"1e400", "1e400", NULL},
	{"1E+2", "1E+2", NULL},
	{"\"\\u0041\\n\\/\\\"\\\\\"", "\"A\\n/\\\"\\\\\"", NULL},
	{"\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\"", NULL},
	{"\"\xe2\x82\xac\"", "\"\xe2\x82\xac\"", NULL},
	{"{\"a\":{\"a\":1},\"b\":[{\"a\":2}]}", "{\"a\":{\"a\":1},\"b\":[{\"a\":2}]}", NULL},
	/* refused */
	{"", NULL, ""},
	{"   ", NULL, ""},
	{"{", NULL, ""},
	{"}", NULL, ""},
	{"[", NULL, ""},
	{"[1", NULL, ""},
	{"[1,]", NULL, ""},
	{"[,1]", NULL, ""},
	{"[1 2]", NULL, ""},
	{"{\"a\"}", NULL, ""},
	{"{\"a\":}", NULL, ""},
	{"{\"a\":1,}", NULL, ""},
	{"{a:1}", NULL, ""},
	{"{'a':1}", NULL, ""},
	{"{1:1}", NULL, ""},
	{"{} {}", NULL, ""},
	{"{}x", NULL, ""},
	{"nul", NULL, ""},
	{"True", NULL, ""},
	{"NaN", NULL, ""},
	{"Infinity", NULL, ""},
	{"-Infinity", NULL, ""},
	{"-", NULL, ""},
	{"+1", NULL, ""},
	{"01", NULL, ""},
	{"1.", NULL, ""},
	{".5", NULL, ""},
	{"1e", NULL, ""},
	{"1e+", NULL, ""},
	{"0x10", NULL, ""},
	{"/* c */ 1", NULL, ""},
	{"\"abc", NULL, ""},
	{"\"\\", NULL, ""},
	{"\"\\x41\"", NULL, ""},
	{"\"\\u12\"", NULL, ""},
	{"\"\\u12g4\"", NULL, ""},
	{"\"\\u0000\"", NULL, ""},
	{"\"\\ud83d\"", NULL, ""},
	{"\"\\ud83d\\u0041\"", NULL, ""},
	{"\"\\ude00\"", NULL, ""},
	{"\"a\tb\"", NULL, ""},
	{"\"\xff\"", NULL, ""},
	{"\"\xc0\xaf\"", NULL, ""},
	{"\"\xe0\x80\xaf\"", NULL, ""},
	{"\"\xed\xa0\x80\"", NULL, ""},
	{"\"\xf4\x90\x80\x80\"", NULL, ""},
	{"\"\xe2\x82\"", NULL, ""},
	{"\"\xe2\x82", NULL, ""},
	{"\"\x80\"", NULL, ""},
	{"\xef\xbb\xbf{}", NULL, ""},
	{"{\"\xff\":1}", NULL, ""},
	{"{\"vm\":1,\"vm\":2}", NULL, "vm"},
	{"{\"vm\":1,\"\\u0076m\":1}", NULL, "vm"},
	{"[{\"x\":{\"y\":1,\"z\":0,\"y\":1}}]", NULL, "y"},
};

static void test_json(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(messages); i++) {
		const size_t len = strlen(messages[i].text);
		char *exact = malloc(len + 1); /* ends where the message does: for ASan */
		struct json_object *obj = NULL;
		struct proto_error err;
		const char *text;
		int r;

		memcpy(exact, messages[i].text, len);
		exact = realloc(exact, len ? len : 1);
		r = proto_json_parse(exact, len, &obj, &err);
		if ((r == 0) != (messages[i].json != NULL))
			fail_msg("'%s': %d", messages[i].text, r);
		if (r) {
			assert_int_equal(r, -EBADMSG);
			assert_int_equal(err.kind, PROTO_ERROR_PARSE);
			assert_string_equal(err.field, messages[i].field);
			assert_null(obj);
		} else {
			text = proto_json_text(obj, NULL);
			assert_string_equal(text, messages[i].json);
		}
		json_object_put(obj);
		free(exact);
	}
}

/* n times open, a middle, n times close */
static char *nested(const char *open, const char *close, unsigned n)
{
	char *text = malloc(n * (strlen(open) + strlen(close)) + 2), *p = text;

	for (unsigned i = 0; i < n; i++)
		p = stpcpy(p, open);
	p = stpcpy(p, "1");
	for (unsigned i = 0; i < n; i++)
		p = stpcpy(p, close);
	return text;
}

static void test_depth(void **state)
{
	static const char *const forms[][2] = {{"[", "]"}, {"{\"a\":", "}"}};
	static const unsigned depths[] = {1, PROTO_DEPTH_MAX, PROTO_DEPTH_MAX + 1, 100000};

	(void)state;
	for (size_t f = 0; f < 2; f++) {
		for (size_t d = 0; d < COUNT(depths); d++) {
			char *text = nested(forms[f][0], forms[f][1], depths[d]);
			struct json_object *obj = NULL;
			struct proto_error err;
			const int r = proto_json_parse(text, strlen(text), &obj, &err);

			if (depths[d] <= PROTO_DEPTH_MAX) {
				assert_int_equal(r, 0);
			} else {
				assert_int_equal(r, -EBADMSG);
				assert_int_equal(err.limit, PROTO_DEPTH_MAX);
			}
			json_object_put(obj);
			free(text);
		}
	}
}

static void test_values(void **state)
{
	(void)state;
	/* an array of n - 1 values is n values */
	for (size_t n = PROTO_VALUES_MAX; n <= PROTO_VALUES_MAX + 1; n++) {
		char *text = malloc(2 * n + 2);
		struct json_object *obj = NULL;
		struct proto_error err;
		int r;

		text[0] = '[';
		for (size_t i = 0; i + 1 < n; i++)
			memcpy(text + 1 + 2 * i, "1,", 2);
		text[2 * (n - 1)] = ']';
		r = proto_json_parse(text, 2 * n - 1, &obj, &err);
		assert_int_equal(r, n <= PROTO_VALUES_MAX ? 0 : -EBADMSG);
		if (r)
			assert_int_equal(err.limit, PROTO_VALUES_MAX);
		json_object_put(obj);
		r = proto_json_parse_reply(text, 2 * n - 1, &obj, &err);
		assert_int_equal(r, 0);
		json_object_put(obj);
		free(text);
	}
}

static void test_long_number(void **state)
{
	char text[4096];
	struct json_object *obj;
	struct proto_error err;

	(void)state;
	memset(text, '9', sizeof(text));
	assert_int_equal(proto_json_parse(text, 128, &obj, &err), 0);
	json_object_put(obj);
	assert_int_equal(proto_json_parse(text, 129, &obj, &err), -EBADMSG);
	assert_int_equal(err.limit, 128);
	assert_int_equal(proto_json_parse(text, sizeof(text), &obj, &err), -EBADMSG);
}

/* Whatever is cut off a message, it is refused and nothing leaks or is read beyond. */
static void test_cut_off(void **state)
{
	static const char text[] = "{\"jsonrpc\":\"2.0\",\"id\":[1.5e3,\"\\ud83d\\ude00\"],"
				   "\"m\":{\"a\":null,\"b\":[{},[],true]}}";

	(void)state;
	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		struct json_object *obj;
		char *exact = malloc(len ? len : 1);

		memcpy(exact, text, len);
		assert_int_equal(proto_json_parse(exact, len, &obj, NULL), -EBADMSG);
		free(exact);
	}
}

/* --- lines ----------------------------------------------------------------------------- */

static void feed(struct proto_framer *f, const char *data, size_t len)
{
	size_t room;
	char *buf;

	while (len) {
		assert_int_equal(proto_framer_reserve(f, 1, &buf, &room), 0);
		room = room < len ? room : len;
		memcpy(buf, data, room);
		proto_framer_filled(f, room);
		data += room;
		len -= room;
	}
}

static const char stream[] = "first\n\n{\"a\":1}\r\nlast";
static const char *const lines[] = {"first", "", "{\"a\":1}\r"};

static size_t drain(struct proto_framer *f, size_t next)
{
	size_t len;
	char *line;

	while (!proto_framer_next(f, &line, &len)) {
		assert_true(next < COUNT(lines));
		assert_string_equal(line, lines[next]);
		assert_int_equal(len, strlen(lines[next]));
		next++;
	}
	return next;
}

/* Cut in three at every two places. */
static void test_split_everywhere(void **state)
{
	const size_t end = sizeof(stream) - 1;

	(void)state;
	for (size_t a = 0; a <= end; a++) {
		for (size_t b = a; b <= end; b++) {
			struct proto_framer f = {0};
			size_t n;

			feed(&f, stream, a);
			n = drain(&f, 0);
			feed(&f, stream + a, b - a);
			n = drain(&f, n);
			feed(&f, stream + b, end - b);
			n = drain(&f, n);
			assert_int_equal(n, COUNT(lines));
			assert_int_equal(proto_framer_held(&f), strlen("last"));
			proto_framer_free(&f);
		}
	}
}

static void test_oversize(void **state)
{
	enum { limit = 100 };
	size_t len, room;
	char *line, data[limit + 1];

	(void)state;
	memset(data, 'x', sizeof(data));
	for (size_t n = limit - 1; n <= limit; n++) {
		struct proto_framer f = {.limit = limit};

		feed(&f, data, n);
		feed(&f, "\n", 1);
		/* limit counts the newline */
		assert_int_equal(proto_framer_next(&f, &line, &len), n < limit ? 0 : -EMSGSIZE);
		proto_framer_free(&f);
	}
	/* without a newline: refused as soon as it can't become a line any more */
	for (size_t n = limit - 1; n <= limit; n++) {
		struct proto_framer f = {.limit = limit};

		feed(&f, data, n);
		assert_int_equal(proto_framer_next(&f, &line, &len),
				 n < limit ? -EAGAIN : -EMSGSIZE);
		assert_int_equal(proto_framer_reserve(&f, 1, &line, &room),
				 n < limit ? 0 : -EMSGSIZE);
		proto_framer_free(&f);
	}
}

static void test_many_lines(void **state)
{
	struct proto_framer f = {0};
	char text[32], *line;
	size_t len, read = 0;

	(void)state;
	for (size_t i = 0; i < 50000; i++) {
		feed(&f, text, (size_t)sprintf(text, "line %zu\n", i));
		if (i % 7)
			continue;
		while (!proto_framer_next(&f, &line, &len)) {
			sprintf(text, "line %zu", read++);
			assert_string_equal(line, text);
		}
	}
	/* what has been read does not pile up */
	assert_true(f.size <= 65536);
	proto_framer_free(&f);
}

/* --- the client's end -------------------------------------------------------------------- */

static void test_send_and_receive(void **state)
{
	struct proto_framer f = {.limit = SIZE_MAX};
	char *line, control[256], *data = malloc(100000);
	struct iovec iov = {data, 100000};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	int pair[2], fds[PROTO_FDS_MAX + 1], got[3];
	size_t len;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	for (size_t i = 0; i < COUNT(fds); i++)
		fds[i] = STDERR_FILENO;
	assert_int_equal(proto_send_line(pair[0], "x", 1, fds, COUNT(fds)), -E2BIG);
	assert_int_equal(proto_send_line(pair[0], "hello", 5, fds, 3), 0);
	assert_int_equal(recvmsg(pair[1], &msg, MSG_CMSG_CLOEXEC), 6);
	assert_memory_equal(data, "hello\n", 6);
	assert_int_equal(CMSG_FIRSTHDR(&msg)->cmsg_len, CMSG_LEN(sizeof(got)));
	memcpy(got, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(got));
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(close(got[i]), 0);

	memset(data, 'y', 100000);
	assert_int_equal(proto_send_line(pair[1], data, 100000, NULL, 0), 0);
	assert_int_equal(proto_send_line(pair[1], "z", 1, NULL, 0), 0);
	assert_int_equal(proto_recv_line(pair[0], &f, &line, &len), 0);
	assert_int_equal(len, 100000);
	assert_int_equal(proto_recv_line(pair[0], &f, &line, &len), 0);
	assert_string_equal(line, "z");
	close(pair[1]);
	assert_int_equal(proto_recv_line(pair[0], &f, &line, &len), -ECONNRESET);
	assert_int_equal(proto_send_line(pair[0], "x", 1, NULL, 0), -EPIPE);
	close(pair[0]);
	proto_framer_free(&f);
	free(data);
	assert_int_equal(proto_connect("/nonexistent/socket"), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_long_number),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_split_everywhere),
		cmocka_unit_test(test_oversize),
		cmocka_unit_test(test_many_lines),
		cmocka_unit_test(test_send_and_receive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
