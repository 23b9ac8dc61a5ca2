/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A two-dimensional page walk done by software, for people: every reference it
 * makes is listed. It reads memory, and never touches TLB, counters or A/D bits.
 *
 * Source: SDM volume 3, "EPT Translation Mechanism", "Hierarchical Paging Structures".
 */
#ifndef VMXCORE_CORE_WALK_H
#define VMXCORE_CORE_WALK_H

#include "core/as.h"

/* What of a vCPU decides the guest dimension. */
struct core_paging_state {
	uint64_t cr0, cr3, cr4, efer;
	bool user;     /* the access is a user-mode one */
	bool smap_off; /* EFLAGS.AC is set */
	/*
	 * PAE paging: the PDPTE registers, which a processor uses instead of memory ("PDPTE
	 * Registers"). Without them the PDPTE is read from memory, and listed.
	 */
	bool have_pdptes;
	uint64_t pdpte[4];
};

enum core_walk_dimension {
	CORE_WALK_EPT,	 /* an EPT entry was read */
	CORE_WALK_GUEST, /* a guest paging-structure entry was read */
};

struct core_walk_ref {
	uint8_t dimension; /* enum core_walk_dimension */
	uint8_t level;	   /* 5..1 of its own dimension; 1 is the page table */
	uint8_t for_level; /* EPT refs: the guest level whose table or page is being located,
			    * 5..1; 0: the final guest-physical address */
	uint8_t leaf;	   /* this entry maps a page */
	uint64_t hpa;	   /* where the entry lies */
	uint64_t gpa;	   /* guest refs: guest-physical address of the entry; EPT refs: the
			    * guest-physical address being translated */
	uint64_t entry;	   /* the value read */
};

#define CORE_WALK_MAX_REFS 35u /* 5-level guest on 5-level EPT */

enum core_walk_outcome {
	CORE_WALK_OK,
	CORE_WALK_NOT_CANONICAL,
	CORE_WALK_PAGE_FAULT,	 /* error_code */
	CORE_WALK_EPT_VIOLATION, /* qualification, fault_gpa */
	CORE_WALK_EPT_MISCONFIG, /* fault_gpa */
};

struct core_walk_result {
	enum core_walk_outcome outcome;
	uint32_t error_code;	/* #PF error code */
	uint64_t qualification; /* as an EPT violation would report */
	gpa_t fault_gpa;
	gpa_t gpa; /* translation, if outcome is OK */
	hpa_t hpa;
	uint64_t guest_page_bytes; /* 0: guest paging is off */
	uint64_t ept_page_bytes;
	uint32_t permissions; /* effective CORE_PROT_* of both dimensions */
	bool user_accessible, global;
	uint32_t refs_guest, refs_ept;
	uint32_t count;
	struct core_walk_ref refs[CORE_WALK_MAX_REFS];
};

/* access: CORE_PROT_R, _W or _X, one of them. Atomic. */
void core_walk(struct core_as *as, const struct core_paging_state *ps, gva_t a, uint32_t access,
	       struct core_walk_result *ret);

#endif
