// SPDX-License-Identifier: MIT
/*
 * Remaps of single 4 KiB pages below the API: through core alone, and through an engine's
 * queue and thread. RAM of 65,536 pages is mapped by 4 KiB leaves; pages and their new
 * places in another slot are drawn at random. What is measured is the state that this
 * leads to: nearly every page a mapping of its own.
 *
 *   bench_remap [--quick] [--rounds N] [--batch SIZE]
 *
 * Prints JSON: for each layer and size of a batch, CPU nanoseconds of one remap, the
 * median of the rounds and each round.
 */
#include "core/as.h"
#include "hw/model/model.h"
#include "plat/user.h"
#include <vmxcore/engine.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAGES 65536u
#define BYTES ((uint64_t)PAGES * VMX_PAGE_SIZE)
#define ROUNDS_MAX 100u

static const uint32_t sizes[] = {1, 16, 256, 4096, 65536};

/* Pages and places of a batch, as both layers take them. */
struct target {
	uint64_t gpa, offset;
};

struct layer {
	const char *name;
	void (*open)(void);
	void (*apply)(const struct target *targets, uint32_t count);
	void (*close)(void);
};

static void die(const char *what)
{
	fprintf(stderr, "bench_remap: %s\n", what);
	exit(1);
}

static void *need(size_t count, size_t size)
{
	void *p = calloc(count, size);

	if (!p)
		die("out of memory");
	return p;
}

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* --- core alone ---------------------------------------------------------------------------- */

static struct {
	struct plat *plat;
	struct model *model;
	struct core *core;
	struct core_as *as;
	struct core_slot ram, spare;
	struct core_map_op *ops;
} alone;

static void make_slot(struct core_slot *slot, uint32_t id)
{
	*slot = (struct core_slot){.id = id, .size = BYTES};
	if (plat_mem_create(alone.plat, PLAT_MEM_ANON, BYTES, -1, 0, &slot->mem))
		die("no memory for a slot");
}

static void core_apply(uint32_t count)
{
	struct core_change change;
	struct core_conflict conflict;

	if (core_as_apply(alone.as, &alone.core->cpus[0], alone.ops, count, 0, &change, &conflict))
		die("core refuses a batch");
}

static void core_open(void)
{
	struct plat_user_config pc = {.arena_bytes = 8 * BYTES, .cpus = 1};
	struct core_as_config config = {.max_page_bytes = VMX_SIZE_4K};
	struct model_config mc = {.cpus = 1, .tlb = &model_tlb_skylake};

	if (plat_user_create(&pc, &alone.plat))
		die("no platform");
	mc.plat = alone.plat;
	if (model_create(&mc, &alone.model) || core_create(alone.plat, 1, &alone.core) ||
	    core_cpu_online(alone.core, 0, model_cpu(alone.model, 0)) ||
	    core_as_create(alone.core, &config, &alone.as))
		die("no machine");
	make_slot(&alone.ram, 1);
	make_slot(&alone.spare, 2);
	alone.ops = need(PAGES, sizeof(*alone.ops));
	alone.ops[0] = (struct core_map_op){.kind = CORE_MAP,
					    .prot = CORE_PROT_RWX,
					    .memtype = CORE_MT_WB,
					    .size = BYTES,
					    .slot = &alone.ram};
	core_apply(1);
}

static void core_batch(const struct target *targets, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		alone.ops[i] = (struct core_map_op){.kind = CORE_REMAP,
						    .gpa = gpa(targets[i].gpa),
						    .size = VMX_PAGE_SIZE,
						    .slot = &alone.spare,
						    .offset = targets[i].offset};
	core_apply(count);
}

static void core_close(void)
{
	core_as_destroy(alone.as);
	plat_mem_destroy(alone.plat, alone.ram.mem);
	plat_mem_destroy(alone.plat, alone.spare.mem);
	core_cpu_offline(alone.core, 0);
	core_destroy(alone.core);
	model_destroy(alone.model);
	plat_user_destroy(alone.plat);
	free(alone.ops);
}

/* --- through an engine ------------------------------------------------------------------------ */

static struct {
	struct engine *engine;
	uint64_t vm;
	struct engine_map_op *ops;
} through;

static uint64_t engine_do(struct engine_request *req, const void *payload, size_t bytes)
{
	struct pollfd p = {.fd = engine_event_fd(through.engine), .events = POLLIN};
	struct engine_event ev;
	uint64_t vm = 0;
	bool done = false;

	if (engine_submit(through.engine, req, payload, bytes, NULL, 0))
		die("the engine takes no request");
	while (!done) {
		if (engine_next_event(through.engine, &ev)) {
			poll(&p, 1, -1);
			continue;
		}
		done = ev.type == ENGINE_EVENT_COMPLETION;
		if (done && ev.error.code)
			die(ev.error.text);
		vm = ev.vm;
		engine_event_release(&ev);
	}
	return vm;
}

