/* SPDX-License-Identifier: MIT */
/* Walks, faults and violations, A/D flags, and what stays cached: hw/model's MMU. */
#include "unit/test_model_rig.h"

#define LINEAR UINT64_C(0x40000000)
#define TARGET UINT64_C(0x1000000) /* guest-physical, 2 MiB-aligned, not 0 */
#define PRESENT (PTE_P | PTE_W | PTE_U)

/* --- references of a walk --------------------------------------------------------- */

struct refs_case {
	uint64_t guest, ept;
	unsigned refs;
};

static const struct refs_case refs_cases[] = {
	{VMX_SIZE_4K, VMX_SIZE_4K, 24}, {VMX_SIZE_4K, VMX_SIZE_2M, 19},
	{VMX_SIZE_4K, VMX_SIZE_1G, 14}, {VMX_SIZE_2M, VMX_SIZE_4K, 19},
	{VMX_SIZE_2M, VMX_SIZE_2M, 15}, {VMX_SIZE_2M, VMX_SIZE_1G, 11},
	{VMX_SIZE_1G, VMX_SIZE_4K, 14}, {VMX_SIZE_1G, VMX_SIZE_2M, 11},
	{VMX_SIZE_1G, VMX_SIZE_1G, 8},
};

/* With no caching structure at all, every access walks in full. */
static void references(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(refs_cases); i++) {
		const struct refs_case *c = &refs_cases[i];
		struct rig r;
		uint64_t cr3;

		rig_create(&r, &model_tlb_none, 1);
		cr3 = rig_cr3(&r);
		rig_map(&r, cr3, LINEAR, c->guest == VMX_SIZE_1G ? 0 : TARGET, c->guest, PRESENT);
		rig_vmcs(&r, 1, rig_ept(&r, c->ept, 0), cr3);
		for (unsigned n = 1; n <= 2; n++) {
			rig_read(&r, LINEAR);
			assert_int_equal(r.account.walk_refs_guest + r.account.walk_refs_ept,
					 n * c->refs);
			assert_int_equal(r.account.walk_refs_histogram[c->refs], n);
			assert_int_equal(r.account.data_misses, n);
		}
		rig_check_balance(&r);
		rig_destroy(&r);
	}
}

/* Native paging: EPT off. */
static void references_without_ept(void **state)
{
	struct rig r;
	uint64_t root, page, *e;

	(void)state;
	rig_create(&r, &model_tlb_none, 1);
	/* Host-physical tables: the guest's physical address space is the host's. */
	root = rig_page(&r);
	page = root;
	for (unsigned level = 4; level > 1; level--) {
		e = rig_ptr(&r, page + (LINEAR >> (12 + 9 * (level - 1)) & 0x1ff) * 8);
		page = rig_page(&r);
		*e = page | PRESENT;
	}
	*rig_ptr(&r, page + (LINEAR >> 12 & 0x1ff) * 8) = rig_page(&r) | PRESENT;
	rig_vmcs(&r, 1, 0, root);
	rig_read(&r, LINEAR);
	assert_int_equal(r.account.walk_refs_histogram[4], 1);
	rig_destroy(&r);
}

/* What the caches save: PDE cache 5 (PTE, and EPT for the page), all hit 1, TLB 0. */
static void references_with_caches(void **state)
{
	struct rig r;
	uint64_t cr3;

	(void)state;
	rig_create(&r, NULL, 1);
	cr3 = rig_cr3(&r);
	for (unsigned i = 0; i < 3; i++)
		rig_map(&r, cr3, LINEAR + i * 0x1000, TARGET + (i == 2 ? 0 : i * 0x1000),
			VMX_SIZE_4K, PRESENT);
	rig_vmcs(&r, 1, rig_ept(&r, VMX_SIZE_4K, 0), cr3);
	rig_read(&r, LINEAR);
	assert_int_equal(r.account.walk_refs_histogram[24], 1);
	rig_read(&r, LINEAR + 0x1000);
	assert_int_equal(r.account.walk_refs_histogram[5], 1);
	assert_int_equal(r.account.psc_hits, 1);
	/* The page's own guest-physical address is cached from the first access. */
	rig_read(&r, LINEAR + 0x2000);
	assert_int_equal(r.account.walk_refs_histogram[1], 1);
	assert_int_equal(r.account.gpa_hits, 1);
	rig_read(&r, LINEAR);
	assert_int_equal(r.account.walks, 3);
	assert_int_equal(r.account.data_hits_l1, 1);
	rig_check_balance(&r);
	rig_destroy(&r);
}

/* --- page faults ------------------------------------------------------------------ */

struct fault_case {
	const char *name;
	enum step_kind kind;
	uint32_t who;
	uint64_t leaf; /* flags of the PTE */
	uint64_t pde_clear;
	uint64_t cr0_clear, cr4_set, efer_clear, rflags_set;
	int error; /* -1: no fault */
};

