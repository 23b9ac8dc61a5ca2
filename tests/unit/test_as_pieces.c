/* SPDX-License-Identifier: MIT */
/*
 * Changes in pieces: two address spaces get the same operations. In one, gigabytes are
 * never rebuilt; in the other, each that is touched is, a piece at a time. They must come
 * to the same, A and D flags and counts included; a change that is given up half-way, or
 * finds no memory, must leave everything as it was.
 */
#include "mem_fixture.h"

#include <stdlib.h>

#define SPACE GiB(5)
#define SLOTS 2u

struct pair {
	struct mem_machine m;
	struct core_slot slot[SLOTS];
	struct core_as *whole, *pieces;
	uint64_t random;
	unsigned done, refused, cancelled, interrupted, steps_max;
};

static uint64_t rnd(struct pair *p, uint64_t below)
{
	return test_random(&p->random) % below;
}

/* --- looking ---------------------------------------------------------------------------------- */

/* The leaf at a, or 0; *ret_end where it, or the hole, ends. */
static uint64_t leaf_at(struct core_as *as, uint64_t a, uint64_t *ret_end)
{
	struct ept_place place;

	ept_find(&as->ept, a, &place);
	*ret_end = place.first + ept_span_bytes(place.level);
	return place.value;
}

/* Holes may be told in other pieces: a table that is empty is one, too. */
static void check_equal(struct pair *p)
{
	uint64_t a = 0, end_whole, end_pieces;

	while (a < SPACE) {
		uint64_t whole = leaf_at(p->whole, a, &end_whole);
		uint64_t pieces = leaf_at(p->pieces, a, &end_pieces);

		if (whole != pieces)
			fail_msg("at 0x%lx: 0x%lx, in pieces 0x%lx", (unsigned long)a,
				 (unsigned long)whole, (unsigned long)pieces);
		if (whole != 0)
			assert_int_equal(end_whole, end_pieces);
		a = end_whole < end_pieces ? end_whole : end_pieces;
	}
	assert_int_equal(core_as_table_bytes(p->whole), core_as_table_bytes(p->pieces));
	assert_int_equal(core_as_table_bytes(p->whole) + core_as_table_bytes(p->pieces),
			 plat_user_pages_used(p->m.plat) * VMX_PAGE_SIZE);
}

static uint64_t checksum(struct core_as *as)
{
	uint64_t a = 0, end, sum = core_as_table_bytes(as);

	for (; a < SPACE; a = end) {
		uint64_t leaf = leaf_at(as, a, &end);

		if (leaf != 0)
			sum = (sum ^ leaf ^ a) * UINT64_C(0x9e3779b97f4a7c15);
	}
	return sum;
}

/* As a processor would, in both. */
static void set_flags(struct pair *p)
{
	for (unsigned i = 0; i < 64; i++) {
		uint64_t a = rnd(p, SPACE), flags = rnd(p, 2) ? EPT_A : EPT_A | EPT_D;
		struct ept_place place;

		ept_find(&p->whole->ept, a, &place);
		if (place.value == 0)
			continue;
		plat_fetch_or(place.entry, flags);
		ept_find(&p->pieces->ept, a, &place);
		plat_fetch_or(place.entry, flags);
	}
}

/* --- operations ------------------------------------------------------------------------------- */

static uint64_t some_address(struct pair *p)
{
	static const uint64_t unit[] = {VMX_SIZE_1G, VMX_SIZE_1G, VMX_SIZE_2M, VMX_SIZE_4K};
	uint64_t u = unit[rnd(p, 4)];

	return rnd(p, SPACE / u + 1) * u;
}

/* Where what is mapped, or the hole, at a ends. */
static uint64_t run_end(struct core_as *as, uint64_t a, bool mapped)
{
	struct core_range r;

	while (mapped && core_as_lookup(as, gpa(a), &r) == 0)
		a = r.gpa.v + r.size;
	if (mapped)
		return a;
	return core_as_ranges(as, gpa(a), &r, 1) ? r.gpa.v : SPACE;
}

static struct core_map_op some_op(struct pair *p)
{
	static const uint32_t kinds[] = {CORE_UNMAP, CORE_PROTECT, CORE_PROTECT, CORE_REMAP};
	static const uint32_t prots[] = {1, 3, 5, 7};
	uint64_t a = some_address(p) % SPACE, b = some_address(p), end;
	bool mapped = core_as_lookup(p->pieces, gpa(a), &(struct core_range){0}) == 0;
	struct core_map_op op = {
		.kind = mapped ? kinds[rnd(p, 4)] : CORE_MAP,
		.prot = prots[rnd(p, 4)],
		.memtype = CORE_MT_WB,
		.gpa = gpa(a),
		.slot = &p->slot[rnd(p, SLOTS)],
	};

	end = rnd(p, 10) ? run_end(p->pieces, a, mapped) : SPACE;
	op.size = (b > a && b < end ? b : end) - a;
	/* Often where a large leaf fits again. */
	op.offset = rnd(p, 3) ? op.gpa.v : rnd(p, SPACE / VMX_SIZE_4K) * VMX_SIZE_4K;
	if (op.offset + op.size > SPACE)
		op.offset = SPACE - op.size;
	return op;
}

static int apply_in_pieces(struct pair *p, const struct core_map_op *ops, size_t count,
			   unsigned cancel_at, struct core_change *ret)
{
	struct core_map_op other = {.kind = CORE_UNMAP, .size = VMX_SIZE_4K};
	struct as_change *c;
	unsigned steps = 0;
	int rc = core_as_change_begin(p->pieces, &p->m.core->cpus[0], ops, count, 0, &c, NULL);

	if (rc)
		return rc;
	assert_int_equal(core_as_apply(p->pieces, NULL, &other, 1, 0, NULL, NULL), -EBUSY);
	do {
		if (++steps == cancel_at)
			core_as_change_cancel(c);
		rc = core_as_change_step(c, 1 + rnd(p, 2000), ret);
	} while (rc == 1);
	p->steps_max = steps > p->steps_max ? steps : p->steps_max;
	return rc;
}

