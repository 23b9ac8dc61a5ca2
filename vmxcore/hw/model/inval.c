/* SPDX-License-Identifier: MIT */
/*
 * What invalidates what: each function is one row of the manual's lists, and drops
 * exactly that (SDM volume 3, "Operations that Invalidate Cached Mappings",
 * "Operations that Invalidate TLBs and Paging-Structure Caches"). Guest operations
 * act on the current VPID and, for combined mappings, under every EP4TA.
 *
 * Where the manual allows more to go than it demands, the least goes, except that
 *  - an EPT violation on a guest paging structure drops the combined mappings of the
 *    linear address as one on the page itself does, so that a permission added without
 *    INVEPT is seen by the next try;
 *  - a page fault and an EPT violation drop global translations of the address that were
 *    made under another PCID, for the next try would find them again.
 */
#include "hw/model/processor.h"

#define DROPPED(name) offsetof(struct model_account, dropped_##name)

/* Everything that guest operations can mean by "this VPID". */
static struct tlb_select this_vpid(const struct hw_cpu *cpu)
{
	return (struct tlb_select){
		.arrays = TLB_LINEAR_ARRAYS,
		.by_vpid = true,
		.vpid = cpu->mmu.tags.vpid,
	};
}

void tlb_drop_transition(struct hw_cpu *cpu)
{
	const struct tlb_select sel = {.arrays = TLB_LINEAR_ARRAYS, .by_vpid = true, .vpid = 0};

	cpu->account->ops_transition++;
	tlb_drop(&cpu->tlb, &sel, DROPPED(transition));
}

void tlb_drop_mov_cr3(struct hw_cpu *cpu, uint64_t source)
{
	struct tlb_select sel = this_vpid(cpu);
	bool pcide = (cpu->st->cr4 & CR4_PCIDE) != 0;

	cpu->account->ops_mov_cr3++;
	if (pcide && (source & CR3_NO_FLUSH))
		return;
	sel.by_pcid = true;
	sel.pcid = pcide ? (uint16_t)(source & CR3_PCID_MASK) : 0;
	sel.keep_global = true;
	tlb_drop(&cpu->tlb, &sel, DROPPED(mov_cr3));
}

void tlb_drop_mov_cr0(struct hw_cpu *cpu, uint64_t old, uint64_t value)
{
	struct tlb_select sel = this_vpid(cpu);

	if (!(old & ~value & CR0_PG))
		return;
	cpu->account->ops_mov_cr0_cr4++;
	tlb_drop(&cpu->tlb, &sel, DROPPED(mov_cr0_cr4));
}

void tlb_drop_mov_cr4(struct hw_cpu *cpu, uint64_t old, uint64_t value)
{
	struct tlb_select sel = this_vpid(cpu);
	uint64_t changed = old ^ value;
	bool whole = (changed & CR4_PGE) || (old & ~value & CR4_PCIDE);
	bool pcid = (changed & CR4_PAE) || (value & ~old & CR4_SMEP);

	if (!whole && !pcid)
		return;
	cpu->account->ops_mov_cr0_cr4++;
	if (!whole) {
		sel.by_pcid = true;
		sel.pcid = cpu->mmu.tags.pcid;
	}
	tlb_drop(&cpu->tlb, &sel, DROPPED(mov_cr0_cr4));
}

void tlb_drop_invlpg(struct hw_cpu *cpu, uint64_t linear)
{
	struct tlb_select sel = this_vpid(cpu);

	cpu->account->ops_invlpg++;
	sel.by_pcid = true;
	sel.pcid = cpu->mmu.tags.pcid;
	sel.arrays = TLB_PSC_ARRAYS;
	tlb_drop(&cpu->tlb, &sel, DROPPED(invlpg));
	sel.arrays = TLB_LEAF_ARRAYS;
	sel.pcid_or_global = true;
	sel.by_address = true;
	sel.address = linear;
	tlb_drop(&cpu->tlb, &sel, DROPPED(invlpg));
}

void tlb_drop_invpcid(struct hw_cpu *cpu, uint64_t type, uint16_t pcid, uint64_t linear)
{
	struct tlb_select sel = this_vpid(cpu);

	cpu->account->ops_invpcid++;
	sel.by_pcid = type <= 1;
	sel.pcid = pcid;
	sel.keep_global = type != 2;
	sel.by_address = type == 0;
	sel.address = linear;
	tlb_drop(&cpu->tlb, &sel, DROPPED(invpcid));
}

void tlb_drop_page_fault(struct hw_cpu *cpu, uint64_t linear)
{
	struct tlb_select sel = this_vpid(cpu);

	cpu->account->ops_page_fault++;
	sel.by_pcid = true;
	sel.pcid = cpu->mmu.tags.pcid;
	sel.pcid_or_global = true;
	sel.by_address = true;
	sel.address = linear;
	tlb_drop(&cpu->tlb, &sel, DROPPED(page_fault));
}

void tlb_drop_ept_violation(struct hw_cpu *cpu, uint64_t gpa_addr, bool linear_valid,
			    uint64_t linear)
{
	struct tlb_select sel = {
		.arrays = TLB_GPA_ARRAYS,
		.by_space = true,
		.space = cpu->mmu.space,
		.by_address = true,
		.address = gpa_addr,
	};

	cpu->account->ops_ept_violation++;
	tlb_drop(&cpu->tlb, &sel, DROPPED(ept_violation));
	if (!linear_valid)
		return;
	sel = this_vpid(cpu);
	sel.by_space = true;
	sel.space = cpu->mmu.space;
	sel.by_pcid = true;
	sel.pcid = cpu->mmu.tags.pcid;
	sel.pcid_or_global = true;
	sel.by_address = true;
	sel.address = linear;
	tlb_drop(&cpu->tlb, &sel, DROPPED(ept_violation));
}

void tlb_drop_invept(struct hw_cpu *cpu, uint64_t type, uint64_t eptp)
{
	bool single = type == HW_INVEPT_SINGLE;
	uint64_t space = (eptp & EPT_ADDR_MASK) | TLB_SPACE_EPT;
	const struct tlb_select sel = {
		.arrays = TLB_LINEAR_ARRAYS | TLB_GPA_ARRAYS,
		.combined = true,
		.by_space = single,
		.space = space,
	};

	account_count_invept(cpu, single, space);
	tlb_drop(&cpu->tlb, &sel, single ? DROPPED(invept_single) : DROPPED(invept_all));
}

void tlb_drop_invvpid(struct hw_cpu *cpu, uint64_t type, uint16_t vpid, uint64_t linear)
{
	const struct tlb_select sel = {
		.arrays = TLB_LINEAR_ARRAYS,
		.by_vpid = type != HW_INVVPID_ALL,
		.vpid = vpid,
		.by_nonzero_vpid = type == HW_INVVPID_ALL,
		.keep_global = type == HW_INVVPID_SINGLE_KEEP_GLOBAL,
		.by_address = type == HW_INVVPID_ADDRESS,
		.address = linear,
	};

	account_count_invvpid(cpu, type == HW_INVVPID_ALL, vpid);
	tlb_drop(&cpu->tlb, &sel, DROPPED(invvpid));
}