static const struct fault_case fault_cases[] = {
	{"not present, read", STEP_READ, 0, 0, 0, 0, 0, 0, 0, 0},
	{"not present, user write", STEP_WRITE, X86_USER, 0, 0, 0, 0, 0, 0, PFEC_W | PFEC_U},
	{"not present, fetch", STEP_FETCH, 0, 0, 0, 0, 0, 0, 0, PFEC_I},
	{"not present, fetch, NXE off", STEP_FETCH, 0, 0, 0, 0, 0, EFER_NXE, 0, 0},
	{"not present, fetch, NXE off, SMEP", STEP_FETCH, 0, 0, 0, 0, CR4_SMEP, EFER_NXE, 0,
	 PFEC_I},
	{"user read of supervisor page", STEP_READ, X86_USER, PTE_P | PTE_W, 0, 0, 0, 0, 0,
	 PFEC_P | PFEC_U},
	{"supervisor PDE counts", STEP_READ, X86_USER, PRESENT, PTE_U, 0, 0, 0, 0, PFEC_P | PFEC_U},
	{"user write of read-only", STEP_WRITE, X86_USER, PTE_P | PTE_U, 0, 0, 0, 0, 0,
	 PFEC_P | PFEC_W | PFEC_U},
	{"supervisor write of read-only, WP", STEP_WRITE, 0, PTE_P, 0, 0, 0, 0, 0, PFEC_P | PFEC_W},
	{"supervisor write of read-only, no WP", STEP_WRITE, 0, PTE_P, 0, CR0_WP, 0, 0, 0, -1},
	{"user write of read-only, no WP", STEP_WRITE, X86_USER, PTE_P | PTE_U, 0, CR0_WP, 0, 0, 0,
	 PFEC_P | PFEC_W | PFEC_U},
	{"read-only PDE counts", STEP_RMW, 0, PTE_P | PTE_W, PTE_W, 0, 0, 0, 0, PFEC_P | PFEC_W},
	{"XD", STEP_FETCH, 0, PTE_P | PTE_XD, 0, 0, 0, 0, 0, PFEC_P | PFEC_I},
	{"XD, data", STEP_READ, 0, PTE_P | PTE_XD, 0, 0, 0, 0, 0, -1},
	{"XD is reserved with NXE off", STEP_READ, 0, PTE_P | PTE_XD, 0, 0, 0, EFER_NXE, 0,
	 PFEC_P | PFEC_RSVD},
	{"address beyond the width", STEP_WRITE, 0, PRESENT | VMX_BIT(50), 0, 0, 0, 0, 0,
	 PFEC_P | PFEC_RSVD | PFEC_W},
	{"SMEP", STEP_FETCH, 0, PRESENT, 0, 0, CR4_SMEP, 0, 0, PFEC_P | PFEC_I},
	{"SMEP, user fetch", STEP_FETCH, X86_USER, PRESENT, 0, 0, CR4_SMEP, 0, 0, -1},
	{"SMEP off", STEP_FETCH, 0, PRESENT, 0, 0, 0, 0, 0, -1},
	{"SMAP", STEP_READ, 0, PRESENT, 0, 0, CR4_SMAP, 0, 0, PFEC_P},
	{"SMAP, AC", STEP_READ, 0, PRESENT, 0, 0, CR4_SMAP, 0, RFLAGS_AC, -1},
	{"SMAP, AC, implicit", STEP_READ, X86_IMPLICIT, PRESENT, 0, 0, CR4_SMAP, 0, RFLAGS_AC,
	 PFEC_P},
	{"SMAP, supervisor page", STEP_READ, 0, PTE_P | PTE_W, 0, 0, CR4_SMAP, 0, 0, -1},
	{"SMAP, user", STEP_READ, X86_USER, PRESENT, 0, 0, CR4_SMAP, 0, 0, -1},
};

static void page_faults(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(fault_cases); i++) {
		const struct fault_case *c = &fault_cases[i];
		struct rig r;
		uint64_t cr3, *leaf;
		struct step s;

		rig_create(&r, NULL, 1);
		cr3 = rig_cr3(&r);
		leaf = rig_map(&r, cr3, LINEAR, TARGET, VMX_SIZE_4K, c->leaf);
		*rig_entry(&r, cr3, LINEAR, 2) &= ~c->pde_clear;
		rig_vmcs(&r, 1, rig_ept(&r, VMX_SIZE_2M, 0), cr3);
		rig_set_bits(&r, VMCS_GUEST_CR0, 0, c->cr0_clear);
		rig_set_bits(&r, VMCS_GUEST_CR4, c->cr4_set, 0);
		rig_set_bits(&r, VMCS_GUEST_EFER, 0, c->efer_clear);
		rig_set_bits(&r, VMCS_GUEST_RFLAGS, c->rflags_set, 0);
		s = rig_step(&r, (struct step){.kind = c->kind, .linear = LINEAR, .who = c->who});
		if (c->error < 0) {
			if (s.result != X86_OK)
				fail_msg("%s: faulted", c->name);
			assert_true(s.hpa == r.ram_hpa + TARGET);
			assert_true(*leaf & PTE_A);
		} else {
			if (s.result != X86_FAULT || s.fault.vector != VECTOR_PF ||
			    s.fault.error != (uint32_t)c->error)
				fail_msg("%s: error %#x", c->name, s.fault.error);
			assert_true(s.fault.cr2 == LINEAR);
			assert_false(*leaf & PTE_A);
			assert_int_equal(r.account.walks_faulted, 1);
			assert_int_equal(r.account.ops_page_fault, 1);
		}
		rig_check_balance(&r);
		rig_destroy(&r);
	}
}

