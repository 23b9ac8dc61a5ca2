/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* An address space from inside: for as.c, inval.c, guest.c and walk.c only. */
#ifndef VMXCORE_CORE_AS_INTERNAL_H
#define VMXCORE_CORE_AS_INTERNAL_H

#include "core/as.h"
#include "core/ept.h"
#include "core/inval_pending.h"
#include "core/mem_ranges.h"

/* Tables unlinked by a change that left its invalidation out: kept until a flush. */
struct as_quarantine {
	struct as_quarantine *next;
	struct ept_unlinked *unlinked;
	size_t count;
};

struct core_as {
	struct core *core;
	struct plat_mutex *mutex; /* changers: held over a whole change */
	struct plat_lock lock;	  /* ranges and EPT against readers */
	struct mem_ranges ranges;
	struct ept ept;
	uint64_t gpa_limit; /* first guest-physical address past the end */
	struct inval_space inval;
	struct inval_pending pending;
	struct core_trace *trace; /* its VM's; NULL: it has none */
	struct as_quarantine *quarantine;
	bool changing; /* a change in pieces is under way */
	uint64_t
		stage_pages; /* for tests: rebuild gigabytes of which so much changes; 0: default */
	struct core_stats stats;
};

/* An operation's place in the order of address. */
struct as_order {
	uint64_t first, size;
	uint32_t index; /* of the operation */
};

enum as_phase { AS_BUILD, AS_COMMIT, AS_SETTLE, AS_ENDED };

/* One change from its plan to its commit; see as_change.c. */
struct as_change {
	struct core_as *as;
	struct core_cpu *this_cpu;
	const struct core_map_op *ops;
	size_t count;
	uint32_t flags;
	struct core_conflict conflict;
	struct core_change result;

	struct as_order *order; /* count of them */
	struct mem_ranges edit; /* the list as it will be */
	struct ept_span *spans; /* what the operations touch */
	size_t span_count;
	struct ept_sync sync;

	struct ept_stage *stages;
	size_t stage_count, stage_at; /* at: built, and not settled */
	uint64_t staged_unlinked;
	uint64_t direct; /* entries that may yet be left to the pass */
	enum as_phase phase;
	int error; /* what it ends with, when all is undone */
};

/* as_order.c: fills c->order. -ENOMEM. May sleep. */
int as_sort_operations(struct as_change *c);
/* No two operations touch a common place. */
bool as_operations_apart(const struct as_change *c);
/* Once the operations are checked: fills c->spans. -ENOMEM. May sleep. */
int as_collect_spans(struct as_change *c);

/* as_stage.c: after the plan, which gigabytes are rebuilt. -ENOMEM. May sleep. */
int as_stages_plan(struct as_change *c);
/* Builds some. 1: there are more; 0: no; -ENOMEM. May sleep. */
int as_stages_build(struct as_change *c, uint64_t max_entries);
/* Adds what they do to the counts of the pass. */
void as_stages_result(struct as_change *c);
/* Frees what was replaced, or what was built and is not wanted; true: there is more. */
bool as_stages_settle(struct as_change *c, uint64_t max_entries);

/* as_ops.c: applies the operations to c->edit; on an error c->conflict says why. */
int as_edit_ranges(struct as_change *c);

/* Publishes a required change, and lets go of what waited for it. Mutex held. */
void as_publish(struct core_as *as, struct core_cpu *this_cpu, struct core_change *result);

/* Counts a decision. */
void as_count_decision(struct core_as *as, struct inval_decision d);

/* The host-physical address that a leaf gives to a, which it covers. */
static inline uint64_t as_leaf_hpa(const struct ept_place *leaf, uint64_t a)
{
	return ept_leaf_addr(leaf->value, leaf->level) + (a - leaf->first);
}

#endif
