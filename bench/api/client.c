// SPDX-License-Identifier: MIT
/* One connection whose requests are waited for. */
#include "api.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

void client_open(struct client *c, const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	memcpy(addr.sun_path, path, strlen(path) + 1);
	*c = (struct client){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), .room = 1 << 20};
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		die("%s: %s", path, strerror(errno));
	c->buf = need(1, c->room);
}

void client_close(struct client *c)
{
	close(c->fd);
	free(c->buf);
}

void client_send(struct client *c, const char *text, size_t len, int pass_fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	struct iovec iov = {(void *)(uintptr_t)text, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (pass_fd >= 0) {
		struct cmsghdr *h;

		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		h = CMSG_FIRSTHDR(&msg);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(h), &pass_fd, sizeof(int));
	}
	while (iov.iov_len) {
		const ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);

		if (n < 0)
			die("sending: %s", strerror(errno));
		iov.iov_base = (char *)iov.iov_base + n;
		iov.iov_len -= (size_t)n;
		msg.msg_control = NULL;
		msg.msg_controllen = 0;
	}
}

const char *client_line(struct client *c)
{
	for (;;) {
		char *line = c->buf + c->start, *end = memchr(line, '\n', c->used - c->start);
		ssize_t n;

		if (end) {
			*end = '\0';
			c->start = (size_t)(end + 1 - c->buf);
			if (strstr(line, "\"error\":"))
				die("refused: %s", line);
			return line;
		}
		memmove(c->buf, line, c->used - c->start);
		c->used -= c->start;
		c->start = 0;
		if (c->used == c->room) {
			c->room *= 2;
			c->buf = realloc(c->buf, c->room);
			if (!c->buf)
				die("out of memory");
		}
		n = recv(c->fd, c->buf + c->used, c->room - c->used, 0);
		if (n <= 0)
			die("the server hung up");
		c->used += (size_t)n;
	}
}

static char *build(size_t *ret_len, const char *method, const char *params, va_list ap)
{
	char *inner, *text;
	int n;

	if (vasprintf(&inner, params, ap) < 0)
		die("out of memory");
	n = asprintf(&text, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":{%s}}\n",
		     method, inner);
	free(inner);
	if (n < 0)
		die("out of memory");
	*ret_len = (size_t)n;
	return text;
}

char *request_text(size_t *ret_len, const char *method, const char *params, ...)
{
	va_list ap;
	char *text;

	va_start(ap, params);
	text = build(ret_len, method, params, ap);
	va_end(ap);
	return text;
}

const char *client_call(struct client *c, int pass_fd, const char *method, const char *params, ...)
{
	va_list ap;
	size_t len;
	char *text;

	va_start(ap, params);
	text = build(&len, method, params, ap);
	va_end(ap);
	client_send(c, text, len, pass_fd);
	free(text);
	return client_line(c);
}

uint64_t reply_number(const char *reply, const char *name)
{
	char key[64];
	const char *at;

	snprintf(key, sizeof(key), "\"%s\":", name);
	at = strstr(reply, key);
	if (!at)
		die("a reply has no %s: %.200s", name, reply);
	return strtoull(at + strlen(key), NULL, 10);
}
