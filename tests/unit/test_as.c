/* SPDX-License-Identifier: MIT */
/*
 * Address spaces against an oracle: a plain array that says, page by page, what
 * guest-physical memory is. Thousands of random batches, many of which must fail and
 * change nothing; after each, the EPT, the mapping list, the slots' counts, the tables'
 * number, and what the change said of itself must be what the array says.
 */
#include "mem_fixture.h"

#include <stdlib.h>

struct page {
	uint8_t slot; /* index + 1; 0: unmapped */
	uint8_t attrs;
	uint32_t offset_page;
};

#define SLOTS 3u

struct leaf {
	uint64_t bytes, hpa;
	uint8_t attrs;
};

struct oracle {
	struct mem_machine m;
	struct core_as *as;
	struct core_slot slots[SLOTS];
	size_t pages;
	uint64_t base; /* guest-physical address of page 0 */
	uint64_t max_page_bytes;
	struct page *now, *next;
	struct leaf *leaves; /* what `now` asks for, and how many tables that takes */
	uint64_t tables;
	uint64_t random;
	uint64_t stat_written, stat_splits, stat_merges, stat_need[3];
	uint64_t successes, failures[8];
};

static uint64_t rnd(struct oracle *o, uint64_t below)
{
	return test_random(&o->random) % below;
}

static uint64_t page_hpa(const struct oracle *o, const struct page *p)
{
	uint64_t bytes;
	hpa_t at;

	assert_int_equal(plat_mem_extent(o->slots[p->slot - 1].mem,
					 (uint64_t)p->offset_page * VMX_PAGE_SIZE, VMX_PAGE_SIZE,
					 &at, &bytes),
			 0);
	return at.v;
}

/* b follows a in one slot with the same attributes. */
static bool follows(const struct page *a, const struct page *b)
{
	return a->slot != 0 && a->slot == b->slot && a->attrs == b->attrs &&
	       b->offset_page == a->offset_page + 1;
}

/* --- what the EPT should be ------------------------------------------------------------- */

/* Whether one leaf of n pages should map pages first to first + n - 1. */
static bool fits(const struct oracle *o, const struct page *pages, size_t first, size_t n)
{
	uint64_t bytes = n * VMX_PAGE_SIZE, start;

	if (first % n != 0 || first + n > o->pages || bytes > o->max_page_bytes ||
	    pages[first].slot == 0)
		return false;
	for (size_t j = first + 1; j < first + n; j++) {
		if (!follows(&pages[j - 1], &pages[j]))
			return false;
	}
	start = page_hpa(o, &pages[first]);
	for (size_t j = first + 1; j < first + n; j++) {
		if (page_hpa(o, &pages[j]) != start + (j - first) * VMX_PAGE_SIZE)
			return false;
	}
	return start % bytes == 0;
}

/* The leaves that an array asks for, one element a page (the same for all of a large one). */
static struct leaf *leaves_of(const struct oracle *o, const struct page *pages)
{
	struct leaf *l = calloc(o->pages, sizeof(*l));

	assert_non_null(l);
	for (size_t i = 0, n; i < o->pages; i += n) {
		n = fits(o, pages, i, VMX_SIZE_1G / VMX_PAGE_SIZE)   ? VMX_SIZE_1G / VMX_PAGE_SIZE
		    : fits(o, pages, i, VMX_SIZE_2M / VMX_PAGE_SIZE) ? VMX_SIZE_2M / VMX_PAGE_SIZE
								     : 1;
		if (pages[i].slot == 0)
			continue;
		for (size_t j = i; j < i + n; j++) {
			l[j].bytes = n * VMX_PAGE_SIZE;
			l[j].hpa = page_hpa(o, &pages[i]);
			l[j].attrs = pages[i].attrs;
		}
	}
	return l;
}

/* Tables under a root that covers all: one for each region that has leaves smaller than it. */
static uint64_t tables_for(const struct oracle *o, const struct leaf *l)
{
	uint64_t tables = 1;

	for (unsigned level = 2; level <= 4; level++) {
		size_t n = ept_span_bytes(level) / VMX_PAGE_SIZE;
		uint64_t first_page = o->base / VMX_PAGE_SIZE;
		uint64_t last = UINT64_MAX;

		for (size_t i = 0; i < o->pages; i++) {
			uint64_t region = (first_page + i) / n;

			if (l[i].bytes != 0 && l[i].bytes < ept_span_bytes(level) &&
			    region != last) {
				last = region;
				tables++;
			}
		}
	}
	return tables;
}

static void check_ept(struct oracle *o)
{
	const struct leaf *l = o->leaves;

	for (size_t i = 0; i < o->pages;) {
		uint64_t a = o->base + i * VMX_PAGE_SIZE;
		struct core_leaf leaf;
		int rc = core_as_leaf(o->as, gpa(a), &leaf);

		if (l[i].bytes == 0) {
			assert_int_equal(rc, -ENOENT);
			i++;
			continue;
		}
		assert_int_equal(rc, 0);
		assert_int_equal(leaf.page_bytes, l[i].bytes);
		assert_int_equal(leaf.gpa.v, a & ~(l[i].bytes - 1));
		assert_int_equal(leaf.hpa.v, l[i].hpa);
		assert_int_equal(leaf.entry & 0x7f, l[i].attrs);
		assert_int_equal((leaf.entry & EPT_LARGE) != 0, l[i].bytes != VMX_SIZE_4K);
		i += l[i].bytes / VMX_PAGE_SIZE;
	}
	assert_int_equal(core_as_table_bytes(o->as), o->tables * VMX_PAGE_SIZE);
	assert_int_equal(plat_user_pages_used(o->m.plat), o->tables);
}

static void check_list(struct oracle *o)
{
	uint64_t mapped[SLOTS] = {0};
	gpa_t from = gpa(0);
	struct core_range r;

	for (size_t i = 0; i < o->pages;) {
		const struct page *p = &o->now[i];
		size_t n = 1;

		if (p->slot == 0) {
			assert_int_equal(
				core_as_lookup(o->as, gpa(o->base + i * VMX_PAGE_SIZE), &r),
				-ENOENT);
			i++;
			continue;
		}
		while (i + n < o->pages && follows(&p[n - 1], &p[n]))
			n++;
		assert_int_equal(core_as_ranges(o->as, from, &r, 1), 1);
		assert_int_equal(r.gpa.v, o->base + i * VMX_PAGE_SIZE);
		assert_int_equal(r.size, n * VMX_PAGE_SIZE);
		assert_int_equal(r.slot, o->slots[p->slot - 1].id);
		assert_int_equal(r.offset, (uint64_t)p->offset_page * VMX_PAGE_SIZE);
		assert_int_equal(r.prot | r.memtype << 3 | r.ignore_pat << 6, p->attrs);
		mapped[p->slot - 1] += n * VMX_PAGE_SIZE;
		from = gpa(r.gpa.v + r.size);
		i += n;
	}
	assert_int_equal(core_as_ranges(o->as, from, &r, 1), 0);
	for (unsigned s = 0; s < SLOTS; s++)
		assert_int_equal(o->slots[s].mapped_bytes, mapped[s]);
}

