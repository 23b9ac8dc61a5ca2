/* SPDX-License-Identifier: MIT */
/* What the kernel's sources use without naming a header. */
#ifndef KERNEL_KERNEL_H
#define KERNEL_KERNEL_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/types.h>
#include <string.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096ul

/* With a message or without. */
#define static_assert(what, ...) _Static_assert((what), "" __VA_ARGS__)

#define BIT(n) (1ul << (n))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Both of one type, as the kernel insists. */
#define min(a, b)                                                                                 \
	({                                                                                        \
		__typeof__(a) min_a = (a);                                                        \
		__typeof__(b) min_b = (b);                                                        \
		static_assert(__builtin_types_compatible_p(__typeof__(min_a), __typeof__(min_b)), \
			      "min() of two types");                                              \
		min_a < min_b ? min_a : min_b;                                                    \
	})
#define min_t(type, a, b) min((type)(a), (type)(b))

#define READ_ONCE(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)

/* --- errors as pointers ---------------------------------------------------------------- */

#define KERNEL_ERRNO_MAX 4095

static inline void *ERR_PTR(long error)
{
	return (void *)error;
}

static inline long PTR_ERR(const void *ptr)
{
	return (long)ptr;
}

static inline bool IS_ERR(const void *ptr)
{
	return (unsigned long)ptr >= (unsigned long)-KERNEL_ERRNO_MAX;
}

static inline bool IS_ERR_OR_NULL(const void *ptr)
{
	return !ptr || IS_ERR(ptr);
}

/* --- text -------------------------------------------------------------------------------- */

/* Always ended; what was copied, or -E2BIG. */
ssize_t strscpy(char *to, const char *from, size_t size);

/* --- scheduling: voluntarily, so nothing is lost if it does nothing ------------------------ */

void cond_resched(void);

/* --- counters -------------------------------------------------------------------------------- */

typedef struct {
	int counter;
} atomic_t;

#define ATOMIC_INIT(n) \
	{              \
		(n)    \
	}

static inline int atomic_read(const atomic_t *a)
{
	return __atomic_load_n(&a->counter, __ATOMIC_RELAXED);
}

static inline void atomic_inc(atomic_t *a)
{
	__atomic_fetch_add(&a->counter, 1, __ATOMIC_RELAXED);
}

static inline void atomic_dec(atomic_t *a)
{
	__atomic_fetch_sub(&a->counter, 1, __ATOMIC_RELAXED);
}

#endif
