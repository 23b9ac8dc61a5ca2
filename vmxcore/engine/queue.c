/* SPDX-License-Identifier: MIT */
#include "engine/queue.h"

#include "plat/atomic.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* Its timeouts are of the monotonic clock. */
static int cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	int err = pthread_condattr_init(&attr);

	if (err)
		return err;
	err = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (!err)
		err = pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
	return err;
}

int queue_init(struct queue *q)
{
	int err;

	*q = (struct queue){0};
	q->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (q->event_fd < 0)
		return -errno;
	err = pthread_mutex_init(&q->lock, NULL);
	if (err)
		goto fail_fd;
	err = cond_init(&q->wake);
	if (err)
		goto fail_lock;
	return 0;
fail_lock:
	pthread_mutex_destroy(&q->lock);
fail_fd:
	close(q->event_fd);
	return -err;
}

static void request_free(struct queue_request *rq)
{
	size_t i;

	if (!rq)
		return;
	for (i = 0; i < rq->fd_count; i++)
		close(rq->fds[i]);
	free(rq->payload);
	free(rq->completion);
	free(rq);
}

void queue_fini(struct queue *q)
{
	while (q->first_request) {
		struct queue_request *rq = q->first_request;

		q->first_request = rq->next;
		request_free(rq);
	}
	while (q->first_event) {
		struct queue_event *ev = q->first_event;

		q->first_event = ev->next;
		engine_event_release(&ev->event);
		free(ev);
	}
	pthread_cond_destroy(&q->wake);
	pthread_mutex_destroy(&q->lock);
	close(q->event_fd);
}

/* --- requests --------------------------------------------------------------------------- */

static int copy_request(const struct engine_request *req, const void *payload, size_t payload_bytes,
			const int *fds, size_t fd_count, struct queue_request **ret)
{
	struct queue_request *rq = calloc(1, sizeof(*rq));
	int err = -ENOMEM;

	if (!rq)
		return err;
	rq->req = *req;
	rq->completion = calloc(1, sizeof(*rq->completion));
	if (!rq->completion)
		goto fail;
	if (payload_bytes) {
		rq->payload = malloc(payload_bytes);
		if (!rq->payload)
			goto fail;
		memcpy(rq->payload, payload, payload_bytes);
		rq->payload_bytes = payload_bytes;
	}
	while (rq->fd_count < fd_count) {
		int fd = fcntl(fds[rq->fd_count], F_DUPFD_CLOEXEC, 0);

		if (fd < 0) {
			err = errno == EBADF ? -EINVAL : -ENOMEM;
			goto fail;
		}
		rq->fds[rq->fd_count++] = fd;
	}
	*ret = rq;
	return 0;
fail:
	request_free(rq);
	return err;
}

/* The lock is held. */
static void enlist(struct queue *q, struct queue_request *rq)
{
	rq->older = q->newest;
	if (q->newest)
		q->newest->newer = rq;
	q->newest = rq;
}

static void delist(struct queue *q, struct queue_request *rq)
{
	if (rq->newer)
		rq->newer->older = rq->older;
	else
		q->newest = rq->older;
	if (rq->older)
		rq->older->newer = rq->newer;
}

int queue_submit(struct queue *q, const struct engine_request *req, const void *payload,
		 size_t payload_bytes, const int *fds, size_t fd_count)
{
	struct queue_request *rq;
	int err = copy_request(req, payload, payload_bytes, fds, fd_count, &rq);

	if (err)
		return err;
	pthread_mutex_lock(&q->lock);
	if (q->outstanding == ENGINE_QUEUE_MAX) {
		pthread_mutex_unlock(&q->lock);
		request_free(rq);
		return -EAGAIN;
	}
	q->outstanding++;
	enlist(q, rq);
	if (q->last_request)
		q->last_request->next = rq;
	else
		q->first_request = rq;
	q->last_request = rq;
	pthread_mutex_unlock(&q->lock);
	/* Not before: who is woken would have to wait for the lock. */
	pthread_cond_signal(&q->wake);
	return 0;
}

void queue_close(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->closing = true;
	pthread_cond_signal(&q->wake);
	pthread_mutex_unlock(&q->lock);
}

void queue_cancel(struct queue *q, uint64_t token)
{
	struct queue_request *rq;

	pthread_mutex_lock(&q->lock);
	for (rq = q->newest; rq; rq = rq->older) {
		if (rq->req.token != token)
			continue;
		plat_store(&rq->cancelled, 1);
		q->cancelling = true;
	}
	pthread_cond_signal(&q->wake);
	pthread_mutex_unlock(&q->lock);
}

void queue_kick(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->kicked = true;
	pthread_cond_signal(&q->wake);
	pthread_mutex_unlock(&q->lock);
}

/* The lock is held. Sleeps until `until`, or for good where that is NULL; false: it is over. */
static bool sleep_until(struct queue *q, const struct timespec *until)
{
	if (!until)
		return pthread_cond_wait(&q->wake, &q->lock) == 0;
	return pthread_cond_timedwait(&q->wake, &q->lock, until) == 0;
}

static void after_ms(int ms, struct timespec *ret)
{
	clock_gettime(CLOCK_MONOTONIC, ret);
	ret->tv_sec += ms / 1000;
	ret->tv_nsec += (long)(ms % 1000) * 1000000;
	if (ret->tv_nsec >= 1000000000) {
		ret->tv_sec++;
		ret->tv_nsec -= 1000000000;
	}
}

