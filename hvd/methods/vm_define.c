// SPDX-License-Identifier: MIT
/*
 * vm.create and vm.delete: what makes a VM and ends it, in the engine and on the disk.
 *
 * A VM that is stored: its files are copied first, and the engine loads the copies, so that
 * what is stored is what was loaded. Then the engine makes the VM, the definition is stored,
 * the VM starts if it is to, and the reply comes. Whatever fails, all before it is undone.
 */
#include "hvd/events.h"
#include "hvd/log.h"
#include "hvd/methods/files.h"
#include "hvd/methods/vm.h"
#include "hvd/store.h"
#include "hvd/waits.h"
#include "hvd/watch.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* How far a creation has got, and why it goes no further. */
struct creation {
	bool persistent; /* to be stored */
	bool image;
	size_t files;
	bool copied;
	bool told; /* others know of it */
	struct proto_error error;
};

static void remove_from_engine(struct call *c, call_done_fn *done)
{
	const struct engine_request req = {.op = ENGINE_VM_DELETE, .vm = c->vm->id};

	call_submit_raw(c, &req, NULL, 0, NULL, 0, done);
}

/* Neither the engine nor a definition has it (any more). */
static void is_gone(struct call *c, bool told)
{
	if (told)
		events_publish_vm(c->hvd, PROTO_EVENT_TYPE_VM_DELETED, c->vm);
	registry_remove(c->hvd->registry, c->vm);
	waits_state_changed(c->vm);
	watch_tell(c->vm, WATCH_GONE);
}

/* --- a creation that fails ------------------------------------------------------------ */

static void give_up(struct call *c)
{
	const struct creation *creation = c->state;
	const struct proto_error error = creation->error;

	if (creation->copied)
		store_sweep(c->hvd->store, c->vm->uuid, creation->image, creation->files);
	is_gone(c, creation->told);
	call_fail(c, &error);
}

static void on_undone(struct call *c, const struct engine_event *ev)
{
	/* An engine that is closed has no VM either. */
	if (ev->error.code && !c->hvd->stopping)
		log_error("%s can't be deleted again: %s", c->vm->name, ev->error.text);
	give_up(c);
}

static void on_unstored(void *ctx, const struct store_result *res)
{
	struct call *c = ctx;

	call_goes_on(c);
	if (res->err)
		log_error("%s: its definition can't be removed again: %s", c->vm->name, res->text);
	remove_from_engine(c, on_undone);
}

static void unstore(struct call *c)
{
	if (!c->vm->persistent) {
		remove_from_engine(c, on_undone);
		return;
	}
	c->vm->persistent = false;
	if (!store_remove(c->hvd->store, c->vm->name, on_unstored, c))
		return;
	log_error("%s: its definition can't be removed again", c->vm->name);
	remove_from_engine(c, on_undone);
}

static void on_halted(struct call *c, const struct engine_event *ev)
{
	(void)ev;
	unstore(c);
}

/* The engine has it, and its definition may be stored; creation->error says why not. */
static void undo(struct call *c)
{
	const struct engine_request stop = {.op = ENGINE_VM_STOP, .vm = c->vm->id};

	c->vm->phase = VM_DELETING;
	c->committed = true;
	if (vm_is_stopped(c->vm))
		unstore(c);
	else
		call_submit_raw(c, &stop, NULL, 0, NULL, 0, on_halted);
}

static void undo_for(struct call *c, const struct engine_error *why)
{
	struct creation *creation = c->state;

	call_error_from_engine(c, why, &creation->error);
	undo(c);
}

/* --- the steps of a creation, last first ---------------------------------------------------- */

static void on_described(struct call *c, const struct engine_event *ev)
{
	if (ev->error.code)
		undo_for(c, &ev->error);
	else
		vm_reply_info(c, ev);
}

static void describe(struct call *c)
{
	const struct engine_request req = {.op = ENGINE_VM_INFO, .vm = c->vm->id};

	c->committed = true;
	call_submit_raw(c, &req, NULL, 0, NULL, 0, on_described);
}

static void on_first_start(struct call *c, const struct engine_event *ev)
{
	if (ev->error.code) {
		undo_for(c, &ev->error);
		return;
	}
	vm_take_state(c->vm, &ev->state);
	describe(c);
}

/* Now it is there: others may use it. What is cancelled now is so for the start. */
static void ready(struct call *c)
{
	const struct engine_error cancelled = {.code = -ECANCELED};
	const struct proto_vm_create_params *p = c->params;
	const struct engine_request start = {.op = ENGINE_VM_START, .vm = c->vm->id};
	struct creation *creation = c->state;

	if (p->start && c->cancelled) {
		undo_for(c, &cancelled);
		return;
	}
	creation->told = true;
	c->vm->phase = VM_READY;
	log_info("%s: created", c->vm->name);
	waits_state_changed(c->vm);
	events_publish_vm(c->hvd, PROTO_EVENT_TYPE_VM_CREATED, c->vm);
	if (p->start)
		call_submit_raw(c, &start, NULL, 0, NULL, 0, on_first_start);
	else
		describe(c);
}

