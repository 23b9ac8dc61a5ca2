// SPDX-License-Identifier: MIT
/*
 * Ten thousand VMs that are defined, and a thousand that run: the time that a VM takes to
 * make, and the daemon's memory, from /proc/PID/smaps_rollup. A VM that runs has an image,
 * one page of RAM that it touches, and a vCPU that never stops.
 */
#include "api.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const unsigned char spinning[] = {0xeb, 0xfe}; /* jmp $ */

/* As many VMs more as make count; they go one after the other. */
static double create_up_to(struct client *c, unsigned from, unsigned count, int image)
{
	const uint64_t start = now_ns();

	for (unsigned i = from; i < count; i++)
		client_call(c, image, "vm.create", "\"name\":\"vm%u\",\"memory_bytes\":2097152%s",
			    i,
			    image < 0 ? ""
				      : ",\"image\":{\"fd\":0},\"image_format\":\"flat\","
					"\"start\":true");
	return (double)(now_ns() - start) / 1e3 / (count - from);
}

static void delete_all(struct client *c, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		client_call(c, -1, "vm.stop", "\"vm\":\"vm%u\"", i);
		client_call(c, -1, "vm.delete", "\"vm\":\"vm%u\"", i);
	}
}

struct step {
	unsigned vms;
	struct series create_us, get_us, rss, rss_each;
};

/* Median of some requests about one VM of them. */
static double get_us(struct client *c, unsigned count)
{
	uint32_t took[101];

	for (size_t i = 0; i < 101; i++) {
		const uint64_t start = now_ns();

		client_call(c, -1, "vm.get", "\"vm\":\"vm%u\"", (unsigned)(i * 7919 % count));
		took[i] = (uint32_t)(now_ns() - start);
	}
	qsort(took, 101, sizeof(*took), compare_u32);
	return percentile(took, 101, 50) / 1e3;
}

static void one_round(const struct bench *b, struct step *steps, size_t count, int image)
{
	struct memory_use before;
	struct server hvd;
	struct client c;
	unsigned made = 0;

	server_start(b, &hvd, NULL);
	client_open(&c, hvd.socket);
	/* The first one brings what all share. */
	create_up_to(&c, 0, 1, image);
	delete_all(&c, 1);
	before = server_memory(&hvd);
	for (size_t i = 0; i < count; i++) {
		uint64_t now;

		series_add(&steps[i].create_us, create_up_to(&c, made, steps[i].vms, image));
		made = steps[i].vms;
		now = server_memory(&hvd).rss_bytes;
		series_add(&steps[i].rss, (double)now / 1024);
		series_add(&steps[i].rss_each,
			   ((double)now - (double)before.rss_bytes) / 1024 / made);
		series_add(&steps[i].get_us, get_us(&c, made));
	}
	client_close(&c);
	server_stop(&hvd);
}

static void measure(const struct bench *b, const char *what, struct step *steps, size_t count,
		    int image)
{
	for (unsigned i = 0; i < b->rounds; i++)
		one_round(b, steps, count, image);
	for (size_t i = 0; i < count; i++) {
		struct step *s = &steps[i];

		report("us", &s->create_us, "vms %s=%u vm.create", what, s->vms);
		report("us", &s->get_us, "vms %s=%u vm.get p50", what, s->vms);
		report("KiB", &s->rss, "vms %s=%u resident", what, s->vms);
		report("KiB", &s->rss_each, "vms %s=%u resident, each VM", what, s->vms);
	}
}

/* The most VMs that the daemon says it takes. */
static unsigned limit_of(const struct bench *b)
{
	const char *limits;
	struct server hvd;
	struct client c;
	unsigned limit;

	server_start(b, &hvd, NULL);
	client_open(&c, hvd.socket);
	limits = strstr(client_call(&c, -1, "daemon.info", "%s", ""), "\"limits\":");
	if (!limits)
		die("daemon.info has no limits");
	limit = (unsigned)reply_number(limits, "vms");
	client_close(&c);
	server_stop(&hvd);
	return limit;
}

void bench_many(const struct bench *b)
{
	struct step defined[] = {{.vms = 100}, {.vms = 1000}, {.vms = 10000}};
	struct step running[] = {{.vms = 10}, {.vms = 100}, {.vms = 1000}};
	struct step few[2][1] = {{{.vms = 20}}, {{.vms = 5}}};
	const int image = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	const unsigned limit = limit_of(b);

	if (image < 0 || write(image, spinning, sizeof(spinning)) != (ssize_t)sizeof(spinning))
		die("memfd_create");
	if (defined[2].vms > limit)
		defined[2].vms = limit;
	measure(b, "defined", b->quick ? few[0] : defined, b->quick ? 1 : 3, -1);
	measure(b, "running", b->quick ? few[1] : running, b->quick ? 1 : 3, image);
	close(image);
}
