/* SPDX-License-Identifier: MIT */
/* What a client types: bytes that wait in line until the guest's UART has taken them. */
#include "engine/vmm.h"

int vmm_console_write(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		      struct vmm_reply *reply)
{
	int err;
	size_t taken;

	(void)s;
	err = console_type(&vm->console, rq->payload, rq->payload_bytes, &taken);
	if (err)
		return vmm_fail(reply, err, ENGINE_FIELD_NONE, 0, "out of memory for input");
	reply->total = taken;
	reply->first = console_typed(&vm->console) + uart_received(&vm->uart);
	return 0;
}
