// SPDX-License-Identifier: MIT
/*
 * How long the way is out of a guest and back, and to another page under its feet: hvd's
 * kernel module beside KVM, on the same guests, in ticks of the time-stamp counter.
 *
 *   bench_exits [--count N] [--where TEXT] [hvd|kvm]...
 *
 * Each figure is of single events, one sample each:
 *
 *   cpuid           a CPUID that the kernel answers, measured by the guest
 *   out             an OUT that user space sees, from one such exit to the next
 *   remap           under a guest that is not in a run: the system calls,
 *   remap+read      and with the run in which the guest reads the new page
 *   remap running   under a guest that runs on another processor: the system calls,
 *   ...+read        and until the guest has read the new page
 *
 * In Bochs a tick is about one instruction, whatever it does: there the figures compare
 * lengths of paths, not time. --where TEXT says where it ran. Prints JSON.
 */
#include "exits.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <x86intrin.h>

#define COUNT_MAX (EXITS_PAGES - 2)
#define SEEN_TIMEOUT_S 60
#define SERIES_MAX 64

const uint32_t exits_cpuid[2][5] = {
	{0, 1, 0x6c707865, 0x6e696c66, 0x756f656d},
	{1, 0x000306d4, 0, 0x80000001, 0x078bfbff},
};

extern const uint8_t exits_guest_cpuid[], exits_guest_cpuid_end[];
extern const uint8_t exits_guest_out[], exits_guest_out_end[];
extern const uint8_t exits_guest_touch[], exits_guest_touch_end[];
extern const uint8_t exits_guest_spin[], exits_guest_spin_end[];

struct series {
	const char *engine, *event, *way;
	uint32_t count;
	uint32_t ticks[COUNT_MAX];
};

static struct {
	const struct exits_host *host;
	struct exits_memory ram, pages;
	uint32_t count;
	size_t series_count;
	struct series *series[SERIES_MAX];
} bench = {.count = 300};

void exits_die(const char *what)
{
	fprintf(stderr, "bench_exits: %s: %s\n", what, strerror(errno));
	exit(1);
}

int exits_ioctl(int fd, unsigned long command, const void *arg, const char *what)
{
	int r = ioctl(fd, command, arg);

	if (r < 0)
		exits_die(what);
	return r;
}

/* --- time, samples, memory ------------------------------------------------------------------- */

/* Nothing of what came before is still on its way. */
static uint64_t ticks(void)
{
	_mm_lfence();
	return __rdtsc();
}

static struct series *new_series(const char *event, const char *way)
{
	struct series *s = calloc(1, sizeof(*s));

	if (!s || bench.series_count == SERIES_MAX) {
		errno = ENOMEM;
		exits_die("samples");
	}
	s->engine = bench.host ? bench.host->name : "none";
	s->event = event;
	s->way = way;
	bench.series[bench.series_count++] = s;
	return s;
}

static void add(struct series *s, uint64_t sample)
{
	if (s->count < COUNT_MAX)
		s->ticks[s->count++] = sample < UINT32_MAX ? (uint32_t)sample : UINT32_MAX;
}

static void make_memory(struct exits_memory *m, const char *name, size_t bytes)
{
	m->bytes = bytes;
	m->fd = memfd_create(name, MFD_CLOEXEC);
	if (m->fd < 0 || ftruncate(m->fd, (off_t)bytes) < 0)
		exits_die("memfd_create");
	m->at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, m->fd, 0);
	if (m->at == MAP_FAILED)
		exits_die("mmap");
}

static volatile uint32_t *word(uint32_t gpa)
{
	return (volatile uint32_t *)(bench.ram.at + gpa);
}

/* --- a guest -----------------------------------------------------------------------------------
 */

static void guest_open(const uint8_t *image, const uint8_t *end, uint32_t ebp)
{
	memset(bench.ram.at, 0, bench.ram.bytes);
	memcpy(bench.ram.at + EXITS_CODE, image, (size_t)(end - image));
	bench.host->open(&bench.ram, &bench.pages);
	bench.host->start(ebp);
}

static void measure_nothing(void)
{
	struct series *s = new_series("two readings", "in user space");

	for (uint32_t i = 0; i < bench.count; i++) {
		uint64_t start = ticks();

		add(s, ticks() - start);
	}
}

static void measure_cpuid(void)
{
	struct series *s = new_series("cpuid", "");
	struct series *nothing = new_series("two readings", "in the guest");

	guest_open(exits_guest_cpuid, exits_guest_cpuid_end, bench.count);
	bench.host->run();
	for (uint32_t i = 0; i < bench.count; i++)
		add(s, *word(EXITS_SAMPLES + 4 * i));
	for (uint32_t i = 0; i < EXITS_EMPTY; i++)
		add(nothing, *word(EXITS_SAMPLES + 4 * (bench.count + i)));
	bench.host->close();
}

static void measure_out(void)
{
	struct series *s = new_series("out", "");

	guest_open(exits_guest_out, exits_guest_out_end, 0);
	bench.host->run();
	for (uint32_t i = 0; i < bench.count; i++) {
		uint64_t start = ticks();

		bench.host->run();
		add(s, ticks() - start);
	}
	bench.host->close();
}

/* --- remapping -----------------------------------------------------------------------------------
 */

