// SPDX-License-Identifier: MIT
/* What the daemon says: replies to the requests they belong to, notifications to who wants them. */
#include "libhvd/internal.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAMER_KEPT (1u << 20) /* bytes of a buffer that is kept though it is empty */

/* --- errors ------------------------------------------------------------------------------ */

/* Whatever it quotes must not carry control characters into a terminal. */
static void copy_printable(char *to, size_t size, const char *from)
{
	size_t i;

	for (i = 0; i + 1 < size && from[i]; i++)
		to[i] = (char)(from[i] < 0x20 || from[i] > 0x7e ? '?' : from[i]);
	to[i] = '\0';
}

int message_fail(struct hvd_error *err, int status, const char *fmt, ...)
{
	char text[HVD_TEXT_SIZE];
	va_list ap;

	if (!err)
		return status;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	memset(err, 0, sizeof(*err));
	copy_printable(err->text, sizeof(err->text), text);
	return status;
}

int message_fail_errno(struct hvd_error *err, int status, const char *what)
{
	char buf[128];

	/* glibc's: it may return a text of its own instead of filling buf */
	return message_fail(err, status, "%s: %s", what, strerror_r(-status, buf, sizeof(buf)));
}

static const char *string_member(struct json_object *obj, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(obj, key, &v) && json_object_is_type(v, json_type_string)
		       ? json_object_get_string(v)
		       : "";
}

/* A refusal as the daemon sent it; what is missing in it or of another type is left empty. */
static void read_error(struct json_object *error, struct hvd_error *ret)
{
	struct json_object *data = NULL, *v;

	memset(ret, 0, sizeof(*ret));
	if (json_object_object_get_ex(error, "code", &v) && json_object_is_type(v, json_type_int))
		ret->code = json_object_get_int(v);
	if (!ret->code)
		ret->code = proto_error_info[PROTO_ERROR_INTERNAL].code;
	copy_printable(ret->text, sizeof(ret->text), string_member(error, "message"));
	json_object_object_get_ex(error, "data", &data);
	if (!json_object_is_type(data, json_type_object))
		return;
	copy_printable(ret->kind, sizeof(ret->kind), string_member(data, "kind"));
	copy_printable(ret->field, sizeof(ret->field), string_member(data, "field"));
	if (json_object_object_get_ex(data, "limit", &v) && json_object_is_type(v, json_type_int)) {
		ret->has_limit = true;
		ret->limit = json_object_get_uint64(v);
	}
}

static void set_error_object(struct hvd_client *client, struct json_object *error)
{
	json_object_put(client->error);
	client->error = json_object_get(error);
}

int message_read_reply(struct hvd_client *client, struct json_object *reply,
		       struct json_object **ret_result, struct hvd_error *err)
{
	struct json_object *error;

	if (json_object_object_get_ex(reply, "result", ret_result))
		return 0;
	json_object_object_get_ex(reply, "error", &error);
	set_error_object(client, error);
	if (err)
		read_error(error, err);
	return -EREMOTEIO;
}

/* --- requests ----------------------------------------------------------------------------- */

/* Replies come mostly in order: it is near the front. */
struct pending **message_find(struct hvd_client *client, uint64_t id)
{
	struct pending **link = &client->pending;

	while (*link && (*link)->id != id)
		link = &(*link)->next;
	return link;
}

void message_forget(struct hvd_client *client, struct pending **link)
{
	struct pending *p = *link;

	*link = p->next;
	if (client->pending_end == &p->next)
		client->pending_end = link;
	if (p->reply)
		client->kept_bytes -= p->reply_bytes;
	else
		client->outstanding--;
	json_object_put(p->reply);
	free(p);
}

static void call_reply(struct hvd_client *client, const struct pending *p, int status,
		       struct json_object *result, const struct hvd_error *err)
{
	client->calling = true;
	p->fn(p->ctx, status, result, err);
	client->calling = false;
}

static void end_request(struct hvd_client *client, struct pending **link, int status,
			struct json_object *result, const struct hvd_error *err)
{
	const struct pending p = **link;

	message_forget(client, link);
	call_reply(client, &p, status, result, status ? err : NULL);
}

static struct pending **first_with_callback(struct hvd_client *client)
{
	struct pending **link = &client->pending;

	while (*link && !(*link)->fn)
		link = &(*link)->next;
	return link;
}

void message_break(struct hvd_client *client, int status)
{
	struct pending **link;

	if (!client->ended)
		client->ended = status;
	client->broken = status;
	while (*(link = first_with_callback(client)))
		end_request(client, link, status, NULL, &client->broken_error);
}

/* What was sent is no reply: nothing that follows can be trusted. */
static void nonsense(struct hvd_client *client, const char *what)
{
	message_fail(&client->broken_error, -EBADMSG, "not understood: %s", what);
	message_break(client, -EBADMSG);
}

/* --- what comes ----------------------------------------------------------------------------- */

