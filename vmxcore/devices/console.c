/* SPDX-License-Identifier: MIT */
#include "devices/console.h"

#include <stdlib.h>

#define FIRST_CAPACITY ((size_t)4096)

/*
 * The byte at absolute offset o lives at ring[o % capacity]. Growing moves the kept
 * bytes to their places under the new capacity.
 */
void console_init(struct console *c, size_t limit)
{
	*c = (struct console){.limit = limit ? limit : 1};
}

void console_fini(struct console *c)
{
	free(c->ring);
	free(c->input);
	c->ring = NULL;
	c->capacity = 0;
	c->input = NULL;
	c->input_count = 0;
}

void console_clear(struct console *c)
{
	c->total = 0;
	c->first = 0;
	c->input_count = 0;
}

static void grow(struct console *c)
{
	size_t want = c->capacity ? c->capacity * 2 : FIRST_CAPACITY;
	uint8_t *ring;
	uint64_t o;

	if (want > c->limit)
		want = c->limit;
	if (want <= c->capacity)
		return;
	ring = malloc(want);
	if (!ring)
		return;
	for (o = c->first; o < c->total; o++)
		ring[o % want] = c->ring[o % c->capacity];
	free(c->ring);
	c->ring = ring;
	c->capacity = want;
}

void console_put(struct console *c, uint8_t byte)
{
	if (c->total - c->first == c->capacity)
		grow(c);
	if (c->capacity == 0) {
		/* No memory at all: the byte is counted and lost. */
		c->total++;
		c->first = c->total;
		return;
	}
	if (c->total - c->first == c->capacity)
		c->first++;
	c->ring[c->total % c->capacity] = byte;
	c->total++;
}

size_t console_read(const struct console *c, uint64_t offset, void *buf, size_t max,
		    uint64_t *ret_first)
{
	uint8_t *out = buf;
	size_t n = 0;

	if (offset < c->first)
		offset = c->first;
	if (offset > c->total)
		offset = c->total;
	*ret_first = offset;
	while (n < max && offset + n < c->total) {
		out[n] = c->ring[(offset + n) % c->capacity];
		n++;
	}
	return n;
}

/* --- input ----------------------------------------------------------------------------------- */

int console_type(struct console *c, const void *bytes, size_t count, size_t *ret_taken)
{
	const uint8_t *in = bytes;
	size_t room = CONSOLE_INPUT_BYTES - c->input_count, i;

	if (!c->input && count) {
		c->input = malloc(CONSOLE_INPUT_BYTES);
		if (!c->input)
			return -ENOMEM;
	}
	if (count > room)
		count = room;
	for (i = 0; i < count; i++)
		c->input[(c->input_first + c->input_count + i) % CONSOLE_INPUT_BYTES] = in[i];
	c->input_count += count;
	*ret_taken = count;
	return 0;
}

size_t console_typed(const struct console *c)
{
	return c->input_count;
}

bool console_take(struct console *c, uint8_t *ret)
{
	if (c->input_count == 0)
		return false;
	*ret = c->input[c->input_first];
	c->input_first = (c->input_first + 1) % CONSOLE_INPUT_BYTES;
	c->input_count--;
	return true;
}
