/* SPDX-License-Identifier: MIT */
#include "guest/check.h"

#include "guest/io.h"
#include "guest/print.h"

static unsigned passed, failed;

int check(const char *name, uint64_t got, uint64_t want)
{
	if (got == want) {
		passed++;
		print("PASS %s\n", name);
		return 1;
	}
	failed++;
	print("FAIL %s: got 0x%llx, expected 0x%llx\n", name, (unsigned long long)got,
	      (unsigned long long)want);
	return 0;
}

_Noreturn void check_finish(const char *name)
{
	print("%s: %u passed, %u failed\n", name, passed, failed);
	guest_exit(failed ? 1 : 0);
}

/* guest_main() came back: its value is the status (the start files call this). */
_Noreturn void guest_return(uint32_t status);
_Noreturn void guest_return(uint32_t status)
{
	guest_exit(status);
}
