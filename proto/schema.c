// SPDX-License-Identifier: MIT
/* The tables as JSON schema, and as the OpenRPC document of rpc.discover. */
#include "proto/internal.h"
#include <stdio.h>
#include <string.h>

/* json-c's own adders fail only for lack of memory; a schema that is short then is NULL in the end.
 */
static void add_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static void add_u64(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

static void integer(const struct proto_field *f, struct json_object *o)
{
	add_text(o, "type", "integer");
	add_u64(o, "minimum", f->min);
	add_u64(o, "maximum", f->max);
}

static void boolean(const struct proto_field *f, struct json_object *o)
{
	(void)f;
	add_text(o, "type", "boolean");
}

static void address(const struct proto_field *f, struct json_object *o)
{
	(void)f;
	add_text(o, "type", "string");
	add_text(o, "pattern", "^0x[0-9a-fA-F]{1,16}$");
}

static void name(const struct proto_field *f, struct json_object *o)
{
	(void)f;
	add_text(o, "type", "string");
	add_text(o, "pattern", "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$");
}

static void string(const struct proto_field *f, struct json_object *o)
{
	add_text(o, "type", "string");
	if (f->max < UINT32_MAX)
		add_u64(o, "maxLength", f->max);
}

static void bytes(const struct proto_field *f, struct json_object *o)
{
	add_text(o, "type", "string");
	add_text(o, "contentEncoding", "base64");
	add_u64(o, "maxLength", proto_base64_length(f->max));
}

static struct json_object *file_form(const char *key, const char *type)
{
	struct json_object *o = json_object_new_object(), *properties = json_object_new_object(),
			   *required = json_object_new_array(), *sub = json_object_new_object();

	add_text(sub, "type", type);
	json_object_object_add(properties, key, sub);
	json_object_array_add(required, json_object_new_string(key));
	add_text(o, "type", "object");
	json_object_object_add(o, "properties", properties);
	json_object_object_add(o, "required", required);
	json_object_object_add(o, "additionalProperties", json_object_new_boolean(0));
	return o;
}

static void file(const struct proto_field *f, struct json_object *o)
{
	struct json_object *forms = json_object_new_array();

	(void)f;
	json_object_array_add(forms, file_form("fd", "integer"));
	json_object_array_add(forms, file_form("path", "string"));
	json_object_object_add(o, "oneOf", forms);
}

static void enumeration(const struct proto_field *f, struct json_object *o)
{
	struct json_object *names = json_object_new_array();

	for (size_t i = 0; i < f->en->count; i++)
		json_object_array_add(names, json_object_new_string(f->en->values[i].name));
	add_text(o, "type", "string");
	json_object_object_add(o, "enum", names);
}

static void structure(const struct proto_field *f, struct json_object *o)
{
	char ref[96];

	snprintf(ref, sizeof(ref), "#/components/schemas/%s", f->sub()->id);
	add_text(o, "$ref", ref);
}

static void anything(const struct proto_field *f, struct json_object *o)
{
	(void)f, (void)o;
}

typedef void schema_fn(const struct proto_field *f, struct json_object *o);

static schema_fn *const writers[PROTO_TYPE_COUNT] = {
	[PROTO_BOOL] = boolean,	    [PROTO_U32] = integer,	[PROTO_U64] = integer,
	[PROTO_SIZE] = integer,	    [PROTO_ADDR] = address,	[PROTO_NAME] = name,
	[PROTO_STRING] = string,    [PROTO_BYTES] = bytes,	[PROTO_FILE] = file,
	[PROTO_ENUM] = enumeration, [PROTO_STRUCT] = structure, [PROTO_JSON] = anything,
};

static struct json_object *default_value(const struct proto_field *f)
{
	switch (f->type) {
	case PROTO_BOOL:
		return json_object_new_boolean(f->dflt != 0);
	case PROTO_ENUM:
		return json_object_new_string(proto_enum_name(f->en, (uint32_t)f->dflt));
	case PROTO_STRING:
		return json_object_new_string("");
	default:
		return json_object_new_uint64(f->dflt);
	}
}

static struct json_object *one_of_null(struct json_object *schema)
{
	struct json_object *o = json_object_new_object(), *forms = json_object_new_array(),
			   *null = json_object_new_object();

	add_text(null, "type", "null");
	json_object_array_add(forms, schema);
	json_object_array_add(forms, null);
	json_object_object_add(o, "oneOf", forms);
	return o;
}

static struct json_object *field_schema(const struct proto_field *f)
{
	struct json_object *o = json_object_new_object();

	writers[f->type](f, o);
	if (f->list) {
		struct json_object *list = json_object_new_object();

		add_text(list, "type", "array");
		add_u64(list, "maxItems", f->max_count);
		json_object_object_add(list, "items", o);
		o = list;
	}
	if (f->presence == PROTO_NULLABLE)
		o = one_of_null(o);
	add_text(o, "description", f->doc);
	if (*f->unit)
		add_text(o, "x-unit", f->unit);
	if (f->presence == PROTO_DEFAULTED)
		json_object_object_add(o, "default", default_value(f));
	return o;
}

struct json_object *proto_schema(const struct proto_struct *desc)
{
	struct json_object *o = json_object_new_object(), *properties = json_object_new_object(),
			   *required = json_object_new_array();

	for (size_t i = 0; i < desc->count; i++) {
		const struct proto_field *f = &desc->fields[i];

		json_object_object_add(properties, f->name, field_schema(f));
		if (f->presence == PROTO_REQUIRED || f->presence == PROTO_NULLABLE)
			json_object_array_add(required, json_object_new_string(f->name));
	}
	add_text(o, "type", "object");
	add_text(o, "description", desc->doc);
	json_object_object_add(o, "properties", properties);
	json_object_object_add(o, "required", required);
	json_object_object_add(o, "additionalProperties", json_object_new_boolean(0));
	return o;
}

static struct json_object *method_params(const struct proto_struct *desc)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < desc->count; i++) {
		const struct proto_field *f = &desc->fields[i];
		struct json_object *p = json_object_new_object();

		add_text(p, "name", f->name);
		add_text(p, "description", f->doc);
		json_object_object_add(p, "required",
				       json_object_new_boolean(f->presence == PROTO_REQUIRED));
		json_object_object_add(p, "schema", field_schema(f));
		json_object_array_add(list, p);
	}
	return list;
}

struct json_object *proto_openrpc_methods(void)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++) {
		const struct proto_method *m = &proto_methods[i];
		struct json_object *o = json_object_new_object(),
				   *result = json_object_new_object(),
				   *schema = json_object_new_object();
		char ref[96];

		add_text(o, "name", m->name);
		add_text(o, "summary", m->doc);
		add_text(o, "paramStructure", "by-name");
		json_object_object_add(o, "params", method_params(m->params()));
		snprintf(ref, sizeof(ref), "#/components/schemas/%s", m->result()->id);
		add_text(schema, "$ref", ref);
		add_text(result, "name", m->result()->id);
		json_object_object_add(result, "schema", schema);
		json_object_object_add(o, "result", result);
		add_text(o, "x-role", proto_enum_name(&proto_enum_role, m->role));
		add_text(o, "x-hvctl", m->verb);
		json_object_array_add(list, o);
	}
	return list;
}

struct json_object *proto_openrpc_components(void)
{
	struct json_object *o = json_object_new_object(), *schemas = json_object_new_object();

	for (size_t i = 0; proto_structs[i]; i++)
		json_object_object_add(schemas, proto_structs[i]()->id,
				       proto_schema(proto_structs[i]()));
	json_object_object_add(o, "schemas", schemas);
	return o;
}