static void on_stored(void *ctx, const struct store_result *res)
{
	struct call *c = ctx;
	struct creation *creation = c->state;

	call_goes_on(c);
	if (res->err) {
		store_error(res, "the definition can't be stored", &creation->error);
		undo(c);
		return;
	}
	c->vm->persistent = true;
	ready(c);
}

static void put(struct call *c)
{
	const struct store_result no_memory = {.err = -ENOMEM, .text = ""};
	const struct creation *creation = c->state;
	struct store_result refused = {.text = ""};
	char *text;
	size_t len;

	if (definition_text(c->vm->definition, &text, &len)) {
		on_stored(c, &no_memory);
		return;
	}
	refused.err = store_put(c->hvd->store, c->vm->name, text, len, creation->files != 0,
				on_stored, c);
	if (refused.err)
		on_stored(c, &refused);
}

static void on_created(struct call *c, const struct engine_event *ev)
{
	const struct engine_error no_memory = {.code = -ENOMEM};
	const struct engine_error cancelled = {.code = -ECANCELED};
	struct creation *creation = c->state;

	if (ev->error.code) {
		call_error_from_engine(c, &ev->error, &creation->error);
		give_up(c);
		return;
	}
	c->vm->id = ev->vm;
	c->vm->state = ev->state;
	if (registry_set_id(c->hvd->registry, c->vm, ev->vm)) {
		undo_for(c, &no_memory);
		return;
	}
	c->vm->phase = VM_CREATING;
	if (creation->persistent && c->cancelled)
		undo_for(c, &cancelled);
	else if (creation->persistent)
		put(c);
	else
		ready(c);
}

static void make(struct call *c, const int *fds, size_t fd_count)
{
	struct engine_request req = {.op = ENGINE_VM_CREATE};

	definition_fill_request(c->params, &req.u.create);
	call_submit_raw(c, &req, NULL, 0, fds, fd_count, on_created);
}

/* files: NULL if it has none. */
static void define_and_make(struct call *c, const struct stored_file *files, const int *fds,
			    size_t fd_count)
{
	struct creation *creation = c->state;

	if (definition_new(c->params, c->vm->uuid, files, &c->vm->definition)) {
		proto_fail(&creation->error, PROTO_ERROR_NO_MEMORY, "", "out of memory");
		give_up(c);
		return;
	}
	make(c, fds, fd_count);
}

static void on_copied(void *ctx, const struct store_result *res)
{
	struct call *c = ctx;
	struct creation *creation = c->state;

	call_goes_on(c);
	if (res->err) {
		store_error(res, "the image can't be stored", &creation->error);
		give_up(c);
		return;
	}
	creation->copied = true;
	if (c->cancelled) {
		proto_fail(&creation->error, PROTO_ERROR_CANCELLED, "", "cancelled");
		give_up(c);
		return;
	}
	define_and_make(c, res->files, res->fds, res->fd_count);
}

static void begin(struct call *c, const struct files *files)
{
	struct creation *creation = c->state;
	struct store_result refused = {.text = ""};

	creation->files = files->count;
	if (!creation->persistent) {
		make(c, files->fds, files->count);
	} else if (!files->count) {
		define_and_make(c, NULL, NULL, 0);
	} else {
		refused.err = store_copy(c->hvd->store, c->vm->uuid, creation->image, files->fds,
					 files->count, on_copied, c);
		if (refused.err)
			on_copied(c, &refused);
	}
}

/* --- vm.create ------------------------------------------------------------------------------ */

/* What can't be loaded is not copied either. */
static int check_size(int fd, const char *field, struct proto_error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size <= ENGINE_MAX_IMAGE)
		return 0;
	proto_fail(err, PROTO_ERROR_BAD_IMAGE, field,
		   "the file has %llu bytes; at most %llu are loaded",
		   (unsigned long long)st.st_size, (unsigned long long)ENGINE_MAX_IMAGE);
	err->has_limit = true;
	err->limit = ENGINE_MAX_IMAGE;
	return -EFBIG;
}

static bool open_files(struct call *c, const struct proto_vm_create_params *p, struct files *files,
		       struct proto_error *err)
{
	char name[PROTO_FIELD_LEN];

	if (p->has_image && (!files_add(c, &p->image, "image", false, files, err) ||
			     check_size(files->fds[0], "image", err)))
		return false;
	for (size_t i = 0; i < p->modules_count; i++) {
		snprintf(name, sizeof(name), "modules[%zu]", i);
		if (!files_add(c, &p->modules[i], name, false, files, err) ||
		    check_size(files->fds[files->count - 1], name, err))
			return false;
	}
	return true;
}