/* Page n holds n + 1. */
static void number_pages(void)
{
	for (uint32_t i = 0; i < EXITS_PAGES; i++) {
		uint32_t number = i + 1;

		memcpy(bench.pages.at + (size_t)i * EXITS_PAGE_BYTES, &number, sizeof(number));
	}
}

static void measure_paused(const struct exits_way *way)
{
	struct series *calls = new_series("remap", way->name);
	struct series *read = new_series("remap+read", way->name);

	guest_open(exits_guest_touch, exits_guest_touch_end, 0);
	if (way->prepare)
		way->prepare();
	bench.host->run();
	for (uint32_t i = 1; i <= bench.count; i++) {
		uint64_t start = ticks(), called;
		uint32_t seen;

		way->remap(i);
		called = ticks();
		seen = bench.host->run();
		add(read, ticks() - start);
		add(calls, called - start);
		errno = EILSEQ;
		if (seen != i + 1)
			exits_die("the guest does not see the new page");
	}
	bench.host->close();
}

static void pin(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		exits_die("sched_setaffinity");
}

static void *guest_thread(void *arg)
{
	(void)arg;
	pin(1);
	bench.host->run();
	return NULL;
}

static void await_seen(uint32_t value)
{
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		for (unsigned i = 0; i < 100000; i++) {
			if (*word(EXITS_SEEN) == value)
				return;
		}
		clock_gettime(CLOCK_MONOTONIC, &now);
		errno = ETIMEDOUT;
		if (now.tv_sec - start.tv_sec > SEEN_TIMEOUT_S)
			exits_die("the running guest does not see the new page");
	}
}

static void measure_running(const struct exits_way *way)
{
	struct series *calls = new_series("remap running", way->name);
	struct series *read = new_series("remap running+read", way->name);
	pthread_t thread;

	guest_open(exits_guest_spin, exits_guest_spin_end, 0);
	if (way->prepare)
		way->prepare();
	errno = pthread_create(&thread, NULL, guest_thread, NULL);
	if (errno)
		exits_die("a thread");
	await_seen(1);
	for (uint32_t i = 1; i <= bench.count; i++) {
		uint64_t start = ticks(), called;

		way->remap(i);
		called = ticks();
		await_seen(i + 1);
		add(read, ticks() - start);
		add(calls, called - start);
	}
	*word(EXITS_STOP) = 1;
	pthread_join(thread, NULL);
	bench.host->close();
}

static void measure(const struct exits_host *host)
{
	bench.host = host;
	measure_cpuid();
	measure_out();
	for (size_t i = 0; i < host->way_count; i++) {
		measure_paused(&host->ways[i]);
		if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
			measure_running(&host->ways[i]);
	}
	bench.host = NULL;
}

/* --- the report
 * ------------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void print_series(struct series *s, bool last)
{
	uint32_t n = s->count;

	qsort(s->ticks, n, sizeof(s->ticks[0]), compare);
	printf("{\"engine\": \"%s\", \"event\": \"%s\", \"way\": \"%s\", \"count\": %u, "
	       "\"median\": %u, \"lowest\": %u, \"p10\": %u, \"p90\": %u, \"highest\": %u}%s\n",
	       s->engine, s->event, s->way, n, s->ticks[n / 2], s->ticks[0], s->ticks[n / 10],
	       s->ticks[n - 1 - n / 10], s->ticks[n - 1], last ? "" : ",");
}

static void print_report(const char *where)
{
	struct utsname u;

	uname(&u);
	printf("{\"benchmark\": \"exits\", \"unit\": \"ticks of the time-stamp counter\", "
	       "\"where\": \"%s\", \"kernel\": \"%s\", \"processors\": %ld,\n",
	       where, u.release, sysconf(_SC_NPROCESSORS_ONLN));
	printf("\"note\": \"in Bochs a tick is about one instruction: lengths of paths, not "
	       "time\",\n\"results\": [\n");
	for (size_t i = 0; i < bench.series_count; i++)
		print_series(bench.series[i], i + 1 == bench.series_count);
	printf("]}\n");
}

static _Noreturn void usage(void)
{
	fprintf(stderr, "usage: bench_exits [--count 10..%u] [--where TEXT] [hvd|kvm]...\n",
		COUNT_MAX);
	exit(2);
}

static uint32_t parse_count(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text == '\0' || *end != '\0' || n < 10 || n > COUNT_MAX)
		usage();
	return (uint32_t)n;
}

int main(int argc, char **argv)
{
	static const struct exits_host *const hosts[] = {&exits_hvd, &exits_kvm};
	const char *where = "this machine";
	bool wanted[2] = {false, false};

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--count") == 0 && i + 1 < argc)
			bench.count = parse_count(argv[++i]);
		else if (strcmp(argv[i], "--where") == 0 && i + 1 < argc)
			where = argv[++i];
		else if (strcmp(argv[i], "hvd") == 0 || strcmp(argv[i], "kvm") == 0)
			wanted[argv[i][0] == 'k'] = true;
		else
			usage();
	}
	pin(0);
	make_memory(&bench.ram, "ram", EXITS_RAM_BYTES);
	make_memory(&bench.pages, "pages", (size_t)EXITS_PAGES * EXITS_PAGE_BYTES);
	number_pages();
	measure_nothing();
	for (unsigned i = 0; i < 2; i++) {
		if (wanted[i] || wanted[0] == wanted[1])
			measure(hosts[i]);
	}
	print_report(where);
	return 0;
}
