// SPDX-License-Identifier: MIT
/* Prints docs/api.md from the tables. */
#include "proto/proto.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_type(const struct proto_field *f)
{
	static const char *const names[PROTO_TYPE_COUNT] = {
		[PROTO_BOOL] = "boolean",  [PROTO_U32] = "integer",  [PROTO_U64] = "integer",
		[PROTO_SIZE] = "integer",  [PROTO_ADDR] = "address", [PROTO_NAME] = "name",
		[PROTO_STRING] = "string", [PROTO_BYTES] = "base64", [PROTO_FILE] = "file",
		[PROTO_JSON] = "JSON",
	};

	if (f->list)
		printf("list of ");
	if (f->type == PROTO_ENUM)
		printf("[%s](#values-%s)", f->en->id, f->en->id);
	else if (f->type == PROTO_STRUCT)
		printf("[%s](#object-%s)", f->sub()->id, f->sub()->id);
	else
		printf("%s", names[f->type]);
	if (f->presence == PROTO_NULLABLE)
		printf(" or null");
	if (*f->unit)
		printf(", %s", f->unit);
}

static void print_presence(const struct proto_field *f)
{
	if (f->presence == PROTO_REQUIRED)
		printf("required");
	else if (f->presence == PROTO_OPTIONAL || f->list)
		printf("optional");
	else if (f->type == PROTO_BOOL)
		printf("default %s", f->dflt ? "true" : "false");
	else if (f->type == PROTO_ENUM)
		printf("default %s", proto_enum_name(f->en, (uint32_t)f->dflt));
	else if (f->type == PROTO_STRING)
		printf("default \"\"");
	else
		printf("default %" PRIu64, f->dflt);
}

static void print_limit(const struct proto_field *f)
{
	if (f->list)
		printf("at most %zu", f->max_count);
	else if (f->type == PROTO_STRING || f->type == PROTO_BYTES)
		printf("at most %" PRIu64 " bytes", f->max);
	else if (f->max && (f->max != UINT64_MAX || f->min) && f->type != PROTO_BOOL &&
		 f->type != PROTO_NAME && f->type != PROTO_ADDR)
		printf("%" PRIu64 " to %" PRIu64, f->min, f->max);
}

static void print_params(const struct proto_method *m)
{
	const struct proto_struct *desc = m->params();

	if (!desc->count) {
		printf("No parameters.\n\n");
		return;
	}
	printf("| parameter | hvctl | type | presence | limits | |\n|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < desc->count; i++) {
		const struct proto_field *f = &desc->fields[i];

		printf("| %s | ", f->name);
		if (*m->verb && proto_is_positional(m, f))
			printf("positional");
		else if (*m->verb && *f->option)
			printf("`--%s`", f->option);
		printf(" | ");
		print_type(f);
		printf(" | ");
		print_presence(f);
		printf(" | ");
		print_limit(f);
		printf(" | %s |\n", f->doc);
	}
	printf("\n");
}

static void print_methods(void)
{
	printf("## Methods\n\n| method | hvctl | role | |\n|---|---|---|---|\n");
	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++) {
		const struct proto_method *m = &proto_methods[i];

		printf("| %s | %s%s%s | %s | %s |\n", m->name, *m->verb ? "`" : "", m->verb,
		       *m->verb ? "`" : "", proto_enum_name(&proto_enum_role, m->role), m->doc);
	}
	printf("\n");
	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++) {
		const struct proto_method *m = &proto_methods[i];

		printf("### %s\n\n%s\n\n", m->name, m->doc);
		print_params(m);
		printf("Result: [%s](#object-%s), %s.\n\n", m->result()->id, m->result()->id,
		       m->result()->doc);
	}
}

static void print_notifications(void)
{
	printf("## Notifications\n\nThe daemon sends them by itself, without id, between replies: "
	       "`{\"jsonrpc\":\"2.0\",\"method\":...,\"params\":{...}}`.\n\n"
	       "| notification | params | |\n|---|---|---|\n");
	for (size_t i = 0; i < PROTO_NOTIFICATION_COUNT; i++) {
		const struct proto_notification *n = &proto_notifications[i];

		printf("| %s | [%s](#object-%s) | %s |\n", n->name, n->params()->id,
		       n->params()->id, n->doc);
	}
	printf("\n");
}

