/* SPDX-License-Identifier: MIT */
/* The ioctl layer at work: guests run, are remapped under way, and go. */
#include "kernel/device_rig.h"
#include "kernel/memory.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define VM_FLAGS (VMXCORE_VM_VPID | VMXCORE_VM_ACCESSED_DIRTY)

/* again: mov eax, [0x10000]; out 0x10, eax; jmp again */
static const uint8_t teller[] = {0xa1, 0x00, 0x00, 0x01, 0x00, 0xe7, 0x10, 0xeb, 0xf7};

static uint32_t word(const char *text)
{
	uint32_t w;

	memcpy(&w, text, sizeof(w));
	return w;
}

/* Runs until the next OUT, which is completed with the next run. */
static uint32_t next_out(int vcpu, bool first)
{
	struct vmxcore_run run = {.complete = !first};

	must(vcpu, VMXCORE_RUN, &run);
	assert_int_equal(run.reason, VMXCORE_EXIT_IO);
	assert_int_equal(run.io_port, 0x10);
	assert_int_equal(run.io_in, 0);
	return run.io_value;
}

static void remap_text(struct rig *r, uint32_t slot, uint64_t offset, struct vmxcore_apply *a)
{
	const struct vmxcore_map_op op = {.kind = VMXCORE_REMAP,
					  .gpa = TEXT_GPA,
					  .size_bytes = 4096,
					  .slot = slot,
					  .offset_bytes = offset};

	assert_int_equal(change(r, a, &op), 0);
}

static void test_remap(void **state)
{
	struct vmxcore_apply a;
	struct rig r;

	(void)state;
	rig_open(&r, &(struct fakedev_config){0}, VM_FLAGS);
	memcpy(r.ram + CODE_GPA, teller, sizeof(teller));
	strcpy((char *)r.ram + TEXT_GPA, "OLD");
	strcpy((char *)r.spare, "NEW");
	rig_vcpu(&r, 0, CODE_GPA);
	assert_int_equal(next_out(r.vcpu[0], true), word("OLD"));
	assert_int_equal(next_out(r.vcpu[0], false), word("OLD"));
	remap_text(&r, SLOT_SPARE, 0, &a);
	assert_true(a.change.entries_written > 0);
	assert_int_equal(a.change.need, 2);
	assert_int_equal(next_out(r.vcpu[0], false), word("NEW"));
	rig_close(&r);
}

/* --- remaps under guests that run ---------------------------------------------------------- */

#define BOXES_GPA 0x20000u
#define DEAD 0xdeadu
#define REMAPS 300u

/*
 * again: mov eax, [0x10000]; cmp eax, 0xdead; je bad; mov [ebx], eax; inc dword [ebx + 4];
 * jmp again; bad: out 0x11, eax
 */
static const uint8_t watcher[] = {0xa1, 0x00, 0x00, 0x01, 0x00, 0x3d, 0xad, 0xde, 0x00, 0x00, 0x74,
				  0x07, 0x89, 0x03, 0xff, 0x43, 0x04, 0xeb, 0xed, 0xe7, 0x11};

/* What a guest shows: what it read last, and how often. */
struct box {
	uint32_t word, reads;
	uint32_t pad[2];
};

struct runner_thread {
	pthread_t thread;
	int vcpu;
	int bind;	 /* processor, or -1 */
	uint64_t budget; /* ticks; 0: none */
	int result;	 /* 0, or errno */
	struct vmxcore_run run;
};

/* Runs it until that fails, or an exit is somebody's. */
static void *run_guest(void *arg)
{
	struct runner_thread *t = arg;

	fakedev_bind(t->bind);
	/* Busy: who waits for it to run looks at it. */
	do {
		t->run = (struct vmxcore_run){.budget_ticks = t->budget};
		t->result = fakedev_ioctl(t->vcpu, VMXCORE_RUN, &t->run) < 0 ? errno : 0;
	} while (t->result == EBUSY || (t->result == 0 && t->run.reason == VMXCORE_EXIT_BUDGET));
	return NULL;
}

static struct box *box_of(struct rig *r, unsigned vcpu)
{
	return (struct box *)(void *)(r->ram + BOXES_GPA + vcpu * sizeof(struct box));
}

