// SPDX-License-Identifier: MIT
/* What core does with each exit that it handles, and what it hands to the caller. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vcpu_rig.h"

static struct rig r;

static const struct core_cpuid_entry cpuid_table[] = {
	{0, 0, 7, 1, 2, 3},
	/* FPU, VME, DE, PSE, TSC, PAE, MCE, PGE, FXSR, SSE; PCID; OSXSAVE must not show */
	{1, 0, 0x600, 0x00aabbcc, CPUID_1_ECX_PCID | CPUID_1_ECX_OSXSAVE, 0x030020ff},
	{4, 0, 40, 41, 42, 43},
	{4, 1, 50, 51, 52, 53},
	{7, 0, 0, 1u << 7 | 1u << 10 | 1u << 20, 0, 0}, /* SMEP, INVPCID, SMAP */
	{0xb, 0, 0, 1, 0x100, 0},
	{0x80000001, 0, 0, 0, 0,
	 CPUID_80000001_EDX_SYSCALL | CPUID_80000001_EDX_NX | CPUID_80000001_EDX_LM},
};

static int setup(void **state)
{
	const struct rig_options o = {.cpuid = cpuid_table,
				      .nr_cpuid = VMX_ARRAY_SIZE(cpuid_table)};

	(void)state;
	return rig_create(&r, &o);
}

static int setup_no_true_controls(void **state)
{
	const struct rig_options o = {.no_true_controls = true};

	(void)state;
	return rig_create(&r, &o);
}

static int teardown(void **state)
{
	(void)state;
	return rig_destroy(&r);
}

static struct hw_cpu *hw(void)
{
	return fake_cpu(r.m, 0);
}

/* --- the guest ------------------------------------------------------------------------------- */

static uint32_t x_reason, x_length, x_intr, x_intr_error;
static uint64_t x_qualification, x_gpa, x_linear;
static uint64_t x_rax, x_rcx, x_rdx;

/* One exit, with what it says; then the run ends unless core handles it. */
static void g_exit(struct hw_cpu *c, struct hw_gpregs *g)
{
	g->r[HW_RAX] = x_rax;
	g->r[HW_RCX] = x_rcx;
	g->r[HW_RDX] = x_rdx;
	fake_exit(c, x_reason, x_qualification, x_length);
	fake_set(c, VMCS_GUEST_PHYSICAL_ADDRESS, x_gpa);
	fake_set(c, VMCS_GUEST_LINEAR_ADDRESS, x_linear);
	fake_set(c, VMCS_EXIT_INTR_INFO, x_intr);
	fake_set(c, VMCS_EXIT_INTR_ERROR_CODE, x_intr_error);
}

static void g_kick(struct hw_cpu *c, struct hw_gpregs *g)
{
	(void)g;
	fake_exit(c, VMX_EXIT_EXTERNAL_INTERRUPT, 0, 0);
}

static enum core_run_reason exits_with(uint32_t reason, uint64_t qualification, uint32_t length)
{
	x_reason = reason;
	x_qualification = qualification;
	x_length = length;
	return RIG_RUN(&r, 0, g_exit, g_kick);
}

static void assert_raised(uint32_t vector, bool error_code)
{
	uint32_t info = INTR_VALID | INTR_TYPE_HARD_EXCEPTION | vector;

	assert_int_equal(r.exit.reason, CORE_RUN_KICKED);
	assert_int_equal(hw()->last_event, info | (error_code ? INTR_ERROR_CODE : 0));
	assert_int_equal(rig_regs(&r).rip, 0x1000); /* at the instruction */
}

static void assert_completed(uint32_t length)
{
	assert_int_equal(r.exit.reason, CORE_RUN_KICKED);
	assert_int_equal(hw()->last_event, 0);
	assert_int_equal(rig_regs(&r).rip, 0x1000 + length);
}

/* --- CPUID --------------------------------------------------------------------------------- */

