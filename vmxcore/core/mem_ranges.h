/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The mapping list of an address space: disjoint ranges of guest-physical memory in
 * order of address, adjacent compatible ones joined.
 *
 * Kept in chunks of a bounded number of ranges. A transaction edits a version of its
 * own: chunks are shared with the version it began from until they are changed, so
 * that giving up frees a few chunks, and committing exchanges two pointers.
 */
#ifndef VMXCORE_CORE_MEM_RANGES_H
#define VMXCORE_CORE_MEM_RANGES_H

#include "core/as.h"

/* attrs: the low bits of the range's EPT leaves (permissions, memory type, ignore PAT). */
struct mem_range {
	uint64_t gpa;
	uint64_t size;
	uint64_t offset;
	struct core_slot *slot;
	uint64_t attrs;
};

#define MEM_CHUNK_RANGES 96u

struct mem_chunk {
	uint64_t version; /* the version that owns it and may change it */
	struct mem_chunk *next_dropped;
	size_t count; /* never 0 in a list */
	struct mem_range r[MEM_CHUNK_RANGES];
};

/* A chunk, with what a search needs of it: it looks into the one chunk where it ends only. */
struct mem_chunk_ref {
	uint64_t end; /* of its last range */
	size_t count; /* of its ranges */
	struct mem_chunk *chunk;
};

struct mem_ranges {
	struct mem_chunk_ref *dir;
	size_t count, capacity; /* chunks */
	size_t total;		/* ranges */
	size_t near;		/* chunk of the last mem_ranges_seek() */
	uint64_t version;
	struct mem_chunk *dropped; /* chunks of the version before that this one has not */
};

struct mem_pos {
	size_t chunk, index;
};

void mem_ranges_init(struct mem_ranges *l);
/* Frees all; the list is empty afterwards. May sleep. */
void mem_ranges_free(struct mem_ranges *l);

/* A version to edit, the same as from. -ENOMEM. May sleep. */
int mem_ranges_begin(const struct mem_ranges *from, struct mem_ranges *ret_edit);
/* Frees what only the edited version has. May sleep. */
void mem_ranges_abort(struct mem_ranges *edit);
/* After the edited version took the old one's place: frees what only the old one has. */
void mem_ranges_retire(struct mem_ranges *old, struct mem_ranges *now);

/* The first range that ends after a; mem_ranges_at() gives NULL if there is none. Atomic. */
struct mem_pos mem_ranges_find(const struct mem_ranges *l, uint64_t a);
/* The same, for who goes up through the list: looks first where the last one led. */
struct mem_pos mem_ranges_seek(struct mem_ranges *l, uint64_t a);
const struct mem_range *mem_ranges_at(const struct mem_ranges *l, struct mem_pos pos);
struct mem_pos mem_ranges_next(const struct mem_ranges *l, struct mem_pos pos);

static inline uint64_t mem_range_end(const struct mem_range *r)
{
	return r->gpa + r->size;
}

/*
 * The edits, on [gpa, gpa + size) of an edited version. The caller has checked that
 * the range is free (insert) or wholly mapped (the others). -ENOMEM; then the version
 * is to be aborted. May sleep.
 */
int mem_ranges_insert(struct mem_ranges *l, const struct mem_range *r);
int mem_ranges_erase(struct mem_ranges *l, uint64_t first, uint64_t end);
/* Replaces the permission bits. */
int mem_ranges_protect(struct mem_ranges *l, uint64_t first, uint64_t end, uint64_t prot);
int mem_ranges_retarget(struct mem_ranges *l, uint64_t first, uint64_t end, struct core_slot *slot,
			uint64_t offset);

#endif
