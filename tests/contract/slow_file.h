/* SPDX-License-Identifier: MIT */
/*
 * A file that hangs, as one of a server that is away does: the program is linked with
 * --wrap, so that reading and looking at the file that is held wait until it is let go.
 */
#ifndef TESTS_CONTRACT_SLOW_FILE_H
#define TESTS_CONTRACT_SLOW_FILE_H

/* From now on pread() of it at `offset` or behind waits, and so does fstat() if that is 0. */
void slow_file_hold(int fd, long offset);
void slow_file_release(void);
/* Waits until somebody waits for it. */
void slow_file_wait(void);

#endif
