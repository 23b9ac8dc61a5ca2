// SPDX-License-Identifier: MIT
/* hvd.conf: every key, every bound, every mistake with its line; and what a reload takes. */
#include "hvd/config.h"
#include "hvd/help.h"
#include "hvd/log.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Reads text as a file; what is logged comes back in said. */
static int read_text(struct config *c, const char *text, size_t len, char *said, size_t size)
{
	const int file = memfd_create("hvd.conf", 0), log = memfd_create("log", 0);
	const int before = dup(STDERR_FILENO);
	char path[64];
	ssize_t n;
	int r;

	assert_int_equal(write(file, text, len), (ssize_t)len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	fflush(stderr);
	dup2(log, STDERR_FILENO);
	r = config_read(c, path);
	fflush(stderr);
	dup2(before, STDERR_FILENO);
	n = pread(log, said, size - 1, 0);
	said[n < 0 ? 0 : n] = '\0';
	close(file);
	close(log);
	close(before);
	return r;
}

static const struct {
	const char *text;
	int line;
	const char *said; /* NULL: it is right */
} files[] = {
	{"", 0, NULL},
	{"\n# nothing\n; at all\n\n[engine]\n[limits]\n", 0, NULL},
	{"[engine]\nprocessors = 3\n", 0, NULL},
	{"[engine]\nprocessors=3", 0, NULL},
	{"[engine]\r\nprocessors = 3\r\n", 0, NULL},
	{"  [engine]\n  processors = 3 ; three\n", 0, NULL},
	{"\xef\xbb\xbf[engine]\nprocessors = 3\n", 0, NULL},
	{"[access]\nadmin-group =\n", 0, NULL},
	{"[engine]\nprocessors = 3\n[limits]\noutput = 64K\n[engine]\nseed = 1\n", 0, NULL},
	{"processors = 3\n", 1, "before the first [section]"},
	{"[motor]\nprocessors = 3\n", 2, "no section [motor]"},
	{"[engine]\n\n# x\nprocesors = 3\n", 4, "[engine] has no key procesors"},
	{"[limits]\nprocessors = 3\n", 2, "processors belongs into [engine], not [limits]"},
	{"[engine]\nprocessors = 3\nprocessors = 3\n", 3, "processors is given twice"},
	{"[engine]\nprocessors\n", 2, "neither [section] nor key = value"},
	{"[engine\nprocessors = 3\n", 1, "neither [section] nor key = value"},
	{"[engine]\nprocessors = 0\n", 2, "processors: 0 is not between 1 and 64"},
	{"[engine]\nprocessors = 65\n", 2, "processors: 65 is not between 1 and 64"},
	{"[engine]\nprocessors = 4294967297\n", 2, "not between"},
	{"[engine]\nprocessors = 99999999999999999999999\n", 2, "is not a number"},
	{"[engine]\nprocessors = -1\n", 2, "-1 is not a number"},
	{"[engine]\nprocessors = +1\n", 2, "+1 is not a number"},
	{"[engine]\nprocessors = 0x2\n", 2, "0x2 is not a number"},
	{"[engine]\nprocessors = 2 3\n", 2, "2 3 is not a number"},
	{"[engine]\nprocessors =\n", 2, "is not a number"},
	{"[engine]\nprocessors = two\n", 2, "two is not a number"},
	{"[engine]\nmemory = 1Q\n", 2, "memory: 1Q is not a size"},
	{"[engine]\nmemory = 1K\n", 2, "memory: 1K is not between"},
	{"[engine]\nengine =\n", 2, "engine: an empty value has 0 bytes, not 1 to 15"},
	{"[engine]\ntlb = 0123456789012345678901234\n", 2, "has 25 bytes, not 1 to 23"},
	{"[engine]\nscatter = maybe\n", 2, "scatter: maybe is not yes or no"},
	{"[daemon]\nlog-level = loud\n", 2, "loud is not error, warning, info or debug"},
	{"[access]\naccess = all\n", 2, "access: all is not auto, private or roles"},
	{"[access]\nsocket-mode = 0999\n", 2, "not an octal mode"},
	{"[access]\nsocket-mode = 077\n", 2, "not an octal mode"},
	{"[access]\nsocket-mode = 4777\n", 2, "not an octal mode"},
	{"[access]\nsocket-mode =\n", 2, "not an octal mode"},
	{"[limits]\nconnections = 0\n", 2, "connections: 0 is not between 1 and 4096"},
	/* what goes on in the next line is no part of the value before */
	{"[engine]\nengine = so\n  ft\n", 3, "neither"},
};

static void test_files(void **state)
{
	char said[4096], where[32];

	(void)state;
	for (size_t i = 0; i < COUNT(files); i++) {
		struct config c;
		int r;

		assert_int_equal(config_init(&c), 0);
		r = read_text(&c, files[i].text, strlen(files[i].text), said, sizeof(said));
		snprintf(where, sizeof(where), ":%d: ", files[i].line);
		if (r != (files[i].said ? -EINVAL : 0) ||
		    (files[i].said && (!strstr(said, files[i].said) || !strstr(said, where))) ||
		    (!files[i].said && *said))
			fail_msg("row %zu: %d, %s", i, r, said);
		config_free(&c);
	}
}

/* Every mistake is told, not the first alone; and the rest of the file is still read. */
static void test_all_errors(void **state)
{
	static const char text[] =
		"[engine]\nseed = x\nprocessors = 5\ntlb =\n[limits]\nnone = 1\n";
	struct config c;
	char said[4096];

	(void)state;
	assert_int_equal(config_init(&c), 0);
	assert_int_equal(read_text(&c, text, strlen(text), said, sizeof(said)), -EINVAL);
	assert_non_null(strstr(said, ":2: seed"));
	assert_non_null(strstr(said, ":4: tlb"));
	assert_non_null(strstr(said, ":6: [limits] has no key none"));
	config_free(&c);
}

static void test_odd_bytes(void **state)
{
	static char text[5000];
	struct config c;
	char said[4096];

	(void)state;
	assert_int_equal(config_init(&c), 0);
	memset(text, 'x', sizeof(text));
	memcpy(text, "[engine]\n# ", 11);
	assert_int_equal(read_text(&c, text, sizeof(text), said, sizeof(said)), -EINVAL);
	assert_non_null(strstr(said, ":2: the line is longer"));
	assert_int_equal(read_text(&c, "[engine]\nseed = 1\0 2\n", 21, said, sizeof(said)),
			 -EINVAL);
	assert_non_null(strstr(said, ":2: the line"));
	assert_int_equal(c.values.engine_config.seed, 0);
	assert_int_equal(config_read(&c, "/no/such/file"), -ENOENT);
	assert_int_equal(config_read(&c, "/"), -EISDIR);
	config_free(&c);
}

/* The defaults of the table are those of the server, and what the sample shows. */
static void test_defaults(void **state)
{
	struct config c;

	(void)state;
	assert_int_equal(config_init(&c), 0);
	assert_memory_equal(&c.values.bounds, &hvd_default_bounds, sizeof(hvd_default_bounds));
	assert_string_equal(c.values.socket, PROTO_SOCKET_DEFAULT);
	assert_string_equal(c.values.engine, ENGINES_AUTO);
	assert_int_equal(c.log_level, LOG_LEVEL_INFO);
	assert_int_equal(c.values.access, ACCESS_AUTO);
	assert_int_equal(c.values.socket_mode, 0);
	assert_int_equal(c.values.engine_config.memory_bytes, 0);
	assert_string_equal(c.values.groups[PROTO_ROLE_OBSERVE], "hvd-observe");
	assert_string_equal(c.values.groups[PROTO_ROLE_OPERATE], "hvd-operate");
	assert_string_equal(c.values.groups[PROTO_ROLE_ADMIN], "hvd-admin");
	config_free(&c);
}

static const struct {
	const char *name, *value, *text; /* text: as it prints; NULL: the same */
} values[] = {
	{"socket", "/x/y", NULL},
	{"state-dir", "/x/z", NULL},
	{"state-dir", "", NULL},
	{"log-level", "error", NULL},
	{"log-level", "debug", NULL},
	{"access", "private", NULL},
	{"access", "roles", NULL},
	{"socket-mode", "0660", NULL},
	{"socket-mode", "777", "0777"},
	{"observe-group", "", NULL},
	{"operate-group", "wheel", NULL},
	{"admin-group", "kvm", NULL},
	{"engine", "soft", NULL},
	{"engine", "auto", NULL},
	{"processors", "1", NULL},
	{"processors", "64", NULL},
	{"memory", "1M", "1048576"},
	{"memory", "64T", "70368744177664"},
	{"vpid-limit", "9", NULL},
	{"quantum", "1099511627776", NULL},
	{"seed", "18446744073709551615", NULL},
	{"scatter", "yes", NULL},
	{"scatter", "on", "yes"},
	{"scatter", "false", "no"},
	{"tlb", "none", NULL},
	{"unsafe-hooks", "1", "yes"},
	{"connections", "4096", NULL},
	{"connections-per-uid", "7", NULL},
	{"waits-per-connection", "1", NULL},
	{"requests-per-connection", "1", NULL},
	{"subscriptions-per-connection", "1024", NULL},
	{"output", "4096", NULL},
	{"client-timeout", "100", NULL},
};

/* Each sets its own member and no other one. */
static void test_values(void **state)
{
	char text[CONFIG_TEXT_LEN], dflt[CONFIG_TEXT_LEN];
	uint64_t seen = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(values); i++) {
		const struct config_option *o = config_option_by_name(values[i].name);
		struct config c, plain;

		assert_non_null(o);
		seen |= UINT64_C(1) << (o - config_options);
		assert_int_equal(config_init(&c), 0);
		assert_int_equal(config_init(&plain), 0);
		assert_int_equal(config_set(&c, o, values[i].value, text), 0);
		assert_string_equal(config_text(&c, o, text),
				    values[i].text ? values[i].text : values[i].value);
		for (size_t k = 0; k < config_option_count; k++)
			if (&config_options[k] != o)
				assert_string_equal(config_text(&c, &config_options[k], text),
						    config_text(&plain, &config_options[k], dflt));
		config_free(&c);
		config_free(&plain);
	}
	assert_int_equal(seen, (UINT64_C(1) << config_option_count) - 1);
}

