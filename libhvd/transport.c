// SPDX-License-Identifier: MIT
/* Bytes out and in. The socket's own mode is left alone: nothing here blocks but poll(). */
#include "libhvd/internal.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#define READ_BYTES (64u << 10)

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

deadline_t transport_deadline(int timeout_ms)
{
	return timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
}

/* Milliseconds left, as poll() takes them. */
static int left_ms(deadline_t deadline)
{
	int64_t left;

	if (deadline < 0)
		return -1;
	left = deadline - now_ms();
	return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

/* What happened of events; 0 or an errno. */
static int wait_for(const struct hvd_client *client, short events, deadline_t deadline,
		    short *ret_happened)
{
	struct pollfd p = {.fd = client->fd, .events = events};
	const int n = poll(&p, 1, left_ms(deadline));

	if (n < 0)
		return -errno;
	if (!n)
		return -ETIMEDOUT;
	*ret_happened = p.revents;
	return 0;
}

/* What may still be received before somebody takes something. */
static size_t room_left(const struct hvd_client *client)
{
	const size_t held = proto_framer_held(&client->in) + client->kept_bytes;

	return held < client->held_max ? client->held_max - held : 0;
}

/* 0 something was received, or client->ended is set; -EAGAIN there is nothing now. */
static int receive_now(struct hvd_client *client)
{
	const size_t allowed = room_left(client);
	size_t room;
	ssize_t n;
	char *buf;
	int r;

	if (!allowed) {
		client->ended = -ENOBUFS;
		return 0;
	}
	r = proto_framer_reserve(&client->in, READ_BYTES, &buf, &room);
	if (r) {
		client->ended = r;
		return 0;
	}
	do
		n = recv(client->fd, buf, room < allowed ? room : allowed, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		proto_framer_filled(&client->in, (size_t)n);
	else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return -EAGAIN;
	else
		client->ended = n ? -errno : -ECONNRESET;
	return 0;
}

int transport_receive(struct hvd_client *client, deadline_t deadline)
{
	short happened;
	int r = client->ended ? 0 : receive_now(client);

	while (r == -EAGAIN) {
		r = wait_for(client, POLLIN, deadline, &happened);
		if (!r)
			r = receive_now(client);
	}
	return r;
}

/*
 * Until the socket takes more. What the daemon says meanwhile is received: it may be waiting
 * for us to read before it reads on.
 */
static int wait_to_send(struct hvd_client *client, deadline_t deadline)
{
	short happened = 0;
	int r;

	do
		r = wait_for(client, POLLIN | POLLOUT, deadline, &happened);
	while (r == -EINTR);
	if (!r && happened & (POLLIN | POLLHUP | POLLERR))
		receive_now(client);
	return r ? r : client->ended;
}

/* The daemon has hung up: it may have said why. */
static void receive_the_rest(struct hvd_client *client)
{
	int r = 0;

	while (!r && !client->ended)
		r = receive_now(client);
}

int transport_send(struct hvd_client *client, const char *text, size_t len, const int *fds,
		   size_t fd_count)
{
	const deadline_t deadline = transport_deadline(client->timeout_ms);
	struct proto_outgoing o;
	int r;

	if (client->ended) /* maybe in the middle of a line */
		return client->ended;
	proto_outgoing_begin(&o, text, len, fds, fd_count);
	do {
		r = proto_outgoing_send(client->fd, &o, MSG_DONTWAIT);
		if (r == -EAGAIN)
			r = wait_to_send(client, deadline);
		else
			break;
	} while (!r);
	if (r == -EPIPE)
		r = -ECONNRESET;
	if (r == -ECONNRESET)
		receive_the_rest(client);
	if (!r || (r == -ETIMEDOUT && o.left == len + 1))
		return r;
	if (!client->ended)
		client->ended = r;
	return client->ended;
}
