/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The mapping list; see mem_ranges.h. */
#include "core/mem_ranges.h"

#define PROT_BITS ((uint64_t)CORE_PROT_RWX)

void mem_ranges_init(struct mem_ranges *l)
{
	memset(l, 0, sizeof(*l));
	l->version = 1;
}

void mem_ranges_free(struct mem_ranges *l)
{
	for (size_t i = 0; i < l->count; i++)
		plat_free(l->chunks[i]);
	plat_free(l->chunks);
	mem_ranges_init(l);
}

/* --- versions --------------------------------------------------------------------------- */

int mem_ranges_begin(const struct mem_ranges *from, struct mem_ranges *ret_edit)
{
	/* Room for a batch's first few new chunks. */
	size_t capacity = from->count + 8;
	struct mem_chunk **chunks = plat_calloc(capacity, sizeof(struct mem_chunk *));

	if (!chunks)
		return -ENOMEM;
	if (from->count != 0)
		memcpy(chunks, from->chunks, from->count * sizeof(struct mem_chunk *));
	*ret_edit = *from;
	ret_edit->chunks = chunks;
	ret_edit->capacity = capacity;
	ret_edit->version = from->version + 1;
	ret_edit->dropped = NULL;
	return 0;
}

void mem_ranges_abort(struct mem_ranges *edit)
{
	for (size_t i = 0; i < edit->count; i++) {
		if (edit->chunks[i]->version == edit->version)
			plat_free(edit->chunks[i]);
	}
	plat_free(edit->chunks);
	edit->chunks = NULL;
	edit->count = 0;
}

void mem_ranges_retire(struct mem_ranges *old, struct mem_ranges *now)
{
	struct mem_chunk *c = now->dropped;

	while (c) {
		struct mem_chunk *next = c->next_dropped;

		plat_free(c);
		c = next;
	}
	now->dropped = NULL;
	plat_free(old->chunks);
	old->chunks = NULL;
	old->count = 0;
}

/* A chunk leaves the edited version: freed if it is ours, kept for the old one if not. */
static void chunk_drop(struct mem_ranges *l, struct mem_chunk *c)
{
	if (c->version == l->version) {
		plat_free(c);
		return;
	}
	c->next_dropped = l->dropped;
	l->dropped = c;
}

