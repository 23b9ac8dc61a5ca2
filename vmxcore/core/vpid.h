/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* VPIDs of a processor; see struct core_vpid_pool. Pure but for inval_invvpid(). */
#ifndef VMXCORE_CORE_VPID_H
#define VMXCORE_CORE_VPID_H

#include "core/core.h"

struct core_trace;

#define CORE_VPID_MAX 65535u

/* A vCPU's tag. vpid 0: none yet. */
struct core_vpid {
	uint64_t generation;
	uint32_t cpu;
	uint16_t vpid;
};

void core_vpid_pool_init(struct core_vpid_pool *pool, uint32_t limit);
/* true if tag is valid on this processor now. */
bool core_vpid_valid(const struct core_cpu *cpu, const struct core_vpid *tag);
/*
 * Makes *tag valid on cpu: keeps it, or takes the next VPID; begins a generation
 * (INVVPID all-context here) at the end, which is recorded for the VM of trace (may be
 * NULL) and its vCPU. Returns true if a fresh one was taken.
 */
bool core_vpid_take(struct core_cpu *cpu, struct core_vpid *tag, struct core_trace *trace,
		    uint32_t vcpu);
/* VPIDs still to hand out before the next generation. Also while its processor hands them out. */
uint32_t core_vpid_left(const struct core_cpu *cpu);
/*
 * The generation now. Who has asked for core_vpid_left() before gets no older one than
 * that belongs to; between the two steps of a recycling a new one has none left.
 */
uint64_t core_vpid_generation(const struct core_cpu *cpu);

#endif
