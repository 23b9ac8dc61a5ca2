/* SPDX-License-Identifier: MIT */
/*
 * Goes where no memory is mapped, unless the host maps some there. Option:
 * op=read|write|fetch.
 */
#include "guest/info.h"
#include "guest/print.h"
#include "guest/string.h"

#define WILD_GPA 0xc0000000u

int guest_main(const struct info_page *info);

int guest_main(const struct info_page *info)
{
	volatile uint32_t *wild = (volatile uint32_t *)(uintptr_t)WILD_GPA;
	const char *cmdline = info_page_good(info) ? info->cmdline : "";

	if (option_is(cmdline, "op", "write")) {
		print("wild: writing 0x%x\n", WILD_GPA);
		*wild = 0x12345678;
	} else if (option_is(cmdline, "op", "fetch")) {
		print("wild: jumping to 0x%x\n", WILD_GPA);
		((void (*)(void))(uintptr_t)WILD_GPA)();
	}
	print("wild: reading 0x%x\n", WILD_GPA);
	print("wild: read 0x%x\n", (unsigned)*wild);
	return 0;
}
