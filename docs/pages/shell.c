// SPDX-License-Identifier: MIT
/* Completion of hvctl's command line. Names of VMs are asked of the daemon. */
#include "hvctl/verb.h"
#include "pages.h"
#include <string.h>

/* How a value is completed: "@file", "@vm", words, or nothing. */
static void print_values(FILE *out, const struct proto_field *f)
{
	if (f->type == PROTO_FILE)
		fputs("@file", out);
	else if (f->type == PROTO_NAME && !strcmp(f->name, "vm"))
		fputs("@vm", out);
	for (size_t i = 0; f->en && i < f->en->count; i++)
		fprintf(out, "%s%s", i ? " " : "", f->en->values[i].name);
}

static bool own_is_file(const struct hvctl_option *o)
{
	return o->value && !strcmp(o->value, "PATH");
}

/* --- bash ---------------------------------------------------------------------------- */

static void bash_options(FILE *out, const struct proto_method *m)
{
	const struct proto_struct *params = m->params();

	fprintf(out, "\t%s) echo \"", m->verb);
	for (size_t i = 0; i < params->count; i++)
		if (proto_has_option(m, &params->fields[i]))
			fprintf(out, "--%s ", params->fields[i].option);
	for (const struct hvctl_option *o = hvctl_verbs[m->id]->options; o && o->name; o++)
		fprintf(out, "--%s ", o->name);
	fputs("$common\" ;;\n", out);
}

/* Only options that take a value have a row. */
static void bash_values(FILE *out, const struct proto_method *m)
{
	const struct proto_struct *params = m->params();

	for (size_t i = 0; i < params->count; i++) {
		const struct proto_field *f = &params->fields[i];

		if (!proto_has_option(m, f) || f->type == PROTO_BOOL)
			continue;
		fprintf(out, "\t%s:--%s) echo \"", m->verb, f->option);
		print_values(out, f);
		fputs("\" ;;\n", out);
	}
	for (const struct hvctl_option *o = hvctl_verbs[m->id]->options; o && o->name; o++)
		if (hvctl_option_needs_value(o))
			fprintf(out, "\t%s:--%s) echo \"%s\" ;;\n", m->verb, o->name,
				own_is_file(o) ? "@file" : "");
}

/* The n-th word of the method's positional names; NULL behind the last. */
static const struct proto_field *positional(const struct proto_method *m, size_t n)
{
	const char *word = m->positional;
	char name[PROTO_FIELD_LEN];

	while (n-- && *word) {
		word += strcspn(word, " ");
		word += strspn(word, " ");
	}
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, " "), word);
	return *name ? proto_field_by_name(m->params(), name) : NULL;
}

static void bash_positional(FILE *out, const struct proto_method *m)
{
	const struct proto_field *f;

	for (size_t i = 0; (f = positional(m, i)); i++) {
		fprintf(out, "\t%s:%zu) echo \"", m->verb, i);
		print_values(out, f);
		fputs("\" ;;\n", out);
	}
}

