// SPDX-License-Identifier: MIT
/*
 * A strict parser of one message. json-c keeps and prints the values, but its own parser
 * takes a key given twice, saturates large integers and lets a message of small arrays
 * grow a hundredfold; here each of these is refused or exact.
 */
#include "proto/proto.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SCRATCH_BYTES 1024u /* for most messages, on the stack */
#define NUMBER_MAX 128	    /* characters */

struct parser {
	const char *text, *p, *end;
	char *scratch; /* one longer than the text: no string gets longer by unescaping, and each
			* has two quotes where here is one NUL */
	size_t values, max_values;
	struct proto_error *err;
};

static int value(struct parser *ps, unsigned depth, struct json_object **ret);

static int bad(struct parser *ps, const char *what)
{
	return proto_fail(ps->err, PROTO_ERROR_PARSE, "", "%s (byte %zu)", what,
			  (size_t)(ps->p - ps->text) + 1);
}

static int limited(struct parser *ps, const char *what, uint64_t limit)
{
	const int r = bad(ps, what);

	if (ps->err) {
		ps->err->has_limit = true;
		ps->err->limit = limit;
	}
	return r;
}

static void skip_space(struct parser *ps)
{
	while (ps->p < ps->end && *ps->p && strchr(" \t\r\n", *ps->p))
		ps->p++;
}

static bool take(struct parser *ps, char c)
{
	if (ps->p == ps->end || *ps->p != c)
		return false;
	ps->p++;
	return true;
}

/* Four hexadecimal digits; -1 if they are not. */
static long hex4(struct parser *ps)
{
	long v = 0;

	if (ps->end - ps->p < 4)
		return -1;
	for (int i = 0; i < 4; i++, ps->p++) {
		const char c = *ps->p;

		if (c >= '0' && c <= '9')
			v = v << 4 | (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v = v << 4 | ((c | 0x20) - 'a' + 10);
		else
			return -1;
	}
	return v;
}

static size_t put_utf8(char *out, unsigned long c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 63));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 63));
		out[2] = (char)(0x80 | (c & 63));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 63));
	out[2] = (char)(0x80 | (c >> 6 & 63));
	out[3] = (char)(0x80 | (c & 63));
	return 4;
}

static int unicode_escape(struct parser *ps, char *out, size_t *n)
{
	long c = hex4(ps), low;

	if (c < 0)
		return bad(ps, "\\u needs four hexadecimal digits");
	if (!c)
		return bad(ps, "a NUL inside a string");
	if (c >= 0xdc00 && c <= 0xdfff)
		return bad(ps, "half of a surrogate pair");
	if (c >= 0xd800 && c <= 0xdbff) {
		if (!take(ps, '\\') || !take(ps, 'u'))
			return bad(ps, "half of a surrogate pair");
		low = hex4(ps);
		if (low < 0xdc00 || low > 0xdfff)
			return bad(ps, "half of a surrogate pair");
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	*n += put_utf8(out + *n, (unsigned long)c);
	return 0;
}

static int escape(struct parser *ps, char *out, size_t *n)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	const char *which;

	if (take(ps, 'u'))
		return unicode_escape(ps, out, n);
	which = ps->p < ps->end && *ps->p ? strchr(names, *ps->p) : NULL;
	if (!which)
		return bad(ps, "an unknown escape");
	ps->p++;
	out[(*n)++] = values[which - names];
	return 0;
}

/* Leaves the text in out, NUL-terminated; ps->p is behind the opening quote. */
static int string(struct parser *ps, char *out, size_t *ret_len)
{
	size_t n = 0, len;
	int r;

	for (;;) {
		if (ps->p == ps->end)
			return bad(ps, "a string without end");
		if (take(ps, '"'))
			break;
		if (take(ps, '\\')) {
			r = escape(ps, out, &n);
			if (r < 0)
				return r;
			continue;
		}
		if (*ps->p >= 0x20) { /* the common case: ASCII */
			out[n++] = *ps->p++;
			continue;
		}
		if ((unsigned char)*ps->p < 0x20)
			return bad(ps, "a control character inside a string");
		len = proto_utf8_sequence(ps->p, (size_t)(ps->end - ps->p));
		if (!len)
			return bad(ps, "not valid UTF-8");
		memcpy(out + n, ps->p, len);
		n += len;
		ps->p += len;
	}
	out[n] = '\0';
	*ret_len = n;
	return 0;
}

