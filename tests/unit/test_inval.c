/* SPDX-License-Identifier: MIT */
/*
 * The decision on invalidations, and the instructions that carry it out.
 *
 * The expectation is written from the manual's statements on when a change of an EPT entry
 * needs INVEPT, as an ordered list of predicates on single bits, with no code shared with
 * the implementation. Every pair of entries out of a set that exercises every bit field is
 * tried at every level, with every combination of the features that matter.
 */
#include "mem_fixture.h"

#define R 1ull
#define W 2ull
#define X 4ull
#define WB (6ull << 3)
#define IPAT (1ull << 6)
#define LARGE (1ull << 7)
#define A (1ull << 8)
#define D (1ull << 9)
#define UX (1ull << 10)
#define SVE (1ull << 63)

struct features {
	bool ad, mbec, exec_only;
};

/* --- single statements --------------------------------------------------------------------- */

static bool says_present(uint64_t e, struct features f)
{
	return (e & 7) != 0 || (f.mbec && (e & UX));
}

static bool says_leaf(uint64_t e, unsigned level)
{
	return level == 1 || ((level == 2 || level == 3) && (e & LARGE));
}

/* "EPT Misconfigurations", MAXPHYADDR 46. */
static bool says_bad(uint64_t e, unsigned level, struct features f)
{
	bool leaf = says_leaf(e, level);
	unsigned type = (unsigned)(e >> 3) & 7;
	unsigned low = level == 3 ? 29 : 20; /* highest reserved address bit of a large leaf */

	if ((e & 3) == 2)
		return true;
	if (!(e & R) && ((e & X) || (f.mbec && (e & UX))) && !f.exec_only)
		return true;
	for (unsigned bit = 46; bit <= 51; bit++) {
		if (e >> bit & 1)
			return true;
	}
	if (leaf && (type == 2 || type == 3 || type == 7))
		return true;
	if (!leaf && (e & 0x78))
		return true;
	if (!leaf && level >= 4 && (e & LARGE))
		return true;
	if (leaf && level > 1) {
		for (unsigned bit = 12; bit <= low; bit++) {
			if (e >> bit & 1)
				return true;
		}
	}
	return false;
}

static bool bit_cleared(uint64_t o, uint64_t n, uint64_t mask)
{
	return (o & mask & ~n) != 0;
}

/* Needed, optional or not, for a processor that has used o and finds n in memory. */
static enum inval_need need_by_the_manual(uint64_t o, uint64_t n, unsigned level, struct features f)
{
	bool leaf = says_leaf(o, level);
	uint64_t addr = UINT64_C(0x000ffffffffff000);

	if (o == n)
		return INVAL_NONE;
	if (!says_present(o, f) || says_bad(o, level, f))
		return INVAL_NONE;
	if (bit_cleared(o, n, R | W | X))
		return INVAL_REQUIRED;
	if (!says_present(n, f) || says_bad(n, level, f))
		return INVAL_REQUIRED;
	if ((level == 2 || level == 3) && ((o ^ n) & LARGE))
		return INVAL_REQUIRED;
	if ((o ^ n) & addr)
		return INVAL_REQUIRED;
	if (leaf && ((o ^ n) & (7ull << 3 | IPAT)))
		return INVAL_REQUIRED;
	if (f.ad && (bit_cleared(o, n, A) || (leaf && bit_cleared(o, n, D))))
		return INVAL_REQUIRED;
	if (f.mbec && bit_cleared(o, n, UX))
		return INVAL_REQUIRED;
	if (((n & ~o) & (R | W | X)) || (f.mbec && (n & ~o & UX)))
		return INVAL_OPTIONAL;
	return INVAL_NONE;
}

/* --- every pair ---------------------------------------------------------------------------- */

/* Values that are not legal everywhere are meant to be there. */
static const uint64_t addresses[] = {0x40000000, 0x80000000, 0x40200000, 0x40001000, 1ull << 46};
static const uint64_t lows[] = {0, R, R | W, R | X, R | W | X, X, W, W | X};
static const uint64_t others[] = {
	0,
	WB,
	WB | LARGE,
	LARGE,
	WB | IPAT,
	WB | IPAT | LARGE,
	2ull << 3,
	7ull << 3 | LARGE,
	A,
	D,
	A | D,
	WB | LARGE | A | D,
	WB | LARGE | A,
	UX,
	WB | UX,
	WB | LARGE | UX,
	SVE,
	WB | SVE,
	1ull << 11,
	1ull << 52,
};

