// SPDX-License-Identifier: MIT
/*
 * VPIDs: the pool by itself, and 70,000 vCPUs that exist at once on processors that
 * remember who filled which VPID.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/vcpu.h"
#include "fake_vmx.h"

#define CPUS 4u

static struct fake_machine *m;
static struct core *core;

static int setup(void **state)
{
	(void)state;
	if (fake_create(CPUS, &m) < 0 || core_create(m->plat, CPUS, &core) < 0)
		return -1;
	for (unsigned i = 0; i < CPUS; i++) {
		if (core_cpu_online(core, i, fake_cpu(m, i)) < 0)
			return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CPUS; i++)
		core_cpu_offline(core, i);
	core_destroy(core);
	return fake_destroy(m) == 0 ? 0 : -1;
}

static void pool_hands_out_each_once(void **state)
{
	struct core_cpu *cpu = &core->cpus[0];
	struct core_vpid a = {0}, b = {0};
	unsigned flushes = fake_cpu(m, 0)->invvpid[HW_INVVPID_ALL];

	(void)state;
	/* One that nobody has taken of is as good as new: VMXON came with a flush. */
	core_vpid_pool_init(&cpu->vpids, 5);
	assert_int_equal(core_vpid_left(cpu), 5);
	assert_true(core_vpid_take(cpu, &a, NULL, 0));
	assert_int_equal(a.vpid, 1);
	assert_int_equal(fake_cpu(m, 0)->invvpid[HW_INVVPID_ALL], flushes);
	core_vpid_pool_init(&cpu->vpids, 3);
	/* A pool that was in use begins anew with a flush. */
	assert_int_equal(core_vpid_left(cpu), 0);
	a = (struct core_vpid){0};
	assert_true(core_vpid_take(cpu, &a, NULL, 0));
	assert_int_equal(fake_cpu(m, 0)->invvpid[HW_INVVPID_ALL], flushes + 1);
	assert_int_equal(a.vpid, 1);
	assert_int_equal(core_vpid_left(cpu), 2);
	assert_false(core_vpid_take(cpu, &a, NULL, 0)); /* still valid */
	assert_true(core_vpid_take(cpu, &b, NULL, 0));
	assert_int_equal(b.vpid, 2);
	assert_true(core_vpid_valid(cpu, &a) && core_vpid_valid(cpu, &b));
	assert_false(core_vpid_valid(&core->cpus[1], &a));
	/* Moving away and back: a fresh one each time. */
	assert_true(core_vpid_take(&core->cpus[1], &a, NULL, 0));
	assert_int_equal(a.cpu, 1);
	assert_true(core_vpid_take(cpu, &a, NULL, 0));
	assert_int_equal(a.vpid, 3);
	/* The end: everyone's is void at once. */
	b.vpid = 2;
	a.cpu = 9;
	assert_true(core_vpid_take(cpu, &a, NULL, 0));
	assert_int_equal(a.vpid, 1);
	assert_false(core_vpid_valid(cpu, &b));
	assert_int_equal(fake_cpu(m, 0)->invvpid[HW_INVVPID_ALL], flushes + 2);
	assert_int_equal(core_stat_get(&cpu->stats, CORE_STAT_VPID_RECYCLES), 2);
}

static void limits_are_clamped(void **state)
{
	struct core_vpid_pool pool = {0};

	(void)state;
	core_vpid_pool_init(&pool, 0);
	assert_int_equal(pool.limit, CORE_VPID_MAX);
	assert_int_equal(pool.generation, 1);
	assert_int_equal(pool.next, 1);
	core_vpid_pool_init(&pool, 65536);
	assert_int_equal(pool.limit, CORE_VPID_MAX);
}

/* --- many vCPUs ---------------------------------------------------------------------------- */

struct crowd {
	struct core_vm *vm;
	struct core_vcpu **vcpu;
	size_t count;
};

static void crowd_create(struct crowd *c, size_t count)
{
	struct core_vm_config cfg = {.use_vpid = true};

	c->count = count;
	c->vcpu = calloc(count, sizeof(c->vcpu[0]));
	assert_non_null(c->vcpu);
	assert_int_equal(core_vm_create(core, &cfg, &c->vm), 0);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(core_vcpu_create(c->vm, (uint32_t)i, &c->vcpu[i]), 0);
}

