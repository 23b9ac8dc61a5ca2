/* SPDX-License-Identifier: MIT */
/*
 * A message: one line, a JSON-RPC request or a batch of them. Its requests are carried
 * out one after the other; then done() gets what is to be sent.
 */
#ifndef HVD_RPC_H
#define HVD_RPC_H

#include "hvd/access.h"
#include "hvd/hvd.h"
#include <event2/buffer.h>

#define RPC_BATCH_REPLY_MAX (8u << 20) /* bytes after which a batch's other requests fail */

struct message;

/* reply: lines to send, maybe none; the callee empties it. The message is gone afterwards. */
typedef void message_done_fn(void *ctx, struct message *m, struct evbuffer *reply);

/* Takes the descriptors, which it closes in the end. NULL: out of memory (they are closed). */
struct message *message_new(struct hvd *h, const struct peer *peer, const int *fds, size_t fd_count,
			    message_done_fn *done, void *ctx);
/* Reads the line. Afterwards it is known whether the message is late. */
void message_parse(struct message *m, const char *line, size_t len);
/* Instead of message_parse(): the whole message is refused. */
void message_refuse(struct message *m, const struct proto_error *err);
/* The reply may come after those to later messages. */
bool message_is_late(const struct message *m);
/* Carries it out; done() is called from inside or later. */
void message_start(struct message *m);
/* Ends what waits for something to happen; done() is called. */
void message_cancel(struct message *m);

#endif