enum { ENTRIES = VMX_ARRAY_SIZE(addresses) * VMX_ARRAY_SIZE(lows) * VMX_ARRAY_SIZE(others) };

static uint64_t entry_number(size_t i)
{
	uint64_t e = addresses[i % VMX_ARRAY_SIZE(addresses)];

	i /= VMX_ARRAY_SIZE(addresses);
	e |= lows[i % VMX_ARRAY_SIZE(lows)];
	return e | others[i / VMX_ARRAY_SIZE(lows)];
}

static void test_every_pair(void **state)
{
	uint64_t seen[INVAL_REASON_COUNT] = {0}, pairs = 0;

	(void)state;
	for (unsigned variant = 0; variant < 8; variant++) {
		struct features f = {variant & 1, variant & 2, variant & 4};

		for (size_t k = 0; k < 5u * ENTRIES * ENTRIES; k++) {
			struct inval_change c = {
				.level = (uint8_t)(1 + k / ENTRIES / ENTRIES),
				.old_entry = entry_number(k / ENTRIES % ENTRIES),
				.new_entry = entry_number(k % ENTRIES),
				.accessed_dirty = f.ad,
				.mode_based_exec = f.mbec,
				.exec_only = f.exec_only,
				.maxphyaddr = 46,
			};
			struct inval_decision d;
			enum inval_need need;

			/* Of the unlikely features a sample: the levels behave alike. */
			if (variant != 1 && (k / ENTRIES) % 7 != variant % 7)
				continue;
			d = inval_decide(&c);
			need = need_by_the_manual(c.old_entry, c.new_entry, c.level, f);
			if (d.need != need || d.need != inval_reason_info[d.reason].need)
				fail_msg("level %u %llx -> %llx: %d, not %d (%s)", c.level,
					 (unsigned long long)c.old_entry,
					 (unsigned long long)c.new_entry, d.need, need,
					 inval_reason_info[d.reason].name);
			if (d.instruction !=
			    (need == INVAL_NONE ? INVAL_INSN_NONE : INVAL_INSN_INVEPT_SINGLE))
				fail_msg("instruction");
			seen[d.reason]++;
			pairs++;
		}
	}
	for (unsigned i = 0; i < INVAL_REASON_COUNT; i++) {
		if (i != INVAL_REASON_PENDING && seen[i] == 0)
			fail_msg("%s never given", inval_reason_info[i].name);
	}
	print_message("%llu pairs\n", (unsigned long long)pairs);
}

/* --- the reasons --------------------------------------------------------------------------- */

#define AT(a) ((a) | 0ull)
#define LEAF4K (AT(0x1000) | R | W | X | WB)
#define LEAF2M (AT(0x200000) | R | W | X | WB | LARGE)
#define TABLE (AT(0x5000) | R | W | X)

