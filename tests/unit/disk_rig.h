/* SPDX-License-Identifier: MIT */
/*
 * Stands between the store and the C library: what is done on the disk below a folder is
 * written down, and can be made to fail.
 */
#ifndef DISK_RIG_H
#define DISK_RIG_H

#include <stddef.h>

/* Watches a folder from now on; nothing is written down yet, and nothing fails. */
void disk_watch(const char *folder);
/* fsync, rename and unlink below the folder, one a line: "fsync images/x", "rename a b". */
const char *disk_trace(void);
/* One more line, for what the test sees happen. */
void disk_note(const char *text);
void disk_clear(void);
/* The n-th call from now on (1: the next) fails so; 0: none. Any call is counted. */
void disk_fail(size_t n, int err);
/* It has happened. */
int disk_failed(void);
/* write() takes a byte at a time, and is interrupted now and then; pread() as well. */
void disk_stutter(int on);
/* There is no copy_file_range() between these files. */
void disk_no_copy(int on);

#endif
