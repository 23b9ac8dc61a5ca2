/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Address spaces: making them, looking at them, gathering dirty bits. Changes: as_change.c. */
#include "core/as_internal.h"

#define EPTP_MEMTYPE_WB UINT64_C(6)
#define EPTP_WALK_SHIFT 3
#define EPTP_ACCESSED_DIRTY VMX_BIT(6)
#define WALK_LENGTH_DEFAULT 4u
/* Entries looked at between two moments at which others get the lock. */
#define LEAVES_PER_HOLD 4096u

/* --- life ------------------------------------------------------------------------------------- */

/* Leaf sizes by level, and whether the processor offers them. */
static int leaf_level(const struct core_caps *caps, uint64_t max_page_bytes, unsigned *ret)
{
	bool offered[] = {[1] = true, [2] = caps->ept_2m, [3] = caps->ept_2m && caps->ept_1g};
	unsigned level;

	if (max_page_bytes == 0) {
		for (level = 3; !offered[level];)
			level--;
		*ret = level;
		return 0;
	}
	for (level = 1; level <= 3; level++) {
		if (max_page_bytes == ept_span_bytes(level) && offered[level]) {
			*ret = level;
			return 0;
		}
	}
	return -EINVAL;
}

static int configure(struct core_as *as, const struct core_as_config *cfg)
{
	const struct core_caps *caps = &as->core->caps;
	struct ept *ept = &as->ept;
	unsigned bits;
	int rc = leaf_level(caps, cfg->max_page_bytes, &ept->leaf_level);

	if (rc)
		return rc;
	ept->levels = cfg->walk_length ? cfg->walk_length : WALK_LENGTH_DEFAULT;
	if (ept->levels != 4 && !(ept->levels == 5 && caps->ept_walk5))
		return -EINVAL;
	ept->plat = as->core->plat;
	ept->small_exec = as->core->small_exec;
	ept->accessed_dirty = cfg->accessed_dirty && caps->ept_ad;
	ept->rules = (struct ept_rules){
		.maxphyaddr = plat_maxphyaddr(ept->plat),
		.exec_only = caps->ept_exec_only,
		.page_2m = caps->ept_2m,
		.page_1g = caps->ept_1g,
	};
	bits = ept_shift(ept->levels) + 9;
	if (bits > ept->rules.maxphyaddr)
		bits = ept->rules.maxphyaddr;
	as->gpa_limit = UINT64_C(1) << bits;
	return 0;
}

static uint64_t make_eptp(const struct ept *ept)
{
	return ept->root_hpa.v | EPTP_MEMTYPE_WB | (uint64_t)(ept->levels - 1) << EPTP_WALK_SHIFT |
	       (ept->accessed_dirty ? EPTP_ACCESSED_DIRTY : 0);
}

int core_as_create(struct core *core, const struct core_as_config *cfg, struct core_as **ret)
{
	struct core_as *as = plat_calloc(1, sizeof(*as));
	int rc;

	if (!as)
		return -ENOMEM;
	as->core = core;
	as->trace = cfg->trace;
	plat_lock_init(&as->lock);
	mem_ranges_init(&as->ranges);
	rc = configure(as, cfg);
	if (rc)
		goto fail_free;
	as->mutex = plat_mutex_new();
	if (!as->mutex) {
		rc = -ENOMEM;
		goto fail_free;
	}
	rc = ept_init(&as->ept);
	if (rc)
		goto fail_mutex;
	inval_space_init(&as->inval, make_eptp(&as->ept));
	*ret = as;
	return 0;

fail_mutex:
	plat_mutex_delete(as->mutex);
fail_free:
	plat_free(as);
	return rc;
}

/*
 * No invalidation: nothing enters a guest with this EP4TA any more, and whoever gets a
 * root at the same address begins unseen on every processor.
 */
void core_as_destroy(struct core_as *as)
{
	struct mem_pos pos = {0, 0};
	const struct mem_range *r;

	if (!as)
		return;
	for (; (r = mem_ranges_at(&as->ranges, pos)); pos = mem_ranges_next(&as->ranges, pos))
		plat_fetch_add(&r->slot->mapped_bytes, 0 - r->size);
	while (as->quarantine) {
		struct as_quarantine *q = as->quarantine;

		as->quarantine = q->next;
		ept_release_unlinked(&as->ept, q->unlinked, q->count);
		plat_free(q->unlinked);
		plat_free(q);
	}
	mem_ranges_free(&as->ranges);
	ept_destroy(&as->ept);
	plat_mutex_delete(as->mutex);
	plat_free(as);
}

