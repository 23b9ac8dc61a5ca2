/* SPDX-License-Identifier: MIT */
#include "guest/workload.h"

#include "guest/cpu.h"
#include "guest/io.h"
#include "guest/multiboot.h"
#include "guest/paging.h"
#include "guest/print.h"
#include "guest/string.h"

static uint64_t page_option(const char *name, const char *cmdline)
{
	uint64_t page = option_number(cmdline, "page", PAGE_4K);

	if (page == PAGE_4K || page == PAGE_2M || page == PAGE_1G)
		return page;
	print("%s: page=%llu: 4K, 2M or 1G\n", name, (unsigned long long)page);
	guest_exit(2);
}

static uint64_t round_up(uint64_t v, uint64_t unit)
{
	return (v + unit - 1) & ~(unit - 1);
}

void workload_start(const char *name, uint32_t magic, uint32_t info, struct workload *ret)
{
	const struct multiboot_info *mb = (const struct multiboot_info *)(uintptr_t)info;

	if (magic != MULTIBOOT_LOADER_MAGIC || !(mb->flags & MULTIBOOT_INFO_MEMORY)) {
		print("%s: not started by a Multiboot loader\n", name);
		guest_exit(2);
	}
	ret->cmdline = "";
	if (mb->flags & MULTIBOOT_INFO_CMDLINE)
		ret->cmdline = (const char *)(uintptr_t)mb->cmdline;
	ret->memory_bytes = 0x100000 + ((uint64_t)mb->mem_upper_kib << 10);
	ret->page_bytes = page_option(name, ret->cmdline);
	if (ret->memory_bytes <= WORKLOAD_AREA) {
		print("%s: needs more than 16 MiB of memory\n", name);
		guest_exit(2);
	}
	ret->area = WORKLOAD_AREA;
	ret->area_bytes = ret->memory_bytes - WORKLOAD_AREA;
	paging_pool(WORKLOAD_TABLES, WORKLOAD_AREA);
	ret->pml4 = paging_new();
	paging_map(ret->pml4, 0, 0, round_up(ret->memory_bytes, ret->page_bytes), ret->page_bytes,
		   PTE_P | PTE_W);
	write_cr3(ret->pml4);
}
