// SPDX-License-Identifier: MIT
#include "hvd/help.h"
#include "hvd/log.h"
#include <inttypes.h>
#include <string.h>

#define WIDTH 96
#define DOC_COLUMN 26

/* Words of text in lines; the first begins behind "at" columns, the others at the indent. */
static void wrap(FILE *out, const char *text, int at, int indent, const char *prefix)
{
	while (*text) {
		const int len = (int)strcspn(text, " ");

		if (at > indent && at + 1 + len > WIDTH) {
			fprintf(out, "\n%s%*s", prefix, indent - (int)strlen(prefix), "");
			at = indent;
		} else if (at > indent) {
			at += fprintf(out, " ");
		}
		at += fprintf(out, "%.*s", len, text);
		text += len;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}

static void print_option(FILE *out, const char *name, const char *word, const char *doc)
{
	int at = fprintf(out, "  --%s%s%s", name, *word ? " " : "", word);

	if (at >= DOC_COLUMN)
		at = fprintf(out, "\n") - 1;
	fprintf(out, "%*s", DOC_COLUMN - at, "");
	wrap(out, doc, DOC_COLUMN, DOC_COLUMN, "");
}

/* The doc, the bounds, the default, and whether a reload changes it. */
static void describe(char *text, size_t size, const struct config_option *o, const char *end)
{
	const bool number = o->kind == CONFIG_U32 || (o->kind == CONFIG_U64 && o->min);
	char limits[64] = "", dflt[96] = "";

	if (number)
		snprintf(limits, sizeof(limits), ", %" PRIu64 " to %" PRIu64, o->min, o->max);
	if (*o->dflt)
		snprintf(dflt, sizeof(dflt), " (default %s)", o->dflt);
	else if (o->kind == CONFIG_U32 || o->kind == CONFIG_U64 || o->kind == CONFIG_SIZE)
		snprintf(dflt, sizeof(dflt), " (default the engine's)");
	snprintf(text, size, "%s%s%s%s", o->doc, limits, dflt, end);
}

static const char *const files_doc =
	"read this file of keys and sections; else, without --socket, " CONFIG_FILE_DEFAULT
	" if there is one. The command line wins.";

void help_print(FILE *out)
{
	fputs("Usage: hvd [options]\n"
	      "\n"
	      "Runs virtual machines and answers JSON-RPC 2.0 on a Unix socket; hvctl is its "
	      "client.\n"
	      "It stays in the foreground. SIGTERM or SIGINT ends it, its VMs, and removes the "
	      "socket;\n"
	      "SIGHUP reads the configuration again.\n\n",
	      out);
	for (size_t i = 0; i < config_option_count; i++) {
		const struct config_option *o = &config_options[i];
		char text[512];

		describe(text, sizeof(text), o, "");
		print_option(out, o->name, o->word, text);
	}
	print_option(out, "config", "PATH", files_doc);
	print_option(out, "check", "",
		     "check the configuration, say which engine would be used and why, and end");
	print_option(out, "foreground", "", "as always; accepted for scripts");
	print_option(out, "version", "", "print the version");
	print_option(out, "help", "", "print this");
	fputs("\nSizes: 4096, 64M, 2G. Exit status: 0 after SIGTERM or SIGINT, 1 if it can't "
	      "start,\n2 for a wrong option or configuration.\n",
	      out);
}

void help_print_sample(FILE *out)
{
	const char *section = "";

	fputs("# The configuration of hvd. Each key is shown at its default; the command line "
	      "wins.\n"
	      "# \"systemctl reload hvd\" applies what is marked so; the rest needs a restart.\n"
	      "# \"hvd --check\" says whether this file is right.\n",
	      out);
	for (size_t i = 0; i < config_option_count; i++) {
		const struct config_option *o = &config_options[i];
		char text[512];

		if (strcmp(section, o->section) != 0)
			fprintf(out, "\n[%s]\n", o->section);
		section = o->section;
		describe(text, sizeof(text), o, o->live ? "; reload applies it" : "");
		fputs("\n# ", out);
		wrap(out, text, 2, 2, "# ");
		fprintf(out, "#%s = %s\n", o->name,
			*o->dflt		 ? o->dflt
			: o->kind == CONFIG_FLAG ? "no"
						 : "");
	}
}

/* --- hvd --check ------------------------------------------------------------------------- */

static void print_engine(FILE *out, const struct engine_info *e, bool taken)
{
	fprintf(out, "engine %s: %s\n", e->name,
		taken	       ? "would be used"
		: e->available ? "available"
			       : "not available");
	if (*e->reason)
		fprintf(out, "  why: %s\n", e->reason);
	if (*e->advice)
		fprintf(out, "  to change that: %s\n", e->advice);
}

static void print_access(FILE *out, const struct hvd_config *values)
{
	struct access_rules rules = {.by_groups = values->access == ACCESS_BY_ROLES};

	fprintf(out, "socket %s: open to root and to the user that runs hvd%s\n", values->socket,
		rules.by_groups ? ", and to groups:" : "");
	for (size_t i = 0; i < ACCESS_ROLES; i++)
		rules.groups[i].name = values->groups[i];
	access_find_groups(&rules);
	for (uint32_t i = 0; rules.by_groups && i < ACCESS_ROLES; i++)
		fprintf(out, "  role %s: %s%s\n", proto_enum_name(&proto_enum_role, i),
			*rules.groups[i].name ? rules.groups[i].name : "no group",
			!*rules.groups[i].name || rules.groups[i].known
				? ""
				: " (does not exist: create it, or install the sysusers file)");
}

static void print_state_dir(FILE *out, const char *path)
{
	if (path && *path)
		fprintf(out, "definitions of VMs: stored in %s\n", path);
	else
		fprintf(out, "definitions of VMs: not stored; every VM ends with the daemon\n");
}

/* An engine is opened as the daemon would: only then it is known to take these options. */
static int print_engines(FILE *out, const struct hvd_config *values)
{
	struct engines engines;
	struct engine *engine = NULL;
	int r = engines_open(&engines, values->engine, &values->engine_config, &engine);

	if (!r)
		engine_close(engine);
	for (size_t i = 0; i < engines.count; i++)
		print_engine(out, &engines.engine[i], i == engines.taken);
	if (r)
		fprintf(out, "no engine can be used\n");
	else
		fprintf(out, "engine %s is taken: %s\n", engines.engine[engines.taken].name,
			engines.why);
	return r;
}

int check_print(FILE *out, const struct config *c, const char *path)
{
	if (path)
		fprintf(out, "%s: valid\n", path);
	else
		fprintf(out, "no configuration file; the command line is valid\n");
	log_set_level(LOG_LEVEL_ERROR); /* a missing group is told of below */
	print_access(out, &c->values);
	print_state_dir(out, c->values.state_dir);
	return print_engines(out, &c->values) ? 1 : 0;
}
