// SPDX-License-Identifier: MIT
/* argv to the structure of a method's parameters, by proto's tables. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hvctl/verb.h"

int hvctl_fail(const struct hvctl_context *ctx, int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("hvctl: ", ctx->err);
	vfprintf(ctx->err, fmt, args);
	fputc('\n', ctx->err);
	va_end(args);
	return code;
}

static int usage(struct hvctl_call *call, const char *text, const char *what)
{
	return hvctl_fail(call->ctx, HVCTL_USAGE, "%s: %s\n  'hvctl %s --help' shows its options",
			  what, text, call->method->verb);
}

/* The error of proto_set_from_string(): names the option and the limit. */
static int bad_value(struct hvctl_call *call, const struct proto_error *err)
{
	return usage(call, err->text, err->field);
}

static int set_field(struct hvctl_call *call, const struct proto_field *f, const char *text)
{
	struct proto_error err = {0};

	if (proto_set_from_string(f, call->params, text, &call->arena, &err))
		return bad_value(call, &err);
	return HVCTL_OK;
}

/* The n-th word of the method's positional names; NULL behind the last. */
static const struct proto_field *positional_field(const struct proto_method *method, size_t n)
{
	const char *word = method->positional;
	char name[PROTO_FIELD_LEN];
	size_t len;

	for (;; n--) {
		word += strspn(word, " ");
		len = strcspn(word, " ");
		if (!len)
			return NULL;
		if (!n)
			break;
		word += len;
	}
	snprintf(name, sizeof(name), "%.*s", (int)len, word);
	return proto_field_by_name(method->params(), name);
}

static const struct hvctl_option *own_option(const struct hvctl_verb *verb, const char *name)
{
	for (const struct hvctl_option *o = verb->options; o && o->name; o++) {
		if (strcmp(o->name, name) == 0)
			return o;
	}
	return NULL;
}

int hvctl_set_all(struct hvctl_call *call, const char *text)
{
	(void)text;
	call->all = true;
	return HVCTL_OK;
}

int hvctl_set_raw(struct hvctl_call *call, const char *text)
{
	(void)text;
	call->raw = true;
	return HVCTL_OK;
}

bool hvctl_option_needs_value(const struct hvctl_option *o)
{
	return o->value && o->value[0] != '[';
}

/* One "--name", "--name=value" or "--name value"; *i is moved on over a value. */
static int parse_option(struct hvctl_call *call, int argc, char **argv, int *i)
{
	const char *arg = argv[*i] + 2;
	const char *equals = strchr(arg, '=');
	const char *value = equals ? equals + 1 : NULL;
	const struct hvctl_option *own;
	const struct proto_field *f;
	char name[PROTO_FIELD_LEN];
	bool takes_value;

	snprintf(name, sizeof(name), "%.*s", equals ? (int)(equals - arg) : (int)strlen(arg), arg);
	own = own_option(call->verb, name);
	f = own || !name[0] ? NULL : proto_field_by_option(call->method->params(), name);
	if (!own && !f)
		return usage(call, "no such option", argv[*i]);
	takes_value = own ? hvctl_option_needs_value(own) : f->type != PROTO_BOOL;
	if (takes_value && !value) {
		if (*i + 1 >= argc)
			return usage(call, "needs a value", argv[*i]);
		value = argv[++*i];
	}
	if (own && !own->value && value)
		return usage(call, "takes no value", argv[*i]);
	return own ? own->set(call, value) : set_field(call, f, value);
}

int hvctl_attach(struct hvctl_call *call, const char *path, int flags, uint32_t *ret_index)
{
	int fd;

	if (call->fd_count >= HVCTL_FILES_MAX)
		return hvctl_fail(call->ctx, HVCTL_USAGE, "%s: more than %d files", path,
				  HVCTL_FILES_MAX);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "%s: %s", path, strerror(errno));
	*ret_index = (uint32_t)call->fd_count;
	call->fds[call->fd_count++] = fd;
	return HVCTL_OK;
}

static int open_file(struct hvctl_call *call, struct proto_file *file)
{
	int code;

	if (!file->path)
		return HVCTL_OK;
	code = hvctl_attach(call, file->path, call->verb->file_flags, &file->fd);
	if (!code)
		file->path = NULL;
	return code;
}

/* Files go as descriptors: the daemon needs no right to the paths. */
static int open_files(struct hvctl_call *call)
{
	const struct proto_struct *desc = call->method->params();
	char *base = call->params;
	int code = HVCTL_OK;

	for (size_t i = 0; i < desc->count && !code; i++) {
		const struct proto_field *f = &desc->fields[i];
		struct proto_file *files;
		size_t count;

		if (f->type != PROTO_FILE || !*(bool *)(base + f->has_offset))
			continue;
		files = f->list ? *(struct proto_file **)(base + f->offset)
				: (struct proto_file *)(base + f->offset);
		count = f->list ? *(size_t *)(base + f->count_offset) : 1;
		for (size_t n = 0; n < count && !code; n++)
			code = open_file(call, &files[n]);
	}
	return code;
}

/* A word behind the method's positional ones; once. */
static int set_argument(struct hvctl_call *call, const char *text)
{
	const struct hvctl_option *argument = call->verb->argument;

	if (!argument || call->argument_given)
		return usage(call, "one argument too many", text);
	call->argument_given = true;
	return argument->set(call, text);
}

static int parse_words(struct hvctl_call *call, int argc, char **argv)
{
	bool options_end = false;
	size_t position = 0;
	int code = HVCTL_OK;

	for (int i = 0; i < argc && !code; i++) {
		const struct proto_field *f;

		if (!options_end && strcmp(argv[i], "--") == 0) {
			options_end = true;
		} else if (!options_end && strncmp(argv[i], "--", 2) == 0) {
			code = parse_option(call, argc, argv, &i);
		} else {
			f = positional_field(call->method, position++);
			code = f ? set_field(call, f, argv[i]) : set_argument(call, argv[i]);
		}
	}
	return code;
}

int hvctl_parse(struct hvctl_call *call, int argc, char **argv)
{
	struct proto_error err = {0};
	int code;

	call->params = proto_alloc(&call->arena, 1, call->method->params()->size);
	if (!call->params)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "out of memory");
	code = parse_words(call, argc, argv);
	if (!code && call->verb->prepare)
		code = call->verb->prepare(call);
	if (!code && proto_check_required(call->method->params(), call->params, &err))
		code = bad_value(call, &err);
	if (!code)
		code = open_files(call);
	return code;
}

void hvctl_call_free(struct hvctl_call *call)
{
	for (size_t i = 0; i < call->fd_count; i++)
		close(call->fds[i]);
	call->fd_count = 0;
	proto_arena_free(&call->arena);
}
