// SPDX-License-Identifier: MIT
#include "hvctl/verb.h"
#include "hvd/config.h"
#include "pages.h"
#include <inttypes.h>
#include <string.h>

/* --- roff ----------------------------------------------------------------------------- */

/* As it is: a hyphen that can be copied, no escapes, nothing that begins a request. */
static void text(FILE *out, const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", out);
	for (; *s; s++) {
		if (*s == '-')
			fputs("\\-", out);
		else if (*s == '\\')
			fputs("\\e", out);
		else
			fputc(*s, out);
	}
}

static void line(FILE *out, const char *s)
{
	text(out, s);
	fputc('\n', out);
}

static void title(FILE *out, const char *name, int section, const char *what)
{
	fprintf(out, ".\\\" SPDX-License-Identifier: MIT\n.TH %s %d \"\" \"hvd %s\"\n.SH NAME\n",
		name, section, HVD_VERSION);
	text(out, name);
	fprintf(out, " \\- %s\n", what);
}

static void heading(FILE *out, const char *name)
{
	fprintf(out, ".SH %s\n", name);
}

/* A tagged paragraph; the tag in bold. */
static void item(FILE *out, const char *tag, const char *doc)
{
	fputs(".TP\n.B ", out);
	line(out, tag);
	line(out, doc);
}

/* --- hvctl(1) --------------------------------------------------------------------------- */

static void one_verb(FILE *out, const struct proto_method *m)
{
	const struct proto_struct *params = m->params();
	char left[HVCTL_LEFT_LEN], doc[HVCTL_DOC_LEN], usage[256];

	snprintf(usage, sizeof(usage), "%s", m->verb);
	hvctl_positional_words(usage, sizeof(usage), m);
	fputs(".SS ", out);
	line(out, usage);
	line(out, m->doc);
	snprintf(doc, sizeof(doc), "Method %s, role %s or above.", m->name,
		 proto_enum_name(&proto_enum_role, m->role));
	line(out, doc);
	for (size_t i = 0; i < params->count; i++) {
		if (!proto_is_positional(m, &params->fields[i]) &&
		    !proto_has_option(m, &params->fields[i]))
			continue;
		hvctl_field_text(m, &params->fields[i], left, doc);
		item(out, left, doc);
	}
	if (hvctl_verbs[m->id]->argument)
		item(out, hvctl_verbs[m->id]->argument->name, hvctl_verbs[m->id]->argument->doc);
	for (const struct hvctl_option *o = hvctl_verbs[m->id]->options; o && o->name; o++) {
		hvctl_option_text(o, left);
		item(out, left, o->doc);
	}
	fputs(".PP\nExample:\n.B ", out);
	snprintf(doc, sizeof(doc), "hvctl %s%s%s", m->verb, *hvctl_verbs[m->id]->example ? " " : "",
		 hvctl_verbs[m->id]->example);
	line(out, doc);
}

void page_hvctl_1(FILE *out)
{
	char code[16];

	title(out, "hvctl", 1, "control virtual machines of the hypervisor daemon hvd");
	heading(out, "SYNOPSIS");
	fputs(".B hvctl\n.I VERB\n.RI [ VM ]\n.RI [ options ]\n", out);
	heading(out, "DESCRIPTION");
	line(out, "hvctl sends a request to hvd, the hypervisor daemon, and prints the reply. "
		  "Sizes are written 4096, 64M or 2G, addresses 0x200000.");
	fputs(".PP\n", out);
	line(out,
	     "The verbs events, trace and watch, and --watch and --follow of others, go on "
	     "until Ctrl-C, which is how they are meant to end: the exit status is 0. During "
	     "other requests, Ctrl-C asks the daemon to cancel what is in progress, and waits "
	     "for its answer; a second one does not wait. A long request shows how far it is on "
	     "standard error, if that is a terminal.");
	fputs(".PP\n", out);
	line(out,
	     "attach makes the terminal the VM's: keys, Ctrl-C among them, go to the guest, "
	     "and its escape sequences to the terminal. Ctrl-] leaves it, and the VM goes on. "
	     "If standard input is no terminal, what it holds is typed, and hvctl goes on until "
	     "the VM has stopped.");
	heading(out, "OPTIONS OF EVERY VERB");
	item(out, "--socket PATH", "The daemon's socket.");
	item(out, "--json",
	     "Print the daemon's result unchanged; a refusal is printed as the "
	     "daemon's error object on standard error. Verbs that subscribe print the parameters "
	     "of each notification, a line each.");
	item(out, "--help", "A verb's options.");
	item(out, "--version", "The version.");
	heading(out, "VERBS");
	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++)
		if (*proto_methods[i].verb)
			one_verb(out, &proto_methods[i]);
	fputs(".SS call METHOD [JSON]\n", out);
	line(out, "Call a method with parameters in JSON; prints the result in JSON.");
	item(out, "--image PATH", "Send a file, opened to read, as the next descriptor.");
	item(out, "--file PATH", "Send a file, opened to read and write, as the next descriptor.");
	fputs(".SS help [VERB]\n", out);
	line(out, "The verbs, or a verb's options.");
	heading(out, "EXIT STATUS");
	for (size_t i = 0; hvctl_exit_doc(i); i++) {
		snprintf(code, sizeof(code), "%zu", i);
		item(out, code, hvctl_exit_doc(i));
	}
	heading(out, "ENVIRONMENT");
	item(out, "HVD_SOCKET", "The daemon's socket, without --socket.");
	item(out, "NO_COLOR", "If set, no colour is used; else it is, on a terminal.");
	heading(out, "FILES");
	item(out, PROTO_SOCKET_DEFAULT, "The daemon's socket, if nothing else names one.");
	heading(out, "SEE ALSO");
	fputs(".BR hvd (8)\n", out);
}

