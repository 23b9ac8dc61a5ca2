/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Large changes: gigabytes of which many pages change are built beside the tables in use,
 * a few at a time, and linked when all are ready. What is left for the pass under the lock
 * is bounded, however large the change.
 */
#include "core/as_internal.h"

/* A gigabyte of which this much changes is a stage. */
#define STAGE_PAGES 4096u
/* ... or all that are touched are, if more than this were left. */
#define DIRECT_PAGES_MAX (UINT64_C(4) << 20)
/* What requires no invalidation is changed in place, up to so many entries. */
#define DIRECT_ENTRIES_MAX (UINT64_C(4) << 20)

struct listing {
	struct ept_stage *stages; /* NULL: only count */
	uint64_t min_pages;
	size_t count;
	uint64_t left; /* pages of gigabytes that are no stages */
	uint64_t first, pages;
	size_t span;
};

static void end_gigabyte(struct listing *l)
{
	if (l->pages == 0)
		return;
	if (l->pages < l->min_pages) {
		l->left += l->pages;
	} else {
		if (l->stages)
			l->stages[l->count] =
				(struct ept_stage){.first = l->first, .span = l->span};
		l->count++;
	}
	l->pages = 0;
}

static void list_gigabytes(const struct as_change *c, struct listing *l)
{
	for (size_t i = 0; i < c->span_count; i++) {
		uint64_t at = c->spans[i].first, end = c->spans[i].end, next;

		for (; at < end; at = next) {
			uint64_t first = at & ~(VMX_SIZE_1G - 1);

			next = end - first < VMX_SIZE_1G ? end : first + VMX_SIZE_1G;
			if (first != l->first)
				end_gigabyte(l);
			if (l->pages == 0) {
				l->first = first;
				l->span = i;
			}
			l->pages += (next - at) >> VMX_PAGE_SHIFT;
		}
	}
	end_gigabyte(l);
}

int as_stages_plan(struct as_change *c)
{
	struct listing l = {.min_pages = c->as->stage_pages ? c->as->stage_pages : STAGE_PAGES};

	/* With the hook, what is replaced stays in use: nothing may be exchanged whole. */
	if (c->flags & CORE_CHANGE_SKIP_INVALIDATION)
		return 0;
	list_gigabytes(c, &l);
	if (l.left > DIRECT_PAGES_MAX) {
		l = (struct listing){.min_pages = 1};
		list_gigabytes(c, &l);
	}
	if (l.count == 0)
		return 0;
	c->stages = plat_calloc(l.count, sizeof(*c->stages));
	if (!c->stages)
		return -ENOMEM;
	l = (struct listing){.min_pages = l.min_pages, .stages = c->stages};
	list_gigabytes(c, &l);
	c->stage_count = l.count;
	c->direct = DIRECT_ENTRIES_MAX;
	return 0;
}

int as_stages_build(struct as_change *c, uint64_t max_entries)
{
	struct ept_sync s = c->sync;
	uint64_t work = 0, entries;

	s.dry = c->flags & CORE_CHANGE_DRY_RUN;
	s.lock = NULL;
	s.stages = NULL;
	s.stage_count = 0;
	while (c->stage_at < c->stage_count && work < max_entries) {
		int rc = ept_stage_build(&s, &c->stages[c->stage_at], &c->direct, &entries);

		if (rc)
			return rc;
		work += entries;
		c->stage_at++;
	}
	return c->stage_at < c->stage_count;
}

void as_stages_result(struct as_change *c)
{
	for (size_t i = 0; i < c->stage_count; i++) {
		const struct ept_stage *st = &c->stages[i];

		if (st->direct)
			continue;
		c->sync.written += st->written;
		c->sync.splits += st->splits;
		c->sync.merges += st->merges;
		c->sync.allocated += st->allocated;
		c->staged_unlinked += st->unlinked;
		c->sync.decision = inval_join(c->sync.decision, st->decision);
	}
}

bool as_stages_settle(struct as_change *c, uint64_t max_entries)
{
	uint64_t work = 0;

	while (c->stage_at > 0 && work < max_entries)
		work += ept_stage_settle(&c->as->ept, &c->stages[--c->stage_at]);
	return c->stage_at > 0;
}