/* Reserved bits by level; size: of the page that is mapped. */
static const struct {
	unsigned level;
	uint64_t size, set;
	bool reserved;
} reserved_cases[] = {
	{4, VMX_SIZE_4K, PTE_PS, true},		{4, VMX_SIZE_4K, VMX_BIT(46), true},
	{4, VMX_SIZE_4K, VMX_BIT(52), false},	{4, VMX_SIZE_4K, PTE_G, false},
	{3, VMX_SIZE_4K, VMX_BIT(51), true},	{3, VMX_SIZE_1G, VMX_BIT(13), true},
	{3, VMX_SIZE_1G, VMX_BIT(29), true},	{3, VMX_SIZE_1G, PTE_PAT_LARGE, false},
	{2, VMX_SIZE_2M, VMX_BIT(13), true},	{2, VMX_SIZE_2M, VMX_BIT(20), true},
	{2, VMX_SIZE_2M, PTE_PAT_LARGE, false}, {1, VMX_SIZE_4K, PTE_PAT, false},
	{1, VMX_SIZE_4K, VMX_BIT(62), false},
};

static void reserved_bits(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(reserved_cases); i++) {
		struct rig r;
		struct step s;
		uint64_t cr3;

		rig_create(&r, NULL, 1);
		cr3 = rig_cr3(&r);
		rig_map(&r, cr3, LINEAR, reserved_cases[i].size == VMX_SIZE_1G ? 0 : TARGET,
			reserved_cases[i].size, PRESENT);
		*rig_entry(&r, cr3, LINEAR, reserved_cases[i].level) |= reserved_cases[i].set;
		rig_vmcs(&r, 1, rig_ept(&r, VMX_SIZE_2M, 0), cr3);
		s = rig_read(&r, LINEAR);
		if ((s.result == X86_FAULT) != reserved_cases[i].reserved)
			fail_msg("level %u, bits %#lx", reserved_cases[i].level,
				 (unsigned long)reserved_cases[i].set);
		if (s.result == X86_FAULT)
			assert_int_equal(s.fault.error, PFEC_P | PFEC_RSVD);
		rig_destroy(&r);
	}
}

/* --- EPT violations --------------------------------------------------------------- */

struct violation_case {
	const char *name;
	enum step_kind kind;
	uint64_t leaf_rights;	/* of the EPT leaf of the page */
	uint64_t pde_rights;	/* of the EPT PDE above it */
	uint64_t qualification; /* 0: no violation */
};

#define FINAL (EPTV_LINEAR_VALID | EPTV_FINAL)

static const struct violation_case violation_cases[] = {
	{"read, not present", STEP_READ, 0, EPT_RWX, EPTV_READ | FINAL},
	{"write, not present", STEP_WRITE, 0, EPT_RWX, EPTV_WRITE | FINAL},
	{"fetch, not present", STEP_FETCH, 0, EPT_RWX, EPTV_FETCH | FINAL},
	{"read, PDE not present", STEP_READ, EPT_RWX, 0, EPTV_READ | FINAL},
	{"write, read-only", STEP_WRITE, EPT_R, EPT_RWX, EPTV_WRITE | EPTV_ENTRY_R | FINAL},
	{"RMW, read-only", STEP_RMW, EPT_R | EPT_X, EPT_RWX,
	 EPTV_READ | EPTV_WRITE | EPTV_ENTRY_R | EPTV_ENTRY_X | FINAL},
	{"fetch, not executable", STEP_FETCH, EPT_R | EPT_W, EPT_RWX,
	 EPTV_FETCH | EPTV_ENTRY_R | EPTV_ENTRY_W | FINAL},
	{"read, execute-only", STEP_READ, EPT_X, EPT_RWX, EPTV_READ | EPTV_ENTRY_X | FINAL},
	{"fetch, execute-only", STEP_FETCH, EPT_X, EPT_RWX, 0},
	{"rights are ANDed", STEP_WRITE, EPT_RWX, EPT_R | EPT_X,
	 EPTV_WRITE | EPTV_ENTRY_R | EPTV_ENTRY_X | FINAL},
	{"read of read-only", STEP_READ, EPT_R, EPT_RWX, 0},
};

static void ept_violations(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(violation_cases); i++) {
		const struct violation_case *c = &violation_cases[i];
		struct rig r;
		uint64_t cr3, eptp, *e;
		struct step s;

		rig_create(&r, NULL, 1);
		cr3 = rig_cr3(&r);
		rig_map(&r, cr3, LINEAR, TARGET, VMX_SIZE_4K, PRESENT);
		eptp = rig_ept(&r, VMX_SIZE_4K, 0);
		e = rig_ept_entry(&r, eptp, TARGET, 1);
		*e = (*e & ~EPT_RWX) | c->leaf_rights;
		e = rig_ept_entry(&r, eptp, TARGET, 2);
		*e = (*e & ~EPT_RWX) | c->pde_rights;
		rig_vmcs(&r, 1, eptp, cr3);
		s = rig_step(&r, (struct step){.kind = c->kind, .linear = LINEAR + 0x123});
		if (c->qualification == 0) {
			assert_int_equal(s.result, X86_OK);
		} else {
			if (s.result != X86_EXIT ||
			    rig_get(&r, VMCS_EXIT_REASON) != EXIT_EPT_VIOLATION ||
			    rig_get(&r, VMCS_EXIT_QUALIFICATION) != c->qualification)
				fail_msg("%s: %#lx", c->name,
					 (unsigned long)rig_get(&r, VMCS_EXIT_QUALIFICATION));
			assert_true(rig_get(&r, VMCS_GUEST_PHYSICAL_ADDRESS) == TARGET + 0x123);
			assert_true(rig_get(&r, VMCS_GUEST_LINEAR_ADDRESS) == LINEAR + 0x123);
			assert_int_equal(r.account.ops_ept_violation, 1);
		}
		rig_check_balance(&r);
		rig_destroy(&r);
	}
}

