// SPDX-License-Identifier: MIT
/* console.read */
#include "hvd/call.h"

static void on_console(struct call *c, const struct engine_event *ev)
{
	const struct proto_console result = {
		.offset = ev->first,
		.data = {.data = ev->payload, .size = ev->payload_bytes},
		.next_offset = ev->first + ev->payload_bytes,
		.total_bytes = ev->total,
	};

	call_reply(c, &result);
}

void method_console_read(struct call *c)
{
	const struct proto_console_read_params *p = c->params;
	struct engine_request req = {.op = ENGINE_CONSOLE_READ};

	if (!call_find_vm(c, p->vm))
		return;
	req.vm = c->vm->id;
	req.u.console.offset = p->offset;
	req.u.console.max_bytes = p->max_bytes;
	call_submit(c, &req, NULL, 0, NULL, 0, on_console);
}
