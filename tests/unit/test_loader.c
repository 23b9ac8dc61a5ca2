/* SPDX-License-Identifier: MIT */
/* Image formats: what is put where, and what is refused, with which text. */
#include "loader/info_page.h"
#include "loader/loader.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs the headers above first. */
#include <cmocka.h>

#define RAM_BYTES (UINT64_C(8) << 20)
#define IMAGE_ROOM 32768u

static uint8_t ram[RAM_BYTES];
static uint8_t image[IMAGE_ROOM];

static int write_ram(void *ctx, uint64_t at, const void *buf, size_t len)
{
	(void)ctx;
	/* The loader may write inside the RAM only. */
	assert_true(at <= RAM_BYTES && len <= RAM_BYTES - at);
	memcpy(ram + at, buf, len);
	return 0;
}

static void fresh(struct loader_request *req, enum loader_format format, size_t size)
{
	memset(ram, 0, sizeof(ram));
	*req = (struct loader_request){
		.format = format,
		.image = {image, size},
		.ram_bytes = RAM_BYTES,
		.vcpus = 1,
		.write = write_ram,
	};
}

static uint32_t word(uint64_t at)
{
	uint32_t v;

	assert_true(at + 4 <= RAM_BYTES);
	memcpy(&v, ram + at, 4);
	return v;
}

static void put32(size_t at, uint32_t v)
{
	memcpy(image + at, &v, 4);
}

/* --- images to start from ------------------------------------------------------------------ */

#define SEGMENT_AT 0x1000u
#define SEGMENT_BYTES 0x300u
#define SEGMENT_MEMORY 0x2000u
#define SEGMENT_PADDR 0x200000u
#define ELF_BYTES (SEGMENT_AT + SEGMENT_BYTES)

static void fill_segment(void)
{
	size_t i;

	memset(image, 0, sizeof(image));
	for (i = 0; i < SEGMENT_BYTES; i++)
		image[SEGMENT_AT + i] = (uint8_t)(i * 3 + 1);
}

static Elf64_Ehdr *ehdr64(void)
{
	return (Elf64_Ehdr *)(void *)image;
}

static Elf64_Phdr *phdr64(unsigned i)
{
	return (Elf64_Phdr *)(void *)(image + sizeof(Elf64_Ehdr)) + i;
}

static size_t make_elf64(void)
{
	fill_segment();
	*ehdr64() = (Elf64_Ehdr){
		.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_entry = SEGMENT_PADDR + 0x10,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2,
	};
	*phdr64(0) = (Elf64_Phdr){.p_type = PT_NOTE};
	*phdr64(1) = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = SEGMENT_AT,
		.p_vaddr = SEGMENT_PADDR,
		.p_paddr = SEGMENT_PADDR,
		.p_filesz = SEGMENT_BYTES,
		.p_memsz = SEGMENT_MEMORY,
	};
	return ELF_BYTES;
}

static size_t make_elf32(void)
{
	fill_segment();
	*(Elf32_Ehdr *)(void *)image = (Elf32_Ehdr){
		.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_EXEC,
		.e_machine = EM_386,
		.e_entry = 0xc0200010, /* linked high, loaded low */
		.e_phoff = sizeof(Elf32_Ehdr),
		.e_phentsize = sizeof(Elf32_Phdr),
		.e_phnum = 1,
	};
	*(Elf32_Phdr *)(void *)(image + sizeof(Elf32_Ehdr)) = (Elf32_Phdr){
		.p_type = PT_LOAD,
		.p_offset = SEGMENT_AT,
		.p_vaddr = 0xc0000000 + SEGMENT_PADDR,
		.p_paddr = SEGMENT_PADDR,
		.p_filesz = SEGMENT_BYTES,
		.p_memsz = SEGMENT_MEMORY,
	};
	return ELF_BYTES;
}

