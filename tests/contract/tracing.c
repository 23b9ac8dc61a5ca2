/* SPDX-License-Identifier: MIT */
#include "contract/tracing.h"

struct engine_event trace_set(struct contract *c, uint64_t vm, struct engine_trace_set what)
{
	struct engine_request req = {.op = ENGINE_TRACE_SET, .vm = vm};

	req.u.trace_set = what;
	return call(c, &req, NULL, 0, NULL, 0);
}

void trace_on(struct contract *c, uint64_t vm, uint32_t kinds, uint32_t records)
{
	struct engine_event ev = trace_set(
		c, vm,
		(struct engine_trace_set){.kinds = kinds, .records = records, .vcpu = UINT32_MAX});

	if (ev.error.code)
		fail_msg("tracing: %d: %s", ev.error.code, ev.error.text);
	engine_event_release(&ev);
}

struct trace_records trace_get(struct contract *c, uint64_t vm, uint32_t max)
{
	struct engine_request req = {.op = ENGINE_TRACE_READ, .vm = vm};
	struct trace_records r;

	req.u.trace_read.max = max;
	r.ev = call_ok(c, &req, NULL, 0);
	r.at = r.ev.payload;
	r.count = r.ev.payload_bytes / sizeof(*r.at);
	assert_int_equal(r.ev.payload_bytes, r.count * sizeof(*r.at));
	assert_true(r.count <= max);
	r.lost = r.ev.total;
	return r;
}

void trace_put(struct trace_records *r)
{
	engine_event_release(&r->ev);
}

uint64_t trace_time(const struct engine_trace_record *r)
{
	assert_true((r->guest_time == UINT64_MAX) != (r->time_ns == UINT64_MAX));
	return r->guest_time == UINT64_MAX ? r->time_ns : r->guest_time;
}

void trace_none(struct contract *c, uint64_t vm)
{
	struct trace_records r = trace_get(c, vm, ENGINE_MAX_TRACE_READ);

	assert_int_equal(r.count, 0);
	assert_int_equal(r.lost, 0);
	trace_put(&r);
}
