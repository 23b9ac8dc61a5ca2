/* SPDX-License-Identifier: MIT */
#include "loader/place.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* Nothing goes into the last page below 4 GiB, so that every end fits in 32 bits. */
#define HIGHEST_END ((UINT64_C(1) << 32) - VMX_PAGE_SIZE)

void place_init(struct place *p, const struct loader_request *req, struct loader_error *error)
{
	p->req = req;
	p->error = error;
	p->count = 0;
	p->limit = req->ram_bytes < HIGHEST_END ? req->ram_bytes : HIGHEST_END;
}

int place_refuse(struct place *p, int code, enum loader_field field, uint64_t limit,
		 const char *format, ...)
{
	va_list ap;

	p->error->field = field;
	p->error->limit = limit;
	va_start(ap, format);
	vsnprintf(p->error->text, sizeof(p->error->text), format, ap);
	va_end(ap);
	return code;
}

/* The first taken range that meets [first, last], or NULL. */
static const struct place_range *meets(const struct place *p, uint64_t first, uint64_t last)
{
	size_t i;

	for (i = 0; i < p->count; i++)
		if (first <= p->taken[i].last && p->taken[i].first <= last)
			return &p->taken[i];
	return NULL;
}

int place_reserve(struct place *p, enum loader_field field, const char *what, uint64_t gpa,
		  uint64_t size)
{
	const struct place_range *other;

	if (size == 0)
		return 0;
	if (gpa >= p->limit || size > p->limit - gpa)
		return place_refuse(
			p, -ERANGE, field, p->limit,
			"%s at 0x%" PRIx64 " (%" PRIu64
			" bytes) reaches beyond the guest's RAM below 4 GiB, which ends "
			"at 0x%" PRIx64,
			what, gpa, size, p->limit);
	other = meets(p, gpa, gpa + size - 1);
	if (other)
		return place_refuse(p, -EINVAL, field, 0,
				    "%s at 0x%" PRIx64 "-0x%" PRIx64
				    " overlaps what is loaded at 0x%" PRIx64 "-0x%" PRIx64,
				    what, gpa, gpa + size - 1, other->first, other->last);
	if (p->count == PLACE_MAX)
		return place_refuse(p, -EINVAL, field, PLACE_MAX, "more than %u pieces to load",
				    PLACE_MAX);
	p->taken[p->count++] = (struct place_range){gpa, gpa + size - 1};
	return 0;
}

static uint64_t page_up(uint64_t a)
{
	return (a + VMX_PAGE_SIZE - 1) & VMX_PAGE_MASK;
}

static int no_room(struct place *p, enum loader_field field, const char *what, uint64_t size)
{
	return place_refuse(p, -ERANGE, field, p->limit,
			    "no room for %s (%" PRIu64
			    " bytes) in the guest's RAM below 0x%" PRIx64,
			    what, size, p->limit);
}

int place_find_low(struct place *p, enum loader_field field, const char *what, uint64_t from,
		   uint64_t size, uint64_t *ret_gpa)
{
	uint64_t a = page_up(from);

	/* Each step passes one taken range, so it ends. */
	while (a < p->limit && size <= p->limit - a) {
		const struct place_range *other = meets(p, a, a + size - 1);

		if (!other) {
			*ret_gpa = a;
			return place_reserve(p, field, what, a, size);
		}
		a = page_up(other->last + 1);
	}
	return no_room(p, field, what, size);
}

int place_find_high(struct place *p, enum loader_field field, const char *what, uint64_t size,
		    uint64_t *ret_gpa)
{
	uint64_t end = p->limit & VMX_PAGE_MASK;

	while (size <= end) {
		uint64_t a = (end - size) & VMX_PAGE_MASK;
		const struct place_range *other = meets(p, a, a + size - 1);

		if (!other) {
			*ret_gpa = a;
			return place_reserve(p, field, what, a, size);
		}
		end = other->first & VMX_PAGE_MASK;
	}
	return no_room(p, field, what, size);
}

int place_write(struct place *p, uint64_t gpa, const void *buf, size_t len)
{
	int err;

	if (len == 0)
		return 0;
	err = p->req->write(p->req->ctx, gpa, buf, len);
	if (err)
		return place_refuse(p, err, LOADER_FIELD_MEMORY, 0,
				    "writing %zu bytes to guest memory at 0x%" PRIx64 " failed",
				    len, gpa);
	return 0;
}
