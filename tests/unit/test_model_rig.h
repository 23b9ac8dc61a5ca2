/* SPDX-License-Identifier: MIT */
/*
 * What the model's tests share: a machine with guest memory, EPTs and guest page
 * tables built by hand, a valid VMCS, and a scripted executor in the place of x86/:
 * each step is one instruction that makes one access or one special operation.
 *
 * The executor's front is the strictest there can be: it keeps every translation it
 * was ever given until it is told to drop it.
 */
#ifndef TEST_MODEL_RIG_H
#define TEST_MODEL_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hw/model/processor.h"

enum step_kind { STEP_READ, STEP_WRITE, STEP_RMW, STEP_FETCH, STEP_SPECIAL, STEP_CALL, STEP_NOP };

struct step {
	enum step_kind kind;
	uint64_t linear;
	uint32_t who; /* X86_USER, X86_IMPLICIT */
	/* STEP_SPECIAL */
	enum x86_special what;
	struct x86_special_info info;
	/* STEP_CALL: the test looks on, between two instructions of the guest */
	void (*call)(void *ctx);
	void *ctx;

	/* what came of it */
	enum x86_result result;
	struct x86_fault fault;
	uint64_t hpa;
	uint64_t value;
	bool ran;
};

#define RIG_RAM VMX_SIZE_2M * 512 /* 1 GiB of guest-physical memory from 0 */

struct rig {
	struct plat *plat;
	struct plat_mem *ram;
	struct model *model;
	struct hw_cpu *cpu; /* processor 0 */
	uint64_t ram_hpa;
	uint64_t next_table; /* guest-physical address of the next page for guest tables */
	hpa_t pages[256];    /* of the platform, to be freed */
	unsigned page_count;
	struct model_account account;
	struct hw_gpregs regs;
	unsigned misuses;
	struct step *steps;
	size_t step_count, step_next;
	uint32_t injected, injected_error, injected_length;
	unsigned injections;
};

/* tlb NULL: model_tlb_skylake. Processor 0 is in VMX operation. */
void rig_create(struct rig *r, const struct model_tlb_geometry *tlb, unsigned cpus);
void rig_destroy(struct rig *r);
uint64_t rig_page(struct rig *r); /* a zeroed page, by hpa */
uint64_t *rig_ptr(struct rig *r, uint64_t addr);
uint64_t *rig_gpa_ptr(struct rig *r, uint64_t addr);
uint64_t rig_vmcs_region(struct rig *r);

/* --- EPT: returns the address of the leaf written --------------------------------- */
uint64_t *rig_ept_map(struct rig *r, uint64_t eptp, uint64_t gpa_addr, uint64_t hpa_addr,
		      uint64_t size, uint64_t flags);
/* A root that maps all of RAM with leaves of this size, R/W/X; flags: EPTP_AD. */
uint64_t rig_ept(struct rig *r, uint64_t size, uint64_t flags);
/* The entry that the walk for an address reads at this level. */
uint64_t *rig_ept_entry(struct rig *r, uint64_t eptp, uint64_t gpa_addr, unsigned level);

/* --- guest page tables, 4-level; cr3 from rig_cr3() ------------------------------- */
uint64_t rig_cr3(struct rig *r);
uint64_t *rig_map(struct rig *r, uint64_t cr3, uint64_t linear, uint64_t gpa_addr, uint64_t size,
		  uint64_t flags);
uint64_t *rig_entry(struct rig *r, uint64_t cr3, uint64_t linear, unsigned level);

/* --- VMCS ------------------------------------------------------------------------- */
void rig_set(struct rig *r, uint32_t field, uint64_t value);
uint64_t rig_get(struct rig *r, uint32_t field);
void rig_set_bits(struct rig *r, uint32_t field, uint64_t set, uint64_t clear);
/* Makes a VMCS current and fills it: a 64-bit guest, everything valid. vpid 0: VPID off;
 * eptp 0: EPT off. */
void rig_vmcs(struct rig *r, uint16_t vpid, uint64_t eptp, uint64_t cr3);

/* Runs steps; after the last one the guest executes VMCALL. Returns the basic exit reason. */
unsigned rig_run(struct rig *r, struct step *steps, size_t count);
/* One step; asserts that the guest then came to its VMCALL unless it left before. */
struct step rig_step(struct rig *r, struct step s);
struct step rig_read(struct rig *r, uint64_t linear);
struct step rig_write(struct rig *r, uint64_t linear);
struct step rig_fetch(struct rig *r, uint64_t linear);
struct step rig_special(struct rig *r, enum x86_special what, struct x86_special_info info);

/* fills = held + displaced + dropped, and lookups close; for r->account. */
void rig_check_balance(struct rig *r);

#endif
