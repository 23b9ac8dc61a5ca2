/* SPDX-License-Identifier: MIT */
/* What a Multiboot (version 1) loader hands over. */
#ifndef GUEST_MULTIBOOT_H
#define GUEST_MULTIBOOT_H

#define MULTIBOOT_HEADER_MAGIC 0x1badb002
#define MULTIBOOT_HEADER_FLAGS 0x3 /* modules on page boundaries, memory information */
#define MULTIBOOT_LOADER_MAGIC 0x2badb002

#ifndef __ASSEMBLER__

#include <stdint.h>

#define MULTIBOOT_INFO_MEMORY (1u << 0)
#define MULTIBOOT_INFO_CMDLINE (1u << 2)
#define MULTIBOOT_INFO_MODULES (1u << 3)
#define MULTIBOOT_INFO_MMAP (1u << 6)

struct multiboot_info {
	uint32_t flags;
	uint32_t mem_lower_kib, mem_upper_kib;
	uint32_t boot_device;
	uint32_t cmdline;
	uint32_t mods_count, mods_addr;
	uint32_t syms[4];
	uint32_t mmap_length, mmap_addr;
};

struct multiboot_module {
	uint32_t start, end;
	uint32_t cmdline;
	uint32_t reserved;
};

/* size counts the bytes that follow it: the next entry is at this one + size + 4 */
struct multiboot_mmap {
	uint32_t size;
	uint32_t base_low, base_high;
	uint32_t length_low, length_high;
	uint32_t type; /* 1: usable RAM */
};

_Static_assert(sizeof(struct multiboot_info) == 52, "Multiboot information up to mmap_addr");
_Static_assert(sizeof(struct multiboot_mmap) == 24, "Multiboot memory map entry");

#endif
#endif
