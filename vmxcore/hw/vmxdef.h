/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Constants of the architecture, shared by core, hw/model and hw/vtx: bit
 * positions and numbers only, no policy. Section titles are those of the SDM;
 * names without one are from volume 3, "Control Registers", or volume 4.
 *
 * Prefixes are chosen not to meet those of Linux (X86_CR0_, MSR_, VMX_EPT_),
 * since the module includes both.
 */
#ifndef VMXCORE_HW_VMXDEF_H
#define VMXCORE_HW_VMXDEF_H

#include <vmxcore/types.h>

#define VMXDEF_BIT32(n) (1u << (n))

/* --- MSR numbers (volume 4, "Architectural MSRs") -------------------------------- */

#define IA32_TSC 0x10u
#define IA32_APIC_BASE 0x1bu
#define IA32_FEATURE_CONTROL 0x3au
#define IA32_TSC_ADJUST 0x3bu
#define IA32_SPEC_CTRL 0x48u
#define IA32_PRED_CMD 0x49u
#define IA32_BIOS_UPDT_TRIG 0x79u
#define IA32_BIOS_SIGN_ID 0x8bu
#define IA32_MTRRCAP 0xfeu
#define IA32_ARCH_CAPABILITIES 0x10au
#define IA32_SYSENTER_CS 0x174u
#define IA32_SYSENTER_ESP 0x175u
#define IA32_SYSENTER_EIP 0x176u
#define IA32_MCG_CAP 0x179u
#define IA32_MCG_STATUS 0x17au
#define IA32_MISC_ENABLE 0x1a0u
#define IA32_DEBUGCTL 0x1d9u
#define IA32_MTRR_PHYSBASE0 0x200u
#define IA32_MTRR_FIX64K_00000 0x250u
#define IA32_PAT 0x277u
#define IA32_MTRR_DEF_TYPE 0x2ffu
#define IA32_PERF_GLOBAL_CTRL 0x38fu
#define IA32_X2APIC_FIRST 0x800u
#define IA32_X2APIC_LAST 0x8ffu
#define IA32_XSS 0xda0u
#define IA32_EFER 0xc0000080u
#define IA32_STAR 0xc0000081u
#define IA32_LSTAR 0xc0000082u
#define IA32_CSTAR 0xc0000083u
#define IA32_FMASK 0xc0000084u
#define IA32_FS_BASE 0xc0000100u
#define IA32_GS_BASE 0xc0000101u
#define IA32_KERNEL_GS_BASE 0xc0000102u
#define IA32_TSC_AUX 0xc0000103u

/* "VMX Capability Reporting Facility" */
#define IA32_VMX_BASIC 0x480u
#define IA32_VMX_PINBASED_CTLS 0x481u
#define IA32_VMX_PROCBASED_CTLS 0x482u
#define IA32_VMX_EXIT_CTLS 0x483u
#define IA32_VMX_ENTRY_CTLS 0x484u
#define IA32_VMX_MISC 0x485u
#define IA32_VMX_CR0_FIXED0 0x486u
#define IA32_VMX_CR0_FIXED1 0x487u
#define IA32_VMX_CR4_FIXED0 0x488u
#define IA32_VMX_CR4_FIXED1 0x489u
#define IA32_VMX_VMCS_ENUM 0x48au
#define IA32_VMX_PROCBASED_CTLS2 0x48bu
#define IA32_VMX_EPT_VPID_CAP 0x48cu
#define IA32_VMX_TRUE_PINBASED_CTLS 0x48du
#define IA32_VMX_TRUE_PROCBASED_CTLS 0x48eu
#define IA32_VMX_TRUE_EXIT_CTLS 0x48fu
#define IA32_VMX_TRUE_ENTRY_CTLS 0x490u
#define IA32_VMX_VMFUNC 0x491u
#define IA32_VMX_PROCBASED_CTLS3 0x492u
#define IA32_VMX_EXIT_CTLS2 0x493u

#define FEATURE_CONTROL_LOCKED VMX_BIT(0)
#define FEATURE_CONTROL_VMX_IN_SMX VMX_BIT(1)
#define FEATURE_CONTROL_VMX VMX_BIT(2)

