// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* See selftest.h: making VMs, running them, and counting what happened. */
#define pr_fmt(fmt) "vmxcore: " fmt
#include <linux/cpumask.h>
#include <linux/kernel_read_file.h>
#include <linux/limits.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "core/exit.h"
#include "machine.h"
#include "selftest.h"

#define PORT_COM1 0x3f8
#define PORT_COM1_LSR 0x3fd
#define LSR_EMPTY 0x60
#define PORT_CONSOLE 0xe9
#define PORT_STEP 0xf0
#define PORT_EXIT 0xf4

/* 32-bit code that asks CPUID once and ends with the vendor's first word. */
static const u8 many_code[] = {
	0x31, 0xc0,	 /* xor eax, eax */
	0x0f, 0xa2,	 /* cpuid */
	0x89, 0xd8,	 /* mov eax, ebx */
	0xe7, PORT_EXIT, /* out 0xf4, eax */
	0xf4,		 /* hlt */
};
#define MANY_VMS 8
#define MANY_VPIDS 3 /* fewer than the VMs: the generation must turn over */

/* "VmxcoreGuest" in EBX, EDX, ECX; a processor with SSE and long mode. */
static const struct core_cpuid_entry cpuid_table[] = {
	{.leaf = 0, .eax = 1, .ebx = 0x63786d56, .edx = 0x4765726f, .ecx = 0x74736575},
	{.leaf = 1, .eax = 0x000306d0, .edx = 0x0700a97b},
	{.leaf = 0x80000000, .eax = 0x80000001},
	{.leaf = 0x80000001, .edx = 0x20100800},
};

const struct test_program test_program_hello = {.name = "hello32", .file = "hello32.bin"};
const struct test_program test_program_many = {.name = "many", .status = 0x63786d56};

/* --- processors -------------------------------------------------------------------------- */

unsigned int test_first_cpu(void)
{
	return cpumask_first(cpu_online_mask);
}

unsigned int test_second_cpu(void)
{
	unsigned int cpu = cpumask_next((int)test_first_cpu(), cpu_online_mask);

	return cpu < min(nr_cpu_ids, CORE_MAX_CPUS) ? cpu : test_first_cpu();
}

int test_run_on(unsigned int cpu)
{
	return set_cpus_allowed_ptr(current, cpumask_of(cpu));
}

/* --- a VM ----------------------------------------------------------------------------------- */

static int map_ram(struct test_vm *t)
{
	const struct core_map_op op = {
		.kind = CORE_MAP,
		.prot = CORE_PROT_RWX,
		.memtype = CORE_MT_WB,
		.size = TEST_RAM_BYTES,
		.slot = &t->slot[TEST_SLOT_RAM],
	};

	return test_change(t, "map the RAM", &op);
}

static int make_slots(struct test_vm *t)
{
	static const struct {
		enum plat_kernel_mem kind;
		uint64_t size;
	} want[TEST_SLOTS] = {
		[TEST_SLOT_RAM] = {PLAT_KERNEL_MEM_HUGE_2M, TEST_RAM_BYTES},
		[TEST_SLOT_SPARE] = {PLAT_KERNEL_MEM_SCATTERED, TEST_SPARE_BYTES},
	};
	unsigned int i;

	for (i = 0; i < TEST_SLOTS; i++) {
		int err = plat_kernel_mem_create(machine_plat(), want[i].kind, want[i].size,
						 &t->mem[i]);

		if (err)
			return err;
		t->slot[i] = (struct core_slot){.id = i, .mem = t->mem[i], .size = want[i].size};
	}
	return 0;
}

static void vm_delete(struct test_vm *t)
{
	unsigned int i;

	runner_destroy(t->runner);
	if (t->vcpu)
		core_vcpu_destroy(t->vcpu);
	if (t->vm)
		core_vm_destroy(t->vm);
	for (i = 0; i < TEST_SLOTS; i++)
		plat_kernel_mem_destroy(machine_plat(), t->mem[i]);
	kfree(t);
}

