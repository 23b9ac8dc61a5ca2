// SPDX-License-Identifier: MIT
/* Help, from the same tables as everything else. */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hvctl/text.h"
#include "hvctl/verb.h"

#define OPTION_COLUMN 34

static const char *const exit_codes[] = {
	[HVCTL_OK] = "done",
	[HVCTL_REFUSED] = "the daemon refused the request, or ended a subscription; its message "
			  "says why",
	[HVCTL_USAGE] = "wrong options, or a value that can't be",
	[HVCTL_NO_DAEMON] = "no connection to a daemon, or it broke",
	[HVCTL_TIMEOUT] = "what was waited for did not happen in time",
	[HVCTL_LOCAL] = "a file or memory on this side failed",
	[HVCTL_INTERRUPTED] = "Ctrl-C came before it was done; what a request would have changed "
			      "is as it was. A second Ctrl-C does not wait for that (status 130 in "
			      "a shell)",
};

const char *hvctl_exit_doc(size_t code)
{
	return code < sizeof(exit_codes) / sizeof(*exit_codes) ? exit_codes[code] : NULL;
}

static void describe(FILE *out, const char *left, const char *doc)
{
	int n = fprintf(out, "  %s", left);

	if (n > OPTION_COLUMN - 2) {
		fputc('\n', out);
		n = 0;
	}
	fprintf(out, "%*s", OPTION_COLUMN - n, "");
	text_wrap(out, OPTION_COLUMN, doc);
}

/* " VM [IMAGE]": the positional parameters, those that may be left out in brackets. */
void hvctl_positional_words(char *text, size_t size, const struct proto_method *m)
{
	const struct proto_struct *params = m->params();
	const char *word = m->positional;

	while (*word) {
		size_t n = strcspn(word, " "), at = strlen(text);
		char name[PROTO_FIELD_LEN];
		const struct proto_field *f;
		bool required;

		snprintf(name, sizeof(name), "%.*s", (int)n, word);
		f = proto_field_by_name(params, name);
		required = f && f->presence == PROTO_REQUIRED;
		for (char *p = name; *p; p++)
			*p = (char)toupper((unsigned char)*p);
		snprintf(text + at, size - at, required ? " %s" : " [%s]", name);
		word += n + (word[n] == ' ');
	}
	if (hvctl_verbs[m->id]->argument)
		snprintf(text + strlen(text), size - strlen(text), " [%s]",
			 hvctl_verbs[m->id]->argument->name);
}

static void list_verbs(FILE *out)
{
	static const char call_doc[] = "Call a method with parameters in JSON; prints the result "
				       "in JSON. --image PATH sends "
				       "a file, opened to read, as the next descriptor ({\"fd\": "
				       "0}); --file PATH one opened "
				       "to read and write.";

	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++) {
		const struct proto_method *m = &proto_methods[i];
		char left[160];

		if (!*m->verb)
			continue;
		snprintf(left, sizeof(left), "%s", m->verb);
		hvctl_positional_words(left, sizeof(left), m);
		describe(out, left, m->doc);
	}
	describe(out, "call METHOD [JSON]", call_doc);
	describe(out, "help [VERB]", "This text, or a verb's options.");
}

void hvctl_help(FILE *out)
{
	fputs("Usage: hvctl VERB [VM] [options]\n"
	      "Speaks to hvd, the hypervisor daemon.\n\nVerbs:\n",
	      out);
	list_verbs(out);
	fputs("\nOptions of every verb:\n", out);
	describe(out, "--socket PATH",
		 "the daemon's socket; else $HVD_SOCKET, else " PROTO_SOCKET_DEFAULT);
	describe(out, "--json",
		 "print the daemon's result unchanged; a refusal is printed as the "
		 "daemon's error object on standard error");
	describe(out, "--help", "a verb's options");
	describe(out, "--version", "the version");
	fputs("\nColour is used on a terminal only, and not if NO_COLOR is set.\n"
	      "\nExit codes:\n",
	      out);
	for (size_t i = 0; i < sizeof(exit_codes) / sizeof(*exit_codes); i++) {
		char left[8];

		snprintf(left, sizeof(left), "%zu", i);
		describe(out, left, exit_codes[i]);
	}
}

static const char *value_word(const struct proto_field *f)
{
	static const char *const words[PROTO_TYPE_COUNT] = {
		[PROTO_U32] = "N",	  [PROTO_U64] = "N",	 [PROTO_SIZE] = "SIZE",
		[PROTO_ADDR] = "ADDRESS", [PROTO_NAME] = "NAME", [PROTO_STRING] = "TEXT",
		[PROTO_BYTES] = "HEX",	  [PROTO_FILE] = "PATH", [PROTO_ENUM] = "WORD",
	};

	return words[f->type];
}

static void append(char *text, size_t size, const char *more)
{
	size_t n = strlen(text);

	snprintf(text + n, size - n, "%s", more);
}

