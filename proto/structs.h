/* SPDX-License-Identifier: MIT */
/*
 * The C side of structs.def, enums.def, methods.def: structures, enumerators, method ids.
 *
 * struct proto_<id> has, for each field, the value and bool has_<name>: decoded, it says
 * whether the client gave it (a default is filled in without it); to be encoded, it says
 * whether the value is there (required fields are always encoded). Lists are a pointer and
 * <name>_count. Strings are NUL-terminated and, like lists, belong to the arena.
 */
#ifndef PROTO_STRUCTS_H
#define PROTO_STRUCTS_H

#include "proto/fields.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTO_NAME_MAX 63
#define PROTO_BYTES_MAX (1u << 20)
#define PROTO_INPUT_MAX 65536
#define PROTO_STATS_MAX 8192
#define PROTO_TLB_ENTRIES_MAX 4096
#define PROTO_MAPPINGS_MAX 4096
#define PROTO_OPERATIONS_MAX 1024
#define PROTO_PACKED_MAX 65536 /* records of 16 bytes in PROTO_BYTES_MAX */
#define PROTO_REGISTERS_MAX 128
#define PROTO_DIRTY_BYTES_MAX (UINT64_C(32) << 30) /* a bitmap of PROTO_BYTES_MAX */

struct json_object;

/* Bulk data, base64 on the wire. */
struct proto_bytes {
	uint8_t *data;
	size_t size;
};

/* {"fd":n}: the n-th descriptor that came with the message; or {"path":"..."}. */
struct proto_file {
	const char *path; /* NULL: fd */
	uint32_t fd;
};

/* clang-format off */
#define ENUM(id, doc) enum proto_enum_##id##_values {
#define VALUE(id, name, number, text, doc) PROTO_##name = (number),
#define ENUM_END(id) };
/* clang-format on */
#include "proto/enums.def"
#undef ENUM
#undef VALUE
#undef ENUM_END

#define PROTO_C_BOOL bool
#define PROTO_C_U32 uint32_t
#define PROTO_C_U64 uint64_t
#define PROTO_C_SIZE uint64_t
#define PROTO_C_ADDR uint64_t
#define PROTO_C_NAME const char *
#define PROTO_C_STRING const char *
#define PROTO_C_BYTES struct proto_bytes
#define PROTO_C_FILE struct proto_file
#define PROTO_C_JSON struct json_object *

/* clang-format off */
#define STRUCT(id, doc) struct proto_##id {
#define END(id) bool end_of_fields; };
#define FIELD(kind, name, presence, min, max, dflt, option, unit, doc)                             \
	PROTO_C_##kind name; bool has_##name;
#define FIELD_ENUM(en, name, presence, dflt, option, doc) uint32_t name; bool has_##name;
#define FIELD_STRUCT(sub, name, presence, doc) struct proto_##sub name; bool has_##name;
#define LIST(kind, name, presence, min, max, max_count, option, unit, doc)                         \
	PROTO_C_##kind *name; size_t name##_count; bool has_##name;
#define LIST_ENUM(en, name, presence, max_count, option, doc)                                      \
	uint32_t *name; size_t name##_count; bool has_##name;
#define LIST_STRUCTS(sub, name, presence, max_count, doc)                                          \
	struct proto_##sub *name; size_t name##_count; bool has_##name;
/* clang-format on */
#include "proto/structs.def"
#undef STRUCT
#undef END
#undef FIELD
#undef FIELD_ENUM
#undef FIELD_STRUCT
#undef LIST
#undef LIST_ENUM
#undef LIST_STRUCTS

enum proto_method_id {
#define METHOD(id, name, verb, positional, role, flags, params, result, doc) PROTO_METHOD_##id,
#include "proto/methods.def"
#undef METHOD
	PROTO_METHOD_COUNT
};

enum proto_notification_id {
#define NOTIFICATION(id, name, params, doc) PROTO_NOTIFICATION_##id,
#include "proto/notifications.def"
#undef NOTIFICATION
	PROTO_NOTIFICATION_COUNT
};

/* Sets an optional or nullable field and says that it is there. */
#define PROTO_SET(s, field, value) ((s)->field = (value), (s)->has_##field = true)

#endif
