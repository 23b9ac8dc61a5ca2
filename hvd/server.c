// SPDX-License-Identifier: MIT
#include "hvd/server.h"
#include "hvd/access.h"
#include "hvd/listener.h"
#include "hvd/log.h"
#include "hvd/rpc.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGES_PER_TURN 32   /* of one connection, before the others get theirs */
#define READ_AHEAD (64u << 10) /* bytes held while a request is in progress */
#define READ_BYTES (16u << 10)
/* Reading rests above PROTO_FDS_MAX; one receive brings as many, and the mark of too many. */
#define FDS_HELD_MAX (2 * PROTO_FDS_MAX + 1)
#define REST_MS 1000 /* between looks for what no event tells of */

/* A descriptor, and the place in the stream of the last byte of what it came with. */
struct held_fd {
	int fd; /* -1: there were more than a message may have */
	uint64_t place;
};

/* A message in progress. */
struct task {
	struct conn *conn;
	struct message *message;
	struct task *next; /* among the late ones */
};

struct conn {
	struct server *server;
	struct conn *next, **back;
	int fd;
	struct peer peer;
	struct event *readable, *writable, *again, *look;
	struct proto_framer in;
	struct evbuffer *out;
	struct task *current; /* requests are done one after the other */
	struct task *late;    /* but for these */
	unsigned late_count;
	uint64_t received, consumed; /* bytes of the stream */
	struct held_fd fds[FDS_HELD_MAX];
	size_t fd_count;
	bool eof;     /* nothing more comes from the client */
	bool gone;    /* nobody reads what is sent */
	bool closing; /* nothing more is read; ends when all is sent */
	bool pumping;
};

struct server {
	struct hvd *hvd;
	struct listener listener;
	struct event *acceptable, *rest;
	struct conn *conns;
	unsigned count;
};

static void pump(struct conn *c);

static const struct hvd_bounds *bounds(const struct conn *c)
{
	return &c->server->hvd->config.bounds;
}

static struct timeval milliseconds(unsigned ms)
{
	return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
}

/* --- the end of a connection ------------------------------------------------------- */

static void conn_free(struct conn *c)
{
	*c->back = c->next;
	if (c->next)
		c->next->back = c->back;
	c->server->count--;
	for (size_t i = 0; i < c->fd_count; i++)
		if (c->fds[i].fd >= 0)
			close(c->fds[i].fd);
	if (c->readable)
		event_free(c->readable);
	if (c->writable)
		event_free(c->writable);
	if (c->again)
		event_free(c->again);
	if (c->look)
		event_free(c->look);
	if (c->out)
		evbuffer_free(c->out);
	proto_framer_free(&c->in);
	close(c->fd);
	free(c);
}

/* Cancelling a task takes it off the list, at once or when it can. */
static void cancel_late(struct conn *c)
{
	for (struct task *t = c->late, *next; t; t = next) {
		next = t->next;
		message_cancel(t->message);
	}
}

/*
 * Nobody reads any more: what was received in full is still carried out, but nothing is
 * waited for. The waits are cancelled from the loop: who finds out may be going through
 * a list of them.
 */
static void client_is_gone(struct conn *c)
{
	if (c->gone)
		return;
	c->gone = true;
	evbuffer_drain(c->out, evbuffer_get_length(c->out));
	event_del(c->writable);
	event_active(c->again, EV_TIMEOUT, 0);
}

static bool is_finished(const struct conn *c)
{
	if (c->current || c->late)
		return false;
	if (c->closing)
		return c->gone || !evbuffer_get_length(c->out);
	return c->eof && (c->gone || !evbuffer_get_length(c->out));
}

/* --- out ------------------------------------------------------------------------------- */

static void flush(struct conn *c)
{
	const struct timeval timeout = milliseconds(bounds(c)->client_timeout_ms);

	while (evbuffer_get_length(c->out)) {
		if (evbuffer_write(c->out, c->fd) > 0)
			continue;
		if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
			event_add(c->writable, &timeout);
			return;
		}
		client_is_gone(c);
		return;
	}
	event_del(c->writable);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	if (what & EV_TIMEOUT) {
		log_warning("uid %u (pid %d): dropped, it has not read for %u ms; %zu bytes lost",
			    (unsigned)c->peer.uid, (int)c->peer.pid, bounds(c)->client_timeout_ms,
			    evbuffer_get_length(c->out));
		c->closing = true;
		client_is_gone(c);
	} else {
		flush(c);
	}
	pump(c);
}

