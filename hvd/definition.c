// SPDX-License-Identifier: MIT
#include "hvd/definition.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_LEN (sizeof(DEFINITION_IMAGES "/") + DEFINITION_FILE_LEN)

void definition_file_name(char out[DEFINITION_FILE_LEN], const char *uuid, bool image, size_t i)
{
	if (image && !i)
		snprintf(out, DEFINITION_FILE_LEN, "%.36s.image", uuid);
	else
		snprintf(out, DEFINITION_FILE_LEN, "%.36s.module%zu", uuid, i - image);
}

static void file_path(char out[PATH_LEN], const char *uuid, bool image, size_t i)
{
	char name[DEFINITION_FILE_LEN];

	definition_file_name(name, uuid, image, i);
	snprintf(out, PATH_LEN, DEFINITION_IMAGES "/%s", name);
}

size_t definition_file_count(const struct definition *def)
{
	return def->d.has_image + def->d.modules_count;
}

const struct proto_definition_file *definition_file(const struct definition *def, size_t i)
{
	const bool image = def->d.has_image;

	return image && !i ? &def->d.image : &def->d.modules[i - image];
}

/* --- text ----------------------------------------------------------------------------- */

static int to_text(const struct proto_definition *d, char **ret, size_t *ret_len)
{
	struct json_object *obj = proto_encode(proto_desc_definition(), d);
	const char *text = NULL;
	size_t len = 0;
	char *copy = NULL;

	if (obj)
		text = proto_json_pretty(obj, &len);
	if (text)
		copy = malloc(len + 2);
	if (copy) {
		memcpy(copy, text, len);
		memcpy(copy + len, "\n", 2);
		*ret = copy;
		*ret_len = len + 1;
	}
	json_object_put(obj);
	return copy ? 0 : -ENOMEM;
}

int definition_text(const struct definition *def, char **ret, size_t *ret_len)
{
	return to_text(&def->d, ret, ret_len);
}

/* One of a newer form has members that are not known here: the form is what to tell of. */
static int check_format(struct json_object *obj, struct proto_error *err)
{
	struct json_object *v;

	if (json_object_is_type(obj, json_type_object) &&
	    json_object_object_get_ex(obj, "format", &v) && json_object_is_type(v, json_type_int) &&
	    json_object_get_int64(v) != DEFINITION_FORMAT)
		return proto_fail(err, PROTO_ERROR_UNSUPPORTED, "format",
				  "%s is not known to this version, only %u",
				  json_object_get_string(v), DEFINITION_FORMAT);
	return 0;
}

int definition_read(const char *text, size_t len, struct definition **ret, struct proto_error *err)
{
	struct definition *def = calloc(1, sizeof(*def));
	struct json_object *obj = NULL;
	struct proto_error parse;
	int r;

	if (!def)
		return proto_fail(err, PROTO_ERROR_NO_MEMORY, "", "out of memory");
	r = proto_json_parse(text, len, &obj, &parse);
	if (r)
		proto_fail(err, parse.kind, parse.field, "not as JSON should be: %s", parse.text);
	else
		r = check_format(obj, err);
	if (!r && !obj) /* the text is null, which stands for no parameters */
		r = proto_fail(err, PROTO_ERROR_INVALID_TYPE, "", "a definition is an object");
	if (!r)
		r = proto_decode(proto_desc_definition(), obj, &def->d, &def->arena, err);
	json_object_put(obj);
	if (r) {
		definition_free(def);
		return r;
	}
	*ret = def;
	return 0;
}

void definition_free(struct definition *def)
{
	if (!def)
		return;
	proto_arena_free(&def->arena);
	free(def);
}

/* --- from and to parameters of vm.create ------------------------------------------------ */

/* By way of its text: what is kept is what will be read again, and depends on nothing. */
int definition_new(const struct proto_vm_create_params *p, const char *uuid,
		   const struct stored_file *files, struct definition **ret)
{
	struct proto_definition_file list[DEFINITION_FILES_MAX] = {{.path = NULL}};
	char paths[DEFINITION_FILES_MAX][PATH_LEN];
	struct proto_definition d = {.format = DEFINITION_FORMAT};
	struct proto_error err;
	char *text;
	size_t len;
	int r;

	proto_copy_fields(proto_desc_definition(), &d, proto_desc_vm_create_params(), p, false);
	PROTO_SET(&d, uuid, uuid);
	for (size_t i = 0; i < p->has_image + p->modules_count; i++) {
		file_path(paths[i], uuid, p->has_image, i);
		list[i].path = paths[i];
		PROTO_SET(&list[i], size_bytes, files[i].size_bytes);
		PROTO_SET(&list[i], sha256, files[i].sha256);
	}
	if (p->has_image)
		PROTO_SET(&d, image, list[0]);
	if (p->modules_count)
		PROTO_SET(&d, modules, list + 1); /* modules need an image */
	d.modules_count = p->modules_count;
	r = to_text(&d, &text, &len);
	if (r)
		return r;
	r = definition_read(text, len, ret, &err);
	free(text);
	return r;
}

