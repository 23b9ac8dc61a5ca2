// SPDX-License-Identifier: MIT
/* What methods share: finding VMs and slots, engine requests, and the engine's errors. */
#include "hvd/call.h"
#include "hvd/conn.h"
#include "hvd/log.h"
#include "hvd/requests.h"
#include <inttypes.h>
#include <string.h>

#define PROGRESS_MS 100 /* between two notifications of a request */

/* --- errors ------------------------------------------------------------------------- */

static const struct {
	int code;
	enum proto_error_kind kind;
} kinds[] = {
	{-EINVAL, PROTO_ERROR_INVALID_VALUE},
	{-ENOENT, PROTO_ERROR_NOT_FOUND},
	{-EEXIST, PROTO_ERROR_EXISTS},
	{-EBUSY, PROTO_ERROR_INVALID_STATE},
	{-ENOMEM, PROTO_ERROR_NO_MEMORY},
	{-ERANGE, PROTO_ERROR_OUT_OF_RANGE},
	{-EOVERFLOW, PROTO_ERROR_OUT_OF_RANGE},
	{-EFAULT, PROTO_ERROR_FAULT},
	{-EPERM, PROTO_ERROR_DENIED},
	{-EACCES, PROTO_ERROR_DENIED},
	{-ENOEXEC, PROTO_ERROR_BAD_IMAGE},
	{-ENOSPC, PROTO_ERROR_LIMIT},
	{-E2BIG, PROTO_ERROR_LIMIT},
	{-EFBIG, PROTO_ERROR_OUT_OF_RANGE},
	{-EOPNOTSUPP, PROTO_ERROR_UNSUPPORTED},
	{-ENXIO, PROTO_ERROR_NOT_MAPPED},
	{-EAGAIN, PROTO_ERROR_BUSY},
	{-ECANCELED, PROTO_ERROR_CANCELLED},
	{-ETIMEDOUT, PROTO_ERROR_TIMEOUT},
	{-ENODATA, PROTO_ERROR_INVALID_STATE},
	{-EBADF, PROTO_ERROR_FILE_ERROR},
};

static enum proto_error_kind kind_of(const struct engine_error *err)
{
	/* Where the field says more than the number. */
	if (err->field == ENGINE_FIELD_STATE)
		return PROTO_ERROR_INVALID_STATE;
	if (err->code == -ENOENT && err->field == ENGINE_FIELD_GPA)
		return PROTO_ERROR_NOT_MAPPED;
	if (err->code == -EBUSY && err->field == ENGINE_FIELD_SLOT)
		return PROTO_ERROR_IN_USE;
	if (err->code == -EBUSY && err->field == ENGINE_FIELD_VCPU)
		return PROTO_ERROR_BUSY;
	if (err->code == -EBUSY && err->limit)
		return PROTO_ERROR_LIMIT;
	if (err->code == -EEXIST && err->existing_last)
		return PROTO_ERROR_OVERLAP;
	if (err->code != -ENOMEM &&
	    (err->field == ENGINE_FIELD_IMAGE || err->field == ENGINE_FIELD_MODULE))
		return PROTO_ERROR_BAD_IMAGE;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].code == err->code)
			return kinds[i].kind;
	return err->field == ENGINE_FIELD_FILE ? PROTO_ERROR_FILE_ERROR : PROTO_ERROR_INTERNAL;
}

/* Where the API calls a field of the engine otherwise than the engine does. */
static const struct {
	enum engine_field field;
	const char *names[2];
} aliases[] = {
	{ENGINE_FIELD_PROCESSOR, {"processors", "processor"}},
	{ENGINE_FIELD_OFFSET, {"offset_bytes", "file_offset_bytes"}},
	{ENGINE_FIELD_MEMTYPE, {"memory_type", NULL}},
	{ENGINE_FIELD_VM, {"vm", NULL}},
};

/* The parameter of this method that the engine means; "" if it has none such. */
static const char *parameter(const struct proto_method *m, uint32_t field)
{
	const struct proto_struct *desc = m->params();

	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
		for (size_t k = 0; aliases[i].field == field && k < 2; k++)
			if (aliases[i].names[k] && proto_field_by_name(desc, aliases[i].names[k]))
				return aliases[i].names[k];
	}
	if (field < ENGINE_FIELD_COUNT && proto_field_by_name(desc, engine_field_name(field)))
		return engine_field_name(field);
	return "";
}

static const char *slot_name(const struct call *c, uint32_t number)
{
	const struct slot *slot = c->vm ? vm_slot_by_number(c->vm, number) : NULL;

	return slot ? slot->name : "";
}

/* The engine begins with its field's name; the reply's field is put before the text anyway. */
static const char *without_field(const struct engine_error *err)
{
	const char *name = err->field < ENGINE_FIELD_COUNT ? engine_field_name(err->field) : "";
	const size_t len = strlen(name);

	return len && !strncmp(err->text, name, len) && err->text[len] == ' ' ? err->text + len + 1
									      : err->text;
}

