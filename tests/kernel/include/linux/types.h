/* SPDX-License-Identifier: MIT */
/*
 * A stand-in for the kernel's header of this name: what vmxcore/linux/dev*.c needs to be
 * compiled as a part of a user-space program. All of them are written for that alone; what they
 * do not have is not used there.
 *
 * Here: integers. As in the kernel, __u64 and uint64_t are one type.
 */
#ifndef KERNEL_TYPES_H
#define KERNEL_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef uint8_t u8, __u8;
typedef uint16_t u16, __u16;
typedef uint32_t u32, __u32;
typedef uint64_t u64, __u64;
typedef int8_t s8, __s8;
typedef int16_t s16, __s16;
typedef int32_t s32, __s32;
typedef int64_t s64, __s64;
typedef unsigned int gfp_t;

#define U16_MAX UINT16_MAX
#define U32_MAX UINT32_MAX

#define __user
#define __init
#define __exit

#endif
