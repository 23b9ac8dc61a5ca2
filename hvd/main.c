// SPDX-License-Identifier: MIT
/* hvd: options, signals, and the loop. */
#include "hvd/config.h"
#include "hvd/events.h"
#include "hvd/help.h"
#include "hvd/log.h"
#include "hvd/server.h"
#include "hvd/service.h"
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* --- the command line --------------------------------------------------------------------- */

/* What the command line says: a reload applies it again, over what the file says. */
struct command_line {
	const char *config; /* NULL: the default file, if it is the system's daemon */
	bool check;
	bool has_socket;
	size_t count;
	struct {
		const struct config_option *option;
		const char *text;
	} * values;
};

/* Behind the table's options, by their numbers in getopt_long()'s list. */
enum special { CONFIG, CHECK, FOREGROUND, VERSION, HELP, SPECIALS };
static const struct option specials[SPECIALS] = {
	[CONFIG] = {"config", required_argument, NULL, 0},
	[CHECK] = {"check", no_argument, NULL, 0},
	[FOREGROUND] = {"foreground", no_argument, NULL, 0},
	[VERSION] = {"version", no_argument, NULL, 0},
	[HELP] = {"help", no_argument, NULL, 0},
};

/* name: NULL if it is about no option. */
static _Noreturn void wrong(const char *name, const char *text)
{
	fprintf(stderr, "hvd: %s%s%s%s; see hvd --help\n", name ? "--" : "", name ? name : "",
		name ? ": " : "", text);
	exit(2);
}

static void take_special(enum special which, const char *text, struct command_line *cl)
{
	switch (which) {
	case CONFIG:
		cl->config = text;
		break;
	case CHECK:
		cl->check = true;
		break;
	case VERSION:
		printf("hvd %s\n", HVD_VERSION);
		exit(0);
	case HELP:
		help_print(stdout);
		exit(0);
	case FOREGROUND:
	case SPECIALS:
		break;
	}
}

/* A wrong value ends the program, so that applying them later can't fail for it. */
static void take_value(const struct config_option *o, const char *text, struct command_line *cl,
		       struct config *scratch)
{
	char why[CONFIG_TEXT_LEN];

	if (config_set(scratch, o, text, why))
		wrong(o->name, why);
	cl->has_socket |= !strcmp(o->name, "socket");
	cl->values[cl->count].option = o;
	cl->values[cl->count++].text = text;
}

static struct option *getopt_table(void)
{
	struct option *table = calloc(config_option_count + SPECIALS + 1, sizeof(*table));

	for (size_t i = 0; table && i < config_option_count; i++) {
		table[i].name = config_options[i].name;
		table[i].has_arg =
			config_options[i].kind == CONFIG_FLAG ? no_argument : required_argument;
	}
	if (table)
		memcpy(table + config_option_count, specials, sizeof(specials));
	return table;
}

static int read_command_line(int argc, char **argv, struct command_line *cl)
{
	struct option *table = getopt_table();
	struct config scratch;
	int row = 0, r;

	cl->values = calloc((size_t)argc, sizeof(*cl->values));
	if (!table || !cl->values || config_init(&scratch)) {
		free(table);
		return -ENOMEM;
	}
	while ((r = getopt_long(argc, argv, "", table, &row)) != -1) {
		if (r == '?') {
			fprintf(stderr, "hvd: see hvd --help\n");
			exit(2);
		}
		if ((size_t)row >= config_option_count)
			take_special((enum special)(row - (int)config_option_count), optarg, cl);
		else
			take_value(&config_options[row], optarg ? optarg : "yes", cl, &scratch);
	}
	config_free(&scratch);
	free(table);
	if (optind < argc) {
		char text[CONFIG_TEXT_LEN];

		snprintf(text, sizeof(text), "%.80s is not expected", argv[optind]);
		wrong(NULL, text);
	}
	return 0;
}

/* --- the configuration -------------------------------------------------------------------- */

/* NULL: none. A daemon on a socket of its own has nothing to do with the system's file. */
static const char *config_path(const struct command_line *cl)
{
	if (cl->config)
		return cl->config;
	return cl->has_socket || access(CONFIG_FILE_DEFAULT, F_OK) ? NULL : CONFIG_FILE_DEFAULT;
}

/* Defaults, the file over them, the command line over both. *ret is freed in any case. */
static int load(const struct command_line *cl, struct config *ret)
{
	const char *path = config_path(cl);
	char why[CONFIG_TEXT_LEN];
	int r = config_init(ret);

	if (!r && path)
		r = config_read(ret, path);
	for (size_t i = 0; i < cl->count && !r; i++)
		r = config_set(ret, cl->values[i].option, cl->values[i].text, why);
	return r;
}

