/* SPDX-License-Identifier: MIT */
/* Operations that invalidate cached mappings, or might be thought to. */
#ifndef TEST_MODEL_SURVIVORS_H
#define TEST_MODEL_SURVIVORS_H

#include "unit/test_model_scene.h"

/* Rows of the manual's lists. */
enum rule_id {
	R_NOTHING,
	R_TRANSITION,
	R_INVVPID_0,
	R_INVVPID_1,
	R_INVVPID_2,
	R_INVVPID_3,
	R_INVEPT_1,
	R_INVEPT_2,
	R_INVLPG,
	R_INVPCID_0,
	R_INVPCID_1,
	R_INVPCID_2,
	R_INVPCID_3,
	R_CR3_ZERO,
	R_CR3_NAMED,
	R_ALL_PCIDS,
	R_THIS_PCID,
	R_PAGE_FAULT,
	R_VIOLATION,
};

enum where { IN_GUEST, IN_ROOT, ENTRY, EXIT };
enum fill { ANY_FILL, BY_HAND, BY_GUESTS };

/* One operation, as a guest or its VMM runs it, and the rule it comes under. */
struct op {
	const char *name;
	enum rule_id rule;
	enum where where;
	enum mode mode;
	uint64_t cr4;	  /* at first, besides VMXE */
	uint64_t operand; /* a value or type, as the step function takes it */
	/* IN_GUEST: the instruction; whatever it names is in the scene. */
	void (*step)(struct scene *s, const struct op *op, struct step *ret);
	void (*run)(struct scene *s, const struct op *op); /* IN_ROOT */
	/* What has to be so before; once the caches are full, in the guest where it is the
	 * guest's operation. */
	void (*prepare)(struct scene *s);
	enum fill fill;
	bool needs_ept, small_ept; /* EPT on; the one of 4 KiB leaves */
	bool faults;
	bool same_tags; /* the guest goes on under the same tags, so that a probe can follow */
	unsigned exits; /* BY(basic exit reason); 0: it does not */
	uint32_t proc, exceptions; /* controls to be 1, the exception bitmap */
	uint64_t cr4_mask;
};

#define BY(reason) ((reason) + 1u)

extern const struct op survivor_ops[];
extern const size_t survivor_op_count;

#endif