static int keep_notification(struct hvd_client *client, struct json_object *message, size_t bytes)
{
	struct kept *k = malloc(sizeof(*k));

	if (!k)
		return -ENOMEM;
	*k = (struct kept){.message = json_object_get(message), .bytes = bytes};
	*client->kept_end = k;
	client->kept_end = &k->next;
	client->kept_bytes += bytes;
	return 0;
}

static void call_notify(struct hvd_client *client, struct json_object *message)
{
	struct json_object *params = NULL;

	json_object_object_get_ex(message, "params", &params);
	client->calling = true;
	client->notify(client->notify_ctx, string_member(message, "method"), params);
	client->calling = false;
}

static void notification(struct hvd_client *client, struct json_object *message, size_t bytes)
{
	struct json_object *v;

	if (!*string_member(message, "method") || json_object_object_get_ex(message, "id", &v) ||
	    !json_object_object_get_ex(message, "params", &v) ||
	    !json_object_is_type(v, json_type_object)) {
		nonsense(client, "a notification without its members");
		return;
	}
	if (client->notify) {
		call_notify(client, message);
		return;
	}
	if (keep_notification(client, message, bytes)) {
		message_fail_errno(&client->broken_error, -ENOMEM, "a notification");
		message_break(client, -ENOMEM);
	}
}

/* Of no request: it was the connection, or a message that could not be read. */
static void refused_altogether(struct hvd_client *client, struct json_object *error)
{
	set_error_object(client, error);
	read_error(error, &client->broken_error);
	message_break(client, -EREMOTEIO);
}

static void reply(struct hvd_client *client, struct json_object *message, size_t bytes)
{
	struct json_object *id = NULL, *result = NULL, *error = NULL;
	const bool has_id = json_object_object_get_ex(message, "id", &id);
	const bool has_result = json_object_object_get_ex(message, "result", &result);
	const bool has_error = json_object_object_get_ex(message, "error", &error);
	struct pending **link;
	struct hvd_error err;
	int status;

	if (!has_id || has_result == has_error ||
	    (has_error && !json_object_is_type(error, json_type_object))) {
		nonsense(client, "a reply has an id, and either a result or an error");
		return;
	}
	if (!id && has_error) {
		refused_altogether(client, error);
		return;
	}
	link = json_object_is_type(id, json_type_int)
		       ? message_find(client, json_object_get_uint64(id))
		       : NULL;
	if (!link || !*link || (*link)->reply) {
		nonsense(client, "a reply to no request of ours");
		return;
	}
	if (!(*link)->fn) {
		if ((*link)->id == client->awaited)
			client->awaited = 0;
		(*link)->reply = json_object_get(message);
		(*link)->reply_bytes = bytes;
		client->kept_bytes += bytes;
		client->outstanding--;
		return;
	}
	status = message_read_reply(client, message, &result, &err);
	end_request(client, link, status, result, &err);
}

static void handle_line(struct hvd_client *client, const char *line, size_t len)
{
	struct json_object *message = NULL, *v;
	struct proto_error bad;
	int r = proto_json_parse_reply(line, len, &message, &bad);

	if (r == -ENOMEM) {
		message_fail_errno(&client->broken_error, r, "a message");
		message_break(client, r);
	} else if (r) {
		nonsense(client, bad.text);
	} else if (!json_object_is_type(message, json_type_object) ||
		   strcmp(string_member(message, "jsonrpc"), "2.0") != 0) {
		nonsense(client, "a message that is not JSON-RPC 2.0");
	} else if (json_object_object_get_ex(message, "method", &v)) {
		notification(client, message, len + 1);
	} else {
		reply(client, message, len + 1);
	}
	json_object_put(message);
}

/* A callback was set when some were kept already: they are first. */
static int give_kept(struct hvd_client *client)
{
	int n = 0;

	while (client->notify && client->kept) {
		struct kept *k = client->kept;

		client->kept = k->next;
		if (!k->next)
			client->kept_end = &client->kept;
		client->kept_bytes -= k->bytes;
		call_notify(client, k->message);
		json_object_put(k->message);
		free(k);
		n++;
	}
	return n;
}

static void end_of_stream(struct hvd_client *client)
{
	if (client->ended == -ECONNRESET)
		message_fail(&client->broken_error, -ECONNRESET,
			     "the daemon closed the connection");
	else if (client->ended == -ENOBUFS)
		message_fail(&client->broken_error, -ENOBUFS,
			     "more was received than may be held (%zu bytes)", client->held_max);
	else
		message_fail_errno(&client->broken_error, client->ended, "the connection");
	message_break(client, client->ended);
}

int message_handle_all(struct hvd_client *client)
{
	const uint64_t awaited = client->awaited;
	int n = give_kept(client);
	size_t len;
	char *line;

	while (!client->broken && client->awaited == awaited) {
		if (proto_framer_next(&client->in, &line, &len))
			break;
		handle_line(client, line, len);
		n++;
	}
	if (client->ended && !client->broken && client->awaited == awaited)
		end_of_stream(client);
	if (!proto_framer_held(&client->in) && client->in.size > FRAMER_KEPT)
		proto_framer_free(&client->in);
	return n;
}
