// SPDX-License-Identifier: MIT
/* request.cancel */
#include "hvd/call.h"
#include "hvd/conn.h"

void method_request_cancel(struct call *c)
{
	const struct proto_request_cancel_params *p = c->params;
	const enum json_type type = json_object_get_type(p->id);
	struct proto_request_cancelled result = {0};

	if (type != json_type_string && type != json_type_int && type != json_type_double) {
		call_failf(c, PROTO_ERROR_INVALID_TYPE, "id", "must be a string or a number");
		return;
	}
	result.found = conn_cancel_request(c->conn, p->id);
	call_reply(c, &result);
}