bool core_as_shrink(struct core_as *as, uint64_t *at, uint64_t max_entries)
{
	uint64_t work = 0, e;

	while (*at < as->gpa_limit && work < max_entries) {
		uint64_t *entry = ept_entry(&as->ept, *at, 3);

		work++;
		if (!entry) {
			*at = (*at | (ept_span_bytes(4) - 1)) + 1;
			continue;
		}
		*at += ept_span_bytes(3);
		e = plat_load(entry);
		if (e == 0 || ept_is_leaf(e, 3))
			continue;
		plat_store(entry, 0);
		work += EPT_ENTRIES *
			ept_free_tables(&as->ept, ept_table(&as->ept, e), hpa(e & EPT_ADDR), 2);
	}
	return *at < as->gpa_limit;
}

uint64_t core_as_eptp(const struct core_as *as)
{
	return as->inval.eptp;
}

struct core_stats *core_as_stats(struct core_as *as)
{
	return &as->stats;
}

uint64_t core_as_table_bytes(const struct core_as *as)
{
	return plat_load(&as->ept.tables) * VMX_PAGE_SIZE;
}

/* --- looking ------------------------------------------------------------------------------- */

static void describe(const struct mem_range *r, struct core_range *ret)
{
	*ret = (struct core_range){
		.gpa = gpa(r->gpa),
		.size = r->size,
		.slot = r->slot->id,
		.prot = (uint32_t)(r->attrs & EPT_RWX),
		.memtype = (uint32_t)((r->attrs & EPT_MEMTYPE) >> EPT_MEMTYPE_SHIFT),
		.ignore_pat = (r->attrs & EPT_IGNORE_PAT) != 0,
		.offset = r->offset,
	};
}

int core_as_lookup(struct core_as *as, gpa_t a, struct core_range *ret)
{
	const struct mem_range *r;
	int rc = -ENOENT;

	plat_lock(&as->lock);
	r = mem_ranges_at(&as->ranges, mem_ranges_find(&as->ranges, a.v));
	if (r && r->gpa <= a.v) {
		describe(r, ret);
		rc = 0;
	}
	plat_unlock(&as->lock);
	return rc;
}

size_t core_as_ranges(struct core_as *as, gpa_t from, struct core_range *ret, size_t max)
{
	size_t count = 0;
	struct mem_pos pos;
	const struct mem_range *r;

	plat_lock(&as->lock);
	pos = mem_ranges_find(&as->ranges, from.v);
	while (count < max && (r = mem_ranges_at(&as->ranges, pos))) {
		describe(r, &ret[count++]);
		pos = mem_ranges_next(&as->ranges, pos);
	}
	plat_unlock(&as->lock);
	return count;
}

int core_as_leaf(struct core_as *as, gpa_t a, struct core_leaf *ret)
{
	struct ept_place place;
	int rc = -ENOENT;

	if (a.v >= as->gpa_limit)
		return -ENOENT;
	plat_lock(&as->lock);
	ept_find(&as->ept, a.v, &place);
	if (ept_present(place.value, false)) {
		*ret = (struct core_leaf){
			.entry = place.value,
			.page_bytes = ept_span_bytes(place.level),
			.gpa = gpa(place.first),
			.hpa = hpa(ept_leaf_addr(place.value, place.level)),
		};
		rc = 0;
	}
	plat_unlock(&as->lock);
	return rc;
}

/* Counts from the entry that holds `at` to the end of its table; returns where it stopped. */
static uint64_t count_table(const struct core_as *as, uint64_t at, uint64_t end,
			    struct core_leaf_counts *ret)
{
	struct ept_place p;
	uint64_t span;
	unsigned left;

	ept_find(&as->ept, at, &p);
	span = ept_span_bytes(p.level);
	left = EPT_ENTRIES - ept_index(at, p.level);
	for (at = p.first; left != 0 && at < end; left--, at += span) {
		uint64_t entry = plat_load(p.entry++);

		if (!ept_present(entry, false))
			continue;
		/* A table: what it holds is found from the root again. */
		if (!ept_is_leaf(entry, p.level))
			break;
		ret->leaves[p.level]++;
		if (as->ept.accessed_dirty) {
			ret->accessed += (entry & EPT_A) != 0;
			ret->dirty += (entry & EPT_D) != 0;
		}
	}
	return at;
}

