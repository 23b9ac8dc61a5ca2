/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * EPT tables: the format of their entries, one walker, and bringing them in line with
 * the mapping list.
 *
 * The tables are a function of the mapping list and nothing else: each aligned region
 * that one physically contiguous extent with one set of attributes covers whole is one
 * leaf, the largest that alignment, max_page_bytes and small_exec allow. So a change splits a
 * large leaf where it cuts one, and merges tables back where it makes a region whole
 * again. Regions in two adjacent slots are not merged, even where the slots happen to be
 * adjacent in host memory: each leaf lies in one mapped range.
 *
 * Sources: SDM volume 3, "EPT Translation Mechanism", "EPT Misconfigurations",
 * "Accessed and Dirty Flags for EPT".
 */
#ifndef VMXCORE_CORE_EPT_H
#define VMXCORE_CORE_EPT_H

#include "core/inval.h"
#include "core/inval_pending.h"
#include "plat/plat.h"

/* An entry's bits. */
#define EPT_R VMX_BIT(0)
#define EPT_W VMX_BIT(1)
#define EPT_X VMX_BIT(2)
#define EPT_RWX (EPT_R | EPT_W | EPT_X)
#define EPT_MEMTYPE_SHIFT 3
#define EPT_MEMTYPE (UINT64_C(7) << EPT_MEMTYPE_SHIFT)
#define EPT_IGNORE_PAT VMX_BIT(6)
#define EPT_LARGE VMX_BIT(7)
#define EPT_A VMX_BIT(8)
#define EPT_D VMX_BIT(9)
#define EPT_USER_X VMX_BIT(10) /* mode-based execute control */
#define EPT_ADDR UINT64_C(0x000ffffffffff000)
#define EPT_SUPPRESS_VE VMX_BIT(63)
/* What a mapped range decides of its leaves. */
#define EPT_ATTRS (EPT_RWX | EPT_MEMTYPE | EPT_IGNORE_PAT)

#define EPT_ENTRIES 512u
#define EPT_MAX_LEVELS 5u

/* What decides whether a present entry is well formed. */
struct ept_rules {
	unsigned maxphyaddr;
	bool exec_only;
	bool mode_based_exec;
	bool page_2m, page_1g;
};

/* 12 for a page table's entries (level 1), 9 more for each level above. */
static inline unsigned ept_shift(unsigned level)
{
	return 3 + 9 * level;
}

/* Bytes that one entry of this level, 1 to 5, covers. The mask changes nothing for these. */
static inline uint64_t ept_span_bytes(unsigned level)
{
	return UINT64_C(1) << (ept_shift(level) & 63);
}

static inline unsigned ept_index(uint64_t a, unsigned level)
{
	return (unsigned)(a >> ept_shift(level)) & (EPT_ENTRIES - 1);
}

static inline bool ept_present(uint64_t entry, bool mode_based_exec)
{
	return (entry & (EPT_RWX | (mode_based_exec ? EPT_USER_X : 0))) != 0;
}

static inline bool ept_is_leaf(uint64_t entry, unsigned level)
{
	return level <= 1 || (level <= 3 && (entry & EPT_LARGE) != 0);
}

/* The address bits of a leaf of this level; below them a large leaf has reserved bits. */
static inline uint64_t ept_leaf_addr(uint64_t entry, unsigned level)
{
	return entry & EPT_ADDR & ~(ept_span_bytes(level) - 1);
}

/* For a present entry: would the processor report an EPT misconfiguration? Pure. */
bool ept_misconfigured(const struct ept_rules *rules, uint64_t entry, unsigned level);

struct ept {
	struct plat *plat;
	uint64_t *root;
	hpa_t root_hpa;
	unsigned levels;     /* 4 or 5 */
	unsigned leaf_level; /* largest leaf: 1, 2 or 3 */
	bool small_exec;     /* executable leaves are of level 1 */
	bool accessed_dirty;
	struct ept_rules rules;
	uint64_t tables; /* pages of tables now, the root among them */
};

/* One empty root. -ENOMEM. May sleep. */
int ept_init(struct ept *ept);
/* Frees every table. */
void ept_destroy(struct ept *ept);

/* An entry's place. */
struct ept_place {
	uint64_t *entry;
	uint64_t value;
	unsigned level;
	uint64_t first; /* guest-physical start of what it covers */
};

