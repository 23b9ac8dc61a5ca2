/* SPDX-License-Identifier: MIT */
/* A change of a VM's mappings as a part of a job. */
#ifndef VMXCORE_ENGINE_VMM_CHANGE_H
#define VMXCORE_ENGINE_VMM_CHANGE_H

#include "engine/vmm_job.h"

struct vmm_change {
	/* Set by the caller; ops stay until it has ended. */
	struct vmm_vm *vm;
	const struct core_map_op *ops;
	size_t count;
	uint32_t flags; /* CORE_CHANGE_* */
	struct core_change result;
	/* Inside. */
	struct as_change *pieces;
	struct vmm_change_whole *whole;
	uint64_t promised; /* bytes of tables that it may need */
	uint64_t tables_before;
};

/* 0: done; VMM_JOB_MORE: by steps; an error: nothing has changed. */
int vmm_change_begin(struct vmm *s, struct vmm_change *c, struct vmm_reply *reply);
/* The same, of the next piece, or VMM_JOB_PARK. Sees to the job's progress and to cancelling. */
int vmm_change_step(struct vmm *s, struct vmm_change *c, struct vmm_job *job);
/* The mapping of the RAM in a new VM; *op is the caller's. */
void vmm_change_ram(struct vmm_vm *vm, struct core_map_op *op, struct vmm_change *ret);

#endif
