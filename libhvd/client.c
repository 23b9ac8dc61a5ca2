// SPDX-License-Identifier: MIT
/* What programs call. */
#include "libhvd/internal.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static_assert(HVD_FDS_MAX == PROTO_FDS_MAX, "as the daemon has it");
static_assert(HVD_REQUEST_MAX == PROTO_MESSAGE_MAX, "as the daemon has it");
static_assert(HVD_FIELD_SIZE >= PROTO_FIELD_LEN, "a field fits");

/* --- a connection ---------------------------------------------------------------------- */

int hvd_client_adopt(int fd, struct hvd_client **ret)
{
	struct hvd_client *client;
	socklen_t len = sizeof(int);
	int type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return -errno;
	if (type != SOCK_STREAM)
		return -EPROTOTYPE;
	client = calloc(1, sizeof(*client));
	if (!client)
		return -ENOMEM;
	client->fd = fd;
	client->timeout_ms = -1;
	client->held_max = HVD_HELD_DEFAULT;
	client->in.limit = SIZE_MAX; /* held_max is what bounds it */
	client->pending_end = &client->pending;
	client->kept_end = &client->kept;
	client->next_id = 1;
	*ret = client;
	return 0;
}

int hvd_client_open(const char *path, struct hvd_client **ret, struct hvd_error *err)
{
	int fd, r;

	if (!path)
		path = getenv(HVD_SOCKET_VARIABLE);
	if (!path || !*path)
		path = HVD_SOCKET_PATH;
	fd = proto_connect(path);
	if (fd < 0)
		return message_fail_errno(err, fd, path);
	r = hvd_client_adopt(fd, ret);
	if (r) {
		close(fd);
		return message_fail_errno(err, r, path);
	}
	return 0;
}

void hvd_client_close(struct hvd_client *client)
{
	struct kept *k;

	if (!client)
		return;
	if (!client->broken)
		message_fail(&client->broken_error, -ECANCELED, "the connection was closed");
	message_break(client, client->broken ? client->broken : -ECANCELED);
	while (client->pending)
		message_forget(client, &client->pending);
	while ((k = client->kept)) {
		client->kept = k->next;
		json_object_put(k->message);
		free(k);
	}
	json_object_put(client->error);
	proto_framer_free(&client->in);
	close(client->fd);
	free(client);
}

int hvd_client_fd(const struct hvd_client *client)
{
	return client->fd;
}

void hvd_client_set_timeout(struct hvd_client *client, int timeout_ms)
{
	client->timeout_ms = timeout_ms < 0 ? -1 : timeout_ms;
}

void hvd_client_set_held_max(struct hvd_client *client, size_t bytes)
{
	client->held_max = bytes;
}

size_t hvd_client_outstanding(const struct hvd_client *client)
{
	return client->outstanding;
}

struct json_object *hvd_client_error_object(const struct hvd_client *client)
{
	return client->error;
}

static int why_broken(const struct hvd_client *client, struct hvd_error *err)
{
	if (err)
		*err = client->broken_error;
	return client->broken;
}

static int in_callback(struct hvd_error *err)
{
	return message_fail(err, -EDEADLK, "not from inside a callback");
}

/* --- sending -------------------------------------------------------------------------------- */

static struct json_object *build_request(uint64_t id, const char *method,
					 struct json_object *params)
{
	struct json_object *request = json_object_new_object();

	if (!request)
		return NULL;
	if (json_object_object_add(request, "jsonrpc", json_object_new_string("2.0")) ||
	    json_object_object_add(request, "id", json_object_new_uint64(id)) ||
	    json_object_object_add(request, "method", json_object_new_string(method)) ||
	    (params && json_object_object_add(request, "params", json_object_get(params)))) {
		json_object_put(request);
		return NULL;
	}
	return request;
}

/*
 * What the daemon could not read would be refused without an id, and nobody could tell which
 * request that was: it is not sent.
 */
static int check_request(const char *text, size_t len, struct hvd_error *err)
{
	struct json_object *obj;
	struct proto_error bad;
	int r;

	if (len + 1 > HVD_REQUEST_MAX)
		return message_fail(err, -EMSGSIZE, "the request has %zu bytes, and may have %zu",
				    len + 1, (size_t)HVD_REQUEST_MAX);
	r = proto_json_parse(text, len, &obj, &bad);
	if (r)
		return message_fail(err, r == -ENOMEM ? r : -EINVAL, "the request: %s", bad.text);
	json_object_put(obj);
	return 0;
}

static int send_request(struct hvd_client *client, struct json_object *request, const int *fds,
			size_t fd_count, struct hvd_error *err)
{
	const char *text;
	size_t len;
	int r;

	text = request ? proto_json_text(request, &len) : NULL;
	if (!text)
		return message_fail_errno(err, -ENOMEM, "a request");
	r = check_request(text, len, err);
	if (r)
		return r;
	r = transport_send(client, text, len, fds, fd_count);
	return r ? message_fail_errno(err, r, "sending to the daemon") : 0;
}

static int check_arguments(const struct hvd_client *client, struct json_object *params,
			   size_t fd_count, struct hvd_error *err)
{
	if (client->broken)
		return why_broken(client, err);
	if (params && !json_object_is_type(params, json_type_object))
		return message_fail(err, -EINVAL, "params is no object");
	if (fd_count > HVD_FDS_MAX)
		return message_fail(err, -E2BIG, "%zu descriptors; at most %d go with a request",
				    fd_count, HVD_FDS_MAX);
	return 0;
}

