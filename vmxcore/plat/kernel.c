// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* plat.h over the Linux kernel; see plat/kernel.h. */
#include <linux/atomic.h>
#include <linux/build_bug.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/irqflags.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>

#include <asm/processor.h>

#include "plat/kernel.h"

#define MAX_CPUS 64u
#define HUGE_ORDER 9u /* 2 MiB */
#define PAGES_PER_REST 65536u

static unsigned long max_pinned_mib;
module_param(max_pinned_mib, ulong, 0644);
MODULE_PARM_DESC(max_pinned_mib, "most MiB of guest memory that may be pinned by all virtual "
				 "machines together, besides RLIMIT_MEMLOCK (default 0: no limit)");

struct plat {
	unsigned int cpus;
	atomic64_t pages;
	atomic64_t pinned;
	atomic64_t claimed; /* pinned, or about to be */
};

/*
 * One entry a 4 KiB page, whatever it was allocated as. run[i]: so many pages from i on are
 * neighbours in host-physical memory, so that an extent is found at once, under whatever lock.
 * order[] tells what to free: HUGE_ORDER at a block's first page.
 */
struct plat_mem {
	uint64_t count;
	struct page **page;
	u32 *run;
	u8 *order;
	struct mm_struct *mm; /* pinned: who is charged; order is NULL */
};

static atomic64_t blocks = ATOMIC64_INIT(0);

int plat_kernel_create(unsigned int cpus, struct plat **ret)
{
	struct plat *p;

	if (cpus == 0 || cpus > MAX_CPUS)
		return -EINVAL;
	p = kzalloc(sizeof(*p), GFP_KERNEL);
	if (!p)
		return -ENOMEM;
	p->cpus = cpus;
	atomic64_set(&p->pages, 0);
	atomic64_set(&p->pinned, 0);
	atomic64_set(&p->claimed, 0);
	*ret = p;
	return 0;
}

uint64_t plat_kernel_destroy(struct plat *p)
{
	uint64_t left = plat_kernel_pages_used(p);

	kfree(p);
	return left;
}

uint64_t plat_kernel_blocks_used(void)
{
	return (uint64_t)atomic64_read(&blocks);
}

uint64_t plat_kernel_pages_used(const struct plat *p)
{
	return (uint64_t)atomic64_read(&p->pages);
}

/* --- pages ---------------------------------------------------------------------------- */

static void *get_page_as(struct plat *p, hpa_t *ret_hpa, gfp_t flags)
{
	void *page = (void *)__get_free_page(GFP_KERNEL_ACCOUNT | flags);

	if (!page)
		return NULL;
	atomic64_inc(&p->pages);
	*ret_hpa = hpa(virt_to_phys(page));
	return page;
}

void *plat_page_alloc(struct plat *p, hpa_t *ret_hpa)
{
	return get_page_as(p, ret_hpa, __GFP_ZERO);
}

void *plat_page_alloc_raw(struct plat *p, hpa_t *ret_hpa)
{
	return get_page_as(p, ret_hpa, 0);
}

void plat_page_free(struct plat *p, void *page, hpa_t addr)
{
	free_page((unsigned long)page);
	atomic64_dec(&p->pages);
}

void *plat_hpa_ptr(struct plat *p, hpa_t addr)
{
	return pfn_valid(hpa_pfn(addr)) ? phys_to_virt(addr.v) : NULL;
}

unsigned plat_maxphyaddr(struct plat *p)
{
	return boot_cpu_data.x86_phys_bits;
}

/* --- small memory ------------------------------------------------------------------------ */

void *plat_calloc(size_t count, size_t size)
{
	void *ptr = kvcalloc(count, size, GFP_KERNEL_ACCOUNT);

	if (ptr)
		atomic64_inc(&blocks);
	return ptr;
}

void plat_free(void *ptr)
{
	if (!ptr)
		return;
	kvfree(ptr);
	atomic64_dec(&blocks);
}

/* --- slots ----------------------------------------------------------------------------------- */

static void mem_free_pages(struct plat *p, struct plat_mem *m)
{
	uint64_t i = 0;

	while (i < m->count && m->page[i]) {
		unsigned int order = m->order[i];

		__free_pages(m->page[i], order);
		atomic64_sub(1 << order, &p->pages);
		i += 1u << order;
	}
}

static int mem_alloc_pages(struct plat *p, struct plat_mem *m, enum plat_kernel_mem kind)
{
	uint64_t i = 0;

	while (i < m->count) {
		unsigned int order = 0, k;
		struct page *page = NULL;

		if (kind == PLAT_KERNEL_MEM_HUGE_2M && m->count - i >= 1u << HUGE_ORDER) {
			order = HUGE_ORDER;
			page = alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN |
						   __GFP_NORETRY,
					   order);
		}
		if (!page) {
			order = 0;
			page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		}
		if (!page)
			return -ENOMEM;
		atomic64_add(1 << order, &p->pages);
		m->order[i] = (u8)order;
		for (k = 0; k < 1u << order; k++)
			m->page[i + k] = page + k;
		i += 1u << order;
	}
	return 0;
}

