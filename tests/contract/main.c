/* SPDX-License-Identifier: MIT */
/*
 * test_engine_contract ENGINE [CASE]...: the cases against the engine of that name; all, if
 * none is named; -CASE leaves one out.
 */
#include "contract/cases.h"

#include <stdio.h>

#define CASES_MAX 256u

static const struct contract_case *const lists[] = {
	lifecycle_cases, mapping_cases, guest_cases,	  looking_cases, request_cases, space_cases,
	hand_cases,	 trace_cases,	trace_life_cases, input_cases,	 cause_cases,	job_cases,
};

struct run {
	const struct contract_case *k;
	struct contract c;
};

static int open_engine(void **state)
{
	/* The same bounds for all, whatever memory the host has. */
	static const struct engine_config cfg = {.unsafe_hooks = 1,
						 .memory_bytes = UINT64_C(256) << 30};
	struct run *r = *state;

	contract_open(&r->c, &cfg);
	return 0;
}

/* After a failure, too: its guests must not run on beside the next case. */
static int close_engine(void **state)
{
	struct run *r = *state;

	contract_close(&r->c);
	return 0;
}

static void run_case(void **state)
{
	struct run *r = *state;

	if (!contract_meets(&r->c, r->k->needs))
		skip();
	r->k->run(&r->c);
}

/* What the command line says of a case. */
static bool is_wanted(const char *name, char *const *words)
{
	bool named = false;

	for (; *words; words++) {
		if (**words == '-' && strcmp(*words + 1, name) == 0)
			return false;
		if (strcmp(*words, name) == 0)
			return true;
		named |= **words != '-';
	}
	return !named;
}

int main(int argc, char **argv)
{
	static struct CMUnitTest tests[CASES_MAX];
	static struct run runs[CASES_MAX];
	const struct contract_case *k;
	size_t n = 0, i;

	if (argc < 2) {
		fprintf(stderr, "usage: %s ENGINE [CASE | -CASE]...\n", argv[0]);
		return 2;
	}
	for (i = 0; i < VMX_ARRAY_SIZE(lists); i++) {
		for (k = lists[i]; k->name; k++) {
			if (!is_wanted(k->name, argv + 2))
				continue;
			if (n == CASES_MAX)
				return 2;
			runs[n] = (struct run){.k = k, .c = {.name = argv[1]}};
			tests[n] = (struct CMUnitTest){
				.name = k->name,
				.test_func = run_case,
				.setup_func = open_engine,
				.teardown_func = close_engine,
				.initial_state = &runs[n],
			};
			n++;
		}
	}
	return _cmocka_run_group_tests(argv[1], tests, n, NULL, NULL);
}
