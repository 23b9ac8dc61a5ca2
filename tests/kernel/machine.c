/* SPDX-License-Identifier: MIT */
/*
 * vmxcore/linux/machine.h on the software processor, and plat/kernel.h on the user-space
 * platform.
 *
 * Each processor is a model of its own: a model has one thread at a time, and they share what
 * processors share, memory. It keeps no decoded code, for nobody would tell it of others' writes;
 * their time stamp counters are kept in step here.
 */
#include "kernel/hardware.h"

#include <asm/tsc.h>
#include <linux/mutex.h>
#include <linux/smp.h>
#include <stdlib.h>

#include "core/vpid.h"
#include "kernel/fakedev.h"
#include "kernel/memory.h"
#include "kernel/processors.h"
#include "machine.h"
#include "plat/user.h"

#define PROCESSORS_DEFAULT 4u

unsigned int tsc_khz;

static struct {
	pthread_mutex_t lock; /* of what follows */
	struct fakedev_config cfg;
	unsigned int holders;
	bool going_down;
	struct plat *plat;
	struct core *core;
	struct model *model[PROCESSORS_MAX];
	uint64_t pinned;	 /* pages; atomic */
	uint64_t processor_time; /* the highest time stamp counter; atomic */
} machine = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct core *machine_core(void)
{
	return machine.core;
}

struct plat *machine_plat(void)
{
	return machine.plat;
}

struct hw_cpu *machine_hw(unsigned cpu)
{
	return cpu < PROCESSORS_MAX && machine.model[cpu] ? model_cpu(machine.model[cpu], 0) : NULL;
}

void fakedev_configure(const struct fakedev_config *cfg)
{
	pthread_mutex_lock(&machine.lock);
	if (machine.holders)
		kernel_bug("the machine is in use");
	machine.cfg = *cfg;
	pthread_mutex_unlock(&machine.lock);
}

/* --- one processor --------------------------------------------------------------------- */

static void kick(unsigned cpu)
{
	model_cpu_kick(machine.model[cpu], 0);
}

static void plat_kick(void *ctx, unsigned cpu)
{
	(void)ctx;
	kick(cpu);
}

static void online_here(void *ret)
{
	unsigned cpu = smp_processor_id();

	/* It may sleep before VMXON, as the kernel's own callback may. */
	atomic_end();
	*(int *)ret = core_cpu_online(machine.core, cpu, machine_hw(cpu));
	if (machine.cfg.vpid_limit)
		core_vpid_pool_init(&machine.core->cpus[cpu].vpids, machine.cfg.vpid_limit);
	atomic_begin();
}

static void offline_here(void *unused)
{
	(void)unused;
	core_cpu_offline(machine.core, smp_processor_id());
}

void machine_before_turn(unsigned cpu)
{
	struct hw_cpu *hw = machine_hw(cpu);
	uint64_t latest = plat_load(&machine.processor_time), now = model_cpu_time(hw);

	if (latest > now)
		model_cpu_advance_time(hw, latest - now);
}

void machine_after_turn(unsigned cpu)
{
	uint64_t now = model_cpu_time(machine_hw(cpu)), latest = plat_load(&machine.processor_time);

	while (latest < now && !plat_cmpxchg(&machine.processor_time, &latest, now))
		;
}

/* --- all of them ----------------------------------------------------------------------------- */

static void models_delete(void)
{
	unsigned i;

	for (i = 0; i < PROCESSORS_MAX; i++) {
		model_destroy(machine.model[i]);
		machine.model[i] = NULL;
	}
}

static int models_create(unsigned count)
{
	struct model_config cfg = {.plat = machine.plat, .cpus = 1, .unheard_writes = true};
	unsigned i;
	int err;

	for (i = 0; i < count; i++) {
		err = model_create(&cfg, &machine.model[i]);
		if (err) {
			models_delete();
			return err;
		}
	}
	return 0;
}

static int all_online(unsigned count)
{
	unsigned i;
	int err = 0;

	for (i = 0; i < count && !err; i++)
		(void)smp_call_function_single((int)i, online_here, &err, 1);
	return err;
}

static void all_offline(void)
{
	unsigned i;

	for (i = 0; i < processors_count(); i++)
		(void)smp_call_function_single((int)i, offline_here, NULL, 1);
}

static int machine_start(void)
{
	unsigned count = machine.cfg.processors ? machine.cfg.processors : PROCESSORS_DEFAULT;
	int err;

	err = plat_kernel_create(count, &machine.plat);
	if (err)
		return err;
	err = models_create(count);
	if (err)
		goto out_plat;
	err = core_create(machine.plat, count, &machine.core);
	if (err)
		goto out_models;
	processors_init(count, machine.cfg.wander);
	processors_on_kick(kick);
	machine.processor_time = 0;
	tsc_khz = machine.cfg.tsc_khz;
	err = all_online(count);
	if (err)
		goto out_online;
	return 0;

out_online:
	all_offline();
	processors_on_kick(NULL);
	core_destroy(machine.core);
	machine.core = NULL;
out_models:
	models_delete();
out_plat:
	plat_kernel_destroy(machine.plat);
	machine.plat = NULL;
	return err;
}

