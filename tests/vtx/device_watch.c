/* SPDX-License-Identifier: MIT */
/*
 * What can be asked of the device, a VM and a vCPU: facts, counters, the trace; and an IN or
 * OUT that is completed without running. What it finds wrong it says as "WRONG".
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "device.h"
#include "say.h"

static void check(const char *what, bool right)
{
	if (!right)
		say("device: WRONG: %s", what);
}

static void test_facts(int dev)
{
	struct vmxcore_create_vm c = {.flags = VMXCORE_VM_VPID | VMXCORE_VM_ACCESSED_DIRTY};
	struct vmxcore_vm_info i = {0};
	struct vmxcore_info info = {0};
	int vm = ioctl(dev, VMXCORE_CREATE_VM, &c);

	if (ioctl(dev, VMXCORE_GET_INFO, &info) < 0 || ioctl(vm, VMXCORE_VM_INFO, &i) < 0)
		say("device: facts: %s", strerror(errno));
	say("device: invalidations 0x%x, VPIDs up to %u", info.invalidations, info.vpid_limit);
	/* "Extended-Page-Table Pointer (EPTP)": write-back, a walk of 4, accessed and dirty. */
	say("device: an empty VM: EPTP's low bits 0x%llx, %llu bytes of tables", i.eptp & 0xfff,
	    i.table_bytes);
	close(vm);
}

/* --- IN and OUT without running -------------------------------------------------------------- */

static void complete_one(struct machine *m, const struct vmxcore_run *r)
{
	struct vmxcore_complete_io c = {.value = machine_port_in(r->io_port)};
	struct vmxcore_regs regs;

	check("an IN or OUT can't be completed", ioctl(m->vcpu, VMXCORE_COMPLETE_IO, &c) == 0);
	check("it can be completed twice",
	      ioctl(m->vcpu, VMXCORE_COMPLETE_IO, &c) < 0 && errno == EINVAL);
	ioctl(m->vcpu, VMXCORE_GET_REGS, &regs);
	check("RIP is not behind the instruction", regs.rip == r->rip + r->insn_length);
	check("RAX is not what was read",
	      !r->io_in || (regs.gpr[0] & ((1ull << 8 * r->io_size) - 1)) == c.value);
}

static void test_complete_io(int dev)
{
	unsigned in = 0, out = 0;
	struct vmxcore_run r;
	struct machine m;

	if (!machine_open(&m, dev, "/selftest/hello32.bin", false))
		return;
	check("there is something to complete",
	      ioctl(m.vcpu, VMXCORE_COMPLETE_IO, &(struct vmxcore_complete_io){0}) < 0 &&
		      errno == EINVAL);
	while (in + out < 40) {
		r = (struct vmxcore_run){0};
		if (ioctl(m.vcpu, VMXCORE_RUN, &r) < 0 || r.reason != VMXCORE_EXIT_IO)
			break;
		complete_one(&m, &r);
		*(r.io_in ? &in : &out) += 1;
	}
	say("device: completed without running: %s IN, %s OUT", in ? "some" : "no",
	    out ? "some" : "no");
	machine_close(&m);
}

/* --- the trace ------------------------------------------------------------------------------- */

static void test_trace(int dev)
{
	struct vmxcore_trace_set set = {.kinds = 1, .records = 4, .vcpu = UINT32_MAX};
	struct vmxcore_trace_record records[2];
	struct vmxcore_trace_read q = {0};
	unsigned long long next;
	struct machine m;

	if (!machine_open(&m, dev, "/selftest/hello32.bin", false))
		return;
	check("tracing can't be set", ioctl(m.vm, VMXCORE_TRACE_SET, &set) == 0 && !set.untold);
	machine_run_to_end(&m, "traced");
	check("the trace can't be asked", ioctl(m.vm, VMXCORE_TRACE_READ, &q) == 0);
	next = q.next_seq;
	say("device: trace: %u wait, %u given, more were lost: %s", q.waiting, q.count,
	    next > 4 ? "yes" : "no");
	q = (struct vmxcore_trace_read){.records = (uintptr_t)records, .count = 2};
	check("the trace can't be read", ioctl(m.vm, VMXCORE_TRACE_READ, &q) == 0);
	say("device: trace: numbers %llu and %llu, %u wait, lost before %llu", records[0].seq,
	    records[1].seq, q.waiting, q.lost);
	check("reading has moved the next number", q.next_seq == next);
	set.kinds = 0;
	check("tracing can't be ended", ioctl(m.vm, VMXCORE_TRACE_SET, &set) == 0);
	say("device: trace: untold all but the two: %s", set.untold == next - 2 ? "yes" : "NO");
	machine_close(&m);
}

/* --- counters, also of what runs ------------------------------------------------------------- */

static void test_processors(int vm)
{
	struct vmxcore_stats s = {.processor = 0};
	unsigned processors = 0;

	for (; ioctl(vm, VMXCORE_STATS, &s) == 0;
	     s = (struct vmxcore_stats){.processor = s.processor + 1}) {
		check("a processor is not in VMX operation", s.online == 1);
		check("a pool without generation", s.pool_generation >= 1);
		check("more VPIDs left than there are",
		      s.pool_limit >= 1 && s.pool_left <= s.pool_limit);
		processors++;
	}
	say("device: %u processors have counters, then: %s", processors, strerror(errno));
}

/* Its counters while a thread is in VMXCORE_RUN nearly all the time. */
static void test_running(int dev)
{
	unsigned told = 0, busy = 0, events = 0;
	struct vmxcore_regs regs;
	pthread_t thread;
	struct machine m;

	if (!machine_open(&m, dev, "/selftest/remap.bin", true))
		return;
	pthread_create(&thread, NULL, machine_runner, &m);
	for (int i = 0; i < 3000 && m.lines == 0; i++)
		usleep(1000);
	for (int i = 0; i < 200; i++) {
		uint64_t exits[128];
		struct vmxcore_vcpu_stats s = {.exits = (uintptr_t)exits, .exit_count = 128};

		told += ioctl(m.vcpu, VMXCORE_VCPU_STATS, &s) == 0 && s.exit_count <= 128 &&
			exits[30] > 0 && s.vpid != 0 && s.pool_generation >= s.vpid_generation;
		events |= s.events;
		busy += ioctl(m.vcpu, VMXCORE_GET_REGS, &regs) < 0 && errno == EBUSY;
		usleep(100);
	}
	say("device: while it runs: counters %u of 200, registers %s, events seen 0x%x", told,
	    busy ? "are busy" : "WRONG: are never busy", events);
	*(volatile uint32_t *)(m.ram + MAILBOX_GPA) = 0x504f5453u;
	pthread_join(thread, NULL);
	test_processors(m.vm);
	machine_close(&m);
}

static void test_place(int dev)
{
	struct vmxcore_stats s = {0};
	struct vmxcore_run r = {0};
	struct machine m;

	if (!machine_open(&m, dev, "/selftest/hello32.bin", false))
		return;
	check("it does not run", ioctl(m.vcpu, VMXCORE_RUN, &r) == 0);
	s.processor = r.processor;
	check("it ran nowhere", ioctl(m.vm, VMXCORE_STATS, &s) == 0);
	say("device: the run's generation is its processor's: %s",
	    r.pool_generation && r.pool_generation == s.pool_generation ? "yes" : "NO");
	machine_close(&m);
}

void test_device_watch(int dev)
{
	test_facts(dev);
	test_complete_io(dev);
	test_trace(dev);
	test_running(dev);
	test_place(dev);
}