/* "Basic VMX Information" */
#define VMX_BASIC_REVISION_MASK UINT64_C(0x7fffffff)
#define VMX_BASIC_SIZE_SHIFT 32
#define VMX_BASIC_SIZE_MASK UINT64_C(0x1fff)
#define VMX_BASIC_32BIT_ADDRESSES VMX_BIT(48)
#define VMX_BASIC_DUAL_MONITOR VMX_BIT(49)
#define VMX_BASIC_MEMTYPE_SHIFT 50
#define VMX_BASIC_MEMTYPE_MASK UINT64_C(0xf)
#define VMX_BASIC_INS_OUTS_INFO VMX_BIT(54)
#define VMX_BASIC_TRUE_CTLS VMX_BIT(55)
#define VMX_BASIC_NO_ERROR_CODE_CHECK VMX_BIT(56)

/* "Miscellaneous Data" */
#define VMX_MISC_TIMER_RATE_MASK UINT64_C(0x1f)
#define VMX_MISC_EXIT_STORES_LMA VMX_BIT(5)
#define VMX_MISC_HLT_STATE VMX_BIT(6)
#define VMX_MISC_SHUTDOWN_STATE VMX_BIT(7)
#define VMX_MISC_SIPI_STATE VMX_BIT(8)
#define VMX_MISC_CR3_TARGETS_SHIFT 16
#define VMX_MISC_CR3_TARGETS_MASK UINT64_C(0x1ff)
#define VMX_MISC_MSR_LIST_SHIFT 25 /* 512 * (n + 1) is the recommended limit */
#define VMX_MISC_MSR_LIST_MASK UINT64_C(7)
#define VMX_MISC_VMWRITE_ANY VMX_BIT(29)
#define VMX_MISC_INJECT_LENGTH_0 VMX_BIT(30)

/* "VPID and EPT Capabilities" */
#define EPT_VPID_CAP_EXEC_ONLY VMX_BIT(0)
#define EPT_VPID_CAP_WALK_4 VMX_BIT(6)
#define EPT_VPID_CAP_WALK_5 VMX_BIT(7)
#define EPT_VPID_CAP_UC VMX_BIT(8)
#define EPT_VPID_CAP_WB VMX_BIT(14)
#define EPT_VPID_CAP_2M VMX_BIT(16)
#define EPT_VPID_CAP_1G VMX_BIT(17)
#define EPT_VPID_CAP_INVEPT VMX_BIT(20)
#define EPT_VPID_CAP_AD VMX_BIT(21)
#define EPT_VPID_CAP_ADVANCED_EXIT_INFO VMX_BIT(22)
#define EPT_VPID_CAP_SUPERVISOR_SHADOW_STACK VMX_BIT(23)
#define EPT_VPID_CAP_INVEPT_SINGLE VMX_BIT(25)
#define EPT_VPID_CAP_INVEPT_ALL VMX_BIT(26)
#define EPT_VPID_CAP_INVVPID VMX_BIT(32)
#define EPT_VPID_CAP_INVVPID_ADDRESS VMX_BIT(40)
#define EPT_VPID_CAP_INVVPID_SINGLE VMX_BIT(41)
#define EPT_VPID_CAP_INVVPID_ALL VMX_BIT(42)
#define EPT_VPID_CAP_INVVPID_KEEP_GLOBAL VMX_BIT(43)

/* --- "Pin-Based VM-Execution Controls" ---------------------------------------------- */

#define PIN_EXTERNAL_INTERRUPT VMXDEF_BIT32(0)
#define PIN_NMI VMXDEF_BIT32(3)
#define PIN_VIRTUAL_NMIS VMXDEF_BIT32(5)
#define PIN_PREEMPTION_TIMER VMXDEF_BIT32(6)
#define PIN_POSTED_INTERRUPTS VMXDEF_BIT32(7)

/* --- "Processor-Based VM-Execution Controls", primary ---------------------------------- */

