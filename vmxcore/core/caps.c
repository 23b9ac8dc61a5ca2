// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Reading the VMX capability MSRs and checking them for what core needs.
 * Source: SDM volume 3, "VMX Capability Reporting Facility".
 */
#include "core/caps.h"
#include "hw/vmxdef.h"

/* Capability MSRs that are copied as they are, by member. */
struct caps_msr {
	uint32_t msr;
	uint32_t true_msr; /* instead, where IA32_VMX_BASIC bit 55 says so; 0: none */
	size_t offset;
};

#define MEMBER(m) offsetof(struct core_caps, m)

static const struct caps_msr caps_msrs[] = {
	{IA32_VMX_PINBASED_CTLS, IA32_VMX_TRUE_PINBASED_CTLS, MEMBER(pin)},
	{IA32_VMX_PROCBASED_CTLS, IA32_VMX_TRUE_PROCBASED_CTLS, MEMBER(proc)},
	{IA32_VMX_EXIT_CTLS, IA32_VMX_TRUE_EXIT_CTLS, MEMBER(exit)},
	{IA32_VMX_ENTRY_CTLS, IA32_VMX_TRUE_ENTRY_CTLS, MEMBER(entry)},
	{IA32_VMX_MISC, 0, MEMBER(misc)},
	{IA32_VMX_CR0_FIXED0, 0, MEMBER(cr0_fixed0)},
	{IA32_VMX_CR0_FIXED1, 0, MEMBER(cr0_fixed1)},
	{IA32_VMX_CR4_FIXED0, 0, MEMBER(cr4_fixed0)},
	{IA32_VMX_CR4_FIXED1, 0, MEMBER(cr4_fixed1)},
};

static void read_ept_vpid(struct core_caps *c)
{
	uint64_t cap = c->ept_vpid;
	bool invvpid = cap & EPT_VPID_CAP_INVVPID;

	c->ept = caps_allow(c->proc2, PROC2_EPT);
	c->unrestricted = c->ept && caps_allow(c->proc2, PROC2_UNRESTRICTED);
	c->ept_exec_only = cap & EPT_VPID_CAP_EXEC_ONLY;
	c->ept_2m = cap & EPT_VPID_CAP_2M;
	c->ept_1g = cap & EPT_VPID_CAP_1G;
	c->ept_ad = cap & EPT_VPID_CAP_AD;
	c->ept_walk5 = cap & EPT_VPID_CAP_WALK_5;
	c->invept_single = cap & EPT_VPID_CAP_INVEPT && cap & EPT_VPID_CAP_INVEPT_SINGLE;
	c->invept_all = cap & EPT_VPID_CAP_INVEPT && cap & EPT_VPID_CAP_INVEPT_ALL;
	c->invvpid_address = invvpid && cap & EPT_VPID_CAP_INVVPID_ADDRESS;
	c->invvpid_single = invvpid && cap & EPT_VPID_CAP_INVVPID_SINGLE;
	c->invvpid_all = invvpid && cap & EPT_VPID_CAP_INVVPID_ALL;
	c->invvpid_keep_global = invvpid && cap & EPT_VPID_CAP_INVVPID_KEEP_GLOBAL;
	/* Generations end with INVVPID all-context: without it, VPIDs are of no use. */
	c->vpid = caps_allow(c->proc2, PROC2_VPID) && c->invvpid_all;
}

static void read_timer(struct core_caps *c)
{
	c->preemption_timer = caps_allow(c->pin, PIN_PREEMPTION_TIMER);
	c->save_preemption_timer =
		c->preemption_timer && caps_allow(c->exit, VMEXIT_SAVE_PREEMPTION_TIMER);
	c->preemption_rate = (unsigned)(c->misc & VMX_MISC_TIMER_RATE_MASK);
}