static const struct {
	uint8_t level;
	uint64_t o, n;
	struct features f;
	enum inval_need need;
	enum inval_reason reason;
	uint64_t pending;
} reasons[] = {
	{1, LEAF4K, LEAF4K, {0}, INVAL_NONE, INVAL_REASON_NO_CHANGE, 0},
	{1, 0, LEAF4K, {0}, INVAL_NONE, INVAL_REASON_WAS_NOT_PRESENT, 0},
	{1, AT(0x1000) | UX, LEAF4K, {0}, INVAL_NONE, INVAL_REASON_WAS_NOT_PRESENT, 0},
	{1,
	 AT(0x1000) | UX,
	 LEAF4K,
	 {.mbec = true, .exec_only = true},
	 INVAL_REQUIRED,
	 INVAL_REASON_MEMORY_TYPE_CHANGED,
	 0},
	{1, AT(0x1000) | W, LEAF4K, {0}, INVAL_NONE, INVAL_REASON_WAS_MISCONFIGURED, 0},
	{1, AT(0x1000) | X | WB, LEAF4K, {0}, INVAL_NONE, INVAL_REASON_WAS_MISCONFIGURED, 0},
	{1,
	 AT(0x1000) | X | WB,
	 LEAF4K,
	 {.exec_only = true},
	 INVAL_OPTIONAL,
	 INVAL_REASON_PERMISSION_ADDED,
	 0},
	{1, LEAF4K, LEAF4K | 1ull << 11, {0}, INVAL_NONE, INVAL_REASON_SOFTWARE_BITS, 0},
	{1, LEAF4K, LEAF4K | LARGE, {0}, INVAL_NONE, INVAL_REASON_SOFTWARE_BITS, 0},
	{1, LEAF4K | A | D, LEAF4K, {0}, INVAL_NONE, INVAL_REASON_SOFTWARE_BITS, 0},
	{1, LEAF4K | UX, LEAF4K, {0}, INVAL_NONE, INVAL_REASON_SOFTWARE_BITS, 0},
	{2, TABLE | D, TABLE, {.ad = true}, INVAL_NONE, INVAL_REASON_SOFTWARE_BITS, 0},
	{1, LEAF4K, LEAF4K | A | D, {.ad = true}, INVAL_NONE, INVAL_REASON_AD_SET, 0},
	{1, LEAF4K, LEAF4K | SVE, {0}, INVAL_NONE, INVAL_REASON_SUPPRESS_VE, 0},
	{1, AT(0x1000) | R | WB, LEAF4K, {0}, INVAL_OPTIONAL, INVAL_REASON_PERMISSION_ADDED, 0},
	{1, LEAF4K, LEAF4K | UX, {.mbec = true}, INVAL_OPTIONAL, INVAL_REASON_PERMISSION_ADDED, 0},
	{1, LEAF4K, 0, {0}, INVAL_REQUIRED, INVAL_REASON_UNMAPPED, 0},
	{2, TABLE, 0, {0}, INVAL_REQUIRED, INVAL_REASON_UNMAPPED, 0},
	{1, LEAF4K, AT(0x1000) | R | WB, {0}, INVAL_REQUIRED, INVAL_REASON_PERMISSION_REMOVED, 0},
	{1,
	 LEAF4K | UX,
	 LEAF4K,
	 {.mbec = true},
	 INVAL_REQUIRED,
	 INVAL_REASON_USER_EXECUTE_REMOVED,
	 0},
	{1,
	 LEAF4K,
	 AT(0x2000) | R | W | X | WB,
	 {0},
	 INVAL_REQUIRED,
	 INVAL_REASON_LEAF_ADDRESS_CHANGED,
	 0},
	{2,
	 LEAF2M,
	 AT(0x400000) | R | W | X | WB | LARGE,
	 {0},
	 INVAL_REQUIRED,
	 INVAL_REASON_LEAF_ADDRESS_CHANGED,
	 0},
	{2,
	 TABLE,
	 AT(0x6000) | R | W | X,
	 {0},
	 INVAL_REQUIRED,
	 INVAL_REASON_TABLE_ADDRESS_CHANGED,
	 0},
	{4,
	 TABLE,
	 AT(0x6000) | R | W | X,
	 {0},
	 INVAL_REQUIRED,
	 INVAL_REASON_TABLE_ADDRESS_CHANGED,
	 0},
	{2, LEAF2M, TABLE, {0}, INVAL_REQUIRED, INVAL_REASON_PAGE_SIZE_CHANGED, 0},
	{2, TABLE, LEAF2M, {0}, INVAL_REQUIRED, INVAL_REASON_PAGE_SIZE_CHANGED, 0},
	{3,
	 TABLE,
	 AT(0x40000000) | R | W | X | WB | LARGE,
	 {0},
	 INVAL_REQUIRED,
	 INVAL_REASON_PAGE_SIZE_CHANGED,
	 0},
	{1,
	 LEAF4K,
	 AT(0x1000) | R | W | X,
	 {0},
	 INVAL_REQUIRED,
	 INVAL_REASON_MEMORY_TYPE_CHANGED,
	 0},
	{1, LEAF4K, LEAF4K | IPAT, {0}, INVAL_REQUIRED, INVAL_REASON_MEMORY_TYPE_CHANGED, 0},
	{1, LEAF4K | A, LEAF4K, {.ad = true}, INVAL_REQUIRED, INVAL_REASON_ACCESSED_CLEARED, 0},
	{1,
	 LEAF4K | A | D,
	 LEAF4K | A,
	 {.ad = true},
	 INVAL_REQUIRED,
	 INVAL_REASON_DIRTY_CLEARED,
	 0},
	{2, TABLE | A, TABLE, {.ad = true}, INVAL_REQUIRED, INVAL_REASON_ACCESSED_CLEARED, 0},
	{1, LEAF4K, AT(0x1000) | W | WB, {0}, INVAL_REQUIRED, INVAL_REASON_BECAME_MISCONFIGURED, 0},
	/* What is pending decides only where the change itself would not. */
	{1, 0, LEAF4K, {0}, INVAL_NONE, INVAL_REASON_WAS_NOT_PRESENT, LEAF4K},
	{1, 0, LEAF4K, {0}, INVAL_REQUIRED, INVAL_REASON_PENDING, AT(0x2000) | R | WB},
	{1, 0, LEAF4K, {0}, INVAL_REQUIRED, INVAL_REASON_PENDING, INVAL_PENDING_UNKNOWN},
	{1, 0, LEAF4K, {0}, INVAL_OPTIONAL, INVAL_REASON_PERMISSION_ADDED, AT(0x1000) | R | WB},
	{1, 0, 0, {0}, INVAL_REQUIRED, INVAL_REASON_PENDING, LEAF4K},
	{1, LEAF4K, LEAF4K, {0}, INVAL_REQUIRED, INVAL_REASON_PENDING, AT(0x2000) | R | WB},
	{1, LEAF4K, 0, {0}, INVAL_REQUIRED, INVAL_REASON_UNMAPPED, AT(0x2000) | R | WB},
	{1,
	 AT(0x1000) | R | WB,
	 LEAF4K,
	 {0},
	 INVAL_REQUIRED,
	 INVAL_REASON_PENDING,
	 AT(0x2000) | R | WB},
	{2, 0, TABLE, {0}, INVAL_REQUIRED, INVAL_REASON_PENDING, LEAF2M},
	{1,
	 LEAF4K | A,
	 LEAF4K | A,
	 {.ad = true},
	 INVAL_REQUIRED,
	 INVAL_REASON_PENDING,
	 LEAF4K | A | D},
};

