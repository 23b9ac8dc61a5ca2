/* SPDX-License-Identifier: MIT */
/*
 * A fake machine with core on it, a VM with 2 MiB of memory at 0 and one vCPU in
 * long mode, and a script: what the guest does after each entry. When the script
 * is over, an external interrupt ends the run.
 */
#ifndef HVD_TESTS_VCPU_RIG_H
#define HVD_TESTS_VCPU_RIG_H

#include "core/vcpu.h"
#include "fake_vmx.h"

#define RIG_CPUS 2u
#define RIG_MEMORY (UINT64_C(2) << 20)

struct rig {
	struct fake_machine *m;
	struct core *core;
	struct core_vm *vm;
	struct core_vcpu *v;
	struct plat_mem *mem;
	struct core_slot slot;
	const fake_guest_fn *script;
	size_t steps, next;
	struct core_run_exit exit; /* of the last run */
};

struct rig_options {
	bool no_vpid, no_unrestricted, no_timer, no_timer_save, no_true_controls;
	bool no_invvpid_single;
	const struct core_cpuid_entry *cpuid;
	size_t nr_cpuid;
};

/* 0, or -1. */
int rig_create(struct rig *r, const struct rig_options *options);
/* 0, or -1 if pages were lost, an entry was refused by a check, or a tag was stale. */
int rig_destroy(struct rig *r);
/* Runs the vCPU on a processor with this script. */
enum core_run_reason rig_run(struct rig *r, unsigned cpu, const fake_guest_fn *script,
			     size_t steps);
#define RIG_RUN(r, cpu, ...)                                  \
	rig_run(r, cpu, (const fake_guest_fn[]){__VA_ARGS__}, \
		sizeof((const fake_guest_fn[]){__VA_ARGS__}) / sizeof(fake_guest_fn))
/* The vCPU's registers, as the caller sees them between runs. */
struct core_regs rig_regs(struct rig *r);
void rig_set(struct rig *r, const struct core_regs *regs);

#endif
