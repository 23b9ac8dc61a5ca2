/* SPDX-License-Identifier: MIT */
/* A trace's life: set, taken back, over starts and resets, told of, refused. */
#include "contract/cases.h"

#include "contract/guests.h"
#include "contract/tracing.h"

#define NOWHERE UINT64_C(0x2000000) /* beyond the RAM */

static void end(struct contract *c, uint64_t vm)
{
	op_ok(c, vm, ENGINE_VM_STOP);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* --- life ------------------------------------------------------------------------------------ */

/* Off frees the room and forgets; on again it begins anew. */
static void trace_off(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = agent_new(c, &req);
	struct trace_records r;
	uint32_t events;

	trace_none(c, vm);
	trace_on(c, vm, KIND(VIOLATION), 16);
	agent_do(c, vm, AGENT_READ, NOWHERE, 0);
	agent_do(c, vm, AGENT_READ, NOWHERE, 0);
	trace_on(c, vm, 0, 0);
	events = c->trace_events[vm % 256];
	agent_do(c, vm, AGENT_READ, NOWHERE, 0);
	trace_none(c, vm);
	assert_int_equal(c->trace_events[vm % 256], events);
	trace_on(c, vm, KIND(VIOLATION), 16);
	agent_do(c, vm, AGENT_READ, NOWHERE, 0);
	r = trace_get(c, vm, 16);
	assert_int_equal(r.count, 1);
	assert_int_equal(r.at[0].seq, 0);
	assert_int_equal(r.lost, 0);
	trace_put(&r);
	/* Set once more, what was not read is dropped, and is not called lost. */
	agent_do(c, vm, AGENT_READ, NOWHERE, 0);
	trace_on(c, vm, KIND(VIOLATION), 8);
	trace_none(c, vm);
	end(c, vm);
}

/* It goes on over a stop, a start and a reset, in one order and one time. */
static void trace_survives(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = vm_new(c, &req, guest_agent, sizeof(guest_agent)), time = 0;
	struct trace_records r;
	size_t i;

	trace_on(c, vm, KIND(VIOLATION), 16);
	op_ok(c, vm, ENGINE_VM_START);
	for (i = 0; i < 4; i++) {
		c->agent_seq = 0;
		agent_do(c, vm, AGENT_READ, NOWHERE + 16 * i, 0);
		if (i & 1) {
			op_ok(c, vm, ENGINE_VM_RESET);
		} else {
			op_ok(c, vm, ENGINE_VM_STOP);
			op_ok(c, vm, ENGINE_VM_START);
		}
	}
	r = trace_get(c, vm, 16);
	assert_int_equal(r.count, 4);
	for (i = 0; i < 4; i++) {
		assert_int_equal(r.at[i].seq, i);
		assert_int_equal(r.at[i].gpa, NOWHERE + 16 * i);
		assert_true(trace_time(&r.at[i]) > time);
		time = trace_time(&r.at[i]);
	}
	trace_put(&r);
	end(c, vm);
}

/* What happens to one VM is not in the other's trace. */
static void trace_apart(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm[2];
	struct trace_records r;
	int i, k;

	/* Both agents count their requests from 1. */
	for (i = 0; i < 2; i++) {
		vm[i] = agent_new(c, &req);
		trace_on(c, vm[i], KIND(VIOLATION), 16);
		for (k = 0; k <= i; k++)
			agent_do(c, vm[i], AGENT_READ, NOWHERE + 0x1000 * i, 0);
	}
	for (i = 0; i < 2; i++) {
		r = trace_get(c, vm[i], 16);
		assert_int_equal(r.count, i + 1);
		for (k = 0; k <= i; k++)
			assert_int_equal(r.at[k].gpa, NOWHERE + 0x1000 * i);
		trace_put(&r);
		trace_none(c, vm[i]);
		assert_true(c->trace_events[vm[i] % 256] > 0);
	}
	trace_on(c, vm[0], 0, 0);
	end(c, vm[0]);
	c->agent_seq = 2;
	agent_do(c, vm[1], AGENT_READ, NOWHERE, 0);
	r = trace_get(c, vm[1], 16);
	assert_int_equal(r.count, 1);
	trace_put(&r);
	end(c, vm[1]);
}

/* Deleted with an event waiting, it takes the event with it. */
static void trace_deleted(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = agent_new(c, &req);
	uint32_t events;

	trace_on(c, vm, ALL_KINDS, ENGINE_MAX_TRACE);
	agent_do(c, vm, AGENT_READ, NOWHERE, 0);
	end(c, vm);
	events = c->trace_events[vm % 256];
	vm = vm_new(c, &req, guest_hello, sizeof(guest_hello));
	op_ok(c, vm, ENGINE_VM_DELETE);
	assert_int_equal(c->trace_events[(vm - 1) % 256], events);
}

/* --- telling ------------------------------------------------------------------------------- */

/* A read that leaves records is followed by another event; one that leaves none is not. */
static void trace_told(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = agent_new(c, &req);
	struct trace_records r;
	uint32_t events;
	int i;

	trace_on(c, vm, KIND(VIOLATION), 64);
	for (i = 0; i < 10; i++)
		agent_do(c, vm, AGENT_READ, NOWHERE, 0);
	wait_trace(c, vm, 0);
	op_ok(c, vm, ENGINE_VM_PAUSE);
	for (i = 0; i < 3; i++) {
		events = c->trace_events[vm % 256];
		r = trace_get(c, vm, 3);
		assert_int_equal(r.count, 3);
		trace_put(&r);
		wait_trace(c, vm, events);
	}
	events = c->trace_events[vm % 256];
	r = trace_get(c, vm, 3);
	assert_int_equal(r.count, 1);
	trace_put(&r);
	op_ok(c, vm, ENGINE_VM_INFO);
	op_ok(c, vm, ENGINE_VM_INFO);
	assert_int_equal(c->trace_events[vm % 256], events);
	end(c, vm);
}

/* --- refusals --------------------------------------------------------------------------------- */

static const struct {
	struct engine_trace_set set;
	enum engine_field field;
	uint64_t limit;
} bad_sets[] = {
	{{.kinds = 1u << ENGINE_TRACE_KINDS, .records = 1, .vcpu = UINT32_MAX},
	 ENGINE_FIELD_KIND,
	 ENGINE_TRACE_KINDS - 1},
	{{.kinds = UINT32_MAX, .records = 1, .vcpu = UINT32_MAX},
	 ENGINE_FIELD_KIND,
	 ENGINE_TRACE_KINDS - 1},
	{{.kinds = 1, .records = 0, .vcpu = UINT32_MAX}, ENGINE_FIELD_SIZE, ENGINE_MAX_TRACE},
	{{.kinds = 1, .records = ENGINE_MAX_TRACE + 1, .vcpu = UINT32_MAX},
	 ENGINE_FIELD_SIZE,
	 ENGINE_MAX_TRACE},
	{{.kinds = 1, .records = 1, .vcpu = 1}, ENGINE_FIELD_VCPU, 0},
};

static void refused(struct engine_event *ev, int err, enum engine_field field, uint64_t limit)
{
	assert_int_equal(ev->error.code, err);
	assert_int_equal(ev->error.field, field);
	assert_int_equal(ev->error.limit, limit);
	assert_true(ev->error.text[0]);
	assert_int_equal(ev->payload_bytes, 0);
}

/* All VMs' room together is bounded, and what is given back can be had again. */
static void trace_room(struct contract *c)
{
	struct engine_trace_set what = {
		.kinds = ALL_KINDS, .records = ENGINE_MAX_TRACE, .vcpu = UINT32_MAX};
	struct engine_request req = vm_request();
	struct engine_event ev = {0};
	uint64_t vm[256];
	size_t n;

	req.u.create.memory_bytes = MIB;
	for (n = 0; n < VMX_ARRAY_SIZE(vm) && !ev.error.code; n++) {
		vm[n] = vm_new(c, &req, NULL, 0);
		ev = trace_set(c, vm[n], what);
	}
	refused(&ev, -ENOMEM, ENGINE_FIELD_SIZE, 0);
	trace_none(c, vm[n - 1]);
	assert_true(n > 2);
	/* Setting it again takes the room of the last setting into account. */
	trace_on(c, vm[0], ALL_KINDS, ENGINE_MAX_TRACE);
	trace_on(c, vm[0], ALL_KINDS, 1000);
	what.records = ENGINE_MAX_TRACE - 999;
	ev = trace_set(c, vm[n - 1], what);
	refused(&ev, -ENOMEM, ENGINE_FIELD_SIZE, ENGINE_MAX_TRACE - 1000);
	trace_on(c, vm[n - 1], ALL_KINDS, ENGINE_MAX_TRACE - 1000);
	op_ok(c, vm[1], ENGINE_VM_DELETE);
	trace_on(c, vm[0], ALL_KINDS, ENGINE_MAX_TRACE);
}

static void bad_traces(struct contract *c)
{
	struct engine_request req = vm_request(), read = {.op = ENGINE_TRACE_READ};
	uint64_t vm = agent_new(c, &req);
	struct engine_event ev;
	struct trace_records r;
	size_t i;

	trace_on(c, vm, KIND(VIOLATION), 4);
	agent_do(c, vm, AGENT_READ, NOWHERE, 0);
	for (i = 0; i < VMX_ARRAY_SIZE(bad_sets); i++) {
		ev = trace_set(c, vm, bad_sets[i].set);
		refused(&ev, -EINVAL, bad_sets[i].field, bad_sets[i].limit);
	}
	read.vm = vm;
	for (i = 0; i < 2; i++) {
		read.u.trace_read.max = i ? ENGINE_MAX_TRACE_READ + 1 : 0;
		ev = call(c, &read, NULL, 0, NULL, 0);
		refused(&ev, -EINVAL, ENGINE_FIELD_SIZE, ENGINE_MAX_TRACE_READ);
	}
	/* None of it changed what there was. */
	r = trace_get(c, vm, 4);
	assert_int_equal(r.count, 1);
	trace_put(&r);
	assert_int_equal(engine_submit(c->engine, &read, "x", 1, NULL, 0), -EINVAL);
	read.vm = vm + 1;
	ev = call(c, &read, NULL, 0, NULL, 0);
	refused(&ev, -ENOENT, ENGINE_FIELD_VM, 0);
	end(c, vm);
}

const struct contract_case trace_life_cases[] = {
	{"trace_off", trace_off, 0},	 {"trace_survives", trace_survives, 0},
	{"trace_apart", trace_apart, 0}, {"trace_deleted", trace_deleted, 0},
	{"trace_told", trace_told, 0},	 {"trace_room", trace_room, 0},
	{"bad_traces", bad_traces, 0},	 {NULL, NULL, 0},
};
