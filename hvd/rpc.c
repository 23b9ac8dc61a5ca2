// SPDX-License-Identifier: MIT
#include "hvd/rpc.h"
#include "hvd/call.h"
#include "hvd/conn.h"
#include "hvd/log.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct message {
	struct hvd *hvd;
	struct conn *conn;
	struct peer peer;
	message_done_fn *done;
	void *ctx;
	struct proto_text out;
	struct json_object *root;
	struct proto_error refusal; /* with refused: instead of requests */
	bool refused, batch, late, urgent, cancelled;
	bool pumping, paused; /* paused: more requests can be begun */
	size_t next, count;   /* requests */
	uint64_t unwanted;    /* bits: requests that are not to be begun */
	size_t replies;
	struct call *call; /* in progress */
	int fds[PROTO_FDS_MAX];
	size_t fd_count;
};

_Static_assert(PROTO_BATCH_MAX <= 64, "unwanted has a bit for each request");

static method_fn *const functions[PROTO_METHOD_COUNT] = {
#define METHOD(id, name, verb, positional, role, flags, params, result, doc) \
	[PROTO_METHOD_##id] = method_##id,
#include "proto/methods.def"
#undef METHOD
};

struct message *message_new(struct hvd *h, struct conn *conn, const int *fds, size_t fd_count,
			    message_done_fn *done, void *ctx)
{
	struct message *m = calloc(1, sizeof(*m));

	if (!m) {
		for (size_t i = 0; i < fd_count; i++)
			close(fds[i]);
		return NULL;
	}
	m->hvd = h;
	m->conn = conn;
	m->count = 1;
	m->done = done;
	m->ctx = ctx;
	if (fd_count)
		memcpy(m->fds, fds, fd_count * sizeof(*fds));
	m->fd_count = fd_count;
	return m;
}

void message_free(struct message *m)
{
	for (size_t i = 0; i < m->fd_count; i++)
		close(m->fds[i]);
	json_object_put(m->root);
	proto_text_free(&m->out);
	free(m);
}

/* --- replies ------------------------------------------------------------------------ */

/* {"jsonrpc","id",key: */
static void begin_reply(struct message *m, struct json_object *id, const char *key)
{
	struct proto_text *t = &m->out;

	if (m->batch)
		proto_text_add(t, m->replies ? "," : "[", 1);
	proto_text_literal(t, "{\"jsonrpc\":\"2.0\",\"id\":");
	proto_text_json(t, id);
	proto_text_literal(t, ",\"");
	proto_text_add(t, key, strlen(key));
	proto_text_literal(t, "\":");
}

static void end_reply(struct message *m)
{
	proto_text_literal(&m->out, "}");
	m->replies++;
}

static void put_error(struct message *m, struct json_object *id, const struct proto_error *err,
		      const char *method)
{
	struct json_object *v = proto_error_json(err, method);

	begin_reply(m, id, "error");
	m->out.failed |= !v;
	proto_text_json(&m->out, v);
	end_reply(m);
	json_object_put(v);
}

static void put_result(struct message *m, const struct call *c, const void *result)
{
	const size_t before = m->out.size;
	struct proto_error err;

	begin_reply(m, c->id, "result");
	proto_print(&m->out, c->method->result(), result);
	end_reply(m);
	if (!m->out.failed)
		return;
	/* The error is shorter; what was there before it is still there. */
	m->out.failed = false;
	m->out.size = before;
	m->replies--;
	proto_fail(&err, PROTO_ERROR_NO_MEMORY, "", "out of memory for the reply");
	put_error(m, c->id, &err, c->method->name);
}

static void finish(struct message *m)
{
	if (m->replies)
		proto_text_add(&m->out, m->batch ? "]\n" : "\n", m->batch ? 2 : 1);
	if (m->out.failed) {
		log_error("out of memory for a reply");
		m->out.size = 0;
	}
	m->done(m->ctx, m, &m->out);
	message_free(m);
}

/* --- requests -------------------------------------------------------------------------- */

/* What a request says, before its parameters are looked at. */
struct request {
	struct json_object *id, *params;
	bool has_id;
	const struct proto_method *method;
};

static bool id_valid(struct json_object *id)
{
	const enum json_type t = json_object_get_type(id);

	return t == json_type_null || t == json_type_string || t == json_type_int ||
	       t == json_type_double;
}

static int check_members(struct json_object *obj, struct proto_error *err)
{
	static const char *const known[] = {"jsonrpc", "id", "method", "params"};

	json_object_object_foreach(obj, key, v)
	{
		size_t i;

		(void)v;
		for (i = 0; i < 4 && strcmp(key, known[i]) != 0; i++)
			;
		if (i == 4)
			return proto_fail(err, PROTO_ERROR_INVALID_REQUEST, key,
					  "a request has jsonrpc, id, method and params");
	}
	return 0;
}

/* ret->id is set as soon as it is known, so that the error can carry it. */
static int read_request(struct json_object *obj, struct request *ret, struct proto_error *err)
{
	struct json_object *v;
	int r;

	if (!json_object_is_type(obj, json_type_object))
		return proto_fail(err, PROTO_ERROR_INVALID_REQUEST, "", "a request is an object");
	if (json_object_object_get_ex(obj, "id", &v)) {
		ret->has_id = true;
		if (!id_valid(v))
			return proto_fail(err, PROTO_ERROR_INVALID_REQUEST, "id",
					  "must be a string, a number or null");
		ret->id = v;
	}
	r = check_members(obj, err);
	if (r)
		return r;
	if (!json_object_object_get_ex(obj, "jsonrpc", &v) ||
	    !json_object_is_type(v, json_type_string) ||
	    strcmp(json_object_get_string(v), "2.0") != 0)
		return proto_fail(err, PROTO_ERROR_INVALID_REQUEST, "jsonrpc", "must be \"2.0\"");
	if (!json_object_object_get_ex(obj, "method", &v) ||
	    !json_object_is_type(v, json_type_string))
		return proto_fail(err, PROTO_ERROR_INVALID_REQUEST, "method", "must be a string");
	ret->method = proto_method_by_name(json_object_get_string(v));
	if (json_object_object_get_ex(obj, "params", &ret->params) && !ret->params)
		return proto_fail(err, PROTO_ERROR_INVALID_TYPE, "params",
				  "an object is needed, not null");
	if (!ret->method)
		return proto_fail(err, PROTO_ERROR_UNKNOWN_METHOD, "method",
				  "there is no method %.80s; rpc.discover lists them",
				  json_object_get_string(v));
	return 0;
}

/* What belongs to a batch, or has no id, could not be told apart by the client. */
static bool wants_progress(const struct call *c, const struct proto_struct *desc)
{
	const struct proto_field *f = NULL;

	if ((c->method->flags & PROTO_METHOD_LONG) && c->id && !c->message->batch)
		f = proto_field_by_name(desc, "progress");
	return f && *(const bool *)((const char *)c->params + f->offset);
}

static struct call *call_new(struct message *m, const struct request *req, struct proto_error *err)
{
	const struct proto_struct *desc = req->method->params();
	struct call *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		proto_fail(err, PROTO_ERROR_NO_MEMORY, "", "out of memory");
		return NULL;
	}
	c->params = proto_alloc(&c->arena, 1, desc->size);
	if (!c->params)
		r = proto_fail(err, PROTO_ERROR_NO_MEMORY, "", "out of memory");
	else
		r = proto_decode(desc, req->params, c->params, &c->arena, err);
	if (r) {
		proto_arena_free(&c->arena);
		free(c);
		return NULL;
	}
	c->hvd = m->hvd;
	c->conn = m->conn;
	c->method = req->method;
	c->peer = m->peer;
	c->fds = m->fds;
	c->fd_count = m->fd_count;
	c->message = m;
	c->id = json_object_get(req->id);
	c->has_id = req->has_id;
	c->about = (struct log_context){
		.method = req->method->name,
		.request = c->id,
		.has_peer = true,
		.uid = m->peer.uid,
		.pid = m->peer.pid,
	};
	c->wants_progress = wants_progress(c, desc);
	return c;
}

