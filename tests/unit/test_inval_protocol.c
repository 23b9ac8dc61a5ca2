/* SPDX-License-Identifier: MIT */
/*
 * The invalidation protocol under threads. Each "processor" is a thread with a cache of
 * translations and of ways into page tables, tagged by EP4TA, from which only INVEPT
 * drops anything. Others remap, unmap and map what the processors use. Each host frame
 * says which guest-physical page it is; a frame that was unmapped is marked free as soon
 * as the change has returned. A processor that reads a frame which is not what it asked
 * for has used a stale translation.
 */
#include "core/as_internal.h"
#include "plat/user.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define PROCESSORS 4u /* the first also changes mappings, between its visits to guests */
#define CHANGERS 2u   /* processor 0, and a thread that is on no processor */
#define SPACES 2u
#define PAGES_PER_CHANGER 8u
#define PAGES (CHANGERS * PAGES_PER_CHANGER)
#define FRAMES_PER_CHANGER (2 * PAGES_PER_CHANGER)
#define ACCESSES_PER_VISIT 2000u
#define FREE_FRAME UINT64_C(0xdeadbeefdeadbeef)

struct cached {
	uint64_t ep4ta; /* 0: nothing */
	uint64_t addr;
};

struct hw_cpu {
	uint32_t kicked;
	struct cached leaves[SPACES][PAGES]; /* indexed by what is asked, checked by tag */
	struct cached tables[SPACES][PAGES];
	uint64_t stale, reads;
	uint64_t random;
	unsigned id;
	struct machine *m;
};

struct space {
	struct core_as *as;
	struct core_slot slots[CHANGERS];
	int frame_of[PAGES]; /* -1: unmapped; its changer's */
};

struct machine {
	struct plat *plat;
	struct core *core;
	struct hw_cpu hw[PROCESSORS];
	struct space spaces[SPACES];
	uint32_t stop;
	bool lose_flushes; /* INVEPT does nothing: the test must notice */
	uint32_t flags;	   /* of the changes */
	unsigned changes;
};

static uint64_t next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *state >> 33;
}

/* --- the fake processor -------------------------------------------------------------------- */

static void drop(struct hw_cpu *cpu, uint64_t ep4ta, bool all)
{
	for (unsigned s = 0; s < SPACES; s++) {
		for (unsigned p = 0; p < PAGES; p++) {
			if (all || cpu->leaves[s][p].ep4ta == ep4ta)
				cpu->leaves[s][p].ep4ta = 0;
			if (all || cpu->tables[s][p].ep4ta == ep4ta)
				cpu->tables[s][p].ep4ta = 0;
		}
	}
}

enum hw_result hw_invept(struct hw_cpu *cpu, uint64_t type, const struct hw_invept_desc *desc)
{
	if (!cpu->m->lose_flushes)
		drop(cpu, core_ep4ta(desc->eptp), type == HW_INVEPT_ALL);
	return HW_SUCCEED;
}

enum hw_result hw_invvpid(struct hw_cpu *cpu, uint64_t type, const struct hw_invvpid_desc *desc)
{
	(void)cpu;
	(void)type;
	(void)desc;
	return HW_SUCCEED;
}

static void on_kick(void *ctx, unsigned cpu)
{
	struct machine *m = ctx;

	plat_store(&m->hw[cpu].kicked, 1);
}

/* Pairs of pages share a page table; so tables come and go as well. */
static uint64_t page_address(unsigned page)
{
	return VMX_SIZE_1G + page / 2 * VMX_SIZE_2M + page % 2 * VMX_PAGE_SIZE;
}

/* One entry, as a processor reads it. 0 if memory does not answer. */
static uint64_t read_entry(struct machine *m, uint64_t table, uint64_t a, unsigned level)
{
	uint64_t *t = plat_hpa_ptr(m->plat, hpa(table & EPT_ADDR));

	return t ? plat_load_acquire(&t[ept_index(a, level)]) : 0;
}

/* Where the page table for a lies; from the cache, or by a walk that fills it. 0: nowhere. */
static uint64_t find_table(struct hw_cpu *cpu, unsigned space, unsigned page, uint64_t a)
{
	uint64_t ep4ta = core_ep4ta(core_as_eptp(cpu->m->spaces[space].as)), table = ep4ta;
	struct cached *c = &cpu->tables[space][page];

	if (c->ep4ta == ep4ta)
		return c->addr;
	for (unsigned level = 4; level > 1; level--) {
		uint64_t e = read_entry(cpu->m, table, a, level);

		if (!ept_present(e, false))
			return 0;
		table = e & EPT_ADDR;
	}
	*c = (struct cached){ep4ta, table};
	return table;
}

