/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Translations that may be cached although their entries are gone, because a change
 * was told to leave out its invalidation.
 *
 * Why only then: a required invalidation that is merely deferred needs no note. The
 * flush generation was bumped, so every processor that has not flushed yet will before it
 * next uses the EP4TA; a later "not present to present" may rely on it, and any number of
 * changes may pass between. A change that needs no invalidation, or an optional one,
 * leaves nothing behind that a later one would miss: what stays cached is either right
 * or less permissive. What is left is the hook that leaves out a required one: then
 * "absent, so nothing is cached" is false until the next flush, which drops all that
 * is cached of this EP4TA and clears the notes.
 */
#ifndef VMXCORE_CORE_INVAL_PENDING_H
#define VMXCORE_CORE_INVAL_PENDING_H

#include <vmxcore/types.h>

#define INVAL_PENDING_MAX 64u

struct inval_pending_note {
	uint64_t first, size;
	uint64_t entry; /* the older leaf, or INVAL_PENDING_UNKNOWN */
};

struct inval_pending {
	uint32_t count;
	bool everything; /* more than fit: anything may be stale anywhere */
	struct inval_pending_note notes[INVAL_PENDING_MAX];
};

static inline bool inval_pending_none(const struct inval_pending *p)
{
	return p->count == 0 && !p->everything;
}

void inval_pending_clear(struct inval_pending *p);
/* Something cached of [first, first + size) stays: a leaf of that size, or unknown. */
void inval_pending_note(struct inval_pending *p, uint64_t first, uint64_t size, uint64_t entry);
/*
 * What may be cached for an entry that covers [first, first + size): 0 nothing, a leaf of
 * just that place and size, or INVAL_PENDING_UNKNOWN.
 */
uint64_t inval_pending_find(const struct inval_pending *p, uint64_t first, uint64_t size);

#endif
