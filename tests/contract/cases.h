/* SPDX-License-Identifier: MIT */
/* The cases, by file. A case opens the engine as it needs it. */
#ifndef TESTS_CONTRACT_CASES_H
#define TESTS_CONTRACT_CASES_H

#include "contract/harness.h"

/*
 * A case that an engine skips is one that is about nothing else than what the engine has not:
 * invalidations left out (UNSAFE_HOOKS: real memory is at stake), a TLB's content and counters
 * (TLB_ENTRIES, TLB_STATS: no instruction reads them), the same run twice (DETERMINISTIC).
 * Where one half of it holds for all, that half is a case of its own: vpid_off for vpid_keeps,
 * cause_of_change for causes_of_changes, big_map_beside and big_whole for big_map,
 * big_map_cancel and close_while_mapping. Else it asks contract_has() for single numbers.
 */
struct contract_case {
	const char *name;
	void (*run)(struct contract *c);
	uint32_t needs; /* capabilities, and NEEDS_*; an engine without them skips it */
};

extern const struct contract_case lifecycle_cases[], mapping_cases[], guest_cases[],
	looking_cases[], request_cases[], space_cases[], hand_cases[], trace_cases[],
	trace_life_cases[], input_cases[], cause_cases[], job_cases[];

#endif
