/* SPDX-License-Identifier: MIT */
/*
 * What a VMM that leaves an invalidation out gets to see: a change to an EPT entry or to
 * a guest's paging structures, each invalidation it could try, and whether the guest then
 * still uses the old mapping. Where one is needed and another is made, it must be stale;
 * where the right one is made, never ("Guidelines for Use of the INVVPID Instruction",
 * "Guidelines for Use of the INVEPT Instruction").
 */
#include "unit/test_model_rig.h"

#define LINEAR UINT64_C(0x40000000)
#define TARGET UINT64_C(0x1000000)
#define MOVED (TARGET + VMX_SIZE_2M)
#define PRESENT (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)
#define LEAF_WB ((uint64_t)MEMTYPE_WB << EPT_MEMTYPE_SHIFT)
#define VPID 5u

enum attempt {
	NONE,
	INVEPT_THIS,
	INVEPT_OTHER,
	INVEPT_ALL,
	INVVPID_ADDRESS,
	INVVPID_ELSEWHERE,
	INVVPID_THIS,
	INVVPID_OTHER,
	INVVPID_ALL,
	INVVPID_KEEP_GLOBAL,
	ATTEMPTS
};

#define B(attempt) (1u << (attempt))
#define EVERY (B(ATTEMPTS) - 1)
/* A change to EPT: guest-physical mappings outlive every INVVPID. */
#define BY_INVEPT (B(INVEPT_THIS) | B(INVEPT_ALL))
/* A change to the guest's structures. */
#define BY_INVVPID_GLOBAL (B(INVVPID_ADDRESS) | B(INVVPID_THIS) | B(INVVPID_ALL))
#define BY_INVVPID (BY_INVVPID_GLOBAL | B(INVVPID_KEEP_GLOBAL))

struct stale {
	struct rig r;
	uint64_t cr3, eptp, other;
	uint64_t *pte, *pde;	   /* of the guest */
	uint64_t *leaf, *pd_entry; /* of the EPT: what maps TARGET, and its level-2 entry */
	uint64_t host, moved;	   /* TARGET's and MOVED's host-physical addresses */
	enum step_kind access;
};

/* --- how the next access shows it ------------------------------------------------- */

/* The address is the new one. */
static bool sees_new(struct stale *s)
{
	struct step step = rig_step(&s->r, (struct step){.kind = s->access, .linear = LINEAR});

	assert_int_equal(step.result, X86_OK);
	assert_true(step.hpa == s->host || step.hpa == s->moved);
	return step.hpa == s->moved;
}

/* The page, or the right, is gone. */
static bool sees_violation(struct stale *s)
{
	struct step step = rig_step(&s->r, (struct step){.kind = s->access, .linear = LINEAR});

	if (step.result == X86_EXIT)
		assert_int_equal(rig_get(&s->r, VMCS_EXIT_REASON), EXIT_EPT_VIOLATION);
	return step.result == X86_EXIT;
}

/* Nothing is wrong any more. */
static bool sees_page(struct stale *s)
{
	struct step step = rig_step(&s->r, (struct step){.kind = s->access, .linear = LINEAR});

	return step.result == X86_OK && step.hpa == s->host;
}

/* The flag that was cleared is set again. */
static bool sets_flag(struct stale *s)
{
	rig_step(&s->r, (struct step){.kind = s->access, .linear = LINEAR});
	return (*s->leaf & (s->access == STEP_WRITE ? EPT_D : EPT_A)) != 0;
}

/* --- changes ---------------------------------------------------------------------- */

static void move_leaf(struct stale *s)
{
	*s->leaf += s->moved - s->host;
}

static void remove_leaf(struct stale *s)
{
	*s->leaf = 0;
}

static void remove_table(struct stale *s)
{
	*s->pd_entry = 0;
}

static void remove_write(struct stale *s)
{
	*s->leaf &= ~EPT_W;
}

static void remove_write_above(struct stale *s)
{
	*s->pd_entry &= ~EPT_W;
}

static void remove_execute(struct stale *s)
{
	*s->leaf &= ~EPT_X;
}

/* A large page becomes a table, in which one page is another. */
static void split(struct stale *s)
{
	uint64_t table = rig_page(&s->r), *e = rig_ptr(&s->r, table);

	for (unsigned i = 0; i < 512; i++)
		e[i] = (s->host + i * VMX_PAGE_SIZE) | EPT_RWX | LEAF_WB;
	e[0] = s->moved | EPT_RWX | LEAF_WB;
	*s->leaf = table | EPT_RWX;
}

static void merge(struct stale *s)
{
	*s->pd_entry = s->moved | EPT_RWX | EPT_LARGE | LEAF_WB;
}

static void clear_accessed(struct stale *s)
{
	*s->leaf &= ~EPT_A;
}

static void clear_dirty(struct stale *s)
{
	*s->leaf &= ~EPT_D;
}

