/* SPDX-License-Identifier: MIT */
/*
 * A verb of hvctl: its method gives name, parameters and help (proto's tables); the
 * row here adds what only a terminal needs. Each row stands beside its code; a method
 * without a row does not link (verbs.c).
 */
#ifndef HVCTL_VERB_H
#define HVCTL_VERB_H

#include <stdio.h>

#include "proto/proto.h"

/* Exit codes. hvctl --help prints this list. */
enum hvctl_exit {
	HVCTL_OK = 0,
	HVCTL_REFUSED = 1,     /* the daemon refused the request, or ended a subscription */
	HVCTL_USAGE = 2,       /* wrong options, or a value that can't be */
	HVCTL_NO_DAEMON = 3,   /* no connection, or it broke */
	HVCTL_TIMEOUT = 4,     /* what was waited for did not happen in time */
	HVCTL_LOCAL = 5,       /* a file, or memory, on this side */
	HVCTL_INTERRUPTED = 6, /* by Ctrl-C, before it was done */
};

struct hvctl_call;

/* An option that is hvctl's own, not a parameter of the method. */
struct hvctl_option {
	const char *name; /* without "--" */
	/*
	 * What stands for its value in help; NULL: it takes none. "[=N]": the value may be
	 * left out, then set gets NULL; if not, it follows "=".
	 */
	const char *value;
	const char *doc;
	/* HVCTL_OK, or an exit code after a message */
	int (*set)(struct hvctl_call *call, const char *text);
};

/* A value must follow it. */
bool hvctl_option_needs_value(const struct hvctl_option *o);
/* Room for "--watch[=SECONDS]": how help writes an option. */
#define HVCTL_OPTION_LEN 96
void hvctl_option_text(const struct hvctl_option *o, char text[HVCTL_OPTION_LEN]);

/* For --all and --raw. */
int hvctl_set_all(struct hvctl_call *call, const char *text);
int hvctl_set_raw(struct hvctl_call *call, const char *text);

struct hvctl_verb {
	const char *example; /* what follows "hvctl VERB", for help */
	int file_flags;	     /* how the method's files are opened: O_RDONLY, O_RDWR */
	const struct hvctl_option *options; /* NULL, or ends with name NULL */
	/* NULL, or one more word behind the method's positional parameters; may lack */
	const struct hvctl_option *argument;
	/* Before the request is sent: NULL or an exit code. */
	int (*prepare)(struct hvctl_call *call);
	/*
	 * NULL: one request, and show(), or its result as it is with --json. Otherwise all
	 * that follows a connection. An exit code.
	 */
	int (*run)(struct hvctl_call *call);
	/* Prints the result for people. NULL if run() does. */
	void (*show)(struct hvctl_call *call, struct json_object *result);
	/* NULL, or more requests after the first result was shown. */
	int (*then)(struct hvctl_call *call, struct json_object *result);
};

/* What main() knows before it knows the verb. */
struct hvctl_context {
	const char *socket;
	bool json;
	bool colour;	   /* of out */
	bool out_terminal; /* out is a terminal */
	bool in_terminal;  /* standard input is one */
	bool unread;	   /* nobody reads out any more: what it still holds does not matter */
	FILE *out, *err;
	struct progress *progress; /* NULL: err is no terminal */
};

#define HVCTL_FILES_MAX PROTO_FDS_MAX

struct hvctl_call {
	struct hvctl_context *ctx;
	const struct proto_method *method;
	const struct hvctl_verb *verb;
	struct proto_arena arena;
	void *params; /* struct proto_<params> of the method */
	int fds[HVCTL_FILES_MAX];
	size_t fd_count;
	/* hvctl's own options */
	bool raw, all, follow, picture, enter;
	bool argument_given;	      /* the verb's own */
	uint64_t count;		      /* end after so many; 0: don't */
	struct json_object *previous; /* watch: the report before; NULL: there was none */
	int day_shown;		      /* events: of the line before; 0: there was none */
	uint32_t watch_ms;	      /* 0: show once */
	int escape;		      /* attach: the byte; 0: by default; -1: none */
	const char *typed;	      /* type: TEXT; NULL: none */
	const char *file;	      /* batch: the changes; create: the definition */
	const char *output;	      /* export: the folder */
	struct hvctl_client *client;
	int code; /* set by show() when it could not */
};

extern const struct hvctl_verb *const hvctl_verbs[PROTO_METHOD_COUNT];

/* "hvctl: " and the text, to ctx->err. Returns code. */
int hvctl_fail(const struct hvctl_context *ctx, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Fills call->params from argv; call->method, verb and ctx are set. */
int hvctl_parse(struct hvctl_call *call, int argc, char **argv);
/* Opens a file and gives it a place among the request's descriptors. */
int hvctl_attach(struct hvctl_call *call, const char *path, int flags, uint32_t *ret_index);
void hvctl_call_free(struct hvctl_call *call);

/* Since some fixed time. */
uint64_t hvctl_now_ms(void);
/* One request, and what it came to, printed. */
int hvctl_run_once(struct hvctl_call *call);
/* A result or a notification's params, as the daemon sent it, on a line. */
void hvctl_print_json(const struct hvctl_context *ctx, struct json_object *json);
/* Runs the verb of call->method. */
int hvctl_run_verb(struct hvctl_context *ctx, const struct proto_method *method, int argc,
		   char **argv);
int hvctl_run_call(struct hvctl_context *ctx, int argc, char **argv);

void hvctl_help(FILE *out);
/* What help says of a parameter: "--memory SIZE" and its text with limits and default. */
#define HVCTL_LEFT_LEN 96
#define HVCTL_DOC_LEN 1024
void hvctl_field_text(const struct proto_method *m, const struct proto_field *f,
		      char left[HVCTL_LEFT_LEN], char doc[HVCTL_DOC_LEN]);
/* Appends " VM [IMAGE]": the positional parameters. */
void hvctl_positional_words(char *text, size_t size, const struct proto_method *m);
/* NULL behind the last. */
const char *hvctl_exit_doc(size_t code);
void hvctl_help_verb(FILE *out, const struct proto_method *method);
/* "unknown verb"; names the nearest one. */
int hvctl_unknown(const struct hvctl_context *ctx, const char *what, const char *name);

/* hvctl's whole job; main() only calls it. */
int hvctl_main(struct hvctl_context *ctx, int argc, char **argv);

#endif
