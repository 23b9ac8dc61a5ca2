// SPDX-License-Identifier: MIT
#include "hvd/server.h"
#include "hvd/access.h"
#include "hvd/conn.h"
#include "hvd/listener.h"
#include "hvd/log.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 16
#define REST_MS 1000 /* when there are no descriptors left */

struct server {
	struct hvd *hvd;
	struct listener listener;
	struct event *acceptable, *rest;
	struct conns conns;
};

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

/* NULL: one more may come. */
static const char *check_count(const struct server *s, const struct peer *peer)
{
	const struct hvd_bounds *bounds = &s->hvd->config.bounds;
	struct access_counts counts = {.total = s->conns.count,
				       .total_max = bounds->connections,
				       .of_uid_max = bounds->connections_per_uid};

	for (const struct conn *c = s->conns.first; c; c = c->next)
		counts.of_uid += c->peer.uid == peer->uid;
	return access_check_count(&counts, access_is_owner(peer, geteuid()));
}

static void welcome(struct server *s, int fd)
{
	struct peer peer = {.uid = (uid_t)-1};
	const struct access_rules *rules = &s->hvd->rules;
	const int r = access_identify(fd, rules, &peer);
	const char *full = check_count(s, &peer);
	char text[PROTO_TEXT_LEN];

	snprintf(text, sizeof(text), "uid %u has no role: %s", (unsigned)peer.uid,
		 rules->by_groups ? "it is in none of the groups that have one"
				  : "only root and the daemon's own user may use this socket");
	if (r == -EACCES)
		turn_away(s, fd, &peer, PROTO_ERROR_DENIED, text);
	else if (r)
		turn_away(s, fd, &peer, PROTO_ERROR_DENIED, "who it is can't be found out");
	else if (full)
		turn_away(s, fd, &peer, PROTO_ERROR_LIMIT, full);
	else if (conn_new(s->hvd, &s->conns, fd, &peer))
		turn_away(s, fd, &peer, PROTO_ERROR_NO_MEMORY, "out of memory");
}

static void on_acceptable(evutil_socket_t listener, short what, void *arg)
{
	const struct timeval rest = {.tv_sec = REST_MS / 1000};
	struct server *s = arg;

	(void)what;
	for (int n = 0; n < ACCEPTS_PER_TURN; n++) {
		const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			welcome(s, fd);
			continue;
		}
		if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
			return; /* nobody else is there, or the client was quicker */
		log_error("accept: %s", strerror(errno));
		event_del(s->acceptable);
		event_add(s->rest, &rest);
		return;
	}
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
	return h->server ? h->server->conns.count : 0;
}

/* The kernel still knows who connected: only what that allows may have changed. */
void server_identify_again(struct hvd *h)
{
	for (struct conn *c = h->server->conns.first; c; c = c->next) {
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
	for (struct conn *c = s->conns.first; c; c = c->next)
		conn_quiesce(c);
}

void server_stop(struct hvd *h)
{
	struct server *s = h->server;

	if (!s)
		return;
	while (s->conns.first)
		conn_stop(s->conns.first);
	free(s);
	h->server = NULL;
}
