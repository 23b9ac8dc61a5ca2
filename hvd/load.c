// SPDX-License-Identifier: MIT
#include "hvd/load.h"
#include "hvd/events.h"
#include "hvd/log.h"
#include "hvd/registry.h"
#include "hvd/requests.h"
#include "hvd/store_internal.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_LEN (PROTO_FIELD_LEN + PROTO_TEXT_LEN + STORE_ASIDE_LEN + 64)
#define IN_PROGRESS_MAX 64 /* VMs that the engine is making */

struct entry {
	struct loading *loading;
	const char *file;	/* "demo.json" */
	struct definition *def; /* NULL: set aside, or the VM's */
	struct vm *vm;
};

struct loading {
	struct hvd *h;
	struct store *s;
	struct store_names names;
	struct entry *entries; /* one a name */
	size_t in_progress, done;
	int err;
};

/* Short of what every definition needs: no fault of this one. */
static bool is_shortage(int err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE;
}

static void progress(const struct loading *l)
{
	if (l->h->config.loading)
		l->h->config.loading(l->done, l->names.count);
}

/* --- setting aside -------------------------------------------------------------------- */

/* "demo" of "demo.json" */
static int name_length(const struct entry *e)
{
	return (int)(strlen(e->file) - strlen(STORE_SUFFIX));
}

static void tell(const struct loading *l, const struct entry *e, const char *text)
{
	struct proto_event ev = {.type = PROTO_EVENT_TYPE_DEFINITION_DAMAGED};
	char name[NAME_MAX + 1], detail[NAME_MAX + TEXT_LEN];

	log_error("%s/%s: %s", l->s->path, e->file, text);
	snprintf(name, sizeof(name), "%.*s", name_length(e), e->file);
	snprintf(detail, sizeof(detail), "%s: %s", e->file, text);
	if (proto_name_valid(name, strlen(name)))
		PROTO_SET(&ev, vm, name);
	if (e->def && e->def->d.has_uuid)
		PROTO_SET(&ev, uuid, e->def->d.uuid);
	PROTO_SET(&ev, detail, detail);
	events_publish(l->h, &ev);
}

static void set_aside(struct loading *l, struct entry *e, const char *why)
{
	char to[STORE_ASIDE_LEN], text[TEXT_LEN];
	const int r = store_set_aside(l->s, e->file, to);

	if (r)
		snprintf(text, sizeof(text), "%s; it can't be set aside: %s", why, strerror(-r));
	else
		snprintf(text, sizeof(text), "%s; set aside as %s", why, to);
	tell(l, e, text);
	definition_free(e->def);
	e->def = NULL;
	l->names.aside = true;
	l->h->damaged++;
	l->done++;
	progress(l);
}

static void set_aside_for(struct loading *l, struct entry *e, const struct proto_error *err)
{
	char why[PROTO_FIELD_LEN + PROTO_TEXT_LEN + 2];

	snprintf(why, sizeof(why), "%s%s%s", err->field, *err->field ? ": " : "", err->text);
	set_aside(l, e, why);
}

/* --- reading -------------------------------------------------------------------------- */

static int read_entry(struct loading *l, struct entry *e, struct proto_error *err)
{
	char name[NAME_MAX + 1], *text;
	size_t len;
	int r = store_read_text(l->s, e->file, &text, &len, err);

	if (r)
		return r;
	r = definition_read(text, len, &e->def, err);
	free(text);
	if (r)
		return r;
	snprintf(name, sizeof(name), "%.*s", name_length(e), e->file);
	return definition_check(e->def, name, err);
}

static int by_uuid(const void *a, const void *b)
{
	const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
	const int r = strcmp(x->def->d.uuid, y->def->d.uuid);

	return r ? r : strcmp(x->file, y->file);
}

/* Copied by hand, two would share their files: the first by name has them. */
static int refuse_shared_uuids(struct loading *l)
{
	struct entry **sorted = calloc(l->names.count + 1, sizeof(*sorted)), *first = NULL;
	size_t n = 0;

	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < l->names.count; i++)
		if (l->entries[i].def)
			sorted[n++] = &l->entries[i];
	qsort(sorted, n, sizeof(*sorted), by_uuid);
	for (size_t i = 0; i < n; i++) {
		char why[NAME_MAX + 40];

		if (!first || strcmp(first->def->d.uuid, sorted[i]->def->d.uuid) != 0) {
			first = sorted[i];
			continue;
		}
		snprintf(why, sizeof(why), "uuid: is that of %s, too", first->file);
		set_aside(l, sorted[i], why);
	}
	free(sorted);
	return 0;
}

static int read_all(struct loading *l)
{
	struct proto_error err;
	int r;

	for (size_t i = 0; i < l->names.count; i++) {
		struct entry *e = &l->entries[i];

		*e = (struct entry){.loading = l, .file = l->names.names[i]};
		r = read_entry(l, e, &err);
		if (is_shortage(r))
			return r;
		if (r)
			set_aside_for(l, e, &err);
	}
	return refuse_shared_uuids(l);
}

