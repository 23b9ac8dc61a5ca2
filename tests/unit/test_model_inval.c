/* SPDX-License-Identifier: MIT */
/*
 * What invalidates what: entries under many tags are put in, one operation runs, and
 * exactly the listed ones must be gone.
 */
#include "unit/test_model_rig.h"

#define HERE UINT64_C(0x40000000) /* the address that operations name */
#define THERE UINT64_C(0x40005000)
#define FAR UINT64_C(0x80000000)
#define HERE_GPA UINT64_C(0x1000000)
#define FAR_GPA UINT64_C(0x2000000)
#define A UINT64_C(0x100000) /* two EP4TAs */
#define B UINT64_C(0x200000)
#define EPT(a) ((a) | TLB_SPACE_EPT)

/* The current tags are VPID 1, PCID 2, EP4TA A. */
static const struct {
	enum tlb_array_id array;
	uint16_t vpid, pcid;
	uint64_t space, linear;
	uint8_t shift, guest_shift, flags;
} entries[] = {
	/* 0 */ {TLB_L2, 1, 2, EPT(A), HERE, 12, 12, 0},
	/* 1 */ {TLB_L2, 1, 2, EPT(A), THERE, 12, 12, 0},
	/* 2 */ {TLB_L2, 1, 3, EPT(A), HERE, 12, 12, 0},
	/* 3 */ {TLB_L2, 1, 4, EPT(A), HERE, 12, 12, TLB_GLOBAL},
	/* 4 */ {TLB_L2, 1, 2, EPT(B), HERE, 12, 12, 0},
	/* 5 */ {TLB_L2, 2, 2, EPT(A), HERE, 12, 12, 0},
	/* 6 */ {TLB_L2, 0, 2, EPT(A), HERE, 12, 12, 0},
	/* 7: a linear mapping */ {TLB_L2, 1, 2, 0, HERE, 12, 12, 0},
	/* 8: of a 2 MiB guest page around HERE */
	{TLB_L2, 1, 2, EPT(A), HERE + 0x7000, 12, 21, 0},
	/* 9 */ {TLB_PSC_PD, 1, 2, EPT(A), HERE, 21, 0, 0},
	/* 10 */ {TLB_PSC_PD, 1, 2, EPT(A), FAR, 21, 0, 0},
	/* 11 */ {TLB_PSC_PML4, 1, 3, EPT(A), 0, 39, 0, 0},
	/* 12 */ {TLB_PSC_PD, 2, 2, EPT(A), HERE, 21, 0, 0},
	/* 13 */ {TLB_GPA, 0, 0, EPT(A), HERE_GPA, 12, 0, 0},
	/* 14 */ {TLB_GPA, 0, 0, EPT(B), HERE_GPA, 12, 0, 0},
	/* 15 */ {TLB_GPA, 0, 0, EPT(A), FAR_GPA, 12, 0, 0},
	/* 16 */ {TLB_L2, 0, 0, 0, HERE, 12, 12, 0},
	/* 17 */ {TLB_L2, 1, 0, EPT(A), HERE, 12, 12, 0},
	/* 18 */ {TLB_D1_4K, 1, 2, EPT(A), THERE, 12, 12, TLB_GLOBAL},
	/* 19 */ {TLB_I1_4K, 1, 2, EPT(A), HERE, 12, 12, 0},
};

#define E(n) (1u << (n))
#define VPID1_GLOBAL (E(3) | E(18))
#define VPID1_PCID2 (E(0) | E(1) | E(4) | E(7) | E(8) | E(9) | E(10) | E(19))
#define VPID1_PCID3 (E(2) | E(11))
#define VPID1 (VPID1_GLOBAL | VPID1_PCID2 | VPID1_PCID3 | E(17))
#define VPID2 (E(5) | E(12))
#define SPACE_A                                                                                  \
	(E(0) | E(1) | E(2) | E(3) | E(5) | E(6) | E(8) | E(9) | E(10) | E(11) | E(12) | E(13) | \
	 E(15) | E(17) | E(18) | E(19))
