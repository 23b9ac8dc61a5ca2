/* SPDX-License-Identifier: MIT */
/*
 * Image formats: from a file's content in memory to a guest's memory and the first
 * vCPU's registers. An image is untrusted: every length and offset is checked, and
 * a refusal says in one line what is wrong.
 *
 * Guest RAM is [0, ram_bytes), zero when loading begins, and written through a
 * callback only.
 */
#ifndef VMXCORE_LOADER_LOADER_H
#define VMXCORE_LOADER_LOADER_H

#include <vmxcore/types.h>

#define LOADER_MAX_MODULES 16u
#define LOADER_TEXT_LEN 160u
#define LOADER_CMDLINE_MAX 1023u
#define LOADER_LOAD_GPA UINT64_C(0x100000)

enum loader_format {
	LOADER_AUTO, /* a Multiboot header, else ELF64, else refused */
	LOADER_MULTIBOOT,
	LOADER_ELF64,
	LOADER_FLAT,
	LOADER_FORMATS
};

/* Which input is wrong. */
enum loader_field {
	LOADER_FIELD_NONE,
	LOADER_FIELD_IMAGE,
	LOADER_FIELD_MODULE,
	LOADER_FIELD_CMDLINE,
	LOADER_FIELD_LOAD_GPA,
	LOADER_FIELD_MEMORY, /* too little for what is to be put there */
};

struct loader_blob {
	const uint8_t *data;
	size_t size;
};

struct loader_request {
	enum loader_format format;
	struct loader_blob image;
	struct loader_blob module[LOADER_MAX_MODULES]; /* Multiboot only */
	size_t modules;
	const char *cmdline; /* NULL: none. Multiboot and ELF64 */
	uint64_t load_gpa;   /* flat; 0: LOADER_LOAD_GPA */
	uint64_t ram_bytes;
	uint32_t vcpus;
	/* 0, or -errno. Only for addresses inside the RAM. */
	int (*write)(void *ctx, uint64_t gpa, const void *buf, size_t len);
	void *ctx;
};

enum loader_mode {
	LOADER_MODE_PROTECTED_FLAT, /* 32-bit, paging off, flat segments */
	LOADER_MODE_LONG,	    /* 64-bit, paging on */
};

/* How the first vCPU starts. */
struct loader_start {
	enum loader_mode mode;
	enum loader_format format; /* what it was */
	uint64_t entry;
	uint64_t rax, rbx, rdi;
	uint64_t cr3, rsp; /* LOADER_MODE_LONG */
	uint64_t image_first, image_last;
};

struct loader_error {
	enum loader_field field;
	uint64_t limit; /* the bound that was broken, where there is one */
	uint32_t index; /* of the module */
	char text[LOADER_TEXT_LEN];
};

/*
 * -EINVAL malformed or not of that format, -ENOTSUP a feature that is not offered,
 * -ERANGE does not fit; what write() says. On an error guest memory may have been
 * written to.
 */
int loader_load(const struct loader_request *req, struct loader_start *ret,
		struct loader_error *ret_error);

#endif
