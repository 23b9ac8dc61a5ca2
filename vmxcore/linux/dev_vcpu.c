// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A vCPU's descriptor: running it, its registers, what can be seen of it. */
#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/uaccess.h>

#include "dev.h"
#include "machine.h"

/* --- registers -------------------------------------------------------------------------- */

static_assert(HW_GPR_COUNT == ARRAY_SIZE(((struct vmxcore_regs *)0)->gpr));
static_assert(CORE_SEG_COUNT == ARRAY_SIZE(((struct vmxcore_regs *)0)->seg));

static void fill_regs(struct vmxcore_regs *out, const struct core_regs *r)
{
	unsigned int i;

	*out = (struct vmxcore_regs){
		.rip = r->rip,
		.rflags = r->rflags,
		.cr0 = r->cr0,
		.cr2 = r->gp.cr2,
		.cr3 = r->cr3,
		.cr4 = r->cr4,
		.dr6 = r->gp.dr6,
		.dr7 = r->dr7,
		.efer = r->efer,
		.pat = r->pat,
		.star = r->star,
		.lstar = r->lstar,
		.cstar = r->cstar,
		.fmask = r->fmask,
		.kernel_gs_base = r->kernel_gs_base,
		.tsc_aux = r->tsc_aux,
		.sysenter_cs = r->sysenter_cs,
		.sysenter_esp = r->sysenter_esp,
		.sysenter_eip = r->sysenter_eip,
		.gdtr_base = r->gdtr_base,
		.idtr_base = r->idtr_base,
		.gdtr_limit = r->gdtr_limit,
		.idtr_limit = r->idtr_limit,
		.interruptibility = r->interruptibility,
		.activity = r->activity,
	};
	for (i = 0; i < HW_GPR_COUNT; i++)
		out->gpr[i] = r->gp.r[i];
	out->gpr[HW_RSP] = r->rsp;
	for (i = 0; i < ARRAY_SIZE(out->dr); i++)
		out->dr[i] = r->gp.dr[i];
	for (i = 0; i < CORE_SEG_COUNT; i++)
		out->seg[i] = (struct vmxcore_segment){.base = r->seg[i].base,
						       .limit = r->seg[i].limit,
						       .ar = r->seg[i].ar,
						       .sel = r->seg[i].sel};
}

/* What *r has besides stays. */
static void take_regs(struct core_regs *r, const struct vmxcore_regs *in)
{
	unsigned int i;

	for (i = 0; i < HW_GPR_COUNT; i++)
		r->gp.r[i] = in->gpr[i];
	for (i = 0; i < ARRAY_SIZE(in->dr); i++)
		r->gp.dr[i] = in->dr[i];
	r->gp.cr2 = in->cr2;
	r->gp.dr6 = in->dr6;
	r->rip = in->rip;
	r->rsp = in->gpr[HW_RSP];
	r->rflags = in->rflags;
	r->cr0 = in->cr0;
	r->cr3 = in->cr3;
	r->cr4 = in->cr4;
	r->dr7 = in->dr7;
	r->efer = in->efer;
	r->pat = in->pat;
	r->star = in->star;
	r->lstar = in->lstar;
	r->cstar = in->cstar;
	r->fmask = in->fmask;
	r->kernel_gs_base = in->kernel_gs_base;
	r->tsc_aux = in->tsc_aux;
	r->sysenter_cs = in->sysenter_cs;
	r->sysenter_esp = in->sysenter_esp;
	r->sysenter_eip = in->sysenter_eip;
	for (i = 0; i < CORE_SEG_COUNT; i++)
		r->seg[i] = (struct core_segment){.base = in->seg[i].base,
						  .limit = in->seg[i].limit,
						  .ar = in->seg[i].ar,
						  .sel = in->seg[i].sel};
	r->gdtr_base = in->gdtr_base;
	r->idtr_base = in->idtr_base;
	r->gdtr_limit = in->gdtr_limit;
	r->idtr_limit = in->idtr_limit;
	r->interruptibility = in->interruptibility;
	r->activity = in->activity;
}

static long get_regs(void *object, void *arg)
{
	struct core_regs regs;

	core_vcpu_get_regs(((struct dev_vcpu *)object)->core, &regs);
	fill_regs(arg, &regs);
	return 0;
}

