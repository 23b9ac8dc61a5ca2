/* SPDX-License-Identifier: MIT */
/*
 * Source: Multiboot Specification 0.6.96, "OS image format", "Machine state",
 * "Boot information format".
 */
#include "loader/elf.h"

#include <inttypes.h>
#include <stdio.h>

#define SEARCH_BYTES 8192u
#define HEADER_MAGIC UINT32_C(0x1badb002)
#define LOADER_MAGIC UINT32_C(0x2badb002)

#define HEADER_MANDATORY UINT32_C(0xffff)
#define HEADER_PAGE_ALIGN UINT32_C(1)  /* modules on page boundaries: always so here */
#define HEADER_MEMORY_INFO UINT32_C(2) /* always given */
#define HEADER_ADDRESSES (UINT32_C(1) << 16)

#define INFO_MEMORY UINT32_C(1)
#define INFO_CMDLINE (UINT32_C(1) << 2)
#define INFO_MODULES (UINT32_C(1) << 3)
#define INFO_MEMORY_MAP (UINT32_C(1) << 6)
#define INFO_LOADER_NAME (UINT32_C(1) << 9)

#define LOADER_NAME "hvd"

/* The PC's memory map: the adapter area is RAM here, but no guest expects it to be. */
#define LOWER_END UINT64_C(0xa0000)
#define UPPER_START UINT64_C(0x100000)
/* Where the information goes if the image leaves it free: inside the reserved part. */
#define INFO_GPA UINT64_C(0xe0000)

struct mb_header {
	uint32_t magic, flags, checksum;
	/* with HEADER_ADDRESSES */
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

struct mb_module {
	uint32_t start, end; /* end is one past the last byte */
	uint32_t string;
	uint32_t reserved;
};

struct mb_map_entry {
	uint32_t size; /* of what follows */
	uint64_t base, length;
	uint32_t type; /* 1 RAM */
} __attribute__((packed));

struct mb_info {
	uint32_t flags;
	uint32_t mem_lower, mem_upper; /* KiB */
	uint32_t boot_device;
	uint32_t cmdline;
	uint32_t mods_count, mods_addr;
	uint32_t syms[4];
	uint32_t mmap_length, mmap_addr;
	uint32_t drives_length, drives_addr;
	uint32_t config_table;
	uint32_t boot_loader_name;
	uint32_t apm_table;
};

_Static_assert(sizeof(struct mb_header) == 32, "Multiboot header");
_Static_assert(sizeof(struct mb_module) == 16, "Multiboot module");
_Static_assert(sizeof(struct mb_map_entry) == 24, "Multiboot memory map");
_Static_assert(sizeof(struct mb_info) == 72, "Multiboot information");

#define MAP_MAX 3u

/* All that the guest gets besides the image and its modules, as it lies in memory. */
struct mb_block {
	struct mb_info info;
	struct mb_module module[LOADER_MAX_MODULES];
	struct mb_map_entry map[MAP_MAX];
	char loader_name[16];
	char cmdline[LOADER_CMDLINE_MAX + 1];
};

#define REFUSE(p, ...) place_refuse((p), -EINVAL, LOADER_FIELD_IMAGE, 0, __VA_ARGS__)

bool multiboot_find(const struct loader_blob *image, size_t *ret_offset)
{
	size_t end = image->size < SEARCH_BYTES ? image->size : SEARCH_BYTES;
	size_t at;

	for (at = 0; at + 12 <= end; at += 4) {
		uint32_t word[3];

		memcpy(word, image->data + at, sizeof(word));
		if (word[0] == HEADER_MAGIC && word[0] + word[1] + word[2] == 0) {
			*ret_offset = at;
			return true;
		}
	}
	return false;
}

static int read_header(struct place *p, size_t at, struct mb_header *h)
{
	const struct loader_blob *image = &p->req->image;
	uint32_t unknown;

	*h = (struct mb_header){0};
	memcpy(h, image->data + at, 12);
	unknown = h->flags & HEADER_MANDATORY & ~(HEADER_PAGE_ALIGN | HEADER_MEMORY_INFO);
	if (unknown)
		return place_refuse(p, -ENOTSUP, LOADER_FIELD_IMAGE, 0,
				    "the Multiboot header demands features that are not offered "
				    "(flag bits 0x%x)",
				    unknown);
	if (!(h->flags & HEADER_ADDRESSES))
		return 0;
	if (image->size < sizeof(*h) || at > image->size - sizeof(*h) ||
	    at + sizeof(*h) > SEARCH_BYTES)
		return REFUSE(p, "the Multiboot header is cut off inside its address fields");
	memcpy(h, image->data + at, sizeof(*h));
	return 0;
}

/* Load by the header's own addresses (bit 16): "The address fields of Multiboot header". */
static int load_by_header(struct place *p, size_t at, const struct mb_header *h,
			  struct loader_start *ret)
{
	const struct loader_blob *image = &p->req->image;
	uint64_t before = h->header_addr - (uint64_t)h->load_addr;
	uint64_t offset, size, total;
	int err;

