// SPDX-License-Identifier: MIT
/* What CPUID may show: exactly what the executor and the model's MMU implement. */
#include "x86/cpu.h"

#define BIT(n) (1u << (n))

/* No FPU, no MMX or SSE, no local APIC, no MTRRs: those bits are 0. */
#define F1_EDX                                                                      \
	(BIT(2) | /* DE */ BIT(3) | /* PSE */ BIT(4) | /* TSC */ BIT(5) | /* MSR */ \
	 BIT(6) | /* PAE */ BIT(8) | /* CX8 */ BIT(11) |		  /* SEP */ \
	 BIT(13) | /* PGE */ BIT(15) | /* CMOV */ BIT(16) | /* PAT */ BIT(17) /* PSE-36 */)
#define F1_ECX                                                                                  \
	(BIT(13) | /* CX16 */ BIT(17) | /* PCID */ BIT(22) | /* MOVBE */ BIT(23) | /* POPCNT */ \
	 BIT(31) /* hypervisor */)
#define F7_EBX                                                                               \
	(BIT(0) | /* FSGSBASE */ BIT(3) | /* BMI1 */ BIT(7) | /* SMEP */ BIT(8) | /* BMI2 */ \
	 BIT(9) | /* REP MOVSB */ BIT(10) | /* INVPCID */ BIT(19) | /* ADX */ BIT(20) /* SMAP */)
#define F7_ECX (BIT(2) | /* UMIP */ BIT(22) /* RDPID */)
#define FX1_EDX                                                                                  \
	(BIT(11) | /* SYSCALL */ BIT(20) | /* NX */ BIT(26) | /* 1 GiB */ BIT(27) | /* RDTSCP */ \
	 BIT(29) /* long mode */)
#define FX1_ECX (BIT(0) | /* LAHF */ BIT(5) | /* LZCNT */ BIT(8) /* PREFETCHW */)

/* Family 6, model 0x5e, stepping 3: a client core with these features. */
#define SIGNATURE 0x000506e3u

/* Text as CPUID hands it out: four registers, little endian. */
#define W(a, b, c, d) \
	((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

static const struct x86_cpuid_entry table[] = {
	{0x0, 0, {0x16, W('G', 'e', 'n', 'u'), W('n', 't', 'e', 'l'), W('i', 'n', 'e', 'I')}},
	{0x1, 0, {SIGNATURE, 0, F1_ECX, F1_EDX}},
	{0x2, 0, {1, 0, 0, 0}}, /* no descriptors */
	{0x4, 0, {0, 0, 0, 0}}, /* no caches are modelled */
	{0x5, 0, {0, 0, 0, 0}},
	{0x6, 0, {0, 0, 0, 0}},
	{0x7, 0, {0, F7_EBX, F7_ECX, 0}},
	{0xa, 0, {0, 0, 0, 0}}, /* no performance counters */
	{0xb, 0, {0, 0, 0, 0}},
	{0xb, 1, {0, 0, 1, 0}},
	{0xd, 0, {0, 0, 0, 0}},
	{0x14, 0, {0, 0, 0, 0}},
	{0x15, 0, {0, 0, 0, 0}},
	{0x16, 0, {0, 0, 0, 0}},
	{0x80000000, 0, {0x80000008, 0, 0, 0}},
	{0x80000001, 0, {0, 0, FX1_ECX, FX1_EDX}},
	{0x80000002,
	 0,
	 {W('h', 'v', 'd', ' '), W('s', 'o', 'f', 't'), W('w', 'a', 'r', 'e'),
	  W(' ', 'p', 'r', 'o')}},
	{0x80000003, 0, {W('c', 'e', 's', 's'), W('o', 'r', 0, 0), 0, 0}},
	{0x80000004, 0, {0, 0, 0, 0}},
	{0x80000005, 0, {0, 0, 0, 0}},
	{0x80000006, 0, {0, 0, 0, 0}},
	{0x80000007, 0, {0, 0, 0, BIT(8)}}, /* invariant TSC */
	{0x80000008, 0, {46 | 48 << 8, 0, 0, 0}},
};

const struct x86_cpuid_entry *x86_cpuid_table(size_t *ret_count)
{
	*ret_count = VMX_ARRAY_SIZE(table);
	return table;
}

/* Leaves whose subleaf matters: others answer for any. */
static bool has_subleaves(uint32_t leaf)
{
	return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x14;
}

bool x86_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	for (size_t i = 0; i < VMX_ARRAY_SIZE(table); i++) {
		if (table[i].leaf != leaf)
			continue;
		if (has_subleaves(leaf) && table[i].subleaf != subleaf)
			continue;
		memcpy(regs, table[i].regs, sizeof(table[i].regs));
		return true;
	}
	memset(regs, 0, 4 * sizeof(regs[0]));
	return false;
}