void definition_params(const struct definition *def, struct proto_vm_create_params *ret)
{
	*ret = (struct proto_vm_create_params){.has_image = def->d.has_image,
					       .modules_count = def->d.modules_count};
	proto_copy_fields(proto_desc_vm_create_params(), ret, proto_desc_definition(), &def->d,
			  false);
}

int definition_check_params(const struct proto_vm_create_params *p, struct proto_error *err)
{
	if (p->modules_count && !p->has_image)
		return proto_fail(err, PROTO_ERROR_INVALID_VALUE, "modules",
				  "modules need an image");
	if (p->processors_count && p->processors_count != p->vcpus)
		return proto_fail(err, PROTO_ERROR_INVALID_VALUE, "processors",
				  "%zu are given for %u vCPUs", p->processors_count, p->vcpus);
	return 0;
}

void definition_fill_request(const struct proto_vm_create_params *p, struct engine_vm_create *out)
{
	*out = (struct engine_vm_create){
		.memory_bytes = p->memory_bytes,
		.ept_page_bytes = p->ept_page,
		.load_gpa = p->has_load_gpa ? p->load_gpa : 0,
		.vcpus = p->vcpus,
		.use_vpid = p->vpid,
		.accessed_dirty = p->accessed_dirty,
		.huge_pages = p->huge_pages,
		.image_format = p->image_format,
		.has_image = p->has_image,
		.modules = (uint32_t)p->modules_count,
	};
	for (size_t i = 0; i < ENGINE_MAX_VCPUS; i++)
		out->processor[i] =
			i < p->processors_count ? p->processors[i] : ENGINE_ANY_PROCESSOR;
	snprintf(out->cmdline, sizeof(out->cmdline), "%s", p->command_line);
}

/* --- one that is stored ------------------------------------------------------------------- */

/* 8-4-4-4-12 hexadecimal digits, lower case, as hvd writes them: file names come from it. */
static bool uuid_valid(const char *s)
{
	for (size_t i = 0; i < 36; i++) {
		const bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? s[i] != '-' : !s[i] || !strchr("0123456789abcdef", s[i]))
			return false;
	}
	return !s[36];
}

static int check_file(const struct definition *def, size_t i, struct proto_error *err)
{
	const struct proto_definition_file *f = definition_file(def, i);
	char member[PROTO_FIELD_LEN], path[PATH_LEN], field[32] = "image";

	if (!def->d.has_image || i)
		snprintf(field, sizeof(field), "modules[%zu]", i - def->d.has_image);
	file_path(path, def->d.uuid, def->d.has_image, i);
	if (!f->has_size_bytes || !f->has_sha256) {
		snprintf(member, sizeof(member), "%s.%s", field,
			 f->has_size_bytes ? "sha256" : "size_bytes");
		return proto_fail(err, PROTO_ERROR_MISSING_PARAMETER, member, "is missing");
	}
	if (!strcmp(f->path, path))
		return 0;
	snprintf(member, sizeof(member), "%s.path", field);
	return proto_fail(err, PROTO_ERROR_INVALID_VALUE, member, "is not %s", path);
}

int definition_check(const struct definition *def, const char *name, struct proto_error *err)
{
	struct proto_vm_create_params p;
	int r;

	if (strcmp(def->d.name, name) != 0)
		return proto_fail(err, PROTO_ERROR_INVALID_VALUE, "name",
				  "%s: its file would be %s.json", def->d.name, def->d.name);
	if (!def->d.has_uuid || !uuid_valid(def->d.uuid))
		return proto_fail(err, PROTO_ERROR_INVALID_VALUE, "uuid",
				  "is missing, or no UUID in lower case");
	definition_params(def, &p);
	r = definition_check_params(&p, err);
	for (size_t i = 0; i < definition_file_count(def) && !r; i++)
		r = check_file(def, i, err);
	return r;
}