/* With what the log needs to find who it was. */
static int deny(struct message *m, const struct proto_method *method, struct proto_error *err)
{
	const char *needed = proto_enum_name(&proto_enum_role, method->role);
	unsigned left_out;

	const struct log_context about = {
		.method = method->name, .has_peer = true, .uid = m->peer.uid, .pid = m->peer.pid};

	log_set_context(&about);
	if (denials_admit(&m->hvd->denials, m->peer.uid, hvd_now_ms(), &left_out)) {
		log_warning("denied: uid %u (pid %d): %s needs the role %s, it has %s",
			    (unsigned)m->peer.uid, (int)m->peer.pid, method->name, needed,
			    access_role_text(&m->peer));
		if (left_out)
			log_warning("denied: uid %u: %u more times, not logged",
				    (unsigned)m->peer.uid, left_out);
	}
	log_set_context(NULL);
	return proto_fail(err, PROTO_ERROR_DENIED, "", "uid %u needs the role %s, and has %s",
			  (unsigned)m->peer.uid, needed, access_role_text(&m->peer));
}

/* i: which of the message's requests it is. */
static int check_allowed(struct message *m, size_t i, const struct request *req,
			 struct proto_error *err)
{
	if (m->unwanted >> i & 1)
		return proto_fail(err, PROTO_ERROR_CANCELLED, "", "cancelled before it was begun");
	if (m->cancelled)
		return proto_fail(err, PROTO_ERROR_CANCELLED, "",
				  "nothing was done: the daemon is stopping, or the client gone");
	if (!access_allows(&m->peer, req->method->role))
		return deny(m, req->method, err);
	if (m->batch && m->out.size > RPC_BATCH_REPLY_MAX) {
		proto_fail(err, PROTO_ERROR_TOO_LARGE, "",
			   "the batch's replies are too large already; nothing was done");
		err->has_limit = true;
		err->limit = RPC_BATCH_REPLY_MAX;
		return -EMSGSIZE;
	}
	return 0;
}

