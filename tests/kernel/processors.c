/* SPDX-License-Identifier: MIT */
/* See processors.h. */
#include "kernel/processors.h"

#include <linux/smp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Served in the order of arrival: who gives and takes again does not shut others out. */
struct processor {
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t turn;
	uint64_t next, serving; /* equal: nobody has it */
	unsigned resting;	/* threads that have it, but let others have it meanwhile */
	bool present;
};

static struct {
	struct processor p[PROCESSORS_MAX];
	unsigned count;
	bool wander;
	void (*kick)(unsigned cpu);
} processors;

/* The thread's. */
static _Thread_local struct {
	unsigned depth, cpu; /* has cpu if depth is not 0 */
	unsigned atomic;
	unsigned last;
	unsigned bound; /* 0: not; else the processor's number and one */
} me;

void kernel_bug(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("kernel stand-in: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	abort();
}

void processors_init(unsigned count, bool wander)
{
	static bool made;
	unsigned i;

	if (count == 0 || count > PROCESSORS_MAX)
		kernel_bug("%u processors", count);
	for (i = 0; i < PROCESSORS_MAX; i++) {
		struct processor *p = &processors.p[i];

		if (!made && (pthread_mutex_init(&p->lock, NULL) != 0 ||
			      pthread_cond_init(&p->turn, NULL) != 0))
			kernel_bug("no lock for a processor");
		if (p->next != p->serving)
			kernel_bug("processor %u is in use while it is made", i);
		p->present = i < count;
	}
	made = true;
	processors.count = count;
	processors.wander = wander;
}

unsigned processors_count(void)
{
	return processors.count;
}

void processors_on_kick(void (*kick)(unsigned cpu))
{
	processors.kick = kick;
}

/* --- taking and giving ---------------------------------------------------------------------- */

/* wait: until it is the caller's turn, whoever has it; it may be gone by then. */
static bool take(unsigned cpu, bool wait)
{
	struct processor *p = &processors.p[cpu];
	bool mine;

	pthread_mutex_lock(&p->lock);
	mine = p->present && p->next == p->serving;
	if (mine || wait) {
		uint64_t ticket = p->next++;

		/* As an interrupt would: a guest there leaves. */
		if (ticket != p->serving && processors.kick)
			processors.kick(cpu);
		while (ticket != p->serving)
			pthread_cond_wait(&p->turn, &p->lock);
		mine = p->present;
		if (!mine) {
			p->serving++;
			pthread_cond_broadcast(&p->turn);
		}
	}
	pthread_mutex_unlock(&p->lock);
	return mine;
}

static void has(unsigned cpu)
{
	me.depth = 1;
	me.cpu = cpu;
}

/* The one that it should be: bound to it, or for what the caches hold. */
static unsigned preferred(void)
{
	unsigned bound = me.bound ? me.bound - 1 : PROCESSORS_MAX;

	if (bound < processors.count && processor_present(bound))
		return bound;
	return (processors.wander ? me.last + 1 : me.last) % processors.count;
}

unsigned processor_take(void)
{
	unsigned first, i;

	if (me.depth) {
		me.depth++;
		return me.cpu;
	}
	may_sleep("waiting for a processor");
	for (;;) {
		first = preferred();
		if (me.bound && first == me.bound - 1) {
			if (take(first, true))
				break;
			continue;
		}
		for (i = 0; i < processors.count; i++, first = (first + 1) % processors.count) {
			if (take(first, false))
				break;
		}
		/* All are in use: the one that it would like. */
		if (i < processors.count || take(first, true))
			break;
		me.last = (first + 1) % processors.count; /* it has gone */
	}
	has(first);
	me.last = first;
	return first;
}

void processor_take_this(unsigned cpu)
{
	if (me.depth)
		kernel_bug("a thread on processor %u waits for processor %u", me.cpu, cpu);
	may_sleep("waiting for a processor");
	if (!take(cpu, true))
		kernel_bug("processor %u is not present", cpu);
	has(cpu);
}

void processor_give(void)
{
	struct processor *p = &processors.p[me.cpu];

	if (me.depth == 0)
		kernel_bug("a thread gives a processor that it has not");
	if (--me.depth)
		return;
	pthread_mutex_lock(&p->lock);
	p->serving++;
	pthread_cond_broadcast(&p->turn);
	pthread_mutex_unlock(&p->lock);
}

static void count_resting(struct processor *p, unsigned n)
{
	pthread_mutex_lock(&p->lock);
	p->resting += n;
	pthread_mutex_unlock(&p->lock);
}

void processor_rest(const char *what)
{
	unsigned depth = me.depth, cpu = me.cpu;

	may_sleep(what);
	if (depth == 0)
		return;
	count_resting(&processors.p[cpu], 1);
	me.depth = 1;
	processor_give();
	processor_take_this(cpu);
	me.depth = depth;
	count_resting(&processors.p[cpu], -1u);
}

void processor_take_from_all(unsigned cpu)
{
	struct processor *p = &processors.p[cpu];
	bool rests;

	do {
		processor_take_this(cpu);
		pthread_mutex_lock(&p->lock);
		rests = p->resting != 0;
		pthread_mutex_unlock(&p->lock);
		if (rests)
			processor_give();
	} while (rests);
}

int processor_mine(void)
{
	return me.depth ? (int)me.cpu : -1;
}

void processor_bind(int cpu)
{
	me.bound = cpu < 0 ? 0 : (unsigned)cpu + 1;
}

bool processor_present(unsigned cpu)
{
	struct processor *p = &processors.p[cpu];
	bool present;

	pthread_mutex_lock(&p->lock);
	present = p->present;
	pthread_mutex_unlock(&p->lock);
	return present;
}

void processor_set_present(unsigned cpu, bool present)
{
	struct processor *p = &processors.p[cpu];

	pthread_mutex_lock(&p->lock);
	p->present = present;
	pthread_mutex_unlock(&p->lock);
}

/* --- who may sleep -----------------------------------------------------------------------------
 */

void atomic_begin(void)
{
	me.atomic++;
}

void atomic_end(void)
{
	if (me.atomic-- == 0)
		kernel_bug("preemption is on already");
}

void may_sleep(const char *what)
{
	if (me.atomic)
		kernel_bug("%s where nothing may sleep", what);
}

/* --- linux/preempt.h, linux/smp.h ----------------------------------------------------------- */

void migrate_disable(void)
{
	(void)processor_take();
}

void migrate_enable(void)
{
	processor_give();
}

unsigned int get_cpu(void)
{
	unsigned int cpu = processor_take();

	atomic_begin();
	return cpu;
}

void put_cpu(void)
{
	atomic_end();
	processor_give();
}

unsigned int smp_processor_id(void)
{
	if (me.depth == 0)
		kernel_bug("smp_processor_id() of a thread that may be moved");
	return me.cpu;
}

int smp_call_function_single(int cpu, void (*fn)(void *), void *arg, int wait)
{
	may_sleep("calling a function on another processor");
	if (!wait)
		kernel_bug("a call that nobody waits for");
	if (cpu < 0 || (unsigned)cpu >= processors.count)
		return -ENXIO;
	if (processor_mine() == cpu) {
		me.depth++;
	} else {
		if (me.depth)
			kernel_bug("a thread on processor %u calls processor %d", me.cpu, cpu);
		if (!take((unsigned)cpu, true))
			return -ENXIO;
		has((unsigned)cpu);
	}
	atomic_begin();
	fn(arg);
	atomic_end();
	processor_give();
	return 0;
}
