// SPDX-License-Identifier: MIT
#include "hvd/config.h"
#include "hvd/log.h"
#include <ini.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* --- the table ------------------------------------------------------------------------ */

static const char *const level_words[] = {"error", "warning", "info", "debug", NULL};
static const char *const access_words[] = {
	[ACCESS_AUTO] = "auto",
	[ACCESS_PRIVATE] = "private",
	[ACCESS_BY_ROLES] = "roles",
	NULL,
};

/* The words of an option are those of the member that it sets. */
const char *const *config_words(const struct config_option *o)
{
	if (o->kind != CONFIG_WORD)
		return NULL;
	return o->offset == offsetof(struct config, log_level) ? level_words : access_words;
}

const struct config_option config_options[] = {
#define OPTION(name_, section_, kind_, member, min_, max_, dflt_, word_, live_, doc_) \
	{.name = name_,                                                               \
	 .section = section_,                                                         \
	 .dflt = dflt_,                                                               \
	 .word = word_,                                                               \
	 .doc = doc_,                                                                 \
	 .kind = CONFIG_##kind_,                                                      \
	 .offset = offsetof(struct config, member),                                   \
	 .size = sizeof(((struct config *)NULL)->member),                             \
	 .min = min_,                                                                 \
	 .max = max_,                                                                 \
	 .live = live_},
#include "hvd/options.def"
#undef OPTION
};
const size_t config_option_count = sizeof(config_options) / sizeof(config_options[0]);

const struct config_option *config_option_by_name(const char *name)
{
	for (size_t i = 0; i < config_option_count; i++)
		if (!strcmp(config_options[i].name, name))
			return &config_options[i];
	return NULL;
}

/* --- values ------------------------------------------------------------------------------ */

static void *member(struct config *c, const struct config_option *o)
{
	return (char *)c + o->offset;
}

static const void *const_member(const struct config *c, const struct config_option *o)
{
	return (const char *)c + o->offset;
}

static int put_number(struct config *c, const struct config_option *o, uint64_t v)
{
	const uint32_t narrow = (uint32_t)v;

	if (o->size == sizeof(v))
		memcpy(member(c, o), &v, sizeof(v));
	else
		memcpy(member(c, o), &narrow, sizeof(narrow));
	return 0;
}

static uint64_t get_number(const struct config *c, const struct config_option *o)
{
	uint64_t v = 0;
	uint32_t narrow;

	if (o->size == sizeof(v)) {
		memcpy(&v, const_member(c, o), sizeof(v));
		return v;
	}
	memcpy(&narrow, const_member(c, o), sizeof(narrow));
	return narrow;
}

static const char *get_string(const struct config *c, const struct config_option *o)
{
	const char *s;

	if (o->kind == CONFIG_TEXT)
		return const_member(c, o);
	memcpy(&s, const_member(c, o), sizeof(s));
	return s ? s : "";
}

static int wrong(char *why, const char *text, const char *what)
{
	snprintf(why, CONFIG_TEXT_LEN, "%.80s %s", text, what);
	return -EINVAL;
}

static int set_string(struct config *c, const struct config_option *o, const char *text, char *why)
{
	const size_t len = strlen(text);
	char *copy, what[64];

	if (len < o->min || len > o->max) {
		snprintf(what, sizeof(what), "has %zu bytes, not %" PRIu64 " to %" PRIu64, len,
			 o->min, o->max);
		return wrong(why, len > 60 ? "the value" : *text ? text : "an empty value", what);
	}
	if (o->kind == CONFIG_TEXT) {
		memcpy(member(c, o), text, len + 1);
		return 0;
	}
	copy = proto_strdup(&c->arena, text);
	if (!copy) {
		wrong(why, text, "needs more memory than there is");
		return -ENOMEM;
	}
	memcpy(member(c, o), &copy, sizeof(copy));
	return 0;
}

