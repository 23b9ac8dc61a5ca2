/* SPDX-License-Identifier: MIT */
/* Pointers by number: a sorted array. Readers and writers are the caller's to keep apart. */
#ifndef KERNEL_XARRAY_H
#define KERNEL_XARRAY_H

#include <linux/kernel.h>

struct xarray_place {
	unsigned long number;
	void *entry;
};

struct xarray {
	struct xarray_place *places; /* sorted by number */
	size_t count, room;
};

/* Reserves a place: it reads as NULL. */
#define XA_ZERO_ENTRY ((void *)2)

void xa_init(struct xarray *xa);
/* The entries are the caller's. */
void xa_destroy(struct xarray *xa);
/* -EBUSY there is something, reserved places too; -ENOMEM. */
int xa_insert(struct xarray *xa, unsigned long number, void *entry, gfp_t flags);
void *xa_load(struct xarray *xa, unsigned long number);
/* What was there; ERR_PTR(-ENOMEM), but never in a place that is taken or reserved. */
void *xa_store(struct xarray *xa, unsigned long number, void *entry, gfp_t flags);
void *xa_erase(struct xarray *xa, unsigned long number);
/* The first entry from *number on, which becomes its number; NULL. */
void *xa_find(struct xarray *xa, unsigned long *number);

#define xa_for_each(xa, number, entry) \
	for ((number) = 0; ((entry) = xa_find((xa), &(number))) != NULL; (number)++)

#endif
