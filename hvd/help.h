/* SPDX-License-Identifier: MIT */
/* What hvd tells people about itself, from the table of options. */
#ifndef HVD_HELP_H
#define HVD_HELP_H

#include "hvd/config.h"

/* hvd --help */
void help_print(FILE *out);
/* hvd.conf with every key, commented out at its default. */
void help_print_sample(FILE *out);
/*
 * hvd --check, of a configuration that is valid (path: its file, or NULL): what would be
 * in force, and which engine, why, and what to do about it. The exit status: 1 if no
 * engine could be used.
 */
int check_print(FILE *out, const struct config *c, const char *path);

#endif
