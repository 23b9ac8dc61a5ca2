// SPDX-License-Identifier: MIT
/* Memory of decoded structures, freed together. */
#include "proto/proto.h"
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

struct proto_block {
	struct proto_block *next;
	alignas(max_align_t) unsigned char data[];
};

void *proto_alloc(struct proto_arena *a, size_t count, size_t size)
{
	struct proto_block *b;

	if (size && count > (SIZE_MAX / 2 - sizeof(*b)) / size)
		return NULL;
	b = calloc(1, sizeof(*b) + count * size);
	if (!b)
		return NULL;
	b->next = a->blocks;
	a->blocks = b;
	return b->data;
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
