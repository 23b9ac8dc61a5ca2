/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * MSRs: which ones guests reach directly, which are switched through the MSR
 * lists, and what the rest answer.
 */
#ifndef VMXCORE_CORE_MSR_H
#define VMXCORE_CORE_MSR_H

#include "core/core.h"

struct core_vcpu;
struct core_vm;

/* The longest MSR list, in entries. */
#define MSR_SWITCHED_MAX 6u

/* Entries of the lists on this machine: TSC_AUX, the last, only where it exists. */
unsigned msr_switched_count(const struct core_caps *caps);
uint32_t msr_switched(unsigned i);

void msr_bitmap_fill(const struct core_caps *caps, uint8_t *bitmap);
/* Fills cpu->host_msrs. -ENOTSUP: a switched MSR can't be read. Runs there. */
int msr_read_host(struct core_cpu *cpu);
/* Brings up to date what changes while a processor is online. Runs there. */
void msr_refresh_host(struct core_cpu *cpu);

/* A guest list for a vCPU, from a page shared with others. -ENOMEM. May sleep. */
int msr_list_alloc(struct core_vm *vm, struct core_vcpu *v);
void msr_list_free(struct core_vm *vm, struct core_vcpu *v);
void msr_lists_destroy(struct core_vm *vm);

#endif