static struct json_object *request_at(const struct message *m, size_t i)
{
	return m->batch ? json_object_array_get_idx(m->root, i) : m->root;
}

static void start_request(struct message *m, size_t i)
{
	struct request req = {0};
	struct proto_error err;
	int r = read_request(request_at(m, i), &req, &err);

	if (!r)
		r = check_allowed(m, i, &req, &err);
	if (!r) {
		m->call = call_new(m, &req, &err);
		if (m->call) {
			log_set_context(&m->call->about);
			log_debug("uid %u: %s", (unsigned)m->peer.uid, req.method->name);
			functions[req.method->id](m->call);
			log_set_context(NULL);
			return;
		}
	}
	/* A notification gets no reply; what is no request at all gets one with id null. */
	if (req.has_id || err.kind == PROTO_ERROR_INVALID_REQUEST)
		put_error(m, req.id, &err, req.method ? req.method->name : NULL);
}

/* A long batch pauses, so that other clients get their turn. */
static void pump(struct message *m)
{
	const uint64_t begin = m->batch ? hvd_now_us() : 0;

	m->pumping = true;
	m->paused = false;
	while (!m->call && !m->paused && m->next < m->count) {
		start_request(m, m->next++);
		m->paused = m->batch && !m->call && !m->cancelled && m->next < m->count &&
			    hvd_now_us() - begin > HVD_TURN_US;
	}
	m->pumping = false;
	if (m->paused)
		conn_wake_later(m->conn);
	else if (!m->call)
		finish(m);
}

static void call_end(struct call *c)
{
	struct message *m = c->message;

	log_forget_context(&c->about);
	vm_unref(c->vm);
	json_object_put(c->id);
	proto_arena_free(&c->arena);
	free(c);
	m->call = NULL;
	if (!m->pumping)
		pump(m);
}

void call_reply(struct call *c, const void *result)
{
	if (c->has_id)
		put_result(c->message, c, result);
	call_end(c);
}

void call_fail(struct call *c, const struct proto_error *err)
{
	if (c->has_id)
		put_error(c->message, c->id, err, c->method->name);
	call_end(c);
}

void call_failf(struct call *c, enum proto_error_kind kind, const char *field, const char *fmt, ...)
{
	char text[PROTO_TEXT_LEN];
	struct proto_error err;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	proto_fail(&err, kind, field, "%s", text);
	call_fail(c, &err);
}

