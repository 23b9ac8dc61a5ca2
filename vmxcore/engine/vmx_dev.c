/* SPDX-License-Identifier: MIT */
/* See vmx_dev.h: the system's own. */
#include "engine/vmx_dev.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <vmxcore/uapi.h>

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
static bool system_has_vmx(void)
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

static int system_stat(struct stat *ret)
{
	return stat(VMXCORE_DEVICE, ret) == 0 ? 0 : -errno;
}

static int system_open(void)
{
	int fd = open(VMXCORE_DEVICE, O_RDWR | O_CLOEXEC);

	return fd >= 0 ? fd : -errno;
}

static long system_ioctl(int fd, unsigned long cmd, void *arg)
{
	int r = ioctl(fd, cmd, arg);

	return r >= 0 ? r : -errno;
}

/* Where the process as a whole may run. */
static int system_bind(uint32_t processor)
{
	cpu_set_t set;
	int err;

	if (processor == VMX_DEV_ANY) {
		if (sched_getaffinity(getpid(), sizeof(set), &set) != 0)
			return -errno;
	} else {
		if (processor >= CPU_SETSIZE)
			return -ENODEV;
		CPU_ZERO(&set);
		CPU_SET(processor, &set);
	}
	err = pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	/* None of the set is online, or allowed. */
	return err == EINVAL ? -ENODEV : -err;
}

static void system_close(int fd)
{
	close(fd);
}

const struct vmx_dev_ops vmx_dev_system = {
	.has_vmx = system_has_vmx,
	.stat = system_stat,
	.open = system_open,
	.ioctl = system_ioctl,
	.bind = system_bind,
	.close = system_close,
};

const struct vmx_dev_ops *vmx_dev = &vmx_dev_system;
