/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* A virtual machine: an address space, vCPUs, and what they have in common. */
#ifndef VMXCORE_CORE_VM_H
#define VMXCORE_CORE_VM_H

#include "core/as.h"
#include "core/trace.h"

#define CORE_MAX_CPUID_ENTRIES 64u

struct core_cpuid_entry {
	uint32_t leaf, subleaf;
	uint32_t eax, ebx, ecx, edx;
};

struct core_vm_config {
	struct core_as_config as; /* its trace is the VM's own */
	bool use_vpid;		  /* false: "enable VPID" is 0, as on the first generation */
};

/*
 * Errors of core_as_create(); -ENODEV before a processor is online, -ENOTSUP if use_vpid
 * and the processor has none. May sleep.
 */
int core_vm_create(struct core *core, const struct core_vm_config *cfg, struct core_vm **ret);
/* Every vCPU is destroyed. May sleep. */
void core_vm_destroy(struct core_vm *vm);

struct core_as *core_vm_as(struct core_vm *vm);
/* What happens to it; off until it is set. */
struct core_trace *core_vm_trace(struct core_vm *vm);
bool core_vm_uses_vpid(const struct core_vm *vm);
/*
 * What CPUID answers. Unknown leaves answer as the highest basic leaf does not:
 * all zeros. It also decides which CR4 and EFER bits and which instructions guests
 * have; without a table, all that core can switch. -E2BIG over CORE_MAX_CPUID_ENTRIES,
 * -EBUSY once a vCPU has run.
 */
int core_vm_set_cpuid(struct core_vm *vm, const struct core_cpuid_entry *entries, size_t count);

#endif
