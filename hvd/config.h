/* SPDX-License-Identifier: MIT */
/* hvd's options as one table: the command line, hvd.conf, help and manual pages. */
#ifndef HVD_CONFIG_H
#define HVD_CONFIG_H

#include "hvd/hvd.h"
#include <stdio.h>

#define HVD_STATE_DIR_DEFAULT "/var/lib/hvd"
#define CONFIG_FILE_DEFAULT "/etc/hvd/hvd.conf"
#define CONFIG_TEXT_LEN 192

struct config {
	struct hvd_config values; /* its strings are in the arena */
	uint32_t log_level;	  /* enum log_level */
	struct proto_arena arena;
};

enum config_kind {
	CONFIG_STRING, /* const char * */
	CONFIG_TEXT,   /* char[max + 1] */
	CONFIG_U32,
	CONFIG_U64,
	CONFIG_SIZE, /* uint64_t: 4096, 64M, 2G */
	CONFIG_MODE, /* uint32_t, octal */
	CONFIG_FLAG, /* uint32_t; the command line has no value for it */
	CONFIG_WORD, /* uint32_t: one of a few words */
};

struct config_option {
	const char *name, *section;
	const char *dflt; /* "": zero */
	const char *word; /* what stands for its value in help */
	const char *doc;
	size_t offset, size; /* in struct config */
	uint64_t min, max;
	enum config_kind kind;
	bool live; /* a reload changes it */
};

extern const struct config_option config_options[];
extern const size_t config_option_count;

const struct config_option *config_option_by_name(const char *name);
/* Everything as by default. -ENOMEM. */
int config_init(struct config *c);
void config_free(struct config *c);
/* 0; or -EINVAL or -ENOMEM, and why: "0 is not between 1 and 64". c stays as it was. */
int config_set(struct config *c, const struct config_option *o, const char *text,
	       char why[CONFIG_TEXT_LEN]);
/*
 * Every error is logged with file and line; -EINVAL then, and what was right is set
 * nevertheless: c is to be thrown away. Another errno: it can't be read.
 */
int config_read(struct config *c, const char *path);
/* The value as config_set() takes it. */
const char *config_text(const struct config *c, const struct config_option *o,
			char buf[CONFIG_TEXT_LEN]);
/*
 * What may change without a restart is taken over from next, and logged; of the rest
 * that differs, the log says that it needs a restart. -ENOMEM.
 */
int config_take_live(struct config *c, const struct config *next);

#endif
