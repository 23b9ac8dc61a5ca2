/* SPDX-License-Identifier: MIT */
/* core's counters, in the order in which the device gives them. */
#ifndef STRESS_STATS_H
#define STRESS_STATS_H

enum {
#define CORE_STAT(NAME, name, scope, unit, doc) STAT_##NAME,
#include "core/stats.def"
#undef CORE_STAT
	STAT_COUNT
};

#endif
