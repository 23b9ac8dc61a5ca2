/* SPDX-License-Identifier: MIT */
/*
 * The soft engine, inside: one machine (core over the software processor) and one
 * thread that runs all of it in quanta. Everything below belongs to that thread
 * after soft_open(), but for the queue and what says otherwise.
 */
#ifndef VMXCORE_ENGINE_SOFT_H
#define VMXCORE_ENGINE_SOFT_H

#include "core/as.h"
#include "core/vcpu.h"
#include "devices/console.h"
#include "devices/device.h"
#include "devices/exit_port.h"
#include "devices/uart.h"
#include "engine/emulate.h"
#include "engine/queue.h"
#include "engine/workers.h"
#include "hw/model/model.h"
#include "loader/loader.h"
#include "plat/user.h"

#define SOFT_QUANTUM_DEFAULT UINT64_C(20000)
#define SOFT_QUANTUM_MAX UINT64_C(10000000)
#define SOFT_PROCESSORS_DEFAULT 2u
#define SOFT_MEMORY_DEFAULT (UINT64_C(256) << 30)
#define SOFT_MEMORY_MAX (UINT64_C(8) << 40)
#define SOFT_MAX_VMS 65536u
#define SOFT_MAX_SLOTS 1024u
#define SOFT_RAM_SLOT 0u

enum soft_vcpu_run {
	SOFT_VCPU_READY,
	SOFT_VCPU_HALTED,    /* HLT; nothing wakes it yet */
	SOFT_VCPU_WAIT_SIPI, /* every vCPU but the first */
};

struct soft_vcpu {
	struct soft_vm *vm;
	struct core_vcpu *core;
	uint32_t index;
	uint32_t home; /* processor */
	enum soft_vcpu_run run;
	struct model_account account;
	uint64_t exits;		/* that came back to the engine */
	struct core_stats past; /* of core vCPUs before the last start */
	uint64_t past_exits[VMX_EXIT_REASONS];
	uint32_t unimplemented_told; /* rows of the account that a notice was made of */
	/* Circular list of its processor's runnable vCPUs; NULL: not on it. */
	struct soft_vcpu *next, *prev;
};

struct soft_processor {
	struct core_cpu *core;
	struct hw_cpu *hw;
	struct soft_vcpu *turn;	  /* the next to run; NULL: none is runnable */
	uint32_t vcpus;		  /* that have their home here */
	uint64_t vmcs_misuses;	  /* a VMCS was active elsewhere, too: a defect */
	uint64_t generation_told; /* of VPIDs, in the last notice */
	bool notice_queued;	  /* the queue's */
};

struct soft_slot {
	struct core_slot core;
	uint32_t kind; /* enum engine_slot_kind */
	uint32_t extents;
	hpa_t hpa_first;
	bool huge;
};

/* A file's content, kept for the next start, and shared by all VMs that were given the same. */
struct soft_blob {
	struct soft_blob *next; /* of its bucket */
	uint64_t hash;
	uint64_t users;
	size_t size; /* charged to memory_used, once */
	uint8_t *data;
};

#define SOFT_BLOB_BUCKETS 1024u

/* Tracing, beside what core keeps. */
struct soft_trace {
	uint32_t records; /* room; 0: off */
	uint64_t told;	  /* the next record's number at the last event */
	bool queued;	  /* the queue's */
};

/* Notices of unimplemented instructions that one VM is good for. */
#define SOFT_NOTICES_MAX 64u

struct soft_vm {
	uint64_t id;
	struct core_vm *core;
	struct engine_vm_create config;
	struct engine_state_info state;
	bool state_changed;   /* a STATE event is due */
	bool has_run;	      /* since its image was loaded */
	bool loaded;	      /* its image is in its RAM, or there is none */
	struct soft_job *job; /* in progress: later requests wait for its end */
	struct soft_blob *image, *module[ENGINE_MAX_MODULES];
	struct loader_start start;
	struct soft_slot **slots; /* sorted by number; slot 0 is the RAM */
	size_t slot_count;
	uint32_t vcpu_count;
	struct soft_vcpu *vcpus;
	struct port_bus bus;
	struct console console;
	uint64_t console_told; /* total at the last event */
	bool console_queued;   /* the queue's */
	struct uart uart;
	struct exit_port exit_port;
	struct soft_trace trace;
	uint32_t notices;
	uint64_t mmio_unclaimed, emulated, injected;
};

