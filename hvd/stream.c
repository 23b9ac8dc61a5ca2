// SPDX-License-Identifier: MIT
#include "hvd/stream.h"
#include "hvd/conn.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLD_BYTES_MAX (256u << 10) /* by one connection's streams in a turn */

struct stream {
	struct conn *conn;
	struct stream *next;
	const struct stream_ops *ops;
	void *ctx;
	const struct message *birth; /* its reply is not queued yet; NULL: it is */
	uint32_t id;
	bool due;   /* fill is to be called */
	char *over; /* ended meanwhile: why, to be told behind that reply */
};

/* --- the list of a connection ---------------------------------------------------------- */

static void append(struct conn *c, struct stream *s)
{
	s->next = NULL;
	*c->streams_last = s;
	c->streams_last = &s->next;
}

static void take_off(struct conn *c, struct stream *s)
{
	struct stream **link = &c->streams;

	while (*link != s)
		link = &(*link)->next;
	*link = s->next;
	if (!s->next)
		c->streams_last = link;
}

static struct stream *find(const struct conn *c, uint32_t id)
{
	struct stream *s = c->streams;

	while (s && s->id != id)
		s = s->next;
	return s;
}

/* It is off the list. */
static void release(struct stream *s)
{
	s->conn->stream_count--;
	free(s->over);
	free(s);
}

static void stream_free(struct stream *s)
{
	take_off(s->conn, s);
	release(s);
}

static void say_ended(struct stream *s, const char *reason)
{
	const struct proto_subscription_ended ended = {.subscription = s->id, .reason = reason};

	conn_notify(s->conn, PROTO_NOTIFICATION_ended, &ended);
}

/* --- for the connection ------------------------------------------------------------------ */

bool conn_has_room(const struct conn *c)
{
	/* The other half is for replies: notifications alone never hold up requests. */
	return !c->gone && evbuffer_get_length(c->out) < conn_bounds(c)->output_bytes / 2;
}

static bool may_tell(const struct conn *c)
{
	return conn_has_room(c) && c->told_bytes < TOLD_BYTES_MAX;
}

/* Each goes to the end of the list: the next turn begins with those that had no room. */
void conn_fill_streams(struct conn *c)
{
	for (unsigned n = c->stream_count; n && may_tell(c); n--) {
		struct stream *s = c->streams;

		take_off(c, s);
		append(c, s);
		if (!s->due || s->birth)
			continue;
		s->due = false;
		s->ops->fill(s, s->ctx);
	}
}

bool conn_streams_can_go_on(const struct conn *c)
{
	const struct stream *s = c->streams;

	while (s && (!s->due || s->birth))
		s = s->next;
	return s && conn_has_room(c);
}

void conn_streams_begin(struct conn *c, const struct message *m)
{
	for (struct stream *s = c->streams, *next; s; s = next) {
		next = s->next;
		if (s->birth != m)
			continue;
		s->birth = NULL;
		if (!s->over)
			continue;
		say_ended(s, s->over);
		stream_free(s);
	}
}

void conn_end_streams(struct conn *c, const char *reason)
{
	struct stream *s;

	while ((s = c->streams) != NULL) {
		c->streams = s->next;
		if (!c->streams)
			c->streams_last = &c->streams;
		if (!s->over)
			s->ops->end(s->ctx);
		if (reason && !s->birth)
			say_ended(s, reason);
		release(s);
	}
}

/* --- for methods ---------------------------------------------------------------------------- */

static bool check_new(const struct conn *c, struct proto_error *err)
{
	const unsigned limit = conn_bounds(c)->subscriptions_per_connection;

	if (c->gone || c->closing) {
		proto_fail(err, PROTO_ERROR_CANCELLED, "", "the client is gone");
		return false;
	}
	if (c->stream_count < limit)
		return true;
	proto_fail(err, PROTO_ERROR_LIMIT, "", "the connection has %u subscriptions already",
		   c->stream_count);
	err->has_limit = true;
	err->limit = limit;
	return false;
}

struct stream *stream_new(struct call *call, const struct stream_ops *ops, void *ctx,
			  struct proto_error *err)
{
	struct conn *c = call->conn;
	struct stream *s;

	if (!check_new(c, err))
		return NULL;
	s = calloc(1, sizeof(*s));
	if (!s) {
		proto_fail(err, PROTO_ERROR_NO_MEMORY, "", "out of memory");
		return NULL;
	}
	do
		c->stream_id++;
	while (!c->stream_id || find(c, c->stream_id));
	*s = (struct stream){.conn = c,
			     .ops = ops,
			     .ctx = ctx,
			     .birth = call->message,
			     .id = c->stream_id,
			     .due = true};
	append(c, s);
	c->stream_count++;
	return s;
}

uint32_t stream_id(const struct stream *s)
{
	return s->id;
}

void stream_wake(struct stream *s)
{
	s->due = true;
	if (!s->birth && conn_has_room(s->conn))
		conn_wake(s->conn);
}

bool stream_send(struct stream *s, enum proto_notification_id id, const void *params)
{
	struct conn *c = s->conn;
	const size_t before = evbuffer_get_length(c->out);

	conn_notify(c, id, params);
	if (!c->gone)
		c->told_bytes += evbuffer_get_length(c->out) - before;
	if (may_tell(c))
		return true;
	s->due = true;
	return false;
}

void stream_close(struct stream *s)
{
	s->ops->end(s->ctx);
	stream_free(s);
}

void stream_end(struct stream *s, const char *reason)
{
	if (!s->birth) {
		say_ended(s, reason);
		stream_close(s);
		return;
	}
	s->ops->end(s->ctx);
	s->over = strdup(reason);
	if (!s->over)
		stream_free(s);
}

struct stream *stream_find(const struct call *c, uint32_t id)
{
	struct stream *s = find(c->conn, id);

	return s && !s->over ? s : NULL;
}
