/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A batch's operations in order of address. Operations that touch different places can be
 * done in any order with one outcome; in this one, neighbours find the same chunk of the
 * mapping list in the cache. It also gives the stretches that the EPT is to be looked at in.
 */
#include "core/as_internal.h"

#define INSERT_UP_TO 48u /* operations: above it, passes over all of them pay */
#define DIGIT_BITS 8u
#define DIGITS (1u << DIGIT_BITS)

static void insertion_sort(struct as_order *a, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct as_order t = a[i];
		size_t k = i;

		for (; k > 0 && a[k - 1].first > t.first; k--)
			a[k] = a[k - 1];
		a[k] = t;
	}
}

/* One stable pass by the digit at shift; to is where they go. */
static void digit_pass(const struct as_order *from, struct as_order *to, size_t count,
		       unsigned shift)
{
	uint32_t at[DIGITS] = {0}, sum = 0;

	for (size_t i = 0; i < count; i++)
		at[from[i].first >> shift & (DIGITS - 1)]++;
	for (unsigned d = 0; d < DIGITS; d++) {
		uint32_t n = at[d];

		at[d] = sum;
		sum += n;
	}
	for (size_t i = 0; i < count; i++)
		to[at[from[i].first >> shift & (DIGITS - 1)]++] = from[i];
}

/*
 * By the digits in which the addresses differ, the lowest first. Below them are only those
 * of operations that will be refused. -ENOMEM.
 */
static int radix_sort(struct as_order **a, size_t count)
{
	struct as_order *from = *a, *to;
	uint64_t differ = 0;

	for (size_t i = 1; i < count; i++)
		differ |= from[i].first ^ from[0].first;
	to = plat_calloc(count, sizeof(*to));
	if (!to)
		return -ENOMEM;
	for (unsigned shift = VMX_PAGE_SHIFT; shift < 64; shift += DIGIT_BITS) {
		struct as_order *t = from;

		if ((differ >> shift & (DIGITS - 1)) == 0)
			continue;
		digit_pass(from, to, count, shift);
		from = to;
		to = t;
	}
	plat_free(to);
	*a = from;
	return 0;
}

static bool in_order(const struct as_order *a, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (a[i - 1].first > a[i].first)
			return false;
	return true;
}

int as_sort_operations(struct as_change *c)
{
	c->order = plat_calloc(c->count, sizeof(*c->order));
	if (!c->order)
		return -ENOMEM;
	for (size_t i = 0; i < c->count; i++)
		c->order[i] = (struct as_order){c->ops[i].gpa.v, c->ops[i].size, (uint32_t)i};
	if (in_order(c->order, c->count))
		return 0;
	if (c->count > INSERT_UP_TO)
		return radix_sort(&c->order, c->count);
	insertion_sort(c->order, c->count);
	return 0;
}

bool as_operations_apart(const struct as_change *c)
{
	for (size_t i = 1; i < c->count; i++) {
		const struct as_order *a = &c->order[i - 1], *b = &c->order[i];

		if (b->first - a->first < a->size)
			return false;
	}
	return true;
}

int as_collect_spans(struct as_change *c)
{
	size_t n = 0;

	c->spans = plat_calloc(c->count, sizeof(*c->spans));
	if (!c->spans)
		return -ENOMEM;
	for (size_t i = 0; i < c->count; i++) {
		const struct as_order *o = &c->order[i];
		struct ept_span s = {o->first, o->first + o->size};

		if (i == 0)
			c->spans[0] = s;
		else if (s.first > c->spans[n].end)
			c->spans[++n] = s;
		else if (s.end > c->spans[n].end)
			c->spans[n].end = s.end;
	}
	c->span_count = n + 1;
	c->result.old_gpa_first = c->spans[0].first;
	c->result.old_gpa_last = c->spans[n].end - 1;
	return 0;
}