void call_error_from_engine(struct call *c, const struct engine_error *err, struct proto_error *ret)
{
	const enum proto_error_kind kind = kind_of(err);
	const char *field = parameter(c->method, err->field);

	if (kind == PROTO_ERROR_INTERNAL)
		log_error("%s: the engine failed: %d (%s)", c->method->name, err->code, err->text);
	if (kind == PROTO_ERROR_OVERLAP) {
		const char *slot = slot_name(c, err->slot);

		proto_fail(ret, kind, "",
			   "0x%" PRIx64 "-0x%" PRIx64 " overlaps 0x%" PRIx64 "-0x%" PRIx64
			   " (slot %s)",
			   err->requested_first, err->requested_last, err->existing_first,
			   err->existing_last, slot);
		snprintf(ret->field, sizeof(ret->field), "%s", *field ? field : "gpa");
		snprintf(ret->slot, sizeof(ret->slot), "%s", slot);
	} else {
		proto_fail(ret, kind, field, "%s",
			   *err->text ? without_field(err) : proto_error_info[kind].doc);
	}
	ret->has_limit = err->limit != 0;
	ret->limit = err->limit;
	ret->has_requested = err->requested_last != 0;
	ret->requested[0] = err->requested_first;
	ret->requested[1] = err->requested_last;
	/* Of what is not mapped, this is the hole: the text says so. */
	ret->has_existing =
		kind == PROTO_ERROR_OVERLAP || (kind == PROTO_ERROR_IN_USE && err->existing_last);
	ret->existing[0] = err->existing_first;
	ret->existing[1] = err->existing_last;
}

void call_fail_engine(struct call *c, const struct engine_error *err)
{
	struct proto_error e;

	call_error_from_engine(c, err, &e);
	call_fail(c, &e);
}

/* --- engine requests -------------------------------------------------------------------- */

/* Between a request and its completion; in the call's arena. */
struct submission {
	struct call *call;
	call_done_fn *done;
	bool wants_errors;
};

void call_goes_on(struct call *c)
{
	c->about.vm = c->vm ? c->vm->name : NULL;
	log_set_context(&c->about);
}

static void on_done(void *ctx, const struct engine_event *ev)
{
	const struct submission s = *(struct submission *)ctx;

	s.call->submitted = false;
	call_goes_on(s.call);
	if (ev->error.code && !s.wants_errors)
		call_fail_engine(s.call, &ev->error);
	else
		s.done(s.call, ev);
	log_set_context(NULL);
}

/* Never after the reply: the engine tells nothing of a request behind its completion. */
static void on_progress(void *ctx, const struct engine_event *ev)
{
	const struct submission *s = ctx;
	struct call *c = s->call;
	const struct proto_progress progress = {.id = c->id, .done = ev->done, .total = ev->total};
	const uint64_t now = hvd_now_ms();

	if (c->progress_ms && now - c->progress_ms < PROGRESS_MS)
		return;
	if (!conn_has_room(c->conn))
		return;
	c->progress_ms = now;
	conn_notify(c->conn, PROTO_NOTIFICATION_progress, &progress);
}

static void submit(struct call *c, const struct engine_request *req, const void *payload,
		   size_t payload_bytes, const int *fds, size_t fd_count, call_done_fn *done,
		   bool wants_errors)
{
	struct submission *s = proto_alloc(&c->arena, 1, sizeof(*s));
	struct engine_event failed = {.type = ENGINE_EVENT_COMPLETION, .op = req->op};
	int r = -ENOMEM;

	if (s) {
		const struct request_watch watch = {
			.done = on_done,
			.progress = c->wants_progress ? on_progress : NULL,
			.ctx = s,
		};

		*s = (struct submission){c, done, wants_errors};
		r = requests_submit_long(c->hvd, req, payload, payload_bytes, fds, fd_count, &watch,
					 &c->token);
	}
	c->submitted = !r;
	if (!r)
		return;
	failed.error.code = r;
	if (wants_errors)
		done(c, &failed);
	else
		call_fail_engine(c, &failed.error);
}

void call_submit(struct call *c, const struct engine_request *req, const void *payload,
		 size_t payload_bytes, const int *fds, size_t fd_count, call_done_fn *done)
{
	submit(c, req, payload, payload_bytes, fds, fd_count, done, false);
}

void call_submit_raw(struct call *c, const struct engine_request *req, const void *payload,
		     size_t payload_bytes, const int *fds, size_t fd_count, call_done_fn *done)
{
	submit(c, req, payload, payload_bytes, fds, fd_count, done, true);
}

void call_cancel_request(struct call *c)
{
	if (c->submitted && !c->committed)
		engine_cancel(c->hvd->engine, c->token);
}

/* --- VMs and slots --------------------------------------------------------------------------- */

bool call_find_vm(struct call *c, const char *name)
{
	struct vm *vm = registry_find(c->hvd->registry, name);

	if (!vm) {
		call_failf(c, PROTO_ERROR_NOT_FOUND, "vm", "there is no VM %s", name);
		return false;
	}
	if (vm->phase != VM_READY) {
		call_failf(c, PROTO_ERROR_BUSY, "vm", "%s is being %s", name,
			   vm->phase == VM_CREATING ? "created" : "deleted");
		return false;
	}
	c->vm = vm_ref(vm);
	c->about.vm = vm->name;
	return true;
}

bool call_find_slot(struct call *c, const char *name, uint32_t *ret)
{
	const struct slot *slot = vm_slot_by_name(c->vm, name);

	if (!slot || !slot->ready) {
		call_failf(c, PROTO_ERROR_NOT_FOUND, "slot", "%s has no slot %s", c->vm->name,
			   name);
		return false;
	}
	*ret = slot->number;
	return true;
}
