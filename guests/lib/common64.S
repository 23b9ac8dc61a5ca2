/* SPDX-License-Identifier: MIT */
/* What both 64-bit starts go on with: own GDT, segments, guest_main(RDI, RSI). */
#include "guest/segments.h"

	.text
	.code64
	.globl guest_start64
guest_start64:
	lgdt gdt_pointer(%rip)
	mov $SEL_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %fs
	mov %eax, %gs
	mov %eax, %ss
	and $-16, %rsp
	pushq $SEL_CODE
	lea 1f(%rip), %rax
	push %rax
	lretq
1:	call guest_main
	mov %eax, %edi
	call guest_return

	.data
	.balign 8
	.globl guest_gdt
guest_gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* SEL_CODE */
	.quad 0x00cf93000000ffff	/* SEL_DATA */
	.quad 0x00cffb000000ffff	/* SEL_USER_CODE32 */
	.quad 0x00cff3000000ffff	/* SEL_USER_DATA */
	.quad 0x00affb000000ffff	/* SEL_USER_CODE */
	.quad 0, 0			/* SEL_TSS, filled at run time */
guest_gdt_end:
gdt_pointer:
	.word guest_gdt_end - guest_gdt - 1
	.quad guest_gdt

	.section .note.GNU-stack, "", @progbits
