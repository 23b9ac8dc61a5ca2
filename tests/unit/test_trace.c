/* SPDX-License-Identifier: MIT */
/*
 * The ring of a VM's trace: what it keeps, what it counts as lost; filters; the cause of
 * each INVEPT; and recorders, a reader and settings that change, all at once.
 */
#include "core/trace.h"
#include "mem_fixture.h"

#include <pthread.h>
#include <stdlib.h>

static struct core_trace_record an_exit(uint16_t reason, uint32_t vcpu)
{
	return (struct core_trace_record){
		.kind = CORE_TRACE_EXIT, .exit_reason = reason, .vcpu = vcpu};
}

static struct core_trace_settings settings(uint32_t kinds, uint32_t records)
{
	return (struct core_trace_settings){
		.kinds = kinds, .records = records, .vcpu = CORE_TRACE_NO_VCPU};
}

#define BIT(kind) (1u << CORE_TRACE_##kind)
#define EVERY_KIND ((1u << CORE_TRACE_KINDS) - 1)

/* --- the ring -------------------------------------------------------------------------------- */

/* n records are added, then at most max are read. */
struct step {
	unsigned add;
	size_t max;
	size_t count;
	uint64_t lost, first, last; /* first and last seq */
};

static const struct step steps[] = {
	{2, 5, 2, 0, 0, 1},
	{0, 5, 0, 0, 0, 0},
	/* 2..4 fit, 5 and 6 don't. */
	{5, 2, 2, 0, 2, 3},
	/* 7 and 8 do again: the gap lies between 4 and 7. */
	{2, 5, 3, 0, 4, 8},
	/* 9..11, and 12 is lost; told by the read that finds nothing, and once. */
	{4, 3, 3, 0, 9, 11},
	{0, 1, 0, 1, 0, 0},
	{0, 1, 0, 0, 0, 0},
	/* 13..15, 16..18 lost; 19 tells it. */
	{6, 3, 3, 0, 13, 15},
	{1, 3, 1, 3, 19, 19},
};

static uint64_t clock_of(void *ctx)
{
	return *(uint64_t *)ctx;
}

static void test_ring(void **state)
{
	struct core_trace_settings s = settings(EVERY_KIND, 3);
	struct core_trace_record r = an_exit(10, 0), got[8];
	struct core_trace t;
	uint64_t now = 1000, lost;

	(void)state;
	s.guest_time = clock_of;
	s.ctx = &now;
	core_trace_init(&t);
	assert_int_equal(core_trace_set(&t, &s), 0);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(steps); i++) {
		const struct step *st = &steps[i];
		size_t n;

		for (unsigned k = 0; k < st->add; k++, now++)
			core_trace_add(&t, &r);
		n = core_trace_read(&t, got, st->max, &lost);
		if (n != st->count || lost != st->lost)
			fail_msg("step %zu: %zu records, %lu lost", i, n, (unsigned long)lost);
		if (n == 0)
			continue;
		assert_int_equal(got[0].seq, st->first);
		assert_int_equal(got[n - 1].seq, st->last);
		for (size_t k = 0; k < n; k++)
			assert_int_equal(got[k].guest_time, 1000 + got[k].seq);
	}
	core_trace_fini(&t);
}

/* Reading goes in pieces; all of it comes, in order. */
static void test_long_read(void **state)
{
	const struct core_trace_settings s = settings(EVERY_KIND, 1000);
	static struct core_trace_record got[1000];
	struct core_trace_record r = an_exit(1, 0);
	struct core_trace t;
	uint64_t lost, seq;

	(void)state;
	core_trace_init(&t);
	assert_int_equal(core_trace_set(&t, &s), 0);
	/* The ring's end comes in the middle of a read. */
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 700; i++)
			core_trace_add(&t, &r);
		assert_int_equal(core_trace_waiting(&t, &seq), 700);
		assert_int_equal(seq, 700 * (round + 1));
		assert_int_equal(core_trace_read(&t, got, 1000, &lost), 700);
		assert_int_equal(lost, 0);
		for (unsigned i = 0; i < 700; i++)
			assert_int_equal(got[i].seq, 700 * round + i);
	}
	core_trace_fini(&t);
}

