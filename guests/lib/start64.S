/* SPDX-License-Identifier: MIT */
/*
 * 64-bit start of an ELF64 image: long mode already, low 4 GiB identity-mapped, RSP set
 * by the loader, RDI the information page. Own GDT, zeroed .bss, then
 * guest_main(information page).
 */
#include "guest/segments.h"

	.section .start, "ax"
	.code64
	.globl _start
_start:
	cli
	cld
	mov %rdi, %rbx
	lea guest_bss(%rip), %rdi
	lea guest_bss_end(%rip), %rcx
	sub %rdi, %rcx
	xor %eax, %eax
	rep stosb
	mov %rbx, %rdi
	jmp guest_start64

	.section .note.GNU-stack, "", @progbits
