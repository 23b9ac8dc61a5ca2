// SPDX-License-Identifier: MIT
/* C structures into JSON, by descriptor. */
#include "proto/internal.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* false: out of memory. null is a value, too: *ret is NULL then. */
typedef bool encode_fn(const struct proto_field *f, const void *in, bool params,
		       struct json_object **ret);

static bool encode_struct(const struct proto_struct *desc, const void *in, bool params,
			  struct json_object **ret);

static bool encode_bool(const struct proto_field *f, const void *in, bool params,
			struct json_object **ret)
{
	(void)f, (void)params;
	*ret = json_object_new_boolean(*(const bool *)in);
	return *ret;
}

static bool encode_u32(const struct proto_field *f, const void *in, bool params,
		       struct json_object **ret)
{
	(void)f, (void)params;
	*ret = json_object_new_int64(*(const uint32_t *)in);
	return *ret;
}

static bool encode_u64(const struct proto_field *f, const void *in, bool params,
		       struct json_object **ret)
{
	(void)f, (void)params;
	*ret = json_object_new_uint64(*(const uint64_t *)in);
	return *ret;
}

static bool encode_addr(const struct proto_field *f, const void *in, bool params,
			struct json_object **ret)
{
	char text[19];

	(void)f, (void)params;
	snprintf(text, sizeof(text), "0x%" PRIx64, *(const uint64_t *)in);
	*ret = json_object_new_string(text);
	return *ret;
}

/* A reply is valid UTF-8, whatever an image's or a guest's bytes have got into a text. */
static bool encode_string(const struct proto_field *f, const void *in, bool params,
			  struct json_object **ret)
{
	const char *s = *(const char *const *)in;
	size_t len, n = 0;
	char *copy;

	(void)f, (void)params;
	s = s ? s : "";
	len = strlen(s);
	copy = malloc(len + 1);
	if (!copy || len > INT32_MAX) {
		free(copy);
		return false;
	}
	while (n < len) {
		const size_t seq = proto_utf8_sequence(s + n, len - n);

		if (seq)
			memcpy(copy + n, s + n, seq);
		else
			copy[n] = '?';
		n += seq ? seq : 1;
	}
	*ret = json_object_new_string_len(copy, (int)len);
	free(copy);
	return *ret;
}

static bool encode_bytes(const struct proto_field *f, const void *in, bool params,
			 struct json_object **ret)
{
	const struct proto_bytes *b = in;
	const size_t len = proto_base64_length(b->size);
	char *text = malloc(len + 1);

	(void)f, (void)params;
	if (!text || len > INT32_MAX) {
		free(text);
		return false;
	}
	proto_base64_encode(b->data, b->size, text);
	*ret = json_object_new_string_len(text, (int)len);
	free(text);
	return *ret;
}

static bool encode_file(const struct proto_field *f, const void *in, bool params,
			struct json_object **ret)
{
	const struct proto_file *file = in;
	struct json_object *obj = json_object_new_object();

	(void)f, (void)params;
	if (!obj)
		return false;
	if (file->path)
		json_object_object_add(obj, "path", json_object_new_string(file->path));
	else
		json_object_object_add(obj, "fd", json_object_new_int64(file->fd));
	*ret = obj;
	return true;
}

static bool encode_enum(const struct proto_field *f, const void *in, bool params,
			struct json_object **ret)
{
	const uint32_t number = *(const uint32_t *)in;
	const char *name = proto_enum_name(f->en, number);
	char text[24];

	(void)params;
	if (!name) {
		snprintf(text, sizeof(text), "unknown-%" PRIu32, number);
		name = text;
	}
	*ret = json_object_new_string(name);
	return *ret;
}

static bool encode_sub(const struct proto_field *f, const void *in, bool params,
		       struct json_object **ret)
{
	return encode_struct(f->sub(), in, params, ret);
}

static bool encode_json(const struct proto_field *f, const void *in, bool params,
			struct json_object **ret)
{
	(void)f, (void)params;
	*ret = json_object_get(*(struct json_object *const *)in);
	return true;
}

static encode_fn *const encoders[PROTO_TYPE_COUNT] = {
	[PROTO_BOOL] = encode_bool,	[PROTO_U32] = encode_u32,     [PROTO_U64] = encode_u64,
	[PROTO_SIZE] = encode_u64,	[PROTO_ADDR] = encode_addr,   [PROTO_NAME] = encode_string,
	[PROTO_STRING] = encode_string, [PROTO_BYTES] = encode_bytes, [PROTO_FILE] = encode_file,
	[PROTO_ENUM] = encode_enum,	[PROTO_STRUCT] = encode_sub,  [PROTO_JSON] = encode_json,
};

static bool encode_list(const struct proto_field *f, const unsigned char *in, bool params,
			struct json_object **ret)
{
	const unsigned char *items = *(unsigned char *const *)(in + f->offset);
	const size_t n = *(const size_t *)(in + f->count_offset);
	struct json_object *list = json_object_new_array_ext(n ? (int)n : 1), *item;

	if (!list)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!encoders[f->type](f, items + i * f->size, params, &item)) {
			json_object_put(list);
			return false;
		}
		if (json_object_array_add(list, item)) {
			json_object_put(item);
			json_object_put(list);
			return false;
		}
	}
	*ret = list;
	return true;
}

static bool encode_field(const struct proto_field *f, const unsigned char *in, bool params,
			 struct json_object *obj)
{
	const bool has = *(const bool *)(in + f->has_offset);
	struct json_object *v = NULL;

	if (!has && (f->presence == PROTO_OPTIONAL || (params && f->presence != PROTO_REQUIRED)))
		return true;
	if (has || f->presence != PROTO_NULLABLE) {
		if (f->list ? !encode_list(f, in, params, &v)
			    : !encoders[f->type](f, in + f->offset, params, &v))
			return false;
	}
	if (json_object_object_add(obj, f->name, v)) {
		json_object_put(v);
		return false;
	}
	return true;
}

static bool encode_struct(const struct proto_struct *desc, const void *in, bool params,
			  struct json_object **ret)
{
	struct json_object *obj = json_object_new_object();

	if (!obj)
		return false;
	for (size_t i = 0; i < desc->count; i++) {
		if (!encode_field(&desc->fields[i], in, params, obj)) {
			json_object_put(obj);
			return false;
		}
	}
	*ret = obj;
	return true;
}

struct json_object *proto_encode(const struct proto_struct *desc, const void *in)
{
	struct json_object *obj;

	return encode_struct(desc, in, false, &obj) ? obj : NULL;
}

struct json_object *proto_encode_params(const struct proto_struct *desc, const void *in)
{
	struct json_object *obj;

	return encode_struct(desc, in, true, &obj) ? obj : NULL;
}