/* --- what a change should say of itself ----------------------------------------------------- */

static enum inval_need need_between(const struct leaf *a, const struct leaf *b)
{
	if (a->bytes == 0)
		return INVAL_NONE;
	if (a->bytes != b->bytes || a->hpa != b->hpa)
		return INVAL_REQUIRED;
	if ((a->attrs ^ b->attrs) & ~7u || (a->attrs & ~b->attrs))
		return INVAL_REQUIRED;
	return a->attrs != b->attrs ? INVAL_OPTIONAL : INVAL_NONE;
}

static void check_change(struct oracle *o, const struct leaf *a, uint64_t tables_before,
			 const struct core_change *c)
{
	const struct leaf *b = o->leaves;
	enum inval_need need = INVAL_NONE;
	uint64_t written = 0, splits = 0, merges = 0;

	for (size_t i = 0; i < o->pages; i++) {
		bool starts_a = a[i].bytes && (i * VMX_PAGE_SIZE) % a[i].bytes == 0;
		bool starts_b = b[i].bytes && (i * VMX_PAGE_SIZE) % b[i].bytes == 0;
		enum inval_need n = need_between(&a[i], &b[i]);

		need = n > need ? n : need;
		/* Leaves that are new or have changed. */
		if (starts_b && memcmp(&a[i], &b[i], sizeof(a[i])) != 0)
			written++;
		if (!starts_a)
			continue;
		/* Leaves that are gone with nothing in their place. */
		size_t n_pages = a[i].bytes / VMX_PAGE_SIZE, left = 0;

		for (size_t j = i; j < i + n_pages; j++)
			left += b[j].bytes != 0;
		if (left == 0)
			written++;
		else if (b[i].bytes < a[i].bytes)
			splits++;
	}
	/* A large leaf where there was something smaller. */
	for (size_t i = 0; i < o->pages; i++) {
		size_t n_pages = b[i].bytes / VMX_PAGE_SIZE, smaller = 0;

		if (b[i].bytes <= VMX_SIZE_4K || i % n_pages != 0)
			continue;
		for (size_t j = i; j < i + n_pages; j++)
			smaller += a[j].bytes != 0 && a[j].bytes < b[i].bytes;
		merges += smaller != 0;
	}
	assert_int_equal(c->decision.need, need);
	assert_int_equal(c->decision.instruction,
			 need == INVAL_NONE ? INVAL_INSN_NONE : INVAL_INSN_INVEPT_SINGLE);
	assert_int_equal(c->entries_written, written);
	assert_int_equal(c->entries_split, splits);
	assert_int_equal(c->tables_merged, merges);
	assert_int_equal(tables_before + c->tables_allocated - c->tables_freed, o->tables);
	o->stat_written += written;
	o->stat_splits += splits;
	o->stat_merges += merges;
	o->stat_need[need]++;
	assert_int_equal(core_stat_get(core_as_stats(o->as), CORE_STAT_EPT_WRITTEN),
			 o->stat_written);
	assert_int_equal(core_stat_get(core_as_stats(o->as), CORE_STAT_EPT_SPLITS), o->stat_splits);
	assert_int_equal(core_stat_get(core_as_stats(o->as), CORE_STAT_EPT_MERGES), o->stat_merges);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(core_stat_get(core_as_stats(o->as), CORE_STAT_INVAL_NONE + i),
				 o->stat_need[i]);
}

/* --- the operations on the array ----------------------------------------------------------- */

/* The run of compatible pages around page i. */
static void run_around(const struct oracle *o, const struct page *pages, size_t i, size_t *first,
		       size_t *last)
{
	*first = *last = i;
	while (*first > 0 && follows(&pages[*first - 1], &pages[*first]))
		(*first)--;
	while (*last + 1 < o->pages && follows(&pages[*last], &pages[*last + 1]))
		(*last)++;
}

/* Applies op to o->next, or tells why not, as core_as_apply() should. */
static int model_op(struct oracle *o, const struct core_map_op *op, struct core_conflict *c)
{
	size_t first = (op->gpa.v - o->base) / VMX_PAGE_SIZE, n = op->size / VMX_PAGE_SIZE;
	struct page *p = &o->next[first];

	if (op->kind != CORE_UNMAP && op->kind != CORE_REMAP &&
	    (op->prot == 0 || (op->prot & 3) == 2)) {
		c->field = CORE_FIELD_PROT;
		return -EINVAL;
	}
	for (size_t i = 0; i < n; i++) {
		size_t a, b;

		if (op->kind == CORE_MAP && p[i].slot != 0) {
			run_around(o, o->next, first + i, &a, &b);
			c->existing_first = o->base + a * VMX_PAGE_SIZE;
			c->existing_last = o->base + (b + 1) * VMX_PAGE_SIZE - 1;
			c->existing_slot = o->slots[p[i].slot - 1].id;
			c->field = CORE_FIELD_GPA;
			return -EEXIST;
		}
		if (op->kind != CORE_MAP && p[i].slot == 0) {
			for (b = i; b + 1 < n && p[b + 1].slot == 0;)
				b++;
			c->existing_first = op->gpa.v + i * VMX_PAGE_SIZE;
			c->existing_last = op->gpa.v + (b + 1) * VMX_PAGE_SIZE - 1;
			c->field = CORE_FIELD_GPA;
			return -ENOENT;
		}
	}
	for (size_t i = 0; i < n; i++) {
		if (op->kind == CORE_UNMAP) {
			p[i] = (struct page){0};
			continue;
		}
		if (op->kind == CORE_MAP)
			p[i].attrs = (uint8_t)(op->prot | op->memtype << 3 | op->ignore_pat << 6);
		if (op->kind == CORE_PROTECT)
			p[i].attrs = (uint8_t)((p[i].attrs & ~7u) | op->prot);
		if (op->kind == CORE_MAP || op->kind == CORE_REMAP) {
			p[i].slot = (uint8_t)(op->slot - o->slots + 1);
			p[i].offset_page = (uint32_t)(op->offset / VMX_PAGE_SIZE + i);
		}
	}
	return 0;
}

/* Sizes that make large leaves, and cut them. */
static uint64_t random_pages(struct oracle *o, uint64_t room)
{
	static const uint64_t sizes[] = {1, 2, 7, 64, 511, 512, 513, 1024, 4096, 262144};
	uint64_t n = sizes[rnd(o, VMX_ARRAY_SIZE(sizes))];

	return n < room ? n : room;
}

