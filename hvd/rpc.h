/* SPDX-License-Identifier: MIT */
/*
 * A message: one line, a JSON-RPC request or a batch of them. Its requests are carried
 * out one after the other; then done() gets what is to be sent.
 */
#ifndef HVD_RPC_H
#define HVD_RPC_H

#include "hvd/access.h"
#include "hvd/hvd.h"

#define RPC_BATCH_REPLY_MAX (8u << 20) /* bytes after which a batch's other requests fail */

struct conn;
struct message;

/* reply: lines to send, maybe none; the callee may take its data. The message is gone afterwards.
 */
typedef void message_done_fn(void *ctx, struct message *m, struct proto_text *reply);

/* Takes the descriptors, which it closes in the end. NULL: out of memory (they are closed). */
struct message *message_new(struct hvd *h, struct conn *conn, const int *fds, size_t fd_count,
			    message_done_fn *done, void *ctx);
/* Of one that was never started: done() is not called. */
void message_free(struct message *m);
/* Reads the line. Afterwards it is known what kind of message it is. */
void message_parse(struct message *m, const char *line, size_t len);
/* Instead of message_parse(): the whole message is refused. */
void message_refuse(struct message *m, const struct proto_error *err);
/* The reply may come after those to later messages. */
bool message_is_late(const struct message *m);
/* It is one request that is to be carried out at once. */
bool message_is_urgent(const struct message *m);
/* How many requests it has; at least 1. */
size_t message_requests(const struct message *m);
/* Carries it out for that client, as far as its role goes; done() is called from inside or later.
 */
void message_start(struct message *m, const struct peer *peer);
/* If it has paused in the middle of a batch: goes on. false: it has not. */
bool message_go_on(struct message *m);
/* Ends what waits for something to happen, and does nothing more; done() is called. */
void message_cancel(struct message *m);
/*
 * If it has a request of that id that waits or is in progress, asks that to end: it is
 * answered nevertheless. false: it has none, or has been asked so before. May end it.
 */
bool message_cancel_request(struct message *m, struct json_object *id);

#endif
