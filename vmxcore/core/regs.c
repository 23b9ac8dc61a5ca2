// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* States that a vCPU starts in. */
#include "core/vcpu.h"
#include "core/vcpu_internal.h"

#define AR_CODE_RA (AR_P | AR_S | AR_TYPE_CODE | AR_TYPE_READABLE | AR_TYPE_ACCESSED)
#define AR_DATA_WA (AR_P | AR_S | AR_TYPE_WRITABLE | AR_TYPE_ACCESSED)
#define FLAT_LIMIT UINT32_MAX

static void set_data_segments(struct core_regs *r, struct core_segment value)
{
	static const uint8_t data[] = {CORE_ES, CORE_SS, CORE_DS, CORE_FS, CORE_GS};

	for (size_t i = 0; i < VMX_ARRAY_SIZE(data); i++)
		r->seg[data[i]] = value;
}

/* What all starting states share. */
static void set_common(struct core_regs *r)
{
	memset(r, 0, sizeof(*r));
	r->rflags = RFLAGS_FIXED1;
	r->gp.dr6 = DR6_FIXED1;
	r->dr7 = DR7_FIXED1;
	r->pat = PAT_RESET;
	r->gdtr_limit = 0xffff;
	r->idtr_limit = 0xffff;
	r->seg[CORE_LDTR] = (struct core_segment){.limit = 0xffff, .ar = AR_P | AR_TYPE_LDT};
	r->seg[CORE_TR] = (struct core_segment){.limit = 0xffff, .ar = AR_P | AR_TYPE_TSS_BUSY};
}

void core_regs_reset(struct core_regs *ret)
{
	set_common(ret);
	ret->rip = 0xfff0;
	ret->cr0 = CR0_ET | CR0_CD | CR0_NW;
	ret->gp.r[HW_RDX] = 0x600; /* family 6 */
	ret->seg[CORE_CS] = (struct core_segment){
		.sel = 0xf000, .base = UINT32_C(0xffff0000), .limit = 0xffff, .ar = AR_CODE_RA};
	set_data_segments(ret, (struct core_segment){.limit = 0xffff, .ar = AR_DATA_WA});
}

/* Selectors as the customary flat GDT has them; there is none until the guest loads one. */
void core_regs_protected_flat(struct core_regs *ret, uint32_t entry)
{
	set_common(ret);
	ret->rip = entry;
	ret->cr0 = CR0_PE | CR0_ET;
	ret->seg[CORE_CS] = (struct core_segment){
		.sel = 0x08, .limit = FLAT_LIMIT, .ar = AR_CODE_RA | AR_DB | AR_G};
	set_data_segments(ret, (struct core_segment){.sel = 0x10,
						     .limit = FLAT_LIMIT,
						     .ar = AR_DATA_WA | AR_DB | AR_G});
}

void core_regs_long_mode(struct core_regs *ret, uint64_t entry, uint64_t cr3, uint64_t rsp)
{
	core_regs_protected_flat(ret, 0);
	ret->rip = entry;
	ret->rsp = rsp;
	ret->gp.r[HW_RSP] = rsp;
	ret->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	ret->cr3 = cr3;
	ret->cr4 = CR4_PAE;
	ret->efer = EFER_LME | EFER_LMA;
	ret->seg[CORE_CS].ar = AR_CODE_RA | AR_L | AR_G;
}