static size_t digits(struct parser *ps)
{
	const char *first = ps->p;

	while (ps->p < ps->end && *ps->p >= '0' && *ps->p <= '9')
		ps->p++;
	return (size_t)(ps->p - first);
}

/* Integers that fit 64 bits are exact; every other number keeps its text. */
static struct json_object *make_number(const char *text, bool integer)
{
	if (integer) {
		errno = 0;
		if (*text == '-') {
			const long long v = strtoll(text, NULL, 10);

			if (!errno)
				return json_object_new_int64(v);
		} else {
			const unsigned long long v = strtoull(text, NULL, 10);

			if (!errno)
				return v <= INT64_MAX ? json_object_new_int64((int64_t)v)
						      : json_object_new_uint64(v);
		}
	}
	return json_object_new_double_s(strtod(text, NULL), text);
}

static int number(struct parser *ps, struct json_object **ret)
{
	const char *first = ps->p;
	char text[NUMBER_MAX + 1];
	bool integer = true;
	size_t len;

	take(ps, '-');
	if (!take(ps, '0') && !digits(ps))
		return bad(ps, "not a JSON value");
	if (take(ps, '.')) {
		integer = false;
		if (!digits(ps))
			return bad(ps, "a number without digits behind its point");
	}
	if (take(ps, 'e') || take(ps, 'E')) {
		integer = false;
		if (!take(ps, '+'))
			take(ps, '-');
		if (!digits(ps))
			return bad(ps, "a number without digits in its exponent");
	}
	len = (size_t)(ps->p - first);
	if (len > NUMBER_MAX)
		return limited(ps, "a number that is too long", NUMBER_MAX);
	memcpy(text, first, len);
	text[len] = '\0';
	*ret = make_number(text, integer);
	return *ret ? 0 : -ENOMEM;
}

static int literal(struct parser *ps, struct json_object **ret)
{
	static const struct {
		const char *text;
		size_t len;
	} words[] = {{"null", 4}, {"true", 4}, {"false", 5}};

	for (size_t i = 0; i < 3; i++) {
		if ((size_t)(ps->end - ps->p) < words[i].len ||
		    memcmp(ps->p, words[i].text, words[i].len) != 0)
			continue;
		ps->p += words[i].len;
		*ret = i ? json_object_new_boolean(i == 1) : NULL;
		return !i || *ret ? 0 : -ENOMEM;
	}
	return number(ps, ret);
}

static int array(struct parser *ps, unsigned depth, struct json_object **ret)
{
	struct json_object *list = json_object_new_array_ext(4), *item;
	int r = list ? 0 : -ENOMEM;

	skip_space(ps);
	if (!r && take(ps, ']')) {
		*ret = list;
		return 0;
	}
	while (!r) {
		r = value(ps, depth + 1, &item);
		if (r < 0)
			break;
		if (json_object_array_add(list, item)) {
			json_object_put(item);
			r = -ENOMEM;
			break;
		}
		skip_space(ps);
		if (take(ps, ']')) {
			*ret = list;
			return 0;
		}
		if (!take(ps, ','))
			r = bad(ps, "an array needs , or ] here");
	}
	json_object_put(list);
	return r;
}

