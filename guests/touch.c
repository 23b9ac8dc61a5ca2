/* SPDX-License-Identifier: MIT */
/*
 * Touches `pages` addresses, `stride` bytes apart, `rounds` times over: whether they fit
 * the TLB shows in the counters. Options: pages=64 stride=4096 rounds=1000 op=read|write
 * page=4K|2M|1G. rounds=0: until the mailbox word is STOP.
 */
#include "guest/io.h"
#include "guest/mailbox.h"
#include "guest/print.h"
#include "guest/string.h"
#include "guest/workload.h"

int guest_main(uint32_t magic, uint32_t info);

static void touch_read(uint64_t area, uint64_t pages, uint64_t stride)
{
	for (uint64_t i = 0; i < pages; i++)
		(void)*(const volatile uint64_t *)(uintptr_t)(area + i * stride);
}

static void touch_write(uint64_t area, uint64_t pages, uint64_t stride)
{
	for (uint64_t i = 0; i < pages; i++)
		*(volatile uint64_t *)(uintptr_t)(area + i * stride) = i;
}

int guest_main(uint32_t magic, uint32_t info)
{
	struct workload w;
	uint64_t pages, stride, rounds, round = 0;
	void (*touch)(uint64_t area, uint64_t pages, uint64_t stride);

	workload_start("touch", magic, info, &w);
	pages = option_number(w.cmdline, "pages", 64);
	stride = option_number(w.cmdline, "stride", 4096);
	rounds = option_number(w.cmdline, "rounds", 1000);
	touch = option_is(w.cmdline, "op", "write") ? touch_write : touch_read;
	if (pages == 0 || stride < 8 || pages > (w.area_bytes - 8) / stride + 1) {
		print("touch: pages=%llu stride=%llu: does not fit in %llu bytes\n",
		      (unsigned long long)pages, (unsigned long long)stride,
		      (unsigned long long)w.area_bytes);
		return 2;
	}
	print("touch: %llu addresses, %llu bytes apart, from 0x%llx\n", (unsigned long long)pages,
	      (unsigned long long)stride, (unsigned long long)w.area);
	while (rounds ? round < rounds : guest_mailbox()->word != GUEST_STOP_WORD) {
		touch(w.area, pages, stride);
		round++;
	}
	print("touch: %llu accesses done\n", (unsigned long long)(round * pages));
	return 0;
}
