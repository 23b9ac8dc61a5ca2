/* SPDX-License-Identifier: MIT */
/* Slots, mappings, and reading and writing a guest's memory from outside. */
#include "engine/vmm.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* --- slots ----------------------------------------------------------------------------------- */

static size_t slot_position(const struct vmm_vm *vm, uint32_t number)
{
	size_t low = 0, high = vm->slot_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (vm->slots[mid]->core.id < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct vmm_slot *vmm_find_slot(const struct vmm_vm *vm, uint32_t number)
{
	size_t at = slot_position(vm, number);

	return at < vm->slot_count && vm->slots[at]->core.id == number ? vm->slots[at] : NULL;
}

static int check_slot(const struct vmm *s, const struct vmm_vm *vm, const struct engine_slot_add *a,
		      struct vmm_reply *reply)
{
	uint64_t left = s->cfg.memory_bytes - s->memory_used;

	if (a->kind > ENGINE_SLOT_FILE)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_KIND, ENGINE_SLOT_FILE,
				"unknown kind of slot %u", a->kind);
	if (a->size_bytes == 0 || a->size_bytes % VMX_PAGE_SIZE != 0)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_SIZE, VMX_PAGE_SIZE,
				"%" PRIu64 " bytes: not a positive multiple of 4096",
				a->size_bytes);
	if (a->file_offset % VMX_PAGE_SIZE != 0 || a->file_offset > INT64_MAX)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_OFFSET, VMX_PAGE_SIZE,
				"file offset %" PRIu64 ": not a multiple of 4096", a->file_offset);
	if (vmm_find_slot(vm, a->slot))
		return vmm_fail(reply, -EEXIST, ENGINE_FIELD_SLOT, 0,
				"there is a slot of this number");
	if (vm->slot_count >= VMM_MAX_SLOTS)
		return vmm_fail(reply, -E2BIG, ENGINE_FIELD_SLOT, VMM_MAX_SLOTS,
				"the VM has %u slots already", VMM_MAX_SLOTS);
	if (a->size_bytes > left)
		return vmm_fail(reply, -ENOMEM, ENGINE_FIELD_SIZE, left,
				"%" PRIu64 " bytes: the machine has %" PRIu64 " left",
				a->size_bytes, left);
	return 0;
}

int vmm_slot_refuse(const struct vmm *s, struct vmm_reply *reply, uint32_t kind, int err)
{
	char why[ENGINE_TEXT_LEN];

	snprintf(why, sizeof(why), "%s", strerrordesc_np(-err));
	if (s->backend->slot_error)
		s->backend->slot_error(kind, err, why, sizeof(why));
	return vmm_fail(reply, err,
			kind == ENGINE_SLOT_FILE ? ENGINE_FIELD_FILE : ENGINE_FIELD_SIZE, 0,
			"the host gives no memory for it: %s", why);
}

static int open_slot(struct vmm *s, struct vmm_vm *vm, struct vmm_slot *slot,
		     const struct engine_slot_add *a, int fd, struct vmm_reply *reply)
{
	int err;

	slot->core.id = a->slot;
	slot->core.size = a->size_bytes;
	slot->kind = a->kind;
	err = s->backend->slot_open(vm, slot, fd, a->file_offset);
	if (err == -EFBIG)
		return vmm_fail(reply, err, ENGINE_FIELD_FILE, 0,
				"the file ends before offset %" PRIu64 " plus %" PRIu64 " bytes",
				a->file_offset, a->size_bytes);
	return err ? vmm_slot_refuse(s, reply, a->kind, err) : 0;
}

int vmm_slot_new(struct vmm *s, struct vmm_vm *vm, const struct engine_slot_add *a, int fd,
		 struct vmm_reply *reply)
{
	size_t at = slot_position(vm, a->slot);
	struct vmm_slot **slots, *slot;
	int err = check_slot(s, vm, a, reply);