void core_as_count_leaves(struct core_as *as, gpa_t a, uint64_t size, struct core_leaf_counts *ret)
{
	uint64_t at = a.v, end = a.v + size;
	unsigned tables = 0;

	*ret = (struct core_leaf_counts){{0}, 0, 0};
	if (vmx_range_bad(a.v, size) || end > as->gpa_limit)
		return;
	plat_lock(&as->lock);
	while (at < end) {
		at = count_table(as, at, end, ret);
		if (++tables % (LEAVES_PER_HOLD / EPT_ENTRIES) == 0) {
			plat_unlock(&as->lock);
			plat_rest();
			plat_lock(&as->lock);
		}
	}
	plat_unlock(&as->lock);
}

/* --- dirty bits ---------------------------------------------------------------------------- */

struct harvest {
	struct core_as *as;
	uint64_t first, end;
	bool clear;
	uint8_t *bitmap;
	uint64_t cleared;
};

static void set_bits(const struct harvest *h, uint64_t first, uint64_t end)
{
	uint64_t bit = (first - h->first) >> VMX_PAGE_SHIFT;
	uint64_t stop = (end - h->first) >> VMX_PAGE_SHIFT;

	for (; bit < stop && bit % 8 != 0; bit++)
		h->bitmap[bit / 8] |= (uint8_t)(1u << bit % 8);
	for (; stop - bit >= 8; bit += 8)
		h->bitmap[bit / 8] = 0xff;
	for (; bit < stop; bit++)
		h->bitmap[bit / 8] |= (uint8_t)(1u << bit % 8);
}

/* Looks at the leaf at `at`; returns where what it covers ends. */
static uint64_t harvest_leaf(struct harvest *h, uint64_t at)
{
	struct ept_place p;
	uint64_t end;

	ept_find(&h->as->ept, at, &p);
	end = p.first + ept_span_bytes(p.level);
	if (!ept_present(p.value, false) || !(p.value & EPT_D))
		return end;
	set_bits(h, at, end < h->end ? end : h->end);
	/* A large leaf that is looked at in part stays dirty: its other pages are not told. */
	if (h->clear && p.first >= h->first && end <= h->end) {
		plat_fetch_and(p.entry, ~EPT_D);
		h->cleared++;
	}
	return end;
}

int core_as_dirty_harvest(struct core_as *as, struct core_cpu *this_cpu, gpa_t a, uint64_t size,
			  bool clear, uint8_t *bitmap, struct core_change *ret_change)
{
	struct harvest h = {
		.as = as, .first = a.v, .end = a.v + size, .clear = clear, .bitmap = bitmap};
	struct core_change result = {.old_gpa_first = a.v, .old_gpa_last = a.v + size - 1};
	uint64_t looked = 0;

	if (!as->ept.accessed_dirty)
		return -ENOTSUP;
	if (a.v % VMX_PAGE_SIZE != 0 || size % VMX_PAGE_SIZE != 0 || vmx_range_bad(a.v, size))
		return -EINVAL;
	if (a.v >= as->gpa_limit || size > as->gpa_limit - a.v)
		return -ERANGE;
	memset(bitmap, 0, (size_t)((size / VMX_PAGE_SIZE + 7) / 8));
	plat_mutex_lock(as->mutex);
	if (as->changing) {
		plat_mutex_unlock(as->mutex);
		return -EBUSY;
	}
	plat_lock(&as->lock);
	for (uint64_t at = h.first; at < h.end; at = harvest_leaf(&h, at)) {
		if (++looked % LEAVES_PER_HOLD == 0) {
			plat_unlock(&as->lock);
			plat_rest();
			plat_lock(&as->lock);
		}
	}
	plat_unlock(&as->lock);
	result.entries_written = h.cleared;
	if (h.cleared != 0) {
		result.decision = (struct inval_decision){INVAL_REQUIRED, INVAL_INSN_INVEPT_SINGLE,
							  INVAL_REASON_DIRTY_CLEARED};
		as_count_decision(as, result.decision);
		core_stat_add(&as->stats, CORE_STAT_EPT_WRITTEN, h.cleared);
		/* The bits are handed out only after no processor writes unseen any more. */
		as_publish(as, this_cpu, &result);
	}
	plat_mutex_unlock(as->mutex);
	if (ret_change)
		*ret_change = result;
	return 0;
}