static const char bash_code[] =
	"_hvctl_vms()\n"
	"{\n"
	"\thvctl \"$@\" --json list 2>/dev/null | grep -o '\"vm\": *\"[^\"]*\"' |\n"
	"\t\tsed 's/.*\"\\([^\"]*\\)\"$/\\1/'\n"
	"}\n"
	"\n"
	"# _hvctl_reply KIND: what may stand here, by the kind that a table names.\n"
	"_hvctl_reply()\n"
	"{\n"
	"\tlocal IFS=$' \\t\\n'\n"
	"\n"
	"\tcase $1 in\n"
	"\t@file) mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
	"\t@vm) mapfile -t COMPREPLY < <(compgen -W \"$(_hvctl_vms \"${socket[@]}\")\" -- "
	"\"$cur\") ;;\n"
	"\t*) mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$cur\") ;;\n"
	"\tesac\n"
	"}\n"
	"\n"
	"_hvctl()\n"
	"{\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} verb='' word='' option='' i n=0\n"
	"\tlocal -a socket=()\n"
	"\n"
	"\tCOMPREPLY=()\n"
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\tif [[ $option == --socket ]]; then\n"
	"\t\t\tsocket=(--socket \"$word\") option=''\n"
	"\t\telif [[ $option ]]; then\n"
	"\t\t\toption=''\n"
	"\t\telif [[ $word == --socket ]] || _hvctl_values \"$verb:$word\" >/dev/null; then\n"
	"\t\t\toption=$word\n"
	"\t\telif [[ $word == -* ]]; then\n"
	"\t\t\t:\n"
	"\t\telif [[ ! $verb ]]; then\n"
	"\t\t\tverb=$word\n"
	"\t\telse\n"
	"\t\t\tn=$((n + 1))\n"
	"\t\tfi\n"
	"\tdone\n"
	"\tif [[ $option == --socket ]]; then\n"
	"\t\t_hvctl_reply @file\n"
	"\telif [[ $option ]]; then\n"
	"\t\t_hvctl_reply \"$(_hvctl_values \"$verb:$option\")\"\n"
	"\telif [[ $cur == -* ]]; then\n"
	"\t\t_hvctl_reply \"$(_hvctl_options \"$verb\")\"\n"
	"\telif [[ ! $verb || ( $verb == help && $n == 0 ) ]]; then\n"
	"\t\t_hvctl_reply \"$_hvctl_verbs\"\n"
	"\telse\n"
	"\t\t_hvctl_reply \"$(_hvctl_positional \"$verb:$n\")\"\n"
	"\tfi\n"
	"}\n"
	"complete -o filenames -F _hvctl hvctl\n";

static void bash_table(FILE *out, const char *name, const char *first, const char *otherwise,
		       void (*print)(FILE *, const struct proto_method *))
{
	fprintf(out, "\n%s()\n{\n%s\tcase $1 in\n", name, first);
	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++)
		if (*proto_methods[i].verb)
			print(out, &proto_methods[i]);
	fprintf(out, "%s\tesac\n}\n", otherwise);
}

void page_bash(FILE *out)
{
	fputs("# SPDX-License-Identifier: MIT\n# Completion of hvctl for bash; printed by "
	      "gen_pages.\n# shellcheck shell=bash\n\n_hvctl_verbs='",
	      out);
	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++)
		if (*proto_methods[i].verb)
			fprintf(out, "%s ", proto_methods[i].verb);
	fputs("call help'\n", out);
	bash_table(out, "_hvctl_options", "\tlocal common='--socket --json --help --version'\n\n",
		   "\tcall) echo \"--image --file $common\" ;;\n\t*) echo \"$common\" ;;\n",
		   bash_options);
	/* Fails for what takes no value. */
	bash_table(out, "_hvctl_values", "",
		   "\tcall:--image | call:--file) echo \"@file\" ;;\n\t*) return 1 ;;\n",
		   bash_values);
	bash_table(out, "_hvctl_positional", "", "", bash_positional);
	fprintf(out, "\n%s", bash_code);
}

/* --- zsh ------------------------------------------------------------------------------- */

void page_zsh_text(FILE *out, const char *s)
{
	for (; *s; s++) {
		if (*s == '\'')
			fputs("'\\''", out);
		else if (strchr("[]:\\", *s))
			fprintf(out, "\\%c", *s);
		else
			fputc(*s, out);
	}
}

static void zsh_values(FILE *out, const struct proto_field *f)
{
	if (f->type == PROTO_FILE)
		fputs("_files", out);
	else if (f->type == PROTO_NAME && !strcmp(f->name, "vm"))
		fputs("_hvctl_vms", out);
	else if (f->en)
		fputc('(', out), print_values(out, f), fputc(')', out);
	else
		fputc(' ', out);
}

