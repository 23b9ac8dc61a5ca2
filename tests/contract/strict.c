/* SPDX-License-Identifier: MIT */
#include "contract/strict.h"

#include "engine/soft.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* What a rule's violation ends with: the case that runs is named above it. */
#define RULE(x)                                                            \
	do {                                                               \
		if (!(x)) {                                                \
			fprintf(stderr, "%s: broken: %s\n", __func__, #x); \
			abort();                                           \
		}                                                          \
	} while (0)

/* One machine at a time is open. */
static struct {
	/* The software processor has one user: a quantum, or a change on another thread. */
	pthread_mutex_t processor;
	bool in_quantum;    /* vCPUs' exits are handled: as on a thread of their own */
	uint32_t populated; /* its address marks slots */
	unsigned held[ENGINE_MAX_VCPUS * 2];
	const struct vmm_vcpu *holder[ENGINE_MAX_VCPUS * 2];
} strict = {.processor = PTHREAD_MUTEX_INITIALIZER};

/* --- the machine ---------------------------------------------------------------------------- */

static void strict_describe(const struct vmm *s, struct engine_info *ret)
{
	backend_soft.describe(s, ret);
	snprintf(ret->name, sizeof(ret->name), "%s", STRICT_NAME);
}

static bool strict_run_some(struct vmm *s)
{
	bool ran;

	RULE(!s->locked);
	pthread_mutex_lock(&strict.processor);
	strict.in_quantum = true;
	ran = backend_soft.run_some(s);
	strict.in_quantum = false;
	pthread_mutex_unlock(&strict.processor);
	return ran;
}

/* Its patience is short, so that poll() has something to do. */
static int strict_patience(struct vmm *s)
{
	RULE(!s->locked);
	return 5;
}

static void strict_poll(struct vmm *s)
{
	RULE(!s->locked);
}

/* --- holding -------------------------------------------------------------------------------- */

/* A vCPU's place among those that are held; NULL: it is not. */
static unsigned *place_of(const struct vmm_vcpu *v)
{
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(strict.held); i++)
		if (strict.holder[i] == v)
			return &strict.held[i];
	return NULL;
}

static void strict_hold(struct vmm_vcpu *v)
{
	unsigned *place = place_of(v);

	RULE(v->vm->machine->locked == v->vm);
	/* As it is let go of where a vCPU's thread has to come out. */
	pthread_mutex_unlock(&v->vm->lock);
	pthread_mutex_lock(&v->vm->lock);
	if (!place) {
		place = place_of(NULL);
		RULE(place);
		strict.holder[place - strict.held] = v;
	}
	++*place;
}

static void strict_release(struct vmm_vcpu *v)
{
	unsigned *place = place_of(v);

	RULE(v->vm->machine->locked == v->vm);
	RULE(place && *place);
	if (--*place == 0)
		strict.holder[place - strict.held] = NULL;
}

/* By the vCPU's own thread, or it is held by the one that has the VM's lock. */
static void check_held(const struct vmm_vcpu *v)
{
	RULE(strict.in_quantum || (place_of(v) && v->vm->machine->locked == v->vm));
}

static void check_locked(const struct vmm_vm *vm)
{
	RULE(strict.in_quantum || vm->machine->locked == vm);
}

/* --- what needs a vCPU that is held --------------------------------------------------------- */

static int strict_get_regs(struct vmm_vcpu *v, struct core_regs *ret)
{
	check_held(v);
	return backend_soft.get_regs(v, ret);
}

static int strict_set_regs(struct vmm_vcpu *v, const struct core_regs *regs, const char **ret_field)
{
	check_held(v);
	return backend_soft.set_regs(v, regs, ret_field);
}

static int strict_inject(struct vmm_vcpu *v, const struct core_event *event)
{
	check_held(v);
	return backend_soft.inject(v, event);
}

static int strict_complete_io(struct vmm_vcpu *v, uint32_t value)
{
	check_held(v);
	return backend_soft.complete_io(v, value);
}

static int strict_complete_emulation(struct vmm_vcpu *v, const struct core_regs *regs)
{
	check_held(v);
	return backend_soft.complete_emulation(v, regs);
}

static int strict_walk(struct vmm_vcpu *v, gva_t a, uint32_t access, bool user, bool smap_off,
		       struct core_walk_result *ret)
{
	check_held(v);
	return backend_soft.walk(v, a, access, user, smap_off, ret);
}

