/* SPDX-License-Identifier: MIT */
/* Traces: what is recorded, in which order, and what is lost. */
#include "contract/cases.h"

#include "contract/guests.h"
#include "contract/tracing.h"

#include <stdio.h>

#define EXIT_CPUID 10u
#define EXIT_IO 30u
#define EXIT_EPT_VIOLATION 48u
#define NOWHERE UINT64_C(0x2000000) /* beyond the RAM */
#define CODE UINT64_C(0x500000)

static void end(struct contract *c, uint64_t vm)
{
	op_ok(c, vm, ENGINE_VM_STOP);
	op_ok(c, vm, ENGINE_VM_DELETE);
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
	struct trace_records r;
	size_t i, some;

	do {
		r = trace_get(c, vm, ENGINE_MAX_TRACE_READ);
		assert_int_equal(r.lost, 0);
		for (i = 0; i < r.count; i++) {
			assert_int_equal(r.at[i].seq, seq++);
			assert_true(trace_time(&r.at[i]) >= time);
			time = trace_time(&r.at[i]);
			if (r.at[i].kind == ENGINE_TRACE_INVALIDATION)
				t.invalidations++;
			else
				check_exit(&r.at[i], &t);
		}
		some = r.count;
		trace_put(&r);
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
		ev = trace_set(c, vm, what);
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
	struct trace_records r;
	char name[64];
	uint32_t i;
	size_t k;

	gpa_write(c, vm, CODE, cpuid_ret, sizeof(cpuid_ret));
	op_ok(c, vm, ENGINE_VM_PAUSE);
	trace_on(c, vm, KIND(EXIT) | KIND(VIOLATION), ENGINE_MAX_TRACE);
	for (i = 0; i < 88; i++) {
		snprintf(name, sizeof(name), "exit.%s", engine_exit_name(i));
		before[i] = engine_exit_name(i) ? stat_of(c, vm, name) : 0;
	}
	op_ok(c, vm, ENGINE_VM_RESUME);
	for (i = 0; i < 20; i++)
		script(c, vm);
	op_ok(c, vm, ENGINE_VM_PAUSE);
	do {
		r = trace_get(c, vm, ENGINE_MAX_TRACE_READ);
		assert_int_equal(r.lost, 0);
		for (k = 0; k < r.count; k++) {
			assert_true(r.at[k].exit_reason < 88);
			seen[r.at[k].exit_reason]++;
		}
		k = r.count;
		trace_put(&r);
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
	struct engine_event ev = trace_set(c, vm, what);
	struct trace_records r;
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
		r = trace_get(c, vm, s->max);
		if (r.count != s->count || r.lost != s->total)
			fail_msg("step %zu: %zu records, %lu lost", i, r.count,
				 (unsigned long)r.lost);
		for (k = 0; k < s->count; k++)
			assert_int_equal(r.at[k].seq, s->seq[k]);
		trace_put(&r);
	}
	end(c, vm);
}

/* --- again ------------------------------------------------------------------------------------ */

#define MAX_RECORDS 1024u

/* All that happens to a guest from its start to its end. */
static size_t whole_run(const char *name, struct engine_trace_record *ret)
{
	const struct engine_config cfg = {.processors = 3, .seed = 7, .scatter = 1};
	struct contract c = {.name = name};
	struct engine_request req = vm_request();
	struct trace_records r;
	uint64_t vm[2];
	size_t n;
	int i;

	contract_open(&c, &cfg);
	for (i = 0; i < 2; i++)
		vm[i] = vm_new(&c, &req, guest_work, sizeof(guest_work));
	trace_on(&c, vm[1], ALL_KINDS, MAX_RECORDS);
	for (i = 0; i < 2; i++) {
		op_ok(&c, vm[i], ENGINE_VM_START);
		wait_state(&c, vm[i], ENGINE_STATE_SHUTOFF);
	}
	r = trace_get(&c, vm[1], MAX_RECORDS);
	n = r.count;
	memcpy(ret, r.at, n * sizeof(*ret));
	trace_put(&r);
	trace_none(&c, vm[1]);
	contract_close(&c);
	return n;
}

/* The same machine and requests: the same records, to the last bit. */
static void trace_deterministic(struct contract *c)
{
	static struct engine_trace_record run[2][MAX_RECORDS];
	size_t n = whole_run(c->name, run[0]);

	assert_true(n > 30 && n < MAX_RECORDS);
	assert_int_equal(whole_run(c->name, run[1]), n);
	assert_memory_equal(run[0], run[1], n * sizeof(run[0][0]));
	/* Its last exit is the OUT that ended it. */
	assert_int_equal(run[0][n - 1].exit_reason, EXIT_IO);
	assert_int_equal(run[0][n - 1].qualification >> 16, 0xf4);
	assert_true(run[0][n - 1].guest_time > 2000 * 400);
}

/* All counters of a VM that has run to its end, traced or not. */
static struct engine_event counters(const char *name, uint32_t kinds)
{
	const struct engine_config cfg = {.processors = 1, .seed = 7};
	struct contract c = {.name = name};
	struct engine_request req = vm_request(), st = {.op = ENGINE_STATS};
	struct engine_event ev;

	contract_open(&c, &cfg);
	st.vm = vm_new(&c, &req, guest_faulter, sizeof(guest_faulter));
	trace_on(&c, st.vm, kinds, MAX_RECORDS);
	op_ok(&c, st.vm, ENGINE_VM_START);
	wait_state(&c, st.vm, ENGINE_STATE_SHUTOFF);
	ev = call_ok(&c, &st, NULL, 0);
	contract_close(&c);
	return ev;
}

/* What the guest causes by itself, however often it is interrupted. */
static bool is_of_guest(const char *name)
{
	static const char *const begin[] = {
		"exit.io-instruction",
		"exit.triple-fault",
		"io.",
		"mmio.",
		"emulate.",
		"console.",
		"memory.",
		"maps",
	};
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(begin); i++)
		if (strncmp(begin[i], name, strlen(begin[i])) == 0)
			return true;
	return false;
}

/* Looking changes nothing: exits, walks, hits and retired instructions are the same. */
static void trace_touches_nothing(struct contract *c)
{
	struct engine_event a = counters(c->name, 0), b = counters(c->name, ALL_KINDS);
	const bool exact = contract_has(c, ENGINE_CAP_DETERMINISTIC);
	const struct engine_stat *x = a.payload, *y = b.payload;
	size_t i, compared = 0;

	assert_int_equal(a.payload_bytes, b.payload_bytes);
	for (i = 0; i < a.payload_bytes / sizeof(*x); i++) {
		assert_string_equal(x[i].name, y[i].name);
		assert_int_equal(x[i].observable, y[i].observable);
		if (!exact && !is_of_guest(x[i].name))
			continue;
		if (x[i].value != y[i].value)
			fail_msg("%s: %lu and %lu", x[i].name, (unsigned long)x[i].value,
				 (unsigned long)y[i].value);
		compared++;
	}
	assert_true(compared >= 12);
	engine_event_release(&a);
	engine_event_release(&b);
}

const struct contract_case trace_cases[] = {
	{"trace_filters", trace_filters, ENGINE_CAP_VPID},
	{"trace_counts", trace_counts, 0},
	{"trace_loss", trace_loss, 0},
	{"trace_deterministic", trace_deterministic, ENGINE_CAP_DETERMINISTIC},
	{"trace_touches_nothing", trace_touches_nothing, 0},
	{NULL, NULL, 0},
};
