/* SPDX-License-Identifier: MIT */
/*
 * A connection's state. Bytes come into the framer (transport.c); its lines are taken from
 * it in order and become replies and notifications (message.c); client.c is what programs call.
 */
#ifndef LIBHVD_INTERNAL_H
#define LIBHVD_INTERNAL_H

#include "proto/proto.h"
#include <hvd/client.h>

/* A request whose reply has not come, or that waits to be taken. */
struct pending {
	struct pending *next;
	uint64_t id;
	hvd_reply_fn *fn; /* NULL: hvd_client_wait() takes it */
	void *ctx;
	struct json_object *reply; /* the message; NULL: not yet come. Only with fn NULL */
	size_t reply_bytes;
};

/* A notification that hvd_client_next() takes. */
struct kept {
	struct kept *next;
	struct json_object *message;
	size_t bytes;
};

struct hvd_client {
	int fd;
	int timeout_ms;
	size_t held_max;
	struct proto_framer in;
	size_t kept_bytes; /* of the messages below */
	struct pending *pending, **pending_end;
	size_t outstanding; /* of these, without reply */
	struct kept *kept, **kept_end;
	uint64_t next_id;
	hvd_notification_fn *notify;
	void *notify_ctx;
	struct json_object *error; /* of the latest refusal */
	bool calling;		   /* a callback is in progress */
	/*
	 * The request that hvd_client_wait() waits for; 0: none. Lines behind its reply are left
	 * for later: who subscribes gets the number of the subscription before what it sends.
	 */
	uint64_t awaited;
	/*
	 * ended: nothing more comes, or can be sent; lines that came before may be held. broken:
	 * those are done with, too. Negative errnos, with broken_error.
	 */
	int ended, broken;
	struct hvd_error broken_error;
};

/* Milliseconds of the monotonic clock at which a wait ends; -1: never. */
typedef int64_t deadline_t;

/* --- transport.c ---------------------------------------------------------------------- */

deadline_t transport_deadline(int timeout_ms);
/*
 * Sends a line, and receives while the socket takes no more. -ETIMEDOUT: nothing was sent.
 * Another error: client->ended, too.
 */
int transport_send(struct hvd_client *client, const char *text, size_t len, const int *fds,
		   size_t fd_count);
/* Receives something, or learns that nothing more comes (client->ended): 0; -ETIMEDOUT, -EINTR. */
int transport_receive(struct hvd_client *client, deadline_t deadline);

/* --- message.c ------------------------------------------------------------------------ */

/* Fills *err (which may be NULL) with an error of this side; returns status. */
int message_fail(struct hvd_error *err, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* As message_fail(), with the errno's own text behind what. */
int message_fail_errno(struct hvd_error *err, int status, const char *what);
/*
 * Handles every line that is held, but those behind the reply that is waited for, and the end if it
 * has come: calls callbacks. How many messages there were.
 */
int message_handle_all(struct hvd_client *client);
/* The connection is of no more use: whoever waits for a reply with a callback is told so. */
void message_break(struct hvd_client *client, int status);
/* Which result, or error, a reply has: 0 and *ret_result (borrowed), or -EREMOTEIO and *err. */
int message_read_reply(struct hvd_client *client, struct json_object *reply,
		       struct json_object **ret_result, struct hvd_error *err);
/* The link to the request of that id; *link is NULL if there is none. */
struct pending **message_find(struct hvd_client *client, uint64_t id);
/* Takes it off the list and frees it. */
void message_forget(struct hvd_client *client, struct pending **link);

#endif
