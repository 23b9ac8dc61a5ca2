/* SPDX-License-Identifier: MIT */
/* The listening socket and its place in the file system. */
#ifndef HVD_LISTENER_H
#define HVD_LISTENER_H

#include <sys/types.h>

struct listener {
	int fd;
	const char *path;
	dev_t dev;
	ino_t ino;
};

/* See server_start(). */
int listener_open(const char *path, mode_t mode, struct listener *ret);
/* A socket that listens already, of somebody else's making: its path is left alone. */
int listener_adopt(int fd, struct listener *ret);
/* Removes the path if it is still this socket. */
void listener_close(struct listener *l);

#endif