/* What nobody has read is told when it goes: waiting, and lost for want of room. */
static void test_replace(void **state)
{
	const struct core_trace_settings s = settings(EVERY_KIND, 3);
	struct core_trace_record r = an_exit(1, 0), got[2];
	struct core_trace t;
	uint64_t untold = 7, lost;

	(void)state;
	core_trace_init(&t);
	assert_int_equal(core_trace_replace(&t, &s, &untold), 0);
	assert_int_equal(untold, 0);
	for (unsigned i = 0; i < 5; i++)
		core_trace_add(&t, &r);
	assert_int_equal(core_trace_read(&t, got, 2, &lost), 2);
	assert_int_equal(core_trace_replace(&t, &s, &untold), 0);
	assert_int_equal(untold, 3);
	core_trace_add(&t, &r);
	assert_int_equal(core_trace_replace(&t, NULL, &untold), 0);
	assert_int_equal(untold, 1);
	core_trace_fini(&t);
}

/* --- filters -------------------------------------------------------------------------------- */

static const struct {
	struct core_trace_settings s;
	struct core_trace_record r;
	bool taken;
} filters[] = {
#define ALL CORE_TRACE_NO_VCPU
#define SET(kinds_, vcpu_, ...)                                                            \
	{                                                                                  \
		.kinds = (kinds_), .vcpu = (vcpu_), .records = 1, .exits = { __VA_ARGS__ } \
	}
#define EXIT(reason, vcpu_)                                                       \
	{                                                                         \
		.kind = CORE_TRACE_EXIT, .exit_reason = (reason), .vcpu = (vcpu_) \
	}
	{SET(BIT(EXIT), ALL, 0, 0), EXIT(10, 3), true},
	{SET(BIT(EXIT), ALL, 0, 0), EXIT(200, 3), false},
	{SET(BIT(VIOLATION), ALL, 0, 0), EXIT(10, 3), false},
	{SET(BIT(EXIT), ALL, 1 << 10, 0), EXIT(10, 0), true},
	{SET(BIT(EXIT), ALL, 1 << 10, 0), EXIT(9, 0), false},
	{SET(BIT(EXIT), ALL, 0, 1 << 10), EXIT(10, 0), false},
	{SET(BIT(EXIT), ALL, 0, 1 << 10), EXIT(74, 0), true},
	{SET(BIT(EXIT), ALL, 0, VMX_BIT(63)), EXIT(127, 0), true},
	{SET(BIT(EXIT), ALL, UINT64_MAX, UINT64_MAX), EXIT(128, 0), false},
	{SET(BIT(EXIT), 3, 0, 0), EXIT(10, 3), true},
	{SET(BIT(EXIT), 3, 0, 0), EXIT(10, 2), false},
	{SET(BIT(VIOLATION), 0, 1, 0),
	 {.kind = CORE_TRACE_VIOLATION, .exit_reason = 48, .vcpu = 0},
	 true},
	{SET(BIT(INVALIDATION), ALL, 0, 0), {.kind = CORE_TRACE_INVALIDATION, .vcpu = ALL}, true},
	{SET(BIT(INVALIDATION), 0, 0, 0), {.kind = CORE_TRACE_INVALIDATION, .vcpu = ALL}, false},
	{SET(BIT(INVALIDATION), ALL, 1, 0), {.kind = CORE_TRACE_INVALIDATION, .vcpu = 1}, true},
#undef EXIT
#undef SET
#undef ALL
};

static void test_filters(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(filters); i++) {
		struct core_trace_record got;
		struct core_trace t;
		uint64_t lost, seq;

		core_trace_init(&t);
		assert_int_equal(core_trace_set(&t, &filters[i].s), 0);
		core_trace_add(&t, &filters[i].r);
		if (core_trace_waiting(&t, &seq) != filters[i].taken)
			fail_msg("filter %zu", i);
		/* What is not asked for takes no number. */
		assert_int_equal(seq, filters[i].taken);
		assert_int_equal(core_trace_read(&t, &got, 1, &lost), filters[i].taken);
		assert_int_equal(lost, 0);
		core_trace_fini(&t);
	}
}

