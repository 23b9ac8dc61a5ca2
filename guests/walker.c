/* SPDX-License-Identifier: MIT */
/*
 * Does one access where and when the host says, and nothing else that would disturb the
 * TLB: the mailbox's arg[0] is the linear address, arg[1] 0 to read, else the value to write.
 * All memory is mapped at its own address, and again at 0x8000000000 and 0x10000000000 (a
 * PML4 entry each), in pages of the size that "page=" names, so a host can compare any walk
 * with what the caches save. result[0] is the value read.
 */
#include "guest/cpu.h"
#include "guest/mailbox.h"
#include "guest/paging.h"
#include "guest/print.h"
#include "guest/workload.h"

#define WALKER_VIEWS 2
#define WALKER_VIEW_STRIDE 0x8000000000ull /* one PML4 entry */

int guest_main(uint32_t magic, uint32_t info);

static void map_views(const struct workload *w)
{
	/* the views share the page directories of the identity map */
	volatile uint64_t *pml4 = (volatile uint64_t *)(uintptr_t)w->pml4;

	for (unsigned i = 1; i <= WALKER_VIEWS; i++)
		pml4[i] = pml4[0];
}

int guest_main(uint32_t magic, uint32_t info)
{
	struct guest_mailbox *box = guest_mailbox();
	struct workload w;
	uint32_t word;

	workload_start("walker", magic, info, &w);
	map_views(&w);
	word = box->word;
	print("walker: waiting on 0x%x, pages of %llu bytes, views every 0x%llx\n",
	      GUEST_MAILBOX_GPA, (unsigned long long)w.page_bytes,
	      (unsigned long long)WALKER_VIEW_STRIDE);
	for (;;) {
		volatile uint64_t *at;

		word = guest_mailbox_wait(word);
		if (word == GUEST_STOP_WORD)
			break;
		at = (volatile uint64_t *)(uintptr_t)box->arg[0];
		if (box->arg[1])
			*at = box->arg[1];
		box->result[0] = *at;
		guest_mailbox_done(word);
	}
	print("walker: stopped after %u accesses\n", (unsigned)box->served);
	guest_mailbox_done(word);
	return 0;
}
