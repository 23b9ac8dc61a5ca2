// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * What VM entry would refuse, refused before: a list of checks, each with the name
 * of the register it is about, in the manual's order.
 *
 * Sources: SDM volume 3, "Checks on Guest Control Registers, Debug Registers, and
 * MSRs", "Checks on Guest Segment Registers", "Checks on Guest Descriptor-Table
 * Registers", "Checks on Guest RIP and RFLAGS", "Checks on Guest Non-Register
 * State"; "Loading MSRs" for what the MSR list loads.
 */
#include "core/vcpu_internal.h"

struct check_env {
	const struct core_vm *vm;
	const struct core_caps *caps;
	const struct core_regs *r;
	uint32_t interruptibility;
	bool v8086, ia32e;
	uint64_t beyond_maxphyaddr;
};

struct regs_check_row {
	const char *field;
	bool (*ok)(const struct check_env *e, unsigned seg);
	unsigned seg;
};

static const struct core_segment *segment(const struct check_env *e, unsigned seg)
{
	return &e->r->seg[seg];
}

static unsigned ar_type(const struct core_segment *s)
{
	return s->ar & AR_TYPE_MASK;
}

static unsigned ar_dpl(const struct core_segment *s)
{
	return s->ar >> AR_DPL_SHIFT & AR_DPL_MASK;
}

/* CS and TR can't be unusable; the others' contents matter only while usable. */
static bool usable(const struct core_segment *s)
{
	return !(s->ar & AR_UNUSABLE);
}

static bool high_half_zero(uint64_t value)
{
	return value >> 32 == 0;
}

/* --- control registers, debug registers, MSRs ---------------------------------------------- */

static bool cr0_ok(const struct check_env *e, unsigned seg)
{
	uint64_t cr0 = e->r->cr0;
	uint64_t must = vm_cr0_fixed1(e->vm) & (CR0_PE | CR0_PG);

	(void)seg;
	/* Other fixed bits are core's to set: the guest sees its own value. */
	return high_half_zero(cr0) && (cr0 & must) == must && !(cr0 & ~CR0_DEFINED) &&
	       (!(cr0 & CR0_PG) || cr0 & CR0_PE);
}

static bool cr4_ok(const struct check_env *e, unsigned seg)
{
	uint64_t cr4 = e->r->cr4;

	(void)seg;
	if (cr4 & ~e->vm->cr4_allowed)
		return false;
	return e->ia32e ? !!(cr4 & CR4_PAE) : !(cr4 & CR4_PCIDE);
}

static bool cr3_ok(const struct check_env *e, unsigned seg)
{
	(void)seg;
	return !(e->r->cr3 & e->beyond_maxphyaddr);
}

static bool efer_ok(const struct check_env *e, unsigned seg)
{
	uint64_t efer = e->r->efer;
	bool paging = e->r->cr0 & CR0_PG;

	(void)seg;
	if (efer & ~(e->vm->efer_allowed | EFER_LMA))
		return false;
	/* LMA is LME and CR0.PG, neither more nor less. */
	return !!(efer & EFER_LMA) == (paging && efer & EFER_LME);
}

static bool dr7_ok(const struct check_env *e, unsigned seg)
{
	(void)seg;
	return high_half_zero(e->r->dr7);
}

static bool dr6_ok(const struct check_env *e, unsigned seg)
{
	(void)seg;
	return high_half_zero(e->r->gp.dr6);
}

static bool pat_ok(const struct check_env *e, unsigned seg)
{
	(void)seg;
	for (unsigned i = 0; i < 8; i++) {
		unsigned type = e->r->pat >> (8 * i) & 0xff;

		if (type == 2 || type == 3 || type > 7)
			return false;
	}
	return true;
}

static bool sysenter_cs_ok(const struct check_env *e, unsigned seg)
{
	(void)seg;
	return high_half_zero(e->r->sysenter_cs); /* the field has 32 bits */
}

static bool sysenter_esp_ok(const struct check_env *e, unsigned seg)
{
	(void)seg;
	return canonical48(e->r->sysenter_esp);
}