/* --- hvd(8), hvd.conf(5) --------------------------------------------------------------------- */

static void option_doc(char *doc, size_t size, const struct config_option *o, bool reload)
{
	char limits[80] = "";

	if (o->kind == CONFIG_U32 || o->kind == CONFIG_U64 || o->kind == CONFIG_SIZE)
		snprintf(limits, sizeof(limits), "; %" PRIu64 " to %" PRIu64, o->min, o->max);
	snprintf(doc, size, "%s%s%s%s.%s", o->doc, limits, *o->dflt ? "; default " : "", o->dflt,
		 !reload   ? ""
		 : o->live ? " A reload applies it."
			   : " A change needs a restart.");
}

static void roles(FILE *out)
{
	static const struct {
		uint32_t role;
		const char *option;
	} rows[] = {
		{PROTO_ROLE_OBSERVE, "observe-group"},
		{PROTO_ROLE_OPERATE, "operate-group"},
		{PROTO_ROLE_ADMIN, "admin-group"},
	};
	char tag[128];

	heading(out, "ROLES");
	line(out, "Each method needs a role (hvctl VERB --help tells which), and each role "
		  "includes the ones before it. Root and the user hvd runs as have every role. "
		  "With access by roles, members of these groups have one, too:");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(tag, sizeof(tag), "%s: group %s",
			 proto_enum_name(&proto_enum_role, rows[i].role),
			 config_option_by_name(rows[i].option)->dflt);
		item(out, tag, proto_enum_role.values[rows[i].role].doc);
	}
	fputs(".PP\n", out);
	line(out, "The kernel noted a client's groups when it connected. A client that joins a "
		  "group has to log in and connect anew. What is refused is logged.");
}

void page_hvd_8(FILE *out)
{
	char tag[96], doc[512];

	title(out, "hvd", 8, "hypervisor daemon");
	heading(out, "SYNOPSIS");
	fputs(".B hvd\n.RI [ options ]\n", out);
	heading(out, "DESCRIPTION");
	line(out, "hvd runs virtual machines and answers JSON-RPC 2.0 on a Unix socket; hvctl is "
		  "its client. It stays in the foreground, and works as a service of systemd: it "
		  "takes a socket from it, tells it when it is ready, and serves its watchdog.");
	heading(out, "OPTIONS");
	for (size_t i = 0; i < config_option_count; i++) {
		const struct config_option *o = &config_options[i];

		snprintf(tag, sizeof(tag), "--%s%s%s", o->name, *o->word ? " " : "", o->word);
		option_doc(doc, sizeof(doc), o, false);
		item(out, tag, doc);
	}
	item(out, "--config PATH",
	     "Read this file; without it and without --socket, " CONFIG_FILE_DEFAULT
	     " if there is one. The command line wins.");
	item(out, "--check",
	     "Check the configuration, say which engine would be used, why, and what to do "
	     "about one that is not available, and end.");
	item(out, "--foreground", "As always; accepted for scripts.");
	item(out, "--version", "Print the version.");
	item(out, "--help", "Print the options.");
	roles(out);
	heading(out, "SIGNALS");
	item(out, "SIGTERM, SIGINT",
	     "End: VMs are stopped and gone, requests in progress are answered with an error, "
	     "the socket is removed if hvd made it.");
	item(out, "SIGHUP", "Read the configuration again; see hvd.conf(5).");
	heading(out, "EXIT STATUS");
	item(out, "0", "after SIGTERM or SIGINT, or a check that found an engine");
	item(out, "1", "it can't start");
	item(out, "2", "a wrong option or configuration");
	heading(out, "FILES");
	item(out, CONFIG_FILE_DEFAULT, "The configuration.");
	item(out, PROTO_SOCKET_DEFAULT, "The socket.");
	heading(out, "SEE ALSO");
	fputs(".BR hvctl (1),\n.BR hvd.conf (5)\n", out);
}

void page_hvd_conf_5(FILE *out)
{
	const char *section = "";
	char doc[512];

	title(out, "hvd.conf", 5, "configuration of the hypervisor daemon hvd");
	heading(out, "DESCRIPTION");
	line(out, "Lines are [section], key = value, empty, or begin with # or ;. Behind a blank, "
		  "a ; begins a comment, too. A key that is unknown, in the wrong section, given "
		  "twice or with a value that can't be is an error, and hvd does not start. "
		  "Options of the command line win.");
	fputs(".PP\n", out);
	line(out, "After SIGHUP (systemctl reload hvd), the file is read again. If anything in it "
		  "is wrong, nothing changes. Otherwise what can change does, and the log tells "
		  "of the rest that it needs a restart.");
	for (size_t i = 0; i < config_option_count; i++) {
		const struct config_option *o = &config_options[i];

		if (strcmp(section, o->section) != 0)
			fprintf(out, ".SH [%s]\n", o->section);
		section = o->section;
		option_doc(doc, sizeof(doc), o, true);
		item(out, o->name, doc);
	}
	heading(out, "SEE ALSO");
	fputs(".BR hvd (8)\n", out);
}
