/* SPDX-License-Identifier: MIT */
/* The engine that runs guests on VT-x through the kernel module: the machine. */
#include "engine/vmx.h"

#include <stdlib.h>
#include <sys/sysinfo.h>

/* What hvd gives where nobody chose a geometry. */
#define TLB_DEFAULT "skylake"

/* --- the configuration ------------------------------------------------------------------ */

uint64_t vmx_host_memory(void)
{
	struct sysinfo info;

	if (sysinfo(&info) != 0)
		return 0;
	return (uint64_t)info.totalram * info.mem_unit & VMX_PAGE_MASK;
}

static uint32_t processors_of(const struct vmxcore_info *info)
{
	return info->processors < CORE_MAX_CPUS ? info->processors : CORE_MAX_CPUS;
}

static bool tlb_is_default(const char tlb[24])
{
	return !tlb[0] || strncmp(tlb, TLB_DEFAULT, sizeof(TLB_DEFAULT)) == 0;
}

/*
 * A quantum, a seed and scattered memory are the soft engine's business, and mean nothing
 * here. A geometry of the TLB would be a promise; so would a limit of VPIDs that is not the
 * module's, and hooks that leave out invalidations.
 */
static int fit(const struct vmxcore_info *info, struct engine_config *cfg)
{
	if (cfg->unsafe_hooks || !tlb_is_default(cfg->tlb))
		return -EINVAL;
	if (cfg->vpid_limit != 0 && cfg->vpid_limit != CORE_VPID_MAX &&
	    cfg->vpid_limit != info->vpid_limit)
		return -EINVAL;
	if (cfg->processors > processors_of(info))
		return -EINVAL;
	if (cfg->processors == 0)
		cfg->processors = processors_of(info);
	if (cfg->memory_bytes == 0)
		cfg->memory_bytes = vmx_host_memory();
	cfg->vpid_limit = info->vpid_limit;
	return 0;
}

/* -ENODEV: vmx_probe() says why. */
static int vmx_config(struct engine_config *cfg)
{
	struct vmxcore_info info;
	int fd;

	if (vmx_device_open(&fd, &info))
		return -ENODEV;
	vmx_dev->close(fd);
	return fit(&info, cfg);
}

/* --- the machine ------------------------------------------------------------------------ */

static int vmx_open(struct vmm *s)
{
	struct vmx *x = calloc(1, sizeof(*x));
	int err;

	if (!x)
		return -ENOMEM;
	err = vmx_device_open(&x->fd, &x->info);
	if (err) {
		free(x);
		return err == -ENOMEM ? err : -ENODEV;
	}
	x->fewer = s->cfg.processors < processors_of(&x->info);
	s->processors = s->cfg.processors;
	s->back = x;
	return 0;
}

static size_t vmx_close(struct vmm *s)
{
	struct vmx *x = vmx_of(s);
	size_t left = x->objects;

	vmx_dev->close(x->fd);
	free(x);
	s->back = NULL;
	return left;
}

static void vmx_describe(const struct vmm *s, struct engine_info *ret)
{
	vmx_describe_device(&vmx_of(s)->info, ret);
	ret->processors = s->cfg.processors;
	ret->max_memory_bytes = s->cfg.memory_bytes;
}

const struct backend backend_vmx = {
	.name = "vmx",
	.trace_host_time = true,
	.config = vmx_config,
	.open = vmx_open,
	.close = vmx_close,
	.describe = vmx_describe,
	.invalidations = vmx_invalidations,
	.patience = vmx_patience,
	.poll = vmx_poll,

	.vm_open = vmx_vm_open,
	.vm_close = vmx_vm_close,
	.eptp = vmx_eptp,
	.table_bytes = vmx_table_bytes,
	.as_stats = vmx_as_stats,

	.vcpu_open = vmx_vcpu_open,
	.vcpu_close = vmx_vcpu_close,
	.vcpu_renew = vmx_vcpu_renew,
	.vcpu_run = vmx_vcpu_run,
	.vcpu_hold = vmx_vcpu_hold,
	.vcpu_release = vmx_vcpu_release,

	.get_regs = vmx_get_regs,
	.set_regs = vmx_set_regs,
	.inject = vmx_inject,
	.complete_io = vmx_complete_io,
	.complete_emulation = vmx_complete_emulation,
	.walk = vmx_walk,
	.vmcs_read = vmx_vmcs_read,
	.tag = vmx_tag,
	.vcpu_stats = vmx_vcpu_stats,
	.retired = vmx_retired,
	.processor = vmx_processor,
	.entry_refused = vmx_entry_refused,

	.apply = vmx_apply,
	.lookup = vmx_lookup,
	.ranges = vmx_ranges,
	.count_leaves = vmx_count_leaves,
	.dirty = vmx_dirty,
	.read = vmx_read,
	.write = vmx_write,
	.cmpxchg = vmx_cmpxchg,
	.code = vmx_code,

	.vm_error = vmx_vm_error,
	.slot_open = vmx_slot_open,
	.slot_populate = vmx_slot_populate,
	.slot_close = vmx_slot_close,
	.slot_read = vmx_slot_read,
	.slot_write = vmx_slot_write,
	.slot_fill = vmx_slot_write,
	.slot_zero = vmx_slot_zero,
	.slot_written = vmx_slot_written,
	.slots_mapped = vmx_slots_mapped,
	.slot_error = vmx_slot_error,

	.invalidate = vmx_invalidate,
	.trace_set = vmx_trace_set,
	.trace_read = vmx_trace_read,
	.trace_waiting = vmx_trace_waiting,
	.more_vcpu_stats = vmx_more_vcpu_stats,
	.processor_stats = vmx_processor_stats,
};

static int vmx_engine_open(const struct engine_config *cfg, struct engine **ret)
{
	return vmm_open(&backend_vmx, cfg, ret);
}

const struct engine_kind engine_vmx = {
	.name = "vmx",
	.probe = vmx_probe,
	.open = vmx_engine_open,
};
