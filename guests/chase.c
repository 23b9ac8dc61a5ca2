/* SPDX-License-Identifier: MIT */
/*
 * Follows pointers around one random cycle through all lines of an area. Options:
 * size=8M (bytes), laps=1, stride=64 (a power of two), page=4K|2M|1G.
 */
#include "guest/print.h"
#include "guest/string.h"
#include "guest/workload.h"

int guest_main(uint32_t magic, uint32_t info);

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static uint64_t *line(const struct workload *w, uint64_t stride, uint64_t i)
{
	return (uint64_t *)(uintptr_t)(w->area + i * stride);
}

/* Sattolo's shuffle: a permutation that is a single cycle. */
static void make_cycle(const struct workload *w, uint64_t stride, uint64_t lines)
{
	uint64_t seed = 0x9e3779b97f4a7c15ull;

	for (uint64_t i = 0; i < lines; i++)
		*line(w, stride, i) = (uintptr_t)line(w, stride, i);
	for (uint64_t i = lines - 1; i > 0; i--) {
		uint64_t *a = line(w, stride, i);
		uint64_t *b = line(w, stride, random_next(&seed) % i);
		uint64_t t = *a;

		*a = *b;
		*b = t;
	}
}

/* Steps until the start is reached again. */
static uint64_t walk_cycle(const uint64_t *start)
{
	const volatile uint64_t *p = start;
	uint64_t steps = 0;

	do {
		p = (const volatile uint64_t *)(uintptr_t)*p;
		steps++;
	} while (p != start);
	return steps;
}

int guest_main(uint32_t magic, uint32_t info)
{
	struct workload w;
	uint64_t size, stride, laps, lines, steps = 0;

	workload_start("chase", magic, info, &w);
	size = option_number(w.cmdline, "size", 8 << 20);
	stride = option_number(w.cmdline, "stride", 64);
	laps = option_number(w.cmdline, "laps", 1);
	if (stride < 8 || stride & (stride - 1) || size > w.area_bytes || size / stride < 2) {
		print("chase: size=%llu stride=%llu: does not fit in %llu bytes\n",
		      (unsigned long long)size, (unsigned long long)stride,
		      (unsigned long long)w.area_bytes);
		return 2;
	}
	lines = size / stride;
	make_cycle(&w, stride, lines);
	print("chase: %llu lines, %llu bytes apart\n", (unsigned long long)lines,
	      (unsigned long long)stride);
	for (uint64_t i = 0; i < laps; i++)
		steps += walk_cycle(line(&w, stride, 0));
	print("chase: %llu steps, %s\n", (unsigned long long)steps,
	      steps == laps * lines ? "every line once a lap" : "WRONG");
	return steps == laps * lines ? 0 : 1;
}
