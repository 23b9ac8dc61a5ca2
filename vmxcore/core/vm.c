// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A virtual machine: what its vCPUs have in common. */
#include "core/vm.h"
#include "core/caps.h"
#include "core/msr.h"
#include "core/vcpu_internal.h"

/* --- what CPUID decides ------------------------------------------------------------------- */

enum { EAX, EBX, ECX, EDX };

/* A CR4 bit that exists where a CPUID bit says so. */
struct cr4_feature {
	uint64_t cr4;
	uint32_t leaf;
	uint8_t reg;
	uint8_t bit;
};

/*
 * Not here, hence never allowed: VMXE and SMXE (no nesting), OSXSAVE, PKE, CET, KL
 * and PKS (state that entry and exit don't switch), LA57.
 */
static const struct cr4_feature cr4_features[] = {
	{CR4_VME | CR4_PVI, 1, EDX, 1}, {CR4_TSD, 1, EDX, 4},	  {CR4_DE, 1, EDX, 2},
	{CR4_PSE, 1, EDX, 3},		{CR4_PAE, 1, EDX, 6},	  {CR4_MCE, 1, EDX, 7},
	{CR4_PGE, 1, EDX, 13},		{CR4_OSFXSR, 1, EDX, 24}, {CR4_OSXMMEXCPT, 1, EDX, 25},
	{CR4_PCIDE, 1, ECX, 17},	{CR4_UMIP, 7, ECX, 2},	  {CR4_FSGSBASE, 7, EBX, 0},
	{CR4_SMEP, 7, EBX, 7},		{CR4_SMAP, 7, EBX, 20},
};

/* A secondary control that enables an instruction, where CPUID shows it. */
struct proc2_feature {
	uint32_t proc2;
	uint32_t leaf;
	uint8_t reg;
	uint8_t bit;
};

static const struct proc2_feature proc2_features[] = {
	{PROC2_RDTSCP, 0x80000001, EDX, 27},
	{PROC2_RDTSCP, 7, ECX, 22}, /* RDPID: the same control */
	{PROC2_INVPCID, 7, EBX, 10},
};

struct efer_feature {
	uint64_t efer;
	uint8_t bit; /* of leaf 80000001H, EDX */
};

static const struct efer_feature efer_features[] = {
	{EFER_SCE, 11},
	{EFER_NXE, 20},
	{EFER_LME, 29},
};

/* Leaves whose answer depends on ECX. */
#define SUBLEAVES                                                                        \
	(VMX_BIT(0x4) | VMX_BIT(0x7) | VMX_BIT(0xb) | VMX_BIT(0xd) | VMX_BIT(0xf) |      \
	 VMX_BIT(0x10) | VMX_BIT(0x12) | VMX_BIT(0x14) | VMX_BIT(0x17) | VMX_BIT(0x18) | \
	 VMX_BIT(0x1b) | VMX_BIT(0x1d) | VMX_BIT(0x1e) | VMX_BIT(0x1f) | VMX_BIT(0x20) | \
	 VMX_BIT(0x23))

const struct core_cpuid_entry *vm_cpuid(const struct core_vm *vm, uint32_t leaf, uint32_t subleaf)
{
	static const struct core_cpuid_entry nothing;
	const struct core_cpuid_entry *e = vm->cpuid, *end = e + vm->nr_cpuid;

	for (; e < end; e++) {
		if (e->leaf != leaf)
			continue;
		if (e->subleaf == subleaf || leaf >= 64 || !(SUBLEAVES >> leaf & 1))
			return e;
	}
	return &nothing;
}

/* A VM without a table has every feature that core can give. */
static bool shows(const struct core_vm *vm, uint32_t leaf, unsigned reg, unsigned bit)
{
	const struct core_cpuid_entry *e = vm_cpuid(vm, leaf, 0);
	const uint32_t regs[] = {[EAX] = e->eax, [EBX] = e->ebx, [ECX] = e->ecx, [EDX] = e->edx};

	return vm->nr_cpuid == 0 || regs[reg] & 1u << bit;
}

