/* SPDX-License-Identifier: MIT */
/* The TLB's replacement, against a reference that is too simple to be wrong; and accounts. */
#include "unit/test_model_rig.h"

#include <stdlib.h>

#define BASE UINT64_C(0x40000000)
#define TARGET UINT64_C(0x1000000)
#define PAGES 48u
#define PRESENT (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)

static const struct model_tlb_geometry small = {
	.name = "small",
	.itlb_4k = {8, 2},
	.dtlb_4k = {8, 4},
	.stlb = {32, 4},
	.psc_pd = {4, 4},
	.gpa_cache = {8, 2},
};

/* --- reference: each set a list, most recently used first ------------------------- */

struct ref_level {
	unsigned sets, ways;
	unsigned page[32][8];
	unsigned used[32];
};

static bool ref_touch(struct ref_level *l, unsigned page)
{
	unsigned s = page % l->sets;

	for (unsigned i = 0; i < l->used[s]; i++) {
		if (l->page[s][i] != page)
			continue;
		memmove(&l->page[s][1], &l->page[s][0], i * sizeof(page));
		l->page[s][0] = page;
		return true;
	}
	return false;
}

static void ref_fill(struct ref_level *l, unsigned page)
{
	unsigned s = page % l->sets;

	if (l->used[s] < l->ways)
		l->used[s]++;
	memmove(&l->page[s][1], &l->page[s][0], (l->used[s] - 1) * sizeof(page));
	l->page[s][0] = page;
}

static bool ref_holds(const struct ref_level *l, unsigned page)
{
	for (unsigned i = 0; i < l->used[page % l->sets]; i++) {
		if (l->page[page % l->sets][i] == page)
			return true;
	}
	return false;
}

static void replacement_is_lru(void **state)
{
	struct ref_level i1 = {.sets = 4, .ways = 2}, d1 = {.sets = 2, .ways = 4};
	struct ref_level l2 = {.sets = 8, .ways = 4};
	struct step *steps = calloc(PAGES, sizeof(*steps));
	uint64_t l1_hits = 0, l2_hits = 0, misses = 0, eptp, cr3;
	uint32_t random = 12345;
	struct rig r;

	(void)state;
	rig_create(&r, &small, 1);
	cr3 = rig_cr3(&r);
	for (unsigned i = 0; i < PAGES; i++)
		rig_map(&r, cr3, BASE + i * 0x1000, TARGET + i * 0x1000, VMX_SIZE_4K, PRESENT);
	eptp = rig_ept(&r, VMX_SIZE_2M, 0);
	rig_vmcs(&r, 1, eptp, cr3);
	for (unsigned round = 0; round < 400; round++) {
		for (unsigned i = 0; i < PAGES; i++) {
			unsigned page;
			bool fetch;

			random = random * 1103515245 + 12345;
			/* Mostly a small working set. */
			page = random >> 16 & 3 ? (random >> 20) % 7 : (random >> 20) % PAGES;
			fetch = random >> 18 & 1;
			steps[i] = (struct step){.kind = fetch ? STEP_FETCH : STEP_READ,
						 .linear = BASE + page * 0x1000};
			if (ref_touch(fetch ? &i1 : &d1, page)) {
				l1_hits++;
				continue;
			}
			if (ref_touch(&l2, page)) {
				l2_hits++;
			} else {
				misses++;
				ref_fill(&l2, page);
			}
			ref_fill(fetch ? &i1 : &d1, page);
		}
		rig_run(&r, steps, PAGES);
		for (unsigned page = 0; page < PAGES; page++) {
			uint32_t want = (ref_holds(&i1, page) ? 1u << MODEL_TLB_I1 : 0) |
					(ref_holds(&d1, page) ? 1u << MODEL_TLB_D1 : 0) |
					(ref_holds(&l2, page) ? 1u << MODEL_TLB_L2 : 0);

			assert_int_equal(model_tlb_peek(r.cpu, 1, 0, eptp & EPT_ADDR_MASK,
							BASE + page * 0x1000),
					 want);
		}
	}
	assert_int_equal(r.account.fetch_hits_l1 + r.account.data_hits_l1, l1_hits);
	assert_int_equal(r.account.fetch_hits_l2 + r.account.data_hits_l2, l2_hits);
	assert_int_equal(r.account.fetch_misses + r.account.data_misses, misses);
	rig_check_balance(&r);
	free(steps);
	rig_destroy(&r);
}

