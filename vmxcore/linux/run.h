/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Running a vCPU by a thread of user space: the FPU, the processor it happens to be
 * on, and the host's interrupts. One thread at a time uses a runner.
 */
#ifndef VMXCORE_LINUX_RUN_H
#define VMXCORE_LINUX_RUN_H

#include "core/vcpu.h"

struct runner;

/* -ENOMEM. The vCPU stays the caller's. May sleep. */
int runner_create(struct core_vcpu *vcpu, struct runner **ret);
/* Nobody runs it; afterwards the vCPU is active nowhere. May sleep. */
void runner_destroy(struct runner *r);

/*
 * Runs the vCPU until something that the caller must see (never CORE_RUN_KICKED: the
 * host's interrupts are taken, and the guest goes on). In a user's thread only.
 * 0, -EINTR a signal or runner_interrupt(), -ESHUTDOWN its processor has left VMX
 * operation, -EPERM a kernel thread (it has no FPU state of its own). May sleep.
 */
int runner_run(struct runner *r, uint64_t budget_ticks, struct core_run_exit *ret);

/*
 * Bit 0: values[0] is the guest's dTLB load misses, bit 1: values[1] its cycles of EPT walks.
 * The values without their bit are not observable. Any thread, also while it runs. May sleep.
 */
u32 runner_events(struct runner *r, u64 values[2]);

/* Makes the current or next runner_run() return soon. Any context. */
void runner_interrupt(struct runner *r);

#endif