static void learn_features(struct core_vm *vm)
{
	const struct core_caps *caps = &vm->core->caps;
	uint32_t proc2 = PROC2_EPT | PROC2_WBINVD;

	vm->cr4_allowed = CR4_PCE; /* RDPMC is refused whatever it says */
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cr4_features); i++) {
		const struct cr4_feature *f = &cr4_features[i];

		if (shows(vm, f->leaf, f->reg, f->bit))
			vm->cr4_allowed |= f->cr4;
	}
	vm->cr4_allowed &= caps->cr4_fixed1;
	vm->efer_allowed = 0;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(efer_features); i++) {
		if (shows(vm, 0x80000001, EDX, efer_features[i].bit))
			vm->efer_allowed |= efer_features[i].efer;
	}
	for (size_t i = 0; i < VMX_ARRAY_SIZE(proc2_features); i++) {
		const struct proc2_feature *f = &proc2_features[i];

		if (shows(vm, f->leaf, f->reg, f->bit))
			proc2 |= f->proc2;
	}
	if (vm->use_vpid)
		proc2 |= PROC2_VPID;
	if (caps->unrestricted)
		proc2 |= PROC2_UNRESTRICTED;
	vm->controls.proc2 = caps_adjust(caps->proc2, proc2);
	vm->cr4_owned = vm->cr4_allowed & ~(caps->cr4_fixed0 | CR4_MCE);
}

/* --- controls ------------------------------------------------------------------------------ */

static void set_controls(struct core_vm *vm)
{
	const struct core_caps *caps = &vm->core->caps;
	const uint32_t exit_pat = VMEXIT_SAVE_PAT | VMEXIT_LOAD_PAT;
	struct vm_controls *c = &vm->controls;
	uint64_t owned = CR0_MP | CR0_EM | CR0_TS | CR0_WP | CR0_AM;
	bool pat = caps_allow(caps->exit, exit_pat) && caps_allow(caps->entry, VMENTRY_LOAD_PAT);

	/* caps_adjust() drops what isn't offered: the checks in caps.c named what must be. */
	c->pin = caps_adjust(caps->pin, PIN_EXTERNAL_INTERRUPT | PIN_NMI | PIN_VIRTUAL_NMIS);
	c->proc = caps_adjust(caps->proc, PROC_HLT | PROC_MWAIT | PROC_RDPMC | PROC_CR8_LOAD |
						  PROC_CR8_STORE | PROC_UNCONDITIONAL_IO |
						  PROC_MSR_BITMAPS | PROC_MONITOR |
						  PROC_SECONDARY_CONTROLS);
	c->exit = caps_adjust(caps->exit, VMEXIT_SAVE_DEBUG | VMEXIT_HOST_64 | VMEXIT_SAVE_EFER |
						  VMEXIT_LOAD_EFER | (pat ? exit_pat : 0));
	c->entry = caps_adjust(caps->entry, VMENTRY_LOAD_DEBUG | VMENTRY_LOAD_EFER |
						    (pat ? VMENTRY_LOAD_PAT : 0));
	if (caps->unrestricted)
		owned |= CR0_PE | CR0_PG;
	vm->cr0_owned = owned & ~vm_cr0_fixed1(vm) & caps->cr0_fixed1;
}

/* --- life ---------------------------------------------------------------------------------- */

int core_vm_create(struct core *core, const struct core_vm_config *cfg, struct core_vm **ret)
{
	struct core_as_config as = cfg->as;
	struct core_vm *vm;
	int err;

	if (!core->caps_known)
		return -ENODEV;
	if (cfg->use_vpid && !core->caps.vpid)
		return -ENOTSUP;
	vm = plat_calloc(1, sizeof(*vm));
	if (vm == NULL)
		return -ENOMEM;
	vm->core = core;
	vm->use_vpid = cfg->use_vpid;
	plat_lock_init(&vm->lock);
	core_trace_init(&vm->trace);
	as.trace = &vm->trace;
	err = core_as_create(core, &as, &vm->as);
	if (err < 0)
		goto fail;
	set_controls(vm);
	learn_features(vm);
	*ret = vm;
	return 0;

fail:
	plat_free(vm);
	return err;
}

void core_vm_destroy(struct core_vm *vm)
{
	core_as_destroy(vm->as);
	core_trace_fini(&vm->trace);
	msr_lists_destroy(vm);
	plat_free(vm);
}

struct core_as *core_vm_as(struct core_vm *vm)
{
	return vm->as;
}

struct core_trace *core_vm_trace(struct core_vm *vm)
{
	return &vm->trace;
}

bool core_vm_uses_vpid(const struct core_vm *vm)
{
	return vm->use_vpid;
}

int core_vm_set_cpuid(struct core_vm *vm, const struct core_cpuid_entry *entries, size_t count)
{
	if (count > CORE_MAX_CPUID_ENTRIES)
		return -E2BIG;
	if (plat_load(&vm->ran))
		return -EBUSY;
	memcpy(vm->cpuid, entries, count * sizeof(entries[0]));
	vm->nr_cpuid = count;
	learn_features(vm);
	return 0;
}
