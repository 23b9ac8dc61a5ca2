// SPDX-License-Identifier: MIT
/* attach: a VM's console as a terminal. type: a text into it. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "hvctl/client.h"
#include "hvctl/console.h"
#include "hvctl/fields.h"
#include "hvctl/show.h"
#include "hvctl/signals.h"
#include "hvctl/stream.h"
#include "hvctl/text.h"

#define ENTER '\r'	    /* what a serial terminal's key sends */
#define ESCAPE_DEFAULT 0x1d /* Ctrl-] */
#define PIECE 4096	    /* bytes of input in one request: fits into the socket's buffer */
#define RETRY_FIRST_MS 5
#define RETRY_MAX_MS 200

/* --- input that the guest takes when it can ------------------------------------------- */

struct input {
	uint8_t bytes[PROTO_INPUT_MAX];
	size_t size;
	/* how long the guest is let read before the rest is tried again, and until when */
	uint64_t retry_ms, retry_at_ms;
	uint64_t waiting; /* bytes that the guest had not read at the last request */
};

static int until_retry(const struct input *in)
{
	uint64_t now = hvctl_now_ms();

	if (!in->size)
		return -1;
	return in->retry_at_ms > now ? (int)(in->retry_at_ms - now) : 0;
}

static void let_guest_read(struct input *in, bool some_taken)
{
	in->retry_ms = some_taken || !in->retry_ms ? RETRY_FIRST_MS : 2 * in->retry_ms;
	if (in->retry_ms > RETRY_MAX_MS)
		in->retry_ms = RETRY_MAX_MS;
	in->retry_at_ms = hvctl_now_ms() + in->retry_ms;
}

/* Sends as much as is taken. */
static int send_input(struct hvctl_call *call, const char *vm, struct input *in)
{
	while (in->size) {
		struct proto_console_write_params p = {.vm = vm, .has_vm = true};
		struct json_object *result = NULL;
		size_t size = in->size < PIECE ? in->size : PIECE;
		uint64_t taken;
		int code;

		PROTO_SET(&p, data, ((struct proto_bytes){in->bytes, size}));
		code = hvctl_request_params(call, PROTO_METHOD_console_write, &p, &result);
		if (code)
			return code;
		taken = field_count(result, "accepted_bytes");
		taken = taken < size ? taken : size;
		in->waiting = field_count(result, "waiting_bytes");
		if (call->ctx->json)
			hvctl_print_json(call->ctx, result);
		json_object_put(result);
		in->size -= taken;
		memmove(in->bytes, in->bytes + taken, in->size);
		if (taken < size) {
			let_guest_read(in, taken > 0);
			return HVCTL_OK;
		}
		in->retry_at_ms = 0;
	}
	return HVCTL_OK;
}

/* --- attach ------------------------------------------------------------------------------ */

struct attached {
	struct console console;
	struct input in;
	int escape;  /* the byte; -1: none */
	bool closed; /* there is no more input */
	bool left;   /* by the escape character or Ctrl-C */
};

/* On a terminal, what does not fit is lost with a sound: the escape still works. */
static void take_typed(struct attached *a, const uint8_t *data, size_t size)
{
	const uint8_t *escape = a->escape >= 0 ? memchr(data, a->escape, size) : NULL;
	size_t room = sizeof(a->in.bytes) - a->in.size;

	a->left = escape != NULL;
	if (escape)
		size = (size_t)(escape - data);
	if (size > room) {
		size = room;
		fputc('\a', a->console.call->ctx->err);
	}
	memcpy(a->in.bytes + a->in.size, data, size);
	a->in.size += size;
}

static int read_input(struct attached *a)
{
	size_t room = sizeof(a->in.bytes) - a->in.size;
	bool terminal = a->console.call->ctx->in_terminal;
	uint8_t data[PIECE];
	ssize_t n = read(STDIN_FILENO, data, terminal || room > sizeof(data) ? sizeof(data) : room);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return HVCTL_OK;
	if (n < 0 && errno != EIO)
		return hvctl_fail(a->console.call->ctx, HVCTL_LOCAL, "standard input: %s",
				  strerror(errno));
	/* a pipe may end before the guest does; a terminal that is gone ends all */
	a->closed = n <= 0;
	a->left = a->closed && terminal;
	if (n > 0)
		take_typed(a, data, (size_t)n);
	return HVCTL_OK;
}

