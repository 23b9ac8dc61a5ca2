// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * MSRs.
 *
 * Passed through: those that VM entry and exit switch anyway (in the guest-state
 * area, or in the MSR lists). Everything else exits, and a table says what it
 * means; an MSR without a row is #GP(0), as on a processor that lacks it.
 *
 * Source: SDM volume 3, "MSR-Bitmap Address", "VM-Entry Controls for MSRs",
 * "VM-Exit Controls for MSRs".
 */
#include "core/msr.h"
#include "core/caps.h"
#include "core/vcpu_internal.h"

/* --- the lists --------------------------------------------------------------------------- */

static const uint32_t switched[MSR_SWITCHED_MAX] = {
	IA32_STAR, IA32_LSTAR, IA32_CSTAR, IA32_FMASK, IA32_KERNEL_GS_BASE, IA32_TSC_AUX,
};

#define SWITCHED_KERNEL_GS_BASE 4u

#define LIST_BYTES 128u /* a list, rounded up: lists start on a 16-byte boundary */
#define LISTS_PER_PAGE (4096u / LIST_BYTES)

_Static_assert(sizeof(struct vmx_msr_entry) == 16, "format of an MSR entry");
_Static_assert(MSR_SWITCHED_MAX * sizeof(struct vmx_msr_entry) <= LIST_BYTES, "list too long");
_Static_assert(LISTS_PER_PAGE == 32, "a bit of msr_page.used for each");

unsigned msr_switched_count(const struct core_caps *caps)
{
	return caps_allow(caps->proc2, PROC2_RDTSCP) ? MSR_SWITCHED_MAX : MSR_SWITCHED_MAX - 1;
}

uint32_t msr_switched(unsigned i)
{
	return switched[i];
}

int msr_read_host(struct core_cpu *cpu)
{
	unsigned count = msr_switched_count(&cpu->core->caps);

	for (unsigned i = 0; i < count; i++) {
		cpu->host_msrs[i].index = switched[i];
		if (hw_rdmsr(cpu->hw, switched[i], &cpu->host_msrs[i].value) < 0)
			return -ENOTSUP;
	}
	return 0;
}

/* KERNEL_GS_BASE is the task's user GS base; the others don't change. */
void msr_refresh_host(struct core_cpu *cpu)
{
	(void)hw_rdmsr(cpu->hw, IA32_KERNEL_GS_BASE,
		       &cpu->host_msrs[SWITCHED_KERNEL_GS_BASE].value);
}

/* Takes a free slot of a page that the VM has; -1: all are taken. */
static int take_slot(struct core_vm *vm, struct core_vcpu *v)
{
	int slot = -1;

	plat_lock(&vm->lock);
	for (struct msr_page *p = vm->msr_pages; p != NULL; p = p->next) {
		if (p->used == UINT32_MAX)
			continue;
		slot = __builtin_ctz(~p->used);
		p->used |= 1u << slot;
		v->msrs = p->entries + (size_t)slot * (LIST_BYTES / sizeof(*v->msrs));
		v->msrs_hpa = hpa(p->hpa.v + (uint64_t)slot * LIST_BYTES);
		break;
	}
	plat_unlock(&vm->lock);
	return slot;
}

