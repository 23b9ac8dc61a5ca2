/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * An address space: what guest-physical addresses mean. The list of mappings
 * (ranges that name a slot and an offset) is the truth; the EPT is built from it.
 *
 * Every change is a transaction over a batch of operations: check all, reserve
 * pages, take the lock, write entries, decide the invalidation, publish the flush
 * generation, release. All or nothing: on an error nothing has changed.
 *
 * Threads: changes of one address space are serialised by its mutex (may sleep);
 * reads (core_as_lookup, walks) take the spinlock.
 */
#ifndef VMXCORE_CORE_AS_H
#define VMXCORE_CORE_AS_H

#include "core/core.h"
#include "core/inval.h"

/* Permissions of a mapping; the bits of an EPT entry ("Format of EPT PTEs"). */
#define CORE_PROT_R 1u
#define CORE_PROT_W 2u
#define CORE_PROT_X 4u
#define CORE_PROT_RWX 7u

/* EPT memory types ("Memory Type Used for Translated Guest-Physical Addresses"). */
enum core_memtype {
	CORE_MT_UC = 0,
	CORE_MT_WC = 1,
	CORE_MT_WT = 4,
	CORE_MT_WP = 5,
	CORE_MT_WB = 6,
};

/* A registered piece of host memory. Owned by the caller; mapped ranges count in
 * mapped_bytes: a slot with mapped_bytes != 0 must not go away. */
struct core_slot {
	uint32_t id; /* the caller's number, given back in conflicts and lookups */
	struct plat_mem *mem;
	uint64_t size;
	uint64_t mapped_bytes; /* maintained by core */
};

enum core_map_kind {
	CORE_MAP,     /* range must be unmapped */
	CORE_UNMAP,   /* range must be wholly mapped */
	CORE_PROTECT, /* range must be wholly mapped */
	CORE_REMAP,   /* range must be wholly mapped; new slot, offset; keeps prot and type */
};

struct core_map_op {
	uint32_t kind;		/* enum core_map_kind */
	uint32_t prot;		/* MAP, PROTECT */
	uint32_t memtype;	/* MAP: enum core_memtype */
	uint32_t ignore_pat;	/* MAP: bit 6 of the leaf */
	gpa_t gpa;		/* multiple of 4096 */
	uint64_t size;		/* multiple of 4096, not 0 */
	struct core_slot *slot; /* MAP, REMAP */
	uint64_t offset;	/* MAP, REMAP; multiple of 4096 */
};

/* Which input was wrong, for errors that name the field. */
enum core_field {
	CORE_FIELD_NONE,
	CORE_FIELD_KIND,
	CORE_FIELD_GPA,
	CORE_FIELD_SIZE,
	CORE_FIELD_SLOT,
	CORE_FIELD_OFFSET,
	CORE_FIELD_PROT,
	CORE_FIELD_MEMTYPE,
	CORE_FIELD_COUNT, /* too many operations or ranges */
};

/* Why a transaction was refused. */
struct core_conflict {
	uint32_t op_index;
	uint32_t field; /* enum core_field */
	uint64_t limit; /* the bound that was broken, where there is one */
	/* -EEXIST and -ENOENT: what was asked for and what is (or, for -ENOENT, the
	 * first hole in it); last bytes inclusive. */
	uint64_t requested_first, requested_last;
	uint64_t existing_first, existing_last;
	uint32_t existing_slot;
};

/* What a transaction did, or with CORE_CHANGE_DRY_RUN would do. */
struct core_change {
	/* Net, over the whole batch: leaves set or changed, and leaves cleared. A large leaf
	 * that is split and tables that are merged count below, with all that lay in them. */
	uint64_t entries_written;
	uint64_t entries_split; /* large leaves replaced by tables */
	uint64_t tables_merged; /* tables (with those below) replaced by a large leaf */
	uint64_t tables_allocated, tables_freed;
	struct inval_decision decision;
	uint32_t invept_issued;		      /* by this change, at once */
	uint32_t processors_interrupted;      /* were in guest with this EP4TA */
	uint32_t processors_deferred;	      /* have used it; flush before the next use */
	uint64_t old_gpa_first, old_gpa_last; /* extent touched */
};

#define CORE_CHANGE_DRY_RUN 1u
/*
 * Test hook: leave the stale state in place. No flush, now or at a later entry, on
 * account of this change (the next required one flushes everything, as always). Tables
 * that may still be walked are kept until then; slots are the caller's to keep.
 */
#define CORE_CHANGE_SKIP_INVALIDATION 2u

#define CORE_MAX_OPS 65536u
#define CORE_MAX_RANGES 262144u

struct core_as_config {
	uint64_t max_page_bytes;  /* largest leaf: 4 KiB, 2 MiB, 1 GiB; 0: what the caps allow */
	bool accessed_dirty;	  /* EPTP bit 6, if the processor offers it */
	unsigned walk_length;	  /* 4, or 0 for that; 5 where the processor offers it */
	struct core_trace *trace; /* where its invalidations go; outlives it. NULL: nowhere */
};

/* A mapped range as core keeps it. */
struct core_range {
	gpa_t gpa;
	uint64_t size;
	uint32_t slot;
	uint32_t prot;
	uint32_t memtype;
	uint32_t ignore_pat;
	uint64_t offset;
};

