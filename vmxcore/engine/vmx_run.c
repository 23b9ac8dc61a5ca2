/* SPDX-License-Identifier: MIT */
/*
 * vCPUs' threads. Each sleeps until its vCPU may run, is in VMXCORE_RUN without the VM's
 * lock, takes the lock, and handles what the guest did.
 *
 * in_guest is set with the lock held, before the lock is let go of for VMXCORE_RUN; so who
 * has the lock and sees it not set knows that the guest doesn't run, and won't. A kick that
 * comes before the thread has got into the guest ends the run that it is about to begin.
 */
#include "engine/vmx.h"

#include "plat/atomic.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define STACK_BYTES (512u << 10)

#define SAME(a, b) static_assert((int)(a) == (int)(b), #a " is " #b)
SAME(VMXCORE_EXIT_BUDGET, CORE_RUN_BUDGET);
SAME(VMXCORE_EXIT_HLT, CORE_RUN_HLT);
SAME(VMXCORE_EXIT_IO, CORE_RUN_IO);
SAME(VMXCORE_EXIT_EMULATE, CORE_RUN_EMULATE);
SAME(VMXCORE_EXIT_EPT_DENIED, CORE_RUN_EPT_DENIED);
SAME(VMXCORE_EXIT_EPT_MISCONFIG, CORE_RUN_EPT_MISCONFIG);
SAME(VMXCORE_EXIT_TRIPLE_FAULT, CORE_RUN_TRIPLE_FAULT);
SAME(VMXCORE_EXIT_UNEXPECTED, CORE_RUN_UNEXPECTED);
SAME(VMXCORE_EXIT_ENTRY_FAILED, CORE_RUN_ENTRY_FAILED);
#undef SAME

/* --- where it runs ------------------------------------------------------------------------ */

/* Where it has to be; VMX_DEV_ANY: it floats. */
static uint32_t place_of(const struct vmx_vcpu *b)
{
	const struct vmm_vcpu *v = b->vcpu;

	return v->pinned || vmx_of(v->vm->machine)->fewer ? v->home : VMX_DEV_ANY;
}

static int bind_to(struct vmx_vcpu *b, uint32_t processor)
{
	int err = vmx_dev->bind(processor);

	if (!err)
		b->bound = processor;
	return err;
}

/*
 * The processor that it floated to is not in VMX operation: on to the next one, once round.
 * -ENODEV: none is.
 */
static int go_elsewhere(struct vmx_vcpu *b)
{
	uint32_t count = b->vcpu->vm->machine->processors;

	while (b->lost < count) {
		uint32_t next = b->bound == VMX_DEV_ANY ? 0 : (b->bound + 1) % count;

		b->lost++;
		if (bind_to(b, next) == 0)
			return 0;
		b->bound = next;
	}
	return -ENODEV;
}

uint32_t vmx_processor(const struct vmm_vcpu *v)
{
	struct vmxcore_vcpu_stats s = {0};
	struct vmx_vcpu *b = vmx_vcpu_of(v);

	if (!b)
		return v->home;
	/* It may float without an exit that would say so; active nowhere, it is where it was. */
	if (vmx_call(b->fd, VMXCORE_VCPU_STATS, &s) == 0 && s.processor < CORE_MAX_CPUS)
		b->processor = s.processor;
	return b->processor;
}

/* --- what a run comes to ----------------------------------------------------------------------
 */

static void take_exit(const struct vmxcore_run *r, struct core_run_exit *ret)
{
	*ret = (struct core_run_exit){
		.reason = (enum core_run_reason)r->reason,
		.exit_reason = r->exit_reason,
		.insn_error = r->insn_error,
		.qualification = r->qualification,
		.rip = r->rip,
		.insn_length = r->insn_length,
		.gpa = gpa(r->gpa),
		.linear = gva(r->gva),
		.linear_valid = r->gva_valid,
		.io = {.port = r->io_port,
		       .size = r->io_size,
		       .in = r->io_in,
		       .value = r->io_value},
		.intr_info = r->intr_info,
		.intr_error = r->intr_error,
		.vectoring_info = r->vectoring_info,
		.vectoring_error = r->vectoring_error,
	};
}

