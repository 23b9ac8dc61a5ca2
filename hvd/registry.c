// SPDX-License-Identifier: MIT
#include "hvd/registry.h"
#include "hvd/hvd.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Two arrays of the same VMs, each sorted: by name, and by id (VM_READY and later). */
struct sorted {
	struct vm **vms;
	size_t count, size;
};

struct registry {
	struct sorted by_name, by_id;
};

struct registry *registry_new(void)
{
	return calloc(1, sizeof(struct registry));
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	while (r->by_name.count)
		registry_remove(r, r->by_name.vms[r->by_name.count - 1]);
	free(r->by_name.vms);
	free(r->by_id.vms);
	free(r);
}

/* First position whose VM is not less. */
static size_t place(const struct sorted *s, const char *name, uint64_t id)
{
	size_t low = 0, high = s->count;

	while (low < high) {
		const size_t mid = low + (high - low) / 2;
		const bool less = name ? strcmp(s->vms[mid]->name, name) < 0 : s->vms[mid]->id < id;

		if (less)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int insert(struct sorted *s, size_t at, struct vm *vm)
{
	if (s->count == s->size) {
		const size_t size = s->size ? s->size * 2 : 16;
		struct vm **vms = reallocarray(s->vms, size, sizeof(*vms));

		if (!vms)
			return -ENOMEM;
		s->vms = vms;
		s->size = size;
	}
	memmove(s->vms + at + 1, s->vms + at, (s->count - at) * sizeof(*s->vms));
	s->vms[at] = vm;
	s->count++;
	return 0;
}

static void take_out(struct sorted *s, size_t at)
{
	s->count--;
	memmove(s->vms + at, s->vms + at + 1, (s->count - at) * sizeof(*s->vms));
}

size_t registry_count(const struct registry *r)
{
	return r->by_name.count;
}

struct vm *registry_at(const struct registry *r, size_t i)
{
	return r->by_name.vms[i];
}

struct vm *registry_find(const struct registry *r, const char *name)
{
	const size_t at = place(&r->by_name, name, 0);

	if (at < r->by_name.count && !strcmp(r->by_name.vms[at]->name, name))
		return r->by_name.vms[at];
	return NULL;
}

struct vm *registry_find_id(const struct registry *r, uint64_t id)
{
	const size_t at = place(&r->by_id, NULL, id);

	return at < r->by_id.count && r->by_id.vms[at]->id == id ? r->by_id.vms[at] : NULL;
}

/* RFC 9562, version 4. */
static int make_uuid(char out[37])
{
	uint8_t b[16];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		return -EIO;
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	for (size_t i = 0, n = 0; i < sizeof(b); i++)
		n += (size_t)snprintf(out + n, 37 - n, "%s%02x",
				      i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
	return 0;
}

int registry_add(struct registry *r, const char *name, struct vm **ret)
{
	const size_t at = place(&r->by_name, name, 0);
	uint32_t ram;
	struct vm *vm;
	int err;

	if (registry_find(r, name))
		return -EEXIST;
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return -ENOMEM;
	vm->refs = 1;
	snprintf(vm->name, sizeof(vm->name), "%s", name);
	err = make_uuid(vm->uuid);
	if (!err)
		err = vm_slot_add(vm, SLOT_RAM, &ram);
	if (!err)
		err = insert(&r->by_name, at, vm);
	if (err) {
		vm_unref(vm);
		return err;
	}
	*ret = vm;
	return 0;
}

int registry_set_id(struct registry *r, struct vm *vm, uint64_t id)
{
	const int err = insert(&r->by_id, place(&r->by_id, NULL, id), vm);

	if (err)
		return err;
	vm->id = id;
	vm->phase = VM_READY;
	vm->slots[0].ready = true;
	return 0;
}

void registry_remove(struct registry *r, struct vm *vm)
{
	take_out(&r->by_name, place(&r->by_name, vm->name, 0));
	if (registry_find_id(r, vm->id) == vm)
		take_out(&r->by_id, place(&r->by_id, NULL, vm->id));
	vm->phase = VM_GONE;
	vm_unref(vm);
}

void vm_set_params(struct vm *vm, const struct proto_vm_create_params *p)
{
	vm->memory_bytes = p->memory_bytes;
	vm->ept_page = p->ept_page;
	vm->vcpus = p->vcpus;
	vm->use_vpid = p->vpid;
}

struct vm *vm_ref(struct vm *vm)
{
	vm->refs++;
	return vm;
}

void vm_unref(struct vm *vm)
{
	if (!vm || --vm->refs)
		return;
	definition_free(vm->definition);
	free(vm->slots);
	free(vm);
}

struct slot *vm_slot_by_name(struct vm *vm, const char *name)
{
	for (size_t i = 0; i < vm->slot_count; i++)
		if (!strcmp(vm->slots[i].name, name))
			return &vm->slots[i];
	return NULL;
}

struct slot *vm_slot_by_number(struct vm *vm, uint32_t number)
{
	for (size_t i = 0; i < vm->slot_count; i++)
		if (vm->slots[i].number == number)
			return &vm->slots[i];
	return NULL;
}

int vm_slot_add(struct vm *vm, const char *name, uint32_t *ret_number)
{
	struct slot *slots, *slot;

	if (vm_slot_by_name(vm, name))
		return -EEXIST;
	if (vm->slot_count >= HVD_SLOTS_MAX)
		return -ENOSPC;
	slots = reallocarray(vm->slots, vm->slot_count + 1, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	vm->slots = slots;
	slot = &slots[vm->slot_count++];
	*slot = (struct slot){.number = vm->next_slot++};
	snprintf(slot->name, sizeof(slot->name), "%s", name);
	*ret_number = slot->number;
	return 0;
}

void vm_slot_remove(struct vm *vm, uint32_t number)
{
	for (size_t i = 0; i < vm->slot_count; i++) {
		if (vm->slots[i].number != number)
			continue;
		vm->slot_count--;
		memmove(vm->slots + i, vm->slots + i + 1,
			(vm->slot_count - i) * sizeof(*vm->slots));
		return;
	}
}
