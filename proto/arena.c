// SPDX-License-Identifier: MIT
/* Memory of decoded structures, freed together: pieces of blocks, from which none is returned. */
#include "proto/proto.h"
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES 1024u /* most messages need no second block */
#define BLOCK_BYTES (16u << 10)

/* Each piece a block of its own, so that the sanitizer sees what is beyond it. */
#if defined(__SANITIZE_ADDRESS__)
#define OWN_BLOCK_BYTES 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OWN_BLOCK_BYTES 0
#endif
#endif
#ifndef OWN_BLOCK_BYTES
#define OWN_BLOCK_BYTES (FIRST_BYTES / 2)
#endif

struct proto_block {
	struct proto_block *next;
	size_t used, size;
	alignas(max_align_t) unsigned char data[];
};

static struct proto_block *block_new(size_t size)
{
	struct proto_block *b = calloc(1, sizeof(*b) + size);

	if (b)
		b->size = size;
	return b;
}

/* A large one stands behind the first, which goes on being used. */
static void *own_block(struct proto_arena *a, size_t n)
{
	struct proto_block *b = block_new(n);

	if (!b)
		return NULL;
	b->used = n;
	if (a->blocks) {
		b->next = a->blocks->next;
		a->blocks->next = b;
	} else {
		a->blocks = b;
	}
	return b->data;
}

void *proto_alloc(struct proto_arena *a, size_t count, size_t size)
{
	const size_t align = alignof(max_align_t);
	struct proto_block *b = a->blocks;
	size_t n;

	if (size && count > SIZE_MAX / 4 / size)
		return NULL;
	if (count * size > OWN_BLOCK_BYTES || !OWN_BLOCK_BYTES)
		return own_block(a, count * size);
	n = (count * size + align - 1) / align * align;
	if (!b || b->size - b->used < n) {
		b = block_new(b ? BLOCK_BYTES : FIRST_BYTES);
		if (!b)
			return NULL;
		b->next = a->blocks;
		a->blocks = b;
	}
	b->used += n;
	return b->data + b->used - n;
}

char *proto_strndup(struct proto_arena *a, const char *s, size_t len)
{
	char *copy = len < SIZE_MAX ? proto_alloc(a, len + 1, 1) : NULL;

	if (copy)
		memcpy(copy, s, len);
	return copy;
}

char *proto_strdup(struct proto_arena *a, const char *s)
{
	return proto_strndup(a, s, strlen(s));
}

void proto_arena_free(struct proto_arena *a)
{
	while (a->blocks) {
		struct proto_block *b = a->blocks;

		a->blocks = b->next;
		free(b);
	}
}