static int vm_new(const struct test_program *program, struct test_vm **ret)
{
	const struct core_caps *caps = &machine_core()->caps;
	const struct core_vm_config cfg = {
		.as = {.accessed_dirty = caps->ept_ad, .walk_length = 4},
		.use_vpid = caps->vpid,
	};
	struct test_vm *t = kzalloc(sizeof(*t), GFP_KERNEL);
	int err;

	if (!t)
		return -ENOMEM;
	t->program = program;
	err = make_slots(t);
	if (!err)
		err = core_vm_create(machine_core(), &cfg, &t->vm);
	if (!err)
		err = core_vm_set_cpuid(t->vm, cpuid_table, ARRAY_SIZE(cpuid_table));
	if (!err)
		err = core_vcpu_create(t->vm, 0, &t->vcpu);
	if (!err)
		err = runner_create(t->vcpu, &t->runner);
	if (!err)
		err = map_ram(t);
	if (err) {
		pr_err("selftest: %s: can't make the VM: %d\n", program->name, err);
		vm_delete(t);
		return err;
	}
	*ret = t;
	return 0;
}

int test_change(struct test_vm *t, const char *what, const struct core_map_op *op)
{
	struct core_change change;
	struct core_conflict conflict = {};
	int err;

	migrate_disable();
	err = core_as_apply(core_vm_as(t->vm), &machine_core()->cpus[smp_processor_id()], op, 1, 0,
			    &change, &conflict);
	migrate_enable();
	if (err) {
		pr_err("selftest: %s refused: %d, field %u, limit %llu\n", what, err,
		       conflict.field, conflict.limit);
		return err;
	}
	pr_info("host: %s: %llu written, %llu split, %s, INVEPT %u here, %u interrupted, %u "
		"deferred\n",
		what, change.entries_written, change.entries_split,
		inval_reason_info[change.decision.reason].name, change.invept_issued,
		change.processors_interrupted, change.processors_deferred);
	return 0;
}

/* --- loading ------------------------------------------------------------------------------- */

static int load_file(struct test_vm *t, const char *dir)
{
	char *path = kasprintf(GFP_KERNEL, "%s/%s", dir, t->program->file);
	void *buf = NULL;
	ssize_t n;
	int err;

	if (!path)
		return -ENOMEM;
	n = kernel_read_file_from_path(path, 0, &buf, SZ_1M, NULL, READING_UNKNOWN);
	if (n < 0) {
		pr_err("selftest: %s: can't be read: %zd\n", path, n);
		kfree(path);
		return (int)n;
	}
	err = plat_kernel_mem_write(t->mem[TEST_SLOT_RAM], TEST_LOAD_GPA, buf, (size_t)n);
	vfree(buf);
	kfree(path);
	return err;
}

#define LONG_TABLES 0x600000 /* PML4, PDPT, four page directories */
#define LONG_STACK 0x5ffff8  /* as after a CALL */

/* The low 4 GiB identity-mapped by 2 MiB pages. */
static int make_long_tables(struct test_vm *t)
{
	struct plat_mem *ram = t->mem[TEST_SLOT_RAM];
	uint64_t i, entry;
	int err;

	entry = (LONG_TABLES + 0x1000) | 3;
	err = plat_kernel_mem_write(ram, LONG_TABLES, &entry, sizeof(entry));
	for (i = 0; !err && i < 4; i++) {
		entry = (LONG_TABLES + 0x2000 + i * 0x1000) | 3;
		err = plat_kernel_mem_write(ram, LONG_TABLES + 0x1000 + i * 8, &entry, 8);
	}
	for (i = 0; !err && i < 4 * 512; i++) {
		entry = i << 21 | 0x83; /* P, W, PS */
		err = plat_kernel_mem_write(ram, LONG_TABLES + 0x2000 + i * 8, &entry, 8);
	}
	return err;
}

static int load(struct test_vm *t, const char *dir)
{
	struct core_regs *regs;
	const char *field = "";
	int err;

	if (t->program->file)
		err = load_file(t, dir);
	else
		err = plat_kernel_mem_write(t->mem[TEST_SLOT_RAM], TEST_LOAD_GPA, many_code,
					    sizeof(many_code));
	if (!err && t->program->long_mode)
		err = make_long_tables(t);
	if (err)
		return err;
	regs = kzalloc(sizeof(*regs), GFP_KERNEL);
	if (!regs)
		return -ENOMEM;
	if (t->program->long_mode)
		core_regs_long_mode(regs, TEST_LOAD_GPA, LONG_TABLES, LONG_STACK);
	else
		core_regs_protected_flat(regs, TEST_LOAD_GPA);
	err = core_vcpu_set_regs(t->vcpu, regs, &field);
	if (err)
		pr_err("selftest: initial %s is refused: %d\n", field, err);
	kfree(regs);
	return err;
}

