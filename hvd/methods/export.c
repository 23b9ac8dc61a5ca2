// SPDX-License-Identifier: MIT
/* vm.export, vm.image.read: what is stored of a VM. */
#include "hvd/call.h"
#include "hvd/store.h"
#include <string.h>

/* false: the call has failed. */
static bool find_stored(struct call *c, const char *name)
{
	if (!call_find_vm(c, name))
		return false;
	if (c->vm->persistent)
		return true;
	call_failf(c, PROTO_ERROR_INVALID_STATE, "vm", "%s is transient: nothing of it is stored",
		   name);
	return false;
}

void method_vm_export(struct call *c)
{
	const struct proto_vm_params *p = c->params;

	if (find_stored(c, p->vm))
		call_reply(c, &c->vm->definition->d);
}

/* --- vm.image.read ------------------------------------------------------------------ */

static void on_read(void *ctx, const struct store_result *res)
{
	struct call *c = ctx;
	struct proto_image_data result = {.total_bytes = res->total_bytes};
	struct proto_error err;

	call_goes_on(c);
	if (res->err) {
		store_error(res, "it can't be read", &err);
		call_fail(c, &err);
		return;
	}
	result.data = (struct proto_bytes){(uint8_t *)res->data, res->data_bytes};
	call_reply(c, &result);
}

void method_vm_image_read(struct call *c)
{
	const struct proto_image_read_params *p = c->params;
	struct store_result refused = {.text = ""};
	const struct proto_definition *d;

	if (!find_stored(c, p->vm))
		return;
	d = &c->vm->definition->d;
	if (p->has_module && p->module >= d->modules_count) {
		call_failf(c, PROTO_ERROR_NOT_FOUND, "module", "%s has %zu modules", p->vm,
			   d->modules_count);
		return;
	}
	if (!d->has_image) {
		call_failf(c, PROTO_ERROR_NOT_FOUND, "vm", "%s has no image", p->vm);
		return;
	}
	refused.err =
		store_read(c->hvd->store, c->vm->uuid, true, p->has_module ? 1 + p->module : 0,
			   p->offset_bytes, (size_t)p->size_bytes, on_read, c);
	if (refused.err)
		on_read(c, &refused);
}
