/* SPDX-License-Identifier: MIT */
/*
 * Where the workload programs (touch, chase, walker) keep things, and their start:
 * an identity map of all memory in pages of the size that the command line's
 * "page=4K|2M|1G" names.
 */
#ifndef GUEST_WORKLOAD_H
#define GUEST_WORKLOAD_H

#include <stdint.h>

#define WORKLOAD_TABLES 0x800000ull /* pool of paging structures, up to ... */
#define WORKLOAD_AREA 0x1000000ull  /* ... the area that the programs touch */

struct workload {
	const char *cmdline;
	uint64_t memory_bytes;
	uint64_t page_bytes;
	uint64_t pml4;
	uint64_t area, area_bytes;
};

/* magic, info: as the Multiboot loader gave them. Ends the program on a bad option. */
void workload_start(const char *name, uint32_t magic, uint32_t info, struct workload *ret);

#endif
