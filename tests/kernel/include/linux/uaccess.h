/* SPDX-License-Identifier: MIT */
/* The program's memory. A bad address is an error, never a signal. May sleep. */
#ifndef KERNEL_UACCESS_H
#define KERNEL_UACCESS_H

#include <linux/kernel.h>

/* How many bytes were not copied. */
unsigned long copy_from_user(void *to, const void __user *from, unsigned long size);
unsigned long copy_to_user(void __user *to, const void *from, unsigned long size);

/* A copy to be freed with kfree(), kvfree(); or an error pointer. */
void *memdup_user(const void __user *from, size_t size);
void *vmemdup_user(const void __user *from, size_t size);

static inline void __user *u64_to_user_ptr(u64 address)
{
	return (void __user *)(uintptr_t)address;
}

#endif
