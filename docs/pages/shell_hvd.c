// SPDX-License-Identifier: MIT
/* Completion of hvd's command line, from the table of its options. */
#include "hvd/config.h"
#include "pages.h"
#include <string.h>
#include <vmxcore/engine.h>

/* Options that are no keys of the configuration. */
static const struct {
	const char *name, *word, *doc;
} specials[] = {
	{"config", "PATH", "read this file of keys and sections"},
	{"check", "", "check the configuration, say which engine would be used, and end"},
	{"foreground", "", "as always"},
	{"version", "", "print the version"},
	{"help", "", "print the options"},
};
#define SPECIALS (sizeof(specials) / sizeof(specials[0]))

/* The words that an option's value can be; NULL: it is no word. */
static void print_words(FILE *out, const struct config_option *o)
{
	const char *const *words = config_words(o);
	struct engine_info info;

	for (size_t i = 0; words && words[i]; i++)
		fprintf(out, "%s%s", i ? " " : "", words[i]);
	if (strcmp(o->name, "engine") != 0)
		return;
	fputs(ENGINES_AUTO, out);
	for (size_t i = 0; i < engine_count(); i++)
		if (!engine_probe(i, &info))
			fprintf(out, " %s", info.name);
}

/* --- bash ---------------------------------------------------------------------------- */

static const char bash_code[] =
	"# _hvd OPTION VALUE may be two words, or one with = between: bash cuts that into three.\n"
	"_hvd()\n"
	"{\n"
	"\tlocal IFS=$' \\t\\n'\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} kind\n"
	"\n"
	"\tif [[ $cur == = ]]; then\n"
	"\t\tcur=''\n"
	"\telif [[ $before == = ]]; then\n"
	"\t\tbefore=${COMP_WORDS[COMP_CWORD - 2]}\n"
	"\tfi\n"
	"\tif ! kind=$(_hvd_values \"$before\"); then\n"
	"\t\tkind=$_hvd_options\n"
	"\tfi\n"
	"\tcase $kind in\n"
	"\t@file) mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
	"\t@group) mapfile -t COMPREPLY < <(compgen -g -- \"$cur\") ;;\n"
	"\t*) mapfile -t COMPREPLY < <(compgen -W \"$kind\" -- \"$cur\") ;;\n"
	"\tesac\n"
	"}\n"
	"complete -o filenames -F _hvd hvd\n";

static void bash_value(FILE *out, const struct config_option *o)
{
	fprintf(out, "\t--%s) echo \"", o->name);
	if (!strcmp(o->word, "PATH"))
		fputs("@file", out);
	else if (!strcmp(o->word, "GROUP"))
		fputs("@group", out);
	else
		print_words(out, o);
	fputs("\" ;;\n", out);
}

void page_hvd_bash(FILE *out)
{
	fputs("# SPDX-License-Identifier: MIT\n# Completion of hvd for bash; printed by "
	      "gen_pages.\n# shellcheck shell=bash\n\n_hvd_options='",
	      out);
	for (size_t i = 0; i < config_option_count; i++)
		fprintf(out, "--%s ", config_options[i].name);
	for (size_t i = 0; i < SPECIALS; i++)
		fprintf(out, "%s--%s", i ? " " : "", specials[i].name);
	fputs("'\n\n# Fails for what takes no value.\n_hvd_values()\n{\n\tcase $1 in\n", out);
	for (size_t i = 0; i < config_option_count; i++)
		if (*config_options[i].word)
			bash_value(out, &config_options[i]);
	fprintf(out, "\t--config) echo \"@file\" ;;\n\t*) return 1 ;;\n\tesac\n}\n\n%s", bash_code);
}

/* --- zsh ------------------------------------------------------------------------------- */

static void zsh_value(FILE *out, const struct config_option *o)
{
	fprintf(out, ":%s:", o->word);
	if (!strcmp(o->word, "PATH"))
		fputs("_files", out);
	else if (!strcmp(o->word, "GROUP"))
		fputs("_groups", out);
	else if (config_words(o) || !strcmp(o->name, "engine"))
		fputc('(', out), print_words(out, o), fputc(')', out);
	else
		fputc(' ', out);
}

void page_hvd_zsh(FILE *out)
{
	fputs("#compdef hvd\n# SPDX-License-Identifier: MIT\n# Completion of hvd for zsh; "
	      "printed by gen_pages.\n\n_arguments \\\n",
	      out);
	for (size_t i = 0; i < config_option_count; i++) {
		const struct config_option *o = &config_options[i];

		fprintf(out, "\t'--%s%s[", o->name, *o->word ? "=" : "");
		page_zsh_text(out, o->doc);
		fputc(']', out);
		if (*o->word)
			zsh_value(out, o);
		fputs("' \\\n", out);
	}
	for (size_t i = 0; i < SPECIALS; i++) {
		fprintf(out, "\t'--%s%s[", specials[i].name, *specials[i].word ? "=" : "");
		page_zsh_text(out, specials[i].doc);
		fprintf(out, "]%s'%s\n", *specials[i].word ? ":PATH:_files" : "",
			i + 1 < SPECIALS ? " \\" : "");
	}
}
