/* SPDX-License-Identifier: MIT */
/* linux/mutex.h, linux/kref.h, linux/xarray.h, and what little else the kernel's library has. */
#include <linux/kref.h>
#include <linux/ktime.h>
#include <linux/mutex.h>
#include <linux/nospec.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/xarray.h>
#include <time.h>

#include "kernel/processors.h"

/* --- locks -------------------------------------------------------------------------------- */

static void must(int err, const char *what)
{
	if (err)
		kernel_bug("%s: %s", what, strerror(err));
}

void mutex_init(struct mutex *m)
{
	pthread_mutexattr_t a;

	must(pthread_mutexattr_init(&a), "mutex_init()");
	must(pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK), "mutex_init()");
	must(pthread_mutex_init(&m->lock, &a), "mutex_init()");
	pthread_mutexattr_destroy(&a);
}

void mutex_destroy(struct mutex *m)
{
	must(pthread_mutex_destroy(&m->lock), "mutex_destroy()");
}

void mutex_lock(struct mutex *m)
{
	may_sleep("mutex_lock()");
	must(pthread_mutex_lock(&m->lock), "mutex_lock()");
}

/* The kernel's looks only if it has to wait: who calls must expect it at any time. */
int mutex_lock_killable(struct mutex *m)
{
	if (fatal_signal_pending(current))
		return -EINTR;
	mutex_lock(m);
	return 0;
}

int mutex_trylock(struct mutex *m)
{
	int err = pthread_mutex_trylock(&m->lock);

	if (err && err != EBUSY)
		must(err, "mutex_trylock()");
	return !err;
}

void mutex_unlock(struct mutex *m)
{
	must(pthread_mutex_unlock(&m->lock), "mutex_unlock()");
}

/* --- counts ----------------------------------------------------------------------------------- */

void kref_init(struct kref *k)
{
	__atomic_store_n(&k->count, 1, __ATOMIC_RELAXED);
}

void kref_get(struct kref *k)
{
	if (__atomic_fetch_add(&k->count, 1, __ATOMIC_RELAXED) == 0)
		kernel_bug("kref_get() of what has gone");
}

int kref_put(struct kref *k, void (*release)(struct kref *))
{
	unsigned int before = __atomic_fetch_sub(&k->count, 1, __ATOMIC_ACQ_REL);

	if (before == 0)
		kernel_bug("kref_put() of what has gone");
	if (before > 1)
		return 0;
	release(k);
	return 1;
}

/* --- pointers by number ---------------------------------------------------------------------- */

void xa_init(struct xarray *xa)
{
	*xa = (struct xarray){0};
}

void xa_destroy(struct xarray *xa)
{
	kfree(xa->places);
	xa_init(xa);
}

/* Where number is, or would be. */
static size_t place_of(const struct xarray *xa, unsigned long number)
{
	size_t low = 0, high = xa->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (xa->places[mid].number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool is_at(const struct xarray *xa, size_t i, unsigned long number)
{
	return i < xa->count && xa->places[i].number == number;
}

static void *shown(void *entry)
{
	return entry == XA_ZERO_ENTRY ? NULL : entry;
}

static int make_room(struct xarray *xa, gfp_t flags)
{
	size_t room = xa->room ? 2 * xa->room : 4;
	struct xarray_place *places;

	if (xa->count < xa->room)
		return 0;
	places = kcalloc(room, sizeof(*places), flags);
	if (!places)
		return -ENOMEM;
	if (xa->count)
		memcpy(places, xa->places, xa->count * sizeof(*places));
	kfree(xa->places);
	xa->places = places;
	xa->room = room;
	return 0;
}

int xa_insert(struct xarray *xa, unsigned long number, void *entry, gfp_t flags)
{
	size_t i = place_of(xa, number);
	int err;

	if (is_at(xa, i, number))
		return -EBUSY;
	err = make_room(xa, flags);
	if (err)
		return err;
	memmove(&xa->places[i + 1], &xa->places[i], (xa->count - i) * sizeof(xa->places[0]));
	xa->places[i] = (struct xarray_place){number, entry};
	xa->count++;
	return 0;
}

void *xa_load(struct xarray *xa, unsigned long number)
{
	size_t i = place_of(xa, number);

	return is_at(xa, i, number) ? shown(xa->places[i].entry) : NULL;
}

void *xa_store(struct xarray *xa, unsigned long number, void *entry, gfp_t flags)
{
	size_t i = place_of(xa, number);
	void *old;
	int err;

	if (!entry)
		return xa_erase(xa, number);
	if (is_at(xa, i, number)) {
		old = shown(xa->places[i].entry);
		xa->places[i].entry = entry;
		return old;
	}
	err = xa_insert(xa, number, entry, flags);
	return err ? ERR_PTR(err) : NULL;
}

void *xa_erase(struct xarray *xa, unsigned long number)
{
	size_t i = place_of(xa, number);
	void *old;

	if (!is_at(xa, i, number))
		return NULL;
	old = shown(xa->places[i].entry);
	xa->count--;
	memmove(&xa->places[i], &xa->places[i + 1], (xa->count - i) * sizeof(xa->places[0]));
	return old;
}

void *xa_find(struct xarray *xa, unsigned long *number)
{
	size_t i;

	for (i = place_of(xa, *number); i < xa->count; i++) {
		if (!shown(xa->places[i].entry))
			continue;
		*number = xa->places[i].number;
		return xa->places[i].entry;
	}
	return NULL;
}

/* --- the rest ----------------------------------------------------------------------------------
 */

ssize_t strscpy(char *to, const char *from, size_t size)
{
	size_t n = strnlen(from, size);

	if (size == 0)
		return -E2BIG;
	if (n == size)
		n--;
	memcpy(to, from, n);
	to[n] = '\0';
	return from[n] ? -E2BIG : (ssize_t)n;
}

void cond_resched(void)
{
	processor_rest("cond_resched()");
}

u64 ktime_get_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}
