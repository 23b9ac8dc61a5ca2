/* SPDX-License-Identifier: MIT */
/*
 * What happens in the daemon, numbered from 1, for those who subscribe (methods/events.c).
 * The newest HVD_EVENTS_KEPT are kept, whether anybody listens or not.
 */
#ifndef HVD_EVENTS_H
#define HVD_EVENTS_H

#include "hvd/hvd.h"
#include "hvd/registry.h"

#define HVD_EVENTS_KEPT 4096u
#define HVD_EPOCH_LEN 17 /* 16 hexadecimal digits */

/* -ENOMEM, -EIO (no random numbers). */
int events_start(struct hvd *h);
void events_stop(struct hvd *h);

/*
 * ev: subscription, seq and time_ns are filled in; strings are copied, as far as there is
 * room: 159 bytes of report, 255 of detail. Never fails.
 */
void events_publish(struct hvd *h, const struct proto_event *ev);
/* vm.state, and vm.unexpected-exit where it is that: from vm->state. */
void events_publish_state(struct hvd *h, const struct vm *vm);
/* Any that is about a VM and nothing else: vm.created, vm.deleted. */
void events_publish_vm(struct hvd *h, uint32_t type, const struct vm *vm);

/* --- for those who tell of them -------------------------------------------------------- */

/* Names the daemon that gave the numbers: they begin anew with each. */
const char *events_epoch(const struct hvd *h);
/* Number of the next that will happen. */
uint64_t events_next(const struct hvd *h);
/* Number of the oldest that is kept; the next if there is none. */
uint64_t events_oldest(const struct hvd *h);
/* One that is kept; it is the ring's until the next is published. */
const struct proto_event *events_at(const struct hvd *h, uint64_t seq);

struct events_listener {
	/* The oldest event is about to be forgotten. */
	void (*forget)(struct events_listener *l, const struct proto_event *ev);
	void (*published)(struct events_listener *l, const struct proto_event *ev);
	struct events_listener *next, **back;
};

/* Neither may be called from inside a listener's functions. */
void events_listen(struct hvd *h, struct events_listener *l);
void events_unlisten(struct events_listener *l);

#endif
