// SPDX-License-Identifier: MIT
/* Structures from what people write on a command line. */
#include "proto/internal.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct setter {
	struct proto_arena *arena;
	struct proto_error *err;
	const char *name; /* as the person knows it */
};

typedef int set_fn(const struct setter *s, const struct proto_field *f, const char *text,
		   void *out);

/* Digits of a base, exact; stops at the first other character. */
static int parse_digits(const char **p, unsigned base, uint64_t *ret)
{
	const char *first = *p;
	uint64_t v = 0;

	for (; isxdigit((unsigned char)**p); ++*p) {
		const int c = tolower((unsigned char)**p);
		const unsigned d = (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);

		if (d >= base)
			break;
		if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, d, &v))
			return -ERANGE;
	}
	if (*p == first)
		return -EINVAL;
	*ret = v;
	return 0;
}

static int parse_integer(const char **p, uint64_t *ret)
{
	if ((*p)[0] == '0' && ((*p)[1] | 0x20) == 'x') {
		*p += 2;
		return parse_digits(p, 16, ret);
	}
	return parse_digits(p, 10, ret);
}

int proto_parse_size(const char *text, uint64_t *ret)
{
	static const char units[] = "kmgt";
	const char *unit;
	uint64_t v;
	int r = parse_integer(&text, &v);

	if (r)
		return r;
	unit = *text ? strchr(units, tolower((unsigned char)*text)) : NULL;
	if (unit) {
		const unsigned shift = 10 * (unsigned)(unit - units + 1);

		text++;
		if (v > UINT64_MAX >> shift)
			return -ERANGE;
		v <<= shift;
		if (*text == 'i' && text[1] == 'B')
			text += 2;
	}
	if (*text)
		return -EINVAL;
	*ret = v;
	return 0;
}

static int not_a(const struct setter *s, const char *text, const char *what)
{
	return proto_fail(s->err, PROTO_ERROR_INVALID_TYPE, s->name, "'%.60s' is not %s", text,
			  what);
}

static int beyond(const struct setter *s, const char *text, const struct proto_field *f)
{
	const int r = proto_fail(s->err, PROTO_ERROR_OUT_OF_RANGE, s->name,
				 "'%.60s' does not fit 64 bits", text);

	if (s->err) {
		s->err->has_limit = true;
		s->err->limit = f->max;
	}
	return r;
}

static int checked(const struct setter *s, const struct proto_field *f, const char *text, int r,
		   uint64_t v, const char *what)
{
	if (r == -ERANGE)
		return beyond(s, text, f);
	if (r)
		return not_a(s, text, what);
	if (v < f->min || v > f->max)
		return proto_out_of_range(s->err, s->name, v, f);
	return 0;
}

static int set_bool(const struct setter *s, const struct proto_field *f, const char *text,
		    void *out)
{
	static const char *const words[][2] = {
		{"off", "on"}, {"no", "yes"}, {"false", "true"}, {"0", "1"}};

	(void)f;
	for (size_t i = 0; text && i < 4; i++) {
		for (int v = 0; v < 2; v++) {
			if (!strcmp(text, words[i][v])) {
				*(bool *)out = v;
				return 0;
			}
		}
	}
	if (text)
		return not_a(s, text, "on or off");
	*(bool *)out = true;
	return 0;
}

static int set_u64(const struct setter *s, const struct proto_field *f, const char *text, void *out)
{
	const char *p = text;
	uint64_t v = 0;
	int r = parse_integer(&p, &v);

	r = checked(s, f, text, !r && *p ? -EINVAL : r, v, "an integer");
	if (!r)
		*(uint64_t *)out = v;
	return r;
}

static int set_u32(const struct setter *s, const struct proto_field *f, const char *text, void *out)
{
	uint64_t v = 0;
	const int r = set_u64(s, f, text, &v);

	if (!r)
		*(uint32_t *)out = (uint32_t)v;
	return r;
}

static int set_size(const struct setter *s, const struct proto_field *f, const char *text,
		    void *out)
{
	uint64_t v = 0;
	int r = proto_parse_size(text, &v);

	r = checked(s, f, text, r, v, "a size (4096, 64M, 4KiB, 0x1000)");
	if (!r)
		*(uint64_t *)out = v;
	return r;
}

/* 200000 could be meant either way: only 0x..., 2M and 0 say which. */
static int set_addr(const struct setter *s, const struct proto_field *f, const char *text,
		    void *out)
{
	const bool prefixed = text[0] == '0' && (text[1] | 0x20) == 'x';
	const bool suffixed = *text && isalpha((unsigned char)text[strlen(text) - 1]);
	uint64_t v = 0;
	int r = prefixed || suffixed || !strcmp(text, "0") ? proto_parse_size(text, &v) : -EINVAL;

	r = checked(s, f, text, r, v, "an address (0x200000, 2M, 0)");
	if (!r)
		*(uint64_t *)out = v;
	return r;
}

static int set_string(const struct setter *s, const struct proto_field *f, const char *text,
		      void *out)
{
	const size_t len = strlen(text);
	char *copy;

	for (size_t i = 0, seq; i < len; i += seq) {
		seq = proto_utf8_sequence(text + i, len - i);
		if (!seq)
			return not_a(s, text, "valid UTF-8");
	}
	if (len < f->min || len > f->max)
		return proto_out_of_range(s->err, s->name, len, f);
	copy = proto_strndup(s->arena, text, len);
	if (!copy)
		return proto_fail(s->err, PROTO_ERROR_NO_MEMORY, "", "out of memory");
	*(const char **)out = copy;
	return 0;
}

