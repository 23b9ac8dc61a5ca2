// SPDX-License-Identifier: MIT
/*
 * C structures into the text of JSON, by descriptor, without objects in between: byte for
 * byte what proto_json_text() makes of proto_encode()'s.
 */
#include "proto/internal.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 1024u

/* --- text that grows ---------------------------------------------------------------- */

char *proto_text_room(struct proto_text *t, size_t n)
{
	size_t room = t->room ? t->room : FIRST_ROOM;
	char *data;

	if (t->failed)
		return NULL;
	if (t->data && n <= t->room - t->size)
		return t->data + t->size;
	while (room - t->size < n && room <= SIZE_MAX / 2)
		room *= 2;
	data = room - t->size < n ? NULL : realloc(t->data, room);
	if (!data) {
		t->failed = true;
		return NULL;
	}
	t->data = data;
	t->room = room;
	return data + t->size;
}

void proto_text_add(struct proto_text *t, const char *s, size_t n)
{
	char *to = proto_text_room(t, n);

	if (!to || !n)
		return;
	memcpy(to, s, n);
	t->size += n;
}

void proto_text_free(struct proto_text *t)
{
	free(t->data);
	*t = (struct proto_text){.data = NULL};
}

/* --- values -------------------------------------------------------------------------- */

static void add_char(struct proto_text *t, char c)
{
	char *to = proto_text_room(t, 1);

	if (!to)
		return;
	*to = c;
	t->size++;
}

static void add_u64(struct proto_text *t, uint64_t v)
{
	char digits[20], *p = digits + sizeof(digits);

	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	proto_text_add(t, p, (size_t)(digits + sizeof(digits) - p));
}

/* What stands for itself between quotes: printable ASCII but the quote and the backslash. */
static bool is_plain(char c)
{
	return c >= 0x20 && c <= 0x7e && c != '"' && c != '\\';
}

/* One character that is not: escaped, or as it is. The number of bytes that it had. */
static size_t add_special(struct proto_text *t, const char *s, size_t len)
{
	static const char escaped[] = "\b\n\r\t\f\"\\", names[] = "bnrtf\"\\";
	const char *which = *s ? strchr(escaped, *s) : NULL;
	const size_t seq = proto_utf8_sequence(s, len);
	char text[8];

	if (which) {
		add_char(t, '\\');
		add_char(t, names[which - escaped]);
	} else if ((unsigned char)*s < 0x20) {
		snprintf(text, sizeof(text), "\\u%04x", (unsigned)*s);
		proto_text_add(t, text, 6);
	} else if (seq) {
		proto_text_add(t, s, seq);
	} else {
		add_char(t, '?');
	}
	return seq ? seq : 1;
}

/* Valid UTF-8, whatever an image's or a guest's bytes have got into a text. */
static void add_string(struct proto_text *t, const char *s, size_t len)
{
	size_t n = 0;

	add_char(t, '"');
	while (n < len) {
		size_t plain = n;

		while (plain < len && is_plain(s[plain]))
			plain++;
		proto_text_add(t, s + n, plain - n);
		n = plain;
		if (n < len)
			n += add_special(t, s + n, len - n);
	}
	add_char(t, '"');
}

typedef void print_fn(struct proto_text *t, const struct proto_field *f, const void *in);

static void print_bool(struct proto_text *t, const struct proto_field *f, const void *in)
{
	const bool v = *(const bool *)in;

	(void)f;
	proto_text_add(t, v ? "true" : "false", v ? 4 : 5);
}

static void print_u32(struct proto_text *t, const struct proto_field *f, const void *in)
{
	(void)f;
	add_u64(t, *(const uint32_t *)in);
}

static void print_u64(struct proto_text *t, const struct proto_field *f, const void *in)
{
	(void)f;
	add_u64(t, *(const uint64_t *)in);
}

static void print_addr(struct proto_text *t, const struct proto_field *f, const void *in)
{
	char text[17], *p = text + sizeof(text); /* and the quote behind them */
	uint64_t v = *(const uint64_t *)in;

	(void)f;
	*--p = '"';
	do
		*--p = "0123456789abcdef"[v & 15];
	while (v >>= 4);
	proto_text_literal(t, "\"0x");
	proto_text_add(t, p, (size_t)(text + sizeof(text) - p));
}

static void print_string(struct proto_text *t, const struct proto_field *f, const void *in)
{
	const char *s = *(const char *const *)in;

	(void)f;
	add_string(t, s ? s : "", s ? strlen(s) : 0);
}

