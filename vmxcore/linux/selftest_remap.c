// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The host's side of guests/remap.c, a 64-bit guest that spins on a mailbox with
 * interrupts off: between its turns the host writes the mailbox and remaps.
 */
#define pr_fmt(fmt) "vmxcore: " fmt
#include <linux/string.h>

#include "selftest.h"

/* guests/include/guest/mailbox.h */
#define MAILBOX_GPA 0x300000
#define MAILBOX_WORD 0
#define MAILBOX_ACK 4
#define MAILBOX_TEXT 48
#define STOP_WORD 0x504f5453u

static int start(struct test_vm *t)
{
	static const char old[] = "OLD", new[] = "NEW";
	int err = plat_kernel_mem_write(t->mem[TEST_SLOT_RAM], TEST_TEXT_GPA, old, sizeof(old));

	return err ? err : plat_kernel_mem_write(t->mem[TEST_SLOT_SPARE], 0, new, sizeof(new));
}

static int send(struct test_vm *t, u32 word)
{
	return plat_kernel_mem_write(t->mem[TEST_SLOT_RAM], MAILBOX_GPA + MAILBOX_WORD, &word,
				     sizeof(word));
}

static int read_text(struct test_vm *t, const char *expected)
{
	char text[16] = "";
	int err = plat_kernel_mem_read(t->mem[TEST_SLOT_RAM], MAILBOX_GPA + MAILBOX_TEXT, text,
				       sizeof(text) - 1);

	if (err)
		return err;
	pr_info("host: the mailbox says \"%s\"\n", text);
	return strcmp(text, expected) ? -EIO : 0;
}

static int remap(struct test_vm *t)
{
	const struct core_map_op op = {
		.kind = CORE_REMAP,
		.gpa = {TEST_TEXT_GPA},
		.size = VMX_PAGE_SIZE,
		.slot = &t->slot[TEST_SLOT_SPARE],
	};

	return test_change(t, "remap the text", &op);
}

/* Each time its budget is used up: the next stage, if the guest has answered the last. */
static int budget(struct test_vm *t)
{
	u32 ack = 0;
	int err = plat_kernel_mem_read(t->mem[TEST_SLOT_RAM], MAILBOX_GPA + MAILBOX_ACK, &ack,
				       sizeof(ack));

	if (err || (t->stage > 0 && ack != (u32)t->stage))
		return err;
	switch (t->stage++) {
	case 0:
		return send(t, 1);
	case 1:
		err = read_text(t, "OLD");
		if (!err)
			err = remap(t);
		return err ? err : send(t, 2);
	case 2:
		err = read_text(t, "NEW");
		return err ? err : send(t, STOP_WORD);
	default:
		return 0;
	}
}

const struct test_program test_program_remap = {
	.name = "remap",
	.file = "remap.bin",
	.long_mode = true,
	.start = start,
	.budget = budget,
};