static void one_change(struct pair *p)
{
	struct core_map_op ops[2];
	size_t count = rnd(p, 3) ? 1 : 2;
	struct core_change whole = {0}, pieces = {0};
	unsigned cancel_at = rnd(p, 4) ? 0 : 1 + (unsigned)rnd(p, 8);
	uint64_t before = checksum(p->pieces);
	int rc;

	for (size_t i = 0; i < count; i++)
		ops[i] = some_op(p);
	rc = apply_in_pieces(p, ops, count, cancel_at, &pieces);
	if (rc) {
		assert_true(checksum(p->pieces) == before);
		p->refused += rc != -ECANCELED;
		p->cancelled += rc == -ECANCELED;
		if (rc == -ECANCELED)
			return;
	}
	assert_int_equal(core_as_apply(p->whole, &p->m.core->cpus[0], ops, count, 0, &whole, NULL),
			 rc);
	if (rc)
		return;
	p->done++;
	p->interrupted += cancel_at != 0;
	assert_int_equal(pieces.entries_written, whole.entries_written);
	assert_int_equal(pieces.entries_split, whole.entries_split);
	assert_int_equal(pieces.tables_merged, whole.tables_merged);
	assert_int_equal(pieces.tables_allocated, whole.tables_allocated);
	assert_int_equal(pieces.tables_freed, whole.tables_freed);
	assert_int_equal(pieces.decision.need, whole.decision.need);
	assert_int_equal(pieces.invept_issued, whole.invept_issued);
}

static void run(uint64_t max_page_bytes, bool scatter, bool flags, unsigned changes, uint64_t seed)
{
	struct pair p = {.random = seed};

	mem_machine_start(&p.m, &(struct mem_machine_config){.scatter = scatter, .seed = seed});
	for (unsigned i = 0; i < SLOTS; i++)
		p.slot[i] = mem_slot(&p.m, i, SPACE);
	p.whole = mem_as(&p.m, max_page_bytes, flags);
	p.pieces = mem_as(&p.m, max_page_bytes, flags);
	p.whole->stage_pages = UINT64_MAX;
	p.pieces->stage_pages = 1;
	inval_enter(&p.m.core->cpus[0], p.whole);
	inval_leave(&p.m.core->cpus[0]);
	inval_enter(&p.m.core->cpus[0], p.pieces);
	inval_leave(&p.m.core->cpus[0]);
	for (unsigned i = 0; i < changes; i++) {
		one_change(&p);
		check_equal(&p);
		if (flags)
			set_flags(&p);
	}
	assert_true(p.done > changes / 10 && p.refused != 0 && p.cancelled != 0);
	assert_true(p.interrupted != 0 && p.steps_max > 3);
	core_as_destroy(p.whole);
	core_as_destroy(p.pieces);
	for (unsigned i = 0; i < SLOTS; i++)
		mem_slot_drop(&p.m, &p.slot[i]);
	mem_machine_stop(&p.m);
}

#if defined(PLAT_THREAD_SANITIZER) || defined(__SANITIZE_ADDRESS__)
#define CHANGES(n) ((n) / 4)
#else
#define CHANGES(n) (n)
#endif

static void test_4k(void **state)
{
	(void)state;
	run(VMX_SIZE_4K, false, true, CHANGES(60), 1);
}

static void test_2m(void **state)
{
	(void)state;
	run(VMX_SIZE_2M, false, true, CHANGES(120), 2);
	run(VMX_SIZE_2M, false, false, CHANGES(80), 3);
}

static void test_1g(void **state)
{
	(void)state;
	run(VMX_SIZE_1G, false, true, CHANGES(120), 4);
}

/* --- no memory ------------------------------------------------------------------------------- */

/* Tables of gigabytes are built until there is none left; all of them go again. */
static void test_out_of_tables(void **state)
{
	struct core_map_op op = {.kind = CORE_MAP, .prot = 7, .memtype = CORE_MT_WB};
	struct mem_machine m;
	struct core_slot slot;
	struct core_as *as;
	size_t used;

	(void)state;
	/* Address space for the slot, and for a chunk of 512 tables behind it. */
	mem_machine_start(&m, &(struct mem_machine_config){.arena_bytes = GiB(3) + MiB(2)});
	slot = mem_slot(&m, 1, GiB(2));
	as = mem_as(&m, VMX_SIZE_4K, false);
	used = plat_user_pages_used(m.plat);
	op.slot = &slot;
	op.size = GiB(2);
	/* Fill what the alignment of the slot left over, so that a chunk is all there is. */
	struct core_slot rest = mem_slot(&m, 2, GiB(1) - MiB(4));

	assert_int_equal(core_as_apply(as, NULL, &op, 1, 0, NULL, NULL), -ENOMEM);
	assert_int_equal(plat_user_pages_used(m.plat), used);
	assert_int_equal(core_as_table_bytes(as), used * VMX_PAGE_SIZE);
	assert_int_equal(slot.mapped_bytes, 0);
	op.size = GiB(1) - MiB(64);
	assert_int_equal(core_as_apply(as, NULL, &op, 1, 0, NULL, NULL), 0);
	core_as_destroy(as);
	mem_slot_drop(&m, &slot);
	mem_slot_drop(&m, &rest);
	mem_machine_stop(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_4k),
		cmocka_unit_test(test_2m),
		cmocka_unit_test(test_1g),
		cmocka_unit_test(test_out_of_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
