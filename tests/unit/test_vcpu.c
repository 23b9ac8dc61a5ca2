// SPDX-License-Identifier: MIT
/*
 * Running a vCPU: entries, launch state, moving between processors, what is written
 * when, events and their order, windows, the budget.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vcpu_rig.h"

static struct rig r;

static int setup_with(const struct rig_options *o)
{
	return rig_create(&r, o);
}

static int setup(void **state)
{
	(void)state;
	return setup_with(&(struct rig_options){0});
}

static int setup_no_timer_save(void **state)
{
	(void)state;
	return setup_with(&(struct rig_options){.no_timer_save = true});
}

static int setup_no_timer(void **state)
{
	(void)state;
	return setup_with(&(struct rig_options){.no_timer = true});
}

static int setup_no_unrestricted(void **state)
{
	(void)state;
	return setup_with(&(struct rig_options){.no_unrestricted = true});
}

static int setup_no_invvpid_single(void **state)
{
	(void)state;
	return setup_with(&(struct rig_options){.no_invvpid_single = true});
}

static int setup_no_vpid(void **state)
{
	(void)state;
	return setup_with(&(struct rig_options){.no_vpid = true});
}

static int teardown(void **state)
{
	(void)state;
	return rig_destroy(&r);
}

/* For tests whose entries are meant to be refused. */
static int teardown_refused(void **state)
{
	r.m->entry_errors = 0;
	return teardown(state);
}

static struct hw_cpu *hw(unsigned cpu)
{
	return fake_cpu(r.m, cpu);
}

static uint64_t stat(enum core_stat s)
{
	return core_stat_get(core_vcpu_stats(r.v), s);
}

/* --- guests -------------------------------------------------------------------------------- */

static void g_kick(struct hw_cpu *c, struct hw_gpregs *g)
{
	(void)g;
	fake_exit(c, VMX_EXIT_EXTERNAL_INTERRUPT, 0, 0);
}

static void g_cpuid(struct hw_cpu *c, struct hw_gpregs *g)
{
	g->r[HW_RAX] = 0;
	fake_exit(c, VMX_EXIT_CPUID, 0, 2);
}

static void g_works(struct hw_cpu *c, struct hw_gpregs *g)
{
	g->r[HW_RBX] = 77;
	fake_set(c, VMCS_GUEST_RIP, 0x1234);
	fake_set(c, VMCS_GUEST_RSP, 0x7000);
	fake_set(c, VMCS_GUEST_FS_BASE, 0xf5);
	fake_set_msr(c, IA32_LSTAR, 0xabcd000);
	fake_exit(c, VMX_EXIT_EXTERNAL_INTERRUPT, 0, 0);
}

static void g_window(struct hw_cpu *c, struct hw_gpregs *g)
{
	(void)g;
	assert_true(fake_get(c, VMCS_PROC_CONTROLS) & PROC_INTERRUPT_WINDOW);
	fake_set(c, VMCS_GUEST_RFLAGS, RFLAGS_FIXED1 | RFLAGS_IF);
	fake_exit(c, VMX_EXIT_INTERRUPT_WINDOW, 0, 0);
}

static void g_nmi_window(struct hw_cpu *c, struct hw_gpregs *g)
{
	(void)g;
	assert_true(fake_get(c, VMCS_PROC_CONTROLS) & PROC_NMI_WINDOW);
	fake_set(c, VMCS_GUEST_INTERRUPTIBILITY, 0);
	fake_exit(c, VMX_EXIT_NMI_WINDOW, 0, 0);
}

static void g_timer(struct hw_cpu *c, struct hw_gpregs *g)
{
	(void)g;
	fake_exit(c, VMX_EXIT_PREEMPTION_TIMER, 0, 0);
}

/* An exit while an event was being delivered. */
static void cut_short(struct hw_cpu *c, uint32_t info, uint32_t error, uint32_t length)
{
	fake_exit(c, VMX_EXIT_EXTERNAL_INTERRUPT, 0, length);
	fake_set(c, VMCS_IDT_VECTORING_INFO, info | INTR_VALID);
	fake_set(c, VMCS_IDT_VECTORING_ERROR_CODE, error);
}

static uint32_t cut_info, cut_error, cut_length;

static void g_cut_short(struct hw_cpu *c, struct hw_gpregs *g)
{
	(void)g;
	if ((cut_info & INTR_TYPE_MASK) == INTR_TYPE_NMI)
		fake_set(c, VMCS_GUEST_INTERRUPTIBILITY, BLOCKED_BY_NMI);
	cut_short(c, cut_info, cut_error, cut_length);
}

/* --- entering ------------------------------------------------------------------------------- */

