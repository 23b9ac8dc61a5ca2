/* SPDX-License-Identifier: MIT */
/* See guard.h. The handler uses lock-free atomics and mmap() only. */
#include "plat/guard.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

/* A slot is free while bytes is 0; base is written before bytes. */
static struct {
	atomic_uintptr_t base;
	atomic_size_t bytes;
	atomic_ullong lost;
} ranges[PLAT_GUARD_MAX];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* add and remove */
static struct sigaction previous;

static bool replace_page(uintptr_t at)
{
	void *page = (void *)(at & ~(uintptr_t)(VMX_PAGE_SIZE - 1));

	return mmap(page, VMX_PAGE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

static bool guarded(uintptr_t at)
{
	for (size_t i = 0; i < PLAT_GUARD_MAX; i++) {
		size_t bytes = atomic_load(&ranges[i].bytes);

		if (at - atomic_load(&ranges[i].base) >= bytes)
			continue;
		if (!replace_page(at))
			return false;
		atomic_fetch_add(&ranges[i].lost, 1);
		return true;
	}
	return false;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	int saved = errno;
	bool done = info->si_code == BUS_ADRERR && guarded((uintptr_t)info->si_addr);

	errno = saved;
	if (done)
		return;
	if (previous.sa_flags & SA_SIGINFO)
		previous.sa_sigaction(sig, info, context);
	else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
		previous.sa_handler(sig);
	else
		signal(sig, SIG_DFL); /* the access is repeated, and ends the process */
}

/* Looks each time: somebody else may have taken the signal since, and is passed on to then. */
static int install(void)
{
	struct sigaction action = {.sa_sigaction = on_sigbus,
				   .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
	struct sigaction now;

	if (sigaction(SIGBUS, NULL, &now) != 0)
		return -errno;
	if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_sigbus)
		return 0;
	previous = now;
	sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, &action, NULL) == 0 ? 0 : -errno;
}

/* The range of this base, or (NULL) a free one; PLAT_GUARD_MAX if there is none. */
static size_t find(const void *base)
{
	for (size_t i = 0; i < PLAT_GUARD_MAX; i++) {
		bool used = atomic_load(&ranges[i].bytes) != 0;

		if (base ? used && atomic_load(&ranges[i].base) == (uintptr_t)base : !used)
			return i;
	}
	return PLAT_GUARD_MAX;
}

int plat_guard_add(const void *base, size_t bytes)
{
	size_t i;
	int rc;

	pthread_mutex_lock(&lock);
	rc = install();
	if (rc == 0 && find(base) == PLAT_GUARD_MAX) {
		i = find(NULL);
		if (i == PLAT_GUARD_MAX) {
			rc = -ENOSPC;
		} else {
			atomic_store(&ranges[i].lost, 0);
			atomic_store(&ranges[i].base, (uintptr_t)base);
			atomic_store(&ranges[i].bytes, bytes);
		}
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

void plat_guard_remove(const void *base)
{
	size_t i;

	pthread_mutex_lock(&lock);
	i = find(base);
	if (i < PLAT_GUARD_MAX)
		atomic_store(&ranges[i].bytes, 0);
	pthread_mutex_unlock(&lock);
}

uint64_t plat_guard_lost(const void *base)
{
	uint64_t lost = 0;
	size_t i;

	pthread_mutex_lock(&lock);
	i = find(base);
	if (i < PLAT_GUARD_MAX)
		lost = atomic_load(&ranges[i].lost);
	pthread_mutex_unlock(&lock);
	return lost;
}