static void random_op(struct oracle *o, struct core_map_op *op)
{
	static const uint32_t prots[] = {1, 3, 5, 7, 4, 7, 7, 7, 7, 7,
					 3, 1, 7, 7, 7, 7, 7, 7, 0, 2};
	static const uint32_t types[] = {6, 6, 6, 6, 6, 6, 6, 0, 1, 4, 5};
	uint64_t slot_pages, first = rnd(o, o->pages), pages;

	if (rnd(o, 3) != 0)
		first -= first % (rnd(o, 2) ? 512 : 64);
	pages = random_pages(o, o->pages - first);
	*op = (struct core_map_op){
		.kind = (uint32_t)rnd(o, 4),
		.prot = prots[rnd(o, VMX_ARRAY_SIZE(prots))],
		.memtype = types[rnd(o, VMX_ARRAY_SIZE(types))],
		.ignore_pat = rnd(o, 8) == 0,
		.slot = &o->slots[rnd(o, SLOTS)],
	};
	/* Follow the state so far often enough that many batches succeed. */
	if (rnd(o, 32) != 0) {
		bool mapped = o->next[first].slot != 0;
		uint64_t n = 1;

		op->kind = mapped ? CORE_UNMAP + (uint32_t)rnd(o, 3) : CORE_MAP;
		while (n < pages && (o->next[first + n].slot != 0) == mapped)
			n++;
		pages = n;
	}
	slot_pages = op->slot->size / VMX_PAGE_SIZE;
	if (pages > slot_pages)
		pages = slot_pages;
	op->gpa = gpa(o->base + first * VMX_PAGE_SIZE);
	op->size = pages * VMX_PAGE_SIZE;
	/* Often the same place in the slot, so that ranges join and leaves grow back. */
	op->offset = first + pages <= slot_pages && rnd(o, 4) != 0
			     ? first * VMX_PAGE_SIZE
			     : rnd(o, slot_pages - pages + 1) * VMX_PAGE_SIZE;
}

static void compare_conflicts(const struct core_conflict *got, const struct core_conflict *want,
			      const struct core_map_op *op)
{
	assert_int_equal(got->op_index, want->op_index);
	assert_int_equal(got->field, want->field);
	assert_int_equal(got->existing_first, want->existing_first);
	assert_int_equal(got->existing_last, want->existing_last);
	assert_int_equal(got->existing_slot, want->existing_slot);
	assert_int_equal(got->requested_first, op->gpa.v);
	assert_int_equal(got->requested_last, op->gpa.v + op->size - 1);
}

#define BATCH_MAX 12u
#define LARGE_BATCH 3000u

/* What the array says of a batch; *ret_want: the first operation that can't be done. */
static int model_batch(struct oracle *o, const struct core_map_op *ops, size_t count,
		       struct core_conflict *ret_want)
{
	int rc = 0;

	memcpy(o->next, o->now, o->pages * sizeof(*o->now));
	for (size_t i = 0; i < count && rc == 0; i++) {
		ret_want->op_index = (uint32_t)i;
		rc = model_op(o, &ops[i], ret_want);
	}
	return rc;
}

static void accept(struct oracle *o, const struct core_change *change)
{
	struct leaf *before = o->leaves;
	uint64_t tables_before = o->tables;
	struct page *t = o->now;

	o->now = o->next;
	o->next = t;
	o->leaves = leaves_of(o, o->now);
	o->tables = tables_for(o, o->leaves);
	check_ept(o);
	check_change(o, before, tables_before, change);
	free(before);
	o->successes++;
}

static void check_batch(struct oracle *o, const struct core_map_op *ops, size_t count)
{
	struct core_change change, dry;
	struct core_conflict want = {0}, got = {0};
	int rc = model_batch(o, ops, count, &want), dry_rc;

	memset(&dry, 0xee, sizeof(dry));
	memset(&change, 0xee, sizeof(change));
	dry_rc = core_as_apply(o->as, &o->m.core->cpus[0], ops, count, CORE_CHANGE_DRY_RUN, &dry,
			       &got);
	assert_int_equal(dry_rc, rc);
	check_ept(o);
	if (rc != 0)
		compare_conflicts(&got, &want, &ops[want.op_index]);
	assert_int_equal(core_as_apply(o->as, &o->m.core->cpus[0], ops, count, 0, &change, &got),
			 rc);
	assert_memory_equal(&change, &dry, sizeof(change));
	if (rc != 0) {
		compare_conflicts(&got, &want, &ops[want.op_index]);
		check_ept(o);
		o->failures[rc == -EEXIST ? 0 : rc == -ENOENT ? 1 : 2]++;
	} else {
		accept(o, &change);
	}
	check_list(o);
}

static void one_batch(struct oracle *o)
{
	struct core_map_op ops[BATCH_MAX];
	size_t count = 1 + rnd(o, rnd(o, 2) ? 2 : BATCH_MAX);
	struct core_conflict ignored;
	int rc = 0;

	/* Each follows the state that those before it lead to. */
	memcpy(o->next, o->now, o->pages * sizeof(*o->now));
	for (size_t i = 0; i < count; i++) {
		random_op(o, &ops[i]);
		if (rc == 0)
			rc = model_op(o, &ops[i], &ignored);
	}
	check_batch(o, ops, count);
}

/* One operation that can be done, on one to three pages from first on. */
static size_t fitting_op(struct oracle *o, size_t first, struct core_map_op *op)
{
	size_t most = 1 + rnd(o, 3), n = 1;
	bool mapped = o->now[first].slot != 0;

	while (n < most && first + n < o->pages && (o->now[first + n].slot != 0) == mapped)
		n++;
	*op = (struct core_map_op){
		.kind = mapped ? CORE_UNMAP + (uint32_t)rnd(o, 3) : CORE_MAP,
		.prot = rnd(o, 2) ? CORE_PROT_RWX : CORE_PROT_R,
		.memtype = CORE_MT_WB,
		.gpa = gpa(o->base + first * VMX_PAGE_SIZE),
		.size = n * VMX_PAGE_SIZE,
		.slot = &o->slots[rnd(o, SLOTS)],
	};
	op->offset = rnd(o, 2) && first + n <= op->slot->size / VMX_PAGE_SIZE
			     ? first * VMX_PAGE_SIZE
			     : rnd(o, op->slot->size / VMX_PAGE_SIZE - n + 1) * VMX_PAGE_SIZE;
	return n;
}

/* Everything anew, as one range: each of the last operation's places was another's before. */
static void one_renewal(struct oracle *o, struct core_map_op *ops)
{
	size_t count = 0;

	for (size_t i = 0, n; i < o->pages; i += n) {
		for (n = 1; i + n < o->pages && !o->now[i + n].slot == !o->now[i].slot;)
			n++;
		if (o->now[i].slot == 0)
			continue;
		if (count == LARGE_BATCH)
			return;
		ops[count++] = (struct core_map_op){.kind = CORE_UNMAP,
						    .gpa = gpa(o->base + i * VMX_PAGE_SIZE),
						    .size = n * VMX_PAGE_SIZE};
	}
	ops[count++] = (struct core_map_op){.kind = CORE_MAP,
					    .prot = CORE_PROT_RWX,
					    .memtype = CORE_MT_WB,
					    .gpa = gpa(o->base),
					    .size = o->pages * VMX_PAGE_SIZE,
					    .slot = &o->slots[0]};
	check_batch(o, ops, count);
}

