/* SPDX-License-Identifier: MIT */
/* Manual pages and completions, printed from the tables that the programs run by. */
#ifndef PAGES_H
#define PAGES_H

#include <stdio.h>

void page_hvctl_1(FILE *out);
void page_hvd_8(FILE *out);
void page_hvd_conf_5(FILE *out);
void page_bash(FILE *out);
void page_zsh(FILE *out);
void page_hvd_bash(FILE *out);
void page_hvd_zsh(FILE *out);

/* A text inside single quotes and _arguments' brackets. */
void page_zsh_text(FILE *out, const char *s);

#endif
