/* SPDX-License-Identifier: MIT */
/* The vmx engine's device in this program: the module's own ioctl layer (kernel/fakedev.h). */
#include "contract/harness.h"
#include "engine/vmx_dev.h"
#include "kernel/fakedev.h"

#include <errno.h>
#include <unistd.h>

#define PROCESSORS_USUAL 4u

static unsigned processors = PROCESSORS_USUAL;

static bool has_vmx(void)
{
	return true;
}

/* As the device's file would be: the caller's. */
static int dev_stat(struct stat *ret)
{
	*ret = (struct stat){.st_mode = S_IFCHR | 0600, .st_uid = geteuid(), .st_gid = getegid()};
	return 0;
}

static int dev_open(void)
{
	int fd = fakedev_open();

	return fd < 0 ? -errno : fd;
}

static long dev_ioctl(int fd, unsigned long cmd, void *arg)
{
	int r = fakedev_ioctl(fd, cmd, arg);

	return r < 0 ? -errno : r;
}

static int dev_bind(uint32_t processor)
{
	if (processor != VMX_DEV_ANY && processor >= processors)
		return -ENODEV;
	fakedev_bind(processor == VMX_DEV_ANY ? -1 : (int)processor);
	return 0;
}

static void dev_close(int fd)
{
	(void)fakedev_close(fd);
}

static const struct vmx_dev_ops ops = {
	.has_vmx = has_vmx,
	.stat = dev_stat,
	.open = dev_open,
	.ioctl = dev_ioctl,
	.bind = dev_bind,
	.close = dev_close,
};

/* What a module can't be told: how many processors there are, and how many VPIDs. */
static void fit(const struct engine_config *cfg)
{
	processors = cfg->processors ? cfg->processors : PROCESSORS_USUAL;
	fakedev_configure(
		&(struct fakedev_config){.processors = processors, .vpid_limit = cfg->vpid_limit});
}

/* Before any engine is probed. */
__attribute__((constructor)) static void plug_in(void)
{
	contract_hardware = fit;
	vmx_dev = &ops;
}
