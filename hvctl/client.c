// SPDX-License-Identifier: MIT
#include "hvctl/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hvctl/progress.h"
#include "hvctl/refused.h"
#include "hvctl/signals.h"

#define READ_BYTES 65536

struct hvctl_client {
	const struct hvctl_context *ctx;
	struct proto_framer framer;
	hvctl_notify_fn *notify;
	void *notify_arg;
	/* the request that is waited for; 0: none, ids begin at 1 */
	uint64_t id, cancel_id, next_id;
	struct json_object *reply;
	bool cancel_refused;
	enum proto_error_kind expected;
	struct {
		uint64_t id;
		const struct proto_method *method;
		hvctl_later_fn *fn;
		void *arg;
	} later;
	int fd;
};

int hvctl_connect(const struct hvctl_context *ctx, struct hvctl_client **ret)
{
	struct hvctl_client *client;
	int fd = proto_connect(ctx->socket);

	if (fd < 0)
		return hvctl_connect_failed(ctx, fd);
	client = calloc(1, sizeof(*client));
	if (!client) {
		close(fd);
		return hvctl_fail(ctx, HVCTL_LOCAL, "out of memory");
	}
	client->ctx = ctx;
	client->fd = fd;
	client->next_id = 1;
	client->expected = PROTO_ERROR_COUNT;
	client->framer.limit = SIZE_MAX;
	*ret = client;
	return HVCTL_OK;
}

void hvctl_disconnect(struct hvctl_client *client)
{
	if (!client)
		return;
	close(client->fd);
	json_object_put(client->reply);
	proto_framer_free(&client->framer);
	free(client);
}

/* --- out ------------------------------------------------------------------------------ */

static struct json_object *build_request(uint64_t id, const char *name, struct json_object *params)
{
	struct json_object *request = json_object_new_object();

	if (!request)
		return NULL;
	json_object_object_add(request, "jsonrpc", json_object_new_string("2.0"));
	json_object_object_add(request, "id", json_object_new_uint64(id));
	json_object_object_add(request, "method", json_object_new_string(name));
	if (params)
		json_object_object_add(request, "params", json_object_get(params));
	return request;
}

static int send_request(struct hvctl_client *client, const char *name, struct json_object *params,
			const int *fds, size_t fd_count, uint64_t *ret_id)
{
	uint64_t id = client->next_id++;
	struct json_object *request = build_request(id, name, params);
	const char *text;
	size_t len;
	int err;

	if (!request)
		return hvctl_fail(client->ctx, HVCTL_LOCAL, "out of memory");
	text = proto_json_text(request, &len);
	err = proto_send_line(client->fd, text, len, fds, fd_count);
	json_object_put(request);
	/* A daemon that turns a client away says why before it hangs up: that is still read. */
	if (err && err != -EPIPE && err != -ECONNRESET)
		return hvctl_fail(client->ctx, HVCTL_NO_DAEMON, "sending to the daemon: %s",
				  strerror(-err));
	*ret_id = id;
	return HVCTL_OK;
}

/* Once a request: a second Ctrl-C ends the process. */
static int ask_to_cancel(struct hvctl_client *client)
{
	struct json_object *params = json_object_new_object();
	int code;

	if (!params)
		return hvctl_fail(client->ctx, HVCTL_LOCAL, "out of memory");
	json_object_object_add(params, "id", json_object_new_uint64(client->id));
	code = send_request(client, proto_methods[PROTO_METHOD_request_cancel].name, params, NULL,
			    0, &client->cancel_id);
	json_object_put(params);
	return code;
}

/* --- in ------------------------------------------------------------------------------- */

