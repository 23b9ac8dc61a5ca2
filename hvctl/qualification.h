/* SPDX-License-Identifier: MIT */
/* Exit qualifications and error codes, in words. */
#ifndef HVCTL_QUALIFICATION_H
#define HVCTL_QUALIFICATION_H

#include <stdbool.h>
#include <stdint.h>

#define QUALIFICATION_LEN 96

/* exit: the reason, as in stats.get. false: there is nothing to say. */
bool qualification_text(const char *exit, uint64_t qualification, char text[QUALIFICATION_LEN]);

/* A page fault's error code: "write, user, not present". */
void page_fault_text(uint64_t error_code, char text[QUALIFICATION_LEN]);

#endif
