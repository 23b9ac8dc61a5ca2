/* SPDX-License-Identifier: MIT */
/* Where things are in a guest, for C and assembler. Addresses are guest-physical. */
#ifndef EXITS_GUESTS_H
#define EXITS_GUESTS_H

#define EXITS_RAM_BYTES 0x10000
#define EXITS_CODE 0x1000
#define EXITS_SEEN 0x2000    /* what the spinning guest has last read from the page */
#define EXITS_STOP 0x2100    /* not 0: it is to end */
#define EXITS_SAMPLES 0x3000 /* 32 bits each: of CPUID, then of nothing */
#define EXITS_PAGE 0x400000  /* the page that is remapped; apart from RAM */
#define EXITS_PORT 0x10
#define EXITS_EMPTY 100 /* samples of nothing */

#endif