	if (err)
		return err;
	slots = realloc(vm->slots, (vm->slot_count + 1) * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	vm->slots = slots;
	slot = calloc(1, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	err = open_slot(s, vm, slot, a, fd, reply);
	if (err) {
		free(slot);
		return err;
	}
	s->memory_used += a->size_bytes;
	memmove(&slots[at + 1], &slots[at], (vm->slot_count - at) * sizeof(*slots));
	slots[at] = slot;
	vm->slot_count++;
	return 0;
}

static void free_slot(struct vmm *s, struct vmm_vm *vm, struct vmm_slot *slot)
{
	s->memory_used -= slot->core.size;
	s->backend->slot_close(vm, slot);
	free(slot);
}

void vmm_slots_free(struct vmm *s, struct vmm_vm *vm)
{
	size_t i;

	for (i = 0; i < vm->slot_count; i++)
		free_slot(s, vm, vm->slots[i]);
	free(vm->slots);
	vm->slots = NULL;
	vm->slot_count = 0;
}

void vmm_slot_free(struct vmm *s, struct vmm_vm *vm, struct vmm_slot *slot)
{
	size_t at = slot_position(vm, slot->core.id);

	free_slot(s, vm, slot);
	vm->slot_count--;
	memmove(&vm->slots[at], &vm->slots[at + 1], (vm->slot_count - at) * sizeof(*vm->slots));
}

#define RANGES_AT_A_TIME 64u

/* The first mapped range that names the slot. */
static bool first_range_of(struct vmm_vm *vm, uint32_t number, struct core_range *ret)
{
	struct core_range ranges[RANGES_AT_A_TIME];
	gpa_t from = gpa(0);
	size_t n, i;

	do {
		n = vm->machine->backend->ranges(vm, from, ranges, RANGES_AT_A_TIME);
		for (i = 0; i < n; i++) {
			if (ranges[i].slot != number)
				continue;
			*ret = ranges[i];
			return true;
		}
		from = n ? gpa(ranges[n - 1].gpa.v + ranges[n - 1].size) : from;
	} while (n == RANGES_AT_A_TIME);
	return false;
}

static int refuse_mapped(struct vmm_vm *vm, const struct vmm_slot *slot, struct vmm_reply *reply)
{
	struct engine_error *e = &reply->error;
	struct core_range range;

	if (first_range_of(vm, slot->core.id, &range)) {
		e->existing_first = range.gpa.v;
		e->existing_last = range.gpa.v + range.size - 1;
		e->slot = slot->core.id;
	}
	return vmm_fail(reply, -EBUSY, ENGINE_FIELD_SLOT, 0,
			"%" PRIu64 " bytes of it are mapped, first at 0x%" PRIx64 "-0x%" PRIx64
			": unmap them first",
			slot->core.mapped_bytes, e->existing_first, e->existing_last);
}

void vmm_slots_mapped(struct vmm_vm *vm)
{
	const struct backend *b = vm->machine->backend;

	if (b->slots_mapped)
		b->slots_mapped(vm);
}

int vmm_slot_remove(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		    struct vmm_reply *reply)
{
	uint32_t number = rq->req.u.slot_remove.slot;
	struct vmm_slot *slot = vmm_find_slot(vm, number);

	if (number == VMM_RAM_SLOT)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_SLOT, 0,
				"the VM's own memory goes with the VM");
	if (!slot)
		return vmm_fail(reply, -ENOENT, ENGINE_FIELD_SLOT, 0, "the VM has no such slot");
	vmm_slots_mapped(vm);
	if (slot->core.mapped_bytes)
		return refuse_mapped(vm, slot, reply);
	reply->total = slot->core.size;
	return vmm_slot_erase(s, vm, slot, reply);
}

int vmm_slot_list(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		  struct vmm_reply *reply)
{
	struct engine_slot_info *info = vmm_payload(reply, vm->slot_count, sizeof(*info));
	size_t i;

	(void)s;
	(void)rq;
	if (!info)
		return -ENOMEM;
	vmm_slots_mapped(vm);
	for (i = 0; i < vm->slot_count; i++) {
		const struct vmm_slot *slot = vm->slots[i];

		info[i] = (struct engine_slot_info){
			.size_bytes = slot->core.size,
			.mapped_bytes = slot->core.mapped_bytes,
			.hpa_first = slot->hpa_first.v,
			.slot = slot->core.id,
			.kind = slot->kind,
			.extents = slot->extents,
			.huge = slot->huge,
		};
	}
	return 0;
}

/* --- content ------------------------------------------------------------------------------- */

/* One page's worth of a transfer. */
struct piece {
	gpa_t at;
	uint32_t bytes;
};

#define PIECES_MAX (ENGINE_MAX_DATA / 4096u + 2u)

/*
 * Where a guest-virtual address lies, as a debugger wants it: the guest's page tables
 * decide, but neither their permissions nor those of the mapping.
 */
static int locate(struct vmm_vcpu *v, uint64_t address, gpa_t *ret, struct vmm_reply *reply)
{
	const struct backend *b = v->vm->machine->backend;
	struct core_walk_result w;
	struct core_range range;
	int err = b->walk(v, gva(address), CORE_PROT_R, false, true, &w);

	if (err)
		return err;
	if (w.outcome == CORE_WALK_OK) {
		*ret = w.gpa;
		return 0;
	}
	if (w.outcome == CORE_WALK_EPT_VIOLATION && (w.qualification & VMX_BIT(8)) &&
	    b->lookup(v->vm, w.fault_gpa, &range) == 0) {
		*ret = w.fault_gpa;
		return 0;
	}
	return vmm_fail(reply, -EFAULT, ENGINE_FIELD_GVA, address,
			"the guest maps nothing at gva 0x%" PRIx64, address);
}

/*
 * Splits a transfer at pages; all of it must be there before any of it is done. A vCPU whose
 * page tables say where is held.
 */
static int split(struct vmm_vm *vm, const struct engine_mem_io *io, struct piece *pieces,
		 size_t *ret_count, struct vmm_reply *reply)
{
	const struct backend *b = vm->machine->backend;
	uint64_t address = io->address, end = io->address + io->size_bytes;
	struct core_range range;
	size_t n = 0;
	int err;

	while (address != end) {
		uint64_t left = end - address, room = VMX_PAGE_SIZE - address % VMX_PAGE_SIZE;
		gpa_t at = gpa(address);

		if (io->kind == ENGINE_ADDR_GVA) {
			err = locate(&vm->vcpus[io->vcpu], address, &at, reply);
			if (err)
				return err;
		}
		if (b->lookup(vm, at, &range) != 0)
			return vmm_fail(reply, -EFAULT, ENGINE_FIELD_GPA, at.v,
					"nothing is mapped at gpa 0x%" PRIx64, at.v);
		pieces[n++] = (struct piece){at, (uint32_t)(left < room ? left : room)};
		address += pieces[n - 1].bytes;
	}
	*ret_count = n;
	return 0;
}

static int check_io(const struct vmm_vm *vm, const struct engine_mem_io *io,
		    struct vmm_reply *reply)
{
	const struct vmm_slot *slot;