static void print_bytes(struct proto_text *t, const struct proto_field *f, const void *in)
{
	const struct proto_bytes *b = in;
	const size_t len = proto_base64_length(b->size);
	char *to;

	(void)f;
	add_char(t, '"');
	to = proto_text_room(t, len);
	if (to) {
		proto_base64_encode(b->data, b->size, to);
		t->size += len;
	}
	add_char(t, '"');
}

static void print_file(struct proto_text *t, const struct proto_field *f, const void *in)
{
	const struct proto_file *file = in;

	(void)f;
	if (file->path) {
		proto_text_literal(t, "{\"path\":");
		add_string(t, file->path, strlen(file->path));
	} else {
		proto_text_literal(t, "{\"fd\":");
		add_u64(t, file->fd);
	}
	add_char(t, '}');
}

static void print_enum(struct proto_text *t, const struct proto_field *f, const void *in)
{
	const uint32_t number = *(const uint32_t *)in;
	const char *name = proto_enum_name(f->en, number);

	add_char(t, '"');
	if (name) {
		proto_text_add(t, name, strlen(name));
	} else {
		proto_text_literal(t, "unknown-");
		add_u64(t, number);
	}
	add_char(t, '"');
}

static void print_struct(struct proto_text *t, const struct proto_struct *desc, const void *in);

static void print_sub(struct proto_text *t, const struct proto_field *f, const void *in)
{
	print_struct(t, f->sub(), in);
}

static void print_json(struct proto_text *t, const struct proto_field *f, const void *in)
{
	(void)f;
	proto_text_json(t, *(struct json_object *const *)in);
}

static print_fn *const printers[PROTO_TYPE_COUNT] = {
	[PROTO_BOOL] = print_bool,     [PROTO_U32] = print_u32,	    [PROTO_U64] = print_u64,
	[PROTO_SIZE] = print_u64,      [PROTO_ADDR] = print_addr,   [PROTO_NAME] = print_string,
	[PROTO_STRING] = print_string, [PROTO_BYTES] = print_bytes, [PROTO_FILE] = print_file,
	[PROTO_ENUM] = print_enum,     [PROTO_STRUCT] = print_sub,  [PROTO_JSON] = print_json,
};

/* What ids mostly are goes without json-c's own buffer. */
void proto_text_json(struct proto_text *t, struct json_object *obj)
{
	const enum json_type type = json_object_get_type(obj);
	const int64_t number = type == json_type_int ? json_object_get_int64(obj) : -1;
	size_t len = 0;
	const char *s;

	if (type == json_type_string) {
		add_string(t, json_object_get_string(obj), (size_t)json_object_get_string_len(obj));
	} else if (number >= 0 && number < INT64_MAX) {
		add_u64(t, (uint64_t)number);
	} else if (!obj) {
		proto_text_literal(t, "null");
	} else {
		s = proto_json_text(obj, &len);
		t->failed |= !s;
		proto_text_add(t, s, len);
	}
}

/* --- structures ------------------------------------------------------------------------ */

static void print_list(struct proto_text *t, const struct proto_field *f, const unsigned char *in)
{
	const unsigned char *items = *(unsigned char *const *)(in + f->offset);
	const size_t n = *(const size_t *)(in + f->count_offset);

	add_char(t, '[');
	for (size_t i = 0; i < n && !t->failed; i++) {
		if (i)
			add_char(t, ',');
		printers[f->type](t, f, items + i * f->size);
	}
	add_char(t, ']');
}

/* {"name": or ,"name": */
static void add_key(struct proto_text *t, char before, const char *name)
{
	add_char(t, before);
	add_char(t, '"');
	proto_text_add(t, name, strlen(name));
	proto_text_literal(t, "\":");
}

static void print_struct(struct proto_text *t, const struct proto_struct *desc, const void *in)
{
	char next = '{';

	for (size_t i = 0; i < desc->count; i++) {
		const struct proto_field *f = &desc->fields[i];
		const unsigned char *base = in;
		const bool has = *(const bool *)(base + f->has_offset);

		if (!has && f->presence == PROTO_OPTIONAL)
			continue;
		add_key(t, next, f->name);
		next = ',';
		if (!has && f->presence == PROTO_NULLABLE)
			proto_text_literal(t, "null");
		else if (f->list)
			print_list(t, f, base);
		else
			printers[f->type](t, f, base + f->offset);
	}
	if (next == '{')
		add_char(t, next);
	add_char(t, '}');
}

void proto_print(struct proto_text *t, const struct proto_struct *desc, const void *in)
{
	print_struct(t, desc, in);
}
