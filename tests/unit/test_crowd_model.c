// SPDX-License-Identifier: MIT
/*
 * 70,000 vCPUs at once on the software processor, which caches as hardware does.
 * All run the same code, each under page tables of its own that map one linear
 * address to a number of its own. Whoever reads another's number has used a
 * translation that was not its own.
 *
 * A vCPU's page directory serves as its page table, too, and holds the number in
 * an entry that isn't present: one page a guest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/vcpu.h"
#include "hw/model/model.h"
#include "hw/vmxdef.h"

#define CPUS 4u
#define CODE_GPA UINT64_C(0x1000)
#define TABLES_GPA (UINT64_C(4) << 20)

/* again: mov eax, [0x403ffc]; out 0x10, eax; jmp again */
static const uint8_t code[] = {0xa1, 0xfc, 0x3f, 0x40, 0x00, 0xe7, 0x10, 0xeb, 0xf7};

struct crowd {
	struct plat *plat;
	struct model *model;
	struct core *core;
	struct core_vm *vm;
	struct plat_mem *mem;
	struct core_slot slot;
	struct core_vcpu **vcpu;
	size_t count;
	unsigned misuses;
};

static void kick(void *ctx, unsigned cpu)
{
	struct crowd *c = ctx;

	model_cpu_kick(c->model, cpu);
}

static void written(void *ctx, hpa_t addr, uint64_t size)
{
	struct crowd *c = ctx;

	model_memory_written(c->model, addr, size);
}

static void misuse(void *ctx, enum model_misuse what, unsigned cpu, hpa_t vmcs)
{
	struct crowd *c = ctx;

	(void)what;
	(void)cpu;
	(void)vmcs;
	c->misuses++;
}

static void create_machine(struct crowd *c)
{
	const struct plat_user_config pc = {
		.cpus = CPUS, .kick = kick, .kick_ctx = c, .written = written, .written_ctx = c};
	struct model_config mc = {.cpus = CPUS, .misuse = misuse, .ctx = c};

	assert_int_equal(plat_user_create(&pc, &c->plat), 0);
	mc.plat = c->plat;
	assert_int_equal(model_create(&mc, &c->model), 0);
	assert_int_equal(core_create(c->plat, CPUS, &c->core), 0);
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(core_cpu_online(c->core, i, model_cpu(c->model, i)), 0);
}

static void create_memory(struct crowd *c)
{
	uint64_t size = (TABLES_GPA + c->count * 4096 + VMX_SIZE_2M - 1) & ~(VMX_SIZE_2M - 1);
	const struct core_map_op op = {.kind = CORE_MAP,
				       .prot = CORE_PROT_RWX,
				       .memtype = CORE_MT_WB,
				       .size = size,
				       .slot = &c->slot};
	struct core_conflict conflict;
	struct core_change change;

	assert_int_equal(plat_mem_create(c->plat, PLAT_MEM_ANON, size, -1, 0, &c->mem), 0);
	c->slot = (struct core_slot){.id = 1, .mem = c->mem, .size = size};
	assert_int_equal(core_as_apply(core_vm_as(c->vm), NULL, &op, 1, 0, &change, &conflict), 0);
	assert_int_equal(core_guest_write(core_vm_as(c->vm), gpa(CODE_GPA), code, sizeof(code)), 0);
}

static uint32_t number_of(size_t i)
{
	return (uint32_t)(i + 1) << 1;
}

static void create_guest(struct crowd *c, size_t i)
{
	uint32_t table = (uint32_t)(TABLES_GPA + i * 4096), number = number_of(i);
	const uint32_t entries[4] = {PTE_P | PTE_W | PTE_PS, table | PTE_P | PTE_W, 0,
				     table | PTE_P | PTE_W};
	struct core_as *as = core_vm_as(c->vm);
	struct core_regs regs;

	assert_int_equal(core_guest_write(as, gpa(table), entries, sizeof(entries)), 0);
	assert_int_equal(core_guest_write(as, gpa(table + 0xffc), &number, sizeof(number)), 0);
	assert_int_equal(core_vcpu_create(c->vm, (uint32_t)i, &c->vcpu[i]), 0);
	core_regs_protected_flat(&regs, CODE_GPA);
	regs.cr0 |= CR0_PG;
	regs.cr4 = CR4_PSE;
	regs.cr3 = table;
	assert_int_equal(core_vcpu_set_regs(c->vcpu[i], &regs, NULL), 0);
}