struct soft {
	struct engine engine;
	struct engine_config cfg;
	struct engine_info info;
	struct queue queue;
	pthread_t thread;
	struct plat *plat;
	struct model *model;
	struct core *core;
	struct emulator *emulator;
	struct soft_processor processor[CORE_MAX_CPUS];
	uint32_t turn;	      /* processor to go on with */
	struct soft_vm **vms; /* sorted by id */
	size_t vm_count, vm_room;
	size_t creating; /* VMs that are being made, and not in the list yet */
	uint64_t next_vm;
	uint64_t memory_used;	  /* bytes of all slots, and of images */
	uint64_t table_bytes;	  /* EPT tables of all VMs */
	uint64_t table_promised;  /* that changes in progress may need, too */
	uint64_t table_bytes_max; /* bound on both */
	uint32_t trace_records;	  /* room for them in all VMs */
	uint64_t vmcs_misuse;	  /* a VMCS was active on two processors: a defect */
	size_t leaked;		  /* pages and slots left at close: a defect */
	struct soft_blob *blobs[SOFT_BLOB_BUCKETS]; /* by hash */
	struct workers *readers;		    /* of files, which may hang */
	struct workers *movers;			    /* of much memory, which doesn't */
	struct soft_job *ready, *parked;	    /* circular lists: to be stepped; waiting */
	uint64_t polled_ns;			    /* when parked jobs' progress was looked at */
};

/* What a request handler fills besides the error. */
struct soft_reply {
	void *payload; /* malloc'ed; given to the event */
	size_t payload_bytes;
	uint64_t total, first, vm;
	struct engine_error error;
	struct soft_job *job; /* goes on with the request; see soft_job.h */
};

typedef int (*soft_handler)(struct soft *s, struct soft_vm *vm, const struct queue_request *rq,
			    struct soft_reply *reply);

/* --- soft.c --- */
__attribute__((format(printf, 5, 6))) int soft_fail(struct soft_reply *reply, int code,
						    enum engine_field field, uint64_t limit,
						    const char *format, ...);
/* Payload of count elements of size; NULL with the error set when memory is short. */
void *soft_payload(struct soft_reply *reply, size_t count, size_t size);

/* Does a request, or lets it wait for its VM's job. */
void soft_serve(struct soft *s, struct queue_request *rq);
/* Sends the completion; both are gone afterwards. */
void soft_complete(struct soft *s, struct queue_request *rq, struct soft_reply *reply, int err);

/* --- soft_run.c: scheduling and exits --- */
/* Runs one quantum of one vCPU; false: nothing is runnable. */
bool soft_run_some(struct soft *s);
void soft_set_state(struct soft *s, struct soft_vm *vm, enum engine_vm_state state,
		    enum engine_state_reason reason);
/* It is halted no more; it runs if its VM does. */
void soft_wake(struct soft *s, struct soft_vcpu *v);
uint64_t soft_guest_time(const struct soft_vm *vm);
/* Sends the STATE event that is due. */
void soft_tell_state(struct soft *s, struct soft_vm *vm);

/* --- soft_vm.c --- */
struct soft_vm *soft_find_vm(struct soft *s, uint64_t id);
/* The last of the list; its id is the highest. -ENOMEM. */
int soft_vm_list(struct soft *s, struct soft_vm *vm);
void soft_vm_free(struct soft *s, struct soft_vm *vm);
void soft_vcpu_destroy(struct soft *s, struct core_vcpu *core);
void soft_reset_devices(struct soft_vm *vm);
int soft_vm_start(struct soft *, struct soft_vm *, const struct queue_request *,
		  struct soft_reply *);
int soft_vm_pause(struct soft *, struct soft_vm *, const struct queue_request *,
		  struct soft_reply *);
int soft_vm_resume(struct soft *, struct soft_vm *, const struct queue_request *,
		   struct soft_reply *);
int soft_vm_stop(struct soft *, struct soft_vm *, const struct queue_request *,
		 struct soft_reply *);
int soft_vm_reset(struct soft *, struct soft_vm *, const struct queue_request *,
		  struct soft_reply *);

/* --- soft_make.c --- */
int soft_vm_create(struct soft *, struct soft_vm *, const struct queue_request *,
		   struct soft_reply *);

/* --- soft_erase.c: giving memory back --- */
int soft_vm_delete(struct soft *, struct soft_vm *, const struct queue_request *,
		   struct soft_reply *);
/* With reply->job: soft_slot_free(), when its memory is back with the host. */
int soft_slot_erase(struct soft *s, struct soft_vm *vm, struct soft_slot *slot,
		    struct soft_reply *reply);

/* --- soft_image.c: files' content --- */
/* One user less; the last frees it. NULL is allowed. */
void soft_blob_put(struct soft *s, struct soft_blob *blob);

/* --- soft_boot.c: images into memory, vCPUs into their first state --- */
/* Checks the image and learns where it starts; writes nothing. */
int soft_boot_check(struct soft *s, struct soft_vm *vm, struct soft_reply *reply);
/*
 * Sees to it that the RAM holds the image; zeroes it before where a former run is to be
 * forgotten. 0: it does. Otherwise reply->job does it, and ends with then(), if that is
 * not NULL.
 */