static void add_header(size_t at, uint32_t flags)
{
	put32(at, 0x1badb002);
	put32(at + 4, flags);
	put32(at + 8, 0u - 0x1badb002u - flags);
}

#define HEADER_AT 0x400u

static void add_addresses(uint32_t header, uint32_t load, uint32_t load_end, uint32_t bss_end,
			  uint32_t entry)
{
	const uint32_t v[] = {header, load, load_end, bss_end, entry};
	size_t i;

	add_header(HEADER_AT, 0x10003);
	for (i = 0; i < VMX_ARRAY_SIZE(v); i++)
		put32(HEADER_AT + 12 + 4 * i, v[i]);
}

static size_t make_address_image(void)
{
	fill_segment();
	add_addresses(0x100000 + HEADER_AT, 0x100000, 0, 0x108000, 0x100500);
	return ELF_BYTES;
}

/* --- what is put where ------------------------------------------------------------------------ */

static void check_segment(uint64_t at)
{
	assert_memory_equal(ram + at, image + SEGMENT_AT, SEGMENT_BYTES);
}

static void load(const struct loader_request *req, struct loader_start *start)
{
	struct loader_error e;

	if (loader_load(req, start, &e) != 0)
		fail_msg("refused: %s", e.text);
}

static void test_elf64(void **state)
{
	struct loader_request req;
	struct loader_start start;
	struct info_page info;
	uint64_t a, table = 0;

	(void)state;
	fresh(&req, LOADER_AUTO, make_elf64());
	req.cmdline = "one two";
	req.vcpus = 3;
	load(&req, &start);
	check_segment(SEGMENT_PADDR);
	assert_int_equal(start.format, LOADER_ELF64);
	assert_int_equal(start.mode, LOADER_MODE_LONG);
	assert_int_equal(start.entry, SEGMENT_PADDR + 0x10);
	assert_int_equal(start.rsp % 16, 8);
	assert_int_equal(start.image_first, SEGMENT_PADDR);
	assert_int_equal(start.image_last, SEGMENT_PADDR + SEGMENT_MEMORY - 1);
	memcpy(&info, ram + start.rdi, sizeof(info));
	assert_memory_equal(&info.magic, "!HVDPAGE", 8);
	assert_int_equal(info.version, INFO_PAGE_VERSION);
	assert_int_equal(info.size_bytes, sizeof(info));
	assert_int_equal(info.memory_bytes, RAM_BYTES);
	assert_int_equal(info.info_gpa, start.rdi);
	assert_int_equal(info.page_tables_gpa, start.cr3);
	assert_int_equal(info.page_tables_gpa + info.page_tables_bytes, RAM_BYTES);
	assert_int_equal(info.stack_gpa + info.stack_bytes, start.rdi);
	assert_int_equal(start.rsp, info.stack_gpa + info.stack_bytes - 8);
	assert_int_equal(info.vcpus, 3);
	assert_int_equal(info.cmdline_bytes, 7);
	assert_string_equal(info.cmdline, "one two");
	/* Every 2 MiB of the low 4 GiB maps to itself, writable; nothing else is mapped. */
	for (a = 0; a < UINT64_C(1) << 32; a += VMX_SIZE_2M) {
		memcpy(&table, ram + start.cr3, 8);
		assert_int_equal(table & 0xfff, 3);
		memcpy(&table, ram + (table & ~UINT64_C(0xfff)) + (a >> 30) * 8, 8);
		assert_int_equal(table & 0xfff, 3);
		memcpy(&table, ram + (table & ~UINT64_C(0xfff)) + (a >> 21) % 512 * 8, 8);
		assert_true(table == (a | 0x83));
	}
	assert_int_equal(word(start.cr3 + 8), 0);
	assert_int_equal(word(start.cr3 + 4096 + 4 * 8), 0);
}

#define INFO(field) word(start.rbx + 4 * (field))
enum {
	FLAGS,
	LOWER,
	UPPER,
	BOOT_DEVICE,
	CMDLINE,
	MODS,
	MODS_ADDR,
	MAP_LENGTH = 11,
	MAP_ADDR,
	NAME = 16
};

