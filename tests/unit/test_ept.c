/* SPDX-License-Identifier: MIT */
/*
 * EPT entries and tables where a random oracle does not look: what is misconfigured,
 * accessed and dirty bits through splits and merges, when tables and slots are let go,
 * dirty harvesting, and the VMM's own access to guest memory.
 */
#include "mem_fixture.h"

#include <stdlib.h>

/* --- misconfigurations ------------------------------------------------------------------- */

static const struct ept_rules all_on = {
	.maxphyaddr = 46, .exec_only = true, .page_2m = true, .page_1g = true};
static const struct ept_rules no_exec_only = {.maxphyaddr = 46, .page_2m = true, .page_1g = true};
static const struct ept_rules mbec = {
	.maxphyaddr = 46, .mode_based_exec = true, .page_2m = true, .page_1g = true};
static const struct ept_rules small_only = {.maxphyaddr = 36, .exec_only = true};
static const struct ept_rules wide = {
	.maxphyaddr = 52, .exec_only = true, .page_2m = true, .page_1g = true};

static const struct {
	const struct ept_rules *rules;
	uint64_t entry;
	unsigned level;
	bool bad;
} entries[] = {
	{&all_on, 0x1037, 1, false},		  /* RWX, WB */
	{&all_on, 0x1032, 1, true},		  /* W without R */
	{&all_on, 0x1036, 1, true},		  /* W, X without R */
	{&all_on, 0x1034, 1, false},		  /* X alone, offered */
	{&no_exec_only, 0x1034, 1, true},	  /* ... not offered */
	{&no_exec_only, 0x1434, 1, true},	  /* bit 10 is nothing without MBEC; X alone */
	{&mbec, 0x1430, 1, true},		  /* user X alone */
	{&mbec, 0x1431, 1, false},		  /* R and user X */
	{&all_on, 0x1007, 1, false},		  /* UC */
	{&all_on, 0x100f, 1, false},		  /* WC */
	{&all_on, 0x1017, 1, true},		  /* type 2 */
	{&all_on, 0x101f, 1, true},		  /* type 3 */
	{&all_on, 0x1027, 1, false},		  /* WT */
	{&all_on, 0x102f, 1, false},		  /* WP */
	{&all_on, 0x103f, 1, true},		  /* type 7 */
	{&all_on, 0x10b7, 1, false},		  /* bit 7 of a PTE is ignored */
	{&all_on, 0x1077, 1, false},		  /* ignore PAT */
	{&all_on, 0x1f37 | 1ull << 63, 1, false}, /* A, D, software bits, suppress #VE */
	{&all_on, 0x1037 | 1ull << 45, 1, false}, /* highest address bit */
	{&all_on, 0x1037 | 1ull << 46, 1, true},  /* beyond MAXPHYADDR */
	{&all_on, 0x1037 | 1ull << 51, 1, true},
	{&all_on, 0x1037 | 1ull << 52, 1, false},
	{&wide, 0x1037 | 1ull << 51, 1, false},
	{&small_only, 0x1037 | 1ull << 36, 1, true},
	{&all_on, 0x2000b7, 2, false},	    /* 2 MiB leaf */
	{&all_on, 0x2010b7, 2, true},	    /* bit 12 */
	{&all_on, 0x3000b7, 2, true},	    /* bit 20 */
	{&small_only, 0x2000b7, 2, true},   /* no 2 MiB pages */
	{&all_on, 0x400000b7, 3, false},    /* 1 GiB leaf */
	{&all_on, 0x600000b7, 3, true},	    /* bit 29 */
	{&small_only, 0x400000b7, 3, true}, /* no 1 GiB pages */
	{&all_on, 0x1007, 2, false},	    /* tables */
	{&all_on, 0x1007, 3, false},
	{&all_on, 0x1007, 4, false},
	{&all_on, 0x1007, 5, false},
	{&all_on, 0x100f, 2, true}, /* bit 3 of a table */
	{&all_on, 0x1047, 3, true}, /* bit 6 */
	{&all_on, 0x1087, 4, true}, /* bit 7 of a PML4E */
	{&all_on, 0x1087, 5, true},
	{&all_on, 0x1007 | 1ull << 46, 4, true},
	{&all_on, 0x1107, 4, false}, /* A */
};

