// SPDX-License-Identifier: MIT
/* A connection's life: its turns, what goes out, its end. */
#include "hvd/conn.h"
#include "hvd/events.h"
#include "hvd/log.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MESSAGES_PER_TURN 32 /* of one connection, and HVD_TURN_US at most */
#define COPY_MAX (64u << 10) /* bytes */
#define LOOK_MS 1000	     /* between looks for what no event tells of */

static void turn(struct conn *c);

static struct timeval milliseconds(unsigned ms)
{
	return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
}

void conn_wake(struct conn *c)
{
	if (!c->turning)
		event_active(c->again, EV_TIMEOUT, 0);
}

/* An event that activates itself would keep the loop from its other events. */
void conn_wake_later(struct conn *c)
{
	const struct timeval now = {0};

	event_add(c->again, &now);
}

/* --- the end --------------------------------------------------------------------------- */

static struct task *take_first(struct conn *c)
{
	struct task *t = c->queue;

	c->queue = t->next;
	if (!c->queue)
		c->queue_last = &c->queue;
	c->queued.requests -= message_requests(t->message);
	c->queued.bytes -= t->bytes;
	c->queued.fds -= t->fds;
	t->next = NULL;
	return t;
}

static void drop_queue(struct conn *c)
{
	while (c->queue) {
		struct task *t = take_first(c);

		message_free(t->message);
		free(t);
	}
}