static long set_regs(void *object, void *arg)
{
	struct dev_vcpu *v = object;
	struct vmxcore_set_regs *s = arg;
	const char *field = NULL;
	struct core_regs regs;
	int err;

	memset(s->field, 0, sizeof(s->field));
	if (s->emulated > 1 || s->pad)
		return -EINVAL;
	core_vcpu_get_regs(v->core, &regs);
	take_regs(&regs, &s->regs);
	if (s->emulated)
		return core_vcpu_complete_emulation(v->core, &regs);
	err = core_vcpu_set_regs(v->core, &regs, &field);
	if (err && field)
		strscpy(s->field, field, sizeof(s->field));
	return err;
}

static long inject(void *object, void *arg)
{
	const struct vmxcore_event *e = arg;
	const struct core_event event = {
		.info = e->info, .error_code = e->error_code, .insn_length = e->insn_length};

	if (e->pad)
		return -EINVAL;
	return core_vcpu_inject(((struct dev_vcpu *)object)->core, &event);
}

/* --- running --------------------------------------------------------------------------------- */

static_assert(VMXCORE_EXIT_BUDGET == CORE_RUN_BUDGET && VMXCORE_EXIT_HLT == CORE_RUN_HLT &&
	      VMXCORE_EXIT_IO == CORE_RUN_IO && VMXCORE_EXIT_EMULATE == CORE_RUN_EMULATE &&
	      VMXCORE_EXIT_EPT_DENIED == CORE_RUN_EPT_DENIED &&
	      VMXCORE_EXIT_EPT_MISCONFIG == CORE_RUN_EPT_MISCONFIG &&
	      VMXCORE_EXIT_TRIPLE_FAULT == CORE_RUN_TRIPLE_FAULT &&
	      VMXCORE_EXIT_UNEXPECTED == CORE_RUN_UNEXPECTED &&
	      VMXCORE_EXIT_ENTRY_FAILED == CORE_RUN_ENTRY_FAILED);

static void fill_exit(struct vmxcore_run *out, const struct core_run_exit *x)
{
	out->reason = x->reason;
	out->exit_reason = x->exit_reason;
	out->insn_error = x->insn_error;
	out->insn_length = x->insn_length;
	out->qualification = x->qualification;
	out->rip = x->rip;
	out->gpa = x->gpa.v;
	out->gva = x->linear_valid ? x->linear.v : 0;
	out->gva_valid = x->linear_valid;
	out->intr_info = x->intr_info;
	out->intr_error = x->intr_error;
	out->vectoring_info = x->vectoring_info;
	out->vectoring_error = x->vectoring_error;
	out->io_port = x->io.port;
	out->io_size = x->io.size;
	out->io_in = x->io.in;
	out->io_value = x->io.value;
}

/* What the exit wanted of the caller; -EINVAL: it was not IO, or has been completed. */
static int complete_last(struct dev_vcpu *v, u32 value)
{
	if (!v->io_pending)
		return -EINVAL;
	v->io_pending = false;
	core_vcpu_complete_io(v->core, value);
	return 0;
}

static long complete_io(void *object, void *arg)
{
	const struct vmxcore_complete_io *c = arg;

	return c->pad ? -EINVAL : complete_last(object, c->value);
}

/* Where it ran, and where its VPID is from. */
static void fill_place(struct vmxcore_run *out, int cpu)
{
	out->processor = (u32)cpu;
	out->pool_generation = cpu < 0 ? 0 : core_vpid_generation(&machine_core()->cpus[cpu]);
}

static long run(void *object, void *arg)
{
	struct dev_vcpu *v = object;
	struct vmxcore_run *r = arg;
	struct core_run_exit x = {};
	int err;

	if (r->complete > 1)
		return -EINVAL;
	if (r->complete && complete_last(v, r->io_in_value))
		return -EINVAL;
	err = runner_run(v->runner, r->budget_ticks, &x);
	if (err)
		return err == -ESHUTDOWN ? -ENODEV : err;
	v->io_pending = x.reason == CORE_RUN_IO;
	fill_exit(r, &x);
	fill_place(r, core_vcpu_active_cpu(v->core));
	return 0;
}

/* Needs no turn, for it ends another's. */
static long kick(void *object, void *arg)
{
	runner_interrupt(((struct dev_vcpu *)object)->runner);
	return 0;
}

/* --- looking ---------------------------------------------------------------------------------- */