static void flags_on(struct stale *s)
{
	rig_set(&s->r, VMCS_EPT_POINTER, s->eptp | EPTP_AD);
}

static void make_present(struct stale *s)
{
	*s->leaf = s->host | EPT_RWX | LEAF_WB;
}

static void move_pte(struct stale *s)
{
	*s->pte += MOVED - TARGET;
}

/* Another page table, which the paging-structure caches don't know. */
static void move_pde(struct stale *s)
{
	uint64_t table = rig_cr3(&s->r);

	*rig_gpa_ptr(&s->r, table + (LINEAR >> 12 & 0x1ff) * 8) = MOVED | PRESENT;
	*s->pde = table | PRESENT;
}

struct change_case {
	const char *name;
	void (*change)(struct stale *s);
	bool (*fresh)(struct stale *s);
	enum step_kind access;
	uint32_t enough; /* B() of what makes it seen */
	uint64_t leaf_size, eptp_flags, pte_flags;
	bool absent, misconfigured; /* the leaf, at first */
	bool native;		    /* EPT off */
};

#define SIZE_4K VMX_SIZE_4K
#define SIZE_2M VMX_SIZE_2M
/* clang-format off */
#define CHANGE(title, what, seen, how, by, size) \
	.name = title, .change = what, .fresh = seen, .access = how, .enough = by, .leaf_size = size
/* clang-format on */
#define EPT(title, what, seen, how, size) CHANGE(title, what, seen, how, BY_INVEPT, size)
#define FREE(title, what, seen, how) CHANGE(title, what, seen, how, EVERY, SIZE_4K)
#define GUEST(title, what, by) CHANGE(title, what, sees_new, STEP_READ, by, SIZE_4K)

static const struct change_case cases[] = {
	{EPT("new address", move_leaf, sees_new, STEP_READ, SIZE_4K)},
	{EPT("new address, 2 MiB", move_leaf, sees_new, STEP_READ, SIZE_2M)},
	{EPT("new address, fetched", move_leaf, sees_new, STEP_FETCH, SIZE_4K)},
	{EPT("new address, global", move_leaf, sees_new, STEP_READ, SIZE_4K), .pte_flags = PTE_G},
	{EPT("leaf to not present", remove_leaf, sees_violation, STEP_READ, SIZE_4K)},
	{EPT("table to not present", remove_table, sees_violation, STEP_READ, SIZE_4K)},
	{EPT("W to 0", remove_write, sees_violation, STEP_WRITE, SIZE_4K)},
	{EPT("W to 0, 2 MiB", remove_write, sees_violation, STEP_WRITE, SIZE_2M)},
	{EPT("W to 0 above", remove_write_above, sees_violation, STEP_WRITE, SIZE_4K)},
	{EPT("X to 0", remove_execute, sees_violation, STEP_FETCH, SIZE_4K)},
	{EPT("bit 7 to 0", split, sees_new, STEP_READ, SIZE_2M)},
	{EPT("bit 7 to 1", merge, sees_new, STEP_READ, SIZE_4K)},
	{EPT("A to 0", clear_accessed, sets_flag, STEP_READ, SIZE_4K), .eptp_flags = EPTP_AD},
	{EPT("D to 0", clear_dirty, sets_flag, STEP_WRITE, SIZE_4K), .eptp_flags = EPTP_AD},
	{EPT("A/D flags on", flags_on, sets_flag, STEP_WRITE, SIZE_4K)},

	{FREE("not present to present", make_present, sees_page, STEP_READ), .absent = true},
	{FREE("misconfigured to valid", make_present, sees_page, STEP_READ), .misconfigured = true},

	/* Combined mappings: INVEPT takes them as well. */
	{GUEST("PTE", move_pte, BY_INVVPID | BY_INVEPT)},
	{GUEST("PTE, global", move_pte, BY_INVVPID_GLOBAL | BY_INVEPT), .pte_flags = PTE_G},
	{GUEST("PDE", move_pde, BY_INVVPID | BY_INVEPT)},
	/* Linear ones stay. */
	{GUEST("PTE, EPT off", move_pte, BY_INVVPID), .native = true},
	{GUEST("PTE, EPT off, global", move_pte, BY_INVVPID_GLOBAL), .pte_flags = PTE_G,
	 .native = true},
};

/* --- attempts --------------------------------------------------------------------- */