static void on_message_done(void *ctx, struct message *m, struct evbuffer *reply)
{
	struct task *t = ctx;
	struct conn *c = t->conn;

	(void)m;
	if (c->current == t) {
		c->current = NULL;
	} else {
		struct task **link = &c->late;

		while (*link != t)
			link = &(*link)->next;
		*link = t->next;
		c->late_count--;
	}
	free(t);
	if (!c->gone && evbuffer_get_length(reply)) {
		evbuffer_add_buffer(c->out, reply);
		flush(c);
	}
	pump(c);
}

/* --- messages ---------------------------------------------------------------------------- */

/* The descriptors that came with the stream up to here; -E2BIG if there were too many. */
static int take_fds(struct conn *c, uint64_t end, int *fds, size_t *ret_count)
{
	size_t i, n = 0;
	int r = 0;

	for (i = 0; i < c->fd_count && c->fds[i].place < end; i++) {
		const int fd = c->fds[i].fd;

		if (fd >= 0 && n < PROTO_FDS_MAX)
			fds[n++] = fd;
		else
			r = -E2BIG;
		if (fd >= 0 && r)
			close(fd);
	}
	c->fd_count -= i;
	memmove(c->fds, c->fds + i, c->fd_count * sizeof(c->fds[0]));
	for (size_t k = 0; r && k < n; k++)
		close(fds[k]);
	*ret_count = r ? 0 : n;
	return r;
}

static bool is_blank(const char *line, size_t len)
{
	return strspn(line, " \t\r") == len;
}

static void refuse_fds(struct message *m)
{
	struct proto_error err;

	proto_fail(&err, PROTO_ERROR_TOO_LARGE, "", "more than %u descriptors came with it",
		   PROTO_FDS_MAX);
	err.has_limit = true;
	err.limit = PROTO_FDS_MAX;
	message_refuse(m, &err);
}

static void refuse_waits(struct conn *c, struct message *m)
{
	struct proto_error err;

	proto_fail(&err, PROTO_ERROR_LIMIT, "", "the connection has %u waits already",
		   c->late_count);
	err.has_limit = true;
	err.limit = bounds(c)->waits_per_connection;
	message_refuse(m, &err);
}

/* NULL: out of memory, the connection closes. */
static struct task *task_new(struct conn *c, const int *fds, size_t fd_count)
{
	struct task *t = calloc(1, sizeof(*t));

	if (t) {
		t->conn = c;
		t->message =
			message_new(c->server->hvd, &c->peer, fds, fd_count, on_message_done, t);
	} else {
		for (size_t i = 0; i < fd_count; i++)
			close(fds[i]);
	}
	if (t && t->message)
		return t;
	free(t);
	log_error("out of memory for a request: a connection closes");
	c->closing = true;
	return NULL;
}

static void run(struct conn *c, struct task *t)
{
	struct message *m = t->message;

	if (message_is_late(m) && c->late_count >= bounds(c)->waits_per_connection)
		refuse_waits(c, m);
	if (message_is_late(m)) {
		t->next = c->late;
		c->late = t;
		c->late_count++;
		message_start(m);
		if (c->gone)
			event_active(c->again, EV_TIMEOUT, 0);
		return;
	}
	c->current = t;
	message_start(m);
}

static void handle_line(struct conn *c, const char *line, size_t len)
{
	int fds[PROTO_FDS_MAX], r;
	size_t fd_count;
	struct task *t;

	c->consumed += len + 1;
	r = take_fds(c, c->consumed, fds, &fd_count);
	if (is_blank(line, len) && !r && !fd_count)
		return;
	t = task_new(c, fds, fd_count);
	if (!t)
		return;
	if (r)
		refuse_fds(t->message);
	else
		message_parse(t->message, line, len);
	run(c, t);
}

/* The stream can't be followed any further: say so, and end. */
static void give_up(struct conn *c, enum proto_error_kind kind, const char *text, uint64_t limit)
{
	const bool pumping = c->pumping;
	struct proto_error err;
	struct task *t = task_new(c, NULL, 0);

	c->closing = true;
	log_warning("uid %u (pid %d): dropped: %s (limit %llu)", (unsigned)c->peer.uid,
		    (int)c->peer.pid, text, (unsigned long long)limit);
	if (!t)
		return;
	proto_fail(&err, kind, "", "%s", text);
	err.has_limit = true;
	err.limit = limit;
	message_refuse(t->message, &err);
	c->pumping = true; /* it is done at once: not into pump() */
	run(c, t);
	c->pumping = pumping;
}

static void update_reading(struct conn *c)
{
	const bool busy = c->current || evbuffer_get_length(c->out) > bounds(c)->output_bytes;
	const bool want = !c->eof && !c->closing && c->fd_count <= PROTO_FDS_MAX &&
			  (!busy || proto_framer_held(&c->in) < READ_AHEAD);

	if (want)
		event_add(c->readable, NULL);
	else
		event_del(c->readable);
}

