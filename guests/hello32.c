/* SPDX-License-Identifier: MIT */
/*
 * The first 32-bit program: prints its command line and its memory map. Also built as a
 * flat image (hello32.bin), which gets neither.
 */
#include "guest/multiboot.h"
#include "guest/print.h"

int guest_main(uint32_t magic, const struct multiboot_info *info);

static void print_mmap(const struct multiboot_info *info)
{
	uint32_t at = info->mmap_addr;
	uint32_t end = info->mmap_addr + info->mmap_length;

	while (at + sizeof(struct multiboot_mmap) <= end) {
		const struct multiboot_mmap *e = (const struct multiboot_mmap *)at;
		uint64_t base = (uint64_t)e->base_high << 32 | e->base_low;
		uint64_t length = (uint64_t)e->length_high << 32 | e->length_low;

		print("memory 0x%08llx-0x%08llx %s\n", (unsigned long long)base,
		      (unsigned long long)(base + length - 1),
		      e->type == 1 ? "usable" : "reserved");
		at += e->size + 4;
	}
}

static void print_modules(const struct multiboot_info *info)
{
	const struct multiboot_module *m = (const struct multiboot_module *)info->mods_addr;

	for (uint32_t i = 0; i < info->mods_count; i++) {
		uint32_t sum = 0;

		for (uint32_t at = m[i].start; at < m[i].end; at++)
			sum += *(const uint8_t *)at;
		print("module %u: %u bytes, sum %u, \"%s\"\n", (unsigned)i,
		      (unsigned)(m[i].end - m[i].start), (unsigned)sum,
		      m[i].cmdline ? (const char *)m[i].cmdline : "");
	}
}

int guest_main(uint32_t magic, const struct multiboot_info *info)
{
	print("hello from 32-bit protected mode\n");
	if (magic != MULTIBOOT_LOADER_MAGIC) {
		print("flat image: no Multiboot information\n");
		return 0;
	}
	if (info->flags & MULTIBOOT_INFO_CMDLINE)
		print("command line \"%s\"\n", (const char *)info->cmdline);
	if (info->flags & MULTIBOOT_INFO_MEMORY)
		print("lower %u KiB, upper %u KiB\n", (unsigned)info->mem_lower_kib,
		      (unsigned)info->mem_upper_kib);
	if (info->flags & MULTIBOOT_INFO_MMAP)
		print_mmap(info);
	if (info->flags & MULTIBOOT_INFO_MODULES)
		print_modules(info);
	print("hello32: done\n");
	return 0;
}
