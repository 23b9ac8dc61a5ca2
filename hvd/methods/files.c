// SPDX-License-Identifier: MIT
#include "hvd/methods/files.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_path(const struct call *c, const char *path, const char *field, bool writable,
		     struct proto_error *err)
{
	int fd;

	/* The daemon's rights are not the client's, unless they are the same user's. */
	if (c->peer.uid != geteuid())
		return proto_fail(err, PROTO_ERROR_DENIED, field,
				  "a path is opened only for the daemon's own user: send a "
				  "descriptor");
	if (*path != '/')
		return proto_fail(err, PROTO_ERROR_INVALID_VALUE, field,
				  "%.200s: the path must be absolute", path);
	/* O_NONBLOCK: a FIFO must not make the loop wait; it is refused below. */
	fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return proto_fail(err, PROTO_ERROR_FILE_ERROR, field, "%.200s: %s", path,
				  strerror(errno));
	return fd;
}

static int check_mode(int fd, const char *field, bool writable, struct proto_error *err)
{
	const int flags = fcntl(fd, F_GETFL);
	const int mode = flags & O_ACCMODE;
	struct stat st;

	if (flags < 0 || fstat(fd, &st) < 0)
		return proto_fail(err, PROTO_ERROR_FILE_ERROR, field, "%s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return proto_fail(err, PROTO_ERROR_FILE_ERROR, field, "is not a regular file");
	if (flags & O_PATH || mode == O_WRONLY || (writable && mode != O_RDWR))
		return proto_fail(err, PROTO_ERROR_FILE_ERROR, field, "is not open for %s",
				  writable ? "reading and writing" : "reading");
	return 0;
}

bool files_add(const struct call *c, const struct proto_file *file, const char *field,
	       bool writable, struct files *files, struct proto_error *err)
{
	char sub[PROTO_FIELD_LEN];
	int fd;

	snprintf(sub, sizeof(sub), "%.80s.%s", field, file->path ? "path" : "fd");
	if (file->path) {
		fd = open_path(c, file->path, sub, writable, err);
		if (fd < 0)
			return false;
	} else if (file->fd < c->fd_count) {
		fd = c->fds[file->fd];
	} else {
		proto_fail(err, PROTO_ERROR_OUT_OF_RANGE, sub,
			   "%u: %zu descriptors came with the message", file->fd, c->fd_count);
		err->has_limit = true;
		err->limit = c->fd_count;
		return false;
	}
	files->fds[files->count] = fd;
	files->opened[files->count++] = file->path != NULL;
	return !check_mode(fd, sub, writable, err);
}

void files_close(struct files *files)
{
	for (size_t i = 0; i < files->count; i++)
		if (files->opened[i])
			close(files->fds[i]);
	files->count = 0;
}