/* It has read the page at least once since now. */
static uint32_t next_read(struct box *box)
{
	uint32_t before = __atomic_load_n(&box->reads, __ATOMIC_ACQUIRE);

	/* One read may have been on its way: the second began after now. */
	while (__atomic_load_n(&box->reads, __ATOMIC_ACQUIRE) - before < 2)
		sched_yield();
	return __atomic_load_n(&box->word, __ATOMIC_RELAXED);
}

static uint32_t *frame_at(uint8_t *memory)
{
	return (uint32_t *)(void *)memory;
}

static void start_watchers(struct rig *r, struct runner_thread *t, bool bound)
{
	struct vmxcore_set_regs s = {0};

	memcpy(r->ram + CODE_GPA, watcher, sizeof(watcher));
	for (unsigned i = 0; i < RIG_VCPUS; i++) {
		rig_vcpu(r, i, CODE_GPA);
		must(r->vcpu[i], VMXCORE_GET_REGS, &s.regs);
		s.regs.gpr[3] = BOXES_GPA + i * sizeof(struct box);
		must(r->vcpu[i], VMXCORE_SET_REGS, &s);
		t[i] = (struct runner_thread){.vcpu = r->vcpu[i],
					      .bind = bound ? (int)i : -1,
					      .budget = i % 2 ? 3000 : 0};
		assert_int_equal(pthread_create(&t[i].thread, NULL, run_guest, &t[i]), 0);
	}
}

static void stop_watchers(struct rig *r, struct runner_thread *t)
{
	for (unsigned i = 0; i < RIG_VCPUS; i++)
		must(r->vcpu[i], VMXCORE_KICK, NULL);
	for (unsigned i = 0; i < RIG_VCPUS; i++) {
		pthread_join(t[i].thread, NULL);
		if (t[i].result != EINTR)
			fail_msg("vCPU %u: error %d, reason %u, port 0x%x", i, t[i].result,
				 t[i].run.reason, t[i].run.io_port);
	}
}

/* What the change has left free says so at once: a guest that reads it has used a stale
 * translation, and tells. */
static void remap_under_guests(const struct fakedev_config *cfg, bool bound, uint32_t flags)
{
	struct runner_thread t[RIG_VCPUS];
	uint64_t reached = 0;
	struct vmxcore_apply a;
	struct rig r;

	rig_open(&r, cfg, flags);
	*frame_at(r.ram + TEXT_GPA) = 1;
	start_watchers(&r, t, bound);
	for (unsigned n = 2; n < REMAPS; n++) {
		uint8_t *now = n % 2 ? r.ram + TEXT_GPA : r.spare;
		uint8_t *before = n % 2 ? r.spare : r.ram + TEXT_GPA;

		__atomic_store_n(frame_at(now), n, __ATOMIC_RELEASE);
		remap_text(&r, n % 2 ? SLOT_RAM : SLOT_SPARE, n % 2 ? TEXT_GPA : 0, &a);
		__atomic_store_n(frame_at(before), DEAD, __ATOMIC_RELEASE);
		reached += a.change.invept_issued + a.change.processors_interrupted +
			   a.change.processors_deferred;
		assert_int_equal(a.change.need, 2);
		if (n % 16 == 0) {
			for (unsigned i = 0; i < RIG_VCPUS; i++)
				assert_int_equal(next_read(box_of(&r, i)), n);
		}
	}
	assert_true(reached > 0);
	stop_watchers(&r, t);
	rig_close(&r);
}

static void test_remap_bound(void **state)
{
	(void)state;
	remap_under_guests(&(struct fakedev_config){.processors = 4}, true, VM_FLAGS);
}

static void test_remap_wandering(void **state)
{
	(void)state;
	remap_under_guests(&(struct fakedev_config){.processors = 3, .wander = true}, false,
			   VM_FLAGS);
}

/* More guests than processors, without VPIDs, memory in pieces. */
static void test_remap_crowded(void **state)
{
	(void)state;
	remap_under_guests(&(struct fakedev_config){.processors = 2, .scatter = true, .seed = 7},
			   false, VMXCORE_VM_ACCESSED_DIRTY);
}

/* --- who may what, when ----------------------------------------------------------------------- */

static const uint8_t spin[] = {0xeb, 0xfe}; /* jmp itself */

static void open_spinning(struct rig *r, const struct fakedev_config *cfg)
{
	rig_open(r, cfg, VM_FLAGS);
	memcpy(r->ram + CODE_GPA, spin, sizeof(spin));
	rig_vcpu(r, 0, CODE_GPA);
}