static int set_name(const struct setter *s, const struct proto_field *f, const char *text,
		    void *out)
{
	if (!proto_name_valid(text, strlen(text)))
		return proto_fail(s->err, PROTO_ERROR_INVALID_VALUE, s->name,
				  "'%.70s': " PROTO_NAME_HELP, text);
	return set_string(s, f, text, out);
}

static int set_bytes(const struct setter *s, const struct proto_field *f, const char *text,
		     void *out)
{
	struct proto_bytes b = {.data = proto_alloc(s->arena, strlen(text) / 2 + 1, 1)};

	if (!b.data)
		return proto_fail(s->err, PROTO_ERROR_NO_MEMORY, "", "out of memory");
	for (const char *p = text; *p;) {
		if (isspace((unsigned char)*p)) {
			p++;
			continue;
		}
		if (!isxdigit((unsigned char)p[0]) || !isxdigit((unsigned char)p[1]))
			return not_a(s, text, "bytes in hexadecimal, two digits each");
		b.data[b.size++] = (uint8_t)strtoul((const char[]){p[0], p[1], '\0'}, NULL, 16);
		p += 2;
	}
	if (b.size < f->min || b.size > f->max)
		return proto_out_of_range(s->err, s->name, b.size, f);
	*(struct proto_bytes *)out = b;
	return 0;
}

static int set_enum(const struct setter *s, const struct proto_field *f, const char *text,
		    void *out)
{
	if (!proto_enum_number(f->en, text, out))
		return 0;
	return proto_bad_enum(s->err, s->name, f->en);
}

static int set_file(const struct setter *s, const struct proto_field *f, const char *text,
		    void *out)
{
	struct proto_file file = {.path = NULL};
	const struct proto_field path = {.min = 1, .max = 4095};
	const int r = set_string(s, &path, text, &file.path);

	(void)f;
	if (!r)
		*(struct proto_file *)out = file;
	return r;
}

static set_fn *const setters[PROTO_TYPE_COUNT] = {
	[PROTO_BOOL] = set_bool,     [PROTO_U32] = set_u32,	[PROTO_U64] = set_u64,
	[PROTO_SIZE] = set_size,     [PROTO_ADDR] = set_addr,	[PROTO_NAME] = set_name,
	[PROTO_STRING] = set_string, [PROTO_BYTES] = set_bytes, [PROTO_FILE] = set_file,
	[PROTO_ENUM] = set_enum,
};

int proto_bad_enum(struct proto_error *err, const char *name, const struct proto_enum *en)
{
	char names[PROTO_TEXT_LEN - 40] = "";
	size_t n = 0;

	for (size_t i = 0; i < en->count && n < sizeof(names); i++)
		n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s", i ? ", " : "",
				      en->values[i].name);
	return proto_fail(err, PROTO_ERROR_INVALID_VALUE, name, "must be one of %s", names);
}

/* One more item at the end of the list. */
static int append(const struct setter *s, const struct proto_field *f, const char *text,
		  unsigned char *out)
{
	unsigned char **items = (unsigned char **)(out + f->offset), *grown;
	size_t *count = (size_t *)(out + f->count_offset);
	int r;

	if (*count >= f->max_count) {
		r = proto_fail(s->err, PROTO_ERROR_OUT_OF_RANGE, s->name,
			       "given more than %zu times", f->max_count);
		if (s->err) {
			s->err->has_limit = true;
			s->err->limit = f->max_count;
		}
		return r;
	}
	grown = proto_alloc(s->arena, *count + 1, f->size);
	if (!grown)
		return proto_fail(s->err, PROTO_ERROR_NO_MEMORY, "", "out of memory");
	r = setters[f->type](s, f, text, grown + *count * f->size);
	if (r)
		return r;
	if (*count)
		memcpy(grown, *items, *count * f->size);
	*items = grown;
	++*count;
	return 0;
}

int proto_set_from_string(const struct proto_field *f, void *out, const char *text,
			  struct proto_arena *a, struct proto_error *err)
{
	const struct setter s = {.arena = a, .err = err, .name = *f->option ? f->option : f->name};
	unsigned char *base = out;
	int r;

	if (!setters[f->type])
		return proto_fail(err, PROTO_ERROR_INVALID_TYPE, s.name,
				  "can't be given on a command line");
	if (!text && f->type != PROTO_BOOL)
		return proto_fail(err, PROTO_ERROR_MISSING_PARAMETER, s.name, "needs a value");
	if (f->list)
		r = append(&s, f, text, base);
	else
		r = setters[f->type](&s, f, text, base + f->offset);
	if (!r)
		*(bool *)(base + f->has_offset) = true;
	return r;
}

int proto_check_required(const struct proto_struct *desc, const void *in, struct proto_error *err)
{
	for (size_t i = 0; i < desc->count; i++) {
		const struct proto_field *f = &desc->fields[i];

		if (f->presence == PROTO_REQUIRED &&
		    !*(const bool *)((const unsigned char *)in + f->has_offset))
			return proto_fail(err, PROTO_ERROR_MISSING_PARAMETER,
					  *f->option ? f->option : f->name, "%s is needed", f->doc);
	}
	return 0;
}
