/* SPDX-License-Identifier: MIT */
/*
 * struct core.small_exec: nothing executable is mapped by a large leaf, whatever changes
 * make memory executable; what is not executable keeps its large leaves.
 */
#include "mem_fixture.h"

struct fixture {
	struct mem_machine m;
	struct core_as *as;
	struct core_slot slot;
};

static void start(struct fixture *f, bool small_exec, uint64_t max_page_bytes)
{
	const struct mem_machine_config cfg = {.maxphyaddr = 46, .arena_bytes = GiB(2)};

	mem_machine_start(&f->m, &cfg);
	f->m.core->small_exec = small_exec;
	f->slot = mem_slot(&f->m, 1, MiB(8));
	f->as = mem_as(&f->m, max_page_bytes, true);
}

static void stop(struct fixture *f)
{
	core_as_destroy(f->as);
	mem_slot_drop(&f->m, &f->slot);
	mem_machine_stop(&f->m);
}

static struct core_change map(struct fixture *f, uint64_t a, uint64_t size, uint32_t prot)
{
	return mem_do(f->as,
		      (struct core_map_op){.kind = CORE_MAP,
					   .gpa = gpa(a),
					   .size = size,
					   .slot = &f->slot,
					   .offset = a,
					   .prot = prot,
					   .memtype = CORE_MT_WB},
		      0);
}

static struct core_change protect(struct fixture *f, uint64_t a, uint64_t size, uint32_t prot)
{
	return mem_do(f->as,
		      (struct core_map_op){
			      .kind = CORE_PROTECT, .gpa = gpa(a), .size = size, .prot = prot},
		      0);
}

static void expect_leaves(struct fixture *f, uint64_t small, uint64_t large)
{
	struct core_leaf_counts c;

	core_as_count_leaves(f->as, gpa(0), MiB(8), &c);
	assert_int_equal(c.leaves[1], small);
	assert_int_equal(c.leaves[2], large);
	assert_int_equal(c.leaves[3], 0);
}

static void expect_page(struct fixture *f, uint64_t a, uint64_t page_bytes)
{
	struct core_leaf leaf;

	assert_int_equal(core_as_leaf(f->as, gpa(a), &leaf), 0);
	assert_int_equal(leaf.page_bytes, page_bytes);
	assert_true(!(leaf.entry & EPT_X) || leaf.page_bytes == VMX_SIZE_4K);
}

static const struct {
	bool small_exec;
	uint32_t prot;
	uint64_t small, large;
} maps[] = {
	{true, CORE_PROT_RWX, 2048, 0}, {true, CORE_PROT_R | CORE_PROT_X, 2048, 0},
	{true, CORE_PROT_X, 2048, 0},	{true, CORE_PROT_R | CORE_PROT_W, 0, 4},
	{true, CORE_PROT_R, 0, 4},	{false, CORE_PROT_RWX, 0, 4},
};

static void test_map(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(maps); i++) {
		struct fixture f;

		start(&f, maps[i].small_exec, 0);
		map(&f, 0, MiB(8), maps[i].prot);
		expect_leaves(&f, maps[i].small, maps[i].large);
		stop(&f);
	}
}

/* To executable, a large leaf is split; back from it, the table is merged. */
static void test_protect(void **state)
{
	struct core_change c;
	struct fixture f;

	(void)state;
	start(&f, true, 0);
	map(&f, 0, MiB(8), CORE_PROT_R | CORE_PROT_W);
	c = protect(&f, MiB(2), MiB(2), CORE_PROT_RWX);
	assert_int_equal(c.entries_split, 1);
	assert_int_equal(c.decision.need, INVAL_REQUIRED);
	expect_leaves(&f, 512, 3);
	expect_page(&f, MiB(2), VMX_SIZE_4K);
	expect_page(&f, MiB(4), VMX_SIZE_2M);
	/* One page of a large leaf: its neighbours were never executable. */
	protect(&f, MiB(6), VMX_SIZE_4K, CORE_PROT_R | CORE_PROT_X);
	expect_leaves(&f, 1024, 2);
	c = protect(&f, MiB(2), MiB(2), CORE_PROT_R | CORE_PROT_W);
	assert_int_equal(c.tables_merged, 1);
	expect_leaves(&f, 512, 3);
	stop(&f);
}

/* The same by a change that is built beside the tables in use. */
static void test_stage(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, true, 0);
	f.as->stage_pages = 1;
	map(&f, 0, MiB(8), CORE_PROT_R | CORE_PROT_W);
	expect_leaves(&f, 0, 4);
	protect(&f, 0, MiB(4), CORE_PROT_RWX);
	expect_leaves(&f, 1024, 2);
	expect_page(&f, MiB(2), VMX_SIZE_4K);
	stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_protect),
		cmocka_unit_test(test_stage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
