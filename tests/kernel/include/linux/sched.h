/* SPDX-License-Identifier: MIT */
/* The caller: a process is its memory, and a child has its own. */
#ifndef KERNEL_SCHED_H
#define KERNEL_SCHED_H

#include <linux/kernel.h>
#include <linux/smp.h>

struct mm_struct {
	unsigned int holders;
};

struct task_struct {
	struct mm_struct *mm;
};

const struct task_struct *kernel_current(void);

#define current kernel_current()

#endif
