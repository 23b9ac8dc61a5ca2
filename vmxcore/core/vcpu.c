// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A vCPU's life, and what others see of it while it doesn't run. */
#include "core/vcpu.h"
#include "core/msr.h"
#include "core/vcpu_internal.h"

int core_vcpu_create(struct core_vm *vm, uint32_t index, struct core_vcpu **ret)
{
	struct core_vcpu *v;
	uint32_t *region;
	int err;

	v = plat_calloc(1, sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	v->vm = vm;
	v->index = index;
	v->active_cpu = -1;
	region = plat_page_alloc(vm->core->plat, &v->vmcs);
	if (region == NULL) {
		err = -ENOMEM;
		goto fail;
	}
	/* "Format of the VMCS Region": revision in 30:0, bit 31 clear: not a shadow VMCS. */
	region[0] = vm->core->caps.vmcs_revision;
	v->vmcs_page = region;
	err = msr_list_alloc(vm, v);
	if (err < 0)
		goto fail_page;
	core_regs_reset(&v->regs);
	v->have = REG_ALL;
	*ret = v;
	return 0;

fail_page:
	plat_page_free(vm->core->plat, v->vmcs_page, v->vmcs);
fail:
	plat_free(v);
	return err;
}

void core_vcpu_destroy(struct core_vcpu *v)
{
	msr_list_free(v->vm, v);
	plat_page_free(v->vm->core->plat, v->vmcs_page, v->vmcs);
	plat_free(v);
}

int core_vcpu_active_cpu(const struct core_vcpu *v)
{
	return plat_load_acquire(&v->active_cpu);
}

struct core_vm *core_vcpu_vm(struct core_vcpu *v)
{
	return v->vm;
}

uint32_t core_vcpu_index(const struct core_vcpu *v)
{
	return v->index;
}

/* --- registers -------------------------------------------------------------------------------- */

void core_vcpu_get_regs(const struct core_vcpu *v, struct core_regs *ret)
{
	*ret = v->regs;
	ret->gp.r[HW_RSP] = v->regs.rsp;
}

static bool paging_differs(const struct core_regs *a, const struct core_regs *b)
{
	return a->cr0 != b->cr0 || a->cr3 != b->cr3 || a->cr4 != b->cr4 || a->efer != b->efer;
}

/* regs have passed the checks. */
static void take_regs(struct core_vcpu *v, const struct core_regs *regs, uint32_t interruptibility)
{
	if (paging_differs(&v->regs, regs)) {
		v->flush_tlb = true;
		v->load_pdptes = true;
	}
	v->regs = *regs;
	v->regs.gp.r[HW_RSP] = regs->rsp;
	v->regs.cr0 |= CR0_ET; /* always reads as 1 */
	v->regs.interruptibility = interruptibility;
	v->have = REG_ALL;
	v->dirty = REG_ALL;
}

int core_vcpu_set_regs(struct core_vcpu *v, const struct core_regs *regs, const char **ret_field)
{
	int err = regs_check(v->vm, regs, regs->interruptibility, ret_field);

	if (err < 0)
		return err;
	take_regs(v, regs, regs->interruptibility);
	return 0;
}

int core_vcpu_complete_emulation(struct core_vcpu *v, const struct core_regs *regs)
{
	uint32_t open = regs->interruptibility & ~(BLOCKED_BY_STI | BLOCKED_BY_MOV_SS);
	bool stepped = v->regs.rflags & RFLAGS_TF;
	int err = regs_check(v->vm, regs, open, NULL);

	if (err < 0)
		return err;
	take_regs(v, regs, open);
	v->step_trap = v->step_trap || stepped;
	return 0;
}

void core_vcpu_paging_state(const struct core_vcpu *v, struct core_paging_state *ret)
{
	const struct core_regs *r = &v->regs;

	*ret = (struct core_paging_state){
		.cr0 = r->cr0,
		.cr3 = r->cr3,
		.cr4 = r->cr4,
		.efer = r->efer,
		.user = (r->seg[CORE_SS].ar >> AR_DPL_SHIFT & AR_DPL_MASK) == 3,
		.smap_off = r->rflags & RFLAGS_AC,
	};
}

/* --- completing an instruction ------------------------------------------------------------- */

/*
 * The end of an instruction that software completed: the shadow of STI and MOV SS
 * ends with it, RF is cleared, and TF makes a single-step trap due.
 */
void vcpu_advance(struct core_vcpu *v, uint32_t length)
{
	struct core_regs *r = &v->regs;
	const uint32_t shadow = BLOCKED_BY_STI | BLOCKED_BY_MOV_SS;
	uint64_t from;

	vcpu_need(v, REG_RIP | REG_RFLAGS | REG_INTERRUPTIBILITY);
	from = r->rip;
	r->rip += length;
	if ((from ^ r->rip) >> 32 != 0) {
		/* Outside 64-bit mode EIP wraps. */
		vcpu_need(v, REG_SEGMENTS | REG_EFER);
		if (!(r->efer & EFER_LMA && r->seg[CORE_CS].ar & AR_L))
			r->rip &= UINT32_MAX;
	}
	v->dirty |= REG_RIP;
	if (r->interruptibility & shadow) {
		r->interruptibility &= ~shadow;
		v->dirty |= REG_INTERRUPTIBILITY;
	}
	if (r->rflags & RFLAGS_RF) {
		r->rflags &= ~RFLAGS_RF;
		v->dirty |= REG_RFLAGS;
	}
	if (r->rflags & RFLAGS_TF)
		v->step_trap = true;
}

/* IN merges its value as the operand size has it: 32 bits clear the upper half. */
void core_vcpu_complete_io(struct core_vcpu *v, uint32_t value)
{
	uint64_t *rax = &v->regs.gp.r[HW_RAX];

	if (v->io.size == 0)
		return;
	if (v->io.in && v->io.size == 4) {
		*rax = value;
	} else if (v->io.in) {
		uint64_t mask = VMX_BIT(8 * v->io.size) - 1;

		*rax = (*rax & ~mask) | (value & mask);
	}
	vcpu_advance(v, v->io.insn_length);
	v->io.size = 0;
}

/* --- statistics ---------------------------------------------------------------------------- */

struct core_stats *core_vcpu_stats(struct core_vcpu *v)
{
	return &v->stats;
}

uint64_t core_vcpu_exit_count(const struct core_vcpu *v, uint32_t basic_reason)
{
	return basic_reason < VMX_EXIT_REASONS ? plat_load(&v->exits[basic_reason]) : 0;
}

/* A reader that finds the count odd, or moved, has not seen one tag: it looks again. */
void vcpu_set_tag(struct core_vcpu *v, const struct core_vpid *tag)
{
	uint32_t moves = v->tag_moves;

	plat_store(&v->tag_moves, moves + 1);
	plat_store_release(&v->tag.generation, tag->generation);
	plat_store_release(&v->tag.cpu, tag->cpu);
	plat_store_release(&v->tag.vpid, tag->vpid);
	plat_store_release(&v->tag_moves, moves + 2);
}

struct core_vpid core_vcpu_vpid(const struct core_vcpu *v, bool *ret_valid)
{
	const struct core *core = v->vm->core;
	struct core_vpid tag;
	uint32_t moves;

	for (;;) {
		moves = plat_load_acquire(&v->tag_moves);
		tag.generation = plat_load_acquire(&v->tag.generation);
		tag.cpu = plat_load_acquire(&v->tag.cpu);
		tag.vpid = plat_load_acquire(&v->tag.vpid);
		if (!(moves & 1) && plat_load(&v->tag_moves) == moves)
			break;
		plat_cpu_relax();
	}
	*ret_valid = core_vpid_valid(&core->cpus[tag.cpu], &tag);
	return tag;
}