	if (io->size_bytes == 0 || io->size_bytes > ENGINE_MAX_DATA)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_SIZE, ENGINE_MAX_DATA,
				"%u bytes: 1 to %u are possible", io->size_bytes, ENGINE_MAX_DATA);
	if (io->kind > ENGINE_ADDR_SLOT)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_KIND, ENGINE_ADDR_SLOT,
				"unknown kind of address %u", io->kind);
	if (io->kind == ENGINE_ADDR_SLOT) {
		slot = vmm_find_slot(vm, io->slot);
		if (!slot)
			return vmm_fail(reply, -ENOENT, ENGINE_FIELD_SLOT, 0,
					"the VM has no such slot");
		if (io->address > slot->core.size || slot->core.size - io->address < io->size_bytes)
			return vmm_fail(reply, -ERANGE, ENGINE_FIELD_OFFSET, slot->core.size,
					"offset 0x%" PRIx64 " plus %u bytes is outside the slot's "
					"0x%" PRIx64 " bytes",
					io->address, io->size_bytes, slot->core.size);
		return 0;
	}
	if (io->vcpu >= vm->vcpu_count)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_VCPU, vm->vcpu_count - 1,
				"vcpu %u: the last is %u", io->vcpu, vm->vcpu_count - 1);
	/* A range may end with the address space, but not wrap. */
	if (io->address + (io->size_bytes - 1) < io->address)
		return vmm_fail(reply, -ERANGE,
				io->kind == ENGINE_ADDR_GVA ? ENGINE_FIELD_GVA : ENGINE_FIELD_GPA,
				UINT64_MAX, "0x%" PRIx64 " plus %u bytes wraps", io->address,
				io->size_bytes);
	return 0;
}

static int transfer(struct vmm_vm *vm, const struct engine_mem_io *io, uint8_t *buf, bool write,
		    struct vmm_reply *reply)
{
	const struct backend *b = vm->machine->backend;
	struct piece pieces[PIECES_MAX];
	size_t count = 0, i;
	int err;

	if (io->kind == ENGINE_ADDR_GVA)
		vmm_hold(&vm->vcpus[io->vcpu]);
	err = split(vm, io, pieces, &count, reply);
	if (io->kind == ENGINE_ADDR_GVA)
		vmm_release(&vm->vcpus[io->vcpu]);
	for (i = 0; i < count && !err; i++) {
		err = write ? b->write(vm, pieces[i].at, buf, pieces[i].bytes)
			    : b->read(vm, pieces[i].at, buf, pieces[i].bytes);
		buf += pieces[i].bytes;
	}
	return err;
}

int vmm_mem_read(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		 struct vmm_reply *reply)
{
	const struct engine_mem_io *io = &rq->req.u.mem;
	uint8_t *buf;
	int err = check_io(vm, io, reply);

	if (err)
		return err;
	buf = vmm_payload(reply, io->size_bytes, 1);
	if (!buf)
		return -ENOMEM;
	if (io->kind == ENGINE_ADDR_SLOT)
		return s->backend->slot_read(vm, vmm_find_slot(vm, io->slot), io->address, buf,
					     io->size_bytes);
	return transfer(vm, io, buf, false, reply);
}

int vmm_mem_write(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		  struct vmm_reply *reply)
{
	const struct engine_mem_io *io = &rq->req.u.mem;
	int err = check_io(vm, io, reply);

	if (err)
		return err;
	if (io->kind == ENGINE_ADDR_SLOT)
		return s->backend->slot_write(vm, vmm_find_slot(vm, io->slot), io->address,
					      rq->payload, io->size_bytes);
	return transfer(vm, io, rq->payload, true, reply);
}