#define PROC_INTERRUPT_WINDOW VMXDEF_BIT32(2)
#define PROC_TSC_OFFSETTING VMXDEF_BIT32(3)
#define PROC_HLT VMXDEF_BIT32(7)
#define PROC_INVLPG VMXDEF_BIT32(9)
#define PROC_MWAIT VMXDEF_BIT32(10)
#define PROC_RDPMC VMXDEF_BIT32(11)
#define PROC_RDTSC VMXDEF_BIT32(12)
#define PROC_CR3_LOAD VMXDEF_BIT32(15)
#define PROC_CR3_STORE VMXDEF_BIT32(16)
#define PROC_TERTIARY_CONTROLS VMXDEF_BIT32(17)
#define PROC_CR8_LOAD VMXDEF_BIT32(19)
#define PROC_CR8_STORE VMXDEF_BIT32(20)
#define PROC_TPR_SHADOW VMXDEF_BIT32(21)
#define PROC_NMI_WINDOW VMXDEF_BIT32(22)
#define PROC_MOV_DR VMXDEF_BIT32(23)
#define PROC_UNCONDITIONAL_IO VMXDEF_BIT32(24)
#define PROC_IO_BITMAPS VMXDEF_BIT32(25)
#define PROC_MONITOR_TRAP VMXDEF_BIT32(27)
#define PROC_MSR_BITMAPS VMXDEF_BIT32(28)
#define PROC_MONITOR VMXDEF_BIT32(29)
#define PROC_PAUSE VMXDEF_BIT32(30)
#define PROC_SECONDARY_CONTROLS VMXDEF_BIT32(31)

/* ... secondary */
#define PROC2_VIRTUALIZE_APIC VMXDEF_BIT32(0)
#define PROC2_EPT VMXDEF_BIT32(1)
#define PROC2_DESCRIPTOR_TABLE VMXDEF_BIT32(2)
#define PROC2_RDTSCP VMXDEF_BIT32(3)
#define PROC2_VIRTUALIZE_X2APIC VMXDEF_BIT32(4)
#define PROC2_VPID VMXDEF_BIT32(5)
#define PROC2_WBINVD VMXDEF_BIT32(6)
#define PROC2_UNRESTRICTED VMXDEF_BIT32(7)
#define PROC2_APIC_REGISTERS VMXDEF_BIT32(8)
#define PROC2_VIRTUAL_INTERRUPTS VMXDEF_BIT32(9)
#define PROC2_PAUSE_LOOP VMXDEF_BIT32(10)
#define PROC2_RDRAND VMXDEF_BIT32(11)
#define PROC2_INVPCID VMXDEF_BIT32(12)
#define PROC2_VMFUNC VMXDEF_BIT32(13)
#define PROC2_VMCS_SHADOWING VMXDEF_BIT32(14)
#define PROC2_ENCLS VMXDEF_BIT32(15)
#define PROC2_RDSEED VMXDEF_BIT32(16)
#define PROC2_PML VMXDEF_BIT32(17)
#define PROC2_VE VMXDEF_BIT32(18)
#define PROC2_CONCEAL_PT VMXDEF_BIT32(19)
#define PROC2_XSAVES VMXDEF_BIT32(20)
#define PROC2_MODE_BASED_EXEC VMXDEF_BIT32(22)
#define PROC2_SUB_PAGE_WRITE VMXDEF_BIT32(23)
#define PROC2_PT_GUEST_PHYSICAL VMXDEF_BIT32(24)
#define PROC2_TSC_SCALING VMXDEF_BIT32(25)
#define PROC2_USER_WAIT VMXDEF_BIT32(26)
#define PROC2_PCONFIG VMXDEF_BIT32(27)
#define PROC2_ENCLV VMXDEF_BIT32(28)

/* --- "VM-Exit Controls" ------------------------------------------------------------------ */