static void launches_once_then_resumes(void **state)
{
	(void)state;
	assert_int_equal(RIG_RUN(&r, 0, g_cpuid, g_kick), CORE_RUN_KICKED);
	assert_int_equal(hw(0)->entries, 2);
	assert_false(hw(0)->last_launch);
	assert_int_equal(hw(0)->vmptrlds, 1);
	assert_int_equal(hw(0)->vmclears, 1);
	assert_int_equal(hw(0)->after_exits, 2);
	assert_int_equal(stat(CORE_STAT_ENTRIES), 2);
	assert_int_equal(core_vcpu_exit_count(r.v, VMX_EXIT_CPUID), 1);
	assert_int_equal(core_vcpu_exit_count(r.v, VMX_EXIT_EXTERNAL_INTERRUPT), 1);
	assert_int_equal(core_vcpu_exit_count(r.v, VMX_EXIT_REASONS), 0);
}

static void registers_come_back(void **state)
{
	struct core_regs regs;

	(void)state;
	regs = rig_regs(&r);
	regs.lstar = 0x1111000;
	regs.gp.r[HW_RBX] = 5;
	rig_set(&r, &regs);
	assert_int_equal(RIG_RUN(&r, 0, g_works), CORE_RUN_KICKED);
	regs = rig_regs(&r);
	assert_int_equal(regs.gp.r[HW_RBX], 77);
	assert_int_equal(regs.rip, 0x1234);
	assert_int_equal(r.exit.rip, 0x1234);
	assert_int_equal(regs.rsp, 0x7000);
	assert_int_equal(regs.gp.r[HW_RSP], 0x7000);
	assert_int_equal(regs.seg[CORE_FS].base, 0xf5);
	assert_int_equal(regs.lstar, 0xabcd000);
	/* The host's own came back, too. */
	assert_int_equal(fake_get_msr(hw(0), IA32_LSTAR), 0x2222);
	assert_int_equal(fake_get_msr(hw(0), IA32_TSC_AUX), 0x6666);
}

/* An entry with nothing new writes nothing. */
static void quiet_entries_write_nothing(void **state)
{
	unsigned before;

	(void)state;
	RIG_RUN(&r, 0, g_kick);
	before = hw(0)->vmwrites;
	RIG_RUN(&r, 0, g_kick);
	assert_int_equal(hw(0)->vmwrites, before);
	RIG_RUN(&r, 0, g_cpuid, g_kick); /* RIP */
	assert_int_equal(hw(0)->vmwrites, before + 1);
}

static void host_state_follows_the_host(void **state)
{
	unsigned before;

	(void)state;
	RIG_RUN(&r, 0, g_kick);
	hw(0)->host.cr3 = 0x5000;
	hw(0)->host.gs_base = 0xffff999900000000;
	fake_set_msr(hw(0), IA32_KERNEL_GS_BASE, 0x7f0000001000);
	before = hw(0)->vmwrites;
	RIG_RUN(&r, 0, g_kick);
	assert_int_equal(hw(0)->vmwrites, before + 2);
	assert_int_equal(fake_get(hw(0), VMCS_HOST_CR3), 0x5000);
	assert_int_equal(fake_get_msr(hw(0), IA32_KERNEL_GS_BASE), 0x7f0000001000);
}

static void moves_with_vmclear_and_fresh_vpid(void **state)
{
	struct core_vpid first, second;
	bool valid;

	(void)state;
	RIG_RUN(&r, 0, g_kick);
	first = core_vcpu_vpid(r.v, &valid);
	assert_true(valid && first.vpid == 1 && first.cpu == 0);
	assert_int_equal(core_vcpu_active_cpu(r.v), 0);
	RIG_RUN(&r, 1, g_works);
	assert_true(hw(1)->last_launch);
	assert_int_equal(core_vcpu_active_cpu(r.v), 1);
	assert_int_equal(stat(CORE_STAT_VMCS_MIGRATIONS), 1);
	RIG_RUN(&r, 0, g_kick);
	second = core_vcpu_vpid(r.v, &valid);
	assert_true(valid && second.vpid == 2 && second.cpu == 0);
	assert_int_equal(stat(CORE_STAT_VPIDS_TAKEN), 3);
	assert_int_equal(rig_regs(&r).rip, 0x1234);
}

/* The caller forgot core_vcpu_deactivate(). */
static void refuses_to_be_active_on_two(void **state)
{
	(void)state;
	RIG_RUN(&r, 0, g_kick);
	core_vcpu_run(r.v, &r.core->cpus[1], 0, &r.exit);
	assert_int_equal(r.exit.reason, CORE_RUN_ENTRY_FAILED);
	assert_int_equal(hw(1)->entries, 0);
	assert_int_equal(r.m->active_on_two, 0);
}

static void offline_clears_what_is_active(void **state)
{
	(void)state;
	RIG_RUN(&r, 0, g_works);
	core_cpu_offline(r.core, 0);
	assert_int_equal(core_vcpu_active_cpu(r.v), -1);
	core_vcpu_run(r.v, &r.core->cpus[0], 0, &r.exit);
	assert_int_equal(r.exit.reason, CORE_RUN_ENTRY_FAILED);
	assert_int_equal(RIG_RUN(&r, 1, g_kick), CORE_RUN_KICKED);
	assert_int_equal(rig_regs(&r).rip, 0x1234);
}