static void test_multiboot_elf32(void **state)
{
	static const uint8_t module[5000] = {1, 2, 3};
	struct loader_request req;
	struct loader_start start;
	size_t size = make_elf32();
	uint32_t mods, map;

	(void)state;
	add_header(HEADER_AT, 3);
	fresh(&req, LOADER_AUTO, size);
	req.cmdline = "kernel -v";
	req.modules = 2;
	req.module[0] = (struct loader_blob){module, sizeof(module)};
	req.module[1] = (struct loader_blob){module, 1};
	load(&req, &start);
	check_segment(SEGMENT_PADDR);
	assert_int_equal(start.format, LOADER_MULTIBOOT);
	assert_int_equal(start.mode, LOADER_MODE_PROTECTED_FLAT);
	assert_int_equal(start.entry, SEGMENT_PADDR + 0x10);
	assert_int_equal(start.rax, 0x2badb002);
	assert_int_equal(INFO(FLAGS), 0x24d);
	assert_int_equal(INFO(LOWER), 640);
	assert_int_equal(INFO(UPPER), (RAM_BYTES - (1 << 20)) >> 10);
	assert_string_equal((char *)ram + INFO(CMDLINE), "kernel -v");
	assert_string_equal((char *)ram + INFO(NAME), "hvd");
	assert_int_equal(INFO(MODS), 2);
	mods = INFO(MODS_ADDR);
	assert_int_equal(word(mods), SEGMENT_PADDR + SEGMENT_MEMORY);
	assert_int_equal(word(mods + 4) - word(mods), sizeof(module));
	assert_memory_equal(ram + word(mods), module, sizeof(module));
	assert_int_equal(word(mods + 16) % 4096, 0);
	assert_true(word(mods + 16) >= word(mods + 4));
	assert_int_equal(word(mods + 20) - word(mods + 16), 1);
	map = INFO(MAP_ADDR);
	assert_int_equal(INFO(MAP_LENGTH), 72);
	assert_int_equal(word(map), 20);
	assert_int_equal(word(map + 12), 0xa0000);
	assert_int_equal(word(map + 20), 1);
	assert_int_equal(word(map + 24 + 20), 2);
	assert_int_equal(word(map + 48 + 4), 0x100000);
	assert_int_equal(word(map + 48 + 12), RAM_BYTES - 0x100000);
}

static void test_multiboot_elf64(void **state)
{
	struct loader_request req;
	struct loader_start start;
	size_t size = make_elf64();

	(void)state;
	add_header(HEADER_AT, 0);
	fresh(&req, LOADER_AUTO, size);
	load(&req, &start);
	check_segment(SEGMENT_PADDR);
	assert_int_equal(start.mode, LOADER_MODE_PROTECTED_FLAT);
	assert_int_equal(start.rax, 0x2badb002);
	assert_int_equal(INFO(FLAGS), 0x241);
}

static void test_multiboot_addresses(void **state)
{
	struct loader_request req;
	struct loader_start start;
	size_t size = make_address_image();

	(void)state;
	fresh(&req, LOADER_AUTO, size);
	load(&req, &start);
	assert_memory_equal(ram + 0x100000, image, size);
	assert_int_equal(start.entry, 0x100500);
	assert_int_equal(start.image_last, 0x107fff);
	/* Only a part, from the header on: what precedes it in the file is not loaded. */
	add_addresses(0x300000, 0x300000, 0x300800, 0, 0x300010);
	fresh(&req, LOADER_AUTO, size);
	load(&req, &start);
	assert_memory_equal(ram + 0x300000, image + HEADER_AT, 0x800);
	assert_int_equal(word(0x300800), 0);
	assert_int_equal(start.image_last, 0x3007ff);
}

