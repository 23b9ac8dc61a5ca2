/* SPDX-License-Identifier: MIT */
#ifndef KERNEL_TSC_H
#define KERNEL_TSC_H

extern unsigned int tsc_khz;

#endif
