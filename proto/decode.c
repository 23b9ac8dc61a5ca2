// SPDX-License-Identifier: MIT
/* JSON into C structures, by descriptor. Every refusal names the field. */
#include "proto/internal.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct decoder {
	struct proto_arena *arena;
	struct proto_error *err;
	char path[PROTO_FIELD_LEN]; /* of the structure being decoded: "modules[1]." */
};

typedef int decode_fn(struct decoder *d, const struct proto_field *f, const char *name,
		      struct json_object *v, void *out);

static int decode_struct(struct decoder *d, const struct proto_struct *desc,
			 struct json_object *obj, void *out);

/* A path of fields, cut to what an error can hold. */
__attribute__((format(printf, 2, 3))) static void put_path(char out[PROTO_FIELD_LEN],
							   const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(out, PROTO_FIELD_LEN, fmt, ap);
	va_end(ap);
}

static int wrong_type(struct decoder *d, const char *name, const char *expected,
		      struct json_object *v)
{
	const char *got = v ? json_type_to_name(json_object_get_type(v)) : "null";

	if (json_object_get_type(v) == json_type_int)
		got = "an integer";
	else if (json_object_get_type(v) == json_type_double)
		got = "a number that is not a 64-bit integer";
	return proto_fail(d->err, PROTO_ERROR_INVALID_TYPE, name, "%s is needed, not %s", expected,
			  got);
}

static int no_memory(struct decoder *d)
{
	return proto_fail(d->err, PROTO_ERROR_NO_MEMORY, "", "out of memory");
}

int proto_out_of_range(struct proto_error *err, const char *name, uint64_t v,
		       const struct proto_field *f)
{
	const bool high = v > f->max;
	const uint64_t limit = high ? f->max : f->min;
	const int r = proto_fail(err, PROTO_ERROR_OUT_OF_RANGE, name, "%" PRIu64 " is %s %" PRIu64,
				 v, high ? "above the limit" : "below the least", limit);

	if (err) {
		err->has_limit = true;
		err->limit = limit;
	}
	return r;
}

static int too_long(struct decoder *d, const char *name, const char *what, uint64_t len,
		    uint64_t limit)
{
	const int r = proto_fail(d->err, PROTO_ERROR_OUT_OF_RANGE, name,
				 "%" PRIu64 " %s, the limit is %" PRIu64, len, what, limit);

	if (d->err) {
		d->err->has_limit = true;
		d->err->limit = limit;
	}
	return r;
}

static int decode_bool(struct decoder *d, const struct proto_field *f, const char *name,
		       struct json_object *v, void *out)
{
	(void)f;
	if (!json_object_is_type(v, json_type_boolean))
		return wrong_type(d, name, "true or false", v);
	*(bool *)out = json_object_get_boolean(v);
	return 0;
}

/* An integer beyond 64 bits has been kept as a double with its text: out of range. */
static bool is_huge_integer(struct json_object *v)
{
	const char *text;

	if (!json_object_is_type(v, json_type_double))
		return false;
	text = json_object_get_string(v);
	return text && !strpbrk(text, ".eE");
}

static int decode_integer(struct decoder *d, const struct proto_field *f, const char *name,
			  struct json_object *v, uint64_t *ret)
{
	uint64_t n;
	int r;

	if (is_huge_integer(v) ||
	    (json_object_is_type(v, json_type_int) && json_object_get_int64(v) < 0)) {
		const char *text = json_object_get_string(v);
		const uint64_t limit = *text == '-' ? f->min : f->max;

		r = proto_fail(d->err, PROTO_ERROR_OUT_OF_RANGE, name, "%s is %s %" PRIu64, text,
			       *text == '-' ? "below the least" : "above the limit", limit);
		if (d->err) {
			d->err->has_limit = true;
			d->err->limit = limit;
		}
		return r;
	}
	if (!json_object_is_type(v, json_type_int))
		return wrong_type(d, name, "an integer", v);
	n = json_object_get_uint64(v);
	if (n < f->min || n > f->max)
		return proto_out_of_range(d->err, name, n, f);
	*ret = n;
	return 0;
}

static int decode_u32(struct decoder *d, const struct proto_field *f, const char *name,
		      struct json_object *v, void *out)
{
	uint64_t n = 0;
	const int r = decode_integer(d, f, name, v, &n);

	if (!r)
		*(uint32_t *)out = (uint32_t)n;
	return r;
}

static int decode_u64(struct decoder *d, const struct proto_field *f, const char *name,
		      struct json_object *v, void *out)
{
	return decode_integer(d, f, name, v, out);
}

/* 0x and 1 to 16 digits. */
static int decode_addr(struct decoder *d, const struct proto_field *f, const char *name,
		       struct json_object *v, void *out)
{
	const char *form = "a string \"0x...\" of at most 16 hexadecimal digits";
	uint64_t a;

