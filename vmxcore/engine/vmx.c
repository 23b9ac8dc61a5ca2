/* SPDX-License-Identifier: MIT */
/*
 * The engine that runs guests on VT-x through the kernel module. Its user-space side
 * is not there yet: this file says truthfully what the host has, and never opens.
 */
#include "engine/kind.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DEVICE_PATH "/dev/vmxcore"

/* Is `word` one of the words of the line? */
static bool has_word(const char *line, const char *word)
{
	size_t n = strlen(word);
	const char *at = line;

	while ((at = strstr(at, word)) != NULL) {
		bool begins = at == line || strchr(" \t:", at[-1]);

		if (begins && strchr(" \t\n", at[n]))
			return true;
		at += n;
	}
	return false;
}

/* The flags of the first processor name vmx. */
static bool cpu_has_vmx(void)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char *line = NULL;
	size_t size = 0;
	bool found = false;

	if (!f)
		return false;
	while (getline(&line, &size, f) >= 0) {
		if (strncmp(line, "flags", 5) != 0)
			continue;
		found = has_word(line, "vmx");
		break;
	}
	free(line);
	fclose(f);
	return found;
}

static void vmx_probe(struct engine_info *ret)
{
	if (!cpu_has_vmx()) {
		snprintf(ret->reason, sizeof(ret->reason),
			 "no VT-x here: /proc/cpuinfo shows no vmx flag");
		snprintf(ret->advice, sizeof(ret->advice),
			 "enable VT-x in the firmware, or nested virtualization for this guest; "
			 "the soft engine needs neither");
		return;
	}
	if (access(DEVICE_PATH, F_OK) != 0) {
		snprintf(ret->reason, sizeof(ret->reason),
			 "the processor has VT-x, but " DEVICE_PATH " is missing");
		snprintf(ret->advice, sizeof(ret->advice),
			 "load the kernel module: modprobe vmxcore");
		return;
	}
	snprintf(ret->reason, sizeof(ret->reason),
		 DEVICE_PATH " is there, but this version of the daemon can't use it yet");
	snprintf(ret->advice, sizeof(ret->advice), "use the soft engine");
}

static int vmx_open(const struct engine_config *cfg, struct engine **ret)
{
	(void)cfg;
	(void)ret;
	return -ENODEV;
}

const struct engine_kind engine_vmx = {
	.name = "vmx",
	.probe = vmx_probe,
	.open = vmx_open,
};
