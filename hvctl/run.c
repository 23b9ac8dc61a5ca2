// SPDX-License-Identifier: MIT
/* Options of every verb, and the way from a command line to a printed reply. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hvctl/client.h"
#include "hvctl/verb.h"

void hvctl_print_json(const struct hvctl_context *ctx, struct json_object *json)
{
	fprintf(ctx->out, "%s\n", proto_json_text(json, NULL));
}

uint64_t hvctl_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int hvctl_run_once(struct hvctl_call *call)
{
	struct json_object *result = NULL;
	int code = hvctl_request_params(call, call->method->id, call->params, &result);

	if (!code && call->ctx->json)
		hvctl_print_json(call->ctx, result);
	else if (!code)
		call->verb->show(call, result);
	code = code ? code : call->code;
	if (!code && call->verb->then && !call->ctx->json)
		code = call->verb->then(call, result);
	json_object_put(result);
	return code;
}

static int run_call(struct hvctl_call *call)
{
	int code = hvctl_connect(call->ctx, &call->client);

	if (!code)
		code = call->verb->run ? call->verb->run(call) : hvctl_run_once(call);
	hvctl_disconnect(call->client);
	return code;
}

/* A full pipe or disk shows at the latest when the stream is flushed. */
static int flush_output(const struct hvctl_context *ctx, int code)
{
	if (fflush(ctx->out) && !code && !ctx->unread)
		return hvctl_fail(ctx, HVCTL_LOCAL, "writing the output: %s", strerror(errno));
	return code;
}

int hvctl_run_verb(struct hvctl_context *ctx, const struct proto_method *method, int argc,
		   char **argv)
{
	struct hvctl_call call = {.ctx = ctx, .method = method, .verb = hvctl_verbs[method->id]};
	int code = hvctl_parse(&call, argc, argv);

	if (!code)
		code = run_call(&call);
	hvctl_call_free(&call);
	return flush_output(ctx, code);
}

/* "call METHOD [JSON] [--file PATH]...": words into *name, *json; files are attached. */
static int parse_raw_call(struct hvctl_call *call, int argc, char **argv, const char **name,
			  const char **json)
{
	uint32_t index;
	int code = HVCTL_OK;

	for (int i = 0; i < argc && !code; i++) {
		if (strcmp(argv[i], "--file") == 0 && i + 1 < argc)
			code = hvctl_attach(call, argv[++i], O_RDWR, &index);
		else if (strcmp(argv[i], "--image") == 0 && i + 1 < argc)
			code = hvctl_attach(call, argv[++i], O_RDONLY, &index);
		else if (strncmp(argv[i], "--", 2) == 0 || (*name && *json))
			code = hvctl_fail(
				call->ctx, HVCTL_USAGE,
				"call: %s: METHOD, parameters in JSON, --image PATH (opened "
				"to read) and --file PATH (to read and write) are what it "
				"takes",
				argv[i]);
		else if (!*name)
			*name = argv[i];
		else
			*json = argv[i];
	}
	if (!code && !*name)
		code = hvctl_fail(call->ctx, HVCTL_USAGE,
				  "call: which method? 'hvctl discover' lists them");
	return code;
}

static int parse_raw_params(const struct hvctl_context *ctx, const char *text,
			    struct json_object **ret)
{
	struct proto_error err = {0};

	*ret = NULL;
	if (!text)
		return HVCTL_OK;
	if (proto_json_parse(text, strlen(text), ret, &err))
		return hvctl_fail(ctx, HVCTL_USAGE, "call: the parameters: %s", err.text);
	return HVCTL_OK;
}

int hvctl_run_call(struct hvctl_context *ctx, int argc, char **argv)
{
	struct hvctl_call call = {.ctx = ctx};
	struct json_object *params = NULL, *result = NULL;
	const char *name = NULL, *json = NULL;
	int code = parse_raw_call(&call, argc, argv, &name, &json);

	if (!code)
		code = parse_raw_params(ctx, json, &params);
	if (!code)
		code = hvctl_connect(ctx, &call.client);
	if (!code)
		code = hvctl_request(call.client, proto_method_by_name(name), name, params,
				     call.fds, call.fd_count, &result);
	if (!code)
		hvctl_print_json(ctx, result);
	json_object_put(result);
	json_object_put(params);
	hvctl_disconnect(call.client);
	hvctl_call_free(&call);
	return flush_output(ctx, code);
}

/* Takes the options of every verb out of argv, wherever they stand before "--". */
static int take_common(struct hvctl_context *ctx, int *argc, char **argv, bool *help, bool *version)
{
	int kept = 0;

	for (int i = 0; i < *argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			while (i < *argc)
				argv[kept++] = argv[i++];
		} else if (strcmp(argv[i], "--json") == 0) {
			ctx->json = true;
		} else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			*help = true;
		} else if (strcmp(argv[i], "--version") == 0) {
			*version = true;
		} else if (strncmp(argv[i], "--socket=", 9) == 0) {
			ctx->socket = argv[i] + 9;
		} else if (strcmp(argv[i], "--socket") == 0) {
			if (++i >= *argc)
				return hvctl_fail(ctx, HVCTL_USAGE, "--socket: needs a path");
			ctx->socket = argv[i];
		} else {
			argv[kept++] = argv[i];
		}
	}
	*argc = kept;
	return HVCTL_OK;
}

static int show_help(struct hvctl_context *ctx, const char *verb)
{
	const struct proto_method *method = verb ? proto_method_by_verb(verb) : NULL;

	if (verb && !method && strcmp(verb, "call") != 0)
		return hvctl_unknown(ctx, "verb", verb);
	if (method)
		hvctl_help_verb(ctx->out, method);
	else
		hvctl_help(ctx->out);
	return flush_output(ctx, HVCTL_OK);
}

int hvctl_main(struct hvctl_context *ctx, int argc, char **argv)
{
	const struct proto_method *method;
	bool help = false, version = false;
	int code = take_common(ctx, &argc, argv, &help, &version);

	if (code)
		return code;
	if (version) {
		fprintf(ctx->out, "hvctl %s\n", HVCTL_VERSION);
		return flush_output(ctx, HVCTL_OK);
	}
	if (argc > 0 && strcmp(argv[0], "help") == 0)
		return show_help(ctx, argc > 1 ? argv[1] : NULL);
	if (help)
		return show_help(ctx, argc > 0 ? argv[0] : NULL);
	if (argc == 0) {
		hvctl_help(ctx->err);
		return HVCTL_USAGE;
	}
	if (strcmp(argv[0], "call") == 0)
		return hvctl_run_call(ctx, argc - 1, argv + 1);
	method = proto_method_by_verb(argv[0]);
	if (!method)
		return hvctl_unknown(ctx, "verb", argv[0]);
	return hvctl_run_verb(ctx, method, argc - 1, argv + 1);
}