static void shuffle(struct oracle *o, struct core_map_op *ops, size_t count)
{
	for (size_t i = count; i-- > 1;) {
		size_t k = rnd(o, i + 1);
		struct core_map_op t = ops[i];

		ops[i] = ops[k];
		ops[k] = t;
	}
}

/*
 * Thousands of operations on places apart, in any order; sometimes one among them that
 * touches another's place, or can't be done.
 */
static void one_large_batch(struct oracle *o, struct core_map_op *ops)
{
	size_t max = 2 + rnd(o, rnd(o, 3) ? LARGE_BATCH : 60), count = 0;
	size_t at = rnd(o, rnd(o, 2) ? 8 : o->pages - 1), gap = rnd(o, 2) ? 1 : 16;

	for (; at < o->pages && count < max; at += rnd(o, gap))
		at += fitting_op(o, at, &ops[count++]);
	if (rnd(o, 4) != 0)
		shuffle(o, ops, count);
	memcpy(o->next, o->now, o->pages * sizeof(*o->now));
	if (rnd(o, 3) == 0)
		random_op(o, &ops[rnd(o, count)]);
	if (rnd(o, 8) == 0)
		ops[rnd(o, count)].prot = 2;
	check_batch(o, ops, count);
}

/* The sanitizers' builds are an order slower: they look for other things. */
#if defined(PLAT_THREAD_SANITIZER) || defined(__SANITIZE_ADDRESS__)
#define BATCHES(n) ((n) / 3)
#else
#define BATCHES(n) (n)
#endif

static void run_oracle(size_t pages, uint64_t max_page_bytes, bool scatter, unsigned batches,
		       uint64_t seed, bool large)
{
	struct core_map_op *ops = calloc(LARGE_BATCH + 2, sizeof(*ops));
	static const uint64_t slot_pages[SLOTS] = {0, 3000, 513};
	struct oracle o = {.pages = pages, .max_page_bytes = max_page_bytes, .random = seed};

	assert_non_null(ops);
	mem_machine_start(&o.m, &(struct mem_machine_config){.scatter = scatter, .seed = seed});
	o.base = GiB(seed % 3);
	for (uint32_t s = 0; s < SLOTS; s++)
		o.slots[s] = mem_slot(&o.m, 100 + s,
				      (slot_pages[s] ? slot_pages[s] : pages) * VMX_PAGE_SIZE);
	o.as = mem_as(&o.m, max_page_bytes, false);
	o.now = calloc(pages, sizeof(*o.now));
	o.next = calloc(pages, sizeof(*o.next));
	assert_non_null(o.now);
	assert_non_null(o.next);
	o.leaves = leaves_of(&o, o.now);
	o.tables = tables_for(&o, o.leaves);
	/* The processor has used it, so that changes flush. */
	inval_enter(&o.m.core->cpus[0], o.as);
	inval_leave(&o.m.core->cpus[0]);
	for (unsigned i = 0; i < batches; i++) {
		unsigned which = large ? (unsigned)rnd(&o, 8) : 7;

		if (which == 0)
			one_renewal(&o, ops);
		else if (which < 6)
			one_large_batch(&o, ops);
		else
			one_batch(&o);
	}
	/* The test is worth something only if each kind of thing happened. */
	assert_true(o.successes > batches / 8);
	assert_true(o.failures[0] > 0 && o.failures[1] > 0 && o.failures[2] > 0);
	assert_true(o.stat_need[0] > 0 && o.stat_need[2] > 0);
	if (max_page_bytes > VMX_SIZE_4K && !scatter)
		assert_true(o.stat_splits > 0 && o.stat_merges > 0);
	else
		assert_true(o.stat_splits == 0 && o.stat_merges == 0);
	assert_int_equal(o.m.hw[0].invept_count, 1 + o.stat_need[2]);
	core_as_destroy(o.as);
	for (unsigned s = 0; s < SLOTS; s++)
		mem_slot_drop(&o.m, &o.slots[s]);
	mem_machine_stop(&o.m);
	free(o.leaves);
	free(o.now);
	free(o.next);
	free(ops);
}

static void test_oracle_4k(void **state)
{
	(void)state;
	run_oracle(4096, VMX_SIZE_4K, false, BATCHES(700), 1, false);
}

static void test_oracle_2m(void **state)
{
	(void)state;
	run_oracle(4096 + 77, VMX_SIZE_2M, false, BATCHES(1200), 2, false);
	run_oracle(8192, VMX_SIZE_2M, false, BATCHES(500), 3, false);
}

static void test_oracle_scatter(void **state)
{
	(void)state;
	run_oracle(4096, VMX_SIZE_1G, true, BATCHES(500), 4, false);
}

static void test_oracle_1g(void **state)
{
	(void)state;
	run_oracle(2 * 262144 + 4096, VMX_SIZE_1G, false, 24, 5, false);
}

static void test_oracle_large_batches(void **state)
{
	(void)state;
	run_oracle(8192, VMX_SIZE_4K, false, BATCHES(400), 6, true);
	run_oracle(8192, VMX_SIZE_2M, false, BATCHES(400), 7, true);
	run_oracle(4096, VMX_SIZE_4K, true, BATCHES(200), 8, true);
}

/* --- many ranges --------------------------------------------------------------------------- */