static void g_break_cr3_targets(struct hw_cpu *c, struct hw_gpregs *g)
{
	g->r[HW_RAX] = 0;
	fake_set(c, VMCS_CR3_TARGET_COUNT, 5);
	fake_exit(c, VMX_EXIT_CPUID, 0, 2);
}

static void early_failure_is_reported(void **state)
{
	(void)state;
	assert_int_equal(RIG_RUN(&r, 0, g_break_cr3_targets), CORE_RUN_ENTRY_FAILED);
	assert_int_equal(r.exit.insn_error, VMERR_ENTRY_CONTROLS);
	assert_int_equal(r.exit.exit_reason, 0); /* not the CPUID exit before it */
	assert_int_equal(stat(CORE_STAT_ENTRY_FAILURES), 1);
	assert_int_equal(rig_regs(&r).rip, 0x1002); /* CPUID was completed */
	fake_set(hw(0), VMCS_CR3_TARGET_COUNT, 0);
	assert_int_equal(RIG_RUN(&r, 0, g_kick), CORE_RUN_KICKED);
}

static void g_break_link(struct hw_cpu *c, struct hw_gpregs *g)
{
	g->r[HW_RAX] = 0;
	fake_set(c, VMCS_VMCS_LINK_POINTER, 0);
	fake_exit(c, VMX_EXIT_CPUID, 0, 2);
}

static void late_failure_is_reported(void **state)
{
	struct core_event event = {.info = INTR_VALID | INTR_TYPE_HARD_EXCEPTION | VECTOR_UD};

	(void)state;
	RIG_RUN(&r, 0, g_kick);
	fake_set(hw(0), VMCS_VMCS_LINK_POINTER, 0);
	assert_int_equal(core_vcpu_inject(r.v, &event), 0);
	assert_int_equal(RIG_RUN(&r, 0, g_kick), CORE_RUN_ENTRY_FAILED);
	assert_int_equal(r.exit.exit_reason, 33 | EXIT_REASON_ENTRY_FAILURE);
	assert_int_equal(core_vcpu_exit_count(r.v, 33), 1);
	assert_int_equal(stat(CORE_STAT_ENTRIES), 1);
	/* The event waits, once; the launch state is what it was. */
	fake_set(hw(0), VMCS_VMCS_LINK_POINTER, UINT64_MAX);
	assert_int_equal(RIG_RUN(&r, 0, g_kick, g_break_link), CORE_RUN_KICKED);
	assert_int_equal(hw(0)->last_event, event.info);
	assert_int_equal(RIG_RUN(&r, 0, g_kick), CORE_RUN_KICKED);
	assert_int_equal(hw(0)->last_event, 0);
}

/* An interrupt whose entry failed must not stay in the VMCS when it can't go any more. */
static void failed_injection_leaves_nothing(void **state)
{
	struct core_event event = {.info = INTR_VALID | INTR_TYPE_EXTERNAL | 0x20};
	struct core_regs regs;

	(void)state;
	RIG_RUN(&r, 0, g_kick);
	regs = rig_regs(&r);
	regs.rflags |= RFLAGS_IF;
	rig_set(&r, &regs);
	fake_set(hw(0), VMCS_VMCS_LINK_POINTER, 0);
	assert_int_equal(core_vcpu_inject(r.v, &event), 0);
	assert_int_equal(RIG_RUN(&r, 0, g_kick), CORE_RUN_ENTRY_FAILED);
	fake_set(hw(0), VMCS_VMCS_LINK_POINTER, UINT64_MAX);
	regs.rflags &= ~RFLAGS_IF;
	rig_set(&r, &regs);
	assert_int_equal(RIG_RUN(&r, 0, g_kick), CORE_RUN_KICKED);
	assert_int_equal(hw(0)->last_event, 0);
}

/* MSR lists share pages, and nothing else. */
static void msr_lists_are_apart(void **state)
{
	size_t before = plat_user_pages_used(r.m->plat);
	struct core_vcpu *v[33];
	struct core_regs regs;

	(void)state;
	for (unsigned i = 0; i < VMX_ARRAY_SIZE(v); i++) {
		assert_int_equal(core_vcpu_create(r.vm, i, &v[i]), 0);
		core_regs_long_mode(&regs, 0x1000, 0x2000, 0x8000);
		regs.lstar = 0x100000 + i;
		assert_int_equal(core_vcpu_set_regs(v[i], &regs, NULL), 0);
	}
	/* A VMCS each; with the rig's own, 34 lists of 32 a page. */
	assert_int_equal(plat_user_pages_used(r.m->plat), before + VMX_ARRAY_SIZE(v) + 1);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < VMX_ARRAY_SIZE(v); i++) {
			core_vcpu_run(v[i], &r.core->cpus[0], 0, &r.exit);
			core_vcpu_get_regs(v[i], &regs);
			assert_int_equal(regs.lstar, 0x100000 + i);
			core_vcpu_deactivate(v[i], &r.core->cpus[0]);
		}
	}
	for (unsigned i = 0; i < VMX_ARRAY_SIZE(v); i++)
		core_vcpu_destroy(v[i]);
	/* Lists that were given back are used again. */
	for (unsigned i = 0; i < VMX_ARRAY_SIZE(v); i++)
		assert_int_equal(core_vcpu_create(r.vm, i, &v[i]), 0);
	assert_int_equal(plat_user_pages_used(r.m->plat), before + VMX_ARRAY_SIZE(v) + 1);
	for (unsigned i = 0; i < VMX_ARRAY_SIZE(v); i++)
		core_vcpu_destroy(v[i]);
}

