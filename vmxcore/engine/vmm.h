/* SPDX-License-Identifier: MIT */
/*
 * The user-space half of the VMM, the same for every engine: VMs and their lives, slots,
 * images, devices, emulation, requests and events. What runs the guests is a backend
 * (backend.h).
 *
 * Threads: the machine's thread serves requests and steps jobs. A backend may have a thread
 * for each vCPU, too: those handle their exits (vmm_exit()). A VM's lock protects all of
 * struct vmm_vm and what hangs on it; the machine's thread holds it while it serves a
 * request to the VM or steps its job, a vCPU's thread while it handles an exit, never in
 * guest. What is the whole machine's (struct vmm, the list of VMs, sums) belongs to the
 * machine's thread alone, but for the queue and what says otherwise.
 */
#ifndef VMXCORE_ENGINE_VMM_H
#define VMXCORE_ENGINE_VMM_H

#include "devices/console.h"
#include "devices/device.h"
#include "devices/exit_port.h"
#include "devices/uart.h"
#include "engine/backend.h"
#include "engine/emulate.h"
#include "engine/queue.h"
#include "engine/workers.h"
#include "loader/loader.h"

#define VMM_MAX_VMS 65536u
#define VMM_MAX_SLOTS 1024u
#define VMM_RAM_SLOT 0u

enum vmm_vcpu_run {
	VMM_VCPU_READY,
	VMM_VCPU_HALTED,    /* HLT; nothing wakes it yet */
	VMM_VCPU_WAIT_SIPI, /* every vCPU but the first */
};

struct vmm_vcpu {
	struct vmm_vm *vm;
	void *back;
	uint32_t index;
	uint32_t home; /* processor */
	bool pinned;   /* to its home, by the client; else a backend may run it anywhere */
	enum vmm_vcpu_run run;
	uint64_t exits;		/* that came back to the engine */
	struct core_stats past; /* of the vCPUs before the last start */
	uint64_t past_exits[VMX_EXIT_REASONS];
};

struct vmm_processor {
	uint32_t vcpus;		  /* that have their home here */
	uint64_t generation_told; /* of VPIDs, in the last notice; 0: none has been seen. Atomic */
	bool notice_queued;	  /* the queue's */
};

struct vmm_slot {
	struct core_slot core; /* core.mem: soft only */
	void *back;
	uint32_t kind; /* enum engine_slot_kind */
	uint32_t extents;
	hpa_t hpa_first;
	bool huge;
};

/* A file's content, kept for the next start, and shared by all VMs that were given the same. */
struct vmm_blob {
	struct vmm_blob *next; /* of its bucket */
	uint64_t hash;
	uint64_t users;
	size_t size; /* charged to memory_used, once */
	uint8_t *data;
};

#define VMM_BLOB_BUCKETS 1024u

/* Tracing, beside what core keeps. */
struct vmm_trace {
	uint32_t records; /* room; 0: off */
	uint64_t told;	  /* the next record's number at the last event */
	bool queued;	  /* the queue's */
};

/* The last vCPU that could run halted while the VM was paused: its end, when it goes on. */
struct vmm_halt {
	bool due;
	uint32_t vcpu;
	struct core_run_exit exit;
};

/* Notices of unimplemented instructions that one VM is good for. */
#define VMM_NOTICES_MAX 64u
#define VMM_NOTICE_LEN 24u

struct vmm_vm {
	struct vmm *machine;
	void *back; /* NULL: not open */
	pthread_mutex_t lock;
	uint64_t id;
	struct engine_vm_create config;
	struct engine_state_info state;
	bool state_changed;  /* a STATE event is due */
	bool has_run;	     /* since its image was loaded */
	bool loaded;	     /* its image is in its RAM, or there is none */
	struct vmm_job *job; /* in progress: later requests wait for its end */
	struct vmm_blob *image, *module[ENGINE_MAX_MODULES];
	struct loader_start start;
	struct vmm_halt halt;
	struct vmm_slot **slots; /* sorted by number; slot 0 is the RAM */
	size_t slot_count;
	uint32_t vcpu_count;
	struct vmm_vcpu *vcpus;
	struct port_bus bus;
	struct console console;
	uint64_t console_told; /* total at the last event */
	bool console_queued;   /* the queue's */
	struct uart uart;
	struct exit_port exit_port;
	struct vmm_trace trace;
	uint32_t notices;
	char (*noticed)[VMM_NOTICE_LEN]; /* the instructions that they told; malloc'ed */
	uint64_t mmio_unclaimed, emulated, injected;
};

