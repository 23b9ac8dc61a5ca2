/* SPDX-License-Identifier: MIT */
#include "unit/test_model_rig.h"

#include <stdlib.h>

void test_model_set_rig(struct rig *r); /* test_model_x86.c */

static void on_misuse(void *ctx, enum model_misuse what, unsigned cpu, hpa_t vmcs)
{
	struct rig *r = ctx;

	(void)cpu;
	(void)vmcs;
	assert_int_equal(what, MODEL_VMCS_ACTIVE_ON_TWO);
	r->misuses++;
}

void rig_create(struct rig *r, const struct model_tlb_geometry *tlb, unsigned cpus)
{
	const struct plat_user_config plat = {.arena_bytes = VMX_SIZE_1G * 4, .cpus = cpus};
	struct model_config cfg = {.cpus = cpus, .tlb = tlb, .misuse = on_misuse, .ctx = r};
	uint64_t bytes;
	hpa_t at;

	*r = (struct rig){.next_table = 0x10000};
	assert_int_equal(plat_user_create(&plat, &r->plat), 0);
	assert_int_equal(plat_mem_create(r->plat, PLAT_MEM_ANON, RIG_RAM, -1, 0, &r->ram), 0);
	assert_int_equal(plat_mem_extent(r->ram, 0, RIG_RAM, &at, &bytes), 0);
	assert_true(bytes == RIG_RAM);
	r->ram_hpa = at.v;
	cfg.plat = r->plat;
	assert_int_equal(model_create(&cfg, &r->model), 0);
	test_model_set_rig(r);
	for (unsigned i = 0; i < cpus; i++) {
		struct hw_cpu *cpu = model_cpu(r->model, i);

		assert_int_equal(hw_set_vmxe(cpu, true), 0);
		assert_int_equal(hw_vmxon(cpu, hpa(rig_vmcs_region(r))), HW_SUCCEED);
	}
	r->cpu = model_cpu(r->model, 0);
	model_cpu_set_account(r->cpu, &r->account);
}

void rig_destroy(struct rig *r)
{
	model_destroy(r->model);
	for (unsigned i = 0; i < r->page_count; i++)
		plat_page_free(r->plat, plat_hpa_ptr(r->plat, r->pages[i]), r->pages[i]);
	plat_mem_destroy(r->plat, r->ram);
	assert_int_equal(plat_user_destroy(r->plat), 0);
}

uint64_t rig_page(struct rig *r)
{
	assert_true(r->page_count < VMX_ARRAY_SIZE(r->pages));
	assert_non_null(plat_page_alloc(r->plat, &r->pages[r->page_count]));
	return r->pages[r->page_count++].v;
}

uint64_t *rig_ptr(struct rig *r, uint64_t addr)
{
	uint64_t *p = plat_hpa_ptr(r->plat, hpa(addr));

	assert_non_null(p);
	return p;
}

uint64_t *rig_gpa_ptr(struct rig *r, uint64_t addr)
{
	return rig_ptr(r, r->ram_hpa + addr);
}

uint64_t rig_vmcs_region(struct rig *r)
{
	uint64_t at = rig_page(r);

	*(uint32_t *)rig_ptr(r, at) = MODEL_VMCS_REVISION;
	return at;
}

/* --- EPT -------------------------------------------------------------------------- */

static unsigned leaf_level(uint64_t size)
{
	return size == VMX_SIZE_1G ? 3 : size == VMX_SIZE_2M ? 2 : 1;
}

uint64_t *rig_ept_entry(struct rig *r, uint64_t eptp, uint64_t gpa_addr, unsigned level)
{
	uint64_t table = eptp & EPT_ADDR_MASK;

	for (unsigned l = 4;; l--) {
		uint64_t *e = rig_ptr(r, table + (gpa_addr >> (12 + 9 * (l - 1)) & 0x1ff) * 8);

		if (l == level)
			return e;
		if (!(*e & EPT_RWX))
			*e = rig_page(r) | EPT_RWX;
		table = *e & EPT_ADDR_MASK;
	}
}

uint64_t *rig_ept_map(struct rig *r, uint64_t eptp, uint64_t gpa_addr, uint64_t hpa_addr,
		      uint64_t size, uint64_t flags)
{
	uint64_t *e = rig_ept_entry(r, eptp, gpa_addr, leaf_level(size));

	*e = hpa_addr | flags | (uint64_t)MEMTYPE_WB << EPT_MEMTYPE_SHIFT |
	     (size > VMX_SIZE_4K ? EPT_LARGE : 0);
	return e;
}

