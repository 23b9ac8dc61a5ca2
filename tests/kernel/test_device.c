/* SPDX-License-Identifier: MIT */
/* The ioctl layer at work: guests run, are remapped under way, and go. */
#include "kernel/device_rig.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define VM_FLAGS (VMXCORE_VM_VPID | VMXCORE_VM_ACCESSED_DIRTY)

/* again: mov eax, [0x10000]; out 0x10, eax; jmp again */
static const uint8_t teller[] = {0xa1, 0x00, 0x00, 0x01, 0x00, 0xe7, 0x10, 0xeb, 0xf7};

static uint32_t word(const char *text)
{
	uint32_t w;

	memcpy(&w, text, sizeof(w));
	return w;
}

/* Runs until the next OUT, which is completed with the next run. */
static uint32_t next_out(int vcpu, bool first)
{
	struct vmxcore_run run = {.complete = !first};

	must(vcpu, VMXCORE_RUN, &run);
	assert_int_equal(run.reason, VMXCORE_EXIT_IO);
	assert_int_equal(run.io_port, 0x10);
	assert_int_equal(run.io_in, 0);
	return run.io_value;
}

static void remap_text(struct rig *r, uint32_t slot, uint64_t offset, struct vmxcore_apply *a)
{
	const struct vmxcore_map_op op = {.kind = VMXCORE_REMAP,
					  .gpa = TEXT_GPA,
					  .size_bytes = 4096,
					  .slot = slot,
					  .offset_bytes = offset};

	assert_int_equal(change(r, a, &op), 0);
}

static void test_remap(void **state)
{
	struct vmxcore_apply a;
	struct rig r;

	(void)state;
	rig_open(&r, &(struct fakedev_config){0}, VM_FLAGS);
	memcpy(r.ram + CODE_GPA, teller, sizeof(teller));
	strcpy((char *)r.ram + TEXT_GPA, "OLD");
	strcpy((char *)r.spare, "NEW");
	rig_vcpu(&r, 0, CODE_GPA);
	assert_int_equal(next_out(r.vcpu[0], true), word("OLD"));
	assert_int_equal(next_out(r.vcpu[0], false), word("OLD"));
	remap_text(&r, SLOT_SPARE, 0, &a);
	assert_true(a.change.entries_written > 0);
	assert_int_equal(a.change.need, 2);
	assert_int_equal(next_out(r.vcpu[0], false), word("NEW"));
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_remap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