static void handle_exit(struct vmx_vcpu *b, const struct vmxcore_run *r)
{
	struct vmm_vcpu *v = b->vcpu;
	struct core_run_exit x;

	take_exit(r, &x);
	b->lost = 0;
	if (r->processor < CORE_MAX_CPUS)
		b->processor = r->processor;
	vmm_exit(v, vmx_vm_of(v->vm)->emulator, &x);
	vmm_tell(v);
	if (r->processor < CORE_MAX_CPUS)
		vmm_tell_recycled(v, r->processor, r->pool_generation);
}

static void set_run(struct vmx_vcpu *b, bool run)
{
	if (b->run == run)
		return;
	b->run = run;
	plat_fetch_add(&vmx_of(b->vcpu->vm->machine)->running, run ? 1u : UINT32_MAX);
}

/* The vCPU can't be run: that ends its VM. */
static void fail(struct vmx_vcpu *b, int err)
{
	struct vmm_vcpu *v = b->vcpu;
	struct engine_state_info *st = &v->vm->state;

	if (vmm_may_run(v)) {
		vmm_set_state(v->vm, ENGINE_STATE_CRASHED, ENGINE_REASON_INTERNAL);
		st->vcpu = v->index;
		if (err == -ENODEV && place_of(b) != VMX_DEV_ANY)
			snprintf(st->report, sizeof(st->report),
				 "vcpu %u: its processor %u is not in VMX operation (offline?)",
				 v->index, v->home);
		else if (err == -ENODEV)
			snprintf(st->report, sizeof(st->report),
				 "vcpu %u: no processor that it may run on is in VMX operation",
				 v->index);
		else
			snprintf(st->report, sizeof(st->report),
				 "vcpu %u: the kernel module can't run it: %s (error %d)", v->index,
				 strerrordesc_np(-err), -err);
	}
	/* It is not tried again before it is asked for anew. */
	set_run(b, false);
	b->lost = 0;
	vmm_tell(v);
}

/* --- the thread --------------------------------------------------------------------------- */

/* With the VM's lock, which is let go of in the guest. */
static int in_guest(struct vmx_vcpu *b, struct vmxcore_run *r)
{
	pthread_mutex_t *lock = &b->vcpu->vm->lock;
	int err;

	*r = (struct vmxcore_run){.complete = b->io_due, .io_in_value = b->io_value};
	b->in_guest = true;
	pthread_mutex_unlock(lock);
	err = vmx_call(b->fd, VMXCORE_RUN, r);
	pthread_mutex_lock(lock);
	b->in_guest = false;
	/* Whatever came of the run, the completion was done, unless it was never begun. */
	if (err != -EBUSY)
		b->io_due = false;
	pthread_cond_broadcast(&b->out);
	return err;
}

static void turn(struct vmx_vcpu *b)
{
	uint32_t place = place_of(b);
	struct vmxcore_run r;
	int err = 0;

	if (place != VMX_DEV_ANY && b->bound != place)
		err = bind_to(b, place);
	if (!err)
		err = in_guest(b, &r);
	if (err == -ENODEV && place == VMX_DEV_ANY && go_elsewhere(b) == 0)
		return;
	if (err == 0)
		handle_exit(b, &r);
	else if (err != -EINTR)
		fail(b, err);
}

static void *vcpu_thread(void *arg)
{
	struct vmx_vcpu *b = arg;
	pthread_mutex_t *lock = &b->vcpu->vm->lock;

	pthread_mutex_lock(lock);
	while (!b->closing) {
		if (b->run && !b->holds)
			turn(b);
		else
			pthread_cond_wait(&b->go, lock);
	}
	pthread_mutex_unlock(lock);
	return NULL;
}

/* Signals are the caller's business, but for what an access itself raises (plat/guard.h). */
static int start_thread(struct vmx_vcpu *b)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int err = pthread_attr_init(&attr);

	if (err)
		return -err;
	err = pthread_attr_setstacksize(&attr, STACK_BYTES);
	if (!err) {
		sigfillset(&all);
		sigdelset(&all, SIGBUS);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		err = pthread_create(&b->thread, &attr, vcpu_thread, b);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	pthread_attr_destroy(&attr);
	return -err;
}

