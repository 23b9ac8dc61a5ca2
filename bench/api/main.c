// SPDX-License-Identifier: MIT
/*
 * bench_api [--quick] [--rounds N] [--hvd PATH] [PART...]: prints JSON. Parts: requests,
 * remaps, boot, many; all of them if none is named.
 */
#include "api.h"
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct {
	const char *name;
	void (*run)(const struct bench *b);
} parts[] = {
	{"requests", bench_requests},
	{"remaps", bench_remaps},
	{"boot", bench_boot},
	{"many", bench_many},
};

#define PARTS (sizeof(parts) / sizeof(*parts))

void die(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "bench_api: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

void *need(size_t count, size_t size)
{
	void *p = calloc(count, size);

	if (!p)
		die("out of memory");
	return p;
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* SplitMix64. */
uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

void pin(int processor)
{
	cpu_set_t set;

	if (processor < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET((unsigned)processor, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("sched_setaffinity: %s", strerror(errno));
}

/* The first two processors that this process may use; with one, all share it. */
static void choose_processors(struct bench *b)
{
	cpu_set_t set;
	int found[2] = {-1, -1}, n = 0;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		die("sched_getaffinity: %s", strerror(errno));
	for (int i = 0; i < CPU_SETSIZE && n < 2; i++)
		if (CPU_ISSET((unsigned)i, &set))
			found[n++] = i;
	b->daemon_processor = n == 2 ? found[0] : -1;
	b->client_processor = n == 2 ? found[1] : -1;
}

static void usage(void)
{
	fprintf(stderr, "usage: bench_api [--quick] [--rounds N] [--hvd PATH] [PART...]\nparts:");
	for (size_t i = 0; i < PARTS; i++)
		fprintf(stderr, " %s", parts[i].name);
	fputc('\n', stderr);
	exit(2);
}

static size_t find_part(const char *name)
{
	size_t i;

	for (i = 0; i < PARTS && strcmp(parts[i].name, name) != 0; i++)
		;
	if (i == PARTS)
		usage();
	return i;
}

/* The daemon of the same build: BUILD/bench/api/bench_api, BUILD/hvd/hvd. */
static char *own_daemon(void)
{
	static char path[4096 + 32];
	ssize_t n = readlink("/proc/self/exe", path, 4095);

	for (int i = 0; i < 3 && n > 0; i++)
		while (n > 0 && path[--n] != '/')
			;
	if (n <= 0)
		die("where is hvd? --hvd PATH");
	snprintf(path + n, sizeof(path) - (size_t)n, "/hvd/hvd");
	return path;
}

int main(int argc, char **argv)
{
	struct bench b = {.rounds = 5};
	bool chosen[PARTS] = {false}, any = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--quick") == 0)
			b.quick = true;
		else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
			b.rounds = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--hvd") == 0 && i + 1 < argc)
			b.hvd = argv[++i];
		else if (argv[i][0] == '-')
			usage();
		else
			any = chosen[find_part(argv[i])] = true;
	}
	if (!b.rounds || b.rounds > 1000)
		usage();
	if (!b.hvd)
		b.hvd = own_daemon();
	signal(SIGPIPE, SIG_IGN);
	choose_processors(&b);
	pin(b.client_processor);
	report_begin(&b);
	for (size_t i = 0; i < PARTS; i++)
		if (!any || chosen[i])
			parts[i].run(&b);
	report_end();
	return 0;
}
