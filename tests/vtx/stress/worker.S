/* SPDX-License-Identifier: MIT */
/*
 * What every vCPU of a stress test does until it is told to stop: reads the page's number
 * and compares it with the bound, writes into the page, and looks whether its own area is
 * its own. EDI: its index. Paging is on, interrupts too. Position-independent; it stands in
 * a 64-bit program as data.
 *
 * The bound is raised after a change has been reported as done. It is read before the page:
 * so a page with a lower number was reached through a translation that should be gone.
 */
#include "layout.h"

	.section .rodata
	.code32
	.globl worker, worker_bytes
worker:
	mov $OWN_GVA, %ebp
1:	mov BOUND_GPA, %ebx
	mov PAGE_GPA, %eax
	cmp %ebx, %eax
	jb 3f
2:	mov OWN_ROUNDS(%ebp), %ecx
	inc %ecx
	mov %ecx, OWN_ROUNDS(%ebp)
	mov %ecx, PAGE_GPA + WRITES_OFFSET(, %edi, 4)
	cmp %edi, OWN_INDEX(%ebp)
	jne 4f
5:	cmpl $0, STOP_GPA
	je 1b
	out %eax, $END_PORT
	hlt
3:	incl OWN_STALE(%ebp)
	mov %eax, OWN_STALE_NUMBER(%ebp)
	mov %ebx, OWN_STALE_BOUND(%ebp)
	jmp 2b
4:	incl OWN_STRANGE(%ebp)
	jmp 5b
worker_end:
	.balign 4
worker_bytes:
	.long worker_end - worker

	.section .note.GNU-stack, "", @progbits