static void test_settings(void **state)
{
	static const struct {
		uint32_t kinds, records;
		int err;
	} bad[] = {
		{1u << CORE_TRACE_KINDS, 1, -EINVAL},
		{1, 0, -EINVAL},
		{1, CORE_TRACE_MAX_RECORDS + 1, -EINVAL},
	};
	const struct core_trace_settings good = settings(EVERY_KIND, 4);
	struct core_trace_record r = an_exit(10, 0), got[4];
	struct core_trace t;
	uint64_t lost;

	(void)state;
	core_trace_init(&t);
	assert_false(core_trace_on(&t));
	/* Off: nothing is taken, and nothing lost. */
	core_trace_add(&t, &r);
	assert_int_equal(core_trace_read(&t, got, 4, &lost), 0);
	assert_int_equal(lost, 0);
	assert_int_equal(core_trace_set(&t, &good), 0);
	assert_true(core_trace_on(&t));
	core_trace_add(&t, &r);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(bad); i++) {
		struct core_trace_settings s = settings(bad[i].kinds, bad[i].records);

		assert_int_equal(core_trace_set(&t, &s), bad[i].err);
	}
	assert_int_equal(core_trace_read(&t, got, 4, &lost), 1);
	core_trace_add(&t, &r);
	assert_int_equal(core_trace_set(&t, NULL), 0);
	assert_false(core_trace_on(&t));
	assert_null(t.ring);
	assert_int_equal(core_trace_read(&t, got, 4, &lost), 0);
	assert_int_equal(lost, 0);
	core_trace_fini(&t);
}

/* --- invalidations -------------------------------------------------------------------------- */

static void visit(struct mem_machine *m, unsigned cpu, struct core_as *as)
{
	inval_enter(&m->core->cpus[cpu], as);
	inval_leave(&m->core->cpus[cpu]);
}

static void expect_record(struct core_trace *t, enum core_cause cause, unsigned cpu,
			  enum core_trace_insn insn, uint64_t ep4ta)
{
	struct core_trace_record got;
	uint64_t lost;

	assert_int_equal(core_trace_read(t, &got, 1, &lost), 1);
	assert_int_equal(got.kind, CORE_TRACE_INVALIDATION);
	assert_int_equal(got.cause, cause);
	assert_int_equal(got.processor, cpu);
	assert_int_equal(got.insn, insn);
	assert_int_equal(got.ep4ta, ep4ta);
	assert_int_equal(got.vcpu, CORE_TRACE_NO_VCPU);
	assert_int_equal(got.rip | got.gpa.v | got.gva.v | got.exit_reason | got.vpid, 0);
}

/* Each INVEPT of an address space is its VM's, with its cause; another space's is not. */
static void test_causes(void **state)
{
	const struct core_trace_settings s = settings(BIT(INVALIDATION), 16);
	struct core_as_config cfg = {0};
	struct core_as *as, *other;
	struct mem_machine m;
	struct inval_reach reach;
	struct core_trace t;
	uint64_t ep4ta, seq;

	(void)state;
	core_trace_init(&t);
	assert_int_equal(core_trace_set(&t, &s), 0);
	mem_machine_start(&m, &(struct mem_machine_config){.cpus = 3});
	cfg.trace = &t;
	assert_int_equal(core_as_create(m.core, &cfg, &as), 0);
	other = mem_as(&m, 0, false);
	ep4ta = core_ep4ta(core_as_eptp(as));
	for (unsigned i = 0; i < 3; i++) {
		visit(&m, i, as);
		expect_record(&t, CORE_CAUSE_FIRST_USE, i, CORE_TRACE_INVEPT_SINGLE, ep4ta);
		visit(&m, i, other);
		visit(&m, i, as);
	}
	/* 0 changes it, 1 is in guest with it, 2 is out. */
	inval_enter(&m.core->cpus[1], as);
	inval_publish(as, &m.core->cpus[0], &reach);
	inval_publish(other, &m.core->cpus[0], &reach);
	expect_record(&t, CORE_CAUSE_CHANGE, 0, CORE_TRACE_INVEPT_SINGLE, ep4ta);
	visit(&m, 1, as);
	expect_record(&t, CORE_CAUSE_SHOOTDOWN, 1, CORE_TRACE_INVEPT_SINGLE, ep4ta);
	m.core->caps.invept_single = false;
	visit(&m, 2, as);
	/* Told as executed: there is no single-context INVEPT. */
	expect_record(&t, CORE_CAUSE_DEFERRED, 2, CORE_TRACE_INVEPT_ALL, 0);
	/* One that the processor refused was not executed. */
	inval_publish(as, NULL, &reach);
	m.hw[0].answer = HW_FAIL_VALID;
	visit(&m, 0, as);
	assert_int_equal(core_trace_waiting(&t, &seq), 0);
	core_as_destroy(as);
	core_as_destroy(other);
	mem_machine_stop(&m);
	core_trace_fini(&t);
}

/* --- all at once ---------------------------------------------------------------------------- */

