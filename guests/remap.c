/* SPDX-License-Identifier: MIT */
/*
 * The demo's program. It maps nothing itself: it spins on the mailbox word, and each time
 * the host changes it, reads the text page once more through whatever translation its
 * processor has cached. A host that remaps the page and forgets the INVEPT sees the old
 * text here.
 */
#include "guest/mailbox.h"
#include "guest/print.h"
#include "guest/string.h"

int guest_main(void);

/* The text page up to its NUL, into the mailbox. Only this function touches that page. */
static size_t read_text(char *to)
{
	const volatile char *text = (const volatile char *)(uintptr_t)GUEST_TEXT_GPA;
	size_t n = 0;

	while (n < GUEST_TEXT_MAX - 1 && text[n]) {
		to[n] = text[n];
		n++;
	}
	to[n] = 0;
	return n;
}

int guest_main(void)
{
	struct guest_mailbox *box = guest_mailbox();
	uint32_t word = box->word;

	print("remap: waiting on 0x%x, text at 0x%x\n", GUEST_MAILBOX_GPA, GUEST_TEXT_GPA);
	for (;;) {
		word = guest_mailbox_wait(word);
		if (word == GUEST_STOP_WORD)
			break;
		box->result[0] = read_text(box->text);
		print("remap: read \"%s\"\n", box->text);
		guest_mailbox_done(word);
	}
	print("remap: stopped after %u readings\n", (unsigned)box->served);
	guest_mailbox_done(word);
	return 0;
}