static void test_reasons(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(reasons); i++) {
		struct inval_change c = {
			.old_entry = reasons[i].o,
			.new_entry = reasons[i].n,
			.level = reasons[i].level,
			.accessed_dirty = reasons[i].f.ad,
			.mode_based_exec = reasons[i].f.mbec,
			.exec_only = reasons[i].f.exec_only,
			.maxphyaddr = 46,
			.pending_entry = reasons[i].pending,
		};
		struct inval_decision d = inval_decide(&c);

		if (d.reason != reasons[i].reason || d.need != reasons[i].need)
			fail_msg("row %zu: %s", i, inval_reason_info[d.reason].name);
	}
}

/* Every row is complete, and named after its constant. */
static void test_table(void **state)
{
	(void)state;
	for (unsigned i = 0; i < INVAL_REASON_COUNT; i++) {
		const struct inval_reason_info *r = &inval_reason_info[i];

		assert_non_null(r->name);
		assert_true(strlen(r->text) > 10 && strlen(r->text) < 160);
		assert_true(strlen(r->section) < 80);
		assert_true(strlen(r->name) < 40);
		assert_true(i == INVAL_REASON_NO_CHANGE || strlen(r->section) > 0);
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(r->name, inval_reason_info[j].name);
	}
	assert_string_equal(inval_reason_info[INVAL_REASON_LEAF_ADDRESS_CHANGED].name,
			    "leaf-address-changed");
}