/* A list of thousands of ranges: chunks divide, and take each other in again. */
static void test_many_ranges(void **state)
{
	enum { N = 20000 };
	struct mem_machine m;
	struct core_map_op *ops = calloc(N, sizeof(*ops));
	struct core_change change;
	struct core_conflict conflict;
	struct core_range r;
	struct core_slot slot;
	struct core_as *as;
	uint64_t random = 6;

	(void)state;
	assert_non_null(ops);
	mem_machine_start(&m, &(struct mem_machine_config){0});
	slot = mem_slot(&m, 1, N * VMX_PAGE_SIZE);
	as = mem_as(&m, 0, false);
	/* Every other page, in shuffled order: nothing joins. */
	for (unsigned i = 0; i < N; i++)
		ops[i] = (struct core_map_op){.kind = CORE_MAP,
					      .prot = CORE_PROT_RWX,
					      .memtype = CORE_MT_WB,
					      .gpa = gpa(2 * i * VMX_PAGE_SIZE),
					      .size = VMX_PAGE_SIZE,
					      .slot = &slot,
					      .offset = i * VMX_PAGE_SIZE};
	for (unsigned i = N - 1; i > 0; i--) {
		unsigned j = (unsigned)(test_random(&random) % (i + 1));
		struct core_map_op t = ops[i];

		ops[i] = ops[j];
		ops[j] = t;
	}
	assert_int_equal(core_as_apply(as, NULL, ops, N, 0, &change, &conflict), 0);
	assert_int_equal(change.entries_written, N);
	assert_int_equal(as->ranges.total, N);
	assert_int_equal(slot.mapped_bytes, N * VMX_PAGE_SIZE);
	assert_true(as->ranges.count >= N / MEM_CHUNK_RANGES);
	/* One by one, a few more than half go. */
	for (unsigned i = 0; i < N / 2 + 100; i++)
		mem_do(as,
		       (struct core_map_op){
			       .kind = CORE_UNMAP, .gpa = ops[i].gpa, .size = VMX_PAGE_SIZE},
		       0);
	assert_int_equal(as->ranges.total, N - (N / 2 + 100));
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(core_as_lookup(as, ops[i].gpa, &r), i < N / 2 + 100 ? -ENOENT : 0);
	/* A last one that fails takes the whole batch back. */
	for (unsigned i = 0; i < N; i++)
		ops[i].kind = i < N / 2 + 100 ? CORE_MAP : CORE_UNMAP;
	ops[N - 1].kind = CORE_MAP;
	assert_int_equal(core_as_apply(as, NULL, ops, N, 0, &change, &conflict), -EEXIST);
	assert_int_equal(conflict.op_index, N - 1);
	assert_int_equal(as->ranges.total, N - (N / 2 + 100));
	/* The rest goes in one batch: few chunks are left behind on the way. */
	for (unsigned i = N / 2 + 100; i < N; i++)
		ops[i].kind = CORE_UNMAP;
	assert_int_equal(core_as_apply(as, NULL, &ops[N / 2 + 100], N - (N / 2 + 100) - 50, 0,
				       &change, &conflict),
			 0);
	assert_int_equal(as->ranges.total, 50);
	assert_true(as->ranges.count <= 10);
	core_as_destroy(as);
	assert_int_equal(slot.mapped_bytes, 0);
	mem_slot_drop(&m, &slot);
	mem_machine_stop(&m);
	free(ops);
}

static void test_range_limit(void **state)
{
	struct mem_machine m;
	struct core_map_op *ops = calloc(CORE_MAX_OPS, sizeof(*ops));
	struct core_change change;
	struct core_conflict conflict;
	struct core_slot slot;
	struct core_as *as;
	uint64_t a = 0;

	(void)state;
	assert_non_null(ops);
	mem_machine_start(&m, &(struct mem_machine_config){0});
	slot = mem_slot(&m, 1, VMX_PAGE_SIZE);
	as = mem_as(&m, 0, false);
	for (uint32_t done = 0; done < CORE_MAX_RANGES; done += CORE_MAX_OPS) {
		for (uint32_t i = 0; i < CORE_MAX_OPS; i++, a += 2 * VMX_PAGE_SIZE)
			ops[i] = (struct core_map_op){.kind = CORE_MAP,
						      .prot = CORE_PROT_R,
						      .memtype = CORE_MT_WB,
						      .gpa = gpa(a),
						      .size = VMX_PAGE_SIZE,
						      .slot = &slot};
		assert_int_equal(core_as_apply(as, NULL, ops, CORE_MAX_OPS, 0, &change, &conflict),
				 0);
	}
	ops[0].gpa = gpa(a);
	assert_int_equal(core_as_apply(as, NULL, ops, 1, 0, &change, &conflict), -E2BIG);
	assert_int_equal(conflict.field, CORE_FIELD_COUNT);
	assert_int_equal(conflict.limit, CORE_MAX_RANGES);
	assert_int_equal(as->ranges.total, CORE_MAX_RANGES);
	core_as_destroy(as);
	mem_slot_drop(&m, &slot);
	mem_machine_stop(&m);
	free(ops);
}

/* --- bad input ----------------------------------------------------------------------------- */

static const struct {
	const char *what;
	struct core_map_op op; /* on a space with [0, 2 MiB) mapped; slot: 4 MiB if with_slot */
	bool with_slot, no_exec_only;
	int error;
	enum core_field field;
	uint64_t limit;
} bad_ops[] = {
	{"kind", {.kind = 4, .size = 4096}, .error = -EINVAL, .field = CORE_FIELD_KIND, .limit = 3},
	{"gpa not aligned",
	 {.kind = CORE_UNMAP, .gpa = {1}, .size = 4096},
	 .error = -EINVAL,
	 .field = CORE_FIELD_GPA,
	 .limit = 4096},
	{"no size",
	 {.kind = CORE_UNMAP},
	 .error = -EINVAL,
	 .field = CORE_FIELD_SIZE,
	 .limit = 4096},
	{"size not aligned",
	 {.kind = CORE_UNMAP, .size = 4097},
	 .error = -EINVAL,
	 .field = CORE_FIELD_SIZE,
	 .limit = 4096},
	{"gpa past the end",
	 {.kind = CORE_UNMAP, .gpa = {UINT64_C(1) << 46}, .size = 4096},
	 .error = -ERANGE,
	 .field = CORE_FIELD_GPA,
	 .limit = UINT64_C(1) << 46},
	{"size past the end",
	 {.kind = CORE_UNMAP, .gpa = {(UINT64_C(1) << 46) - 4096}, .size = 8192},
	 .error = -ERANGE,
	 .field = CORE_FIELD_SIZE,
	 .limit = 4096},
	{"size wraps",
	 {.kind = CORE_UNMAP, .gpa = {4096}, .size = 0 - UINT64_C(4096)},
	 .error = -ERANGE,
	 .field = CORE_FIELD_SIZE,
	 .limit = (UINT64_C(1) << 46) - 4096},
	{"no slot",
	 {.kind = CORE_MAP, .gpa = {0x400000}, .size = 4096, .prot = 7, .memtype = 6},
	 .error = -EINVAL,
	 .field = CORE_FIELD_SLOT},
	{"offset not aligned",
	 {.kind = CORE_REMAP, .size = 4096, .offset = 8},
	 .with_slot = true,
	 .error = -EINVAL,
	 .field = CORE_FIELD_OFFSET,
	 .limit = 4096},
	{"offset past the slot",
	 {.kind = CORE_REMAP, .size = 4096, .offset = 0x400000},
	 .with_slot = true,
	 .error = -ERANGE,
	 .field = CORE_FIELD_OFFSET,
	 .limit = 0x400000},
	{"size past the slot",
	 {.kind = CORE_REMAP, .size = 8192, .offset = 0x3ff000},
	 .with_slot = true,
	 .error = -ERANGE,
	 .field = CORE_FIELD_SIZE,
	 .limit = 4096},
	{"protect to nothing",
	 {.kind = CORE_PROTECT, .size = 4096, .prot = 0},
	 .error = -EINVAL,
	 .field = CORE_FIELD_PROT,
	 .limit = 7},
	{"write only",
	 {.kind = CORE_PROTECT, .size = 4096, .prot = CORE_PROT_W},
	 .error = -EINVAL,
	 .field = CORE_FIELD_PROT,
	 .limit = 7},
	{"write and execute",
	 {.kind = CORE_PROTECT, .size = 4096, .prot = CORE_PROT_W | CORE_PROT_X},
	 .error = -EINVAL,
	 .field = CORE_FIELD_PROT,
	 .limit = 7},
	{"unknown permission",
	 {.kind = CORE_PROTECT, .size = 4096, .prot = 9},
	 .error = -EINVAL,
	 .field = CORE_FIELD_PROT,
	 .limit = 7},
	{"execute only, not offered",
	 {.kind = CORE_PROTECT, .size = 4096, .prot = CORE_PROT_X},
	 .no_exec_only = true,
	 .error = -EINVAL,
	 .field = CORE_FIELD_PROT,
	 .limit = 7},
	{"execute only, offered",
	 {.kind = CORE_PROTECT, .size = 4096, .prot = CORE_PROT_X},
	 .error = 0},
	{"memory type 2",
	 {.kind = CORE_MAP, .gpa = {0x400000}, .size = 4096, .prot = 7, .memtype = 2},
	 .with_slot = true,
	 .error = -EINVAL,
	 .field = CORE_FIELD_MEMTYPE,
	 .limit = 6},
	{"memory type 7",
	 {.kind = CORE_MAP, .gpa = {0x400000}, .size = 4096, .prot = 7, .memtype = 7},
	 .with_slot = true,
	 .error = -EINVAL,
	 .field = CORE_FIELD_MEMTYPE,
	 .limit = 6},
	{"memory type 40",
	 {.kind = CORE_MAP, .gpa = {0x400000}, .size = 4096, .prot = 7, .memtype = 40},
	 .with_slot = true,
	 .error = -EINVAL,
	 .field = CORE_FIELD_MEMTYPE,
	 .limit = 6},
	{"ignore PAT 2",
	 {.kind = CORE_MAP,
	  .gpa = {0x400000},
	  .size = 4096,
	  .prot = 7,
	  .memtype = 6,
	  .ignore_pat = 2},
	 .with_slot = true,
	 .error = -EINVAL,
	 .field = CORE_FIELD_MEMTYPE,
	 .limit = 1},
};

