/* SPDX-License-Identifier: MIT */
/* Inside the loader: what of the guest's RAM is taken, and refusing with a text. */
#ifndef VMXCORE_LOADER_PLACE_H
#define VMXCORE_LOADER_PLACE_H

#include "loader/loader.h"

/* Program headers of an ELF image, plus modules, plus what the loader adds. */
#define PLACE_MAX 160u

struct place_range {
	uint64_t first, last;
};

/* One load in progress. */
struct place {
	const struct loader_request *req;
	struct loader_error *error;
	uint64_t limit; /* end of usable RAM: below 4 GiB, all formats start there */
	struct place_range taken[PLACE_MAX];
	size_t count;
};

void place_init(struct place *p, const struct loader_request *req, struct loader_error *error);

__attribute__((format(printf, 5, 6))) int place_refuse(struct place *p, int code,
						       enum loader_field field, uint64_t limit,
						       const char *format, ...);

/*
 * Reserves [gpa, gpa + size): inside RAM below 4 GiB, overlapping nothing. what names it
 * in the error. size 0 is nothing.
 */
int place_reserve(struct place *p, enum loader_field field, const char *what, uint64_t gpa,
		  uint64_t size);
/* The lowest free page-aligned place at or above from, or the highest below the limit. */
int place_find_low(struct place *p, enum loader_field field, const char *what, uint64_t from,
		   uint64_t size, uint64_t *ret_gpa);
int place_find_high(struct place *p, enum loader_field field, const char *what, uint64_t size,
		    uint64_t *ret_gpa);
/* Writes into what was reserved. */
int place_write(struct place *p, uint64_t gpa, const void *buf, size_t len);

/* The formats. Each has found its magic already, or refuses. */
int multiboot_load(struct place *p, struct loader_start *ret);
int elf64_load(struct place *p, struct loader_start *ret);
int flat_load(struct place *p, struct loader_start *ret);

/* true: the first 8192 bytes hold a Multiboot header; its offset. */
bool multiboot_find(const struct loader_blob *image, size_t *ret_offset);

#endif