static void vmcs_can_be_read(void **state)
{
	uint64_t value = 0;

	(void)state;
	assert_int_equal(core_vcpu_vmcs_read(r.v, &r.core->cpus[0], VMCS_GUEST_RIP, &value),
			 -ENODATA);
	RIG_RUN(&r, 0, g_works);
	assert_int_equal(core_vcpu_vmcs_read(r.v, &r.core->cpus[0], VMCS_GUEST_RIP, &value), 0);
	assert_int_equal(value, 0x1234);
	assert_int_equal(core_vcpu_vmcs_read(r.v, &r.core->cpus[1], VMCS_GUEST_RIP, &value),
			 -ENODATA);
	assert_int_equal(core_vcpu_vmcs_read(r.v, &r.core->cpus[0], 0x7ffe, &value), -EINVAL);
}

/* --- events -------------------------------------------------------------------------------- */

static int inject(uint32_t info, uint32_t error, uint32_t length)
{
	return core_vcpu_inject(r.v, &(struct core_event){info, error, length});
}

static void malformed_events_are_refused(void **state)
{
	const uint32_t v = INTR_VALID, hard = INTR_TYPE_HARD_EXCEPTION;
	const struct {
		uint32_t info, error, length;
		int expected;
	} cases[] = {
		{INTR_TYPE_EXTERNAL | 0x20, 0, 0, -EINVAL},	/* not valid */
		{v | INTR_TYPE_RESERVED | 0x20, 0, 0, -EINVAL}, /* type 1 */
		{v | INTR_TYPE_OTHER, 0, 0, -EINVAL},		/* MTF isn't used */
		{v | INTR_TYPE_NMI | 3, 0, 0, -EINVAL},		/* NMI is vector 2 */
		{v | hard | 32, 0, 0, -EINVAL},			/* exceptions end at 31 */
		{v | hard | VECTOR_GP, 0, 0, -EINVAL},		/* lacks its error code */
		{v | hard | VECTOR_UD | INTR_ERROR_CODE, 0, 0, -EINVAL},
		{v | hard | VECTOR_GP | INTR_ERROR_CODE, 0x8000, 0, -EINVAL},
		{v | INTR_TYPE_EXTERNAL | 0x20 | INTR_ERROR_CODE, 0, 0, -EINVAL},
		{v | INTR_TYPE_SOFT_INT | 0x80, 0, 0, -EINVAL}, /* no length */
		{v | INTR_TYPE_SOFT_INT | 0x80, 0, 16, -EINVAL},
		{v | INTR_TYPE_SOFT_EXCEPTION | 0x80, 0, 1, -EINVAL}, /* only #BP and #OF */
		{v | 0x1000 | hard | VECTOR_UD, 0, 0, -EINVAL},	      /* reserved bit */
		{v | hard | VECTOR_GP | INTR_ERROR_CODE, 0x18, 0, 0},
		{v | hard | VECTOR_UD, 0, 0, -EBUSY}, /* one at a time */
	};

	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cases); i++) {
		if (inject(cases[i].info, cases[i].error, cases[i].length) != cases[i].expected)
			fail_msg("case %zu", i);
	}
	RIG_RUN(&r, 0, g_kick);
	assert_int_equal(hw(0)->last_event, INTR_VALID | hard | VECTOR_GP | INTR_ERROR_CODE);
	assert_int_equal(hw(0)->last_event_error, 0x18);
	assert_int_equal(stat(CORE_STAT_EVENTS_INJECTED), 1);
}

static void interrupt_goes_at_once_or_by_its_window(void **state)
{
	struct core_regs regs;

	(void)state;
	/* IF is 0: the window first. */
	assert_int_equal(inject(INTR_VALID | INTR_TYPE_EXTERNAL | 0x20, 0, 0), 0);
	assert_int_equal(RIG_RUN(&r, 0, g_window, g_kick), CORE_RUN_KICKED);
	assert_int_equal(hw(0)->last_event, INTR_VALID | INTR_TYPE_EXTERNAL | 0x20);
	assert_false(fake_get(hw(0), VMCS_PROC_CONTROLS) & PROC_INTERRUPT_WINDOW);
	/* IF is 1 now: at once. */
	assert_int_equal(inject(INTR_VALID | INTR_TYPE_EXTERNAL | 0x21, 0, 0), 0);
	RIG_RUN(&r, 0, g_kick);
	assert_int_equal(hw(0)->last_event, INTR_VALID | INTR_TYPE_EXTERNAL | 0x21);
	/* In the shadow of STI it is not. */
	regs = rig_regs(&r);
	regs.interruptibility = BLOCKED_BY_STI;
	rig_set(&r, &regs);
	assert_int_equal(inject(INTR_VALID | INTR_TYPE_EXTERNAL | 0x22, 0, 0), 0);
	RIG_RUN(&r, 0, g_kick);
	assert_int_equal(hw(0)->last_event, 0);
	assert_true(fake_get(hw(0), VMCS_PROC_CONTROLS) & PROC_INTERRUPT_WINDOW);
	assert_int_equal(hw(0)->injected, 2);
}