static bool wants_input(const struct attached *a)
{
	return !a->closed &&
	       (a->console.call->ctx->in_terminal || a->in.size < sizeof(a->in.bytes));
}

/* Waits once, and does what there is to do. */
static int step(struct attached *a)
{
	struct hvctl_call *call = a->console.call;
	unsigned woke = 0;
	int code = hvctl_flush(call->ctx);

	if (!code)
		code = hvctl_wait(call->client, wants_input(a) ? STDIN_FILENO : -1,
				  until_retry(&a->in), &woke);
	if (code || !console_going(&a->console))
		return code;
	call->ctx->unread |= (woke & HVCTL_WOKE_UNREAD) != 0;
	if (woke & HVCTL_WOKE_INPUT)
		code = read_input(a);
	if (!code && !until_retry(&a->in))
		code = send_input(call, a->console.vm, &a->in);
	if (code == HVCTL_EXPECTED) {
		/* the VM has just stopped: what it did not read is lost, as with any terminal */
		a->in.size = 0;
		a->closed = true;
		code = HVCTL_OK;
	}
	if (code == HVCTL_INTERRUPTED || (woke & HVCTL_WOKE_INTERRUPT)) {
		a->left = true;
		code = HVCTL_OK;
	}
	return code;
}

/* "Ctrl-]" */
static void name_escape(char *text, size_t size, int escape)
{
	if (escape < 0x20)
		snprintf(text, size, "Ctrl-%c", escape + 0x40);
	else
		snprintf(text, size, "'%c'", escape);
}

static void greet(const struct attached *a)
{
	FILE *err = a->console.call->ctx->err;
	char escape[16];

	if (a->escape < 0) {
		fprintf(err, "hvctl: attached to %s until it stops\n", a->console.vm);
		return;
	}
	name_escape(escape, sizeof(escape), a->escape);
	fprintf(err, "hvctl: attached to %s; %s leaves it\n", a->console.vm, escape);
}

/* After what the guest printed, on a line of its own. */
static void say_goodbye(const struct attached *a)
{
	const struct hvctl_context *ctx = a->console.call->ctx;

	if (ctx->out_terminal && a->console.last && a->console.last != '\n')
		fputc('\n', ctx->err);
	if (a->console.stopped)
		show_state_line(ctx->err, false, a->console.state);
	else if (a->left && ctx->in_terminal)
		fprintf(ctx->err, "hvctl: left %s\n", a->console.vm);
}

static int run_attach(struct hvctl_call *call)
{
	static struct attached a; /* too large for the stack */
	const struct proto_console_attach_params *p = call->params;
	bool terminal = call->ctx->in_terminal;
	int code;

	a.console.call = call;
	a.escape = terminal ? call->escape : -1;
	code = console_begin(&a.console, p->vm, p->has_offset ? &p->offset : NULL);
	if (!code && terminal)
		greet(&a);
	hvctl_expect(call->client, PROTO_ERROR_INVALID_STATE);
	if (!code && terminal && terminal_raw(STDIN_FILENO) < 0)
		code = hvctl_fail(call->ctx, HVCTL_LOCAL, "the terminal can't be made raw");
	while (!code && !a.left && console_going(&a.console))
		code = step(&a);
	terminal_restore();
	hvctl_expect(call->client, PROTO_ERROR_COUNT);
	a.console.code = a.console.code ? a.console.code : code;
	code = console_finish(&a.console);
	if (!code)
		code = hvctl_flush(call->ctx);
	if (!code)
		say_goodbye(&a);
	console_free(&a.console);
	return code;
}

/* "^]", "~" or "none" */
static int set_escape(struct hvctl_call *call, const char *text)
{
	if (strcmp(text, "none") == 0)
		call->escape = -1;
	else if (text[0] == '^' && text[1] >= 'A' && text[1] <= '_' && !text[2])
		call->escape = text[1] - '@';
	else if (text[0] > ' ' && text[0] < 0x7f && !text[1])
		call->escape = (unsigned char)text[0];
	else
		return hvctl_fail(call->ctx, HVCTL_USAGE,
				  "escape: %s: ^A to ^_, one character, or none", text);
	return HVCTL_OK;
}

