/* SPDX-License-Identifier: MIT */
/* The first 64-bit program: prints what its information page says. */
#include "guest/cpu.h"
#include "guest/info.h"
#include "guest/print.h"

int guest_main(const struct info_page *info);

static void print_range(const char *name, uint64_t first, uint64_t bytes)
{
	print("%-12s 0x%08llx-0x%08llx\n", name, (unsigned long long)first,
	      (unsigned long long)(first + bytes - 1));
}

int guest_main(const struct info_page *info)
{
	print("hello from 64-bit mode\n");
	if (!info_page_good(info)) {
		print("hello64: no information page\n");
		return 1;
	}
	print_range("memory", 0, info->memory_bytes);
	print_range("image", info->image_first, info->image_last - info->image_first + 1);
	print_range("page tables", info->page_tables_gpa, info->page_tables_bytes);
	print_range("stack", info->stack_gpa, info->stack_bytes);
	if (read_cr3() != info->page_tables_gpa) {
		print("hello64: CR3 is 0x%llx\n", (unsigned long long)read_cr3());
		return 1;
	}
	print("command line \"%s\"\n", info->cmdline);
	print("hello64: done\n");
	return 0;
}