static void nmi_waits_for_the_end_of_the_last(void **state)
{
	struct core_regs regs = rig_regs(&r);

	(void)state;
	regs.interruptibility = BLOCKED_BY_NMI;
	rig_set(&r, &regs);
	assert_int_equal(inject(INTR_VALID | INTR_TYPE_NMI | 2, 0, 0), 0);
	assert_int_equal(RIG_RUN(&r, 0, g_nmi_window, g_kick), CORE_RUN_KICKED);
	assert_int_equal(hw(0)->last_event, INTR_VALID | INTR_TYPE_NMI | 2);
	assert_false(fake_get(hw(0), VMCS_PROC_CONTROLS) & PROC_NMI_WINDOW);
}

/* Whatever an exit cuts short is delivered again, with all that belongs to it. */
static void deliveries_cut_short_are_repeated(void **state)
{
	const struct {
		uint32_t info, error, length;
	} cases[] = {
		{INTR_TYPE_EXTERNAL | 0x30, 0, 0},
		{INTR_TYPE_NMI | 2, 0, 0},
		{INTR_TYPE_HARD_EXCEPTION | VECTOR_PF | INTR_ERROR_CODE, 6, 0},
		{INTR_TYPE_HARD_EXCEPTION | VECTOR_DE, 0, 0},
		{INTR_TYPE_SOFT_INT | 0x80, 0, 2},
		{INTR_TYPE_SOFT_EXCEPTION | VECTOR_BP, 0, 1},
		{INTR_TYPE_PRIV_SOFT_EXCEPTION | VECTOR_DB, 0, 1},
	};
	struct core_regs regs = rig_regs(&r);

	(void)state;
	regs.rflags |= RFLAGS_IF;
	rig_set(&r, &regs);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cases); i++) {
		cut_info = cases[i].info;
		cut_error = cases[i].error;
		cut_length = cases[i].length;
		RIG_RUN(&r, 0, g_cut_short);
		assert_int_equal(r.exit.vectoring_info, cut_info | INTR_VALID);
		RIG_RUN(&r, 0, g_kick);
		assert_int_equal(hw(0)->last_event, cut_info | INTR_VALID);
		if (cut_info & INTR_ERROR_CODE)
			assert_int_equal(hw(0)->last_event_error, cut_error);
		if (cut_length != 0)
			assert_int_equal(hw(0)->last_event_length, cut_length);
		RIG_RUN(&r, 0, g_kick);
		assert_int_equal(hw(0)->last_event, 0);
		assert_int_equal(stat(CORE_STAT_EVENTS_REINJECTED), i + 1);
	}
}

/* Undefined bits of the vectoring field must not reach the entry field. */
static void undefined_bits_are_dropped(void **state)
{
	(void)state;
	cut_info = INTR_TYPE_HARD_EXCEPTION | VECTOR_DE | INTR_NMI_UNBLOCKING;
	RIG_RUN(&r, 0, g_cut_short);
	RIG_RUN(&r, 0, g_kick);
	assert_int_equal(hw(0)->last_event, INTR_VALID | INTR_TYPE_HARD_EXCEPTION | VECTOR_DE);
}

/* An exception that hits while an interrupt is delivered goes first; neither is lost. */
static void g_ac_during_interrupt(struct hw_cpu *c, struct hw_gpregs *g)
{
	(void)g;
	fake_exit(c, VMX_EXIT_EXCEPTION_NMI, 0, 0);
	fake_set(c, VMCS_EXIT_INTR_INFO,
		 INTR_VALID | INTR_TYPE_HARD_EXCEPTION | INTR_ERROR_CODE | VECTOR_AC);
	fake_set(c, VMCS_EXIT_INTR_ERROR_CODE, 0);
	fake_set(c, VMCS_IDT_VECTORING_INFO, INTR_VALID | INTR_TYPE_EXTERNAL | 0x41);
}

static void g_expect_ac(struct hw_cpu *c, struct hw_gpregs *g)
{
	(void)g;
	assert_int_equal(c->last_event,
			 INTR_VALID | INTR_TYPE_HARD_EXCEPTION | INTR_ERROR_CODE | VECTOR_AC);
	assert_true(fake_get(c, VMCS_PROC_CONTROLS) & PROC_INTERRUPT_WINDOW);
	fake_set(c, VMCS_GUEST_RFLAGS, RFLAGS_FIXED1); /* its gate clears IF */
	fake_exit(c, VMX_EXIT_CPUID, 0, 2);
}

