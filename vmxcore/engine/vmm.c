/* SPDX-License-Identifier: MIT */
/* The machine's thread, the table of requests, and making the machine. */
#include "engine/vmm_job.h"

#include "plat/atomic.h"

#include <assert.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* EPT tables of all VMs: four times what mapping all memory once in 4 KiB pages takes. */
#define TABLES_FLOOR (UINT64_C(64) << 20)
/* Files read at a time, files that hang and were given up, and memory moved at a time. */
#define READERS 8u
#define STRAY_READERS 16u
#define MOVERS 2u

int vmm_fail(struct vmm_reply *reply, int code, enum engine_field field, uint64_t limit,
	     const char *format, ...)
{
	struct engine_error *e = &reply->error;
	va_list ap;

	e->code = code;
	e->field = field;
	e->limit = limit;
	va_start(ap, format);
	vsnprintf(e->text, sizeof(e->text), format, ap);
	va_end(ap);
	return code;
}

void *vmm_payload(struct vmm_reply *reply, size_t count, size_t size)
{
	/* One byte at least: NULL means that memory is short. */
	void *p = calloc(count ? count : 1, size);

	if (!p) {
		vmm_fail(reply, -ENOMEM, ENGINE_FIELD_NONE, 0, "out of memory for the reply");
		return NULL;
	}
	free(reply->payload);
	reply->payload = p;
	reply->payload_bytes = count * size;
	return p;
}

/* --- requests ------------------------------------------------------------------------------- */

#define ANY_STATE UINT32_MAX
#define STATE(x) (UINT32_C(1) << ENGINE_STATE_##x)

static const struct {
	vmm_handler handle;
	uint32_t states;   /* in which it is possible */
	const char *needs; /* ... in words */
	bool no_vm;	   /* may come without a VM */
} requests[ENGINE_OP_COUNT] = {
	[ENGINE_VM_CREATE] = {vmm_vm_create, ANY_STATE, "", true},
	[ENGINE_VM_START] = {vmm_vm_start, STATE(SHUTOFF) | STATE(CRASHED),
			     "only a VM that is shutoff or crashed starts", false},
	[ENGINE_VM_PAUSE] = {vmm_vm_pause, STATE(RUNNING), "only a running VM pauses", false},
	[ENGINE_VM_RESUME] = {vmm_vm_resume, STATE(PAUSED), "only a paused VM resumes", false},
	[ENGINE_VM_STOP] = {vmm_vm_stop, ANY_STATE, "", false},
	[ENGINE_VM_DELETE] = {vmm_vm_delete, STATE(SHUTOFF) | STATE(CRASHED),
			      "stop it before it is deleted", false},
	[ENGINE_VM_INFO] = {vmm_vm_info, ANY_STATE, "", false},
	[ENGINE_SLOT_ADD] = {vmm_slot_add, ANY_STATE, "", false},
	[ENGINE_SLOT_LIST] = {vmm_slot_list, ANY_STATE, "", false},
	[ENGINE_MEM_APPLY] = {vmm_mem_apply, ANY_STATE, "", false},
	[ENGINE_MEM_READ] = {vmm_mem_read, ANY_STATE, "", false},
	[ENGINE_MEM_WRITE] = {vmm_mem_write, ANY_STATE, "", false},
	[ENGINE_WALK] = {vmm_walk, ANY_STATE, "", false},
	[ENGINE_VPID_LIST] = {vmm_vpid_list, ANY_STATE, "", true},
	[ENGINE_TLB_STATS] = {vmm_tlb_stats, ANY_STATE, "", true},
	[ENGINE_TLB_ENTRIES] = {vmm_tlb_entries, ANY_STATE, "", true},
	[ENGINE_STATS] = {vmm_stats, ANY_STATE, "", true},
	[ENGINE_CONSOLE_READ] = {vmm_console_read, ANY_STATE, "", false},
	[ENGINE_MAPPING_LIST] = {vmm_mapping_list, ANY_STATE, "", false},
	[ENGINE_DIRTY] = {vmm_dirty, ANY_STATE, "", false},
	[ENGINE_SLOT_REMOVE] = {vmm_slot_remove, ANY_STATE, "", false},
	[ENGINE_VM_RESET] = {vmm_vm_reset, STATE(RUNNING) | STATE(PAUSED) | STATE(CRASHED),
			     "start it instead", false},
	[ENGINE_INVALIDATE] = {vmm_invalidate, ANY_STATE, "", false},
	[ENGINE_VCPU_GET] = {vmm_vcpu_get, ANY_STATE, "", false},
	[ENGINE_VCPU_SET] = {vmm_vcpu_set, STATE(PAUSED) | STATE(SHUTOFF),
			     "registers are set while it is paused, or before its first start",
			     false},
	[ENGINE_VCPU_INJECT] = {vmm_vcpu_inject, STATE(RUNNING) | STATE(PAUSED),
				"only a running or paused VM takes events", false},
	[ENGINE_VMCS_GET] = {vmm_vmcs_get, ANY_STATE, "", false},
	[ENGINE_CONSOLE_WRITE] = {vmm_console_write, STATE(RUNNING) | STATE(PAUSED),
				  "only a running or paused VM takes input", false},
	[ENGINE_TRACE_SET] = {vmm_trace_set, ANY_STATE, "", false},
	[ENGINE_TRACE_READ] = {vmm_trace_read, ANY_STATE, "", false},
};

