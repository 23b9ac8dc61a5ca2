/* SPDX-License-Identifier: MIT */
/*
 * What the device refuses, as data: an argument that is right, one field of it made wrong, and
 * the error that names it. And of every ioctl alike: other descriptors, sizes and pointers.
 */
#include "kernel/device_commands.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define VM_FLAGS (VMXCORE_VM_VPID | VMXCORE_VM_ACCESSED_DIRTY)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BAD_POINTER 8u

/* jmp itself */
static const uint8_t spin[] = {0xeb, 0xfe};

static void open_rig(struct rig *r)
{
	rig_open(r, &(struct fakedev_config){.processors = 2}, VM_FLAGS);
	memcpy(r->ram + CODE_GPA, spin, sizeof(spin));
	rig_vcpu(r, 0, CODE_GPA);
}

static int fd_of(const struct rig *r, enum device_object of)
{
	return of == OF_DEVICE ? r->dev : of == OF_VM ? r->vm : r->vcpu[0];
}

static const struct device_command *command(unsigned long cmd)
{
	for (size_t i = 0; i < DEVICE_COMMANDS; i++)
		if (device_commands[i].cmd == cmd)
			return &device_commands[i];
	fail_msg("ioctl %#lx is not in the table", cmd);
	return NULL;
}

static bool has_argument(unsigned long cmd)
{
	return (cmd >> 16 & 0x3fff) != 0;
}

/* --- fields ---------------------------------------------------------------------------------- */

/* In the argument, or in the operation that it points to. */
struct refusal {
	unsigned long cmd;
	const char *field;
	size_t at, size;
	bool of_op;
	uint64_t value;
	int error;
};

#define FIELD(CMD, type, member, value_, error_)                                      \
	{                                                                             \
		VMXCORE_##CMD, #member, offsetof(struct type, member),                \
			sizeof(((struct type *)0)->member), false, (value_), (error_) \
	}
#define OP(member, value_, error_)                                                             \
	{                                                                                      \
		VMXCORE_APPLY, #member, offsetof(struct vmxcore_map_op, member),               \
			sizeof(((struct vmxcore_map_op *)0)->member), true, (value_), (error_) \
	}

