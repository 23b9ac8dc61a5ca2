// SPDX-License-Identifier: MIT
/*
 * libhvd against a daemon that sends anything. The first two bytes choose how the stream is cut
 * and what the client does; the rest is what the daemon sends. What must hold: each request ends
 * once, with a result or an error, and never both.
 */
#include "fuzz.h"
#include <errno.h>
#include <hvd/client.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUESTS 4u
#define INPUT_MAX 65536u /* what a socket takes unread */

static unsigned ended[REQUESTS];

static void on_reply(void *ctx, int status, struct json_object *result, const struct hvd_error *err)
{
	unsigned *n = ctx;

	CHECK(!(*n)++);
	CHECK(status <= 0 && (status == 0) == (err == NULL));
	CHECK(!status || !result);
	CHECK(!err || memchr(err->text, '\0', sizeof(err->text)));
}

static void on_notification(void *ctx, const char *method, struct json_object *params)
{
	(void)ctx;
	CHECK(*method && json_object_is_type(params, json_type_object));
}

static void feed(int fd, struct choices *c, unsigned cut)
{
	size_t n = cut % 7 ? (size_t)cut * 16 % 251 + 1 : c->left;

	n = n < c->left ? n : c->left;
	if (!n)
		return;
	CHECK(send(fd, c->p, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n);
	c->p += n;
	c->left -= n;
}

static void look(struct hvd_client *client, uint64_t id)
{
	struct json_object *obj = NULL;
	struct hvd_error err;
	uint64_t address;
	uint8_t data[32];
	size_t n;
	int r = hvd_client_wait(client, id, 0, &obj, &err);

	CHECK(r <= 0);
	if (!r && json_object_is_type(obj, json_type_object)) {
		struct json_object *v = NULL;

		json_object_object_get_ex(obj, "a", &v);
		r = hvd_json_get_bytes(v, data, sizeof(data), &n);
		CHECK(r || n <= sizeof(data));
		hvd_json_get_address(v, &address);
	}
	json_object_put(obj);
	obj = NULL;
	r = hvd_client_next(client, 0, &obj);
	CHECK(r <= 0 && (r || obj));
	json_object_put(obj);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct choices c = {data, size < INPUT_MAX ? size : INPUT_MAX};
	const unsigned cut = choose_byte(&c), how = choose_byte(&c);
	struct hvd_client *client;
	uint64_t id = 0;
	int fds[2], r;

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	CHECK(!hvd_client_adopt(fds[0], &client));
	memset(ended, 0, sizeof(ended));
	if (how & 1)
		hvd_client_on_notification(client, on_notification, NULL);
	if (how & 2)
		hvd_client_set_held_max(client, 512);
	for (unsigned i = 0; i < REQUESTS; i++)
		CHECK(!hvd_client_send(client, "m", NULL, NULL, 0, i ? on_reply : NULL, &ended[i],
				       i ? NULL : &id, NULL));
	do {
		feed(fds[1], &c, cut);
		if (!c.left)
			shutdown(fds[1], SHUT_WR);
		r = hvd_client_dispatch(client, 0);
		if (how & 4)
			look(client, id);
	} while (r >= 0);
	CHECK(r == -ECONNRESET || r == -EBADMSG || r == -ENOBUFS || r == -EREMOTEIO);
	CHECK(hvd_client_dispatch(client, 0) == r);
	look(client, id);
	for (unsigned i = 1; i < REQUESTS; i++)
		CHECK(ended[i] == 1);
	CHECK(hvd_client_outstanding(client) == 0);
	hvd_client_close(client);
	close(fds[1]);
	return 0;
}