#define SPACE_B (E(4) | E(14))
#define LEAVES (~(E(9) | E(10) | E(11) | E(12) | E(13) | E(14) | E(15)))

struct op_case {
	const char *name;
	void (*run)(struct hw_cpu *cpu);
	size_t dropped_counter;
	uint32_t gone;
};

static void set_cr4(struct hw_cpu *cpu, uint64_t old, uint64_t value)
{
	tlb_drop_mov_cr4(cpu, old, value);
}

static void invept(struct hw_cpu *cpu, uint64_t type, uint64_t ep4ta)
{
	struct hw_invept_desc d = {ep4ta | 6 | 3 << 3, 0};

	assert_int_equal(hw_invept(cpu, type, &d), HW_SUCCEED);
}

static void invvpid(struct hw_cpu *cpu, uint64_t type, uint64_t vpid)
{
	struct hw_invvpid_desc d = {vpid, HERE};

	assert_int_equal(hw_invvpid(cpu, type, &d), HW_SUCCEED);
}

#define OP(name, body)                            \
	static void op_##name(struct hw_cpu *cpu) \
	{                                         \
		body;                             \
	}
OP(transition, tlb_drop_transition(cpu))
OP(cr3_no_pcide, cpu->st->cr4 = 0; tlb_drop_mov_cr3(cpu, 0x5000))
OP(cr3_pcid3, tlb_drop_mov_cr3(cpu, 0x5003))
OP(cr3_pcid2, tlb_drop_mov_cr3(cpu, 0x5002))
OP(cr3_no_flush, tlb_drop_mov_cr3(cpu, 0x5002 | CR3_NO_FLUSH))
OP(cr0_pg_off, tlb_drop_mov_cr0(cpu, CR0_PG | CR0_PE, CR0_PE))
OP(cr0_pg_on, tlb_drop_mov_cr0(cpu, CR0_PE, CR0_PG | CR0_PE))
OP(cr0_wp, tlb_drop_mov_cr0(cpu, CR0_PG | CR0_WP, CR0_PG))
OP(cr4_pge_off, set_cr4(cpu, CR4_PGE, 0))
OP(cr4_pge_on, set_cr4(cpu, 0, CR4_PGE))
OP(cr4_pcide_off, set_cr4(cpu, CR4_PCIDE, 0))
OP(cr4_pcide_on, set_cr4(cpu, 0, CR4_PCIDE))
OP(cr4_pae, set_cr4(cpu, CR4_PAE, 0))
OP(cr4_smep_on, set_cr4(cpu, 0, CR4_SMEP))
OP(cr4_smep_off, set_cr4(cpu, CR4_SMEP, 0))
OP(cr4_smap, set_cr4(cpu, 0, CR4_SMAP))
OP(invlpg, tlb_drop_invlpg(cpu, HERE + 0x10))
OP(invpcid_0, tlb_drop_invpcid(cpu, 0, 3, HERE))
OP(invpcid_0_global, tlb_drop_invpcid(cpu, 0, 4, HERE))
OP(invpcid_1, tlb_drop_invpcid(cpu, 1, 2, 0))
OP(invpcid_2, tlb_drop_invpcid(cpu, 2, 0, 0))
OP(invpcid_3, tlb_drop_invpcid(cpu, 3, 0, 0))
OP(page_fault, tlb_drop_page_fault(cpu, HERE + 8))
OP(violation, tlb_drop_ept_violation(cpu, HERE_GPA + 8, true, HERE + 8))
OP(violation_no_linear, tlb_drop_ept_violation(cpu, HERE_GPA + 8, false, 0))
OP(invept_a, invept(cpu, HW_INVEPT_SINGLE, A))
OP(invept_b, invept(cpu, HW_INVEPT_SINGLE, B))
OP(invept_all, invept(cpu, HW_INVEPT_ALL, 0))
OP(invvpid_0, invvpid(cpu, HW_INVVPID_ADDRESS, 1))
OP(invvpid_1, invvpid(cpu, HW_INVVPID_SINGLE, 1))
OP(invvpid_2, invvpid(cpu, HW_INVVPID_ALL, 0))
OP(invvpid_3, invvpid(cpu, HW_INVVPID_SINGLE_KEEP_GLOBAL, 1))
OP(vmxoff_vmxon, hpa_t region = hpa(cpu->vmxon_region); hw_vmxoff(cpu); hw_vmxon(cpu, region))

