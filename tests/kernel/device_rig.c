/* SPDX-License-Identifier: MIT */
#include "kernel/device_rig.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel/memory.h"

uint8_t *shared_memory(size_t size)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);
	void *p;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	close(fd);
	return p;
}

int must(int fd, unsigned long request, void *arg)
{
	int r = fakedev_ioctl(fd, request, arg);

	if (r < 0)
		fail_msg("ioctl %#lx: %s", request, strerror(errno));
	return r;
}

int refused(int fd, unsigned long request, void *arg)
{
	int r = fakedev_ioctl(fd, request, arg);

	if (r >= 0)
		fail_msg("ioctl %#lx is not refused", request);
	return errno;
}

int change(struct rig *r, struct vmxcore_apply *a, const struct vmxcore_map_op *op)
{
	*a = (struct vmxcore_apply){.operations = (uintptr_t)op, .count = 1};
	return fakedev_ioctl(r->vm, VMXCORE_APPLY, a) < 0 ? errno : 0;
}

static void add_slot(struct rig *r, uint32_t number, void *memory, uint64_t size)
{
	struct vmxcore_slot s = {.slot = number, .address = (uintptr_t)memory, .size_bytes = size};

	must(r->vm, VMXCORE_ADD_SLOT, &s);
}

void rig_open(struct rig *r, const struct fakedev_config *cfg, uint32_t vm_flags)
{
	const struct vmxcore_map_op ram = {.kind = VMXCORE_MAP,
					   .size_bytes = RAM_BYTES,
					   .slot = SLOT_RAM,
					   .prot = 7,
					   .memtype = 6};
	struct vmxcore_create_vm c = {.flags = vm_flags};
	struct vmxcore_apply a;

	*r = (struct rig){.ram = shared_memory(RAM_BYTES), .spare = shared_memory(SPARE_BYTES)};
	if (cfg)
		fakedev_configure(cfg);
	r->blocks = memory_blocks_used();
	r->dev = fakedev_open();
	assert_true(r->dev >= 0);
	r->vm = must(r->dev, VMXCORE_CREATE_VM, &c);
	for (unsigned i = 0; i < RIG_VCPUS; i++)
		r->vcpu[i] = -1;
	add_slot(r, SLOT_RAM, r->ram, RAM_BYTES);
	add_slot(r, SLOT_SPARE, r->spare, SPARE_BYTES);
	assert_int_equal(change(r, &a, &ram), 0);
}

void rig_flat(int vcpu, uint32_t entry, struct vmxcore_set_regs *s)
{
	memset(s, 0, sizeof(*s));
	must(vcpu, VMXCORE_GET_REGS, &s->regs);
	s->regs.rip = entry;
	s->regs.rflags = 2;
	s->regs.cr0 = 0x11;
	for (int i = 0; i < 6; i++)
		s->regs.seg[i] =
			(struct vmxcore_segment){.sel = 0x10, .limit = UINT32_MAX, .ar = 0xc093};
	s->regs.seg[1] = (struct vmxcore_segment){.sel = 8, .limit = UINT32_MAX, .ar = 0xc09b};
	must(vcpu, VMXCORE_SET_REGS, s);
}

void rig_vcpu(struct rig *r, uint32_t index, uint32_t entry)
{
	struct vmxcore_create_vcpu c = {.index = index};
	struct vmxcore_set_regs s;

	r->vcpu[index] = must(r->vm, VMXCORE_CREATE_VCPU, &c);
	rig_flat(r->vcpu[index], entry, &s);
}

void rig_close(struct rig *r)
{
	for (unsigned i = 0; i < RIG_VCPUS; i++)
		if (r->vcpu[i] >= 0)
			assert_int_equal(fakedev_close(r->vcpu[i]), 0);
	if (r->vm >= 0)
		assert_int_equal(fakedev_close(r->vm), 0);
	assert_int_equal(fakedev_close(r->dev), 0);
	munmap(r->ram, RAM_BYTES);
	munmap(r->spare, SPARE_BYTES);
	assert_int_equal(fakedev_descriptors(), 0);
	assert_int_equal(memory_blocks_used(), r->blocks);
}