static void test_misconfigured(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(entries); i++) {
		if (ept_misconfigured(entries[i].rules, entries[i].entry, entries[i].level) !=
		    entries[i].bad)
			fail_msg("row %zu: %llx at level %u", i,
				 (unsigned long long)entries[i].entry, entries[i].level);
	}
}

/* --- accessed and dirty ----------------------------------------------------------------------- */

static struct core_leaf leaf_at(struct core_as *as, uint64_t a)
{
	struct core_leaf leaf;

	assert_int_equal(core_as_leaf(as, gpa(a), &leaf), 0);
	return leaf;
}

/* What a processor does when it uses the leaf. */
static void touch(struct core_as *as, uint64_t a, uint64_t bits)
{
	struct ept_place p;

	ept_find(&as->ept, a, &p);
	assert_true(ept_present(p.value, false));
	plat_fetch_or(p.entry, bits);
}

struct ad_case {
	struct mem_machine m;
	struct core_slot slot, other;
	struct core_as *as;
};

static void ad_start(struct ad_case *c, uint64_t max_page_bytes)
{
	mem_machine_start(&c->m, &(struct mem_machine_config){0});
	c->slot = mem_slot(&c->m, 1, GiB(2));
	c->other = mem_slot(&c->m, 2, GiB(1));
	c->as = mem_as(&c->m, max_page_bytes, true);
	mem_map(c->as, 0, GiB(2), &c->slot, 0);
}

static void ad_stop(struct ad_case *c)
{
	core_as_destroy(c->as);
	mem_slot_drop(&c->m, &c->slot);
	mem_slot_drop(&c->m, &c->other);
	mem_machine_stop(&c->m);
}

static struct core_map_op protect(uint64_t a, uint64_t size, uint32_t prot)
{
	return (struct core_map_op){
		.kind = CORE_PROTECT, .gpa = gpa(a), .size = size, .prot = prot};
}

static struct core_map_op remap(uint64_t a, uint64_t size, struct core_slot *slot, uint64_t offset)
{
	return (struct core_map_op){
		.kind = CORE_REMAP, .gpa = gpa(a), .size = size, .slot = slot, .offset = offset};
}

/* A dirty large leaf gives dirty small ones; what leads elsewhere starts clean. */
static void test_split_keeps_dirty(void **state)
{
	struct core_change change;
	struct ad_case c;

	(void)state;
	ad_start(&c, VMX_SIZE_1G);
	touch(c.as, 0, EPT_A | EPT_D);
	touch(c.as, GiB(1), EPT_A);
	assert_int_equal(leaf_at(c.as, 0).page_bytes, VMX_SIZE_1G);
	change = mem_do(c.as, remap(MiB(512) + 4096, 4096, &c.other, 0), 0);
	assert_int_equal(change.entries_split, 1);
	assert_int_equal(change.tables_allocated, 2);
	assert_int_equal(change.entries_written, 511 + 512);
	assert_int_equal(leaf_at(c.as, 0).page_bytes, VMX_SIZE_2M);
	assert_int_equal(leaf_at(c.as, 0).entry & (EPT_A | EPT_D), EPT_A | EPT_D);
	assert_int_equal(leaf_at(c.as, MiB(512)).page_bytes, VMX_SIZE_4K);
	assert_int_equal(leaf_at(c.as, MiB(512)).entry & (EPT_A | EPT_D), EPT_A | EPT_D);
	assert_int_equal(leaf_at(c.as, MiB(512) + 4096).entry & (EPT_A | EPT_D), 0);
	/* A protected part leads to the same place: it keeps the bits. */
	mem_do(c.as, protect(MiB(2), 8192, CORE_PROT_R), 0);
	assert_int_equal(leaf_at(c.as, MiB(2)).entry & 0xfff, 0x331);
	mem_do(c.as, protect(GiB(1), 4096, CORE_PROT_R), 0);
	assert_int_equal(leaf_at(c.as, GiB(1)).entry & (EPT_A | EPT_D), EPT_A);
	ad_stop(&c);
}

