/* SPDX-License-Identifier: MIT */
/*
 * The self-test's guest: 32-bit protected mode, started at its first byte at 1 MiB.
 *
 *	OUT 0xe9, AL	prints a character
 *	OUT 0xf0, AL	asks the host for step AL (vmxcore/linux/selftest_guest.c)
 *	OUT 0xf4, EAX	ends with this status
 *
 * Everything it prints is compared, so it prints what it has seen, not what it hopes.
 */
#define TEXT 0x400000	 /* the page that the host remaps and protects */
#define FLAG 0x500000	 /* tells the host that the spin has begun */
#define TABLES 0x200000	 /* page directory */
#define STACK 0x1ff000
#define UNMAPPED 0x7000000
#define SEL_CODE 8
#define SEL_DATA 16
#define FPU_PATTERN 0x5aa5c33c

	.code32
	.section .text
	.globl _start
_start:
	cld
	mov $STACK, %esp
	lgdt gdt_pointer
	lidt idt_pointer
	ljmp $SEL_CODE, $1f
1:	mov $SEL_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov $text_hello, %esi
	call print

	/* CPUID: an exit that core answers from the VM's table */
	xor %eax, %eax
	cpuid
	mov %ebx, vendor
	mov %edx, vendor + 4
	mov %ecx, vendor + 8
	mov $text_vendor, %esi
	call print

	/* A pattern in an XMM register, to be there at the end */
	mov %cr4, %eax
	or $0x200, %eax		/* OSFXSR */
	mov %eax, %cr4
	mov $FPU_PATTERN, %eax
	movd %eax, %xmm7

	/* Paging: 4 MiB pages, identity, global: PSE and PGE */
	mov $TABLES, %edi
	mov $0x183, %eax	/* P, W, PS, G */
	mov $1024, %ecx
1:	stosl
	add $0x400000, %eax
	loop 1b
	mov %cr4, %eax
	or $0x90, %eax
	mov %eax, %cr4
	mov $TABLES, %eax
	mov %eax, %cr3
	mov %cr0, %eax
	or $0x80000000, %eax
	mov %eax, %cr0
	jmp 1f
1:	mov %cr0, %eax
	shr $31, %eax
	add $'0', %eax
	mov %al, paging_bit
	mov $text_paging, %esi
	call print

	/* An exception through its own IDT: no exit */
	ud2

	/* The same page before and after a remap */
	call print_page
	mov $1, %al
	out %al, $0xf0
	call print_page

	/* The host remaps while this spins: no exit of its own, interrupts on */
	movl $1, FLAG
	mov TEXT, %eax
	sti
1:	pause
	cmp TEXT, %eax
	je 1b
	cli
	call print_page
	mov $2, %al
	out %al, $0xf0

	/* A page made read-only: the write waits until it is allowed */
	mov $3, %al
	out %al, $0xf0
	movb $'w', TEXT + 3
	call print_page

	/* An address that nothing maps: the host maps it, and the read is done again */
	mov $text_unmapped, %esi
	call print
	mov $UNMAPPED, %esi
	call print

	/* A page without execute permission: the call waits likewise */
	movl $0xc3c39090, UNMAPPED + 0x800	/* nop, nop, ret */
	mov $4, %al
	out %al, $0xf0
	mov $UNMAPPED + 0x800, %eax
	call *%eax
	mov $text_called, %esi
	call print

	/* Its own invalidations exit nowhere */
	invlpg TEXT
	mov %cr3, %eax
	mov %eax, %cr3

	/* Halted until the host injects vector 32 */
	sti
	hlt
	cli
	mov $text_woken, %esi
	call print

	/* Long enough for the budget */
	mov $5, %al
	out %al, $0xf0
	mov $400000, %ecx
1:	loop 1b

	/* Ticks of a CPUID exit */
	mov $1000, %ebp
	rdtsc
	mov %eax, %edi
1:	xor %eax, %eax
	cpuid
	dec %ebp
	jnz 1b
	rdtsc
	sub %edi, %eax
	mov %eax, FLAG
	mov $6, %al
	out %al, $0xf0

	/* On another processor, if there is one; and back */
	mov $7, %al
	out %al, $0xf0
	call print_page
	mov $8, %al
	out %al, $0xf0
	call print_page

	movd %xmm7, %eax
	cmp $FPU_PATTERN, %eax
	mov $text_fpu_lost, %esi
	jne 1f
	mov $text_fpu, %esi
1:	call print
	mov $0x2a, %eax
	out %eax, $0xf4
1:	hlt
	jmp 1b

print_page:
	mov $text_page, %esi
	call print
	mov $TEXT, %esi
	call print
	mov $text_end, %esi
/* ESI: text with its NUL */
print:
	lodsb
	test %al, %al
	jz 1f
	out %al, $0xe9
	jmp print
1:	ret

invalid_opcode:
	addl $2, (%esp)
	push %eax
	push %esi
	mov $text_ud, %esi
	call print
	pop %esi
	pop %eax
	iret

interrupt:
	push %eax
	push %esi
	mov $text_interrupt, %esi
	call print
	pop %esi
	pop %eax
	iret

text_hello:	.asciz "started in protected mode\n"
text_vendor:	.ascii "CPUID vendor "
vendor:		.ascii "............"
		.asciz "\n"
text_paging:	.ascii "CR0.PG "
paging_bit:	.ascii "."
		.asciz "\n"
text_ud:	.asciz "#UD through the IDT\n"
text_page:	.asciz "the page holds "
text_end:	.asciz "\n"
text_unmapped:	.asciz "unmapped no more: "
text_called:	.asciz "called into the page\n"
text_interrupt:	.asciz "vector 32 through the IDT\n"
text_woken:	.asciz "woken from HLT\n"
text_fpu:	.asciz "XMM7 kept\n"
text_fpu_lost:	.asciz "XMM7 lost\n"

	.balign 8
gdt:	.quad 0
	.quad 0x00cf9b000000ffff
	.quad 0x00cf93000000ffff
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt

/* The image lies at 1 MiB: the high half of each handler's address is known. */
	.balign 8
idt:	.fill 6, 8, 0
	.word invalid_opcode - _start, SEL_CODE, 0x8e00, 0x10
	.fill 25, 8, 0
	.word interrupt - _start, SEL_CODE, 0x8e00, 0x10
idt_end:
idt_pointer:
	.word idt_end - idt - 1
	.long idt

	.section .note.GNU-stack, "", @progbits
