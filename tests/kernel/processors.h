/* SPDX-License-Identifier: MIT */
/*
 * The processors under the stand-in kernel. A thread that must not be moved (get_cpu(),
 * migrate_disable(), a turn of a guest, a function called on a processor) has one to itself;
 * who wants it meanwhile waits in turn, and kicks it, so that a guest on it leaves.
 *
 * A kernel lets other threads run on a processor whose thread can't be moved, but sleeps; here
 * they wait. So a thread that has a processor must not wait for one that wants it.
 */
#ifndef TESTS_KERNEL_PROCESSORS_H
#define TESTS_KERNEL_PROCESSORS_H

#include <stdbool.h>

#define PROCESSORS_MAX 64u

/* Nobody has one. wander: a thread takes another one each time, if it may and can. */
void processors_init(unsigned count, bool wander);
unsigned processors_count(void);
/* What a kick does; NULL: nothing. Nobody has a processor. */
void processors_on_kick(void (*kick)(unsigned cpu));

/*
 * Takes a processor for the thread: its own if it has one, the one it is bound to, the last
 * it had, or any. Nests.
 */
unsigned processor_take(void);
void processor_give(void);
/* The same, of this one, by a thread that has none. */
void processor_take_this(unsigned cpu);
/* The one that the thread has; -1: none. */
int processor_mine(void);
/*
 * Lets those have it who wait for it, and takes it again: it stays the thread's as far as
 * hotplug goes. Of a thread that has none, too. what: who asks; it may sleep.
 */
void processor_rest(const char *what);
/* Binds the thread to one from its next take on; -1: to none. One that is not present binds
 * nobody. */
void processor_bind(int cpu);

/* Present: threads run there. Only hotplug changes that, by a thread that has it, */
bool processor_present(unsigned cpu);
void processor_set_present(unsigned cpu, bool present);
/* ... and, to take it away, has taken it so: nobody rests there. */
void processor_take_from_all(unsigned cpu);

/* The thread may not sleep from begin to end; they nest. */
void atomic_begin(void);
void atomic_end(void);
/* Ends the program if the thread may not sleep. what: who asks. */
void may_sleep(const char *what);

/* Something that the kernel's sources must not do: says so, and ends the program. */
_Noreturn void kernel_bug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