static void test_join(void **state)
{
	(void)state;
	for (unsigned i = 0; i < INVAL_REASON_COUNT; i++) {
		for (unsigned j = 0; j < INVAL_REASON_COUNT; j++) {
			struct inval_decision a = {inval_reason_info[i].need, INVAL_INSN_NONE, i};
			struct inval_decision b = {inval_reason_info[j].need, INVAL_INSN_NONE, j};
			struct inval_decision ab = inval_join(a, b), ba = inval_join(b, a);

			assert_int_equal(ab.reason, ba.reason);
			assert_int_equal(ab.need, a.need > b.need ? a.need : b.need);
			assert_true(ab.reason == i || ab.reason == j);
		}
	}
}

/* --- the instructions ---------------------------------------------------------------------- */

static const struct {
	bool single; /* offered */
	uint64_t type, eptp;
	enum core_stat counted, other;
} invepts[] = {
	{true, HW_INVEPT_SINGLE, 0x123401e, CORE_STAT_INVEPT_SINGLE, CORE_STAT_INVEPT_ALL},
	{false, HW_INVEPT_ALL, 0, CORE_STAT_INVEPT_ALL, CORE_STAT_INVEPT_SINGLE},
};

static void test_invept(void **state)
{
	static const struct inval_origin change = {.vcpu = CORE_TRACE_NO_VCPU,
						   .cause = CORE_CAUSE_CHANGE};

	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(invepts); i++) {
		struct mem_machine m;
		struct core_cpu *cpu;

		mem_machine_start(&m, &(struct mem_machine_config){0});
		cpu = &m.core->cpus[1];
		m.core->caps.invept_single = invepts[i].single;
		assert_int_equal(inval_invept(cpu, 0x123401e, &change), 0);
		assert_int_equal(m.hw[1].invept_type, invepts[i].type);
		assert_int_equal(m.hw[1].invept.eptp, invepts[i].eptp);
		assert_int_equal(m.hw[1].invept.reserved, 0);
		assert_int_equal(core_stat_get(&cpu->stats, invepts[i].counted), 1);
		assert_int_equal(core_stat_get(&cpu->stats, invepts[i].other), 0);
		assert_int_equal(core_stat_get(&cpu->stats, CORE_STAT_INVEPT_CAUSE_CHANGE), 1);
		m.hw[1].answer = HW_FAIL_VALID;
		assert_int_equal(inval_invept(cpu, 0x123401e, &change), -EIO);
		assert_int_equal(core_stat_get(&cpu->stats, CORE_STAT_INVEPT_CAUSE_CHANGE), 1);
		mem_machine_stop(&m);
	}
}