/* It runs: a look at its registers is refused. */
static void wait_busy(int vcpu)
{
	struct vmxcore_regs regs;

	while (fakedev_ioctl(vcpu, VMXCORE_GET_REGS, &regs) == 0)
		sched_yield();
	assert_int_equal(errno, EBUSY);
}

static void test_kick(void **state)
{
	struct vmxcore_run run = {.budget_ticks = 5};
	struct runner_thread t;
	struct rig r;

	(void)state;
	open_spinning(&r, &(struct fakedev_config){0});
	/* Before a run: it ends the next one, and only that. */
	must(r.vcpu[0], VMXCORE_KICK, NULL);
	assert_int_equal(refused(r.vcpu[0], VMXCORE_RUN, &run), EINTR);
	must(r.vcpu[0], VMXCORE_RUN, &run);
	assert_int_equal(run.reason, VMXCORE_EXIT_BUDGET);
	for (unsigned i = 0; i < 50; i++) {
		t = (struct runner_thread){.vcpu = r.vcpu[0], .bind = -1};
		assert_int_equal(pthread_create(&t.thread, NULL, run_guest, &t), 0);
		wait_busy(r.vcpu[0]);
		assert_int_equal(refused(r.vcpu[0], VMXCORE_RUN, &run), EBUSY);
		must(r.vcpu[0], VMXCORE_KICK, NULL);
		pthread_join(t.thread, NULL);
		assert_int_equal(t.result, EINTR);
	}
	rig_close(&r);
}

/* A budget is used up, in one turn or in many. */
static void test_budget(void **state)
{
	static const uint64_t budgets[] = {1, 2, 19999, 20000, 20001, 123456};
	struct vmxcore_run run;
	struct rig r;

	(void)state;
	open_spinning(&r, &(struct fakedev_config){0});
	for (size_t i = 0; i < sizeof(budgets) / sizeof(budgets[0]); i++) {
		run = (struct vmxcore_run){.budget_ticks = budgets[i]};
		must(r.vcpu[0], VMXCORE_RUN, &run);
		assert_int_equal(run.reason, VMXCORE_EXIT_BUDGET);
		assert_int_equal(run.rip, CODE_GPA);
	}
	rig_close(&r);
}

/* Descriptors go in any order, while a guest runs, too. */
static void test_close_while_running(void **state)
{
	struct runner_thread t;
	struct rig r;
	int vcpu;

	(void)state;
	open_spinning(&r, &(struct fakedev_config){0});
	vcpu = r.vcpu[0];
	t = (struct runner_thread){.vcpu = vcpu, .bind = -1, .budget = 50000};
	assert_int_equal(pthread_create(&t.thread, NULL, run_guest, &t), 0);
	wait_busy(vcpu);
	assert_int_equal(fakedev_close(r.vm), 0);
	assert_int_equal(fakedev_close(vcpu), 0);
	/* The call in progress keeps it until it ends; there is no next one. */
	pthread_join(t.thread, NULL);
	assert_int_equal(t.result, EBADF);
	r.vm = r.vcpu[0] = -1;
	rig_close(&r);
}

