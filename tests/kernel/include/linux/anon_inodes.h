/* SPDX-License-Identifier: MIT */
#ifndef KERNEL_ANON_INODES_H
#define KERNEL_ANON_INODES_H

#include <linux/fs.h>

/* A new descriptor of this process, or a negative errno. */
int anon_inode_getfd(const char *name, const struct file_operations *ops, void *private_data,
		     int flags);

#endif
