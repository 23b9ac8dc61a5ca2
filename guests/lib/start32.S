/* SPDX-License-Identifier: MIT */
/*
 * 32-bit start, for Multiboot (EAX magic, EBX information) and flat images: own GDT and
 * stack, zeroed .bss, then guest_main(magic, information).
 */
#include "guest/multiboot.h"
#include "guest/segments.h"

	.section .start, "ax"
	.code32
	.globl _start
_start:
	cli
	cld
	mov %eax, %esi
	mov %ebx, %ebp
	lgdt gdt_pointer
	ljmp $SEL_CODE, $1f
1:	mov $SEL_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %fs
	mov %eax, %gs
	mov %eax, %ss
	mov $guest_bss, %edi
	mov $guest_bss_end, %ecx
	sub %edi, %ecx
	xor %eax, %eax
	rep stosb
	mov $guest_stack_end, %esp
	push %ebp
	push %esi
	call guest_main
	push %eax
	call guest_return

	.section .multiboot, "a"
	.balign 4
	.long MULTIBOOT_HEADER_MAGIC
	.long MULTIBOOT_HEADER_FLAGS
	.long -(MULTIBOOT_HEADER_MAGIC + MULTIBOOT_HEADER_FLAGS)

	.data
	.balign 8
	.globl guest_gdt
guest_gdt:
	.quad 0
	.quad 0x00cf9b000000ffff	/* SEL_CODE */
	.quad 0x00cf93000000ffff	/* SEL_DATA */
	.quad 0x00cffb000000ffff	/* SEL_USER_CODE32 */
	.quad 0x00cff3000000ffff	/* SEL_USER_DATA */
	.quad 0x00cffb000000ffff	/* SEL_USER_CODE */
	.quad 0, 0			/* SEL_TSS, filled at run time */
guest_gdt_end:
gdt_pointer:
	.word guest_gdt_end - guest_gdt - 1
	.long guest_gdt

	.bss
	.balign 16
	.skip 16384
	.globl guest_stack_end
guest_stack_end:

	.section .note.GNU-stack, "", @progbits
