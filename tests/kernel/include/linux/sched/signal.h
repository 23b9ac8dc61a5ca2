/* SPDX-License-Identifier: MIT */
#ifndef KERNEL_SCHED_SIGNAL_H
#define KERNEL_SCHED_SIGNAL_H

#include <linux/sched.h>

/* A test lets the process die, as far as the kernel's sources can see (fakedev_dying()). */
int fatal_signal_pending(const struct task_struct *task);

#endif