static void test_bad_operations(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(bad_ops); i++) {
		struct mem_machine m;
		struct core_map_op op = bad_ops[i].op;
		struct core_change change, untouched;
		struct core_conflict conflict = {0};
		struct core_slot slot;
		struct core_as *as;
		int rc;

		mem_machine_start(&m, &(struct mem_machine_config){.maxphyaddr = 46});
		m.core->caps.ept_exec_only = !bad_ops[i].no_exec_only;
		slot = mem_slot(&m, 1, MiB(4));
		as = mem_as(&m, 0, false);
		mem_map(as, 0, MiB(2), &slot, 0);
		if (bad_ops[i].with_slot)
			op.slot = &slot;
		memset(&change, 0xaa, sizeof(change));
		untouched = change;
		rc = core_as_apply(as, NULL, &op, 1, 0, &change, &conflict);
		if (rc != bad_ops[i].error)
			fail_msg("%s: %d", bad_ops[i].what, rc);
		if (rc != 0) {
			assert_int_equal(conflict.field, bad_ops[i].field);
			assert_int_equal(conflict.limit, bad_ops[i].limit);
			assert_memory_equal(&change, &untouched, sizeof(change));
			assert_int_equal(slot.mapped_bytes, MiB(2));
		}
		core_as_destroy(as);
		mem_slot_drop(&m, &slot);
		mem_machine_stop(&m);
	}
}

static void test_counts(void **state)
{
	struct mem_machine m;
	struct core_conflict conflict = {0};
	struct core_as *as;
	struct core_map_op op = {0};

	(void)state;
	mem_machine_start(&m, &(struct mem_machine_config){0});
	as = mem_as(&m, 0, false);
	assert_int_equal(core_as_apply(as, NULL, &op, 0, 0, NULL, &conflict), -EINVAL);
	assert_int_equal(conflict.field, CORE_FIELD_COUNT);
	assert_int_equal(core_as_apply(as, NULL, &op, CORE_MAX_OPS + 1, 0, NULL, &conflict),
			 -E2BIG);
	assert_int_equal(conflict.limit, CORE_MAX_OPS);
	assert_int_equal(core_as_apply(as, NULL, &op, CORE_MAX_OPS + 1, 0, NULL, NULL), -E2BIG);
	core_as_destroy(as);
	mem_machine_stop(&m);
}

static const struct {
	struct core_as_config cfg;
	bool no_1g, no_2m, no_walk5, no_ad;
	int error;
	uint64_t eptp_low; /* bits 11:0 */
} configs[] = {
	{{.walk_length = 4}, .eptp_low = 0x1e},
	{{.walk_length = 4, .accessed_dirty = true}, .eptp_low = 0x5e},
	{{.walk_length = 4, .accessed_dirty = true}, .no_ad = true, .eptp_low = 0x1e},
	{{.walk_length = 5}, .eptp_low = 0x26},
	{{.walk_length = 5}, .no_walk5 = true, .error = -EINVAL},
	{{.walk_length = 3}, .error = -EINVAL},
	{{.walk_length = 4, .max_page_bytes = VMX_SIZE_1G}, .eptp_low = 0x1e},
	{{.walk_length = 4, .max_page_bytes = VMX_SIZE_1G}, .no_1g = true, .error = -EINVAL},
	{{.walk_length = 4, .max_page_bytes = VMX_SIZE_2M},
	 .no_1g = true,
	 .no_2m = true,
	 .error = -EINVAL},
	{{.walk_length = 4, .max_page_bytes = VMX_SIZE_4K},
	 .no_1g = true,
	 .no_2m = true,
	 .eptp_low = 0x1e},
	{{.walk_length = 4, .max_page_bytes = 12345}, .error = -EINVAL},
};

static void test_configs(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(configs); i++) {
		struct mem_machine m;
		struct core_as *as = NULL;

		mem_machine_start(&m, &(struct mem_machine_config){0});
		m.core->caps.ept_1g = !configs[i].no_1g;
		m.core->caps.ept_2m = !configs[i].no_2m;
		m.core->caps.ept_walk5 = !configs[i].no_walk5;
		m.core->caps.ept_ad = !configs[i].no_ad;
		assert_int_equal(core_as_create(m.core, &configs[i].cfg, &as), configs[i].error);
		if (as) {
			assert_int_equal(core_as_eptp(as) & 0xfff, configs[i].eptp_low);
			assert_int_equal(core_ep4ta(core_as_eptp(as)), as->ept.root_hpa.v);
		}
		core_as_destroy(as);
		mem_machine_stop(&m);
	}
}

