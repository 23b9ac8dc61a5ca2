// SPDX-License-Identifier: MIT
/* The table: one row an instruction. What has no row is unimplemented. */
#include "x86/decode_table.h"
#include "x86/exec.h"

#define B(name) .build = x86_build_##name
/* One handler for every form. */
#define M(name) .build = x86_build_misc, .fn = x86_do_##name
/* The same, and the block ends behind it. */
#define E(name) .build = x86_build_misc, .fn = x86_do_##name, .end = true
#define SP(what) .arg = X86_SP_##what
#define CC_ROWS(op, build_name)                                 \
	[ZYDIS_MNEMONIC_##op##O] = {B(build_name), .arg = 0},   \
	[ZYDIS_MNEMONIC_##op##NO] = {B(build_name), .arg = 1},  \
	[ZYDIS_MNEMONIC_##op##B] = {B(build_name), .arg = 2},   \
	[ZYDIS_MNEMONIC_##op##NB] = {B(build_name), .arg = 3},  \
	[ZYDIS_MNEMONIC_##op##Z] = {B(build_name), .arg = 4},   \
	[ZYDIS_MNEMONIC_##op##NZ] = {B(build_name), .arg = 5},  \
	[ZYDIS_MNEMONIC_##op##BE] = {B(build_name), .arg = 6},  \
	[ZYDIS_MNEMONIC_##op##NBE] = {B(build_name), .arg = 7}, \
	[ZYDIS_MNEMONIC_##op##S] = {B(build_name), .arg = 8},   \
	[ZYDIS_MNEMONIC_##op##NS] = {B(build_name), .arg = 9},  \
	[ZYDIS_MNEMONIC_##op##P] = {B(build_name), .arg = 10},  \
	[ZYDIS_MNEMONIC_##op##NP] = {B(build_name), .arg = 11}, \
	[ZYDIS_MNEMONIC_##op##L] = {B(build_name), .arg = 12},  \
	[ZYDIS_MNEMONIC_##op##NL] = {B(build_name), .arg = 13}, \
	[ZYDIS_MNEMONIC_##op##LE] = {B(build_name), .arg = 14}, \
	[ZYDIS_MNEMONIC_##op##NLE] = {B(build_name), .arg = 15}

/* Basic exit reasons of the VMX instructions ("VMX Basic Exit Reasons"). */
#define VMX(reason) E(vmx), .arg = (reason)

static const struct x86_row rows[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
	/* arithmetic and logic */
	[ZYDIS_MNEMONIC_ADD] = {B(alu), .arg = X86_ALU_ADD},
	[ZYDIS_MNEMONIC_OR] = {B(alu), .arg = X86_ALU_OR},
	[ZYDIS_MNEMONIC_ADC] = {B(alu), .arg = X86_ALU_ADC},
	[ZYDIS_MNEMONIC_SBB] = {B(alu), .arg = X86_ALU_SBB},
	[ZYDIS_MNEMONIC_AND] = {B(alu), .arg = X86_ALU_AND},
	[ZYDIS_MNEMONIC_SUB] = {B(alu), .arg = X86_ALU_SUB},
	[ZYDIS_MNEMONIC_XOR] = {B(alu), .arg = X86_ALU_XOR},
	[ZYDIS_MNEMONIC_CMP] = {B(alu), .arg = X86_ALU_CMP},
	[ZYDIS_MNEMONIC_TEST] = {B(alu), .arg = X86_ALU_TEST},
	[ZYDIS_MNEMONIC_INC] = {B(unary), .arg = X86_UN_INC},
	[ZYDIS_MNEMONIC_DEC] = {B(unary), .arg = X86_UN_DEC},
	[ZYDIS_MNEMONIC_NEG] = {B(unary), .arg = X86_UN_NEG},
	[ZYDIS_MNEMONIC_NOT] = {B(unary), .arg = X86_UN_NOT},
	[ZYDIS_MNEMONIC_MUL] = {M(mul)},
	[ZYDIS_MNEMONIC_IMUL] = {B(imul)},
	[ZYDIS_MNEMONIC_DIV] = {M(div)},
	[ZYDIS_MNEMONIC_IDIV] = {M(idiv)},
	[ZYDIS_MNEMONIC_CBW] = {M(cbw)},
	[ZYDIS_MNEMONIC_CWDE] = {M(cbw)},
	[ZYDIS_MNEMONIC_CDQE] = {M(cbw)},
	[ZYDIS_MNEMONIC_CWD] = {M(cwd)},
	[ZYDIS_MNEMONIC_CDQ] = {M(cwd)},
	[ZYDIS_MNEMONIC_CQO] = {M(cwd)},
	[ZYDIS_MNEMONIC_ROL] = {B(shift), .arg = X86_SH_ROL},
	[ZYDIS_MNEMONIC_ROR] = {B(shift), .arg = X86_SH_ROR},
	[ZYDIS_MNEMONIC_RCL] = {B(shift), .arg = X86_SH_RCL},
	[ZYDIS_MNEMONIC_RCR] = {B(shift), .arg = X86_SH_RCR},
	[ZYDIS_MNEMONIC_SHL] = {B(shift), .arg = X86_SH_SHL},
	[ZYDIS_MNEMONIC_SHR] = {B(shift), .arg = X86_SH_SHR},
	[ZYDIS_MNEMONIC_SAR] = {B(shift), .arg = X86_SH_SAR},
	[ZYDIS_MNEMONIC_SHLD] = {M(shld)},
	[ZYDIS_MNEMONIC_SHRD] = {M(shrd)},
	[ZYDIS_MNEMONIC_DAA] = {M(daa), .arg = 0},
	[ZYDIS_MNEMONIC_DAS] = {M(daa), .arg = 1},
	[ZYDIS_MNEMONIC_AAA] = {M(aaa), .arg = 0},
	[ZYDIS_MNEMONIC_AAS] = {M(aaa), .arg = 1},
	[ZYDIS_MNEMONIC_AAM] = {M(aam)},
	[ZYDIS_MNEMONIC_AAD] = {M(aad)},

	/* moves */
	[ZYDIS_MNEMONIC_MOV] = {B(mov)},
	[ZYDIS_MNEMONIC_MOVZX] = {B(movx), .arg = 0},
	[ZYDIS_MNEMONIC_MOVSX] = {B(movx), .arg = 1},
	[ZYDIS_MNEMONIC_MOVSXD] = {B(movx), .arg = 1},
	[ZYDIS_MNEMONIC_MOVBE] = {M(movbe)},
	[ZYDIS_MNEMONIC_LEA] = {B(lea)},
	[ZYDIS_MNEMONIC_XCHG] = {B(xchg)},
	[ZYDIS_MNEMONIC_BSWAP] = {M(bswap)},
	[ZYDIS_MNEMONIC_XLAT] = {M(xlat)},
	[ZYDIS_MNEMONIC_CMPXCHG] = {M(cmpxchg)},
	[ZYDIS_MNEMONIC_CMPXCHG8B] = {M(cmpxchg_pair), .arg = 4},
	[ZYDIS_MNEMONIC_CMPXCHG16B] = {M(cmpxchg_pair), .arg = 8},
	[ZYDIS_MNEMONIC_XADD] = {M(xadd)},
	CC_ROWS(CMOV, cmov),
	CC_ROWS(SET, setcc),

	/* bits */
	[ZYDIS_MNEMONIC_BT] = {M(bt), .arg = 0},
	[ZYDIS_MNEMONIC_BTS] = {M(bt), .arg = 1},
	[ZYDIS_MNEMONIC_BTR] = {M(bt), .arg = 2},
	[ZYDIS_MNEMONIC_BTC] = {M(bt), .arg = 3},
	[ZYDIS_MNEMONIC_BSF] = {M(scan), .arg = 0},
	[ZYDIS_MNEMONIC_BSR] = {M(scan), .arg = 1},
	[ZYDIS_MNEMONIC_TZCNT] = {M(scan), .arg = 2},
	[ZYDIS_MNEMONIC_LZCNT] = {M(scan), .arg = 3},
	[ZYDIS_MNEMONIC_POPCNT] = {M(scan), .arg = 4},
	[ZYDIS_MNEMONIC_ANDN] = {M(andn)},
	[ZYDIS_MNEMONIC_BLSI] = {M(bls), .arg = 0},
	[ZYDIS_MNEMONIC_BLSMSK] = {M(bls), .arg = 1},
	[ZYDIS_MNEMONIC_BLSR] = {M(bls), .arg = 2},
	[ZYDIS_MNEMONIC_BEXTR] = {M(bmi_rmr), .arg = 0},
	[ZYDIS_MNEMONIC_BZHI] = {M(bmi_rmr), .arg = 1},
	[ZYDIS_MNEMONIC_SHLX] = {M(bmi_rmr), .arg = 2},
	[ZYDIS_MNEMONIC_SHRX] = {M(bmi_rmr), .arg = 3},
	[ZYDIS_MNEMONIC_SARX] = {M(bmi_rmr), .arg = 4},
	[ZYDIS_MNEMONIC_PDEP] = {M(pdep), .arg = 0},
	[ZYDIS_MNEMONIC_PEXT] = {M(pdep), .arg = 1},
	[ZYDIS_MNEMONIC_RORX] = {M(rorx)},
	[ZYDIS_MNEMONIC_MULX] = {M(mulx)},
	[ZYDIS_MNEMONIC_ADCX] = {M(adx), .arg = 0},
	[ZYDIS_MNEMONIC_ADOX] = {M(adx), .arg = 1},

	/* flags, nothing */
	[ZYDIS_MNEMONIC_CLC] = {M(carry), .arg = 0},
	[ZYDIS_MNEMONIC_STC] = {M(carry), .arg = 1},
	[ZYDIS_MNEMONIC_CMC] = {M(carry), .arg = 2},
	[ZYDIS_MNEMONIC_CLD] = {M(direction), .arg = 0},
	[ZYDIS_MNEMONIC_STD] = {M(direction), .arg = 1},
	[ZYDIS_MNEMONIC_LAHF] = {M(lahf)},
	[ZYDIS_MNEMONIC_SAHF] = {M(sahf)},
	[ZYDIS_MNEMONIC_SALC] = {M(salc)},
	[ZYDIS_MNEMONIC_NOP] = {B(nop)},
	[ZYDIS_MNEMONIC_ENDBR32] = {B(nop)},
	[ZYDIS_MNEMONIC_ENDBR64] = {B(nop)},
	[ZYDIS_MNEMONIC_PREFETCH] = {B(nop)},
	[ZYDIS_MNEMONIC_PREFETCHW] = {B(nop)},
	[ZYDIS_MNEMONIC_PREFETCHNTA] = {B(nop)},
	[ZYDIS_MNEMONIC_PREFETCHT0] = {B(nop)},
	[ZYDIS_MNEMONIC_PREFETCHT1] = {B(nop)},
	[ZYDIS_MNEMONIC_PREFETCHT2] = {B(nop)},
	[ZYDIS_MNEMONIC_LFENCE] = {M(fence)},
	[ZYDIS_MNEMONIC_MFENCE] = {M(fence)},
	[ZYDIS_MNEMONIC_SFENCE] = {M(fence)},

	/* near branches */
	CC_ROWS(J, jcc),
	[ZYDIS_MNEMONIC_JMP] = {B(jmp)},
	[ZYDIS_MNEMONIC_CALL] = {B(call)},
	[ZYDIS_MNEMONIC_RET] = {B(ret)},
	[ZYDIS_MNEMONIC_LOOP] = {B(loop), .arg = 0},
	[ZYDIS_MNEMONIC_LOOPE] = {B(loop), .arg = 1},
	[ZYDIS_MNEMONIC_LOOPNE] = {B(loop), .arg = 2},
	[ZYDIS_MNEMONIC_JCXZ] = {B(loop), .arg = 3},
	[ZYDIS_MNEMONIC_JECXZ] = {B(loop), .arg = 3},
	[ZYDIS_MNEMONIC_JRCXZ] = {B(loop), .arg = 3},

	/* stack */
	[ZYDIS_MNEMONIC_PUSH] = {B(push)},
	[ZYDIS_MNEMONIC_POP] = {B(pop)},
	[ZYDIS_MNEMONIC_PUSHA] = {M(pusha)},
	[ZYDIS_MNEMONIC_PUSHAD] = {M(pusha)},
	[ZYDIS_MNEMONIC_POPA] = {M(popa)},
	[ZYDIS_MNEMONIC_POPAD] = {M(popa)},
	[ZYDIS_MNEMONIC_PUSHF] = {M(pushf)},
	[ZYDIS_MNEMONIC_PUSHFD] = {M(pushf)},
	[ZYDIS_MNEMONIC_PUSHFQ] = {M(pushf)},
	[ZYDIS_MNEMONIC_POPF] = {E(popf)},
	[ZYDIS_MNEMONIC_POPFD] = {E(popf)},
	[ZYDIS_MNEMONIC_POPFQ] = {E(popf)},
	[ZYDIS_MNEMONIC_ENTER] = {B(enter)},
	[ZYDIS_MNEMONIC_LEAVE] = {M(leave)},
	[ZYDIS_MNEMONIC_BOUND] = {M(bound)},

	/* strings and I/O */
	[ZYDIS_MNEMONIC_MOVSB] = {M(string), .arg = 0},
	[ZYDIS_MNEMONIC_MOVSW] = {M(string), .arg = 0},
	[ZYDIS_MNEMONIC_MOVSD] = {M(string), .arg = 0},
	[ZYDIS_MNEMONIC_MOVSQ] = {M(string), .arg = 0},
	[ZYDIS_MNEMONIC_STOSB] = {M(string), .arg = 1},
	[ZYDIS_MNEMONIC_STOSW] = {M(string), .arg = 1},
	[ZYDIS_MNEMONIC_STOSD] = {M(string), .arg = 1},
	[ZYDIS_MNEMONIC_STOSQ] = {M(string), .arg = 1},
	[ZYDIS_MNEMONIC_LODSB] = {M(string), .arg = 2},
	[ZYDIS_MNEMONIC_LODSW] = {M(string), .arg = 2},
	[ZYDIS_MNEMONIC_LODSD] = {M(string), .arg = 2},
	[ZYDIS_MNEMONIC_LODSQ] = {M(string), .arg = 2},
	[ZYDIS_MNEMONIC_CMPSB] = {M(string), .arg = 3},
	[ZYDIS_MNEMONIC_CMPSW] = {M(string), .arg = 3},
	[ZYDIS_MNEMONIC_CMPSD] = {M(string), .arg = 3},
	[ZYDIS_MNEMONIC_CMPSQ] = {M(string), .arg = 3},
	[ZYDIS_MNEMONIC_SCASB] = {M(string), .arg = 4},
	[ZYDIS_MNEMONIC_SCASW] = {M(string), .arg = 4},
	[ZYDIS_MNEMONIC_SCASD] = {M(string), .arg = 4},
	[ZYDIS_MNEMONIC_SCASQ] = {M(string), .arg = 4},
	[ZYDIS_MNEMONIC_IN] = {B(inout), SP(IN), .end = true},
	[ZYDIS_MNEMONIC_OUT] = {B(inout), SP(OUT), .end = true},
	[ZYDIS_MNEMONIC_INSB] = {E(io_string), SP(IN)},
	[ZYDIS_MNEMONIC_INSW] = {E(io_string), SP(IN)},
	[ZYDIS_MNEMONIC_INSD] = {E(io_string), SP(IN)},
	[ZYDIS_MNEMONIC_OUTSB] = {E(io_string), SP(OUT)},
	[ZYDIS_MNEMONIC_OUTSW] = {E(io_string), SP(OUT)},
	[ZYDIS_MNEMONIC_OUTSD] = {E(io_string), SP(OUT)},

	/* far transfers */
	[ZYDIS_MNEMONIC_INT] = {E(int), .arg = X86_EV_SOFT_INT},
	[ZYDIS_MNEMONIC_INT3] = {E(int), .arg = X86_EV_SOFT_EXC},
	[ZYDIS_MNEMONIC_INT1] = {E(int), .arg = X86_EV_PRIV_SOFT},
	[ZYDIS_MNEMONIC_INTO] = {M(into)},
	[ZYDIS_MNEMONIC_IRET] = {E(iret)},
	[ZYDIS_MNEMONIC_IRETD] = {E(iret)},
	[ZYDIS_MNEMONIC_IRETQ] = {E(iret)},
	[ZYDIS_MNEMONIC_SYSCALL] = {E(syscall)},
	[ZYDIS_MNEMONIC_SYSRET] = {E(sysret)},
	[ZYDIS_MNEMONIC_SYSENTER] = {E(sysenter)},
	[ZYDIS_MNEMONIC_SYSEXIT] = {E(sysexit)},

	/* segments */
	[ZYDIS_MNEMONIC_LES] = {E(load_far), .arg = X86_ES},
	[ZYDIS_MNEMONIC_LDS] = {E(load_far), .arg = X86_DS},
	[ZYDIS_MNEMONIC_LSS] = {E(load_far), .arg = X86_SS},
	[ZYDIS_MNEMONIC_LFS] = {E(load_far), .arg = X86_FS},
	[ZYDIS_MNEMONIC_LGS] = {E(load_far), .arg = X86_GS},
	[ZYDIS_MNEMONIC_LAR] = {M(lar), .arg = 0},
	[ZYDIS_MNEMONIC_LSL] = {M(lar), .arg = 1},
	[ZYDIS_MNEMONIC_VERR] = {M(lar), .arg = 2},
	[ZYDIS_MNEMONIC_VERW] = {M(lar), .arg = 3},
	[ZYDIS_MNEMONIC_ARPL] = {M(arpl)},
	[ZYDIS_MNEMONIC_SGDT] = {M(dtable_store), .arg = 0},
	[ZYDIS_MNEMONIC_SIDT] = {M(dtable_store), .arg = 1},
	[ZYDIS_MNEMONIC_LGDT] = {M(dtable_load), .arg = 2},
	[ZYDIS_MNEMONIC_LIDT] = {M(dtable_load), .arg = 3},
	[ZYDIS_MNEMONIC_SLDT] = {M(sel_store), .arg = 0},
	[ZYDIS_MNEMONIC_STR] = {M(sel_store), .arg = 1},
	[ZYDIS_MNEMONIC_LLDT] = {M(sel_load), .arg = 2},
	[ZYDIS_MNEMONIC_LTR] = {M(sel_load), .arg = 3},
	[ZYDIS_MNEMONIC_SWAPGS] = {M(swapgs)},
	[ZYDIS_MNEMONIC_RDFSBASE] = {M(fsgsbase), .arg = X86_FS},
	[ZYDIS_MNEMONIC_RDGSBASE] = {M(fsgsbase), .arg = X86_GS},
	[ZYDIS_MNEMONIC_WRFSBASE] = {M(fsgsbase), .arg = X86_FS | 8},
	[ZYDIS_MNEMONIC_WRGSBASE] = {M(fsgsbase), .arg = X86_GS | 8},

	/* system */
	[ZYDIS_MNEMONIC_CLI] = {M(cli)},
	[ZYDIS_MNEMONIC_STI] = {E(sti)},
	[ZYDIS_MNEMONIC_CLAC] = {M(ac), .arg = 0},
	[ZYDIS_MNEMONIC_STAC] = {M(ac), .arg = 1},
	[ZYDIS_MNEMONIC_HLT] = {E(hlt)},
	[ZYDIS_MNEMONIC_CLTS] = {E(clts)},
	[ZYDIS_MNEMONIC_LMSW] = {E(lmsw)},
	[ZYDIS_MNEMONIC_SMSW] = {M(smsw)},
	[ZYDIS_MNEMONIC_CPUID] = {M(special), SP(CPUID)},
	[ZYDIS_MNEMONIC_PAUSE] = {M(special), SP(PAUSE)},
	[ZYDIS_MNEMONIC_RDMSR] = {E(special_cpl0), SP(RDMSR)},
	[ZYDIS_MNEMONIC_WRMSR] = {E(special_cpl0), SP(WRMSR)},
	[ZYDIS_MNEMONIC_INVD] = {E(special_cpl0), SP(INVD)},
	[ZYDIS_MNEMONIC_WBINVD] = {E(special_cpl0), SP(WBINVD)},
	[ZYDIS_MNEMONIC_MONITOR] = {E(special_cpl0), SP(MONITOR)},
	[ZYDIS_MNEMONIC_MWAIT] = {E(special_cpl0), SP(MWAIT)},
	[ZYDIS_MNEMONIC_RSM] = {E(rsm)},
	[ZYDIS_MNEMONIC_GETSEC] = {E(special_leave), SP(GETSEC)},
	[ZYDIS_MNEMONIC_RDTSC] = {M(rdtsc), SP(RDTSC)},
	[ZYDIS_MNEMONIC_RDTSCP] = {M(rdtsc), SP(RDTSCP)},
	[ZYDIS_MNEMONIC_RDPMC] = {M(rdpmc)},
	[ZYDIS_MNEMONIC_RDPID] = {M(rdpid)},
	[ZYDIS_MNEMONIC_XSETBV] = {E(xsetbv)},
	[ZYDIS_MNEMONIC_INVLPG] = {E(invlpg)},
	[ZYDIS_MNEMONIC_INVPCID] = {E(invpcid)},

	/* VMX */
	[ZYDIS_MNEMONIC_VMCALL] = {E(vmcall)},
	[ZYDIS_MNEMONIC_VMCLEAR] = {VMX(19)},
	[ZYDIS_MNEMONIC_VMLAUNCH] = {VMX(20)},
	[ZYDIS_MNEMONIC_VMPTRLD] = {VMX(21)},
	[ZYDIS_MNEMONIC_VMPTRST] = {VMX(22)},
	[ZYDIS_MNEMONIC_VMREAD] = {VMX(23)},
	[ZYDIS_MNEMONIC_VMRESUME] = {VMX(24)},
	[ZYDIS_MNEMONIC_VMWRITE] = {VMX(25)},
	[ZYDIS_MNEMONIC_VMXOFF] = {VMX(26)},
	[ZYDIS_MNEMONIC_VMXON] = {VMX(27)},
	[ZYDIS_MNEMONIC_INVEPT] = {VMX(50)},
	[ZYDIS_MNEMONIC_INVVPID] = {VMX(53)},
	[ZYDIS_MNEMONIC_VMFUNC] = {VMX(59)},
};

static const struct x86_row far_jmp = {B(far), .fn = x86_do_jmp_far, .end = true};
static const struct x86_row far_call = {B(far), .fn = x86_do_call_far, .end = true};
static const struct x86_row far_ret = {E(ret_far)};
static const struct x86_row undefined = {B(undefined), .end = true};

static const struct x86_row *far_row(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_JMP ? &far_jmp : m == ZYDIS_MNEMONIC_CALL ? &far_call : &far_ret;
}

const struct x86_row *x86_row_of(const ZydisDecodedInstruction *zi)
{
	const struct x86_row *row = &rows[zi->mnemonic];

	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_JMP:
	case ZYDIS_MNEMONIC_CALL:
	case ZYDIS_MNEMONIC_RET:
		if (zi->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
			return far_row(zi->mnemonic);
		break;
	case ZYDIS_MNEMONIC_MOVSD:
	case ZYDIS_MNEMONIC_CMPSD:
		/* The mnemonic is SSE's, too. */
		if (zi->meta.category != ZYDIS_CATEGORY_STRINGOP)
			return NULL;
		break;
	case ZYDIS_MNEMONIC_UD0:
	case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
		return &undefined;
	default:
		break;
	}
	return row->build ? row : NULL;
}
