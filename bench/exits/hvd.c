// SPDX-License-Identifier: MIT
/* hvd's kernel module, through /dev/vmxcore. */
#include "exits.h"

#include <vmxcore/uapi.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { SLOT_RAM, SLOT_PAGES };

static struct {
	int dev, vm, vcpu;
	struct vmxcore_run run;
} hvd;

static void add_slot(uint32_t number, const struct exits_memory *m)
{
	const struct vmxcore_slot s = {
		.slot = number, .address = (uintptr_t)m->at, .size_bytes = m->bytes};

	exits_ioctl(hvd.vm, VMXCORE_ADD_SLOT, &s, "hvd: a slot");
}

static void change(const struct vmxcore_map_op *op)
{
	struct vmxcore_apply a = {.operations = (uintptr_t)op, .count = 1};

	exits_ioctl(hvd.vm, VMXCORE_APPLY, &a, "hvd: a change of mappings");
}

static void map(uint32_t slot, uint64_t gpa, uint64_t bytes)
{
	const struct vmxcore_map_op op = {.kind = VMXCORE_MAP,
					  .gpa = gpa,
					  .size_bytes = bytes,
					  .slot = slot,
					  .prot = 7,
					  .memtype = 6};

	change(&op);
}

static void set_cpuid(void)
{
	struct vmxcore_cpuid_entry entries[2];
	const struct vmxcore_cpuid c = {.entries = (uintptr_t)entries, .count = 2};

	for (unsigned i = 0; i < 2; i++) {
		const uint32_t *from = exits_cpuid[i];

		entries[i] = (struct vmxcore_cpuid_entry){.leaf = from[0],
							  .eax = from[1],
							  .ebx = from[2],
							  .ecx = from[3],
							  .edx = from[4]};
	}
	exits_ioctl(hvd.vm, VMXCORE_SET_CPUID, &c, "hvd: CPUID");
}

static void open_vm(const struct exits_memory *ram, const struct exits_memory *pages)
{
	const struct vmxcore_create_vm c = {.flags = VMXCORE_VM_VPID | VMXCORE_VM_ACCESSED_DIRTY};
	const struct vmxcore_create_vcpu v = {.index = 0};

	hvd.dev = open(VMXCORE_DEVICE, O_RDWR | O_CLOEXEC);
	if (hvd.dev < 0)
		exits_die(VMXCORE_DEVICE);
	hvd.vm = exits_ioctl(hvd.dev, VMXCORE_CREATE_VM, &c, "hvd: a VM");
	add_slot(SLOT_RAM, ram);
	add_slot(SLOT_PAGES, pages);
	map(SLOT_RAM, 0, ram->bytes);
	map(SLOT_PAGES, EXITS_PAGE, EXITS_PAGE_BYTES);
	set_cpuid();
	hvd.vcpu = exits_ioctl(hvd.vm, VMXCORE_CREATE_VCPU, &v, "hvd: a vCPU");
}

static void start(uint32_t ebp)
{
	struct vmxcore_set_regs s = {0};
	struct vmxcore_regs *r = &s.regs;

	exits_ioctl(hvd.vcpu, VMXCORE_GET_REGS, r, "hvd: registers");
	for (unsigned i = 0; i < 6; i++)
		r->seg[i] =
			(struct vmxcore_segment){.sel = 0x10, .limit = UINT32_MAX, .ar = 0xc093};
	r->seg[1] = (struct vmxcore_segment){.sel = 8, .limit = UINT32_MAX, .ar = 0xc09b};
	r->cr0 = 0x11;
	r->rip = EXITS_CODE;
	r->rflags = 0x202;
	r->gpr[5] = ebp;
	exits_ioctl(hvd.vcpu, VMXCORE_SET_REGS, &s, "hvd: registers");
	hvd.run = (struct vmxcore_run){0};
}

/* The OUT that the last run ended with is completed on the way in. */
static uint32_t run(void)
{
	hvd.run.complete = hvd.run.reason == VMXCORE_EXIT_IO;
	while (ioctl(hvd.vcpu, VMXCORE_RUN, &hvd.run) < 0) {
		if (errno != EINTR)
			exits_die("hvd: a run");
		hvd.run.complete = 0;
	}
	if (hvd.run.reason != VMXCORE_EXIT_IO || hvd.run.io_port != EXITS_PORT)
		exits_die("hvd: an exit that was not expected");
	return hvd.run.io_value;
}

static void close_vm(void)
{
	close(hvd.vcpu);
	close(hvd.vm);
	close(hvd.dev);
}

static void remap(uint32_t page)
{
	const struct vmxcore_map_op op = {.kind = VMXCORE_REMAP,
					  .gpa = EXITS_PAGE,
					  .size_bytes = EXITS_PAGE_BYTES,
					  .slot = SLOT_PAGES,
					  .offset_bytes = (uint64_t)page * EXITS_PAGE_BYTES};

	change(&op);
}

static const struct exits_way ways[] = {{"VMXCORE_APPLY", NULL, remap}};

const struct exits_host exits_hvd = {
	.name = "hvd",
	.device = VMXCORE_DEVICE,
	.open = open_vm,
	.start = start,
	.run = run,
	.close = close_vm,
	.ways = ways,
	.way_count = sizeof(ways) / sizeof(ways[0]),
};
