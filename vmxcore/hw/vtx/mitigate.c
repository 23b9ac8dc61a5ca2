// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* See mitigate.h. */
#define pr_fmt(fmt) "vmxcore: " fmt
#include <linux/cpu.h>
#include <linux/kernel.h>
#include <linux/moduleparam.h>
#include <linux/percpu.h>
#include <linux/string.h>

#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/processor.h>

#include "hw/vtx/compat.h"
#include "hw/vtx/mitigate.h"

/* --- the parameter ---------------------------------------------------------------------- */

static const char *const mode_names[] = {"auto", "off"};

enum { MODE_AUTO, MODE_OFF };

static int mode = MODE_AUTO;

static int set_mode(const char *value, const struct kernel_param *kp)
{
	int i = sysfs_match_string(mode_names, value);

	if (i < 0) {
		pr_err("mitigations=%s: it is \"auto\" or \"off\"\n", value);
		return -EINVAL;
	}
	mode = i;
	return 0;
}

static int get_mode(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%s\n", mode_names[mode]);
}

static const struct kernel_param_ops mode_ops = {.set = set_mode, .get = get_mode};

module_param_cb(mitigations, &mode_ops, NULL, 0444);
__MODULE_PARM_TYPE(mitigations, "string");
MODULE_PARM_DESC(mitigations, "against what guests learn by speculation: auto (default: what the "
			      "processor needs, unless the kernel was started with "
			      "mitigations=off) or off (guests are trusted)");

static bool wanted(void)
{
	return mode == MODE_AUTO && !cpu_mitigations_off();
}

void mitigate_report(void)
{
	if (!wanted()) {
		pr_info("mitigations are off: guests must be trusted\n");
		return;
	}
	if (boot_cpu_has_bug(X86_BUG_L1TF) && !boot_cpu_has(X86_FEATURE_FLUSH_L1D))
		pr_warn("L1TF: the processor can't flush its L1 data cache: update its microcode, "
			"or run trusted guests only\n");
	if (boot_cpu_has_bug(X86_BUG_L1TF) && cpu_smt_possible())
		pr_warn("L1TF: SMT is possible: guests that are not trusted need it off "
			"(nosmt=force)\n");
}

/* --- each of them ----------------------------------------------------------------------------- */

/*
 * L1 terminal fault: a guest reads by speculation whatever is in the L1 data cache, by its
 * host-physical address. So nothing of the host's may be in it at entry. Nothing but core's
 * own code runs between two entries of one bracket: once is enough. This is always done,
 * not only after code that is thought to touch secrets. IA32_FLUSH_CMD does all of it; the
 * older way, reading 64 KiB, is not offered (mitigate_report()).
 */
void mitigate_before_entries(void)
{
	if (static_cpu_has_bug(X86_BUG_L1TF) && static_cpu_has(X86_FEATURE_FLUSH_L1D) && wanted())
		native_wrmsrq(MSR_IA32_FLUSH_CMD, L1D_FLUSH);
}

/* Predictions that one guest has trained must not steer another: not even of the same VM. */
void mitigate_other_vcpu(struct hw_cpu *cpu, hpa_t vmcs)
{
	if (cpu->last_vmcs.v == vmcs.v)
		return;
	cpu->last_vmcs = vmcs;
	if (wanted())
		indirect_branch_prediction_barrier();
}

void mitigate_vcpu_gone(struct hw_cpu *cpu, hpa_t vmcs)
{
	if (cpu->last_vmcs.v == vmcs.v)
		cpu->last_vmcs = hpa(0);
}

/* The guest's must not steer the program that runs next here: the kernel does it on the way. */
void mitigate_before_user(void)
{
#ifdef X86_FEATURE_IBPB_EXIT_TO_USER
	if (cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER) && wanted())
		this_cpu_write(x86_ibpb_exit_to_user, true);
#endif
}

/*
 * A guest that makes the size of a page change while it executes there can stop the machine
 * ("iTLB multihit"); large pages that aren't executable are safe. The kernel does not set
 * the bug's bit where IA32_ARCH_CAPABILITIES.IF_PSCHANGE_MC_NO says that it isn't there.
 */
bool mitigate_small_exec(void)
{
	return boot_cpu_has_bug(X86_BUG_ITLB_MULTIHIT) && wanted();
}