static void engine_layer_open(void)
{
	const struct engine_config config = {.processors = 1};
	struct engine_request req = {.op = ENGINE_VM_CREATE};

	if (engine_open("soft", &config, &through.engine))
		die("the engine does not open");
	req.u.create.memory_bytes = BYTES;
	req.u.create.ept_page_bytes = VMX_SIZE_4K;
	req.u.create.vcpus = 1;
	req.u.create.use_vpid = 1;
	req.u.create.processor[0] = ENGINE_ANY_PROCESSOR;
	through.vm = engine_do(&req, NULL, 0);
	req = (struct engine_request){.op = ENGINE_SLOT_ADD, .vm = through.vm};
	req.u.slot_add.size_bytes = BYTES;
	req.u.slot_add.slot = 1;
	engine_do(&req, NULL, 0);
	through.ops = need(PAGES, sizeof(*through.ops));
}

static void engine_batch(const struct target *targets, uint32_t count)
{
	struct engine_request req = {.op = ENGINE_MEM_APPLY, .vm = through.vm};

	for (uint32_t i = 0; i < count; i++)
		through.ops[i] = (struct engine_map_op){.kind = ENGINE_REMAP,
							.gpa = targets[i].gpa,
							.size_bytes = VMX_PAGE_SIZE,
							.slot = 1,
							.offset_bytes = targets[i].offset};
	req.u.apply.count = count;
	engine_do(&req, through.ops, count * sizeof(*through.ops));
}

static void engine_layer_close(void)
{
	engine_close(through.engine);
	free(through.ops);
}

static const struct layer layers[] = {
	{"core", core_open, core_batch, core_close},
	{"engine", engine_layer_open, engine_batch, engine_layer_close},
};

/* --- rounds ----------------------------------------------------------------------------------- */

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A shuffle of all pages; a batch takes its next ones. */
static struct target *make_targets(void)
{
	struct target *t = need(PAGES, sizeof(*t));
	uint64_t random = 11;

	for (uint32_t i = 0; i < PAGES; i++)
		t[i] = (struct target){i * (uint64_t)VMX_PAGE_SIZE,
				       next_random(&random) % PAGES * VMX_PAGE_SIZE};
	for (uint32_t i = PAGES - 1; i > 0; i--) {
		const uint32_t k = (uint32_t)(next_random(&random) % (i + 1));
		const struct target swap = t[i];

		t[i] = t[k];
		t[k] = swap;
	}
	return t;
}

static double one_round(const struct layer *l, const struct target *targets, uint32_t size,
			uint32_t batches)
{
	const uint64_t start = cpu_ns();

	for (uint32_t i = 0; i < batches; i++)
		l->apply(&targets[(uint64_t)i * size % PAGES], size);
	return (double)(cpu_ns() - start) / batches / size;
}

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(const struct layer *l, const struct target *targets, uint32_t size,
		    uint32_t batches, unsigned rounds, bool first)
{
	double values[ROUNDS_MAX], sorted[ROUNDS_MAX];

	for (unsigned i = 0; i < rounds; i++)
		sorted[i] = values[i] = one_round(l, targets, size, batches);
	qsort(sorted, rounds, sizeof(*sorted), by_value);
	printf("%s  {\"name\": \"%s batch=%u\", \"unit\": \"CPU ns a remap\", \"median\": %.1f, "
	       "\"min\": %.1f, \"max\": %.1f, \"rounds\": [",
	       first ? "" : ",\n", l->name, size, sorted[rounds / 2], sorted[0],
	       sorted[rounds - 1]);
	for (unsigned i = 0; i < rounds; i++)
		printf("%s%.1f", i ? ", " : "", values[i]);
	printf("]}");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct target *targets = make_targets();
	unsigned rounds = 5;
	uint32_t only = 0;
	bool quick = false, first = true;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--quick") == 0)
			quick = true;
		else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
			rounds = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--batch") == 0 && i + 1 < argc)
			only = (uint32_t)strtoul(argv[++i], NULL, 10);
		else
			die("usage: bench_remap [--quick] [--rounds N] [--batch SIZE]");
	}
	if (!rounds || rounds > ROUNDS_MAX)
		die("--rounds from 1 to 100");
	printf("{\n \"pages\": %u, \"rounds\": %u, \"quick\": %s,\n \"results\": [\n", PAGES,
	       rounds, quick ? "true" : "false");
	for (size_t l = 0; l < VMX_ARRAY_SIZE(layers); l++) {
		layers[l].open();
		layers[l].apply(targets, PAGES);
		for (size_t k = 0; k < VMX_ARRAY_SIZE(sizes); k++) {
			if (only && only != sizes[k])
				continue;
			measure(&layers[l], targets, sizes[k],
				quick		  ? 2
				: sizes[k] < 4096 ? 2 * PAGES / sizes[k] / (k ? 1 : 4)
						  : 8,
				rounds, first);
			first = false;
		}
		layers[l].close();
	}
	printf("\n ]\n}\n");
	free(targets);
	return 0;
}