static const struct {
	enum hw_invvpid_type asked;
	uint16_t vpid;
	uint64_t linear;
	bool address, single, keep; /* offered; all-context always is */
	int error;
	uint64_t type;
	struct hw_invvpid_desc desc;
	enum core_stat counted;
} invvpids[] = {
	{HW_INVVPID_ADDRESS,
	 5,
	 0x1000,
	 true,
	 true,
	 true,
	 0,
	 HW_INVVPID_ADDRESS,
	 {5, 0x1000},
	 CORE_STAT_INVVPID_ADDRESS},
	{HW_INVVPID_ADDRESS,
	 5,
	 0xffff800000001000,
	 true,
	 true,
	 true,
	 0,
	 HW_INVVPID_ADDRESS,
	 {5, 0xffff800000001000},
	 CORE_STAT_INVVPID_ADDRESS},
	{HW_INVVPID_ADDRESS,
	 5,
	 0x1000,
	 false,
	 true,
	 true,
	 0,
	 HW_INVVPID_SINGLE,
	 {5, 0},
	 CORE_STAT_INVVPID_SINGLE},
	{HW_INVVPID_ADDRESS,
	 5,
	 0x1000,
	 false,
	 false,
	 true,
	 0,
	 HW_INVVPID_ALL,
	 {0, 0},
	 CORE_STAT_INVVPID_ALL},
	{HW_INVVPID_SINGLE,
	 9,
	 0,
	 true,
	 true,
	 true,
	 0,
	 HW_INVVPID_SINGLE,
	 {9, 0},
	 CORE_STAT_INVVPID_SINGLE},
	{HW_INVVPID_SINGLE,
	 9,
	 0,
	 true,
	 false,
	 true,
	 0,
	 HW_INVVPID_ALL,
	 {0, 0},
	 CORE_STAT_INVVPID_ALL},
	{HW_INVVPID_SINGLE_KEEP_GLOBAL,
	 9,
	 0,
	 true,
	 true,
	 true,
	 0,
	 HW_INVVPID_SINGLE_KEEP_GLOBAL,
	 {9, 0},
	 CORE_STAT_INVVPID_KEEP_GLOBAL},
	{HW_INVVPID_SINGLE_KEEP_GLOBAL,
	 9,
	 0,
	 true,
	 true,
	 false,
	 0,
	 HW_INVVPID_SINGLE,
	 {9, 0},
	 CORE_STAT_INVVPID_SINGLE},
	{HW_INVVPID_SINGLE_KEEP_GLOBAL,
	 9,
	 0,
	 true,
	 false,
	 false,
	 0,
	 HW_INVVPID_ALL,
	 {0, 0},
	 CORE_STAT_INVVPID_ALL},
	{HW_INVVPID_ALL, 0, 0, true, true, true, 0, HW_INVVPID_ALL, {0, 0}, CORE_STAT_INVVPID_ALL},
	{HW_INVVPID_ALL,
	 7,
	 0x5000,
	 true,
	 true,
	 true,
	 0,
	 HW_INVVPID_ALL,
	 {0, 0},
	 CORE_STAT_INVVPID_ALL},
	{HW_INVVPID_SINGLE, 0, 0, true, true, true, -EINVAL, 0, {0, 0}, 0},
	{HW_INVVPID_ADDRESS, 0, 0, true, true, true, -EINVAL, 0, {0, 0}, 0},
	{HW_INVVPID_ADDRESS, 5, 0x8000000000000000, true, true, true, -EINVAL, 0, {0, 0}, 0},
};

static void test_invvpid(void **state)
{
	static const struct inval_origin request = {.vcpu = CORE_TRACE_NO_VCPU,
						    .cause = CORE_CAUSE_REQUEST};

	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(invvpids); i++) {
		struct mem_machine m;
		struct core_cpu *cpu;

		mem_machine_start(&m, &(struct mem_machine_config){0});
		cpu = &m.core->cpus[0];
		m.core->caps.invvpid_address = invvpids[i].address;
		m.core->caps.invvpid_single = invvpids[i].single;
		m.core->caps.invvpid_keep_global = invvpids[i].keep;
		assert_int_equal(inval_invvpid(cpu, invvpids[i].asked, invvpids[i].vpid,
					       gva(invvpids[i].linear), &request),
				 invvpids[i].error);
		assert_int_equal(m.hw[0].invvpid_count, invvpids[i].error == 0);
		if (invvpids[i].error == 0) {
			assert_int_equal(m.hw[0].invvpid_type, invvpids[i].type);
			assert_memory_equal(&m.hw[0].invvpid, &invvpids[i].desc,
					    sizeof(invvpids[i].desc));
			assert_int_equal(core_stat_get(&cpu->stats, invvpids[i].counted), 1);
		}
		m.hw[0].answer = HW_FAIL_VALID;
		if (invvpids[i].error == 0)
			assert_int_equal(inval_invvpid(cpu, invvpids[i].asked, invvpids[i].vpid,
						       gva(invvpids[i].linear), &request),
					 -EIO);
		mem_machine_stop(&m);
	}
}

/* --- the protocol, one step after the other ------------------------------------------------ */

static void expect_causes(struct mem_machine *m, unsigned cpu, uint64_t first, uint64_t deferred,
			  uint64_t shot, uint64_t change)
{
	struct core_stats *s = &m->core->cpus[cpu].stats;

	assert_int_equal(core_stat_get(s, CORE_STAT_INVEPT_CAUSE_FIRST_USE), first);
	assert_int_equal(core_stat_get(s, CORE_STAT_INVEPT_CAUSE_DEFERRED), deferred);
	assert_int_equal(core_stat_get(s, CORE_STAT_INVEPT_CAUSE_SHOOTDOWN), shot);
	assert_int_equal(core_stat_get(s, CORE_STAT_INVEPT_CAUSE_CHANGE), change);
	assert_int_equal(m->hw[cpu].invept_count, first + deferred + shot + change);
}

