// SPDX-License-Identifier: MIT
#include "hvctl/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hvctl/fields.h"

struct hvctl_client {
	const struct hvctl_context *ctx;
	struct proto_framer framer;
	uint64_t next_id;
	int fd;
};

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

static int connect_failed(const struct hvctl_context *ctx, int err)
{
	for (size_t i = 0; i < sizeof(connect_advice) / sizeof(*connect_advice); i++) {
		if (connect_advice[i].err == -err)
			return hvctl_fail(ctx, HVCTL_NO_DAEMON, "%s: %s\n  %s", ctx->socket,
					  strerror(-err), connect_advice[i].advice);
	}
	return hvctl_fail(ctx, HVCTL_NO_DAEMON, "%s: %s", ctx->socket, strerror(-err));
}

int hvctl_connect(const struct hvctl_context *ctx, struct hvctl_client **ret)
{
	struct hvctl_client *client;
	int fd = proto_connect(ctx->socket);

	if (fd < 0)
		return connect_failed(ctx, fd);
	client = calloc(1, sizeof(*client));
	if (!client) {
		close(fd);
		return hvctl_fail(ctx, HVCTL_LOCAL, "out of memory");
	}
	client->ctx = ctx;
	client->fd = fd;
	client->next_id = 1;
	client->framer.limit = SIZE_MAX;
	*ret = client;
	return HVCTL_OK;
}

void hvctl_disconnect(struct hvctl_client *client)
{
	if (!client)
		return;
	close(client->fd);
	proto_framer_free(&client->framer);
	free(client);
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
static void print_message(const struct hvctl_client *client, const struct proto_method *method,
			  const char *name, const char *message, const char *field)
{
	const char *text = skip(message, name, ": ");
	const char *rest = skip(text, field, ": ");

	if (rest == text)
		fprintf(client->ctx->err, "hvctl: %s\n", text);
	else
		fprintf(client->ctx->err, "hvctl: %s: %s\n", field_for_people(method, field),
			skip(rest, field, " "));
}

static int refused(const struct hvctl_client *client, const struct proto_method *method,
		   const char *name, struct json_object *error)
{
	struct json_object *data = field_object(error, "data");
	const char *kind_name = field_string(data, "kind");
	enum proto_error_kind kind = proto_error_kind_by_name(kind_name ? kind_name : "");
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
	if (client->ctx->json) {
		fprintf(client->ctx->err, "%s\n", proto_json_text(error, NULL));
		return code;
	}
	print_message(client, method, name, message ? message : "refused without a message",
		      field ? field : "");
	if (advice)
		fprintf(client->ctx->err, "  %s\n", advice);
	return code;
}

static struct json_object *build_request(struct hvctl_client *client, const char *name,
					 struct json_object *params)
{
	struct json_object *request = json_object_new_object();

	if (!request)
		return NULL;
	json_object_object_add(request, "jsonrpc", json_object_new_string("2.0"));
	json_object_object_add(request, "id", json_object_new_uint64(client->next_id));
	json_object_object_add(request, "method", json_object_new_string(name));
	if (params)
		json_object_object_add(request, "params", json_object_get(params));
	return request;
}

/* The reply to the request just sent; notifications in between are not for us. */
static int receive_reply(struct hvctl_client *client, struct json_object **ret)
{
	struct json_object *reply = NULL;
	struct json_object *id;

	for (;;) {
		struct proto_error bad = {0};
		char *line;
		size_t len;
		int err = proto_recv_line(client->fd, &client->framer, &line, &len);

		if (err)
			return hvctl_fail(client->ctx, HVCTL_NO_DAEMON,
					  "the daemon closed the connection: %s", strerror(-err));
		if (proto_json_parse_reply(line, len, &reply, &bad))
			return hvctl_fail(client->ctx, HVCTL_NO_DAEMON, "the daemon's reply: %s",
					  bad.text);
		if (json_object_object_get_ex(reply, "id", &id))
			break;
		json_object_put(reply);
	}
	*ret = reply;
	return HVCTL_OK;
}

static int send_request(struct hvctl_client *client, const char *name, struct json_object *params,
			const int *fds, size_t fd_count)
{
	struct json_object *request = build_request(client, name, params);
	const char *text;
	size_t len;
	int err;

	if (!request)
		return hvctl_fail(client->ctx, HVCTL_LOCAL, "out of memory");
	text = proto_json_text(request, &len);
	err = proto_send_line(client->fd, text, len, fds, fd_count);
	json_object_put(request);
	client->next_id++;
	/* A daemon that turns a client away says why before it hangs up: that is still read. */
	if (err && err != -EPIPE && err != -ECONNRESET)
		return hvctl_fail(client->ctx, HVCTL_NO_DAEMON, "sending to the daemon: %s",
				  strerror(-err));
	return HVCTL_OK;
}

int hvctl_request(struct hvctl_client *client, const struct proto_method *method, const char *name,
		  struct json_object *params, const int *fds, size_t fd_count,
		  struct json_object **ret_result)
{
	struct json_object *reply = NULL, *member;
	int code = send_request(client, name, params, fds, fd_count);

	if (!code)
		code = receive_reply(client, &reply);
	if (code)
		return code;
	if (json_object_object_get_ex(reply, "result", &member))
		*ret_result = json_object_get(member);
	else if (json_object_object_get_ex(reply, "error", &member))
		code = refused(client, method, name, member);
	else
		code = hvctl_fail(client->ctx, HVCTL_NO_DAEMON,
				  "the daemon's reply has neither result nor error");
	json_object_put(reply);
	return code;
}

int hvctl_request_params(struct hvctl_call *call, enum proto_method_id id, const void *params,
			 struct json_object **ret_result)
{
	const struct proto_method *method = &proto_methods[id];
	struct json_object *json = proto_encode_params(method->params(), params);
	bool own = id == call->method->id; /* descriptors belong to the verb's own request */
	int code;

	if (!json)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "out of memory");
	code = hvctl_request(call->client, method, method->name, json, own ? call->fds : NULL,
			     own ? call->fd_count : 0, ret_result);
	json_object_put(json);
	return code;
}
