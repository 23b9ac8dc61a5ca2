/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A change of an address space, from the operations to the acknowledged invalidation:
 *
 *	plan	edit a version of the mapping list; a dry pass over the EPT counts what
 *		it will take, and decides on the invalidation
 *	reserve	the tables, and notes of the tables that go
 *	commit	under the lock, the same pass for good; nothing can fail any more
 *	publish	what was decided
 *	release	tables and slots that nobody can reach now
 *
 * Gigabytes of which much changes are built before the commit, and what they replace is
 * freed after the release, both in as many pieces as the caller likes (as_stage.c).
 *
 * Dry and real pass run the same code on the same input (the mutex keeps other changers
 * out, and what processors do to A and D bits counts nowhere), so a dry run tells exactly
 * what the change would do.
 */
#include "core/as_internal.h"

/* --- the mapping list as a source of leaves ------------------------------------------------ */

static void source_hole(const struct mem_range *next, uint64_t a, struct ept_piece *ret)
{
	*ret = (struct ept_piece){
		.first = a,
		.end = next ? next->gpa : UINT64_MAX,
		.hole = true,
	};
}

/*
 * The extent at a, within one range. Extents are asked for up to the next gigabyte only:
 * no leaf is larger, and the platform may have to look at each page.
 */
static void source_piece(void *ctx, uint64_t a, struct ept_piece *ret)
{
	struct mem_ranges *l = ctx;
	const struct mem_range *r = mem_ranges_at(l, mem_ranges_seek(l, a));
	uint64_t max_bytes, bytes;
	hpa_t at;

	if (!r || r->gpa > a) {
		source_hole(r, a, ret);
		return;
	}
	max_bytes = VMX_SIZE_1G - a % VMX_SIZE_1G;
	if (max_bytes > mem_range_end(r) - a)
		max_bytes = mem_range_end(r) - a;
	if (plat_mem_extent(r->slot->mem, r->offset + (a - r->gpa), max_bytes, &at, &bytes) != 0) {
		/* Not inside the memory: the slot's owner shrank it. Nothing to map. */
		*ret = (struct ept_piece){.first = a, .end = a + VMX_PAGE_SIZE, .hole = true};
		return;
	}
	*ret = (struct ept_piece){.first = a, .end = a + bytes, .hpa = at.v, .attrs = r->attrs};
}

/* --- plan ---------------------------------------------------------------------------------- */

static void sync_pass(struct as_change *c, bool dry)
{
	c->sync.dry = dry;
	ept_sync(&c->sync);
}

static int plan(struct as_change *c)
{
	int rc = as_sort_operations(c);

	if (rc)
		return rc;
	rc = as_edit_ranges(c);
	if (rc)
		return rc;
	rc = as_collect_spans(c);
	if (rc)
		return rc;
	c->sync.ept = &c->as->ept;
	c->sync.source = source_piece;
	c->sync.source_ctx = &c->edit;
	c->sync.spans = c->spans;
	c->sync.span_count = c->span_count;
	c->sync.record_pending = c->flags & CORE_CHANGE_SKIP_INVALIDATION;
	c->sync.pending = &c->as->pending;
	c->sync.lock = &c->as->lock;
	return as_stages_plan(c);
}

/* --- reserve ------------------------------------------------------------------------------- */

static void release_reserve(struct as_change *c)
{
	while (c->sync.reserve_count != 0) {
		struct ept_page page = c->sync.reserve[--c->sync.reserve_count];

		plat_page_free(c->as->core->plat, page.ptr, page.addr);
	}
	plat_free(c->sync.reserve);
	c->sync.reserve = NULL;
}