static void cpuid_answers_by_the_table(void **state)
{
	const struct {
		uint32_t leaf, subleaf, eax, ebx, ecx, edx;
	} cases[] = {
		{0, 0, 7, 1, 2, 3},
		{0, 9, 7, 1, 2, 3}, /* the subleaf doesn't matter here */
		{1, 0, 0x600, 0x03aabbcc, CPUID_1_ECX_PCID, 0x030020ff}, /* vCPU 3 */
		{4, 1, 50, 51, 52, 53},
		{4, 2, 0, 0, 0, 0},
		{0xb, 0, 0, 1, 0x100, 3},
		{0x40000000, 0, 0, 0, 0, 0},
		{0xffffffff, 0, 0, 0, 0, 0},
	};
	struct core_regs regs;

	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cases); i++) {
		x_rax = UINT64_C(0xdead00000000) | cases[i].leaf;
		x_rcx = UINT64_C(0xdead00000000) | cases[i].subleaf;
		assert_int_equal(exits_with(VMX_EXIT_CPUID, 0, 2), CORE_RUN_KICKED);
		regs = rig_regs(&r);
		assert_int_equal(regs.gp.r[HW_RAX], cases[i].eax);
		assert_int_equal(regs.gp.r[HW_RBX], cases[i].ebx);
		assert_int_equal(regs.gp.r[HW_RCX], cases[i].ecx);
		assert_int_equal(regs.gp.r[HW_RDX], cases[i].edx);
		assert_int_equal(regs.rip, 0x1000 + 2 * (i + 1));
	}
}

/* --- instructions that this processor doesn't have, or that do nothing --------------------- */

static void undefined_instructions(void **state)
{
	static const uint32_t reasons[] = {11, 18, 19, 20, 21, 22, 23, 24, 25, 26,
					   27, 36, 39, 50, 53, 55, 59, 76, 77};

	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(reasons); i++) {
		exits_with(reasons[i], 0, 3);
		assert_raised(VECTOR_UD, false);
	}
	exits_with(VMX_EXIT_RDPMC, 0, 2);
	assert_raised(VECTOR_GP, true);
}

static void cache_flushes_do_nothing(void **state)
{
	(void)state;
	exits_with(VMX_EXIT_WBINVD, 0, 2);
	assert_completed(2);
	exits_with(VMX_EXIT_INVD, 0, 2);
	assert_completed(4);
}

static void unexpected_exits_are_reported(void **state)
{
	static const uint32_t reasons[] = {3, 4, 9, 14, 16, 29, 37, 44, 58, 62, 74, 35, 200};

	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(reasons); i++) {
		assert_int_equal(exits_with(reasons[i], 0x77, 5), CORE_RUN_UNEXPECTED);
		assert_int_equal(r.exit.exit_reason, reasons[i]);
		assert_int_equal(r.exit.qualification, 0x77);
		assert_int_equal(r.exit.insn_length, 5);
		assert_int_equal(r.exit.rip, 0x1000);
	}
	assert_int_equal(exits_with(VMX_EXIT_TRIPLE_FAULT, 0, 0), CORE_RUN_TRIPLE_FAULT);
}

/* --- completing an instruction ------------------------------------------------------------- */

static void completion_ends_shadow_and_rf(void **state)
{
	struct core_regs regs = rig_regs(&r);

	(void)state;
	regs.rflags |= RFLAGS_IF | RFLAGS_RF;
	regs.interruptibility = BLOCKED_BY_STI;
	rig_set(&r, &regs);
	exits_with(VMX_EXIT_WBINVD, 0, 2);
	regs = rig_regs(&r);
	assert_int_equal(regs.interruptibility, 0);
	assert_int_equal(regs.rflags, RFLAGS_FIXED1 | RFLAGS_IF);
}

static void completion_single_steps(void **state)
{
	struct core_regs regs = rig_regs(&r);

	(void)state;
	regs.rflags |= RFLAGS_TF;
	rig_set(&r, &regs);
	exits_with(VMX_EXIT_WBINVD, 0, 2);
	assert_int_equal(fake_get(hw(), VMCS_GUEST_PENDING_DEBUG), PENDING_DBG_BS);
	/* Once: the trap was taken. */
	fake_set(hw(), VMCS_GUEST_PENDING_DEBUG, 0);
	RIG_RUN(&r, 0, g_kick);
	assert_int_equal(fake_get(hw(), VMCS_GUEST_PENDING_DEBUG), 0);
}