	if (!json_object_is_type(v, json_type_string))
		return wrong_type(d, name, form, v);
	if (proto_parse_address(json_object_get_string(v), (size_t)json_object_get_string_len(v),
				&a))
		return proto_fail(d->err, PROTO_ERROR_INVALID_TYPE, name, "%s is needed", form);
	if (a < f->min || a > f->max)
		return proto_out_of_range(d->err, name, a, f);
	*(uint64_t *)out = a;
	return 0;
}

static int decode_name(struct decoder *d, const struct proto_field *f, const char *name,
		       struct json_object *v, void *out)
{
	size_t len;
	char *copy;

	if (!json_object_is_type(v, json_type_string))
		return wrong_type(d, name, "a name", v);
	len = (size_t)json_object_get_string_len(v);
	if (len > f->max)
		return too_long(d, name, "characters", len, f->max);
	if (!proto_name_valid(json_object_get_string(v), len))
		return proto_fail(d->err, PROTO_ERROR_INVALID_VALUE, name, PROTO_NAME_HELP);
	copy = proto_strndup(d->arena, json_object_get_string(v), len);
	if (!copy)
		return no_memory(d);
	*(const char **)out = copy;
	return 0;
}

static int decode_string(struct decoder *d, const struct proto_field *f, const char *name,
			 struct json_object *v, void *out)
{
	size_t len;
	char *copy;

	if (!json_object_is_type(v, json_type_string))
		return wrong_type(d, name, "a string", v);
	len = (size_t)json_object_get_string_len(v);
	if (len > f->max)
		return too_long(d, name, "bytes", len, f->max);
	if (len < f->min)
		return proto_out_of_range(d->err, name, len, f);
	copy = proto_strndup(d->arena, json_object_get_string(v), len);
	if (!copy)
		return no_memory(d);
	*(const char **)out = copy;
	return 0;
}

static int decode_bytes(struct decoder *d, const struct proto_field *f, const char *name,
			struct json_object *v, void *out)
{
	struct proto_bytes b;
	size_t len;

	if (!json_object_is_type(v, json_type_string))
		return wrong_type(d, name, "a base64 string", v);
	len = (size_t)json_object_get_string_len(v);
	if (len > proto_base64_length(f->max))
		return too_long(d, name, "base64 characters", len, proto_base64_length(f->max));
	b.data = proto_alloc(d->arena, len / 4 * 3 + 1, 1);
	if (!b.data)
		return no_memory(d);
	if (proto_base64_decode(json_object_get_string(v), len, b.data, &b.size))
		return proto_fail(d->err, PROTO_ERROR_INVALID_TYPE, name,
				  "a base64 string (RFC 4648, padded) is needed");
	if (b.size < f->min || b.size > f->max)
		return proto_out_of_range(d->err, name, b.size, f);
	*(struct proto_bytes *)out = b;
	return 0;
}

static int decode_enum(struct decoder *d, const struct proto_field *f, const char *name,
		       struct json_object *v, void *out)
{
	if (!json_object_is_type(v, json_type_string))
		return wrong_type(d, name, "a string", v);
	if (!proto_enum_number(f->en, json_object_get_string(v), out))
		return 0;
	return proto_bad_enum(d->err, name, f->en);
}

/* {"fd":n} or {"path":"..."}, and nothing else. */
static int decode_file(struct decoder *d, const struct proto_field *f, const char *name,
		       struct json_object *v, void *out)
{
	static const struct proto_field fd = {.max = PROTO_FDS_MAX - 1};
	static const struct proto_field path = {.min = 1, .max = 4095};
	char sub[PROTO_FIELD_LEN];
	struct json_object *which;
	struct proto_file file = {.path = NULL};
	int r;

	(void)f;
	if (!json_object_is_type(v, json_type_object) || json_object_object_length(v) != 1)
		return proto_fail(d->err, PROTO_ERROR_INVALID_TYPE, name,
				  "a file is {\"fd\":n}, the n-th descriptor sent with the "
				  "message, or {\"path\":\"...\"}");
	if (json_object_object_get_ex(v, "fd", &which)) {
		put_path(sub, "%s.fd", name);
		r = decode_u32(d, &fd, sub, which, &file.fd);
	} else if (json_object_object_get_ex(v, "path", &which)) {
		put_path(sub, "%s.path", name);
		r = decode_string(d, &path, sub, which, &file.path);
	} else {
		struct json_object_iterator it = json_object_iter_begin(v);

		put_path(sub, "%s.%s", name, json_object_iter_peek_name(&it));
		r = proto_fail(d->err, PROTO_ERROR_UNKNOWN_PARAMETER, sub, "a file has fd or path");
	}
	if (!r)
		*(struct proto_file *)out = file;
	return r;
}

static int decode_sub(struct decoder *d, const struct proto_field *f, const char *name,
		      struct json_object *v, void *out)
{
	char outer[PROTO_FIELD_LEN];
	int r;

	if (!json_object_is_type(v, json_type_object))
		return wrong_type(d, name, "an object", v);
	memcpy(outer, d->path, sizeof(outer));
	put_path(d->path, "%s.", name);
	r = decode_struct(d, f->sub(), v, out);
	memcpy(d->path, outer, sizeof(outer));
	return r;
}