static void attempt(struct stale *s, enum attempt what)
{
	static const struct {
		bool ept, other;
		uint64_t type, linear;
		uint16_t vpid;
	} rows[ATTEMPTS] = {
		[INVEPT_THIS] = {.ept = true, .type = HW_INVEPT_SINGLE},
		[INVEPT_OTHER] = {.ept = true, .type = HW_INVEPT_SINGLE, .other = true},
		[INVEPT_ALL] = {.ept = true, .type = HW_INVEPT_ALL},
		[INVVPID_ADDRESS] = {.type = HW_INVVPID_ADDRESS,
				     .vpid = VPID,
				     .linear = LINEAR + 8},
		[INVVPID_ELSEWHERE] = {.type = HW_INVVPID_ADDRESS,
				       .vpid = VPID,
				       .linear = LINEAR << 12},
		[INVVPID_THIS] = {.type = HW_INVVPID_SINGLE, .vpid = VPID},
		[INVVPID_OTHER] = {.type = HW_INVVPID_SINGLE, .vpid = VPID + 1},
		[INVVPID_ALL] = {.type = HW_INVVPID_ALL},
		[INVVPID_KEEP_GLOBAL] = {.type = HW_INVVPID_SINGLE_KEEP_GLOBAL, .vpid = VPID},
	};
	const struct hw_invept_desc ept = {rows[what].other ? s->other : s->eptp, 0};
	const struct hw_invvpid_desc vpid = {rows[what].vpid, rows[what].linear};

	if (what == NONE)
		return;
	assert_int_equal(rows[what].ept ? hw_invept(s->r.cpu, rows[what].type, &ept)
					: hw_invvpid(s->r.cpu, rows[what].type, &vpid),
			 HW_SUCCEED);
}

/* Four levels of one entry each, by host-physical addresses. */
static void native_tables(struct stale *s, uint64_t flags)
{
	uint64_t table = s->cr3 = rig_page(&s->r);

	for (unsigned level = 4; level > 1; level--) {
		uint64_t *e =
			rig_ptr(&s->r, table + (LINEAR >> (12 + 9 * (level - 1)) & 0x1ff) * 8);

		table = rig_page(&s->r);
		*e = table | PRESENT;
	}
	s->pte = rig_ptr(&s->r, table + (LINEAR >> 12 & 0x1ff) * 8);
	*s->pte = s->host | PRESENT | flags;
}

static void set_up(struct stale *s, const struct change_case *c)
{
	*s = (struct stale){.access = c->access};
	rig_create(&s->r, NULL, 1);
	s->host = s->r.ram_hpa + TARGET;
	s->moved = s->r.ram_hpa + MOVED;
	s->other = rig_ept(&s->r, VMX_SIZE_2M, 0);
	s->eptp = s->other;
	if (c->native) {
		native_tables(s, c->pte_flags);
		rig_vmcs(&s->r, VPID, 0, s->cr3);
		return;
	}
	s->cr3 = rig_cr3(&s->r);
	s->pte = rig_map(&s->r, s->cr3, LINEAR, TARGET, VMX_SIZE_4K, PRESENT | c->pte_flags);
	s->pde = rig_entry(&s->r, s->cr3, LINEAR, 2);
	s->eptp = rig_ept(&s->r, c->leaf_size, c->eptp_flags);
	s->pd_entry = rig_ept_entry(&s->r, s->eptp, TARGET, 2);
	s->leaf = c->leaf_size == VMX_SIZE_2M ? s->pd_entry
					      : rig_ept_entry(&s->r, s->eptp, TARGET, 1);
	if (c->absent)
		*s->leaf = 0;
	if (c->misconfigured)
		*s->leaf = s->host | EPT_W | LEAF_WB;
	rig_vmcs(&s->r, VPID, s->eptp, s->cr3);
}

static void seen_when_invalidated(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cases); i++) {
		const struct change_case *c = &cases[i];

		for (unsigned what = NONE; what < ATTEMPTS; what++) {
			const struct step access = {.kind = c->access, .linear = LINEAR};
			bool expected = c->enough & B(what), fresh;
			struct stale s;

			set_up(&s, c);
			rig_step(&s.r, access);
			rig_step(&s.r, access);
			c->change(&s);
			attempt(&s, (enum attempt)what);
			fresh = c->fresh(&s);
			if (fresh != expected)
				fail_msg("%s, attempt %u: %s", c->name, what,
					 fresh ? "seen" : "stale");
			rig_destroy(&s.r);
		}
	}
}

/* A permission added needs no INVEPT: one violation, and the next try works. */
static void added_permission_heals(void **state)
{
	static const struct change_case c = {.access = STEP_WRITE, .leaf_size = VMX_SIZE_4K};

	(void)state;
	for (unsigned what = NONE; what < ATTEMPTS; what++) {
		struct stale s;

		set_up(&s, &c);
		*s.leaf &= ~EPT_W;
		assert_true(rig_read(&s.r, LINEAR).hpa == s.host);
		*s.leaf |= EPT_W;
		attempt(&s, (enum attempt)what);
		assert_int_equal(sees_violation(&s), !(BY_INVEPT & B(what)));
		assert_true(sees_page(&s));
		rig_destroy(&s.r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seen_when_invalidated),
		cmocka_unit_test(added_permission_heals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