static void zsh_verb(FILE *out, const struct proto_method *m)
{
	const struct proto_struct *params = m->params();
	const struct proto_field *f;

	fprintf(out, "\t%s)\n\t\tspec+=(\n", m->verb);
	for (size_t i = 0; i < params->count; i++) {
		f = &params->fields[i];
		if (!proto_has_option(m, f))
			continue;
		fprintf(out, "\t\t\t'%s--%s", f->list ? "*" : "", f->option);
		fprintf(out, "%s[", f->type == PROTO_BOOL ? "" : "=");
		page_zsh_text(out, f->doc);
		fputc(']', out);
		if (f->type != PROTO_BOOL)
			fprintf(out, ":%s:", f->name), zsh_values(out, f);
		fputs("'\n", out);
	}
	for (const struct hvctl_option *o = hvctl_verbs[m->id]->options; o && o->name; o++) {
		fprintf(out, "\t\t\t'--%s%s[", o->name,
			hvctl_option_needs_value(o) ? "="
			: o->value		    ? "=-"
						    : "");
		page_zsh_text(out, o->doc);
		fputc(']', out);
		if (hvctl_option_needs_value(o))
			fprintf(out, ":%s:%s", o->value, own_is_file(o) ? "_files" : " ");
		else if (o->value)
			fputs("::value: ", out);
		fputs("'\n", out);
	}
	for (size_t i = 0; (f = positional(m, i)); i++) {
		fprintf(out, "\t\t\t'%zu:%s:", i + 1, f->name);
		zsh_values(out, f);
		fputs("'\n", out);
	}
	fputs("\t\t)\n\t\t;;\n", out);
}

static const char zsh_head[] =
	"#compdef hvctl\n"
	"# SPDX-License-Identifier: MIT\n"
	"# Completion of hvctl for zsh; printed by gen_pages.\n"
	"\n"
	"_hvctl_vms()\n"
	"{\n"
	"\tlocal -a vms\n"
	"\n"
	"\tvms=(${(f)\"$(hvctl ${opt_args[--socket]:+--socket} ${opt_args[--socket]} --json list "
	"2>/dev/null |\n"
	"\t\tgrep -o '\"vm\": *\"[^\"]*\"' | sed 's/.*\"\\([^\"]*\\)\"$/\\1/')\"})\n"
	"\tcompadd -a vms\n"
	"}\n"
	"\n"
	"_hvctl_verbs()\n"
	"{\n"
	"\tlocal -a verbs=(\n";

static const char zsh_middle[] =
	"\t)\n"
	"\t_describe verb verbs\n"
	"}\n"
	"\n"
	"_hvctl()\n"
	"{\n"
	"\tlocal curcontext=$curcontext state line\n"
	"\tlocal -A opt_args\n"
	"\tlocal -a common=(\n"
	"\t\t'--socket=[the socket of the daemon]:path:_files'\n"
	"\t\t'--json[print the result unchanged]'\n"
	"\t\t'--help[the options of a verb]'\n"
	"\t\t'--version[the version]'\n"
	"\t) spec=()\n"
	"\n"
	"\t_arguments -C $common '1:verb:_hvctl_verbs' '*::argument:->verb' && return\n"
	"\t[[ $state == verb ]] || return\n"
	"\tcase $line[1] in\n";

static const char zsh_tail[] =
	"\tcall)\n"
	"\t\tspec+=('1:method: ' '2:JSON: ' '*--image=[a file to read]:path:_files'\n"
	"\t\t\t'*--file=[a file to read and write]:path:_files')\n"
	"\t\t;;\n"
	"\thelp) spec+=('1:verb:_hvctl_verbs') ;;\n"
	"\tesac\n"
	"\t_arguments $common $spec\n"
	"}\n"
	"\n"
	"_hvctl \"$@\"\n";

void page_zsh(FILE *out)
{
	fputs(zsh_head, out);
	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++) {
		if (!*proto_methods[i].verb)
			continue;
		fprintf(out, "\t\t'%s:", proto_methods[i].verb);
		page_zsh_text(out, proto_methods[i].doc);
		fputs("'\n", out);
	}
	fputs("\t\t'call:Call a method with parameters in JSON.'\n"
	      "\t\t'help:The verbs, or the options of a verb.'\n",
	      out);
	fputs(zsh_middle, out);
	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++)
		if (*proto_methods[i].verb)
			zsh_verb(out, &proto_methods[i]);
	fputs(zsh_tail, out);
}
