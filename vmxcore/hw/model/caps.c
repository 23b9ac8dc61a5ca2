/* SPDX-License-Identifier: MIT */
/*
 * The VMX capability MSRs ("VMX Capability Reporting Facility"): exactly what this
 * processor implements. External-interrupt exiting must be 1, for no interrupt
 * controller stands behind the processor that could deliver one to a guest.
 */
#include "hw/model/processor.h"

struct control_caps {
	uint32_t msr, true_msr;
	uint32_t default1; /* must be 1 where the MSR without TRUE_ is all that is known */
	uint32_t must;	   /* must be 1 */
	uint32_t may;	   /* may be 1, besides default1 */
};

static const struct control_caps controls[] = {
	{IA32_VMX_PINBASED_CTLS, IA32_VMX_TRUE_PINBASED_CTLS, 0x00000016,
	 0x00000016 | PIN_EXTERNAL_INTERRUPT,
	 PIN_EXTERNAL_INTERRUPT | PIN_NMI | PIN_VIRTUAL_NMIS | PIN_PREEMPTION_TIMER},
	{IA32_VMX_PROCBASED_CTLS, IA32_VMX_TRUE_PROCBASED_CTLS, 0x0401e172, 0x04006172,
	 PROC_INTERRUPT_WINDOW | PROC_TSC_OFFSETTING | PROC_HLT | PROC_INVLPG | PROC_MWAIT |
		 PROC_RDPMC | PROC_RDTSC | PROC_CR3_LOAD | PROC_CR3_STORE | PROC_CR8_LOAD |
		 PROC_CR8_STORE | PROC_NMI_WINDOW | PROC_MOV_DR | PROC_UNCONDITIONAL_IO |
		 PROC_IO_BITMAPS | PROC_MSR_BITMAPS | PROC_MONITOR | PROC_PAUSE |
		 PROC_SECONDARY_CONTROLS},
	{IA32_VMX_EXIT_CTLS, IA32_VMX_TRUE_EXIT_CTLS, 0x00036dff, 0x00036dfb,
	 VMEXIT_SAVE_DEBUG | VMEXIT_HOST_64 | VMEXIT_SAVE_PAT | VMEXIT_LOAD_PAT | VMEXIT_SAVE_EFER |
		 VMEXIT_LOAD_EFER | VMEXIT_SAVE_PREEMPTION_TIMER},
	{IA32_VMX_ENTRY_CTLS, IA32_VMX_TRUE_ENTRY_CTLS, 0x000011ff, 0x000011fb,
	 VMENTRY_LOAD_DEBUG | VMENTRY_IA32E_GUEST | VMENTRY_LOAD_PAT | VMENTRY_LOAD_EFER},
	{IA32_VMX_PROCBASED_CTLS2, IA32_VMX_PROCBASED_CTLS2, 0, 0,
	 PROC2_EPT | PROC2_DESCRIPTOR_TABLE | PROC2_RDTSCP | PROC2_VPID | PROC2_WBINVD |
		 PROC2_UNRESTRICTED | PROC2_INVPCID},
};

static uint32_t may_be_1(const struct hw_cpu *cpu, const struct control_caps *c)
{
	uint32_t may = c->may | c->default1;

	if (c->msr == IA32_VMX_PROCBASED_CTLS2) {
		if (!cpu->model->features.rdtscp)
			may &= ~PROC2_RDTSCP;
		if (!cpu->model->features.invpcid)
			may &= ~PROC2_INVPCID;
	}
	return may;
}

static const struct control_caps *find_control(uint32_t msr)
{
	for (size_t i = 0; i < VMX_ARRAY_SIZE(controls); i++) {
		if (controls[i].msr == msr || controls[i].true_msr == msr)
			return &controls[i];
	}
	return NULL;
}

uint32_t caps_must_be_1(const struct hw_cpu *cpu, uint32_t msr)
{
	(void)cpu;
	return find_control(msr)->must;
}

uint32_t caps_may_be_1(const struct hw_cpu *cpu, uint32_t msr)
{
	return may_be_1(cpu, find_control(msr));
}

uint64_t caps_cr4_fixed1(const struct hw_cpu *cpu)
{
	return cpu->model->features.cr4_allowed | CR4_VMXE;
}

static uint64_t vmx_basic(void)
{
	return MODEL_VMCS_REVISION | (uint64_t)VMX_PAGE_SIZE << VMX_BASIC_SIZE_SHIFT |
	       (uint64_t)MEMTYPE_WB << VMX_BASIC_MEMTYPE_SHIFT | VMX_BASIC_INS_OUTS_INFO |
	       VMX_BASIC_TRUE_CTLS;
}