int hvd_client_send(struct hvd_client *client, const char *method, struct json_object *params,
		    const int *fds, size_t fd_count, hvd_reply_fn *fn, void *ctx, uint64_t *ret_id,
		    struct hvd_error *err)
{
	const uint64_t id = client->next_id;
	struct json_object *request;
	struct pending *p;
	int r = check_arguments(client, params, fd_count, err);

	if (r)
		return r;
	p = malloc(sizeof(*p));
	if (!p)
		return message_fail_errno(err, -ENOMEM, "a request");
	request = build_request(id, method, params);
	r = send_request(client, request, fds, fd_count, err);
	json_object_put(request);
	if (r) {
		free(p);
		return r;
	}
	*p = (struct pending){.id = id, .fn = fn, .ctx = ctx};
	*client->pending_end = p;
	client->pending_end = &p->next;
	client->outstanding++;
	client->next_id++;
	if (ret_id)
		*ret_id = id;
	return 0;
}

static void ignore_reply(void *ctx, int status, struct json_object *result,
			 const struct hvd_error *err)
{
	(void)ctx, (void)status, (void)result, (void)err;
}

int hvd_client_cancel(struct hvd_client *client, uint64_t id)
{
	const struct pending *p = *message_find(client, id);
	struct json_object *params;
	int r;

	if (client->broken)
		return client->broken;
	if (!p || p->reply)
		return -ENOENT;
	params = json_object_new_object();
	if (!params || json_object_object_add(params, "id", json_object_new_uint64(id)))
		r = -ENOMEM;
	else
		r = hvd_client_send(client, "request.cancel", params, NULL, 0, ignore_reply, NULL,
				    NULL, NULL);
	json_object_put(params);
	return r;
}

/* --- receiving ------------------------------------------------------------------------------- */

/* Handles what is there; waits if there is nothing. The number of messages, or an errno. */
static int step(struct hvd_client *client, deadline_t deadline)
{
	int n = message_handle_all(client), r = 0;

	while (!n && !client->broken && !r) {
		r = transport_receive(client, deadline);
		n = message_handle_all(client);
	}
	return n ? n : client->broken ? client->broken : r;
}

int hvd_client_dispatch(struct hvd_client *client, int timeout_ms)
{
	int r;

	if (client->calling)
		return -EDEADLK;
	r = step(client, transport_deadline(timeout_ms));
	if (client->broken)
		return client->broken;
	return r == -ETIMEDOUT ? 0 : r;
}

static int take_reply(struct hvd_client *client, struct pending **link,
		      struct json_object **ret_result, struct hvd_error *err)
{
	struct json_object *result = NULL;
	const int r = message_read_reply(client, (*link)->reply, &result, err);

	if (!r && ret_result)
		*ret_result = json_object_get(result);
	message_forget(client, link);
	return r;
}

static int wait_reply(struct hvd_client *client, uint64_t id, deadline_t deadline,
		      struct json_object **ret_result, struct hvd_error *err)
{
	int r = 0;

	for (;;) {
		struct pending **link = message_find(client, id);

		if (!*link || (*link)->fn)
			return message_fail(err, -ENOENT, "no request of that id is waited for");
		if ((*link)->reply)
			return take_reply(client, link, ret_result, err);
		if (client->broken) {
			message_forget(client, link);
			return why_broken(client, err);
		}
		if (r < 0)
			return message_fail_errno(err, r, "waiting for the daemon");
		client->awaited = id;
		r = step(client, deadline);
		client->awaited = 0;
	}
}

int hvd_client_wait(struct hvd_client *client, uint64_t id, int timeout_ms,
		    struct json_object **ret_result, struct hvd_error *err)
{
	if (client->calling)
		return in_callback(err);
	return wait_reply(client, id, transport_deadline(timeout_ms), ret_result, err);
}

int hvd_client_call(struct hvd_client *client, const char *method, struct json_object *params,
		    const int *fds, size_t fd_count, struct json_object **ret_result,
		    struct hvd_error *err)
{
	const deadline_t deadline = transport_deadline(client->timeout_ms);
	struct pending **link;
	uint64_t id;
	int r;

	if (client->calling)
		return in_callback(err);
	r = hvd_client_send(client, method, params, fds, fd_count, NULL, NULL, &id, err);
	if (r && client->ended) { /* the daemon may have said why */
		message_handle_all(client);
		return why_broken(client, err);
	}
	if (r)
		return r;
	do
		r = wait_reply(client, id, deadline, ret_result, err);
	while (r == -EINTR);
	link = message_find(client, id);
	if (r == -ETIMEDOUT && *link)
		(*link)->fn = ignore_reply;
	return r;
}

/* --- notifications ------------------------------------------------------------------------------
 */

void hvd_client_on_notification(struct hvd_client *client, hvd_notification_fn *fn, void *ctx)
{
	client->notify = fn;
	client->notify_ctx = ctx;
}

int hvd_client_next(struct hvd_client *client, int timeout_ms, struct json_object **ret)
{
	const deadline_t deadline = transport_deadline(timeout_ms);
	struct kept *k;
	int r;

	if (client->calling)
		return -EDEADLK;
	r = message_handle_all(client);
	while (!(k = client->kept) && r >= 0)
		r = client->broken ? client->broken : step(client, deadline);
	if (!k)
		return r;
	client->kept = k->next;
	if (!k->next)
		client->kept_end = &client->kept;
	client->kept_bytes -= k->bytes;
	*ret = k->message;
	free(k);
	return 0;
}
