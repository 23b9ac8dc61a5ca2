/* SPDX-License-Identifier: MIT */
/* Four-level paging structures, taken from a pool of pages. 64-bit programs only. */
#ifndef GUEST_PAGING_H
#define GUEST_PAGING_H

#include <stdint.h>

#define PTE_P (1ull << 0)
#define PTE_W (1ull << 1)
#define PTE_U (1ull << 2)
#define PTE_A (1ull << 5)
#define PTE_D (1ull << 6)
#define PTE_PS (1ull << 7)
#define PTE_G (1ull << 8)
#define PTE_NX (1ull << 63)
#define PTE_ADDRESS 0x000ffffffffff000ull

#define PAGE_4K 0x1000ull
#define PAGE_2M 0x200000ull
#define PAGE_1G 0x40000000ull

/* [base, end): pages for paging structures. They need not be zero. */
void paging_pool(uint64_t base, uint64_t end);
/* A new, empty PML4; its physical address. The pool's end stops the program. */
uint64_t paging_new(void);
/* Maps [linear, linear + size) to physical in pages of page_bytes, with `flags` in the leaf. */
void paging_map(uint64_t pml4, uint64_t linear, uint64_t physical, uint64_t size,
		uint64_t page_bytes, uint64_t flags);
/* The entry that maps `linear` (a leaf of any size, or the not-present entry met). */
volatile uint64_t *paging_entry(uint64_t pml4, uint64_t linear);

#endif
