/* SPDX-License-Identifier: MIT */
/*
 * A serial line's other end. What a guest printed: a ring that keeps the last bytes, and
 * counts all of them. What was typed for it: a bounded ring that keeps the first, until the
 * guest's UART takes them.
 */
#ifndef VMXCORE_DEVICES_CONSOLE_H
#define VMXCORE_DEVICES_CONSOLE_H

#include <vmxcore/types.h>

#define CONSOLE_KEEP_BYTES ((size_t)1 << 20)
#define CONSOLE_INPUT_BYTES ((size_t)65536)

struct console {
	uint8_t *ring;	 /* grows up to limit, by doubling */
	size_t capacity; /* bytes allocated */
	size_t limit;	 /* bytes kept at most */
	uint64_t total;	 /* bytes ever written since console_clear() */
	uint64_t first;	 /* offset of the oldest byte kept */
	uint8_t *input;	 /* CONSOLE_INPUT_BYTES of them; NULL before the first */
	size_t input_first, input_count;
};

/* limit: at least 1. Allocates nothing yet. */
void console_init(struct console *c, size_t limit);
void console_fini(struct console *c);
/* Forgets content and counts, and what was typed. */
void console_clear(struct console *c);
/* When memory for growing is short, the oldest bytes go instead. */
void console_put(struct console *c, uint8_t byte);
/*
 * Copies bytes from offset on; returns how many. *ret_first is the offset of the first
 * byte copied: later than offset when older ones are no longer kept.
 */
size_t console_read(const struct console *c, uint64_t offset, void *buf, size_t max,
		    uint64_t *ret_first);

/*
 * Types as many of the bytes as there is room for: *ret_taken, the first ones. -ENOMEM: none,
 * memory is short.
 */
int console_type(struct console *c, const void *bytes, size_t count, size_t *ret_taken);
/* Bytes typed and not taken yet. */
size_t console_typed(const struct console *c);
/* Takes the oldest; false: there is none. */
bool console_take(struct console *c, uint8_t *ret);

#endif
