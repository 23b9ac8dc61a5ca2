// SPDX-License-Identifier: MIT
/* The descriptors, from the tables. */
#include "proto/proto.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* clang-format off */
#define ENUM(id, doc) static const struct proto_enum_value values_##id[] = {
#define VALUE(id, name_, number_, text, doc_) {.name = text, .doc = doc_, .number = (number_)},
#define ENUM_END(id) };
#include "proto/enums.def"
#undef ENUM
#undef VALUE
#undef ENUM_END

#define ENUM(id_, doc_)                                                                            \
	const struct proto_enum proto_enum_##id_ = {                                               \
		.id = #id_, .doc = doc_, .values = values_##id_, .count = COUNT(values_##id_)};
#define VALUE(id, name, number, text, doc)
#define ENUM_END(id)
#include "proto/enums.def"
#undef ENUM
#undef VALUE
#undef ENUM_END

#define COMMON(name_, doc_, presence_)                                                             \
	.name = #name_, .doc = doc_, .presence = PROTO_##presence_,                                \
	.offset = offsetof(THIS, name_), .has_offset = offsetof(THIS, has_##name_)
#define LISTED(name_, max_)                                                                        \
	.list = true, .count_offset = offsetof(THIS, name_##_count), .max_count = (max_),          \
	.size = sizeof(*((THIS *)0)->name_)
#define SINGLE(name_) .size = sizeof(((THIS *)0)->name_)

#define STRUCT(id, doc_)                                                                           \
	const struct proto_struct *proto_desc_##id(void)                                           \
	{                                                                                          \
		typedef struct proto_##id THIS;                                                    \
		static const char doc[] = doc_;                                                    \
		static const struct proto_field fields[] = {
#define FIELD(kind, name_, presence_, min_, max_, dflt_, option_, unit_, doc_)                     \
	{COMMON(name_, doc_, presence_), SINGLE(name_), .type = PROTO_##kind, .min = (min_),       \
	 .max = (max_), .dflt = (dflt_), .option = option_, .unit = unit_},
#define FIELD_ENUM(en_, name_, presence_, dflt_, option_, doc_)                                    \
	{COMMON(name_, doc_, presence_), SINGLE(name_), .type = PROTO_ENUM, .dflt = (dflt_),       \
	 .en = &proto_enum_##en_, .option = option_, .unit = ""},
#define FIELD_STRUCT(sub_, name_, presence_, doc_)                                                 \
	{COMMON(name_, doc_, presence_), SINGLE(name_), .type = PROTO_STRUCT,                      \
	 .sub = proto_desc_##sub_, .option = "", .unit = ""},
#define LIST(kind, name_, presence_, min_, max_, max_count_, option_, unit_, doc_)                 \
	{COMMON(name_, doc_, presence_), LISTED(name_, max_count_), .type = PROTO_##kind,          \
	 .min = (min_), .max = (max_), .option = option_, .unit = unit_},
#define LIST_ENUM(en_, name_, presence_, max_count_, option_, doc_)                                \
	{COMMON(name_, doc_, presence_), LISTED(name_, max_count_), .type = PROTO_ENUM,            \
	 .en = &proto_enum_##en_, .option = option_, .unit = ""},
#define LIST_STRUCTS(sub_, name_, presence_, max_count_, doc_)                                     \
	{COMMON(name_, doc_, presence_), LISTED(name_, max_count_), .type = PROTO_STRUCT,          \
	 .sub = proto_desc_##sub_, .option = "", .unit = ""},
#define END(id_)                                                                                   \
		{.name = NULL} };                                                                  \
		static const struct proto_struct desc = {.id = #id_, .doc = doc, .fields = fields, \
			.count = COUNT(fields) - 1, .size = sizeof(THIS)};                         \
		return &desc;                                                                      \
	}
#include "proto/structs.def"
#undef STRUCT
#undef FIELD
#undef FIELD_ENUM
#undef FIELD_STRUCT
#undef LIST
#undef LIST_ENUM
#undef LIST_STRUCTS
#undef END

#define STRUCT(id, doc) proto_desc_##id,
#define FIELD(kind, name, presence, min, max, dflt, option, unit, doc)
#define FIELD_ENUM(en, name, presence, dflt, option, doc)
#define FIELD_STRUCT(sub, name, presence, doc)
#define LIST(kind, name, presence, min, max, max_count, option, unit, doc)
#define LIST_ENUM(en, name, presence, max_count, option, doc)
#define LIST_STRUCTS(sub, name, presence, max_count, doc)
#define END(id)
proto_desc_fn *const proto_structs[] = {
#include "proto/structs.def"
	NULL
};

#define ENUM(id, doc) &proto_enum_##id,
#define VALUE(id, name, number, text, doc)
#define ENUM_END(id)
const struct proto_enum *const proto_enums[] = {
#include "proto/enums.def"
	NULL
};
/* clang-format on */

const struct proto_method proto_methods[PROTO_METHOD_COUNT] = {
#define METHOD(id_, name_, verb_, positional_, role_, flags_, params_, result_, doc_) \
	[PROTO_METHOD_##id_] = {.id = PROTO_METHOD_##id_,                             \
				.name = name_,                                        \
				.verb = verb_,                                        \
				.positional = positional_,                            \
				.doc = doc_,                                          \
				.role = PROTO_ROLE_##role_,                           \
				.flags = flags_,                                      \
				.params = proto_desc_##params_,                       \
				.result = proto_desc_##result_},
#include "proto/methods.def"
#undef METHOD
};

const struct proto_notification proto_notifications[PROTO_NOTIFICATION_COUNT] = {
#define NOTIFICATION(id_, name_, params_, doc_) \
	[PROTO_NOTIFICATION_##id_] = {.name = name_, .doc = doc_, .params = proto_desc_##params_},
#include "proto/notifications.def"
#undef NOTIFICATION
};

/* The methods, ordered by name. */
static const struct proto_method *by_name[PROTO_METHOD_COUNT];
static pthread_once_t sorted = PTHREAD_ONCE_INIT;

static int compare_names(const void *a, const void *b)
{
	const struct proto_method *const *m = a, *const *n = b;

	return strcmp((*m)->name, (*n)->name);
}

static void sort_methods(void)
{
	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++)
		by_name[i] = &proto_methods[i];
	qsort(by_name, PROTO_METHOD_COUNT, sizeof(by_name[0]), compare_names);
}

const struct proto_method *proto_method_by_name(const char *name)
{
	size_t low = 0, high = PROTO_METHOD_COUNT;

	pthread_once(&sorted, sort_methods);
	while (low < high) {
		const size_t mid = low + (high - low) / 2;
		const int order = strcmp(by_name[mid]->name, name);

		if (!order)
			return by_name[mid];
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

const struct proto_method *proto_method_by_verb(const char *verb)
{
	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++)
		if (*verb && !strcmp(proto_methods[i].verb, verb))
			return &proto_methods[i];
	return NULL;
}

const struct proto_field *proto_field_by_name(const struct proto_struct *desc, const char *name)
{
	for (size_t i = 0; i < desc->count; i++)
		if (!strcmp(desc->fields[i].name, name))
			return &desc->fields[i];
	return NULL;
}

const struct proto_field *proto_field_by_option(const struct proto_struct *desc, const char *option)
{
	for (size_t i = 0; i < desc->count; i++)
		if (*option && !strcmp(desc->fields[i].option, option))
			return &desc->fields[i];
	return NULL;
}

static bool same_kind(const struct proto_field *a, const struct proto_field *b)
{
	return a->type == b->type && a->list == b->list && a->size == b->size && a->en == b->en &&
	       a->sub == b->sub;
}

void proto_copy_fields(const struct proto_struct *to, void *out, const struct proto_struct *from,
		       const void *in, bool keep)
{
	for (size_t i = 0; i < to->count; i++) {
		const struct proto_field *t = &to->fields[i];
		const struct proto_field *f = proto_field_by_name(from, t->name);
		unsigned char *o = out;
		const unsigned char *v = in;

		if (!f || !same_kind(t, f) || (keep && *(bool *)(o + t->has_offset)))
			continue;
		if (t->list) {
			*(void **)(o + t->offset) = *(void *const *)(v + f->offset);
			memcpy(o + t->count_offset, v + f->count_offset, sizeof(size_t));
		} else {
			memcpy(o + t->offset, v + f->offset, t->size);
		}
		memcpy(o + t->has_offset, v + f->has_offset, sizeof(bool));
	}
}

bool proto_is_positional(const struct proto_method *m, const struct proto_field *f)
{
	const size_t len = strlen(f->name);

	for (const char *p = m->positional; *p; p += strspn(p, " ")) {
		const size_t word = strcspn(p, " ");

		if (word == len && !strncmp(p, f->name, len))
			return true;
		p += word;
	}
	return false;
}

bool proto_has_option(const struct proto_method *m, const struct proto_field *f)
{
	return f->option[0] != '\0' && !proto_is_positional(m, f);
}

const char *proto_enum_name(const struct proto_enum *en, uint32_t number)
{
	for (size_t i = 0; i < en->count; i++)
		if (en->values[i].number == number)
			return en->values[i].name;
	return NULL;
}

int proto_enum_number(const struct proto_enum *en, const char *name, uint32_t *ret)
{
	for (size_t i = 0; i < en->count; i++) {
		if (!strcmp(en->values[i].name, name)) {
			*ret = en->values[i].number;
			return 0;
		}
	}
	return -EINVAL;
}