static uint64_t machine_stop(void)
{
	uint64_t left;

	all_offline();
	processors_on_kick(NULL);
	core_destroy(machine.core);
	machine.core = NULL;
	models_delete();
	left = plat_kernel_destroy(machine.plat);
	machine.plat = NULL;
	if (left || plat_load(&machine.pinned))
		kernel_bug("%llu pages and slots are left, %llu pages pinned",
			   (unsigned long long)left, (unsigned long long)machine.pinned);
	return left;
}

int machine_get(void)
{
	int err = 0;

	pthread_mutex_lock(&machine.lock);
	if (machine.going_down)
		err = -ESHUTDOWN;
	else if (machine.holders == 0)
		err = machine_start();
	if (!err)
		machine.holders++;
	pthread_mutex_unlock(&machine.lock);
	return err;
}

uint64_t machine_put(void)
{
	uint64_t left = 0;

	pthread_mutex_lock(&machine.lock);
	if (machine.holders == 0)
		kernel_bug("machine_put() by who does not hold it");
	if (--machine.holders == 0)
		left = machine_stop();
	pthread_mutex_unlock(&machine.lock);
	return left;
}

/* --- what may happen to a kernel ----------------------------------------------------------------
 */

int fakedev_hold(void)
{
	return machine_get();
}

void fakedev_release(void)
{
	(void)machine_put();
}

void fakedev_bind(int processor)
{
	processor_bind(processor);
}

void fakedev_processor_offline(unsigned processor)
{
	processor_take_from_all(processor);
	core_cpu_offline(machine.core, processor);
	processor_set_present(processor, false);
	processor_give();
}

void fakedev_processor_online(unsigned processor)
{
	int err = 0;

	processor_set_present(processor, true);
	(void)smp_call_function_single((int)processor, online_here, &err, 1);
	if (err)
		kernel_bug("processor %u does not come online: %d", processor, err);
}

void fakedev_going_down(bool down)
{
	pthread_mutex_lock(&machine.lock);
	machine.going_down = down;
	if (machine.holders) {
		if (down)
			all_offline();
		else if (all_online(processors_count()))
			kernel_bug("the machine does not come up again");
	}
	pthread_mutex_unlock(&machine.lock);
}

/* --- plat/kernel.h -------------------------------------------------------------------------------
 */

int plat_kernel_create(unsigned int cpus, struct plat **ret)
{
	const struct plat_user_config cfg = {.cpus = cpus,
					     .scatter = machine.cfg.scatter,
					     .seed = machine.cfg.seed,
					     .kick = plat_kick};

	return plat_user_create(&cfg, ret);
}

uint64_t plat_kernel_destroy(struct plat *p)
{
	return plat_user_destroy(p);
}

uint64_t plat_kernel_pages_pinned(const struct plat *p)
{
	(void)p;
	return plat_load(&machine.pinned);
}

/* Against the user's limit, before anything is pinned. */
static int charge(uint64_t pages)
{
	uint64_t limit =
		machine.cfg.memlock_bytes ? machine.cfg.memlock_bytes / VMX_PAGE_SIZE : UINT64_MAX;
	uint64_t now = plat_fetch_add(&machine.pinned, pages) + pages;

	if (now <= limit)
		return 0;
	plat_fetch_add(&machine.pinned, -pages);
	return -EPERM;
}

int plat_kernel_mem_pin(struct plat *p, uint64_t address, uint64_t size, struct plat_mem **ret)
{
	int err;

	may_sleep("plat_kernel_mem_pin()");
	if (size == 0 || size % VMX_PAGE_SIZE || size > PLAT_KERNEL_MEM_MAX ||
	    address % VMX_PAGE_SIZE || address >= MACHINE_USER_END ||
	    size > MACHINE_USER_END - address)
		return -EINVAL;
	if (memory_fails())
		return -ENOMEM;
	err = charge(size / VMX_PAGE_SIZE);
	if (err)
		return err;
	err = plat_mem_adopt(p, (void *)(uintptr_t)address, size, ret);
	if (err)
		plat_fetch_add(&machine.pinned, -(size / VMX_PAGE_SIZE));
	return err;
}

/* What a processor's caches point to must not go under it. */
static void forget_here(void *arg)
{
	const struct plat_mem *m = arg;
	uint64_t offset = 0, bytes;
	hpa_t at;

	while (offset < plat_mem_size(m) &&
	       plat_mem_extent(m, offset, plat_mem_size(m) - offset, &at, &bytes) == 0) {
		model_memory_removed(machine.model[smp_processor_id()], at, bytes);
		offset += bytes;
	}
}

void plat_kernel_mem_destroy(struct plat *p, struct plat_mem *m)
{
	unsigned i;

	if (!m)
		return;
	may_sleep("plat_kernel_mem_destroy()");
	for (i = 0; i < processors_count(); i++)
		(void)smp_call_function_single((int)i, forget_here, m, 1);
	plat_fetch_add(&machine.pinned, -(plat_mem_size(m) / VMX_PAGE_SIZE));
	plat_mem_destroy(p, m);
}
