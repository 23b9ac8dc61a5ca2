/* SPDX-License-Identifier: MIT */
/* Counts of holders. One that gains a holder after its last has gone ends the program. */
#ifndef KERNEL_KREF_H
#define KERNEL_KREF_H

#include <linux/kernel.h>

struct kref {
	unsigned int count;
};

void kref_init(struct kref *k);
void kref_get(struct kref *k);
/* 1: it was the last, and release() has run. */
int kref_put(struct kref *k, void (*release)(struct kref *));

#endif
