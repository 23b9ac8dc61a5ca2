/* SPDX-License-Identifier: MIT */
/*
 * The caches of one logical processor: TLBs, paging-structure caches and
 * guest-physical mappings. Storage, replacement and selection only; which event
 * drops what is in inval.c.
 *
 * A mapping's tags ("Caching Translation Information"):
 *   linear          vpid, pcid; space 0
 *   combined        vpid, pcid, space (EP4TA)
 *   guest-physical  space
 *
 * Replacement is exact LRU in a set: the way with the lowest stamp goes. Stamps of
 * one array come from one clock: the executor's fetch or data clock in the first
 * level (it stores them itself on a fast hit), the TLB's own clock behind it.
 */
#ifndef VMXCORE_MODEL_TLB_H
#define VMXCORE_MODEL_TLB_H

#include "hw/model/model.h"
#include "x86/x86.h"

/* In tlb_entry.space besides EP4TA (whose bits 11:0 are 0): EPT is on. */
#define TLB_SPACE_EPT UINT64_C(1)
/*
 * ... made with CR0.PG = 0. Such a mapping must never serve a paged access: a VMM may
 * set PG between an exit and an entry under one VPID, and nothing invalidates then.
 */
#define TLB_SPACE_UNPAGED UINT64_C(2)

enum tlb_array_id {
	TLB_I1_4K,
	TLB_I1_2M,
	TLB_D1_4K,
	TLB_D1_2M,
	TLB_D1_1G,
	TLB_L2, /* 4 KiB and 2 MiB */
	TLB_L2_1G,
	TLB_PSC_PML4,
	TLB_PSC_PDPT,
	TLB_PSC_PD,
	TLB_GPA, /* every size */
	TLB_ARRAYS
};

#define TLB_LEAF_ARRAYS 0x07fu /* translations of linear addresses */
#define TLB_PSC_ARRAYS 0x380u
#define TLB_LINEAR_ARRAYS (TLB_LEAF_ARRAYS | TLB_PSC_ARRAYS)
#define TLB_GPA_ARRAYS 0x400u

enum tlb_flag {
	TLB_GLOBAL = 1 << 0,
	TLB_GUEST_W = 1 << 1,  /* AND of the guest's entries */
	TLB_GUEST_U = 1 << 2,  /* AND */
	TLB_GUEST_XD = 1 << 3, /* OR */
	TLB_EPT_R = 1 << 4,    /* these three: AND of the EPT entries; all set with EPT off */
	TLB_EPT_W = 1 << 5,
	TLB_EPT_X = 1 << 6,
	TLB_DIRTY = 1 << 7, /* a write needs no D flag set, in either dimension */
};

#define TLB_EPT_SHIFT 4 /* EPT entry bits 2:0 lie here */
#define TLB_EPT_RWX (TLB_EPT_R | TLB_EPT_W | TLB_EPT_X)

struct tlb_tags {
	uint64_t space; /* EP4TA | TLB_SPACE_EPT, or 0 */
	uint16_t vpid, pcid;
};

struct tlb_entry {
	uint64_t linear; /* page start; TLB_GPA: guest-physical */
	uint64_t host;	 /* PSC: the table below */
	uint64_t gpa;	 /* what host is the translation of */
	uint64_t space;
	struct model_account *owner; /* that filled it */
	uint16_t vpid, pcid;
	uint8_t shift;	     /* size covered */
	uint8_t guest_shift; /* size of the guest's page, of which this may be a fragment */
	uint8_t flags;	     /* enum tlb_flag */
};

/* Keys, stamps and entries lie apart: a lookup scans one line of keys. key 0: free. */
struct tlb_array {
	struct tlb_entry *entry;
	uint64_t *stamp;
	uint32_t *key;
	uint32_t sets, ways;
	uint32_t count; /* sets * ways */
	uint32_t held;
	uint32_t held_by_size[4]; /* of these: 4 KiB, 2 MiB, 1 GiB, other; saves probes */
};

struct tlb {
	struct tlb_array array[TLB_ARRAYS];
	uint64_t clock;	     /* of the arrays behind the first level */
	uint32_t fragments;  /* leaf entries smaller than their guest page */
	struct x86_cpu *x86; /* whose front holds first-level entries */
	void *memory;
};

/* -EINVAL: ways 0 or not dividing, sets not a power of two; -ENOMEM. */
int tlb_init(struct tlb *tlb, const struct model_tlb_geometry *geometry, struct x86_cpu *x86);
void tlb_fini(struct tlb *tlb);

/* Index in the array, or -1. Touches nothing. */
int tlb_find(const struct tlb *tlb, enum tlb_array_id id, unsigned shift, uint64_t linear,
	     const struct tlb_tags *tags);

static inline struct tlb_entry *tlb_entry_at(struct tlb *tlb, enum tlb_array_id id, int index)
{
	return &tlb->array[id].entry[index];
}

/* Marks a use in an array behind the first level. */
static inline void tlb_touch(struct tlb *tlb, enum tlb_array_id id, int index)
{
	tlb->array[id].stamp[index] = ++tlb->clock;
}

/*
 * Puts an entry in, over one that the same lookup would find or over the least
 * recently used. Counts the fill and what it displaced. -1 if the array is absent.
 */
int tlb_insert(struct tlb *tlb, enum tlb_array_id id, const struct tlb_entry *e, uint64_t stamp);
/* The same where a lookup under e's tags has just found nothing. */
int tlb_insert_fresh(struct tlb *tlb, enum tlb_array_id id, const struct tlb_entry *e,
		     uint64_t stamp);
/* Takes one entry out; counts nothing. */
void tlb_remove(struct tlb *tlb, enum tlb_array_id id, int index);

/*
 * The first-level (fetch or data) or second-level array for a page of this size:
 * the largest size not above it that the processor has, in *ret_shift. TLB_ARRAYS if
 * none.
 */
enum tlb_array_id tlb_first_level(const struct tlb *tlb, bool fetch, unsigned shift,
				  unsigned *ret_shift);
enum tlb_array_id tlb_second_level(const struct tlb *tlb, unsigned shift, unsigned *ret_shift);

/* Which entries an invalidation covers. All conditions hold together. */
struct tlb_select {
	uint32_t arrays; /* bits by enum tlb_array_id */
	bool by_vpid;	 /* entries of vpid */
	bool by_nonzero_vpid;
	bool by_pcid; /* entries of pcid; with pcid_or_global also global ones */
	bool pcid_or_global;
	bool keep_global;
	bool by_space;	 /* entries of space, paged or not */
	bool combined;	 /* only entries made with EPT on */
	bool by_address; /* entries whose page (or, of a fragment, guest page) holds address */
	uint16_t vpid, pcid;
	uint64_t space, address;
};

/*
 * Drops what is selected and adds, for each leaf translation, one to the counter at
 * byte `counter` of its owner's account.
 */
void tlb_drop(struct tlb *tlb, const struct tlb_select *sel, size_t counter);

enum model_tlb_structure tlb_structure(enum tlb_array_id id);
void tlb_describe(const struct tlb *tlb, enum tlb_array_id id, uint32_t index,
		  struct model_tlb_entry *ret);
/* Entries of `from` become those of `to` (an account goes away). */
void tlb_change_owner(struct tlb *tlb, struct model_account *from, struct model_account *to);

#endif
