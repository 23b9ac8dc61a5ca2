/* SPDX-License-Identifier: MIT */
/*
 * VMs by name and by the engine's id, and their slots by name. A name is taken from the
 * moment its creation is begun until its deletion is done. VMs are counted references:
 * a call in progress keeps its VM though it be deleted meanwhile.
 */
#ifndef HVD_REGISTRY_H
#define HVD_REGISTRY_H

#include "hvd/definition.h"
#include "proto/proto.h"
#include <vmxcore/engine.h>

enum vm_phase { VM_CREATING, VM_READY, VM_DELETING, VM_GONE };

#define SLOT_RAM "ram" /* slot 0 */

struct slot {
	char name[PROTO_NAME_MAX + 1];
	uint32_t number;
	bool ready; /* the engine has it */
};

struct vm {
	unsigned refs;
	enum vm_phase phase;
	char name[PROTO_NAME_MAX + 1];
	char uuid[37];
	uint64_t id;			/* the engine's; valid from VM_READY on */
	struct engine_state_info state; /* the latest */
	uint64_t memory_bytes;
	uint32_t ept_page;
	uint32_t vcpus;
	bool use_vpid;
	struct definition *definition; /* NULL: transient */
	bool persistent;	       /* the definition is stored */
	struct slot *slots;
	size_t slot_count;
	uint32_t next_slot;	 /* numbers are not used twice */
	struct wait *waits;	 /* vm.wait's */
	struct watch *watches;	 /* hvd/watch.h */
	struct tracing *tracing; /* hvd/tracing.h; NULL: nobody traces it */
};

struct registry;

struct registry *registry_new(void);
void registry_free(struct registry *r);
size_t registry_count(const struct registry *r);
/* The i-th by name. */
struct vm *registry_at(const struct registry *r, size_t i);
/* Without a reference; NULL if there is none. */
struct vm *registry_find(const struct registry *r, const char *name);
struct vm *registry_find_id(const struct registry *r, uint64_t id);
/* Takes the name: VM_CREATING, one reference (the registry's). -EEXIST, -ENOMEM. */
int registry_add(struct registry *r, const char *name, struct vm **ret);
/* VM_READY under the engine's id. -ENOMEM. */
int registry_set_id(struct registry *r, struct vm *vm, uint64_t id);
/* Frees name and id: VM_GONE; drops the registry's reference. */
void registry_remove(struct registry *r, struct vm *vm);

/* What is known of it without asking the engine. */
void vm_set_params(struct vm *vm, const struct proto_vm_create_params *p);
struct vm *vm_ref(struct vm *vm);
void vm_unref(struct vm *vm); /* NULL is allowed */

struct slot *vm_slot_by_name(struct vm *vm, const char *name);
struct slot *vm_slot_by_number(struct vm *vm, uint32_t number);
/* -EEXIST, -ENOSPC (HVD_SLOTS_MAX), -ENOMEM. Not ready yet. */
int vm_slot_add(struct vm *vm, const char *name, uint32_t *ret_number);
void vm_slot_remove(struct vm *vm, uint32_t number);

#endif
