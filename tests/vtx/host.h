/* SPDX-License-Identifier: MIT */
/*
 * The test machine, as its first process has it: a program and no shell, for in Bochs every
 * process costs seconds. What is to be kept goes to the kernel log.
 */
#ifndef VTX_HOST_H
#define VTX_HOST_H

#include <stdbool.h>

#include "say.h"

/* Mounts what is needed, and opens the kernel log. */
void host_start(void);
/* Loads /NAME.ko, and says so. false: it is refused, and the log has why. */
bool host_load(const char *name, const char *options);
bool host_unload(const char *name);
/* The same without a word; 0 or a negative errno. */
int host_load_quietly(const char *name, const char *options);
int host_unload_quietly(const char *name);
/* A number that the kernel's command line gives as NAME=NUMBER, or the other one. */
unsigned long host_option(const char *name, unsigned long otherwise);
/* Runs a program to its end, with what it prints in the log; its exit status, or -1. */
int host_run(const char *const argv[]);
/* Writes a text to a file of the kernel's. 0 or a negative errno. */
int host_write(const char *path, const char *text);
/* Powers off. */
_Noreturn void host_off(void);

#endif
