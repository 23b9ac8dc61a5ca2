/* SPDX-License-Identifier: MIT */
/* Tracing a VM: core records, the backend reads. */
#include "engine/vmm.h"

#include <assert.h>
#include <stdlib.h>

/* Of all VMs: some 300 MiB. */
#define TRACE_RECORDS_MAX (64u * ENGINE_MAX_TRACE)

#define SAME(a, b) static_assert((int)(a) == (int)(b), #a " is " #b)
SAME(CORE_TRACE_EXIT, ENGINE_TRACE_EXIT);
SAME(CORE_TRACE_VIOLATION, ENGINE_TRACE_VIOLATION);
SAME(CORE_TRACE_INVALIDATION, ENGINE_TRACE_INVALIDATION);
SAME(CORE_TRACE_KINDS, ENGINE_TRACE_KINDS);
SAME(CORE_CAUSE_NONE, ENGINE_CAUSE_NONE);
SAME(CORE_CAUSE_CHANGE, ENGINE_CAUSE_CHANGE);
SAME(CORE_CAUSE_SHOOTDOWN, ENGINE_CAUSE_SHOOTDOWN);
SAME(CORE_CAUSE_DEFERRED, ENGINE_CAUSE_DEFERRED);
SAME(CORE_CAUSE_FIRST_USE, ENGINE_CAUSE_FIRST_USE);
SAME(CORE_CAUSE_REQUEST, ENGINE_CAUSE_REQUEST);
SAME(CORE_CAUSE_RECYCLE, ENGINE_CAUSE_RECYCLE);
SAME(CORE_CAUSE_PAGING, ENGINE_CAUSE_PAGING);
SAME(CORE_CAUSE_COUNT, ENGINE_CAUSE_COUNT);
SAME(CORE_TRACE_INVEPT_SINGLE, ENGINE_INVEPT_SINGLE);
SAME(CORE_TRACE_INVEPT_ALL, ENGINE_INVEPT_ALL);
SAME(CORE_TRACE_INVVPID_ADDRESS, ENGINE_INVVPID_ADDRESS);
SAME(CORE_TRACE_INVVPID_SINGLE, ENGINE_INVVPID_SINGLE);
SAME(CORE_TRACE_INVVPID_ALL, ENGINE_INVVPID_ALL);
SAME(CORE_TRACE_INVVPID_KEEP_GLOBAL, ENGINE_INVVPID_KEEP_GLOBAL);
SAME(CORE_TRACE_INSNS, ENGINE_INVALIDATIONS);
SAME(CORE_TRACE_MAX_RECORDS, ENGINE_MAX_TRACE);
#undef SAME

/* --- setting it -------------------------------------------------------------------------- */

static int check(const struct vmm *s, const struct vmm_vm *vm, const struct engine_trace_set *q,
		 struct vmm_reply *reply)
{
	uint32_t left = TRACE_RECORDS_MAX - (s->trace_records - vm->trace.records);

	if (q->kinds >> ENGINE_TRACE_KINDS)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_KIND, ENGINE_TRACE_KINDS - 1,
				"unknown kinds of trace record in 0x%x", q->kinds);
	if (q->kinds == 0)
		return 0;
	if (q->records < 1 || q->records > ENGINE_MAX_TRACE)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_SIZE, ENGINE_MAX_TRACE,
				"room for %u trace records: 1 to %u are possible", q->records,
				ENGINE_MAX_TRACE);
	if (q->records > left)
		return vmm_fail(reply, -ENOMEM, ENGINE_FIELD_SIZE, left,
				"room for %u trace records: %u are left for this VM", q->records,
				left);
	if (q->vcpu != UINT32_MAX && q->vcpu >= vm->vcpu_count)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_VCPU, vm->vcpu_count - 1,
				"vcpu %u: the last is %u", q->vcpu, vm->vcpu_count - 1);
	return 0;
}

int vmm_trace_set(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		  struct vmm_reply *reply)
{
	const struct engine_trace_set *q = &rq->req.u.trace_set;
	uint64_t untold;
	int err = check(s, vm, q, reply);

	if (!err)
		err = s->backend->trace_set(vm, q, &untold);
	if (err)
		return err;
	reply->total = untold;
	s->trace_records -= vm->trace.records;
	vm->trace.records = q->kinds ? q->records : 0;
	s->trace_records += vm->trace.records;
	/* What a waiting event tells of is gone. */
	queue_forget(&s->queue, &vm->trace.queued);
	vm->trace.queued = false;
	vm->trace.told = 0;
	return 0;
}

void vmm_trace_forget(struct vmm *s, struct vmm_vm *vm)
{
	queue_forget(&s->queue, &vm->trace.queued);
	s->trace_records -= vm->trace.records;
	vm->trace.records = 0;
}

/* --- reading it ---------------------------------------------------------------------------- */

static struct engine_trace_record record_of(const struct core_trace_record *r, bool host_time)
{
	return (struct engine_trace_record){
		.seq = r->seq,
		.guest_time = host_time ? UINT64_MAX : r->guest_time,
		.time_ns = host_time ? r->guest_time : UINT64_MAX,
		.rip = r->rip,
		.gpa = r->gpa.v,
		.gva = r->gva.v,
		.qualification = r->qualification,
		.ep4ta = r->ep4ta,
		.kind = r->kind,
		.vcpu = r->vcpu,
		.processor = r->processor,
		.exit_reason = r->exit_reason,
		.vpid = r->vpid,
		.invalidation = r->insn,
		.cause = r->cause,
		.gva_valid = r->gva_valid,
	};
}

/* room: at least 1, for with nothing there it still tells what was lost. */
static int take(struct vmm_vm *vm, size_t room, struct vmm_reply *reply)
{
	const struct backend *b = vm->machine->backend;
	struct core_trace_record *some = calloc(room, sizeof(*some));
	struct engine_trace_record *out = vmm_payload(reply, room, sizeof(*out));
	size_t n, i;
	int err = -ENOMEM;

	if (some && out)
		err = b->trace_read(vm, some, room, &n, &reply->total);
	if (err)
		goto out;
	for (i = 0; i < n; i++)
		out[i] = record_of(&some[i], b->trace_host_time);
	reply->payload_bytes = n * sizeof(*out);
out:
	free(some);
	return err;
}

int vmm_trace_read(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		   struct vmm_reply *reply)
{
	uint32_t max = rq->req.u.trace_read.max;
	uint64_t seq;
	size_t waiting;
	int err;

	if (max < 1 || max > ENGINE_MAX_TRACE_READ)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_SIZE, ENGINE_MAX_TRACE_READ,
				"%u trace records: 1 to %u at a time", max, ENGINE_MAX_TRACE_READ);
	waiting = s->backend->trace_waiting(vm, &seq);
	if (waiting < max)
		max = waiting ? (uint32_t)waiting : 1;
	err = take(vm, max, reply);
	/* What is left is told of once more. */
	if (!err)
		vm->trace.told = 0;
	return err;
}

void vmm_tell_trace(struct vmm_vm *vm)
{
	struct vmm *s = vm->machine;
	struct engine_event ev = {.type = ENGINE_EVENT_TRACE, .vm = vm->id};
	uint64_t seq;

	if (!vm->trace.records || s->backend->trace_waiting(vm, &seq) == 0 || seq == vm->trace.told)
		return;
	vm->trace.told = seq;
	queue_push_once(&s->queue, &ev, &vm->trace.queued);
}
