/* SPDX-License-Identifier: MIT */
#include "fake_device.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define FD_FIRST 1000 /* none of the process's own */
#define FDS 256

enum kind { NONE, DEVICE, VM, VCPU };

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a kick, a run */
	struct fake_device f;
	struct fake_counts counts;
	enum kind kind[FDS];
	bool kick[FDS];
	struct vmxcore_regs regs;
	const uint64_t *generations; /* NULL: none are left */
	const struct vmxcore_run *exits;
	unsigned exits_left;
	bool exit_at_kick;
	uint32_t kick_reason;
	uint32_t events;
} dev = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* --- descriptors ------------------------------------------------------------------------ */

static int new_fd(enum kind kind)
{
	for (int i = 0; i < FDS; i++) {
		if (dev.kind[i] != NONE)
			continue;
		dev.kind[i] = kind;
		dev.kick[i] = false;
		dev.counts.open++;
		return FD_FIRST + i;
	}
	return -EMFILE;
}

static enum kind kind_of(int fd)
{
	return fd >= FD_FIRST && fd < FD_FIRST + FDS ? dev.kind[fd - FD_FIRST] : NONE;
}

static void fake_close(int fd)
{
	pthread_mutex_lock(&dev.lock);
	if (kind_of(fd) == NONE) {
		dev.counts.misused++;
	} else {
		dev.kind[fd - FD_FIRST] = NONE;
		dev.counts.open--;
	}
	pthread_mutex_unlock(&dev.lock);
}

/* --- ioctls ------------------------------------------------------------------------------- */

static int run(int fd, struct vmxcore_run *r)
{
	bool *kick = &dev.kick[fd - FD_FIRST];

	dev.counts.runs++;
	dev.counts.completed_runs += r->complete;
	if (r->complete)
		dev.counts.in_value = r->io_in_value;
	pthread_cond_broadcast(&dev.changed);
	if (dev.exits_left) {
		*r = *dev.exits++;
		dev.exits_left--;
		return 0;
	}
	if (dev.generations && *dev.generations) {
		r->reason = VMXCORE_EXIT_BUDGET;
		r->pool_generation = *dev.generations++;
		return 0;
	}
	while (!*kick)
		pthread_cond_wait(&dev.changed, &dev.lock);
	*kick = false;
	r->reason = dev.kick_reason;
	return dev.exit_at_kick ? 0 : -EINTR;
}

static int kick(int fd)
{
	dev.counts.kicks++;
	dev.kick[fd - FD_FIRST] = true;
	pthread_cond_broadcast(&dev.changed);
	return 0;
}

static int count_slot_out(void)
{
	dev.counts.removed_slots++;
	return 0;
}

static int count_completion(void)
{
	dev.counts.completions++;
	return 0;
}

/* Which descriptor takes it; NONE: any other number succeeds, and does nothing. */
static const struct {
	unsigned long cmd;
	enum kind kind;
} known[] = {
	{VMXCORE_GET_INFO, DEVICE}, {VMXCORE_CREATE_VM, DEVICE}, {VMXCORE_CREATE_VCPU, VM},
	{VMXCORE_ADD_SLOT, VM},	    {VMXCORE_REMOVE_SLOT, VM},	 {VMXCORE_APPLY, VM},
	{VMXCORE_SET_CPUID, VM},    {VMXCORE_VM_INFO, VM},	 {VMXCORE_RUN, VCPU},
	{VMXCORE_KICK, VCPU},	    {VMXCORE_GET_REGS, VCPU},	 {VMXCORE_SET_REGS, VCPU},
	{VMXCORE_VCPU_STATS, VCPU}, {VMXCORE_COMPLETE_IO, VCPU},
};

static bool is_misused(int fd, unsigned long cmd)
{
	enum kind kind = kind_of(fd);

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (known[i].cmd == cmd)
			return kind != known[i].kind;
	return kind == NONE;
}