static bool is_params(const struct proto_struct *desc)
{
	bool params = false, result = false;

	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++) {
		params |= proto_methods[i].params() == desc;
		result |= proto_methods[i].result() == desc;
	}
	return params && !result;
}

static void print_objects(void)
{
	printf("## Objects\n\n");
	for (size_t i = 0; proto_structs[i]; i++) {
		const struct proto_struct *desc = proto_structs[i]();

		if (is_params(desc) || !desc->count)
			continue;
		printf("### Object %s\n\n%s.\n\n| member | type | |\n|---|---|---|\n", desc->id,
		       desc->doc);
		for (size_t k = 0; k < desc->count; k++) {
			const struct proto_field *f = &desc->fields[k];

			printf("| %s%s | ", f->name,
			       f->presence == PROTO_OPTIONAL ? " (may be absent)" : "");
			print_type(f);
			printf(" | %s |\n", f->doc);
		}
		printf("\n");
	}
}

static void print_enums(void)
{
	printf("## Values\n\n");
	for (size_t i = 0; proto_enums[i]; i++) {
		const struct proto_enum *en = proto_enums[i];

		printf("### Values %s\n\n%s.\n\n| value | |\n|---|---|\n", en->id, en->doc);
		for (size_t k = 0; k < en->count; k++)
			printf("| `%s` | %s |\n", en->values[k].name, en->values[k].doc);
		printf("\n");
	}
}

static void print_errors(void)
{
	printf("## Errors\n\n"
	       "An error has `code`, `message` (`METHOD: field: text`) and `data`: `kind`; "
	       "`field`, "
	       "the parameter that is wrong;\n`limit`; `requested` and `existing`, each the first "
	       "and last address of a range; `slot`, of the existing\nmapping; `libvirt`, the "
	       "nearest virErrorNumber. Programs go by `kind`.\n\n"
	       "| kind | code | libvirt | |\n|---|---|---|---|\n");
	for (size_t i = 0; i < PROTO_ERROR_COUNT; i++)
		printf("| %s | %d | %d | %s |\n", proto_error_info[i].name,
		       proto_error_info[i].code, proto_error_info[i].libvirt,
		       proto_error_info[i].doc);
}

int main(void)
{
	printf("# The API of hvd\n\n"
	       "<!-- Printed by proto_gen_docs from proto/*.def; a test compares. -->\n\n"
	       "JSON-RPC 2.0 over a Unix stream socket (default `%s`), one message a line.\n\n"
	       "- Parameters are given by name. An unknown one is refused, as is a key given "
	       "twice, and anything that is not valid UTF-8.\n"
	       "- An *address* is a string `\"0x...\"`; sizes and counters are integers, exact to "
	       "64 bits; bulk data is *base64*, at most %u bytes a call.\n"
	       "- A *name* is 1 to %u letters, digits, `_`, `.` and `-`, and begins with a letter "
	       "or digit.\n"
	       "- A *file* is `{\"fd\":n}`, the n-th descriptor sent with the message "
	       "(SCM_RIGHTS), "
	       "or `{\"path\":\"...\"}`, which the daemon opens only for a client with its own "
	       "uid. Send a message that carries descriptors by a sendmsg() of its own; they "
	       "belong to the message that holds the last byte of what they came with.\n"
	       "- Requests of a connection are done one after the other and answered in order, "
	       "but for vm.wait, whose reply may come late, and request.cancel, which is carried "
	       "out and answered as soon as it is read. A request without id gets no reply.\n"
	       "- A batch is an array of at most %u requests; its replies come as one array. In "
	       "it, request.cancel has its place like any other.\n"
	       "- What can take long has the parameter *progress*, and tells of it if the request "
	       "has an id and is not of a batch.\n"
	       "- What an engine can't observe is null, never 0.\n"
	       "- A message has at most %u bytes, %u values, %u levels and %u descriptors; "
	       "daemon.info lists every limit.\n\n",
	       PROTO_SOCKET_DEFAULT, (unsigned)PROTO_BYTES_MAX, (unsigned)PROTO_NAME_MAX,
	       (unsigned)PROTO_BATCH_MAX, (unsigned)PROTO_MESSAGE_MAX, (unsigned)PROTO_VALUES_MAX,
	       (unsigned)PROTO_DEPTH_MAX, (unsigned)PROTO_FDS_MAX);
	print_methods();
	print_notifications();
	print_objects();
	print_enums();
	print_errors();
	return 0;
}
