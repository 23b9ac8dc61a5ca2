/* SPDX-License-Identifier: MIT */
/*
 * Exceptions, for programs that provoke them: an IDT with a gate for each of the 32
 * exceptions and some for INT n. A trap that nobody expects ends the program with
 * status 0x100 + vector, after a report.
 */
#ifndef GUEST_TRAP_H
#define GUEST_TRAP_H

#include <stdint.h>

#define TRAP_DE 0
#define TRAP_DB 1
#define TRAP_BP 3
#define TRAP_OF 4
#define TRAP_UD 6
#define TRAP_TS 10
#define TRAP_NP 11
#define TRAP_SS 12
#define TRAP_GP 13
#define TRAP_PF 14

#define TRAP_VECTORS 256
#define TRAP_INT_USER 0x80 /* a gate that ring 3 may call */
#define TRAP_INT_KERNEL 0x81

#define PF_PRESENT 1u
#define PF_WRITE 2u
#define PF_USER 4u
#define PF_RESERVED 8u
#define PF_FETCH 16u

/* As the stubs of lib/trap*.S push it. */
struct trap_frame {
#ifdef __x86_64__
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t ip, cs, flags, sp, ss;
#else
	uint32_t edi, esi, ebp, esp_pusha, ebx, edx, ecx, eax;
	uint32_t vector, error;
	uint32_t ip, cs, flags; /* sp, ss follow when the trap came from ring 3 */
	uint32_t sp, ss;
#endif
};

/* What the last trap was. vector -1: none since trap_expect(). */
struct trap_seen {
	int vector;
	uint32_t error;
	uintptr_t ip, cr2;
	uint16_t cs;
};
extern volatile struct trap_seen trap_seen;
/* Where execution goes on after the next trap; 0: at the saved address, after
 * trap_skip bytes (for instructions of known length). */
extern volatile uintptr_t trap_fixup;
extern volatile uintptr_t trap_skip;
extern volatile int trap_expected;

void trap_init(void);
void trap_handle(struct trap_frame *frame); /* from the stubs */
/* A program may take a trap itself: 1 handled, 0 not its own. */
extern int (*trap_hook)(struct trap_frame *frame);

static inline void trap_expect(void)
{
	trap_seen.vector = -1;
	trap_seen.error = 0;
	trap_seen.cr2 = 0;
	trap_expected = 1;
}

/* Runs one instruction, which may trap; goes on behind it. */
#ifdef __x86_64__
#define TRAP_FIXUP "leaq 9f(%%rip), %%rax\n\tmovq %%rax, trap_fixup(%%rip)\n\t"
#else
#define TRAP_FIXUP "movl $9f, trap_fixup\n\t"
#endif
#define TRAP_TRY(instruction, ...)                                           \
	do {                                                                 \
		trap_expect();                                               \
		__asm__ volatile(TRAP_FIXUP instruction "\n9:" __VA_ARGS__); \
		trap_expected = 0;                                           \
		trap_fixup = 0;                                              \
	} while (0)

#endif