/* When the pages are all there. */
static void mem_find_runs(struct plat_mem *m)
{
	uint64_t i = m->count;

	while (i-- > 0) {
		bool goes_on = i + 1 < m->count &&
			       page_to_pfn(m->page[i + 1]) == page_to_pfn(m->page[i]) + 1;

		m->run[i] = goes_on ? m->run[i + 1] + 1 : 1;
		if (i % PAGES_PER_REST == 0)
			cond_resched();
	}
}

int plat_kernel_mem_create(struct plat *p, enum plat_kernel_mem kind, uint64_t size,
			   struct plat_mem **ret)
{
	struct plat_mem *m;
	int err = -ENOMEM;

	if (size == 0 || size % PAGE_SIZE || size > PLAT_KERNEL_MEM_MAX)
		return -EINVAL;
	m = plat_calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->count = size >> PAGE_SHIFT;
	m->page = plat_calloc(m->count, sizeof(struct page *));
	m->run = plat_calloc(m->count, sizeof(u32));
	m->order = plat_calloc(m->count, sizeof(u8));
	if (!m->page || !m->run || !m->order)
		goto out;
	err = mem_alloc_pages(p, m, kind);
	if (err)
		goto out_pages;
	mem_find_runs(m);
	*ret = m;
	return 0;

out_pages:
	mem_free_pages(p, m);
out:
	plat_free(m->order);
	plat_free(m->run);
	plat_free(m->page);
	plat_free(m);
	return err;
}

/* --- slots that are a process's memory ----------------------------------------------------- */

#define PIN_PAGES_AT_A_TIME 512ul /* then it may be interrupted */

static void uncharge(struct plat *p, struct mm_struct *mm, uint64_t pages)
{
	account_locked_vm(mm, pages, false);
	atomic64_sub((long)pages, &p->claimed);
}

/*
 * As locked memory of the process (VmLck in its status); it may be gone when the pages are let
 * go of, so its mm_struct is held. The module's own limit holds for everybody.
 */
static int charge(struct plat *p, struct mm_struct *mm, uint64_t pages)
{
	uint64_t most = (uint64_t)READ_ONCE(max_pinned_mib) << (20 - PAGE_SHIFT);
	uint64_t all = (uint64_t)atomic64_add_return((long)pages, &p->claimed);

	if ((most == 0 || all <= most) && account_locked_vm(mm, pages, true) == 0)
		return 0;
	atomic64_sub((long)pages, &p->claimed);
	return -EPERM;
}

static void unpin(struct plat *p, struct plat_mem *m, uint64_t pages)
{
	uint64_t done = 0;

	while (done < pages) {
		unsigned long n = min_t(uint64_t, pages - done, PIN_PAGES_AT_A_TIME);

		/* The guest wrote where no page table of the process's tells. */
		unpin_user_pages_dirty_lock(m->page + done, n, true);
		done += n;
		cond_resched();
	}
	atomic64_sub((long)pages, &p->pinned);
}

static int pin(struct plat *p, struct plat_mem *m, unsigned long address)
{
	uint64_t done = 0;

	while (done < m->count) {
		unsigned long n = min_t(uint64_t, m->count - done, PIN_PAGES_AT_A_TIME);
		int got;

		if (fatal_signal_pending(current)) {
			unpin(p, m, done);
			return -EINTR;
		}
		got = pin_user_pages_fast(address + (done << PAGE_SHIFT), (int)n,
					  FOLL_WRITE | FOLL_LONGTERM, m->page + done);
		if (got <= 0) {
			unpin(p, m, done);
			return got ? got : -EFAULT;
		}
		atomic64_add(got, &p->pinned);
		done += (uint64_t)got;
		cond_resched();
	}
	return 0;
}

int plat_kernel_mem_pin(struct plat *p, uint64_t address, uint64_t size, struct plat_mem **ret)
{
	struct plat_mem *m;
	int err;

	if (size == 0 || size % PAGE_SIZE || size > PLAT_KERNEL_MEM_MAX || address % PAGE_SIZE ||
	    address >= TASK_SIZE_MAX || size > TASK_SIZE_MAX - address)
		return -EINVAL;
	m = plat_calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->count = size >> PAGE_SHIFT;
	m->mm = current->mm;
	mmgrab(m->mm);
	m->page = plat_calloc(m->count, sizeof(struct page *));
	m->run = plat_calloc(m->count, sizeof(u32));
	err = m->page && m->run ? charge(p, m->mm, m->count) : -ENOMEM;
	if (err)
		goto out;
	err = pin(p, m, address);
	if (err)
		goto out_charge;
	mem_find_runs(m);
	*ret = m;
	return 0;

out_charge:
	uncharge(p, m->mm, m->count);
out:
	mmdrop(m->mm);
	plat_free(m->run);
	plat_free(m->page);
	plat_free(m);
	return err;
}