/* On a guest paging structure: bit 8 clear; the address is that of the entry. */
static void violation_on_table(void **state)
{
	static const struct {
		uint64_t ad, rights, want;
	} cases[] = {
		{0, 0, EPTV_READ | EPTV_LINEAR_VALID},
		{EPTP_AD, 0, EPTV_READ | EPTV_WRITE | EPTV_LINEAR_VALID},
		/* Reading is allowed, setting A is not. */
		{0, EPT_R, EPTV_WRITE | EPTV_ENTRY_R | EPTV_LINEAR_VALID},
		{EPTP_AD, EPT_R, EPTV_READ | EPTV_WRITE | EPTV_ENTRY_R | EPTV_LINEAR_VALID},
	};

	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cases); i++) {
		struct rig r;
		uint64_t cr3, eptp, table, *e;

		rig_create(&r, NULL, 1);
		cr3 = rig_cr3(&r);
		rig_map(&r, cr3, LINEAR + 0x5000, TARGET, VMX_SIZE_4K, PRESENT);
		table = *rig_entry(&r, cr3, LINEAR, 2) & PTE_ADDR_MASK;
		eptp = rig_ept(&r, VMX_SIZE_4K, cases[i].ad);
		e = rig_ept_entry(&r, eptp, table, 1);
		*e = (*e & ~EPT_RWX) | cases[i].rights;
		rig_vmcs(&r, 1, eptp, cr3);
		assert_int_equal(rig_read(&r, LINEAR + 0x5000).result, X86_EXIT);
		assert_int_equal(rig_get(&r, VMCS_EXIT_REASON), EXIT_EPT_VIOLATION);
		assert_int_equal(rig_get(&r, VMCS_EXIT_QUALIFICATION), cases[i].want);
		assert_true(rig_get(&r, VMCS_GUEST_PHYSICAL_ADDRESS) == table + 5 * 8);
		/* The permission is added without INVEPT: the next try goes through. */
		*e |= EPT_RWX;
		assert_int_equal(rig_read(&r, LINEAR + 0x5000).result, X86_OK);
		rig_destroy(&r);
	}
}

static const struct {
	const char *name;
	unsigned level;
	uint64_t size, set, clear;
	bool bad;
} misconfigs[] = {
	{"write without read", 1, VMX_SIZE_4K, 0, EPT_R, true},
	{"write and execute without read", 1, VMX_SIZE_4K, EPT_W | EPT_X, EPT_R, true},
	{"execute only", 1, VMX_SIZE_4K, 0, EPT_R | EPT_W, false},
	{"type 2", 1, VMX_SIZE_4K, 2u << 3, EPT_MEMTYPE_MASK, true},
	{"type 3", 1, VMX_SIZE_4K, 3u << 3, EPT_MEMTYPE_MASK, true},
	{"type 7", 1, VMX_SIZE_4K, 7u << 3, 0, true},
	{"type UC", 1, VMX_SIZE_4K, 0, EPT_MEMTYPE_MASK, false},
	{"address beyond the width", 1, VMX_SIZE_4K, VMX_BIT(46), 0, true},
	{"bits 63:52 are ignored", 1, VMX_SIZE_4K, VMX_BIT(52) | VMX_BIT(62), 0, false},
	{"2M, bit 12", 2, VMX_SIZE_2M, VMX_BIT(12), 0, true},
	{"2M, bit 20", 2, VMX_SIZE_2M, VMX_BIT(20), 0, true},
	{"PDE to a table, bit 3", 2, VMX_SIZE_4K, VMX_BIT(3), 0, true},
	{"PDE to a table, bit 6", 2, VMX_SIZE_4K, VMX_BIT(6), 0, true},
	{"PDPTE to a table, bit 5", 3, VMX_SIZE_4K, VMX_BIT(5), 0, true},
	{"1G, bit 29", 3, VMX_SIZE_1G, VMX_BIT(29), 0, true},
	{"PML4E, bit 7", 4, VMX_SIZE_4K, VMX_BIT(7), 0, true},
	{"PML4E, write without read", 4, VMX_SIZE_4K, 0, EPT_R, true},
	{"PML4E, bit 11 is ignored", 4, VMX_SIZE_4K, VMX_BIT(11), 0, false},
};