/* A shadow with TF set: entry wants the step pending ("Checks on Guest Non-Register State"). */
static void shadow_with_tf_is_consistent(void **state)
{
	struct core_regs regs = rig_regs(&r);

	(void)state;
	regs.rflags |= RFLAGS_TF | RFLAGS_IF;
	regs.interruptibility = BLOCKED_BY_MOV_SS;
	rig_set(&r, &regs);
	assert_int_equal(RIG_RUN(&r, 0, g_kick), CORE_RUN_KICKED);
	regs.rflags &= ~RFLAGS_TF;
	rig_set(&r, &regs);
	assert_int_equal(RIG_RUN(&r, 0, g_kick), CORE_RUN_KICKED);
}

static void eip_wraps_outside_64_bit_mode(void **state)
{
	struct core_regs regs;

	(void)state;
	core_regs_protected_flat(&regs, 0xffffffff);
	rig_set(&r, &regs);
	exits_with(VMX_EXIT_WBINVD, 0, 2);
	assert_int_equal(rig_regs(&r).rip, 1);
	core_regs_long_mode(&regs, 0xffffffff, 0x2000, 0);
	rig_set(&r, &regs);
	exits_with(VMX_EXIT_WBINVD, 0, 2);
	assert_int_equal(rig_regs(&r).rip, UINT64_C(0x100000001));
}

/* --- HLT, I/O ------------------------------------------------------------------------------ */

static void hlt_stops_unless_something_is_due(void **state)
{
	struct core_event irq = {.info = INTR_VALID | INTR_TYPE_EXTERNAL | 0x20};
	struct core_regs regs;

	(void)state;
	assert_int_equal(exits_with(VMX_EXIT_HLT, 0, 1), CORE_RUN_HLT);
	regs = rig_regs(&r);
	assert_int_equal(regs.rip, 0x1001);
	assert_int_equal(regs.activity, ACTIVITY_HLT);
	regs.activity = ACTIVITY_ACTIVE;
	regs.rip = 0x1000;
	/* STI; HLT with an interrupt queued: it waits in the shadow, and HLT takes it. */
	regs.rflags |= RFLAGS_IF;
	regs.interruptibility = BLOCKED_BY_STI;
	rig_set(&r, &regs);
	assert_int_equal(core_vcpu_inject(r.v, &irq), 0);
	assert_int_equal(exits_with(VMX_EXIT_HLT, 0, 1), CORE_RUN_KICKED);
	assert_int_equal(hw()->last_event, irq.info);
	assert_int_equal(rig_regs(&r).rip, 0x1001);
	assert_int_equal(rig_regs(&r).activity, ACTIVITY_ACTIVE);
}

/* The trap after HLT wakes at once. */
static void hlt_with_tf_goes_on(void **state)
{
	struct core_regs regs = rig_regs(&r);

	(void)state;
	regs.rflags |= RFLAGS_TF;
	rig_set(&r, &regs);
	assert_int_equal(exits_with(VMX_EXIT_HLT, 0, 1), CORE_RUN_KICKED);
	assert_int_equal(fake_get(hw(), VMCS_GUEST_PENDING_DEBUG), PENDING_DBG_BS);
	assert_int_equal(rig_regs(&r).rip, 0x1001);
}

static void io_is_the_callers(void **state)
{
	const struct {
		uint64_t qualification;
		uint8_t size, in;
		uint64_t rax, value, expected_rax;
	} cases[] = {
		{0x3f80000, 1, 0, 0x1122, 0, 0x1122},
		{0x3f80001, 2, 0, 0x112233, 0, 0x112233},
		{0x3f80003, 4, 0, 0x1122334455, 0, 0x1122334455},
		{0x3f80008, 1, 1, 0x1122334455667788, 0xaabbccdd, 0x11223344556677dd},
		{0x3f80009, 2, 1, 0x1122334455667788, 0xaabbccdd, 0x112233445566ccdd},
		{0x3f8000b, 4, 1, 0x1122334455667788, 0xaabbccdd, 0xaabbccdd},
	};

	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cases); i++) {
		uint64_t mask = (UINT64_C(1) << 8 * cases[i].size) - 1;

		x_rax = cases[i].rax;
		assert_int_equal(exits_with(VMX_EXIT_IO_INSTRUCTION, cases[i].qualification, 2),
				 CORE_RUN_IO);
		assert_int_equal(r.exit.io.port, 0x3f8);
		assert_int_equal(r.exit.io.size, cases[i].size);
		assert_int_equal(r.exit.io.in, cases[i].in);
		if (!cases[i].in)
			assert_int_equal(r.exit.io.value, cases[i].rax & mask);
		assert_int_equal(rig_regs(&r).rip, 0x1000 + 2 * i);
		core_vcpu_complete_io(r.v, (uint32_t)cases[i].value);
		assert_int_equal(rig_regs(&r).rip, 0x1000 + 2 * (i + 1));
		assert_int_equal(rig_regs(&r).gp.r[HW_RAX], cases[i].expected_rax);
		core_vcpu_complete_io(r.v, 0); /* once only */
		assert_int_equal(rig_regs(&r).rip, 0x1000 + 2 * (i + 1));
	}
	x_linear = 0x9000;
	assert_int_equal(exits_with(VMX_EXIT_IO_INSTRUCTION, 0x3f80000 | IOQ_STRING | IOQ_REP, 2),
			 CORE_RUN_EMULATE);
	assert_true(r.exit.linear_valid);
	assert_int_equal(r.exit.linear.v, 0x9000);
}

