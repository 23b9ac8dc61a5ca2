/* SPDX-License-Identifier: MIT */
/*
 * An engine that runs nothing: it keeps VMs' states and slots, and answers as a test has
 * told it to. Requests complete in order, at once unless they are held.
 */
#ifndef FAKE_ENGINE_H
#define FAKE_ENGINE_H

#include <stdbool.h>
#include <vmxcore/engine.h>

/* Completions of this operation wait from now on. */
void fake_hold(enum engine_op op);
/* Those waiting complete, and no more are held. */
void fake_release(void);
size_t fake_held(void);
/* The oldest of those held is so far. */
void fake_progress(uint64_t done, uint64_t total);
/* Whether engine_cancel() ends a request that is held, as if it had not been begun. */
void fake_let_cancel(bool yes);
unsigned fake_cancels(void);
/* The next request of this operation fails so. */
void fake_fail_next(enum engine_op op, const struct engine_error *error);
/* The guest of the newest VM does something. */
void fake_print(const char *text);
void fake_change_state(uint32_t state, uint32_t reason);
/* It is started anew, with an empty console. */
void fake_restart(void);
/* Of what it has printed, nothing before this offset is kept any more. */
void fake_forget_console(size_t offset);
/* Room in its serial port's input. */
void fake_set_input_room(size_t bytes);
/* A record of its trace, if it is asked for: seq is filled in. It is lost if there is no room. */
void fake_trace(const struct engine_trace_record *record);
/* ... of so many, whatever is asked for. */
void fake_set_trace_room(uint32_t records);
void fake_notice(const struct engine_notice *notice);
/* From now on it counts instructions (as it does at first) or can't. */
void fake_observe_instructions(bool yes);
/* Requests of this operation so far. */
unsigned fake_count(enum engine_op op);
/* The latest request, and a checksum of the descriptors' content that came with it. */
const struct engine_request *fake_last(void);
const struct engine_map_op *fake_last_map(void);
const char *fake_last_file(void); /* first bytes of the first descriptor */
/* Engines that are open. */
unsigned fake_open_count(void);

#endif
