/* SPDX-License-Identifier: MIT */
/*
 * The test machine's only process: loads and unloads modules, says what came of it on
 * the kernel log, and powers off. A program, not a shell script: in Bochs every process
 * costs seconds.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/reboot.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "say.h"

#define FUZZ_IOCTLS 100000

static int kernel_log = -1;

void say(const char *format, ...)
{
	char line[256] = "init: ";
	va_list args;

	va_start(args, format);
	vsnprintf(line + 6, sizeof(line) - 7, format, args);
	va_end(args);
	strcat(line, "\n");
	(void)!write(kernel_log, line, strlen(line));
}

static void load(const char *name, const char *options)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/%s.ko", name);
	fd = open(path, O_RDONLY);
	if (fd >= 0 && syscall(SYS_finit_module, fd, options, 0) == 0)
		say("%s %s: loaded", name, options);
	else
		say("%s %s: refused: %s", name, options, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void unload(const char *name)
{
	if (syscall(SYS_delete_module, name, O_NONBLOCK) == 0)
		say("%s: unloaded", name);
	else
		say("%s: not unloaded: %s", name, strerror(errno));
}

/* As long as one of KVM's virtual machines exists, KVM has VMX. */
static void test_in_use(void)
{
	int kvm, vm;

	load("irqbypass", "");
	load("kvm", "");
	load("kvm-intel", "");
	kvm = open("/dev/kvm", O_RDWR);
	vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		say("KVM makes no virtual machine: %s", strerror(errno));
	load("vmxcore", "");
	close(vm);
	close(kvm);
}

int main(void)
{
	int level;

	mkdir("/proc", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	kernel_log = open("/dev/kmsg", O_WRONLY);
	level = open("/proc/sys/kernel/printk", O_WRONLY);
	(void)!write(level, "7\n", 2);
	say("started");

	test_in_use();
	/* A self-test that can't run leaves nothing behind. */
	load("vmxcore", "selftest=/nowhere");
	/* Without mitigations executable memory is mapped by large leaves: they are split here. */
	load("vmxcore", "selftest=/selftest selftest_hotplug=1 mitigations=off");
	unload("vmxcore");
	load("vmxcore", "vpid_limit=0");
	load("vmxcore", "mitigations=perhaps");
	/* What the self-test had left in CR4 would be "in use". Few VPIDs, short slices: what is
	 * rare otherwise happens. */
	load("vmxcore", "vpid_limit=7 slice_us=1000 max_pinned_mib=64 guest_events=1");
	test_device();
	test_device_fuzz(FUZZ_IOCTLS);
	unload("vmxcore");

	say("end");
	usleep(100000); /* the serial line's last bytes */
	reboot(LINUX_REBOOT_CMD_POWER_OFF);
	return 1;
}