#define RECORDERS 3u
#define RECORDS_EACH 20000u

struct recorder {
	struct core_trace *t;
	uint32_t vcpu;
	uint32_t *running;
	pthread_t thread;
};

/* Each record tells in its addresses which of the recorder's it is: torn ones would differ. */
static void *record(void *arg)
{
	struct recorder *me = arg;

	for (uint64_t i = 0; i < RECORDS_EACH; i++) {
		struct core_trace_record r = an_exit(10, me->vcpu);

		r.rip = r.qualification = r.ep4ta = i;
		r.gpa = gpa(i);
		r.gva = gva(i);
		if (core_trace_wants(me->t, CORE_TRACE_EXIT, 10))
			core_trace_add(me->t, &r);
	}
	plat_fetch_add(me->running, UINT32_MAX);
	return NULL;
}

struct reading {
	uint64_t seq, count, lost;
	uint64_t next[RECORDERS]; /* the recorder's own number */
};

static void take(struct core_trace *t, struct reading *x)
{
	struct core_trace_record got[100];
	uint64_t lost;
	size_t n = core_trace_read(t, got, VMX_ARRAY_SIZE(got), &lost);

	x->lost += lost;
	x->seq += lost;
	x->count += n;
	for (size_t i = 0; i < n; i++) {
		const struct core_trace_record *r = &got[i];

		assert_true(r->seq >= x->seq);
		x->lost += r->seq - x->seq;
		x->seq = r->seq + 1;
		assert_true(r->vcpu < RECORDERS);
		assert_true(r->rip == r->gpa.v && r->rip == r->gva.v && r->rip == r->ep4ta &&
			    r->rip == r->qualification);
		assert_true(r->rip >= x->next[r->vcpu]);
		x->next[r->vcpu] = r->rip + 1;
	}
}

static void start_recorders(struct recorder *who, struct core_trace *t, uint32_t *running)
{
	*running = RECORDERS;
	for (uint32_t i = 0; i < RECORDERS; i++) {
		who[i] = (struct recorder){.t = t, .vcpu = i, .running = running};
		assert_int_equal(pthread_create(&who[i].thread, NULL, record, &who[i]), 0);
	}
}

static void join_recorders(struct recorder *who)
{
	for (uint32_t i = 0; i < RECORDERS; i++)
		pthread_join(who[i].thread, NULL);
}

/* Every record is read, or is in a gap: the two make up all that were recorded. */
static void test_crowd(void **state)
{
	const struct core_trace_settings s = settings(EVERY_KIND, 512);
	struct recorder who[RECORDERS];
	struct reading x = {0};
	struct core_trace t;
	uint32_t running;

	(void)state;
	core_trace_init(&t);
	assert_int_equal(core_trace_set(&t, &s), 0);
	start_recorders(who, &t, &running);
	while (plat_load_acquire(&running) != 0)
		take(&t, &x);
	join_recorders(who);
	for (unsigned i = 0; i < 512; i++)
		take(&t, &x);
	assert_int_equal(x.count + x.lost, (uint64_t)RECORDERS * RECORDS_EACH);
	assert_int_equal(x.seq, (uint64_t)RECORDERS * RECORDS_EACH);
	core_trace_fini(&t);
}

/* The ring comes and goes under the recorders' hands. */
static void test_changing(void **state)
{
	struct recorder who[RECORDERS];
	struct core_trace_record got[100];
	struct core_trace t;
	uint64_t lost, n = 0;
	uint32_t running, round = 0;

	(void)state;
	core_trace_init(&t);
	start_recorders(who, &t, &running);
	while (plat_load_acquire(&running) != 0) {
		struct core_trace_settings s = settings(round % 4 ? EVERY_KIND : 0, 1 + round % 64);

		assert_int_equal(core_trace_set(&t, &s), 0);
		for (size_t k = 0; k < round % 3; k++)
			n += core_trace_read(&t, got, VMX_ARRAY_SIZE(got), &lost);
		round++;
	}
	join_recorders(who);
	assert_true(n <= (uint64_t)RECORDERS * RECORDS_EACH);
	core_trace_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ring),	 cmocka_unit_test(test_long_read),
		cmocka_unit_test(test_replace),	 cmocka_unit_test(test_filters),
		cmocka_unit_test(test_settings), cmocka_unit_test(test_causes),
		cmocka_unit_test(test_crowd),	 cmocka_unit_test(test_changing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