/* -EINVAL walk length or page size not offered, -ENOMEM. May sleep. */
int core_as_create(struct core *core, const struct core_as_config *cfg, struct core_as **ret);
/* No vCPU uses it any more. Unmaps all, frees every table. May sleep. */
void core_as_destroy(struct core_as *as);
/*
 * Before core_as_destroy() of a large one: frees tables that map from *at on, which is 0
 * at first, about max_entries entries of them. Nothing may use the address space any more.
 * true: there are more. May sleep.
 */
bool core_as_shrink(struct core_as *as, uint64_t *at, uint64_t max_entries);

uint64_t core_as_eptp(const struct core_as *as);
static inline uint64_t core_ep4ta(uint64_t eptp)
{
	return eptp & UINT64_C(0x000ffffffffff000);
}
struct core_stats *core_as_stats(struct core_as *as);
/* Bytes of EPT tables now. */
uint64_t core_as_table_bytes(const struct core_as *as);

/*
 * Applies a batch. this_cpu: the processor that the caller runs on (it executes
 * INVEPT itself at once if it may hold mappings); replies only after the change
 * holds on every processor. May sleep.
 * -EINVAL (conflict->field, ->limit), -EEXIST overlap, -ENOENT hole, -ERANGE slot
 * or address bounds, -E2BIG too many operations or ranges, -ENOMEM, -EBUSY (see below).
 */
int core_as_apply(struct core_as *as, struct core_cpu *this_cpu, const struct core_map_op *ops,
		  size_t count, uint32_t flags, struct core_change *ret_change,
		  struct core_conflict *ret_conflict);

/*
 * The same in pieces, for changes that take long. Nothing is changed until the last piece
 * but one; then all of it is, at once. Until it has ended, the address space refuses other
 * changes with -EBUSY, and ops and slots must stay as they are.
 *
 * Begin: the errors of core_as_apply(), but -ENOMEM may come with any step. Step: 1 there
 * is more to do; otherwise the end, 0 or an error, and c is gone. A step looks at about
 * max_entries entries of EPT tables, or does the commit, which is bounded: an entry a
 * gigabyte, and what lies in gigabytes of which less than 16 MiB change. May sleep.
 */
struct as_change;
int core_as_change_begin(struct core_as *as, struct core_cpu *this_cpu,
			 const struct core_map_op *ops, size_t count, uint32_t flags,
			 struct as_change **ret, struct core_conflict *ret_conflict);
int core_as_change_step(struct as_change *c, uint64_t max_entries, struct core_change *ret_change);
/* Unless it has been committed, it ends with -ECANCELED, after as many steps as it takes. */
void core_as_change_cancel(struct as_change *c);
/* Bytes of address space, in whole gigabytes; total is 0 for a change of one piece. */
void core_as_change_progress(const struct as_change *c, uint64_t *ret_done, uint64_t *ret_total);

/* Gathers dirty bits of [gpa, gpa+size) as one bit a 4 KiB page (a dirty large leaf
 * sets all of its bits) and, if clear, clears D and invalidates; a large leaf that is
 * only partly inside stays dirty. bitmap holds
 * (size / 4096 + 7) / 8 bytes. -ENOTSUP when A/D is off. May sleep. */
int core_as_dirty_harvest(struct core_as *as, struct core_cpu *this_cpu, gpa_t gpa, uint64_t size,
			  bool clear, uint8_t *bitmap, struct core_change *ret_change);

/* The range that holds a; -ENOENT if unmapped. Atomic. */
int core_as_lookup(struct core_as *as, gpa_t a, struct core_range *ret);
/* Copies at most max ranges that end after `from`, in order; returns how many. */
size_t core_as_ranges(struct core_as *as, gpa_t from, struct core_range *ret, size_t max);

/* One EPT leaf as it stands in memory. */
struct core_leaf {
	uint64_t entry;
	uint64_t page_bytes; /* size it covers */
	gpa_t gpa;	     /* start of that */
	hpa_t hpa;
};

/* -ENOENT if no present leaf maps a. Atomic. Touches no A/D bit. */
int core_as_leaf(struct core_as *as, gpa_t a, struct core_leaf *ret);

/* Present EPT leaves, counted. */
struct core_leaf_counts {
	uint64_t leaves[4];	  /* by level: 1 4 KiB, 2 2 MiB, 3 1 GiB */
	uint64_t accessed, dirty; /* of all of these; 0 where A/D is off */
};

/*
 * The leaves of [a, a + size), which ends no mapped range in its middle. Touches no A/D
 * bit. The lock is let go of now and then: what changes meanwhile is counted before or after.
 */
void core_as_count_leaves(struct core_as *as, gpa_t a, uint64_t size, struct core_leaf_counts *ret);

/*
 * Guest memory, by guest-physical address, through the mappings (not their
 * permissions: this is the VMM's own access). Relaxed atomics; guests race.
 * core_guest_write() is the one place where memory is changed on a guest's
 * behalf: it tells plat (plat_mem_written), sets D where A/D is on, and will sync
 * shadows. -EFAULT at an unmapped address (nothing written). Atomic.
 */
int core_guest_read(struct core_as *as, gpa_t a, void *buf, size_t len);
int core_guest_write(struct core_as *as, gpa_t a, const void *buf, size_t len);
/* Atomic compare-and-exchange of 1, 2, 4 or 8 naturally aligned bytes; *expected
 * receives what was there. 0, -EAGAIN different, -EFAULT, -EINVAL. */
int core_guest_cmpxchg(struct core_as *as, gpa_t a, unsigned size, uint64_t *expected,
		       uint64_t desired);

#endif