/* The sample is a file that can be read; with each key's mark taken away, it still can. */
static void test_sample(void **state)
{
	char *text, *plain, *line, *save = NULL, said[4096];
	struct config c;
	size_t size, len = 0, keys = 0;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	help_print_sample(out);
	fclose(out);
	assert_int_equal(config_init(&c), 0);
	assert_int_equal(read_text(&c, text, size, said, sizeof(said)), 0);
	plain = calloc(1, size + 1);
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		const size_t n = strlen(line);
		const bool key = line[0] == '#' && line[1] != ' ';

		assert_true(n <= 100);
		keys += key;
		/* what has no default can't be empty */
		if (key && line[n - 1] == ' ')
			continue;
		len += (size_t)sprintf(plain + len, "%s\n", line + key);
	}
	assert_int_equal(keys, config_option_count);
	assert_int_equal(read_text(&c, plain, len, said, sizeof(said)), 0);
	assert_string_equal(said, "");
	free(plain);
	free(text);
	config_free(&c);
}

static void test_reload(void **state)
{
	struct config c, next;
	char text[CONFIG_TEXT_LEN];

	(void)state;
	assert_int_equal(config_init(&c), 0);
	assert_int_equal(config_init(&next), 0);
	for (size_t i = 0; i < COUNT(values); i++)
		assert_int_equal(config_set(&next, config_option_by_name(values[i].name),
					    values[i].value, text),
				 0);
	log_set_level(LOG_LEVEL_ERROR);
	assert_int_equal(config_take_live(&c, &next), 0);
	log_set_level(LOG_LEVEL_INFO);
	config_free(&next); /* nothing of it may be in use any more */
	assert_int_equal(c.log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(c.values.bounds.connections, 4096);
	assert_int_equal(c.values.bounds.waits_per_connection, 1);
	assert_int_equal(c.values.bounds.output_bytes, 4096);
	assert_int_equal(c.values.bounds.client_timeout_ms, 100);
	assert_string_equal(c.values.groups[PROTO_ROLE_OBSERVE], "");
	assert_string_equal(c.values.groups[PROTO_ROLE_OPERATE], "wheel");
	assert_string_equal(c.values.groups[PROTO_ROLE_ADMIN], "kvm");
	/* these need a restart */
	assert_string_equal(c.values.socket, PROTO_SOCKET_DEFAULT);
	assert_int_equal(c.values.access, ACCESS_AUTO);
	assert_int_equal(c.values.socket_mode, 0);
	assert_string_equal(c.values.engine, ENGINES_AUTO);
	assert_int_equal(c.values.engine_config.processors, 0);
	assert_int_equal(c.values.engine_config.unsafe_hooks, 0);
	config_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),	  cmocka_unit_test(test_all_errors),
		cmocka_unit_test(test_odd_bytes), cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),	  cmocka_unit_test(test_sample),
		cmocka_unit_test(test_reload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
