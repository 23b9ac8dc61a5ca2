/* SPDX-License-Identifier: MIT */
/* Open files: what a driver gives, and what it is given. */
#ifndef KERNEL_FS_H
#define KERNEL_FS_H

#include <linux/ioctl.h>
#include <linux/kernel.h>

struct file_operations;
struct inode;

struct module {
	const char *name;
};

#define THIS_MODULE ((struct module *)NULL)

struct file {
	const struct file_operations *f_op;
	void *private_data;
	unsigned int f_flags;
	unsigned int users; /* its descriptor, and calls in progress */
};

struct file_operations {
	struct module *owner;
	long (*unlocked_ioctl)(struct file *file, unsigned int cmd, unsigned long arg);
	long (*compat_ioctl)(struct file *file, unsigned int cmd, unsigned long arg);
	int (*open)(struct inode *inode, struct file *file);
	int (*release)(struct inode *inode, struct file *file);
	long long (*llseek)(struct file *file, long long offset, int whence);
};

long compat_ptr_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
long long noop_llseek(struct file *file, long long offset, int whence);

#endif
