// SPDX-License-Identifier: MIT
#include "hvctl/refused.h"

#include <errno.h>
#include <string.h>

#include "hvctl/fields.h"

/* What a person may do next, by the errno of connect(). */
static const struct {
	int err;
	const char *advice;
} connect_advice[] = {
	{ENOENT, "no daemon has made this socket: start one with 'hvd --socket PATH', or name its "
		 "socket with --socket or HVD_SOCKET"},
	{ECONNREFUSED, "the daemon that made this socket is gone: start hvd again"},
	{EACCES, "this user may not use the socket: join the group hvd-observe, hvd-operate or "
		 "hvd-admin"},
	{ENAMETOOLONG, "a socket's path has at most 107 characters"},
};

int hvctl_connect_failed(const struct hvctl_context *ctx, int err)
{
	for (size_t i = 0; i < sizeof(connect_advice) / sizeof(*connect_advice); i++) {
		if (connect_advice[i].err == -err)
			return hvctl_fail(ctx, HVCTL_NO_DAEMON, "%s: %s\n  %s", ctx->socket,
					  strerror(-err), connect_advice[i].advice);
	}
	return hvctl_fail(ctx, HVCTL_NO_DAEMON, "%s: %s", ctx->socket, strerror(-err));
}

/* A row an error kind: the exit code, and what to try next. */
static const struct {
	enum proto_error_kind kind;
	int code;
	const char *advice;
} kind_advice[] = {
	{PROTO_ERROR_UNKNOWN_METHOD, HVCTL_USAGE,
	 "'hvctl discover' lists the methods of this daemon"},
	{PROTO_ERROR_INVALID_TYPE, HVCTL_USAGE, NULL},
	{PROTO_ERROR_OUT_OF_RANGE, HVCTL_USAGE, NULL},
	{PROTO_ERROR_INVALID_VALUE, HVCTL_USAGE, NULL},
	{PROTO_ERROR_UNKNOWN_PARAMETER, HVCTL_USAGE, NULL},
	{PROTO_ERROR_MISSING_PARAMETER, HVCTL_USAGE, NULL},
	{PROTO_ERROR_NOT_FOUND, HVCTL_REFUSED,
	 "'hvctl list' names the VMs, 'hvctl slots VM' the slots of one"},
	{PROTO_ERROR_EXISTS, HVCTL_REFUSED, "take another name, or delete the old one first"},
	{PROTO_ERROR_INVALID_STATE, HVCTL_REFUSED, "'hvctl get VM' says what state it is in"},
	{PROTO_ERROR_OVERLAP, HVCTL_REFUSED,
	 "'hvctl remap' changes what is mapped; 'hvctl unmap' makes room"},
	{PROTO_ERROR_NOT_MAPPED, HVCTL_REFUSED,
	 "'hvctl map' maps it; 'hvctl slots VM' shows what is mapped"},
	{PROTO_ERROR_LIMIT, HVCTL_REFUSED, "'hvctl info' lists every limit"},
	{PROTO_ERROR_NO_MEMORY, HVCTL_REFUSED, "'hvctl info' lists every limit"},
	{PROTO_ERROR_TIMEOUT, HVCTL_TIMEOUT, NULL},
	{PROTO_ERROR_UNSUPPORTED, HVCTL_REFUSED, "'hvctl engines' says what each engine can do"},
	{PROTO_ERROR_FAULT, HVCTL_REFUSED, "'hvctl walk VM ADDRESS' shows where it ends"},
	{PROTO_ERROR_BUSY, HVCTL_REFUSED, "try again in a moment"},
};

/* "size_bytes" as hvctl calls it: its option, or its positional name. */
static const char *field_for_people(const struct proto_method *method, const char *field)
{
	const struct proto_field *f = method ? proto_field_by_name(method->params(), field) : NULL;

	return f && f->option[0] ? f->option : field;
}

/* The text behind "word" and the separator; the text itself if it begins otherwise. */
static const char *skip(const char *text, const char *word, const char *separator)
{
	size_t n = strlen(word), m = strlen(separator);

	if (!n || strncmp(text, word, n) != 0 || strncmp(text + n, separator, m) != 0)
		return text;
	return text + n + m;
}

/*
 * "memory.remap: size_bytes: size_bytes 3072 is ..." without the method, which the person
 * did not write, and with the option's name for the field.
 */
static void print_message(const struct hvctl_context *ctx, const struct proto_method *method,
			  const char *name, const char *message, const char *field)
{
	const char *text = skip(message, name, ": ");
	const char *rest = skip(text, field, ": ");

	if (rest == text)
		fprintf(ctx->err, "hvctl: %s\n", text);
	else
		fprintf(ctx->err, "hvctl: %s: %s\n", field_for_people(method, field),
			skip(rest, field, " "));
}

enum proto_error_kind hvctl_error_kind(struct json_object *error)
{
	return proto_error_kind_by_name(field_text(field_object(error, "data"), "kind", ""));
}

int hvctl_refused(const struct hvctl_context *ctx, const struct proto_method *method,
		  const char *name, struct json_object *error)
{
	struct json_object *data = field_object(error, "data");
	enum proto_error_kind kind = hvctl_error_kind(error);
	const char *message = field_string(error, "message");
	const char *field = field_string(data, "field");
	const char *advice = NULL;
	int code = HVCTL_REFUSED;

	for (size_t i = 0; i < sizeof(kind_advice) / sizeof(*kind_advice); i++) {
		if (kind_advice[i].kind != kind)
			continue;
		code = kind_advice[i].code;
		advice = kind_advice[i].advice;
	}
	if (ctx->json) {
		fprintf(ctx->err, "%s\n", proto_json_text(error, NULL));
		return code;
	}
	print_message(ctx, method, name, message ? message : "refused without a message",
		      field ? field : "");
	if (advice)
		fprintf(ctx->err, "  %s\n", advice);
	return code;
}
