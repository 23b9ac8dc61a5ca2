// SPDX-License-Identifier: MIT
/* gen_pages PAGE: prints one of them. */
#include "hvd/help.h"
#include "pages.h"
#include <string.h>

static const struct {
	const char *name;
	void (*print)(FILE *out);
} pages[] = {
	{"hvctl.1", page_hvctl_1},   {"hvd.8", page_hvd_8},  {"hvd.conf.5", page_hvd_conf_5},
	{"hvctl.bash", page_bash},   {"_hvctl", page_zsh},   {"hvd.conf", help_print_sample},
	{"hvd.bash", page_hvd_bash}, {"_hvd", page_hvd_zsh},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof(pages) / sizeof(pages[0]); i++) {
		if (strcmp(argv[1], pages[i].name) != 0)
			continue;
		pages[i].print(stdout);
		return fflush(stdout) ? 1 : 0;
	}
	fputs("usage: gen_pages PAGE, one of", stderr);
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
		fprintf(stderr, " %s", pages[i].name);
	fputc('\n', stderr);
	return 2;
}