/* --- running ------------------------------------------------------------------------------- */

static void console_put(struct test_vm *t, char c)
{
	if (c != '\n' && t->used < sizeof(t->line) - 1) {
		t->line[t->used++] = c;
		return;
	}
	t->line[t->used] = 0;
	pr_info("guest: %s\n", t->line);
	t->used = 0;
}

static int on_io(struct test_vm *t, const struct core_run_exit *e)
{
	u32 in = ~0u;
	int err = 0;

	if (e->io.in) {
		if (e->io.port == PORT_COM1_LSR)
			in = LSR_EMPTY;
	} else if (e->io.port == PORT_CONSOLE || e->io.port == PORT_COM1) {
		console_put(t, (char)e->io.value);
	} else if (e->io.port == PORT_EXIT) {
		t->status = e->io.value;
		t->ended = true;
	}
	core_vcpu_complete_io(t->vcpu, in);
	if (!e->io.in && e->io.port == PORT_STEP && t->program->step)
		err = t->program->step(t, (u8)e->io.value);
	return err;
}

static int on_denied(struct test_vm *t, const struct core_run_exit *e)
{
	pr_info("host: EPT violation, gpa 0x%llx, qualification 0x%llx: denied\n", e->gpa.v,
		e->qualification);
	return t->program->denied ? t->program->denied(t, e) : -EPERM;
}

static int on_emulate(struct test_vm *t, const struct core_run_exit *e)
{
	pr_info("host: EPT violation, gpa 0x%llx, qualification 0x%llx: nothing is mapped\n",
		e->gpa.v, e->qualification);
	return t->program->unmapped ? t->program->unmapped(t, e) : -EFAULT;
}

static int on_hlt(struct test_vm *t, const struct core_run_exit *e)
{
	return t->program->halted ? t->program->halted(t) : -EINVAL;
}

static int on_budget(struct test_vm *t, const struct core_run_exit *e)
{
	t->budgets++;
	return t->program->budget ? t->program->budget(t) : 0;
}

static int (*const on_reason[])(struct test_vm *t, const struct core_run_exit *e) = {
	[CORE_RUN_BUDGET] = on_budget,	 [CORE_RUN_HLT] = on_hlt,	    [CORE_RUN_IO] = on_io,
	[CORE_RUN_EMULATE] = on_emulate, [CORE_RUN_EPT_DENIED] = on_denied,
};

static int run(struct test_vm *t)
{
	struct core_run_exit e;
	int err = 0;

	while (!err && !t->ended) {
		memset(&e, 0, sizeof(e));
		err = runner_run(t->runner, TEST_BUDGET, &e);
		if (err == -EINTR && !signal_pending(current)) {
			t->interrupts++;
			err = 0;
			continue;
		}
		if (err)
			break;
		if ((unsigned int)e.reason < ARRAY_SIZE(on_reason) && on_reason[e.reason]) {
			err = on_reason[e.reason](t, &e);
			continue;
		}
		pr_err("selftest: %s: run ended with %d: exit reason 0x%x, error %u, qualification "
		       "0x%llx, rip 0x%llx, interruption 0x%x\n",
		       t->program->name, e.reason, e.exit_reason, e.insn_error, e.qualification,
		       e.rip, e.intr_info);
		err = -EIO;
	}
	if (!err && t->status != t->program->status) {
		pr_err("selftest: %s: ended with 0x%x, not 0x%x\n", t->program->name, t->status,
		       t->program->status);
		err = -EIO;
	}
	return err;
}

/* --- counters ------------------------------------------------------------------------------ */

static void report_stats(const char *who, const struct core_stats *s, enum core_stat_scope scope)
{
	unsigned int i;

	for (i = 0; i < CORE_STAT_COUNT; i++)
		if (core_stat_info[i].scope == scope && core_stat_get(s, i))
			pr_info("count: %s: %s %llu\n", who, core_stat_info[i].name,
				core_stat_get(s, i));
}

