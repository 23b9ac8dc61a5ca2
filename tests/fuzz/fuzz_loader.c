/* SPDX-License-Identifier: MIT */
/*
 * The image loaders against any bytes. The first byte of an input chooses format,
 * modules and command line; the rest is the image. What must hold: the loader writes
 * inside the RAM only, never the same byte twice, and either refuses with a text and an
 * untouched result, or starts inside what it loaded.
 *
 * Images are made here and then broken: what is wrong all over is refused at its first bytes.
 * With libFuzzer (FUZZ_LIBFUZZER), it changes them further. Without it: fuzz_loader [ITERATIONS
 * [SEED]], or fuzz_loader FILE.
 */
#include "loader/loader.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>

#define RAM_BYTES (UINT64_C(2) << 20)

static uint8_t written[RAM_BYTES]; /* how often each byte was written in this load */

#define CHECK(what)                                                                \
	do {                                                                       \
		if (!(what)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
			abort();                                                   \
		}                                                                  \
	} while (0)

static int write_ram(void *ctx, uint64_t at, const void *buf, size_t len)
{
	const uint8_t *bytes = buf;
	uint8_t *sum = ctx;
	size_t i;

	CHECK(at <= RAM_BYTES && len <= RAM_BYTES - at);
	for (i = 0; i < len; i++) {
		/* Reads the source: a sanitizer sees what is outside it. */
		*sum ^= bytes[i];
		CHECK(written[at + i]++ == 0);
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct loader_start start = {.entry = 0x123456789}, old = start;
	struct loader_error e = {0};
	struct loader_request req;
	uint8_t sum = 0;
	int err;

	if (size < 1)
		return 0;
	memset(written, 0, sizeof(written));
	req = (struct loader_request){
		.format = (enum loader_format)(data[0] % LOADER_FORMATS),
		.image = {data + 1, size - 1},
		.modules = data[0] >> 2 & 3,
		.cmdline = data[0] & 16 ? "some words" : NULL,
		.load_gpa = data[0] & 32 ? RAM_BYTES - 64 : 0,
		.ram_bytes = RAM_BYTES,
		.vcpus = 1,
		.write = write_ram,
		.ctx = &sum,
	};
	req.module[0] = req.module[1] = req.module[2] = (struct loader_blob){data, size};
	err = loader_load(&req, &start, &e);
	if (err) {
		CHECK(e.text[0] != '\0' && memchr(e.text, '\0', sizeof(e.text)));
		CHECK(e.field != LOADER_FIELD_NONE);
		CHECK(memcmp(&start, &old, sizeof(start)) == 0);
		return 0;
	}
	CHECK(start.image_first <= start.image_last && start.image_last < RAM_BYTES);
	CHECK(start.entry >= start.image_first && start.entry <= start.image_last);
	CHECK(start.rbx < RAM_BYTES && start.rdi < RAM_BYTES && start.cr3 < RAM_BYTES);
	return 0;
}

#define INPUT_MAX 12288u

static uint64_t state;

static uint32_t rnd(uint32_t below)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(state >> 33) % below;
}

static size_t elf64(uint8_t *to)
{
	Elf64_Ehdr eh = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
			 .e_type = ET_EXEC,
			 .e_machine = EM_X86_64,
			 .e_entry = 0x100000,
			 .e_phoff = sizeof(eh),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = 2};
	Elf64_Phdr ph[2] = {{.p_type = PT_LOAD,
			     .p_offset = 0x400,
			     .p_vaddr = 0x100000,
			     .p_paddr = 0x100000,
			     .p_filesz = 0x100,
			     .p_memsz = 0x1000},
			    {.p_type = PT_LOAD,
			     .p_offset = 0x500,
			     .p_vaddr = 0x102000,
			     .p_paddr = 0x102000,
			     .p_filesz = 0x80,
			     .p_memsz = 0x80}};

	memcpy(to, &eh, sizeof(eh));
	memcpy(to + sizeof(eh), ph, sizeof(ph));
	return 0x600;
}

