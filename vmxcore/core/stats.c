// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Names and units of core's counters. */
#include "core/stats.h"

const struct core_stat_info core_stat_info[CORE_STAT_COUNT] = {
#define CORE_STAT(NAME, name_, scope_, unit_, doc_) \
	{.name = (name_), .unit = (unit_), .doc = (doc_), .scope = CORE_SCOPE_##scope_},
#include "core/stats.def"
#undef CORE_STAT
};
