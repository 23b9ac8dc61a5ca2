/* SPDX-License-Identifier: MIT */
/*
 * bench_ept [RUNS]: the time of whole changes of an address space, as JSON. Core does them
 * on the software processor's machine (plat/user.c), without an engine around it: from
 * core_as_apply()'s call to its return, INVEPT included.
 *
 * Each case maps, write-protects, remaps and unmaps one range RUNS times. The first run,
 * in a new machine, is told apart: it takes the host's page faults for the tables.
 */
#include "core/as.h"
#include "core/core.h"
#include "hw/model/model.h"
#include "plat/user.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define RUNS_DEFAULT 15u
#define RUNS_MAX 1000u
#define TIB (UINT64_C(1) << 40)
#define ARENA (2 * TIB + (UINT64_C(128) << 30))

static const struct bench_case {
	const char *name;
	uint64_t range, leaf;
} cases[] = {
	{"1 TiB in 2 MiB leaves", TIB, VMX_SIZE_2M},
	{"1 TiB in 1 GiB leaves", TIB, VMX_SIZE_1G},
	{"16 GiB in 4 KiB leaves", TIB / 64, VMX_SIZE_4K},
};

enum { MAP, PROTECT, REMAP, UNMAP, KINDS };
static const char *const kind_names[KINDS] = {"map", "protect", "remap", "unmap"};

struct machine {
	struct plat *plat;
	struct model *model;
	struct core *core;
	struct core_as *as;
	struct core_slot slot[2];
};

struct samples {
	uint64_t ns[RUNS_MAX];
	struct core_change change;
};

static void check(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "bench_ept: %s: %s\n", what, strerrordesc_np(-err));
	exit(1);
}

static void start(struct machine *m, const struct bench_case *k)
{
	const struct plat_user_config pc = {.arena_bytes = ARENA, .cpus = 1};
	struct model_config mc = {.cpus = 1, .tlb = &model_tlb_skylake};
	const struct core_as_config ac = {.max_page_bytes = k->leaf, .accessed_dirty = true};

	*m = (struct machine){0};
	check(plat_user_create(&pc, &m->plat), "the machine's memory");
	mc.plat = m->plat;
	check(model_create(&mc, &m->model), "the processor");
	check(core_create(m->plat, 1, &m->core), "core");
	check(core_cpu_online(m->core, 0, model_cpu(m->model, 0)), "VMXON");
	check(core_as_create(m->core, &ac, &m->as), "the address space");
	for (uint32_t i = 0; i < 2; i++) {
		m->slot[i].id = i;
		m->slot[i].size = k->range;
		check(plat_mem_create(m->plat, PLAT_MEM_ANON, k->range, -1, 0, &m->slot[i].mem),
		      "a slot");
	}
}

static void stop(struct machine *m)
{
	core_as_destroy(m->as);
	plat_mem_destroy(m->plat, m->slot[0].mem);
	plat_mem_destroy(m->plat, m->slot[1].mem);
	core_cpu_offline(m->core, 0);
	core_destroy(m->core);
	model_destroy(m->model);
	if (plat_user_destroy(m->plat) != 0) {
		fprintf(stderr, "bench_ept: pages were left behind\n");
		exit(1);
	}
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void change(struct machine *m, const struct bench_case *k, int kind, unsigned run,
		   struct samples *s)
{
	static const uint32_t kinds[KINDS] = {CORE_MAP, CORE_PROTECT, CORE_REMAP, CORE_UNMAP};
	const struct core_map_op op = {
		.kind = kinds[kind],
		.prot = kind == PROTECT ? CORE_PROT_R | CORE_PROT_X : CORE_PROT_RWX,
		.memtype = CORE_MT_WB,
		.size = k->range,
		.slot = &m->slot[kind == REMAP],
	};
	uint64_t from = now_ns();

	check(core_as_apply(m->as, &m->core->cpus[0], &op, 1, 0, &s->change, NULL),
	      kind_names[kind]);
	s->ns[run] = now_ns() - from;
	if (s->change.entries_written != k->range / k->leaf)
		check(-EIO, "another number of entries");
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void print(const struct bench_case *k, int kind, struct samples *s, unsigned runs, bool last)
{
	uint64_t entries = k->range / k->leaf, first = s->ns[0], median;

	qsort(s->ns + 1, runs - 1, sizeof(s->ns[0]), compare);
	median = s->ns[1 + (runs - 1) / 2];
	printf("    {\"case\": \"%s\", \"change\": \"%s\", \"entries\": %" PRIu64
	       ", \"tables_allocated\": %" PRIu64 ", \"tables_freed\": %" PRIu64
	       ", \"first_us\": %.1f, \"median_us\": %.1f, \"min_us\": %.1f, \"max_us\": %.1f"
	       ", \"entries_per_s\": %.0f}%s\n",
	       k->name, kind_names[kind], entries, s->change.tables_allocated,
	       s->change.tables_freed, (double)first / 1e3, (double)median / 1e3,
	       (double)s->ns[1] / 1e3, (double)s->ns[runs - 1] / 1e3,
	       (double)entries * 1e9 / (double)median, last ? "" : ",");
}

int main(int argc, char **argv)
{
	static struct samples samples[KINDS];
	unsigned runs = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : RUNS_DEFAULT;
	struct machine m;

	if (argc > 2 || runs < 2 || runs > RUNS_MAX) {
		fprintf(stderr, "usage: bench_ept [RUNS, 2..%u]\n", RUNS_MAX);
		return 2;
	}
	printf("{\n  \"bench\": \"ept\",\n  \"runs\": %u,\n  \"results\": [\n", runs);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cases); i++) {
		start(&m, &cases[i]);
		for (unsigned run = 0; run < runs; run++)
			for (int kind = 0; kind < KINDS; kind++)
				change(&m, &cases[i], kind, run, &samples[kind]);
		stop(&m);
		for (int kind = 0; kind < KINDS; kind++)
			print(&cases[i], kind, &samples[kind], runs,
			      i + 1 == VMX_ARRAY_SIZE(cases) && kind + 1 == KINDS);
	}
	printf("  ]\n}\n");
	return 0;
}
