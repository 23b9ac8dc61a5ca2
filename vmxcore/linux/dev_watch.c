// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Invalidations by hand, counters, the trace. */
#include <linux/ktime.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/uaccess.h>

#include "dev_vm.h"
#include "machine.h"

/* --- invalidations, counters ----------------------------------------------------------------- */

struct invalidation {
	const struct vmxcore_invalidate *what;
	struct core_trace *trace;
	u64 eptp;
	int result;
};

enum { INVEPT_SINGLE, INVEPT_ALL, INVVPID_FIRST, KINDS = INVVPID_FIRST + 4 };

static void invalidate_here(void *arg)
{
	static const enum hw_invvpid_type types[] = {HW_INVVPID_ADDRESS, HW_INVVPID_SINGLE,
						     HW_INVVPID_ALL, HW_INVVPID_SINGLE_KEEP_GLOBAL};
	struct invalidation *i = arg;
	const struct vmxcore_invalidate *w = i->what;
	const struct inval_origin origin = {
		.trace = i->trace,
		.vcpu = w->vcpu,
		.vpid = (u16)w->vpid,
		.cause = CORE_CAUSE_REQUEST,
	};
	struct core_cpu *cpu = dev_this_cpu();

	if (!cpu)
		i->result = -ENODEV;
	else if (w->kind == INVEPT_SINGLE)
		i->result = inval_invept(cpu, i->eptp, &origin);
	else if (w->kind == INVEPT_ALL)
		i->result = inval_invept_all(cpu, &origin);
	else
		i->result = inval_invvpid(cpu, types[w->kind - INVVPID_FIRST], (u16)w->vpid,
					  gva(w->gva), &origin);
}

long dev_invalidate(void *object, void *arg)
{
	struct dev_vm *vm = object;
	struct invalidation i = {.what = arg,
				 .trace = core_vm_trace(vm->core),
				 .eptp = core_as_eptp(core_vm_as(vm->core))};

	if (i.what->kind >= KINDS || i.what->vpid > U16_MAX)
		return -EINVAL;
	if (i.what->vcpu >= DEV_MAX_VCPUS && i.what->vcpu != CORE_TRACE_NO_VCPU)
		return -EINVAL;
	/* Core would take a wider one, which is not what was asked for. */
	if (!(dev_invalidations(&machine_core()->caps) & BIT(i.what->kind)))
		return -EINVAL;
	if (i.what->processor >= machine_core()->nr_cpus)
		return -ENODEV;
	if (smp_call_function_single((int)i.what->processor, invalidate_here, &i, 1))
		return -ENODEV;
	return i.result;
}

static void fill_processor(struct vmxcore_stats *s, const struct core_cpu *cpu)
{
	struct dev_pool pool;

	dev_pool_read(cpu, &pool);
	s->pool_generation = pool.generation;
	s->pool_left = pool.left;
	s->pool_limit = pool.limit;
	s->online = READ_ONCE(cpu->online);
}

long dev_stats(void *object, void *arg)
{
	struct dev_vm *vm = object;
	struct vmxcore_stats *s = arg;
	const struct core_stats *from = core_as_stats(core_vm_as(vm->core));
	u64 values[CORE_STAT_COUNT];
	u32 room = s->count, i;

	if (s->pad)
		return -EINVAL;
	if (s->processor != ~0u) {
		const struct core_cpu *cpu;

		if (s->processor >= machine_core()->nr_cpus)
			return -ENODEV;
		i = array_index_nospec(s->processor, machine_core()->nr_cpus);
		cpu = &machine_core()->cpus[i];
		fill_processor(s, cpu);
		from = &cpu->stats;
	}
	for (i = 0; i < CORE_STAT_COUNT; i++)
		values[i] = core_stat_get(from, (enum core_stat)i);
	s->count = CORE_STAT_COUNT;
	return copy_to_user(u64_to_user_ptr(s->values), values,
			    min_t(u32, room, CORE_STAT_COUNT) * sizeof(u64))
		       ? -EFAULT
		       : 0;
}

/* --- the trace ------------------------------------------------------------------------------- */

/* Atomic, as the ring's lock wants. */
static u64 trace_clock(void *ctx)
{
	return ktime_get_ns();
}

long dev_trace_set(void *object, void *arg)
{
	struct dev_vm *vm = object;
	struct vmxcore_trace_set *s = arg;
	const struct core_trace_settings settings = {
		.kinds = s->kinds,
		.vcpu = s->vcpu,
		.exits = {s->exits[0], s->exits[1]},
		.records = s->records,
		.guest_time = trace_clock,
	};

	if (s->pad)
		return -EINVAL;
	return core_trace_replace(core_vm_trace(vm->core), &settings, &s->untold);
}

static void fill_record(struct vmxcore_trace_record *out, const struct core_trace_record *r)
{
	*out = (struct vmxcore_trace_record){
		.seq = r->seq,
		.time_ns = r->guest_time,
		.rip = r->rip,
		.gpa = r->gpa.v,
		.gva = r->gva.v,
		.qualification = r->qualification,
		.ep4ta = r->ep4ta,
		.vcpu = r->vcpu,
		.processor = r->processor,
		.exit_reason = r->exit_reason,
		.vpid = r->vpid,
		.kind = r->kind,
		.invalidation = r->insn,
		.cause = r->cause,
		.gva_valid = r->gva_valid,
	};
}

static void tell_waiting(struct core_trace *t, struct vmxcore_trace_read *q)
{
	q->waiting = (u32)core_trace_waiting(t, &q->next_seq);
}

long dev_trace_read(void *object, void *arg)
{
	struct dev_vm *vm = object;
	struct vmxcore_trace_read *q = arg;
	struct vmxcore_trace_record *out;
	struct core_trace_record *found;
	size_t n, i;
	long err = -ENOMEM;

	if (q->pad || q->count > DEV_MAX_TRACE_READ)
		return -EINVAL;
	if (q->count == 0) {
		tell_waiting(core_vm_trace(vm->core), q);
		q->lost = 0;
		return 0;
	}
	found = kvcalloc(q->count, sizeof(*found), GFP_KERNEL_ACCOUNT);
	out = kvcalloc(q->count, sizeof(*out), GFP_KERNEL_ACCOUNT);
	if (!found || !out)
		goto out;
	n = core_trace_read(core_vm_trace(vm->core), found, q->count, &q->lost);
	for (i = 0; i < n; i++)
		fill_record(&out[i], &found[i]);
	q->count = (u32)n;
	tell_waiting(core_vm_trace(vm->core), q);
	err = copy_to_user(u64_to_user_ptr(q->records), out, n * sizeof(*out)) ? -EFAULT : 0;
out:
	kvfree(out);
	kvfree(found);
	return err;
}