static long do_ioctl(int fd, unsigned long cmd, void *arg)
{
	switch (cmd) {
	case VMXCORE_GET_INFO:
		memcpy(arg, &dev.f.info, sizeof(dev.f.info));
		return 0;
	case VMXCORE_CREATE_VM:
		return new_fd(VM);
	case VMXCORE_CREATE_VCPU:
		return new_fd(VCPU);
	case VMXCORE_REMOVE_SLOT:
		return count_slot_out();
	case VMXCORE_RUN:
		return run(fd, arg);
	case VMXCORE_KICK:
		return kick(fd);
	case VMXCORE_COMPLETE_IO:
		return count_completion();
	case VMXCORE_VM_INFO:
		*(struct vmxcore_vm_info *)arg =
			(struct vmxcore_vm_info){.eptp = 0x1000 | 0x5e, .table_bytes = 4096};
		return 0;
	case VMXCORE_VCPU_STATS:
		((struct vmxcore_vcpu_stats *)arg)->events = dev.events;
		((struct vmxcore_vcpu_stats *)arg)->dtlb_load_misses = 100;
		((struct vmxcore_vcpu_stats *)arg)->ept_walk_cycles = 7000;
		return 0;
	case VMXCORE_GET_REGS:
		memcpy(arg, &dev.regs, sizeof(dev.regs));
		return 0;
	case VMXCORE_SET_REGS:
		memcpy(&dev.regs, &((struct vmxcore_set_regs *)arg)->regs, sizeof(dev.regs));
		return 0;
	default:
		return 0;
	}
}

static long fake_ioctl(int fd, unsigned long cmd, void *arg)
{
	long r;

	pthread_mutex_lock(&dev.lock);
	if (is_misused(fd, cmd)) {
		dev.counts.misused++;
		r = -EBADF;
	} else if (cmd == dev.f.fail_cmd && dev.f.fail_error && dev.f.fail_after == 0) {
		r = dev.f.fail_error;
	} else {
		if (cmd == dev.f.fail_cmd && dev.f.fail_after)
			dev.f.fail_after--;
		r = do_ioctl(fd, cmd, arg);
	}
	pthread_mutex_unlock(&dev.lock);
	return r;
}

/* --- the rest ------------------------------------------------------------------------------- */

static bool fake_has_vmx(void)
{
	return !dev.f.no_vmx;
}

static int fake_stat(struct stat *ret)
{
	*ret = dev.f.stat;
	return dev.f.stat_error;
}

static int fake_open(void)
{
	int r = dev.f.open_error;

	pthread_mutex_lock(&dev.lock);
	if (!r)
		r = new_fd(DEVICE);
	pthread_mutex_unlock(&dev.lock);
	return r;
}

static int fake_bind(uint32_t processor)
{
	int err = 0;

	pthread_mutex_lock(&dev.lock);
	if (dev.counts.binds < FAKE_BINDS)
		dev.counts.bind[dev.counts.binds++] = processor;
	if (dev.f.absent_from && processor != VMX_DEV_ANY && processor >= dev.f.absent_from)
		err = -ENODEV;
	pthread_mutex_unlock(&dev.lock);
	return err;
}

static const struct vmx_dev_ops ops = {
	.has_vmx = fake_has_vmx,
	.stat = fake_stat,
	.open = fake_open,
	.ioctl = fake_ioctl,
	.bind = fake_bind,
	.close = fake_close,
};

void fake_device_use(const struct fake_device *f)
{
	dev.f = *f;
	dev.counts = (struct fake_counts){0};
	memset(dev.kind, 0, sizeof(dev.kind));
	dev.generations = NULL;
	dev.exits_left = 0;
	dev.exit_at_kick = false;
	vmx_dev = &ops;
}

void fake_device_fail(unsigned long cmd, int error, unsigned after)
{
	pthread_mutex_lock(&dev.lock);
	dev.f.fail_cmd = cmd;
	dev.f.fail_error = error;
	dev.f.fail_after = after;
	pthread_mutex_unlock(&dev.lock);
}

void fake_device_generations(const uint64_t *generations)
{
	pthread_mutex_lock(&dev.lock);
	dev.generations = generations;
	pthread_mutex_unlock(&dev.lock);
}

void fake_device_exits(const struct vmxcore_run *exits, unsigned count)
{
	pthread_mutex_lock(&dev.lock);
	dev.exits = exits;
	dev.exits_left = count;
	pthread_mutex_unlock(&dev.lock);
}

void fake_device_exit_at_kick(uint32_t reason)
{
	pthread_mutex_lock(&dev.lock);
	dev.exit_at_kick = true;
	dev.kick_reason = reason;
	pthread_mutex_unlock(&dev.lock);
}

void fake_device_await_runs(unsigned runs)
{
	pthread_mutex_lock(&dev.lock);
	while (dev.counts.runs < runs)
		pthread_cond_wait(&dev.changed, &dev.lock);
	pthread_mutex_unlock(&dev.lock);
}

void fake_device_events(uint32_t events)
{
	pthread_mutex_lock(&dev.lock);
	dev.events = events;
	pthread_mutex_unlock(&dev.lock);
}

struct fake_counts fake_device_counts(void)
{
	struct fake_counts counts;

	pthread_mutex_lock(&dev.lock);
	counts = dev.counts;
	pthread_mutex_unlock(&dev.lock);
	return counts;
}
