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
		plat_free(l->dir[i].chunk);
	plat_free(l->dir);
	mem_ranges_init(l);
}

/* --- versions --------------------------------------------------------------------------- */

int mem_ranges_begin(const struct mem_ranges *from, struct mem_ranges *ret_edit)
{
	/* Room for a batch's first few new chunks. */
	size_t capacity = from->count + 8;
	struct mem_chunk_ref *dir = plat_calloc(capacity, sizeof(*dir));

	if (!dir)
		return -ENOMEM;
	if (from->count != 0)
		memcpy(dir, from->dir, from->count * sizeof(*dir));
	*ret_edit = *from;
	ret_edit->dir = dir;
	ret_edit->capacity = capacity;
	ret_edit->version = from->version + 1;
	ret_edit->dropped = NULL;
	return 0;
}

void mem_ranges_abort(struct mem_ranges *edit)
{
	for (size_t i = 0; i < edit->count; i++) {
		if (edit->dir[i].chunk->version == edit->version)
			plat_free(edit->dir[i].chunk);
	}
	plat_free(edit->dir);
	edit->dir = NULL;
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
	plat_free(old->dir);
	old->dir = NULL;
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
	struct mem_chunk *c = l->dir[i].chunk, *copy;

	if (c->version == l->version)
		return 0;
	copy = plat_calloc(1, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	copy->version = l->version;
	copy->count = c->count;
	memcpy(copy->r, c->r, c->count * sizeof(c->r[0]));
	l->dir[i].chunk = copy;
	chunk_drop(l, c);
	return 0;
}

/* After chunk i's ranges have changed. */
static void chunk_changed(struct mem_ranges *l, size_t i)
{
	const struct mem_chunk *c = l->dir[i].chunk;

	l->dir[i].end = mem_range_end(&c->r[c->count - 1]);
	l->dir[i].count = c->count;
}

static int chunk_insert(struct mem_ranges *l, size_t at)
{
	struct mem_chunk *c;

	if (l->count == l->capacity) {
		size_t capacity = 2 * l->capacity;
		struct mem_chunk_ref *dir = plat_calloc(capacity, sizeof(*dir));

		if (!dir)
			return -ENOMEM;
		memcpy(dir, l->dir, l->count * sizeof(*dir));
		plat_free(l->dir);
		l->dir = dir;
		l->capacity = capacity;
	}
	c = plat_calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->version = l->version;
	memmove(&l->dir[at + 1], &l->dir[at], (l->count - at) * sizeof(l->dir[0]));
	l->dir[at] = (struct mem_chunk_ref){.chunk = c};
	l->count++;
	return 0;
}

static void chunk_remove(struct mem_ranges *l, size_t at)
{
	chunk_drop(l, l->dir[at].chunk);
	l->count--;
	memmove(&l->dir[at], &l->dir[at + 1], (l->count - at) * sizeof(l->dir[0]));
}

/* --- positions ------------------------------------------------------------------------------ */

/* How many of the chunks end at a or before. The steps depend on the count alone. */
static size_t chunks_before(const struct mem_ranges *l, uint64_t a)
{
	const struct mem_chunk_ref *at = l->dir;
	size_t left = l->count;

	while (left > 1) {
		size_t half = left / 2;

		at += half & (0 - (size_t)(at[half - 1].end <= a));
		left -= half;
	}
	return (size_t)(at - l->dir) + (left == 1 && at->end <= a);
}

/*
 * How many ranges of the chunk, which ends after a, end at a or before. Where the ranges
 * are of one size, the first look is right; the chunk's memory is likely to be cold.
 */
static size_t ranges_before(const struct mem_ranges *l, size_t chunk, uint64_t a)
{
	const struct mem_chunk *c = l->dir[chunk].chunk;
	uint64_t first = chunk != 0 ? l->dir[chunk - 1].end : 0, end = l->dir[chunk].end;
	size_t left = l->dir[chunk].count, guess;
	const struct mem_range *at = c->r;

	if (a >= first) {
		guess = (size_t)((a - first) / VMX_PAGE_SIZE * left /
				 ((end - first) / VMX_PAGE_SIZE));
		if (mem_range_end(&c->r[guess]) > a &&
		    (c->r[guess].gpa <= a || guess == 0 || mem_range_end(&c->r[guess - 1]) <= a))
			return guess;
	}
	while (left > 1) {
		size_t half = left / 2;

		at += mem_range_end(&at[half - 1]) <= a ? half : 0;
		left -= half;
	}
	return (size_t)(at - c->r);
}

static struct mem_pos find_in(const struct mem_ranges *l, size_t chunk, uint64_t a)
{
	struct mem_pos pos = {.chunk = chunk};

	if (chunk < l->count)
		pos.index = ranges_before(l, chunk, a);
	return pos;
}

struct mem_pos mem_ranges_find(const struct mem_ranges *l, uint64_t a)
{
	return find_in(l, chunks_before(l, a), a);
}

/* Whether a search for a ends in this chunk. */
static bool leads_to(const struct mem_ranges *l, size_t chunk, uint64_t a)
{
	return chunk < l->count && l->dir[chunk].end > a &&
	       (chunk == 0 || l->dir[chunk - 1].end <= a);
}

struct mem_pos mem_ranges_seek(struct mem_ranges *l, uint64_t a)
{
	if (!leads_to(l, l->near, a)) {
		if (leads_to(l, l->near + 1, a))
			l->near++;
		else
			l->near = chunks_before(l, a);
	}
	return find_in(l, l->near, a);
}

const struct mem_range *mem_ranges_at(const struct mem_ranges *l, struct mem_pos pos)
{
	return pos.chunk < l->count ? &l->dir[pos.chunk].chunk->r[pos.index] : NULL;
}

struct mem_pos mem_ranges_next(const struct mem_ranges *l, struct mem_pos pos)
{
	if (++pos.index == l->dir[pos.chunk].count) {
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
	left = l->dir[at].chunk;
	right = l->dir[at + 1].chunk;
	right->count = left->count - keep;
	memcpy(right->r, &left->r[keep], right->count * sizeof(right->r[0]));
	left->count = keep;
	chunk_changed(l, at);
	chunk_changed(l, at + 1);
	return 0;
}

/* Inserts before pos (which mem_ranges_seek() gave for r's place). */
static int range_insert(struct mem_ranges *l, struct mem_pos pos, const struct mem_range *r)
{
	struct mem_chunk *c;
	int rc;

	/* Behind the last range: into the last chunk rather than a new one. */
	if (pos.chunk == l->count && l->count != 0) {
		pos.chunk--;
		pos.index = l->dir[pos.chunk].count;
	}
	if (l->count == 0)
		rc = chunk_insert(l, 0);
	else
		rc = chunk_own(l, pos.chunk);
	if (rc)
		return rc;
	if (l->dir[pos.chunk].count == MEM_CHUNK_RANGES) {
		rc = chunk_halve(l, pos.chunk);
		if (rc)
			return rc;
		if (pos.index > l->dir[pos.chunk].count) {
			pos.index -= l->dir[pos.chunk].count;
			pos.chunk++;
		}
	}
	c = l->dir[pos.chunk].chunk;
	memmove(&c->r[pos.index + 1], &c->r[pos.index], (c->count - pos.index) * sizeof(c->r[0]));
	c->r[pos.index] = *r;
	c->count++;
	l->total++;
	chunk_changed(l, pos.chunk);
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

	if (at + 1 >= l->count || l->dir[at].count + l->dir[at + 1].count > MEM_CHUNK_RANGES / 2)
		return 0;
	rc = chunk_own(l, at);
	if (rc)
		return rc;
	c = l->dir[at].chunk;
	next = l->dir[at + 1].chunk;
	memcpy(&c->r[c->count], next->r, next->count * sizeof(c->r[0]));
	c->count += next->count;
	chunk_changed(l, at);
	chunk_remove(l, at + 1);
	return 0;
}

static int range_erase(struct mem_ranges *l, struct mem_pos pos)
{
	struct mem_chunk *c;
	int rc = chunk_own(l, pos.chunk);

	if (rc)
		return rc;
	c = l->dir[pos.chunk].chunk;
	c->count--;
	memmove(&c->r[pos.index], &c->r[pos.index + 1], (c->count - pos.index) * sizeof(c->r[0]));
	l->total--;
	if (c->count == 0) {
		chunk_remove(l, pos.chunk);
		return 0;
	}
	chunk_changed(l, pos.chunk);
	rc = chunk_absorb_next(l, pos.chunk);
	if (rc == 0 && pos.chunk > 0)
		rc = chunk_absorb_next(l, pos.chunk - 1);
	return rc;
}

/* Sees to it that a is no range's inside: the range that holds it becomes two. */
static int range_cut(struct mem_ranges *l, uint64_t a)
{
	struct mem_pos pos = mem_ranges_seek(l, a);
	const struct mem_range *r = mem_ranges_at(l, pos);
	struct mem_range right;
	int rc;

	if (!r || r->gpa >= a)
		return 0;
	rc = chunk_own(l, pos.chunk);
	if (rc)
		return rc;
	right = l->dir[pos.chunk].chunk->r[pos.index];
	l->dir[pos.chunk].chunk->r[pos.index].size = a - right.gpa;
	chunk_changed(l, pos.chunk);
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
	struct mem_pos pos = mem_ranges_seek(l, first != 0 ? first - 1 : 0), next_pos;
	const struct mem_range *r, *next;

	while ((r = mem_ranges_at(l, pos)) && r->gpa <= end) {
		uint64_t at = r->gpa;
		int rc;

		next_pos = mem_ranges_next(l, pos);
		next = mem_ranges_at(l, next_pos);
		if (!next || next->gpa > end)
			break;
		if (!joinable(r, next)) {
			pos = next_pos;
			continue;
		}
		rc = chunk_own(l, pos.chunk);
		if (rc)
			return rc;
		l->dir[pos.chunk].chunk->r[pos.index].size += next->size;
		chunk_changed(l, pos.chunk);
		rc = range_erase(l, next_pos);
		if (rc)
			return rc;
		pos = mem_ranges_seek(l, at);
	}
	return 0;
}

/* --- edits of a stretch -------------------------------------------------------------------- */

/* Makes [first, end), which is mapped at first, whole ranges; *ret_pos is that at first. */
static int isolate(struct mem_ranges *l, uint64_t first, uint64_t end, struct mem_pos *ret_pos)
{
	const struct mem_range *r;
	int rc;

	*ret_pos = mem_ranges_seek(l, first);
	r = mem_ranges_at(l, *ret_pos);
	if (r && r->gpa == first && mem_range_end(r) == end)
		return 0;
	rc = range_cut(l, first);
	if (rc == 0)
		rc = range_cut(l, end);
	*ret_pos = mem_ranges_seek(l, first);
	return rc;
}

int mem_ranges_insert(struct mem_ranges *l, const struct mem_range *r)
{
	int rc = range_insert(l, mem_ranges_seek(l, r->gpa), r);

	return rc ? rc : join(l, r->gpa, mem_range_end(r));
}

int mem_ranges_erase(struct mem_ranges *l, uint64_t first, uint64_t end)
{
	struct mem_pos pos;
	const struct mem_range *r;
	int rc = isolate(l, first, end, &pos);

	while (rc == 0 && (r = mem_ranges_at(l, pos)) && r->gpa < end) {
		rc = range_erase(l, pos);
		pos = mem_ranges_seek(l, first);
	}
	return rc;
}

int mem_ranges_protect(struct mem_ranges *l, uint64_t first, uint64_t end, uint64_t prot)
{
	struct mem_pos pos;
	int rc = isolate(l, first, end, &pos);
	uint64_t at = first;

	while (rc == 0 && at < end) {
		struct mem_range *r;

		rc = chunk_own(l, pos.chunk);
		if (rc)
			return rc;
		r = &l->dir[pos.chunk].chunk->r[pos.index];
		r->attrs = (r->attrs & ~PROT_BITS) | prot;
		at = mem_range_end(r);
		pos = mem_ranges_next(l, pos);
	}
	return rc ? rc : join(l, first, end);
}

int mem_ranges_retarget(struct mem_ranges *l, uint64_t first, uint64_t end, struct core_slot *slot,
			uint64_t offset)
{
	struct mem_pos pos;
	int rc = isolate(l, first, end, &pos);
	uint64_t at = first;

	while (rc == 0 && at < end) {
		struct mem_range *r;

		rc = chunk_own(l, pos.chunk);
		if (rc)
			return rc;
		r = &l->dir[pos.chunk].chunk->r[pos.index];
		r->slot = slot;
		r->offset = offset + (r->gpa - first);
		at = mem_range_end(r);
		pos = mem_ranges_next(l, pos);
	}
	return rc ? rc : join(l, first, end);
}
