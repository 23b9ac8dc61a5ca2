// SPDX-License-Identifier: MIT
/* Methods whose rows are there and whose code is not. */
#include "hvd/call.h"
#include "hvd/events.h"

static void later(struct call *c)
{
	call_failf(c, PROTO_ERROR_UNSUPPORTED, "", "not there yet");
}

#define LATER(id)                        \
	void method_##id(struct call *c) \
	{                                \
		later(c);                \
	}
LATER(console_attach)
LATER(console_write)
LATER(events_subscribe)
LATER(trace_subscribe)
LATER(stats_subscribe)

void events_publish(struct hvd *h, const struct proto_event *ev)
{
	(void)h, (void)ev;
}

void events_publish_state(struct hvd *h, const struct vm *vm)
{
	(void)h, (void)vm;
}