/* No event tells that a client that has shut its sending side is gone altogether. */
static void update_looking(struct conn *c)
{
	const struct timeval rest = milliseconds(REST_MS);

	if (c->eof && !c->gone && c->late)
		event_add(c->look, &rest);
	else
		event_del(c->look);
}

/* Starts what can be started. May free the connection: the last thing a caller does. */
static void pump(struct conn *c)
{
	int budget = MESSAGES_PER_TURN, r = 0;
	size_t len;
	char *line;

	if (c->pumping)
		return;
	c->pumping = true;
	while (!c->current && !c->closing &&
	       evbuffer_get_length(c->out) <= bounds(c)->output_bytes) {
		if (!budget--) {
			event_active(c->again, EV_TIMEOUT, 0);
			break;
		}
		r = proto_framer_next(&c->in, &line, &len);
		if (r)
			break;
		handle_line(c, line, len);
	}
	if (r == -EMSGSIZE)
		give_up(c, PROTO_ERROR_TOO_LARGE, "a message is larger than the limit",
			PROTO_MESSAGE_MAX);
	else if (r == -EAGAIN && c->fd_count > PROTO_FDS_MAX)
		give_up(c, PROTO_ERROR_TOO_LARGE, "more descriptors came than a message may have",
			PROTO_FDS_MAX);
	if (!proto_framer_held(&c->in) && c->in.size > READ_AHEAD)
		proto_framer_free(&c->in);
	c->pumping = false;
	/* At the end of the stream, what is there without a newline is no message. */
	if (is_finished(c) && (r == -EAGAIN || c->closing)) {
		conn_free(c);
		return;
	}
	update_reading(c);
	update_looking(c);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	const bool pumping = c->pumping;

	(void)fd, (void)what;
	c->pumping = true; /* cancelled messages are done at once: not into pump() */
	if (c->gone)
		cancel_late(c);
	c->pumping = pumping;
	pump(c);
}

/* --- in ------------------------------------------------------------------------------------ */

static bool peer_hung_up(const struct conn *c)
{
	struct pollfd p = {.fd = c->fd};

	return poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd, (void)what;
	if (peer_hung_up(c))
		client_is_gone(c);
	pump(c);
}

static void hold_fd(struct conn *c, int fd)
{
	c->fds[c->fd_count++] = (struct held_fd){.fd = fd, .place = c->received - 1};
}

/* c->received already counts what the descriptors came with. */
static void collect_fds(struct conn *c, struct msghdr *msg)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h; h = CMSG_NXTHDR(msg, h)) {
		size_t n;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
			hold_fd(c, fd);
		}
	}
	if (msg->msg_flags & MSG_CTRUNC)
		hold_fd(c, -1);
}

static ssize_t receive(struct conn *c, char *buf, size_t room)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * PROTO_FDS_MAX)];
	} control;
	struct iovec iov = {buf, room};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	const ssize_t n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (n > 0) {
		c->received += (uint64_t)n;
		collect_fds(c, &msg);
	}
	return n;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	size_t room;
	ssize_t n;
	char *buf;

	(void)fd, (void)what;
	if (proto_framer_reserve(&c->in, READ_BYTES, &buf, &room)) {
		give_up(c, PROTO_ERROR_NO_MEMORY, "out of memory", 0);
		pump(c);
		return;
	}
	n = receive(c, buf, room);
	if (n > 0) {
		proto_framer_filled(&c->in, (size_t)n);
	} else if (!n || (errno != EAGAIN && errno != EINTR)) {
		c->eof = true;
		if (n || peer_hung_up(c))
			client_is_gone(c);
	}
	pump(c);
}

/* --- new clients ---------------------------------------------------------------------------- */

/* A client without a role may come as often as it likes: it must not fill the log. */
static void log_refusal(struct server *s, const struct peer *peer, const char *text)
{
	unsigned left_out;

	if (!denials_admit(&s->hvd->denials, peer->uid, hvd_now_ms(), &left_out))
		return;
	log_warning("uid %u (pid %d): refused: %s", (unsigned)peer->uid, (int)peer->pid, text);
	if (left_out)
		log_warning("uid %u: refused or denied %u more times, not logged",
			    (unsigned)peer->uid, left_out);
}