/* --- fragments -------------------------------------------------------------------- */

struct size_case {
	uint64_t guest, ept, cached;
};

/* A TLB entry covers the smaller of both pages. */
static const struct size_case size_cases[] = {
	{VMX_SIZE_4K, VMX_SIZE_2M, VMX_SIZE_4K}, {VMX_SIZE_2M, VMX_SIZE_4K, VMX_SIZE_4K},
	{VMX_SIZE_2M, VMX_SIZE_2M, VMX_SIZE_2M}, {VMX_SIZE_2M, VMX_SIZE_1G, VMX_SIZE_2M},
	{VMX_SIZE_1G, VMX_SIZE_2M, VMX_SIZE_2M}, {VMX_SIZE_1G, VMX_SIZE_1G, VMX_SIZE_1G},
};

static void entries_cover_the_smaller_page(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(size_cases); i++) {
		const struct size_case *c = &size_cases[i];
		struct model_tlb_entry e[16];
		struct rig r;
		uint64_t cr3, at = BASE + 0x345678;
		size_t n;

		rig_create(&r, NULL, 1);
		cr3 = rig_cr3(&r);
		rig_map(&r, cr3, c->guest == VMX_SIZE_4K ? at & VMX_PAGE_MASK : BASE,
			c->guest == VMX_SIZE_1G ? 0 : TARGET, c->guest, PRESENT);
		if (c->guest == VMX_SIZE_2M)
			at = BASE + 0x145678;
		rig_vmcs(&r, 1, rig_ept(&r, c->ept, 0), cr3);
		rig_read(&r, at);
		n = model_tlb_list(r.cpu, 1, 0, e, VMX_ARRAY_SIZE(e));
		assert_true(n >= 2 && n <= VMX_ARRAY_SIZE(e));
		for (size_t k = 0; k < 2; k++) { /* D1, then L2 */
			assert_int_equal(e[k].structure, k == 0 ? MODEL_TLB_D1 : MODEL_TLB_L2);
			assert_true(e[k].page_size == c->cached);
			assert_true(e[k].linear == (at & ~(c->cached - 1)));
			assert_true(e[k].read && e[k].write && e[k].exec && e[k].user);
		}
		/* Another piece of the same page; then INVLPG anywhere in it takes both. */
		if (c->cached < c->guest) {
			uint64_t other = at ^ c->cached;

			rig_read(&r, other);
			rig_special(&r, X86_SP_INVLPG, (struct x86_special_info){.linear = at});
			assert_int_equal(model_tlb_peek(r.cpu, 1, 0, e[0].ep4ta, other), 0);
			assert_int_equal(r.account.dropped_invlpg, 4);
			assert_int_equal(r.cpu->tlb.fragments, 0);
		}
		rig_check_balance(&r);
		rig_destroy(&r);
	}
}

/* --- VPID on and off -------------------------------------------------------------- */

static void transitions(void **state)
{
	struct rig r;
	uint64_t cr3, eptp;

	(void)state;
	rig_create(&r, NULL, 1);
	cr3 = rig_cr3(&r);
	rig_map(&r, cr3, BASE, TARGET, VMX_SIZE_4K, PRESENT);
	eptp = rig_ept(&r, VMX_SIZE_2M, 0);

	/* VPID on: entries live across exits. */
	rig_vmcs(&r, 7, eptp, cr3);
	rig_read(&r, BASE);
	rig_read(&r, BASE);
	assert_int_equal(r.account.walks, 1);
	assert_int_equal(r.account.ops_transition, 0);

	/* VPID off: each entry and exit flushes VPID 0, and nothing else. */
	rig_vmcs(&r, 0, eptp, cr3);
	rig_read(&r, BASE);
	assert_int_equal(r.account.ops_transition, 2);
	assert_int_equal(r.account.dropped_transition, 2);
	rig_read(&r, BASE);
	assert_int_equal(r.account.walks, 3);
	assert_int_equal(r.account.dropped_transition, 4);
	assert_true(model_gpa_peek(r.cpu, eptp & EPT_ADDR_MASK, TARGET));
	assert_int_equal(model_tlb_peek(r.cpu, 0, 0, eptp & EPT_ADDR_MASK, BASE), 0);
	assert_int_not_equal(model_tlb_peek(r.cpu, 7, 0, eptp & EPT_ADDR_MASK, BASE), 0);
	rig_check_balance(&r);
	rig_destroy(&r);
}