static void access_page(struct hw_cpu *cpu, unsigned space, unsigned page)
{
	uint64_t a = page_address(page), tag = (uint64_t)space << 32 | page, value;
	uint64_t ep4ta = core_ep4ta(core_as_eptp(cpu->m->spaces[space].as));
	struct cached *c = &cpu->leaves[space][page];
	const uint64_t *frame;

	/* Now and then room is needed: then the cached way into the page table is used. */
	if (next_random(&cpu->random) % 4 == 0)
		c->ep4ta = 0;
	if (c->ep4ta != ep4ta) {
		uint64_t table = find_table(cpu, space, page, a), e;

		e = table ? read_entry(cpu->m, table, a, 1) : 0;
		if (!ept_present(e, false)) {
			/* An EPT violation drops what was used for this address. */
			cpu->tables[space][page].ep4ta = 0;
			return;
		}
		*c = (struct cached){ep4ta, e & EPT_ADDR};
	}
	frame = plat_hpa_ptr(cpu->m->plat, hpa(c->addr));
	value = frame ? plat_load(frame) : FREE_FRAME;
	cpu->reads++;
	if (value != tag)
		cpu->stale++;
}

/* A visit to a guest: until kicked, or some accesses later. */
static void visit(struct hw_cpu *cpu)
{
	struct core_cpu *core_cpu = &cpu->m->core->cpus[cpu->id];
	unsigned space = (unsigned)(next_random(&cpu->random) % SPACES);

	inval_enter(core_cpu, cpu->m->spaces[space].as);
	for (unsigned i = 0; i < ACCESSES_PER_VISIT && !plat_load(&cpu->kicked); i++)
		access_page(cpu, space, (unsigned)(next_random(&cpu->random) % PAGES));
	inval_leave(core_cpu);
	plat_store(&cpu->kicked, 0);
}

static void *processor_main(void *arg)
{
	struct hw_cpu *cpu = arg;

	while (!plat_load(&cpu->m->stop)) {
		visit(cpu);
		sched_yield();
	}
	return NULL;
}

/* --- the changers -------------------------------------------------------------------------- */

struct changer {
	struct machine *m;
	unsigned id;
	struct core_cpu *this_cpu; /* NULL: none */
	struct hw_cpu *hw;
	bool free_frame[SPACES][FRAMES_PER_CHANGER];
	uint64_t random;
};

static uint64_t *frame_tag(struct machine *m, struct space *s, unsigned changer, int frame)
{
	uint64_t bytes;
	hpa_t at;

	if (plat_mem_extent(s->slots[changer].mem, (uint64_t)frame * VMX_PAGE_SIZE, VMX_PAGE_SIZE,
			    &at, &bytes) != 0)
		abort();
	return plat_hpa_ptr(m->plat, at);
}

static int take_frame(struct changer *c, unsigned space)
{
	int frame = (int)(next_random(&c->random) % FRAMES_PER_CHANGER);

	while (!c->free_frame[space][frame])
		frame = (frame + 1) % (int)FRAMES_PER_CHANGER;
	c->free_frame[space][frame] = false;
	return frame;
}

/* Some pages of one space get other frames, or none, in one batch. */
static void change_some(struct changer *c)
{
	unsigned space = (unsigned)(next_random(&c->random) % SPACES), count = 0;
	unsigned want = 1 + (unsigned)(next_random(&c->random) % 3);
	struct space *s = &c->m->spaces[space];
	struct core_map_op ops[3];
	struct core_change change;
	struct core_conflict conflict;
	int old[3];

	for (unsigned i = 0; i < want; i++) {
		unsigned page = c->id * PAGES_PER_CHANGER +
				(unsigned)(next_random(&c->random) % PAGES_PER_CHANGER);
		struct core_map_op *op = &ops[count];
		bool mapped = s->frame_of[page] >= 0;

		*op = (struct core_map_op){
			.kind = !mapped			      ? CORE_MAP
				: next_random(&c->random) % 2 ? CORE_UNMAP
							      : CORE_REMAP,
			.prot = CORE_PROT_RWX,
			.memtype = CORE_MT_WB,
			.gpa = gpa(page_address(page)),
			.size = VMX_PAGE_SIZE,
			.slot = &s->slots[c->id],
		};
		old[count++] = s->frame_of[page];
		s->frame_of[page] = -1;
		if (op->kind != CORE_UNMAP) {
			int frame = take_frame(c, space);

			op->offset = (uint64_t)frame * VMX_PAGE_SIZE;
			plat_store(frame_tag(c->m, s, c->id, frame), (uint64_t)space << 32 | page);
			s->frame_of[page] = frame;
		}
	}
	if (core_as_apply(s->as, c->this_cpu, ops, count, c->m->flags, &change, &conflict) != 0)
		abort();
	for (unsigned i = 0; i < count; i++) {
		if (old[i] < 0)
			continue;
		plat_store(frame_tag(c->m, s, c->id, old[i]), FREE_FRAME);
		c->free_frame[space][old[i]] = true;
	}
}

