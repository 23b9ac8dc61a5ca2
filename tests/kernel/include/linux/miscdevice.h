/* SPDX-License-Identifier: MIT */
#ifndef KERNEL_MISCDEVICE_H
#define KERNEL_MISCDEVICE_H

#include <linux/fs.h>

#define MISC_DYNAMIC_MINOR 255

struct miscdevice {
	int minor;
	const char *name;
	unsigned short mode;
	const struct file_operations *fops;
};

/* One at a time can be opened. */
int misc_register(struct miscdevice *device);
void misc_deregister(struct miscdevice *device);

#endif