/* --- opening and closing -------------------------------------------------------------------- */

static int create(const struct vmm_vcpu *v)
{
	struct vmxcore_create_vcpu c = {.index = v->index};

	return (int)vmx_ioctl(vmx_vm_of(v->vm)->fd, VMXCORE_CREATE_VCPU, &c);
}

int vmx_vcpu_open(struct vmm_vcpu *v)
{
	struct vmx_vcpu *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return -ENOMEM;
	*b = (struct vmx_vcpu){.vcpu = v, .processor = v->home, .bound = VMX_DEV_ANY};
	b->fd = create(v);
	if (b->fd < 0) {
		err = b->fd;
		goto fail;
	}
	pthread_cond_init(&b->go, NULL);
	pthread_cond_init(&b->out, NULL);
	v->back = b;
	err = start_thread(b);
	if (err)
		goto fail_conds;
	vmx_of(v->vm->machine)->objects++;
	return 0;

fail_conds:
	v->back = NULL;
	pthread_cond_destroy(&b->out);
	pthread_cond_destroy(&b->go);
	vmx_dev->close(b->fd);
fail:
	free(b);
	return err;
}

/* The lock is not held: nobody else has the VM any more, but this vCPU's thread. */
void vmx_vcpu_close(struct vmm_vcpu *v)
{
	struct vmx_vcpu *b = vmx_vcpu_of(v);

	if (!b)
		return;
	pthread_mutex_lock(&v->vm->lock);
	b->closing = true;
	set_run(b, false);
	if (b->in_guest)
		(void)vmx_ioctl(b->fd, VMXCORE_KICK, NULL);
	pthread_cond_signal(&b->go);
	pthread_mutex_unlock(&v->vm->lock);
	pthread_join(b->thread, NULL);
	pthread_cond_destroy(&b->out);
	pthread_cond_destroy(&b->go);
	if (b->fd >= 0)
		vmx_dev->close(b->fd);
	free(b);
	vmx_of(v->vm->machine)->objects--;
	v->back = NULL;
}

/*
 * A VM has one vCPU of an index at a time, so the old one goes first. If there is no new one
 * then, for want of memory or descriptors, it has no registers until a later renewal.
 */
int vmx_vcpu_renew(struct vmm_vcpu *v)
{
	struct vmx_vcpu *b = vmx_vcpu_of(v);
	int err = 0;

	vmx_vcpu_hold(v);
	if (b->fd >= 0) {
		vmx_keep_events(b);
		vmx_dev->close(b->fd);
	}
	b->io_due = false;
	b->fd = create(v);
	if (b->fd < 0) {
		err = b->fd;
		b->fd = -1;
	}
	vmx_vcpu_release(v);
	return err;
}

/* --- running and holding ---------------------------------------------------------------------- */

void vmx_vcpu_run(struct vmm_vcpu *v, bool run)
{
	struct vmx_vcpu *b = vmx_vcpu_of(v);

	if (b->run == run)
		return;
	set_run(b, run);
	if (run)
		pthread_cond_signal(&b->go);
	else if (b->in_guest)
		(void)vmx_ioctl(b->fd, VMXCORE_KICK, NULL);
}

/* By its own thread, too, which is not in guest then. */
void vmx_vcpu_hold(struct vmm_vcpu *v)
{
	struct vmx_vcpu *b = vmx_vcpu_of(v);

	b->holds++;
	if (!b->in_guest)
		return;
	(void)vmx_ioctl(b->fd, VMXCORE_KICK, NULL);
	while (b->in_guest)
		pthread_cond_wait(&b->out, &v->vm->lock);
}

void vmx_vcpu_release(struct vmm_vcpu *v)
{
	struct vmx_vcpu *b = vmx_vcpu_of(v);

	if (--b->holds == 0)
		pthread_cond_signal(&b->go);
}
