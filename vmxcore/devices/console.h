/* SPDX-License-Identifier: MIT */
/* What a guest printed: a ring that keeps the last bytes, and counts all of them. */
#ifndef VMXCORE_DEVICES_CONSOLE_H
#define VMXCORE_DEVICES_CONSOLE_H

#include <vmxcore/types.h>

#define CONSOLE_KEEP_BYTES ((size_t)1 << 20)

struct console {
	uint8_t *ring;	 /* grows up to limit, by doubling */
	size_t capacity; /* bytes allocated */
	size_t limit;	 /* bytes kept at most */
	uint64_t total;	 /* bytes ever written since console_clear() */
	uint64_t first;	 /* offset of the oldest byte kept */
};

/* limit: at least 1. Allocates nothing yet. */
void console_init(struct console *c, size_t limit);
void console_fini(struct console *c);
/* Forgets content and counts. */
void console_clear(struct console *c);
/* When memory for growing is short, the oldest bytes go instead. */
void console_put(struct console *c, uint8_t byte);
/*
 * Copies bytes from offset on; returns how many. *ret_first is the offset of the first
 * byte copied: later than offset when older ones are no longer kept.
 */
size_t console_read(const struct console *c, uint64_t offset, void *buf, size_t max,
		    uint64_t *ret_first);

#endif