static void choose_access(struct hvd_config *config)
{
	const bool systems = config->listen_fd || !strcmp(config->socket, PROTO_SOCKET_DEFAULT);

	if (config->access == ACCESS_AUTO)
		config->access = systems ? ACCESS_BY_ROLES : ACCESS_PRIVATE;
}

/*
 * Definitions of the system's daemon are kept; a daemon of somebody's own keeps none unless
 * told where. systemd names the folder that it has made for StateDirectory=.
 */
static int choose_state_dir(struct config *c)
{
	const char *named = getenv("STATE_DIRECTORY");

	if (c->values.state_dir)
		return 0;
	if (named && *named)
		c->values.state_dir = proto_strndup(&c->arena, named, strcspn(named, ":"));
	else if (!strcmp(c->values.socket, PROTO_SOCKET_DEFAULT))
		c->values.state_dir = HVD_STATE_DIR_DEFAULT;
	else
		return 0;
	return c->values.state_dir ? 0 : -ENOMEM;
}

/* --- running ---------------------------------------------------------------------------------- */

struct running {
	struct hvd h;
	struct config config;
	const struct command_line *cl;
};

static void on_end(evutil_socket_t signal, short what, void *arg)
{
	struct running *run = arg;

	(void)what;
	log_info("%s: stopping", strsignal(signal));
	service_stopping();
	event_base_loopbreak(run->h.base);
}

/* All or nothing: with an error in the file, what is in force stays. */
static int reload(struct running *run)
{
	struct hvd_config *now = &run->h.config;
	struct config next;
	int r = load(run->cl, &next);

	/* As at the start: what is chosen by itself is no difference. */
	next.values.listen_fd = run->config.values.listen_fd;
	choose_access(&next.values);
	if (!r)
		r = config_take_live(&run->config, &next);
	config_free(&next);
	if (r)
		return r;
	log_set_level((enum log_level)run->config.log_level);
	now->bounds = run->config.values.bounds;
	memcpy(now->groups, run->config.values.groups, sizeof(now->groups));
	/* Also when the names are the same: their numbers may have changed. */
	hvd_set_access(&run->h);
	server_identify_again(&run->h);
	return 0;
}

static void on_reload(evutil_socket_t signal, short what, void *arg)
{
	static const struct proto_event reloaded = {.type = PROTO_EVENT_TYPE_RELOADED};
	struct running *run = arg;

	(void)signal, (void)what;
	service_reloading();
	if (reload(run)) {
		log_error("the configuration was not reloaded: everything stays as it was");
	} else {
		log_info("the configuration was reloaded");
		events_publish(&run->h, &reloaded);
	}
	service_reloaded();
}

/* A client may have many descriptors on their way at once. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int serve(struct running *run)
{
	static const struct {
		int number;
		void (*fn)(evutil_socket_t, short, void *);
	} signals[] = {{SIGTERM, on_end}, {SIGINT, on_end}, {SIGHUP, on_reload}};
	struct event *events[3] = {NULL};
	struct service *service = NULL;
	int r = 0;

	for (size_t i = 0; i < 3 && !r; i++) {
		events[i] = evsignal_new(run->h.base, signals[i].number, signals[i].fn, run);
		if (!events[i] || event_add(events[i], NULL))
			r = -ENOMEM;
	}
	if (!r)
		r = service_start(&run->h, &service);
	if (!r)
		r = event_base_dispatch(run->h.base) < 0 ? -EIO : 0;
	service_stop(service);
	for (size_t i = 0; i < 3; i++)
		if (events[i])
			event_free(events[i]);
	return r;
}

static int run_daemon(struct running *run, char **ret_path)
{
	struct hvd_config *values = &run->config.values;
	int r = service_take_socket(ret_path);

	if (r < 0)
		return 1;
	values->listen_fd = r;
	if (r)
		values->socket = *ret_path;
	choose_access(values);
	r = choose_state_dir(&run->config);
	if (r)
		return 1;
	values->loading = service_loading;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file that can't grow is an error of writing */
	raise_descriptor_limit();
	r = hvd_start(&run->h, values);
	if (!r)
		r = serve(run);
	hvd_stop(&run->h);
	if (r)
		log_error("%s", strerror(-r));
	return r ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct command_line cl = {0};
	struct running run = {.cl = &cl};
	char *path = NULL;
	int code, r = read_command_line(argc, argv, &cl);

	if (!r)
		r = load(&cl, &run.config);
	if (!r)
		log_set_level((enum log_level)run.config.log_level);
	if (r) {
		log_error("the configuration is not valid: %s", strerror(-r));
		code = 2;
	} else if (cl.check) {
		choose_access(&run.config.values);
		choose_state_dir(&run.config);
		code = check_print(stdout, &run.config, config_path(&cl));
	} else {
		code = run_daemon(&run, &path);
	}
	config_free(&run.config);
	free(cl.values);
	free(path);
	return code;
}
