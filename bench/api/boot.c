// SPDX-License-Identifier: MIT
/*
 * From vm.create to the guest's first instruction. The guest is one OUT to the exit port:
 * the daemon's word that the VM is shut off with that status cannot come before it was
 * executed. vm.wait is sent right behind vm.create (start, a flat image as a descriptor);
 * "created" is the time to the first reply, "first instruction" the time to the second,
 * which is more than what is asked for by the exit, its event and a reply.
 */
#include "api.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const unsigned char guest[] = {0xe6, 0xf4}; /* out 0xf4, al */

static const struct {
	const char *name, *params;
} machines[] = {
	{"2 MiB", "\"memory_bytes\":2097152"},
	{"64 MiB", "\"memory_bytes\":67108864"},
	{"4 GiB", "\"memory_bytes\":4294967296"},
	{"64 MiB in 4 KiB leaves", "\"memory_bytes\":67108864,\"ept_page\":\"4K\""},
};

static int guest_file(void)
{
	const int fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || write(fd, guest, sizeof(guest)) != (ssize_t)sizeof(guest))
		die("memfd_create");
	return fd;
}

static void boot(struct client *c, int image, const char *params, uint32_t *ret_created,
		 uint32_t *ret_first)
{
	size_t create_len, wait_len;
	char *create = request_text(&create_len, "vm.create",
				    "\"name\":\"boot\",\"image\":{\"fd\":0},"
				    "\"image_format\":\"flat\",\"start\":true,%s",
				    params);
	char *wait = request_text(&wait_len, "vm.wait", "\"vm\":\"boot\"");
	const uint64_t start = now_ns();
	const char *line;

	client_send(c, create, create_len, image);
	client_send(c, wait, wait_len, -1);
	client_line(c);
	*ret_created = (uint32_t)(now_ns() - start);
	line = client_line(c);
	*ret_first = (uint32_t)(now_ns() - start);
	if (!strstr(line, "\"exited\""))
		die("the guest did not exit: %s", line);
	client_call(c, -1, "vm.delete", "\"vm\":\"boot\"");
	free(create);
	free(wait);
}

static void measure(const struct bench *b, struct client *c, int image, size_t k)
{
	const size_t n = b->quick ? 5 : 300;
	uint32_t *created = need(n, sizeof(*created)), *first = need(n, sizeof(*first));
	struct series s[4] = {{0}};

	for (unsigned round = 0; round < b->rounds; round++) {
		for (size_t i = 0; i < n; i++)
			boot(c, image, machines[k].params, &created[i], &first[i]);
		qsort(created, n, sizeof(*created), compare_u32);
		qsort(first, n, sizeof(*first), compare_u32);
		series_add(&s[0], percentile(created, n, 50) / 1e3);
		series_add(&s[1], percentile(created, n, 99) / 1e3);
		series_add(&s[2], percentile(first, n, 50) / 1e3);
		series_add(&s[3], percentile(first, n, 99) / 1e3);
	}
	report("us", &s[0], "boot %s created p50", machines[k].name);
	report("us", &s[1], "boot %s created p99", machines[k].name);
	report("us", &s[2], "boot %s first instruction p50", machines[k].name);
	report("us", &s[3], "boot %s first instruction p99", machines[k].name);
	free(created);
	free(first);
}

void bench_boot(const struct bench *b)
{
	const int image = guest_file();
	struct server hvd;
	struct client c;

	server_start(b, &hvd, NULL);
	client_open(&c, hvd.socket);
	for (size_t k = 0; k < sizeof(machines) / sizeof(*machines); k++)
		measure(b, &c, image, k);
	client_close(&c);
	server_stop(&hvd);
	close(image);
}