/* Translations made with paging off don't serve a paged guest under the same VPID. */
static void unpaged_is_apart(void **state)
{
	struct rig r;
	uint64_t cr3, eptp;

	(void)state;
	rig_create(&r, NULL, 1);
	cr3 = rig_cr3(&r);
	rig_map(&r, cr3, TARGET, TARGET + 0x5000, VMX_SIZE_4K, PRESENT);
	eptp = rig_ept(&r, VMX_SIZE_4K, 0);
	rig_vmcs(&r, 7, eptp, cr3);
	rig_set_bits(&r, VMCS_GUEST_CR0, 0, CR0_PG);
	rig_set_bits(&r, VMCS_GUEST_EFER, 0, EFER_LMA | EFER_LME);
	rig_set_bits(&r, VMCS_ENTRY_CONTROLS, 0, VMENTRY_IA32E_GUEST);
	rig_set(&r, VMCS_GUEST_CS_AR, 0xc09b);
	assert_true(rig_read(&r, TARGET).hpa == r.ram_hpa + TARGET);
	assert_int_not_equal(model_tlb_peek(r.cpu, 7, 0, eptp & EPT_ADDR_MASK, TARGET), 0);
	/* The VMM turns paging on. */
	rig_set_bits(&r, VMCS_GUEST_CR0, CR0_PG, 0);
	rig_set_bits(&r, VMCS_GUEST_EFER, EFER_LMA | EFER_LME, 0);
	rig_set_bits(&r, VMCS_ENTRY_CONTROLS, VMENTRY_IA32E_GUEST, 0);
	rig_set(&r, VMCS_GUEST_CS_AR, 0xa09b);
	assert_true(rig_read(&r, TARGET).hpa == r.ram_hpa + TARGET + 0x5000);
	/* INVEPT takes both. */
	assert_int_equal(hw_invept(r.cpu, HW_INVEPT_SINGLE, &(struct hw_invept_desc){eptp, 0}),
			 HW_SUCCEED);
	assert_int_equal(model_tlb_peek(r.cpu, 7, 0, eptp & EPT_ADDR_MASK, TARGET), 0);
	rig_check_balance(&r);
	rig_destroy(&r);
}

/* --- accounts --------------------------------------------------------------------- */

static void accounts(void **state)
{
	struct model_account *other = calloc(1, sizeof(*other));
	uint64_t cr3, eptp, vmcs;
	hpa_t first, second;
	struct rig r;

	(void)state;
	rig_create(&r, &small, 1);
	cr3 = rig_cr3(&r);
	for (unsigned i = 0; i < PAGES; i++)
		rig_map(&r, cr3, BASE + i * 0x1000, TARGET + i * 0x1000, VMX_SIZE_4K, PRESENT);
	eptp = rig_ept(&r, VMX_SIZE_2M, 0);
	rig_vmcs(&r, 1, eptp, cr3);
	assert_int_equal(hw_vmptrst(r.cpu, &first), HW_SUCCEED);
	for (unsigned i = 0; i < 4; i++)
		rig_read(&r, BASE + i * 0x1000);
	assert_int_equal(r.account.retired, 4);
	rig_vmcs(&r, 2, eptp, cr3);
	assert_int_equal(hw_vmptrst(r.cpu, &second), HW_SUCCEED);
	model_cpu_set_account(r.cpu, other);
	for (unsigned i = 0; i < PAGES; i++)
		rig_read(&r, BASE + i * 0x1000);
	/* Everything of the first was displaced, by another. */
	assert_int_equal(r.account.evicted_by_others, r.account.fills);
	assert_int_equal(r.account.evicted_own, 0);
	assert_true(other->evicted_own > 0);
	assert_int_equal(other->retired, PAGES);
	assert_int_equal(r.account.retired, 4);
	rig_check_balance(&r);

	/* INVVPID and INVEPT count for those that they cover. */
	assert_int_equal(hw_invvpid(r.cpu, HW_INVVPID_SINGLE, &(struct hw_invvpid_desc){.vpid = 2}),
			 HW_SUCCEED);
	assert_int_equal(r.account.ops_invvpid, 0);
	assert_int_equal(other->ops_invvpid, 1);
	assert_true(other->dropped_invvpid > 0);
	assert_int_equal(hw_invvpid(r.cpu, HW_INVVPID_ALL, &(struct hw_invvpid_desc){0}),
			 HW_SUCCEED);
	assert_int_equal(r.account.ops_invvpid, 1);
	assert_int_equal(other->ops_invvpid, 2);
	assert_int_equal(hw_invept(r.cpu, HW_INVEPT_SINGLE, &(struct hw_invept_desc){eptp, 0}),
			 HW_SUCCEED);
	vmcs = rig_page(&r);
	assert_int_equal(hw_invept(r.cpu, HW_INVEPT_SINGLE,
				   &(struct hw_invept_desc){vmcs | (eptp & 0xfff), 0}),
			 HW_SUCCEED);
	assert_int_equal(r.account.ops_invept_single, 1);
	assert_int_equal(other->ops_invept_single, 1);

	/* A forgotten account is charged no more. */
	rig_read(&r, BASE);
	model_account_forget(r.model, other);
	free(other);
	assert_int_equal(hw_invept(r.cpu, HW_INVEPT_ALL, &(struct hw_invept_desc){0}), HW_SUCCEED);
	assert_int_equal(r.account.ops_invept_all, 1);
	rig_check_balance(&r);
	rig_destroy(&r);
}