/* "r, rw or rwx", the limits, the default: what the table says besides the text. */
static void describe_limits(char *text, size_t size, const struct proto_field *f)
{
	char number[TEXT_NUMBER], more[96];

	for (size_t i = 0; f->en && i < f->en->count; i++) {
		append(text, size, i ? ", " : ": ");
		append(text, size, f->en->values[i].name);
	}
	if (f->unit[0] && f->type != PROTO_SIZE && f->type != PROTO_BYTES) {
		snprintf(more, sizeof(more), " (%s)", f->unit);
		append(text, size, more);
	}
	if (f->list)
		append(text, size, "; may be repeated");
	if (f->presence != PROTO_DEFAULTED)
		return;
	if (f->en)
		snprintf(more, sizeof(more), "; default %s",
			 proto_enum_name(f->en, (uint32_t)f->dflt));
	else if (f->type == PROTO_SIZE)
		snprintf(more, sizeof(more), "; default %s", text_size(number, f->dflt));
	else if (f->type == PROTO_BOOL && f->dflt)
		snprintf(more, sizeof(more), "; default on");
	else if (f->type == PROTO_BOOL || f->type == PROTO_STRING)
		more[0] = 0;
	else
		snprintf(more, sizeof(more), "; default %" PRIu64, f->dflt);
	append(text, size, more);
}

void hvctl_field_text(const struct proto_method *m, const struct proto_field *f,
		      char left[HVCTL_LEFT_LEN], char doc[HVCTL_DOC_LEN])
{
	bool positional = proto_is_positional(m, f);

	snprintf(doc, HVCTL_DOC_LEN, "%s", f->doc);
	describe_limits(doc, HVCTL_DOC_LEN, f);
	if (positional) {
		snprintf(left, HVCTL_LEFT_LEN, "%s", f->name);
		for (char *p = left; *p; p++)
			*p = (char)toupper((unsigned char)*p);
	} else if (f->type == PROTO_BOOL && f->dflt) {
		snprintf(left, HVCTL_LEFT_LEN, "--%s=off", f->option);
	} else if (f->type == PROTO_BOOL) {
		snprintf(left, HVCTL_LEFT_LEN, "--%s", f->option);
	} else {
		snprintf(left, HVCTL_LEFT_LEN, "--%s %s", f->option, value_word(f));
	}
	if (f->presence == PROTO_REQUIRED && !positional)
		append(doc, HVCTL_DOC_LEN, "; required");
}

static void help_field(FILE *out, const struct proto_method *m, const struct proto_field *f)
{
	char left[HVCTL_LEFT_LEN], doc[HVCTL_DOC_LEN];

	if (!proto_is_positional(m, f) && !proto_has_option(m, f))
		return;
	hvctl_field_text(m, f, left, doc);
	describe(out, left, doc);
}

void hvctl_option_text(const struct hvctl_option *o, char text[HVCTL_OPTION_LEN])
{
	snprintf(text, HVCTL_OPTION_LEN, "--%s%s%s", o->name,
		 hvctl_option_needs_value(o) ? " " : "", o->value ? o->value : "");
}

void hvctl_help_verb(FILE *out, const struct proto_method *m)
{
	const struct hvctl_verb *verb = hvctl_verbs[m->id];
	const struct proto_struct *params = m->params();
	bool any = params->count || verb->options;
	char words[160] = "";

	hvctl_positional_words(words, sizeof(words), m);
	fprintf(out, "Usage: hvctl %s%s%s\n", m->verb, words, any ? " [options]" : "");
	text_wrap(out, 0, m->doc);
	fprintf(out, "Method %s, role %s or above.\n", m->name,
		proto_enum_name(&proto_enum_role, m->role));
	if (any)
		fputs("\nArguments and options:\n", out);
	for (size_t i = 0; i < params->count; i++)
		help_field(out, m, &params->fields[i]);
	if (verb->argument)
		describe(out, verb->argument->name, verb->argument->doc);
	for (const struct hvctl_option *o = verb->options; o && o->name; o++) {
		char left[HVCTL_OPTION_LEN];

		hvctl_option_text(o, left);
		describe(out, left, o->doc);
	}
	fprintf(out, "\nExample: hvctl %s%s%s\n", m->verb, verb->example[0] ? " " : "",
		verb->example);
}

/* Edits between two words (Levenshtein), for "did you mean". */
static size_t distance(const char *a, const char *b)
{
	size_t row[64], n = strlen(b);

	if (n >= 64)
		return SIZE_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[n];
}

int hvctl_unknown(const struct hvctl_context *ctx, const char *what, const char *name)
{
	const char *nearest = NULL;
	size_t best = 3; /* further away is another word */

	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++) {
		size_t d = distance(name, proto_methods[i].verb);

		if (d < best && *proto_methods[i].verb) {
			best = d;
			nearest = proto_methods[i].verb;
		}
	}
	if (nearest)
		return hvctl_fail(ctx, HVCTL_USAGE, "%s: no such %s; did you mean '%s'?", name,
				  what, nearest);
	return hvctl_fail(ctx, HVCTL_USAGE, "%s: no such %s\n  'hvctl help' lists them", name,
			  what);
}