#define VMEXIT_SAVE_DEBUG VMXDEF_BIT32(2)
#define VMEXIT_HOST_64 VMXDEF_BIT32(9) /* host address-space size */
#define VMEXIT_LOAD_PERF_GLOBAL_CTRL VMXDEF_BIT32(12)
#define VMEXIT_ACK_INTERRUPT VMXDEF_BIT32(15)
#define VMEXIT_SAVE_PAT VMXDEF_BIT32(18)
#define VMEXIT_LOAD_PAT VMXDEF_BIT32(19)
#define VMEXIT_SAVE_EFER VMXDEF_BIT32(20)
#define VMEXIT_LOAD_EFER VMXDEF_BIT32(21)
#define VMEXIT_SAVE_PREEMPTION_TIMER VMXDEF_BIT32(22)
#define VMEXIT_CLEAR_BNDCFGS VMXDEF_BIT32(23)
#define VMEXIT_CONCEAL_PT VMXDEF_BIT32(24)
#define VMEXIT_CLEAR_RTIT_CTL VMXDEF_BIT32(25)
#define VMEXIT_LOAD_CET VMXDEF_BIT32(28)
#define VMEXIT_LOAD_PKRS VMXDEF_BIT32(29)

/* --- "VM-Entry Controls" -------------------------------------------------------------------- */

#define VMENTRY_LOAD_DEBUG VMXDEF_BIT32(2)
#define VMENTRY_IA32E_GUEST VMXDEF_BIT32(9)
#define VMENTRY_TO_SMM VMXDEF_BIT32(10)
#define VMENTRY_DEACTIVATE_DUAL_MONITOR VMXDEF_BIT32(11)
#define VMENTRY_LOAD_PERF_GLOBAL_CTRL VMXDEF_BIT32(13)
#define VMENTRY_LOAD_PAT VMXDEF_BIT32(14)
#define VMENTRY_LOAD_EFER VMXDEF_BIT32(15)
#define VMENTRY_LOAD_BNDCFGS VMXDEF_BIT32(16)
#define VMENTRY_CONCEAL_PT VMXDEF_BIT32(17)
#define VMENTRY_LOAD_RTIT_CTL VMXDEF_BIT32(18)
#define VMENTRY_LOAD_CET VMXDEF_BIT32(20)
#define VMENTRY_LOAD_PKRS VMXDEF_BIT32(22)

/* --- "VM-Instruction Error Numbers" ----------------------------------------------------------- */

#define VMERR_VMCALL_IN_ROOT 1u
#define VMERR_VMCLEAR_ADDRESS 2u
#define VMERR_VMCLEAR_VMXON_POINTER 3u
#define VMERR_VMLAUNCH_NOT_CLEAR 4u
#define VMERR_VMRESUME_NOT_LAUNCHED 5u
#define VMERR_VMRESUME_AFTER_VMXOFF 6u
#define VMERR_ENTRY_CONTROLS 7u
#define VMERR_ENTRY_HOST_STATE 8u
#define VMERR_VMPTRLD_ADDRESS 9u
#define VMERR_VMPTRLD_VMXON_POINTER 10u
#define VMERR_VMPTRLD_REVISION 11u
#define VMERR_UNSUPPORTED_FIELD 12u
#define VMERR_READ_ONLY_FIELD 13u
#define VMERR_VMXON_IN_ROOT 15u
#define VMERR_ENTRY_EXECUTIVE_POINTER 16u
#define VMERR_ENTRY_EXECUTIVE_NOT_LAUNCHED 17u
#define VMERR_ENTRY_EXECUTIVE_NOT_VMXON 18u
#define VMERR_VMCALL_NOT_CLEAR 19u
#define VMERR_VMCALL_EXIT_CONTROLS 20u
#define VMERR_VMCALL_MSEG_REVISION 22u
#define VMERR_VMXOFF_DUAL_MONITOR 23u
#define VMERR_VMCALL_SMM_FEATURES 24u
#define VMERR_ENTRY_EXECUTIVE_CONTROLS 25u
#define VMERR_ENTRY_MOV_SS 26u
#define VMERR_INVEPT_INVVPID_OPERAND 28u

/* --- Exit reason field: "Format of Exit Reason" -------------------------------------------- */

#define EXIT_REASON_BASIC_MASK 0xffffu
#define EXIT_REASON_ENCLAVE VMXDEF_BIT32(27)
#define EXIT_REASON_PENDING_MTF VMXDEF_BIT32(28)
#define EXIT_REASON_FROM_ROOT VMXDEF_BIT32(29)
#define EXIT_REASON_ENTRY_FAILURE VMXDEF_BIT32(31)

