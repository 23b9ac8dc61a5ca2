/* SPDX-License-Identifier: MIT */
/* Traces: what is recorded, in which order, what is lost, and how one is told. */
#include "contract/cases.h"

#include "contract/guests.h"

#include <stdio.h>

#define EXIT_CPUID 10u
#define EXIT_IO 30u
#define EXIT_EPT_VIOLATION 48u
#define NOWHERE UINT64_C(0x2000000) /* beyond the RAM */
#define CODE UINT64_C(0x500000)
#define TARGET UINT64_C(0x400000)
#define SPARE 5u
#define ALL_KINDS ((1u << ENGINE_TRACE_KINDS) - 1)
#define KIND(x) (1u << ENGINE_TRACE_##x)

static void end(struct contract *c, uint64_t vm)
{
	op_ok(c, vm, ENGINE_VM_STOP);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

static struct engine_event set(struct contract *c, uint64_t vm, struct engine_trace_set what)
{
	struct engine_request req = {.op = ENGINE_TRACE_SET, .vm = vm};

	req.u.trace_set = what;
	return call(c, &req, NULL, 0, NULL, 0);
}

static void set_ok(struct contract *c, uint64_t vm, uint32_t kinds, uint32_t records)
{
	struct engine_event ev = set(
		c, vm,
		(struct engine_trace_set){.kinds = kinds, .records = records, .vcpu = UINT32_MAX});

	assert_int_equal(ev.error.code, 0);
	engine_event_release(&ev);
}

struct records {
	struct engine_event ev;
	const struct engine_trace_record *at;
	size_t count;
	uint64_t lost;
};

static struct records get(struct contract *c, uint64_t vm, uint32_t max)
{
	struct engine_request req = {.op = ENGINE_TRACE_READ, .vm = vm};
	struct records r;

	req.u.trace_read.max = max;
	r.ev = call_ok(c, &req, NULL, 0);
	r.at = r.ev.payload;
	r.count = r.ev.payload_bytes / sizeof(*r.at);
	assert_int_equal(r.ev.payload_bytes, r.count * sizeof(*r.at));
	assert_true(r.count <= max);
	r.lost = r.ev.total;
	return r;
}

static void put(struct records *r)
{
	engine_event_release(&r->ev);
}

static void nothing_left(struct contract *c, uint64_t vm)
{
	struct records r = get(c, vm, ENGINE_MAX_TRACE_READ);

	assert_int_equal(r.count, 0);
	assert_int_equal(r.lost, 0);
	put(&r);
}

/* --- what is recorded ----------------------------------------------------------------------- */

static const uint8_t cpuid_ret[] = {0x53, 0x31, 0xc0, 0x0f, 0xa2, 0x5b, 0xc3};
#define CPUID_AT (CODE + 3)

/* The same script under each filter: 3 OUTs, 2 CPUIDs, 1 violation, 1 INVEPT. */
static void script(struct contract *c, uint64_t vm)
{
	struct engine_request req = {.op = ENGINE_INVALIDATE, .vm = vm};
	struct engine_event ev;
	int i;

	for (i = 0; i < 3; i++)
		agent_do(c, vm, AGENT_OUT, 0x80, (uint32_t)i);
	for (i = 0; i < 2; i++)
		agent_do(c, vm, AGENT_CALL, CODE, 0);
	agent_do(c, vm, AGENT_READ, NOWHERE + 8, 0);
	req.u.invalidate.processor = ENGINE_ANY_PROCESSOR;
	ev = call_ok(c, &req, NULL, 0);
	engine_event_release(&ev);
}

/* How many there must be of each; ANY: the scheduler's exits are among them. */
#define ANY SIZE_MAX
static const struct {
	const char *name;
	struct engine_trace_set set;
	size_t ios, cpuids, others, violations, invalidations;
} filters[] = {
	{"all", {.kinds = ALL_KINDS, .vcpu = UINT32_MAX}, 3, 2, ANY, 1, 1},
	{"exits", {.kinds = KIND(EXIT), .vcpu = UINT32_MAX}, 3, 2, ANY, 0, 0},
	{"violations", {.kinds = KIND(VIOLATION), .vcpu = UINT32_MAX}, 0, 0, 0, 1, 0},
	{"invalidations", {.kinds = KIND(INVALIDATION), .vcpu = UINT32_MAX}, 0, 0, 0, 0, 1},
	{"two kinds",
	 {.kinds = KIND(VIOLATION) | KIND(INVALIDATION), .vcpu = UINT32_MAX},
	 0,
	 0,
	 0,
	 1,
	 1},
	{"one reason",
	 {.kinds = KIND(EXIT), .vcpu = UINT32_MAX, .exits = {UINT64_C(1) << EXIT_CPUID}},
	 0,
	 2,
	 0,
	 0,
	 0},
	{"a reason leaves other kinds alone",
	 {.kinds = ALL_KINDS, .vcpu = UINT32_MAX, .exits = {UINT64_C(1) << EXIT_IO}},
	 3,
	 0,
	 0,
	 1,
	 1},
	{"a violation is no exit",
	 {.kinds = KIND(EXIT), .vcpu = UINT32_MAX, .exits = {UINT64_C(1) << EXIT_EPT_VIOLATION}},
	 0,
	 0,
	 0,
	 0,
	 0},
	{"a reason that there is not",
	 {.kinds = KIND(EXIT), .vcpu = UINT32_MAX, .exits = {0, UINT64_C(1) << 63}},
	 0,
	 0,
	 0,
	 0,
	 0},
	{"its vCPU; INVEPT by hand is of none", {.kinds = ALL_KINDS, .vcpu = 0}, 3, 2, ANY, 1, 0},
	{"another vCPU", {.kinds = ALL_KINDS, .vcpu = 1}, 0, 0, 0, 0, 0},
};

struct tally {
	size_t ios, cpuids, others, violations, invalidations;
};

static void check_exit(const struct engine_trace_record *r, struct tally *t)
{
	assert_int_equal(r->vcpu, 0);
	assert_int_equal(r->processor, 0);
	assert_true(r->vpid != 0 && r->rip != 0);
	assert_int_equal(r->cause, ENGINE_CAUSE_NONE);
	assert_int_equal(r->ep4ta, 0);
	if (r->kind == ENGINE_TRACE_VIOLATION) {
		t->violations++;
		assert_int_equal(r->exit_reason, EXIT_EPT_VIOLATION);
		assert_true(r->gpa == NOWHERE + 8 && r->gva == NOWHERE + 8 && r->gva_valid);
		assert_int_equal(r->qualification & 7, 1);
		return;
	}
	assert_int_equal(r->gpa | r->gva | r->gva_valid, 0);
	if (r->exit_reason == EXIT_IO) {
		t->ios++;
		/* "Exit Qualification for I/O Instructions": port, size minus 1 */
		assert_int_equal(r->qualification >> 16, 0x80);
		assert_int_equal(r->qualification & 7, 3);
	} else if (r->exit_reason == EXIT_CPUID) {
		t->cpuids++;
		assert_int_equal(r->rip, CPUID_AT);
	} else {
		t->others++;
	}
}

/* All there is, in order and without a gap. */
static struct tally tally(struct contract *c, uint64_t vm)
{
	uint64_t time = 0, seq = 0;
	struct tally t = {0};
	struct records r;
	size_t i, some;

	do {
		r = get(c, vm, ENGINE_MAX_TRACE_READ);
		assert_int_equal(r.lost, 0);
		for (i = 0; i < r.count; i++) {
			assert_int_equal(r.at[i].seq, seq++);
			assert_true(r.at[i].guest_time >= time);
			time = r.at[i].guest_time;
			if (r.at[i].kind == ENGINE_TRACE_INVALIDATION)
				t.invalidations++;
			else
				check_exit(&r.at[i], &t);
		}
		some = r.count;
		put(&r);
	} while (some == ENGINE_MAX_TRACE_READ);
	return t;
}

static void trace_filters(struct contract *c)
{
	struct engine_request req = vm_request();
	struct engine_trace_set what;
	struct engine_event ev;
	struct tally t;
	uint64_t vm;
	size_t i;

	req.u.create.vcpus = 2;
	req.u.create.processor[0] = 0;
	req.u.create.processor[1] = 0;
	vm = agent_new(c, &req);
	gpa_write(c, vm, CODE, cpuid_ret, sizeof(cpuid_ret));
	agent_do(c, vm, AGENT_CALL, CODE, 0);
	for (i = 0; i < VMX_ARRAY_SIZE(filters); i++) {
		what = filters[i].set;
		what.records = ENGINE_MAX_TRACE;
		ev = set(c, vm, what);
		assert_int_equal(ev.error.code, 0);
		engine_event_release(&ev);
		script(c, vm);
		t = tally(c, vm);
		if (t.ios != filters[i].ios || t.cpuids != filters[i].cpuids ||
		    t.violations != filters[i].violations ||
		    t.invalidations != filters[i].invalidations ||
		    (t.others != filters[i].others && filters[i].others != ANY))
			fail_msg("%s: %zu I/O, %zu CPUID, %zu other, %zu violations, %zu "
				 "invalidations",
				 filters[i].name, t.ios, t.cpuids, t.others, t.violations,
				 t.invalidations);
	}
	end(c, vm);
}

/* Every exit that is counted is recorded, and no other. */
static void trace_counts(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = agent_new(c, &req), before[88], seen[88] = {0};
	struct records r;
	char name[64];
	uint32_t i;
	size_t k;

	gpa_write(c, vm, CODE, cpuid_ret, sizeof(cpuid_ret));
	op_ok(c, vm, ENGINE_VM_PAUSE);
	set_ok(c, vm, KIND(EXIT) | KIND(VIOLATION), ENGINE_MAX_TRACE);
	for (i = 0; i < 88; i++) {
		snprintf(name, sizeof(name), "exit.%s", engine_exit_name(i));
		before[i] = engine_exit_name(i) ? stat_of(c, vm, name) : 0;
	}
	op_ok(c, vm, ENGINE_VM_RESUME);
	for (i = 0; i < 20; i++)
		script(c, vm);
	op_ok(c, vm, ENGINE_VM_PAUSE);
	do {
		r = get(c, vm, ENGINE_MAX_TRACE_READ);
		assert_int_equal(r.lost, 0);
		for (k = 0; k < r.count; k++) {
			assert_true(r.at[k].exit_reason < 88);
			seen[r.at[k].exit_reason]++;
		}
		k = r.count;
		put(&r);
	} while (k);
	for (i = 0; i < 88; i++) {
		snprintf(name, sizeof(name), "exit.%s", engine_exit_name(i));
		if (engine_exit_name(i) && stat_of(c, vm, name) - before[i] != seen[i])
			fail_msg("%s: %lu recorded", name, (unsigned long)seen[i]);
	}
	assert_true(seen[EXIT_IO] == 60 && seen[EXIT_CPUID] == 40);
	end(c, vm);
}

/* --- loss ----------------------------------------------------------------------------------- */

/* A script of a ring with room for 4: OUTs, and what reads give. */
struct ring_step {
	uint32_t outs;
	uint32_t max;	/* then a read of so many at most; 0: none */
	uint64_t total; /* that it tells lost */
	uint32_t count;
	uint64_t seq[4];
};

static const struct ring_step ring_steps[] = {
	{3, 4, 0, 3, {0, 1, 2}},
	{0, 4, 0, 0, {0}},
	{4, 0, 0, 0, {0}},
	/* 3..6 are kept, 7..9 lost. */
	{3, 4, 0, 4, {3, 4, 5, 6}},
	{1, 4, 3, 1, {10}},
	/* 11..14 kept, 15 and 16 lost, told by a read that finds nothing else. */
	{6, 2, 0, 2, {11, 12}},
	{0, 4, 0, 2, {13, 14}},
	{0, 4, 2, 0, {0}},
	{0, 4, 0, 0, {0}},
	/* 17..20 kept, 21 lost, 22 kept again: the gap is between two records. */
	{5, 2, 0, 2, {17, 18}},
	{1, 4, 0, 3, {19, 20, 22}},
	{0, 4, 0, 0, {0}},
};

static void trace_loss(struct contract *c)
{
	const struct engine_trace_set what = {.kinds = KIND(EXIT),
					      .records = 4,
					      .vcpu = UINT32_MAX,
					      .exits = {UINT64_C(1) << EXIT_IO}};
	struct engine_request req = vm_request();
	uint64_t vm = agent_new(c, &req);
	struct engine_event ev = set(c, vm, what);
	struct records r;
	size_t i;
	uint32_t k;

	assert_int_equal(ev.error.code, 0);
	engine_event_release(&ev);
	for (i = 0; i < VMX_ARRAY_SIZE(ring_steps); i++) {
		const struct ring_step *s = &ring_steps[i];

		for (k = 0; k < s->outs; k++)
			agent_do(c, vm, AGENT_OUT, 0x80, 0);
		if (!s->max)
			continue;
		r = get(c, vm, s->max);
		if (r.count != s->count || r.lost != s->total)
			fail_msg("step %zu: %zu records, %lu lost", i, r.count,
				 (unsigned long)r.lost);
		for (k = 0; k < s->count; k++)
			assert_int_equal(r.at[k].seq, s->seq[k]);
		put(&r);
	}
	end(c, vm);
}

/* --- life ------------------------------------------------------------------------------------ */

/* Off frees the room and forgets; on again it begins anew. */
static void trace_off(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = agent_new(c, &req);
	struct records r;
	uint32_t events;

	nothing_left(c, vm);
	set_ok(c, vm, KIND(VIOLATION), 16);
	agent_do(c, vm, AGENT_READ, NOWHERE, 0);
	agent_do(c, vm, AGENT_READ, NOWHERE, 0);
	set_ok(c, vm, 0, 0);
	events = c->trace_events[vm % 256];
	agent_do(c, vm, AGENT_READ, NOWHERE, 0);
	nothing_left(c, vm);
	assert_int_equal(c->trace_events[vm % 256], events);
	set_ok(c, vm, KIND(VIOLATION), 16);
	agent_do(c, vm, AGENT_READ, NOWHERE, 0);
	r = get(c, vm, 16);
	assert_int_equal(r.count, 1);
	assert_int_equal(r.at[0].seq, 0);
	assert_int_equal(r.lost, 0);
	put(&r);
	/* Set once more, what was not read is dropped, and is not called lost. */
	agent_do(c, vm, AGENT_READ, NOWHERE, 0);
	set_ok(c, vm, KIND(VIOLATION), 8);
	nothing_left(c, vm);
	end(c, vm);
}

/* It goes on over a stop, a start and a reset, in one order and one time. */
static void trace_survives(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = vm_new(c, &req, guest_agent, sizeof(guest_agent)), time = 0;
	struct records r;
	size_t i;

	set_ok(c, vm, KIND(VIOLATION), 16);
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
	r = get(c, vm, 16);
	assert_int_equal(r.count, 4);
	for (i = 0; i < 4; i++) {
		assert_int_equal(r.at[i].seq, i);
		assert_int_equal(r.at[i].gpa, NOWHERE + 16 * i);
		assert_true(r.at[i].guest_time > time);
		time = r.at[i].guest_time;
	}
	put(&r);
	end(c, vm);
}

/* What happens to one VM is not in the other's trace. */
static void trace_apart(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm[2];
	struct records r;
	int i, k;

	/* Both agents count their requests from 1. */
	for (i = 0; i < 2; i++) {
		vm[i] = agent_new(c, &req);
		set_ok(c, vm[i], KIND(VIOLATION), 16);
		for (k = 0; k <= i; k++)
			agent_do(c, vm[i], AGENT_READ, NOWHERE + 0x1000 * i, 0);
	}
	for (i = 0; i < 2; i++) {
		r = get(c, vm[i], 16);
		assert_int_equal(r.count, i + 1);
		for (k = 0; k <= i; k++)
			assert_int_equal(r.at[k].gpa, NOWHERE + 0x1000 * i);
		put(&r);
		nothing_left(c, vm[i]);
		assert_true(c->trace_events[vm[i] % 256] > 0);
	}
	set_ok(c, vm[0], 0, 0);
	end(c, vm[0]);
	c->agent_seq = 2;
	agent_do(c, vm[1], AGENT_READ, NOWHERE, 0);
	r = get(c, vm[1], 16);
	assert_int_equal(r.count, 1);
	put(&r);
	end(c, vm[1]);
}

/* Deleted with an event waiting, it takes the event with it. */
static void trace_deleted(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = agent_new(c, &req);
	uint32_t events;

	set_ok(c, vm, ALL_KINDS, ENGINE_MAX_TRACE);
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
	struct records r;
	uint32_t events;
	int i;

	set_ok(c, vm, KIND(VIOLATION), 64);
	for (i = 0; i < 10; i++)
		agent_do(c, vm, AGENT_READ, NOWHERE, 0);
	wait_trace(c, vm, 0);
	op_ok(c, vm, ENGINE_VM_PAUSE);
	for (i = 0; i < 3; i++) {
		events = c->trace_events[vm % 256];
		r = get(c, vm, 3);
		assert_int_equal(r.count, 3);
		put(&r);
		wait_trace(c, vm, events);
	}
	events = c->trace_events[vm % 256];
	r = get(c, vm, 3);
	assert_int_equal(r.count, 1);
	put(&r);
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

static void bad_traces(struct contract *c)
{
	struct engine_request req = vm_request(), read = {.op = ENGINE_TRACE_READ};
	uint64_t vm = agent_new(c, &req);
	struct engine_event ev;
	struct records r;
	size_t i;

	set_ok(c, vm, KIND(VIOLATION), 4);
	agent_do(c, vm, AGENT_READ, NOWHERE, 0);
	for (i = 0; i < VMX_ARRAY_SIZE(bad_sets); i++) {
		ev = set(c, vm, bad_sets[i].set);
		refused(&ev, -EINVAL, bad_sets[i].field, bad_sets[i].limit);
	}
	read.vm = vm;
	for (i = 0; i < 2; i++) {
		read.u.trace_read.max = i ? ENGINE_MAX_TRACE_READ + 1 : 0;
		ev = call(c, &read, NULL, 0, NULL, 0);
		refused(&ev, -EINVAL, ENGINE_FIELD_SIZE, ENGINE_MAX_TRACE_READ);
	}
	/* None of it changed what there was. */
	r = get(c, vm, 4);
	assert_int_equal(r.count, 1);
	put(&r);
	assert_int_equal(engine_submit(c->engine, &read, "x", 1, NULL, 0), -EINVAL);
	read.vm = vm + 1;
	ev = call(c, &read, NULL, 0, NULL, 0);
	refused(&ev, -ENOENT, ENGINE_FIELD_VM, 0);
	end(c, vm);
}

const struct contract_case trace_cases[] = {
	{"trace_filters", trace_filters, ENGINE_CAP_VPID},
	{"trace_counts", trace_counts, 0},
	{"trace_loss", trace_loss, 0},
	{"trace_off", trace_off, 0},
	{"trace_survives", trace_survives, 0},
	{"trace_apart", trace_apart, 0},
	{"trace_deleted", trace_deleted, 0},
	{"trace_told", trace_told, 0},
	{"bad_traces", bad_traces, 0},
	{NULL, NULL, 0},
};