static void create(struct crowd *c, size_t count, bool use_vpid, uint32_t vpid_limit)
{
	const struct core_vm_config cfg = {.use_vpid = use_vpid};

	*c = (struct crowd){.count = count};
	c->vcpu = calloc(count, sizeof(c->vcpu[0]));
	assert_non_null(c->vcpu);
	create_machine(c);
	for (unsigned i = 0; i < CPUS; i++)
		core_vpid_pool_init(&c->core->cpus[i].vpids, vpid_limit);
	assert_int_equal(core_vm_create(c->core, &cfg, &c->vm), 0);
	create_memory(c);
	for (size_t i = 0; i < count; i++)
		create_guest(c, i);
}

static void destroy(struct crowd *c)
{
	assert_int_equal(c->misuses, 0);
	for (unsigned i = 0; i < CPUS; i++)
		core_cpu_offline(c->core, i);
	for (size_t i = 0; i < c->count; i++)
		core_vcpu_destroy(c->vcpu[i]);
	core_vm_destroy(c->vm);
	plat_mem_destroy(c->plat, c->mem);
	core_destroy(c->core);
	model_destroy(c->model);
	assert_int_equal(plat_user_destroy(c->plat), 0);
	free(c->vcpu);
}

/* What vCPU i reads on this processor. */
static uint32_t number_read(struct crowd *c, size_t i, unsigned cpu)
{
	struct core_vcpu *v = c->vcpu[i];
	int active = core_vcpu_active_cpu(v);
	struct core_run_exit ret;

	if (active >= 0 && active != (int)cpu)
		core_vcpu_deactivate(v, &c->core->cpus[active]);
	core_vcpu_run(v, &c->core->cpus[cpu], 0, &ret);
	if (ret.reason != CORE_RUN_IO)
		fail_msg("vCPU %zu: reason %d, exit %u, error %u, qualification %#llx", i,
			 ret.reason, ret.exit_reason, ret.insn_error,
			 (unsigned long long)ret.qualification);
	core_vcpu_complete_io(v, 0);
	return ret.io.value;
}

static uint64_t recycles(struct crowd *c, unsigned cpu)
{
	return core_stat_get(&c->core->cpus[cpu].stats, CORE_STAT_VPID_RECYCLES);
}

static void seventy_thousand(void **state)
{
	const size_t count = 70000;
	uint64_t before;
	struct crowd c;

	(void)state;
	create(&c, count, true, CORE_VPID_MAX);
	before = recycles(&c, 0);
	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = 0; i < count; i++)
			assert_int_equal(number_read(&c, i, 0), number_of(i));
	}
	/* One flush each time the VPIDs are used up, and none before the first. */
	assert_int_equal(recycles(&c, 0) - before, (2 * count - 1) / CORE_VPID_MAX);
	destroy(&c);
}

/* Back and forth on one processor: each has a tag, and keeps what it cached. */
static void tags_keep_translations(void **state)
{
	struct crowd c;

	(void)state;
	create(&c, 2, true, CORE_VPID_MAX);
	for (unsigned round = 0; round < 50; round++) {
		for (size_t i = 0; i < 2; i++)
			assert_int_equal(number_read(&c, i, 0), number_of(i));
	}
	assert_int_equal(core_stat_get(core_vcpu_stats(c.vcpu[0]), CORE_STAT_VPIDS_TAKEN), 1);
	destroy(&c);
}

static void few_vpids_and_four_processors(void **state)
{
	static const uint32_t limits[] = {1, 2, 5, 30};
	uint32_t random = 99;

	(void)state;
	for (size_t l = 0; l < VMX_ARRAY_SIZE(limits); l++) {
		struct crowd c;

		create(&c, 25, true, limits[l]);
		for (unsigned n = 0; n < 2000; n++) {
			size_t i;

			random = random * 1103515245 + 12345;
			i = (random >> 16) % 25;
			assert_int_equal(number_read(&c, i, random >> 10 & (CPUS - 1)),
					 number_of(i));
		}
		destroy(&c);
	}
}

static void without_vpid(void **state)
{
	struct crowd c;

	(void)state;
	create(&c, 25, false, CORE_VPID_MAX);
	for (unsigned n = 0; n < 500; n++)
		assert_int_equal(number_read(&c, n % 25, n % 3), number_of(n % 25));
	destroy(&c);
}

/* A VPID handed out twice without INVVPID: the processor shows it. */
static void a_tag_used_twice_shows(void **state)
{
	struct crowd c;

	(void)state;
	create(&c, 2, true, CORE_VPID_MAX);
	assert_int_equal(number_read(&c, 0, 0), number_of(0));
	c.core->cpus[0].vpids.next = 1;
	assert_int_equal(number_read(&c, 1, 0), number_of(0));
	destroy(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tags_keep_translations),
		cmocka_unit_test(few_vpids_and_four_processors),
		cmocka_unit_test(without_vpid),
		cmocka_unit_test(a_tag_used_twice_shows),
		cmocka_unit_test(seventy_thousand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
