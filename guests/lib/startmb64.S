/* SPDX-License-Identifier: MIT */
/*
 * Start of a 64-bit program in a Multiboot image (which has a command line): builds an
 * identity map of the low 4 GiB in 2 MiB pages, enters long mode, then
 * guest_main(magic, information). The image is converted to ELF32 after linking.
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
	mov $guest_bss, %edi
	mov $guest_bss_end, %ecx
	sub %edi, %ecx
	xor %eax, %eax
	rep stosb

	/* PML4[0] -> PDPT, PDPT[0..3] -> four page directories, 2048 leaves of 2 MiB */
	mov $boot_pml4, %edi
	lea (boot_pdpt - boot_pml4 + 7)(%edi), %eax
	mov %eax, (%edi)
	mov $boot_pdpt, %edi
	mov $(boot_pd + 7), %eax
	mov $4, %ecx
1:	mov %eax, (%edi)
	add $8, %edi
	add $4096, %eax
	loop 1b
	mov $boot_pd, %edi
	mov $0x83, %eax
	mov $2048, %ecx
1:	mov %eax, (%edi)
	add $8, %edi
	add $0x200000, %eax
	loop 1b

	mov %cr4, %eax
	or $0x20, %eax			/* PAE */
	mov %eax, %cr4
	mov $boot_pml4, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx
	rdmsr
	or $0x100, %eax			/* LME */
	wrmsr
	mov %cr0, %eax
	or $0x80010001, %eax		/* PG, WP, PE */
	mov %eax, %cr0
	lgdt boot_gdt_pointer
	ljmp $SEL_CODE, $2f
	.code64
2:	mov $guest_stack_end, %esp
	mov %esi, %edi
	mov %ebp, %esi
	jmp guest_start64

	.section .multiboot, "a"
	.balign 4
	.long MULTIBOOT_HEADER_MAGIC
	.long MULTIBOOT_HEADER_FLAGS
	.long -(MULTIBOOT_HEADER_MAGIC + MULTIBOOT_HEADER_FLAGS)
	.balign 8
boot_gdt_pointer:
	.word 6 * 8 - 1
	.long guest_gdt

	.bss
	.balign 4096
boot_pml4:
	.skip 4096
boot_pdpt:
	.skip 4096
boot_pd:
	.skip 4 * 4096
	.skip 16384
	.globl guest_stack_end
guest_stack_end:

	.section .note.GNU-stack, "", @progbits