static void fill_walk(struct vmxcore_walk *out, const struct core_walk_result *w)
{
	unsigned int i;

	out->outcome = w->outcome;
	out->error_code = w->error_code;
	out->qualification = w->qualification;
	out->fault_gpa = w->fault_gpa.v;
	out->gpa = w->gpa.v;
	out->hpa = w->hpa.v;
	out->guest_page_bytes = w->guest_page_bytes;
	out->ept_page_bytes = w->ept_page_bytes;
	out->permissions = w->permissions;
	out->user_accessible = w->user_accessible;
	out->global = w->global;
	out->refs_guest = w->refs_guest;
	out->refs_ept = w->refs_ept;
	out->count = w->count;
	for (i = 0; i < w->count && i < ARRAY_SIZE(out->refs); i++)
		out->refs[i] = (struct vmxcore_walk_ref){
			.hpa = w->refs[i].hpa,
			.gpa = w->refs[i].gpa,
			.entry = w->refs[i].entry,
			.dimension = w->refs[i].dimension,
			.level = w->refs[i].level,
			.for_level = w->refs[i].for_level,
			.leaf = w->refs[i].leaf,
		};
}

static long walk(void *object, void *arg)
{
	struct dev_vcpu *v = object;
	struct vmxcore_walk *q = arg;
	struct core_paging_state ps;
	struct core_walk_result *w;

	if ((q->access != CORE_PROT_R && q->access != CORE_PROT_W && q->access != CORE_PROT_X) ||
	    q->user > 1 || q->smap_off > 1 || q->pad)
		return -EINVAL;
	w = kzalloc(sizeof(*w), GFP_KERNEL_ACCOUNT);
	if (!w)
		return -ENOMEM;
	core_vcpu_paging_state(v->core, &ps);
	ps.user = q->user;
	ps.smap_off = q->smap_off;
	core_walk(core_vm_as(v->vm->core), &ps, gva(q->gva), q->access, w);
	fill_walk(q, w);
	q->cr3 = ps.cr3;
	q->eptp = core_as_eptp(core_vm_as(v->vm->core));
	kfree(w);
	return 0;
}

struct vmcs_read {
	struct core_vcpu *vcpu;
	u32 field;
	u64 value;
	int result;
};

static void vmcs_read_here(void *arg)
{
	struct vmcs_read *r = arg;
	struct core_cpu *cpu = dev_this_cpu();

	r->result = cpu ? core_vcpu_vmcs_read(r->vcpu, cpu, r->field, &r->value) : -ENODATA;
}

static long vmcs_read(void *object, void *arg)
{
	struct dev_vcpu *v = object;
	struct vmxcore_vmcs_field *f = arg;
	struct vmcs_read r = {.vcpu = v->core, .field = f->encoding, .result = -ENODATA};
	int cpu = core_vcpu_active_cpu(v->core);

	if (f->pad)
		return -EINVAL;
	/* One that is active nowhere has its fields in memory that only a processor reads. */
	if (cpu < 0 || smp_call_function_single(cpu, vmcs_read_here, &r, 1))
		return -ENODATA;
	f->value = r.value;
	return r.result;
}

static void fill_vpid(struct dev_vcpu *v, struct vmxcore_vcpu_stats *s)
{
	bool valid = false;
	struct core_vpid tag = core_vcpu_vpid(v->core, &valid);
	struct dev_pool pool;

	s->vpid = tag.vpid;
	s->vpid_valid = valid;
	s->vpid_generation = tag.generation;
	if (!tag.vpid || tag.cpu >= machine_core()->nr_cpus)
		return;
	dev_pool_read(&machine_core()->cpus[tag.cpu], &pool);
	s->pool_generation = pool.generation;
	s->pool_limit = pool.limit;
	s->pool_left = pool.left;
}

/* Where the runner counts nothing (it is another than the module's), nothing is observable. */
__attribute__((weak)) u32 runner_events(struct runner *r, u64 values[2])
{
	values[0] = 0;
	values[1] = 0;
	return 0;
}

static void fill_events(struct dev_vcpu *v, struct vmxcore_vcpu_stats *s)
{
	u64 values[2];

	s->events = runner_events(v->runner, values);
	s->dtlb_load_misses = values[0];
	s->ept_walk_cycles = values[1];
}

static_assert(CORE_STAT_COUNT <= VMX_EXIT_REASONS);

/*
 * Needs no turn: a counter is one atomic word, which stands for itself; the tag is read in
 * one piece, or again (core_vcpu_vpid()); where the vCPU is and what its processor's pool has
 * left is as of the moment each is read.
 */