/* Memory gives out in the middle of reserving: nothing has changed. */
static void test_out_of_tables(void **state)
{
	struct mem_machine m;
	struct core_map_op op = {.kind = CORE_MAP, .prot = 7, .memtype = 6};
	struct core_conflict conflict;
	struct core_change change;
	struct core_slot slot;
	struct core_as *as;

	(void)state;
	/* 4 MiB of arena less its first 64 KiB: one chunk of tables, and a small slot. */
	mem_machine_start(&m, &(struct mem_machine_config){.arena_bytes = MiB(4)});
	slot = mem_slot(&m, 1, VMX_PAGE_SIZE);
	as = mem_as(&m, VMX_SIZE_4K, false);
	op.slot = &slot;
	op.size = VMX_PAGE_SIZE;
	for (unsigned i = 0; i < 400; i++) {
		/* Each page needs two tables of its own, and all share one. */
		op.gpa = gpa(i * VMX_SIZE_1G);
		if (core_as_apply(as, NULL, &op, 1, 0, &change, &conflict) != 0)
			break;
	}
	assert_int_equal(core_as_apply(as, NULL, &op, 1, 0, &change, &conflict), -ENOMEM);
	assert_int_equal(core_as_table_bytes(as), plat_user_pages_used(m.plat) * VMX_PAGE_SIZE);
	assert_int_equal(slot.mapped_bytes, as->ranges.total * VMX_PAGE_SIZE);
	assert_int_equal(core_as_table_bytes(as), (2 + 2 * as->ranges.total) * VMX_PAGE_SIZE);
	core_as_destroy(as);
	mem_slot_drop(&m, &slot);
	mem_machine_stop(&m);
}

/* --- left-out invalidations ---------------------------------------------------------------- */

struct step {
	struct core_map_op op;
	bool skip;
	enum inval_need need;
	enum inval_reason reason;
	unsigned invepts; /* in all, after it */
};

#define OP_MAP(a, n, o)                                                                           \
	{                                                                                         \
		.kind = CORE_MAP, .prot = 7, .memtype = 6, .gpa = {a}, .size = (n), .offset = (o) \
	}
#define OP_UNMAP(a, n)                                      \
	{                                                   \
		.kind = CORE_UNMAP, .gpa = {a}, .size = (n) \
	}
#define OP_REMAP(a, n, o)                                                  \
	{                                                                  \
		.kind = CORE_REMAP, .gpa = {a}, .size = (n), .offset = (o) \
	}
#define OP_PROTECT(a, n, p)                                                \
	{                                                                  \
		.kind = CORE_PROTECT, .gpa = {a}, .size = (n), .prot = (p) \
	}

/* On a space that maps [0, 4 MiB) to offset 0 and has been used by one processor (one INVEPT). */
static const struct {
	const char *what;
	struct step steps[6];
} skips[] = {
	{"deferred, then absent to present: nothing pending",
	 {{OP_UNMAP(0x1000, 0x1000), false, INVAL_REQUIRED, INVAL_REASON_PAGE_SIZE_CHANGED, 2},
	  {OP_MAP(0x1000, 0x1000, 0x5000), false, INVAL_NONE, INVAL_REASON_WAS_NOT_PRESENT, 2}}},
	{"left out, then another page: pending",
	 {{OP_UNMAP(0x1000, 0x1000), false, INVAL_REQUIRED, INVAL_REASON_PAGE_SIZE_CHANGED, 2},
	  {OP_UNMAP(0x2000, 0x1000), true, INVAL_REQUIRED, INVAL_REASON_UNMAPPED, 2},
	  {OP_MAP(0x2000, 0x1000, 0x9000), false, INVAL_REQUIRED, INVAL_REASON_PENDING, 3},
	  {OP_UNMAP(0x2000, 0x1000), false, INVAL_REQUIRED, INVAL_REASON_UNMAPPED, 4},
	  {OP_MAP(0x2000, 0x1000, 0x8000), false, INVAL_NONE, INVAL_REASON_WAS_NOT_PRESENT, 4}}},
	{"left out, then the same page: what is cached is right",
	 {{OP_UNMAP(0x1000, 0x1000), false, INVAL_REQUIRED, INVAL_REASON_PAGE_SIZE_CHANGED, 2},
	  {OP_UNMAP(0x2000, 0x1000), true, INVAL_REQUIRED, INVAL_REASON_UNMAPPED, 2},
	  {OP_MAP(0x2000, 0x1000, 0x2000), false, INVAL_NONE, INVAL_REASON_WAS_NOT_PRESENT, 2}}},
	{"left out, elsewhere nothing is pending",
	 {{OP_UNMAP(0x1000, 0x1000), false, INVAL_REQUIRED, INVAL_REASON_PAGE_SIZE_CHANGED, 2},
	  {OP_UNMAP(0x2000, 0x1000), true, INVAL_REQUIRED, INVAL_REASON_UNMAPPED, 2},
	  {OP_MAP(0x1000, 0x1000, 0x9000), false, INVAL_NONE, INVAL_REASON_WAS_NOT_PRESENT, 2}}},
	{"left out remap of a large leaf, repeated: the repetition repairs",
	 {{OP_REMAP(0x200000, 0x200000, 0), true, INVAL_REQUIRED, INVAL_REASON_LEAF_ADDRESS_CHANGED,
	   1},
	  {OP_REMAP(0x200000, 0x200000, 0), false, INVAL_REQUIRED, INVAL_REASON_PENDING, 2},
	  {OP_REMAP(0x200000, 0x200000, 0), false, INVAL_NONE, INVAL_REASON_NO_CHANGE, 2}}},
	{"left out remap and back: what is cached may be either",
	 {{OP_REMAP(0x200000, 0x200000, 0), true, INVAL_REQUIRED, INVAL_REASON_LEAF_ADDRESS_CHANGED,
	   1},
	  {OP_REMAP(0x200000, 0x200000, 0x200000), false, INVAL_REQUIRED,
	   INVAL_REASON_LEAF_ADDRESS_CHANGED, 2}}},
	{"left out protection, then given back",
	 {{OP_PROTECT(0, 0x200000, 1), true, INVAL_REQUIRED, INVAL_REASON_PERMISSION_REMOVED, 1},
	  {OP_PROTECT(0, 0x200000, 7), false, INVAL_OPTIONAL, INVAL_REASON_PERMISSION_ADDED, 1}}},
	{"left out protection, then another one that removes nothing more",
	 {{OP_PROTECT(0, 0x200000, 1), true, INVAL_REQUIRED, INVAL_REASON_PERMISSION_REMOVED, 1},
	  {OP_PROTECT(0, 0x200000, 5), false, INVAL_REQUIRED, INVAL_REASON_PENDING, 2}}},
	{"left out split: whatever is below is unknown",
	 {{OP_UNMAP(0x1000, 0x1000), true, INVAL_REQUIRED, INVAL_REASON_PAGE_SIZE_CHANGED, 1},
	  {OP_MAP(0x1000, 0x1000, 0x1000), false, INVAL_REQUIRED, INVAL_REASON_PAGE_SIZE_CHANGED,
	   2}}},
	{"left out split, then another page in the hole",
	 {{OP_UNMAP(0x1000, 0x1000), true, INVAL_REQUIRED, INVAL_REASON_PAGE_SIZE_CHANGED, 1},
	  {OP_MAP(0x1000, 0x1000, 0x9000), false, INVAL_REQUIRED, INVAL_REASON_PENDING, 2}}},
	{"left out, then an optional change elsewhere does not make up for it",
	 {{OP_UNMAP(0, 0x200000), true, INVAL_REQUIRED, INVAL_REASON_UNMAPPED, 1},
	  {OP_PROTECT(0x200000, 0x200000, 1), false, INVAL_REQUIRED,
	   INVAL_REASON_PERMISSION_REMOVED, 2},
	  {OP_MAP(0, 0x200000, 0x200000), false, INVAL_NONE, INVAL_REASON_WAS_NOT_PRESENT, 2}}},
	{"left out unmapping of a large leaf, small pages instead",
	 {{OP_UNMAP(0, 0x200000), true, INVAL_REQUIRED, INVAL_REASON_UNMAPPED, 1},
	  {OP_MAP(0x1000, 0x1000, 0x1000), false, INVAL_REQUIRED, INVAL_REASON_PENDING, 2}}},
};

