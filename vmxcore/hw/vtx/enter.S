/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * VMLAUNCH and VMRESUME. Source: SDM volume 3, "VM Entries", "Loading Host State".
 */
#include <linux/linkage.h>

#include <asm/alternative.h>
#include <asm/asm.h>
#include <asm/cpufeatures.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>
#include <asm/percpu.h>

#include "hw/vtx/fields.h"

/* Offset in struct hw_gpregs: registers stand in the encoding's order. */
#define GPR(n) ((n) * 8)

	.section .noinstr.text, "ax"

/*
 * int vtx_enter(struct hw_gpregs *regs, u64 *host_rsp, bool launch)
 *
 * *host_rsp is what the current VMCS holds in host RSP. Returns an enum hw_result.
 *
 * A refused VMLAUNCH falls through to where VM exits arrive: it has left the
 * guest's registers alone, so storing them back changes nothing, and CF and ZF tell
 * the two apart (a VM exit clears both).
 */
SYM_FUNC_START(vtx_enter)
	push	%rbp
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%rbx
	push	$0		/* becomes VTX_RESULT_FAULT_UD if the instruction faults */
	push	%rdi		/* regs; host RSP points here */

	cmp	%rsp, (%rsi)
	je	.Lrsp_current
	mov	$VTX_FIELD_HOST_RSP, %eax
	vmwrite	%rsp, %rax
	jbe	.Lresult	/* no current VMCS: the flags are the answer */
	mov	%rsp, (%rsi)
.Lrsp_current:

	mov	%rdi, %rax
#ifdef VM_CLEAR_CPU_BUFFERS /* what was left of the host's in buffers; see mitigate.h */
	VM_CLEAR_CPU_BUFFERS
#else
	CLEAR_CPU_BUFFERS
#endif
	test	%dl, %dl	/* MOV leaves the flags alone down to the branch */
	mov	GPR(1)(%rax), %rcx
	mov	GPR(2)(%rax), %rdx
	mov	GPR(3)(%rax), %rbx
	mov	GPR(5)(%rax), %rbp
	mov	GPR(6)(%rax), %rsi
	mov	GPR(7)(%rax), %rdi
	mov	GPR(8)(%rax), %r8
	mov	GPR(9)(%rax), %r9
	mov	GPR(10)(%rax), %r10
	mov	GPR(11)(%rax), %r11
	mov	GPR(12)(%rax), %r12
	mov	GPR(13)(%rax), %r13
	mov	GPR(14)(%rax), %r14
	mov	GPR(15)(%rax), %r15
	mov	GPR(0)(%rax), %rax
	jnz	.Llaunch
.Lresume:
	vmresume
	jmp	vtx_exit
.Llaunch:
	vmlaunch

SYM_INNER_LABEL(vtx_exit, SYM_L_GLOBAL)
	ENDBR
	push	%rax
	mov	8(%rsp), %rax
	mov	%rcx, GPR(1)(%rax)
	mov	%rdx, GPR(2)(%rax)
	mov	%rbx, GPR(3)(%rax)
	mov	%rbp, GPR(5)(%rax)
	mov	%rsi, GPR(6)(%rax)
	mov	%rdi, GPR(7)(%rax)
	mov	%r8, GPR(8)(%rax)
	mov	%r9, GPR(9)(%rax)
	mov	%r10, GPR(10)(%rax)
	mov	%r11, GPR(11)(%rax)
	mov	%r12, GPR(12)(%rax)
	mov	%r13, GPR(13)(%rax)
	mov	%r14, GPR(14)(%rax)
	mov	%r15, GPR(15)(%rax)
	pop	GPR(0)(%rax)

.Lresult:
	/* HW_FAIL_INVALID is CF, HW_FAIL_VALID is ZF; MOV and LEA keep both. */
	mov	8(%rsp), %ebx
	ja	.Lclear		/* a VM exit */
	mov	$0, %eax
	mov	$0, %ecx
	setc	%al
	setz	%cl
	lea	(%rax, %rcx, 2), %eax
	or	%eax, %ebx

.Lclear:
	/* What the guest left in registers must not steer speculation here. */
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%ebp, %ebp
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
	xor	%r12d, %r12d
	xor	%r13d, %r13d
	xor	%r14d, %r14d
	xor	%r15d, %r15d

	/* Nor may the return predictions: before the first RET that no CALL here pairs. */
	FILL_RETURN_BUFFER %_ASM_CX, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT, \
			   X86_FEATURE_RSB_VMEXIT_LITE

	/* IBRS without its enhanced form protects from a mode's older branches only when
	 * the MSR is written in that mode. */
	ALTERNATIVE "jmp .Lno_ibrs", "", X86_FEATURE_KERNEL_IBRS
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	mov	PER_CPU_VAR(x86_spec_ctrl_current), %rdx
	mov	%edx, %eax
	shr	$32, %rdx
	wrmsr
.Lno_ibrs:
	CLEAR_BRANCH_HISTORY_VMEXIT

	mov	%ebx, %eax
	add	$16, %rsp
	pop	%rbx
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rbp
	RET

	/* #UD: not in VMX operation. Nothing of the guest's has been loaded but registers. */
.Lfault:
	movq	$VTX_RESULT_FAULT_UD, 8(%rsp)
	jmp	vtx_exit

	_ASM_EXTABLE(.Lresume, .Lfault)
	_ASM_EXTABLE(.Llaunch, .Lfault)
SYM_FUNC_END(vtx_enter)
