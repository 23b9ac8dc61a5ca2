/* SPDX-License-Identifier: MIT */
/*
 * The state directory: one file NAME.json a VM that is stored, images/UUID.image and
 * images/UUID.moduleN beside them. A thread of its own does all the work on the disk while
 * the daemon serves clients; results come back through the loop.
 *
 * What holds on the disk at any moment, so also after the daemon was killed or the host lost
 * its power:
 *   - NAME.json is whole: it is written and synchronized as .NAME.json.new, then renamed.
 *   - The files that it names are there and whole: they were synchronized before that.
 *   - store_put() and store_remove() are done when their change is on the disk.
 *   - What no definition names is of no use, and removed at the next start.
 */
#ifndef HVD_STORE_H
#define HVD_STORE_H

#include "hvd/definition.h"
#include <event2/event.h>

#define STORE_JOBS_MAX 4096u /* in progress */
#define STORE_TEXT_LEN 256

struct store;

struct store_result {
	int err;	  /* 0 or a negative errno */
	const char *text; /* what failed, and why; "" */
	/* store_copy(): the copies, in order; the descriptors are closed after the call */
	const struct stored_file *files;
	const int *fds;
	size_t fd_count;
	/* store_read() */
	const uint8_t *data;
	size_t data_bytes;
	uint64_t total_bytes;
};

/*
 * From the loop, once for each call below that returned 0; after store_stop(), from inside
 * of that call: nothing may follow one.
 */
typedef void store_done_fn(void *ctx, const struct store_result *res);

/*
 * Makes the folder if only it itself is missing, and takes it: -EBUSY, another daemon has it.
 * What went wrong has been logged.
 */
int store_open(const char *path, struct event_base *base, struct store **ret);
/* The thread ends; what has not begun is done with -ECANCELED. From then on, in place. */
void store_stop(struct store *s);
/* After store_stop(). */
void store_close(struct store *s);

/* All of them: 0; or -EAGAIN (STORE_JOBS_MAX), -ENOMEM, -EBADF, and done is not called. */

/* Copies image (if image) and modules, for good; they are nothing before store_put(). */
int store_copy(struct store *s, const char *uuid, bool image, const int *fds, size_t count,
	       store_done_fn *done, void *ctx);
/* Takes text. -EEXIST: there is a file of that name, which is left alone. */
int store_put(struct store *s, const char *name, char *text, size_t text_bytes, bool has_files,
	      store_done_fn *done, void *ctx);
/* The definition goes, its files stay until store_sweep(). After a failure it is still there. */
int store_remove(struct store *s, const char *name, store_done_fn *done, void *ctx);
/* Removes the files of a UUID that no definition names; what fails is tried at the next start. */
void store_sweep(struct store *s, const char *uuid, bool image, size_t count);
/* Up to max_bytes of the i-th file of a UUID. */
int store_read(struct store *s, const char *uuid, bool image, size_t i, uint64_t offset,
	       size_t max_bytes, store_done_fn *done, void *ctx);

/* A failure of the store as an error of a request: kind limit if the disk is full, else file. */
int store_error(const struct store_result *res, const char *what, struct proto_error *ret);

#endif
