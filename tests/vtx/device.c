/* SPDX-License-Identifier: MIT */
/*
 * /dev/vmxcore as a program uses it: VMs of memfds, guests run by threads, remaps while they
 * run, and what happens when the program dies. Each step says what came of it on the kernel
 * log; tests/vtx/expected has what must stand there.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmxcore/uapi.h>

#include "say.h"

#define RAM_BYTES (16u << 20)
#define SPARE_BYTES 0x200000u
#define LOAD_GPA 0x100000u
#define MAILBOX_GPA 0x300000u /* guests/include/guest/mailbox.h */
#define TEXT_GPA 0x400000u
#define TABLES_GPA 0xff0000u
#define BUDGET_TICKS 2000000u
#define COM1 0x3f8u
#define EXIT_PORT 0xf4u

enum { SLOT_RAM = 1, SLOT_SPARE = 2 };

struct machine {
	int dev, vm, vcpu;
	uint8_t *ram, *spare;
	char line[128];
	size_t line_len;
	volatile uint32_t lines; /* that the guest has printed */
	bool ended;
	uint32_t status;
};

/* --- making ------------------------------------------------------------------------------ */

static uint8_t *memory_file(const char *name, size_t size)
{
	int fd = (int)memfd_create(name, MFD_ALLOW_SEALING);
	void *p = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0)
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	return p == MAP_FAILED ? NULL : p;
}

static int add_slot(int vm, uint32_t number, void *memory, uint64_t size)
{
	struct vmxcore_slot s = {.slot = number, .address = (uintptr_t)memory, .size_bytes = size};

	return ioctl(vm, VMXCORE_ADD_SLOT, &s);
}

static int change(int vm, struct vmxcore_apply *a, const struct vmxcore_map_op *op)
{
	*a = (struct vmxcore_apply){.operations = (uintptr_t)op, .count = 1};
	return ioctl(vm, VMXCORE_APPLY, a);
}

static int map_ram(struct machine *m)
{
	const struct vmxcore_map_op op = {.kind = VMXCORE_MAP,
					  .size_bytes = RAM_BYTES,
					  .slot = SLOT_RAM,
					  .prot = 7,
					  .memtype = 6};
	struct vmxcore_apply a;

	return change(m->vm, &a, &op);
}

static bool load(struct machine *m, const char *path)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, m->ram + LOAD_GPA, 1 << 20);

	if (fd >= 0)
		close(fd);
	return n > 0;
}

/* 4 GiB of identity in 2 MiB pages: PML4, PDPT and four page directories. */
static void make_tables(struct machine *m)
{
	uint64_t *table = (uint64_t *)(m->ram + TABLES_GPA);

	table[0] = (TABLES_GPA + 0x1000) | 3;
	for (uint64_t i = 0; i < 4; i++)
		table[512 + i] = (TABLES_GPA + 0x2000 + i * 0x1000) | 3;
	for (uint64_t i = 0; i < 4 * 512; i++)
		table[1024 + i] = i << 21 | 0x83;
}

/* As the loader starts them: flat segments; long mode with the tables above. */
static int set_registers(struct machine *m, bool long_mode)
{
	struct vmxcore_set_regs s = {0};
	struct vmxcore_regs *r = &s.regs;

	if (ioctl(m->vcpu, VMXCORE_GET_REGS, r) < 0)
		return -1;
	r->rip = LOAD_GPA;
	r->rflags = 2;
	r->cr0 = 0x11;
	for (int i = 0; i < 6; i++)
		r->seg[i] =
			(struct vmxcore_segment){.sel = 0x10, .limit = UINT32_MAX, .ar = 0xc093};
	r->seg[1] = (struct vmxcore_segment){.sel = 8, .limit = UINT32_MAX, .ar = 0xc09b};
	if (long_mode) {
		make_tables(m);
		r->cr0 = 0x80010033;
		r->cr3 = TABLES_GPA;
		r->cr4 = 0x20;
		r->efer = 0x500;
		r->seg[1].ar = 0xa09b;
		r->gpr[4] = TABLES_GPA;
	}
	return ioctl(m->vcpu, VMXCORE_SET_REGS, &s);
}

static void machine_close(struct machine *m)
{
	if (m->vcpu > 0)
		close(m->vcpu);
	if (m->vm > 0)
		close(m->vm);
	if (m->ram)
		munmap(m->ram, RAM_BYTES);
	if (m->spare)
		munmap(m->spare, SPARE_BYTES);
}