	if (h->header_addr < h->load_addr || before > at)
		return REFUSE(p,
			      "Multiboot header_addr 0x%x and load_addr 0x%x don't fit the "
			      "header's place in the image (offset %zu)",
			      h->header_addr, h->load_addr, at);
	offset = at - before;
	size = image->size - offset;
	if (h->load_end_addr) {
		if (h->load_end_addr < h->load_addr ||
		    (uint64_t)h->load_end_addr - h->load_addr > size)
			return REFUSE(p,
				      "Multiboot load_end_addr 0x%x is below load_addr or "
				      "beyond the image",
				      h->load_end_addr);
		size = (uint64_t)h->load_end_addr - h->load_addr;
	}
	total = size;
	if (h->bss_end_addr) {
		if (h->bss_end_addr < h->load_addr + size)
			return REFUSE(p,
				      "Multiboot bss_end_addr 0x%x is below the end of the "
				      "loaded data 0x%" PRIx64,
				      h->bss_end_addr, h->load_addr + size);
		total = (uint64_t)h->bss_end_addr - h->load_addr;
	}
	if (total == 0)
		return REFUSE(p, "the Multiboot header loads nothing");
	if (h->entry_addr < h->load_addr || h->entry_addr - h->load_addr >= total)
		return REFUSE(p, "Multiboot entry_addr 0x%x is outside what is loaded",
			      h->entry_addr);
	err = place_reserve(p, LOADER_FIELD_IMAGE, "the Multiboot image", h->load_addr, total);
	if (!err)
		err = place_write(p, h->load_addr, image->data + offset, (size_t)size);
	if (err)
		return err;
	ret->entry = h->entry_addr;
	ret->image_first = h->load_addr;
	ret->image_last = h->load_addr + total - 1;
	return 0;
}

static int load_by_elf(struct place *p, struct loader_start *ret)
{
	struct elf_image elf;
	int err;

	if (!elf_is_elf(&p->req->image))
		return REFUSE(p, "the Multiboot image is no ELF file and its header has no address "
				 "fields (flag bit 16)");
	err = elf_parse(p, &elf);
	if (!err)
		err = elf_place(p, &elf, &ret->image_first, &ret->image_last);
	if (!err)
		err = elf_entry_gpa(p, &elf, &ret->entry);
	return err;
}

/* Page-aligned, in order, above the image. */
static int load_modules(struct place *p, uint64_t from, struct mb_module *list)
{
	size_t i;
	int err;

	for (i = 0; i < p->req->modules; i++) {
		const struct loader_blob *m = &p->req->module[i];
		char what[32];
		uint64_t at;

		p->error->index = (uint32_t)i;
		if (m->size == 0)
			return place_refuse(p, -EINVAL, LOADER_FIELD_MODULE, 0,
					    "module %zu is empty", i);
		snprintf(what, sizeof(what), "module %zu", i);
		err = place_find_low(p, LOADER_FIELD_MODULE, what, from, m->size, &at);
		if (!err)
			err = place_write(p, at, m->data, m->size);
		if (err)
			return err;
		list[i].start = (uint32_t)at;
		list[i].end = (uint32_t)(at + m->size);
		from = at + m->size;
	}
	p->error->index = 0;
	return 0;
}

static uint32_t fill_map(struct mb_map_entry *map, uint64_t ram)
{
	const struct mb_map_entry rows[MAP_MAX] = {
		{20, 0, LOWER_END, 1},
		{20, LOWER_END, UPPER_START - LOWER_END, 2},
		{20, UPPER_START, ram - UPPER_START, 1},
	};
	uint32_t n = ram > UPPER_START ? 3 : 2;

	memcpy(map, rows, n * sizeof(*map));
	return n;
}

static void fill_info(struct place *p, struct mb_block *b, uint64_t at)
{
	uint64_t ram = p->req->ram_bytes;
	uint64_t upper = p->limit - UPPER_START;
	uint32_t base = (uint32_t)at;

	b->info.flags = INFO_MEMORY | INFO_MEMORY_MAP | INFO_LOADER_NAME;
	b->info.mem_lower = (uint32_t)(LOWER_END >> 10);
	b->info.mem_upper = (uint32_t)(upper >> 10);
	b->info.mmap_addr = base + (uint32_t)offsetof(struct mb_block, map);
	b->info.mmap_length = fill_map(b->map, ram) * (uint32_t)sizeof(b->map[0]);
	b->info.boot_loader_name = base + (uint32_t)offsetof(struct mb_block, loader_name);
	memcpy(b->loader_name, LOADER_NAME, sizeof(LOADER_NAME));
	if (p->req->cmdline) {
		b->info.flags |= INFO_CMDLINE;
		b->info.cmdline = base + (uint32_t)offsetof(struct mb_block, cmdline);
		memcpy(b->cmdline, p->req->cmdline, strlen(p->req->cmdline) + 1);
	}
	if (p->req->modules) {
		b->info.flags |= INFO_MODULES;
		b->info.mods_count = (uint32_t)p->req->modules;
		b->info.mods_addr = base + (uint32_t)offsetof(struct mb_block, module);
	}
}

int multiboot_load(struct place *p, struct loader_start *ret)
{
	struct mb_block block = {0};
	struct mb_header h;
	uint64_t info;
	size_t at;
	int err;

	if (!multiboot_find(&p->req->image, &at))
		return REFUSE(p, "no Multiboot header in the first %u bytes", SEARCH_BYTES);
	if (p->req->ram_bytes < UPPER_START)
		return place_refuse(p, -ERANGE, LOADER_FIELD_MEMORY, UPPER_START,
				    "a Multiboot guest needs at least 1 MiB of memory");
	err = read_header(p, at, &h);
	if (err)
		return err;
	err = h.flags & HEADER_ADDRESSES ? load_by_header(p, at, &h, ret) : load_by_elf(p, ret);
	if (!err)
		err = place_find_low(p, LOADER_FIELD_MEMORY, "the Multiboot information", INFO_GPA,
				     sizeof(block), &info);
	if (!err)
		err = load_modules(
			p, ret->image_last + 1 > UPPER_START ? ret->image_last + 1 : UPPER_START,
			block.module);
	if (err)
		return err;
	fill_info(p, &block, info);
	err = place_write(p, info, &block, sizeof(block));
	if (err)
		return err;
	ret->mode = LOADER_MODE_PROTECTED_FLAT;
	ret->rax = LOADER_MAGIC;
	ret->rbx = info;
	return 0;
}
