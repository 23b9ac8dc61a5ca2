// SPDX-License-Identifier: MIT
/* events.subscribe */
#include "hvd/events.h"
#include "hvd/stream.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*
 * Keeps its place in the ring. What the ring forgets before it was told is counted, if it is
 * of those asked for; since only the oldest is forgotten, a gap is always in front of what
 * there is to tell.
 */
struct subscriber {
	struct events_listener listener;
	struct hvd *hvd;
	struct stream *stream;
	uint32_t types;		     /* bits 1 << PROTO_EVENT_TYPE_*; 0: all */
	char vm[PROTO_NAME_MAX + 1]; /* "": all */
	uint64_t next;		     /* all before it were told, counted, or are others' */
	uint64_t missed, first_missed;
};

static struct subscriber *subscriber_of(struct events_listener *l)
{
	return (struct subscriber *)((char *)l - offsetof(struct subscriber, listener));
}

static bool wants(const struct subscriber *s, const struct proto_event *ev)
{
	if (s->types && !(s->types >> ev->type & 1))
		return false;
	return !*s->vm || (ev->has_vm && !strcmp(s->vm, ev->vm));
}

static void on_forget(struct events_listener *l, const struct proto_event *ev)
{
	struct subscriber *s = subscriber_of(l);

	if (ev->seq < s->next)
		return;
	s->next = ev->seq + 1;
	if (!wants(s, ev))
		return;
	if (!s->missed++)
		s->first_missed = ev->seq;
}

static void on_published(struct events_listener *l, const struct proto_event *ev)
{
	struct subscriber *s = subscriber_of(l);

	if (wants(s, ev))
		stream_wake(s->stream);
}

/* --- telling ----------------------------------------------------------------------------- */

/* The next to tell; NULL: none. */
static const struct proto_event *look(struct subscriber *s)
{
	for (; s->next < events_next(s->hvd); s->next++) {
		const struct proto_event *ev = events_at(s->hvd, s->next);

		if (wants(s, ev))
			return ev;
	}
	return NULL;
}

static bool tell_gap(struct subscriber *s)
{
	struct proto_gap gap = {.subscription = stream_id(s->stream),
				.missed = s->missed,
				.first_seq = s->first_missed};

	look(s);
	gap.next_seq = s->next;
	s->missed = 0;
	return stream_send(s->stream, PROTO_NOTIFICATION_gap, &gap);
}

static void fill(struct stream *stream, void *ctx)
{
	struct subscriber *s = ctx;
	const struct proto_event *ev;
	bool room = true;

	if (s->missed)
		room = tell_gap(s);
	while (room && (ev = look(s))) {
		struct proto_event copy = *ev;

		copy.subscription = stream_id(stream);
		s->next++;
		room = stream_send(stream, PROTO_NOTIFICATION_event, &copy);
	}
}

static void on_end(void *ctx)
{
	struct subscriber *s = ctx;

	events_unlisten(&s->listener);
	free(s);
}

/* --- events.subscribe ---------------------------------------------------------------------- */

static const struct stream_ops ops = {fill, on_end};

static bool take_types(struct call *c, const struct proto_events_subscribe_params *p, uint32_t *ret)
{
	if (p->has_types && !p->types_count) {
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "types",
			   "none are given: leave it out for all");
		return false;
	}
	*ret = 0;
	for (size_t i = 0; i < p->types_count; i++)
		*ret |= 1u << p->types[i];
	return true;
}

/*
 * Numbers of an earlier daemon say nothing here: everything of this one is replayed, as far
 * as it is kept.
 */
static bool take_since(struct call *c, const struct proto_events_subscribe_params *p, uint64_t *ret)
{
	const uint64_t next = events_next(c->hvd);
	struct proto_error err;

	*ret = next;
	if (p->has_epoch && !p->has_since) {
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "epoch", "goes with since only");
		return false;
	}
	if (!p->has_since)
		return true;
	*ret = p->since ? p->since : 1;
	if (p->has_epoch && strcmp(p->epoch, events_epoch(c->hvd)) != 0)
		*ret = 1;
	if (*ret <= next)
		return true;
	proto_fail(&err, PROTO_ERROR_OUT_OF_RANGE, "since",
		   "%" PRIu64 " has not happened: the next event will be %" PRIu64
		   " (numbers begin anew with each daemon: see epoch)",
		   *ret, next);
	err.has_limit = true;
	err.limit = next;
	call_fail(c, &err);
	return false;
}

void method_events_subscribe(struct call *c)
{
	const struct proto_events_subscribe_params *p = c->params;
	const uint64_t oldest = events_oldest(c->hvd);
	struct proto_events_subscribed result = {.next_seq = events_next(c->hvd),
						 .oldest_seq = oldest,
						 .epoch = events_epoch(c->hvd)};
	struct subscriber *s;
	struct proto_error err;
	uint64_t since;
	uint32_t types;

	if (!take_types(c, p, &types) || !take_since(c, p, &since))
		return;
	s = calloc(1, sizeof(*s));
	if (!s) {
		call_failf(c, PROTO_ERROR_NO_MEMORY, "", "out of memory");
		return;
	}
	*s = (struct subscriber){.hvd = c->hvd,
				 .types = types,
				 .next = since > oldest ? since : oldest,
				 .missed = since < oldest ? oldest - since : 0,
				 .first_missed = since};
	s->listener.forget = on_forget;
	s->listener.published = on_published;
	if (p->has_vm)
		memcpy(s->vm, p->vm, strlen(p->vm) + 1);
	s->stream = stream_new(c, &ops, s, &err);
	if (!s->stream) {
		free(s);
		call_fail(c, &err);
		return;
	}
	events_listen(c->hvd, &s->listener);
	stream_wake(s->stream);
	result.subscription = stream_id(s->stream);
	call_reply(c, &result);
}