static const struct refusal refusals[] = {
	FIELD(CREATE_VM, vmxcore_create_vm, flags, 4, EINVAL),
	FIELD(CREATE_VM, vmxcore_create_vm, flags, 1u << 31, EINVAL),
	FIELD(CREATE_VM, vmxcore_create_vm, pad, 1, EINVAL),
	FIELD(CREATE_VM, vmxcore_create_vm, max_page_bytes, 1, EINVAL),
	FIELD(CREATE_VM, vmxcore_create_vm, max_page_bytes, 8192, EINVAL),

	FIELD(ADD_SLOT, vmxcore_slot, flags, 1, EINVAL),
	FIELD(ADD_SLOT, vmxcore_slot, slot, SLOT_RAM, EEXIST),
	FIELD(ADD_SLOT, vmxcore_slot, address, 0, EFAULT),
	FIELD(ADD_SLOT, vmxcore_slot, address, 1, EINVAL),
	FIELD(ADD_SLOT, vmxcore_slot, address, 0x10000, EFAULT),
	FIELD(ADD_SLOT, vmxcore_slot, address, UINT64_C(1) << 47, EINVAL),
	FIELD(ADD_SLOT, vmxcore_slot, address, ~UINT64_C(4095), EINVAL),
	FIELD(ADD_SLOT, vmxcore_slot, size_bytes, 0, EINVAL),
	FIELD(ADD_SLOT, vmxcore_slot, size_bytes, 4097, EINVAL),
	FIELD(ADD_SLOT, vmxcore_slot, size_bytes, (UINT64_C(64) << 30) + 4096, EINVAL),
	FIELD(ADD_SLOT, vmxcore_slot, size_bytes, ~UINT64_C(4095), EINVAL),
	FIELD(REMOVE_SLOT, vmxcore_slot_number, slot, 99, ENOENT),
	FIELD(REMOVE_SLOT, vmxcore_slot_number, slot, SLOT_RAM, EBUSY),
	FIELD(REMOVE_SLOT, vmxcore_slot_number, pad, 1, EINVAL),
	FIELD(SLOT_INFO, vmxcore_slot_info, slot, UINT32_MAX, ENOENT),
	FIELD(SLOT_INFO, vmxcore_slot_info, pad, 1, EINVAL),

	FIELD(APPLY, vmxcore_apply, operations, BAD_POINTER, EFAULT),
	FIELD(APPLY, vmxcore_apply, operations, UINT64_MAX, EFAULT),
	FIELD(APPLY, vmxcore_apply, count, 0, EINVAL),
	FIELD(APPLY, vmxcore_apply, count, UINT32_MAX, EINVAL),
	FIELD(APPLY, vmxcore_apply, flags, 2, EINVAL),
	OP(kind, 4, EINVAL),
	OP(kind, UINT32_MAX, EINVAL),
	OP(gpa, 0x40000001, EINVAL),
	OP(gpa, 0, EEXIST),
	OP(gpa, UINT64_C(1) << 48, ERANGE),
	OP(gpa, ~UINT64_C(4095), ERANGE),
	OP(size_bytes, 0, EINVAL),
	OP(size_bytes, 4095, EINVAL),
	OP(size_bytes, SPARE_BYTES, ERANGE),
	OP(size_bytes, ~UINT64_C(4095), ERANGE),
	OP(offset_bytes, 1, EINVAL),
	OP(offset_bytes, SPARE_BYTES, ERANGE),
	OP(slot, 99, ENOENT),
	OP(prot, 0, EINVAL),
	OP(prot, 2, EINVAL),
	OP(prot, 8, EINVAL),
	OP(memtype, 2, EINVAL),
	OP(memtype, 7, EINVAL),

	FIELD(RANGES, vmxcore_ranges, count, 0, EINVAL),
	FIELD(RANGES, vmxcore_ranges, count, 4097, EINVAL),
	FIELD(RANGES, vmxcore_ranges, pad, 1, EINVAL),
	FIELD(RANGES, vmxcore_ranges, ranges, BAD_POINTER, EFAULT),
	FIELD(DIRTY, vmxcore_dirty, clear, 2, EINVAL),
	FIELD(DIRTY, vmxcore_dirty, pad, 1, EINVAL),
	FIELD(DIRTY, vmxcore_dirty, gpa, 1, EINVAL),
	FIELD(DIRTY, vmxcore_dirty, size_bytes, 0, EINVAL),
	FIELD(DIRTY, vmxcore_dirty, size_bytes, 4097, EINVAL),
	FIELD(DIRTY, vmxcore_dirty, size_bytes, (UINT64_C(32) << 30) + 4096, EINVAL),
	FIELD(DIRTY, vmxcore_dirty, bitmap, BAD_POINTER, EFAULT),
	FIELD(MEMORY, vmxcore_memory, write, 2, EINVAL),
	FIELD(MEMORY, vmxcore_memory, size_bytes, (1u << 20) + 1, EINVAL),
	FIELD(MEMORY, vmxcore_memory, gpa, UINT64_MAX - 9, EINVAL),
	FIELD(MEMORY, vmxcore_memory, gpa, RAM_BYTES - 4095, EFAULT),
	FIELD(MEMORY, vmxcore_memory, gpa, UINT64_C(1) << 40, EFAULT),
	FIELD(MEMORY, vmxcore_memory, buffer, BAD_POINTER, EFAULT),
	FIELD(CMPXCHG, vmxcore_cmpxchg, pad, 1, EINVAL),
	FIELD(CMPXCHG, vmxcore_cmpxchg, size_bytes, 3, EINVAL),
	FIELD(CMPXCHG, vmxcore_cmpxchg, size_bytes, 16, EINVAL),
	FIELD(CMPXCHG, vmxcore_cmpxchg, gpa, TEXT_GPA + 4, EINVAL),
	FIELD(CMPXCHG, vmxcore_cmpxchg, gpa, RAM_BYTES, EFAULT),
	FIELD(CMPXCHG, vmxcore_cmpxchg, expected, 5, EAGAIN),
	FIELD(LOOKUP, vmxcore_lookup, gpa, RAM_BYTES, ENOENT),
	FIELD(LOOKUP, vmxcore_lookup, gpa, UINT64_MAX, ENOENT),
	FIELD(SET_CPUID, vmxcore_cpuid, count, 65, EINVAL),
	FIELD(SET_CPUID, vmxcore_cpuid, pad, 1, EINVAL),
	FIELD(SET_CPUID, vmxcore_cpuid, entries, BAD_POINTER, EFAULT),
	FIELD(INVALIDATE, vmxcore_invalidate, kind, 6, EINVAL),
	FIELD(INVALIDATE, vmxcore_invalidate, kind, UINT32_MAX, EINVAL),
	FIELD(INVALIDATE, vmxcore_invalidate, vcpu, 64, EINVAL),
	FIELD(INVALIDATE, vmxcore_invalidate, vpid, 65536, EINVAL),
	FIELD(INVALIDATE, vmxcore_invalidate, processor, 2, ENODEV),
	FIELD(INVALIDATE, vmxcore_invalidate, processor, UINT32_MAX, ENODEV),
	FIELD(STATS, vmxcore_stats, processor, 2, ENODEV),
	FIELD(STATS, vmxcore_stats, values, BAD_POINTER, EFAULT),
	FIELD(TRACE_SET, vmxcore_trace_set, pad, 1, EINVAL),
	FIELD(TRACE_SET, vmxcore_trace_set, kinds, 8, EINVAL),
	FIELD(TRACE_SET, vmxcore_trace_set, records, 0, EINVAL),
	FIELD(TRACE_SET, vmxcore_trace_set, records, 65537, EINVAL),
	FIELD(TRACE_READ, vmxcore_trace_read, pad, 1, EINVAL),
	FIELD(TRACE_READ, vmxcore_trace_read, count, 4097, EINVAL),
	FIELD(CREATE_VCPU, vmxcore_create_vcpu, index, 64, EINVAL),
	FIELD(CREATE_VCPU, vmxcore_create_vcpu, index, 0, EEXIST),
	FIELD(CREATE_VCPU, vmxcore_create_vcpu, pad, 1, EINVAL),

	FIELD(RUN, vmxcore_run, complete, 1, EINVAL),
	FIELD(RUN, vmxcore_run, complete, 2, EINVAL),
	FIELD(SET_REGS, vmxcore_set_regs, emulated, 2, EINVAL),
	FIELD(SET_REGS, vmxcore_set_regs, pad, 1, EINVAL),
	FIELD(SET_REGS, vmxcore_set_regs, regs.cr0, UINT64_C(1) << 32, EINVAL),
	FIELD(SET_REGS, vmxcore_set_regs, regs.cr4, UINT64_C(1) << 40, EINVAL),
	FIELD(SET_REGS, vmxcore_set_regs, regs.efer, 1u << 9, EINVAL),
	FIELD(SET_REGS, vmxcore_set_regs, regs.rflags, 0, EINVAL),
	FIELD(SET_REGS, vmxcore_set_regs, regs.activity, 4, EINVAL),
	FIELD(SET_REGS, vmxcore_set_regs, regs.gdtr_limit, 0x10000, EINVAL),
	FIELD(INJECT, vmxcore_event, pad, 1, EINVAL),
	FIELD(INJECT, vmxcore_event, info, 0, EINVAL),
	FIELD(INJECT, vmxcore_event, info, 1u << 31 | 7u << 8, EINVAL),
	FIELD(WALK, vmxcore_walk, access, 0, EINVAL),
	FIELD(WALK, vmxcore_walk, access, 3, EINVAL),
	FIELD(WALK, vmxcore_walk, user, 2, EINVAL),
	FIELD(WALK, vmxcore_walk, smap_off, 2, EINVAL),
	FIELD(WALK, vmxcore_walk, pad, 1, EINVAL),
	FIELD(VCPU_STATS, vmxcore_vcpu_stats, pad, 1, EINVAL),
	FIELD(VCPU_STATS, vmxcore_vcpu_stats, values, BAD_POINTER, EFAULT),
	FIELD(VCPU_STATS, vmxcore_vcpu_stats, exits, BAD_POINTER, EFAULT),
	FIELD(VMCS_READ, vmxcore_vmcs_field, pad, 1, EINVAL),
	FIELD(VMCS_READ, vmxcore_vmcs_field, encoding, 0x681e, ENODATA),
	FIELD(COMPLETE_IO, vmxcore_complete_io, pad, 1, EINVAL),
	FIELD(COMPLETE_IO, vmxcore_complete_io, value, 1, EINVAL),
};