int soft_boot_load(struct soft *s, struct soft_vm *vm, bool zero,
		   int (*then)(struct soft *, struct soft_vm *, struct soft_reply *),
		   struct soft_reply *reply);
int soft_boot_vcpus(struct soft *s, struct soft_vm *vm, struct soft_reply *reply);

/* --- soft_mem.c --- */
struct soft_slot *soft_find_slot(const struct soft_vm *vm, uint32_t number);
int soft_slot_new(struct soft *s, struct soft_vm *vm, const struct engine_slot_add *add, int fd,
		  struct soft_reply *reply);
/* Nothing maps it any more. */
void soft_slot_free(struct soft *s, struct soft_vm *vm, struct soft_slot *slot);
void soft_slots_free(struct soft *s, struct soft_vm *vm);
/* What is decoded from it is stale. */
void soft_slot_written(struct soft *s, struct soft_slot *slot);
int soft_slot_list(struct soft *, struct soft_vm *, const struct queue_request *,
		   struct soft_reply *);
int soft_mem_read(struct soft *, struct soft_vm *, const struct queue_request *,
		  struct soft_reply *);
int soft_mem_write(struct soft *, struct soft_vm *, const struct queue_request *,
		   struct soft_reply *);

int soft_slot_remove(struct soft *, struct soft_vm *, const struct queue_request *,
		     struct soft_reply *);

/* --- soft_change.c: mappings --- */
int soft_mem_apply(struct soft *, struct soft_vm *, const struct queue_request *,
		   struct soft_reply *);
void soft_fill_change(struct engine_change *ret, const struct core_change *c, uint64_t eptp);

/* --- soft_slot_file.c --- */
int soft_slot_add(struct soft *, struct soft_vm *, const struct queue_request *,
		  struct soft_reply *);

/* --- soft_space.c: what is mapped, and what is dirty --- */
int soft_mapping_list(struct soft *, struct soft_vm *, const struct queue_request *,
		      struct soft_reply *);
int soft_dirty(struct soft *, struct soft_vm *, const struct queue_request *, struct soft_reply *);

/* --- soft_hand.c: invalidations by hand --- */
int soft_invalidate(struct soft *, struct soft_vm *, const struct queue_request *,
		    struct soft_reply *);

/* --- soft_trace.c --- */
int soft_trace_set(struct soft *, struct soft_vm *, const struct queue_request *,
		   struct soft_reply *);
int soft_trace_read(struct soft *, struct soft_vm *, const struct queue_request *,
		    struct soft_reply *);
/* Sends a TRACE event if there is something new to read. */
void soft_tell_trace(struct soft *s, struct soft_vm *vm);
/* The VM goes: takes back its event and its room. */
void soft_trace_forget(struct soft *s, struct soft_vm *vm);

/* --- soft_notice.c --- */
/* After a quantum of v on p. */
void soft_tell_notices(struct soft *s, struct soft_processor *p, struct soft_vcpu *v);

/* --- soft_console.c --- */
int soft_console_write(struct soft *, struct soft_vm *, const struct queue_request *,
		       struct soft_reply *);

/* --- soft_vcpu.c: registers, events, the VMCS --- */
int soft_vcpu_get(struct soft *, struct soft_vm *, const struct queue_request *,
		  struct soft_reply *);
int soft_vcpu_set(struct soft *, struct soft_vm *, const struct queue_request *,
		  struct soft_reply *);
int soft_vcpu_inject(struct soft *, struct soft_vm *, const struct queue_request *,
		     struct soft_reply *);
int soft_vmcs_get(struct soft *, struct soft_vm *, const struct queue_request *,
		  struct soft_reply *);

/* --- soft_look.c, soft_stats.c: looking, which changes nothing --- */
int soft_vm_info(struct soft *, struct soft_vm *, const struct queue_request *,
		 struct soft_reply *);
int soft_walk(struct soft *, struct soft_vm *, const struct queue_request *, struct soft_reply *);
int soft_vpid_list(struct soft *, struct soft_vm *, const struct queue_request *,
		   struct soft_reply *);
int soft_tlb_stats(struct soft *, struct soft_vm *, const struct queue_request *,
		   struct soft_reply *);
int soft_tlb_entries(struct soft *, struct soft_vm *, const struct queue_request *,
		     struct soft_reply *);
int soft_stats(struct soft *, struct soft_vm *, const struct queue_request *, struct soft_reply *);
int soft_console_read(struct soft *, struct soft_vm *, const struct queue_request *,
		      struct soft_reply *);

#endif
