/* SPDX-License-Identifier: MIT */
/* See host.h. */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE_BYTES 512u

static int kernel_log = -1;

/* --- the log ---------------------------------------------------------------------------- */

static void log_line(const char *prefix, const char *text)
{
	char line[LINE_BYTES + 32];
	int n = snprintf(line, sizeof(line), "%s: %s\n", prefix, text);

	(void)!write(kernel_log, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

void say(const char *format, ...)
{
	char text[LINE_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_line("init", text);
}

/* --- up and down ------------------------------------------------------------------------- */

void host_start(void)
{
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sys", "/sys", "sysfs", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	kernel_log = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	host_write("/proc/sys/kernel/printk", "7\n");
	/* What a test says must all be there. */
	host_write("/proc/sys/kernel/printk_devkmsg", "on\n");
	say("started");
}

_Noreturn void host_off(void)
{
	say("end");
	usleep(100000); /* the serial line's last bytes */
	for (;;)
		reboot(LINUX_REBOOT_CMD_POWER_OFF);
}

int host_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* The kernel hands on what it doesn't know as variables. */
unsigned long host_option(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoul(text, NULL, 0) : otherwise;
}

/* --- modules -------------------------------------------------------------------------------- */

int host_load_quietly(const char *name, const char *options)
{
	char path[64];
	int fd, err = 0;

	snprintf(path, sizeof(path), "/%s.ko", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, options, 0) < 0)
		err = -errno;
	close(fd);
	return err;
}

bool host_load(const char *name, const char *options)
{
	int err = host_load_quietly(name, options);

	if (err)
		say("%s %s: refused: %s", name, options, strerror(-err));
	else
		say("%s %s: loaded", name, options);
	return err == 0;
}

int host_unload_quietly(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) < 0 ? -errno : 0;
}

bool host_unload(const char *name)
{
	int err = host_unload_quietly(name);

	if (err)
		say("%s: not unloaded: %s", name, strerror(-err));
	else
		say("%s: unloaded", name);
	return err == 0;
}

/* --- programs --------------------------------------------------------------------------------- */

static _Noreturn void child(const char *const argv[], int out)
{
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	/* execv() changes nothing of what argv points to. */
	execv(argv[0], (char *const *)(unsigned long)argv);
	_exit(127);
}

static void copy_lines(const char *prefix, FILE *from)
{
	char line[LINE_BYTES];

	while (fgets(line, sizeof(line), from)) {
		line[strcspn(line, "\n")] = '\0';
		log_line(prefix, line);
	}
}

int host_run(const char *const argv[])
{
	const char *slash = strrchr(argv[0], '/');
	int fds[2], status = -1;
	FILE *from;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	pid = fork();
	if (pid == 0)
		child(argv, fds[1]);
	close(fds[1]);
	from = fdopen(fds[0], "r");
	if (from) {
		copy_lines(slash ? slash + 1 : argv[0], from);
		fclose(from);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
