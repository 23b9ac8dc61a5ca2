/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Notes of what may be stale; see inval_pending.h. */
#include "core/inval_pending.h"

#include "core/inval.h"

void inval_pending_clear(struct inval_pending *p)
{
	p->count = 0;
	p->everything = false;
}

void inval_pending_note(struct inval_pending *p, uint64_t first, uint64_t size, uint64_t entry)
{
	for (uint32_t i = 0; i < p->count; i++) {
		struct inval_pending_note *n = &p->notes[i];

		if (n->first != first || n->size != size)
			continue;
		/* Two older translations of one place: which one is cached is unknown. */
		if (n->entry != entry)
			n->entry = INVAL_PENDING_UNKNOWN;
		return;
	}
	if (p->count == INVAL_PENDING_MAX) {
		p->everything = true;
		return;
	}
	p->notes[p->count++] = (struct inval_pending_note){first, size, entry};
}

uint64_t inval_pending_find(const struct inval_pending *p, uint64_t first, uint64_t size)
{
	uint64_t found = 0;

	if (p->everything)
		return INVAL_PENDING_UNKNOWN;
	for (uint32_t i = 0; i < p->count; i++) {
		const struct inval_pending_note *n = &p->notes[i];

		if (n->first - first >= size && first - n->first >= n->size)
			continue; /* apart; by unsigned wrap-around */
		/* Another size or place means other paging structures, too. */
		if (found != 0 || n->first != first || n->size != size)
			return INVAL_PENDING_UNKNOWN;
		found = n->entry;
	}
	return found;
}