int caps_read(struct hw_cpu *hw, struct core_caps *ret)
{
	struct core_caps c;

	memset(&c, 0, sizeof(c));
	if (hw_rdmsr(hw, IA32_VMX_BASIC, &c.basic) < 0)
		return -ENODEV;
	c.vmcs_revision = (uint32_t)(c.basic & VMX_BASIC_REVISION_MASK);
	c.vmcs_bytes = (uint32_t)(c.basic >> VMX_BASIC_SIZE_SHIFT & VMX_BASIC_SIZE_MASK);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(caps_msrs); i++) {
		const struct caps_msr *m = &caps_msrs[i];
		bool use_true = m->true_msr != 0 && c.basic & VMX_BASIC_TRUE_CTLS;
		uint64_t *to = (uint64_t *)(void *)((char *)&c + m->offset);

		if (hw_rdmsr(hw, use_true ? m->true_msr : m->msr, to) < 0)
			return -ENODEV;
	}
	/* These two exist only if the control that they belong to may be 1. */
	if (caps_allow(c.proc, PROC_SECONDARY_CONTROLS) &&
	    hw_rdmsr(hw, IA32_VMX_PROCBASED_CTLS2, &c.proc2) < 0)
		return -ENODEV;
	if ((caps_allow(c.proc2, PROC2_EPT) || caps_allow(c.proc2, PROC2_VPID)) &&
	    hw_rdmsr(hw, IA32_VMX_EPT_VPID_CAP, &c.ept_vpid) < 0)
		return -ENODEV;
	read_ept_vpid(&c);
	read_timer(&c);
	memcpy(ret, &c, sizeof(c)); /* padding too: they are compared as bytes */
	return 0;
}

/* Control bits that must be allowed to be 1: those of one capability, each with its name. */
static const struct caps_need {
	size_t offset;
	uint32_t bit;
	const char *name;
} caps_needs[] = {
	{MEMBER(pin), PIN_EXTERNAL_INTERRUPT, "\"external-interrupt exiting\""},
	{MEMBER(pin), PIN_NMI, "\"NMI exiting\""},
	{MEMBER(proc), PROC_INTERRUPT_WINDOW, "\"interrupt-window exiting\""},
	{MEMBER(proc), PROC_HLT, "\"HLT exiting\""},
	{MEMBER(proc), PROC_UNCONDITIONAL_IO, "\"unconditional I/O exiting\""},
	{MEMBER(proc), PROC_MSR_BITMAPS, "\"use MSR bitmaps\""},
	{MEMBER(proc), PROC_CR8_LOAD, "\"CR8-load exiting\""},
	{MEMBER(proc), PROC_CR8_STORE, "\"CR8-store exiting\""},
	{MEMBER(proc), PROC_SECONDARY_CONTROLS, "\"activate secondary controls\""},
	{MEMBER(proc2), PROC2_EPT, "\"enable EPT\""},
	{MEMBER(exit), VMEXIT_SAVE_DEBUG, "\"save debug controls\""},
	{MEMBER(exit), VMEXIT_HOST_64, "\"host address-space size\""},
	{MEMBER(exit), VMEXIT_SAVE_EFER, "\"save IA32_EFER\""},
	{MEMBER(exit), VMEXIT_LOAD_EFER, "exit's \"load IA32_EFER\""},
	{MEMBER(entry), VMENTRY_LOAD_DEBUG, "\"load debug controls\""},
	{MEMBER(entry), VMENTRY_IA32E_GUEST, "\"IA-32e mode guest\""},
	{MEMBER(entry), VMENTRY_LOAD_EFER, "entry's \"load IA32_EFER\""},
};

const char *caps_missing(const struct core_caps *c)
{
	unsigned memtype = (unsigned)(c->basic >> VMX_BASIC_MEMTYPE_SHIFT & VMX_BASIC_MEMTYPE_MASK);

	if (c->vmcs_bytes == 0 || c->vmcs_bytes > VMX_PAGE_SIZE)
		return "a VMCS that fits a page";
	/* Pages of plat are above 4 GiB and write-back. */
	if (c->basic & VMX_BASIC_32BIT_ADDRESSES || memtype != MEMTYPE_WB)
		return "a VMCS in write-back memory above 4 GiB";
	for (size_t i = 0; i < VMX_ARRAY_SIZE(caps_needs); i++) {
		const struct caps_need *n = &caps_needs[i];
		uint64_t capability;

		memcpy(&capability, (const char *)c + n->offset, sizeof(capability));
		if (!caps_allow(capability, n->bit))
			return n->name;
	}
	if (!(c->ept_vpid & EPT_VPID_CAP_WALK_4))
		return "an EPT walk of 4 levels";
	if (!(c->ept_vpid & EPT_VPID_CAP_WB))
		return "EPT structures in write-back memory";
	return c->invept_single || c->invept_all ? NULL : "INVEPT";
}
