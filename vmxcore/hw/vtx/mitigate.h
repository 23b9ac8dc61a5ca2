/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What keeps a guest from learning by speculation what is not its own: each measure is one
 * function here, or stands in the entry code, where no call may come between (enter.S).
 *
 *	L1 terminal fault		mitigate_before_entries()
 *	MDS, TAA, register file		enter.S: VERW before the entry (the kernel decides)
 *	stale data of MMIO		nothing: guests get memory, never a device's
 *	branches of another guest	mitigate_other_vcpu()
 *	return predictions, IBRS, BHI	enter.S: after the exit
 *	the guest's branches in user	mitigate_before_user()
 *	machine check by iTLB		mitigate_small_exec()
 *	speculative store bypass	nothing to switch: SPEC_CTRL is not the guest's, which
 *					runs with the host's value
 *
 * What is here can be left out with the module's parameter "mitigations"; what is in enter.S
 * follows the kernel's own. A sibling thread's other guest can only be kept away by turning
 * SMT off.
 *
 * Compiled and reviewed; Bochs, where the module is tested, does not show the effect of any
 * of them but mitigate_small_exec().
 */
#ifndef VMXCORE_HW_VTX_MITIGATE_H
#define VMXCORE_HW_VTX_MITIGATE_H

#include "hw/vtx/vtx.h"

/* At load: says on the log what this processor would need and can't be had. */
void mitigate_report(void);
/* Once before a bracket's entries, interrupts off. */
void mitigate_before_entries(void);
/* This vCPU's VMCS is about to be made current. */
void mitigate_other_vcpu(struct hw_cpu *cpu, hpa_t vmcs);
/* It has been cleared: its page may become another's. */
void mitigate_vcpu_gone(struct hw_cpu *cpu, hpa_t vmcs);
/* At a bracket's end. */
void mitigate_before_user(void);
/* struct core.small_exec */
bool mitigate_small_exec(void);

#endif