static void crowd_destroy(struct crowd *c)
{
	for (size_t i = 0; i < c->count; i++) {
		int cpu = core_vcpu_active_cpu(c->vcpu[i]);

		if (cpu >= 0)
			core_vcpu_deactivate(c->vcpu[i], &core->cpus[cpu]);
		core_vcpu_destroy(c->vcpu[i]);
	}
	core_vm_destroy(c->vm);
	free(c->vcpu);
}

static void run_on(struct core_vcpu *v, unsigned cpu)
{
	int active = core_vcpu_active_cpu(v);
	struct core_run_exit ret;

	if (active >= 0 && active != (int)cpu)
		core_vcpu_deactivate(v, &core->cpus[active]);
	core_vcpu_run(v, &core->cpus[cpu], 1000, &ret);
	assert_int_equal(ret.reason, CORE_RUN_KICKED);
}

static void assert_clean(void)
{
	assert_int_equal(m->stale_uses, 0);
	assert_int_equal(m->active_on_two, 0);
	assert_int_equal(m->entry_errors, 0);
}

static void seventy_thousand_enter_twice(void **state)
{
	const size_t count = 70000;
	struct crowd c;

	(void)state;
	crowd_create(&c, count);
	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = 0; i < count; i++)
			run_on(c.vcpu[i], 0);
	}
	assert_clean();
	assert_int_equal(fake_cpu(m, 0)->entries, 2 * count);
	/* 140,000 tags, 65,535 a generation: flushed twice, not once an entry. */
	assert_int_equal(core_stat_get(&core->cpus[0].stats, CORE_STAT_VPID_RECYCLES),
			 (2 * count - 1) / CORE_VPID_MAX);
	crowd_destroy(&c);
}

/* Few VPIDs, and vCPUs that wander: each arrival takes a fresh one. */
static void wanderers_with_few_vpids(void **state)
{
	static const uint32_t limits[] = {1, 2, 3, 7, 100};
	uint32_t random = 12345;

	(void)state;
	for (size_t l = 0; l < VMX_ARRAY_SIZE(limits); l++) {
		struct crowd c;

		for (unsigned i = 0; i < CPUS; i++)
			core_vpid_pool_init(&core->cpus[i].vpids, limits[l]);
		crowd_create(&c, 40);
		for (unsigned i = 0; i < 4000; i++) {
			random = random * 1103515245 + 12345;
			run_on(c.vcpu[(random >> 8) % 40], random >> 24 & (CPUS - 1));
		}
		assert_clean();
		crowd_destroy(&c);
	}
}

/* The machine itself must be able to tell: without the flush, it does. */
static void the_fake_tells_stale_uses(void **state)
{
	struct crowd c;

	(void)state;
	crowd_create(&c, 2);
	run_on(c.vcpu[0], 0);
	core->cpus[0].vpids.next = 1; /* hands VPID 1 out again */
	run_on(c.vcpu[1], 0);
	assert_int_equal(m->stale_uses, 1);
	crowd_destroy(&c);
}

static void without_vpid_none_is_taken(void **state)
{
	struct core_vm_config cfg = {.use_vpid = false};
	struct core_vcpu *v;
	struct core_vm *vm;
	bool valid;

	(void)state;
	assert_int_equal(core_vm_create(core, &cfg, &vm), 0);
	assert_false(core_vm_uses_vpid(vm));
	assert_int_equal(core_vcpu_create(vm, 0, &v), 0);
	run_on(v, 0);
	assert_int_equal(core_vcpu_vpid(v, &valid).vpid, 0);
	assert_false(valid);
	assert_clean();
	core_vcpu_deactivate(v, &core->cpus[0]);
	core_vcpu_destroy(v);
	core_vm_destroy(vm);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(pool_hands_out_each_once),	 T(limits_are_clamped),
		T(seventy_thousand_enter_twice), T(wanderers_with_few_vpids),
		T(the_fake_tells_stale_uses),	 T(without_vpid_none_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
