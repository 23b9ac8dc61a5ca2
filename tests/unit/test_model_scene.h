/* SPDX-License-Identifier: MIT */
/*
 * A processor whose caches hold mappings of many kinds and tags at once: every size,
 * global and not, fragments, linear and combined, several VPIDs, PCIDs and EP4TAs. They
 * come there by accesses of guests, all of which share one layout of linear addresses,
 * or one by one.
 */
#ifndef TEST_MODEL_SCENE_H
#define TEST_MODEL_SCENE_H

#include "unit/test_model_rig.h"

/* The layout: where guests find what. */
#define HERE UINT64_C(0x40000000) /* 4 KiB pages: of no kind, global, read-only */
#define HERE_GLOBAL (HERE + 0x1000)
#define HERE_READ_ONLY (HERE + 0x2000)
#define HERE_ABSENT (HERE + 0x5000)
/* ... whose guest-physical pages in the fourth EPT are: */
#define HERE_EPT_READ_ONLY (HERE + 0x9000)
#define HERE_EPT_BAD (HERE + 0xa000)
#define HERE_EPT_ABSENT (HERE + 0xb000)
#define HERE_2M (HERE + VMX_SIZE_2M)
#define HERE_2M_GLOBAL (HERE + VMX_SIZE_2M * 2)
#define HERE_TABLE_ABSENT (HERE + VMX_SIZE_2M * 4) /* ... where the page table lies */
#define THERE_1G UINT64_C(0x80000000)
#define THERE_1G_GLOBAL UINT64_C(0xc0000000)
#define FAR UINT64_C(0x8000000000)
#define HIGH UINT64_C(0xffff800000000000)
#define TARGET UINT64_C(0x1000000) /* guest-physical */
#define TARGET_TABLE_ABSENT UINT64_C(0x2800000)

enum mode { LONG, LEGACY, UNPAGED };

struct tags {
	uint16_t vpid, pcid;
	uint64_t eptp; /* 0: EPT off */
};

/* Every slot of every array, in order. */
struct snapshot {
	bool *held;
	struct tlb_entry *entry;
};

#define SCENE_EPTS 4u
#define SCENE_EPT_4K (SCENE_EPTS - 1)

struct scene {
	struct rig r;
	uint64_t vmcs;
	uint64_t eptp[SCENE_EPTS];	/* leaves of 2 MiB (one with A/D), 1 GiB, 4 KiB */
	uint64_t root_ept, root_native; /* CR3 with EPT on and off */
	uint64_t root_legacy;		/* ... where nothing is mapped: four PDPTEs of 0 */
	uint32_t random;
	struct tags now, named; /* the current tags, and what an operation names */
	uint64_t linear, gpa;
	bool by_guests; /* the fill of this case */
	struct snapshot before, after;
	uint64_t dropped; /* translations, as counted between both */
};

void scene_create(struct scene *s, const struct model_tlb_geometry *geometry);
void scene_destroy(struct scene *s);
/* Takes everything out of the caches. */
void scene_clear(struct scene *s);
void scene_look(const struct scene *s, struct snapshot *ret);

uint32_t scene_random(struct scene *s);
#define PICK(s, list) ((list)[scene_random(s) % VMX_ARRAY_SIZE(list)])
struct tags scene_tags(struct scene *s);
uint64_t scene_linear(struct scene *s);
uint64_t scene_gpa(struct scene *s);

/* Makes the VMCS one of a guest with these tags, cleared; cr4 besides VMXE. */
void scene_guest(struct scene *s, enum mode mode, uint64_t cr4, const struct tags *tags);
/* Random entries. */
void scene_fill_by_hand(struct scene *s);
/* Guests under several tags access pages of the layout; VPID 0 is not among them. */
void scene_fill_by_guests(struct scene *s);
/* One such access, as a step. */
struct step scene_access(struct scene *s);

#endif
