// SPDX-License-Identifier: MIT
#include "hvd/listener.h"
#include "hvd/log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Opens the folder of the path, which is made if only it itself is missing. */
static int open_folder(const char *path)
{
	char *slash = strrchr(path, '/');
	char *folder = strdup(slash ? path : ".");
	int fd, err;

	if (!folder)
		return -ENOMEM;
	if (slash)
		folder[slash == path ? 1 : slash - path] = '\0';
	if (mkdir(folder, 0755) < 0 && errno != EEXIST)
		log_debug("%s: %s", folder, strerror(errno));
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = errno;
	if (fd < 0)
		log_error("%s: %s", folder, strerror(err));
	free(folder);
	return fd < 0 ? -err : fd;
}

/* Does somebody answer at the address? Nobody does if its owner died. */
static int remove_stale(const struct sockaddr_un *addr)
{
	struct stat st;
	int fd, r;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode)) {
		log_error("%s exists and is not a socket", addr->sun_path);
		return -EEXIST;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	r = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? -errno : 0;
	close(fd);
	if (r != -ECONNREFUSED) {
		log_error("%s: another daemon serves it (or it can't be asked: %s)", addr->sun_path,
			  r ? strerror(-r) : "it answers");
		return -EADDRINUSE;
	}
	log_info("%s: its owner is gone; replaced", addr->sun_path);
	return unlink(addr->sun_path) < 0 ? -errno : 0;
}

static int bind_and_listen(const struct sockaddr_un *addr, mode_t mode, struct listener *ret)
{
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;
	mode_t mask;
	int r;

	if (fd < 0)
		return -errno;
	mask = umask(~mode & 0777);
	r = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? -errno : 0;
	umask(mask);
	if (!r && lstat(addr->sun_path, &st) < 0)
		r = -errno;
	if (!r && listen(fd, SOMAXCONN) < 0)
		r = -errno;
	if (r) {
		log_error("%s: %s", addr->sun_path, strerror(-r));
		close(fd);
		return r;
	}
	ret->fd = fd;
	ret->dev = st.st_dev;
	ret->ino = st.st_ino;
	return 0;
}

/* The folder's lock keeps two daemons from both finding the same socket stale. */
int listener_open(const char *path, mode_t mode, struct listener *ret)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int folder, r;

	if (!*path || strlen(path) >= sizeof(addr.sun_path)) {
		log_error("%s: a socket's path has 1 to %zu bytes", path,
			  sizeof(addr.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	memcpy(addr.sun_path, path, strlen(path));
	folder = open_folder(path);
	if (folder < 0)
		return folder;
	r = flock(folder, LOCK_EX) < 0 ? -errno : 0;
	if (!r)
		r = remove_stale(&addr);
	if (!r)
		r = bind_and_listen(&addr, mode, ret);
	if (!r)
		ret->path = path;
	close(folder);
	return r;
}

int listener_adopt(int fd, struct listener *ret)
{
	int listens = 0;
	socklen_t len = sizeof(listens);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 || !listens) {
		log_error("descriptor %d is not a socket that listens", fd);
		return -EINVAL;
	}
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	*ret = (struct listener){.fd = fd};
	return 0;
}

void listener_close(struct listener *l)
{
	struct stat st;

	if (l->fd < 0)
		return;
	if (l->path && !lstat(l->path, &st) && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->path);
	close(l->fd);
	l->fd = -1;
}