static bool sysenter_eip_ok(const struct check_env *e, unsigned seg)
{
	(void)seg;
	return canonical48(e->r->sysenter_eip);
}

static bool lstar_ok(const struct check_env *e, unsigned seg)
{
	(void)seg;
	return canonical48(e->r->lstar);
}

static bool cstar_ok(const struct check_env *e, unsigned seg)
{
	(void)seg;
	return canonical48(e->r->cstar);
}

static bool fmask_ok(const struct check_env *e, unsigned seg)
{
	(void)seg;
	return high_half_zero(e->r->fmask);
}

static bool kernel_gs_base_ok(const struct check_env *e, unsigned seg)
{
	(void)seg;
	return canonical48(e->r->kernel_gs_base);
}

static bool tsc_aux_ok(const struct check_env *e, unsigned seg)
{
	(void)seg;
	return high_half_zero(e->r->tsc_aux);
}

/* --- segments ------------------------------------------------------------------------------ */

static bool tr_selector_ok(const struct check_env *e, unsigned seg)
{
	return !(segment(e, seg)->sel & SEL_TI);
}

static bool ldtr_selector_ok(const struct check_env *e, unsigned seg)
{
	const struct core_segment *s = segment(e, seg);

	return !usable(s) || !(s->sel & SEL_TI);
}

static bool ss_selector_ok(const struct check_env *e, unsigned seg)
{
	if (e->v8086 || e->caps->unrestricted)
		return true;
	return ((segment(e, seg)->sel ^ segment(e, CORE_CS)->sel) & SEL_RPL_MASK) == 0;
}

static bool base_ok(const struct check_env *e, unsigned seg)
{
	const struct core_segment *s = segment(e, seg);

	if (e->v8086)
		return s->base == (uint64_t)s->sel << 4;
	if (seg == CORE_FS || seg == CORE_GS)
		return canonical48(s->base);
	if (seg != CORE_CS && !usable(s))
		return true;
	return high_half_zero(s->base);
}

static bool system_base_ok(const struct check_env *e, unsigned seg)
{
	const struct core_segment *s = segment(e, seg);

	return (seg == CORE_LDTR && !usable(s)) || canonical48(s->base);
}

static bool limit_ok(const struct check_env *e, unsigned seg)
{
	return !e->v8086 || segment(e, seg)->limit == 0xffff;
}

/* G and the limit must agree. */
static bool granularity_ok(const struct core_segment *s)
{
	bool g = s->ar & AR_G;

	if ((s->limit & 0xfff) != 0xfff && g)
		return false;
	return (s->limit & 0xfff00000u) == 0 || g;
}

/* Common to the six code and data segments outside virtual-8086 mode. */
static bool ar_common_ok(const struct core_segment *s)
{
	return s->ar & AR_S && s->ar & AR_P && !(s->ar & AR_RESERVED) && granularity_ok(s);
}

static bool cs_ar_ok(const struct check_env *e, unsigned seg)
{
	const struct core_segment *s = segment(e, seg), *ss = segment(e, CORE_SS);
	unsigned type = ar_type(s);

	if (e->v8086)
		return s->ar == 0xf3;
	if (!usable(s) || !ar_common_ok(s))
		return false;
	if (e->ia32e && s->ar & AR_L && s->ar & AR_DB)
		return false;
	if (type == (AR_TYPE_WRITABLE | AR_TYPE_ACCESSED)) /* a data segment: real mode */
		return e->caps->unrestricted && ar_dpl(s) == 0;
	if (!(type & AR_TYPE_CODE) || !(type & AR_TYPE_ACCESSED))
		return false;
	return type & AR_TYPE_CONFORMING ? ar_dpl(s) <= ar_dpl(ss) : ar_dpl(s) == ar_dpl(ss);
}

