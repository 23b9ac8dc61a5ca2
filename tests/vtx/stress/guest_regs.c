/* SPDX-License-Identifier: MIT */
/* See guest_regs.h. */
#include "guest_regs.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "layout.h"
#include "say.h"

#define TABLES_GPA 0x8000u /* PML4, PDPT, page directory: identity for the first GiB */

static const uint8_t endless[] = {0xeb, 0xfe};

/* --- the VM ----------------------------------------------------------------------------- */

static void make_memory(struct guest *g)
{
	uint64_t *table = (uint64_t *)(void *)(g->ram + TABLES_GPA);

	memcpy(g->ram + CODE_GPA, endless, sizeof(endless));
	table[0] = (TABLES_GPA + 0x1000) | 3;
	table[512] = (TABLES_GPA + 0x2000) | 3;
	for (uint64_t i = 0; i < 512; i++)
		table[1024 + i] = i << 21 | 0x83;
}

static int make(struct guest *g, int dev)
{
	struct vmxcore_create_vm c = {.flags = VMXCORE_VM_VPID};
	struct vmxcore_slot s = {.slot = 0, .size_bytes = RAM_BYTES};
	struct vmxcore_create_vcpu v = {.index = 0};
	struct vmxcore_map_op op = {.size_bytes = RAM_BYTES, .prot = 7, .memtype = 6};
	struct vmxcore_apply a = {.operations = (uintptr_t)&op, .count = 1};

	g->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (g->ram == MAP_FAILED)
		return -1;
	make_memory(g);
	s.address = (uintptr_t)g->ram;
	g->vm = ioctl(dev, VMXCORE_CREATE_VM, &c);
	if (g->vm < 0 || ioctl(g->vm, VMXCORE_ADD_SLOT, &s) < 0 ||
	    ioctl(g->vm, VMXCORE_APPLY, &a) < 0)
		return -1;
	g->vcpu = ioctl(g->vm, VMXCORE_CREATE_VCPU, &v);
	return g->vcpu;
}

bool guest_open(struct guest *g, int dev)
{
	*g = (struct guest){.vm = -1, .vcpu = -1};
	if (make(g, dev) >= 0)
		return true;
	say("FAILED: a VM can't be made: %s", strerror(errno));
	guest_close(g);
	return false;
}

void guest_close(struct guest *g)
{
	if (g->vcpu >= 0)
		close(g->vcpu);
	if (g->vm >= 0)
		close(g->vm);
	if (g->ram != MAP_FAILED)
		munmap(g->ram, RAM_BYTES);
}

/* --- modes ---------------------------------------------------------------------------------- */

static void set_segments(struct vmxcore_regs *r, uint16_t cs, uint16_t data, uint32_t limit,
			 uint32_t cs_ar, uint32_t data_ar)
{
	for (unsigned i = 0; i < 6; i++)
		r->seg[i] = (struct vmxcore_segment){.sel = data, .limit = limit, .ar = data_ar};
	r->seg[1].sel = cs;
	r->seg[1].ar = cs_ar;
	r->seg[6] = (struct vmxcore_segment){.limit = 0xffff, .ar = 0x82};
	r->seg[7] = (struct vmxcore_segment){.limit = 0xffff, .ar = 0x8b};
}

void guest_set_mode(struct vmxcore_regs *r, enum guest_mode mode)
{
	static const uint64_t cr0[MODE_COUNT] = {0x10, 0x11, 0x11, 0x80000033};

	r->cr0 = cr0[mode];
	r->cr3 = mode == MODE_LONG ? TABLES_GPA : 0;
	r->cr4 = mode == MODE_LONG ? 0x20 : 0;
	r->efer = mode == MODE_LONG ? 0x500 : 0;
	r->rip = CODE_GPA;
	r->rflags = 0x202;
	if (mode == MODE_REAL) {
		set_segments(r, 0, 0, 0xffff, 0x9b, 0x93);
	} else if (mode == MODE_VIRTUAL_8086) {
		set_segments(r, 0, 0, 0xffff, 0xf3, 0xf3);
		r->rflags |= 1u << 17;
	} else {
		set_segments(r, 8, 0x10, UINT32_MAX, mode == MODE_LONG ? 0xa09b : 0xc09b, 0xc093);
	}
}