static void expect_reach(const struct inval_reach *r, uint32_t issued, uint32_t interrupted,
			 uint32_t deferred)
{
	assert_int_equal(r->issued, issued);
	assert_int_equal(r->interrupted, interrupted);
	assert_int_equal(r->deferred, deferred);
}

static void visit(struct mem_machine *m, unsigned cpu, struct core_as *as)
{
	inval_enter(&m->core->cpus[cpu], as);
	inval_leave(&m->core->cpus[cpu]);
}

static void test_steps(void **state)
{
	struct mem_machine m;
	struct core_as *as, *other;
	struct inval_reach r, preview;
	struct core_cpu *cpus;

	(void)state;
	mem_machine_start(&m, &(struct mem_machine_config){.cpus = 5});
	cpus = m.core->cpus;
	as = mem_as(&m, 0, false);
	other = mem_as(&m, 0, false);

	/* A new root is unseen everywhere; nobody to reach before the first use. */
	inval_publish(as, &cpus[0], &r);
	expect_reach(&r, 0, 0, 0);
	for (unsigned i = 0; i < 4; i++) {
		visit(&m, i, as);
		expect_causes(&m, i, 1, 0, 0, 0);
		assert_int_equal(m.hw[i].invept.eptp, core_as_eptp(as));
		visit(&m, i, as);
		expect_causes(&m, i, 1, 0, 0, 0);
	}

	/* 0 changes; 1 is in guest with it, 2 in guest with another, 3 is out, 4 never used it. */
	inval_enter(&cpus[1], as);
	inval_enter(&cpus[2], other);
	inval_preview(as, &cpus[0], &preview);
	inval_publish(as, &cpus[0], &r);
	expect_reach(&r, 1, 1, 2);
	assert_memory_equal(&r, &preview, sizeof(r));
	assert_int_equal(m.kicks[1], 1);
	assert_int_equal(m.kicks[2] + m.kicks[3] + m.kicks[4] + m.kicks[0], 0);
	expect_causes(&m, 0, 1, 0, 0, 1);
	expect_causes(&m, 1, 1, 0, 0, 0);
	visit(&m, 0, as);
	expect_causes(&m, 0, 1, 0, 0, 1);
	visit(&m, 1, as);
	expect_causes(&m, 1, 1, 0, 1, 0);
	inval_leave(&cpus[2]);
	visit(&m, 2, as);
	expect_causes(&m, 2, 2, 1, 0, 0); /* the other space's first use counts, too */
	visit(&m, 4, as);
	expect_causes(&m, 4, 1, 0, 0, 0);

	/* Two changes while 3 is away: one flush. */
	inval_publish(as, NULL, &r);
	expect_reach(&r, 0, 0, 5);
	visit(&m, 3, as);
	expect_causes(&m, 3, 1, 1, 0, 0);

	/* A preview changes nothing. */
	inval_preview(as, &cpus[3], &preview);
	expect_reach(&preview, 1, 0, 4);
	visit(&m, 3, as);
	expect_causes(&m, 3, 1, 1, 0, 0);

	/* A refused INVEPT isn't taken for one. */
	inval_publish(as, NULL, &r);
	m.hw[3].answer = HW_FAIL_VALID;
	visit(&m, 3, as);
	m.hw[3].answer = HW_SUCCEED;
	visit(&m, 3, as);
	assert_int_equal(core_stat_get(&cpus[3].stats, CORE_STAT_INVEPT_CAUSE_DEFERRED), 2);

	core_as_destroy(as);
	/* A space whose root lies where the last one's did starts unseen. */
	as = mem_as(&m, 0, false);
	visit(&m, 3, as);
	assert_int_equal(core_stat_get(&cpus[3].stats, CORE_STAT_INVEPT_CAUSE_FIRST_USE), 2);
	core_as_destroy(as);
	core_as_destroy(other);
	mem_machine_stop(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_pair), cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_table),	   cmocka_unit_test(test_join),
		cmocka_unit_test(test_invept),	   cmocka_unit_test(test_invvpid),
		cmocka_unit_test(test_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