/* One line of reply, if the socket takes it, and away. */
static void turn_away(struct server *s, int fd, const struct peer *peer, enum proto_error_kind kind,
		      const char *text)
{
	struct proto_error err;
	struct json_object *reply = json_object_new_object();
	const char *line;
	size_t len;

	log_refusal(s, peer, text);
	proto_fail(&err, kind, "", "%s", text);
	if (reply) {
		json_object_object_add(reply, "jsonrpc", json_object_new_string("2.0"));
		json_object_object_add(reply, "id", NULL);
		json_object_object_add(reply, "error", proto_error_json(&err, NULL));
		line = proto_json_text(reply, &len);
		if (line && send(fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len)
			(void)send(fd, "\n", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	json_object_put(reply);
	close(fd);
}

static int conn_new(struct server *s, int fd, const struct peer *peer)
{
	struct event_base *base = s->hvd->base;
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->server = s;
	c->fd = fd;
	c->peer = *peer;
	c->back = &s->conns;
	c->next = s->conns;
	if (c->next)
		c->next->back = &c->next;
	s->conns = c;
	s->count++;
	c->out = evbuffer_new();
	c->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
	c->again = event_new(base, -1, 0, on_again, c);
	c->look = event_new(base, -1, 0, on_look, c);
	if (!c->out || !c->readable || !c->writable || !c->again || !c->look ||
	    event_add(c->readable, NULL)) {
		c->fd = dup(fd); /* the caller closes fd */
		conn_free(c);
		return -ENOMEM;
	}
	return 0;
}

static void welcome(struct server *s, int fd)
{
	struct peer peer = {.uid = (uid_t)-1};
	const struct access_rules *rules = &s->hvd->rules;
	const int r = access_identify(fd, rules, &peer);
	char text[PROTO_TEXT_LEN];

	snprintf(text, sizeof(text), "uid %u has no role: %s", (unsigned)peer.uid,
		 rules->by_groups ? "it is in none of the groups that have one"
				  : "only root and the daemon's own user may use this socket");
	if (r == -EACCES)
		turn_away(s, fd, &peer, PROTO_ERROR_DENIED, text);
	else if (r)
		turn_away(s, fd, &peer, PROTO_ERROR_DENIED, "who it is can't be found out");
	else if (s->count >= s->hvd->config.bounds.connections)
		turn_away(s, fd, &peer, PROTO_ERROR_LIMIT, "too many clients are connected");
	else if (conn_new(s, fd, &peer))
		turn_away(s, fd, &peer, PROTO_ERROR_NO_MEMORY, "out of memory");
}

static void on_acceptable(evutil_socket_t listener, short what, void *arg)
{
	const struct timeval rest = milliseconds(REST_MS);
	struct server *s = arg;
	const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (fd >= 0) {
		welcome(s, fd);
		return;
	}
	if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
		return; /* the client was quicker, or nobody is there */
	log_error("accept: %s", strerror(errno));
	event_del(s->acceptable);
	event_add(s->rest, &rest);
}

static void on_rested(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;

	(void)fd, (void)what;
	event_add(s->acceptable, NULL);
}

/* --- the server ---------------------------------------------------------------------------- */

static mode_t socket_mode(const struct hvd_config *config)
{
	if (config->socket_mode)
		return config->socket_mode;
	return config->access == ACCESS_BY_ROLES ? 0666 : 0600;
}

int server_start(struct hvd *h)
{
	struct server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->hvd = h;
	s->listener.fd = -1;
	h->server = s;
	if (h->config.listen_fd)
		r = listener_adopt(h->config.listen_fd, &s->listener);
	else
		r = listener_open(h->config.socket, socket_mode(&h->config), &s->listener);
	if (r)
		return r;
	s->acceptable = event_new(h->base, s->listener.fd, EV_READ | EV_PERSIST, on_acceptable, s);
	s->rest = event_new(h->base, -1, 0, on_rested, s);
	if (!s->acceptable || !s->rest || event_add(s->acceptable, NULL))
		return -ENOMEM;
	return 0;
}

unsigned server_connections(const struct hvd *h)
{
	return h->server ? h->server->count : 0;
}

/* The kernel still knows who connected: only what that allows may have changed. */
void server_identify_again(struct hvd *h)
{
	for (struct conn *c = h->server->conns; c; c = c->next) {
		struct peer peer = c->peer;

		if (access_identify(c->fd, &h->rules, &peer))
			peer.has_role = false;
		c->peer = peer;
	}
}

void server_quiesce(struct hvd *h)
{
	struct server *s = h->server;

	if (!s)
		return;
	if (s->acceptable)
		event_free(s->acceptable);
	if (s->rest)
		event_free(s->rest);
	s->acceptable = s->rest = NULL;
	listener_close(&s->listener);
	for (struct conn *c = s->conns; c; c = c->next) {
		c->closing = true;
		c->pumping = true; /* none is freed while others are looked at */
		event_del(c->readable);
	}
}

void server_stop(struct hvd *h)
{
	struct server *s = h->server;

	if (!s)
		return;
	for (struct conn *c = s->conns, *next; c; c = next) {
		next = c->next;
		cancel_late(c);
		conn_free(c);
	}
	free(s);
	h->server = NULL;
}
