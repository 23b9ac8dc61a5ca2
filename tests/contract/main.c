/* SPDX-License-Identifier: MIT */
/* test_engine_contract ENGINE [CASE]: every case against the engine of that name. */
#include "contract/cases.h"

#include <stdio.h>

#define CASES_MAX 128u

static const struct contract_case *const lists[] = {
	lifecycle_cases, mapping_cases, guest_cases, looking_cases,
	request_cases,	 space_cases,	hand_cases,
};

static const char *engine_name;

static void run_case(void **state)
{
	const struct contract_case *k = *state;
	struct contract c = {.name = engine_name};
	struct engine_config cfg = {.unsafe_hooks = 1};

	contract_open(&c, &cfg);
	if (!contract_has(&c, k->needs)) {
		contract_close(&c);
		skip();
	}
	k->run(&c);
	contract_close(&c);
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[CASES_MAX];
	const struct contract_case *k;
	size_t n = 0, i;

	if (argc < 2) {
		fprintf(stderr, "usage: %s ENGINE [CASE]\n", argv[0]);
		return 2;
	}
	engine_name = argv[1];
	for (i = 0; i < VMX_ARRAY_SIZE(lists); i++) {
		for (k = lists[i]; k->name; k++) {
			if (argc > 2 && strcmp(argv[2], k->name) != 0)
				continue;
			if (n == CASES_MAX)
				return 2;
			/* cmocka takes the state as a plain pointer; cases only read it. */
			tests[n++] = (struct CMUnitTest){
				.name = k->name,
				.test_func = run_case,
				.initial_state = (void *)(uintptr_t)k,
			};
		}
	}
	return _cmocka_run_group_tests(engine_name, tests, n, NULL, NULL);
}