static void emulation_completes(void **state)
{
	struct core_regs regs = rig_regs(&r);

	(void)state;
	regs.rflags |= RFLAGS_TF | RFLAGS_IF;
	regs.interruptibility = BLOCKED_BY_STI;
	rig_set(&r, &regs);
	exits_with(VMX_EXIT_IO_INSTRUCTION, IOQ_STRING, 1);
	regs = rig_regs(&r);
	regs.rip += 2;
	regs.gp.r[HW_RSI] = 99;
	assert_int_equal(core_vcpu_complete_emulation(r.v, &regs), 0);
	assert_int_equal(rig_regs(&r).interruptibility, 0);
	fake_set(hw(), VMCS_GUEST_PENDING_DEBUG, 0);
	RIG_RUN(&r, 0, g_kick);
	assert_int_equal(rig_regs(&r).gp.r[HW_RSI], 99);
	assert_int_equal(fake_get(hw(), VMCS_GUEST_PENDING_DEBUG), PENDING_DBG_BS);
	regs.efer ^= EFER_LMA;
	assert_int_equal(core_vcpu_complete_emulation(r.v, &regs), -EINVAL);
	assert_int_equal(rig_regs(&r).efer, EFER_LME | EFER_LMA);
}

/* --- MSRs ---------------------------------------------------------------------------------- */

struct msr_case {
	bool write;
	uint32_t msr;
	uint64_t value; /* written, or read */
	bool refused;
};

static const struct msr_case msr_cases[] = {
	{false, IA32_EFER, EFER_LME | EFER_LMA, false},
	{true, IA32_EFER, EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE, false},
	{false, IA32_EFER, EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE, false},
	{true, IA32_EFER, EFER_LMA, true},		/* LME can't change under paging */
	{true, IA32_EFER, EFER_LME | VMX_BIT(1), true}, /* reserved */
	{true, IA32_EFER, EFER_LME, false},		/* LMA is kept, whatever is written */
	{false, IA32_EFER, EFER_LME | EFER_LMA, false},
	{true, IA32_PAT, 0x0106040500070406, false},
	{true, IA32_PAT, 0x0206040500070406, true}, /* type 2 */
	{true, IA32_TSC, 0, true},
	{false, IA32_MISC_ENABLE, 0x1801, false},
	{true, IA32_MISC_ENABLE, 0x1801, false},
	{true, IA32_MISC_ENABLE, 0x1800, true},
	{false, IA32_BIOS_SIGN_ID, 0, false},
	{true, IA32_BIOS_SIGN_ID, 1, true},
	{false, IA32_DEBUGCTL, 0, false},
	{true, IA32_DEBUGCTL, 1, true},
	{false, IA32_APIC_BASE, 0, true},
	{false, IA32_FEATURE_CONTROL, 0, true},
	{false, IA32_VMX_BASIC, 0, true},
	{true, 0xc0001fff, 0, true},
	{false, 0x12345678, 0, true},
};