static void exception_goes_before_interrupt(void **state)
{
	struct core_regs regs = rig_regs(&r);

	(void)state;
	regs.rflags |= RFLAGS_IF;
	rig_set(&r, &regs);
	RIG_RUN(&r, 0, g_ac_during_interrupt, g_expect_ac, g_window, g_kick);
	assert_int_equal(hw(0)->last_event, INTR_VALID | INTR_TYPE_EXTERNAL | 0x41);
}

/* --- budget -------------------------------------------------------------------------------- */

static enum core_run_reason run_budget(uint64_t ticks, const fake_guest_fn *script, size_t n)
{
	r.script = script;
	r.steps = n;
	r.next = 0;
	core_vcpu_run(r.v, &r.core->cpus[0], ticks, &r.exit);
	return r.exit.reason;
}

static void budget_sets_the_timer(void **state)
{
	const struct {
		uint64_t ticks, timer;
	} cases[] = {{1, 1}, {32, 1}, {33, 2}, {64000, 2000}};
	const fake_guest_fn script[] = {g_timer};

	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cases); i++) {
		assert_int_equal(run_budget(cases[i].ticks, script, 1), CORE_RUN_BUDGET);
		assert_int_equal(fake_get(hw(0), VMCS_PREEMPTION_TIMER), cases[i].timer);
		assert_true(fake_get(hw(0), VMCS_PIN_CONTROLS) & PIN_PREEMPTION_TIMER);
		assert_true(fake_get(hw(0), VMCS_EXIT_CONTROLS) & VMEXIT_SAVE_PREEMPTION_TIMER);
	}
	/* 0: no budget. */
	assert_int_equal(RIG_RUN(&r, 0, g_kick), CORE_RUN_KICKED);
	assert_false(fake_get(hw(0), VMCS_PIN_CONTROLS) & PIN_PREEMPTION_TIMER);
}

static void long_budget_takes_several_timers(void **state)
{
	const fake_guest_fn script[] = {g_timer, g_timer, g_timer};

	(void)state;
	/* 2 * (2^32 - 1) units and one more, 32 ticks each. */
	assert_int_equal(run_budget(((UINT64_C(2) * UINT32_MAX + 1) << 5), script, 3),
			 CORE_RUN_BUDGET);
	assert_int_equal(hw(0)->entries, 3);
	assert_int_equal(fake_get(hw(0), VMCS_PREEMPTION_TIMER), 1);
}

static void g_uses_time(struct hw_cpu *c, struct hw_gpregs *g)
{
	(void)g;
	assert_int_equal(fake_get(c, VMCS_PREEMPTION_TIMER), 10);
	fake_exit(c, VMX_EXIT_CPUID, 0, 2);
	fake_set(c, VMCS_PREEMPTION_TIMER, 4); /* only if saved; here the field would not change */
}

static void g_kicked_at_4(struct hw_cpu *c, struct hw_gpregs *g)
{
	g_kick(c, g);
	fake_set(c, VMCS_PREEMPTION_TIMER, 4);
}

/* What the host interrupts goes on with what is left. */
static void interrupted_budget_is_told(void **state)
{
	const fake_guest_fn script[] = {g_kicked_at_4}, end[] = {g_timer};

	(void)state;
	assert_int_equal(run_budget(320, script, 1), CORE_RUN_KICKED);
	assert_int_equal(r.exit.ticks_left, 4 * 32);
	assert_int_equal(run_budget((UINT64_C(1) << 37) + 320, script, 1), CORE_RUN_KICKED);
	assert_int_equal(r.exit.ticks_left, (UINT64_C(1) << 37) + 320 - (UINT32_MAX - 4ull) * 32);
	fake_set(hw(0), VMCS_PREEMPTION_TIMER, 0);
	assert_int_equal(RIG_RUN(&r, 0, g_kick), CORE_RUN_KICKED);
	assert_int_equal(r.exit.ticks_left, 0);
	assert_int_equal(run_budget(32, end, 1), CORE_RUN_BUDGET);
}

static void without_saving_each_entry_starts_anew(void **state)
{
	const fake_guest_fn script[] = {g_uses_time, g_uses_time, g_timer};

	(void)state;
	assert_int_equal(run_budget(320, script, 3), CORE_RUN_BUDGET);
	assert_false(fake_get(hw(0), VMCS_EXIT_CONTROLS) & VMEXIT_SAVE_PREEMPTION_TIMER);
}

static void without_timer_others_end_the_run(void **state)
{
	const fake_guest_fn script[] = {g_kick};

	(void)state;
	assert_int_equal(run_budget(320, script, 1), CORE_RUN_KICKED);
	assert_false(fake_get(hw(0), VMCS_PIN_CONTROLS) & PIN_PREEMPTION_TIMER);
}

/* --- states -------------------------------------------------------------------------------- */

