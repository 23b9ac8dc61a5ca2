// SPDX-License-Identifier: MIT
/* Which engine a daemon takes, over a table of engines that do as a row says. */
#include "hvd/engines.h"
#include "hvd/log.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(x) (sizeof(x) / sizeof((x)[0]))
#define HOOKS ENGINE_CAP_UNSAFE_HOOKS

/* --- the table of engines ----------------------------------------------------------------- */

enum { FIRST, SECOND, ENGINES };

/* How one of them is. */
struct engine {
	const char *reason; /* why it is not available; NULL: it is */
	int opens;	    /* 0, or why it doesn't */
	const char *after;  /* ... and what it says then; NULL: still that it is available */
	uint32_t capabilities;
	unsigned open, tried;
};

static struct engine table[ENGINES];
static const char *const names[ENGINES] = {"first", "second"};

size_t engine_count(void)
{
	return ENGINES;
}

int engine_probe(size_t i, struct engine_info *ret)
{
	const struct engine *e = &table[i];
	const char *reason = e->tried && e->after ? e->after : e->reason;

	if (i >= ENGINES)
		return -EINVAL;
	*ret = (struct engine_info){.available = !reason};
	snprintf(ret->name, sizeof(ret->name), "%s", names[i]);
	snprintf(ret->reason, sizeof(ret->reason), "%s", reason ? reason : "it is there");
	snprintf(ret->advice, sizeof(ret->advice), "%s", reason ? "repair it" : "");
	return 0;
}

int engine_open(const char *name, const struct engine_config *cfg, struct engine **ret)
{
	struct engine *e = &table[!strcmp(name, names[SECOND])];

	(void)cfg;
	e->tried++;
	if (e->opens)
		return e->opens;
	e->open++;
	*ret = e;
	return 0;
}

void engine_get_info(struct engine *e, struct engine_info *ret)
{
	engine_probe((size_t)(e - table), ret);
	ret->processors = 7;
	ret->capabilities = e->capabilities;
}

void engine_close(struct engine *e)
{
	e->open--;
}

/* --- what becomes of it ------------------------------------------------------------------- */

static const struct {
	const char *what, *name;
	bool hooks;
	struct engine engine[ENGINES];
	int result;
	size_t taken;
	const char *why;      /* a part of it */
	const char *said;     /* a part of the log; NULL: nothing */
	unsigned tried_first; /* engines that are not wanted, or not there, are not opened */
} rows[] = {
	{"the first", "auto", false, {{0}}, 0, FIRST, "auto: the most preferred", NULL, 1},
	{"no name is auto", NULL, false, {{0}}, 0, FIRST, "auto: the most preferred", NULL, 1},
	{"the next",
	 "auto",
	 false,
	 {{.reason = "no VT-x"}},
	 0,
	 SECOND,
	 "auto: first is not available: no VT-x",
	 "hvd: engine first is not available: no VT-x; repair it",
	 0},
	{"the next, for the first does not open",
	 "auto",
	 false,
	 {{.opens = -EIO}},
	 0,
	 SECOND,
	 "first is not available: it can't be opened: Input/output error",
	 "hvd: warning: engine first is not available: it can't be opened",
	 1},
	{"what it says then is better than a number",
	 "auto",
	 false,
	 {{.opens = -EBUSY, .after = "VMX is in use"}},
	 0,
	 SECOND,
	 "auto: first is not available: VMX is in use",
	 "VMX is in use; repair it",
	 1},
	{"an option that it does not take",
	 "auto",
	 false,
	 {{.opens = -EINVAL}},
	 0,
	 SECOND,
	 "first is not available: it does not take an option as it is",
	 "hvd.conf(5)",
	 1},
	{"... which may be one of these",
	 "auto",
	 true,
	 {{.opens = -EINVAL}, {.capabilities = HOOKS}},
	 0,
	 SECOND,
	 "it does not take an option as it is: one of unsafe-hooks",
	 "hvd.conf(5)",
	 1},
	{"none",
	 "auto",
	 false,
	 {{.reason = "no VT-x"}, {.reason = "no memory"}},
	 -ENODEV,
	 ENGINES,
	 "",
	 "hvd: error: engine second is not available: no memory; repair it",
	 0},
	{"none opens",
	 "auto",
	 false,
	 {{.opens = -EIO}, {.opens = -ENOMEM}},
	 -ENODEV,
	 ENGINES,
	 "",
	 "hvd: error: no engine is available",
	 1},
	{"by name", "second", false, {{0}}, 0, SECOND, "it was asked for", NULL, 0},
	{"by name, the first", "first", false, {{0}}, 0, FIRST, "it was asked for", NULL, 1},
	{"by name, and it is not there: no other is taken",
	 "first",
	 false,
	 {{.reason = "no VT-x"}},
	 -ENODEV,
	 ENGINES,
	 "",
	 "hvd: error: engine first is not available: no VT-x; repair it",
	 0},
	{"by name, and it does not open",
	 "first",
	 false,
	 {{.opens = -EINVAL}},
	 -EINVAL,
	 ENGINES,
	 "",
	 "hvd: error: engine first is not available: it does not take an option as it is; see",
	 1},
	{"no such name",
	 "third",
	 false,
	 {{.reason = "no VT-x"}},
	 -ENOENT,
	 ENGINES,
	 "",
	 "hvd: error: there is no engine third\nhvd: engine first is not available: no VT-x\n"
	 "hvd: engine second is available: it is there\n",
	 0},
	{"hooks that only the next has",
	 "auto",
	 true,
	 {{0}, {.capabilities = HOOKS}},
	 0,
	 SECOND,
	 "auto: first is not available: it can't leave out an invalidation",
	 "--engine soft",
	 1},
	{"hooks that it has",
	 "auto",
	 true,
	 {{.capabilities = HOOKS}},
	 0,
	 FIRST,
	 "preferred",
	 NULL,
	 1},
	{"hooks that it has not, by name",
	 "first",
	 true,
	 {{0}, {.capabilities = HOOKS}},
	 -ENODEV,
	 ENGINES,
	 "",
	 "hvd: error: engine first is not available: it can't leave out",
	 1},
};