static void msrs_by_the_table(void **state)
{
	uint64_t refused = 0;

	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(msr_cases); i++) {
		const struct msr_case *c = &msr_cases[i];
		struct core_regs regs = rig_regs(&r);

		regs.rip = 0x1000;
		rig_set(&r, &regs);
		x_rcx = UINT64_C(0xffff00000000) | c->msr;
		x_rax = c->write ? (uint32_t)c->value : UINT64_MAX;
		x_rdx = c->write ? c->value >> 32 : UINT64_MAX;
		exits_with(c->write ? VMX_EXIT_WRMSR : VMX_EXIT_RDMSR, 0, 2);
		refused += c->refused;
		if ((hw()->last_event != 0) != c->refused)
			fail_msg("case %zu", i);
		if (c->refused) {
			assert_raised(VECTOR_GP, true);
			continue;
		}
		assert_completed(2);
		regs = rig_regs(&r);
		if (!c->write)
			assert_int_equal(regs.gp.r[HW_RDX] << 32 | regs.gp.r[HW_RAX], c->value);
	}
	assert_int_equal(core_stat_get(core_vcpu_stats(r.v), CORE_STAT_MSRS_REFUSED), refused);
	assert_int_equal(rig_regs(&r).pat, 0x0106040500070406);
}

/* --- control registers --------------------------------------------------------------------- */

static uint64_t mov_to(unsigned cr, unsigned gpr)
{
	return cr | (uint64_t)CRQ_MOV_TO << CRQ_TYPE_SHIFT | (uint64_t)gpr << CRQ_GPR_SHIFT;
}

static uint64_t mov_from(unsigned cr, unsigned gpr)
{
	return cr | (uint64_t)CRQ_MOV_FROM << CRQ_TYPE_SHIFT | (uint64_t)gpr << CRQ_GPR_SHIFT;
}

#define LONG_CR0 (CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG)

struct cr_case {
	unsigned cr;
	uint64_t value;
	bool refused;
};

/* From long mode with CR4 = PAE, CR3 = 0x2000. */
static const struct cr_case cr_cases[] = {
	{0, LONG_CR0 | CR0_CD, false},
	{0, LONG_CR0 & ~CR0_NE, false}, /* the guest's view; the register keeps it */
	{0, LONG_CR0 | CR0_NW, true},	/* NW without CD */
	{0, LONG_CR0 & ~CR0_PE, true},	/* paging without protection */
	{0, LONG_CR0 & ~CR0_PG, true},	/* not from 64-bit mode */
	{0, LONG_CR0 | VMX_BIT(32), true},
	{0, LONG_CR0 | VMX_BIT(6), false}, /* reserved, ignored */
	{4, CR4_PAE | CR4_MCE, false},
	{4, CR4_PAE | CR4_MCE | CR4_PGE | CR4_OSFXSR, false},
	{4, CR4_PAE | CR4_VMXE, true},
	{4, CR4_PAE | CR4_OSXSAVE, true},
	{4, CR4_PAE | CR4_UMIP, true}, /* CPUID doesn't show it */
	{4, CR4_MCE, true},	       /* PAE can't go in long mode */
	{4, CR4_PAE | CR4_PCIDE, false},
	{4, CR4_PAE | VMX_BIT(40), true},
	{8, 5, false},
	{8, 16, true},
};

static void control_register_writes(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cr_cases); i++) {
		const struct cr_case *c = &cr_cases[i];
		struct core_regs regs;

		core_regs_long_mode(&regs, 0x1000, 0x2000, 0x8000);
		rig_set(&r, &regs);
		x_rcx = c->value;
		exits_with(VMX_EXIT_CR_ACCESS, mov_to(c->cr, HW_RCX), 3);
		if ((hw()->last_event != 0) != c->refused)
			fail_msg("case %zu", i);
		if (c->refused) {
			assert_raised(VECTOR_GP, true);
			assert_int_equal(rig_regs(&r).cr0, LONG_CR0);
			assert_int_equal(rig_regs(&r).cr4, CR4_PAE);
			continue;
		}
		assert_completed(3);
		if (c->cr == 0)
			assert_int_equal(rig_regs(&r).cr0, c->value & ~VMX_BIT(6));
		if (c->cr == 4)
			assert_int_equal(rig_regs(&r).cr4, c->value);
		/* Fixed bits hold, and a machine check stays the host's. */
		assert_true(fake_get(hw(), VMCS_GUEST_CR0) & CR0_NE);
		assert_int_equal(fake_get(hw(), VMCS_GUEST_CR4) & (CR4_VMXE | CR4_MCE),
				 CR4_VMXE | CR4_MCE);
	}
}