/* Every entry that reached the guest ended with an exit of a known reason. */
static int report_vcpu(struct test_vm *t)
{
	uint64_t entries = core_stat_get(core_vcpu_stats(t->vcpu), CORE_STAT_ENTRIES), exits = 0;
	bool valid = false;
	struct core_vpid vpid = core_vcpu_vpid(t->vcpu, &valid);
	u32 i;

	report_stats("vcpu", core_vcpu_stats(t->vcpu), CORE_SCOPE_VCPU);
	for (i = 0; i < VMX_EXIT_REASONS; i++) {
		uint64_t n = core_vcpu_exit_count(t->vcpu, i);

		exits += n;
		if (n)
			pr_info("count: exit %s %llu\n", core_exit_name(i), n);
	}
	report_stats("address space", core_as_stats(core_vm_as(t->vm)), CORE_SCOPE_AS);
	pr_info("count: VPID %u on processor %u, generation %llu, %s\n", vpid.vpid, vpid.cpu,
		vpid.generation, valid ? "valid" : "not valid");
	if (entries == exits)
		return 0;
	pr_err("selftest: %llu entries, but %llu exits\n", entries, exits);
	return -EIO;
}

/* --- programs ------------------------------------------------------------------------------ */

static int run_program(const struct test_program *program, const char *dir)
{
	struct test_vm *t;
	int err;

	pr_info("program: %s\n", program->name);
	err = test_run_on(test_second_cpu());
	if (!err)
		err = vm_new(program, &t);
	if (err)
		return err;
	err = load(t, dir);
	if (!err && program->start)
		err = program->start(t);
	if (!err) {
		err = run(t);
		if (program->stop)
			program->stop(t);
	}
	if (!err)
		err = report_vcpu(t);
	if (!err)
		pr_info("program: %s ended with status 0x%x\n", program->name, t->status);
	vm_delete(t);
	return err;
}

/* More VMs than VPIDs: the processor begins a new generation with INVVPID. */
static int run_many(void)
{
	struct core_vpid_pool *pool = &machine_core()->cpus[test_second_cpu()].vpids;
	u32 limit = pool->limit;
	uint64_t before;
	int err = 0, i;

	err = test_run_on(test_second_cpu());
	if (err)
		return err;
	before = pool->generation;
	pool->limit = MANY_VPIDS;
	for (i = 0; !err && i < MANY_VMS; i++)
		err = run_program(&test_program_many, NULL);
	pool->limit = limit;
	if (err)
		return err;
	pr_info("host: %d VMs with %d VPIDs: %llu generations\n", MANY_VMS, MANY_VPIDS,
		pool->generation - before);
	return pool->generation == before && machine_core()->caps.vpid ? -EIO : 0;
}

static int run_all(const char *dir)
{
	int err = run_program(&test_program_guest, dir);

	if (!err)
		err = run_program(&test_program_hello, dir);
	if (!err)
		err = run_program(&test_program_remap, dir);
	if (!err)
		err = run_many();
	return err;
}

static void report_machine(void)
{
	const struct core_caps *c = &machine_core()->caps;
	unsigned int cpu;

	pr_info("host: EPT%s%s%s%s%s, VPID %s, unrestricted guest %s\n", c->ept_2m ? " 2M" : "",
		c->ept_1g ? " 1G" : "", c->ept_exec_only ? " execute-only" : "",
		c->ept_ad ? " A/D" : "", c->invept_single ? " INVEPT single" : "",
		c->vpid ? "yes" : "no", c->unrestricted ? "yes" : "no");
	for_each_online_cpu(cpu) if (cpu < CORE_MAX_CPUS)
		pr_info("host: processor %u is %s VMX operation\n", cpu,
			machine_core()->cpus[cpu].online ? "in" : "not in");
}

int selftest_run(const char *dir)
{
	cpumask_var_t before;
	uint64_t pages;
	unsigned int cpu;
	int err = -ENOMEM;

	if (!zalloc_cpumask_var(&before, GFP_KERNEL))
		return -ENOMEM;
	cpumask_copy(before, current->cpus_ptr);
	err = machine_get();
	if (err)
		goto out;
	report_machine();
	err = run_all(dir);
	for_each_online_cpu(cpu) if (cpu < CORE_MAX_CPUS)
	{
		char who[24];

		snprintf(who, sizeof(who), "processor %u", cpu);
		report_stats(who, &machine_core()->cpus[cpu].stats, CORE_SCOPE_CPU);
	}
	pages = machine_put();
	pr_info("host: pages in use %llu, blocks in use %llu\n", pages, plat_kernel_blocks_used());
	if (!err && (pages || plat_kernel_blocks_used()))
		err = -EIO;
out:
	set_cpus_allowed_ptr(current, before);
	free_cpumask_var(before);
	if (err)
		pr_err("selftest: FAILED: %d\n", err);
	else
		pr_info("selftest: passed\n");
	return err;
}
