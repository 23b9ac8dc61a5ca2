/* SPDX-License-Identifier: MIT */
#include "kernel/device_random.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel/memory.h"

#define VM_FLAGS (VMXCORE_VM_VPID | VMXCORE_VM_ACCESSED_DIRTY)
#define RUN_TICKS 5000u

struct random_memory {
	union device_arg arg;
	struct device_buffers buffers;
};

/* --- choices ------------------------------------------------------------------------------ */

static uint8_t next_byte(struct choice_source *s)
{
	if (s->left == 0)
		return 0;
	s->left--;
	return *s->data++;
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

uint32_t choose_u32(struct choice_source *s)
{
	uint32_t v = 0;

	if (!s->data)
		return (uint32_t)(next_random(&s->seed) >> 32);
	for (int i = 0; i < 4; i++)
		v = v << 8 | next_byte(s);
	return v;
}

uint32_t choose_below(struct choice_source *s, uint32_t below)
{
	if (s->data && below <= 256)
		return next_byte(s) % below;
	return choose_u32(s) % below;
}

/* --- VMs and vCPUs -------------------------------------------------------------------------- */

/* A VM like the rig's, by arguments in the memory that the device may use. */
static int new_vm(struct random_device *d)
{
	struct random_memory *m = d->memory;
	int vm;

	m->arg.create_vm = (struct vmxcore_create_vm){.flags = VM_FLAGS};
	vm = must(d->rig.dev, VMXCORE_CREATE_VM, &m->arg);
	m->arg.slot = (struct vmxcore_slot){
		.slot = SLOT_RAM, .address = (uintptr_t)d->rig.ram, .size_bytes = RAM_BYTES};
	must(vm, VMXCORE_ADD_SLOT, &m->arg);
	m->arg.slot = (struct vmxcore_slot){
		.slot = SLOT_SPARE, .address = (uintptr_t)d->rig.spare, .size_bytes = SPARE_BYTES};
	must(vm, VMXCORE_ADD_SLOT, &m->arg);
	m->buffers.op[0] = (struct vmxcore_map_op){
		.size_bytes = RAM_BYTES, .slot = SLOT_RAM, .prot = 7, .memtype = 6};
	m->arg.apply = (struct vmxcore_apply){.operations = (uintptr_t)m->buffers.op, .count = 1};
	must(vm, VMXCORE_APPLY, &m->arg);
	return vm;
}

/* The first index that is free. */
static int new_vcpu(struct random_device *d, int vm)
{
	struct vmxcore_create_vcpu *c = &d->memory->arg.create_vcpu;
	int vcpu = -1;

	for (uint32_t i = 0; vcpu < 0; i++) {
		*c = (struct vmxcore_create_vcpu){.index = i};
		vcpu = fakedev_ioctl(vm, VMXCORE_CREATE_VCPU, c);
		if (vcpu < 0)
			assert_int_equal(errno, EEXIST);
	}
	rig_flat(vcpu, CODE_GPA, &d->memory->arg.set_regs);
	return vcpu;
}

static void replace(int *fd, int by)
{
	assert_int_equal(fakedev_close(*fd), 0);
	*fd = by;
}

void random_device_open(struct random_device *d)
{
	memset(d, 0, sizeof(*d));
	rig_open(&d->rig, NULL, VM_FLAGS);
	memset(d->rig.ram + CODE_GPA, 0x90, 256); /* nop */
	d->memory = (struct random_memory *)(void *)shared_memory(sizeof(*d->memory));
	memory_set_user(d->memory, sizeof(*d->memory));
	assert_int_equal(fakedev_close(d->rig.vm), 0);
	for (unsigned i = 0; i < RANDOM_VMS; i++)
		d->vm[i] = new_vm(d);
	for (unsigned i = 0; i < RANDOM_VCPUS; i++)
		d->vcpu[i] = new_vcpu(d, d->vm[i % RANDOM_VMS]);
}

void random_device_close(struct random_device *d)
{
	for (unsigned i = 0; i < RANDOM_VCPUS; i++)
		assert_int_equal(fakedev_close(d->vcpu[i]), 0);
	for (unsigned i = 0; i < RANDOM_VMS; i++)
		assert_int_equal(fakedev_close(d->vm[i]), 0);
	d->rig.vm = d->rig.vcpu[0] = -1;
	memory_set_user(NULL, 0);
	munmap(d->memory, sizeof(*d->memory));
	rig_close(&d->rig);
}

/* --- arguments ---------------------------------------------------------------------------------
 */

/* Mostly what could be right, so that more than the first check is reached. */
static uint32_t likely_word(const struct random_device *d, struct choice_source *s, uint32_t now)
{
	const uintptr_t pointers[] = {(uintptr_t)&d->memory->buffers, (uintptr_t)d->rig.ram,
				      (uintptr_t)d->rig.spare};
	uintptr_t p = pointers[choose_below(s, 3)];

	switch (choose_below(s, 11)) {
	case 0:
		return 0;
	case 1:
		return choose_below(s, 8);
	case 2:
		return choose_below(s, 2048) << 12;
	case 3: /* a pointer's halves */
		return (uint32_t)p;
	case 4:
		return (uint32_t)((uint64_t)p >> 32);
	case 5:
		return UINT32_MAX;
	case 6:
		return now + 1;
	case 7:
		return now - 1;
	case 8:
		return now ^ 1u << choose_below(s, 32);
	case 9:
		return now << choose_below(s, 32);
	default:
		return choose_u32(s);
	}
}

static void change_words(const struct random_device *d, struct choice_source *s, void *at,
			 size_t bytes, uint32_t count)
{
	uint32_t *words = at;

	while (count-- && bytes >= 4) {
		uint32_t *w = &words[choose_below(s, (uint32_t)(bytes / 4))];

		*w = likely_word(d, s, *w);
	}
}

/* What guests execute, and what is read as entries of other tables. */
static void change_room(const struct random_device *d, struct choice_source *s)
{
	uint32_t *words = (uint32_t *)(void *)d->memory->buffers.room;
	uint32_t i, n = choose_below(s, 8);

	for (i = 0; i < n; i++)
		words[i] = choose_u32(s);
	change_words(d, s, d->memory->buffers.op, sizeof(d->memory->buffers.op),
		     choose_below(s, 4));
}

/* A run must come back. */
static void bound_run(struct vmxcore_run *run)
{
	run->budget_ticks = 1 + run->budget_ticks % RUN_TICKS;
}

static void make_argument(struct random_device *d, struct choice_source *s, unsigned long cmd)
{
	struct random_memory *m = d->memory;
	size_t bytes = cmd >> 16 & 0x3fff;

	device_arg_right(&d->rig, &m->buffers, cmd, &m->arg);
	change_room(d, s);
	/* Write to where the guest is, or to any page; not always the same. */
	if (cmd == VMXCORE_MEMORY) {
		m->arg.memory.gpa = choose_below(s, 2) ? CODE_GPA : choose_below(s, 256) << 12;
		m->arg.memory.size_bytes = choose_below(s, 64);
		m->arg.memory.write = choose_below(s, 2);
	}
	if (choose_below(s, 16) == 15)
		change_words(d, s, &m->arg, bytes, (uint32_t)(bytes / 4));
	else
		change_words(d, s, &m->arg, bytes, choose_below(s, 4));
	if (cmd == VMXCORE_RUN)
		bound_run(&m->arg.run);
}

/* --- a step -------------------------------------------------------------------------------------
 */

static void take_result(struct random_device *d, const struct device_command *k, unsigned i,
			unsigned v, int r)
{
	d->calls++;
	d->done += r >= 0;
	if (r >= 0)
		d->succeeded[k - device_commands]++;
	else
		d->failed[k - device_commands]++;
	d->digest = (d->digest ^ (uint32_t)(r < 0 ? errno : 0)) * 16777619u;
	if (r < 0)
		return;
	/* A VM that may be of another make, with nothing mapped; a vCPU after its reset. */
	if (k->cmd == VMXCORE_CREATE_VM)
		replace(&d->vm[i], r);
	if (k->cmd == VMXCORE_CREATE_VCPU)
		replace(&d->vcpu[v], r);
}

void random_device_step(struct random_device *d, struct choice_source *s)
{
	unsigned i = choose_below(s, RANDOM_VMS), v = choose_below(s, RANDOM_VCPUS);
	const struct device_command *k = &device_commands[choose_below(s, DEVICE_COMMANDS)];
	unsigned how = choose_below(s, 64);
	unsigned long cmd = k->cmd;
	int fd;

	if (how == 1)
		replace(&d->vm[i], new_vm(d));
	if (how == 2 || how == 3)
		replace(&d->vcpu[v], new_vcpu(d, d->vm[i]));
	d->rig.vm = d->vm[i];
	d->rig.vcpu[0] = d->vcpu[v];
	make_argument(d, s, cmd);
	if (how == 4)
		cmd ^= 1ul << choose_below(s, 32);
	fd = k->of == OF_DEVICE ? d->rig.dev : k->of == OF_VM ? d->vm[i] : d->vcpu[v];
	take_result(d, k, i, v, fakedev_ioctl(fd, cmd, &d->memory->arg));
}