static void paging_writes_invalidate(void **state)
{
	unsigned before;

	(void)state;
	RIG_RUN(&r, 0, g_kick);
	before = hw()->invvpid[HW_INVVPID_SINGLE];
	x_rcx = CR4_PAE | CR4_MCE;
	exits_with(VMX_EXIT_CR_ACCESS, mov_to(4, HW_RCX), 3);
	assert_int_equal(hw()->invvpid[HW_INVVPID_SINGLE], before);
	x_rcx = CR4_PAE | CR4_PGE;
	exits_with(VMX_EXIT_CR_ACCESS, mov_to(4, HW_RCX), 3);
	assert_int_equal(hw()->invvpid[HW_INVVPID_SINGLE], before + 1);
	/* NXE gives bit 63 of every entry another meaning. */
	x_rcx = IA32_EFER;
	x_rax = EFER_LME | EFER_NXE;
	x_rdx = 0;
	exits_with(VMX_EXIT_WRMSR, 0, 2);
	assert_int_equal(hw()->invvpid[HW_INVVPID_SINGLE], before + 2);
	assert_completed(8);
}

static void cr8_is_kept(void **state)
{
	(void)state;
	x_rcx = 9;
	exits_with(VMX_EXIT_CR_ACCESS, mov_to(8, HW_RCX), 3);
	exits_with(VMX_EXIT_CR_ACCESS, mov_from(8, HW_RBX), 3);
	assert_int_equal(rig_regs(&r).gp.r[HW_RBX], 9);
	assert_completed(6);
}

/* A processor whose default settings make CR3 accesses exit. */
static void cr3_accesses(void **state)
{
	struct core_regs regs = rig_regs(&r);
	unsigned flushes;

	(void)state;
	exits_with(VMX_EXIT_CR_ACCESS, mov_from(3, HW_RSP), 3);
	assert_completed(3);
	assert_int_equal(rig_regs(&r).rsp, 0x2000);
	flushes = hw()->invvpid[HW_INVVPID_SINGLE];
	x_rcx = 0x3000;
	exits_with(VMX_EXIT_CR_ACCESS, mov_to(3, HW_RCX), 3);
	assert_completed(6);
	assert_int_equal(rig_regs(&r).cr3, 0x3000);
	assert_int_equal(hw()->invvpid[HW_INVVPID_SINGLE], flushes + 1);
	/* With PCIDs, bit 63 keeps what is cached. */
	regs = rig_regs(&r);
	regs.cr4 |= CR4_PCIDE;
	regs.rip = 0x1000;
	rig_set(&r, &regs);
	RIG_RUN(&r, 0, g_kick);
	flushes = hw()->invvpid[HW_INVVPID_SINGLE];
	x_rcx = 0x4001 | CR3_NO_FLUSH;
	exits_with(VMX_EXIT_CR_ACCESS, mov_to(3, HW_RCX), 3);
	assert_completed(3);
	assert_int_equal(rig_regs(&r).cr3, 0x4001);
	assert_int_equal(hw()->invvpid[HW_INVVPID_SINGLE], flushes);
	x_rcx = VMX_BIT(51);
	exits_with(VMX_EXIT_CR_ACCESS, mov_to(3, HW_RCX), 3);
	assert_int_equal(hw()->last_event & INTR_VECTOR_MASK, VECTOR_GP);
}

/* From protected mode with paging off, a MOV CR0 that exits turns paging on. */
static void paging_on_by_an_exit(void **state)
{
	const uint64_t bad[4] = {0x5001 | 0x2, 0, 0, 0}, good[4] = {0x5001, 0, 0, 0};
	struct core_regs regs;

	(void)state;
	core_regs_protected_flat(&regs, 0x1000);
	regs.cr4 = CR4_PAE;
	regs.cr3 = 0x6000;
	rig_set(&r, &regs);
	/* Outside 64-bit mode the operand's upper half does not exist. */
	x_rcx = CR0_PE | CR0_PG | CR0_ET | CR0_CD | VMX_BIT(40);
	assert_int_equal(core_guest_write(core_vm_as(r.vm), gpa(0x6000), bad, 32), 0);
	exits_with(VMX_EXIT_CR_ACCESS, mov_to(0, HW_RCX), 3);
	assert_raised(VECTOR_GP, true);
	assert_int_equal(core_guest_write(core_vm_as(r.vm), gpa(0x6000), good, 32), 0);
	exits_with(VMX_EXIT_CR_ACCESS, mov_to(0, HW_RCX), 3);
	assert_completed(3);
	assert_int_equal(fake_get(hw(), VMCS_GUEST_PDPTE0), 0x5001);
	/* With LME it is long mode, which wants compatibility mode's CS and no PDPTEs. */
	regs.efer = EFER_LME;
	rig_set(&r, &regs);
	exits_with(VMX_EXIT_CR_ACCESS, mov_to(0, HW_RCX), 3);
	assert_completed(3);
	assert_int_equal(rig_regs(&r).efer, EFER_LME | EFER_LMA);
	assert_true(fake_get(hw(), VMCS_ENTRY_CONTROLS) & VMENTRY_IA32E_GUEST);
}

