/* SPDX-License-Identifier: MIT */
#include "guest/paging.h"

#include "guest/io.h"
#include "guest/print.h"
#include "guest/string.h"

static uint64_t pool_next, pool_end;

void paging_pool(uint64_t base, uint64_t end)
{
	pool_next = (base + PAGE_4K - 1) & ~(PAGE_4K - 1);
	pool_end = end;
}

uint64_t paging_new(void)
{
	uint64_t page = pool_next;

	if (pool_end < PAGE_4K || page > pool_end - PAGE_4K) {
		print("no more pages for paging structures\n");
		guest_exit(0xf0);
	}
	pool_next += PAGE_4K;
	memset((void *)(uintptr_t)page, 0, PAGE_4K);
	return page;
}

static volatile uint64_t *table_slot(uint64_t table, uint64_t linear, unsigned level)
{
	volatile uint64_t *t = (volatile uint64_t *)(uintptr_t)(table & PTE_ADDRESS);

	return &t[(linear >> (12 + 9 * (level - 1))) & 511];
}

static unsigned leaf_level(uint64_t page_bytes)
{
	return page_bytes == PAGE_1G ? 3 : page_bytes == PAGE_2M ? 2 : 1;
}

static void map_page(uint64_t pml4, uint64_t linear, uint64_t entry, unsigned leaf)
{
	uint64_t table = pml4;

	for (unsigned level = 4; level > leaf; level--) {
		volatile uint64_t *e = table_slot(table, linear, level);

		/* upper levels allow everything; the leaf decides */
		if (!(*e & PTE_P))
			*e = paging_new() | PTE_P | PTE_W | PTE_U;
		table = *e;
	}
	*table_slot(table, linear, leaf) = entry;
}

void paging_map(uint64_t pml4, uint64_t linear, uint64_t physical, uint64_t size,
		uint64_t page_bytes, uint64_t flags)
{
	unsigned leaf = leaf_level(page_bytes);

	if (leaf > 1)
		flags |= PTE_PS;
	for (uint64_t at = 0; at < size; at += page_bytes)
		map_page(pml4, linear + at, (physical + at) | flags, leaf);
}

volatile uint64_t *paging_entry(uint64_t pml4, uint64_t linear)
{
	uint64_t table = pml4;
	volatile uint64_t *e;

	for (unsigned level = 4;; level--) {
		e = table_slot(table, linear, level);
		if (level == 1 || !(*e & PTE_P) || (level < 4 && *e & PTE_PS))
			return e;
		table = *e;
	}
}
