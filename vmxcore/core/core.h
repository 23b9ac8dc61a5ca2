/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The machine as core sees it: its processors, each in VMX operation.
 *
 * Lifecycle: core_create, core_cpu_online for each processor, VMs and vCPUs,
 * ... core_vm_destroy, core_cpu_offline, core_destroy.
 */
#ifndef VMXCORE_CORE_H
#define VMXCORE_CORE_H

#include "core/stats.h"
#include "hw/hw.h"
#include "plat/plat.h"

struct core;
struct core_as;
struct core_vcpu;
struct core_vm;
struct vmx_msr_entry;

#define CORE_MAX_CPUS 64u

/* What the VMX capability MSRs say, read once ("VMX Capability Reporting Facility"). */
struct core_caps {
	uint32_t vmcs_revision;
	uint32_t vmcs_bytes;
	uint64_t basic; /* IA32_VMX_BASIC */
	uint64_t pin, proc, proc2, exit,
		entry; /* allowed-0 in 31:0, allowed-1 in 63:32 (TRUE_ where offered) */
	uint64_t misc;
	uint64_t cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
	uint64_t ept_vpid; /* IA32_VMX_EPT_VPID_CAP */
	bool ept, vpid, unrestricted;
	bool ept_exec_only, ept_2m, ept_1g, ept_ad, ept_walk5;
	bool invept_single, invept_all;
	bool invvpid_address, invvpid_single, invvpid_all, invvpid_keep_global;
	bool preemption_timer, save_preemption_timer;
	unsigned preemption_rate; /* timer counts down each 2^rate TSC ticks */
};

/*
 * VPIDs of one processor, as Xen's ASIDs: handed out in order, never freed one by
 * one; at the end a new generation begins with one INVVPID all-context on this
 * processor only. A vCPU's VPID is valid while its generation is the current one
 * and it has not run elsewhere since.
 */
struct core_vpid_pool {
	uint64_t generation; /* starts at 1 */
	uint32_t next;	     /* next VPID to hand out: 1..65536 */
	uint32_t limit;	     /* highest usable VPID, 65535; tests and users may lower it */
};

struct core_cpu {
	struct core *core;
	unsigned id;
	struct hw_cpu *hw;
	bool online; /* in VMX operation */
	hpa_t vmxon_region;
	void *vmxon_page;
	struct core_vcpu *loaded; /* whose VMCS is current, or NULL */
	struct core_vcpu *active; /* list of those whose VMCS is active here; this processor's */
	/* The host's values of MSRs that guests have their own of; loaded at each exit. */
	struct vmx_msr_entry *host_msrs;
	hpa_t host_msrs_hpa;
	struct core_vpid_pool vpids;
	/* Published by inval_enter() before the generation check, cleared after exit. */
	struct core_as *in_guest;
	uint64_t guest_epoch; /* odd while in guest; a shootdown waits for it to move */
	struct core_stats stats;
};

struct core {
	struct plat *plat;
	unsigned nr_cpus;
	struct core_caps caps; /* valid once caps_known */
	bool caps_known;
	/* Executable memory is mapped in 4 KiB leaves only: for processors on which a guest that
	 * changes a page's size and executes there can raise a machine check. Set before there is
	 * an address space. */
	bool small_exec;
	/* One MSR bitmap for every vCPU: all of them have the same pass-through set. */
	uint8_t *msr_bitmap;
	hpa_t msr_bitmap_hpa;
	struct core_cpu cpus[CORE_MAX_CPUS];
};

/* -EINVAL nr_cpus, -ENOMEM. May sleep. */
int core_create(struct plat *plat, unsigned nr_cpus, struct core **ret);
/* All VMs are gone and all processors offline. May sleep. */
void core_destroy(struct core *core);

/*
 * Reads the capability MSRs (first processor) and checks that they offer what
 * core needs (EPT 4-level write-back, INVEPT; VPID and A/D are optional), enters
 * VMX operation, and runs INVEPT and INVVPID all-context. Runs on that processor.
 * -EINVAL no such processor, -EALREADY online, -ENODEV no VMX (or firmware has locked
 * it out), -ENOTSUP a needed control is missing, or the capabilities differ from the
 * first processor's, -EBUSY CR4.VMXE is set (somebody else owns VMX), -EIO VMXON
 * failed, -ENOMEM. May sleep before VMXON.
 */
int core_cpu_online(struct core *core, unsigned id, struct hw_cpu *hw);
/*
 * VMCLEARs every VMCS that is active there (their vCPUs may run elsewhere afterwards),
 * leaves VMX operation. Runs on that processor.
 */
void core_cpu_offline(struct core *core, unsigned id);

#endif