static bool machine_open(struct machine *m, int dev, const char *image, bool long_mode)
{
	struct vmxcore_create_vm c = {.flags = VMXCORE_VM_VPID | VMXCORE_VM_ACCESSED_DIRTY};
	struct vmxcore_create_vcpu v = {.index = 0};

	*m = (struct machine){.dev = dev};
	m->ram = memory_file("ram", RAM_BYTES);
	m->spare = memory_file("spare", SPARE_BYTES);
	m->vm = ioctl(dev, VMXCORE_CREATE_VM, &c);
	if (m->ram && m->spare && m->vm > 0 && add_slot(m->vm, SLOT_RAM, m->ram, RAM_BYTES) == 0 &&
	    add_slot(m->vm, SLOT_SPARE, m->spare, SPARE_BYTES) == 0 && map_ram(m) == 0 &&
	    (m->vcpu = ioctl(m->vm, VMXCORE_CREATE_VCPU, &v)) > 0 && load(m, image) &&
	    set_registers(m, long_mode) == 0)
		return true;
	say("device: %s: can't be made: %s", image, strerror(errno));
	machine_close(m);
	return false;
}

/* --- running -------------------------------------------------------------------------------- */

static void print(struct machine *m, char c)
{
	if (c != '\n' && m->line_len < sizeof(m->line) - 1) {
		m->line[m->line_len++] = c;
		return;
	}
	m->line[m->line_len] = '\0';
	m->line_len = 0;
	say("device: guest: %s", m->line);
	m->lines++;
}

/* What an IN reads: the transmitter is always empty. */
static uint32_t port_in(uint16_t port)
{
	return port == COM1 + 5 ? 0x60 : 0;
}

static void port_out(struct machine *m, const struct vmxcore_run *r)
{
	if (r->io_port == COM1)
		print(m, (char)r->io_value);
	if (r->io_port != EXIT_PORT)
		return;
	m->ended = true;
	m->status = r->io_value;
}

/* One turn: until its budget is used up, it ends, or something else happens. */
static int turn(struct machine *m, struct vmxcore_run *r)
{
	uint32_t complete = 0, value = 0;

	do {
		*r = (struct vmxcore_run){
			.budget_ticks = BUDGET_TICKS, .complete = complete, .io_in_value = value};
		if (ioctl(m->vcpu, VMXCORE_RUN, r) < 0)
			return -errno;
		complete = r->reason == VMXCORE_EXIT_IO;
		if (complete && r->io_in)
			value = port_in(r->io_port);
		else if (complete)
			port_out(m, r);
	} while (complete && !m->ended);
	return 0;
}

static void run_to_end(struct machine *m, const char *name)
{
	struct vmxcore_run r;
	int err = 0;

	for (int i = 0; i < 200 && !m->ended && !err; i++)
		err = turn(m, &r);
	say("device: %s ended with status 0x%x, error %d", name, m->status, err);
}

static void test_hello(int dev)
{
	struct machine m;

	if (!machine_open(&m, dev, "/selftest/hello32.bin", false))
		return;
	run_to_end(&m, "hello32");
	machine_close(&m);
}

/* --- remapping under a guest that runs ------------------------------------------------------- */

static void *runner(void *arg)
{
	struct machine *m = arg;
	struct vmxcore_run r;

	while (!m->ended && turn(m, &r) == 0)
		;
	return NULL;
}

static bool await(volatile uint32_t *word, uint32_t value)
{
	for (int i = 0; i < 3000 && *word != value; i++)
		usleep(1000);
	return *word == value;
}

/* The guest runs on a thread of its own all the time: nothing stops it for the remap. */
static void test_remap(int dev)
{
	static const struct vmxcore_map_op op = {
		.kind = VMXCORE_REMAP, .gpa = TEXT_GPA, .size_bytes = 4096, .slot = SLOT_SPARE};
	volatile uint32_t *box;
	struct vmxcore_apply a;
	pthread_t thread;
	struct machine m;

	if (!machine_open(&m, dev, "/selftest/remap.bin", true))
		return;
	box = (volatile uint32_t *)(m.ram + MAILBOX_GPA);
	strcpy((char *)m.ram + TEXT_GPA, "OLD");
	strcpy((char *)m.spare, "NEW");
	pthread_create(&thread, NULL, runner, &m);
	/* It waits for another word than the one it finds. */
	if (!await(&m.lines, 1))
		say("device: the guest does not start");
	box[0] = 1;
	if (!await(&box[1], 1))
		say("device: the guest does not answer");
	say("device: before the remap the guest reads \"%s\"", (char *)m.ram + MAILBOX_GPA + 48);
	if (change(m.vm, &a, &op) < 0)
		say("device: the remap is refused: %s", strerror(errno));
	say("device: remap: %llu written, %llu split, need %u, reached %s",
	    a.change.entries_written, a.change.entries_split, a.change.need,
	    a.change.invept_issued + a.change.processors_interrupted + a.change.processors_deferred
		    ? "yes"
		    : "no");
	box[0] = 2;
	if (!await(&box[1], 2))
		say("device: the guest does not answer");
	say("device: after the remap the guest reads \"%s\"", (char *)m.ram + MAILBOX_GPA + 48);
	box[0] = 0x504f5453u;
	pthread_join(thread, NULL);
	say("device: remap ended with status 0x%x", m.status);
	machine_close(&m);
}

