// SPDX-License-Identifier: MIT
/*
 * Many clients in one thread. Each keeps as many requests unanswered as the depth says:
 * whatever a read brings is answered by as many new requests, in one write. Latency is
 * from that write to the read that brings the reply.
 */
#include "api.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SAMPLES (1u << 22)
#define READ_BYTES (1u << 18)

struct conn {
	struct client client;
	uint64_t *sent_ns; /* a ring of depth */
	size_t head, in_flight;
	const char *rest;      /* of a request that the socket did not take */
	size_t rest_len, owed; /* requests to send behind it */
	size_t reply_bytes;
};

struct run {
	const struct load *load;
	struct conn *conns;
	int ep;
	size_t next; /* request */
	uint32_t *samples;
	size_t sample_count, replies, last_bytes;
	char *in;
};

static void watch(struct run *r, struct conn *c, bool writing)
{
	struct epoll_event ev = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = c};

	if (epoll_ctl(r->ep, EPOLL_CTL_MOD, c->client.fd, &ev) < 0)
		die("epoll_ctl: %s", strerror(errno));
}

/* false: the socket is full. */
static bool send_rest(struct conn *c)
{
	while (c->rest_len) {
		const ssize_t n =
			send(c->client.fd, c->rest, c->rest_len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0)
			die("sending: %s", strerror(errno));
		c->rest += n;
		c->rest_len -= (size_t)n;
	}
	return true;
}

/* Small requests go together, large ones by themselves. */
static void send_owed(struct run *r, struct conn *c)
{
	static char batch[1 << 16];

	while (send_rest(c) && c->owed) {
		const uint64_t now = now_ns();
		size_t filled = 0;

		while (c->owed) {
			const size_t i = r->next, len = r->load->lengths[i];

			if (filled && filled + len > sizeof(batch))
				break;
			if (++r->next == r->load->request_count)
				r->next = 0;
			c->sent_ns[(c->head + c->in_flight++) % r->load->depth] = now;
			c->owed--;
			if (len > sizeof(batch)) {
				c->rest = r->load->requests[i];
				c->rest_len = len;
				break;
			}
			memcpy(batch + filled, r->load->requests[i], len);
			filled += len;
			c->rest = batch;
			c->rest_len = filled;
		}
		/* The batch is every connection's: what is left of it would be overwritten. */
		if (!send_rest(c) && c->rest >= batch && c->rest < batch + sizeof(batch))
			die("a socket takes less than %zu bytes", sizeof(batch));
	}
	watch(r, c, c->rest_len != 0);
}

static void take_reply(struct run *r, struct conn *c, uint64_t now)
{
	const uint64_t ns = now - c->sent_ns[c->head];

	c->head = (c->head + 1) % r->load->depth;
	c->in_flight--;
	c->owed++;
	r->replies++;
	if (r->sample_count < SAMPLES)
		r->samples[r->sample_count++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
	r->last_bytes = c->reply_bytes;
	c->reply_bytes = 0;
}

static void read_replies(struct run *r, struct conn *c)
{
	const ssize_t n = recv(c->client.fd, r->in, READ_BYTES, MSG_DONTWAIT);
	const uint64_t now = now_ns();
	const char *at = r->in, *end, *newline;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		die("the server hung up");
	if (memmem(r->in, (size_t)n, "\"error\":", 8))
		die("refused: %.*s", (int)n, r->in);
	for (end = at + n; (newline = memchr(at, '\n', (size_t)(end - at))); at = newline + 1) {
		c->reply_bytes += (size_t)(newline + 1 - at);
		take_reply(r, c, now);
	}
	c->reply_bytes += (size_t)(end - at);
}

static void connect_all(struct run *r)
{
	for (unsigned i = 0; i < r->load->clients; i++) {
		struct conn *c = &r->conns[i];
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

		client_open(&c->client, r->load->socket);
		c->sent_ns = need(r->load->depth, sizeof(*c->sent_ns));
		if (epoll_ctl(r->ep, EPOLL_CTL_ADD, c->client.fd, &ev) < 0)
			die("epoll_ctl: %s", strerror(errno));
	}
}

/* Answers until the end of the time; then only reads, until nothing is in flight. */
static void serve(struct run *r, uint64_t until)
{
	struct epoll_event ready[64];
	size_t in_flight = 0;

	do {
		const int n = epoll_wait(r->ep, ready, 64, 10000);
		const bool going = now_ns() < until;

		if (n <= 0)
			die("the server does not answer");
		for (int i = 0; i < n; i++) {
			struct conn *c = ready[i].data.ptr;

			if (ready[i].events & EPOLLOUT)
				send_owed(r, c);
			if (ready[i].events & ~(uint32_t)EPOLLOUT)
				read_replies(r, c);
			if (going && c->owed)
				send_owed(r, c);
		}
		in_flight = 0;
		for (unsigned i = 0; i < r->load->clients; i++)
			in_flight += r->conns[i].in_flight;
	} while (in_flight);
}

void load_run(const struct load *l, struct load_result *ret)
{
	struct run r = {.load = l, .ep = epoll_create1(EPOLL_CLOEXEC)};
	uint64_t start;

	r.conns = need(l->clients, sizeof(*r.conns));
	r.samples = need(SAMPLES, sizeof(*r.samples));
	r.in = need(1, READ_BYTES);
	connect_all(&r);
	start = now_ns();
	for (unsigned i = 0; i < l->clients; i++) {
		r.conns[i].owed = l->depth;
		send_owed(&r, &r.conns[i]);
	}
	serve(&r, start + l->duration_ns);
	*ret = (struct load_result){
		.replies = r.replies, .elapsed_ns = now_ns() - start, .reply_bytes = r.last_bytes};
	qsort(r.samples, r.sample_count, sizeof(*r.samples), compare_u32);
	ret->p50_ns = percentile(r.samples, r.sample_count, 50);
	ret->p99_ns = percentile(r.samples, r.sample_count, 99);
	ret->max_ns = percentile(r.samples, r.sample_count, 100);
	for (unsigned i = 0; i < l->clients; i++) {
		client_close(&r.conns[i].client);
		free(r.conns[i].sent_ns);
	}
	close(r.ep);
	free(r.conns);
	free(r.samples);
	free(r.in);
}
