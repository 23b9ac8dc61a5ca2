/* SPDX-License-Identifier: MIT */
/* See shared.h. The kernel tells of the mappings in /proc/self/maps; source: proc(5). */
#include "plat/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

/* A mapping of the list, as far as it matters. */
struct mapping {
	uintptr_t first, end;
	const char *rights; /* "rw-s", in the line */
};

/* "first-end rights ...", in hexadecimal. */
static bool parse(const char *line, struct mapping *ret)
{
	char *rest;

	ret->first = strtoul(line, &rest, 16);
	if (*rest != '-')
		return false;
	ret->end = strtoul(rest + 1, &rest, 16);
	ret->rights = rest + 1;
	return *rest == ' ' && strnlen(ret->rights, 4) == 4;
}

/* false: the list ends. */
static bool next_mapping(FILE *list, char **line, size_t *room, struct mapping *ret)
{
	while (getline(line, room, list) > 0)
		if (parse(*line, ret))
			return true;
	return false;
}

/* Memory answers there: a system call finds out without a signal. */
static bool answers(uintptr_t at)
{
	char byte;
	const struct iovec here = {.iov_base = &byte, .iov_len = 1};
	const struct iovec there = {.iov_base = (void *)at, .iov_len = 1};

	return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 1;
}

static int check(const struct mapping *m, uintptr_t end)
{
	if (m->rights[0] != 'r' || m->rights[1] != 'w')
		return -EFAULT;
	if (m->rights[3] != 's')
		return -EOPNOTSUPP;
	/* A file may be shorter than what is mapped: its end is before what follows. */
	return answers(end - 1) ? 0 : -EFAULT;
}

/* piece NULL: only looks. */
static int pass(FILE *list, uintptr_t address, uintptr_t end,
		int (*piece)(void *ctx, uintptr_t at, uint64_t bytes), void *ctx)
{
	struct mapping m;
	char *line = NULL;
	size_t room = 0;
	int rc = 0;

	while (rc == 0 && address < end && next_mapping(list, &line, &room, &m)) {
		uintptr_t stop = m.end < end ? m.end : end;

		if (m.end <= address)
			continue;
		if (m.first > address)
			break;
		rc = piece ? piece(ctx, address, stop - address) : check(&m, stop);
		address = stop;
	}
	free(line);
	return rc == 0 && address < end ? -EFAULT : rc;
}

int plat_shared_pieces(uintptr_t address, uint64_t size,
		       int (*piece)(void *ctx, uintptr_t at, uint64_t bytes), void *ctx)
{
	FILE *list = fopen("/proc/self/maps", "re");
	int rc;

	if (!list)
		return -errno;
	rc = pass(list, address, address + size, NULL, NULL);
	/* Read anew: what piece() does changes what comes later, not what is named here. */
	if (rc == 0) {
		rewind(list);
		rc = pass(list, address, address + size, piece, ctx);
	}
	fclose(list);
	return rc;
}