static FILE *capture(int *ret_stderr)
{
	FILE *f = tmpfile();

	assert_non_null(f);
	*ret_stderr = dup(STDERR_FILENO);
	dup2(fileno(f), STDERR_FILENO);
	return f;
}

static void captured(FILE *f, int to, char *said, size_t size)
{
	dup2(to, STDERR_FILENO);
	close(to);
	rewind(f);
	said[fread(said, 1, size - 1, f)] = '\0';
	fclose(f);
}

static void test_choice(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct engine_config cfg = {.unsafe_hooks = rows[i].hooks};
		struct engine *engine = NULL;
		struct engines e;
		char said[2048];
		int to, r;
		FILE *f;

		memcpy(table, rows[i].engine, sizeof(table));
		f = capture(&to);
		r = engines_open(&e, rows[i].name, &cfg, &engine);
		captured(f, to, said, sizeof(said));
		if (r != rows[i].result || e.taken != rows[i].taken || e.count != ENGINES ||
		    !strstr(e.why, rows[i].why) || (r && *e.why) ||
		    (rows[i].said ? !strstr(said, rows[i].said) : *said != '\0'))
			fail_msg("%s: %d, engine %zu, why \"%s\", said \"%s\"", rows[i].what, r,
				 e.taken, e.why, said);
		assert_int_equal(table[FIRST].tried, rows[i].tried_first);
		/* What is open is what was taken, and it says so of itself. */
		assert_true(engine == (r ? NULL : &table[e.taken]));
		for (size_t n = 0; n < ENGINES; n++)
			assert_int_equal(table[n].open, n == e.taken);
		if (!r)
			assert_int_equal(e.engine[e.taken].processors, 7);
	}
}

/* What was passed over is remembered as not available, with a reason and an advice. */
static void test_remembered(void **state)
{
	const struct engine_config cfg = {.unsafe_hooks = 1};
	struct engine *engine = NULL;
	struct engines e;

	(void)state;
	memset(table, 0, sizeof(table));
	table[SECOND].capabilities = HOOKS;
	log_set_level(LOG_LEVEL_ERROR);
	assert_int_equal(engines_open(&e, ENGINES_AUTO, &cfg, &engine), 0);
	log_set_level(LOG_LEVEL_INFO);
	assert_int_equal(e.engine[FIRST].available, 0);
	assert_non_null(strstr(e.engine[FIRST].reason, "unsafe-hooks"));
	assert_string_not_equal(e.engine[FIRST].advice, "");
	assert_int_equal(e.engine[SECOND].available, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
