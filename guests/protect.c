/* SPDX-License-Identifier: MIT */
/*
 * Writes to a page that the host may protect: at each new mailbox word, the word goes to
 * the text page. While the host forbids that, the program does not come back from the
 * write; afterwards it goes on as if nothing had happened.
 */
#include "guest/mailbox.h"
#include "guest/print.h"

int guest_main(void);

int guest_main(void)
{
	struct guest_mailbox *box = guest_mailbox();
	volatile uint32_t *page = (volatile uint32_t *)(uintptr_t)GUEST_TEXT_GPA;
	uint32_t word = box->word;

	print("protect: waiting on 0x%x, writing to 0x%x\n", GUEST_MAILBOX_GPA, GUEST_TEXT_GPA);
	for (;;) {
		word = guest_mailbox_wait(word);
		if (word == GUEST_STOP_WORD)
			break;
		*page = word;
		box->result[0] = *page;
		print("protect: wrote %u, read %u\n", (unsigned)word, (unsigned)box->result[0]);
		guest_mailbox_done(word);
	}
	print("protect: stopped after %u writes\n", (unsigned)box->served);
	guest_mailbox_done(word);
	return 0;
}
