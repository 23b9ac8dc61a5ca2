/* SPDX-License-Identifier: MIT */
/* ELF32 and ELF64 executables as a list of segments, both classes in one shape. */
#ifndef VMXCORE_LOADER_ELF_H
#define VMXCORE_LOADER_ELF_H

#include "loader/place.h"

#define ELF_MAX_SEGMENTS 128u

struct elf_segment {
	uint64_t offset, vaddr, paddr, file_bytes, memory_bytes;
};

struct elf_image {
	bool wide; /* ELF64 */
	uint64_t entry;
	size_t count;
	struct elf_segment segment[ELF_MAX_SEGMENTS]; /* PT_LOAD with memory_bytes != 0 */
};

bool elf_is_elf(const struct loader_blob *image);
bool elf_is_wide(const struct loader_blob *image); /* an ELF, and ELF64 */
/* Refuses (field image) what is no statically linked x86 executable. */
int elf_parse(struct place *p, struct elf_image *ret);
/* Puts the segments at their physical addresses. */
int elf_place(struct place *p, const struct elf_image *elf, uint64_t *ret_first,
	      uint64_t *ret_last);
/* The entry point as a physical address. */
int elf_entry_gpa(struct place *p, const struct elf_image *elf, uint64_t *ret);

#endif