void queue_take(struct queue *q, int wait_ms, struct queue_taken *ret)
{
	struct timespec until;

	if (wait_ms > 0)
		after_ms(wait_ms, &until);
	pthread_mutex_lock(&q->lock);
	while (wait_ms && !q->first_request && !q->closing && !q->cancelling && !q->kicked)
		if (!sleep_until(q, wait_ms > 0 ? &until : NULL))
			break;
	*ret = (struct queue_taken){.closing = q->closing, .cancelling = q->cancelling};
	q->cancelling = false;
	q->kicked = false;
	if (!q->closing) {
		ret->first = q->first_request;
		q->first_request = NULL;
		q->last_request = NULL;
	}
	pthread_mutex_unlock(&q->lock);
}

/* --- events ------------------------------------------------------------------------------- */

/* The lock is held. The descriptor is readable exactly while the list is not empty, or held. */
static void tell(struct queue *q)
{
	if (!q->first_event || q->held || q->told)
		return;
	q->told = true;
	eventfd_write(q->event_fd, 1);
}

static void append(struct queue *q, struct queue_event *ev)
{
	ev->next = NULL;
	if (q->last_event)
		q->last_event->next = ev;
	else
		q->first_event = ev;
	q->last_event = ev;
	tell(q);
}

void queue_hold(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->held = true;
	pthread_mutex_unlock(&q->lock);
}

void queue_release(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->held = false;
	tell(q);
	pthread_mutex_unlock(&q->lock);
}

static void drained(struct queue *q)
{
	eventfd_t value;

	q->last_event = NULL;
	if (q->told)
		eventfd_read(q->event_fd, &value);
	q->told = false;
}

void queue_complete(struct queue *q, struct queue_request *rq, const struct engine_event *event)
{
	struct queue_event *ev = rq->completion;

	rq->completion = NULL;
	ev->event = *event;
	ev->event.type = ENGINE_EVENT_COMPLETION;
	ev->event.op = rq->req.op;
	ev->event.token = rq->req.token;
	pthread_mutex_lock(&q->lock);
	delist(q, rq);
	append(q, ev);
	pthread_mutex_unlock(&q->lock);
	request_free(rq);
}

static struct queue_event *new_event(const struct engine_event *event)
{
	struct queue_event *ev;

	while (!(ev = calloc(1, sizeof(*ev))))
		usleep(1000);
	ev->event = *event;
	return ev;
}

void queue_push(struct queue *q, const struct engine_event *event)
{
	struct queue_event *ev = new_event(event);

	pthread_mutex_lock(&q->lock);
	append(q, ev);
	pthread_mutex_unlock(&q->lock);
}

void queue_push_once(struct queue *q, const struct engine_event *event, bool *queued)
{
	struct queue_event *ev;
	bool already;

	pthread_mutex_lock(&q->lock);
	already = *queued;
	pthread_mutex_unlock(&q->lock);
	/* Only this thread sets it: no second one can come in between. */
	if (already)
		return;
	ev = new_event(event);
	ev->queued = queued;
	pthread_mutex_lock(&q->lock);
	*queued = true;
	append(q, ev);
	pthread_mutex_unlock(&q->lock);
}

/* The lock is held. */
static struct queue_event *find_queued(const struct queue *q, const bool *queued)
{
	struct queue_event *ev = *queued ? q->first_event : NULL;

	while (ev && ev->queued != queued)
		ev = ev->next;
	return ev;
}

/* For events without a payload. */
void queue_push_latest(struct queue *q, const struct engine_event *event, bool *queued)
{
	struct queue_event *waiting;

	pthread_mutex_lock(&q->lock);
	waiting = find_queued(q, queued);
	if (waiting)
		waiting->event = *event;
	pthread_mutex_unlock(&q->lock);
	/* Fetched meanwhile or never there: only this thread sets it. */
	if (!waiting)
		queue_push_once(q, event, queued);
}

void queue_forget(struct queue *q, const bool *queued)
{
	struct queue_event **at, *ev, *last = NULL;

	pthread_mutex_lock(&q->lock);
	if (!*queued) {
		pthread_mutex_unlock(&q->lock);
		return;
	}
	at = &q->first_event;
	while ((ev = *at) != NULL) {
		if (ev->queued == queued) {
			*at = ev->next;
			engine_event_release(&ev->event);
			free(ev);
			continue;
		}
		last = ev;
		at = &ev->next;
	}
	if (q->last_event && !q->first_event)
		drained(q);
	q->last_event = last;
	pthread_mutex_unlock(&q->lock);
}

int queue_next_event(struct queue *q, struct engine_event *ret)
{
	struct queue_event *ev;

	pthread_mutex_lock(&q->lock);
	ev = q->first_event;
	if (!ev) {
		pthread_mutex_unlock(&q->lock);
		return -EAGAIN;
	}
	q->first_event = ev->next;
	if (!q->first_event)
		drained(q);
	if (ev->queued)
		*ev->queued = false;
	if (ev->event.type == ENGINE_EVENT_COMPLETION)
		q->outstanding--;
	pthread_mutex_unlock(&q->lock);
	*ret = ev->event;
	free(ev);
	return 0;
}
