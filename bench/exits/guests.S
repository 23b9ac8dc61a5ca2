/* SPDX-License-Identifier: MIT */
/*
 * The guests, in 32-bit protected mode without paging, loaded and started at EXITS_CODE.
 * Each is position-independent. They stand in a 64-bit program as data.
 */
#include "guests.h"

	.section .rodata
	.code32

#define GUEST(name) \
	.globl name, name##_end; \
	name:
#define END(name) name##_end:

/* EBP times each: ticks of one CPUID, and of nothing. ESI keeps the first reading. */
GUEST(exits_guest_cpuid)
	cld
	mov $EXITS_SAMPLES, %edi
1:	rdtsc
	mov %eax, %esi
	xor %eax, %eax
	cpuid
	rdtsc
	sub %esi, %eax
	stosl
	dec %ebp
	jnz 1b
	mov $EXITS_EMPTY, %ebp
2:	rdtsc
	mov %eax, %esi
	xor %eax, %eax
	rdtsc
	sub %esi, %eax
	stosl
	dec %ebp
	jnz 2b
	out %eax, $EXITS_PORT
	hlt
END(exits_guest_cpuid)

/* An exit to user space after the other */
GUEST(exits_guest_out)
1:	out %eax, $EXITS_PORT
	jmp 1b
END(exits_guest_out)

/* Tells what stands in the page, whenever it is entered */
GUEST(exits_guest_touch)
1:	mov EXITS_PAGE, %eax
	out %eax, $EXITS_PORT
	jmp 1b
END(exits_guest_touch)

/* Goes on telling, with no exit of its own, until it is stopped */
GUEST(exits_guest_spin)
1:	mov EXITS_PAGE, %eax
	mov %eax, EXITS_SEEN
	cmpl $0, EXITS_STOP
	je 1b
	out %eax, $EXITS_PORT
	hlt
END(exits_guest_spin)

	.section .note.GNU-stack, "", @progbits