/* What looks at the RAM, which holds the image from then on only. */
static const bool needs_image[ENGINE_OP_COUNT] = {
	[ENGINE_VM_START] = true,
	[ENGINE_MEM_READ] = true,
	[ENGINE_MEM_WRITE] = true,
	[ENGINE_WALK] = true,
};

static int handle(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		  struct vmm_reply *reply)
{
	uint32_t op = rq->req.op;

	if (!vm && (rq->req.vm != 0 || !requests[op].no_vm))
		return vmm_fail(reply, -ENOENT, ENGINE_FIELD_VM, 0, "no such VM");
	if (vm && !(requests[op].states >> vm->state.state & 1))
		return vmm_fail(reply, -EBUSY, ENGINE_FIELD_STATE, 0, "the VM is %s: %s",
				engine_state_name(vm->state.state), requests[op].needs);
	return requests[op].handle(s, vm, rq, reply);
}

static void fill_state(const struct vmm_vm *vm, struct engine_state_info *ret)
{
	*ret = vm->state;
	ret->guest_time = vmm_guest_time(vm);
	ret->console_bytes = vm->console.total;
}

/* --- one VM's lock ----------------------------------------------------------------------- */

void vmm_lock(struct vmm *s, struct vmm_vm *vm)
{
	assert(!s->locked);
	pthread_mutex_lock(&vm->lock);
	s->locked = vm;
}

void vmm_unlock(struct vmm *s)
{
	struct vmm_vm *vm = s->locked;

	s->locked = NULL;
	pthread_mutex_unlock(&vm->lock);
}

/* --- serving them ---------------------------------------------------------------------------- */

void vmm_complete(struct vmm *s, struct queue_request *rq, struct vmm_reply *reply, int err)
{
	struct engine_event ev = {0};
	struct vmm_vm *vm;
	bool lock;

	if (err) {
		/* Every refusal has its text; an error of a lower layer at least its name. */
		if (reply->error.code == 0)
			vmm_fail(reply, err, ENGINE_FIELD_NONE, 0, "%s", strerrordesc_np(-err));
		free(reply->payload);
		reply->payload = NULL;
		reply->payload_bytes = 0;
		ev.error = reply->error;
	}
	ev.vm = reply->vm;
	ev.payload = reply->payload;
	ev.payload_bytes = reply->payload_bytes;
	ev.total = reply->total;
	ev.first = reply->first;
	vm = vmm_find_vm(s, reply->vm); /* made or gone meanwhile */
	lock = vm && s->locked != vm;
	if (lock)
		vmm_lock(s, vm);
	if (vm)
		fill_state(vm, &ev.state);
	queue_complete(&s->queue, rq, &ev);
	if (vm) {
		vmm_tell_trace(vm);
		vmm_tell_state(vm);
	}
	if (lock)
		vmm_unlock(s);
}