/* Exit qualification of reason 33: "VM-Entry Failures During or After Loading Guest State" */
#define ENTRY_FAILURE_PDPTE 2u
#define ENTRY_FAILURE_NMI_INJECTION 3u
#define ENTRY_FAILURE_LINK_POINTER 4u

/* --- Interruption information: "VM-Entry Interruption-Information Field" and its kin -------------
 */

#define INTR_VECTOR_MASK 0xffu
#define INTR_TYPE_SHIFT 8
#define INTR_TYPE_MASK 0x700u
#define INTR_TYPE_EXTERNAL (0u << INTR_TYPE_SHIFT)
#define INTR_TYPE_RESERVED (1u << INTR_TYPE_SHIFT)
#define INTR_TYPE_NMI (2u << INTR_TYPE_SHIFT)
#define INTR_TYPE_HARD_EXCEPTION (3u << INTR_TYPE_SHIFT)
#define INTR_TYPE_SOFT_INT (4u << INTR_TYPE_SHIFT)
#define INTR_TYPE_PRIV_SOFT_EXCEPTION (5u << INTR_TYPE_SHIFT) /* INT1 */
#define INTR_TYPE_SOFT_EXCEPTION (6u << INTR_TYPE_SHIFT)      /* INT3, INTO */
#define INTR_TYPE_OTHER (7u << INTR_TYPE_SHIFT)		      /* vector 0: pending MTF exit */
#define INTR_ERROR_CODE VMXDEF_BIT32(11)
#define INTR_NMI_UNBLOCKING VMXDEF_BIT32(12) /* exits only */
#define INTR_VALID VMXDEF_BIT32(31)
#define INTR_ENTRY_RESERVED 0x7ffff000u

/* Exception vectors (volume 3, "Exception and Interrupt Vectors"). */
#define VECTOR_DE 0u
#define VECTOR_DB 1u
#define VECTOR_NMI 2u
#define VECTOR_BP 3u
#define VECTOR_OF 4u
#define VECTOR_BR 5u
#define VECTOR_UD 6u
#define VECTOR_NM 7u
#define VECTOR_DF 8u
#define VECTOR_TS 10u
#define VECTOR_NP 11u
#define VECTOR_SS 12u
#define VECTOR_GP 13u
#define VECTOR_PF 14u
#define VECTOR_MF 16u
#define VECTOR_AC 17u
#define VECTOR_MC 18u
#define VECTOR_XM 19u
#define VECTOR_VE 20u
#define VECTOR_CP 21u
/* Exceptions that deliver an error code: #DF #TS #NP #SS #GP #PF #AC #CP. */
#define VECTORS_WITH_ERROR_CODE 0x00227d00u

/* --- "Guest Non-Register State" ------------------------------------------------------------ */

#define ACTIVITY_ACTIVE 0u
#define ACTIVITY_HLT 1u
#define ACTIVITY_SHUTDOWN 2u
#define ACTIVITY_WAIT_FOR_SIPI 3u

#define BLOCKED_BY_STI VMXDEF_BIT32(0)
#define BLOCKED_BY_MOV_SS VMXDEF_BIT32(1)
#define BLOCKED_BY_SMI VMXDEF_BIT32(2)
#define BLOCKED_BY_NMI VMXDEF_BIT32(3)
#define BLOCKED_ENCLAVE VMXDEF_BIT32(4)
#define BLOCKED_RESERVED 0xffffffe0u

/* Pending debug exceptions */
#define PENDING_DBG_B_MASK UINT64_C(0xf)
#define PENDING_DBG_ENABLED VMX_BIT(12) /* a met breakpoint was enabled in DR7 */
#define PENDING_DBG_BS VMX_BIT(14)
#define PENDING_DBG_RTM VMX_BIT(16)

#define VMCS_LINK_NONE UINT64_MAX
#define VMCS_REVISION_SHADOW VMXDEF_BIT32(31)

/* --- "Exit Qualification" ------------------------------------------------------------------ */