static void test_merge_gathers_dirty(void **state)
{
	struct core_change change;
	struct ad_case c;

	(void)state;
	ad_start(&c, VMX_SIZE_1G);
	mem_do(c.as, protect(MiB(4) + 4096, 4096, CORE_PROT_R), 0);
	assert_int_equal(leaf_at(c.as, 0).entry & (EPT_A | EPT_D), 0);
	touch(c.as, MiB(4) + 8192, EPT_A | EPT_D);
	touch(c.as, MiB(6), EPT_A);
	/* A table is merged into a large leaf of a gigabyte at once. */
	change = mem_do(c.as, protect(MiB(4) + 4096, 4096, CORE_PROT_RWX), 0);
	assert_int_equal(change.tables_merged, 1);
	assert_int_equal(change.tables_freed, 2);
	assert_int_equal(change.entries_written, 1);
	assert_int_equal(change.decision.reason, INVAL_REASON_PAGE_SIZE_CHANGED);
	assert_int_equal(leaf_at(c.as, 0).page_bytes, VMX_SIZE_1G);
	assert_int_equal(leaf_at(c.as, 0).entry & (EPT_A | EPT_D), EPT_A | EPT_D);
	/* Dirty pages that lead elsewhere are not the large leaf's. */
	mem_do(c.as, remap(GiB(1), 4096, &c.other, 0), 0);
	touch(c.as, GiB(1), EPT_A | EPT_D);
	change = mem_do(c.as, remap(GiB(1), 4096, &c.slot, GiB(1)), 0);
	assert_int_equal(change.tables_merged, 1);
	assert_int_equal(leaf_at(c.as, GiB(1)).entry & (EPT_A | EPT_D), 0);
	/* Without an invalidation, too. */
	mem_do(c.as, protect(GiB(1), 4096, CORE_PROT_R), 0);
	touch(c.as, GiB(1) + 4096, EPT_D);
	mem_do(c.as, protect(GiB(1), 4096, CORE_PROT_RWX), CORE_CHANGE_SKIP_INVALIDATION);
	assert_int_equal(leaf_at(c.as, GiB(1)).page_bytes, VMX_SIZE_1G);
	assert_int_equal(leaf_at(c.as, GiB(1)).entry & (EPT_A | EPT_D), EPT_D);
	ad_stop(&c);
}

/*
 * A processor that has the way into a table cached sets D there after the table was
 * unlinked; it does so before it acknowledges, and the bit must not be lost.
 */
struct late {
	struct ad_case c;
	struct ept_place place;
	size_t pages_before, pages_at_kick;
	uint64_t mapped_at_kick;
};

static void late_kick(void *ctx, unsigned cpu)
{
	struct late *l = ctx;

	if (l->place.entry)
		plat_fetch_or(l->place.entry, EPT_A | EPT_D);
	l->pages_at_kick = plat_user_pages_used(l->c.m.plat);
	l->mapped_at_kick = l->c.slot.mapped_bytes;
	inval_leave(&l->c.m.core->cpus[cpu]);
}

static void late_start(struct late *l)
{
	struct plat_user_config pc = {.cpus = 2, .kick = late_kick, .kick_ctx = l};
	struct mem_machine *m = &l->c.m;

	memset(l, 0, sizeof(*l));
	mem_machine_start(m, &(struct mem_machine_config){0});
	assert_int_equal(plat_user_destroy(m->plat), 0);
	assert_int_equal(plat_user_create(&pc, &m->plat), 0);
	m->core->plat = m->plat;
	l->c.slot = mem_slot(m, 1, GiB(2));
	l->c.other = mem_slot(m, 2, MiB(4));
	l->c.as = mem_as(m, VMX_SIZE_2M, true);
	mem_map(l->c.as, 0, GiB(2), &l->c.slot, 0);
}

static void test_late_dirty(void **state)
{
	struct late l;
	struct core_change change;

	(void)state;
	late_start(&l);
	mem_do(l.c.as, protect(4096, 4096, CORE_PROT_R), 0);
	inval_enter(&l.c.m.core->cpus[1], l.c.as);
	ept_find(&l.c.as->ept, 8192, &l.place);
	change = mem_do(l.c.as, protect(4096, 4096, CORE_PROT_RWX), 0);
	assert_int_equal(change.processors_interrupted, 1);
	assert_int_equal(change.tables_merged, 1);
	assert_int_equal(leaf_at(l.c.as, 0).entry & (EPT_A | EPT_D), EPT_A | EPT_D);
	ad_stop(&l.c);
}