uint64_t plat_kernel_pages_pinned(const struct plat *p)
{
	return (uint64_t)atomic64_read(&p->pinned);
}

static void mem_release_pages(struct plat *p, struct plat_mem *m)
{
	if (!m->mm) {
		mem_free_pages(p, m);
		return;
	}
	unpin(p, m, m->count);
	uncharge(p, m->mm, m->count);
	mmdrop(m->mm);
}

void plat_kernel_mem_destroy(struct plat *p, struct plat_mem *m)
{
	if (!m)
		return;
	mem_release_pages(p, m);
	plat_free(m->order);
	plat_free(m->run);
	plat_free(m->page);
	plat_free(m);
}

int plat_mem_extent(const struct plat_mem *m, uint64_t offset, uint64_t max_bytes, hpa_t *ret_hpa,
		    uint64_t *ret_bytes)
{
	uint64_t first = offset >> PAGE_SHIFT, max = max_bytes >> PAGE_SHIFT;

	if (first >= m->count || max == 0 || max > m->count - first)
		return -ERANGE;
	*ret_hpa = hpa((uint64_t)page_to_pfn(m->page[first]) << PAGE_SHIFT);
	*ret_bytes = min_t(uint64_t, max, m->run[first]) << PAGE_SHIFT;
	return 0;
}

uint64_t plat_mem_size(const struct plat_mem *m)
{
	return m->count << PAGE_SHIFT;
}

static bool mem_range_bad(const struct plat_mem *m, uint64_t offset, size_t len)
{
	return offset > plat_mem_size(m) || len > plat_mem_size(m) - offset;
}

int plat_kernel_mem_read(const struct plat_mem *m, uint64_t offset, void *buf, size_t len)
{
	u8 *to = buf;

	if (mem_range_bad(m, offset, len))
		return -ERANGE;
	while (len) {
		size_t in = offset_in_page(offset), n = min_t(size_t, len, PAGE_SIZE - in);

		memcpy(to, page_address(m->page[offset >> PAGE_SHIFT]) + in, n);
		to += n;
		offset += n;
		len -= n;
	}
	return 0;
}

int plat_kernel_mem_write(struct plat_mem *m, uint64_t offset, const void *buf, size_t len)
{
	const u8 *from = buf;

	if (mem_range_bad(m, offset, len))
		return -ERANGE;
	while (len) {
		size_t in = offset_in_page(offset), n = min_t(size_t, len, PAGE_SIZE - in);

		memcpy(page_address(m->page[offset >> PAGE_SHIFT]) + in, from, n);
		from += n;
		offset += n;
		len -= n;
	}
	return 0;
}

/* --- locks --------------------------------------------------------------------------------- */

/*
 * The kernel's queued lock in plat_lock's own word: raw_spinlock_t would bring the
 * lock debugging's fields, whose size depends on the configuration. Interrupts are
 * off inside, so preemption is.
 */
static_assert(sizeof(arch_spinlock_t) == sizeof(((struct plat_lock *)0)->word));

static arch_spinlock_t *arch_lock(struct plat_lock *l)
{
	return (arch_spinlock_t *)&l->word;
}

void plat_lock_init(struct plat_lock *l)
{
	*arch_lock(l) = (arch_spinlock_t)__ARCH_SPIN_LOCK_UNLOCKED;
	l->irq_flags = 0;
}

void plat_lock(struct plat_lock *l)
{
	unsigned long flags;

	local_irq_save(flags);
	arch_spin_lock(arch_lock(l));
	l->irq_flags = flags;
}

void plat_unlock(struct plat_lock *l)
{
	unsigned long flags = l->irq_flags;

	arch_spin_unlock(arch_lock(l));
	local_irq_restore(flags);
}

struct plat_mutex {
	struct mutex mutex;
};

struct plat_mutex *plat_mutex_new(void)
{
	struct plat_mutex *m = plat_calloc(1, sizeof(*m));

	if (m)
		mutex_init(&m->mutex);
	return m;
}

void plat_mutex_delete(struct plat_mutex *m)
{
	if (!m)
		return;
	mutex_destroy(&m->mutex);
	plat_free(m);
}

void plat_mutex_lock(struct plat_mutex *m)
{
	mutex_lock(&m->mutex);
}

void plat_mutex_unlock(struct plat_mutex *m)
{
	mutex_unlock(&m->mutex);
}

/* --- processors ---------------------------------------------------------------------------- */

unsigned plat_cpu_count(struct plat *p)
{
	return p->cpus;
}

void plat_cpu_kick(struct plat *p, unsigned cpu)
{
	/* Any interrupt ends a guest's turn; this one does nothing else. */
	if (cpu < p->cpus && cpu_online(cpu))
		smp_send_reschedule((int)cpu);
}

void plat_mem_written(struct plat *p, hpa_t addr, uint64_t size)
{
}

void plat_cpu_relax(void)
{
	cpu_relax();
}

void plat_rest(void)
{
	cond_resched();
}
