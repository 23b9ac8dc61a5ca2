// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Control-register accesses that exit: a write that would change a bit the host
 * owns, CR8, and CR3 where the processor insists.
 *
 * What the instruction would have checked, it is checked here; what it would have
 * invalidated, the next entry invalidates (flush_tlb).
 *
 * Source: SDM volume 2, "MOV -- Move to/from Control Registers"; volume 3, "Exit
 * Qualification for Control-Register Accesses".
 */
#include "core/vcpu_internal.h"
#include "core/vmcs.h"

/* Bits whose change makes PAE paging load its PDPTEs anew. */
#define CR0_LOADS_PDPTES (CR0_PG | CR0_CD | CR0_NW)
#define CR4_LOADS_PDPTES (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)
/* Bits whose change invalidates translations; more than the manual demands does no harm. */
#define CR0_INVALIDATES (CR0_PG | CR0_WP)
#define CR4_INVALIDATES (CR4_PAE | CR4_PGE | CR4_PSE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_LA57)

/* false: #GP(0), nothing changed. */
typedef bool (*cr_write_fn)(struct core_vcpu *v, uint64_t value);

static bool cs_is_64bit(struct core_vcpu *v)
{
	vcpu_need(v, REG_SEGMENTS | REG_EFER);
	return v->regs.efer & EFER_LMA && v->regs.seg[CORE_CS].ar & AR_L;
}

/* PAE paging goes on, or begins, with what CR3 points at now. */
static bool pdptes_loadable(struct core_vcpu *v, uint64_t cr0, uint64_t cr3, uint64_t cr4,
			    uint64_t efer)
{
	uint64_t pdptes[4];

	if (!paging_is_pae(cr0, cr4, efer))
		return true;
	if (vcpu_read_pdptes(v, cr3, pdptes) < 0)
		return false;
	v->load_pdptes = true;
	return true;
}

/* --- CR0 ----------------------------------------------------------------------------------- */

static bool cr0_combination_valid(struct core_vcpu *v, uint64_t value)
{
	const struct core_regs *r = &v->regs;
	bool pg = value & CR0_PG;

	if (value >> 32 != 0 || (pg && !(value & CR0_PE)) || (value & (CR0_CD | CR0_NW)) == CR0_NW)
		return false;
	/* Paging begins: IA-32e mode needs PAE, and compatibility mode to start from. */
	if (pg && !(r->cr0 & CR0_PG) && r->efer & EFER_LME &&
	    (!(r->cr4 & CR4_PAE) || r->seg[CORE_CS].ar & AR_L))
		return false;
	/* Paging ends: not in 64-bit mode, nor with PCIDs. */
	return pg || (!(r->cr4 & CR4_PCIDE) && !cs_is_64bit(v));
}

static bool write_cr0(struct core_vcpu *v, uint64_t value)
{
	struct core_regs *r = &v->regs;
	uint64_t efer, changed;

	vcpu_need(v, REG_CR | REG_EFER | REG_SEGMENTS);
	if (!cr0_combination_valid(v, value))
		return false;
	value = (value & CR0_DEFINED) | CR0_ET;
	changed = value ^ r->cr0;
	efer = r->efer & ~EFER_LMA;
	if (value & CR0_PG && efer & EFER_LME)
		efer |= EFER_LMA;
	if (changed & CR0_LOADS_PDPTES && !pdptes_loadable(v, value, r->cr3, r->cr4, efer))
		return false;
	if (changed & CR0_INVALIDATES)
		v->flush_tlb = true;
	if (efer != r->efer) {
		r->efer = efer;
		v->dirty |= REG_EFER;
	}
	r->cr0 = value;
	v->dirty |= REG_CR;
	return true;
}

/* --- CR3, CR4, CR8 ------------------------------------------------------------------------- */

static bool write_cr3(struct core_vcpu *v, uint64_t value)
{
	uint64_t reserved = ~(VMX_BIT(plat_maxphyaddr(v->vm->core->plat)) - 1);
	struct core_regs *r = &v->regs;
	bool keep = false;

	vcpu_need(v, REG_CR | REG_EFER);
	if (r->cr4 & CR4_PCIDE) {
		keep = value & CR3_NO_FLUSH;
		value &= ~CR3_NO_FLUSH;
	}
	if (!(r->efer & EFER_LMA))
		value &= UINT32_MAX;
	if (value & reserved)
		return false;
	if (!pdptes_loadable(v, r->cr0, value, r->cr4, r->efer))
		return false;
	if (!keep)
		v->flush_tlb = true;
	r->cr3 = value;
	v->dirty |= REG_CR;
	return true;
}