/* An exit code, after a message unless it is HVCTL_OK; *ret_result, to be put, with that. */
static int take_result(struct hvctl_client *client, const struct proto_method *method,
		       const char *name, struct json_object *reply, struct json_object **ret_result)
{
	struct json_object *member;
	int code;

	if (json_object_object_get_ex(reply, "result", &member)) {
		*ret_result = json_object_get(member);
		return HVCTL_OK;
	}
	if (!json_object_object_get_ex(reply, "error", &member))
		return hvctl_fail(client->ctx, HVCTL_NO_DAEMON,
				  "the daemon's reply has neither result nor error");
	if (client->expected != PROTO_ERROR_COUNT && hvctl_error_kind(member) == client->expected)
		return HVCTL_EXPECTED;
	if (!client->cancel_id || hvctl_error_kind(member) != PROTO_ERROR_CANCELLED)
		return hvctl_refused(client->ctx, method, name, member);
	if (client->ctx->json)
		code = hvctl_refused(client->ctx, method, name, member);
	else
		code = hvctl_fail(client->ctx, HVCTL_INTERRUPTED, "interrupted");
	return code ? HVCTL_INTERRUPTED : HVCTL_OK;
}

static void take_later(struct hvctl_client *client, struct json_object *reply)
{
	const struct proto_method *method = client->later.method;
	struct json_object *result = NULL;
	int code = take_result(client, method, method->name, reply, &result);

	client->later.id = 0;
	client->later.fn(client->later.arg, code, result);
	json_object_put(result);
}

/* A reply to nobody's request is to one that was given up. */
static void take_reply(struct hvctl_client *client, struct json_object *reply,
		       struct json_object *id_member)
{
	uint64_t id = id_member ? json_object_get_uint64(id_member) : client->id;
	struct json_object *error;

	if (id && id == client->id && !client->reply)
		client->reply = json_object_get(reply);
	else if (id && id == client->later.id)
		take_later(client, reply);
	else if (id && id == client->cancel_id)
		client->cancel_refused = json_object_object_get_ex(reply, "error", &error);
}

static int take_line(struct hvctl_client *client, const char *line, size_t len)
{
	struct json_object *message = NULL, *id, *method = NULL, *params = NULL;
	struct proto_error bad = {0};

	if (proto_json_parse_reply(line, len, &message, &bad))
		return hvctl_fail(client->ctx, HVCTL_NO_DAEMON, "the daemon's message: %s",
				  bad.text);
	if (json_object_object_get_ex(message, "id", &id)) {
		take_reply(client, message, id);
	} else if (client->notify && json_object_object_get_ex(message, "method", &method)) {
		json_object_object_get_ex(message, "params", &params);
		client->notify(client->notify_arg, json_object_get_string(method), params);
	}
	json_object_put(message);
	return HVCTL_OK;
}

/*
 * The messages that have arrived whole; up to the reply that is waited for, so that what
 * follows it is handed over after it. *ret_any: there was one.
 */
static int take_lines(struct hvctl_client *client, bool *ret_any)
{
	int code = HVCTL_OK;
	char *line;
	size_t len;

	while (!code && !client->reply && !proto_framer_next(&client->framer, &line, &len)) {
		code = take_line(client, line, len);
		*ret_any = true;
	}
	return code;
}

