/* SPDX-License-Identifier: MIT */
/* What the cases of traces have in common. */
#ifndef TESTS_CONTRACT_TRACING_H
#define TESTS_CONTRACT_TRACING_H

#include "contract/harness.h"

#define ALL_KINDS ((1u << ENGINE_TRACE_KINDS) - 1)
#define KIND(x) (1u << ENGINE_TRACE_##x)

/* The caller releases it. */
struct engine_event trace_set(struct contract *c, uint64_t vm, struct engine_trace_set what);
/* Every vCPU and reason. */
void trace_on(struct contract *c, uint64_t vm, uint32_t kinds, uint32_t records);

struct trace_records {
	struct engine_event ev;
	const struct engine_trace_record *at;
	size_t count;
	uint64_t lost;
};

struct trace_records trace_get(struct contract *c, uint64_t vm, uint32_t max);
void trace_put(struct trace_records *r);
/* Its guest time; or the host's, where the engine can't observe that. */
uint64_t trace_time(const struct engine_trace_record *r);
/* The case fails when there are records, or some were lost. */
void trace_none(struct contract *c, uint64_t vm);

#endif
