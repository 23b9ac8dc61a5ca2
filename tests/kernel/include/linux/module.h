/* SPDX-License-Identifier: MIT */
#ifndef KERNEL_MODULE_H
#define KERNEL_MODULE_H

#include <linux/fs.h>

#endif
