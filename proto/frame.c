// SPDX-License-Identifier: MIT
/* Lines out of a stream of bytes, and the client's end of the socket. */
#include "proto/proto.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_BYTES 16384

static size_t line_limit(const struct proto_framer *f)
{
	return f->limit ? f->limit : PROTO_MESSAGE_MAX;
}

size_t proto_framer_held(const struct proto_framer *f)
{
	return f->used - f->start;
}

int proto_framer_reserve(struct proto_framer *f, size_t min, char **ret, size_t *ret_room)
{
	const size_t held = proto_framer_held(f);
	size_t size = f->size ? f->size : READ_BYTES;
	char *buf;

	/* scanned == used: no newline in what is held */
	if (held >= line_limit(f) && f->scanned == f->used)
		return -EMSGSIZE;
	if (f->start) {
		memmove(f->buf, f->buf + f->start, held);
		f->scanned -= f->start;
		f->used = held;
		f->start = 0;
	}
	while (size - held < min)
		if (__builtin_mul_overflow(size, 2, &size))
			return -ENOMEM;
	if (size != f->size) {
		buf = realloc(f->buf, size);
		if (!buf)
			return -ENOMEM;
		f->buf = buf;
		f->size = size;
	}
	*ret = f->buf + f->used;
	*ret_room = f->size - f->used;
	return 0;
}

void proto_framer_filled(struct proto_framer *f, size_t n)
{
	f->used += n;
}

int proto_framer_next(struct proto_framer *f, char **ret, size_t *ret_len)
{
	char *end = f->used > f->scanned ? memchr(f->buf + f->scanned, '\n', f->used - f->scanned)
					 : NULL;
	size_t len;

	if (!end) {
		f->scanned = f->used;
		return proto_framer_held(f) >= line_limit(f) ? -EMSGSIZE : -EAGAIN;
	}
	len = (size_t)(end - (f->buf + f->start));
	if (len + 1 > line_limit(f))
		return -EMSGSIZE;
	*end = '\0';
	*ret = f->buf + f->start;
	*ret_len = len;
	f->start += len + 1;
	f->scanned = f->start;
	return 0;
}

void proto_framer_free(struct proto_framer *f)
{
	free(f->buf);
	*f = (struct proto_framer){.limit = f->limit};
}

int proto_connect(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd, r;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

void proto_outgoing_begin(struct proto_outgoing *o, const char *text, size_t len, const int *fds,
			  size_t fd_count)
{
	*o = (struct proto_outgoing){
		.iov = {{(void *)(uintptr_t)text, len}, {(void *)(uintptr_t) "\n", 1}},
		.fds = fds,
		.fd_count = fd_count,
		.left = len + 1};
}

/* Takes n bytes off the front. */
static void outgoing_sent(struct proto_outgoing *o, size_t n)
{
	o->left -= n;
	for (int i = 0; i < 2; i++) {
		const size_t part = n < o->iov[i].iov_len ? n : o->iov[i].iov_len;

		o->iov[i].iov_base = (char *)o->iov[i].iov_base + part;
		o->iov[i].iov_len -= part;
		n -= part;
	}
}

/* Descriptors travel with the first byte; what sendmsg() left over goes without them. */
int proto_outgoing_send(int fd, struct proto_outgoing *o, int flags)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * PROTO_FDS_MAX)];
	} control = {.bytes = {0}};
	struct msghdr msg = {.msg_iov = o->iov, .msg_iovlen = 2};
	ssize_t n;

	if (o->fd_count > PROTO_FDS_MAX)
		return -E2BIG;
	if (o->fd_count) {
		struct cmsghdr *c;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * o->fd_count);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * o->fd_count);
		memcpy(CMSG_DATA(c), o->fds, sizeof(int) * o->fd_count);
	}
	do {
		n = sendmsg(fd, &msg, flags | MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < 0)
			continue;
		o->fd_count = 0;
		msg.msg_control = NULL;
		msg.msg_controllen = 0;
		outgoing_sent(o, (size_t)n);
	} while (o->left);
	return 0;
}

int proto_send_line(int fd, const char *text, size_t len, const int *fds, size_t fd_count)
{
	struct proto_outgoing o;

	proto_outgoing_begin(&o, text, len, fds, fd_count);
	return proto_outgoing_send(fd, &o, 0);
}

int proto_recv_line(int fd, struct proto_framer *f, char **ret, size_t *ret_len)
{
	size_t room;
	ssize_t n;
	char *buf;
	int r;

	for (;;) {
		r = proto_framer_next(f, ret, ret_len);
		if (r != -EAGAIN)
			return r;
		r = proto_framer_reserve(f, READ_BYTES / 2, &buf, &room);
		if (r)
			return r;
		n = recv(fd, buf, room, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		proto_framer_filled(f, (size_t)n);
	}
}
