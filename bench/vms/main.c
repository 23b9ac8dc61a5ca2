/* SPDX-License-Identifier: MIT */
/*
 * bench_vms [DEFINED [RUNNING]]: what many VMs cost the soft engine, as JSON: time and
 * memory of this process for each VM that is defined and each that runs, instructions a
 * second that all of them together retire, and the way from "create" to a guest's first
 * instructions. Requests are sent one after the other, each after the last one's completion.
 */
#include <vmxcore/engine.h>

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DEFINED_DEFAULT 10000u
#define RUNNING_DEFAULT 1000u
#define COUNT_MAX 65536u
#define RAM_BYTES (UINT64_C(128) << 20)
#define MACHINE_BYTES (UINT64_C(8) << 40)
#define FIRST_RUNS 101u
#define LARGE_RUNS 11u
#define LARGE_BYTES (UINT64_C(1) << 40)
#define SPAN_MS 500

/* In 32-bit protected mode: counts in memory, for ever. */
static const uint8_t guest_loop[] = {0xff, 0x05, 0x00, 0x00, 0x20, 0x00, 0xeb, 0xf8};
/* Writes 0 to the exit port. */
static const uint8_t guest_exit[] = {0x31, 0xc0, 0xe6, 0xf4};

static struct engine *engine;
static uint64_t vms[COUNT_MAX];

static void check(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "bench_vms: %s: %s\n", what, strerrordesc_np(-err));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t resident_bytes(void)
{
	unsigned long long total = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%llu %llu", &total, &resident) != 2)
		check(-EIO, "/proc/self/statm");
	fclose(f);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The next event; its payload is let go. */
static struct engine_event next(void)
{
	struct pollfd p = {.fd = engine_event_fd(engine), .events = POLLIN};
	struct engine_event ev;

	while (engine_next_event(engine, &ev) == -EAGAIN)
		poll(&p, 1, -1);
	return ev;
}

/* The payload is the caller's to release. */
static struct engine_event call(struct engine_request *req, const int *fd)
{
	static uint64_t token;
	struct engine_event ev;

	req->token = ++token;
	check(engine_submit(engine, req, NULL, 0, fd, fd ? 1 : 0), "submit");
	for (;;) {
		ev = next();
		if (ev.type == ENGINE_EVENT_COMPLETION)
			break;
		engine_event_release(&ev);
	}
	check(ev.error.code, ev.error.text);
	return ev;
}

static void op(uint64_t vm, enum engine_op what)
{
	struct engine_request req = {.op = what, .vm = vm};
	struct engine_event ev = call(&req, NULL);

	engine_event_release(&ev);
}

static int image_of(const uint8_t *bytes, size_t size)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
		check(-errno, "an image");
	return fd;
}

static uint64_t create_of(int fd, uint64_t ram_bytes)
{
	struct engine_request req = {.op = ENGINE_VM_CREATE};

	req.u.create = (struct engine_vm_create){
		.memory_bytes = ram_bytes,
		.vcpus = 1,
		.use_vpid = 1,
		.image_format = ENGINE_IMAGE_FLAT,
		.has_image = 1,
		.processor = {ENGINE_ANY_PROCESSOR},
	};
	return call(&req, &fd).vm;
}

static uint64_t create(int fd)
{
	return create_of(fd, RAM_BYTES);
}

/* --- defined ------------------------------------------------------------------------------- */

static void define(unsigned from, unsigned to, int fd, bool last)
{
	uint64_t bytes = resident_bytes(), ns = now_ns();
	unsigned n = to - from, i;

	for (i = from; i < to; i++)
		vms[i] = create(fd);
	ns = now_ns() - ns;
	bytes = resident_bytes() - bytes;
	printf("    {\"from\": %u, \"to\": %u, \"us_per_create\": %.1f, \"bytes_per_vm\": %" PRIu64
	       "}%s\n",
	       from, to, (double)ns / 1e3 / n, bytes / n, last ? "" : ",");
}

/* --- running ------------------------------------------------------------------------------- */

static uint64_t retired(unsigned count)
{
	uint64_t sum = 0;
	unsigned i;

	for (i = 0; i < count; i++) {
		struct engine_request req = {.op = ENGINE_VM_INFO, .vm = vms[i]};
		struct engine_event ev = call(&req, NULL);

		sum += ev.state.guest_time;
		engine_event_release(&ev);
	}
	return sum;
}

