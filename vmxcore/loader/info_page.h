/* SPDX-License-Identifier: MIT */
/*
 * What an ELF64 guest finds in RDI when it starts: its machine in one page. For
 * guests too: needs nothing but <stdint.h>.
 *
 * State at the entry point: 64-bit mode, CPL 0, interrupts off; the low 4 GiB
 * identity-mapped (writable, executable, supervisor) by 2 MiB pages; RSP as after a
 * CALL (16-byte alignment plus 8, a zero return address on the stack); no usable
 * GDT or IDT in memory: a guest that reloads segments or takes exceptions brings
 * its own. RAM starts at address 0.
 */
#ifndef VMXCORE_LOADER_INFO_PAGE_H
#define VMXCORE_LOADER_INFO_PAGE_H

#include <stdint.h>

#define INFO_PAGE_MAGIC UINT64_C(0x4547415044564821) /* "!HVDPAGE" as bytes in memory */
#define INFO_PAGE_VERSION 1u
#define INFO_PAGE_CMDLINE 1024u

struct info_page {
	uint64_t magic;
	uint32_t version;
	uint32_t size_bytes; /* of this structure */
	uint64_t memory_bytes;
	uint64_t info_gpa;	  /* of this page */
	uint64_t page_tables_gpa; /* PML4 first, then the PDPT, then four page directories */
	uint64_t page_tables_bytes;
	uint64_t stack_gpa; /* lowest address of the stack */
	uint64_t stack_bytes;
	uint64_t image_first, image_last; /* bytes the image occupies, inclusive */
	uint32_t vcpus;			  /* the first runs; the others wait for a start-up IPI */
	uint32_t cmdline_bytes;		  /* without the terminating zero */
	char cmdline[INFO_PAGE_CMDLINE];
};

_Static_assert(sizeof(struct info_page) == 88 + INFO_PAGE_CMDLINE, "guests rely on this layout");

#endif
