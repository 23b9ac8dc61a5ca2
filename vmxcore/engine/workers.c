/* SPDX-License-Identifier: MIT */
#include "engine/workers.h"

#include "plat/atomic.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

/* How long workers_delete() waits for threads whose work was given up. */
#define STRAY_PATIENCE_S 1

/* Freed by whoever leaves last: the owner or a thread. */
struct workers {
	struct workers_config cfg;
	pthread_mutex_t lock;
	pthread_cond_t wake;	   /* threads: work, or closing */
	pthread_cond_t gone;	   /* the owner: a thread has ended */
	struct work *first, *last; /* queued */
	struct work *done;
	unsigned queued;
	unsigned idle;	 /* threads that sleep */
	unsigned active; /* threads that are no strays */
	unsigned strays; /* threads whose work was given up, and that have not returned */
	bool closing;
	unsigned users; /* threads, and the owner */
};

int workers_new(const struct workers_config *cfg, struct workers **ret)
{
	struct workers *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->cfg = *cfg;
	p->users = 1;
	if (pthread_mutex_init(&p->lock, NULL) != 0)
		goto fail;
	if (pthread_cond_init(&p->wake, NULL) != 0)
		goto fail_lock;
	if (pthread_cond_init(&p->gone, NULL) != 0)
		goto fail_wake;
	*ret = p;
	return 0;
fail_wake:
	pthread_cond_destroy(&p->wake);
fail_lock:
	pthread_mutex_destroy(&p->lock);
fail:
	free(p);
	return -ENOMEM;
}

/* The lock is held, and released. */
static void leave(struct workers *p)
{
	bool last = --p->users == 0;

	pthread_cond_broadcast(&p->gone);
	pthread_mutex_unlock(&p->lock);
	if (!last)
		return;
	pthread_cond_destroy(&p->gone);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* --- threads --------------------------------------------------------------------------- */

/* The lock is held, but not while it runs. false: this thread has been replaced. */
static bool run_one(struct workers *p)
{
	struct work *w = p->first;

	p->first = w->next;
	if (!p->first)
		p->last = NULL;
	p->queued--;
	w->state = WORK_RUNNING;
	pthread_mutex_unlock(&p->lock);
	w->run(w);
	pthread_mutex_lock(&p->lock);
	if (w->state != WORK_GIVEN_UP) {
		w->state = WORK_DONE;
		w->next = p->done;
		p->done = w;
		p->cfg.wake(p->cfg.ctx);
		return true;
	}
	pthread_mutex_unlock(&p->lock);
	w->drop(w);
	pthread_mutex_lock(&p->lock);
	p->strays--;
	if (p->active == p->cfg.threads)
		return false;
	p->active++;
	return true;
}

static void *worker(void *arg)
{
	struct workers *p = arg;
	bool stay = true;

	pthread_mutex_lock(&p->lock);
	while (stay) {
		while (!p->first && !p->closing) {
			p->idle++;
			pthread_cond_wait(&p->wake, &p->lock);
			p->idle--;
		}
		if (!p->first) {
			p->active--;
			break;
		}
		stay = run_one(p);
	}
	leave(p);
	return NULL;
}

/* Signals are the caller's business, but for what an access itself raises (plat/guard.h). */
static int start_thread(struct workers *p)
{
	pthread_t thread;
	sigset_t all, old;
	int err;

	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&thread, NULL, worker, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return -EAGAIN;
	pthread_detach(thread);
	p->active++;
	p->users++;
	return 0;
}

/* The lock is held. Sees to it that work which waits has a thread, if it may have one. */
static int staff(struct workers *p)
{
	if (p->queued <= p->idle || p->active >= p->cfg.threads)
		return 0;
	if (p->strays && p->strays >= p->cfg.strays)
		return 0;
	return start_thread(p);
}

/* --- the submitter's side ------------------------------------------------------------------ */

int workers_submit(struct workers *p, struct work *w)
{
	int err;

	pthread_mutex_lock(&p->lock);
	p->queued++;
	err = staff(p);
	if (err && p->active == 0) {
		p->queued--;
		pthread_mutex_unlock(&p->lock);
		return err;
	}
	w->next = NULL;
	w->state = WORK_QUEUED;
	if (p->last)
		p->last->next = w;
	else
		p->first = w;
	p->last = w;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

struct work *workers_collect(struct workers *p)
{
	struct work *list, *w;

	pthread_mutex_lock(&p->lock);
	list = p->done;
	p->done = NULL;
	for (w = list; w; w = w->next)
		w->state = WORK_IDLE;
	pthread_mutex_unlock(&p->lock);
	return list;
}

/* The lock is held. */
static void take_out(struct workers *p, struct work *w)
{
	struct work **at = w->state == WORK_DONE ? &p->done : &p->first, *before = NULL;

	while (*at != w) {
		before = *at;
		at = &before->next;
	}
	*at = w->next;
	if (w->state == WORK_DONE)
		return;
	if (p->last == w)
		p->last = before;
	p->queued--;
}

void workers_give_up(struct workers *p, struct work *w)
{
	bool runs;

	pthread_mutex_lock(&p->lock);
	runs = w->state == WORK_RUNNING;
	if (runs) {
		w->state = WORK_GIVEN_UP;
		plat_store(&w->stop, 1);
		p->active--;
		p->strays++;
		(void)staff(p); /* if not now, then when the stray returns */
	} else {
		take_out(p, w);
	}
	pthread_mutex_unlock(&p->lock);
	if (!runs)
		w->drop(w);
}

void workers_delete(struct workers *p)
{
	struct timespec until;

	if (!p)
		return;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STRAY_PATIENCE_S;
	pthread_mutex_lock(&p->lock);
	p->closing = true;
	pthread_cond_broadcast(&p->wake);
	while (p->active != 0)
		pthread_cond_wait(&p->gone, &p->lock);
	while (p->users > 1)
		if (pthread_cond_timedwait(&p->gone, &p->lock, &until) != 0)
			break;
	leave(p);
}
