/* SPDX-License-Identifier: MIT */
/*
 * The one trace that an engine keeps of a VM, shared by those who trace it: the engine is
 * asked for all that any of them wants, and every record is shown to all.
 *
 * Records are numbered from 1 as long as anybody traces the VM, whatever the engine is asked
 * for meanwhile; those that the engine had no room for have their numbers, too.
 */
#ifndef HVD_TRACING_H
#define HVD_TRACING_H

#include "hvd/hvd.h"
#include "hvd/registry.h"

struct tracer;

/* record, lost and read begin and end no tracing; begun and gone may. */
struct tracer_ops {
	/*
	 * Once, later or from inside tracing_begin(): err NULL, it is traced from now on; else
	 * it is not, and the tracer has been let go.
	 */
	void (*begun)(struct tracer *t, const struct engine_error *err);
	/* r->seq: its number. Also what others want. */
	void (*record)(struct tracer *t, const struct engine_trace_record *r);
	/* Lost before the next record, nobody knows of what kind. */
	void (*lost)(struct tracer *t, uint64_t first_seq, uint64_t count);
	/* That was all for now. */
	void (*read)(struct tracer *t);
	/* The VM was deleted; the tracer has been let go. */
	void (*gone)(struct tracer *t);
};

/* Inside of who traces. */
struct tracer {
	const struct tracer_ops *ops;
	struct engine_trace_set wants; /* but records */
	/* tracing.c's */
	struct tracing *tracing; /* NULL: let go */
	struct tracer *next;
	enum { TRACER_WAITS, TRACER_ASKED, TRACER_LIVE } state;
};

/* vm is VM_READY. -ENOMEM; then begun is not called. */
int tracing_begin(struct hvd *h, struct vm *vm, struct tracer *one);
/* One that has been let go is allowed. */
void tracing_end(struct tracer *one);

/* Whether the record is of those that the settings ask for. */
bool tracing_wants(const struct engine_trace_set *set, const struct engine_trace_record *r);

#endif
