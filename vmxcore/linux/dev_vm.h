/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A VM's ioctls, by subject: object is the struct dev_vm, whose lock is held; arg is the
 * ioctl's structure (include/vmxcore/uapi.h), where the result goes, too.
 */
#ifndef VMXCORE_LINUX_DEV_VM_H
#define VMXCORE_LINUX_DEV_VM_H

#include "dev.h"

/* dev_slot.c: slots, and changes of what is mapped from them */
long dev_add_slot(void *object, void *arg);
long dev_remove_slot(void *object, void *arg);
long dev_slot_info(void *object, void *arg);
long dev_apply(void *object, void *arg);
/* Frees the slots of a VM whose mappings are gone. May sleep. */
void dev_slots_free(struct dev_vm *vm);
void dev_fill_change(struct vmxcore_change *ret, const struct core_change *c);

/* dev_memory.c: what is mapped, and the memory behind it */
long dev_ranges(void *object, void *arg);
long dev_lookup(void *object, void *arg);
long dev_dirty(void *object, void *arg);
long dev_memory(void *object, void *arg);
long dev_cmpxchg(void *object, void *arg);

/* dev_watch.c: invalidations by hand, counters, the trace */
long dev_invalidate(void *object, void *arg);
long dev_stats(void *object, void *arg);
long dev_trace_set(void *object, void *arg);
long dev_trace_read(void *object, void *arg);

#endif
