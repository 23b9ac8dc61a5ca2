// SPDX-License-Identifier: MIT
/*
 * Text to JSON to structures and back. The first byte names a structure of the tables; the rest
 * is a message, or, if the second byte is odd, choices from which one is made. What must hold:
 * what was printed reads back as the same, and a structure that was decoded, encoded and decoded
 * again is encoded to the same text; where the parameters were made here, to what was made.
 */
#include "fuzz.h"
#include <string.h>

static const char *print(struct json_object *obj, size_t *ret_len)
{
	const char *text = proto_json_text(obj, ret_len);

	CHECK(text && strlen(text) == *ret_len);
	return text;
}

static void check_printed(struct json_object *obj)
{
	struct json_object *again;
	size_t len, len_again;
	const char *text = print(obj, &len), *text_again;

	CHECK(!proto_json_parse_reply(text, len, &again, NULL));
	text_again = print(again, &len_again);
	CHECK(len == len_again && memcmp(text, text_again, len) == 0);
	json_object_put(again);
}

static void check_refusal(const struct proto_struct *desc, const struct proto_error *err)
{
	struct json_object *e = proto_error_json(err, desc->id);

	CHECK(err->kind < PROTO_ERROR_COUNT && *err->text);
	CHECK(memchr(err->text, '\0', sizeof(err->text)) &&
	      memchr(err->field, '\0', sizeof(err->field)));
	check_printed(e);
	json_object_put(e);
}

/*
 * The structure as text, and that it decodes to what encodes to the same; which is what it was
 * decoded from, if that was written as we write it.
 */
static void check_structure(const struct proto_struct *desc, const void *in,
			    struct json_object *from, bool canonical)
{
	struct json_object *first = proto_encode_params(desc, in), *second;
	struct proto_arena arena = {0};
	void *out = proto_alloc(&arena, 1, desc->size);
	size_t len, len_second;
	struct proto_error err;
	const char *text;

	CHECK(first && out);
	CHECK(!canonical || json_object_equal(first, from));
	if (proto_decode(desc, first, out, &arena, &err)) {
		fprintf(stderr, "%s: %s: %s\n%s\n", desc->id, err.field, err.text,
			print(first, &len));
		abort();
	}
	second = proto_encode_params(desc, out);
	text = print(first, &len);
	CHECK(second && memcmp(text, print(second, &len_second), len + 1) == 0);
	json_object_put(first);
	json_object_put(second);
	proto_arena_free(&arena);
}

/* The daemon prints replies without objects in between. */
static void check_print(const struct proto_struct *desc, const void *in, struct json_object *all)
{
	struct proto_text t = {0};
	size_t len;
	const char *text = print(all, &len);

	proto_print(&t, desc, in);
	CHECK(!t.failed && t.size == len && memcmp(t.data, text, len) == 0);
	proto_text_free(&t);
}

static void decode(const struct proto_struct *desc, struct json_object *obj, bool canonical)
{
	struct proto_arena arena = {0};
	void *out = proto_alloc(&arena, 1, desc->size);
	struct proto_error err = {0};
	struct json_object *all;

	CHECK(out);
	if (proto_decode(desc, obj, out, &arena, &err)) {
		check_refusal(desc, &err);
	} else {
		check_structure(desc, out, obj, canonical);
		all = proto_encode(desc, out);
		CHECK(all);
		check_printed(all);
		check_print(desc, out, all);
		json_object_put(all);
	}
	proto_arena_free(&arena);
}

/* Of these, parameters alone are decoded by the daemon. */
static const struct proto_struct *choose_struct(struct choices *c)
{
	return proto_methods[choose(c, PROTO_METHOD_COUNT)].params();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct choices c = {data, size};
	const struct proto_struct *desc = choose_struct(&c);
	const bool made = choose_byte(&c) & 1;
	struct json_object *obj;
	struct proto_error err;

	if (made) {
		obj = choose_params(&c, desc);
	} else if (proto_json_parse((const char *)c.p, c.left, &obj, &err)) {
		CHECK(*err.text);
		return 0;
	}
	check_printed(obj);
	decode(desc, obj, made);
	json_object_put(obj);
	return 0;
}
