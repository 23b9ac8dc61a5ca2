/* SPDX-License-Identifier: MIT */
/*
 * Streams: a subscription of a connection, and the notifications that it sends. Nothing is
 * queued beyond the connection's bound of output: a stream is asked to fill when there is
 * room, and keeps its own place in what it tells meanwhile. A client that reads nothing at
 * all is dropped by the connection's timeout.
 *
 * Threads: the loop's.
 */
#ifndef HVD_STREAM_H
#define HVD_STREAM_H

#include "hvd/call.h"

struct stream;

struct stream_ops {
	/*
	 * There is room: sends notifications until stream_send() says that it is used up, or
	 * there is no more to tell. Called from the loop, never from inside the functions
	 * below; first after the reply to the call that made the stream has been queued.
	 */
	void (*fill)(struct stream *s, void *ctx);
	/* The stream is over, once: the client is gone or has ended it, or stream_end(). */
	void (*end)(void *ctx);
};

/*
 * A new stream on the call's connection, which the call is going to reply to. NULL: *err
 * says why (the connection's bound of subscriptions, memory); end is not called then.
 * ctx is the caller's, until end gets it.
 */
struct stream *stream_new(struct call *c, const struct stream_ops *ops, void *ctx,
			  struct proto_error *err);
/* Its number, unique on the connection: "subscription". */
uint32_t stream_id(const struct stream *s);
/* There is something to tell: fill is called as soon as there is room. */
void stream_wake(struct stream *s);
/*
 * params: struct proto_<params> of the notification, its subscription set by the caller.
 * true: there is room for more. A notification is sent whole in either case.
 */
bool stream_send(struct stream *s, enum proto_notification_id id, const void *params);
/* Sends "ended" and ends the stream. From inside fill, only as the last that it does. */
void stream_end(struct stream *s, const char *reason);
/* The stream of that number on the call's connection; NULL if there is none. */
struct stream *stream_find(const struct call *c, uint32_t id);
/* The client's own wish: without "ended". */
void stream_close(struct stream *s);

#endif
