// SPDX-License-Identifier: MIT
/* Processors enter VMX operation, or are refused for the right reason and left as they were. */
#include "core/caps.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/core.h"
#include "fake_vmx.h"

static struct fake_machine *m;
static struct core *core;

static int setup(void **state)
{
	(void)state;
	if (fake_create(2, &m) < 0)
		return -1;
	return core_create(m->plat, 2, &core);
}

static int teardown(void **state)
{
	(void)state;
	core_destroy(core);
	return fake_destroy(m) == 0 ? 0 : -1;
}

static void bad_counts(void **state)
{
	struct core *c = NULL;

	(void)state;
	assert_int_equal(core_create(m->plat, 0, &c), -EINVAL);
	assert_int_equal(core_create(m->plat, CORE_MAX_CPUS + 1, &c), -EINVAL);
	assert_null(c);
	assert_int_equal(core_cpu_online(core, 2, fake_cpu(m, 0)), -EINVAL);
}

static void goes_online_and_offline(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct hw_cpu *hw = fake_cpu(m, i);

		assert_int_equal(core_cpu_online(core, i, hw), 0);
		assert_true(core->cpus[i].online && hw->vmxon && hw->vmxe);
		/* VMXON invalidates nothing by itself. */
		assert_int_equal(hw->invept_all, 1);
		assert_int_equal(hw->invvpid[HW_INVVPID_ALL], 1);
		assert_int_equal(core_cpu_online(core, i, hw), -EALREADY);
		/* What the host has in the switched MSRs is loaded at each exit. */
		assert_int_equal(core->cpus[i].host_msrs[1].index, IA32_LSTAR);
		assert_int_equal(core->cpus[i].host_msrs[1].value, 0x2222);
	}
	assert_true(core->caps.vpid && core->caps.ept_ad && core->caps.ept_1g);
	assert_true(core->caps.unrestricted && core->caps.save_preemption_timer);
	assert_int_equal(core->caps.preemption_rate, 5);
	assert_int_equal(core->caps.vmcs_revision, FAKE_REVISION);
	for (unsigned i = 0; i < 2; i++) {
		core_cpu_offline(core, i);
		assert_false(fake_cpu(m, i)->vmxon || fake_cpu(m, i)->vmxe);
		core_cpu_offline(core, i); /* nothing to do */
	}
	/* And again. */
	assert_int_equal(core_cpu_online(core, 0, fake_cpu(m, 0)), 0);
	core_cpu_offline(core, 0);
}

static void leaves_open_feature_control_locked(void **state)
{
	(void)state;
	fake_set_msr(fake_cpu(m, 0), IA32_FEATURE_CONTROL, 0);
	assert_int_equal(core_cpu_online(core, 0, fake_cpu(m, 0)), 0);
	assert_int_equal(fake_get_msr(fake_cpu(m, 0), IA32_FEATURE_CONTROL),
			 FEATURE_CONTROL_LOCKED | FEATURE_CONTROL_VMX);
	core_cpu_offline(core, 0);
}

/* One change to a good machine, and what it is refused with. */
struct refusal {
	const char *what;
	uint32_t msr;
	uint64_t clear, set;
	int expected;
	const char *missing; /* as people are told */
};

#define MAY(bits) ((uint64_t)(bits) << 32)