static void test_fields(void **state)
{
	static struct device_buffers buffers;
	union device_arg arg;
	unsigned wrong = 0;
	struct rig r;

	(void)state;
	open_rig(&r);
	for (size_t i = 0; i < COUNT(refusals); i++) {
		const struct refusal *f = &refusals[i];
		const struct device_command *k = command(f->cmd);
		uint8_t *in;
		int error;

		device_arg_right(&r, &buffers, f->cmd, &arg);
		in = f->of_op ? (uint8_t *)&buffers.op[0] : arg.bytes;
		memcpy(in + f->at, &f->value, f->size);
		error = fakedev_ioctl(fd_of(&r, k->of), f->cmd, &arg) < 0 ? errno : 0;
		if (error == f->error)
			continue;
		print_error("%s: %s = %#llx: %s, not %s\n", k->name, f->field,
			    (unsigned long long)f->value, strerror(error), strerror(f->error));
		wrong++;
	}
	assert_int_equal(wrong, 0);
	rig_close(&r);
}

/* The arguments that the table starts from are right: each in a VM of its own. */
static void test_right(void **state)
{
	static struct device_buffers buffers;
	union device_arg arg;
	struct rig r;

	(void)state;
	for (size_t i = 0; i < DEVICE_COMMANDS; i++) {
		const struct device_command *k = &device_commands[i];
		struct vmxcore_run run = {.budget_ticks = 10};
		int result;

		if (k->cmd == VMXCORE_COMPLETE_IO)
			continue;
		open_rig(&r);
		if (k->cmd == VMXCORE_VMCS_READ)
			must(r.vcpu[0], VMXCORE_RUN, &run);
		device_arg_right(&r, &buffers, k->cmd, &arg);
		result = fakedev_ioctl(fd_of(&r, k->of), k->cmd, &arg);
		if (result < 0)
			fail_msg("%s: %s", k->name, strerror(errno));
		if (result > 0)
			assert_int_equal(fakedev_close(result), 0);
		rig_close(&r);
	}
}

