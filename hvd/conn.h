/* SPDX-License-Identifier: MIT */
/*
 * A connection: what comes in becomes messages at once, in a bounded queue; they are carried
 * out one after the other, but for those that are late or urgent. What goes out is collected
 * and written once a turn of the loop.
 *
 * Between server.c, conn.c, conn_in.c and stream.c.
 */
#ifndef HVD_CONN_H
#define HVD_CONN_H

#include "hvd/rpc.h"
#include <event2/buffer.h>

/* Of messages that wait: beyond it, the client isn't read. The last of them may be larger. */
#define CONN_WAITING_BYTES_MAX (256u << 10)
#define CONN_WAITING_FDS_MAX (2u * PROTO_FDS_MAX)
/* Reading rests above PROTO_FDS_MAX; one receive brings as many, and the mark of too many. */
#define CONN_FDS_MAX (2 * PROTO_FDS_MAX + 1)

/* A descriptor, and the place in the stream of the last byte of what it came with. */
struct held_fd {
	int fd; /* -1: there were more than a message may have */
	uint64_t place;
};

/* A message that waits or is in progress. */
struct task {
	struct conn *conn;
	struct message *message;
	struct task *next;
	size_t bytes, fds; /* what it counts in the queue */
};

/* The connections of a server. */
struct conns {
	struct conn *first;
	unsigned count;
};

struct conn {
	struct hvd *hvd;
	struct conns *conns;
	struct conn *next, **back;
	int fd;
	struct peer peer;
	struct event *readable, *writable, *again, *look;
	struct proto_framer in;
	uint64_t received, consumed; /* bytes of the stream */
	struct held_fd fds[CONN_FDS_MAX];
	size_t fd_count;
	struct task *queue, **queue_last; /* in order */
	struct {
		size_t requests, bytes, fds;
	} queued;
	struct task *current; /* requests are done one after the other */
	struct task *late;    /* but for these */
	unsigned late_count;
	struct evbuffer *out;
	struct stream *streams, **streams_last;
	unsigned stream_count;
	uint32_t stream_id; /* the latest */
	size_t told_bytes;  /* notifications of streams in this turn */
	bool eof;	    /* nothing more comes from the client */
	bool gone;	    /* nobody reads what is sent */
	bool closing;	    /* nothing more is read; ends when all is sent */
	bool dropped;	    /* as gone, and what waits is not carried out */
	bool split;	    /* no whole line is held */
	bool turning;	    /* in conn_turn(), or about to be freed: nobody else calls it */
	bool reading, writing, looking; /* which events are armed */
};

/* Takes fd if it returns 0. -ENOMEM. */
int conn_new(struct hvd *h, struct conns *conns, int fd, const struct peer *peer);
/* Streams and waits end, requests that wait are answered with "cancelled"; then it is gone. */
void conn_stop(struct conn *c);
/* No more requests. Nothing happens any more but by conn_stop(). */
void conn_quiesce(struct conn *c);
/* conn_turn() before the loop waits again. */
void conn_wake(struct conn *c);
/* ... after all others have had theirs. */
void conn_wake_later(struct conn *c);
/* Nothing more goes to the client. */
void conn_client_is_gone(struct conn *c);
/* For what the client did: a line in the log, and an event. */
void conn_drop(struct conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A notification, whole, whatever is queued already. */
void conn_notify(struct conn *c, enum proto_notification_id id, const void *params);
/* A message to be filled and queued; takes the descriptors. NULL: out of memory, it closes. */
struct task *conn_task_new(struct conn *c, const int *fds, size_t fd_count);
/* Begins an urgent message. */
void conn_start_now(struct conn *c, struct task *t);
/* Asks that the request of that id end; false: none waits or is in progress. */
bool conn_cancel_request(struct conn *c, struct json_object *id);

static inline const struct hvd_bounds *conn_bounds(const struct conn *c)
{
	return &c->hvd->config.bounds;
}

/* --- conn_in.c ----------------------------------------------------------------------- */

/* Makes messages of what is held, until the queue is full. */
void conn_take_messages(struct conn *c);
bool conn_queue_is_full(const struct conn *c);
void conn_on_readable(evutil_socket_t fd, short what, void *arg);
bool conn_peer_hung_up(const struct conn *c);
/* Closes the descriptors, frees the bytes. */
void conn_in_free(struct conn *c);

/* --- stream.c -------------------------------------------------------------------------- */

/* There is room for notifications of streams. */
bool conn_has_room(const struct conn *c);
/* Those that have something to tell, as far as there is room and a turn may. */
void conn_fill_streams(struct conn *c);
/* Some have something to tell, and there is room now. */
bool conn_streams_can_go_on(const struct conn *c);
/* The replies of m are queued: its streams may begin. */
void conn_streams_begin(struct conn *c, const struct message *m);
/* reason: NULL without "ended". */
void conn_end_streams(struct conn *c, const char *reason);

#endif
