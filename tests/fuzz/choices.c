// SPDX-License-Identifier: MIT
#include "fuzz.h"
#include <inttypes.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

uint8_t choose_byte(struct choices *c)
{
	if (!c->left)
		return 0;
	c->left--;
	return *c->p++;
}

unsigned choose(struct choices *c, unsigned below)
{
	return choose_byte(c) % below;
}

/* --- values ----------------------------------------------------------------------------- */

/* Numbers at which bounds break; min and max are the field's. */
static uint64_t choose_number(struct choices *c, const struct proto_field *f, uint64_t usual)
{
	const uint64_t edges[] = {usual,      f->min,	  f->max,     f->min - 1,
				  f->max + 1, 0,	  1,	      4095,
				  4096,	      4097,	  UINT32_MAX, UINT64_C(1) << 32,
				  INT64_MAX,  UINT64_MAX, 2 << 20,    UINT64_C(1) << 52};
	const unsigned which = choose(c, COUNT(edges) + 2);
	uint64_t v = 0;

	if (which < COUNT(edges))
		return edges[which];
	for (unsigned i = 0; i < (which == COUNT(edges) ? 2 : 8); i++)
		v = v << 8 | choose_byte(c);
	return v;
}

static struct json_object *number(struct choices *c, const struct proto_field *f)
{
	const uint64_t usual = f->type == PROTO_SIZE && f->max >= 4096 ? 4096
			       : f->min > 1			       ? f->min
								       : 1;

	return json_object_new_uint64(choose_number(c, f, usual < f->max ? usual : f->max));
}

static struct json_object *address(struct choices *c, const struct proto_field *f)
{
	char text[32];

	snprintf(text, sizeof(text), "0x%" PRIx64, choose_number(c, f, 0x200000));
	return json_object_new_string(text);
}

static struct json_object *boolean(struct choices *c, const struct proto_field *f)
{
	(void)f;
	return json_object_new_boolean(choose(c, 2));
}

/* Those that exist are likelier: "a" is a VM's, "ram" and "s" are its slots'. */
static struct json_object *name(struct choices *c, const struct proto_field *f)
{
	static const char *const names[] = {"a", "s", "ram", "b", "", "-", "no such", "a/b"};
	const bool slot = !strcmp(f->name, "slot");
	const unsigned which = choose(c, COUNT(names));
	char longest[PROTO_NAME_MAX + 2];

	if (which == COUNT(names) - 1) {
		memset(longest, 'n', sizeof(longest));
		return json_object_new_string_len(longest, (int)sizeof(longest) - choose(c, 2));
	}
	return json_object_new_string(slot && which < 2 ? names[!which] : names[which]);
}

static struct json_object *string(struct choices *c, const struct proto_field *f)
{
	static const char *const words[] = {"cpuid", "rip", "guest_rip", "exit.", "\xc3\xa9", ""};
	const unsigned which = choose(c, COUNT(words) + 1);
	struct json_object *v;
	char *text;
	size_t len;

	if (which < COUNT(words))
		return json_object_new_string(words[which]);
	len = f->max < 8192 ? (size_t)f->max + choose(c, 2) : choose_byte(c);
	text = malloc(len + 1);
	CHECK(text);
	memset(text, 'x', len);
	v = json_object_new_string_len(text, (int)len);
	free(text);
	return v;
}

static struct json_object *bytes(struct choices *c, const struct proto_field *f)
{
	uint8_t data[64];
	char text[96];
	const size_t n = (choose_byte(c) + 1) % sizeof(data);

	(void)f;
	for (size_t i = 0; i < n; i++)
		data[i] = (uint8_t)i;
	proto_base64_encode(data, n, text);
	if (choose(c, 8) == 7)
		text[0] = (char)(choose_byte(c) % 127 + 1);
	return json_object_new_string_len(text, (int)proto_base64_length(n));
}

static struct json_object *file(struct choices *c, const struct proto_field *f)
{
	struct json_object *v = json_object_new_object();
	const unsigned which = choose(c, 8);

	(void)f;
	if (which == 7)
		json_object_object_add(v, "path", json_object_new_string("/nonexistent/x"));
	else
		json_object_object_add(v, "fd", json_object_new_int(which));
	return v;
}

static struct json_object *one_of(struct choices *c, const struct proto_field *f)
{
	const unsigned which = choose(c, (unsigned)f->en->count + 1);

	return json_object_new_string(which < f->en->count ? f->en->values[which].name : "none");
}

static struct json_object *structure(struct choices *c, const struct proto_field *f)
{
	return choose_params(c, f->sub());
}

static struct json_object *anything(struct choices *c, const struct proto_field *f)
{
	(void)f;
	switch (choose(c, 8)) {
	case 1:
		return NULL;
	case 2:
		return json_object_new_string("1");
	case 3:
		return json_object_new_double_s(1.5, "1.5");
	case 4:
		return json_object_new_array();
	case 5:
		return json_object_new_object();
	case 6:
		return json_object_new_boolean(1);
	case 7:
		return json_object_new_int64(-(int64_t)choose_byte(c));
	}
	return json_object_new_int(choose_byte(c));
}

static struct json_object *value(struct choices *c, const struct proto_field *f)
{
	static struct json_object *(*const of_type[PROTO_TYPE_COUNT])(
		struct choices *, const struct proto_field *) = {
		[PROTO_BOOL] = boolean,	 [PROTO_U32] = number,	     [PROTO_U64] = number,
		[PROTO_SIZE] = number,	 [PROTO_ADDR] = address,     [PROTO_NAME] = name,
		[PROTO_STRING] = string, [PROTO_BYTES] = bytes,	     [PROTO_FILE] = file,
		[PROTO_ENUM] = one_of,	 [PROTO_STRUCT] = structure, [PROTO_JSON] = anything};

	return choose_byte(c) >= 248 ? anything(c, f) : of_type[f->type](c, f);
}

static struct json_object *list(struct choices *c, const struct proto_field *f)
{
	struct json_object *items = json_object_new_array();
	unsigned n = choose_byte(c);

	/* one, none, a few; or one more than may be, if that is not beyond a message */
	n = n < 128		 ? 1
	    : n < 144		 ? 0
	    : n < 250		 ? n % 6
	    : f->max_count < 200 ? (unsigned)f->max_count + 1
				 : 9;
	for (unsigned i = 0; i < n; i++)
		json_object_array_add(items, value(c, f));
	return items;
}

static bool given(struct choices *c, const struct proto_field *f)
{
	const uint8_t b = choose_byte(c);

	return f->presence == PROTO_REQUIRED ? b < 250 : b % 3 == 1;
}

struct json_object *choose_params(struct choices *c, const struct proto_struct *desc)
{
	struct json_object *obj = json_object_new_object();

	CHECK(obj);
	for (size_t i = 0; i < desc->count; i++) {
		const struct proto_field *f = &desc->fields[i];

		if (given(c, f))
			json_object_object_add(obj, f->name, f->list ? list(c, f) : value(c, f));
	}
	if (choose_byte(c) >= 250)
		json_object_object_add(obj, "unknown", NULL);
	return obj;
}
