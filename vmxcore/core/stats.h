/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* core's counters, generated from stats.def; one array for each scope. */
#ifndef VMXCORE_CORE_STATS_H
#define VMXCORE_CORE_STATS_H

#include "plat/atomic.h"

enum core_stat_scope { CORE_SCOPE_CPU, CORE_SCOPE_AS, CORE_SCOPE_VCPU };

enum core_stat {
#define CORE_STAT(NAME, name, scope, unit, doc) CORE_STAT_##NAME,
#include "core/stats.def"
#undef CORE_STAT
	CORE_STAT_COUNT
};

struct core_stat_info {
	const char *name; /* lower case, as shown: "invept_single" */
	const char *unit;
	const char *doc;
	enum core_stat_scope scope;
};

extern const struct core_stat_info core_stat_info[CORE_STAT_COUNT];

/* Every scope owner has a full array: the unused rows stay 0 and are not shown. */
struct core_stats {
	uint64_t v[CORE_STAT_COUNT];
};

static inline void core_stat_add(struct core_stats *s, enum core_stat stat, uint64_t n)
{
	plat_fetch_add(&s->v[stat], n);
}

static inline uint64_t core_stat_get(const struct core_stats *s, enum core_stat stat)
{
	return plat_load(&s->v[stat]);
}

#endif
