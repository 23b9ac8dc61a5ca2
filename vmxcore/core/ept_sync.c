/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Brings the EPT in line with the mapping list; see ept.h.
 *
 * Every entry that a span touches is looked at once, from the top: what it should be (a
 * hole, a leaf or a table) follows from the list alone, and the level below is entered
 * only where it should be a table and is one. A new table is filled before it is linked,
 * so that a processor that walks meanwhile finds either the old translations or the new.
 *
 * Entries are changed by atomic exchange, for processors set A and D meanwhile.
 */
#include "core/ept_internal.h"

/* Entries handled between two moments at which others get the lock. */
#define ENTRIES_PER_HOLD 8192u
#define TABLES_PER_REST (ENTRIES_PER_HOLD / EPT_ENTRIES)

#define AD_BITS EPT_AD_BITS

static const struct ept_piece *piece_at(struct ept_sync *s, uint64_t a)
{
	if (a < s->piece.first || a >= s->piece.end)
		s->source(s->source_ctx, a, &s->piece);
	return &s->piece;
}

static bool too_large(const struct ept *ept, unsigned level, uint64_t attrs)
{
	return level > ept->leaf_level || (ept->small_exec && attrs & EPT_X);
}

enum ept_target ept_target_of(struct ept_sync *s, unsigned level, uint64_t first,
			      uint64_t *ret_leaf)
{
	const struct ept_piece *p = piece_at(s, first);
	uint64_t span = ept_span_bytes(level), addr;

	if (p->hole)
		return level <= 1 || p->end - first >= span ? EPT_TARGET_HOLE : EPT_TARGET_TABLE;
	addr = p->hpa + (first - p->first);
	/* Pieces are whole pages: at the lowest level there is nothing to divide. */
	if (level > 1 && (too_large(s->ept, level, p->attrs) || p->end - first < span ||
			  (addr & (span - 1)) != 0))
		return EPT_TARGET_TABLE;
	*ret_leaf = addr | p->attrs | (level > 1 ? EPT_LARGE : 0);
	return EPT_TARGET_LEAF;
}

/*
 * The decision depends on an entry's address only in that it changes or not, and most of a
 * large change is like what it began with: what has been joined once need not be again.
 */
static bool judged_before(struct ept_sync *s, unsigned level, uint64_t old, uint64_t new)
{
	struct ept_kin *k = &s->kin;
	uint64_t moved = (old ^ new) & EPT_ADDR ? 1 : 0;

	old &= ~EPT_ADDR;
	new &= ~EPT_ADDR;
	if (k->old == old && k->new == new && k->level == level && k->moved == moved)
		return true;
	k->old = old;
	k->new = new;
	k->level = level;
	k->moved = moved;
	return false;
}

static void judge(struct ept_sync *s, unsigned level, uint64_t first, uint64_t old, uint64_t new)
{
	const struct ept_rules *rules = &s->ept->rules;
	uint64_t span = ept_span_bytes(level);
	struct inval_change change = {
		.old_entry = old,
		.new_entry = new,
		.level = (uint8_t)level,
		.accessed_dirty = s->ept->accessed_dirty,
		.mode_based_exec = rules->mode_based_exec,
		.exec_only = rules->exec_only,
		.maxphyaddr = rules->maxphyaddr,
		.pending_entry = inval_pending_find(s->pending, first, span),
	};
	struct inval_decision d = inval_decide(&change);

	s->decision = inval_join(s->decision, d);
	if (s->dry || !s->record_pending || d.need != INVAL_REQUIRED || old == 0)
		return;
	/* Behind a table anything may be cached, and ways into it. */
	inval_pending_note(s->pending, first, span,
			   ept_is_leaf(old, level) ? old : INVAL_PENDING_UNKNOWN);
}

void ept_judge(struct ept_sync *s, unsigned level, uint64_t first, uint64_t old, uint64_t new)
{
	bool alike = judged_before(s, level, old, new);

	if (!alike || s->record_pending || !inval_pending_none(s->pending))
		judge(s, level, first, old, new);
}

/*
 * Lets others have the lock, and the processor. The address space's mutex keeps the tables
 * as they are.
 */
