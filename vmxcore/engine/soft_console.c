/* SPDX-License-Identifier: MIT */
/* What a client types: bytes that wait in line until the guest's UART has taken them. */
#include "engine/soft.h"

int soft_console_write(struct soft *s, struct soft_vm *vm, const struct queue_request *rq,
		       struct soft_reply *reply)
{
	int err;
	size_t taken;

	(void)s;
	err = console_type(&vm->console, rq->payload, rq->payload_bytes, &taken);
	if (err)
		return soft_fail(reply, err, ENGINE_FIELD_NONE, 0, "out of memory for input");
	reply->total = taken;
	reply->first = console_typed(&vm->console) + uart_received(&vm->uart);
	return 0;
}