static int reserve(struct as_change *c)
{
	struct ept_sync *s = &c->sync;
	size_t pages = (size_t)s->allocated;

	if (s->unlinked_count != 0) {
		s->unlinked = plat_calloc(s->unlinked_count, sizeof(*s->unlinked));
		if (!s->unlinked)
			return -ENOMEM;
	}
	if (pages == 0)
		return 0;
	s->reserve = plat_calloc(pages, sizeof(*s->reserve));
	if (!s->reserve)
		return -ENOMEM;
	while (s->reserve_count < pages) {
		struct ept_page *page = &s->reserve[s->reserve_count];

		page->ptr = plat_page_alloc(c->as->core->plat, &page->addr);
		if (!page->ptr)
			return -ENOMEM;
		s->reserve_count++;
	}
	return 0;
}

/* --- commit -------------------------------------------------------------------------------- */

/*
 * Adds the spans' mapped bytes of a list to its slots' counts (or takes them away).
 * The new list's are added before the old one's go, and those only after the change is
 * published: a slot never looks unused while a processor may reach it.
 */
static void count_mapped(struct mem_ranges *l, const struct ept_span *spans, size_t count, bool add)
{
	for (size_t i = 0; i < count; i++) {
		struct mem_pos pos = mem_ranges_seek(l, spans[i].first);
		const struct mem_range *r;

		for (; (r = mem_ranges_at(l, pos)) && r->gpa < spans[i].end;
		     pos = mem_ranges_next(l, pos)) {
			uint64_t first = r->gpa > spans[i].first ? r->gpa : spans[i].first;
			uint64_t end = mem_range_end(r);
			uint64_t bytes = (end < spans[i].end ? end : spans[i].end) - first;

			plat_fetch_add(&r->slot->mapped_bytes, add ? bytes : 0 - bytes);
		}
	}
}

static void count_operations(struct as_change *c)
{
	static const enum core_stat stats[] = {
		[CORE_MAP] = CORE_STAT_MAPS,
		[CORE_UNMAP] = CORE_STAT_UNMAPS,
		[CORE_PROTECT] = CORE_STAT_PROTECTS,
		[CORE_REMAP] = CORE_STAT_REMAPS,
	};
	struct core_stats *s = &c->as->stats;

	for (size_t i = 0; i < c->count; i++)
		core_stat_add(s, stats[c->ops[i].kind], 1);
	core_stat_add(s, CORE_STAT_EPT_WRITTEN, c->sync.written);
	core_stat_add(s, CORE_STAT_EPT_SPLITS, c->sync.splits);
	core_stat_add(s, CORE_STAT_EPT_MERGES, c->sync.merges);
	as_count_decision(c->as, c->sync.decision);
}

/* The list first: it is the truth, and the EPT follows it. */
static void commit(struct as_change *c, struct mem_ranges *ret_old)
{
	struct core_as *as = c->as;

	count_mapped(&c->edit, c->spans, c->span_count, true);
	plat_lock(&as->lock);
	*ret_old = as->ranges;
	as->ranges = c->edit;
	c->sync.source_ctx = &as->ranges;
	sync_pass(c, false);
	plat_unlock(&as->lock);
	as_stages_result(c);
}

static void fill_result(struct as_change *c)
{
	c->result.entries_written = c->sync.written;
	c->result.entries_split = c->sync.splits;
	c->result.tables_merged = c->sync.merges;
	c->result.tables_allocated = c->sync.allocated;
	c->result.tables_freed = c->sync.unlinked_count + c->staged_unlinked;
	c->result.decision = c->sync.decision;
}

/* --- publish and release ------------------------------------------------------------------- */

void as_count_decision(struct core_as *as, struct inval_decision d)
{
	static const enum core_stat stats[] = {
		[INVAL_NONE] = CORE_STAT_INVAL_NONE,
		[INVAL_OPTIONAL] = CORE_STAT_INVAL_OPTIONAL,
		[INVAL_REQUIRED] = CORE_STAT_INVAL_REQUIRED,
	};

	core_stat_add(&as->stats, stats[d.need], 1);
}