uint64_t rig_ept(struct rig *r, uint64_t size, uint64_t flags)
{
	uint64_t eptp = rig_page(r) | MEMTYPE_WB | 3u << EPTP_WALK_SHIFT | flags;
	/* With 4 KiB leaves the first 32 MiB and a window at 512 MiB will do. */
	uint64_t end = size == VMX_SIZE_4K ? VMX_SIZE_2M * 16 : RIG_RAM;

	for (uint64_t at = 0; at < end; at += size)
		rig_ept_map(r, eptp, at, r->ram_hpa + at, size, EPT_RWX);
	return eptp;
}

/* --- guest tables ----------------------------------------------------------------- */

uint64_t rig_cr3(struct rig *r)
{
	uint64_t at = r->next_table;

	r->next_table += VMX_PAGE_SIZE;
	memset(rig_gpa_ptr(r, at), 0, VMX_PAGE_SIZE);
	return at;
}

uint64_t *rig_entry(struct rig *r, uint64_t cr3, uint64_t linear, unsigned level)
{
	uint64_t table = cr3 & PTE_ADDR_MASK;

	for (unsigned l = 4;; l--) {
		uint64_t *e = rig_gpa_ptr(r, table + (linear >> (12 + 9 * (l - 1)) & 0x1ff) * 8);

		if (l == level)
			return e;
		if (!(*e & PTE_P))
			*e = rig_cr3(r) | PTE_P | PTE_W | PTE_U;
		table = *e & PTE_ADDR_MASK;
	}
}

uint64_t *rig_map(struct rig *r, uint64_t cr3, uint64_t linear, uint64_t gpa_addr, uint64_t size,
		  uint64_t flags)
{
	uint64_t *e = rig_entry(r, cr3, linear, leaf_level(size));

	*e = gpa_addr | flags | (size > VMX_SIZE_4K ? PTE_PS : 0);
	return e;
}

/* --- VMCS ------------------------------------------------------------------------- */

void rig_set(struct rig *r, uint32_t field, uint64_t value)
{
	assert_int_equal(hw_vmwrite(r->cpu, field, value), HW_SUCCEED);
}

uint64_t rig_get(struct rig *r, uint32_t field)
{
	uint64_t value;

	assert_int_equal(hw_vmread(r->cpu, field, &value), HW_SUCCEED);
	return value;
}

void rig_set_bits(struct rig *r, uint32_t field, uint64_t set, uint64_t clear)
{
	rig_set(r, field, (rig_get(r, field) | set) & ~clear);
}

struct field_value {
	uint32_t field;
	uint64_t value;
};

static const struct field_value defaults[] = {
	{VMCS_PIN_CONTROLS, 0x16 | PIN_EXTERNAL_INTERRUPT},
	{VMCS_PROC_CONTROLS, 0x04006172 | PROC_SECONDARY_CONTROLS},
	{VMCS_EXIT_CONTROLS, 0x00036dfb | VMEXIT_HOST_64 | VMEXIT_SAVE_EFER | VMEXIT_LOAD_EFER},
	{VMCS_ENTRY_CONTROLS, 0x000011fb | VMENTRY_IA32E_GUEST | VMENTRY_LOAD_EFER},
	{VMCS_VMCS_LINK_POINTER, VMCS_LINK_NONE},
	{VMCS_GUEST_CR0, CR0_PE | CR0_ET | CR0_NE | CR0_WP | CR0_PG},
	{VMCS_GUEST_CR4, CR4_PAE | CR4_PGE | CR4_VMXE},
	{VMCS_GUEST_EFER, EFER_LME | EFER_LMA | EFER_NXE},
	{VMCS_GUEST_RFLAGS, RFLAGS_FIXED1},
	{VMCS_GUEST_RIP, 0x100000},
	{VMCS_GUEST_DR7, DR7_FIXED1},
	{VMCS_GUEST_CS_AR, 0xa09b},
	{VMCS_GUEST_CS_SELECTOR, 8},
	{VMCS_GUEST_CS_LIMIT, UINT32_MAX},
	{VMCS_GUEST_SS_AR, 0xc093},
	{VMCS_GUEST_SS_LIMIT, UINT32_MAX},
	{VMCS_GUEST_DS_AR, AR_UNUSABLE},
	{VMCS_GUEST_ES_AR, AR_UNUSABLE},
	{VMCS_GUEST_FS_AR, AR_UNUSABLE},
	{VMCS_GUEST_GS_AR, AR_UNUSABLE},
	{VMCS_GUEST_LDTR_AR, AR_UNUSABLE},
	{VMCS_GUEST_TR_AR, 0x8b},
	{VMCS_GUEST_TR_SELECTOR, 0x40},
	{VMCS_GUEST_TR_LIMIT, 0x67},
	{VMCS_HOST_CR0, CR0_PE | CR0_ET | CR0_NE | CR0_WP | CR0_PG},
	{VMCS_HOST_CR4, CR4_PAE | CR4_VMXE},
	{VMCS_HOST_CR3, 0x2000},
	{VMCS_HOST_EFER, EFER_LME | EFER_LMA},
	{VMCS_HOST_CS_SELECTOR, 0x10},
	{VMCS_HOST_TR_SELECTOR, 0x40},
};