/* Tables and slots are let go only after the processor in guest has acknowledged. */
static void test_release_order(void **state)
{
	struct late l;
	size_t before;

	(void)state;
	late_start(&l);
	before = plat_user_pages_used(l.c.m.plat);
	inval_enter(&l.c.m.core->cpus[1], l.c.as);
	mem_do(l.c.as, (struct core_map_op){.kind = CORE_UNMAP, .gpa = gpa(GiB(1)), .size = GiB(1)},
	       0);
	assert_int_equal(l.pages_at_kick, before);
	assert_int_equal(l.mapped_at_kick, GiB(2));
	assert_int_equal(plat_user_pages_used(l.c.m.plat), before - 1);
	assert_int_equal(l.c.slot.mapped_bytes, GiB(1));
	ad_stop(&l.c);
}

/* --- harvesting ---------------------------------------------------------------------------- */

static unsigned bits_in(const uint8_t *bitmap, size_t bytes)
{
	unsigned n = 0;

	for (size_t i = 0; i < bytes; i++)
		n += (unsigned)__builtin_popcount(bitmap[i]);
	return n;
}

static void test_harvest(void **state)
{
	uint8_t bitmap[MiB(8) / 4096 / 8];
	struct core_change change;
	struct ad_case c;

	(void)state;
	ad_start(&c, VMX_SIZE_2M);
	inval_enter(&c.m.core->cpus[0], c.as);
	inval_leave(&c.m.core->cpus[0]);
	mem_do(c.as, protect(4096, 4096, CORE_PROT_R), 0);
	touch(c.as, 0, EPT_A | EPT_D);
	touch(c.as, 12 * 4096, EPT_D);
	touch(c.as, 13 * 4096, EPT_A);
	touch(c.as, MiB(4), EPT_D);
	/* Looking clears nothing and needs nothing. */
	assert_int_equal(core_as_dirty_harvest(c.as, &c.m.core->cpus[0], gpa(0), MiB(8), false,
					       bitmap, &change),
			 0);
	assert_int_equal(change.decision.need, INVAL_NONE);
	assert_int_equal(c.m.hw[0].invept_count, 1);
	assert_int_equal(bits_in(bitmap, sizeof(bitmap)), 2 + 512);
	assert_int_equal(bitmap[0], 1);
	assert_int_equal(bitmap[1], 0x10);
	assert_int_equal(bitmap[128], 0xff);
	/* Part of a dirty large leaf: told, and left dirty. An odd start and end. */
	assert_int_equal(core_as_dirty_harvest(c.as, &c.m.core->cpus[0], gpa(MiB(4) + 3 * 4096),
					       21 * 4096, true, bitmap, &change),
			 0);
	assert_int_equal(change.decision.need, INVAL_NONE);
	assert_int_equal(bits_in(bitmap, 3), 21);
	assert_int_equal(bitmap[2], 0x1f);
	/* Clearing: one flush, and nothing is dirty afterwards; A stays. */
	assert_int_equal(core_as_dirty_harvest(c.as, &c.m.core->cpus[0], gpa(0), MiB(8), true,
					       bitmap, &change),
			 0);
	assert_int_equal(change.decision.reason, INVAL_REASON_DIRTY_CLEARED);
	assert_int_equal(change.entries_written, 3);
	assert_int_equal(change.invept_issued, 1);
	assert_int_equal(c.m.hw[0].invept_count, 2);
	assert_int_equal(bits_in(bitmap, sizeof(bitmap)), 2 + 512);
	assert_int_equal(leaf_at(c.as, 0).entry & (EPT_A | EPT_D), EPT_A);
	assert_int_equal(core_as_dirty_harvest(c.as, NULL, gpa(0), MiB(8), true, bitmap, &change),
			 0);
	assert_int_equal(bits_in(bitmap, sizeof(bitmap)), 0);
	assert_int_equal(change.decision.need, INVAL_NONE);
	/* Bad input. */
	assert_int_equal(core_as_dirty_harvest(c.as, NULL, gpa(1), 4096, true, bitmap, &change),
			 -EINVAL);
	assert_int_equal(core_as_dirty_harvest(c.as, NULL, gpa(0), 0, true, bitmap, &change),
			 -EINVAL);
	assert_int_equal(
		core_as_dirty_harvest(c.as, NULL, gpa(1ull << 46), 4096, true, bitmap, &change),
		-ERANGE);
	ad_stop(&c);
}