static const struct refusal refusals[] = {
	{"locked out", IA32_FEATURE_CONTROL, FEATURE_CONTROL_VMX, 0, -ENODEV, NULL},
	{"no interrupt exiting", IA32_VMX_TRUE_PINBASED_CTLS, MAY(PIN_EXTERNAL_INTERRUPT), 0,
	 -ENOTSUP, "\"external-interrupt exiting\""},
	{"no NMI exiting", IA32_VMX_TRUE_PINBASED_CTLS, MAY(PIN_NMI), 0, -ENOTSUP,
	 "\"NMI exiting\""},
	{"no secondary", IA32_VMX_TRUE_PROCBASED_CTLS, MAY(PROC_SECONDARY_CONTROLS), 0, -ENOTSUP,
	 "\"activate secondary controls\""},
	{"no MSR bitmaps", IA32_VMX_TRUE_PROCBASED_CTLS, MAY(PROC_MSR_BITMAPS), 0, -ENOTSUP,
	 "\"use MSR bitmaps\""},
	{"no HLT exiting", IA32_VMX_TRUE_PROCBASED_CTLS, MAY(PROC_HLT), 0, -ENOTSUP,
	 "\"HLT exiting\""},
	{"no EPT", IA32_VMX_PROCBASED_CTLS2, MAY(PROC2_EPT), 0, -ENOTSUP, "\"enable EPT\""},
	{"no 64-bit host", IA32_VMX_TRUE_EXIT_CTLS, MAY(VMEXIT_HOST_64), 0, -ENOTSUP,
	 "\"host address-space size\""},
	{"no EFER switch", IA32_VMX_TRUE_ENTRY_CTLS, MAY(VMENTRY_LOAD_EFER), 0, -ENOTSUP,
	 "entry's \"load IA32_EFER\""},
	{"no 4-level EPT", IA32_VMX_EPT_VPID_CAP, EPT_VPID_CAP_WALK_4, 0, -ENOTSUP,
	 "an EPT walk of 4 levels"},
	{"no write-back EPT", IA32_VMX_EPT_VPID_CAP, EPT_VPID_CAP_WB, 0, -ENOTSUP,
	 "EPT structures in write-back memory"},
	{"no INVEPT", IA32_VMX_EPT_VPID_CAP, EPT_VPID_CAP_INVEPT, 0, -ENOTSUP, "INVEPT"},
	{"32-bit addresses", IA32_VMX_BASIC, 0, VMX_BASIC_32BIT_ADDRESSES, -ENOTSUP,
	 "a VMCS in write-back memory above 4 GiB"},
	{"uncached VMCS", IA32_VMX_BASIC, VMX_BASIC_MEMTYPE_MASK << VMX_BASIC_MEMTYPE_SHIFT, 0,
	 -ENOTSUP, "a VMCS in write-back memory above 4 GiB"},
	{"VMCS of 8 KiB", IA32_VMX_BASIC, VMX_BASIC_SIZE_MASK << VMX_BASIC_SIZE_SHIFT,
	 UINT64_C(0x1fff) << VMX_BASIC_SIZE_SHIFT, -ENOTSUP, "a VMCS that fits a page"},
};

static void refused_for_what_is_missing(void **state)
{
	struct core_caps caps;

	(void)state;
	assert_int_equal(caps_read(fake_cpu(m, 0), &caps), 0);
	assert_null(caps_missing(&caps));
	for (size_t i = 0; i < VMX_ARRAY_SIZE(refusals); i++) {
		const struct refusal *r = &refusals[i];
		struct hw_cpu *hw = fake_cpu(m, 0);
		uint64_t good = fake_get_msr(hw, r->msr);

		fake_set_msr(hw, r->msr, (good & ~r->clear) | r->set);
		if (core_cpu_online(core, 0, hw) != r->expected)
			fail_msg("%s: not refused as expected", r->what);
		assert_false(core->cpus[0].online || hw->vmxon || hw->vmxe);
		assert_int_equal(caps_read(hw, &caps), 0);
		if (r->missing)
			assert_string_equal(caps_missing(&caps), r->missing);
		fake_set_msr(hw, r->msr, good);
	}
	assert_int_equal(plat_user_pages_used(m->plat), 1); /* the MSR bitmap */
}