static int add_page(struct core_vm *vm)
{
	struct msr_page *p = plat_calloc(1, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	p->entries = plat_page_alloc(vm->core->plat, &p->hpa);
	if (p->entries == NULL) {
		plat_free(p);
		return -ENOMEM;
	}
	plat_lock(&vm->lock);
	p->next = vm->msr_pages;
	vm->msr_pages = p;
	plat_unlock(&vm->lock);
	return 0;
}

int msr_list_alloc(struct core_vm *vm, struct core_vcpu *v)
{
	while (take_slot(vm, v) < 0) {
		int err = add_page(vm);

		if (err < 0)
			return err;
	}
	memset(v->msrs, 0, LIST_BYTES);
	for (unsigned i = 0; i < MSR_SWITCHED_MAX; i++)
		v->msrs[i].index = switched[i];
	return 0;
}

void msr_list_free(struct core_vm *vm, struct core_vcpu *v)
{
	plat_lock(&vm->lock);
	for (struct msr_page *p = vm->msr_pages; p != NULL; p = p->next) {
		if ((v->msrs_hpa.v & VMX_PAGE_MASK) == p->hpa.v)
			p->used &= ~(1u << ((v->msrs_hpa.v - p->hpa.v) / LIST_BYTES));
	}
	plat_unlock(&vm->lock);
}

void msr_lists_destroy(struct core_vm *vm)
{
	while (vm->msr_pages != NULL) {
		struct msr_page *p = vm->msr_pages;

		vm->msr_pages = p->next;
		plat_page_free(vm->core->plat, p->entries, p->hpa);
		plat_free(p);
	}
}

/* --- the bitmap ------------------------------------------------------------------------------ */

#define PASS_READ 1u
#define PASS_WRITE 2u

struct msr_pass {
	uint32_t msr;
	uint32_t how;
	/* Only if these exit and entry controls may be 1: otherwise the MSR is the host's. */
	uint32_t exit, entry, proc2;
};

/*
 * EFER is read directly (the guest's is loaded) but written through us, for LME
 * decides what CR0.PG does. The TSC is read directly, as RDTSC reads it.
 */
static const struct msr_pass msr_passes[] = {
	{IA32_TSC, PASS_READ, 0, 0, 0},
	{IA32_SYSENTER_CS, PASS_READ | PASS_WRITE, 0, 0, 0},
	{IA32_SYSENTER_ESP, PASS_READ | PASS_WRITE, 0, 0, 0},
	{IA32_SYSENTER_EIP, PASS_READ | PASS_WRITE, 0, 0, 0},
	{IA32_PAT, PASS_READ | PASS_WRITE, VMEXIT_SAVE_PAT | VMEXIT_LOAD_PAT, VMENTRY_LOAD_PAT, 0},
	{IA32_EFER, PASS_READ, 0, 0, 0},
	{IA32_STAR, PASS_READ | PASS_WRITE, 0, 0, 0},
	{IA32_LSTAR, PASS_READ | PASS_WRITE, 0, 0, 0},
	{IA32_CSTAR, PASS_READ | PASS_WRITE, 0, 0, 0},
	{IA32_FMASK, PASS_READ | PASS_WRITE, 0, 0, 0},
	{IA32_FS_BASE, PASS_READ | PASS_WRITE, 0, 0, 0},
	{IA32_GS_BASE, PASS_READ | PASS_WRITE, 0, 0, 0},
	{IA32_KERNEL_GS_BASE, PASS_READ | PASS_WRITE, 0, 0, 0},
	{IA32_TSC_AUX, PASS_READ | PASS_WRITE, 0, 0, PROC2_RDTSCP},
};

static void clear_bit(uint8_t *map, uint32_t bit)
{
	map[bit / 8] = (uint8_t)(map[bit / 8] & ~(1u << bit % 8));
}

static void pass(uint8_t *bitmap, const struct msr_pass *p)
{
	bool high = p->msr >= MSR_BITMAP_HIGH_FIRST;
	uint32_t bit = high ? p->msr - MSR_BITMAP_HIGH_FIRST : p->msr;

	if (p->how & PASS_READ)
		clear_bit(bitmap + (high ? MSR_BITMAP_READ_HIGH : MSR_BITMAP_READ_LOW), bit);
	if (p->how & PASS_WRITE)
		clear_bit(bitmap + (high ? MSR_BITMAP_WRITE_HIGH : MSR_BITMAP_WRITE_LOW), bit);
}

void msr_bitmap_fill(const struct core_caps *caps, uint8_t *bitmap)
{
	memset(bitmap, 0xff, VMX_PAGE_SIZE);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(msr_passes); i++) {
		const struct msr_pass *p = &msr_passes[i];

		if (caps_allow(caps->exit, p->exit) && caps_allow(caps->entry, p->entry) &&
		    caps_allow(caps->proc2, p->proc2))
			pass(bitmap, p);
	}
}

/* --- what exits ---------------------------------------------------------------------------- */

/* false: #GP(0). */
typedef bool (*msr_read_fn)(struct core_vcpu *v, uint64_t *ret);
typedef bool (*msr_write_fn)(struct core_vcpu *v, uint64_t value);

struct msr_row {
	uint32_t msr;
	msr_read_fn read;
	msr_write_fn write;
};

static bool read_zero(struct core_vcpu *v, uint64_t *ret)
{
	(void)v;
	*ret = 0;
	return true;
}

static bool write_only_zero(struct core_vcpu *v, uint64_t value)
{
	(void)v;
	return value == 0;
}

