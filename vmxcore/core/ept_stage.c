/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Gigabytes that are rebuilt beside the tables in use; see struct ept_stage.
 *
 * However much a change touches, it then takes effect with one entry a gigabyte, and until
 * then can be given up by freeing what nobody has seen. What a stage will be is a function
 * of the mapping list alone, as with any table; what it is worth to the caller (entries
 * written, split, merged) is counted by a dry pass over the tables that are there.
 */
#include "core/ept_internal.h"

/* The tables as they are: what would the change do to them in place? */
static void count_in_place(struct ept_sync *s, struct ept_stage *st, uint64_t *entry)
{
	bool dry = s->dry;

	s->dry = true;
	s->at = st->span;
	ept_sync_entry(s, entry, EPT_STAGE_LEVEL, st->first);
	s->dry = dry;
	st->written = s->written;
	st->splits = s->splits;
	st->merges = s->merges;
	st->allocated = s->allocated;
	st->unlinked = s->unlinked_count;
}

static void reset(struct ept_sync *s)
{
	s->written = s->splits = s->merges = s->allocated = 0;
	s->unlinked_count = 0;
	s->failed = false;
	s->piece = (struct ept_piece){0};
}

/* Builds what the list has for the whole gigabyte. */
static int build(struct ept_sync *s, struct ept_stage *st)
{
	const struct ept_lineage none = {false, 0, 0};
	struct ept_page page;

	reset(s);
	page = ept_build(s, EPT_STAGE_LEVEL - 1, st->first, &none);
	st->pages = s->allocated;
	if (s->failed) {
		/* One was asked for that was not to be had. */
		plat_store(&s->ept->tables, s->ept->tables + st->pages - 1);
		if (page.ptr)
			ept_free_tables(s->ept, page.ptr, page.addr, EPT_STAGE_LEVEL - 1);
		return -ENOMEM;
	}
	/* Dry: it has no address yet, but another than that of the table in use. */
	st->value =
		page.ptr ? page.addr.v | EPT_RWX : ((st->old ^ VMX_PAGE_SIZE) & EPT_ADDR) | EPT_RWX;
	return 0;
}

int ept_stage_build(struct ept_sync *s, struct ept_stage *st, uint64_t *direct, uint64_t *ret_work)
{
	uint64_t *entry = ept_entry(s->ept, st->first, EPT_STAGE_LEVEL), leaf = 0, old;
	uint64_t absent = 0;
	enum ept_target target;
	int rc;

	s->decision = (struct inval_decision){0};
	s->kin.level = 0;
	reset(s);
	s->allocate = true;
	entry = entry ? entry : &absent;
	old = st->old = plat_load(entry);
	target = ept_target_of(s, EPT_STAGE_LEVEL, st->first, &leaf);
	*ret_work = EPT_ENTRIES;
	if ((old == 0 || ept_is_leaf(old, EPT_STAGE_LEVEL)) && target != EPT_TARGET_TABLE) {
		st->direct = true;
		return 0;
	}
	if (old != 0) {
		count_in_place(s, st, entry);
		*ret_work += st->written + (st->unlinked + st->allocated) * EPT_ENTRIES;
		st->swap =
			st->written + st->splits + st->merges + st->allocated + st->unlinked != 0;
		if (!st->swap)
			goto out;
		/* In place nothing would have to be invalidated; an exchange always has. */
		if (s->decision.need != INVAL_REQUIRED && *ret_work <= *direct) {
			*direct -= *ret_work;
			*st = (struct ept_stage){.first = st->first, .direct = true};
			return 0;
		}
	}
	st->swap = true;
	st->value = target == EPT_TARGET_LEAF ? leaf : 0;
	if (target == EPT_TARGET_TABLE) {
		rc = build(s, st);
		if (rc)
			return rc;
		*ret_work += st->pages * EPT_ENTRIES;
	}
	if (old == 0) {
		st->written = s->written;
		st->allocated = st->pages;
	}
	ept_judge(s, EPT_STAGE_LEVEL, st->first, old, st->value);
out:
	st->decision = s->decision;
	if (s->dry)
		st->pages = 0;
	return 0;
}

/* --- afterwards ------------------------------------------------------------------------------ */

/* A and D of what was at this place go to what is there now and leads the same way. */
static void inherit(struct ept *ept, uint64_t old, uint64_t *now, unsigned level)
{
	uint64_t value = plat_load(now), ad;

	if (old == 0 || value == 0)
		return;
	if (ept_is_leaf(old, level) && ept_is_leaf(value, level)) {
		ad = ept_leaf_addr(old, level) == ept_leaf_addr(value, level) ? old : 0;
	} else if (ept_is_leaf(old, level)) {
		struct ept_lineage from = {true, ept_leaf_addr(old, level), old & EPT_AD_BITS};

		if (from.ad != 0)
			ept_hand_down(ept, ept_table(ept, value), level - 1, &from);
		return;
	} else if (ept_is_leaf(value, level)) {
		ad = ept_gather_up(ept, ept_table(ept, old), level - 1,
				   ept_leaf_addr(value, level));
	} else {
		const uint64_t *from = ept_table(ept, old);
		uint64_t *to = ept_table(ept, value);

		for (unsigned i = 0; i < EPT_ENTRIES; i++)
			inherit(ept, plat_load(&from[i]), &to[i], level - 1);
		return;
	}
	if (ad & EPT_AD_BITS & ~value)
		plat_fetch_or(now, ad & EPT_AD_BITS);
}

static bool is_table(uint64_t entry)
{
	return entry != 0 && !ept_is_leaf(entry, EPT_STAGE_LEVEL);
}

uint64_t ept_stage_settle(struct ept *ept, struct ept_stage *st)
{
	uint64_t gone = st->linked ? st->old : st->pages ? st->value : 0, work = 1;
	uint64_t *now;

	if (!st->linked)
		plat_store(&ept->tables, ept->tables + st->pages);
	if (st->linked && ept->accessed_dirty && st->old != 0) {
		now = ept_entry(ept, st->first, EPT_STAGE_LEVEL);
		if (now)
			inherit(ept, st->old, now, EPT_STAGE_LEVEL);
		work += st->pages * EPT_ENTRIES;
	}
	if (is_table(gone))
		work += EPT_ENTRIES * ept_free_tables(ept, ept_table(ept, gone),
						      hpa(gone & EPT_ADDR), EPT_STAGE_LEVEL - 1);
	st->pages = 0;
	st->old = 0;
	return work;
}
