/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What happens to a VM, recorded where it happens: exits, EPT violations, INVEPT and
 * INVVPID. One bounded ring a VM.
 *
 * Off, it costs the exit path one load and one branch. On, a record is written under the
 * ring's lock: a leaf, taken with nothing waited for and nothing allocated inside, held for
 * one record's copy and let go before a guest is entered. So several processors may record
 * at once, in one order (seq), while another thread reads, changes the settings or takes
 * the ring away. Memory is reserved before the lock is taken and freed after.
 *
 * A full ring drops the newest: what is kept is what led up to the loss. A lost record has
 * taken a number, so the loss shows as a gap in seq.
 */
#ifndef VMXCORE_CORE_TRACE_H
#define VMXCORE_CORE_TRACE_H

#include "plat/plat.h"

enum core_trace_kind {
	CORE_TRACE_EXIT,	 /* a VM exit, but violations */
	CORE_TRACE_VIOLATION,	 /* an EPT violation or misconfiguration */
	CORE_TRACE_INVALIDATION, /* INVEPT or INVVPID that core executed for the VM */
	CORE_TRACE_KINDS
};

/* Why an invalidation was executed. */
enum core_cause {
	CORE_CAUSE_NONE,
	CORE_CAUSE_CHANGE,    /* at once, by the processor that changed an entry */
	CORE_CAUSE_SHOOTDOWN, /* interrupted in guest for a change */
	CORE_CAUSE_DEFERRED,  /* at entry, for a change made while the VM was elsewhere */
	CORE_CAUSE_FIRST_USE, /* first use of an EP4TA on this processor */
	CORE_CAUSE_REQUEST,   /* a client asked for it */
	CORE_CAUSE_RECYCLE,   /* a new generation of VPIDs on this processor */
	CORE_CAUSE_PAGING,    /* software set paging registers of the guest */
	CORE_CAUSE_COUNT
};

/* What was executed ("Operations that Invalidate Cached Mappings"). */
enum core_trace_insn {
	CORE_TRACE_INVEPT_SINGLE,
	CORE_TRACE_INVEPT_ALL,
	CORE_TRACE_INVVPID_ADDRESS,
	CORE_TRACE_INVVPID_SINGLE,
	CORE_TRACE_INVVPID_ALL,
	CORE_TRACE_INVVPID_KEEP_GLOBAL,
	CORE_TRACE_INSNS
};

#define CORE_TRACE_NO_VCPU UINT32_MAX
#define CORE_TRACE_MAX_RECORDS 65536u

/* What a kind has not is 0. seq and guest_time are set by core_trace_add(). */
struct core_trace_record {
	uint64_t seq;	     /* since tracing was set */
	uint64_t guest_time; /* as the settings' clock tells it */
	uint64_t rip;
	gpa_t gpa; /* VIOLATION */
	gva_t gva; /* if gva_valid: of the violation, or that INVVPID names */
	uint64_t qualification;
	uint64_t ep4ta; /* INVEPT single-context */
	uint32_t vcpu;	/* CORE_TRACE_NO_VCPU: none */
	uint16_t processor;
	uint16_t exit_reason; /* basic */
	uint16_t vpid;	      /* the vCPU's there; INVVPID: that it names */
	uint8_t kind;	      /* enum core_trace_kind */
	uint8_t insn;	      /* enum core_trace_insn */
	uint8_t cause;	      /* enum core_cause */
	bool gva_valid;
};

_Static_assert(sizeof(struct core_trace_record) <= 72, "a trace record has become big");

struct core_trace_settings {
	uint32_t kinds; /* bits 1 << enum core_trace_kind */
	uint32_t vcpu;	/* only records of this one; CORE_TRACE_NO_VCPU: all, and those of none */
	uint64_t exits[2]; /* kind EXIT: bit n: basic reason n; both 0: every reason */
	uint32_t records;  /* room, 1..CORE_TRACE_MAX_RECORDS */
	/* The VM's time. Called with the lock held: atomic. NULL: records have none. */
	uint64_t (*guest_time)(void *ctx);
	void *ctx;
};

/* Initialised: off. */
struct core_trace {
	/* What the settings ask for, read without the lock: hints. */
	uint32_t kinds;	   /* 0: off */
	uint64_t exits[2]; /* all ones: every reason */
	struct plat_lock lock;
	/* All below under the lock. */
	struct core_trace_settings settings;
	struct core_trace_record *ring;
	uint32_t first, count;
	uint64_t seq;  /* of the next record */
	uint64_t told; /* the number that a reader expects next */
};

void core_trace_init(struct core_trace *t);
/* Nobody records any more. May sleep. */
void core_trace_fini(struct core_trace *t);
/*
 * Records from now on what the settings ask for, from seq 0; what was recorded before is
 * dropped. NULL or no kinds: off, and the room is freed. -EINVAL records, or a kind that
 * there is not; -ENOMEM: nothing has changed. May sleep.
 */
int core_trace_set(struct core_trace *t, const struct core_trace_settings *settings);
/* The same, and tells core_trace_untold() of the very moment of the change. */
int core_trace_replace(struct core_trace *t, const struct core_trace_settings *settings,
		       uint64_t *ret_untold);
/*
 * Takes at most max records, oldest first; returns how many. *ret_lost: records lost between
 * the last one that was taken before and the first of these (or now, if there is none); a gap
 * between two of these is in their seq. max: at least 1. Holds the lock for a few records at
 * a time. Atomic.
 */
size_t core_trace_read(struct core_trace *t, struct core_trace_record *ret, size_t max,
		       uint64_t *ret_lost);
/* Records that no reader knows of: waiting, or lost behind those that wait. Atomic. */
uint64_t core_trace_untold(struct core_trace *t);
/* Records waiting; *ret_seq is the next number: it moves with each record taken or lost. */
size_t core_trace_waiting(struct core_trace *t, uint64_t *ret_seq);

/* false: not wanted, as far as one can tell without the lock. reason: of kind EXIT. */
static inline bool core_trace_wants(const struct core_trace *t, enum core_trace_kind kind,
				    uint32_t reason)
{
	if (!(plat_load(&t->kinds) & 1u << kind))
		return false;
	return kind != CORE_TRACE_EXIT ||
	       (reason < 128 && plat_load(&t->exits[reason / 64]) & VMX_BIT(reason % 64));
}

/* Anything at all? The exit path's branch. */
static inline bool core_trace_on(const struct core_trace *t)
{
	return plat_load(&t->kinds) != 0;
}

/* Adds it, if the settings ask for it. Atomic. */
void core_trace_add(struct core_trace *t, const struct core_trace_record *record);

#endif
