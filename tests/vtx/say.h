/* SPDX-License-Identifier: MIT */
/* A line to the kernel log: the one thing of the test machine that is kept. */
#ifndef VTX_SAY_H
#define VTX_SAY_H

#include <stdint.h>

__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

/* The device and its ioctls (device.c). */
void test_device(void);
/* Random and malformed ioctls, so many (device_fuzz.c); the same ones from the same seed. */
void test_device_fuzz(unsigned count, uint64_t from);

#endif