static void take_breath(struct ept_sync *s, uint64_t entries)
{
	bool locked = !s->dry && s->lock;

	s->since_break += entries;
	if (s->since_break < ENTRIES_PER_HOLD)
		return;
	s->since_break = 0;
	if (locked)
		plat_unlock(s->lock);
	plat_rest();
	if (locked)
		plat_lock(s->lock);
}

/* --- tables come and go ----------------------------------------------------------------- */

static struct ept_page take_page(struct ept_sync *s)
{
	struct ept_page page = {0};

	s->allocated++;
	if (s->dry || s->failed)
		return page;
	if (s->allocate) {
		/* Every entry of it will be written. */
		page.ptr = plat_page_alloc_raw(s->ept->plat, &page.addr);
		s->failed = !page.ptr;
		return page;
	}
	page = s->reserve[--s->reserve_count];
	plat_store(&s->ept->tables, s->ept->tables + 1);
	return page;
}

static bool same_way(const struct ept_lineage *from, uint64_t leaf, unsigned level)
{
	return from->valid && ept_leaf_addr(leaf, level) == from->hpa;
}

/* The stage of this gigabyte, if it has one; they come in order. */
static struct ept_stage *stage_at(struct ept_sync *s, unsigned level, uint64_t first)
{
	if (level != EPT_STAGE_LEVEL)
		return NULL;
	while (s->stage_at < s->stage_count && s->stages[s->stage_at].first < first)
		s->stage_at++;
	if (s->stage_at == s->stage_count || s->stages[s->stage_at].first != first)
		return NULL;
	return s->stages[s->stage_at].direct ? NULL : &s->stages[s->stage_at];
}

static void link_stage(struct ept_sync *s, struct ept_stage *st, uint64_t old)
{
	st->old = old;
	st->linked = true;
	plat_store(&s->ept->tables, s->ept->tables + st->pages);
}

/* Like entries from i on, at once: a hole, or leaves of one extent. Returns how many. */
static unsigned build_run(struct ept_sync *s, uint64_t *table, unsigned i, unsigned level,
			  uint64_t first, const struct ept_lineage *from)
{
	uint64_t span = ept_span_bytes(level), at = first + i * span, value = 0, step = 0;
	const struct ept_piece *p;
	unsigned n = 1;

	if (ept_target_of(s, level, at, &value) != EPT_TARGET_HOLE) {
		struct ept_lineage here = {from->valid, from->hpa + i * span, from->ad};

		if (same_way(&here, value, level))
			value |= from->ad;
		step = span;
	}
	p = piece_at(s, at);
	if (p->end - at >= span)
		n = (p->end - at) / span < EPT_ENTRIES - i ? (unsigned)((p->end - at) / span)
							   : EPT_ENTRIES - i;
	s->written += step ? n : 0;
	if (s->dry || !table)
		return n;
	/* Nobody else knows the table yet; but who missed a flush may still read the page. */
	for (unsigned j = i; j < i + n; j++, value += step)
		plat_store_private(&table[j], value);
	return n;
}

/* One entry that is a table, or a stage. */
static uint64_t build_below(struct ept_sync *s, unsigned level, uint64_t at,
			    const struct ept_lineage *from)
{
	struct ept_stage *st = stage_at(s, level, at);
	struct ept_page page;

	if (!st) {
		page = ept_build(s, level - 1, at, from);
		return page.ptr ? page.addr.v | EPT_RWX : 0;
	}
	if (!s->dry && st->swap)
		link_stage(s, st, 0);
	return st->swap ? st->value : 0;
}

struct ept_page ept_build(struct ept_sync *s, unsigned level, uint64_t first,
			  const struct ept_lineage *from)
{
	struct ept_page page = take_page(s);
	uint64_t span = ept_span_bytes(level), value;
	unsigned i = 0;

	while (i < EPT_ENTRIES && !s->failed) {
		uint64_t at = first + i * span;
		struct ept_lineage child = {from->valid, from->hpa + i * span, from->ad};

		if (ept_target_of(s, level, at, &value) != EPT_TARGET_TABLE) {
			i += build_run(s, page.ptr, i, level, first, from);
			continue;
		}
		value = build_below(s, level, at, &child);
		if (page.ptr)
			plat_store_private(&page.ptr[i], value);
		i++;
	}
	for (; page.ptr && i < EPT_ENTRIES; i++)
		plat_store_private(&page.ptr[i], 0); /* it failed */
	take_breath(s, EPT_ENTRIES);
	return page;
}