/* --- what is refused ----------------------------------------------------------------------------
 */

static void refused(const char *what, int result, int expected)
{
	int err = result < 0 ? errno : 0;

	if (err == expected)
		say("device: refused as it should be: %s", what);
	else
		say("device: WRONG: %s: error %d, not %d", what, err, expected);
}

static void test_refusals(int dev)
{
	struct vmxcore_map_op op = {.kind = VMXCORE_MAP,
				    .gpa = 0x1000,
				    .size_bytes = 4096,
				    .slot = SLOT_SPARE,
				    .prot = 7,
				    .memtype = 6};
	struct vmxcore_create_vm c = {.flags = 1u << 31};
	struct vmxcore_slot_number n = {.slot = SLOT_RAM};
	struct vmxcore_create_vcpu v = {.index = 0};
	struct vmxcore_apply a;
	struct vmxcore_run r = {.complete = 1};
	struct machine m;

	refused("unknown flags", ioctl(dev, VMXCORE_CREATE_VM, &c), EINVAL);
	refused("an ioctl of a VM on the device", ioctl(dev, VMXCORE_APPLY, &a), ENOTTY);
	refused("a bad pointer", ioctl(dev, VMXCORE_CREATE_VM, 8), EFAULT);
	if (!machine_open(&m, dev, "/selftest/hello32.bin", false))
		return;
	refused("an overlap", change(m.vm, &a, &op), EEXIST);
	say("device: overlap: field %u, 0x%llx-0x%llx over 0x%llx-0x%llx of slot %u",
	    a.conflict.field, a.conflict.requested_first, a.conflict.requested_last,
	    a.conflict.existing_first, a.conflict.existing_last, a.conflict.existing_slot);
	op.slot = 99;
	refused("no such slot", change(m.vm, &a, &op), ENOENT);
	op.slot = SLOT_SPARE;
	op.kind = 77;
	refused("no such kind", change(m.vm, &a, &op), EINVAL);
	refused("a slot that is mapped", ioctl(m.vm, VMXCORE_REMOVE_SLOT, &n), EBUSY);
	refused("a slot twice", add_slot(m.vm, SLOT_RAM, m.spare, SPARE_BYTES), EEXIST);
	refused("memory of nobody", add_slot(m.vm, 7, (void *)0x10000, 4096), EFAULT);
	refused("memory of the kernel", add_slot(m.vm, 7, (void *)~0xfffffful, 4096), EINVAL);
	refused("a vCPU twice", ioctl(m.vm, VMXCORE_CREATE_VCPU, &v), EEXIST);
	refused("nothing to complete", ioctl(m.vcpu, VMXCORE_RUN, &r), EINVAL);
	machine_close(&m);
}

/* --- who dies
 * ------------------------------------------------------------------------------------- */

static void report_use(int dev, const char *when)
{
	struct vmxcore_info info = {0};

	if (ioctl(dev, VMXCORE_GET_INFO, &info) < 0)
		say("device: info: %s", strerror(errno));
	say("device: %s: %u VMs, %llu bytes pinned", when, info.vms, info.pinned_bytes);
}

/* A program that is killed in the middle of a run leaves nothing behind. */
static void test_killed(int dev)
{
	struct machine m;
	int status;
	pid_t pid;

	pid = fork();
	if (pid == 0) {
		/* The device's descriptor is inherited; the VM is the child's. */
		if (machine_open(&m, dev, "/selftest/remap.bin", true))
			runner(&m);
		_exit(0);
	}
	usleep(300000);
	report_use(dev, "while the program runs its guest");
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	say("device: the program was ended by signal %d",
	    WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	/* The last descriptors are closed by the dying process itself, before it can be waited for.
	 */
	report_use(dev, "after it was killed");
}

/* The VM is the maker's alone. */
static void test_other_process(int dev)
{
	struct machine m;
	int status;
	pid_t pid;

	if (!machine_open(&m, dev, "/selftest/hello32.bin", false))
		return;
	pid = fork();
	if (pid == 0) {
		struct vmxcore_regs r;

		_exit(ioctl(m.vcpu, VMXCORE_GET_REGS, &r) < 0 && errno == EXDEV ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	say("device: another process may not use the VM: %s",
	    WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "yes" : "NO");
	machine_close(&m);
}

void test_device(void)
{
	struct vmxcore_info info = {0};
	int dev = open(VMXCORE_DEVICE, O_RDWR | O_CLOEXEC);

	if (dev < 0 || ioctl(dev, VMXCORE_GET_INFO, &info) < 0) {
		say("device: %s", strerror(errno));
		return;
	}
	say("device: ABI %u, %u processors, capabilities 0x%x", info.abi, info.processors,
	    info.capabilities);
	test_hello(dev);
	test_remap(dev);
	test_refusals(dev);
	test_other_process(dev);
	test_killed(dev);
	close(dev);
}