static void *changer_main(void *arg)
{
	struct changer *c = arg;

	for (unsigned i = 0; i < c->m->changes; i++) {
		change_some(c);
		if (c->hw)
			visit(c->hw);
	}
	return NULL;
}

/* --- putting it together ------------------------------------------------------------------- */

static void start(struct machine *m)
{
	struct plat_user_config cfg = {.cpus = PROCESSORS, .kick = on_kick, .kick_ctx = m};
	struct core_as_config ac = {.max_page_bytes = VMX_SIZE_4K, .walk_length = 4};

	assert_int_equal(plat_user_create(&cfg, &m->plat), 0);
	m->core = calloc(1, sizeof(*m->core));
	assert_non_null(m->core);
	m->core->plat = m->plat;
	m->core->nr_cpus = PROCESSORS;
	m->core->caps = (struct core_caps){.ept = true, .invept_single = true, .invept_all = true};
	for (unsigned i = 0; i < PROCESSORS; i++) {
		m->core->cpus[i] = (struct core_cpu){.core = m->core, .id = i, .hw = &m->hw[i]};
		m->hw[i].id = i;
		m->hw[i].m = m;
		m->hw[i].random = i;
	}
	for (unsigned s = 0; s < SPACES; s++) {
		assert_int_equal(core_as_create(m->core, &ac, &m->spaces[s].as), 0);
		for (unsigned p = 0; p < PAGES; p++)
			m->spaces[s].frame_of[p] = -1;
		for (unsigned c = 0; c < CHANGERS; c++) {
			struct core_slot *slot = &m->spaces[s].slots[c];

			slot->size = FRAMES_PER_CHANGER * VMX_PAGE_SIZE;
			assert_int_equal(plat_mem_create(m->plat, PLAT_MEM_ANON, slot->size, -1, 0,
							 &slot->mem),
					 0);
		}
	}
}

static void stop(struct machine *m)
{
	for (unsigned s = 0; s < SPACES; s++) {
		core_as_destroy(m->spaces[s].as);
		for (unsigned c = 0; c < CHANGERS; c++) {
			assert_int_equal(m->spaces[s].slots[c].mapped_bytes, 0);
			plat_mem_destroy(m->plat, m->spaces[s].slots[c].mem);
		}
	}
	assert_int_equal(plat_user_destroy(m->plat), 0);
	free(m->core);
}

static uint64_t sum(struct machine *m, enum core_stat stat)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < PROCESSORS; i++)
		n += core_stat_get(&m->core->cpus[i].stats, stat);
	return n;
}