/* --- making VMs ----------------------------------------------------------------------- */

static void refused(struct loading *l, struct entry *e, const struct engine_error *error)
{
	char why[ENGINE_TEXT_LEN + 64];

	snprintf(why, sizeof(why), "the engine refuses it: %.159s",
		 *error->text ? error->text : strerror(-error->code));
	e->def = e->vm->definition;
	e->vm->definition = NULL;
	registry_remove(l->h->registry, e->vm);
	set_aside(l, e, why);
}

static void on_made(void *ctx, const struct engine_event *ev)
{
	struct entry *e = ctx;
	struct loading *l = e->loading;
	struct hvd *h = l->h;
	const int r = ev->error.code;

	l->in_progress--;
	if (!r)
		l->err = registry_set_id(h->registry, e->vm, ev->vm);
	else if (r == -ENOMEM && !*ev->error.text)
		l->err = r;
	else
		refused(l, e, &ev->error);
	if (r || l->err)
		return;
	e->vm->state = ev->state;
	e->vm->persistent = true;
	h->defined++;
	events_publish_vm(h, PROTO_EVENT_TYPE_VM_CREATED, e->vm);
	l->done++;
	progress(l);
}

/* Takes e->def into the VM. The name is free: no two files have the same. */
static int make(struct loading *l, struct entry *e, const int *fds, size_t fd_count)
{
	struct engine_request req = {.op = ENGINE_VM_CREATE};
	struct registry *registry = l->h->registry;
	struct proto_vm_create_params p;
	int r = registry_add(registry, e->def->d.name, &e->vm);

	if (r)
		return r;
	definition_params(e->def, &p);
	definition_fill_request(&p, &req.u.create);
	vm_set_params(e->vm, &p);
	memcpy(e->vm->uuid, e->def->d.uuid, sizeof(e->vm->uuid));
	r = requests_submit(l->h, &req, NULL, 0, fds, fd_count, on_made, e);
	if (r) {
		registry_remove(registry, e->vm);
		return r;
	}
	e->vm->definition = e->def;
	e->def = NULL;
	l->in_progress++;
	return 0;
}

static int open_and_make(struct loading *l, struct entry *e)
{
	const size_t count = definition_file_count(e->def);
	int fds[DEFINITION_FILES_MAX], r = 0;
	struct proto_error err;
	size_t n = 0;

	for (; n < count && !r; n += !r) {
		r = store_open_file(l->s, e->def, n, &fds[n], &err);
		progress(l); /* a digest may take long */
	}
	if (!r) {
		r = make(l, e, fds, n);
	} else if (!is_shortage(r)) {
		set_aside_for(l, e, &err);
		r = 0;
	}
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	return r;
}

/* Turns the loop until no more than max are in progress. */
static int settle(struct loading *l, size_t max)
{
	while (l->in_progress > max)
		if (event_base_loop(l->h->base, EVLOOP_ONCE) < 0)
			return -EIO;
	return 0;
}

static int make_all(struct loading *l)
{
	int r = 0, end;

	for (size_t i = 0; i < l->names.count && !r; i++) {
		if (l->entries[i].def)
			r = open_and_make(l, &l->entries[i]);
		if (!r)
			r = settle(l, IN_PROGRESS_MAX - 1);
		r = r ? r : l->err;
	}
	/* Those on their way point into l. */
	end = settle(l, 0);
	return r ? r : end ? end : l->err;
}

static int tidy(const struct loading *l)
{
	const struct registry *registry = l->h->registry;
	const size_t count = registry_count(registry);
	const char **uuids = calloc(count + 1, sizeof(*uuids));
	int r;

	if (!uuids)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		uuids[i] = registry_at(registry, i)->uuid;
	r = store_tidy(l->s, uuids, count, l->names.aside);
	free(uuids);
	return r;
}

int load_definitions(struct hvd *h)
{
	struct loading l = {.h = h, .s = h->store};
	int r = store_list(l.s, &l.names);

	if (r)
		return r;
	l.entries = calloc(l.names.count + 1, sizeof(*l.entries));
	r = l.entries ? read_all(&l) : -ENOMEM;
	if (!r)
		r = make_all(&l);
	if (!r)
		r = tidy(&l);
	for (size_t i = 0; l.entries && i < l.names.count; i++)
		definition_free(l.entries[i].def);
	free(l.entries);
	free(l.names.names);
	if (r)
		log_error("definitions of %s can't be loaded: %s", l.s->path, strerror(-r));
	else if (h->defined || h->damaged)
		log_info("%s: %u VMs defined, %u definitions set aside", l.s->path, h->defined,
			 h->damaged);
	return r;
}
