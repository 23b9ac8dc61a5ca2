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

/*
 * ev: subscription, seq and time_ns are filled in; strings are copied. Never fails: for want
 * of memory, the event is counted as missed.
 */
void events_publish(struct hvd *h, const struct proto_event *ev);
/* vm.state, and vm.unexpected-exit where it is that: from vm->state. */
void events_publish_state(struct hvd *h, const struct vm *vm);

#endif