/* The information moves away when the image wants its usual place. */
static void test_multiboot_low(void **state)
{
	struct loader_request req;
	struct loader_start start;
	size_t size = make_address_image();

	(void)state;
	add_addresses(0xe0000 + HEADER_AT, 0xe0000, 0, 0, 0xe0500);
	fresh(&req, LOADER_AUTO, size);
	load(&req, &start);
	assert_memory_equal(ram + 0xe0000, image, size);
	assert_true(start.rbx > start.image_last);
}

static void test_flat(void **state)
{
	struct loader_request req;
	struct loader_start start;

	(void)state;
	fill_segment();
	fresh(&req, LOADER_FLAT, 0x1200);
	load(&req, &start);
	assert_memory_equal(ram + 0x100000, image, 0x1200);
	assert_int_equal(start.entry, 0x100000);
	req.load_gpa = RAM_BYTES - 0x1200;
	load(&req, &start);
	assert_int_equal(start.entry, RAM_BYTES - 0x1200);
	assert_int_equal(start.image_last, RAM_BYTES - 1);
}

/* The header counts when it ends at byte 8192, and no later. */
static void test_header_search(void **state)
{
	static const struct {
		size_t at;
		bool found;
	} rows[] = {{0, true}, {4, true}, {8180, true}, {8184, false}, {8192, false}, {402, false}};
	struct loader_request req;
	struct loader_start start;
	struct loader_error e;
	size_t i;

	(void)state;
	for (i = 0; i < VMX_ARRAY_SIZE(rows); i++) {
		memset(image, 0, sizeof(image));
		add_header(rows[i].at, 3);
		fresh(&req, LOADER_MULTIBOOT, sizeof(image));
		assert_int_equal(loader_load(&req, &start, &e), -EINVAL);
		/* Found, it is refused for another reason. */
		assert_int_equal(strncmp(e.text, "no Multiboot header", 19) == 0, !rows[i].found);
	}
}

/* --- what is refused ----------------------------------------------------------------------- */

static void no_change(struct loader_request *req)
{
	(void)req;
}

#define CHANGE(name, ...)                            \
	static void name(struct loader_request *req) \
	{                                            \
		(void)req;                           \
		__VA_ARGS__;                         \
	}

CHANGE(empty, req->image.size = 0)
CHANGE(zeros, memset(image, 0, sizeof(image)))
CHANGE(cut_header, req->image.size = 40)
CHANGE(cut_phdr, req->image.size = 100)
CHANGE(cut_segment, req->image.size -= 1)
CHANGE(class_bad, image[4] = 9)
CHANGE(big_endian, image[5] = 2)
CHANGE(dyn, ehdr64()->e_type = ET_DYN)
CHANGE(relocatable, ehdr64()->e_type = ET_REL)
CHANGE(machine, ehdr64()->e_machine = 183)
CHANGE(no_phdr, ehdr64()->e_phnum = 0)
CHANGE(phentsize, ehdr64()->e_phentsize = 32)
CHANGE(phoff_wrap, ehdr64()->e_phoff = UINT64_MAX - 10)
CHANGE(many_phdr, ehdr64()->e_phnum = 0xffff)
CHANGE(interp, phdr64(0)->p_type = PT_INTERP)
CHANGE(nothing, phdr64(1)->p_type = PT_NOTE)
CHANGE(file_over_memory, phdr64(1)->p_memsz = 1)
CHANGE(offset_wrap, phdr64(1)->p_offset = UINT64_MAX)
CHANGE(paddr_high, phdr64(1)->p_paddr = RAM_BYTES - 0x1000)
CHANGE(paddr_wrap, phdr64(1)->p_paddr = UINT64_MAX - 5)
CHANGE(memsz_wrap, phdr64(1)->p_memsz = UINT64_MAX)
CHANGE(entry_out, ehdr64()->e_entry = 0x10)
CHANGE(overlap, *phdr64(0) = *phdr64(1))
CHANGE(over_tables, phdr64(1)->p_vaddr = phdr64(1)->p_paddr = 0x1000;
       phdr64(1)->p_memsz = RAM_BYTES - 0x5000)