/* EPT violations */
#define EPTV_READ VMX_BIT(0)
#define EPTV_WRITE VMX_BIT(1)
#define EPTV_FETCH VMX_BIT(2)
#define EPTV_ENTRY_R VMX_BIT(3)
#define EPTV_ENTRY_W VMX_BIT(4)
#define EPTV_ENTRY_X VMX_BIT(5)
#define EPTV_ENTRY_USER_X VMX_BIT(6) /* mode-based execute control */
#define EPTV_LINEAR_VALID VMX_BIT(7)
#define EPTV_FINAL VMX_BIT(8) /* translation of the linear address; 0: a paging structure */
#define EPTV_LINEAR_USER VMX_BIT(9)
#define EPTV_LINEAR_WRITABLE VMX_BIT(10)
#define EPTV_LINEAR_XD VMX_BIT(11)
#define EPTV_NMI_UNBLOCKING VMX_BIT(12)
#define EPTV_ENTRY_SHIFT 3 /* entry bits 2:0 lie in qualification bits 5:3 */

/* Control-register accesses */
#define CRQ_NUMBER_MASK UINT64_C(0xf)
#define CRQ_TYPE_SHIFT 4
#define CRQ_TYPE_MASK UINT64_C(3)
#define CRQ_MOV_TO 0u
#define CRQ_MOV_FROM 1u
#define CRQ_CLTS 2u
#define CRQ_LMSW 3u
#define CRQ_LMSW_MEMORY VMX_BIT(6)
#define CRQ_GPR_SHIFT 8
#define CRQ_GPR_MASK UINT64_C(0xf)
#define CRQ_LMSW_SOURCE_SHIFT 16

/* MOV DR */
#define DRQ_NUMBER_MASK UINT64_C(7)
#define DRQ_FROM VMX_BIT(4)
#define DRQ_GPR_SHIFT 8
#define DRQ_GPR_MASK UINT64_C(0xf)

/* I/O instructions */
#define IOQ_SIZE_MASK UINT64_C(7) /* bytes minus 1 */
#define IOQ_IN VMX_BIT(3)
#define IOQ_STRING VMX_BIT(4)
#define IOQ_REP VMX_BIT(5)
#define IOQ_IMMEDIATE VMX_BIT(6)
#define IOQ_PORT_SHIFT 16

/* Task switches */
#define TSQ_SELECTOR_MASK UINT64_C(0xffff)
#define TSQ_SOURCE_SHIFT 30
#define TSQ_CALL 0u
#define TSQ_IRET 1u
#define TSQ_JMP 2u
#define TSQ_GATE 3u

/* Debug exceptions: bits of DR6 that the exception would set. */
#define DBQ_DR6_MASK UINT64_C(0x1e00f) /* B0-B3, BLD, BD, BS, RTM as defined there */

/* --- Control registers --------------------------------------------------------------------- */

#define CR0_PE VMX_BIT(0)
#define CR0_MP VMX_BIT(1)
#define CR0_EM VMX_BIT(2)
#define CR0_TS VMX_BIT(3)
#define CR0_ET VMX_BIT(4)
#define CR0_NE VMX_BIT(5)
#define CR0_WP VMX_BIT(16)
#define CR0_AM VMX_BIT(18)
#define CR0_NW VMX_BIT(29)
#define CR0_CD VMX_BIT(30)
#define CR0_PG VMX_BIT(31)
#define CR0_DEFINED                                                                                \
	(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
	 CR0_PG)

#define CR3_PWT VMX_BIT(3)
#define CR3_PCD VMX_BIT(4)
#define CR3_PCID_MASK UINT64_C(0xfff)
#define CR3_NO_FLUSH VMX_BIT(63) /* source operand only, with CR4.PCIDE */

