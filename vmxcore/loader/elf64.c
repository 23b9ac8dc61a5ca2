/* SPDX-License-Identifier: MIT */
/*
 * ELF64 executables without a Multiboot header: started in 64-bit mode on page
 * tables that map the low 4 GiB to itself. See loader/info_page.h for the state at
 * the entry point.
 */
#include "loader/elf.h"
#include "loader/info_page.h"

#include <inttypes.h>

#define TABLE_PRESENT UINT64_C(1)
#define TABLE_WRITE UINT64_C(2)
#define TABLE_LARGE VMX_BIT(7)
#define TABLE_ENTRIES 512u
#define DIRECTORIES 4u /* 4 GiB of 2 MiB pages */
#define TABLES_BYTES ((2 + DIRECTORIES) * VMX_PAGE_SIZE)
#define STACK_BYTES UINT64_C(65536)

/* From the top of the RAM below 4 GiB downwards: page tables, info page, stack. */
struct long_mode {
	uint64_t tables, info, stack;
};

static int find_places(struct place *p, struct long_mode *m)
{
	int err;

	err = place_find_high(p, LOADER_FIELD_MEMORY, "the page tables", TABLES_BYTES, &m->tables);
	if (!err)
		err = place_find_high(p, LOADER_FIELD_MEMORY, "the info page", VMX_PAGE_SIZE,
				      &m->info);
	if (!err)
		err = place_find_high(p, LOADER_FIELD_MEMORY, "the stack", STACK_BYTES, &m->stack);
	return err;
}

static int write_tables(struct place *p, uint64_t at)
{
	uint64_t entry[TABLE_ENTRIES] = {at + VMX_PAGE_SIZE + TABLE_PRESENT + TABLE_WRITE};
	unsigned i, d;
	int err;

	err = place_write(p, at, entry, sizeof(entry));
	for (i = 0; i < TABLE_ENTRIES; i++)
		entry[i] = i < DIRECTORIES
				   ? at + (2 + i) * VMX_PAGE_SIZE + TABLE_PRESENT + TABLE_WRITE
				   : 0;
	if (!err)
		err = place_write(p, at + VMX_PAGE_SIZE, entry, sizeof(entry));
	for (d = 0; d < DIRECTORIES && !err; d++) {
		for (i = 0; i < TABLE_ENTRIES; i++)
			entry[i] = d * VMX_SIZE_1G + i * VMX_SIZE_2M + TABLE_PRESENT + TABLE_WRITE +
				   TABLE_LARGE;
		err = place_write(p, at + (2 + d) * VMX_PAGE_SIZE, entry, sizeof(entry));
	}
	return err;
}

static int write_info(struct place *p, const struct long_mode *m, const struct loader_start *start)
{
	struct info_page info = {
		.magic = INFO_PAGE_MAGIC,
		.version = INFO_PAGE_VERSION,
		.size_bytes = sizeof(info),
		.memory_bytes = p->req->ram_bytes,
		.info_gpa = m->info,
		.page_tables_gpa = m->tables,
		.page_tables_bytes = TABLES_BYTES,
		.stack_gpa = m->stack,
		.stack_bytes = STACK_BYTES,
		.image_first = start->image_first,
		.image_last = start->image_last,
		.vcpus = p->req->vcpus,
	};

	if (p->req->cmdline) {
		info.cmdline_bytes = (uint32_t)strlen(p->req->cmdline);
		memcpy(info.cmdline, p->req->cmdline, info.cmdline_bytes);
	}
	return place_write(p, m->info, &info, sizeof(info));
}

int elf64_load(struct place *p, struct loader_start *ret)
{
	struct elf_image elf;
	struct long_mode m = {0};
	int err;

	if (p->req->modules)
		return place_refuse(p, -ENOTSUP, LOADER_FIELD_MODULE, 0,
				    "modules need a Multiboot image; this is ELF64");
	if (!elf_is_wide(&p->req->image))
		return place_refuse(p, -EINVAL, LOADER_FIELD_IMAGE, 0,
				    "the image is not an ELF64 file");
	err = elf_parse(p, &elf);
	if (err)
		return err;
	err = elf_place(p, &elf, &ret->image_first, &ret->image_last);
	if (!err)
		err = elf_entry_gpa(p, &elf, &ret->entry);
	if (!err)
		err = find_places(p, &m);
	if (!err)
		err = write_tables(p, m.tables);
	if (!err)
		err = write_info(p, &m, ret);
	if (err)
		return err;
	ret->mode = LOADER_MODE_LONG;
	ret->cr3 = m.tables;
	ret->rsp = m.stack + STACK_BYTES - sizeof(uint64_t);
	ret->rdi = m.info;
	return 0;
}
