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
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device.h"
#include "say.h"

static void test_hello(int dev)
{
	struct machine m;

	if (!machine_open(&m, dev, "/selftest/hello32.bin", false))
		return;
	machine_run_to_end(&m, "hello32");
	machine_close(&m);
}

/* --- remapping under a guest that runs ------------------------------------------------------- */

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
	pthread_create(&thread, NULL, machine_runner, &m);
	/* It waits for another word than the one it finds. */
	if (!await(&m.lines, 1))
		say("device: the guest does not start");
	box[0] = 1;
	if (!await(&box[1], 1))
		say("device: the guest does not answer");
	say("device: before the remap the guest reads \"%s\"", (char *)m.ram + MAILBOX_GPA + 48);
	if (machine_change(m.vm, &a, &op) < 0)
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

/* --- a large change --------------------------------------------------------------------------- */

#define LARGE_BYTES (20u << 20)
#define LARGE_SLOT 3u

static int large(int vm, uint32_t kind, uint32_t prot, struct vmxcore_apply *a)
{
	const struct vmxcore_map_op op = {.kind = kind,
					  .size_bytes = LARGE_BYTES,
					  .slot = kind == VMXCORE_MAP ? LARGE_SLOT : 0,
					  .prot = prot,
					  .memtype = kind == VMXCORE_MAP ? 6 : 0};

	return machine_change(vm, a, &op);
}

/* So much that it is built beside the tables in use. */
static void test_large(int dev)
{
	struct vmxcore_create_vm c = {.flags = VMXCORE_VM_ACCESSED_DIRTY, .max_page_bytes = 4096};
	void *memory =
		mmap(NULL, LARGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static uint8_t bitmap[LARGE_BYTES / 4096 / 8];
	struct vmxcore_dirty d = {
		.size_bytes = LARGE_BYTES, .bitmap = (uintptr_t)bitmap, .clear = 1};
	struct vmxcore_memory w = {
		.gpa = 0x5000, .buffer = (uintptr_t) "x", .size_bytes = 1, .write = 1};
	struct vmxcore_vm_info info[2];
	struct vmxcore_apply a[3];
	int vm = ioctl(dev, VMXCORE_CREATE_VM, &c);

	if (machine_add_slot(vm, LARGE_SLOT, memory, LARGE_BYTES) < 0 ||
	    large(vm, VMXCORE_MAP, 7, &a[0]) < 0 || ioctl(vm, VMXCORE_VM_INFO, &info[0]) < 0 ||
	    ioctl(vm, VMXCORE_MEMORY, &w) < 0 || ioctl(vm, VMXCORE_DIRTY, &d) < 0 ||
	    large(vm, VMXCORE_PROTECT, 1, &a[1]) < 0 || large(vm, VMXCORE_UNMAP, 0, &a[2]) < 0 ||
	    ioctl(vm, VMXCORE_VM_INFO, &info[1]) < 0)
		say("device: WRONG: a large change: %s", strerror(errno));
	say("device: a large change: %llu mapped, %llu protected, %llu unmapped, tables %llu and "
	    "%llu",
	    a[0].change.entries_written, a[1].change.entries_written, a[2].change.entries_written,
	    info[0].table_bytes / 4096, info[1].table_bytes / 4096);
	say("device: dirty: page 5 %s, page 6 %s", bitmap[0] & 0x20 ? "yes" : "no",
	    bitmap[0] & 0x40 ? "yes" : "no");
	close(vm);
	munmap(memory, LARGE_BYTES);
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
	refused("an overlap", machine_change(m.vm, &a, &op), EEXIST);
	say("device: overlap: field %u, 0x%llx-0x%llx over 0x%llx-0x%llx of slot %u",
	    a.conflict.field, a.conflict.requested_first, a.conflict.requested_last,
	    a.conflict.existing_first, a.conflict.existing_last, a.conflict.existing_slot);
	op.slot = 99;
	refused("no such slot", machine_change(m.vm, &a, &op), ENOENT);
	op.slot = SLOT_SPARE;
	op.kind = 77;
	refused("no such kind", machine_change(m.vm, &a, &op), EINVAL);
	refused("a slot that is mapped", ioctl(m.vm, VMXCORE_REMOVE_SLOT, &n), EBUSY);
	refused("a slot twice", machine_add_slot(m.vm, SLOT_RAM, m.spare, SPARE_BYTES), EEXIST);
	refused("more than max_pinned_mib", machine_add_slot(m.vm, 7, (void *)0x10000, 128u << 20),
		EPERM);
	refused("memory of nobody", machine_add_slot(m.vm, 7, (void *)0x10000, 4096), EFAULT);
	refused("memory of the kernel", machine_add_slot(m.vm, 7, (void *)~0xfffffful, 4096),
		EINVAL);
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
			machine_runner(&m);
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
	test_device_watch(dev);
	test_device_host(dev);
	test_large(dev);
	test_refusals(dev);
	test_other_process(dev);
	test_killed(dev);
	close(dev);
}