/* The socket can be read. */
static int receive(struct hvctl_client *client)
{
	size_t room;
	ssize_t n;
	char *buf;
	int err;

	err = proto_framer_reserve(&client->framer, READ_BYTES, &buf, &room);
	if (err)
		return hvctl_fail(client->ctx, HVCTL_LOCAL, "a message of the daemon's: %s",
				  strerror(-err));
	n = recv(client->fd, buf, room, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return HVCTL_OK;
	if (n <= 0)
		return hvctl_fail(client->ctx, HVCTL_NO_DAEMON,
				  "the daemon closed the connection%s%s", n ? ": " : "",
				  n ? strerror(errno) : "");
	proto_framer_filled(&client->framer, (size_t)n);
	return HVCTL_OK;
}

void hvctl_expect(struct hvctl_client *client, enum proto_error_kind kind)
{
	client->expected = kind;
}

void hvctl_on_notification(struct hvctl_client *client, hvctl_notify_fn *fn, void *arg)
{
	client->notify = fn;
	client->notify_arg = arg;
}

int hvctl_wait(struct hvctl_client *client, int fd, int timeout_ms, unsigned *ret_woke)
{
	struct pollfd p[] = {
		{.fd = client->fd, .events = POLLIN},
		{.fd = signals_fd(), .events = POLLIN},
		{.fd = fd, .events = POLLIN},
		{.fd = fileno(client->ctx->out)}, /* errors only: who reads it has gone */
	};
	bool any = false;
	unsigned woke = 0;
	int code = take_lines(client, &any);

	if (code)
		return code;
	if (any)
		timeout_ms = 0;
	if (poll(p, sizeof(p) / sizeof(*p), timeout_ms) < 0 && errno != EINTR)
		return hvctl_fail(client->ctx, HVCTL_LOCAL, "poll: %s", strerror(errno));
	if (p[1].revents) {
		signals_take();
		woke |= HVCTL_WOKE_INTERRUPT;
	}
	woke |= p[2].revents ? HVCTL_WOKE_INPUT : 0;
	woke |= p[3].revents & (POLLERR | POLLHUP) ? HVCTL_WOKE_UNREAD : 0;
	if (p[0].revents)
		code = receive(client);
	if (!code)
		code = take_lines(client, &any);
	*ret_woke = woke | (any ? HVCTL_WOKE_MESSAGE : 0);
	return code;
}

/* --- both ----------------------------------------------------------------------------- */

static int await_reply(struct hvctl_client *client)
{
	const struct hvctl_context *ctx = client->ctx;
	int code = HVCTL_OK;
	unsigned woke;

	while (!code && !client->reply) {
		code = hvctl_wait(client, -1, -1, &woke);
		if (!code && !client->reply && client->cancel_refused)
			return hvctl_fail(ctx, HVCTL_INTERRUPTED,
					  "interrupted; the daemon goes on with it");
		if (!code && !client->reply && (woke & HVCTL_WOKE_INTERRUPT))
			code = ask_to_cancel(client);
	}
	return code;
}

int hvctl_request(struct hvctl_client *client, const struct proto_method *method, const char *name,
		  struct json_object *params, const int *fds, size_t fd_count,
		  struct json_object **ret_result)
{
	int code;

	client->cancel_id = 0;
	client->cancel_refused = false;
	code = send_request(client, name, params, fds, fd_count, &client->id);
	if (!code)
		code = await_reply(client);
	progress_end(client->ctx->progress);
	if (!code)
		code = take_result(client, method, name, client->reply, ret_result);
	json_object_put(client->reply);
	client->reply = NULL;
	client->id = 0;
	return code;
}

/* Only methods that may take long have it. */
static void want_progress(struct hvctl_call *call, const struct proto_method *method,
			  struct json_object *params)
{
	if (!call->ctx->progress || !proto_field_by_name(method->params(), "progress"))
		return;
	json_object_object_add(params, "progress", json_object_new_boolean(1));
	progress_begin(call->ctx->progress, method->verb);
	hvctl_on_notification(call->client, progress_notify, call->ctx->progress);
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
	if (own)
		want_progress(call, method, json);
	code = hvctl_request(call->client, method, method->name, json, own ? call->fds : NULL,
			     own ? call->fd_count : 0, ret_result);
	json_object_put(json);
	return code;
}

int hvctl_request_later(struct hvctl_call *call, enum proto_method_id id, const void *params,
			hvctl_later_fn *fn, void *arg)
{
	struct hvctl_client *client = call->client;
	const struct proto_method *method = &proto_methods[id];
	struct json_object *json = proto_encode_params(method->params(), params);
	int code;

	if (!json)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "out of memory");
	code = send_request(client, method->name, json, NULL, 0, &client->later.id);
	json_object_put(json);
	client->later.method = method;
	client->later.fn = fn;
	client->later.arg = arg;
	return code;
}