void ept_hand_down(const struct ept *ept, uint64_t *table, unsigned level,
		   const struct ept_lineage *from)
{
	uint64_t span = ept_span_bytes(level);

	for (unsigned i = 0; i < EPT_ENTRIES; i++) {
		uint64_t e = plat_load(&table[i]);
		struct ept_lineage child = {from->valid, from->hpa + i * span, from->ad};

		if (e == 0)
			continue;
		if (!ept_is_leaf(e, level))
			ept_hand_down(ept, ept_table(ept, e), level - 1, &child);
		else if (same_way(&child, e, level))
			plat_fetch_or(&table[i], from->ad);
	}
}

uint64_t ept_gather_up(const struct ept *ept, const uint64_t *table, unsigned level, uint64_t addr)
{
	uint64_t span = ept_span_bytes(level), ad = 0;

	for (unsigned i = 0; i < EPT_ENTRIES; i++) {
		uint64_t e = plat_load(&table[i]);

		if (e == 0)
			continue;
		if (!ept_is_leaf(e, level))
			ad |= ept_gather_up(ept, ept_table(ept, e), level - 1, addr + i * span);
		else if (ept_leaf_addr(e, level) == addr + i * span)
			ad |= e & AD_BITS;
	}
	return ad;
}

/* Notes the tables below an entry that no longer points to them. */
static void unlink_tables(struct ept_sync *s, uint64_t entry, unsigned level, uint64_t first,
			  uint64_t *merged_into, unsigned merged_level)
{
	uint64_t *table = ept_table(s->ept, entry);
	uint64_t span = ept_span_bytes(level);

	for (unsigned i = 0; i < EPT_ENTRIES; i++) {
		uint64_t e = plat_load(&table[i]);
		struct ept_stage *st = stage_at(s, level, first + i * span);

		if (e == 0)
			continue;
		if (st) {
			if (!s->dry && st->swap)
				link_stage(s, st, e);
			continue;
		}
		if (!ept_is_leaf(e, level))
			unlink_tables(s, e, level - 1, first + i * span, merged_into, merged_level);
		else if (!merged_into)
			s->written++;
	}
	if (!s->dry) {
		s->unlinked[s->unlinked_count] = (struct ept_unlinked){
			.page = {table, hpa(entry & EPT_ADDR)},
			.merged_into = merged_into,
			.first = first,
			.level = level,
			.merged_level = merged_level,
		};
	}
	s->unlinked_count++;
	take_breath(s, EPT_ENTRIES);
}

/* --- one entry -------------------------------------------------------------------------------- */

static void make_hole(struct ept_sync *s, uint64_t *entry, unsigned level, uint64_t first)
{
	uint64_t old = plat_load(entry);

	if (old != 0 && !s->dry)
		old = plat_exchange(entry, 0);
	ept_judge(s, level, first, old, 0);
	if (old == 0)
		return;
	if (ept_is_leaf(old, level))
		s->written++;
	else
		unlink_tables(s, old, level - 1, first, NULL, 0);
}

/* A present leaf takes a new value; where it leads to the same place A and D stay. */
static void change_leaf(struct ept_sync *s, uint64_t *entry, unsigned level, uint64_t first,
			uint64_t value)
{
	uint64_t old = plat_load(entry), new;
	bool same_addr = ept_leaf_addr(old, level) == ept_leaf_addr(value, level);

	if ((old & ~AD_BITS) == value) {
		ept_judge(s, level, first, old, old);
		return;
	}
	do
		new = value | (same_addr ? old & AD_BITS : 0);
	while (!s->dry && !plat_cmpxchg(entry, &old, new));
	s->written++;
	ept_judge(s, level, first, old, new);
}

static void make_leaf(struct ept_sync *s, uint64_t *entry, unsigned level, uint64_t first,
		      uint64_t value)
{
	uint64_t old = plat_load(entry);

	if (old != 0 && ept_is_leaf(old, level)) {
		change_leaf(s, entry, level, first, value);
		return;
	}
	s->written++;
	if (old != 0)
		value |= ept_gather_up(s->ept, ept_table(s->ept, old), level - 1,
				       ept_leaf_addr(value, level));
	if (!s->dry)
		plat_exchange(entry, value);
	ept_judge(s, level, first, old, value);
	if (old != 0) {
		s->merges++;
		unlink_tables(s, old, level - 1, first, entry, level);
	}
}

