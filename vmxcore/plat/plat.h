/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What core needs of the platform below it. Two implementations:
 *   plat/user.c    one reserved arena is the machine's host-physical memory;
 *                  hpa to pointer is an addition (soft engine, unit tests)
 *   plat/kernel.c  pages of the kernel, its direct map, its locks (module)
 *
 * A struct plat is one machine. Functions marked "may sleep" must not be
 * called with a plat_lock held; "atomic" ones may be called anywhere.
 */
#ifndef VMXCORE_PLAT_H
#define VMXCORE_PLAT_H

#include "plat/atomic.h"
#include <vmxcore/types.h>

struct plat;
struct plat_mem; /* the memory behind one slot */

/* --- pages: 4 KiB, zeroed, for tables, VMCSs and MSR areas ------------------- */

/* NULL when memory is exhausted. May sleep. */
void *plat_page_alloc(struct plat *p, hpa_t *ret_hpa);
/* The same, but its content is undefined: for who writes all of it. May sleep. */
void *plat_page_alloc_raw(struct plat *p, hpa_t *ret_hpa);
/* Takes what either gave. Atomic. */
void plat_page_free(struct plat *p, void *page, hpa_t addr);
/*
 * The pointer to host-physical memory: valid for pages of plat_page_alloc() and
 * for extents of a slot, up to the end of the 4 KiB page (soft: of the arena).
 * NULL for an address that no memory answers. Atomic.
 */
void *plat_hpa_ptr(struct plat *p, hpa_t addr);
/* Highest valid host-physical address width, MAXPHYADDR. */
unsigned plat_maxphyaddr(struct plat *p);

/* --- small memory ------------------------------------------------------------- */

/* Zeroed; NULL when exhausted; refuses count * size that overflows. May sleep. */
void *plat_calloc(size_t count, size_t size);
/* NULL is allowed. May sleep (large blocks are vmalloc'ed in the kernel). */
void plat_free(void *ptr);

/* --- extents: what (offset, length) of a slot's memory is made of --------------- */

/*
 * The extent at offset: its host-physical address and how many bytes from there
 * are contiguous (at most max_bytes). offset and max_bytes are multiples of 4096
 * and lie inside the memory. 0, or -ERANGE outside. Atomic.
 */
int plat_mem_extent(const struct plat_mem *m, uint64_t offset, uint64_t max_bytes, hpa_t *ret_hpa,
		    uint64_t *ret_bytes);
uint64_t plat_mem_size(const struct plat_mem *m);

/* --- locks ---------------------------------------------------------------------- */

/* Spinlock; in the kernel taken with interrupts off. Nothing sleeps inside. */
struct plat_lock {
	uint32_t word;
	unsigned long irq_flags; /* kernel only; owned by the holder */
};

void plat_lock_init(struct plat_lock *l);
void plat_lock(struct plat_lock *l);
void plat_unlock(struct plat_lock *l);

/* Sleeping mutex, for work that reserves pages. May sleep. */
struct plat_mutex; /* opaque, allocated by the platform */

struct plat_mutex *plat_mutex_new(void); /* NULL when out of memory */
void plat_mutex_delete(struct plat_mutex *m);
void plat_mutex_lock(struct plat_mutex *m);
void plat_mutex_unlock(struct plat_mutex *m);

/* --- processors ------------------------------------------------------------------- */

unsigned plat_cpu_count(struct plat *p);
/*
 * Makes logical processor cpu leave its guest soon (an external-interrupt exit)
 * if it is in one; harmless if not. Does not wait. Atomic.
 */
void plat_cpu_kick(struct plat *p, unsigned cpu);
/*
 * core changed guest memory on behalf of a guest or client (soft: decoded code of
 * these bytes is stale; kernel: nothing to do). Atomic.
 */
void plat_mem_written(struct plat *p, hpa_t addr, uint64_t size);
/* Called while spinning for another processor's acknowledgement. Atomic. */
void plat_cpu_relax(void);
/*
 * Called by long work every few thousand entries, with no plat_lock held: others that want
 * the processor get it. May sleep.
 */
void plat_rest(void);

#endif