/* Paging off: the walk is the EPT's alone. */
static void misconfigurations(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(misconfigs); i++) {
		struct rig r;
		uint64_t eptp, *e;
		struct step s;

		rig_create(&r, NULL, 1);
		eptp = rig_ept(&r, misconfigs[i].size, 0);
		e = rig_ept_entry(&r, eptp, TARGET, misconfigs[i].level);
		*e = (*e & ~misconfigs[i].clear) | misconfigs[i].set;
		rig_vmcs(&r, 1, eptp, 0);
		rig_set_bits(&r, VMCS_GUEST_CR0, 0, CR0_PG);
		rig_set_bits(&r, VMCS_GUEST_EFER, 0, EFER_LMA | EFER_LME);
		rig_set_bits(&r, VMCS_ENTRY_CONTROLS, 0, VMENTRY_IA32E_GUEST);
		rig_set(&r, VMCS_GUEST_CS_AR, 0xc09b);
		s = rig_fetch(&r, TARGET);
		if ((s.result == X86_EXIT) != misconfigs[i].bad)
			fail_msg("%s", misconfigs[i].name);
		if (misconfigs[i].bad) {
			assert_int_equal(rig_get(&r, VMCS_EXIT_REASON), EXIT_EPT_MISCONFIG);
			assert_true(rig_get(&r, VMCS_GUEST_PHYSICAL_ADDRESS) == TARGET);
			assert_int_equal(r.account.ops_ept_violation, 0);
			assert_false(model_gpa_peek(r.cpu, eptp & EPT_ADDR_MASK, TARGET));
		}
		rig_destroy(&r);
	}
}

/* --- A and D ---------------------------------------------------------------------- */

static void accessed_and_dirty(void **state)
{
	struct rig r;
	uint64_t cr3, eptp, *pte, *leaf, *table_leaf;

	(void)state;
	rig_create(&r, NULL, 1);
	cr3 = rig_cr3(&r);
	pte = rig_map(&r, cr3, LINEAR, TARGET, VMX_SIZE_4K, PRESENT);
	eptp = rig_ept(&r, VMX_SIZE_4K, EPTP_AD);
	leaf = rig_ept_entry(&r, eptp, TARGET, 1);
	table_leaf = rig_ept_entry(&r, eptp, cr3, 1);
	rig_vmcs(&r, 1, eptp, cr3);

	rig_read(&r, LINEAR);
	for (unsigned level = 1; level <= 4; level++)
		assert_true(*rig_entry(&r, cr3, LINEAR, level) & PTE_A);
	for (unsigned level = 1; level <= 4; level++)
		assert_true(*rig_ept_entry(&r, eptp, TARGET, level) & EPT_A);
	assert_false(*pte & PTE_D);
	assert_false(*leaf & EPT_D);
	assert_true(*table_leaf & EPT_D); /* accesses to guest tables count as writes */

	/* The read is cached; the first write walks once more to set D, the second doesn't. */
	assert_int_equal(r.account.walks, 1);
	rig_write(&r, LINEAR);
	assert_int_equal(r.account.walks, 2);
	assert_true(*pte & PTE_D);
	assert_true(*leaf & EPT_D);
	rig_write(&r, LINEAR);
	rig_read(&r, LINEAR);
	assert_int_equal(r.account.walks, 2);

	/* Cleared without an invalidation: the cached entry does not set them again. */
	*pte &= ~PTE_D;
	*leaf &= ~EPT_D;
	rig_write(&r, LINEAR);
	assert_false((*pte & PTE_D) || (*leaf & EPT_D));
	/* With it, it does. */
	rig_special(&r, X86_SP_INVLPG, (struct x86_special_info){.linear = LINEAR});
	assert_int_equal(hw_invept(r.cpu, HW_INVEPT_SINGLE, &(struct hw_invept_desc){eptp, 0}),
			 HW_SUCCEED);
	rig_write(&r, LINEAR);
	assert_true((*pte & PTE_D) && (*leaf & EPT_D));
	rig_check_balance(&r);
	rig_destroy(&r);
}

/* A/D for EPT off: guest D alone decides, and EPT entries stay as they are. */
static void no_ept_flags(void **state)
{
	struct rig r;
	uint64_t cr3, eptp, before;

	(void)state;
	rig_create(&r, NULL, 1);
	cr3 = rig_cr3(&r);
	rig_map(&r, cr3, LINEAR, TARGET, VMX_SIZE_4K, PRESENT | PTE_A | PTE_D);
	eptp = rig_ept(&r, VMX_SIZE_4K, 0);
	before = *rig_ept_entry(&r, eptp, TARGET, 1);
	rig_vmcs(&r, 1, eptp, cr3);
	rig_read(&r, LINEAR);
	rig_write(&r, LINEAR);
	assert_int_equal(r.account.walks, 1);
	assert_true(*rig_ept_entry(&r, eptp, TARGET, 1) == before);
	rig_destroy(&r);
}

/* The page grew to 2 MiB while a clean 4 KiB entry was cached: one walk, then none. */
static void clean_entry_is_displaced(void **state)
{
	const struct tlb_select psc = {.arrays = TLB_PSC_ARRAYS};
	struct rig r;
	uint64_t cr3;

	(void)state;
	rig_create(&r, NULL, 1);
	cr3 = rig_cr3(&r);
	rig_map(&r, cr3, LINEAR, TARGET, VMX_SIZE_4K, PRESENT);
	rig_vmcs(&r, 1, rig_ept(&r, VMX_SIZE_2M, 0), cr3);
	rig_read(&r, LINEAR);
	*rig_entry(&r, cr3, LINEAR, 2) = TARGET | PRESENT | PTE_PS;
	tlb_drop(&r.cpu->tlb, &psc, offsetof(struct model_account, dropped_invpcid));
	rig_read(&r, LINEAR + 0x100000);
	assert_int_equal(r.account.walks, 2);
	assert_int_equal(rig_write(&r, LINEAR).result, X86_OK);
	rig_write(&r, LINEAR);
	assert_int_equal(r.account.walks, 3);
	assert_int_equal(r.account.evicted_own, 2); /* the 4 KiB entry, in both levels */
	rig_check_balance(&r);
	rig_destroy(&r);
}