static void conn_free(struct conn *c)
{
	struct event *const events[] = {c->readable, c->writable, c->again, c->look};

	*c->back = c->next;
	if (c->next)
		c->next->back = c->back;
	c->conns->count--;
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (events[i])
			event_free(events[i]);
	if (c->out)
		evbuffer_free(c->out);
	drop_queue(c);
	conn_in_free(c);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

/*
 * What was received in full is still carried out, but nothing is waited for. Waits and
 * streams end from the loop: who finds out may be going through a list of them.
 */
void conn_client_is_gone(struct conn *c)
{
	if (c->gone)
		return;
	c->gone = true;
	evbuffer_drain(c->out, evbuffer_get_length(c->out));
	conn_wake(c);
}

void conn_drop(struct conn *c, const char *fmt, ...)
{
	char text[160], detail[256];
	const struct proto_event ev = {
		.type = PROTO_EVENT_TYPE_CLIENT_DROPPED, .detail = detail, .has_detail = true};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(detail, sizeof(detail), "uid %u (pid %d): dropped: %s", (unsigned)c->peer.uid,
		 (int)c->peer.pid, text);
	log_warning("%s", detail);
	c->closing = true;
	events_publish(c->hvd, &ev);
}

/* Cancelling a task takes it off the list, at once or when it can. */
static void cancel_late(struct conn *c)
{
	for (struct task *t = c->late, *next; t; t = next) {
		next = t->next;
		message_cancel(t->message);
	}
}

static bool is_finished(const struct conn *c)
{
	if (c->current || c->late || c->queue)
		return false;
	if (!c->gone && evbuffer_get_length(c->out))
		return false;
	return c->closing || (c->eof && c->split && (c->gone || !c->streams));
}

/* --- out ------------------------------------------------------------------------------- */

/* The client's time to read begins anew with each byte that it takes, and only then. */
static void arm_writable(struct conn *c, bool progress)
{
	const struct timeval timeout = milliseconds(conn_bounds(c)->client_timeout_ms);

	if (c->writing && !progress)
		return;
	c->writing = true;
	event_add(c->writable, &timeout);
}

static void flush(struct conn *c)
{
	bool progress = false;

	while (!c->gone && evbuffer_get_length(c->out)) {
		if (evbuffer_write(c->out, c->fd) > 0) {
			progress = true;
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			arm_writable(c, progress);
			return;
		} else if (errno != EINTR) {
			conn_client_is_gone(c);
		}
	}
	if (c->writing)
		event_del(c->writable);
	c->writing = false;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	if (what & EV_TIMEOUT) {
		conn_drop(c, "it has not read for %u ms; %zu bytes lost",
			  conn_bounds(c)->client_timeout_ms, evbuffer_get_length(c->out));
		c->dropped = true;
		conn_client_is_gone(c);
	}
	turn(c);
}

void conn_notify(struct conn *c, enum proto_notification_id id, const void *params)
{
	const struct proto_notification *n = &proto_notifications[id];
	struct proto_text text = {.data = NULL};

	if (c->gone)
		return;
	proto_text_literal(&text, "{\"jsonrpc\":\"2.0\",\"method\":\"");
	proto_text_add(&text, n->name, strlen(n->name));
	proto_text_literal(&text, "\",\"params\":");
	proto_print(&text, n->params(), params);
	proto_text_literal(&text, "}\n");
	/* One that is missing can't be told of either. */
	if (text.failed || evbuffer_add(c->out, text.data, text.size)) {
		conn_drop(c, "out of memory for a notification");
		conn_client_is_gone(c);
	}
	proto_text_free(&text);
	conn_wake(c);
}

/* --- messages ---------------------------------------------------------------------------- */

static void refuse_waits(struct conn *c, struct message *m)
{
	struct proto_error err;

	proto_fail(&err, PROTO_ERROR_LIMIT, "", "the connection has %u waits already",
		   c->late_count);
	err.has_limit = true;
	err.limit = conn_bounds(c)->waits_per_connection;
	message_refuse(m, &err);
}

static void take_off_late(struct conn *c, struct task *t)
{
	struct task **link = &c->late;

	while (*link && *link != t)
		link = &(*link)->next;
	if (!*link)
		return; /* an urgent one */
	*link = t->next;
	c->late_count--;
}

static void free_reply(const void *data, size_t size, void *ctx)
{
	(void)size, (void)ctx;
	free((void *)(uintptr_t)data);
}

/* A large one is not copied again. */
static void queue_reply(struct conn *c, struct proto_text *reply)
{
	int r;

	if (c->gone || !reply->size)
		return;
	if (reply->size < COPY_MAX) {
		r = evbuffer_add(c->out, reply->data, reply->size);
	} else {
		r = evbuffer_add_reference(c->out, reply->data, reply->size, free_reply, NULL);
		if (!r)
			*reply = (struct proto_text){.data = NULL};
	}
	if (r) {
		conn_drop(c, "out of memory for a reply");
		conn_client_is_gone(c);
	}
}

static void on_message_done(void *ctx, struct message *m, struct proto_text *reply)
{
	struct task *t = ctx;
	struct conn *c = t->conn;

	if (c->current == t)
		c->current = NULL;
	else
		take_off_late(c, t);
	free(t);
	queue_reply(c, reply);
	conn_streams_begin(c, m);
	conn_wake(c);
}

struct task *conn_task_new(struct conn *c, const int *fds, size_t fd_count)
{
	struct task *t = calloc(1, sizeof(*t));

	if (t) {
		t->conn = c;
		t->fds = fd_count;
		t->message = message_new(c->hvd, c, fds, fd_count, on_message_done, t);
	} else {
		for (size_t i = 0; i < fd_count; i++)
			close(fds[i]);
	}
	if (t && t->message)
		return t;
	free(t);
	conn_drop(c, "out of memory for a request");
	return NULL;
}

void conn_start_now(struct conn *c, struct task *t)
{
	message_start(t->message, &c->peer);
}

static void start_late(struct conn *c, struct task *t)
{
	t->next = c->late;
	c->late = t;
	c->late_count++;
	message_start(t->message, &c->peer);
	if (c->gone || c->closing)
		cancel_late(c);
}

static void start_first(struct conn *c)
{
	struct task *t = take_first(c);
	struct message *m = t->message;

	if (message_is_late(m) && c->late_count >= conn_bounds(c)->waits_per_connection)
		refuse_waits(c, m);
	if (message_is_late(m)) {
		start_late(c, t);
		return;
	}
	c->current = t;
	message_start(m, &c->peer);
}

bool conn_cancel_request(struct conn *c, struct json_object *id)
{
	if (c->current && message_cancel_request(c->current->message, id))
		return true;
	for (struct task *t = c->late; t; t = t->next)
		if (message_cancel_request(t->message, id))
			return true;
	for (struct task *t = c->queue; t; t = t->next)
		if (message_cancel_request(t->message, id))
			return true;
	return false;
}

/* --- turns --------------------------------------------------------------------------------- */

static bool output_is_full(const struct conn *c)
{
	return evbuffer_get_length(c->out) > conn_bounds(c)->output_bytes;
}

static void update_events(struct conn *c)
{
	const bool read = !c->eof && !c->closing && c->fd_count <= PROTO_FDS_MAX &&
			  !conn_queue_is_full(c) && !output_is_full(c);
	/* No event tells that a client that has shut its sending side is gone altogether. */
	const bool look = c->eof && !c->gone && (c->late || c->streams);
	const struct timeval rest = milliseconds(LOOK_MS);

	if (read && !c->reading)
		event_add(c->readable, NULL);
	else if (!read && c->reading)
		event_del(c->readable);
	c->reading = read;
	if (look && !c->looking)
		event_add(c->look, &rest);
	else if (!look && c->looking)
		event_del(c->look);
	c->looking = look;
}

static bool can_go_on(const struct conn *c)
{
	return !c->current && !output_is_full(c) && (c->queue || (!c->split && !c->closing));
}

static void go_on(struct conn *c)
{
	if (c->current)
		message_go_on(c->current->message);
	/* It may end others of the list: no more of them in this turn. */
	for (struct task *t = c->late; t; t = t->next) {
		if (message_go_on(t->message)) {
			conn_wake_later(c);
			return;
		}
	}
}

/* true: there is more to do than one turn may. */
static bool carry_out(struct conn *c)
{
	const uint64_t begin = hvd_now_us();
	int budget = MESSAGES_PER_TURN;

	go_on(c);

	while (!output_is_full(c)) {
		if (!c->closing)
			conn_take_messages(c);
		if (c->current || !c->queue)
			return false;
		if (!budget-- || hvd_now_us() - begin > HVD_TURN_US)
			return true;
		start_first(c);
	}
	return false;
}

/* Everything that can be done now. May free the connection: the last thing a caller does. */
static void turn(struct conn *c)
{
	bool ended, more;

	if (c->turning)
		return;
	c->turning = true;
	c->told_bytes = 0;
	do {
		ended = c->gone || c->closing;
		if (c->dropped)
			drop_queue(c);
		if (ended) {
			conn_end_streams(c, NULL);
			cancel_late(c);
		}
		more = carry_out(c);
		conn_fill_streams(c);
		flush(c);
	} while (!ended && (c->gone || c->closing));
	c->turning = false;
	if (is_finished(c)) {
		conn_free(c);
		return;
	}
	/* What was written has made room. */
	if (more || conn_streams_can_go_on(c) || can_go_on(c))
		conn_wake_later(c);
	update_events(c);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	turn(arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	conn_on_readable(fd, what, arg);
	turn(arg);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd, (void)what;
	c->looking = false;
	if (conn_peer_hung_up(c))
		conn_client_is_gone(c);
	turn(c);
}

/* --- beginning, and the daemon's end ------------------------------------------------------------
 */

int conn_new(struct hvd *h, struct conns *conns, int fd, const struct peer *peer)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->hvd = h;
	c->conns = conns;
	c->fd = fd;
	c->peer = *peer;
	c->queue_last = &c->queue;
	c->streams_last = &c->streams;
	c->back = &conns->first;
	c->next = conns->first;
	if (c->next)
		c->next->back = &c->next;
	conns->first = c;
	conns->count++;
	c->out = evbuffer_new();
	c->readable = event_new(h->base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->writable = event_new(h->base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
	c->again = event_new(h->base, -1, 0, on_again, c);
	c->look = event_new(h->base, -1, 0, on_look, c);
	if (!c->out || !c->readable || !c->writable || !c->again || !c->look ||
	    event_add(c->readable, NULL)) {
		c->fd = -1; /* still the caller's */
		conn_free(c);
		return -ENOMEM;
	}
	c->reading = true;
	return 0;
}

void conn_quiesce(struct conn *c)
{
	c->closing = true;
	c->turning = true; /* none is freed while others are looked at */
	event_del(c->readable);
}

void conn_stop(struct conn *c)
{
	conn_end_streams(c, "the daemon is stopping");
	cancel_late(c);
	if (c->current)
		message_cancel(c->current->message);
	while (c->queue && !c->dropped && !c->current) {
		message_cancel(c->queue->message);
		start_first(c);
	}
	flush(c);
	conn_free(c);
}