struct vmm {
	struct engine engine;
	const struct backend *backend;
	void *back;
	struct engine_config cfg;
	struct engine_info info;
	struct queue queue;
	pthread_t thread;
	uint32_t processors;
	struct vmm_processor processor[CORE_MAX_CPUS];
	struct vmm_vm **vms;   /* sorted by id */
	struct vmm_vm *locked; /* whose lock the machine's thread holds, or NULL */
	size_t vm_count, vm_room;
	size_t creating; /* VMs that are being made, and not in the list yet */
	uint64_t next_vm;
	uint64_t memory_used;			  /* bytes of all slots, and of images */
	uint64_t table_bytes;			  /* EPT tables of all VMs */
	uint64_t table_promised;		  /* that changes in progress may need, too */
	uint64_t table_bytes_max;		  /* bound on both */
	uint32_t trace_records;			  /* room for them in all VMs */
	struct vmm_blob *blobs[VMM_BLOB_BUCKETS]; /* by hash */
	struct workers *readers;		  /* of files, which may hang */
	struct workers *movers;			  /* of much memory, which doesn't */
	struct vmm_job *ready, *parked;		  /* circular lists: to be stepped; waiting */
	uint64_t polled_ns;			  /* when parked jobs' progress was looked at */
};

/* What a request handler fills besides the error. */
struct vmm_reply {
	void *payload; /* malloc'ed; given to the event */
	size_t payload_bytes;
	uint64_t total, first, vm;
	struct engine_error error;
	struct vmm_job *job; /* goes on with the request; see vmm_job.h */
};

/* Keeps a vCPU out of its guest; the VM's lock is let go of meanwhile (backend.h). */
static inline void vmm_hold(struct vmm_vcpu *v)
{
	const struct backend *b = v->vm->machine->backend;

	if (b->vcpu_hold)
		b->vcpu_hold(v);
}

static inline void vmm_release(struct vmm_vcpu *v)
{
	const struct backend *b = v->vm->machine->backend;

	if (b->vcpu_release)
		b->vcpu_release(v);
}

typedef int (*vmm_handler)(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
			   struct vmm_reply *reply);

/* --- vmm.c --- */
__attribute__((format(printf, 5, 6))) int vmm_fail(struct vmm_reply *reply, int code,
						   enum engine_field field, uint64_t limit,
						   const char *format, ...);
/* Payload of count elements of size; NULL with the error set when memory is short. */
void *vmm_payload(struct vmm_reply *reply, size_t count, size_t size);

/* Does a request, or lets it wait for its VM's job. */
void vmm_serve(struct vmm *s, struct queue_request *rq);
/* Sends the completion; both are gone afterwards. */
void vmm_complete(struct vmm *s, struct queue_request *rq, struct vmm_reply *reply, int err);

/*
 * Takes the VM's lock, which the machine's thread holds for one VM at a time; a job that
 * frees its VM has let go of it then. In vmm_serve() and the jobs' steps; where all VMs are
 * looked at, in turn.
 */
void vmm_lock(struct vmm *s, struct vmm_vm *vm);
void vmm_unlock(struct vmm *s);

/* engine_kind.probe and .open of a backend. */
int vmm_open(const struct backend *backend, const struct engine_config *cfg, struct engine **ret);

/* --- vmm_exit.c: what becomes of the exits that core hands up --- */
/*
 * Handles an exit of v: with the VM's lock, by the thread that ran it. Afterwards it runs on
 * if vmm_may_run() says so.
 */
