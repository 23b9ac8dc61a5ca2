/* SPDX-License-Identifier: MIT */
/* The processors of a machine: creation, root-mode state, memory, and looking in. */
#include "hw/model/processor.h"

#include <stdlib.h>

/* --- memory ----------------------------------------------------------------------- */

uint64_t mem_read64(const struct hw_cpu *cpu, uint64_t addr)
{
	const uint64_t *p = mem_ptr(cpu, addr);

	return p ? plat_load(p) : UINT64_MAX;
}

uint32_t mem_read32(const struct hw_cpu *cpu, uint64_t addr)
{
	const uint32_t *p = mem_ptr(cpu, addr);

	return p ? plat_load(p) : UINT32_MAX;
}

uint8_t mem_read8(const struct hw_cpu *cpu, uint64_t addr)
{
	const uint8_t *p = mem_ptr(cpu, addr);

	return p ? plat_load(p) : UINT8_MAX;
}

void mem_write64(struct hw_cpu *cpu, uint64_t addr, uint64_t value)
{
	uint64_t *p = mem_ptr(cpu, addr);

	if (!p)
		return;
	plat_store(p, value);
	x86_code_invalidate(cpu->model->code, addr, sizeof(value));
}

/* The executor asks here for addresses that no memory answers. */
static enum x86_result mmio(void *env, uint64_t addr, void *buf, unsigned size, bool write)
{
	(void)env;
	(void)addr;
	if (!write)
		memset(buf, 0xff, size);
	return X86_OK;
}

/* --- life ------------------------------------------------------------------------- */

static const struct x86_ops x86_ops = {
	.translate = mmu_translate,
	.mmio = mmio,
	.special = special,
	.unimplemented = account_unimplemented,
	.attention = run_attention,
};

/* A 64-bit host, as its own kernel would have left the processor. */
static void host_init(struct hw_cpu *cpu)
{
	cpu->host = (struct host_regs){
		.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG,
		.cr3 = 0x1000,
		.cr4 = (CR4_PAE | CR4_PGE) & cpu->model->features.cr4_allowed,
		.efer = EFER_SCE | EFER_LME | EFER_LMA | (cpu->model->features.nx ? EFER_NXE : 0),
		.pat = PAT_RESET,
		.cs = 0x10,
		.ss = 0x18,
		.tr = 0x40,
		.gs_base = UINT64_C(0xffff888000000000) + 0x10000 * cpu->id,
		.tr_base = UINT64_C(0xfffffe0000003000) + 0x10000 * cpu->id,
		.gdtr_base = UINT64_C(0xfffffe0000001000) + 0x10000 * cpu->id,
		.idtr_base = UINT64_C(0xfffffe0000000000),
		.sysenter_cs = 0x10,
		.sysenter_esp = UINT64_C(0xfffffe0000003200) + 0x10000 * cpu->id,
		.sysenter_eip = UINT64_C(0xffffffff81000000),
		.rip = UINT64_C(0xffffffff81000100),
		.rsp = UINT64_C(0xffffc90000004000) + 0x10000 * cpu->id,
	};
}

static void cpu_delete(struct hw_cpu *cpu)
{
	if (!cpu)
		return;
	account_fini(cpu);
	vmcs_table_fini(&cpu->vmcs);
	tlb_fini(&cpu->tlb);
	x86_cpu_delete(cpu->x86);
	free(cpu);
}

static int cpu_new(struct model *m, unsigned id, struct hw_cpu **ret)
{
	struct hw_cpu *cpu = calloc(1, sizeof(*cpu));
	int rc = -ENOMEM;

	if (!cpu)
		return -ENOMEM;
	cpu->model = m;
	cpu->id = id;
	cpu->account = &cpu->own;
	cpu->x86 = x86_cpu_new(&x86_ops, cpu, m->code);
	if (!cpu->x86)
		goto fail;
	cpu->st = x86_state(cpu->x86);
	rc = tlb_init(&cpu->tlb, &m->geometry, cpu->x86);
	if (rc)
		goto fail;
	cpu->feature_control = FEATURE_CONTROL_LOCKED | FEATURE_CONTROL_VMX;
	host_init(cpu);
	*ret = cpu;
	return 0;

fail:
	if (cpu->x86)
		x86_cpu_delete(cpu->x86);
	free(cpu);
	return rc;
}