/* The entry at which a walk for a stops: a leaf, or a not-present one. Atomic. */
void ept_find(const struct ept *ept, uint64_t a, struct ept_place *ret);
/* The entry of this level for a; NULL where there is no table of it. */
uint64_t *ept_entry(const struct ept *ept, uint64_t a, unsigned level);
/* Frees a table, whose entries are of this level, and those below it. Returns how many. May
 * sleep. */
uint64_t ept_free_tables(struct ept *ept, uint64_t *table, hpa_t addr, unsigned level);
/* The table that a present, non-leaf entry points to. */
uint64_t *ept_table(const struct ept *ept, uint64_t entry);

/* --- bringing the tables in line ------------------------------------------------------- */

/* What guest-physical memory is from some address on: a hole, or host memory. */
struct ept_piece {
	uint64_t first, end;
	bool hole;
	uint64_t hpa; /* of first */
	uint64_t attrs;
};

/* The piece that starts at a; it may end before its like does. Atomic. */
typedef void (*ept_source_fn)(void *ctx, uint64_t a, struct ept_piece *ret);

/* A stretch to look at: [first, end). */
struct ept_span {
	uint64_t first, end;
};

struct ept_page {
	uint64_t *ptr;
	hpa_t addr;
};

/* A table that is no longer linked but may still be cached; what replaced it. */
struct ept_unlinked {
	struct ept_page page;
	uint64_t *merged_into; /* the leaf that took over its translations, or NULL */
	uint64_t first;	       /* guest-physical start of the table */
	unsigned level;	       /* of its entries */
	unsigned merged_level; /* of the leaf */
};

/*
 * A gigabyte (an entry of level 3) that a change rebuilds beside the tables in use, and
 * links when all such are ready. The counts are those of the same change in place.
 */
struct ept_stage {
	uint64_t first; /* guest-physical */
	size_t span;	/* the first that reaches into it */
	uint64_t old;	/* what was replaced, once it is */
	uint64_t value; /* what replaces it */
	uint64_t pages; /* tables below value */
	uint64_t written, splits, merges, allocated, unlinked;
	struct inval_decision decision;
	bool swap;   /* value takes the entry's place; otherwise nothing changes there ... */
	bool direct; /* ... or it is a matter of one entry, left to the pass */
	bool linked;
};

/* What a change of an entry has in common with others that need the same invalidation. */
struct ept_kin {
	uint64_t old, new; /* but for the address */
	uint64_t level;	   /* 0: none yet */
	uint64_t moved;	   /* 1: the address changed */
};

/*
 * A pass over the spans. A dry pass reads only, and counts exactly what the same pass
 * would do: tables to allocate and to unlink, so that they can be reserved.
 */
struct ept_sync {
	struct ept *ept;
	ept_source_fn source;
	void *source_ctx;
	const struct ept_span *spans; /* sorted, disjoint, not adjacent */
	size_t span_count;
	bool dry;
	bool record_pending; /* no invalidation will follow: note what stays stale */
	struct inval_pending *pending;
	struct plat_lock *lock; /* held by the caller; let go now and then. NULL: none */
	struct ept_page *reserve;
	size_t reserve_count;
	struct ept_unlinked *unlinked;
	struct ept_stage *stages; /* sorted; the pass takes these gigabytes from here */
	size_t stage_count;
	bool allocate; /* tables are allocated as they are needed, none is reserved */

	/* Results. */
	uint64_t written, splits, merges, allocated;
	size_t unlinked_count;
	struct inval_decision decision;
	bool failed; /* to allocate */

	/* Progress. */
	struct ept_kin kin; /* the last that was judged */
	size_t at;	    /* span */
	size_t stage_at;
	uint64_t since_break;
	struct ept_piece piece;
};

void ept_sync(struct ept_sync *s);

/*
 * Prepares a stage for s's source and spans; s is used for that only. With s->dry it only
 * counts and decides. -ENOMEM: nothing is left of it. Entries looked at: *ret_work. What
 * requires no invalidation in place is left to the pass while *direct, in entries, lasts.
 */
int ept_stage_build(struct ept_sync *s, struct ept_stage *st, uint64_t *direct, uint64_t *ret_work);
/*
 * After the invalidation, for one that is linked: A and D of the tables it replaced go to
 * those that lead the same way, and the old ones are freed. For one that is not: its
 * tables are freed. Entries looked at.
 */
uint64_t ept_stage_settle(struct ept *ept, struct ept_stage *st);

/*
 * After the invalidation: dirty and accessed bits that a processor set through a cached
 * way into an unlinked table go to the leaf that replaced it; then the tables are freed.
 */
void ept_release_unlinked(struct ept *ept, struct ept_unlinked *unlinked, size_t count);

#endif