#define ROW(name, counter, gone)                                                            \
	{                                                                                   \
#name, op_##name, offsetof(struct model_account, dropped_##counter), (gone) \
	}

static const struct op_case op_cases[] = {
	ROW(transition, transition, E(6) | E(16)),
	ROW(cr3_no_pcide, mov_cr3, E(17)),
	ROW(cr3_pcid3, mov_cr3, VPID1_PCID3),
	ROW(cr3_pcid2, mov_cr3, VPID1_PCID2),
	ROW(cr3_no_flush, mov_cr3, 0),
	ROW(cr0_pg_off, mov_cr0_cr4, VPID1),
	ROW(cr0_pg_on, mov_cr0_cr4, 0),
	ROW(cr0_wp, mov_cr0_cr4, 0),
	ROW(cr4_pge_off, mov_cr0_cr4, VPID1),
	ROW(cr4_pge_on, mov_cr0_cr4, VPID1),
	ROW(cr4_pcide_off, mov_cr0_cr4, VPID1),
	ROW(cr4_pcide_on, mov_cr0_cr4, 0),
	ROW(cr4_pae, mov_cr0_cr4, VPID1_PCID2 | E(18)),
	ROW(cr4_smep_on, mov_cr0_cr4, VPID1_PCID2 | E(18)),
	ROW(cr4_smep_off, mov_cr0_cr4, 0),
	ROW(cr4_smap, mov_cr0_cr4, 0),
	ROW(invlpg, invlpg, E(0) | E(3) | E(4) | E(7) | E(8) | E(9) | E(10) | E(19)),
	ROW(invpcid_0, invpcid, E(2) | E(11)),
	ROW(invpcid_0_global, invpcid, 0),
	ROW(invpcid_1, invpcid, VPID1_PCID2),
	ROW(invpcid_2, invpcid, VPID1),
	ROW(invpcid_3, invpcid, VPID1 & ~VPID1_GLOBAL),
	ROW(page_fault, page_fault, E(0) | E(3) | E(4) | E(7) | E(8) | E(9) | E(19)),
	ROW(violation, ept_violation, E(0) | E(3) | E(8) | E(9) | E(13) | E(19)),
	ROW(violation_no_linear, ept_violation, E(13)),
	ROW(invept_a, invept_single, SPACE_A),
	ROW(invept_b, invept_single, SPACE_B),
	ROW(invept_all, invept_all, SPACE_A | SPACE_B),
	ROW(invvpid_0, invvpid,
	    E(0) | E(2) | E(3) | E(4) | E(7) | E(8) | E(9) | E(11) | E(17) | E(19)),
	ROW(invvpid_1, invvpid, VPID1),
	ROW(invvpid_2, invvpid, VPID1 | VPID2),
	ROW(invvpid_3, invvpid, VPID1 & ~VPID1_GLOBAL),
	ROW(vmxoff_vmxon, invvpid, 0),
};

static void put(struct rig *r, size_t i)
{
	const struct tlb_entry e = {
		.linear = entries[i].linear,
		.space = entries[i].space,
		.owner = &r->account,
		.vpid = entries[i].vpid,
		.pcid = entries[i].pcid,
		.shift = entries[i].shift,
		.guest_shift = entries[i].guest_shift,
		.flags = entries[i].flags,
	};

	assert_true(tlb_insert(&r->cpu->tlb, entries[i].array, &e, i + 1) >= 0);
}