static void test_harvest_without_ad(void **state)
{
	struct mem_machine m;
	struct core_as *as;
	uint8_t bit = 0;

	(void)state;
	mem_machine_start(&m, &(struct mem_machine_config){0});
	as = mem_as(&m, 0, false);
	assert_int_equal(core_as_dirty_harvest(as, NULL, gpa(0), 4096, true, &bit, NULL), -ENOTSUP);
	core_as_destroy(as);
	mem_machine_stop(&m);
}

/* --- the VMM's own access ------------------------------------------------------------------ */

static void guest_memory(bool scatter)
{
	static uint8_t in[3 * 4096 + 100], out[sizeof(in)];
	struct mem_machine m;
	struct core_slot slot;
	struct core_as *as;
	uint64_t value, random = 9;

	mem_machine_start(&m, &(struct mem_machine_config){.scatter = scatter, .seed = 3});
	slot = mem_slot(&m, 1, MiB(4));
	as = mem_as(&m, 0, true);
	mem_map(as, 0, MiB(4), &slot, 0);
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)test_random(&random);
	/* Every alignment, across pages; read back through the slot, too. */
	for (unsigned offset = 0; offset < 40; offset++) {
		uint64_t a = 4096 * 7 - 13 + offset;

		m.written_bytes = 0;
		memset(out, 0, sizeof(out));
		assert_int_equal(core_guest_write(as, gpa(a), in, sizeof(in)), 0);
		assert_int_equal(m.written_bytes, sizeof(in));
		assert_int_equal(core_guest_read(as, gpa(a), out, sizeof(out)), 0);
		assert_memory_equal(in, out, sizeof(in));
		memset(out, 0, sizeof(out));
		assert_int_equal(plat_mem_read(m.plat, slot.mem, a, out, sizeof(out)), 0);
		assert_memory_equal(in, out, sizeof(in));
	}
	assert_int_equal(core_guest_write(as, gpa(0), in, 0), 0);
	/* A hole in the middle: nothing is written. */
	mem_do(as,
	       (struct core_map_op){.kind = CORE_UNMAP, .gpa = gpa(MiB(1) + 4096), .size = 4096},
	       0);
	assert_int_equal(core_guest_write(as, gpa(MiB(1)), in, 4096), 0);
	assert_int_equal(core_guest_write(as, gpa(MiB(1)), in + 1, 4097), -EFAULT);
	assert_int_equal(core_guest_read(as, gpa(MiB(1)), out, 4096), 0);
	assert_memory_equal(in, out, 4096);
	assert_int_equal(core_guest_read(as, gpa(MiB(1) + 4096), out, 1), -EFAULT);
	assert_int_equal(core_guest_read(as, gpa(MiB(4) - 1), out, 2), -EFAULT);
	assert_int_equal(core_guest_read(as, gpa(UINT64_MAX - 1), out, 4), -EFAULT);
	assert_int_equal(core_guest_read(as, gpa(1ull << 60), out, 4), -EFAULT);
	/* Reads leave no trace; writes set D. */
	assert_int_equal(core_guest_read(as, gpa(MiB(2)), out, 8), 0);
	assert_int_equal(leaf_at(as, MiB(2)).entry & (EPT_A | EPT_D), 0);
	assert_int_equal(core_guest_write(as, gpa(MiB(2)), in, 8), 0);
	assert_int_equal(leaf_at(as, MiB(2)).entry & (EPT_A | EPT_D), EPT_A | EPT_D);

	/* Compare and exchange, each size. */
	for (unsigned size = 1; size <= 8; size *= 2) {
		uint64_t mask = size == 8 ? UINT64_MAX : (1ull << 8 * size) - 1;
		uint64_t a = MiB(3) + 64, start = 0x1122334455667788, expected = start & mask;

		assert_int_equal(core_guest_write(as, gpa(a), &start, 8), 0);
		assert_int_equal(core_guest_cmpxchg(as, gpa(a), size, &expected, 0x99), 0);
		assert_int_equal(core_guest_read(as, gpa(a), &value, 8), 0);
		assert_int_equal(value, (start & ~mask) | 0x99);
		expected = 0x55;
		assert_int_equal(core_guest_cmpxchg(as, gpa(a), size, &expected, 1), -EAGAIN);
		assert_int_equal(expected, 0x99);
		assert_int_equal(core_guest_cmpxchg(as, gpa(MiB(1) + 4096), size, &expected, 1),
				 -EFAULT);
		if (size > 1)
			assert_int_equal(core_guest_cmpxchg(as, gpa(a + 1), size, &expected, 1),
					 -EINVAL);
	}
	assert_int_equal(core_guest_cmpxchg(as, gpa(0), 3, &value, 1), -EINVAL);
	assert_int_equal(core_guest_cmpxchg(as, gpa(0), 16, &value, 1), -EINVAL);
	assert_int_equal(core_guest_cmpxchg(as, gpa(0), 0, &value, 1), -EINVAL);
	core_as_destroy(as);
	mem_slot_drop(&m, &slot);
	mem_machine_stop(&m);
}

