// SPDX-License-Identifier: MIT
#include "hvd/events.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ev's strings point into the rest of its own entry. */
struct kept {
	struct proto_event ev;
	char vm[PROTO_NAME_MAX + 1];
	char uuid[37];
	char reason[32];
	char report[ENGINE_TEXT_LEN];
	char detail[256];
};

struct events {
	struct events_listener *listeners;
	uint64_t next; /* number of the next; its place is that modulo HVD_EVENTS_KEPT */
	char epoch[HVD_EPOCH_LEN];
	struct kept ring[HVD_EVENTS_KEPT];
};

int events_start(struct hvd *h)
{
	struct events *e = calloc(1, sizeof(*e));
	uint64_t random;

	if (!e)
		return -ENOMEM;
	if (getrandom(&random, sizeof(random), 0) != sizeof(random)) {
		free(e);
		return -EIO;
	}
	snprintf(e->epoch, sizeof(e->epoch), "%016" PRIx64, random);
	e->next = 1;
	h->events = e;
	return 0;
}

void events_stop(struct hvd *h)
{
	free(h->events);
	h->events = NULL;
}

/* --- publishing -------------------------------------------------------------------------- */

/* As many whole characters as fit. What is no UTF-8 (names of files) becomes '?'. */
static const char *keep_text(char *out, size_t size, const char *in)
{
	const size_t len = in ? strlen(in) : 0;
	size_t n = 0, i = 0;

	while (i < len) {
		const size_t sequence = proto_utf8_sequence(in + i, len - i);
		const size_t bytes = sequence ? sequence : 1;

		if (n + bytes >= size)
			break;
		memcpy(out + n, sequence ? in + i : "?", bytes);
		n += bytes;
		i += bytes;
	}
	out[n] = '\0';
	return out;
}

#define KEEP(k, from, field) \
	((k)->ev.field = keep_text((k)->field, sizeof((k)->field), (from)->field))

static void keep(struct kept *k, const struct proto_event *ev, uint64_t seq)
{
	k->ev = *ev;
	k->ev.seq = seq;
	k->ev.time_ns = hvd_time_ns();
	KEEP(k, ev, vm);
	KEEP(k, ev, uuid);
	KEEP(k, ev, reason);
	KEEP(k, ev, report);
	KEEP(k, ev, detail);
}

void events_publish(struct hvd *h, const struct proto_event *ev)
{
	struct events *e = h->events;
	struct kept *k = &e->ring[e->next % HVD_EVENTS_KEPT];

	if (e->next > HVD_EVENTS_KEPT)
		for (struct events_listener *l = e->listeners; l; l = l->next)
			l->forget(l, &k->ev);
	keep(k, ev, e->next++);
	for (struct events_listener *l = e->listeners; l; l = l->next)
		l->published(l, &k->ev);
}

static void describe_state(const struct vm *vm, struct proto_event *ev)
{
	const struct engine_state_info *s = &vm->state;

	ev->state.name = ev->state.libvirt = s->state;
	ev->has_state = true;
	PROTO_SET(ev, reason, engine_reason_name(s->reason));
	if (s->reason == ENGINE_REASON_EXITED)
		PROTO_SET(ev, exit_status, s->exit_status);
	if (*s->report)
		PROTO_SET(ev, report, s->report);
}

void events_publish_vm(struct hvd *h, uint32_t type, const struct vm *vm)
{
	struct proto_event ev = {.type = type};

	PROTO_SET(&ev, vm, vm->name);
	PROTO_SET(&ev, uuid, vm->uuid);
	if (type != PROTO_EVENT_TYPE_VM_DELETED)
		describe_state(vm, &ev);
	if (type == PROTO_EVENT_TYPE_UNEXPECTED_EXIT) {
		PROTO_SET(&ev, vcpu, vm->state.vcpu);
		PROTO_SET(&ev, rip, vm->state.rip);
	}
	events_publish(h, &ev);
}

void events_publish_state(struct hvd *h, const struct vm *vm)
{
	events_publish_vm(h, PROTO_EVENT_TYPE_VM_STATE, vm);
	if (vm->state.state == ENGINE_STATE_CRASHED)
		events_publish_vm(h, PROTO_EVENT_TYPE_UNEXPECTED_EXIT, vm);
}

/* --- telling ------------------------------------------------------------------------------- */

const char *events_epoch(const struct hvd *h)
{
	return h->events->epoch;
}

uint64_t events_next(const struct hvd *h)
{
	return h->events->next;
}

uint64_t events_oldest(const struct hvd *h)
{
	const uint64_t next = h->events->next;

	return next > HVD_EVENTS_KEPT ? next - HVD_EVENTS_KEPT : 1;
}

const struct proto_event *events_at(const struct hvd *h, uint64_t seq)
{
	return &h->events->ring[seq % HVD_EVENTS_KEPT].ev;
}

void events_listen(struct hvd *h, struct events_listener *l)
{
	l->next = h->events->listeners;
	l->back = &h->events->listeners;
	if (l->next)
		l->next->back = &l->next;
	*l->back = l;
}

void events_unlisten(struct events_listener *l)
{
	*l->back = l->next;
	if (l->next)
		l->next->back = l->back;
}