static int load_first(struct vmm *s, struct vmm_vm *vm, uint32_t op, struct vmm_reply *reply)
{
	if (!vm || vm->loaded || !needs_image[op])
		return 0;
	return vmm_boot_load(s, vm, false, NULL, reply);
}

/* Its handling as far as it goes at once; the VM, if there is one, is locked. */
static int serve_now(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		     struct vmm_reply *reply, bool *ret_first)
{
	int err = plat_load(&rq->cancelled) ? -ECANCELED : load_first(s, vm, rq->req.op, reply);

	*ret_first = !err && reply->job;
	return err || reply->job ? err : handle(s, vm, rq, reply);
}

void vmm_serve(struct vmm *s, struct queue_request *rq)
{
	struct vmm_vm *vm = vmm_find_vm(s, rq->req.vm);
	struct vmm_reply reply = {.vm = rq->req.vm};
	bool first; /* the VM's image: the request waits for that */
	int err;

	/* One that is cancelled need not wait, and nobody would look at it again if it did. */
	if (vm && vm->job && !plat_load(&rq->cancelled)) {
		vmm_job_wait(vm->job, rq);
		return;
	}
	if (vm)
		vmm_lock(s, vm);
	err = serve_now(s, vm, rq, &reply, &first);
	if (err || !reply.job)
		vmm_complete(s, rq, &reply, err);
	else if (first)
		vmm_job_wait(reply.job, rq);
	if (vm)
		vmm_unlock(s);
	if (!err && reply.job)
		vmm_job_begin(s, first ? NULL : rq, &reply);
}

void vmm_tell_state(struct vmm_vm *vm)
{
	struct engine_event ev = {.type = ENGINE_EVENT_STATE, .vm = vm->id};

	if (!vm->state_changed)
		return;
	vm->state_changed = false;
	fill_state(vm, &ev.state);
	queue_push(&vm->machine->queue, &ev);
}

/* --- the machine's thread -------------------------------------------------------------------- */

/* Jobs, images and VMs go; what hangs is left behind. */
static void end_all(struct vmm *s)
{
	vmm_jobs_end(s);
	while (s->vm_count) {
		struct vmm_vm *vm = s->vms[s->vm_count - 1];

		vmm_lock(s, vm);
		vmm_vm_free(s, vm);
	}
}

#define HOLD_NS UINT64_C(100000)

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The caller is woken for several completions at a time, unless they take long. */
static void serve_all(struct vmm *s, struct queue_request *rq)
{
	const uint64_t start = now_ns();
	bool held = rq && rq->next;

	if (held)
		queue_hold(&s->queue);
	while (rq) {
		struct queue_request *next = rq->next;

		if (held && now_ns() - start > HOLD_NS) {
			queue_release(&s->queue);
			held = false;
		}
		rq->next = NULL;
		vmm_serve(s, rq);
		rq = next;
	}
	if (held)
		queue_release(&s->queue);
}

/*
 * Where it shares a processor with its caller, a request that wakes it does not take the
 * processor from the caller, who may be about to send more. Otherwise this changes nothing.
 */
static void do_not_preempt(void)
{
	const struct sched_param none = {0};

	(void)sched_setscheduler(0, SCHED_BATCH, &none);
}

/* How long it may sleep: the shorter of what jobs and backend allow. */
static int patience(struct vmm *s)
{
	int jobs = vmm_jobs_patience(s), back = QUEUE_FOREVER;

	if (s->backend->patience)
		back = s->backend->patience(s);
	if (jobs == QUEUE_FOREVER || back == QUEUE_FOREVER)
		return jobs == QUEUE_FOREVER ? back : jobs;
	return back < jobs ? back : jobs;
}

