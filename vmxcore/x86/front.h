/* SPDX-License-Identifier: MIT */
/* The fast tables in front of the TLB: filling and dropping. */
#ifndef VMXCORE_X86_FRONT_H
#define VMXCORE_X86_FRONT_H

#include "x86/cpu.h"

/* rip_page when there is no current page: no canonical RIP is within 4 KiB above it. */
#define X86_RIP_PAGE_NONE UINT64_C(0x7ff0000000000000)

void x86_front_init(struct x86_cpu *cpu);
/* One page's lookup: counts it, asks the TLB behind if the front has no answer. */
int64_t x86_front_lookup(struct x86_cpu *cpu, uint64_t va, uint32_t access, uint8_t **ret_host,
			 uint64_t *ret_hpa);
/* The page became code: no write to it may pass without notice. */
void x86_front_protect(struct x86_cpu *cpu, uint64_t hpa);
/* Instruction side: the entry that holds linear page `page`, or NULL. */
struct x86_ifront *x86_ifront_find(struct x86_cpu *cpu, uint64_t page);
struct x86_ifront *x86_ifront_fill(struct x86_cpu *cpu, uint64_t page, const struct x86_xlate *x);
/* No current code page: the next block looks its page up again. */
void x86_page_none(struct x86_cpu *cpu);

#endif
