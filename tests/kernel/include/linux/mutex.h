/* SPDX-License-Identifier: MIT */
/* Locks that sleep. Wrong use (twice by one thread, by another, while held) ends the program. */
#ifndef KERNEL_MUTEX_H
#define KERNEL_MUTEX_H

#include <linux/kernel.h>
#include <pthread.h>

struct mutex {
	pthread_mutex_t lock;
};

void mutex_init(struct mutex *m);
void mutex_destroy(struct mutex *m);
void mutex_lock(struct mutex *m);
void mutex_unlock(struct mutex *m);
/* -EINTR: the process is to die. */
int mutex_lock_killable(struct mutex *m);
/* 1: it is the caller's. */
int mutex_trylock(struct mutex *m);

#endif