/* --- modes ------------------------------------------------------------------------ */

/* A control bit that changes rights without invalidating reaches the executor's front. */
static void mode_changes_reach_the_front(void **state)
{
	static const struct {
		enum step_kind kind;
		uint64_t leaf, cr0_clear;
		uint8_t reg;
		uint64_t value;
		uint32_t error;
	} cases[] = {
		{STEP_READ, PRESENT, 0, 4, CR4_PAE | CR4_PGE | CR4_VMXE | CR4_SMAP, PFEC_P},
		{STEP_WRITE, PTE_P, CR0_WP, 0, CR0_PE | CR0_NE | CR0_PG | CR0_WP, PFEC_P | PFEC_W},
		{STEP_FETCH, PRESENT, 0, 4, CR4_PAE | CR4_PGE | CR4_VMXE | CR4_SMEP,
		 PFEC_P | PFEC_I},
	};

	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cases); i++) {
		struct x86_special_info to_cr = {.reg = cases[i].reg, .value = cases[i].value};
		struct step steps[] = {
			{.kind = cases[i].kind, .linear = LINEAR},
			{.kind = STEP_SPECIAL, .what = X86_SP_CR_WRITE, .info = to_cr},
			{.kind = cases[i].kind, .linear = LINEAR},
		};
		struct rig r;
		uint64_t cr3;

		rig_create(&r, NULL, 1);
		cr3 = rig_cr3(&r);
		rig_map(&r, cr3, LINEAR, TARGET, VMX_SIZE_4K, cases[i].leaf);
		rig_vmcs(&r, 1, rig_ept(&r, VMX_SIZE_2M, 0), cr3);
		rig_set_bits(&r, VMCS_GUEST_CR0, 0, cases[i].cr0_clear);
		rig_run(&r, steps, VMX_ARRAY_SIZE(steps));
		assert_int_equal(steps[0].result, X86_OK);
		assert_int_equal(steps[1].result, X86_OK);
		assert_int_equal(steps[2].result, X86_FAULT);
		assert_int_equal(steps[2].fault.error, cases[i].error);
		rig_check_balance(&r);
		rig_destroy(&r);
	}
}

/* --- staleness -------------------------------------------------------------------- */

struct stale {
	struct rig r;
	uint64_t cr3, eptp, *pte, *leaf;
};

static void stale_setup(struct stale *s)
{
	rig_create(&s->r, NULL, 1);
	s->cr3 = rig_cr3(&s->r);
	s->pte = rig_map(&s->r, s->cr3, LINEAR, TARGET, VMX_SIZE_4K, PRESENT);
	s->eptp = rig_ept(&s->r, VMX_SIZE_4K, 0);
	s->leaf = rig_ept_entry(&s->r, s->eptp, TARGET, 1);
	rig_vmcs(&s->r, 5, s->eptp, s->cr3);
	assert_true(rig_read(&s->r, LINEAR).hpa == s->r.ram_hpa + TARGET);
}

/* A changed PTE is seen after INVLPG and not before. */
static void stale_pte(void **state)
{
	struct stale s;

	(void)state;
	stale_setup(&s);
	*s.pte = (TARGET + 0x3000) | PRESENT;
	assert_true(rig_read(&s.r, LINEAR).hpa == s.r.ram_hpa + TARGET);
	rig_special(&s.r, X86_SP_INVLPG, (struct x86_special_info){.linear = LINEAR + 0x5000});
	assert_true(rig_read(&s.r, LINEAR).hpa == s.r.ram_hpa + TARGET);
	rig_special(&s.r, X86_SP_INVLPG, (struct x86_special_info){.linear = LINEAR + 0xfff});
	assert_true(rig_read(&s.r, LINEAR).hpa == s.r.ram_hpa + TARGET + 0x3000);
	rig_check_balance(&s.r);
	rig_destroy(&s.r);
}

/* A changed EPT entry is seen after INVEPT of its EP4TA and not before, whatever VPID does. */
static void stale_ept(void **state)
{
	struct hw_invept_desc other = {0}, own = {0};
	struct hw_invvpid_desc vpid = {.vpid = 5, .linear = LINEAR};
	struct stale s;

	(void)state;
	stale_setup(&s);
	own.eptp = s.eptp;
	other.eptp = rig_page(&s.r) | (s.eptp & 0xfff);
	*s.leaf = (*s.leaf & ~EPT_ADDR_MASK) | (s.r.ram_hpa + TARGET + 0x3000);
	assert_true(rig_read(&s.r, LINEAR).hpa == s.r.ram_hpa + TARGET);
	assert_int_equal(hw_invept(s.r.cpu, HW_INVEPT_SINGLE, &other), HW_SUCCEED);
	assert_true(rig_read(&s.r, LINEAR).hpa == s.r.ram_hpa + TARGET);
	/* INVVPID drops the combined mapping; the guest-physical one stays, stale. */
	assert_int_equal(hw_invvpid(s.r.cpu, HW_INVVPID_ADDRESS, &vpid), HW_SUCCEED);
	assert_true(rig_read(&s.r, LINEAR).hpa == s.r.ram_hpa + TARGET);
	assert_int_equal(s.r.account.walks, 2);
	assert_int_equal(hw_invept(s.r.cpu, HW_INVEPT_SINGLE, &own), HW_SUCCEED);
	assert_true(rig_read(&s.r, LINEAR).hpa == s.r.ram_hpa + TARGET + 0x3000);
	rig_check_balance(&s.r);
	rig_destroy(&s.r);
}