/* --- every ioctl alike --------------------------------------------------------------------------
 */

/* A page, and nothing behind it. */
static uint8_t *last_page(void)
{
	uint8_t *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	assert_int_equal(mprotect(p + 4096, 4096, PROT_NONE), 0);
	return p;
}

static void test_pointers(void **state)
{
	static struct device_buffers buffers;
	uint8_t *page = last_page();
	union device_arg arg;
	struct rig r;

	(void)state;
	open_rig(&r);
	for (size_t i = 0; i < DEVICE_COMMANDS; i++) {
		const struct device_command *k = &device_commands[i];
		size_t size = k->cmd >> 16 & 0x3fff;
		int fd = fd_of(&r, k->of);

		if (!has_argument(k->cmd))
			continue;
		device_arg_right(&r, &buffers, k->cmd, &arg);
		/* The first bytes are there, the last is not. */
		memcpy(page + 4096 - (size - 1), &arg, size - 1);
		assert_int_equal(refused(fd, k->cmd, page + 4096 - (size - 1)), EFAULT);
		assert_int_equal(refused(fd, k->cmd, NULL), EFAULT);
		assert_int_equal(refused(fd, k->cmd, (void *)(uintptr_t)BAD_POINTER), EFAULT);
		assert_int_equal(refused(fd, k->cmd, (void *)(UINTPTR_MAX - 7)), EFAULT);
	}
	munmap(page, 8192);
	rig_close(&r);
}

static void test_numbers(void **state)
{
	static struct device_buffers buffers;
	union device_arg arg;
	struct rig r;

	(void)state;
	open_rig(&r);
	for (size_t i = 0; i < DEVICE_COMMANDS; i++) {
		const struct device_command *k = &device_commands[i];
		/* Another size, direction, number, type. */
		const unsigned long others[] = {k->cmd + (8ul << 16), k->cmd ^ 1ul << 30,
						k->cmd | 0x80, k->cmd ^ 0x100};

		device_arg_right(&r, &buffers, k->cmd, &arg);
		for (int of = OF_DEVICE; of < OBJECTS; of++)
			if (of != (int)k->of)
				assert_int_equal(
					refused(fd_of(&r, (enum device_object)of), k->cmd, &arg),
					ENOTTY);
		for (size_t n = 0; n < COUNT(others); n++)
			assert_int_equal(refused(fd_of(&r, k->of), others[n], &arg), ENOTTY);
	}
	rig_close(&r);
}

