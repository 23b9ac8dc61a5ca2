/* SPDX-License-Identifier: MIT */
/* A stub a vector: pushes what the processor did not, saves registers, calls trap_handle(). */
	.text
	.code64
	.altmacro
.macro trap_stub n
trap_stub_\n:
	.if \n != 8 && (\n < 10 || \n > 14) && \n != 17 && \n != 21
	pushq $0
	.endif
	pushq $\n
	jmp trap_common
.endm
	.set i, 0
	.rept 256
	trap_stub %i
	.set i, i + 1
	.endr

trap_common:
	push %rax
	push %rbx
	push %rcx
	push %rdx
	push %rsi
	push %rdi
	push %rbp
	push %r8
	push %r9
	push %r10
	push %r11
	push %r12
	push %r13
	push %r14
	push %r15
	cld
	mov %rsp, %rdi
	mov %rsp, %rbx
	and $-16, %rsp
	call trap_handle
	mov %rbx, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rbp
	pop %rdi
	pop %rsi
	pop %rdx
	pop %rcx
	pop %rbx
	pop %rax
	add $16, %rsp
	iretq

	.section .rodata
	.balign 8
.macro trap_address n
	.quad trap_stub_\n
.endm
	.globl trap_stubs
trap_stubs:
	.set i, 0
	.rept 256
	trap_address %i
	.set i, i + 1
	.endr

	.section .note.GNU-stack, "", @progbits