/* Runs all threads; returns how many stale translations were used. */
static uint64_t run(struct machine *m, unsigned changes)
{
	struct changer changers[CHANGERS] = {{.id = 0}, {.id = 1}};
	pthread_t processor[PROCESSORS], changer[CHANGERS];
	uint64_t stale = 0, reads = 0;

	m->changes = changes;
	for (unsigned c = 0; c < CHANGERS; c++) {
		changers[c].m = m;
		changers[c].random = 100 + c;
		memset(changers[c].free_frame, true, sizeof(changers[c].free_frame));
	}
	changers[0].this_cpu = &m->core->cpus[0];
	changers[0].hw = &m->hw[0];
	for (unsigned i = 1; i < PROCESSORS; i++)
		assert_int_equal(pthread_create(&processor[i], NULL, processor_main, &m->hw[i]), 0);
	for (unsigned c = 0; c < CHANGERS; c++)
		assert_int_equal(pthread_create(&changer[c], NULL, changer_main, &changers[c]), 0);
	for (unsigned c = 0; c < CHANGERS; c++)
		pthread_join(changer[c], NULL);
	plat_store(&m->stop, 1);
	for (unsigned i = 1; i < PROCESSORS; i++)
		pthread_join(processor[i], NULL);
	for (unsigned i = 0; i < PROCESSORS; i++) {
		stale += m->hw[i].stale;
		reads += m->hw[i].reads;
	}
	assert_true(reads > changes);
	print_message(
		"%llu reads, %llu stale; INVEPT: %llu at once, %llu shot down, %llu deferred\n",
		(unsigned long long)reads, (unsigned long long)stale,
		(unsigned long long)sum(m, CORE_STAT_INVEPT_CAUSE_CHANGE),
		(unsigned long long)sum(m, CORE_STAT_INVEPT_CAUSE_SHOOTDOWN),
		(unsigned long long)sum(m, CORE_STAT_INVEPT_CAUSE_DEFERRED));
	return stale;
}

static void test_no_stale_use(void **state)
{
	struct machine m = {0};

	(void)state;
	start(&m);
	assert_int_equal(run(&m, 20000), 0);
	/* Each way of being reached was taken. */
	assert_true(sum(&m, CORE_STAT_INVEPT_CAUSE_CHANGE) > 0);
	assert_true(sum(&m, CORE_STAT_INVEPT_CAUSE_SHOOTDOWN) > 0);
	assert_true(sum(&m, CORE_STAT_INVEPT_CAUSE_DEFERRED) > 0);
	assert_true(sum(&m, CORE_STAT_INVEPT_CAUSE_FIRST_USE) >= PROCESSORS);
	stop(&m);
}

/* The test can fail: without the flush itself ... */
static void test_lost_flush_is_seen(void **state)
{
	struct machine m = {.lose_flushes = true};

	(void)state;
	start(&m);
	assert_true(run(&m, 500) > 0);
	stop(&m);
}

/* ... and when the change is told to leave it out. */
static void test_left_out_flush_is_seen(void **state)
{
	struct machine m = {.flags = CORE_CHANGE_SKIP_INVALIDATION};

	(void)state;
	start(&m);
	assert_true(run(&m, 500) > 0);
	stop(&m);
}

/* --- the barrier --------------------------------------------------------------------------- */

/*
 * The tightest form: one processor that enters and leaves without end, one changer that
 * does nothing but publish. What the processor "caches" is the number of the last
 * change at its last INVEPT; in guest it must never lag behind a published change.
 */
struct tight {
	struct machine m;
	uint64_t current, published;
	uint64_t cached, lagged, visits;
};

static void *tight_processor(void *arg)
{
	struct tight *t = arg;
	struct core_cpu *cpu = &t->m.core->cpus[1];
	struct core_as *as = t->m.spaces[0].as;
	uint64_t flushes = 0;

	while (!plat_load(&t->m.stop)) {
		struct core_stats *s = &cpu->stats;
		uint64_t now;

		inval_enter(cpu, as);
		now = core_stat_get(s, CORE_STAT_INVEPT_SINGLE);
		if (now != flushes)
			t->cached = plat_load_acquire(&t->current);
		flushes = now;
		for (unsigned i = 0; i < 8; i++)
			t->lagged += t->cached < plat_load_acquire(&t->published);
		inval_leave(cpu);
		t->visits++;
	}
	return NULL;
}

static void test_barrier(void **state)
{
	struct tight t = {0};
	pthread_t processor;
	struct inval_reach reach;

	(void)state;
	start(&t.m);
	assert_int_equal(pthread_create(&processor, NULL, tight_processor, &t), 0);
	for (uint64_t i = 1; i <= 300000; i++) {
		plat_store_release(&t.current, i);
		inval_publish(t.m.spaces[0].as, NULL, &reach);
		plat_store_release(&t.published, i);
	}
	plat_store(&t.m.stop, 1);
	pthread_join(processor, NULL);
	print_message("%llu visits, %llu lagging\n", (unsigned long long)t.visits,
		      (unsigned long long)t.lagged);
	assert_int_equal(t.lagged, 0);
	stop(&t.m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_barrier),
		cmocka_unit_test(test_no_stale_use),
		cmocka_unit_test(test_lost_flush_is_seen),
		cmocka_unit_test(test_left_out_flush_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