static int set_number(struct config *c, const struct config_option *o, const char *text, char *why)
{
	const bool digits = *text && text[strspn(text, "0123456789")] == '\0';
	char what[80];
	uint64_t v = 0;

	if ((o->kind != CONFIG_SIZE && !digits) || proto_parse_size(text, &v))
		return wrong(why, text,
			     o->kind == CONFIG_SIZE ? "is not a size" : "is not a number");
	if (v < o->min || v > o->max) {
		snprintf(what, sizeof(what), "is not between %" PRIu64 " and %" PRIu64, o->min,
			 o->max);
		return wrong(why, text, what);
	}
	return put_number(c, o, v);
}

static int set_mode(struct config *c, const struct config_option *o, const char *text, char *why)
{
	const bool digits = *text && text[strspn(text, "01234567")] == '\0' && strlen(text) <= 4;
	const unsigned long v = digits ? strtoul(text, NULL, 8) : 0;

	if (v < o->min || v > o->max)
		return wrong(why, text, "is not an octal mode between 0600 and 0777");
	return put_number(c, o, v);
}

static int set_flag(struct config *c, const struct config_option *o, const char *text, char *why)
{
	static const char *const words[] = {"no", "yes", "off", "on", "false", "true", "0", "1"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(text, words[i]))
			return put_number(c, o, i & 1);
	return wrong(why, text, "is not yes or no");
}

static int set_word(struct config *c, const struct config_option *o, const char *text, char *why)
{
	const char *const *words = config_words(o);
	char what[80] = "is not";
	size_t i, n = strlen(what);

	for (i = 0; words[i] && strcmp(text, words[i]) != 0; i++)
		;
	if (words[i])
		return put_number(c, o, i);
	for (i = 0; words[i] && n < sizeof(what); i++)
		n += (size_t)snprintf(what + n, sizeof(what) - n, "%s %s",
				      !i	     ? ""
				      : words[i + 1] ? ","
						     : " or",
				      words[i]);
	return wrong(why, text, what);
}

static int (*const setters[])(struct config *, const struct config_option *, const char *,
			      char *) = {
	[CONFIG_STRING] = set_string, [CONFIG_TEXT] = set_string, [CONFIG_U32] = set_number,
	[CONFIG_U64] = set_number,    [CONFIG_SIZE] = set_number, [CONFIG_MODE] = set_mode,
	[CONFIG_FLAG] = set_flag,     [CONFIG_WORD] = set_word,
};

int config_set(struct config *c, const struct config_option *o, const char *text,
	       char why[CONFIG_TEXT_LEN])
{
	return setters[o->kind](c, o, text, why);
}

const char *config_text(const struct config *c, const struct config_option *o,
			char buf[CONFIG_TEXT_LEN])
{
	const bool text = o->kind == CONFIG_STRING || o->kind == CONFIG_TEXT;
	const uint64_t v = text ? 0 : get_number(c, o);

	if (text)
		snprintf(buf, CONFIG_TEXT_LEN, "%s", get_string(c, o));
	else if (o->kind == CONFIG_WORD)
		snprintf(buf, CONFIG_TEXT_LEN, "%s", config_words(o)[v]);
	else if (o->kind == CONFIG_FLAG)
		snprintf(buf, CONFIG_TEXT_LEN, "%s", v ? "yes" : "no");
	else if (!v && o->min) /* no value that can be given */
		snprintf(buf, CONFIG_TEXT_LEN, "unset");
	else
		snprintf(buf, CONFIG_TEXT_LEN, o->kind == CONFIG_MODE ? "0%" PRIo64 : "%" PRIu64,
			 v);
	return buf;
}

int config_init(struct config *c)
{
	char why[CONFIG_TEXT_LEN];
	int r = 0;

	*c = (struct config){0};
	for (size_t i = 0; i < config_option_count && !r; i++)
		if (*config_options[i].dflt)
			r = config_set(c, &config_options[i], config_options[i].dflt, why);
	if (r)
		config_free(c);
	return r;
}

void config_free(struct config *c)
{
	proto_arena_free(&c->arena);
	*c = (struct config){0};
}