static void lmsw_and_clts(void **state)
{
	const uint64_t lmsw = (uint64_t)CRQ_LMSW << CRQ_TYPE_SHIFT;
	struct core_regs regs;

	(void)state;
	core_regs_protected_flat(&regs, 0x1000);
	regs.cr0 |= CR0_TS;
	rig_set(&r, &regs);
	/* Sets MP and EM, can't clear PE, clears TS. */
	exits_with(VMX_EXIT_CR_ACCESS, lmsw | UINT64_C(6) << CRQ_LMSW_SOURCE_SHIFT, 3);
	assert_completed(3);
	assert_int_equal(rig_regs(&r).cr0, CR0_PE | CR0_MP | CR0_EM | CR0_ET);
	regs.cr0 |= CR0_TS;
	rig_set(&r, &regs);
	exits_with(VMX_EXIT_CR_ACCESS, (uint64_t)CRQ_CLTS << CRQ_TYPE_SHIFT, 2);
	assert_completed(2);
	assert_int_equal(rig_regs(&r).cr0, CR0_PE | CR0_ET);
}

/* --- exceptions ---------------------------------------------------------------------------- */

static void exceptions_taken_are_given_back(void **state)
{
	struct core_regs regs = rig_regs(&r);

	(void)state;
	regs.dr7 |= DR7_GD;
	rig_set(&r, &regs);
	x_intr = INTR_VALID | INTR_TYPE_HARD_EXCEPTION | VECTOR_DB;
	exits_with(VMX_EXIT_EXCEPTION_NMI, DR6_BS | 1, 0);
	assert_raised(VECTOR_DB, false);
	assert_int_equal(rig_regs(&r).gp.dr6, DR6_FIXED1 | DR6_BS | 1);
	assert_int_equal(rig_regs(&r).dr7, DR7_FIXED1);
	x_intr = INTR_VALID | INTR_TYPE_HARD_EXCEPTION | INTR_ERROR_CODE | VECTOR_AC;
	x_intr_error = 0;
	exits_with(VMX_EXIT_EXCEPTION_NMI, 0, 0);
	assert_raised(VECTOR_AC, true);
	/* INT1 keeps its type and length. */
	x_intr = INTR_VALID | INTR_TYPE_PRIV_SOFT_EXCEPTION | VECTOR_DB;
	exits_with(VMX_EXIT_EXCEPTION_NMI, 0, 1);
	assert_int_equal(hw()->last_event, x_intr);
	assert_int_equal(hw()->last_event_length, 1);
	/* NMIs are the host's, and so are machine checks, of which the caller's thread hears. */
	x_intr = INTR_VALID | INTR_TYPE_NMI | 2;
	assert_int_equal(exits_with(VMX_EXIT_EXCEPTION_NMI, 0, 0), CORE_RUN_KICKED);
	assert_int_equal(hw()->last_event, 0);
	x_intr = INTR_VALID | INTR_TYPE_HARD_EXCEPTION | VECTOR_MC;
	assert_int_equal(exits_with(VMX_EXIT_EXCEPTION_NMI, 0, 0), CORE_RUN_KICKED);
	assert_int_equal(r.exit.intr_info, x_intr);
	x_intr = 0;
}

static void faulted_iret_blocks_nmis_again(void **state)
{
	(void)state;
	x_intr = INTR_VALID | INTR_TYPE_HARD_EXCEPTION | INTR_ERROR_CODE | INTR_NMI_UNBLOCKING |
		 VECTOR_AC;
	exits_with(VMX_EXIT_EXCEPTION_NMI, 0, 0);
	assert_int_equal(rig_regs(&r).interruptibility, BLOCKED_BY_NMI);
	assert_int_equal(hw()->last_event, x_intr & ~INTR_NMI_UNBLOCKING);
	x_intr = 0;
}