static int strict_vmcs_read(struct vmm_vcpu *v, uint32_t field, uint64_t *ret)
{
	check_held(v);
	return backend_soft.vmcs_read(v, field, ret);
}

/* --- lives ---------------------------------------------------------------------------------- */

static void strict_vcpu_close(struct vmm_vcpu *v)
{
	RULE(!place_of(v));
	RULE(v->vm->machine->locked != v->vm);
	RULE(v->vm->state.state != ENGINE_STATE_RUNNING);
	backend_soft.vcpu_close(v);
}

static void strict_vcpu_run(struct vmm_vcpu *v, bool run)
{
	check_locked(v->vm);
	RULE(!run || v->vm->state.state == ENGINE_STATE_RUNNING);
	backend_soft.vcpu_run(v, run);
}

static void strict_vm_close(struct vmm_vm *vm)
{
	RULE(vm->machine->locked != vm);
	backend_soft.vm_close(vm);
}

/* --- mappings and memory -------------------------------------------------------------------- */

/* Large ones come from another thread, and the lock is free then. */
static int strict_apply(struct vmm_vm *vm, const struct core_map_op *ops, size_t count,
			uint32_t flags, struct core_change *ret, struct core_conflict *ret_conflict)
{
	size_t i;
	int err;

	for (i = 0; i < count; i++) {
		const struct vmm_slot *slot = (const struct vmm_slot *)ops[i].slot;

		RULE(!slot || slot->back == &strict.populated);
	}
	pthread_mutex_lock(&strict.processor);
	err = backend_soft.apply(vm, ops, count, flags, ret, ret_conflict);
	pthread_mutex_unlock(&strict.processor);
	return err;
}

static_assert(offsetof(struct vmm_slot, core) == 0, "a slot begins with core's part");

static int strict_lookup(struct vmm_vm *vm, gpa_t a, struct core_range *ret)
{
	check_locked(vm);
	return backend_soft.lookup(vm, a, ret);
}

/* Copied, as memory that lies elsewhere has to be. */
static const void *strict_code(struct vmm_vm *vm, const struct core_walk_result *at, void *buf)
{
	const void *page = backend_soft.code(vm, at, NULL);

	return page ? memcpy(buf, page, VMX_PAGE_SIZE) : NULL;
}

static int strict_populate(struct vmm_vm *vm, struct vmm_slot *slot, uint64_t *done)
{
	RULE(!pthread_equal(pthread_self(), vm->machine->thread));
	RULE(!slot->back);
	slot->back = &strict.populated;
	plat_fetch_add(done, slot->core.size);
	return 0;
}

static int strict_slot_read(struct vmm_vm *vm, const struct vmm_slot *slot, uint64_t offset,
			    void *buf, size_t len)
{
	check_locked(vm);
	RULE(slot->back == &strict.populated);
	return backend_soft.slot_read(vm, slot, offset, buf, len);
}

static int strict_slot_write(struct vmm_vm *vm, struct vmm_slot *slot, uint64_t offset,
			     const void *buf, size_t len)
{
	check_locked(vm);
	RULE(slot->back == &strict.populated);
	return backend_soft.slot_write(vm, slot, offset, buf, len);
}

/* --- all of it ------------------------------------------------------------------------------- */

struct backend strict_backend(void)
{
	struct backend b = backend_soft;

	b.name = STRICT_NAME;
	b.describe = strict_describe;
	b.run_some = strict_run_some;
	b.patience = strict_patience;
	b.poll = strict_poll;
	b.vm_close = strict_vm_close;
	b.vm_shrink = NULL;
	b.vcpu_close = strict_vcpu_close;
	b.vcpu_run = strict_vcpu_run;
	b.vcpu_hold = strict_hold;
	b.vcpu_release = strict_release;
	b.get_regs = strict_get_regs;
	b.set_regs = strict_set_regs;
	b.inject = strict_inject;
	b.complete_io = strict_complete_io;
	b.complete_emulation = strict_complete_emulation;
	b.walk = strict_walk;
	b.vmcs_read = strict_vmcs_read;
	b.apply = strict_apply;
	b.change_begin = NULL;
	b.change_step = NULL;
	b.change_cancel = NULL;
	b.change_progress = NULL;
	b.lookup = strict_lookup;
	b.code = strict_code;
	b.slot_populate = strict_populate;
	b.slot_read = strict_slot_read;
	b.slot_write = strict_slot_write;
	return b;
}
