/* SPDX-License-Identifier: MIT */
/*
 * Files under an arena, or a slot, that are cut short by their owner: the next access to a page
 * behind the new end would be SIGBUS, and the end of the process. Inside a guarded
 * range the page is replaced by one of zeros instead, for good, and counted.
 */
#ifndef VMXCORE_PLAT_GUARD_H
#define VMXCORE_PLAT_GUARD_H

#include <vmxcore/types.h>

#define PLAT_GUARD_MAX 1024u

/*
 * Installs the process-wide SIGBUS handler if it is not there; it passes on what lies in no
 * guarded range. 0, -ENOSPC with PLAT_GUARD_MAX ranges guarded, or what sigaction() says.
 */
int plat_guard_add(const void *base, size_t bytes);
void plat_guard_remove(const void *base);
/* Pages replaced in the range of this base so far; 0 if it is not guarded. */
uint64_t plat_guard_lost(const void *base);

#endif
