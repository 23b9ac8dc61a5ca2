/* SPDX-License-Identifier: MIT */
/*
 * The two queues between a caller's thread and an engine's: requests in, events
 * out. Each request gets exactly one completion; requests not yet completed and
 * completions not yet fetched are bounded together.
 */
#ifndef VMXCORE_ENGINE_QUEUE_H
#define VMXCORE_ENGINE_QUEUE_H

#include "engine/kind.h"

#include <pthread.h>

struct queue_event {
	struct queue_event *next;
	struct engine_event event;
	bool *queued; /* cleared when fetched, under the lock; NULL: not wanted */
};

struct queue_request {
	struct queue_request *next;
	struct queue_request *older, *newer; /* of all that are not completed; the queue's */
	uint32_t cancelled;		     /* atomic: its end is asked for */
	struct engine_request req;
	void *payload;
	size_t payload_bytes;
	int fds[ENGINE_MAX_FDS];
	size_t fd_count;
	struct queue_event *completion; /* allocated with it: completing can't fail */
};

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t wake; /* the engine's thread: a request, or closing */
	struct queue_request *first_request, *last_request;
	struct queue_request *newest; /* not completed, wherever it is */
	struct queue_event *first_event, *last_event;
	size_t outstanding;
	int event_fd; /* eventfd: readable while events wait and are not held */
	bool held;    /* queue_hold() */
	bool told;    /* event_fd is readable */
	bool closing;
	bool cancelling; /* some request has been cancelled since queue_take() */
	bool kicked;	 /* queue_kick() */
};

int queue_init(struct queue *q); /* -ENOMEM, -EMFILE ... */
/* Nobody uses it any more; what is in it goes. */
void queue_fini(struct queue *q);

/* --- the caller's side --- */
int queue_submit(struct queue *q, const struct engine_request *req, const void *payload,
		 size_t payload_bytes, const int *fds, size_t fd_count);
int queue_next_event(struct queue *q, struct engine_event *ret);
/* Marks the requests with this token that are not completed; harmless if there is none. */
void queue_cancel(struct queue *q, uint64_t token);
void queue_close(struct queue *q);

/* --- the engine's side --- */
#define QUEUE_FOREVER (-1)

struct queue_taken {
	struct queue_request *first; /* all requests there are, oldest first */
	bool closing;		     /* end; there are no requests then */
	bool cancelling;	     /* some request that was taken earlier may be cancelled now */
};

/*
 * Sleeps until there is something to take, it is kicked, or wait_ms are over (0: not at
 * all).
 */
void queue_take(struct queue *q, int wait_ms, struct queue_taken *ret);
/* Wakes a queue_take() that sleeps, or the next one that would. From any thread. */
void queue_kick(struct queue *q);
/*
 * Between these, events that come where there were none do not make the descriptor
 * readable: the caller is woken once for all of them.
 */
void queue_hold(struct queue *q);
void queue_release(struct queue *q);
/* Sends rq's completion; rq is gone afterwards. The payload of *event becomes the queue's. */
void queue_complete(struct queue *q, struct queue_request *rq, const struct engine_event *event);
/* Waits for memory rather than lose an event. */
void queue_push(struct queue *q, const struct engine_event *event);
/* Once in the queue until fetched: *queued says whether it is, and is the queue's to change. */
void queue_push_once(struct queue *q, const struct engine_event *event, bool *queued);
/* The same, but one that waits already becomes this one, at its place in the queue. */
void queue_push_latest(struct queue *q, const struct engine_event *event, bool *queued);
/* Takes events with this `queued` out again: its owner goes away. */
void queue_forget(struct queue *q, const bool *queued);

#endif
