// SPDX-License-Identifier: MIT
/* Errors, and their form on the wire. */
#include "proto/proto.h"
#include <errno.h>
#include <inttypes.h>
#include <libvirt/virterror.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct proto_error_info proto_error_info[PROTO_ERROR_COUNT] = {
#define ERROR(kind, code_, name_, err_, libvirt_, doc_) \
	[PROTO_ERROR_##kind] = {                        \
		.name = name_, .doc = doc_, .code = code_, .err = err_, .libvirt = libvirt_},
#include "proto/errors.def"
#undef ERROR
};

enum proto_error_kind proto_error_kind_by_name(const char *name)
{
	size_t i;

	for (i = 0; i < PROTO_ERROR_COUNT; i++)
		if (!strcmp(proto_error_info[i].name, name))
			break;
	return (enum proto_error_kind)i;
}

/* Text may quote a client's or an image's bytes: it must not carry them into a terminal. */
static void make_printable(char *s)
{
	for (; *s; s++)
		if (*s < 0x20 || *s > 0x7e)
			*s = '?';
}

int proto_fail(struct proto_error *ret, enum proto_error_kind kind, const char *field,
	       const char *fmt, ...)
{
	const int err = -proto_error_info[kind].err;
	va_list ap;

	if (!ret)
		return err;
	memset(ret, 0, sizeof(*ret));
	ret->kind = kind;
	snprintf(ret->field, sizeof(ret->field), "%s", field ? field : "");
	va_start(ap, fmt);
	vsnprintf(ret->text, sizeof(ret->text), fmt, ap);
	va_end(ap);
	make_printable(ret->field);
	make_printable(ret->text);
	return err;
}

static struct json_object *address(uint64_t v)
{
	char text[19];

	snprintf(text, sizeof(text), "0x%" PRIx64, v);
	return json_object_new_string(text);
}

static struct json_object *range(const uint64_t r[2])
{
	struct json_object *list = json_object_new_array_ext(2);

	if (list) {
		json_object_array_add(list, address(r[0]));
		json_object_array_add(list, address(r[1]));
	}
	return list;
}

static struct json_object *data(const struct proto_error *err)
{
	struct json_object *d = json_object_new_object();

	if (!d)
		return NULL;
	json_object_object_add(d, "kind", json_object_new_string(proto_error_info[err->kind].name));
	if (*err->field)
		json_object_object_add(d, "field", json_object_new_string(err->field));
	if (err->has_limit)
		json_object_object_add(d, "limit", json_object_new_uint64(err->limit));
	if (err->has_requested)
		json_object_object_add(d, "requested", range(err->requested));
	if (err->has_existing)
		json_object_object_add(d, "existing", range(err->existing));
	if (*err->slot)
		json_object_object_add(d, "slot", json_object_new_string(err->slot));
	json_object_object_add(d, "libvirt",
			       json_object_new_int(proto_error_info[err->kind].libvirt));
	return d;
}

struct json_object *proto_error_json(const struct proto_error *err, const char *method)
{
	char message[PROTO_TEXT_LEN + PROTO_FIELD_LEN + 80];
	struct json_object *e = json_object_new_object();

	if (!e)
		return NULL;
	snprintf(message, sizeof(message), "%s%s%s%s%s", method ? method : "", method ? ": " : "",
		 err->field, *err->field ? ": " : "", err->text);
	json_object_object_add(e, "code", json_object_new_int(proto_error_info[err->kind].code));
	json_object_object_add(e, "message", json_object_new_string(message));
	json_object_object_add(e, "data", data(err));
	return e;
}
