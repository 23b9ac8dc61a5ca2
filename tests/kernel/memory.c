/* SPDX-License-Identifier: MIT */
/* linux/slab.h, linux/uaccess.h; and core's own allocations, which are watched here. */
#include "kernel/memory.h"

#include <errno.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kernel/processors.h"
#include "plat/plat.h"

static struct {
	uint64_t used;
	uint64_t fail_at; /* allocations until one fails, and one; 0: none will */
	bool failed;
	uintptr_t user_first;
	size_t user_bytes; /* 0: no bounds */
	pid_t self;
} memory;

uint64_t memory_blocks_used(void)
{
	return plat_load(&memory.used);
}

void memory_fail_at(uint64_t n)
{
	plat_store(&memory.failed, false);
	plat_store(&memory.fail_at, n);
}

bool memory_has_failed(void)
{
	return plat_load(&memory.failed);
}

bool memory_fails(void)
{
	uint64_t at = plat_load(&memory.fail_at);

	while (at != 0 && !plat_cmpxchg(&memory.fail_at, &at, at - 1))
		;
	if (at == 1)
		plat_store(&memory.failed, true);
	return at == 1;
}

/* --- blocks ------------------------------------------------------------------------------- */

void *kcalloc(size_t count, size_t size, gfp_t flags)
{
	size_t bytes = array_size(count, size);
	void *ptr;

	if (!(flags & GFP_KERNEL))
		kernel_bug("an allocation with flags %#x", flags);
	may_sleep("an allocation");
	if (bytes == SIZE_MAX || memory_fails())
		return NULL;
	ptr = calloc(1, bytes ? bytes : 1);
	if (ptr)
		plat_fetch_add(&memory.used, 1);
	return ptr;
}

void *kzalloc(size_t size, gfp_t flags)
{
	return kcalloc(1, size, flags);
}

/* What nobody has written must not get out: it is not zero. */
void *kmalloc(size_t size, gfp_t flags)
{
	void *ptr = kcalloc(1, size, flags);

	if (ptr)
		memset(ptr, 0xa5, size);
	return ptr;
}

void kfree(const void *ptr)
{
	if (!ptr)
		return;
	plat_fetch_add(&memory.used, UINT64_MAX);
	free((void *)(uintptr_t)ptr);
}

/* --- core's allocations (linked with --wrap) ---------------------------------------------------
 */

void *__real_plat_calloc(size_t count, size_t size);
void __real_plat_free(void *ptr);
void *__real_plat_page_alloc(struct plat *p, hpa_t *ret_hpa);
void *__real_plat_page_alloc_raw(struct plat *p, hpa_t *ret_hpa);
void __real_plat_mutex_lock(struct plat_mutex *m);
void *__wrap_plat_calloc(size_t count, size_t size);
void __wrap_plat_free(void *ptr);
void *__wrap_plat_page_alloc(struct plat *p, hpa_t *ret_hpa);
void *__wrap_plat_page_alloc_raw(struct plat *p, hpa_t *ret_hpa);
void __wrap_plat_mutex_lock(struct plat_mutex *m);

void *__wrap_plat_calloc(size_t count, size_t size)
{
	void *ptr;

	may_sleep("plat_calloc()");
	if (memory_fails())
		return NULL;
	ptr = __real_plat_calloc(count, size);
	if (ptr)
		plat_fetch_add(&memory.used, 1);
	return ptr;
}

void __wrap_plat_free(void *ptr)
{
	may_sleep("plat_free()");
	if (ptr)
		plat_fetch_add(&memory.used, UINT64_MAX);
	__real_plat_free(ptr);
}

void *__wrap_plat_page_alloc(struct plat *p, hpa_t *ret_hpa)
{
	may_sleep("plat_page_alloc()");
	return memory_fails() ? NULL : __real_plat_page_alloc(p, ret_hpa);
}

void *__wrap_plat_page_alloc_raw(struct plat *p, hpa_t *ret_hpa)
{
	may_sleep("plat_page_alloc_raw()");
	return memory_fails() ? NULL : __real_plat_page_alloc_raw(p, ret_hpa);
}

void __wrap_plat_mutex_lock(struct plat_mutex *m)
{
	may_sleep("plat_mutex_lock()");
	__real_plat_mutex_lock(m);
}

void __wrap_plat_rest(void);

void __wrap_plat_rest(void)
{
	processor_rest("plat_rest()");
}

/* --- the program's memory ----------------------------------------------------------------------
 */

void memory_set_user(const void *base, size_t bytes)
{
	memory.user_first = (uintptr_t)base;
	memory.user_bytes = bytes;
}

static bool is_users(const void *at, size_t size)
{
	uintptr_t offset = (uintptr_t)at - memory.user_first;

	return memory.user_bytes == 0 ||
	       (offset <= memory.user_bytes && size <= memory.user_bytes - offset);
}

void memory_of_process(void)
{
	memory.self = getpid();
}

/* By a system call on the process itself: what is not there is its error. */
static unsigned long copy(const void *kernel, const void *user, unsigned long size, bool to_user)
{
	const struct iovec here = {.iov_base = (void *)(uintptr_t)kernel, .iov_len = size};
	const struct iovec there = {.iov_base = (void *)(uintptr_t)user, .iov_len = size};
	ssize_t n;

	may_sleep("a copy from or to the program");
	if (size == 0)
		return 0;
	if (!is_users(user, size))
		return size;
	n = to_user ? process_vm_writev(memory.self, &here, 1, &there, 1, 0)
		    : process_vm_readv(memory.self, &here, 1, &there, 1, 0);
	if (n < 0 && errno != EFAULT && errno != EINVAL && errno != ENOMEM)
		kernel_bug("memory of the process itself can't be copied: %s", strerror(errno));
	return size - (n < 0 ? 0 : (unsigned long)n);
}

unsigned long copy_from_user(void *to, const void __user *from, unsigned long size)
{
	unsigned long left = copy(to, from, size, false);

	/* As the kernel's does: nothing of the block stays what it was. */
	if (left)
		memset((char *)to + (size - left), 0, left);
	return left;
}

unsigned long copy_to_user(void __user *to, const void *from, unsigned long size)
{
	return copy(from, to, size, true);
}

void *memdup_user(const void __user *from, size_t size)
{
	void *ptr = kmalloc(size, GFP_KERNEL);

	if (!ptr)
		return ERR_PTR(-ENOMEM);
	if (copy_from_user(ptr, from, size)) {
		kfree(ptr);
		return ERR_PTR(-EFAULT);
	}
	return ptr;
}

void *vmemdup_user(const void __user *from, size_t size)
{
	return memdup_user(from, size);
}
