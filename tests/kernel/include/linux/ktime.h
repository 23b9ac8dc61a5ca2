/* SPDX-License-Identifier: MIT */
#ifndef KERNEL_KTIME_H
#define KERNEL_KTIME_H

#include <linux/types.h>

u64 ktime_get_ns(void); /* CLOCK_MONOTONIC */

#endif