/* --- EPT ----------------------------------------------------------------------------------- */

static void ept_violations_are_judged(void **state)
{
	const struct core_map_op ops[] = {
		{.kind = CORE_PROTECT, .prot = CORE_PROT_R, .gpa = {0x10000}, .size = 0x1000},
	};
	const uint64_t seen = EPTV_LINEAR_VALID | EPTV_FINAL;
	const struct {
		uint64_t gpa, qualification;
		enum core_run_reason expected;
	} cases[] = {
		{0x10000, EPTV_READ | seen, CORE_RUN_KICKED}, /* allowed by now: again */
		{0x10000, EPTV_WRITE | seen, CORE_RUN_EPT_DENIED},
		{0x10000, EPTV_FETCH | seen, CORE_RUN_EPT_DENIED},
		{0x10fff, EPTV_READ | EPTV_WRITE | EPTV_LINEAR_VALID, CORE_RUN_EPT_DENIED},
		{0x11000, EPTV_WRITE | seen, CORE_RUN_KICKED},
		{RIG_MEMORY, EPTV_READ | seen, CORE_RUN_EMULATE},
		{RIG_MEMORY - 1, EPTV_READ | seen, CORE_RUN_KICKED},
	};
	struct core_conflict conflict;
	struct core_change change;

	(void)state;
	assert_int_equal(core_as_apply(core_vm_as(r.vm), NULL, ops, 1, 0, &change, &conflict), 0);
	x_linear = 0xffff800000010123;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cases); i++) {
		x_gpa = cases[i].gpa;
		if (exits_with(VMX_EXIT_EPT_VIOLATION, cases[i].qualification, 4) !=
		    cases[i].expected)
			fail_msg("case %zu: %d", i, r.exit.reason);
		assert_int_equal(rig_regs(&r).rip, 0x1000);
		if (cases[i].expected == CORE_RUN_KICKED)
			continue;
		assert_int_equal(r.exit.gpa.v, x_gpa);
		assert_true(r.exit.linear_valid);
		assert_int_equal(r.exit.linear.v, x_linear);
		assert_int_equal(r.exit.qualification, cases[i].qualification);
	}
	assert_int_equal(core_stat_get(core_vcpu_stats(r.v), CORE_STAT_EPT_RETRIES), 3);
	exits_with(VMX_EXIT_EPT_VIOLATION, EPTV_WRITE, 4);
	assert_false(r.exit.linear_valid);
	x_gpa = 0x10000;
	assert_int_equal(exits_with(VMX_EXIT_EPT_MISCONFIG, 0, 4), CORE_RUN_EPT_MISCONFIG);
	assert_int_equal(r.exit.gpa.v, 0x10000);
}

static void violation_of_iret_blocks_nmis_again(void **state)
{
	(void)state;
	x_gpa = RIG_MEMORY;
	exits_with(VMX_EXIT_EPT_VIOLATION, EPTV_READ | EPTV_NMI_UNBLOCKING, 2);
	assert_int_equal(r.exit.reason, CORE_RUN_EMULATE);
	assert_int_equal(rig_regs(&r).interruptibility, BLOCKED_BY_NMI);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(cpuid_answers_by_the_table),
		T(undefined_instructions),
		T(cache_flushes_do_nothing),
		T(unexpected_exits_are_reported),
		T(completion_ends_shadow_and_rf),
		T(completion_single_steps),
		T(shadow_with_tf_is_consistent),
		T(eip_wraps_outside_64_bit_mode),
		T(hlt_stops_unless_something_is_due),
		T(hlt_with_tf_goes_on),
		T(io_is_the_callers),
		T(emulation_completes),
		T(msrs_by_the_table),
		T(control_register_writes),
		T(paging_writes_invalidate),
		T(cr8_is_kept),
		cmocka_unit_test_setup_teardown(cr3_accesses, setup_no_true_controls, teardown),
		T(paging_on_by_an_exit),
		T(lmsw_and_clts),
		T(exceptions_taken_are_given_back),
		T(faulted_iret_blocks_nmis_again),
		T(ept_violations_are_judged),
		T(violation_of_iret_blocks_nmis_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