static void run(unsigned from, unsigned to, bool last)
{
	uint64_t bytes = resident_bytes(), ns = now_ns(), before, start_ns, info_ns;
	struct timespec span = {.tv_nsec = SPAN_MS * 1000000L};
	unsigned n = to - from, i;

	for (i = from; i < to; i++)
		op(vms[i], ENGINE_VM_START);
	start_ns = now_ns() - ns;
	/* Each gets its turn, and its pages. */
	nanosleep(&span, NULL);
	bytes = resident_bytes() - bytes;
	ns = now_ns();
	before = retired(to);
	info_ns = now_ns() - ns;
	ns = now_ns();
	nanosleep(&span, NULL);
	before = retired(to) - before;
	ns = now_ns() - ns;
	printf("    {\"running\": %u, \"us_per_start\": %.1f, \"us_per_request\": %.1f"
	       ", \"bytes_per_vm\": %" PRIu64 ", \"instructions_per_s\": %.0f}%s\n",
	       to, (double)start_ns / 1e3 / n, (double)info_ns / 1e3 / to, bytes / n,
	       (double)before * 1e9 / (double)ns, last ? "" : ",");
}

/* --- from create to the first instructions -------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void first_instruction(void)
{
	uint64_t ns[FIRST_RUNS];
	int fd = image_of(guest_exit, sizeof(guest_exit));
	unsigned i;

	for (i = 0; i < FIRST_RUNS; i++) {
		struct engine_event ev;
		uint64_t vm;

		ns[i] = now_ns();
		vm = create(fd);
		op(vm, ENGINE_VM_START);
		do {
			ev = next();
			engine_event_release(&ev);
		} while (ev.type != ENGINE_EVENT_STATE || ev.state.state != ENGINE_STATE_SHUTOFF ||
			 ev.vm != vm);
		ns[i] = now_ns() - ns[i];
		op(vm, ENGINE_VM_DELETE);
	}
	close(fd);
	qsort(ns, FIRST_RUNS, sizeof(ns[0]), compare);
	printf("  \"create_to_exit_us\": {\"median\": %.1f, \"min\": %.1f, \"p95\": %.1f},\n",
	       (double)ns[FIRST_RUNS / 2] / 1e3, (double)ns[0] / 1e3,
	       (double)ns[FIRST_RUNS * 95 / 100] / 1e3);
}

/* A VM with 1 TiB of RAM, whose EPT has leaves of the largest size. */
static void large(int fd)
{
	uint64_t made[LARGE_RUNS], deleted[LARGE_RUNS], vm;
	unsigned i;

	for (i = 0; i < LARGE_RUNS; i++) {
		made[i] = now_ns();
		vm = create_of(fd, LARGE_BYTES);
		made[i] = now_ns() - made[i];
		deleted[i] = now_ns();
		op(vm, ENGINE_VM_DELETE);
		deleted[i] = now_ns() - deleted[i];
	}
	qsort(made, LARGE_RUNS, sizeof(made[0]), compare);
	qsort(deleted, LARGE_RUNS, sizeof(deleted[0]), compare);
	printf("  \"one_tib\": {\"create_us\": %.1f, \"delete_us\": %.1f},\n",
	       (double)made[LARGE_RUNS / 2] / 1e3, (double)deleted[LARGE_RUNS / 2] / 1e3);
}

/* 100, 1000, ... up to count. */
static void in_decades(unsigned count, unsigned first, void (*fn)(unsigned, unsigned, int, bool),
		       int fd)
{
	unsigned from = 0, to = first;

	for (; from < count; from = to, to *= 10) {
		to = to < count ? to : count;
		fn(from, to, fd, to == count);
	}
}

static void run_step(unsigned from, unsigned to, int fd, bool last)
{
	(void)fd;
	run(from, to, last);
}

static unsigned count_of(const char *text)
{
	unsigned long n = strtoul(text, NULL, 10);

	if (n < 1 || n > COUNT_MAX) {
		fprintf(stderr, "usage: bench_vms [DEFINED [RUNNING]], each 1 to %u\n", COUNT_MAX);
		exit(2);
	}
	return (unsigned)n;
}

int main(int argc, char **argv)
{
	const struct engine_config cfg = {.memory_bytes = MACHINE_BYTES};
	unsigned defined = argc > 1 ? count_of(argv[1]) : DEFINED_DEFAULT;
	unsigned running = argc > 2 ? count_of(argv[2]) : RUNNING_DEFAULT, i;
	uint64_t ns;
	int fd = image_of(guest_loop, sizeof(guest_loop));

	running = running < defined ? running : defined;
	check(engine_open("soft", &cfg, &engine), "the engine");
	printf("{\n  \"bench\": \"vms\",\n");
	first_instruction();
	large(fd);
	printf("  \"defined\": [\n");
	in_decades(defined, 100, define, fd);
	printf("  ],\n  \"running\": [\n");
	in_decades(running, 1, run_step, fd);
	printf("  ],\n");
	ns = now_ns();
	for (i = 0; i < running; i++)
		op(vms[i], ENGINE_VM_STOP);
	for (i = 0; i < defined; i++)
		op(vms[i], ENGINE_VM_DELETE);
	printf("  \"us_per_delete\": %.1f\n}\n", (double)(now_ns() - ns) / 1e3 / defined);
	engine_close(engine);
	close(fd);
	return 0;
}