/* --- what a conflict tells
 * -------------------------------------------------------------------------- */

static void test_conflict(void **state)
{
	struct vmxcore_map_op ops[2] = {
		{.kind = VMXCORE_MAP,
		 .gpa = 0x40000000,
		 .size_bytes = 4096,
		 .slot = SLOT_SPARE,
		 .prot = 1,
		 .memtype = 6},
		{.kind = VMXCORE_MAP,
		 .gpa = 0x3ff000,
		 .size_bytes = 8192,
		 .slot = SLOT_SPARE,
		 .prot = 1,
		 .memtype = 6},
	};
	struct vmxcore_apply a = {.operations = (uintptr_t)ops, .count = 2};
	struct vmxcore_lookup l = {.gpa = 0x40000000};
	struct rig r;

	(void)state;
	open_rig(&r);
	assert_int_equal(refused(r.vm, VMXCORE_APPLY, &a), EEXIST);
	assert_int_equal(a.conflict.op_index, 1);
	assert_int_equal(a.conflict.field, 2);
	assert_int_equal(a.conflict.requested_first, 0x3ff000);
	assert_int_equal(a.conflict.requested_last, 0x400fff);
	assert_int_equal(a.conflict.existing_first, 0);
	assert_int_equal(a.conflict.existing_last, RAM_BYTES - 1);
	assert_int_equal(a.conflict.existing_slot, SLOT_RAM);
	/* Not the first, either. */
	assert_int_equal(refused(r.vm, VMXCORE_LOOKUP, &l), ENOENT);
	rig_close(&r);
}

/* Which register it was. */
static void test_register_name(void **state)
{
	struct vmxcore_set_regs s = {0};
	struct vmxcore_regs before, after;
	struct rig r;

	(void)state;
	open_rig(&r);
	must(r.vcpu[0], VMXCORE_GET_REGS, &before);
	s.regs = before;
	s.regs.gpr[0] = 77;
	s.regs.rflags = 0;
	assert_int_equal(refused(r.vcpu[0], VMXCORE_SET_REGS, &s), EINVAL);
	assert_string_equal(s.field, "rflags");
	must(r.vcpu[0], VMXCORE_GET_REGS, &after);
	assert_memory_equal(&before, &after, sizeof(before));
	rig_close(&r);
}

/* --- memory that can't be a slot
 * ------------------------------------------------------------------- */

static int slot_of(struct rig *r, void *memory, uint64_t size)
{
	struct vmxcore_slot s = {.slot = 9, .address = (uintptr_t)memory, .size_bytes = size};
	struct vmxcore_slot_number n = {.slot = 9};

	if (fakedev_ioctl(r->vm, VMXCORE_ADD_SLOT, &s) < 0)
		return errno;
	must(r->vm, VMXCORE_REMOVE_SLOT, &n);
	return 0;
}

static void test_slot_memory(void **state)
{
	uint8_t *shared = shared_memory(16384), *private;
	struct rig r;

	(void)state;
	private = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(private != MAP_FAILED);
	open_rig(&r);
	assert_int_equal(slot_of(&r, shared, 16384), 0);
	assert_int_equal(slot_of(&r, shared + 4096, 8192), 0);
	/* The stand-in's own: a kernel pins it. */
	assert_int_equal(slot_of(&r, private, 8192), EOPNOTSUPP);
	assert_int_equal(mprotect(shared + 4096, 4096, PROT_READ), 0);
	assert_int_equal(slot_of(&r, shared, 16384), EFAULT);
	assert_int_equal(slot_of(&r, shared + 8192, 8192), 0);
	assert_int_equal(munmap(shared + 4096, 4096), 0);
	assert_int_equal(slot_of(&r, shared, 16384), EFAULT);
	munmap(shared, 4096);
	munmap(shared + 8192, 8192);
	munmap(private, 8192);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_right),	    cmocka_unit_test(test_fields),
		cmocka_unit_test(test_pointers),    cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_conflict),    cmocka_unit_test(test_register_name),
		cmocka_unit_test(test_slot_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