static void looking(void **state)
{
	struct model_tlb_entry e[8], one;
	uint32_t held[MODEL_TLB_STRUCTURES];
	uint64_t cr3, eptp;
	struct rig r;
	size_t n;

	(void)state;
	rig_create(&r, NULL, 1);
	cr3 = rig_cr3(&r);
	rig_map(&r, cr3, BASE, TARGET, VMX_SIZE_4K, PRESENT | PTE_G);
	eptp = rig_ept(&r, VMX_SIZE_2M, 0);
	rig_vmcs(&r, 9, eptp, cr3);
	rig_set(&r, VMCS_GUEST_CR3, cr3);
	rig_write(&r, BASE);
	n = model_tlb_list(r.cpu, 9, 0, e, VMX_ARRAY_SIZE(e));
	assert_int_equal(n, 5); /* D1, L2, and three paging-structure entries */
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(model_tlb_list(r.cpu, 9, i, &one, 1), n);
		assert_memory_equal(&one, &e[i], offsetof(struct model_tlb_entry, dirty) + 1);
	}
	assert_true(e[0].global && e[0].dirty && e[0].host == r.ram_hpa + TARGET);
	assert_int_equal(e[2].level, 4);
	model_tlb_held(r.cpu, 9, held);
	assert_int_equal(held[MODEL_TLB_D1], 1);
	assert_int_equal(held[MODEL_TLB_L2], 1);
	assert_int_equal(held[MODEL_TLB_PSC], 3);
	assert_int_equal(held[MODEL_TLB_GPA], 0);
	model_tlb_held(r.cpu, -1, held);
	assert_int_equal(held[MODEL_TLB_GPA], 2); /* the tables' page and the target's */
	assert_int_equal(model_tlb_list(r.cpu, 8, 0, e, VMX_ARRAY_SIZE(e)), 0);
	for (unsigned level = 2; level <= 4; level++)
		assert_true(model_psc_peek(r.cpu, 9, 0, eptp & EPT_ADDR_MASK, BASE, level));
	assert_false(model_psc_peek(r.cpu, 9, 1, eptp & EPT_ADDR_MASK, BASE, 2));
	/* Global: any PCID. */
	assert_int_not_equal(model_tlb_peek(r.cpu, 9, 77, eptp & EPT_ADDR_MASK, BASE), 0);
	assert_int_equal(model_tlb_peek(r.cpu, 9, 0, 0, BASE), 0);
	rig_destroy(&r);
}

static void geometry_is_checked(void **state)
{
	static const struct {
		struct model_tlb_level l;
		int rc;
	} cases[] = {
		{{64, 4}, 0},	    {{0, 0}, 0},	{{63, 4}, -EINVAL},
		{{60, 4}, -EINVAL}, {{64, 0}, -EINVAL},
	};

	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cases); i++) {
		struct model_tlb_geometry g = {.dtlb_4k = cases[i].l};
		struct tlb tlb;

		assert_int_equal(tlb_init(&tlb, &g, NULL), cases[i].rc);
		if (cases[i].rc == 0)
			tlb_fini(&tlb);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replacement_is_lru),
		cmocka_unit_test(entries_cover_the_smaller_page),
		cmocka_unit_test(transitions),
		cmocka_unit_test(unpaged_is_apart),
		cmocka_unit_test(accounts),
		cmocka_unit_test(looking),
		cmocka_unit_test(geometry_is_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
