// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A processor enters and leaves VMX operation.
 * Source: SDM volume 3, "Enabling and Entering VMX Operation", "Restrictions on VMX
 * Operation".
 */
#include "core/caps.h"
#include "core/inval.h"
#include "core/msr.h"
#include "core/vcpu_internal.h"
#include "hw/vmxdef.h"

/* Firmware decides; where it left the register open, this locks VMX in. */
static int enable_feature(struct hw_cpu *hw)
{
	uint64_t fc;

	/* No such register: nothing to enable, VMXON has the last word. */
	if (hw_rdmsr(hw, IA32_FEATURE_CONTROL, &fc) < 0)
		return 0;
	if (fc & FEATURE_CONTROL_LOCKED)
		return fc & FEATURE_CONTROL_VMX ? 0 : -ENODEV;
	fc |= FEATURE_CONTROL_LOCKED | FEATURE_CONTROL_VMX;
	return hw_wrmsr(hw, IA32_FEATURE_CONTROL, fc) < 0 ? -ENODEV : 0;
}

/* The first processor's capabilities are the machine's; the rest must equal them. */
static int learn_caps(struct core *core, struct hw_cpu *hw)
{
	struct core_caps caps;
	int err;

	err = caps_read(hw, &caps);
	if (err < 0)
		return err;
	if (core->caps_known)
		/* Both were zeroed whole before they were filled. NOLINTNEXTLINE */
		return memcmp(&caps, &core->caps, sizeof(caps)) == 0 ? 0 : -ENOTSUP;
	if (caps_missing(&caps) != NULL)
		return -ENOTSUP;
	memcpy(&core->caps, &caps, sizeof(caps));
	msr_bitmap_fill(&core->caps, core->msr_bitmap);
	core->caps_known = true;
	return 0;
}

static int alloc_pages(struct core_cpu *cpu)
{
	struct plat *plat = cpu->core->plat;
	uint32_t *region;

	region = plat_page_alloc(plat, &cpu->vmxon_region);
	if (region == NULL)
		return -ENOMEM;
	cpu->host_msrs = plat_page_alloc(plat, &cpu->host_msrs_hpa);
	if (cpu->host_msrs == NULL) {
		plat_page_free(plat, region, cpu->vmxon_region);
		return -ENOMEM;
	}
	/* "VMXON Region": bits 30:0 the revision, bit 31 clear. */
	region[0] = cpu->core->caps.vmcs_revision;
	cpu->vmxon_page = region;
	return 0;
}

static void free_pages(struct core_cpu *cpu)
{
	struct plat *plat = cpu->core->plat;

	plat_page_free(plat, cpu->host_msrs, cpu->host_msrs_hpa);
	plat_page_free(plat, cpu->vmxon_page, cpu->vmxon_region);
	cpu->host_msrs = NULL;
	cpu->vmxon_page = NULL;
}

static int enter_vmx_operation(struct core_cpu *cpu)
{
	if (hw_set_vmxe(cpu->hw, true) < 0)
		return -EIO;
	if (hw_vmxon(cpu->hw, cpu->vmxon_region) != HW_SUCCEED) {
		hw_set_vmxe(cpu->hw, false);
		return -EIO;
	}
	return 0;
}

/*
 * "Guidelines for Use of the INVVPID Instruction", "... INVEPT ...": VMXON
 * invalidates nothing, so what an earlier owner of VMX left is still cached.
 */
static int forget_earlier_owner(struct core_cpu *cpu)
{
	static const struct hw_invept_desc zero_ept;
	static const struct hw_invvpid_desc zero_vpid;
	const struct core_caps *caps = &cpu->core->caps;

	if (caps->invept_all) {
		if (hw_invept(cpu->hw, HW_INVEPT_ALL, &zero_ept) != HW_SUCCEED)
			return -EIO;
		core_stat_add(&cpu->stats, CORE_STAT_INVEPT_ALL, 1);
	}
	if (caps->invvpid_all) {
		if (hw_invvpid(cpu->hw, HW_INVVPID_ALL, &zero_vpid) != HW_SUCCEED)
			return -EIO;
		core_stat_add(&cpu->stats, CORE_STAT_INVVPID_ALL, 1);
	}
	return 0;
}

int core_cpu_online(struct core *core, unsigned id, struct hw_cpu *hw)
{
	struct hw_host_state host;
	struct core_cpu *cpu;
	int err;

	if (id >= core->nr_cpus)
		return -EINVAL;
	cpu = &core->cpus[id];
	if (cpu->online)
		return -EALREADY;
	err = learn_caps(core, hw);
	if (err < 0)
		return err;
	hw_read_host_state(hw, &host);
	if (host.cr4 & CR4_VMXE)
		return -EBUSY;
	err = enable_feature(hw);
	if (err < 0)
		return err;
	cpu->hw = hw;
	err = alloc_pages(cpu);
	if (err < 0)
		return err;
	err = enter_vmx_operation(cpu);
	if (err < 0)
		goto fail;
	err = forget_earlier_owner(cpu);
	if (err < 0)
		goto fail_vmxoff;
	err = msr_read_host(cpu);
	if (err < 0)
		goto fail_vmxoff;
	cpu->loaded = NULL;
	cpu->active = NULL;
	cpu->online = true;
	return 0;

fail_vmxoff:
	hw_vmxoff(hw);
	hw_set_vmxe(hw, false);
fail:
	free_pages(cpu);
	return err;
}

void core_cpu_offline(struct core *core, unsigned id)
{
	struct core_cpu *cpu;

	if (id >= core->nr_cpus || !core->cpus[id].online)
		return;
	cpu = &core->cpus[id];
	while (cpu->active != NULL)
		core_vcpu_deactivate(cpu->active, cpu);
	cpu->online = false;
	hw_vmxoff(cpu->hw);
	hw_set_vmxe(cpu->hw, false);
	free_pages(cpu);
}
