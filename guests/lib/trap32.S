/* SPDX-License-Identifier: MIT */
/* A stub a vector: pushes what the processor did not, saves registers, calls trap_handle(). */
	.text
	.code32
	.altmacro
.macro trap_stub n
trap_stub_\n:
	.if \n != 8 && (\n < 10 || \n > 14) && \n != 17 && \n != 21
	pushl $0
	.endif
	pushl $\n
	jmp trap_common
.endm
	.set i, 0
	.rept 256
	trap_stub %i
	.set i, i + 1
	.endr

trap_common:
	pusha
	cld
	push %esp
	call trap_handle
	add $4, %esp
	popa
	add $8, %esp
	iret

	.section .rodata
	.balign 4
.macro trap_address n
	.long trap_stub_\n
.endm
	.globl trap_stubs
trap_stubs:
	.set i, 0
	.rept 256
	trap_address %i
	.set i, i + 1
	.endr

	.section .note.GNU-stack, "", @progbits
