/* SPDX-License-Identifier: MIT */
/* Files that a request names: descriptors that came with it, or paths. */
#ifndef HVD_METHODS_FILES_H
#define HVD_METHODS_FILES_H

#include "hvd/call.h"

/* Descriptors in use by one call, and which of them were opened here. */
struct files {
	int fds[1 + ENGINE_MAX_MODULES];
	bool opened[1 + ENGINE_MAX_MODULES];
	size_t count;
};

/*
 * Adds the file to the list; it is a regular file that can be read, or written, too.
 * false: *err says why, and names the field. What was opened stays open until
 * files_close().
 */
bool files_add(const struct call *c, const struct proto_file *file, const char *field,
	       bool writable, struct files *files, struct proto_error *err);
void files_close(struct files *files);

#endif
