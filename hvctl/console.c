// SPDX-License-Identifier: MIT
/* console, with and without --follow. */
#include "hvctl/console.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hvctl/client.h"
#include "hvctl/fields.h"
#include "hvctl/show.h"
#include "hvctl/stream.h"
#include "hvctl/text.h"

/* --- bytes ---------------------------------------------------------------------------- */

/* A carriage return waits for the byte behind it: lines of serial ports end in both. */
static void print_bytes(struct console *c, const uint8_t *data, size_t size)
{
	FILE *out = c->call->ctx->out;

	if (!size)
		return;
	if (c->held && data[0] != '\n')
		putc('?', out);
	c->held = c->safe && data[size - 1] == '\r';
	text_guest(out, data, c->held ? size - 1 : size, c->safe);
	c->last = (char)data[size - 1];
}

/* Bytes from an offset on, of which some may have been printed. */
static void print_from(struct console *c, uint64_t offset, const uint8_t *data, size_t size)
{
	uint64_t known = offset < c->offset ? c->offset - offset : 0;
	char number[64];

	if (offset > c->offset && c->last)
		fprintf(c->call->ctx->err, "hvctl: %s of the console left out: no longer kept\n",
			text_plural(number, sizeof(number), offset - c->offset, "byte", "bytes"));
	if (known >= size)
		return;
	print_bytes(c, data + known, size - known);
	c->offset = offset + size;
}

static void take_output(struct console *c, struct json_object *o)
{
	size_t size = 0;
	uint8_t *data;

	if (c->call->ctx->json)
		hvctl_print_json(c->call->ctx, o);
	data = show_take_bytes(c->call, o, "data", &size);
	if (!data) {
		c->code = c->call->code;
		return;
	}
	if (field_bool(o, "restarted"))
		c->offset = field_count(o, "offset");
	if (c->call->ctx->json)
		c->offset = field_count(o, "offset") + size;
	else
		print_from(c, field_count(o, "offset"), data, size);
	free(data);
}

/* --- following -------------------------------------------------------------------------- */

static void on_notification(void *arg, const char *name, struct json_object *params)
{
	struct console *c = arg;

	if (strcmp(name, "console") == 0) {
		take_output(c, params);
	} else if (strcmp(name, "ended") == 0 && !c->stopped) {
		c->over = true;
		fflush(c->call->ctx->out);
		c->code = hvctl_fail(c->call->ctx, HVCTL_REFUSED,
				     "the daemon ended the subscription: %s",
				     field_text(params, "reason", "it does not say why"));
	}
}

static void on_stopped(void *arg, int code, struct json_object *result)
{
	struct console *c = arg;

	if (code) {
		c->code = code;
		return;
	}
	c->stopped = true;
	c->state = json_object_get(result);
}

int console_begin(struct console *c, const char *vm, const uint64_t *offset)
{
	struct proto_console_attach_params attach = {.vm = vm, .has_vm = true};
	struct proto_vm_wait_params wait = {.vm = vm, .has_vm = true};
	struct json_object *result = NULL;

	if (offset)
		PROTO_SET(&attach, offset, *offset);
	c->vm = vm;
	hvctl_on_notification(c->call->client, on_notification, c);
	c->code = hvctl_request_params(c->call, PROTO_METHOD_console_attach, &attach, &result);
	c->offset = field_count(result, "offset");
	json_object_put(result);
	if (!c->code)
		c->code = hvctl_request_later(c->call, PROTO_METHOD_vm_wait, &wait, on_stopped, c);
	return c->code;
}

bool console_going(const struct console *c)
{
	return !c->code && !c->stopped && !c->over && !c->call->ctx->unread;
}

/* vm.wait may have been answered before the last of the output was sent. */
static int read_rest(struct console *c)
{
	struct proto_console_read_params p = {.vm = c->vm, .has_vm = true, .has_offset = true};
	struct json_object *result = NULL;
	uint64_t total;
	int code;

	do {
		p.offset = c->offset;
		code = hvctl_request_params(c->call, PROTO_METHOD_console_read, &p, &result);
		if (code)
			return code;
		total = field_count(result, "total_bytes");
		if (field_count(result, "next_offset") > c->offset)
			take_output(c, result);
		json_object_put(result);
		result = NULL;
	} while (!c->code && c->offset > p.offset && c->offset < total);
	return c->code;
}

int console_finish(struct console *c)
{
	int code = c->code;

	if (!code && c->stopped)
		code = read_rest(c);
	if (c->held)
		putc('?', c->call->ctx->out);
	c->held = false;
	return code;
}

void console_free(struct console *c)
{
	hvctl_on_notification(c->call->client, NULL, NULL);
	json_object_put(c->state);
	c->state = NULL;
}

/* --- the verb ------------------------------------------------------------------------------ */

/* What a guest prints must not drive the terminal of the person who reads it. */
static bool must_be_safe(const struct hvctl_call *call)
{
	return call->ctx->out_terminal && !call->raw;
}

static void show_console(struct hvctl_call *call, struct json_object *result)
{
	size_t size = 0;
	uint8_t *data = show_take_bytes(call, result, "data", &size);

	if (data)
		text_guest(call->ctx->out, data, size, must_be_safe(call));
	free(data);
}

static int follow(struct hvctl_call *call)
{
	const struct proto_console_read_params *p = call->params;
	struct console c = {.call = call, .safe = must_be_safe(call)};
	int code = console_begin(&c, p->vm, p->has_offset ? &p->offset : NULL);
	unsigned woke = 0;

	while (!code && console_going(&c) && !(woke & HVCTL_WOKE_INTERRUPT)) {
		code = hvctl_flush(call->ctx);
		if (!code && !call->ctx->unread)
			code = hvctl_wait(call->client, -1, -1, &woke);
		call->ctx->unread |= (woke & HVCTL_WOKE_UNREAD) != 0;
	}
	c.code = c.code ? c.code : code;
	code = console_finish(&c);
	console_free(&c);
	return code;
}

/* All that there is, or as much as --max says. */
static int read_all(struct hvctl_call *call)
{
	struct proto_console_read_params *p = call->params;
	struct console c = {.call = call, .safe = must_be_safe(call), .offset = p->offset};
	struct json_object *result = NULL;
	bool more = true;

	while (more && !c.code) {
		c.code = hvctl_request_params(call, PROTO_METHOD_console_read, p, &result);
		if (c.code)
			break;
		take_output(&c, result);
		more = field_count(result, "next_offset") > p->offset && !p->has_max_bytes;
		PROTO_SET(p, offset, field_count(result, "next_offset"));
		json_object_put(result);
		result = NULL;
	}
	return console_finish(&c);
}

static int run_console(struct hvctl_call *call)
{
	const struct proto_console_read_params *p = call->params;

	if (call->follow && !p->has_max_bytes)
		return follow(call);
	return call->ctx->json ? hvctl_run_once(call) : read_all(call);
}

static int set_follow(struct hvctl_call *call, const char *text)
{
	(void)text;
	call->follow = true;
	return HVCTL_OK;
}

static const struct hvctl_option console_options[] = {
	{"follow", NULL, "go on until the VM has stopped, or Ctrl-C", set_follow},
	{"raw", NULL, "on a terminal: control characters, too", hvctl_set_raw},
	{NULL, NULL, NULL, NULL},
};

const struct hvctl_verb hvctl_verb_console_read = {
	.example = "demo --follow",
	.options = console_options,
	.run = run_console,
	.show = show_console,
};
