/* SPDX-License-Identifier: MIT */
/* Members of a result. All take NULL for "not there", so that views stay short. */
#ifndef HVCTL_FIELDS_H
#define HVCTL_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

#include <json-c/json.h>

/* NULL when absent or null. */
struct json_object *field_object(struct json_object *obj, const char *name);
/* NULL when absent or null or not a string. */
const char *field_string(struct json_object *obj, const char *name);
/* As field_string(), but otherwise instead of NULL. */
const char *field_text(struct json_object *obj, const char *name, const char *otherwise);
/* false when absent, null, or not a non-negative integer or a hexadecimal string. */
bool field_number(struct json_object *obj, const char *name, uint64_t *ret);
/* 0 when there is none. */
uint64_t field_count(struct json_object *obj, const char *name);
bool field_bool(struct json_object *obj, const char *name);
/* Items of a list; 0 when there is none. */
size_t field_items(struct json_object *obj, const char *name);
struct json_object *field_item(struct json_object *obj, const char *name, size_t i);

#endif
