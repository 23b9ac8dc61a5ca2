// SPDX-License-Identifier: MIT
/*
 * The loops of guests/include/guest/loops.h on the host itself: native LOOP COUNT SIZE
 * prints the CPU time of the loop in nanoseconds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "guest/loops.h"

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* 4 KiB pages, as the guest has them, and present. */
static uint64_t make_area(size_t size)
{
	void *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED) {
		perror("native: mmap");
		exit(1);
	}
	madvise(area, size, MADV_NOHUGEPAGE);
	memset(area, 1, size);
	return (uintptr_t)area;
}

static uint64_t run(char loop, uint64_t count, uint64_t area, uint64_t size)
{
	uint64_t result = 0;

	if (loop == 'a')
		return loop_a(count);
	if (loop == 'c')
		return loop_c(area, count);
	while (count--)
		result += loop_b(area, size);
	return result;
}

int main(int argc, char **argv)
{
	uint64_t count, size, area, start, end, result;

	if (argc != 4 || !strchr("abc", argv[1][0]) || argv[1][1]) {
		fprintf(stderr, "usage: native a|b|c COUNT SIZE\n");
		return 2;
	}
	count = strtoull(argv[2], NULL, 0);
	size = strtoull(argv[3], NULL, 0);
	if (!count || size < 2 * LOOP_LINE || size % LOOP_LINE) {
		fprintf(stderr, "native: COUNT from 1, SIZE a multiple of %u\n", LOOP_LINE);
		return 2;
	}
	area = make_area(size);
	if (argv[1][0] == 'c')
		loop_c_prepare(area, size);
	start = cpu_ns();
	result = run(argv[1][0], count, area, size);
	end = cpu_ns();
	fprintf(stderr, "0x%llx\n", (unsigned long long)result);
	printf("%llu\n", (unsigned long long)(end - start));
	return 0;
}
