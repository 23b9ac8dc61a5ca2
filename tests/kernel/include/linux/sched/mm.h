/* SPDX-License-Identifier: MIT */
#ifndef KERNEL_SCHED_MM_H
#define KERNEL_SCHED_MM_H

#include <linux/sched.h>

/* Keeps the structure, so that its address is not another process's. */
void mmgrab(struct mm_struct *mm);
void mmdrop(struct mm_struct *mm);

#endif