/* --- the file --------------------------------------------------------------------------- */

struct reading {
	struct config *config;
	const char *path;
	FILE *file;
	unsigned line, errors;
	uint64_t seen; /* options that had a value, as bits */
};

_Static_assert(sizeof(config_options) / sizeof(config_options[0]) <= 64, "bits of seen");

__attribute__((format(printf, 2, 3))) static void complain(struct reading *r, const char *fmt, ...)
{
	char text[2 * CONFIG_TEXT_LEN];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_error("%s:%u: %s", r->path, r->line, text);
	r->errors++;
}

/* As fgets(), but counts lines, and refuses one that doesn't fit instead of cutting it. */
static char *next_line(char *buf, int room, void *stream)
{
	struct reading *r = stream;
	int len = 0, ch;
	bool bad = false;

	r->line++;
	while ((ch = fgetc(r->file)) != EOF && ch != '\n') {
		bad |= !ch || len >= room - 1;
		if (!bad)
			buf[len++] = (char)ch;
	}
	if (ch == EOF && !len && !bad)
		return NULL;
	buf[len] = '\0';
	if (bad) {
		complain(r, "the line is longer than %d bytes or has a zero byte", room - 1);
		buf[0] = '\0';
	}
	return buf;
}

static bool section_known(const char *name)
{
	for (size_t i = 0; i < config_option_count; i++)
		if (!strcmp(config_options[i].section, name))
			return true;
	return false;
}

static int on_value(void *ctx, const char *section, const char *name, const char *value)
{
	struct reading *r = ctx;
	const struct config_option *o = config_option_by_name(name);
	const uint64_t bit = o ? UINT64_C(1) << (o - config_options) : 0;
	char why[CONFIG_TEXT_LEN];

	if (!*section)
		complain(r, "%.60s stands before the first [section]", name);
	else if (!section_known(section))
		complain(r, "there is no section [%.60s]", section);
	else if (!o)
		complain(r, "[%s] has no key %.60s", section, name);
	else if (strcmp(o->section, section) != 0)
		complain(r, "%s belongs into [%s], not [%s]", name, o->section, section);
	else if (r->seen & bit)
		complain(r, "%s is given twice", name);
	else if (config_set(r->config, o, value, why))
		complain(r, "%s: %s", name, why);
	r->seen |= bit;
	return 1;
}

int config_read(struct config *c, const char *path)
{
	struct reading r = {.config = c, .path = path, .file = fopen(path, "re")};
	int bad, err = errno;

	if (!r.file) {
		log_error("%s: %s", path, strerror(err));
		return -err;
	}
	/* A value that goes on in the next line would be one more meaning of a blank. */
	ini_allow_multiline = false;
	errno = 0;
	bad = ini_parse_stream(next_line, &r, on_value, &r);
	err = ferror(r.file) ? errno : 0;
	fclose(r.file);
	if (err) {
		log_error("%s: %s", path, strerror(err));
		return -err;
	}
	if (bad > 0) {
		r.line = (unsigned)bad;
		complain(&r, "is neither [section] nor key = value");
	}
	return bad || r.errors ? -EINVAL : 0;
}

/* --- reload ---------------------------------------------------------------------------------- */

int config_take_live(struct config *c, const struct config *next)
{
	char was[CONFIG_TEXT_LEN], is[CONFIG_TEXT_LEN], why[CONFIG_TEXT_LEN];

	for (size_t i = 0; i < config_option_count; i++) {
		const struct config_option *o = &config_options[i];

		config_text(c, o, was);
		config_text(next, o, is);
		if (!strcmp(was, is))
			continue;
		if (!o->live) {
			log_warning("%s stays \"%s\": \"%s\" needs a restart", o->name, was, is);
			continue;
		}
		if (config_set(c, o, is, why))
			return -ENOMEM;
		log_info("%s is \"%s\" now, it was \"%s\"", o->name, is, was);
	}
	return 0;
}