/* A permission taken away without INVEPT stays usable; one added costs one violation. */
static void stale_permissions(void **state)
{
	struct stale s;

	(void)state;
	stale_setup(&s);
	rig_write(&s.r, LINEAR);
	*s.leaf &= ~EPT_W;
	assert_int_equal(rig_write(&s.r, LINEAR).result, X86_OK);
	assert_int_equal(hw_invept(s.r.cpu, HW_INVEPT_ALL, &(struct hw_invept_desc){0, 0}),
			 HW_SUCCEED);
	assert_int_equal(rig_read(&s.r, LINEAR).result, X86_OK);
	assert_int_equal(rig_write(&s.r, LINEAR).result, X86_EXIT);
	*s.leaf |= EPT_W;
	/* That violation has invalidated it already. */
	assert_int_equal(rig_write(&s.r, LINEAR).result, X86_OK);

	*s.leaf &= ~EPT_W;
	assert_int_equal(hw_invept(s.r.cpu, HW_INVEPT_ALL, &(struct hw_invept_desc){0, 0}),
			 HW_SUCCEED);
	rig_read(&s.r, LINEAR);
	*s.leaf |= EPT_W; /* before any violation: the cached entry gives one */
	assert_int_equal(rig_write(&s.r, LINEAR).result, X86_EXIT);
	assert_int_equal(rig_get(&s.r, VMCS_EXIT_REASON), EXIT_EPT_VIOLATION);
	assert_int_equal(rig_get(&s.r, VMCS_EXIT_QUALIFICATION),
			 EPTV_WRITE | EPTV_ENTRY_R | EPTV_ENTRY_X | FINAL);
	assert_true(rig_get(&s.r, VMCS_GUEST_PHYSICAL_ADDRESS) == TARGET);
	assert_int_equal(rig_write(&s.r, LINEAR).result, X86_OK);
	rig_check_balance(&s.r);
	rig_destroy(&s.r);
}

/* The same in the guest's dimension: one #PF, which heals. */
static void stale_guest_permission(void **state)
{
	struct stale s;
	struct step step;

	(void)state;
	stale_setup(&s);
	*s.pte = TARGET | PTE_P | PTE_A | PTE_D;
	rig_special(&s.r, X86_SP_INVLPG, (struct x86_special_info){.linear = LINEAR});
	rig_read(&s.r, LINEAR);
	*s.pte |= PTE_W;
	step = rig_write(&s.r, LINEAR);
	assert_int_equal(step.result, X86_FAULT);
	assert_int_equal(step.fault.error, PFEC_P | PFEC_W);
	assert_int_equal(rig_write(&s.r, LINEAR).result, X86_OK);
	rig_destroy(&s.r);
}

/* --- the address space's edge ----------------------------------------------------- */

/* Memory that nobody answers reads as ones: an entry there faults by reserved bits. */
static void beyond_memory(void **state)
{
	struct rig r;
	uint64_t cr3, eptp;
	struct step s;

	(void)state;
	rig_create(&r, NULL, 1);
	cr3 = rig_cr3(&r);
	rig_map(&r, cr3, LINEAR, TARGET, VMX_SIZE_4K, PRESENT);
	rig_map(&r, cr3, LINEAR + VMX_SIZE_1G, TARGET, VMX_SIZE_4K, PRESENT);
	eptp = rig_ept(&r, VMX_SIZE_4K, 0);
	rig_ept_map(&r, eptp, TARGET, UINT64_C(0x3f0000000000), VMX_SIZE_4K, EPT_RWX);
	rig_vmcs(&r, 1, eptp, cr3);
	s = rig_read(&r, LINEAR);
	assert_int_equal(s.result, X86_OK);
	assert_true(s.hpa == UINT64_C(0x3f0000000000));
	/* A page table there. */
	*rig_entry(&r, cr3, LINEAR + VMX_SIZE_1G, 2) = TARGET | PRESENT;
	s = rig_read(&r, LINEAR + VMX_SIZE_1G);
	assert_int_equal(s.result, X86_FAULT);
	assert_int_equal(s.fault.error, PFEC_P | PFEC_RSVD);
	rig_destroy(&r);
}

/* --- 32-bit and PAE paging -------------------------------------------------------- */

static void legacy_guest(struct rig *r, uint64_t eptp, uint64_t cr3, uint64_t cr4)
{
	rig_vmcs(r, 1, eptp, cr3);
	rig_set(r, VMCS_GUEST_CR4, cr4 | CR4_VMXE);
	rig_set_bits(r, VMCS_GUEST_EFER, 0, EFER_LMA | EFER_LME);
	rig_set_bits(r, VMCS_ENTRY_CONTROLS, 0, VMENTRY_IA32E_GUEST);
	rig_set(r, VMCS_GUEST_CS_AR, 0xc09b);
}