static bool write_cr4(struct core_vcpu *v, uint64_t value)
{
	struct core_regs *r = &v->regs;
	uint64_t changed;

	vcpu_need(v, REG_CR | REG_EFER);
	changed = value ^ r->cr4;
	if (value & ~v->vm->cr4_allowed)
		return false;
	if (r->efer & EFER_LMA && (!(value & CR4_PAE) || changed & CR4_LA57))
		return false;
	if (changed & value & CR4_PCIDE && (!(r->efer & EFER_LMA) || r->cr3 & CR3_PCID_MASK))
		return false;
	if (changed & CR4_LOADS_PDPTES && !pdptes_loadable(v, r->cr0, r->cr3, value, r->efer))
		return false;
	if (changed & CR4_INVALIDATES)
		v->flush_tlb = true;
	r->cr4 = value;
	v->dirty |= REG_CR;
	return true;
}

/* No local APIC behind it: a register of four bits that the guest's own code reads. */
static bool write_cr8(struct core_vcpu *v, uint64_t value)
{
	if (value > 15)
		return false;
	v->cr8 = (uint8_t)value;
	return true;
}

static const cr_write_fn cr_writes[16] = {
	[0] = write_cr0,
	[3] = write_cr3,
	[4] = write_cr4,
	[8] = write_cr8,
};

/* --- the four kinds of access -------------------------------------------------------------- */

/* false: #GP(0). */
typedef bool (*cr_access_fn)(struct core_vcpu *v, uint64_t qualification);

static unsigned gpr_of(uint64_t q)
{
	return q >> CRQ_GPR_SHIFT & CRQ_GPR_MASK;
}

static bool mov_to_cr(struct core_vcpu *v, uint64_t q)
{
	unsigned gpr = gpr_of(q);
	uint64_t value;

	vcpu_need(v, REG_RSP);
	value = gpr == HW_RSP ? v->regs.rsp : v->regs.gp.r[gpr];
	/* Outside 64-bit mode the operand has 32 bits. */
	if (!cs_is_64bit(v))
		value &= UINT32_MAX;
	return cr_writes[q & CRQ_NUMBER_MASK](v, value);
}

static bool mov_from_cr(struct core_vcpu *v, uint64_t q)
{
	unsigned gpr = gpr_of(q);
	uint64_t value;

	vcpu_need(v, REG_CR | REG_RSP);
	value = (q & CRQ_NUMBER_MASK) == 8 ? v->cr8 : v->regs.cr3;
	v->regs.gp.r[gpr] = value;
	if (gpr == HW_RSP) {
		v->regs.rsp = value;
		v->dirty |= REG_RSP;
	}
	return true;
}

static bool clts(struct core_vcpu *v, uint64_t q)
{
	(void)q;
	vcpu_need(v, REG_CR);
	v->regs.cr0 &= ~CR0_TS;
	v->dirty |= REG_CR;
	return true;
}

/* Changes bits 3:0 only, and can't clear PE. */
static bool lmsw(struct core_vcpu *v, uint64_t q)
{
	const uint64_t bits = CR0_PE | CR0_MP | CR0_EM | CR0_TS;

	vcpu_need(v, REG_CR);
	return write_cr0(v, (v->regs.cr0 & (~bits | CR0_PE)) | (q >> CRQ_LMSW_SOURCE_SHIFT & bits));
}

static const cr_access_fn cr_accesses[4] = {
	[CRQ_MOV_TO] = mov_to_cr,
	[CRQ_MOV_FROM] = mov_from_cr,
	[CRQ_CLTS] = clts,
	[CRQ_LMSW] = lmsw,
};

/* Without unrestricted guests, a guest that leaves protected mode or paging can't go on. */
static bool leaves_what_is_fixed(struct core_vcpu *v)
{
	return vm_cr0_fixed1(v->vm) & ~v->regs.cr0 & (CR0_PE | CR0_PG);
}

enum exit_step exit_cr_access(struct core_vcpu *v, struct core_run_exit *ret)
{
	uint64_t q = vcpu_vmread(v, VMCS_EXIT_QUALIFICATION);
	unsigned number = q & CRQ_NUMBER_MASK, type = q >> CRQ_TYPE_SHIFT & CRQ_TYPE_MASK;
	bool from = type == CRQ_MOV_FROM;

	/* Reads of CR0 and CR4 come from the shadows; of CR2, nobody asked. */
	if (from ? number != 3 && number != 8 : cr_writes[number] == NULL)
		return exit_return(ret, CORE_RUN_UNEXPECTED);
	if (!cr_accesses[type](v, q))
		return exit_raise_gp(v);
	if (number == 0 && leaves_what_is_fixed(v))
		return exit_return(ret, CORE_RUN_UNEXPECTED);
	vcpu_skip_instruction(v);
	return EXIT_RESUME;
}
