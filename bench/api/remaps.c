// SPDX-License-Identifier: MIT
/*
 * Remaps of single 4 KiB pages a second: a VM whose RAM is mapped by 4 KiB leaves, pages
 * and their new places in another slot drawn at random, in batches of several sizes. The
 * state that is measured is the one that many such batches leave: nearly every page is a
 * mapping of its own. The VM is stopped, or runs a loop in RAM behind these pages: then a
 * batch waits for the end of a quantum, and is followed by an INVEPT.
 */
#include "api.h"
#include "proto/proto.h"
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u
#define PAGES 65536u /* of the VM, and of the other slot */

static const unsigned char spinning[] = {0xeb, 0xfe}; /* jmp $ */

static const struct {
	unsigned records; /* of a batch; 0: memory.remap */
	unsigned requests, depth;
} shapes[] = {
	{0, 4096, 1},  {0, 4096, 16}, {1, 4096, 1},  {16, 2048, 1}, {16, 2048, 4}, {256, 256, 1},
	{256, 256, 4}, {4096, 16, 1}, {4096, 16, 4}, {65536, 4, 1}, {65536, 4, 2},
};

static char *single_remap(uint64_t *random, size_t *ret_len)
{
	const uint64_t gpa = next_random(random) % PAGES * PAGE;
	const uint64_t offset = next_random(random) % PAGES * PAGE;

	return request_text(ret_len, "memory.remap",
			    "\"vm\":\"vm\",\"gpa\":\"0x%llx\",\"size_bytes\":4096,"
			    "\"slot\":\"spare\",\"offset_bytes\":%llu",
			    (unsigned long long)gpa, (unsigned long long)offset);
}

/* Each page once at most, in random order: the first n of a shuffle. */
static char *packed_remaps(uint64_t *random, unsigned n, size_t *ret_len)
{
	uint64_t *records = need(n, 2 * sizeof(*records));
	uint32_t *pages = need(PAGES, sizeof(*pages));
	char *text = need(1, proto_base64_length(n * 2 * sizeof(*records)) + 1), *request;

	for (uint32_t i = 0; i < PAGES; i++)
		pages[i] = i;
	for (uint32_t i = 0; i < n; i++) {
		const uint32_t k = i + (uint32_t)(next_random(random) % (PAGES - i));
		const uint32_t page = pages[k];

		pages[k] = pages[i];
		records[2 * i] = htole64((uint64_t)page * PAGE);
		records[2 * i + 1] = htole64(next_random(random) % PAGES * PAGE);
	}
	proto_base64_encode((uint8_t *)records, n * 2 * sizeof(*records), text);
	request = request_text(ret_len, "memory.batch",
			       "\"vm\":\"vm\",\"packed\":{\"op\":\"remap\",\"slot\":\"spare\","
			       "\"records\":\"%s\"}",
			       text);
	free(records);
	free(pages);
	free(text);
	return request;
}

static void make_requests(struct load *l, size_t count, unsigned records)
{
	uint64_t random = 7;

	l->request_count = count;
	l->requests = need(count, sizeof(*l->requests));
	l->lengths = need(count, sizeof(*l->lengths));
	for (size_t i = 0; i < count; i++)
		l->requests[i] = records ? packed_remaps(&random, records, &l->lengths[i])
					 : single_remap(&random, &l->lengths[i]);
}

static void free_requests(struct load *l)
{
	for (size_t i = 0; i < l->request_count; i++)
		free(l->requests[i]);
	free(l->requests);
	free(l->lengths);
}

static void measure(const struct bench *b, const struct server *hvd, const char *state, size_t k)
{
	const unsigned records = shapes[k].records;
	struct load l = {.socket = hvd->socket, .clients = 1, .depth = shapes[k].depth};
	struct series rate = {0}, p50 = {0}, p99 = {0}, cpu = {0};
	char name[96];

	make_requests(&l, b->quick ? 2 : shapes[k].requests, records);
	l.duration_ns = b->quick ? 20000000 : 1000000000;
	snprintf(name, sizeof(name), "remap %s %s=%u depth=%u", state, records ? "batch" : "single",
		 records ? records : 1, l.depth);
	for (unsigned i = 0; i < b->rounds; i++) {
		const uint64_t before = server_cpu_ns(hvd);
		struct load_result r;
		double remaps;

		load_run(&l, &r);
		remaps = (double)r.replies * (records ? records : 1);
		series_add(&rate, remaps * 1e9 / (double)r.elapsed_ns);
		series_add(&p50, r.p50_ns / 1e3);
		series_add(&p99, r.p99_ns / 1e3);
		series_add(&cpu, (double)(server_cpu_ns(hvd) - before) / remaps);
	}
	report("remaps a second", &rate, "%s rate", name);
	report("us", &p50, "%s request latency p50", name);
	report("us", &p99, "%s request latency p99", name);
	report("ns of server CPU a remap", &cpu, "%s cpu", name);
	free_requests(&l);
}

static void make_vm(struct client *c, bool running)
{
	const int image = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (image < 0 || write(image, spinning, sizeof(spinning)) != (ssize_t)sizeof(spinning))
		die("memfd_create");
	client_call(c, image, "vm.create",
		    "\"name\":\"vm\",\"memory_bytes\":%u,\"ept_page\":\"4K\",\"image\":{\"fd\":0},"
		    "\"image_format\":\"flat\",\"load_gpa\":\"0x%x\",\"start\":%s",
		    (PAGES + 512) * PAGE, PAGES * PAGE, running ? "true" : "false");
	client_call(c, -1, "memory.slot.add", "\"vm\":\"vm\",\"slot\":\"spare\",\"size_bytes\":%u",
		    PAGES * PAGE);
	close(image);
}

/* Every page once to another place: the state that random remaps lead to. */
static void scramble(struct client *c)
{
	uint64_t random = 1;
	size_t len;
	char *text = packed_remaps(&random, PAGES, &len);

	client_send(c, text, len, -1);
	client_line(c);
	free(text);
}

static void in_state(const struct bench *b, bool running)
{
	struct server hvd;
	struct client c;

	server_start(b, &hvd, NULL);
	client_open(&c, hvd.socket);
	make_vm(&c, running);
	scramble(&c);
	for (size_t k = 0; k < sizeof(shapes) / sizeof(*shapes); k++) {
		/* One request after the other says enough of the wait for a quantum. */
		if ((b->quick && shapes[k].records > 256) || (running && shapes[k].depth > 1))
			continue;
		measure(b, &hvd, running ? "running" : "stopped", k);
	}
	if (running)
		client_call(&c, -1, "vm.pause", "\"vm\":\"vm\"");
	client_close(&c);
	server_stop(&hvd);
}

void bench_remaps(const struct bench *b)
{
	in_state(b, false);
	in_state(b, true);
}