void as_publish(struct core_as *as, struct core_cpu *this_cpu, struct core_change *result)
{
	struct inval_reach reach;

	inval_publish(as, this_cpu, &reach);
	result->invept_issued = reach.issued;
	result->processors_interrupted = reach.interrupted;
	result->processors_deferred = reach.deferred;
	core_stat_add(&as->stats, CORE_STAT_SHOOTDOWNS, reach.interrupted);
	core_stat_add(&as->stats, CORE_STAT_DEFERRED_FLUSHES, reach.deferred);
	/* One flush makes good whatever was left out before. */
	inval_pending_clear(&as->pending);
	while (as->quarantine) {
		struct as_quarantine *q = as->quarantine;

		as->quarantine = q->next;
		ept_release_unlinked(&as->ept, q->unlinked, q->count);
		plat_free(q->unlinked);
		plat_free(q);
	}
}

/*
 * Without the invalidation, processors may go on walking through the unlinked tables.
 * What they lead to stays stale, as was asked for, but they must not become other tables.
 */
static void quarantine(struct as_change *c, struct as_quarantine *q)
{
	for (size_t i = 0; i < c->sync.unlinked_count; i++)
		c->sync.unlinked[i].merged_into = NULL;
	q->unlinked = c->sync.unlinked;
	q->count = c->sync.unlinked_count;
	q->next = c->as->quarantine;
	c->as->quarantine = q;
	c->sync.unlinked = NULL;
}

static int apply_for_good(struct as_change *c)
{
	struct core_as *as = c->as;
	struct mem_ranges old;
	struct as_quarantine *q = NULL;
	bool skip = c->flags & CORE_CHANGE_SKIP_INVALIDATION;
	int rc;

	if (skip && c->sync.unlinked_count != 0) {
		q = plat_calloc(1, sizeof(*q));
		if (!q)
			return -ENOMEM;
	}
	rc = reserve(c);
	if (rc) {
		plat_free(q);
		return rc;
	}
	commit(c, &old);
	fill_result(c);
	count_operations(c);
	if (c->sync.decision.need == INVAL_REQUIRED && !skip)
		as_publish(as, c->this_cpu, &c->result);
	if (q)
		quarantine(c, q);
	else
		ept_release_unlinked(&as->ept, c->sync.unlinked, c->sync.unlinked_count);
	count_mapped(&old, c->spans, c->span_count, false);
	mem_ranges_retire(&old, &as->ranges);
	return 0;
}

static void preview(struct as_change *c)
{
	struct inval_reach reach = {0};

	as_stages_result(c);
	fill_result(c);
	if (c->sync.decision.need == INVAL_REQUIRED && !(c->flags & CORE_CHANGE_SKIP_INVALIDATION))
		inval_preview(c->as, c->this_cpu, &reach);
	c->result.invept_issued = reach.issued;
	c->result.processors_interrupted = reach.interrupted;
	c->result.processors_deferred = reach.deferred;
}

static int check_count(struct as_change *c)
{
	if (c->count != 0 && c->count <= CORE_MAX_OPS)
		return 0;
	c->conflict.field = CORE_FIELD_COUNT;
	c->conflict.limit = CORE_MAX_OPS;
	return c->count == 0 ? -EINVAL : -E2BIG;
}

/* --- from phase to phase -------------------------------------------------------------------- */

/* The mutex is held in all of these. On an error nothing has changed. */
static int change_begin(struct as_change *c)
{
	int rc = mem_ranges_begin(&c->as->ranges, &c->edit);

	return rc ? rc : plan(c);
}

/* All that was to be built is there. */
static int change_commit(struct as_change *c)
{
	c->sync.stages = c->stages;
	c->sync.stage_count = c->stage_count;
	sync_pass(c, true);
	if (!(c->flags & CORE_CHANGE_DRY_RUN))
		return apply_for_good(c);
	preview(c);
	return 0;
}

static void change_end(struct as_change *c)
{
	if (c->error != 0 || (c->flags & CORE_CHANGE_DRY_RUN))
		mem_ranges_abort(&c->edit);
	release_reserve(c);
	plat_free(c->sync.unlinked);
	plat_free(c->spans);
	plat_free(c->order);
	plat_free(c->stages);
}