static void refused_by_the_processor(void **state)
{
	struct hw_cpu *hw = fake_cpu(m, 0);

	(void)state;
	hw->host.cr4 |= CR4_VMXE;
	assert_int_equal(core_cpu_online(core, 0, hw), -EBUSY);
	hw->host.cr4 &= ~CR4_VMXE;
	m->fail_vmxon = HW_FAULT_GP;
	assert_int_equal(core_cpu_online(core, 0, hw), -EIO);
	assert_false(hw->vmxe);
	m->fail_vmxon = HW_FAIL_INVALID;
	assert_int_equal(core_cpu_online(core, 0, hw), -EIO);
	m->fail_vmxon = HW_SUCCEED;
	fake_remove_msr(hw, IA32_LSTAR);
	assert_int_equal(core_cpu_online(core, 0, hw), -ENOTSUP);
	assert_false(hw->vmxon || hw->vmxe);
	fake_set_msr(hw, IA32_LSTAR, 0);
	fake_remove_msr(hw, IA32_VMX_BASIC);
	assert_int_equal(core_cpu_online(core, 0, hw), -ENODEV);
}

static void processors_must_be_alike(void **state)
{
	(void)state;
	assert_int_equal(core_cpu_online(core, 0, fake_cpu(m, 0)), 0);
	fake_set_msr(fake_cpu(m, 1), IA32_VMX_MISC, 6);
	assert_int_equal(core_cpu_online(core, 1, fake_cpu(m, 1)), -ENOTSUP);
	core_cpu_offline(core, 0);
}

/* Optional things may lack. */
static void works_without_options(void **state)
{
	(void)state;
	fake_forbid(m, IA32_VMX_PROCBASED_CTLS2, PROC2_VPID | PROC2_UNRESTRICTED | PROC2_RDTSCP);
	fake_forbid(m, IA32_VMX_TRUE_PINBASED_CTLS, PIN_PREEMPTION_TIMER | PIN_VIRTUAL_NMIS);
	fake_remove_msr(fake_cpu(m, 0), IA32_TSC_AUX);
	assert_int_equal(core_cpu_online(core, 0, fake_cpu(m, 0)), 0);
	assert_false(core->caps.vpid || core->caps.unrestricted || core->caps.preemption_timer);
	core_cpu_offline(core, 0);
}

/* Pass-through is what entry and exit switch, and no more. */
static void bitmap_lets_through_what_is_switched(void **state)
{
	static const struct {
		uint32_t msr;
		bool read_exits, write_exits;
	} cases[] = {
		{IA32_LSTAR, false, false},	    {IA32_KERNEL_GS_BASE, false, false},
		{IA32_FS_BASE, false, false},	    {IA32_GS_BASE, false, false},
		{IA32_SYSENTER_EIP, false, false},  {IA32_PAT, false, false},
		{IA32_EFER, false, true},	    {IA32_TSC, false, true},
		{IA32_TSC_AUX, false, false},	    {IA32_APIC_BASE, true, true},
		{IA32_FEATURE_CONTROL, true, true}, {IA32_VMX_BASIC, true, true},
		{IA32_SPEC_CTRL, true, true},	    {IA32_DEBUGCTL, true, true},
		{0xc0001fff, true, true},	    {0x1fff, true, true},
	};

	(void)state;
	assert_int_equal(core_cpu_online(core, 0, fake_cpu(m, 0)), 0);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cases); i++) {
		uint32_t msr = cases[i].msr, bit = msr & 0x1fff;
		const uint8_t *half = core->msr_bitmap + (msr >= 0xc0000000 ? 1024 : 0);
		bool r = half[bit / 8] >> bit % 8 & 1, w = half[2048 + bit / 8] >> bit % 8 & 1;

		if (r != cases[i].read_exits || w != cases[i].write_exits)
			fail_msg("MSR %#x: read exits %d, write exits %d", msr, r, w);
	}
	core_cpu_offline(core, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(bad_counts),
		T(goes_online_and_offline),
		T(leaves_open_feature_control_locked),
		T(refused_for_what_is_missing),
		T(refused_by_the_processor),
		T(processors_must_be_alike),
		T(works_without_options),
		T(bitmap_lets_through_what_is_switched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
