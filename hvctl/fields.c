// SPDX-License-Identifier: MIT
#include "hvctl/fields.h"

#include <errno.h>
#include <stdlib.h>

struct json_object *field_object(struct json_object *obj, const char *name)
{
	struct json_object *member = NULL;

	if (!obj || !json_object_is_type(obj, json_type_object))
		return NULL;
	json_object_object_get_ex(obj, name, &member);
	return member;
}

const char *field_string(struct json_object *obj, const char *name)
{
	struct json_object *member = field_object(obj, name);

	if (!member || !json_object_is_type(member, json_type_string))
		return NULL;
	return json_object_get_string(member);
}

const char *field_text(struct json_object *obj, const char *name, const char *otherwise)
{
	const char *text = field_string(obj, name);

	return text ? text : otherwise;
}

static bool parse_hex(const char *text, uint64_t *ret)
{
	char *end;

	if (text[0] != '0' || text[1] != 'x')
		return false;
	errno = 0;
	*ret = strtoull(text, &end, 16);
	return !errno && !*end;
}

bool field_number(struct json_object *obj, const char *name, uint64_t *ret)
{
	struct json_object *member = field_object(obj, name);

	if (member && json_object_is_type(member, json_type_int)) {
		*ret = json_object_get_uint64(member);
		return true;
	}
	if (member && json_object_is_type(member, json_type_string))
		return parse_hex(json_object_get_string(member), ret);
	return false;
}

uint64_t field_count(struct json_object *obj, const char *name)
{
	uint64_t v = 0;

	field_number(obj, name, &v);
	return v;
}

bool field_bool(struct json_object *obj, const char *name)
{
	struct json_object *member = field_object(obj, name);

	return member && json_object_get_boolean(member);
}

size_t field_items(struct json_object *obj, const char *name)
{
	struct json_object *member = field_object(obj, name);

	if (!member || !json_object_is_type(member, json_type_array))
		return 0;
	return json_object_array_length(member);
}

struct json_object *field_item(struct json_object *obj, const char *name, size_t i)
{
	return json_object_array_get_idx(field_object(obj, name), i);
}