/* Global ones last: a lookup under any PCID finds them, and a fill goes over what it finds. */
static void fill(struct rig *r)
{
	for (unsigned global = 0; global < 2; global++) {
		for (size_t i = 0; i < VMX_ARRAY_SIZE(entries); i++) {
			if ((entries[i].flags & TLB_GLOBAL) == (global ? TLB_GLOBAL : 0))
				put(r, i);
		}
	}
}

static bool still_held(const struct rig *r, size_t i)
{
	const struct tlb_array *a = &r->cpu->tlb.array[entries[i].array];

	for (uint32_t n = 0; n < a->count; n++) {
		const struct tlb_entry *e = &a->entry[n];

		if (a->key[n] && e->linear == entries[i].linear && e->vpid == entries[i].vpid &&
		    e->pcid == entries[i].pcid && e->space == entries[i].space)
			return true;
	}
	return false;
}

static unsigned bits(uint32_t v)
{
	return (unsigned)__builtin_popcount(v);
}

static void exact_sets(void **state)
{
	(void)state;
	for (size_t c = 0; c < VMX_ARRAY_SIZE(op_cases); c++) {
		const struct op_case *op = &op_cases[c];
		uint32_t gone = 0;
		struct rig r;

		rig_create(&r, NULL, 1);
		r.cpu->mmu.tags = (struct tlb_tags){.space = EPT(A), .vpid = 1, .pcid = 2};
		r.cpu->mmu.space = EPT(A);
		r.cpu->st->cr4 = CR4_PCIDE | CR4_PAE;
		fill(&r);
		for (size_t i = 0; i < VMX_ARRAY_SIZE(entries); i++)
			assert_true(still_held(&r, i));
		op->run(r.cpu);
		for (size_t i = 0; i < VMX_ARRAY_SIZE(entries); i++)
			gone |= still_held(&r, i) ? 0 : E(i);
		if (gone != op->gone)
			fail_msg("%s: %#x too many, %#x too few", op->name, gone & ~op->gone,
				 op->gone & ~gone);
		/* Counted by cause: leaves alone. */
		assert_int_equal(*(uint64_t *)((char *)&r.account + op->dropped_counter),
				 bits(gone & LEAVES));
		rig_check_balance(&r);
		rig_destroy(&r);
	}
}

/* The executor's front learns of each first-level entry that goes. */
static void front_is_told(void **state)
{
	const uint64_t linear = HERE, target = HERE_GPA;
	struct rig r;
	uint64_t cr3, walks;

	(void)state;
	rig_create(&r, NULL, 1);
	cr3 = rig_cr3(&r);
	for (unsigned i = 0; i < 256; i++)
		rig_map(&r, cr3, linear + i * 0x1000, target + i * 0x1000, VMX_SIZE_4K,
			PTE_P | PTE_W);
	rig_vmcs(&r, 1, rig_ept(&r, VMX_SIZE_2M, 0), cr3);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 256; i++)
			rig_read(&r, linear + i * 0x1000);
	}
	/* 64 first-level entries: the second round hits the second level each time, so the
	 * front, which forgets nothing by itself, was told of every replacement. */
	assert_int_equal(r.account.data_hits_l1, 0);
	assert_int_equal(r.account.data_hits_l2, 256);
	walks = r.account.walks;
	assert_int_equal(hw_invvpid(r.cpu, HW_INVVPID_SINGLE, &(struct hw_invvpid_desc){.vpid = 1}),
			 HW_SUCCEED);
	rig_read(&r, linear + 255 * 0x1000);
	assert_int_equal(r.account.walks, walks + 1);
	rig_check_balance(&r);
	rig_destroy(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exact_sets),
		cmocka_unit_test(front_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
