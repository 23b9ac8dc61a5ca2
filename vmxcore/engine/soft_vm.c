/* SPDX-License-Identifier: MIT */
/* The soft backend's VMs and vCPUs. */
#include "engine/soft.h"

#include <stdlib.h>

/* --- VMs ------------------------------------------------------------------------------------ */

int soft_vm_open(struct vmm_vm *vm)
{
	const struct core_vm_config cfg = {
		.as = {.max_page_bytes = vm->config.ept_page_bytes,
		       .accessed_dirty = vm->config.accessed_dirty,
		       .walk_length = 4},
		.use_vpid = vm->config.use_vpid,
	};
	struct core_cpuid_entry cpuid[CORE_MAX_CPUID_ENTRIES];
	struct core_vm *core;
	size_t count;
	int err = vmm_cpuid(cpuid, &count);

	if (err)
		return err;
	err = core_vm_create(soft_of(vm->machine)->core, &cfg, &core);
	if (err)
		return err;
	err = core_vm_set_cpuid(core, cpuid, count);
	if (err) {
		core_vm_destroy(core);
		return err;
	}
	vm->back = core;
	return 0;
}

void soft_vm_close(struct vmm_vm *vm)
{
	core_vm_destroy(soft_vm_of(vm));
	vm->back = NULL;
}

bool soft_vm_shrink(struct vmm_vm *vm, uint64_t *at, uint64_t max_entries)
{
	return core_as_shrink(soft_as_of(vm), at, max_entries);
}

uint64_t soft_eptp(struct vmm_vm *vm)
{
	return core_as_eptp(soft_as_of(vm));
}

uint64_t soft_table_bytes(struct vmm_vm *vm)
{
	return core_as_table_bytes(soft_as_of(vm));
}

static void copy_stats(const struct core_stats *from, struct core_stats *ret)
{
	uint32_t i;

	for (i = 0; i < CORE_STAT_COUNT; i++)
		ret->v[i] = core_stat_get(from, i);
}

void soft_as_stats(struct vmm_vm *vm, struct core_stats *ret)
{
	copy_stats(core_as_stats(soft_as_of(vm)), ret);
}

/* --- vCPUs ---------------------------------------------------------------------------------- */

static void destroy_core(struct soft *f, struct core_vcpu *core)
{
	int cpu = core_vcpu_active_cpu(core);

	if (cpu >= 0)
		core_vcpu_deactivate(core, f->processor[cpu].core);
	core_vcpu_destroy(core);
}

int soft_vcpu_open(struct vmm_vcpu *v)
{
	struct soft_vcpu *sv = calloc(1, sizeof(*sv));
	int err;

	if (!sv)
		return -ENOMEM;
	sv->vcpu = v;
	err = core_vcpu_create(soft_vm_of(v->vm), v->index, &sv->core);
	if (err) {
		free(sv);
		return err;
	}
	v->back = sv;
	return 0;
}

void soft_vcpu_close(struct vmm_vcpu *v)
{
	struct soft *f = soft_of(v->vm->machine);
	struct soft_vcpu *sv = soft_vcpu_of(v);

	if (!sv)
		return;
	destroy_core(f, sv->core);
	model_account_forget(f->model, &sv->account);
	free(sv);
	v->back = NULL;
}

/* Its tag is a fresh one, so no translation of its former life is left either. */
int soft_vcpu_renew(struct vmm_vcpu *v)
{
	struct soft_vcpu *sv = soft_vcpu_of(v);
	struct core_vcpu *fresh;
	int err = core_vcpu_create(soft_vm_of(v->vm), v->index, &fresh);

	if (err)
		return err;
	destroy_core(soft_of(v->vm->machine), sv->core);
	sv->core = fresh;
	return 0;
}

int soft_get_regs(struct vmm_vcpu *v, struct core_regs *ret)
{
	core_vcpu_get_regs(soft_vcpu_of(v)->core, ret);
	return 0;
}

int soft_set_regs(struct vmm_vcpu *v, const struct core_regs *regs, const char **ret_field)
{
	return core_vcpu_set_regs(soft_vcpu_of(v)->core, regs, ret_field);
}

int soft_inject(struct vmm_vcpu *v, const struct core_event *event)
{
	return core_vcpu_inject(soft_vcpu_of(v)->core, event);
}

int soft_complete_io(struct vmm_vcpu *v, uint32_t value)
{
	core_vcpu_complete_io(soft_vcpu_of(v)->core, value);
	return 0;
}

int soft_complete_emulation(struct vmm_vcpu *v, const struct core_regs *regs)
{
	return core_vcpu_complete_emulation(soft_vcpu_of(v)->core, regs);
}

int soft_walk(struct vmm_vcpu *v, gva_t a, uint32_t access, bool user, bool smap_off,
	      struct core_walk_result *ret)
{
	struct core_paging_state ps;

	core_vcpu_paging_state(soft_vcpu_of(v)->core, &ps);
	ps.user = user;
	ps.smap_off = smap_off;
	core_walk(soft_as_of(v->vm), &ps, a, access, ret);
	return 0;
}

int soft_vmcs_read(struct vmm_vcpu *v, uint32_t field, uint64_t *ret)
{
	struct core_vcpu *core = soft_vcpu_of(v)->core;
	int cpu = core_vcpu_active_cpu(core);

	if (cpu < 0)
		return -ENODATA;
	return core_vcpu_vmcs_read(core, soft_of(v->vm->machine)->processor[cpu].core, field, ret);
}

/* --- what is known of them ------------------------------------------------------------------ */

void soft_tag(struct vmm_vcpu *v, struct vmm_tag *ret)
{
	bool valid;
	struct core_vpid tag = core_vcpu_vpid(soft_vcpu_of(v)->core, &valid);
	uint32_t processor = tag.vpid ? tag.cpu : v->home;
	const struct core_cpu *cpu = soft_of(v->vm->machine)->processor[processor].core;

	*ret = (struct vmm_tag){
		.vpid = tag.vpid,
		.valid = valid && tag.vpid,
		.processor = processor,
		.generation = tag.generation,
		.pool_generation = cpu->vpids.generation,
		.pool_left = core_vpid_left(cpu),
		.pool_limit = cpu->vpids.limit,
	};
}

void soft_vcpu_stats(struct vmm_vcpu *v, struct core_stats *ret,
		     uint64_t ret_exits[VMX_EXIT_REASONS])
{
	struct core_vcpu *core = soft_vcpu_of(v)->core;
	uint32_t i;

	copy_stats(core_vcpu_stats(core), ret);
	for (i = 0; i < VMX_EXIT_REASONS; i++)
		ret_exits[i] = core_vcpu_exit_count(core, i);
}

bool soft_retired(const struct vmm_vcpu *v, uint64_t *ret)
{
	*ret = soft_vcpu_of(v)->account.retired;
	return true;
}

/* It never leaves its home. */
uint32_t soft_processor_of(const struct vmm_vcpu *v)
{
	return v->home;
}

const char *soft_entry_refused(struct vmm_vcpu *v)
{
	const struct soft *f = soft_of(v->vm->machine);
	const char *check = model_entry_refused(f->processor[v->home].hw);

	return check ? check : "no check";
}
