/* SPDX-License-Identifier: MIT */
/* Exit qualifications, in words. */
#ifndef HVCTL_QUALIFICATION_H
#define HVCTL_QUALIFICATION_H

#include <stdbool.h>
#include <stdint.h>

#define QUALIFICATION_LEN 96

/* exit: the reason, as in stats.get. false: there is nothing to say. */
bool qualification_text(const char *exit, uint64_t qualification, char text[QUALIFICATION_LEN]);

#endif
