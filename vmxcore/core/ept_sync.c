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
#include "core/ept.h"

/* Entries handled between two moments at which others get the lock. */
#define ENTRIES_PER_HOLD 8192u

#define AD_BITS (EPT_A | EPT_D)

enum target { TARGET_HOLE, TARGET_LEAF, TARGET_TABLE };

/* Where old translations led, for handing their A and D bits on. */
struct lineage {
	bool valid;
	uint64_t hpa; /* of the first byte */
	uint64_t ad;
};

static const struct ept_piece *piece_at(struct ept_sync *s, uint64_t a)
{
	if (a < s->piece.first || a >= s->piece.end)
		s->source(s->source_ctx, a, &s->piece);
	return &s->piece;
}

/* What the entry that covers [first, first + span) should be; *ret_leaf its value. */
static enum target target_of(struct ept_sync *s, unsigned level, uint64_t first, uint64_t *ret_leaf)
{
	const struct ept_piece *p = piece_at(s, first);
	uint64_t span = ept_span_bytes(level), addr;

	if (p->hole)
		return level <= 1 || p->end - first >= span ? TARGET_HOLE : TARGET_TABLE;
	addr = p->hpa + (first - p->first);
	/* Pieces are whole pages: at the lowest level there is nothing to divide. */
	if (level > 1 &&
	    (level > s->ept->leaf_level || p->end - first < span || (addr & (span - 1)) != 0))
		return TARGET_TABLE;
	*ret_leaf = addr | p->attrs | (level > 1 ? EPT_LARGE : 0);
	return TARGET_LEAF;
}

/* Judges one entry's change. */
static void decide(struct ept_sync *s, unsigned level, uint64_t first, uint64_t old, uint64_t new)
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

/* Lets others have the lock. The address space's mutex keeps the tables as they are. */
static void take_breath(struct ept_sync *s, uint64_t entries)
{
	s->since_break += entries;
	if (s->dry || s->since_break < ENTRIES_PER_HOLD)
		return;
	s->since_break = 0;
	plat_unlock(s->lock);
	plat_cpu_relax();
	plat_lock(s->lock);
}

/* --- tables come and go ----------------------------------------------------------------- */

static struct ept_page take_page(struct ept_sync *s)
{
	struct ept_page page = {0};

	s->allocated++;
	if (s->dry)
		return page;
	page = s->reserve[--s->reserve_count];
	plat_store(&s->ept->tables, s->ept->tables + 1);
	return page;
}

static bool same_way(const struct lineage *from, uint64_t leaf, unsigned level)
{
	return from->valid && ept_leaf_addr(leaf, level) == from->hpa;
}

/* A filled table for [first, first + 512 spans), not linked yet. */
static struct ept_page build(struct ept_sync *s, unsigned level, uint64_t first,
			     const struct lineage *from)
{
	struct ept_page page = take_page(s);
	uint64_t span = ept_span_bytes(level);

	for (unsigned i = 0; i < EPT_ENTRIES; i++) {
		uint64_t at = first + i * span, value;
		struct lineage child = {from->valid, from->hpa + i * span, from->ad};
		enum target t = target_of(s, level, at, &value);

		if (t == TARGET_HOLE)
			continue;
		if (t == TARGET_TABLE) {
			value = build(s, level - 1, at, &child).addr.v | EPT_RWX;
		} else {
			if (same_way(&child, value, level))
				value |= child.ad;
			s->written++;
		}
		if (!s->dry)
			plat_store(&page.ptr[i], value);
	}
	take_breath(s, EPT_ENTRIES);
	return page;
}

/* Sets A and D in the leaves below that lead where the large leaf did. */
static void hand_down(struct ept_sync *s, uint64_t *table, unsigned level,
		      const struct lineage *from)
{
	uint64_t span = ept_span_bytes(level);

	for (unsigned i = 0; i < EPT_ENTRIES; i++) {
		uint64_t e = plat_load(&table[i]);
		struct lineage child = {from->valid, from->hpa + i * span, from->ad};

		if (e == 0)
			continue;
		if (!ept_is_leaf(e, level))
			hand_down(s, ept_table(s->ept, e), level - 1, &child);
		else if (same_way(&child, e, level))
			plat_fetch_or(&table[i], from->ad);
	}
}

/* A and D of the leaves below that lead where the large leaf does. */
static uint64_t gather_up(const struct ept *ept, const uint64_t *table, unsigned level,
			  uint64_t addr)
{
	uint64_t span = ept_span_bytes(level), ad = 0;

	for (unsigned i = 0; i < EPT_ENTRIES; i++) {
		uint64_t e = plat_load(&table[i]);

		if (e == 0)
			continue;
		if (!ept_is_leaf(e, level))
			ad |= gather_up(ept, ept_table(ept, e), level - 1, addr + i * span);
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

		if (e == 0)
			continue;
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
	decide(s, level, first, old, 0);
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
		decide(s, level, first, old, old);
		return;
	}
	do
		new = value | (same_addr ? old & AD_BITS : 0);
	while (!s->dry && !plat_cmpxchg(entry, &old, new));
	s->written++;
	decide(s, level, first, old, new);
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
		value |= gather_up(s->ept, ept_table(s->ept, old), level - 1,
				   ept_leaf_addr(value, level));
	if (!s->dry)
		plat_exchange(entry, value);
	decide(s, level, first, old, value);
	if (old != 0) {
		s->merges++;
		unlink_tables(s, old, level - 1, first, entry, level);
	}
}

static void link_new_table(struct ept_sync *s, uint64_t *entry, unsigned level, uint64_t first)
{
	uint64_t old = plat_load(entry), before = old, new;
	struct lineage from = {old != 0, ept_leaf_addr(old, level), old & AD_BITS};
	struct ept_page page = build(s, level - 1, first, &from);

	new = page.addr.v | EPT_RWX;
	if (!s->dry)
		old = plat_exchange(entry, new);
	decide(s, level, first, old, new);
	if (old == 0)
		return;
	s->splits++;
	from.ad = old & AD_BITS & ~before;
	if (!s->dry && from.ad != 0)
		hand_down(s, page.ptr, level - 1, &from);
}

static void sync_table(struct ept_sync *s, uint64_t *table, unsigned level, uint64_t base);

static void sync_entry(struct ept_sync *s, uint64_t *entry, unsigned level, uint64_t first)
{
	uint64_t value;

	switch (target_of(s, level, first, &value)) {
	case TARGET_HOLE:
		make_hole(s, entry, level, first);
		break;
	case TARGET_LEAF:
		make_leaf(s, entry, level, first, value);
		break;
	case TARGET_TABLE:
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
		sync_entry(s, &table[ept_index(at, level)], level, at);
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
	s->at = 0;
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
	}
}