CHANGE(module, req->modules = 1)
CHANGE(modules_many, req->modules = 17)
CHANGE(video, add_header(HEADER_AT, 4))
CHANGE(unknown_flag, add_header(HEADER_AT, 0x8000))
CHANGE(no_addresses, add_header(HEADER_AT, 3))
CHANGE(header_below, add_addresses(0xfffff, 0x100000, 0, 0, 0x100500))
CHANGE(header_far, add_addresses(0x200000, 0x100000, 0, 0, 0x100500))
CHANGE(load_end_low, add_addresses(0x100400, 0x100000, 0xfffff, 0, 0x100500))
CHANGE(load_end_far, add_addresses(0x100400, 0x100000, 0x200000, 0, 0x100500))
CHANGE(bss_low, add_addresses(0x100400, 0x100000, 0, 0x100010, 0x100500))
CHANGE(bss_far, add_addresses(0x100400, 0x100000, 0, 0xffffffff, 0x100500))
CHANGE(entry_far, add_addresses(0x100400, 0x100000, 0, 0, 0x300000))
CHANGE(header_cut, req->image.size = HEADER_AT + 20)
CHANGE(flat_high, req->load_gpa = RAM_BYTES)
CHANGE(flat_wrap, req->load_gpa = UINT64_MAX)
CHANGE(flat_cmdline, req->cmdline = "x")
CHANGE(module_empty, req->modules = 1; req->module[0].size = 0)
CHANGE(module_big, req->modules = 1; req->module[0].data = image; req->module[0].size = RAM_BYTES)
CHANGE(format_bad, req->format = 77)

static char long_cmdline[2000];

static void cmdline_long(struct loader_request *req)
{
	memset(long_cmdline, 'a', sizeof(long_cmdline) - 1);
	req->cmdline = long_cmdline;
}

