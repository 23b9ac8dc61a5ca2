// SPDX-License-Identifier: MIT
/* What comes in on a connection: bytes and descriptors, cut into messages. */
#include "hvd/conn.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (16u << 10)
#define HELD_BYTES (64u << 10) /* of the buffer, kept when it is empty */

/* --- descriptors -------------------------------------------------------------------- */

void conn_in_free(struct conn *c)
{
	for (size_t i = 0; i < c->fd_count; i++)
		if (c->fds[i].fd >= 0)
			close(c->fds[i].fd);
	c->fd_count = 0;
	proto_framer_free(&c->in);
}

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

/* --- messages ------------------------------------------------------------------------- */

bool conn_queue_is_full(const struct conn *c)
{
	return c->queued.requests >= conn_bounds(c)->requests_per_connection ||
	       c->queued.bytes >= CONN_WAITING_BYTES_MAX || c->queued.fds >= CONN_WAITING_FDS_MAX;
}

static void enqueue(struct conn *c, struct task *t)
{
	*c->queue_last = t;
	c->queue_last = &t->next;
	c->queued.requests += message_requests(t->message);
	c->queued.bytes += t->bytes;
	c->queued.fds += t->fds;
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

static bool is_blank(const char *line, size_t len)
{
	return strspn(line, " \t\r") == len;
}

static void take_line(struct conn *c, const char *line, size_t len)
{
	int fds[PROTO_FDS_MAX], r = 0;
	size_t fd_count = 0;
	struct task *t;

	c->consumed += len + 1;
	if (c->fd_count)
		r = take_fds(c, c->consumed, fds, &fd_count);
	if (is_blank(line, len) && !r && !fd_count)
		return;
	t = conn_task_new(c, fds, fd_count);
	if (!t)
		return;
	t->bytes = len;
	if (r)
		refuse_fds(t->message);
	else
		message_parse(t->message, line, len);
	if (message_is_urgent(t->message))
		conn_start_now(c, t);
	else
		enqueue(c, t);
}

/* The stream can't be followed any further: say so behind what it has asked for, and end. */
static void give_up(struct conn *c, enum proto_error_kind kind, const char *text, uint64_t limit)
{
	struct proto_error err;
	struct task *t = conn_task_new(c, NULL, 0);

	conn_drop(c, "%s (limit %llu)", text, (unsigned long long)limit);
	if (!t)
		return;
	proto_fail(&err, kind, "", "%s", text);
	err.has_limit = true;
	err.limit = limit;
	message_refuse(t->message, &err);
	enqueue(c, t);
}

void conn_take_messages(struct conn *c)
{
	int r = 0;
	size_t len;
	char *line;

	while (!conn_queue_is_full(c) && !c->closing) {
		r = proto_framer_next(&c->in, &line, &len);
		c->split = r == -EAGAIN;
		if (r)
			break;
		take_line(c, line, len);
	}
	if (r == -EMSGSIZE)
		give_up(c, PROTO_ERROR_TOO_LARGE, "a message is larger than the limit",
			PROTO_MESSAGE_MAX);
	else if (r == -EAGAIN && c->fd_count > PROTO_FDS_MAX)
		give_up(c, PROTO_ERROR_TOO_LARGE, "more descriptors came than a message may have",
			PROTO_FDS_MAX);
	if (!proto_framer_held(&c->in) && c->in.size > HELD_BYTES)
		proto_framer_free(&c->in);
}

/* --- bytes --------------------------------------------------------------------------------- */

bool conn_peer_hung_up(const struct conn *c)
{
	struct pollfd p = {.fd = c->fd};

	return poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR);
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

void conn_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	size_t room;
	ssize_t n;
	char *buf;

	(void)fd, (void)what;
	if (proto_framer_reserve(&c->in, READ_BYTES, &buf, &room)) {
		give_up(c, PROTO_ERROR_NO_MEMORY, "out of memory", 0);
		return;
	}
	n = receive(c, buf, room);
	if (n > 0) {
		proto_framer_filled(&c->in, (size_t)n);
		c->split = false;
	} else if (!n || (errno != EAGAIN && errno != EINTR)) {
		c->eof = true;
		if (n || conn_peer_hung_up(c))
			conn_client_is_gone(c);
	}
}
