/* SPDX-License-Identifier: MIT */
/* Counters of the engine, as replies and reports tell them. */
#ifndef HVD_METHODS_STATS_H
#define HVD_METHODS_STATS_H

#include "hvd/call.h"

/* ev: the completion of an ENGINE_TLB_STATS. -ENOMEM. */
int stats_take_tlb(struct hvd *h, struct proto_arena *arena, const struct engine_event *ev,
		   struct proto_tlb_vcpu **ret, size_t *ret_count);

/* Which counters: those whose names begin with one of the prefixes, or (none given) all. */
struct stats_filter {
	const char *const *prefixes;
	size_t prefix_count;
	uint64_t skip; /* of these */
	size_t max;
};

/* ev: the completion of an ENGINE_STATS. *ret_total: how many match in all. -ENOMEM. */
int stats_take(struct hvd *h, struct proto_arena *arena, const struct engine_event *ev,
	       const struct stats_filter *filter, struct proto_stat **ret, size_t *ret_count,
	       uint64_t *ret_total);

#endif