static void link_new_table(struct ept_sync *s, uint64_t *entry, unsigned level, uint64_t first)
{
	uint64_t old = plat_load(entry), before = old, new;
	struct ept_lineage from = {old != 0, ept_leaf_addr(old, level), old & AD_BITS};
	struct ept_page page = ept_build(s, level - 1, first, &from);

	new = page.addr.v | EPT_RWX;
	if (!s->dry)
		old = plat_exchange(entry, new);
	ept_judge(s, level, first, old, new);
	if (old == 0)
		return;
	s->splits++;
	from.ad = old & AD_BITS & ~before;
	if (!s->dry && from.ad != 0)
		ept_hand_down(s->ept, page.ptr, level - 1, &from);
}

static void sync_table(struct ept_sync *s, uint64_t *table, unsigned level, uint64_t base);

void ept_sync_entry(struct ept_sync *s, uint64_t *entry, unsigned level, uint64_t first)
{
	struct ept_stage *st = stage_at(s, level, first);
	uint64_t value;

	if (st) {
		if (!s->dry && st->swap)
			link_stage(s, st, plat_exchange(entry, st->value));
		return;
	}
	switch (ept_target_of(s, level, first, &value)) {
	case EPT_TARGET_HOLE:
		make_hole(s, entry, level, first);
		break;
	case EPT_TARGET_LEAF:
		make_leaf(s, entry, level, first, value);
		break;
	case EPT_TARGET_TABLE:
		value = plat_load(entry);
		if (value != 0 && !ept_is_leaf(value, level))
			sync_table(s, ept_table(s->ept, value), level - 1, first);
		else
			link_new_table(s, entry, level, first);
		break;
	}
}

/* Looks at the entries of one table that spans from s->at on touch; moves s->at past them. */
static void sync_table(struct ept_sync *s, uint64_t *table, unsigned level, uint64_t base)
{
	uint64_t span = ept_span_bytes(level), at = base, end = base + EPT_ENTRIES * span;
	uint64_t entries = 0;

	while (s->at < s->span_count && s->spans[s->at].first < end && at < end) {
		uint64_t first = s->spans[s->at].first;

		if (first > at)
			at = first & ~(span - 1);
		ept_sync_entry(s, &table[ept_index(at, level)], level, at);
		entries++;
		at += span;
		while (s->at < s->span_count && s->spans[s->at].end <= at)
			s->at++;
	}
	take_breath(s, entries);
}

void ept_sync(struct ept_sync *s)
{
	s->written = s->splits = s->merges = s->allocated = 0;
	s->unlinked_count = 0;
	s->decision = (struct inval_decision){0};
	s->kin.level = 0;
	s->at = 0;
	s->stage_at = 0;
	s->since_break = 0;
	s->piece = (struct ept_piece){0};
	sync_table(s, s->ept->root, s->ept->levels, 0);
}

void ept_release_unlinked(struct ept *ept, struct ept_unlinked *unlinked, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct ept_unlinked *u = &unlinked[i];

		if (u->merged_into) {
			uint64_t leaf = plat_load(u->merged_into);
			uint64_t span = ept_span_bytes(u->merged_level);
			uint64_t addr = ept_leaf_addr(leaf, u->merged_level);
			uint64_t ad = 0;

			addr += u->first & (span - 1);
			for (unsigned j = 0; j < EPT_ENTRIES; j++) {
				uint64_t e = plat_load(&u->page.ptr[j]);

				if (e != 0 && ept_is_leaf(e, u->level) &&
				    ept_leaf_addr(e, u->level) ==
					    addr + j * ept_span_bytes(u->level))
					ad |= e & AD_BITS;
			}
			if (ad & ~leaf)
				plat_fetch_or(u->merged_into, ad);
		}
		plat_page_free(ept->plat, u->page.ptr, u->page.addr);
		plat_store(&ept->tables, ept->tables - 1);
		if (i % TABLES_PER_REST == TABLES_PER_REST - 1)
			plat_rest();
	}
}