#define CR4_VME VMX_BIT(0)
#define CR4_PVI VMX_BIT(1)
#define CR4_TSD VMX_BIT(2)
#define CR4_DE VMX_BIT(3)
#define CR4_PSE VMX_BIT(4)
#define CR4_PAE VMX_BIT(5)
#define CR4_MCE VMX_BIT(6)
#define CR4_PGE VMX_BIT(7)
#define CR4_PCE VMX_BIT(8)
#define CR4_OSFXSR VMX_BIT(9)
#define CR4_OSXMMEXCPT VMX_BIT(10)
#define CR4_UMIP VMX_BIT(11)
#define CR4_LA57 VMX_BIT(12)
#define CR4_VMXE VMX_BIT(13)
#define CR4_SMXE VMX_BIT(14)
#define CR4_FSGSBASE VMX_BIT(16)
#define CR4_PCIDE VMX_BIT(17)
#define CR4_OSXSAVE VMX_BIT(18)
#define CR4_KL VMX_BIT(19)
#define CR4_SMEP VMX_BIT(20)
#define CR4_SMAP VMX_BIT(21)
#define CR4_PKE VMX_BIT(22)
#define CR4_CET VMX_BIT(23)
#define CR4_PKS VMX_BIT(24)

#define EFER_SCE VMX_BIT(0)
#define EFER_LME VMX_BIT(8)
#define EFER_LMA VMX_BIT(10)
#define EFER_NXE VMX_BIT(11)
#define EFER_DEFINED (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)

#define RFLAGS_CF VMX_BIT(0)
#define RFLAGS_FIXED1 VMX_BIT(1) /* reads as 1 */
#define RFLAGS_PF VMX_BIT(2)
#define RFLAGS_AF VMX_BIT(4)
#define RFLAGS_ZF VMX_BIT(6)
#define RFLAGS_SF VMX_BIT(7)
#define RFLAGS_TF VMX_BIT(8)
#define RFLAGS_IF VMX_BIT(9)
#define RFLAGS_DF VMX_BIT(10)
#define RFLAGS_OF VMX_BIT(11)
#define RFLAGS_IOPL_SHIFT 12
#define RFLAGS_IOPL (VMX_BIT(12) | VMX_BIT(13))
#define RFLAGS_NT VMX_BIT(14)
#define RFLAGS_RF VMX_BIT(16)
#define RFLAGS_VM VMX_BIT(17)
#define RFLAGS_AC VMX_BIT(18)
#define RFLAGS_VIF VMX_BIT(19)
#define RFLAGS_VIP VMX_BIT(20)
#define RFLAGS_ID VMX_BIT(21)
#define RFLAGS_RESERVED (~UINT64_C(0x003f7fd7)) /* must be 0; bit 1 is apart */

#define DR6_FIXED1 UINT64_C(0xffff0ff0)
#define DR6_BD VMX_BIT(13)
#define DR6_BS VMX_BIT(14)
#define DR6_RTM VMX_BIT(16) /* 0: inside a transaction */
#define DR7_FIXED1 UINT64_C(0x400)
#define DR7_GD VMX_BIT(13)

#define DEBUGCTL_LBR VMX_BIT(0)
#define DEBUGCTL_BTF VMX_BIT(1)

#define PAT_RESET UINT64_C(0x0007040600070406)

#define CPUID_1_ECX_VMX VMXDEF_BIT32(5)
#define CPUID_1_ECX_PCID VMXDEF_BIT32(17)
#define CPUID_1_ECX_XSAVE VMXDEF_BIT32(26)
#define CPUID_1_ECX_OSXSAVE VMXDEF_BIT32(27)
#define CPUID_7_EBX_INVPCID VMXDEF_BIT32(10)
#define CPUID_7_ECX_RDPID VMXDEF_BIT32(22)
#define CPUID_80000001_EDX_SYSCALL VMXDEF_BIT32(11)
#define CPUID_80000001_EDX_NX VMXDEF_BIT32(20)
#define CPUID_80000001_EDX_RDTSCP VMXDEF_BIT32(27)
#define CPUID_80000001_EDX_LM VMXDEF_BIT32(29)

/* --- Access rights: "Guest Register State", format of access rights ------------------------ */

#define AR_TYPE_MASK 0xfu
#define AR_TYPE_ACCESSED 1u
#define AR_TYPE_WRITABLE 2u    /* data */
#define AR_TYPE_READABLE 2u    /* code */
#define AR_TYPE_EXPAND_DOWN 4u /* data */
#define AR_TYPE_CONFORMING 4u  /* code */
#define AR_TYPE_CODE 8u
#define AR_TYPE_LDT 2u
#define AR_TYPE_TSS16_BUSY 3u
#define AR_TYPE_TSS_BUSY 11u
#define AR_S VMXDEF_BIT32(4) /* code or data; 0: system */
#define AR_DPL_SHIFT 5
#define AR_DPL_MASK 3u
#define AR_P VMXDEF_BIT32(7)
#define AR_AVL VMXDEF_BIT32(12)
#define AR_L VMXDEF_BIT32(13)
#define AR_DB VMXDEF_BIT32(14)
#define AR_G VMXDEF_BIT32(15)
#define AR_UNUSABLE VMXDEF_BIT32(16)
#define AR_RESERVED 0xfffe0f00u