static bool read_efer(struct core_vcpu *v, uint64_t *ret)
{
	vcpu_need(v, REG_EFER);
	*ret = v->regs.efer;
	return true;
}

/* "IA32_EFER": LMA is read-only, LME changes only while paging is off. */
static bool write_efer(struct core_vcpu *v, uint64_t value)
{
	uint64_t efer;

	vcpu_need(v, REG_EFER | REG_CR);
	efer = v->regs.efer;
	if (value & ~(v->vm->efer_allowed | EFER_LMA))
		return false;
	if ((value ^ efer) & EFER_LME && v->regs.cr0 & CR0_PG)
		return false;
	value = (value & ~EFER_LMA) | (efer & EFER_LMA);
	/* NXE gives or takes a bit of every translation its meaning. */
	if ((value ^ efer) & EFER_NXE)
		v->flush_tlb = true;
	v->regs.efer = value;
	v->dirty |= REG_EFER;
	return true;
}

static bool pat_valid(uint64_t pat)
{
	for (unsigned i = 0; i < 8; i++) {
		unsigned type = pat >> (8 * i) & 0xff;

		if (type == 2 || type == 3 || type > 7)
			return false;
	}
	return true;
}

/* Only where the processor doesn't switch it: the value is kept, without effect. */
static bool read_pat(struct core_vcpu *v, uint64_t *ret)
{
	vcpu_need(v, REG_PAT);
	*ret = v->regs.pat;
	return true;
}

static bool write_pat(struct core_vcpu *v, uint64_t value)
{
	if (!pat_valid(value))
		return false;
	vcpu_need(v, REG_PAT);
	v->regs.pat = value;
	v->dirty |= REG_PAT;
	return true;
}

/* Fast strings on; branch trace and PEBS unavailable. */
#define MISC_ENABLE_VALUE (VMX_BIT(0) | VMX_BIT(11) | VMX_BIT(12))

static bool read_misc_enable(struct core_vcpu *v, uint64_t *ret)
{
	(void)v;
	*ret = MISC_ENABLE_VALUE;
	return true;
}

static bool write_misc_enable(struct core_vcpu *v, uint64_t value)
{
	(void)v;
	return value == MISC_ENABLE_VALUE;
}

static const struct msr_row msr_rows[] = {
	{IA32_EFER, read_efer, write_efer},
	{IA32_PAT, read_pat, write_pat},
	{IA32_MISC_ENABLE, read_misc_enable, write_misc_enable},
	{IA32_BIOS_SIGN_ID, read_zero, write_only_zero}, /* no microcode update is loaded */
	{IA32_DEBUGCTL, read_zero, write_only_zero},
	{IA32_MCG_CAP, read_zero, NULL}, /* no machine-check banks */
	{IA32_MCG_STATUS, read_zero, write_only_zero},
};

static const struct msr_row *find_row(uint32_t msr)
{
	for (size_t i = 0; i < VMX_ARRAY_SIZE(msr_rows); i++) {
		if (msr_rows[i].msr == msr)
			return &msr_rows[i];
	}
	return NULL;
}

static enum exit_step refuse(struct core_vcpu *v)
{
	core_stat_add(&v->stats, CORE_STAT_MSRS_REFUSED, 1);
	return exit_raise_gp(v);
}

enum exit_step exit_rdmsr(struct core_vcpu *v, struct core_run_exit *ret)
{
	uint64_t *r = v->regs.gp.r;
	const struct msr_row *row = find_row((uint32_t)r[HW_RCX]);
	uint64_t value;

	(void)ret;
	if (row == NULL || row->read == NULL || !row->read(v, &value))
		return refuse(v);
	r[HW_RAX] = (uint32_t)value;
	r[HW_RDX] = value >> 32;
	vcpu_skip_instruction(v);
	return EXIT_RESUME;
}

enum exit_step exit_wrmsr(struct core_vcpu *v, struct core_run_exit *ret)
{
	const uint64_t *r = v->regs.gp.r;
	const struct msr_row *row = find_row((uint32_t)r[HW_RCX]);
	uint64_t value = r[HW_RDX] << 32 | (uint32_t)r[HW_RAX];

	(void)ret;
	if (row == NULL || row->write == NULL || !row->write(v, value))
		return refuse(v);
	vcpu_skip_instruction(v);
	return EXIT_RESUME;
}