static bool ss_ar_ok(const struct check_env *e, unsigned seg)
{
	const struct core_segment *s = segment(e, seg), *cs = segment(e, CORE_CS);
	bool data_cs = ar_type(cs) == (AR_TYPE_WRITABLE | AR_TYPE_ACCESSED);

	if (e->v8086)
		return s->ar == 0xf3;
	/* The privilege level is SS.DPL, whether SS is usable or not. */
	if (!e->caps->unrestricted && ar_dpl(s) != (s->sel & SEL_RPL_MASK))
		return false;
	if ((data_cs || !(e->r->cr0 & CR0_PE)) && ar_dpl(s) != 0)
		return false;
	if (!usable(s))
		return !(s->ar & 0xfffe0000u);
	/* Type 3 or 7: writable data, accessed. */
	return (ar_type(s) & ~AR_TYPE_EXPAND_DOWN) == (AR_TYPE_WRITABLE | AR_TYPE_ACCESSED) &&
	       ar_common_ok(s);
}

static bool data_ar_ok(const struct check_env *e, unsigned seg)
{
	const struct core_segment *s = segment(e, seg);
	unsigned type = ar_type(s);

	if (e->v8086)
		return s->ar == 0xf3;
	if (!usable(s))
		return !(s->ar & 0xfffe0000u);
	if (!(type & AR_TYPE_ACCESSED) || (type & AR_TYPE_CODE && !(type & AR_TYPE_READABLE)))
		return false;
	/* Conforming code is exempt. */
	if (!e->caps->unrestricted && type < 12 && ar_dpl(s) < (s->sel & SEL_RPL_MASK))
		return false;
	return ar_common_ok(s);
}

static bool tr_ar_ok(const struct check_env *e, unsigned seg)
{
	const struct core_segment *s = segment(e, seg);
	unsigned type = ar_type(s);

	if (type != AR_TYPE_TSS_BUSY && (e->ia32e || type != AR_TYPE_TSS16_BUSY))
		return false;
	return usable(s) && !(s->ar & AR_S) && s->ar & AR_P && !(s->ar & AR_RESERVED) &&
	       granularity_ok(s);
}

static bool ldtr_ar_ok(const struct check_env *e, unsigned seg)
{
	const struct core_segment *s = segment(e, seg);

	if (!usable(s))
		return !(s->ar & 0xfffe0000u);
	return ar_type(s) == AR_TYPE_LDT && !(s->ar & AR_S) && s->ar & AR_P &&
	       !(s->ar & AR_RESERVED) && granularity_ok(s);
}

/* --- descriptor tables, RIP, RFLAGS, the rest ---------------------------------------------- */

static bool gdtr_base_ok(const struct check_env *e, unsigned seg)
{
	(void)seg;
	return canonical48(e->r->gdtr_base);
}

static bool idtr_base_ok(const struct check_env *e, unsigned seg)
{
	(void)seg;
	return canonical48(e->r->idtr_base);
}

static bool gdtr_limit_ok(const struct check_env *e, unsigned seg)
{
	(void)seg;
	return e->r->gdtr_limit <= 0xffff;
}

static bool idtr_limit_ok(const struct check_env *e, unsigned seg)
{
	(void)seg;
	return e->r->idtr_limit <= 0xffff;
}

static bool rip_ok(const struct check_env *e, unsigned seg)
{
	(void)seg;
	if (e->ia32e && segment(e, CORE_CS)->ar & AR_L)
		return canonical48(e->r->rip);
	return high_half_zero(e->r->rip);
}

static bool rflags_ok(const struct check_env *e, unsigned seg)
{
	uint64_t f = e->r->rflags;

	(void)seg;
	if (f & RFLAGS_RESERVED || !(f & RFLAGS_FIXED1))
		return false;
	return !(f & RFLAGS_VM) || (!e->ia32e && e->r->cr0 & CR0_PE);
}

/* A state that the processor doesn't offer is core's to emulate: it isn't entered with. */
static bool activity_ok(const struct check_env *e, unsigned seg)
{
	uint32_t activity = e->r->activity;

	(void)seg;
	if (activity > ACTIVITY_WAIT_FOR_SIPI)
		return false;
	if (activity == ACTIVITY_HLT && ar_dpl(segment(e, CORE_SS)) != 0)
		return false;
	return activity == ACTIVITY_ACTIVE ||
	       !(e->interruptibility & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS));
}

