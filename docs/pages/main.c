// SPDX-License-Identifier: MIT
/* gen_pages PAGE: prints one of them. */
#include "hvd/help.h"
#include "pages.h"
#include <string.h>

static const struct {
	const char *name;
	void (*print)(FILE *out);
} pages[] = {
	{"hvctl.1", page_hvctl_1}, {"hvd.8", page_hvd_8}, {"hvd.conf.5", page_hvd_conf_5},
	{"hvctl.bash", page_bash}, {"_hvctl", page_zsh},  {"hvd.conf", help_print_sample},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof(pages) / sizeof(pages[0]); i++) {
		if (strcmp(argv[1], pages[i].name) != 0)
			continue;
		pages[i].print(stdout);
		return fflush(stdout) ? 1 : 0;
	}
	fprintf(stderr, "usage: gen_pages hvctl.1|hvd.8|hvd.conf.5|hvctl.bash|_hvctl|hvd.conf\n");
	return 2;
}