static void protected_mode_starts(void **state)
{
	struct core_regs regs;

	(void)state;
	core_regs_protected_flat(&regs, 0x100000);
	rig_set(&r, &regs);
	assert_int_equal(RIG_RUN(&r, 0, g_kick), CORE_RUN_KICKED);
	assert_int_equal(fake_get(hw(0), VMCS_GUEST_CR0), CR0_PE | CR0_ET | CR0_NE);
	assert_int_equal(rig_regs(&r).cr0, CR0_PE | CR0_ET);
	assert_int_equal(rig_regs(&r).cr4, 0);
	core_regs_reset(&regs);
	rig_set(&r, &regs);
	assert_int_equal(RIG_RUN(&r, 0, g_kick), CORE_RUN_KICKED);
	assert_int_equal(rig_regs(&r).cr0, CR0_ET | CR0_CD | CR0_NW);
}

/* The guest turns paging on by itself: no exit, and everything follows. */
static void g_enters_long_mode(struct hw_cpu *c, struct hw_gpregs *g)
{
	(void)g;
	fake_set(c, VMCS_GUEST_CR4, fake_get(c, VMCS_GUEST_CR4) | CR4_PAE);
	fake_set(c, VMCS_GUEST_CR0, fake_get(c, VMCS_GUEST_CR0) | CR0_PG);
	fake_set(c, VMCS_GUEST_EFER, EFER_LME | EFER_LMA);
	fake_exit(c, VMX_EXIT_EXTERNAL_INTERRUPT, 0, 0);
}

static void guest_enters_long_mode(void **state)
{
	struct core_regs regs;

	(void)state;
	core_regs_protected_flat(&regs, 0x100000);
	rig_set(&r, &regs);
	assert_int_equal(RIG_RUN(&r, 0, g_enters_long_mode), CORE_RUN_KICKED);
	regs = rig_regs(&r);
	assert_int_equal(regs.cr0, CR0_PE | CR0_ET | CR0_PG);
	assert_int_equal(regs.cr4, CR4_PAE);
	assert_int_equal(regs.efer, EFER_LME | EFER_LMA);
	assert_int_equal(RIG_RUN(&r, 0, g_kick), CORE_RUN_KICKED);
}

static void paging_changes_invalidate(void **state)
{
	struct core_regs regs;

	(void)state;
	RIG_RUN(&r, 0, g_kick);
	regs = rig_regs(&r);
	regs.rip += 2;
	rig_set(&r, &regs);
	RIG_RUN(&r, 0, g_kick);
	assert_int_equal(hw(0)->invvpid[HW_INVVPID_SINGLE], 0);
	regs.cr3 = 0x3000;
	rig_set(&r, &regs);
	RIG_RUN(&r, 0, g_kick);
	assert_int_equal(hw(0)->invvpid[HW_INVVPID_SINGLE], 1);
	RIG_RUN(&r, 0, g_kick);
	assert_int_equal(hw(0)->invvpid[HW_INVVPID_SINGLE], 1);
}

/* Where a VPID can't be flushed alone, a fresh one serves. */
static void paging_changes_take_a_fresh_vpid(void **state)
{
	struct core_regs regs;
	bool valid;

	(void)state;
	RIG_RUN(&r, 0, g_kick);
	assert_int_equal(core_vcpu_vpid(r.v, &valid).vpid, 1);
	regs = rig_regs(&r);
	regs.cr3 = 0x3000;
	rig_set(&r, &regs);
	RIG_RUN(&r, 0, g_kick);
	assert_int_equal(core_vcpu_vpid(r.v, &valid).vpid, 2);
	assert_int_equal(fake_get(hw(0), VMCS_VPID), 2);
	assert_int_equal(hw(0)->invvpid[HW_INVVPID_SINGLE], 0);
}

/* Under EPT an entry takes PDPTEs from the VMCS. */
static void pae_guests_get_their_pdptes(void **state)
{
	const uint64_t pdptes[4] = {0x5001, 0x6001, 0, 0x7001};
	struct core_regs regs;

	(void)state;
	assert_int_equal(core_guest_write(core_vm_as(r.vm), gpa(0x4020), pdptes, sizeof(pdptes)),
			 0);
	core_regs_protected_flat(&regs, 0x100000);
	regs.cr0 |= CR0_PG;
	regs.cr4 = CR4_PAE;
	regs.cr3 = 0x4020;
	rig_set(&r, &regs);
	assert_int_equal(RIG_RUN(&r, 0, g_kick), CORE_RUN_KICKED);
	assert_int_equal(fake_get(hw(0), VMCS_GUEST_PDPTE0), 0x5001);
	assert_int_equal(fake_get(hw(0), VMCS_GUEST_PDPTE1), 0x6001);
	assert_int_equal(fake_get(hw(0), VMCS_GUEST_PDPTE3), 0x7001);
	/* They are registers: a change in memory alone has no effect. */
	assert_int_equal(core_guest_write(core_vm_as(r.vm), gpa(0x4020), "\0\0\0\0\0\0\0\0", 8), 0);
	regs = rig_regs(&r);
	regs.rip++;
	rig_set(&r, &regs);
	RIG_RUN(&r, 0, g_kick);
	assert_int_equal(fake_get(hw(0), VMCS_GUEST_PDPTE0), 0x5001);
	/* A new CR3 loads them. */
	regs.cr3 = 0x4000;
	rig_set(&r, &regs);
	RIG_RUN(&r, 0, g_kick);
	assert_int_equal(fake_get(hw(0), VMCS_GUEST_PDPTE0), 0);
	/* One that no memory answers: no page is present. */
	regs.cr3 = 0x80000000;
	rig_set(&r, &regs);
	assert_int_equal(RIG_RUN(&r, 0, g_kick), CORE_RUN_KICKED);
}

