/* SPDX-License-Identifier: MIT */
/*
 * The engine "blind": the soft backend with no more to be seen of it than of a real
 * processor. Its TLB can't be looked into, instructions are not counted, and traces are in
 * host time.
 */
#ifndef TESTS_CONTRACT_BLIND_H
#define TESTS_CONTRACT_BLIND_H

#include "engine/backend.h"

#define BLIND_NAME "blind"
#define BLIND_LACKS (ENGINE_CAP_TLB_STATS | ENGINE_CAP_TLB_ENTRIES | ENGINE_CAP_DETERMINISTIC)

struct backend blind_backend(void);

#endif