static long vcpu_stats(void *object, void *arg)
{
	struct dev_vcpu *v = object;
	struct vmxcore_vcpu_stats *s = arg;
	const struct core_stats *from = core_vcpu_stats(v->core);
	u64 values[VMX_EXIT_REASONS];
	u32 room = s->count, exits = s->exit_count, i;

	if (s->pad)
		return -EINVAL;
	for (i = 0; i < CORE_STAT_COUNT; i++)
		values[i] = core_stat_get(from, (enum core_stat)i);
	if (copy_to_user(u64_to_user_ptr(s->values), values,
			 min_t(u32, room, CORE_STAT_COUNT) * sizeof(u64)))
		return -EFAULT;
	for (i = 0; i < VMX_EXIT_REASONS; i++)
		values[i] = core_vcpu_exit_count(v->core, i);
	if (copy_to_user(u64_to_user_ptr(s->exits), values,
			 min_t(u32, exits, VMX_EXIT_REASONS) * sizeof(u64)))
		return -EFAULT;
	s->count = CORE_STAT_COUNT;
	s->exit_count = VMX_EXIT_REASONS;
	s->processor = (u32)core_vcpu_active_cpu(v->core);
	fill_vpid(v, s);
	fill_events(v, s);
	return 0;
}

/* --- the descriptor -------------------------------------------------------------------------- */

/* Without the vCPU's lock: they touch nothing that a run changes, but what may be read then. */
static const struct dev_ioctl free_rows[] = {
	{VMXCORE_KICK, kick},
	{VMXCORE_VCPU_STATS, vcpu_stats},
};

static const struct dev_ioctl rows[] = {
	{VMXCORE_RUN, run},
	{VMXCORE_GET_REGS, get_regs},
	{VMXCORE_SET_REGS, set_regs, .out_on_error = true},
	{VMXCORE_INJECT, inject},
	{VMXCORE_WALK, walk},
	{VMXCORE_VMCS_READ, vmcs_read},
	{VMXCORE_COMPLETE_IO, complete_io},
};

static long vcpu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct dev_vcpu *v = file->private_data;
	long r;

	if (!dev_vm_is_mine(v->vm))
		return -EXDEV;
	r = dev_ioctl(free_rows, ARRAY_SIZE(free_rows), v, cmd, arg);
	if (r != -ENOTTY)
		return r;
	if (!mutex_trylock(&v->lock))
		return -EBUSY;
	r = dev_ioctl(rows, ARRAY_SIZE(rows), v, cmd, arg);
	mutex_unlock(&v->lock);
	return r;
}

static void vcpu_free(struct dev_vcpu *v)
{
	runner_destroy(v->runner);
	core_vcpu_destroy(v->core);
	mutex_destroy(&v->lock);
	kfree(v);
}

static int vcpu_release(struct inode *inode, struct file *file)
{
	struct dev_vcpu *v = file->private_data;
	struct dev_vm *vm = v->vm;

	mutex_lock(&vm->lock);
	vm->vcpus[core_vcpu_index(v->core)] = NULL;
	vcpu_free(v);
	mutex_unlock(&vm->lock);
	dev_vm_put(vm);
	return 0;
}

static const struct file_operations vcpu_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = vcpu_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.release = vcpu_release,
	.llseek = noop_llseek,
};

static int vcpu_new(struct dev_vm *vm, u32 index, struct dev_vcpu **ret)
{
	struct dev_vcpu *v = kzalloc(sizeof(*v), GFP_KERNEL_ACCOUNT);
	int err;

	if (!v)
		return -ENOMEM;
	err = core_vcpu_create(vm->core, index, &v->core);
	if (err)
		goto out;
	err = runner_create(v->core, &v->runner);
	if (err)
		goto out_core;
	mutex_init(&v->lock);
	v->vm = vm;
	*ret = v;
	return 0;

out_core:
	core_vcpu_destroy(v->core);
out:
	kfree(v);
	return err;
}

/* vm->lock is held. */
long dev_vcpu_create(struct dev_vm *vm, const struct vmxcore_create_vcpu *c)
{
	u32 index = c->index;
	struct dev_vcpu *v;
	int fd, err;

	if (index >= DEV_MAX_VCPUS || c->pad)
		return -EINVAL;
	index = array_index_nospec(index, DEV_MAX_VCPUS);
	if (vm->vcpus[index])
		return -EEXIST;
	err = vcpu_new(vm, index, &v);
	if (err)
		return err;
	/* From here on another thread may close it again: vcpu_release() waits for the lock. */
	kref_get(&vm->refs);
	vm->vcpus[index] = v;
	fd = anon_inode_getfd("vmxcore-vcpu", &vcpu_fops, v, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		vm->vcpus[index] = NULL;
		vcpu_free(v);
		dev_vm_put(vm); /* never the last: the VM's descriptor is in use */
	}
	return fd;
}