static uint64_t ept_vpid_cap(void)
{
	return EPT_VPID_CAP_EXEC_ONLY | EPT_VPID_CAP_WALK_4 | EPT_VPID_CAP_UC | EPT_VPID_CAP_WB |
	       EPT_VPID_CAP_2M | EPT_VPID_CAP_1G | EPT_VPID_CAP_INVEPT | EPT_VPID_CAP_AD |
	       EPT_VPID_CAP_INVEPT_SINGLE | EPT_VPID_CAP_INVEPT_ALL | EPT_VPID_CAP_INVVPID |
	       EPT_VPID_CAP_INVVPID_ADDRESS | EPT_VPID_CAP_INVVPID_SINGLE |
	       EPT_VPID_CAP_INVVPID_ALL | EPT_VPID_CAP_INVVPID_KEEP_GLOBAL;
}

int caps_rdmsr(const struct hw_cpu *cpu, uint32_t msr, uint64_t *ret)
{
	const struct {
		uint32_t msr;
		uint64_t value;
	} plain[] = {
		{IA32_VMX_BASIC, vmx_basic()},
		/* Timer rate 2^0; 512 MSRs in an area. */
		{IA32_VMX_MISC, VMX_MISC_EXIT_STORES_LMA | VMX_MISC_HLT_STATE |
					(uint64_t)MODEL_CR3_TARGETS << VMX_MISC_CR3_TARGETS_SHIFT},
		{IA32_VMX_CR0_FIXED0, CAPS_CR0_FIXED0},
		{IA32_VMX_CR0_FIXED1, CAPS_CR0_FIXED1},
		{IA32_VMX_CR4_FIXED0, CAPS_CR4_FIXED0},
		{IA32_VMX_CR4_FIXED1, caps_cr4_fixed1(cpu)},
		{IA32_VMX_VMCS_ENUM, (uint64_t)vmcs_highest_index() << 1},
		{IA32_VMX_EPT_VPID_CAP, ept_vpid_cap()},
	};
	const struct control_caps *c = find_control(msr);

	if (c) {
		uint32_t must = msr == c->true_msr ? c->must : c->must | c->default1;

		*ret = (uint64_t)may_be_1(cpu, c) << 32 | must;
		return 0;
	}
	for (size_t i = 0; i < VMX_ARRAY_SIZE(plain); i++) {
		if (plain[i].msr == msr) {
			*ret = plain[i].value;
			return 0;
		}
	}
	return -EIO;
}

/* --- what CPUID says of paging and control registers ------------------------------ */

enum { EAX, EBX, ECX, EDX };

struct cr4_feature {
	uint32_t leaf;
	uint8_t reg, bit;
	uint64_t cr4;
};

static const struct cr4_feature cr4_features[] = {
	{1, EDX, 1, CR4_VME | CR4_PVI}, {1, EDX, 2, CR4_DE},	   {1, EDX, 3, CR4_PSE},
	{1, EDX, 4, CR4_TSD},		{1, EDX, 6, CR4_PAE},	   {1, EDX, 7, CR4_MCE},
	{1, EDX, 13, CR4_PGE},		{1, EDX, 24, CR4_OSFXSR},  {1, EDX, 25, CR4_OSXMMEXCPT},
	{1, ECX, 17, CR4_PCIDE},	{7, EBX, 0, CR4_FSGSBASE}, {7, EBX, 7, CR4_SMEP},
	{7, EBX, 20, CR4_SMAP},		{7, ECX, 2, CR4_UMIP},
};

static bool cpuid_bit(uint32_t leaf, unsigned reg, unsigned bit)
{
	uint32_t regs[4] = {0};

	return x86_cpuid(leaf, 0, regs) && (regs[reg] >> bit & 1);
}

void features_read(struct features *ret)
{
	*ret = (struct features){
		.cr4_allowed = CR4_PCE, /* RDPMC is there, without a counter */
		.page_1g = cpuid_bit(0x80000001, EDX, 26),
		.pse36 = cpuid_bit(1, EDX, 17),
		.nx = cpuid_bit(0x80000001, EDX, 20),
		.rdtscp = cpuid_bit(0x80000001, EDX, 27),
		.invpcid = cpuid_bit(7, EBX, 10),
		.pcid = cpuid_bit(1, ECX, 17),
	};
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cr4_features); i++) {
		const struct cr4_feature *f = &cr4_features[i];

		if (cpuid_bit(f->leaf, f->reg, f->bit))
			ret->cr4_allowed |= f->cr4;
	}
}
