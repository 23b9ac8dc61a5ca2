/* SPDX-License-Identifier: MIT */
/*
 * The loops of guest/loops.h, for measurements. Options: loop=a|b|c count=N (turns, passes,
 * steps) size=64M page=4K|2M|1G.
 */
#include "guest/loops.h"
#include "guest/print.h"
#include "guest/string.h"
#include "guest/workload.h"

int guest_main(uint32_t magic, uint32_t info);

static uint64_t run_b(const struct workload *w, uint64_t size, uint64_t passes)
{
	uint64_t sum = 0;

	while (passes--)
		sum += loop_b(w->area, size);
	return sum;
}

int guest_main(uint32_t magic, uint32_t info)
{
	struct workload w;
	uint64_t size, count, result;

	workload_start("loops", magic, info, &w);
	size = option_number(w.cmdline, "size", 64 << 20);
	count = option_number(w.cmdline, "count", 1);
	if (size < 2 * LOOP_LINE || size % LOOP_LINE || size > w.area_bytes || !count) {
		print("loops: size=%llu count=%llu: does not fit in %llu bytes\n",
		      (unsigned long long)size, (unsigned long long)count,
		      (unsigned long long)w.area_bytes);
		return 2;
	}
	if (option_is(w.cmdline, "loop", "b")) {
		result = run_b(&w, size, count);
	} else if (option_is(w.cmdline, "loop", "c")) {
		loop_c_prepare(w.area, size);
		result = loop_c(w.area, count);
	} else {
		result = loop_a(count);
	}
	print("loops: done, 0x%llx\n", (unsigned long long)result);
	return 0;
}
