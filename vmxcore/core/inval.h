/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Which invalidation a change of translations needs, and seeing to it that no
 * processor uses a stale one.
 *
 * Sources: SDM volume 3, "Guidelines for Use of the INVEPT Instruction",
 * "Guidelines for Use of the INVVPID Instruction", "Operations that Invalidate
 * Cached Mappings".
 */
#ifndef VMXCORE_CORE_INVAL_H
#define VMXCORE_CORE_INVAL_H

#include "core/core.h"
#include "core/trace.h"

enum inval_need {
	INVAL_NONE,	/* nothing cached can be wrong */
	INVAL_OPTIONAL, /* a stale entry costs one EPT violation and heals */
	INVAL_REQUIRED,
};

enum inval_instruction {
	INVAL_INSN_NONE,
	INVAL_INSN_INVEPT_SINGLE,
	INVAL_INSN_INVEPT_ALL,
	INVAL_INSN_INVVPID_ADDRESS,
	INVAL_INSN_INVVPID_SINGLE,
	INVAL_INSN_INVVPID_ALL,
};

/* One row a reason in inval_reasons.def: name, shown name, need, text, manual's section title. */
enum inval_reason {
#define INVAL_REASON(name, shown, need, text, section) INVAL_REASON_##name,
#include "core/inval_reasons.def"
#undef INVAL_REASON
	INVAL_REASON_COUNT
};

struct inval_reason_info {
	const char *name;    /* "leaf-address-changed" */
	const char *text;    /* one sentence */
	const char *section; /* the manual's section title */
	enum inval_need need;
};

extern const struct inval_reason_info inval_reason_info[INVAL_REASON_COUNT];

/* One EPT entry's change; everything the decision may depend on. */
struct inval_change {
	uint64_t old_entry;
	uint64_t new_entry;
	uint8_t level;	      /* 1 PTE, 2 PDE, 3 PDPTE, 4 PML4E, 5 PML5E */
	bool accessed_dirty;  /* EPTP bit 6 */
	bool mode_based_exec; /* mode-based execute control */
	bool exec_only;	      /* the execute-only capability, for what is misconfigured */
	unsigned maxphyaddr;
	/*
	 * What may still be cached from before old_entry: the entry was changed by an
	 * earlier change whose invalidation was left out (see inval_pending.h for why a
	 * deferred one does not count). pending_entry is that older entry, 0 if nothing
	 * is pending, INVAL_PENDING_UNKNOWN if something is and its value is not known.
	 */
	uint64_t pending_entry;
};

#define INVAL_PENDING_UNKNOWN UINT64_MAX

struct inval_decision {
	enum inval_need need;
	enum inval_instruction instruction;
	enum inval_reason reason;
};

/* Pure. The narrowest answer that is sufficient. */
struct inval_decision inval_decide(const struct inval_change *change);
/* The stronger of two, for a batch: one INVEPT covers it. */
struct inval_decision inval_join(struct inval_decision a, struct inval_decision b);

/* --- the protocol between changers and processors that enter guests ---------------- */

/*
 * Flush generations of one address space, embedded in struct core_as. A new root
 * counts as unseen everywhere, because EP4TA is the only tag and a recycled table
 * page may have been a root before.
 */
struct inval_space {
	uint64_t eptp;
	uint64_t generation;		/* starts at 1; bumped by each required change */
	uint64_t seen[CORE_MAX_CPUS];	/* 0: never used there */
	uint64_t kicked[CORE_MAX_CPUS]; /* last generation it was interrupted for; for counting */
};

void inval_space_init(struct inval_space *s, uint64_t eptp);

/*
 * On entry, with interrupts off, as the last thing before hw_enter(): publishes
 * "in guest with as", full barrier, compares generations, INVEPTs if behind.
 */
void inval_enter(struct core_cpu *cpu, struct core_as *as);
/* First thing after the exit. */
static inline void inval_leave(struct core_cpu *cpu)
{
	/* Release: whoever sees the epoch move knows that all uses before are over. */
	plat_store_release(&cpu->guest_epoch, cpu->guest_epoch + 1);
	plat_store(&cpu->in_guest, NULL);
}

struct inval_reach {
	uint32_t issued;      /* INVEPT executed at once by this_cpu */
	uint32_t interrupted; /* processors kicked out of the guest; they have acknowledged */
	uint32_t deferred;    /* processors that flush before their next use */
};

/*
 * After entries were written: bumps the generation, barrier, flushes this_cpu if
 * it has ever used the space, kicks processors in guest with it and waits until
 * they have left. No lock is held and interrupts are on: it waits. this_cpu may be
 * NULL (no processor at hand: all are deferred or interrupted).
 */
void inval_publish(struct core_as *as, struct core_cpu *this_cpu, struct inval_reach *ret);
/* What inval_publish() would reach now, for a dry run. */
void inval_preview(struct core_as *as, struct core_cpu *this_cpu, struct inval_reach *ret);

/* For whom, and why. */
struct inval_origin {
	struct core_trace *trace; /* the VM's; NULL: nobody's, or nobody looks */
	uint32_t vcpu;		  /* that entered; CORE_TRACE_NO_VCPU */
	uint16_t vpid;		  /* its VPID; 0: none */
	enum core_cause cause;
};

/*
 * INVEPT / INVVPID with the narrowest supported type that covers what is asked for;
 * counted by cause, and recorded in the VM's trace as executed. -EINVAL: VPID 0 or a
 * non-canonical address, which the instruction would refuse and nothing is cached for;
 * -EIO: the processor refused it.
 */
int inval_invept(struct core_cpu *cpu, uint64_t eptp, const struct inval_origin *origin);
int inval_invept_all(struct core_cpu *cpu, const struct inval_origin *origin);
int inval_invvpid(struct core_cpu *cpu, enum hw_invvpid_type type, uint16_t vpid, gva_t linear,
		  const struct inval_origin *origin);

#endif