static void paging_32(void **state)
{
	struct rig r;
	uint64_t cr3, table;
	uint32_t *pd, *pt;

	(void)state;
	rig_create(&r, NULL, 1);
	cr3 = rig_cr3(&r);
	table = rig_cr3(&r);
	pd = (uint32_t *)rig_gpa_ptr(&r, cr3);
	pt = (uint32_t *)rig_gpa_ptr(&r, table);
	pd[1] = (uint32_t)(table | PRESENT);
	pt[3] = (uint32_t)(TARGET | PRESENT);
	pd[2] = (uint32_t)(TARGET | PRESENT | PTE_PS);
	legacy_guest(&r, rig_ept(&r, VMX_SIZE_2M, 0), cr3, CR4_PSE);
	assert_true(rig_read(&r, 0x403123).hpa == r.ram_hpa + TARGET + 0x123);
	assert_true(pd[1] & PTE_A && pt[3] & PTE_A);
	assert_true(rig_write(&r, 0xa00123).hpa == r.ram_hpa + TARGET + 0x200123);
	assert_true(pd[2] & PTE_D);
	/* INVLPG takes every fragment of the 4 MiB page. */
	rig_read(&r, 0x800000);
	assert_int_not_equal(model_tlb_peek(r.cpu, 1, 0, r.cpu->mmu.eptp & EPT_ADDR_MASK, 0xa00000),
			     0);
	rig_special(&r, X86_SP_INVLPG, (struct x86_special_info){.linear = 0x801000});
	assert_int_equal(model_tlb_peek(r.cpu, 1, 0, r.cpu->mmu.eptp & EPT_ADDR_MASK, 0xa00000), 0);
	assert_int_equal(rig_read(&r, 0xc00000).result, X86_FAULT);
	rig_check_balance(&r);
	rig_destroy(&r);
}

static void paging_pae(void **state)
{
	struct rig r;
	uint64_t cr3, pd, pt;

	(void)state;
	rig_create(&r, NULL, 1);
	cr3 = rig_cr3(&r);
	pd = rig_cr3(&r);
	pt = rig_cr3(&r);
	*rig_gpa_ptr(&r, cr3 + 8) = pd | PTE_P;
	*rig_gpa_ptr(&r, pd) = pt | PRESENT;
	*rig_gpa_ptr(&r, pd + 8) = TARGET | PRESENT | PTE_PS;
	*rig_gpa_ptr(&r, pt + 8) = TARGET | PRESENT | PTE_XD;
	legacy_guest(&r, rig_ept(&r, VMX_SIZE_2M, 0), cr3, CR4_PAE);
	rig_set(&r, VMCS_GUEST_PDPTE1, pd | PTE_P);
	assert_true(rig_read(&r, 0x40001010).hpa == r.ram_hpa + TARGET + 0x10);
	assert_int_equal(rig_fetch(&r, 0x40001010).fault.error, PFEC_P | PFEC_I);
	assert_true(rig_read(&r, 0x40212345).hpa == r.ram_hpa + TARGET + 0x12345);
	assert_int_equal(rig_read(&r, 0).fault.error, 0);
	/* PDPTEs are registers: MOV to CR3 loads them, a store to memory doesn't. */
	*rig_gpa_ptr(&r, cr3) = pd | PTE_P;
	assert_int_equal(rig_read(&r, 0x1000).result, X86_FAULT);
	assert_int_equal(
		rig_special(&r, X86_SP_CR_WRITE, (struct x86_special_info){.reg = 3, .value = cr3})
			.result,
		X86_OK);
	assert_true(rig_read(&r, 0x1000).hpa == r.ram_hpa + TARGET);
	assert_true(rig_get(&r, VMCS_GUEST_PDPTE0) == (pd | PTE_P));
	*rig_gpa_ptr(&r, cr3) = pd | PTE_P | PTE_W; /* reserved in a PDPTE */
	assert_int_equal(
		rig_special(&r, X86_SP_CR_WRITE, (struct x86_special_info){.reg = 3, .value = cr3})
			.fault.vector,
		VECTOR_GP);
	rig_check_balance(&r);
	rig_destroy(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(references),
		cmocka_unit_test(references_without_ept),
		cmocka_unit_test(references_with_caches),
		cmocka_unit_test(page_faults),
		cmocka_unit_test(ept_violations),
		cmocka_unit_test(violation_on_table),
		cmocka_unit_test(misconfigurations),
		cmocka_unit_test(accessed_and_dirty),
		cmocka_unit_test(no_ept_flags),
		cmocka_unit_test(clean_entry_is_displaced),
		cmocka_unit_test(mode_changes_reach_the_front),
		cmocka_unit_test(reserved_bits),
		cmocka_unit_test(stale_pte),
		cmocka_unit_test(stale_ept),
		cmocka_unit_test(stale_permissions),
		cmocka_unit_test(stale_guest_permission),
		cmocka_unit_test(beyond_memory),
		cmocka_unit_test(paging_32),
		cmocka_unit_test(paging_pae),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