int model_create(const struct model_config *cfg, struct model **ret)
{
	struct model *m;
	int rc = -ENOMEM;

	if (!cfg->plat || cfg->cpus < 1 || cfg->cpus > MODEL_MAX_CPUS)
		return -EINVAL;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->plat = cfg->plat;
	m->geometry = cfg->tlb ? *cfg->tlb : model_tlb_skylake;
	m->misuse = cfg->misuse;
	m->ctx = cfg->ctx;
	features_read(&m->features);
	if (!cfg->unheard_writes) {
		m->code = x86_code_new(plat_user_arena_bytes(cfg->plat) >> VMX_PAGE_SHIFT);
		if (!m->code)
			goto fail;
	}
	for (; m->cpus < cfg->cpus; m->cpus++) {
		rc = cpu_new(m, m->cpus, &m->cpu[m->cpus]);
		if (rc)
			goto fail;
	}
	*ret = m;
	return 0;

fail:
	model_destroy(m);
	return rc;
}

void model_destroy(struct model *m)
{
	if (!m)
		return;
	for (unsigned i = 0; i < m->cpus; i++)
		cpu_delete(m->cpu[i]);
	if (m->code)
		x86_code_delete(m->code);
	free(m);
}

struct hw_cpu *model_cpu(struct model *m, unsigned cpu)
{
	return cpu < m->cpus ? m->cpu[cpu] : NULL;
}

void model_cpu_kick(struct model *m, unsigned cpu)
{
	if (cpu < m->cpus)
		plat_store_release(&m->cpu[cpu]->kicked, 1);
}

void model_memory_written(struct model *m, hpa_t addr, uint64_t size)
{
	x86_code_invalidate(m->code, addr.v, size);
}

void model_memory_removed(struct model *m, hpa_t addr, uint64_t size)
{
	x86_code_invalidate(m->code, addr.v, size);
	for (unsigned i = 0; i < m->cpus; i++)
		x86_front_flush(m->cpu[i]->x86);
}

uint64_t model_cpu_time(struct hw_cpu *cpu)
{
	return cpu_time(cpu);
}

void model_cpu_advance_time(struct hw_cpu *cpu, uint64_t ticks)
{
	cpu->time_jumps += ticks;
}

/* --- root mode -------------------------------------------------------------------- */

int hw_rdmsr(struct hw_cpu *cpu, uint32_t msr, uint64_t *ret_value)
{
	return msr_read_root(cpu, msr, ret_value);
}

int hw_wrmsr(struct hw_cpu *cpu, uint32_t msr, uint64_t value)
{
	return msr_write_root(cpu, msr, value);
}

void hw_read_host_state(struct hw_cpu *cpu, struct hw_host_state *ret)
{
	const struct host_regs *h = &cpu->host;

	*ret = (struct hw_host_state){
		.cr0 = h->cr0,
		.cr3 = h->cr3,
		.cr4 = h->cr4,
		.es = h->es,
		.cs = h->cs,
		.ss = h->ss,
		.ds = h->ds,
		.fs = h->fs,
		.gs = h->gs,
		.tr = h->tr,
		.fs_base = h->fs_base,
		.gs_base = h->gs_base,
		.tr_base = h->tr_base,
		.gdtr_base = h->gdtr_base,
		.idtr_base = h->idtr_base,
		.sysenter_cs = h->sysenter_cs,
		.sysenter_esp = h->sysenter_esp,
		.sysenter_eip = h->sysenter_eip,
		.pat = h->pat,
		.efer = h->efer,
	};
}

/* CR4.VMXE is fixed to 1 in VMX operation: clearing it there is #GP(0). */
int hw_set_vmxe(struct hw_cpu *cpu, bool on)
{
	if (on) {
		cpu->host.cr4 |= CR4_VMXE;
		return 0;
	}
	if (cpu->vmx_on)
		return -EIO;
	cpu->host.cr4 &= ~CR4_VMXE;
	return 0;
}

void hw_after_exit(struct hw_cpu *cpu)
{
	(void)cpu;
}

