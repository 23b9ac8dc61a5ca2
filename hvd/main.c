// SPDX-License-Identifier: MIT
/* hvd: options, signals, and the loop. */
#include "hvd/hvd.h"
#include "hvd/log.h"
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

static const char help[] =
	"Usage: hvd [options]\n"
	"\n"
	"Runs virtual machines and answers JSON-RPC 2.0 on a Unix socket; hvctl is its client.\n"
	"It stays in the foreground; SIGTERM or SIGINT ends it, its VMs, and removes the socket.\n"
	"\n"
	"  --socket PATH        the socket (default " PROTO_SOCKET_DEFAULT "), mode 0600:\n"
	"                       open to root and to the user hvd runs as\n"
	"  --engine NAME        the engine: vmx or soft (default: the first that is available)\n"
	"  --processors N       logical processors of the machine, 1 to 64 (default 2)\n"
	"  --memory SIZE        bound on the memory of all VMs (default: the engine's)\n"
	"  --vpid-limit N       highest VPID used, 1 to 65535 (default 65535)\n"
	"  --quantum N          instructions a vCPU runs before the next (soft)\n"
	"  --seed N             seed of whatever is chosen at random (soft)\n"
	"  --scatter            host-physical memory in shuffled 4 KiB pages (soft)\n"
	"  --tlb PRESET         geometry of the TLB, or none (soft; default skylake)\n"
	"  --unsafe-hooks       let clients leave out an invalidation that is needed (soft)\n"
	"  --foreground         as always; accepted for scripts\n"
	"  --log-level LEVEL    error, warning, info or debug (default info)\n"
	"  --version            print the version\n"
	"  --help               print this\n"
	"\n"
	"Sizes: 4096, 64M, 2G. Exit status: 0 after SIGTERM or SIGINT, 1 if it can't start,\n"
	"2 for a wrong option.\n";

enum option_kind { STRING, U32, U64, SIZE, FLAG, TLB, LEVEL, VERSION, HELP, NOTHING };

/* One row an option; value is the member of struct hvd_config that it sets. */
#define MEMBER(m) offsetof(struct hvd_config, m)
static const struct {
	const char *name;
	enum option_kind kind;
	size_t value;
	uint64_t min, max;
} rows[] = {
	{"socket", STRING, MEMBER(socket), 0, 0},
	{"engine", STRING, MEMBER(engine), 0, 0},
	{"processors", U32, MEMBER(engine_config.processors), 1, 64},
	{"memory", SIZE, MEMBER(engine_config.memory_bytes), 1 << 20, UINT64_C(1) << 46},
	{"vpid-limit", U32, MEMBER(engine_config.vpid_limit), 1, 65535},
	{"quantum", U64, MEMBER(engine_config.quantum), 1, UINT64_C(1) << 40},
	{"seed", U64, MEMBER(engine_config.seed), 0, UINT64_MAX},
	{"scatter", FLAG, MEMBER(engine_config.scatter), 0, 0},
	{"tlb", TLB, MEMBER(engine_config.tlb), 0, 0},
	{"unsafe-hooks", FLAG, MEMBER(engine_config.unsafe_hooks), 0, 0},
	{"foreground", NOTHING, 0, 0, 0},
	{"log-level", LEVEL, 0, 0, 0},
	{"version", VERSION, 0, 0, 0},
	{"help", HELP, 0, 0, 0},
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* name: NULL if it is about no option. */
static _Noreturn void wrong(const char *name, const char *text, const char *what)
{
	fprintf(stderr, "hvd: %s%s%s%s %s; see hvd --help\n", name ? "--" : "", name ? name : "",
		name ? ": " : "", text, what);
	exit(2);
}

static uint64_t number(size_t row, const char *text)
{
	const bool digits = text[strspn(text, "0123456789")] == '\0';
	uint64_t v = 0;
	char what[80];

	if ((rows[row].kind != SIZE && !digits) || proto_parse_size(text, &v))
		wrong(rows[row].name, text,
		      rows[row].kind == SIZE ? "is not a size" : "is not a number");
	if (v < rows[row].min || v > rows[row].max) {
		snprintf(what, sizeof(what), "is not between %llu and %llu",
			 (unsigned long long)rows[row].min, (unsigned long long)rows[row].max);
		wrong(rows[row].name, text, what);
	}
	return v;
}

static void apply(size_t row, const char *text, struct hvd_config *config)
{
	void *p = (char *)config + rows[row].value;
	enum log_level level;

	switch (rows[row].kind) {
	case STRING:
		*(const char **)p = text;
		break;
	case U32:
		*(uint32_t *)p = (uint32_t)number(row, text);
		break;
	case U64:
	case SIZE:
		*(uint64_t *)p = number(row, text);
		break;
	case FLAG:
		*(uint32_t *)p = 1;
		break;
	case TLB:
		if (strlen(text) >= sizeof(config->engine_config.tlb))
			wrong(rows[row].name, text, "is no preset");
		strcpy(p, text);
		break;
	case LEVEL:
		if (log_level_by_name(text, &level))
			wrong(rows[row].name, text, "is not error, warning, info or debug");
		log_set_level(level);
		break;
	case VERSION:
		printf("hvd %s\n", HVD_VERSION);
		exit(0);
	case HELP:
		fputs(help, stdout);
		exit(0);
	case NOTHING:
		break;
	}
}

static void read_options(int argc, char **argv, struct hvd_config *config)
{
	struct option options[ROWS + 1] = {{0}};
	int row, r;

	for (size_t i = 0; i < ROWS; i++) {
		const enum option_kind k = rows[i].kind;

		options[i].name = rows[i].name;
		options[i].has_arg = k == FLAG || k == VERSION || k == HELP || k == NOTHING
					     ? no_argument
					     : required_argument;
	}
	while ((r = getopt_long(argc, argv, "", options, &row)) != -1) {
		if (r == '?') {
			fprintf(stderr, "hvd: see hvd --help\n");
			exit(2);
		}
		apply((size_t)row, optarg, config);
	}
	if (optind < argc)
		wrong(NULL, argv[optind], "is not expected");
}

static void on_signal(evutil_socket_t signal, short what, void *arg)
{
	(void)what;
	log_info("%s: stopping", strsignal(signal));
	sd_notify(0, "STOPPING=1");
	event_base_loopbreak(arg);
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

static int serve(struct hvd *h)
{
	static const int signals[] = {SIGTERM, SIGINT};
	struct event *events[2] = {NULL};
	int r = 0;

	for (size_t i = 0; i < 2 && !r; i++) {
		events[i] = evsignal_new(h->base, signals[i], on_signal, h->base);
		if (!events[i] || event_add(events[i], NULL))
			r = -ENOMEM;
	}
	if (!r) {
		sd_notifyf(0, "READY=1\nSTATUS=engine %s", h->engine_info.name);
		r = event_base_dispatch(h->base) < 0 ? -EIO : 0;
	}
	for (size_t i = 0; i < 2; i++)
		if (events[i])
			event_free(events[i]);
	return r;
}

int main(int argc, char **argv)
{
	struct hvd_config config = {.socket = PROTO_SOCKET_DEFAULT, .bounds = hvd_default_bounds};
	struct hvd h;
	int r;

	read_options(argc, argv, &config);
	signal(SIGPIPE, SIG_IGN);
	raise_descriptor_limit();
	r = hvd_start(&h, &config);
	if (!r)
		r = serve(&h);
	hvd_stop(&h);
	if (r)
		log_error("%s", strerror(-r));
	return r ? 1 : 0;
}