void vmm_exit(struct vmm_vcpu *v, struct emulator *emulator, const struct core_run_exit *x);
/* Its VM runs, and so does it. */
bool vmm_may_run(const struct vmm_vcpu *v);
/* Sends the events that are due after a quantum or an exit of v: state, console, trace. */
void vmm_tell(struct vmm_vcpu *v);
void vmm_set_state(struct vmm_vm *vm, enum engine_vm_state state, enum engine_state_reason reason);
/* Ends a VM whose last vCPU halted while it was paused. */
void vmm_end_halted(struct vmm_vm *vm);
/* It is halted no more; it runs if its VM does. */
void vmm_wake(struct vmm_vcpu *v);
/* UINT64_MAX: not observable. */
uint64_t vmm_guest_time(const struct vmm_vm *vm);
/* Sends the STATE event that is due. */
void vmm_tell_state(struct vmm_vm *vm);

/* --- vmm_vm.c --- */
struct vmm_vm *vmm_find_vm(struct vmm *s, uint64_t id);
/* The last of the list; its id is the highest. -ENOMEM. */
int vmm_vm_list(struct vmm *s, struct vmm_vm *vm);
/* Takes a VM that is only partly made, too. Where it may run its lock is held, and gone then. */
void vmm_vm_free(struct vmm *s, struct vmm_vm *vm);
/*
 * Waits until none of its vCPUs, which are not to run, is in guest. The VM's lock is let go
 * of meanwhile: exits that were on their way are handled then.
 */
