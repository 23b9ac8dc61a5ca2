/* SPDX-License-Identifier: MIT */
/* Where things are in a stress test's guest, for C and assembler. Guest-physical. */
#ifndef STRESS_LAYOUT_H
#define STRESS_LAYOUT_H

#define RAM_BYTES 0x100000
#define CODE_GPA 0x1000
#define BOUND_GPA 0x2000  /* no page with a lower number may be read any more */
#define STOP_GPA 0x2040	  /* not 0: end */
#define PAGE_GPA 0x400000 /* the page that is exchanged; it begins with its number */
#define WRITES_OFFSET 64  /* in that page: a word of each vCPU's */

/* Each vCPU's own: its area, and its page directory and table, which show it at OWN_GVA. */
#define OWN_GPA(index) (0x10000 + (index)*0x4000)
#define OWN_DIRECTORY 0x1000
#define OWN_TABLE 0x2000
#define OWN_GVA 0x80000000

#define OWN_ROUNDS 0
#define OWN_STALE 4 /* reads of a page that had been replaced */
#define OWN_STALE_NUMBER 8
#define OWN_STALE_BOUND 12
#define OWN_STRANGE 16 /* the area was another vCPU's */
#define OWN_INDEX 20   /* written by the host */

#define END_PORT 0xf4

#endif
