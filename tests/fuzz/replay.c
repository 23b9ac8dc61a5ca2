// SPDX-License-Identifier: MIT
/* Runs a target on inputs that are kept, where there is no libFuzzer: files, or folders of them. */
#include "fuzz.h"
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static unsigned inputs;

static void run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = NULL;
	struct stat st;
	size_t n;

	CHECK(f && !fstat(fileno(f), &st));
	data = malloc((size_t)st.st_size + 1); /* not one byte more than the input, but for none */
	CHECK(data);
	n = fread(data, 1, (size_t)st.st_size, f);
	fclose(f);
	CHECK(n == (size_t)st.st_size);
	LLVMFuzzerTestOneInput(data, n);
	free(data);
	inputs++;
}

static void run(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *entry;
	char inner[4096];

	if (!d && errno == ENOENT) /* a target of which nothing had to be kept */
		return;
	if (!d) {
		run_file(path);
		return;
	}
	while ((entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
		run(inner);
	}
	closedir(d);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		run(argv[i]);
	printf("%u inputs\n", inputs);
	return inputs ? 0 : 1;
}