static int change_step(struct as_change *c, uint64_t max_entries)
{
	int rc = 0;

	if (c->phase == AS_BUILD) {
		rc = as_stages_build(c, max_entries);
		c->phase = rc < 0 ? AS_SETTLE : rc == 0 ? AS_COMMIT : AS_BUILD;
	} else if (c->phase == AS_COMMIT) {
		rc = change_commit(c);
		c->phase = AS_SETTLE;
	} else if (c->phase == AS_SETTLE && !as_stages_settle(c, max_entries)) {
		change_end(c);
		c->phase = AS_ENDED;
	}
	if (rc < 0)
		c->error = rc;
	return c->phase == AS_ENDED ? c->error : 1;
}

/* --- whole ------------------------------------------------------------------------------------ */

static int change(struct as_change *c)
{
	int rc;

	if (c->as->changing)
		return -EBUSY;
	c->error = change_begin(c);
	if (c->error)
		c->phase = AS_SETTLE;
	do
		rc = change_step(c, UINT64_MAX);
	while (rc == 1);
	return rc;
}

int core_as_apply(struct core_as *as, struct core_cpu *this_cpu, const struct core_map_op *ops,
		  size_t count, uint32_t flags, struct core_change *ret_change,
		  struct core_conflict *ret_conflict)
{
	struct as_change c = {
		.as = as, .this_cpu = this_cpu, .ops = ops, .count = count, .flags = flags};
	int rc = check_count(&c);

	if (rc == 0) {
		plat_mutex_lock(as->mutex);
		rc = change(&c);
		plat_mutex_unlock(as->mutex);
	}
	if (rc == 0 && ret_change)
		*ret_change = c.result;
	if (rc != 0 && ret_conflict)
		*ret_conflict = c.conflict;
	return rc;
}

/* --- in pieces -------------------------------------------------------------------------------- */

int core_as_change_begin(struct core_as *as, struct core_cpu *this_cpu,
			 const struct core_map_op *ops, size_t count, uint32_t flags,
			 struct as_change **ret, struct core_conflict *ret_conflict)
{
	struct as_change *c = plat_calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return -ENOMEM;
	*c = (struct as_change){
		.as = as, .this_cpu = this_cpu, .ops = ops, .count = count, .flags = flags};
	rc = check_count(c);
	if (rc == 0) {
		plat_mutex_lock(as->mutex);
		rc = as->changing ? -EBUSY : change_begin(c);
		if (rc == 0)
			as->changing = true;
		c->error = rc;
		if (rc != 0 && rc != -EBUSY)
			change_end(c);
		plat_mutex_unlock(as->mutex);
	}
	if (rc == 0) {
		*ret = c;
		return 0;
	}
	if (ret_conflict)
		*ret_conflict = c->conflict;
	plat_free(c);
	return rc;
}

int core_as_change_step(struct as_change *c, uint64_t max_entries, struct core_change *ret_change)
{
	struct core_as *as = c->as;
	int rc;

	plat_mutex_lock(as->mutex);
	rc = change_step(c, max_entries);
	if (c->phase == AS_ENDED)
		as->changing = false;
	plat_mutex_unlock(as->mutex);
	if (rc == 1)
		return rc;
	if (rc == 0 && ret_change)
		*ret_change = c->result;
	plat_free(c);
	return rc;
}

void core_as_change_cancel(struct as_change *c)
{
	if (c->phase != AS_BUILD && c->phase != AS_COMMIT)
		return;
	c->phase = AS_SETTLE;
	c->error = -ECANCELED;
}

void core_as_change_progress(const struct as_change *c, uint64_t *ret_done, uint64_t *ret_total)
{
	bool building = c->phase == AS_BUILD;

	*ret_total = (uint64_t)c->stage_count * VMX_SIZE_1G;
	*ret_done = building ? (uint64_t)c->stage_at * VMX_SIZE_1G : *ret_total;
}
