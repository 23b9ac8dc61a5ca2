// SPDX-License-Identifier: MIT
#include "hvd/requests.h"
#include "hvd/events.h"
#include "hvd/log.h"
#include "hvd/registry.h"
#include "hvd/waits.h"
#include "hvd/watch.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_PER_TURN 256 /* the clients get their turn, too */

/* A token is the index of its entry, and how often the entry has been used. */
struct pending {
	struct request_watch watch; /* done NULL: free */
	uint32_t op;
	uint32_t uses;
	uint32_t next_free;
};

#define NONE UINT32_MAX

struct requests {
	struct event *readable;
	struct pending *entries;
	uint32_t size, free;
};

static int grow(struct requests *rs)
{
	const uint32_t size = rs->size ? rs->size * 2 : 64;
	struct pending *entries = reallocarray(rs->entries, size, sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	for (uint32_t i = rs->size; i < size; i++)
		entries[i] = (struct pending){.next_free = i + 1 < size ? i + 1 : rs->free};
	rs->free = rs->size;
	rs->entries = entries;
	rs->size = size;
	return 0;
}

int requests_submit(struct hvd *h, const struct engine_request *req, const void *payload,
		    size_t payload_bytes, const int *fds, size_t fd_count, request_done_fn *done,
		    void *ctx)
{
	const struct request_watch watch = {.done = done, .ctx = ctx};
	uint64_t token;

	return requests_submit_long(h, req, payload, payload_bytes, fds, fd_count, &watch, &token);
}

int requests_submit_long(struct hvd *h, const struct engine_request *req, const void *payload,
			 size_t payload_bytes, const int *fds, size_t fd_count,
			 const struct request_watch *watch, uint64_t *ret_token)
{
	struct requests *rs = h->requests;
	struct engine_request copy = *req;
	struct pending *p;
	uint32_t i;
	int err;

	if (h->stopping)
		return -ECANCELED;
	if (rs->free == NONE) {
		err = grow(rs);
		if (err)
			return err;
	}
	i = rs->free;
	p = &rs->entries[i];
	copy.token = (uint64_t)p->uses << 32 | i;
	err = engine_submit(h->engine, &copy, payload, payload_bytes, fds, fd_count);
	if (err)
		return err;
	rs->free = p->next_free;
	*p = (struct pending){.watch = *watch, .op = req->op, .uses = p->uses};
	*ret_token = copy.token;
	return 0;
}

/* Frees the entry first: done may submit again. */
static void complete(struct hvd *h, uint32_t i, const struct engine_event *ev)
{
	struct requests *rs = h->requests;
	const struct pending p = rs->entries[i];

	rs->entries[i] = (struct pending){.uses = p.uses + 1, .next_free = rs->free};
	rs->free = i;
	p.watch.done(p.watch.ctx, ev);
}

/* The entry of that token; NULL: none is in progress. */
static struct pending *find(struct hvd *h, uint64_t token)
{
	const struct requests *rs = h->requests;
	const uint32_t i = (uint32_t)token;

	if (i >= rs->size || !rs->entries[i].watch.done || rs->entries[i].uses != token >> 32)
		return NULL;
	return &rs->entries[i];
}

static void on_completion(struct hvd *h, const struct engine_event *ev)
{
	if (find(h, ev->token))
		complete(h, (uint32_t)ev->token, ev);
	else
		log_error("the engine completed a request that is not in progress (op %u)", ev->op);
}

static void on_progress(struct hvd *h, const struct engine_event *ev)
{
	const struct pending *p = find(h, ev->token);

	if (p && p->watch.progress)
		p->watch.progress(p->watch.ctx, ev);
}

static void on_state(struct hvd *h, const struct engine_event *ev)
{
	struct vm *vm = registry_find_id(h->registry, ev->vm);

	if (!vm)
		return;
	log_set_context(&(struct log_context){.vm = vm->name});
	vm->state = ev->state;
	if (ev->state.state == ENGINE_STATE_CRASHED)
		log_warning("%s: crashed: %s", vm->name, ev->state.report);
	else
		log_debug("%s: %s (%s)", vm->name, engine_state_name(ev->state.state),
			  engine_reason_name(ev->state.reason));
	log_set_context(NULL);
	events_publish_state(h, vm);
	waits_state_changed(vm);
	watch_tell(vm, WATCH_STATE);
}

static void on_console(struct hvd *h, const struct engine_event *ev)
{
	struct vm *vm = registry_find_id(h->registry, ev->vm);

	if (!vm)
		return;
	waits_console_printed(vm);
	watch_tell(vm, WATCH_PRINTED);
}

static void on_trace(struct hvd *h, const struct engine_event *ev)
{
	struct vm *vm = registry_find_id(h->registry, ev->vm);

	if (vm)
		watch_tell(vm, WATCH_TRACED);
}

static void tell_recycled(struct hvd *h, const struct engine_notice *n)
{
	struct proto_event ev = {.type = PROTO_EVENT_TYPE_VPID_PRESSURE};

	PROTO_SET(&ev, processor, n->processor);
	PROTO_SET(&ev, generation, n->generation);
	events_publish(h, &ev);
}

static void tell_unimplemented(struct hvd *h, const struct engine_notice *n)
{
	const struct vm *vm = registry_find_id(h->registry, n->vm);
	struct proto_event ev = {.type = PROTO_EVENT_TYPE_UNIMPLEMENTED};

	if (!vm)
		return;
	PROTO_SET(&ev, vm, vm->name);
	PROTO_SET(&ev, uuid, vm->uuid);
	PROTO_SET(&ev, vcpu, n->vcpu);
	PROTO_SET(&ev, processor, n->processor);
	PROTO_SET(&ev, rip, n->rip);
	PROTO_SET(&ev, detail, n->text);
	events_publish(h, &ev);
}

static void on_notice(struct hvd *h, const struct engine_event *ev)
{
	static void (*const tell[])(struct hvd *, const struct engine_notice *) = {
		[ENGINE_NOTICE_VPIDS_RECYCLED] = tell_recycled,
		[ENGINE_NOTICE_UNIMPLEMENTED] = tell_unimplemented,
	};

	if (ev->notice.kind < sizeof(tell) / sizeof(tell[0]))
		tell[ev->notice.kind](h, &ev->notice);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	static void (*const handlers[])(struct hvd *, const struct engine_event *) = {
		[ENGINE_EVENT_COMPLETION] = on_completion, [ENGINE_EVENT_STATE] = on_state,
		[ENGINE_EVENT_CONSOLE] = on_console,	   [ENGINE_EVENT_PROGRESS] = on_progress,
		[ENGINE_EVENT_TRACE] = on_trace,	   [ENGINE_EVENT_NOTICE] = on_notice,
	};
	struct hvd *h = arg;
	struct engine_event ev;

	(void)fd, (void)what;
	for (int n = 0; n < EVENTS_PER_TURN && !engine_next_event(h->engine, &ev); n++) {
		if (ev.type < sizeof(handlers) / sizeof(handlers[0]) && handlers[ev.type])
			handlers[ev.type](h, &ev);
		engine_event_release(&ev);
	}
}

int requests_start(struct hvd *h)
{
	struct requests *rs = calloc(1, sizeof(*rs));

	if (!rs)
		return -ENOMEM;
	rs->free = NONE;
	h->requests = rs;
	rs->readable = event_new(h->base, engine_event_fd(h->engine), EV_READ | EV_PERSIST,
				 on_readable, h);
	if (!rs->readable || event_add(rs->readable, NULL))
		return -ENOMEM;
	return 0;
}

void requests_stop(struct hvd *h)
{
	struct requests *rs = h->requests;
	struct engine_event ev = {.type = ENGINE_EVENT_COMPLETION};

	if (!rs)
		return;
	if (rs->readable)
		event_free(rs->readable);
	ev.error.code = -ECANCELED;
	snprintf(ev.error.text, sizeof(ev.error.text), "the daemon is stopping");
	for (uint32_t i = 0; i < rs->size; i++) {
		ev.op = rs->entries[i].op;
		if (rs->entries[i].watch.done)
			complete(h, i, &ev);
	}
	free(rs->entries);
	free(rs);
	h->requests = NULL;
}
