// SPDX-License-Identifier: MIT
/* Command lines: what they fill in, and what is said about wrong ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hvctl/verb.h"

#define ARGS_MAX 16

/* One command line, run with a socket that nobody listens on. */
struct run {
	char *out, *err;
	size_t out_size, err_size;
	int code;
};

static void run(struct run *r, const char *line)
{
	char buf[512], *argv[ARGS_MAX], *save = NULL;
	struct hvctl_context ctx = {.socket = "/nonexistent/hvd.sock"};
	int argc = 0;

	snprintf(buf, sizeof(buf), "%s", line);
	for (char *p = strtok_r(buf, " ", &save); p && argc < ARGS_MAX;
	     p = strtok_r(NULL, " ", &save))
		argv[argc++] = p;
	ctx.out = open_memstream(&r->out, &r->out_size);
	ctx.err = open_memstream(&r->err, &r->err_size);
	assert_non_null(ctx.out);
	assert_non_null(ctx.err);
	r->code = hvctl_main(&ctx, argc, argv);
	fclose(ctx.out);
	fclose(ctx.err);
}

static void run_free(struct run *r)
{
	free(r->out);
	free(r->err);
}

static void test_refused(void **state)
{
	static const struct {
		const char *line;
		int code;
		const char *text; /* part of the message */
	} cases[] = {
		{"", HVCTL_USAGE, "Usage: hvctl VERB"},
		{"lst", HVCTL_USAGE, "did you mean 'list'?"},
		{"frobnicate", HVCTL_USAGE, "'hvctl help' lists them"},
		{"list --socket", HVCTL_USAGE, "--socket: needs a path"},
		{"list extra", HVCTL_USAGE, "extra: one argument too many"},
		{"list --no-such", HVCTL_USAGE, "--no-such: no such option"},
		{"list --", HVCTL_NO_DAEMON, "start one with"},
		{"list -- --json", HVCTL_USAGE, "--json: one argument too many"},
		{"walk", HVCTL_USAGE, "vm"},
		{"walk demo", HVCTL_USAGE, "gva"},
		{"walk demo 0x1000", HVCTL_NO_DAEMON, "/nonexistent/hvd.sock"},
		{"walk demo 12parsecs", HVCTL_USAGE, "12parsecs"},
		{"walk demo 0x1000 --access sniff", HVCTL_USAGE, "must be one of read, write"},
		{"remap demo --gpa", HVCTL_USAGE, "--gpa: needs a value"},
		{"remap demo --size 4K --slot s", HVCTL_USAGE, "gpa"},
		{"remap demo --gpa 0 --size 4K --slot s --dry-run=maybe", HVCTL_USAGE, "dry-run"},
		{"remap demo --gpa 0 --size 99999999999999999999 --slot s", HVCTL_USAGE, "size"},
		{"create demo --vcpus 65", HVCTL_USAGE, "vcpus"},
		{"create demo --vcpus 0", HVCTL_USAGE, "vcpus"},
		{"create -bad- x", HVCTL_USAGE, "name"},
		{"create demo /nonexistent/image", HVCTL_LOCAL, "/nonexistent/image: No such file"},
		{"create demo --memory 64Q", HVCTL_USAGE, "memory"},
		{"write demo --gpa 0", HVCTL_USAGE, "--text"},
		{"write demo --gpa 0 --text a --hex 00", HVCTL_USAGE, "given twice"},
		{"write demo --gpa 0 --hex 0g", HVCTL_USAGE, "hex"},
		{"write demo --gpa 0 --hex 123", HVCTL_USAGE, "hex"},
		{"write demo --gpa 0 --file /nonexistent/f", HVCTL_LOCAL, "/nonexistent/f"},
		{"write demo --gpa 0 --file /dev/null", HVCTL_USAGE, "0 bytes"},
		{"read demo --size 4K --raw=1", HVCTL_USAGE, "takes no value"},
		{"read demo --gpa 0", HVCTL_USAGE, "size"},
		{"wait demo --until doomsday", HVCTL_USAGE, "must be one of stopped"},
		{"call", HVCTL_USAGE, "which method?"},
		{"call daemon.info {", HVCTL_USAGE, "the parameters"},
		{"call daemon.info {} {}", HVCTL_USAGE, "call: {}"},
		{"call daemon.info", HVCTL_NO_DAEMON, "start one with"},
		{"help lst", HVCTL_USAGE, "did you mean 'list'?"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct run r = {0};

		run(&r, cases[i].line);
		if (r.code != cases[i].code || !strstr(r.err, cases[i].text) || *r.out)
			fail_msg("hvctl %s: code %d, expected %d; \"%s\" in:\n%s%s", cases[i].line,
				 r.code, cases[i].code, cases[i].text, r.err, r.out);
		run_free(&r);
	}
}

/* What a good command line puts into the request. */
static void test_filled_in(void **state)
{
	static const struct {
		const char *line, *json;
	} cases[] = {
		{"remap demo --gpa 0x400000 --size 4K --slot spare",
		 "{\"vm\":\"demo\",\"gpa\":\"0x400000\",\"size_bytes\":4096,\"slot\":\"spare\"}"},
		{"remap demo --gpa=4M --size=2MiB --slot=spare --offset 0x1000 --dry-run",
		 "{\"vm\":\"demo\",\"gpa\":\"0x400000\",\"size_bytes\":2097152,\"slot\":\"spare\","
		 "\"offset_bytes\":4096,\"dry_run\":true}"},
		{"protect demo --gpa 0 --size 4096 --prot rx",
		 "{\"vm\":\"demo\",\"gpa\":\"0x0\",\"size_bytes\":4096,\"prot\":\"rx\"}"},
		{"create demo --vpid=off --processor 0 --processor 1 --run",
		 "{\"name\":\"demo\",\"vpid\":false,\"processors\":[0,1],\"start\":true}"},
		{"create demo /dev/null --module /dev/zero --module /dev/null",
		 "{\"name\":\"demo\",\"image\":{\"fd\":0},\"modules\":[{\"fd\":1},{\"fd\":2}]}"},
		{"write demo --gpa 0x300000 --text AB",
		 "{\"vm\":\"demo\",\"gpa\":\"0x300000\",\"data\":\"QUIA\"}"},
		{"write demo --gpa 0x300000 --hex 4142",
		 "{\"vm\":\"demo\",\"gpa\":\"0x300000\",\"data\":\"QUI=\"}"},
		{"list", "{}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct hvctl_context ctx = {.out = stdout, .err = stderr};
		struct hvctl_call call = {.ctx = &ctx};
		char buf[512], *argv[ARGS_MAX], *save = NULL;
		struct json_object *json;
		int argc = 0;

		snprintf(buf, sizeof(buf), "%s", cases[i].line);
		for (char *p = strtok_r(buf, " ", &save); p; p = strtok_r(NULL, " ", &save))
			argv[argc++] = p;
		call.method = proto_method_by_verb(argv[0]);
		assert_non_null(call.method);
		call.verb = hvctl_verbs[call.method->id];
		assert_int_equal(hvctl_parse(&call, argc - 1, argv + 1), HVCTL_OK);
		json = proto_encode_params(call.method->params(), call.params);
		assert_string_equal(proto_json_text(json, NULL), cases[i].json);
		json_object_put(json);
		hvctl_call_free(&call);
	}
}

/* Help names every parameter that a person can give, and no line is too long. */
static void test_help(void **state)
{
	(void)state;
	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++) {
		const struct proto_method *m = &proto_methods[i];
		char line[128], option[128];
		struct run r = {0};

		if (!*m->verb)
			continue;
		snprintf(line, sizeof(line), "%s --help", m->verb);
		run(&r, line);
		assert_int_equal(r.code, HVCTL_OK);
		assert_non_null(strstr(r.out, m->name));
		for (size_t f = 0; f < m->params()->count; f++) {
			const struct proto_field *field = &m->params()->fields[f];

			snprintf(option, sizeof(option), "--%s", field->option);
			if (proto_has_option(m, field) && !strstr(r.out, option))
				fail_msg("help of %s lacks %s", m->verb, option);
		}
		for (const char *p = r.out; *p;) {
			size_t n = strcspn(p, "\n");

			if (n > 100)
				fail_msg("help of %s has a line of %zu: %.*s", m->verb, n, (int)n,
					 p);
			p += n + (p[n] == '\n');
		}
		run_free(&r);
	}
}

/* Every verb: a row with an example that parses, and options that no parameter hides. */
static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++) {
		const struct hvctl_verb *verb = hvctl_verbs[i];
		char line[256];
		struct run r = {0};

		assert_non_null(verb);
		assert_true(verb->show || verb->run || !*proto_methods[i].verb);
		for (const struct hvctl_option *o = verb->options; o && o->name; o++)
			assert_null(proto_field_by_option(proto_methods[i].params(), o->name));
		if (!*proto_methods[i].verb)
			continue;
		snprintf(line, sizeof(line), "%s %s", proto_methods[i].verb, verb->example);
		run(&r, line);
		if (r.code != HVCTL_NO_DAEMON && !strstr(r.err, "guests/"))
			fail_msg("example '%s': code %d: %s", line, r.code, r.err);
		run_free(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_filled_in),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
