/* SPDX-License-Identifier: MIT */
/* A change of a VM's mappings as a part of a job. */
#ifndef VMXCORE_ENGINE_SOFT_CHANGE_H
#define VMXCORE_ENGINE_SOFT_CHANGE_H

#include "engine/soft_job.h"

struct soft_change {
	/* Set by the caller; ops stay until it has ended. */
	struct soft_vm *vm;
	const struct core_map_op *ops;
	size_t count;
	uint32_t flags; /* CORE_CHANGE_* */
	struct core_change result;
	/* Inside. */
	struct as_change *pieces;
	uint64_t promised; /* bytes of tables that it may need */
	uint64_t tables_before;
};

/* 0: done; SOFT_JOB_MORE: by steps; an error: nothing has changed. */
int soft_change_begin(struct soft *s, struct soft_change *c, struct soft_reply *reply);
/* The same, of the next piece. Sees to the job's progress and to cancelling. */
int soft_change_step(struct soft *s, struct soft_change *c, struct soft_job *job);
/* The mapping of the RAM in a new VM; *op is the caller's. */
void soft_change_ram(struct soft_vm *vm, struct core_map_op *op, struct soft_change *ret);

#endif