/* --- looking without touching ----------------------------------------------------- */

static bool listed(const struct tlb_array *a, unsigned id, uint32_t i, int vpid)
{
	if (a->key[i] == 0)
		return false;
	/* Guest-physical mappings have no VPID. */
	return vpid < 0 || (id != TLB_GPA && a->entry[i].vpid == vpid);
}

size_t model_tlb_list(struct hw_cpu *cpu, int vpid, size_t skip, struct model_tlb_entry *ret,
		      size_t max)
{
	size_t match = 0, copied = 0;

	for (unsigned id = 0; id < TLB_ARRAYS; id++) {
		const struct tlb_array *a = &cpu->tlb.array[id];

		for (uint32_t i = 0; i < a->count; i++) {
			if (!listed(a, id, i, vpid))
				continue;
			if (match++ >= skip && copied < max)
				tlb_describe(&cpu->tlb, (enum tlb_array_id)id, i, &ret[copied++]);
		}
	}
	return match;
}

const struct model_tlb_geometry *model_geometry(struct model *m)
{
	return &m->geometry;
}

void model_tlb_held(struct hw_cpu *cpu, int vpid, uint32_t ret_held[MODEL_TLB_STRUCTURES])
{
	memset(ret_held, 0, MODEL_TLB_STRUCTURES * sizeof(*ret_held));
	for (unsigned id = 0; id < TLB_ARRAYS; id++) {
		const struct tlb_array *a = &cpu->tlb.array[id];

		for (uint32_t i = 0; i < a->count; i++)
			ret_held[tlb_structure((enum tlb_array_id)id)] +=
				listed(a, id, i, vpid) ? 1u : 0u;
	}
}

static uint64_t space_of(uint64_t ep4ta)
{
	return ep4ta ? (ep4ta & EPT_ADDR_MASK) | TLB_SPACE_EPT : 0;
}

uint32_t model_tlb_peek(struct hw_cpu *cpu, uint16_t vpid, uint16_t pcid, uint64_t ep4ta,
			uint64_t linear)
{
	static const uint8_t shifts[] = {12, 21, 30};
	struct tlb_tags tags = {.vpid = vpid, .pcid = pcid};
	uint32_t where = 0;

	for (unsigned unpaged = 0; unpaged < 2; unpaged++) {
		tags.space = space_of(ep4ta) | (unpaged ? TLB_SPACE_UNPAGED : 0);
		for (unsigned id = 0; id <= TLB_L2_1G; id++) {
			for (size_t s = 0; s < VMX_ARRAY_SIZE(shifts); s++) {
				if (tlb_find(&cpu->tlb, (enum tlb_array_id)id, shifts[s], linear,
					     &tags) >= 0)
					where |= 1u << tlb_structure((enum tlb_array_id)id);
			}
		}
	}
	return where;
}

bool model_psc_peek(struct hw_cpu *cpu, uint16_t vpid, uint16_t pcid, uint64_t ep4ta,
		    uint64_t linear, unsigned level)
{
	static const enum tlb_array_id id[] = {
		[2] = TLB_PSC_PD, [3] = TLB_PSC_PDPT, [4] = TLB_PSC_PML4};
	const struct tlb_tags tags = {.space = space_of(ep4ta), .vpid = vpid, .pcid = pcid};

	if (level < 2 || level > 4)
		return false;
	if (tlb_find(&cpu->tlb, id[level], 12 + 9 * (level - 1), linear, &tags) >= 0)
		return true;
	/* 32-bit paging: a page-directory entry covers 4 MiB. */
	return level == 2 && tlb_find(&cpu->tlb, id[level], 22, linear, &tags) >= 0;
}

bool model_gpa_peek(struct hw_cpu *cpu, uint64_t ep4ta, uint64_t gpa_addr)
{
	static const uint8_t shifts[] = {12, 21, 30};
	const struct tlb_tags tags = {.space = space_of(ep4ta)};

	for (size_t s = 0; s < VMX_ARRAY_SIZE(shifts); s++) {
		if (tlb_find(&cpu->tlb, TLB_GPA, shifts[s], gpa_addr, &tags) >= 0)
			return true;
	}
	return false;
}