static bool interruptibility_ok(const struct check_env *e, unsigned seg)
{
	const uint32_t both = BLOCKED_BY_STI | BLOCKED_BY_MOV_SS;
	uint32_t i = e->interruptibility;

	(void)seg;
	if (i & (BLOCKED_RESERVED | BLOCKED_ENCLAVE | BLOCKED_BY_SMI) || (i & both) == both)
		return false;
	return !(i & BLOCKED_BY_STI) || e->r->rflags & RFLAGS_IF;
}

/* --- the list ------------------------------------------------------------------------------ */

static const struct regs_check_row rows[] = {
	{"cr0", cr0_ok, 0},
	{"efer", efer_ok, 0}, /* first: LMA decides what the others must be */
	{"cr4", cr4_ok, 0},
	{"cr3", cr3_ok, 0},
	{"dr7", dr7_ok, 0},
	{"dr6", dr6_ok, 0},
	{"pat", pat_ok, 0},
	{"sysenter_cs", sysenter_cs_ok, 0},
	{"sysenter_esp", sysenter_esp_ok, 0},
	{"sysenter_eip", sysenter_eip_ok, 0},
	{"lstar", lstar_ok, 0},
	{"cstar", cstar_ok, 0},
	{"fmask", fmask_ok, 0},
	{"kernel_gs_base", kernel_gs_base_ok, 0},
	{"tsc_aux", tsc_aux_ok, 0},
	{"tr.sel", tr_selector_ok, CORE_TR},
	{"ldtr.sel", ldtr_selector_ok, CORE_LDTR},
	{"ss.sel", ss_selector_ok, CORE_SS},
	{"tr.base", system_base_ok, CORE_TR},
	{"fs.base", base_ok, CORE_FS},
	{"gs.base", base_ok, CORE_GS},
	{"ldtr.base", system_base_ok, CORE_LDTR},
	{"cs.base", base_ok, CORE_CS},
	{"ss.base", base_ok, CORE_SS},
	{"ds.base", base_ok, CORE_DS},
	{"es.base", base_ok, CORE_ES},
	{"cs.limit", limit_ok, CORE_CS},
	{"ss.limit", limit_ok, CORE_SS},
	{"ds.limit", limit_ok, CORE_DS},
	{"es.limit", limit_ok, CORE_ES},
	{"fs.limit", limit_ok, CORE_FS},
	{"gs.limit", limit_ok, CORE_GS},
	{"cs.ar", cs_ar_ok, CORE_CS},
	{"ss.ar", ss_ar_ok, CORE_SS},
	{"ds.ar", data_ar_ok, CORE_DS},
	{"es.ar", data_ar_ok, CORE_ES},
	{"fs.ar", data_ar_ok, CORE_FS},
	{"gs.ar", data_ar_ok, CORE_GS},
	{"tr.ar", tr_ar_ok, CORE_TR},
	{"ldtr.ar", ldtr_ar_ok, CORE_LDTR},
	{"gdtr_base", gdtr_base_ok, 0},
	{"idtr_base", idtr_base_ok, 0},
	{"gdtr_limit", gdtr_limit_ok, 0},
	{"idtr_limit", idtr_limit_ok, 0},
	{"rip", rip_ok, 0},
	{"rflags", rflags_ok, 0},
	{"activity", activity_ok, 0},
	{"interruptibility", interruptibility_ok, 0},
};

int regs_check(const struct core_vm *vm, const struct core_regs *regs, uint32_t interruptibility,
	       const char **ret_field)
{
	const struct check_env env = {
		.vm = vm,
		.caps = &vm->core->caps,
		.r = regs,
		.interruptibility = interruptibility,
		.v8086 = regs->rflags & RFLAGS_VM && !(regs->efer & EFER_LMA),
		.ia32e = regs->efer & EFER_LMA,
		.beyond_maxphyaddr = ~(VMX_BIT(plat_maxphyaddr(vm->core->plat)) - 1),
	};

	for (size_t i = 0; i < VMX_ARRAY_SIZE(rows); i++) {
		if (rows[i].ok(&env, rows[i].seg))
			continue;
		if (ret_field != NULL)
			*ret_field = rows[i].field;
		return -EINVAL;
	}
	return 0;
}