static int prepare_attach(struct hvctl_call *call)
{
	if (call->ctx->json)
		return hvctl_fail(call->ctx, HVCTL_USAGE,
				  "attach: a console has no JSON\n  'hvctl console VM --follow "
				  "--json' prints what comes as JSON");
	if (!call->escape)
		call->escape = ESCAPE_DEFAULT;
	return HVCTL_OK;
}

static const struct hvctl_option attach_options[] = {
	{"escape", "CHARACTER",
	 "what leaves the console and lets the VM go on: ^A to ^_ (Ctrl with that), a character, "
	 "or none; default ^]",
	 set_escape},
	{NULL, NULL, NULL, NULL},
};

const struct hvctl_verb hvctl_verb_console_attach = {
	.example = "demo",
	.options = attach_options,
	.prepare = prepare_attach,
	.run = run_attach,
};

/* --- type -------------------------------------------------------------------------------- */

static int set_typed(struct hvctl_call *call, const char *text)
{
	call->typed = text;
	return HVCTL_OK;
}

static int set_enter(struct hvctl_call *call, const char *text)
{
	(void)text;
	call->enter = true;
	return HVCTL_OK;
}

/* TEXT and --enter, or --data, become the parameter. */
static int prepare_type(struct hvctl_call *call)
{
	struct proto_console_write_params *p = call->params;
	size_t size = call->typed ? strlen(call->typed) : 0;
	uint8_t *data;

	if (p->has_data && (call->typed || call->enter))
		return hvctl_fail(call->ctx, HVCTL_USAGE,
				  "data: the input is given twice; TEXT and --enter, or --data");
	if (p->has_data)
		return HVCTL_OK;
	if (!size && !call->enter)
		return hvctl_fail(call->ctx, HVCTL_USAGE,
				  "type what? TEXT, --enter, or --data with hexadecimal digits");
	if (size + call->enter > PROTO_INPUT_MAX)
		return hvctl_fail(call->ctx, HVCTL_USAGE, "text: %zu bytes; at most %d", size,
				  PROTO_INPUT_MAX - call->enter);
	data = proto_alloc(&call->arena, size + 1, 1);
	if (!data)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "out of memory");
	if (size)
		memcpy(data, call->typed, size);
	data[size] = ENTER;
	PROTO_SET(p, data, ((struct proto_bytes){data, size + call->enter}));
	return HVCTL_OK;
}

/* Until all of it is taken. */
static int run_type(struct hvctl_call *call)
{
	static struct input in; /* too large for the stack */
	const struct proto_console_write_params *p = call->params;
	char typed[64], waiting[64];
	unsigned woke = 0;
	int code;

	memcpy(in.bytes, p->data.data, p->data.size);
	in.size = p->data.size;
	code = send_input(call, p->vm, &in);
	while (!code && in.size && !(woke & HVCTL_WOKE_INTERRUPT)) {
		code = hvctl_wait(call->client, -1, until_retry(&in), &woke);
		if (!code && !until_retry(&in))
			code = send_input(call, p->vm, &in);
	}
	if (!code && in.size)
		return hvctl_fail(call->ctx, HVCTL_INTERRUPTED,
				  "interrupted: the guest took %zu of %zu bytes",
				  p->data.size - in.size, p->data.size);
	if (!code && !call->ctx->json)
		fprintf(call->ctx->out, "%s typed, %s not yet read by the guest\n",
			text_plural(typed, sizeof(typed), p->data.size, "byte", "bytes"),
			text_count(waiting, in.waiting));
	return code;
}

static const struct hvctl_option type_text = {"TEXT", NULL, "the text; nothing is added to it",
					      set_typed};
static const struct hvctl_option type_options[] = {
	{"enter", NULL, "press Enter (a carriage return) behind it", set_enter},
	{NULL, NULL, NULL, NULL},
};

const struct hvctl_verb hvctl_verb_console_write = {
	.example = "demo hello --enter",
	.options = type_options,
	.argument = &type_text,
	.prepare = prepare_type,
	.run = run_type,
};