static void test_left_out(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(skips); i++) {
		struct mem_machine m;
		struct core_slot slot;
		struct core_as *as;
		struct core_cpu *cpu;

		mem_machine_start(&m, &(struct mem_machine_config){0});
		cpu = &m.core->cpus[0];
		slot = mem_slot(&m, 1, MiB(4));
		as = mem_as(&m, VMX_SIZE_2M, false);
		mem_map(as, 0, MiB(4), &slot, 0);
		inval_enter(cpu, as);
		inval_leave(cpu);
		for (size_t j = 0; j < VMX_ARRAY_SIZE(skips[i].steps); j++) {
			const struct step *s = &skips[i].steps[j];
			struct core_map_op op = s->op;
			uint32_t flags = s->skip ? CORE_CHANGE_SKIP_INVALIDATION : 0;
			struct core_change change, dry;
			struct core_conflict conflict;

			if (op.size == 0)
				break;
			op.slot = &slot;
			assert_int_equal(core_as_apply(as, cpu, &op, 1, flags | CORE_CHANGE_DRY_RUN,
						       &dry, &conflict),
					 0);
			assert_int_equal(core_as_apply(as, cpu, &op, 1, flags, &change, &conflict),
					 0);
			assert_memory_equal(&dry, &change, sizeof(dry));
			if (change.decision.need != s->need || change.decision.reason != s->reason)
				fail_msg("%s, step %zu: %s", skips[i].what, j,
					 inval_reason_info[change.decision.reason].name);
			/* Nor is it made up for when the processor enters again. */
			inval_enter(cpu, as);
			inval_leave(cpu);
			if (m.hw[0].invept_count != s->invepts)
				fail_msg("%s, step %zu: %u INVEPTs", skips[i].what, j,
					 m.hw[0].invept_count);
			assert_int_equal(core_as_table_bytes(as),
					 plat_user_pages_used(m.plat) * VMX_PAGE_SIZE);
		}
		core_as_destroy(as);
		mem_slot_drop(&m, &slot);
		mem_machine_stop(&m);
	}
}

/* More left-out places than can be noted: everything counts as pending until a flush. */
static void test_left_out_overflow(void **state)
{
	struct mem_machine m;
	struct core_slot slot;
	struct core_as *as;
	struct core_change change;

	(void)state;
	mem_machine_start(&m, &(struct mem_machine_config){0});
	slot = mem_slot(&m, 1, MiB(4));
	as = mem_as(&m, VMX_SIZE_4K, false);
	mem_map(as, 0, MiB(4), &slot, 0);
	for (uint64_t i = 0; i <= INVAL_PENDING_MAX; i++)
		mem_do(as, (struct core_map_op)OP_UNMAP(2 * i * 4096, 4096),
		       CORE_CHANGE_SKIP_INVALIDATION);
	change = mem_map(as, MiB(512), 4096, &slot, 0);
	assert_int_equal(change.decision.reason, INVAL_REASON_PENDING);
	change = mem_map(as, MiB(512) + 4096, 4096, &slot, 0);
	assert_int_equal(change.decision.reason, INVAL_REASON_WAS_NOT_PRESENT);
	core_as_destroy(as);
	mem_slot_drop(&m, &slot);
	mem_machine_stop(&m);
}

/* Tables that processors may still walk through are kept until the flush. */
static void test_quarantine(void **state)
{
	struct mem_machine m;
	struct core_slot slot;
	struct core_as *as;

	(void)state;
	mem_machine_start(&m, &(struct mem_machine_config){0});
	slot = mem_slot(&m, 1, MiB(4));
	as = mem_as(&m, VMX_SIZE_4K, false);
	mem_map(as, 0, MiB(4), &slot, 0);
	assert_int_equal(plat_user_pages_used(m.plat), 5);
	mem_do(as, (struct core_map_op)OP_UNMAP(0, MiB(2)), CORE_CHANGE_SKIP_INVALIDATION);
	assert_int_equal(plat_user_pages_used(m.plat), 5);
	mem_do(as, (struct core_map_op)OP_UNMAP(MiB(2), 4096), 0);
	assert_int_equal(plat_user_pages_used(m.plat), 4);
	mem_do(as, (struct core_map_op)OP_UNMAP(MiB(2) + 4096, MiB(2) - 4096),
	       CORE_CHANGE_SKIP_INVALIDATION);
	assert_int_equal(plat_user_pages_used(m.plat), 4);
	assert_int_equal(core_as_table_bytes(as), 4 * 4096);
	core_as_destroy(as);
	mem_slot_drop(&m, &slot);
	mem_machine_stop(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_oracle_4k),
		cmocka_unit_test(test_oracle_2m),
		cmocka_unit_test(test_oracle_scatter),
		cmocka_unit_test(test_oracle_1g),
		cmocka_unit_test(test_oracle_large_batches),
		cmocka_unit_test(test_many_ranges),
		cmocka_unit_test(test_range_limit),
		cmocka_unit_test(test_bad_operations),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_configs),
		cmocka_unit_test(test_out_of_tables),
		cmocka_unit_test(test_left_out),
		cmocka_unit_test(test_left_out_overflow),
		cmocka_unit_test(test_quarantine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