/* The machine's thread: requests and pieces of jobs take turns with a backend's quanta. */
static void *machine_thread(void *arg)
{
	struct vmm *s = arg;
	const struct backend *b = s->backend;
	struct queue_taken taken;
	bool busy = false;

	do_not_preempt();
	for (;;) {
		queue_take(&s->queue, busy ? 0 : patience(s), &taken);
		if (taken.closing)
			break;
		vmm_jobs_poll(s, taken.cancelling);
		serve_all(s, taken.first);
		vmm_jobs_step(s);
		if (b->poll)
			b->poll(s);
		busy = b->run_some && b->run_some(s);
	}
	end_all(s);
	return NULL;
}

/* --- the table's side ------------------------------------------------------------------------- */

static struct vmm *vmm_of(struct engine *e)
{
	return (struct vmm *)e;
}

static void vmm_get_info(struct engine *e, struct engine_info *ret)
{
	*ret = vmm_of(e)->info;
}

static void vmm_close(struct engine *e)
{
	struct vmm *s = vmm_of(e);
	size_t leaked;

	queue_close(&s->queue);
	pthread_join(s->thread, NULL);
	workers_delete(s->readers);
	workers_delete(s->movers);
	leaked = s->backend->close(s);
	queue_fini(&s->queue);
	free(s->vms);
	/* Memory that its owner forgot would be lost to the daemon for good. */
	if (leaked) {
		fprintf(stderr, "%s engine: %zu pages or slots were not given back\n",
			s->backend->name, leaked);
		abort();
	}
	free(s);
}

static int vmm_submit(struct engine *e, const struct engine_request *req, const void *payload,
		      size_t payload_bytes, const int *fds, size_t fd_count)
{
	return queue_submit(&vmm_of(e)->queue, req, payload, payload_bytes, fds, fd_count);
}

static int vmm_event_fd(struct engine *e)
{
	return vmm_of(e)->queue.event_fd;
}

static int vmm_next_event(struct engine *e, struct engine_event *ret)
{
	return queue_next_event(&vmm_of(e)->queue, ret);
}

static void vmm_cancel(struct engine *e, uint64_t token)
{
	queue_cancel(&vmm_of(e)->queue, token);
}

static const struct engine_ops vmm_ops = {
	.get_info = vmm_get_info,
	.close = vmm_close,
	.submit = vmm_submit,
	.event_fd = vmm_event_fd,
	.next_event = vmm_next_event,
	.cancel = vmm_cancel,
};

/* The thread takes no signals: they are the caller's. */
static int start_thread(struct vmm *s)
{
	sigset_t all, old;
	int err;

	/* Signals are the caller's business, but for what an access itself raises (plat/guard.h).
	 */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&s->thread, NULL, machine_thread, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

static void work_done(void *ctx)
{
	queue_kick(ctx);
}

static int make_workers(struct vmm *s)
{
	const struct workers_config readers = {READERS, STRAY_READERS, work_done, &s->queue};
	const struct workers_config movers = {MOVERS, 0, work_done, &s->queue};
	int err = workers_new(&readers, &s->readers);

	return err ? err : workers_new(&movers, &s->movers);
}

int vmm_open(const struct backend *backend, const struct engine_config *cfg, struct engine **ret)
{
	struct vmm *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->engine.ops = &vmm_ops;
	s->backend = backend;
	s->cfg = *cfg;
	s->next_vm = 1;
	err = backend->config(&s->cfg);
	if (err)
		goto fail;
	s->table_bytes_max = s->cfg.memory_bytes / 128 + TABLES_FLOOR;
	err = queue_init(&s->queue);
	if (err)
		goto fail;
	err = backend->open(s);
	if (err)
		goto fail_queue;
	backend->describe(s, &s->info);
	err = make_workers(s);
	if (!err)
		err = start_thread(s);
	if (err)
		goto fail_machine;
	*ret = &s->engine;
	return 0;
fail_machine:
	workers_delete(s->movers);
	workers_delete(s->readers);
	backend->close(s);
fail_queue:
	queue_fini(&s->queue);
fail:
	free(s);
	return err;
}
