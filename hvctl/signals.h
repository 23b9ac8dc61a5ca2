/* SPDX-License-Identifier: MIT */
/*
 * Ctrl-C and the terminal. The first SIGINT is a wish that whoever waits looks at; a second
 * one ends the process at once, as do SIGTERM, SIGHUP and SIGQUIT always. A terminal that
 * was changed is put back on each of these ways out.
 */
#ifndef HVCTL_SIGNALS_H
#define HVCTL_SIGNALS_H

#include <stdbool.h>

/* Once, from main(). 0 or a negative errno. A SIGINT that the caller ignores stays ignored. */
int signals_init(void);
/* Readable once a SIGINT has come and has not been taken; -1 without signals_init(). */
int signals_fd(void);
/* Takes the SIGINT that made signals_fd() readable. */
void signals_take(void);
/* A SIGINT has come, taken or not. */
bool signals_interrupted(void);

/*
 * Bytes go through the terminal fd as they are, both ways, but for what it does to output.
 * 0 or a negative errno. One terminal at a time.
 */
int terminal_raw(int fd);
/* As it was before terminal_raw(); does nothing otherwise. */
void terminal_restore(void);

#endif
