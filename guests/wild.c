/* SPDX-License-Identifier: MIT */
/* Reads an address where no memory is mapped, unless the host maps some there. */
#include "guest/print.h"

#define WILD_GPA 0xc0000000u

int guest_main(void);

int guest_main(void)
{
	const volatile uint32_t *wild = (const volatile uint32_t *)(uintptr_t)WILD_GPA;
	uint32_t value;

	print("wild: reading 0x%x\n", WILD_GPA);
	value = *wild;
	print("wild: read 0x%x\n", (unsigned)value);
	return 0;
}