static const struct refusal {
	const char *name;
	size_t (*make)(void);
	enum loader_format format;
	void (*change)(struct loader_request *req);
	int err;
	enum loader_field field;
	const char *text; /* a part of it */
} refusals[] = {
	{"empty", make_elf64, LOADER_AUTO, empty, -EINVAL, LOADER_FIELD_IMAGE, "empty"},
	{"zeros", make_elf64, LOADER_AUTO, zeros, -EINVAL, LOADER_FIELD_IMAGE, "format flat"},
	{"elf32 without header", make_elf32, LOADER_AUTO, no_change, -EINVAL, LOADER_FIELD_IMAGE,
	 "ELF32"},
	{"not elf64", make_elf32, LOADER_ELF64, no_change, -EINVAL, LOADER_FIELD_IMAGE,
	 "not an ELF64"},
	{"no multiboot", make_elf64, LOADER_MULTIBOOT, no_change, -EINVAL, LOADER_FIELD_IMAGE,
	 "no Multiboot"},
	{"bad format", make_elf64, LOADER_AUTO, format_bad, -EINVAL, LOADER_FIELD_IMAGE, "format"},
	{"cut header", make_elf64, LOADER_AUTO, cut_header, -EINVAL, LOADER_FIELD_IMAGE,
	 "ends inside"},
	{"cut phdr", make_elf64, LOADER_AUTO, cut_phdr, -EINVAL, LOADER_FIELD_IMAGE,
	 "program headers"},
	{"cut segment", make_elf64, LOADER_AUTO, cut_segment, -EINVAL, LOADER_FIELD_IMAGE,
	 "outside the image"},
	{"class", make_elf64, LOADER_ELF64, class_bad, -EINVAL, LOADER_FIELD_IMAGE, "not an ELF64"},
	{"big endian", make_elf64, LOADER_AUTO, big_endian, -EINVAL, LOADER_FIELD_IMAGE,
	 "little-endian"},
	{"pie", make_elf64, LOADER_AUTO, dyn, -EINVAL, LOADER_FIELD_IMAGE, "-no-pie"},
	{"relocatable", make_elf64, LOADER_AUTO, relocatable, -EINVAL, LOADER_FIELD_IMAGE,
	 "executable"},
	{"machine", make_elf64, LOADER_AUTO, machine, -EINVAL, LOADER_FIELD_IMAGE, "machine 183"},
	{"no phdr", make_elf64, LOADER_AUTO, no_phdr, -EINVAL, LOADER_FIELD_IMAGE,
	 "program headers"},
	{"phentsize", make_elf64, LOADER_AUTO, phentsize, -EINVAL, LOADER_FIELD_IMAGE,
	 "program headers"},
	{"phoff", make_elf64, LOADER_AUTO, phoff_wrap, -EINVAL, LOADER_FIELD_IMAGE,
	 "program headers"},
	{"phnum", make_elf64, LOADER_AUTO, many_phdr, -EINVAL, LOADER_FIELD_IMAGE,
	 "program headers"},
	{"interpreter", make_elf64, LOADER_AUTO, interp, -EINVAL, LOADER_FIELD_IMAGE,
	 "dynamic linker"},
	{"nothing", make_elf64, LOADER_AUTO, nothing, -EINVAL, LOADER_FIELD_IMAGE,
	 "nothing to load"},
	{"filesz", make_elf64, LOADER_AUTO, file_over_memory, -EINVAL, LOADER_FIELD_IMAGE,
	 "more bytes in the file"},
	{"offset", make_elf64, LOADER_AUTO, offset_wrap, -EINVAL, LOADER_FIELD_IMAGE,
	 "outside the image"},
	{"paddr", make_elf64, LOADER_AUTO, paddr_high, -ERANGE, LOADER_FIELD_IMAGE,
	 "beyond the guest's RAM"},
	{"paddr wraps", make_elf64, LOADER_AUTO, paddr_wrap, -ERANGE, LOADER_FIELD_IMAGE,
	 "beyond the guest's RAM"},
	{"memsz wraps", make_elf64, LOADER_AUTO, memsz_wrap, -ERANGE, LOADER_FIELD_IMAGE,
	 "beyond the guest's RAM"},
	{"entry", make_elf64, LOADER_AUTO, entry_out, -EINVAL, LOADER_FIELD_IMAGE, "entry point"},
	{"overlap", make_elf64, LOADER_AUTO, overlap, -EINVAL, LOADER_FIELD_IMAGE, "overlaps"},
	{"no room", make_elf64, LOADER_AUTO, over_tables, -ERANGE, LOADER_FIELD_MEMORY, "no room"},
	{"elf64 module", make_elf64, LOADER_AUTO, module, -ENOTSUP, LOADER_FIELD_MODULE,
	 "Multiboot"},
	{"17 modules", make_elf64, LOADER_AUTO, modules_many, -EINVAL, LOADER_FIELD_MODULE,
	 "at most 16"},
	{"cmdline", make_elf64, LOADER_AUTO, cmdline_long, -EINVAL, LOADER_FIELD_CMDLINE, "1023"},
	{"video", make_address_image, LOADER_AUTO, video, -ENOTSUP, LOADER_FIELD_IMAGE,
	 "flag bits 0x4"},
	{"flag 15", make_address_image, LOADER_AUTO, unknown_flag, -ENOTSUP, LOADER_FIELD_IMAGE,
	 "flag bits 0x8000"},
	{"no addresses", make_address_image, LOADER_AUTO, no_addresses, -EINVAL, LOADER_FIELD_IMAGE,
	 "address fields"},
	{"header_addr low", make_address_image, LOADER_AUTO, header_below, -EINVAL,
	 LOADER_FIELD_IMAGE, "header_addr"},
	{"header_addr far", make_address_image, LOADER_AUTO, header_far, -EINVAL,
	 LOADER_FIELD_IMAGE, "header_addr"},
	{"load_end low", make_address_image, LOADER_AUTO, load_end_low, -EINVAL, LOADER_FIELD_IMAGE,
	 "load_end_addr"},
	{"load_end far", make_address_image, LOADER_AUTO, load_end_far, -EINVAL, LOADER_FIELD_IMAGE,
	 "load_end_addr"},
	{"bss_end low", make_address_image, LOADER_AUTO, bss_low, -EINVAL, LOADER_FIELD_IMAGE,
	 "bss_end_addr"},
	{"bss_end far", make_address_image, LOADER_AUTO, bss_far, -ERANGE, LOADER_FIELD_IMAGE,
	 "beyond the guest's RAM"},
	{"entry far", make_address_image, LOADER_AUTO, entry_far, -EINVAL, LOADER_FIELD_IMAGE,
	 "entry_addr"},
	{"header cut", make_address_image, LOADER_AUTO, header_cut, -EINVAL, LOADER_FIELD_IMAGE,
	 "cut off"},
	{"module empty", make_address_image, LOADER_AUTO, module_empty, -EINVAL,
	 LOADER_FIELD_MODULE, "empty"},
	{"module big", make_address_image, LOADER_AUTO, module_big, -ERANGE, LOADER_FIELD_MODULE,
	 "no room"},
	{"flat high", make_elf64, LOADER_FLAT, flat_high, -ERANGE, LOADER_FIELD_LOAD_GPA,
	 "beyond the guest's RAM"},
	{"flat wraps", make_elf64, LOADER_FLAT, flat_wrap, -ERANGE, LOADER_FIELD_LOAD_GPA,
	 "beyond the guest's RAM"},
	{"flat module", make_elf64, LOADER_FLAT, module, -ENOTSUP, LOADER_FIELD_MODULE,
	 "Multiboot"},
	{"flat cmdline", make_elf64, LOADER_FLAT, flat_cmdline, -ENOTSUP, LOADER_FIELD_CMDLINE,
	 "command line"},
};