#define SEL_RPL_MASK 3u
#define SEL_TI 4u

/* --- Paging-structure entries (volume 3, "Paging") ----------------------------------------- */

#define PTE_P VMX_BIT(0)
#define PTE_W VMX_BIT(1)
#define PTE_U VMX_BIT(2)
#define PTE_PWT VMX_BIT(3)
#define PTE_PCD VMX_BIT(4)
#define PTE_A VMX_BIT(5)
#define PTE_D VMX_BIT(6)
#define PTE_PS VMX_BIT(7)
#define PTE_PAT VMX_BIT(7)	  /* in a PTE */
#define PTE_PAT_LARGE VMX_BIT(12) /* in a leaf of a higher level */
#define PTE_G VMX_BIT(8)
#define PTE_XD VMX_BIT(63)
#define PTE_ADDR_MASK UINT64_C(0x000ffffffffff000)

/* Page-fault error code */
#define PFEC_P 1u
#define PFEC_W 2u
#define PFEC_U 4u
#define PFEC_RSVD 8u
#define PFEC_I 16u

/* --- EPT: "EPT Translation Mechanism" ------------------------------------------------------ */

#define EPT_R VMX_BIT(0)
#define EPT_W VMX_BIT(1)
#define EPT_X VMX_BIT(2) /* supervisor-mode under mode-based execute control */
#define EPT_RWX (EPT_R | EPT_W | EPT_X)
#define EPT_MEMTYPE_SHIFT 3
#define EPT_MEMTYPE_MASK UINT64_C(0x38)
#define EPT_IGNORE_PAT VMX_BIT(6)
#define EPT_LARGE VMX_BIT(7)
#define EPT_A VMX_BIT(8)
#define EPT_D VMX_BIT(9)
#define EPT_USER_X VMX_BIT(10)
#define EPT_VERIFY_PAGING_WRITE VMX_BIT(57)
#define EPT_PAGING_WRITE VMX_BIT(58)
#define EPT_SUPERVISOR_SHADOW_STACK VMX_BIT(60)
#define EPT_SUPPRESS_VE VMX_BIT(63)
#define EPT_ADDR_MASK UINT64_C(0x000ffffffffff000)

/* "Extended-Page-Table Pointer (EPTP)" */
#define EPTP_MEMTYPE_MASK UINT64_C(7)
#define EPTP_WALK_SHIFT 3 /* walk length minus 1 */
#define EPTP_WALK_MASK UINT64_C(0x38)
#define EPTP_AD VMX_BIT(6)
#define EPTP_SUPERVISOR_SHADOW_STACK VMX_BIT(7)
#define EPTP_RESERVED_LOW UINT64_C(0xf00)

#define MEMTYPE_UC 0u
#define MEMTYPE_WC 1u
#define MEMTYPE_WT 4u
#define MEMTYPE_WP 5u
#define MEMTYPE_WB 6u

/* --- MSR areas: "VM-Entry Controls for MSRs", "Format of an MSR Entry" --------------------- */

struct vmx_msr_entry {
	uint32_t index;
	uint32_t reserved;
	uint64_t value;
};

/* "MSR-Bitmap Address": four bitmaps of 1 KiB in one page; a set bit exits. */
#define MSR_BITMAP_READ_LOW 0u
#define MSR_BITMAP_READ_HIGH 1024u
#define MSR_BITMAP_WRITE_LOW 2048u
#define MSR_BITMAP_WRITE_HIGH 3072u
#define MSR_BITMAP_LOW_COUNT 0x2000u
#define MSR_BITMAP_HIGH_FIRST 0xc0000000u

#endif