static size_t elf32(uint8_t *to)
{
	Elf32_Ehdr eh = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
			 .e_type = ET_EXEC,
			 .e_machine = EM_386,
			 .e_entry = 0x100000,
			 .e_phoff = sizeof(eh),
			 .e_phentsize = sizeof(Elf32_Phdr),
			 .e_phnum = 1};
	Elf32_Phdr ph = {.p_type = PT_LOAD,
			 .p_offset = 0x400,
			 .p_vaddr = 0x100000,
			 .p_paddr = 0x100000,
			 .p_filesz = 0x100,
			 .p_memsz = 0x1000};

	memcpy(to, &eh, sizeof(eh));
	memcpy(to + sizeof(eh), &ph, sizeof(ph));
	return 0x600;
}

static void add_header(uint8_t *to, uint32_t flags)
{
	const uint32_t header[8] = {0x1badb002, flags,	  0u - 0x1badb002u - flags,
				    0x100200,	0x100000, 0x100500,
				    0x101000,	0x100300};

	memcpy(to + 0x200, header, sizeof(header));
}

/* Numbers at which bounds break. */
static const uint64_t edges[] = {
	0,	    1,		0xfff,	    0x1000,	RAM_BYTES - 1,	  RAM_BYTES,
	0x7fffffff, 0x80000000, 0xffffffff, UINT64_MAX, UINT64_MAX - 4095};

/* Mostly in the headers, where bytes have a meaning; the header's checksum is kept right. */
static void mutate(uint8_t *image, size_t size)
{
	uint32_t n = 1 + rnd(4), flags;

	while (n--) {
		size_t at = rnd(2) ? rnd(0x80) : 0x200 + rnd(0x20);
		uint64_t edge = edges[rnd(VMX_ARRAY_SIZE(edges))];

		if (rnd(8) == 0)
			at = rnd((uint32_t)size - 8);
		if (rnd(2))
			image[at] ^= (uint8_t)(1u << rnd(8));
		else
			memcpy(image + (at & ~(size_t)3), &edge, rnd(2) ? 4 : 8);
	}
	memcpy(&flags, image + 0x204, 4);
	flags = 0u - 0x1badb002u - flags;
	if (rnd(2))
		memcpy(image + 0x208, &flags, 4);
}

/* An input, at most INPUT_MAX bytes; its size. */
static size_t make_input(uint8_t *input)
{
	static size_t (*const makes[])(uint8_t *) = {elf64, elf32};
	size_t size;

	memset(input, 0, INPUT_MAX);
	input[0] = (uint8_t)rnd(64);
	size = makes[rnd(2)](input + 1);
	if (rnd(2))
		add_header(input + 1, rnd(2) ? 0x10003 : rnd(4));
	mutate(input + 1, size);
	if (rnd(4) == 0)
		size = 1 + rnd((uint32_t)size);
	return size + 1;
}

#ifdef FUZZ_LIBFUZZER

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	state = seed;
	if (max_size >= INPUT_MAX && (size < 0x600 || rnd(4) == 0))
		return make_input(data);
	return LLVMFuzzerMutate(data, size, max_size);
}

#else

static void run_random(uint64_t iterations)
{
	static uint8_t input[INPUT_MAX];

	for (uint64_t i = 0; i < iterations; i++)
		LLVMFuzzerTestOneInput(input, make_input(input));
}

static int run_file(const char *path)
{
	static uint8_t input[1u << 20];
	FILE *f = fopen(path, "rb");
	size_t size;

	if (!f) {
		perror(path);
		return 1;
	}
	size = fread(input, 1, sizeof(input), f);
	fclose(f);
	return LLVMFuzzerTestOneInput(input, size);
}

int main(int argc, char **argv)
{
	char *end = NULL;
	uint64_t iterations = argc > 1 ? strtoull(argv[1], &end, 0) : 20000;

	if (end && *end)
		return run_file(argv[1]);
	state = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	run_random(iterations);
	return 0;
}

#endif