/* Makes chunk i ours to change. */
static int chunk_own(struct mem_ranges *l, size_t i)
{
	struct mem_chunk *c = l->chunks[i], *copy;

	if (c->version == l->version)
		return 0;
	copy = plat_calloc(1, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	copy->version = l->version;
	copy->count = c->count;
	memcpy(copy->r, c->r, c->count * sizeof(c->r[0]));
	l->chunks[i] = copy;
	chunk_drop(l, c);
	return 0;
}

static int chunk_insert(struct mem_ranges *l, size_t at)
{
	struct mem_chunk *c;

	if (l->count == l->capacity) {
		size_t capacity = 2 * l->capacity;
		struct mem_chunk **chunks = plat_calloc(capacity, sizeof(struct mem_chunk *));

		if (!chunks)
			return -ENOMEM;
		memcpy(chunks, l->chunks, l->count * sizeof(struct mem_chunk *));
		plat_free(l->chunks);
		l->chunks = chunks;
		l->capacity = capacity;
	}
	c = plat_calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->version = l->version;
	memmove(&l->chunks[at + 1], &l->chunks[at], (l->count - at) * sizeof(struct mem_chunk *));
	l->chunks[at] = c;
	l->count++;
	return 0;
}

static void chunk_remove(struct mem_ranges *l, size_t at)
{
	chunk_drop(l, l->chunks[at]);
	l->count--;
	memmove(&l->chunks[at], &l->chunks[at + 1], (l->count - at) * sizeof(struct mem_chunk *));
}

/* --- positions ------------------------------------------------------------------------------ */

static uint64_t chunk_end(const struct mem_chunk *c)
{
	return mem_range_end(&c->r[c->count - 1]);
}

struct mem_pos mem_ranges_find(const struct mem_ranges *l, uint64_t a)
{
	struct mem_pos pos = {0, 0};
	size_t high = l->count;

	while (pos.chunk < high) {
		size_t mid = pos.chunk + (high - pos.chunk) / 2;

		if (chunk_end(l->chunks[mid]) > a)
			high = mid;
		else
			pos.chunk = mid + 1;
	}
	if (pos.chunk == l->count)
		return pos;
	high = l->chunks[pos.chunk]->count;
	while (pos.index < high) {
		size_t mid = pos.index + (high - pos.index) / 2;

		if (mem_range_end(&l->chunks[pos.chunk]->r[mid]) > a)
			high = mid;
		else
			pos.index = mid + 1;
	}
	return pos;
}

const struct mem_range *mem_ranges_at(const struct mem_ranges *l, struct mem_pos pos)
{
	return pos.chunk < l->count ? &l->chunks[pos.chunk]->r[pos.index] : NULL;
}

struct mem_pos mem_ranges_next(const struct mem_ranges *l, struct mem_pos pos)
{
	if (++pos.index == l->chunks[pos.chunk]->count) {
		pos.chunk++;
		pos.index = 0;
	}
	return pos;
}

/* --- edits of one range -------------------------------------------------------------------- */

/* Halves a full chunk, so that both have room. */
static int chunk_halve(struct mem_ranges *l, size_t at)
{
	size_t keep = MEM_CHUNK_RANGES / 2;
	struct mem_chunk *left, *right;
	int rc = chunk_insert(l, at + 1);

	if (rc)
		return rc;
	left = l->chunks[at];
	right = l->chunks[at + 1];
	right->count = left->count - keep;
	memcpy(right->r, &left->r[keep], right->count * sizeof(right->r[0]));
	left->count = keep;
	return 0;
}

/* Inserts before pos (which mem_ranges_find() gave for r's place). */
static int range_insert(struct mem_ranges *l, struct mem_pos pos, const struct mem_range *r)
{
	struct mem_chunk *c;
	int rc;

	/* Behind the last range: into the last chunk rather than a new one. */
	if (pos.chunk == l->count && l->count != 0) {
		pos.chunk--;
		pos.index = l->chunks[pos.chunk]->count;
	}
	if (l->count == 0)
		rc = chunk_insert(l, 0);
	else
		rc = chunk_own(l, pos.chunk);
	if (rc)
		return rc;
	if (l->chunks[pos.chunk]->count == MEM_CHUNK_RANGES) {
		rc = chunk_halve(l, pos.chunk);
		if (rc)
			return rc;
		if (pos.index > l->chunks[pos.chunk]->count) {
			pos.index -= l->chunks[pos.chunk]->count;
			pos.chunk++;
		}
	}
	c = l->chunks[pos.chunk];
	memmove(&c->r[pos.index + 1], &c->r[pos.index], (c->count - pos.index) * sizeof(c->r[0]));
	c->r[pos.index] = *r;
	c->count++;
	l->total++;
	return 0;
}

/*
 * Keeps chunks from becoming many and small: one that fits with its right neighbour
 * into half a chunk takes it in.
 */
static int chunk_absorb_next(struct mem_ranges *l, size_t at)
{
	struct mem_chunk *c, *next;
	int rc;

	if (at + 1 >= l->count ||
	    l->chunks[at]->count + l->chunks[at + 1]->count > MEM_CHUNK_RANGES / 2)
		return 0;
	rc = chunk_own(l, at);
	if (rc)
		return rc;
	c = l->chunks[at];
	next = l->chunks[at + 1];
	memcpy(&c->r[c->count], next->r, next->count * sizeof(c->r[0]));
	c->count += next->count;
	chunk_remove(l, at + 1);
	return 0;
}

static int range_erase(struct mem_ranges *l, struct mem_pos pos)
{
	struct mem_chunk *c;
	int rc = chunk_own(l, pos.chunk);

	if (rc)
		return rc;
	c = l->chunks[pos.chunk];
	c->count--;
	memmove(&c->r[pos.index], &c->r[pos.index + 1], (c->count - pos.index) * sizeof(c->r[0]));
	l->total--;
	if (c->count == 0) {
		chunk_remove(l, pos.chunk);
		return 0;
	}
	rc = chunk_absorb_next(l, pos.chunk);
	if (rc == 0 && pos.chunk > 0)
		rc = chunk_absorb_next(l, pos.chunk - 1);
	return rc;
}

/* Sees to it that a is no range's inside: the range that holds it becomes two. */
static int range_cut(struct mem_ranges *l, uint64_t a)
{
	struct mem_pos pos = mem_ranges_find(l, a);
	const struct mem_range *r = mem_ranges_at(l, pos);
	struct mem_range right;
	int rc;

	if (!r || r->gpa >= a)
		return 0;
	rc = chunk_own(l, pos.chunk);
	if (rc)
		return rc;
	right = l->chunks[pos.chunk]->r[pos.index];
	l->chunks[pos.chunk]->r[pos.index].size = a - right.gpa;
	right.offset += a - right.gpa;
	right.size -= a - right.gpa;
	right.gpa = a;
	pos.index++;
	return range_insert(l, pos, &right);
}

static bool joinable(const struct mem_range *left, const struct mem_range *right)
{
	return mem_range_end(left) == right->gpa && left->slot == right->slot &&
	       left->attrs == right->attrs && left->offset + left->size == right->offset;
}

/* Joins what has become compatible at every border in [first, end]. */
static int join(struct mem_ranges *l, uint64_t first, uint64_t end)
{
	uint64_t at = first != 0 ? first - 1 : 0;

	for (;;) {
		struct mem_pos pos = mem_ranges_find(l, at);
		const struct mem_range *r = mem_ranges_at(l, pos), *next;
		struct mem_pos next_pos;
		int rc;

		if (!r || r->gpa > end)
			return 0;
		next_pos = mem_ranges_next(l, pos);
		next = mem_ranges_at(l, next_pos);
		if (!next || next->gpa > end)
			return 0;
		if (!joinable(r, next)) {
			at = next->gpa;
			continue;
		}
		rc = chunk_own(l, pos.chunk);
		if (rc)
			return rc;
		at = r->gpa;
		l->chunks[pos.chunk]->r[pos.index].size += next->size;
		rc = range_erase(l, next_pos);
		if (rc)
			return rc;
	}
}

/* --- edits of a stretch -------------------------------------------------------------------- */

static int cut_both(struct mem_ranges *l, uint64_t first, uint64_t end)
{
	int rc = range_cut(l, first);

	return rc ? rc : range_cut(l, end);
}

int mem_ranges_insert(struct mem_ranges *l, const struct mem_range *r)
{
	int rc = range_insert(l, mem_ranges_find(l, r->gpa), r);

	return rc ? rc : join(l, r->gpa, mem_range_end(r));
}

int mem_ranges_erase(struct mem_ranges *l, uint64_t first, uint64_t end)
{
	int rc = cut_both(l, first, end);

	while (rc == 0) {
		struct mem_pos pos = mem_ranges_find(l, first);
		const struct mem_range *r = mem_ranges_at(l, pos);

		if (!r || r->gpa >= end)
			break;
		rc = range_erase(l, pos);
	}
	return rc;
}

int mem_ranges_protect(struct mem_ranges *l, uint64_t first, uint64_t end, uint64_t prot)
{
	int rc = cut_both(l, first, end);
	uint64_t at = first;

	while (rc == 0 && at < end) {
		struct mem_pos pos = mem_ranges_find(l, at);
		struct mem_range *r;

		rc = chunk_own(l, pos.chunk);
		if (rc)
			return rc;
		r = &l->chunks[pos.chunk]->r[pos.index];
		r->attrs = (r->attrs & ~PROT_BITS) | prot;
		at = mem_range_end(r);
	}
	return rc ? rc : join(l, first, end);
}

int mem_ranges_retarget(struct mem_ranges *l, uint64_t first, uint64_t end, struct core_slot *slot,
			uint64_t offset)
{
	int rc = cut_both(l, first, end);
	uint64_t at = first;

	while (rc == 0 && at < end) {
		struct mem_pos pos = mem_ranges_find(l, at);
		struct mem_range *r;

		rc = chunk_own(l, pos.chunk);
		if (rc)
			return rc;
		r = &l->chunks[pos.chunk]->r[pos.index];
		r->slot = slot;
		r->offset = offset + (r->gpa - first);
		at = mem_range_end(r);
	}
	return rc ? rc : join(l, first, end);
}