/* One "key": value, added to obj. */
static int member(struct parser *ps, unsigned depth, struct json_object *obj)
{
	char *const key = ps->scratch;
	struct json_object *item;
	size_t len;
	int r;

	skip_space(ps);
	if (!take(ps, '"'))
		return bad(ps, "an object needs a key in quotes here");
	r = string(ps, key, &len);
	if (r < 0)
		return r;
	if (json_object_object_get_ex(obj, key, NULL))
		return proto_fail(ps->err, PROTO_ERROR_PARSE, key,
				  "the key is given twice (byte %zu)",
				  (size_t)(ps->p - ps->text) + 1);
	skip_space(ps);
	if (!take(ps, ':'))
		return bad(ps, "a key needs : behind it");
	ps->scratch += len + 1; /* the value has what is behind the key */
	r = value(ps, depth + 1, &item);
	ps->scratch = key;
	/* That the key is new has just been seen. */
	if (!r && json_object_object_add_ex(obj, key, item, JSON_C_OBJECT_ADD_KEY_IS_NEW)) {
		json_object_put(item);
		r = -ENOMEM;
	}
	return r;
}

static int object(struct parser *ps, unsigned depth, struct json_object **ret)
{
	struct json_object *obj = json_object_new_object();
	int r = obj ? 0 : -ENOMEM;

	skip_space(ps);
	if (!r && take(ps, '}')) {
		*ret = obj;
		return 0;
	}
	while (!r) {
		r = member(ps, depth, obj);
		if (r < 0)
			break;
		skip_space(ps);
		if (take(ps, '}')) {
			*ret = obj;
			return 0;
		}
		if (!take(ps, ','))
			r = bad(ps, "an object needs , or } here");
	}
	json_object_put(obj);
	return r;
}

static int value(struct parser *ps, unsigned depth, struct json_object **ret)
{
	size_t len;
	int r;

	skip_space(ps);
	if (ps->p == ps->end)
		return bad(ps, "the message ends too early");
	if (depth > PROTO_DEPTH_MAX && (*ps->p == '[' || *ps->p == '{'))
		return limited(ps, "nested too deep", PROTO_DEPTH_MAX);
	if (ps->values++ >= ps->max_values)
		return limited(ps, "too many values", ps->max_values);
	if (take(ps, '['))
		return array(ps, depth, ret);
	if (take(ps, '{'))
		return object(ps, depth, ret);
	if (!take(ps, '"'))
		return literal(ps, ret);
	r = string(ps, ps->scratch, &len);
	if (r < 0)
		return r;
	if (len > INT32_MAX)
		return limited(ps, "a string that is too long", INT32_MAX);
	*ret = json_object_new_string_len(ps->scratch, (int)len);
	return *ret ? 0 : -ENOMEM;
}

static int parse(const char *text, size_t len, size_t max_values, struct json_object **ret,
		 struct proto_error *err)
{
	char small[SCRATCH_BYTES], *scratch = len < sizeof(small) ? small : malloc(len + 1);
	struct parser ps = {.text = text,
			    .p = text,
			    .end = text + len,
			    .max_values = max_values,
			    .err = err,
			    .scratch = scratch};
	struct json_object *obj = NULL;
	int r;

	if (!scratch)
		return proto_fail(err, PROTO_ERROR_NO_MEMORY, "", "out of memory");
	r = value(&ps, 1, &obj);
	if (r >= 0) {
		skip_space(&ps);
		if (ps.p != ps.end)
			r = bad(&ps, "something follows the message");
	}
	if (scratch != small)
		free(scratch);
	if (r == -ENOMEM)
		proto_fail(err, PROTO_ERROR_NO_MEMORY, "", "out of memory");
	if (r < 0) {
		json_object_put(obj);
		return r;
	}
	*ret = obj;
	return 0;
}

int proto_json_parse(const char *text, size_t len, struct json_object **ret,
		     struct proto_error *err)
{
	return parse(text, len, PROTO_VALUES_MAX, ret, err);
}

int proto_json_parse_reply(const char *text, size_t len, struct json_object **ret,
			   struct proto_error *err)
{
	return parse(text, len, SIZE_MAX, ret, err);
}

const char *proto_json_text(struct json_object *obj, size_t *ret_len)
{
	return json_object_to_json_string_length(
		obj, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, ret_len);
}

const char *proto_json_pretty(struct json_object *obj, size_t *ret_len)
{
	return json_object_to_json_string_length(obj,
						 JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
							 JSON_C_TO_STRING_NOSLASHESCAPE,
						 ret_len);
}
