/* SPDX-License-Identifier: MIT */
/* The programs' own GDT (lib/start*.S), in an order that SYSCALL and SYSRET accept. */
#ifndef GUEST_SEGMENTS_H
#define GUEST_SEGMENTS_H

#define SEL_CODE 0x08 /* ring 0 */
#define SEL_DATA 0x10
#define SEL_USER_CODE32 0x1b
#define SEL_USER_DATA 0x23 /* SYSRET: SS = STAR[63:48] + 8 */
#define SEL_USER_CODE 0x2b /* SYSRET: CS = STAR[63:48] + 16 */
#define SEL_TSS 0x30	   /* 64-bit: two entries */

#endif
