/* SPDX-License-Identifier: MIT */
/*
 * What the contract's cases have in common: an open engine, requests that wait for
 * their completion, and a guest that does what it is asked. Nothing here knows which
 * engine it is; cases ask for capabilities.
 */
#ifndef TESTS_CONTRACT_HARNESS_H
#define TESTS_CONTRACT_HARNESS_H

#include <vmxcore/engine.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka needs the headers above first. */
#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

/* The agent's operations; see guests.h. */
enum agent_op {
	AGENT_PRINT,
	AGENT_WRITE,
	AGENT_READ,
	AGENT_CALL,
	AGENT_HALT,
	AGENT_EXIT4,
	AGENT_EXIT2,
	AGENT_EXIT1,
	AGENT_OUTS,
	AGENT_TOUCH,
	AGENT_IN,
	AGENT_OUT,
	AGENT_CRASH,
	AGENT_COPY,
	AGENT_FILL,
};

#define AGENT_MAILBOX UINT64_C(0x300000)
#define AGENT_BUFFER UINT64_C(0x300100)

struct contract {
	const char *name;
	struct engine *engine;
	struct engine_info info;
	uint64_t token;
	/* The last STATE event of each VM id, by id modulo; and counts. */
	struct engine_state_info state[256];
	uint32_t state_events[256];
	uint32_t console_events;
	uint32_t trace_events[256];	  /* by VM, as above */
	struct engine_notice notices[64]; /* the last, in turn */
	uint32_t notice_count;
	uint32_t agent_seq;
};

/* An open engine with the case's configuration; its unsafe hooks as far as it has any. */
void contract_open(struct contract *c, const struct engine_config *cfg);
/* Called before it is opened with a configuration, if not NULL: where hardware has to fit that. */
extern void (*contract_hardware)(const struct engine_config *cfg);
/* Closing fails the case when pages are left (the engine says so by itself). */
void contract_close(struct contract *c);
bool contract_has(const struct contract *c, uint32_t capabilities);

/*
 * What some cases need besides capabilities, and not all engines have.
 * PIECES: large changes of mappings go in pieces, with progress, and cancelled where they are.
 * MACHINE: how many processors and VPIDs there are is the configuration's to say.
 */
#define NEEDS_PIECES (UINT32_C(1) << 31)
#define NEEDS_MACHINE (UINT32_C(1) << 30)
/* Capabilities and NEEDS_*. */
bool contract_meets(const struct contract *c, uint32_t needs);
/*
 * Processors that an invalidation of a VM with one vCPU concerned: one, at once; or where
 * it may have moved, and be between two runs, one or more, now or later.
 */
void expect_reached(const struct contract *c, const struct engine_change *ch);

/* --- requests ------------------------------------------------------------------------- */

/* Sends and waits for the completion. The caller releases it. */
struct engine_event call(struct contract *c, const struct engine_request *req, const void *payload,
			 size_t payload_bytes, const int *fds, size_t fd_count);
/* ... and the case fails when it is refused. */
struct engine_event call_ok(struct contract *c, const struct engine_request *req,
			    const void *payload, size_t payload_bytes);
/* A request of op alone. */
struct engine_event op(struct contract *c, uint64_t vm, enum engine_op op);
void op_ok(struct contract *c, uint64_t vm, enum engine_op op);

/* --- VMs -------------------------------------------------------------------------------- */

/* 16 MiB, one vCPU on processor 0, VPID and A/D on, a flat image if there are bytes. */
struct engine_request vm_request(void);
uint64_t vm_new(struct contract *c, const struct engine_request *req, const void *image,
		size_t image_bytes);
/* A memfd with these bytes. */
int file_of(const void *bytes, size_t size);
/* Waits for a state; the case fails after a long while, or in another final state. */
struct engine_state_info wait_state(struct contract *c, uint64_t vm, enum engine_vm_state state);
/* Takes in events until there is one of this VM's trace, or a notice, more than count. */
void wait_trace(struct contract *c, uint64_t vm, uint32_t count);
void wait_notice(struct contract *c, uint32_t count);
/* What it printed, as a string of at most size - 1. Returns the total. */
uint64_t console_text(struct contract *c, uint64_t vm, char *text, size_t size);

void slot_add(struct contract *c, uint64_t vm, uint32_t slot, uint64_t size);
void slot_write(struct contract *c, uint64_t vm, uint32_t slot, uint64_t offset, const void *bytes,
		uint32_t size);
void gpa_write(struct contract *c, uint64_t vm, uint64_t gpa, const void *bytes, uint32_t size);
void gpa_read(struct contract *c, uint64_t vm, uint64_t gpa, void *bytes, uint32_t size);
/* Applies one operation; *ret may be NULL. The error code, 0 is success. */
int apply(struct contract *c, uint64_t vm, const struct engine_map_op *map_op, uint32_t flags,
	  struct engine_change *ret, struct engine_error *ret_error);
void apply_ok(struct contract *c, uint64_t vm, const struct engine_map_op *map_op, uint32_t flags,
	      struct engine_change *ret);

/* Sum over vCPUs and processors of a counter of ENGINE_STATS; the case fails if there is none. */
uint64_t stat_of(struct contract *c, uint64_t vm, const char *name);
/* Of two replies to ENGINE_STATS: the same rows, with the same values. */
void expect_same_counters(const struct engine_event *a, const struct engine_event *b);
struct engine_tlb_stats tlb_stats_of(struct contract *c, uint64_t vm, uint32_t vcpu);

/* --- the agent ----------------------------------------------------------------------------- */

/* A running VM with the agent in it. */
uint64_t agent_new(struct contract *c, const struct engine_request *req);
/* Posts a request, without waiting. */
void agent_post(struct contract *c, uint64_t vm, enum agent_op what, uint64_t address,
		uint32_t value);
/* ... waits until it is done, and gives the answer. */
uint32_t agent_wait(struct contract *c, uint64_t vm);
uint32_t agent_do(struct contract *c, uint64_t vm, enum agent_op what, uint64_t address,
		  uint32_t value);

#endif