static void test_refusals(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < VMX_ARRAY_SIZE(refusals); i++) {
		const struct refusal *r = &refusals[i];
		struct loader_start start = {.entry = 0x5a5a};
		struct loader_error e = {0};
		struct loader_request req;
		int err;

		fresh(&req, r->format, r->make());
		r->change(&req);
		err = loader_load(&req, &start, &e);
		if (err != r->err || e.field != r->field || !strstr(e.text, r->text))
			fail_msg("%s: %d, field %d, \"%s\"", r->name, err, e.field, e.text);
		if (start.entry != 0x5a5a)
			fail_msg("%s: touched its result", r->name);
	}
}

/* What the memory says is handed on. */
static int write_fails(void *ctx, uint64_t at, const void *buf, size_t len)
{
	(void)ctx;
	(void)at;
	(void)buf;
	(void)len;
	return -EIO;
}

static void test_write_error(void **state)
{
	size_t (*const makes[])(void) = {make_elf64, make_address_image};
	struct loader_request req;
	struct loader_start start;
	struct loader_error e;
	size_t i;

	(void)state;
	for (i = 0; i < VMX_ARRAY_SIZE(makes); i++) {
		fresh(&req, LOADER_AUTO, makes[i]());
		req.write = write_fails;
		assert_int_equal(loader_load(&req, &start, &e), -EIO);
		assert_int_equal(e.field, LOADER_FIELD_MEMORY);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_elf64),		cmocka_unit_test(test_multiboot_elf32),
		cmocka_unit_test(test_multiboot_elf64), cmocka_unit_test(test_multiboot_addresses),
		cmocka_unit_test(test_multiboot_low),	cmocka_unit_test(test_flat),
		cmocka_unit_test(test_header_search),	cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_write_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