static void halted_vcpus_are_not_entered(void **state)
{
	struct core_regs regs = rig_regs(&r);

	(void)state;
	regs.activity = ACTIVITY_HLT;
	regs.rflags |= RFLAGS_IF;
	rig_set(&r, &regs);
	assert_int_equal(RIG_RUN(&r, 0, g_kick), CORE_RUN_HLT);
	assert_int_equal(hw(0)->entries, 0);
	assert_int_equal(inject(INTR_VALID | INTR_TYPE_EXTERNAL | 0x20, 0, 0), 0);
	assert_int_equal(RIG_RUN(&r, 0, g_kick), CORE_RUN_KICKED);
	assert_int_equal(hw(0)->last_event, INTR_VALID | INTR_TYPE_EXTERNAL | 0x20);
	assert_int_equal(rig_regs(&r).activity, ACTIVITY_ACTIVE);
	/* Shut down: only an NMI would do. */
	regs.activity = ACTIVITY_SHUTDOWN;
	rig_set(&r, &regs);
	assert_int_equal(inject(INTR_VALID | INTR_TYPE_EXTERNAL | 0x20, 0, 0), 0);
	assert_int_equal(RIG_RUN(&r, 0, g_kick), CORE_RUN_HLT);
}

static void real_mode_needs_unrestricted(void **state)
{
	struct core_regs regs;
	const char *field = NULL;

	(void)state;
	core_regs_protected_flat(&regs, 0x100000);
	assert_int_equal(core_vcpu_set_regs(r.v, &regs, &field), -EINVAL);
	assert_string_equal(field, "cr0");
	assert_int_equal(RIG_RUN(&r, 0, g_kick), CORE_RUN_KICKED);
}

static void paging_state_is_the_guests(void **state)
{
	struct core_paging_state ps;

	(void)state;
	core_vcpu_paging_state(r.v, &ps);
	assert_int_equal(ps.cr3, 0x2000);
	assert_int_equal(ps.cr4, CR4_PAE);
	assert_false(ps.user || ps.smap_off);
}

static void cpuid_is_fixed_once_run(void **state)
{
	const struct core_cpuid_entry e[65] = {{0}};

	(void)state;
	assert_int_equal(core_vm_set_cpuid(r.vm, e, 65), -E2BIG);
	assert_int_equal(core_vm_set_cpuid(r.vm, e, 0), 0);
	RIG_RUN(&r, 0, g_kick);
	assert_int_equal(core_vm_set_cpuid(r.vm, e, 1), -EBUSY);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TS(f, s) cmocka_unit_test_setup_teardown(f, s, teardown)
#define TR(f) cmocka_unit_test_setup_teardown(f, setup, teardown_refused)
	const struct CMUnitTest tests[] = {
		T(launches_once_then_resumes),
		T(registers_come_back),
		T(quiet_entries_write_nothing),
		T(host_state_follows_the_host),
		T(moves_with_vmclear_and_fresh_vpid),
		T(refuses_to_be_active_on_two),
		T(offline_clears_what_is_active),
		TR(early_failure_is_reported),
		TR(late_failure_is_reported),
		TR(failed_injection_leaves_nothing),
		T(msr_lists_are_apart),
		T(vmcs_can_be_read),
		T(malformed_events_are_refused),
		T(interrupt_goes_at_once_or_by_its_window),
		T(nmi_waits_for_the_end_of_the_last),
		T(deliveries_cut_short_are_repeated),
		T(undefined_bits_are_dropped),
		T(exception_goes_before_interrupt),
		T(budget_sets_the_timer),
		T(long_budget_takes_several_timers),
		T(interrupted_budget_is_told),
		TS(without_saving_each_entry_starts_anew, setup_no_timer_save),
		TS(without_timer_others_end_the_run, setup_no_timer),
		T(protected_mode_starts),
		T(guest_enters_long_mode),
		T(paging_changes_invalidate),
		TS(paging_changes_take_a_fresh_vpid, setup_no_invvpid_single),
		TS(guest_enters_long_mode, setup_no_vpid),
		T(pae_guests_get_their_pdptes),
		T(halted_vcpus_are_not_entered),
		TS(real_mode_needs_unrestricted, setup_no_unrestricted),
		T(paging_state_is_the_guests),
		T(cpuid_is_fixed_once_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
