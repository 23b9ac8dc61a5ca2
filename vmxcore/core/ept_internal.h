/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The pass over the EPT from inside: for ept_sync.c and ept_stage.c only. */
#ifndef VMXCORE_CORE_EPT_INTERNAL_H
#define VMXCORE_CORE_EPT_INTERNAL_H

#include "core/ept.h"

#define EPT_AD_BITS (EPT_A | EPT_D)
/* What an ept_stage is an entry of. */
#define EPT_STAGE_LEVEL 3u

enum ept_target { EPT_TARGET_HOLE, EPT_TARGET_LEAF, EPT_TARGET_TABLE };

/* Where old translations led, for handing their A and D bits on. */
struct ept_lineage {
	bool valid;
	uint64_t hpa; /* of the first byte */
	uint64_t ad;
};

/* What the entry that covers [first, first + span) should be; *ret_leaf its value. */
enum ept_target ept_target_of(struct ept_sync *s, unsigned level, uint64_t first,
			      uint64_t *ret_leaf);
/* Joins the judgement of one entry's change to the pass's. */
void ept_judge(struct ept_sync *s, unsigned level, uint64_t first, uint64_t old, uint64_t new);
/* A filled table for [first, first + 512 spans), not linked yet; no ptr: dry, or failed. */
struct ept_page ept_build(struct ept_sync *s, unsigned level, uint64_t first,
			  const struct ept_lineage *from);
void ept_sync_entry(struct ept_sync *s, uint64_t *entry, unsigned level, uint64_t first);
/* Sets A and D in the leaves below that lead where the large leaf did. */
void ept_hand_down(const struct ept *ept, uint64_t *table, unsigned level,
		   const struct ept_lineage *from);
/* A and D of the leaves below that lead where the large leaf does. */
uint64_t ept_gather_up(const struct ept *ept, const uint64_t *table, unsigned level, uint64_t addr);

#endif