/* --- messages --------------------------------------------------------------------------- */

void message_refuse(struct message *m, const struct proto_error *err)
{
	m->refused = true;
	m->refusal = *err;
	m->late = m->urgent = false;
	m->count = 1;
}

/* Of the method that it names; 0 if it names none. */
static uint32_t flags_of(struct json_object *request)
{
	const struct proto_method *method;
	struct json_object *v;

	if (!json_object_is_type(request, json_type_object) ||
	    !json_object_object_get_ex(request, "method", &v) ||
	    !json_object_is_type(v, json_type_string))
		return 0;
	method = proto_method_by_name(json_object_get_string(v));
	return method ? method->flags : 0;
}

void message_parse(struct message *m, const char *line, size_t len)
{
	struct proto_error err;

	if (proto_json_parse(line, len, &m->root, &err)) {
		message_refuse(m, &err);
		return;
	}
	m->batch = json_object_is_type(m->root, json_type_array);
	m->count = m->batch ? json_object_array_length(m->root) : 1;
	if (!m->count || m->count > PROTO_BATCH_MAX) {
		proto_fail(&err, PROTO_ERROR_INVALID_REQUEST, "",
			   "a batch has 1 to %u requests, not %zu", PROTO_BATCH_MAX, m->count);
		err.has_limit = true;
		err.limit = PROTO_BATCH_MAX;
		m->batch = false;
		message_refuse(m, &err);
		return;
	}
	for (size_t i = 0; i < m->count; i++) {
		const uint32_t flags = flags_of(request_at(m, i));

		m->late |= (flags & PROTO_METHOD_LATE) != 0;
		m->urgent = !m->batch && (flags & PROTO_METHOD_URGENT);
	}
}

bool message_is_late(const struct message *m)
{
	return m->late;
}

bool message_is_urgent(const struct message *m)
{
	return m->urgent;
}

size_t message_requests(const struct message *m)
{
	return m->count;
}

/* NULL if there is none, or the message could not be read. */
static struct json_object *id_of(struct json_object *request)
{
	struct json_object *id;

	return json_object_is_type(request, json_type_object) &&
			       json_object_object_get_ex(request, "id", &id) && id_valid(id)
		       ? id
		       : NULL;
}

/* To each of its requests, if it is known what they are. */
static void put_refusal(struct message *m)
{
	const size_t count = m->batch ? json_object_array_length(m->root) : 1;

	m->count = 0;
	for (size_t i = 0; i < count; i++)
		put_error(m, id_of(request_at(m, i)), &m->refusal, NULL);
}

void message_start(struct message *m, const struct peer *peer)
{
	m->peer = *peer;
	if (m->refused)
		put_refusal(m);
	pump(m);
}

bool message_go_on(struct message *m)
{
	if (!m->paused)
		return false;
	pump(m);
	return true;
}

void message_cancel(struct message *m)
{
	m->cancelled = true;
	if (m->call && m->call->cancel)
		m->call->cancel(m->call);
	else
		message_go_on(m);
}

/* --- request.cancel ---------------------------------------------------------------------- */

/* Of the same type, and exactly equal; null is no id. */
static bool same_id(struct json_object *a, struct json_object *b)
{
	return a && b && json_object_equal(a, b);
}

static void cancel_call(struct call *c)
{
	c->cancelled = true;
	if (c->cancel)
		c->cancel(c);
	else
		call_cancel_request(c);
}

bool message_cancel_request(struct message *m, struct json_object *id)
{
	struct json_object *v;

	if (m->call && !m->call->cancelled && same_id(m->call->id, id)) {
		cancel_call(m->call);
		return true;
	}
	for (size_t i = m->next; i < m->count && !m->refused; i++) {
		if ((m->unwanted >> i & 1) ||
		    !json_object_is_type(request_at(m, i), json_type_object) ||
		    !json_object_object_get_ex(request_at(m, i), "id", &v) || !same_id(v, id))
			continue;
		m->unwanted |= UINT64_C(1) << i;
		return true;
	}
	return false;
}
