/* SPDX-License-Identifier: MIT */
/* A VM's descriptor, from its making to its end. */
#include "engine/vmx.h"

#include <assert.h>
#include <stdlib.h>

static_assert(sizeof(struct vmxcore_cpuid_entry) == sizeof(struct core_cpuid_entry) &&
		      offsetof(struct vmxcore_cpuid_entry, edx) ==
			      offsetof(struct core_cpuid_entry, edx),
	      "CPUID tables are handed on as they are");

/* The same answers as under soft. */
static int set_cpuid(int fd)
{
	struct core_cpuid_entry entries[CORE_MAX_CPUID_ENTRIES];
	struct vmxcore_cpuid table = {.entries = vmx_pointer(entries)};
	size_t count;
	int err = vmm_cpuid(entries, &count);

	if (err)
		return err;
	table.count = (uint32_t)count;
	return vmx_call(fd, VMXCORE_SET_CPUID, &table);
}

static int prepare(struct vmx_vm *b)
{
	struct vmxcore_vm_info info;
	int err = set_cpuid(b->fd);

	if (!err)
		err = vmx_call(b->fd, VMXCORE_VM_INFO, &info);
	if (err)
		return err;
	b->eptp = info.eptp;
	b->emulator = emulator_new(&backend_vmx);
	return b->emulator ? 0 : -ENOMEM;
}

/* The module's pools of VPIDs begin anew with the first VM, if it is nobody's else. */
static void forget_generations(struct vmm *s)
{
	uint32_t i;

	for (i = 0; i < CORE_MAX_CPUS; i++)
		s->processor[i].generation_told = 0;
}

int vmx_vm_open(struct vmm_vm *vm)
{
	struct vmxcore_create_vm create = {
		.flags = (vm->config.use_vpid ? VMXCORE_VM_VPID : 0) |
			 (vm->config.accessed_dirty ? VMXCORE_VM_ACCESSED_DIRTY : 0),
		.max_page_bytes = vm->config.ept_page_bytes,
	};
	struct vmx *x = vmx_of(vm->machine);
	struct vmx_vm *b = calloc(1, sizeof(*b));
	long fd;
	int err;

	if (!b)
		return -ENOMEM;
	fd = vmx_ioctl(x->fd, VMXCORE_CREATE_VM, &create);
	if (fd < 0) {
		free(b);
		return (int)fd;
	}
	b->fd = (int)fd;
	err = prepare(b);
	if (err) {
		vmx_dev->close(b->fd);
		free(b);
		return err;
	}
	if (x->objects == 0)
		forget_generations(vm->machine);
	x->objects++;
	vm->back = b;
	return 0;
}

void vmx_vm_close(struct vmm_vm *vm)
{
	struct vmx *x = vmx_of(vm->machine);
	struct vmx_vm *b = vmx_vm_of(vm);

	if (!b)
		return;
	if (b->traced)
		x->traced--;
	emulator_delete(b->emulator);
	vmx_dev->close(b->fd);
	free(b);
	x->objects--;
	vm->back = NULL;
}

uint64_t vmx_eptp(struct vmm_vm *vm)
{
	return vmx_vm_of(vm)->eptp;
}

uint64_t vmx_table_bytes(struct vmm_vm *vm)
{
	struct vmxcore_vm_info info;

	return vmx_call(vmx_vm_of(vm)->fd, VMXCORE_VM_INFO, &info) ? 0 : info.table_bytes;
}