void vmm_quiesce(struct vmm_vm *vm);
void vmm_reset_devices(struct vmm_vm *vm);
int vmm_vm_start(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
int vmm_vm_pause(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
int vmm_vm_resume(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
int vmm_vm_stop(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
int vmm_vm_reset(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);

/* --- vmm_make.c --- */
int vmm_vm_create(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
/* What CPUID answers: what the executor implements (x86/). -E2BIG: more than core takes. */
int vmm_cpuid(struct core_cpuid_entry ret[CORE_MAX_CPUID_ENTRIES], size_t *ret_count);

/* --- vmm_erase.c: giving memory back --- */
int vmm_vm_delete(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
/* With reply->job: vmm_slot_free(), when its memory is back with the host. */
int vmm_slot_erase(struct vmm *s, struct vmm_vm *vm, struct vmm_slot *slot,
		   struct vmm_reply *reply);

/* --- vmm_image.c: files' content --- */
/* One user less; the last frees it. NULL is allowed. */
void vmm_blob_put(struct vmm *s, struct vmm_blob *blob);

/* --- vmm_boot.c: images into memory, vCPUs into their first state --- */
/* Checks the image and learns where it starts; writes nothing. */
int vmm_boot_check(struct vmm *s, struct vmm_vm *vm, struct vmm_reply *reply);
/*
 * Sees to it that the RAM holds the image; zeroes it before where a former run is to be
 * forgotten. 0: it does. Otherwise reply->job does it, and ends with then(), if that is
 * not NULL.
 */
int vmm_boot_load(struct vmm *s, struct vmm_vm *vm, bool zero,
		  int (*then)(struct vmm *, struct vmm_vm *, struct vmm_reply *),
		  struct vmm_reply *reply);
int vmm_boot_vcpus(struct vmm *s, struct vmm_vm *vm, struct vmm_reply *reply);

/* --- vmm_mem.c --- */
struct vmm_slot *vmm_find_slot(const struct vmm_vm *vm, uint32_t number);
int vmm_slot_new(struct vmm *s, struct vmm_vm *vm, const struct engine_slot_add *add, int fd,
		 struct vmm_reply *reply);
/* The host gives no memory for one. */
int vmm_slot_refuse(const struct vmm *s, struct vmm_reply *reply, uint32_t kind, int err);
/* Nothing maps it any more. */
void vmm_slot_free(struct vmm *s, struct vmm_vm *vm, struct vmm_slot *slot);
void vmm_slots_free(struct vmm *s, struct vmm_vm *vm);
/* Brings the slots' mapped_bytes up to date. */
void vmm_slots_mapped(struct vmm_vm *vm);
int vmm_slot_list(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
int vmm_mem_read(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
int vmm_mem_write(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);

int vmm_slot_remove(struct vmm *, struct vmm_vm *, const struct queue_request *,
		    struct vmm_reply *);

/* --- vmm_change.c: mappings --- */
int vmm_mem_apply(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
void vmm_fill_change(struct engine_change *ret, const struct core_change *c, uint64_t eptp);

/* --- vmm_slot_file.c --- */
int vmm_slot_add(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
/*
 * For a job's steps: has done what the backend left to be done of a new slot (slot_populate).
 * 0, an error, or VMM_JOB_PARK: the next step calls vmm_populated(), which returns the same.
 * The slot stays the caller's, who frees it on an error.
 */
int vmm_populate(struct vmm *s, struct vmm_job *job, struct vmm_vm *vm, struct vmm_slot *slot);
int vmm_populated(struct vmm_job *job);

/* --- vmm_space.c: what is mapped, and what is dirty --- */
int vmm_mapping_list(struct vmm *, struct vmm_vm *, const struct queue_request *,
		     struct vmm_reply *);
int vmm_dirty(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);

/* --- vmm_hand.c: invalidations by hand --- */
int vmm_invalidate(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);

/* --- vmm_trace.c --- */
int vmm_trace_set(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
int vmm_trace_read(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
/* Sends a TRACE event if there is something new to read. */
void vmm_tell_trace(struct vmm_vm *vm);
/* The VM goes: takes back its event and its room. */
void vmm_trace_forget(struct vmm *s, struct vmm_vm *vm);

/* --- vmm_notice.c --- */
/* The processor's VPIDs are of this generation, as was seen after v had run there: tells it
 * if it is news. From any thread. */
void vmm_tell_recycled(struct vmm_vcpu *v, uint32_t processor, uint64_t generation);
/* v met an instruction that is not implemented: tells it if it is news for its VM. */
void vmm_tell_unimplemented(struct vmm_vcpu *v, const char *mnemonic, uint64_t rip);
/* The VM goes. */
void vmm_notices_forget(struct vmm_vm *vm);

/* --- vmm_console.c --- */
int vmm_console_write(struct vmm *, struct vmm_vm *, const struct queue_request *,
		      struct vmm_reply *);

/* --- vmm_vcpu.c: registers, events, the VMCS --- */
int vmm_vcpu_get(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
int vmm_vcpu_set(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
int vmm_vcpu_inject(struct vmm *, struct vmm_vm *, const struct queue_request *,
		    struct vmm_reply *);
int vmm_vmcs_get(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);

/* --- vmm_look.c, vmm_stats.c: looking, which changes nothing --- */
int vmm_vm_info(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
int vmm_walk(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
int vmm_vpid_list(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
int vmm_tlb_stats(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
int vmm_tlb_entries(struct vmm *, struct vmm_vm *, const struct queue_request *,
		    struct vmm_reply *);
int vmm_stats(struct vmm *, struct vmm_vm *, const struct queue_request *, struct vmm_reply *);
int vmm_console_read(struct vmm *, struct vmm_vm *, const struct queue_request *,
		     struct vmm_reply *);

/* --- vmm_stats.c: for backends' own rows --- */
struct stat_list {
	struct engine_stat *row;
	size_t count, room;
	bool failed; /* out of memory: the whole list is refused */
	struct engine_stat scope;
};

void stat_add(struct stat_list *l, const char *prefix, const char *name, const char *unit,
	      uint64_t value);
/* The same, of a counter that this engine can't observe: null. */
void stat_add_null(struct stat_list *l, const char *prefix, const char *name, const char *unit);
/* core's rows of a scope. past: counted before, by a predecessor; may be NULL. */
void stat_add_core(struct stat_list *l, const struct core_stats *stats,
		   const struct core_stats *past, enum core_stat_scope scope);

#endif