void rig_vmcs(struct rig *r, uint16_t vpid, uint64_t eptp, uint64_t cr3)
{
	uint64_t at = rig_vmcs_region(r);

	assert_int_equal(hw_vmclear(r->cpu, hpa(at)), HW_SUCCEED);
	assert_int_equal(hw_vmptrld(r->cpu, hpa(at)), HW_SUCCEED);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(defaults); i++)
		rig_set(r, defaults[i].field, defaults[i].value);
	rig_set(r, VMCS_GUEST_CR3, cr3);
	rig_set(r, VMCS_VPID, vpid);
	rig_set(r, VMCS_EPT_POINTER, eptp);
	rig_set(r, VMCS_PROC_CONTROLS_2,
		(vpid ? PROC2_VPID : 0) | (eptp ? PROC2_EPT | PROC2_UNRESTRICTED : 0) |
			PROC2_INVPCID | PROC2_RDTSCP);
}

/* --- running ---------------------------------------------------------------------- */

unsigned rig_run(struct rig *r, struct step *steps, size_t count)
{
	bool launch = !r->cpu->current->launched;
	enum hw_result result;

	r->steps = steps;
	r->step_count = count;
	r->step_next = 0;
	result = hw_enter(r->cpu, &r->regs, launch);
	if (result != HW_SUCCEED)
		fail_msg("entry failed: %d error %u %s", result,
			 (unsigned)rig_get(r, VMCS_INSTRUCTION_ERROR),
			 model_entry_refused(r->cpu) ? model_entry_refused(r->cpu) : "");
	if (rig_get(r, VMCS_EXIT_REASON) & EXIT_REASON_ENTRY_FAILURE)
		fail_msg("entry failed late: %s", model_entry_refused(r->cpu));
	return (unsigned)rig_get(r, VMCS_EXIT_REASON);
}

struct step rig_step(struct rig *r, struct step s)
{
	unsigned reason = rig_run(r, &s, 1);

	assert_true(s.ran);
	if (s.result != X86_EXIT)
		assert_int_equal(reason, EXIT_VMCALL);
	return s;
}

struct step rig_read(struct rig *r, uint64_t linear)
{
	return rig_step(r, (struct step){.kind = STEP_READ, .linear = linear});
}

struct step rig_write(struct rig *r, uint64_t linear)
{
	return rig_step(r, (struct step){.kind = STEP_WRITE, .linear = linear});
}

struct step rig_fetch(struct rig *r, uint64_t linear)
{
	return rig_step(r, (struct step){.kind = STEP_FETCH, .linear = linear});
}

struct step rig_special(struct rig *r, enum x86_special what, struct x86_special_info info)
{
	return rig_step(r, (struct step){.kind = STEP_SPECIAL, .what = what, .info = info});
}

void rig_check_balance(struct rig *r)
{
	const struct model_account *a = &r->account;
	uint64_t gone = a->evicted_own + a->evicted_by_others + a->dropped_transition +
			a->dropped_mov_cr3 + a->dropped_mov_cr0_cr4 + a->dropped_invlpg +
			a->dropped_invpcid + a->dropped_page_fault + a->dropped_ept_violation +
			a->dropped_invept_single + a->dropped_invept_all + a->dropped_invvpid;
	uint64_t held = 0;

	for (unsigned i = 0; i < r->model->cpus; i++) {
		for (unsigned id = 0; id <= TLB_L2_1G; id++) {
			const struct tlb_array *t = &r->model->cpu[i]->tlb.array[id];

			for (uint32_t n = 0; n < t->count; n++)
				held += t->key[n] != 0 && t->entry[n].owner == a;
		}
	}
	assert_int_equal(a->fills, gone + held);
	assert_int_equal(a->fetch_lookups, a->fetch_hits_l1 + a->fetch_hits_l2 + a->fetch_misses);
	assert_int_equal(a->data_lookups, a->data_hits_l1 + a->data_hits_l2 + a->data_misses);
	assert_int_equal(a->walks, a->fetch_misses + a->data_misses);
}