static void test_guest_memory(void **state)
{
	(void)state;
	guest_memory(false);
	guest_memory(true);
}

/* --- shapes -------------------------------------------------------------------------------- */

static const struct {
	uint64_t gpa, offset, size, max;
	bool no_1g;
	uint64_t tables; /* in all, the root among them */
	uint64_t at, leaf;
} shapes[] = {
	{0, 0, GiB(2), 0, false, 2, GiB(1), VMX_SIZE_1G},
	{0, 0, GiB(2), 0, true, 4, GiB(1), VMX_SIZE_2M},
	{0, 0, GiB(2), VMX_SIZE_2M, false, 4, 0, VMX_SIZE_2M},
	{0, 0, MiB(2), VMX_SIZE_4K, false, 4, 0, VMX_SIZE_4K},
	{GiB(1), GiB(1), GiB(1), 0, false, 2, GiB(1), VMX_SIZE_1G},
	{GiB(1), MiB(2), GiB(1), 0, false, 3, GiB(1), VMX_SIZE_2M}, /* host not aligned */
	{GiB(1), 4096, MiB(4), 0, false, 5, GiB(1), VMX_SIZE_4K},
	{GiB(1) + MiB(2), MiB(2), GiB(1), 0, false, 4, GiB(1) + MiB(2), VMX_SIZE_2M},
	{GiB(1) + 4096, 4096, MiB(4), 0, false, 5, GiB(1) + MiB(2), VMX_SIZE_2M}, /* ragged ends */
	{GiB(1) + 4096, 4096, MiB(4), 0, false, 5, GiB(1) + MiB(4), VMX_SIZE_4K},
	{(1ull << 46) - 4096, 0, 4096, 0, false, 4, (1ull << 46) - 1, VMX_SIZE_4K},
};

static void test_shapes(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(shapes); i++) {
		for (unsigned walk_length = 4; walk_length <= 5; walk_length++) {
			struct core_as_config cfg = {.walk_length = walk_length,
						     .max_page_bytes = shapes[i].max};
			struct mem_machine m;
			struct core_slot slot;
			struct core_as *as;
			struct core_change change;

			mem_machine_start(&m, &(struct mem_machine_config){.maxphyaddr = 46});
			m.core->caps.ept_1g = !shapes[i].no_1g;
			slot = mem_slot(&m, 1, GiB(3));
			assert_int_equal(core_as_create(m.core, &cfg, &as), 0);
			change =
				mem_map(as, shapes[i].gpa, shapes[i].size, &slot, shapes[i].offset);
			assert_int_equal(change.decision.need, INVAL_NONE);
			if (core_as_table_bytes(as) / 4096 != shapes[i].tables + walk_length - 4)
				fail_msg("row %zu: %llu tables", i,
					 (unsigned long long)core_as_table_bytes(as) / 4096);
			assert_int_equal(leaf_at(as, shapes[i].at).page_bytes, shapes[i].leaf);
			core_as_destroy(as);
			mem_slot_drop(&m, &slot);
			mem_machine_stop(&m);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_misconfigured),
		cmocka_unit_test(test_split_keeps_dirty),
		cmocka_unit_test(test_merge_gathers_dirty),
		cmocka_unit_test(test_late_dirty),
		cmocka_unit_test(test_release_order),
		cmocka_unit_test(test_harvest),
		cmocka_unit_test(test_harvest_without_ad),
		cmocka_unit_test(test_guest_memory),
		cmocka_unit_test(test_shapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