static bool take_name(struct call *c, const struct proto_vm_create_params *p)
{
	struct vm *vm;
	const int r = registry_add(c->hvd->registry, p->name, &vm);

	if (r == -EEXIST)
		call_failf(c, PROTO_ERROR_EXISTS, "name", "there is a VM %s already", p->name);
	else if (r)
		call_failf(c, PROTO_ERROR_NO_MEMORY, "", "%s", strerror(-r));
	if (r)
		return false;
	vm_set_params(vm, p);
	c->vm = vm_ref(vm);
	return true;
}

void method_vm_create(struct call *c)
{
	const struct proto_vm_create_params *p = c->params;
	struct creation *creation = proto_alloc(&c->arena, 1, sizeof(*creation));
	struct files files = {.count = 0};
	struct proto_error err;

	if (!creation) {
		call_failf(c, PROTO_ERROR_NO_MEMORY, "", "out of memory");
		return;
	}
	c->state = creation;
	creation->persistent = c->hvd->store && !p->transient;
	creation->image = p->has_image;
	if (definition_check_params(p, &err) || !open_files(c, p, &files, &err))
		call_fail(c, &err);
	else if (take_name(c, p))
		begin(c, &files);
	files_close(&files); /* engine and store have copies of their own */
}

/* --- vm.delete ------------------------------------------------------------------------------ */

static void finish_deletion(struct call *c)
{
	const struct definition *def = c->vm->definition;
	struct proto_vm_deleted result = {.vm = c->vm->name};

	if (def)
		store_sweep(c->hvd->store, c->vm->uuid, def->d.has_image,
			    definition_file_count(def));
	log_info("%s: deleted", c->vm->name);
	is_gone(c, true);
	call_reply(c, &result);
}

/* The engine kept it, so its definition had to be stored again. */
static void on_put_back(void *ctx, const struct store_result *res)
{
	struct call *c = ctx;
	const struct proto_error error = *(struct proto_error *)c->state;

	call_goes_on(c);
	c->vm->persistent = !res->err;
	if (res->err)
		log_error("%s: its definition can't be stored again, the VM is transient now: %s",
			  c->vm->name, *res->text ? res->text : strerror(-res->err));
	c->vm->phase = VM_READY;
	call_fail(c, &error);
}

static void put_back(struct call *c)
{
	const struct definition *def = c->vm->definition;
	struct store_result refused = {.err = -ENOMEM, .text = ""};
	char *text;
	size_t len;

	if (!definition_text(def, &text, &len))
		refused.err = store_put(c->hvd->store, c->vm->name, text, len,
					definition_file_count(def) != 0, on_put_back, c);
	if (refused.err)
		on_put_back(c, &refused);
}

static void on_deleted(struct call *c, const struct engine_event *ev)
{
	/* Its definition is gone, and the engine goes: so the VM is. */
	if (!ev->error.code || (c->vm->persistent && c->hvd->stopping)) {
		finish_deletion(c);
		return;
	}
	if (c->vm->persistent) {
		call_error_from_engine(c, &ev->error, c->state);
		put_back(c);
		return;
	}
	c->vm->phase = VM_READY;
	call_fail_engine(c, &ev->error);
}

/* Its definition is gone, if it had one. */
static void delete (struct call *c)
{
	watch_tell(c->vm, WATCH_DELETING);
	remove_from_engine(c, on_deleted);
}

static void on_removed(void *ctx, const struct store_result *res)
{
	struct call *c = ctx;
	struct proto_error error;

	call_goes_on(c);
	if (!res->err) {
		delete (c);
		return;
	}
	store_error(res, "the definition can't be removed", &error);
	c->vm->phase = VM_READY;
	call_fail(c, &error);
}

void method_vm_delete(struct call *c)
{
	const struct proto_vm_long_params *p = c->params;
	struct store_result refused = {.text = ""};

	c->state = proto_alloc(&c->arena, 1, sizeof(struct proto_error));
	if (!c->state) {
		call_failf(c, PROTO_ERROR_NO_MEMORY, "", "out of memory");
		return;
	}
	if (!call_find_vm(c, p->vm))
		return;
	if (!vm_is_stopped(c->vm)) {
		call_failf(c, PROTO_ERROR_INVALID_STATE, "vm", "%s is %s: stop it first",
			   c->vm->name, engine_state_name(c->vm->state.state));
		return;
	}
	c->vm->phase = VM_DELETING;
	if (!c->vm->persistent) {
		delete (c);
		return;
	}
	/* With its definition, it goes: not half way. */
	c->committed = true;
	refused.err = store_remove(c->hvd->store, c->vm->name, on_removed, c);
	if (refused.err)
		on_removed(c, &refused);
}
