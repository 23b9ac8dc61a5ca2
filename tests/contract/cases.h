/* SPDX-License-Identifier: MIT */
/* The cases, by file. A case opens the engine as it needs it. */
#ifndef TESTS_CONTRACT_CASES_H
#define TESTS_CONTRACT_CASES_H

#include "contract/harness.h"

struct contract_case {
	const char *name;
	void (*run)(struct contract *c);
	uint32_t needs; /* capabilities, and NEEDS_*; an engine without them skips it */
};

extern const struct contract_case lifecycle_cases[], mapping_cases[], guest_cases[],
	looking_cases[], request_cases[], space_cases[], hand_cases[], trace_cases[],
	trace_life_cases[], input_cases[], cause_cases[], job_cases[];

#endif