/* Belongs to the message: the call has it as long as its parameters. */
static int decode_json(struct decoder *d, const struct proto_field *f, const char *name,
		       struct json_object *v, void *out)
{
	(void)d, (void)f, (void)name;
	*(struct json_object **)out = v;
	return 0;
}

static decode_fn *const decoders[PROTO_TYPE_COUNT] = {
	[PROTO_BOOL] = decode_bool,	[PROTO_U32] = decode_u32,     [PROTO_U64] = decode_u64,
	[PROTO_SIZE] = decode_u64,	[PROTO_ADDR] = decode_addr,   [PROTO_NAME] = decode_name,
	[PROTO_STRING] = decode_string, [PROTO_BYTES] = decode_bytes, [PROTO_FILE] = decode_file,
	[PROTO_ENUM] = decode_enum,	[PROTO_STRUCT] = decode_sub,  [PROTO_JSON] = decode_json,
};

static int decode_list(struct decoder *d, const struct proto_field *f, const char *name,
		       struct json_object *v, unsigned char *out)
{
	char item[PROTO_FIELD_LEN];
	unsigned char *items;
	size_t n;
	int r;

	if (!json_object_is_type(v, json_type_array))
		return wrong_type(d, name, "an array", v);
	n = json_object_array_length(v);
	if (n > f->max_count)
		return too_long(d, name, "elements", n, f->max_count);
	items = proto_alloc(d->arena, n + 1, f->size);
	if (!items)
		return no_memory(d);
	for (size_t i = 0; i < n; i++) {
		put_path(item, "%s[%zu]", name, i);
		r = decoders[f->type](d, f, item, json_object_array_get_idx(v, i),
				      items + i * f->size);
		if (r)
			return r;
	}
	*(void **)(out + f->offset) = items;
	*(size_t *)(out + f->count_offset) = n;
	return 0;
}

static int decode_field(struct decoder *d, const struct proto_field *f, struct json_object *v,
			unsigned char *out)
{
	char name[PROTO_FIELD_LEN];
	int r;

	put_path(name, "%s%s", d->path, f->name);
	if (f->list)
		r = decode_list(d, f, name, v, out);
	else
		r = decoders[f->type](d, f, name, v, out + f->offset);
	if (!r)
		*(bool *)(out + f->has_offset) = true;
	return r;
}

void proto_set_default(const struct proto_field *f, void *out)
{
	unsigned char *p = (unsigned char *)out + f->offset;

	if (f->list)
		return;
	switch (f->type) {
	case PROTO_BOOL:
		*(bool *)p = f->dflt != 0;
		break;
	case PROTO_U32:
	case PROTO_ENUM:
		*(uint32_t *)p = (uint32_t)f->dflt;
		break;
	case PROTO_U64:
	case PROTO_SIZE:
	case PROTO_ADDR:
		*(uint64_t *)p = f->dflt;
		break;
	case PROTO_STRING:
		*(const char **)p = "";
		break;
	default:
		break;
	}
}

static int refuse_unknown(struct decoder *d, const struct proto_struct *desc,
			  struct json_object *obj)
{
	json_object_object_foreach(obj, key, v)
	{
		char name[PROTO_FIELD_LEN];

		(void)v;
		if (proto_field_by_name(desc, key))
			continue;
		put_path(name, "%s%s", d->path, key);
		return proto_fail(d->err, PROTO_ERROR_UNKNOWN_PARAMETER, name,
				  "there is no such parameter");
	}
	return 0;
}

static int decode_struct(struct decoder *d, const struct proto_struct *desc,
			 struct json_object *obj, void *out)
{
	char name[PROTO_FIELD_LEN];
	struct json_object *v;
	int r = refuse_unknown(d, desc, obj);

	for (size_t i = 0; !r && i < desc->count; i++) {
		const struct proto_field *f = &desc->fields[i];

		if (json_object_object_get_ex(obj, f->name, &v)) {
			r = decode_field(d, f, v, out);
		} else if (f->presence == PROTO_REQUIRED) {
			put_path(name, "%s%s", d->path, f->name);
			r = proto_fail(d->err, PROTO_ERROR_MISSING_PARAMETER, name,
				       "the parameter is required");
		} else if (f->presence == PROTO_DEFAULTED) {
			proto_set_default(f, out);
		}
	}
	return r;
}

int proto_decode(const struct proto_struct *desc, struct json_object *obj, void *out,
		 struct proto_arena *a, struct proto_error *err)
{
	struct decoder d = {.arena = a, .err = err};
	struct json_object *none = NULL;
	void *tmp = proto_alloc(a, 1, desc->size);
	int r;

	if (!tmp)
		return no_memory(&d);
	if (!obj) {
		none = json_object_new_object();
		if (!none)
			return no_memory(&d);
		obj = none;
	}
	if (!json_object_is_type(obj, json_type_object))
		r = wrong_type(&d, "params", "an object", obj);
	else
		r = decode_struct(&d, desc, obj, tmp);
	json_object_put(none);
	if (!r)
		memcpy(out, tmp, desc->size);
	return r;
}