/* The child has the descriptors, and nothing else. */
static void test_other_process(void **state)
{
	struct rig r;
	int status;
	pid_t pid;

	(void)state;
	open_spinning(&r, &(struct fakedev_config){0});
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct vmxcore_regs regs;
		struct vmxcore_ranges ranges = {.count = 1};
		bool right = fakedev_ioctl(r.vcpu[0], VMXCORE_GET_REGS, &regs) < 0 &&
			     errno == EXDEV && fakedev_ioctl(r.vcpu[0], VMXCORE_KICK, NULL) < 0 &&
			     errno == EXDEV && fakedev_ioctl(r.vm, VMXCORE_RANGES, &ranges) < 0 &&
			     errno == EXDEV;

		_exit(right ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	rig_close(&r);
}

/* --- memory -------------------------------------------------------------------------------------
 */

/* The guest goes on seeing the pages, whatever the program does with its mapping. */
static void test_slot_outlives_mapping(void **state)
{
	struct vmxcore_info info;
	struct rig r;

	(void)state;
	rig_open(&r, &(struct fakedev_config){.scatter = true}, VM_FLAGS);
	memcpy(r.ram + CODE_GPA, teller, sizeof(teller));
	strcpy((char *)r.ram + TEXT_GPA, "OLD");
	munmap(r.ram, RAM_BYTES);
	rig_vcpu(&r, 0, CODE_GPA);
	assert_int_equal(next_out(r.vcpu[0], true), word("OLD"));
	must(r.dev, VMXCORE_GET_INFO, &info);
	assert_int_equal(info.pinned_bytes, RAM_BYTES + SPARE_BYTES);
	assert_int_equal(info.vms, 1);
	r.ram = shared_memory(RAM_BYTES);
	rig_close(&r);
}

static void test_memlock(void **state)
{
	struct vmxcore_slot s = {.slot = 3, .size_bytes = 8192};
	struct vmxcore_slot_number n = {.slot = SLOT_SPARE};
	struct vmxcore_info info;
	uint8_t *memory;
	struct rig r;

	(void)state;
	rig_open(&r, &(struct fakedev_config){.memlock_bytes = RAM_BYTES + SPARE_BYTES + 4096},
		 VM_FLAGS);
	memory = shared_memory(8192);
	s.address = (uintptr_t)memory;
	assert_int_equal(refused(r.vm, VMXCORE_ADD_SLOT, &s), EPERM);
	must(r.dev, VMXCORE_GET_INFO, &info);
	assert_int_equal(info.pinned_bytes, RAM_BYTES + SPARE_BYTES);
	must(r.vm, VMXCORE_REMOVE_SLOT, &n);
	must(r.vm, VMXCORE_ADD_SLOT, &s);
	munmap(memory, 8192);
	rig_close(&r);
}

/* --- processors that come and go -----------------------------------------------------------------
 */

static void test_hotplug(void **state)
{
	struct runner_thread t[RIG_VCPUS];
	struct rig r;

	(void)state;
	rig_open(&r, &(struct fakedev_config){.processors = 3}, VM_FLAGS);
	*frame_at(r.ram + TEXT_GPA) = 1;
	start_watchers(&r, t, false);
	for (unsigned i = 0; i < 30; i++) {
		unsigned cpu = i % 3;

		fakedev_processor_offline(cpu);
		for (unsigned v = 0; v < RIG_VCPUS; v++)
			(void)next_read(box_of(&r, v));
		fakedev_processor_online(cpu);
	}
	stop_watchers(&r, t);
	rig_close(&r);
}

/* On its way down, the system takes the processors out of VMX operation under the guests. */
static void test_going_down(void **state)
{
	struct vmxcore_create_vm c = {.flags = VM_FLAGS};
	struct runner_thread t;
	struct vmxcore_run run = {.budget_ticks = 100};
	struct rig r;

	(void)state;
	open_spinning(&r, &(struct fakedev_config){0});
	t = (struct runner_thread){.vcpu = r.vcpu[0], .bind = -1};
	assert_int_equal(pthread_create(&t.thread, NULL, run_guest, &t), 0);
	wait_busy(r.vcpu[0]);
	fakedev_going_down(true);
	pthread_join(t.thread, NULL);
	assert_int_equal(t.result, ENODEV);
	assert_int_equal(refused(r.vcpu[0], VMXCORE_RUN, &run), ENODEV);
	assert_int_equal(refused(r.dev, VMXCORE_CREATE_VM, &c), ESHUTDOWN);
	fakedev_going_down(false);
	run = (struct vmxcore_run){.budget_ticks = 100};
	must(r.vcpu[0], VMXCORE_RUN, &run);
	assert_int_equal(run.reason, VMXCORE_EXIT_BUDGET);
	rig_close(&r);
}

/* --- memory that runs out, and processes that die
 * --------------------------------------------------- */

/* Everything that a VM needs, until something fails; -ENOMEM, or 0. */
static int make_all(struct rig *r)
{
	const struct vmxcore_map_op map = {.kind = VMXCORE_MAP,
					   .gpa = 0x40000000,
					   .size_bytes = SPARE_BYTES,
					   .slot = 3,
					   .prot = 7,
					   .memtype = 6};
	const struct vmxcore_map_op remap = {.kind = VMXCORE_REMAP,
					     .gpa = 0x40000000,
					     .size_bytes = 4096,
					     .slot = 3,
					     .offset_bytes = 8192};
	struct vmxcore_slot slot = {
		.slot = 3, .address = (uintptr_t)r->spare, .size_bytes = SPARE_BYTES};
	struct vmxcore_trace_set trace = {.kinds = 7, .records = 64, .vcpu = ~0u};
	struct vmxcore_create_vm c = {.flags = VM_FLAGS};
	struct vmxcore_create_vcpu v = {.index = 2};
	struct vmxcore_run run = {.budget_ticks = 100};
	struct vmxcore_apply a;

	r->vm = fakedev_ioctl(r->dev, VMXCORE_CREATE_VM, &c);
	if (r->vm < 0 || fakedev_ioctl(r->vm, VMXCORE_ADD_SLOT, &slot) < 0 ||
	    fakedev_ioctl(r->vm, VMXCORE_TRACE_SET, &trace) < 0)
		return -errno;
	errno = change(r, &a, &map);
	if (errno == 0)
		errno = change(r, &a, &remap);
	if (errno != 0)
		return -errno;
	r->vcpu[0] = fakedev_ioctl(r->vm, VMXCORE_CREATE_VCPU, &v);
	if (r->vcpu[0] < 0 || fakedev_ioctl(r->vcpu[0], VMXCORE_RUN, &run) < 0)
		return -errno;
	return 0;
}

/* Each allocation fails once: the ioctl says so, and all of it can be given back. */
static void test_out_of_memory(void **state)
{
	uint64_t blocks = memory_blocks_used(), n = 0;
	bool failed;

	(void)state;
	fakedev_configure(&(struct fakedev_config){.processors = 2});
	do {
		struct rig r = {.spare = shared_memory(SPARE_BYTES), .vm = -1, .vcpu = {-1}};
		int err;

		r.dev = fakedev_open();
		assert_true(r.dev >= 0);
		memory_fail_at(++n);
		err = make_all(&r);
		failed = memory_has_failed();
		memory_fail_at(0);
		if (err != (failed ? -ENOMEM : 0))
			fail_msg("allocation %u: error %d", (unsigned)n, err);
		if (r.vcpu[0] >= 0)
			assert_int_equal(fakedev_close(r.vcpu[0]), 0);
		if (r.vm >= 0)
			assert_int_equal(fakedev_close(r.vm), 0);
		assert_int_equal(fakedev_close(r.dev), 0);
		munmap(r.spare, SPARE_BYTES);
		assert_int_equal(memory_blocks_used(), blocks);
		assert_int_equal(fakedev_descriptors(), 0);
	} while (failed);
	assert_true(n > 20);
	print_message("%u allocations\n", (unsigned)n - 1);
}

/* What is under way is given up, and has done nothing; closing works all the same. */
static void test_dying(void **state)
{
	const struct vmxcore_map_op map = {.kind = VMXCORE_MAP,
					   .gpa = 0x40000000,
					   .size_bytes = SPARE_BYTES,
					   .slot = SLOT_SPARE,
					   .prot = 7,
					   .memtype = 6};
	struct vmxcore_lookup l = {.gpa = 0x40000000};
	struct runner_thread t;
	struct vmxcore_apply a;
	struct rig r;

	(void)state;
	open_spinning(&r, &(struct fakedev_config){0});
	t = (struct runner_thread){.vcpu = r.vcpu[0], .bind = -1};
	assert_int_equal(pthread_create(&t.thread, NULL, run_guest, &t), 0);
	wait_busy(r.vcpu[0]);
	fakedev_dying(true);
	pthread_join(t.thread, NULL);
	assert_int_equal(t.result, EINTR);
	assert_int_equal(change(&r, &a, &map), EINTR);
	fakedev_dying(false);
	assert_int_equal(refused(r.vm, VMXCORE_LOOKUP, &l), ENOENT);
	assert_int_equal(change(&r, &a, &map), 0);
	must(r.vm, VMXCORE_LOOKUP, &l);
	fakedev_dying(true);
	rig_close(&r);
	fakedev_dying(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_remap),
		cmocka_unit_test(test_remap_bound),
		cmocka_unit_test(test_remap_wandering),
		cmocka_unit_test(test_remap_crowded),
		cmocka_unit_test(test_kick),
		cmocka_unit_test(test_budget),
		cmocka_unit_test(test_close_while_running),
		cmocka_unit_test(test_other_process),
		cmocka_unit_test(test_slot_outlives_mapping),
		cmocka_unit_test(test_memlock),
		cmocka_unit_test(test_hotplug),
		cmocka_unit_test(test_going_down),
		cmocka_unit_test(test_out_of_memory),
		cmocka_unit_test(test_dying),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
