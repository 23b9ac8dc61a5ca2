/* SPDX-License-Identifier: MIT */
/*
 * What hvd costs from outside: a daemon of its own for each part, clients over the
 * socket, and a bare echo server as the measure of what the host's sockets cost. The
 * daemon has one processor and the clients another, where there are two.
 *
 * Anything that goes wrong ends the program with a message: there is nothing to save.
 */
#ifndef BENCH_API_H
#define BENCH_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct bench {
	const char *hvd; /* the program */
	bool quick;	 /* small and few: does everything still work? */
	unsigned rounds;
	int daemon_processor, client_processor; /* -1: not pinned */
};

__attribute__((noreturn, format(printf, 1, 2))) void die(const char *fmt, ...);
void *need(size_t count, size_t size);
uint64_t now_ns(void);
/* Of a permutation or anything else; the seed is fixed. */
uint64_t next_random(uint64_t *state);
void pin(int processor);

/* --- processes (daemon.c) ------------------------------------------------------------------ */

struct server {
	pid_t pid;
	char dir[64];
	char socket[80];
};

/* memory: hvd's --memory, NULL for the engine's bound. */
void server_start(const struct bench *b, struct server *s, const char *memory);
/* Answers each line of its clients with a line of reply_bytes. */
void server_start_echo(const struct bench *b, struct server *s, size_t reply_bytes);
void server_stop(struct server *s);
/* CPU time of all its threads; they have no children. */
uint64_t server_cpu_ns(const struct server *s);
/* From smaps_rollup: what is resident, and what of that is its own. */
struct memory_use {
	uint64_t rss_bytes, private_bytes;
};
struct memory_use server_memory(const struct server *s);

/* --- one client that waits (client.c) -------------------------------------------------------- */

struct client {
	int fd;
	char *buf;
	size_t used, start, room;
};

void client_open(struct client *c, const char *socket);
void client_close(struct client *c);
void client_send(struct client *c, const char *text, size_t len, int pass_fd);
/* The next line; it ends the program if that is an error and errors are not expected. */
const char *client_line(struct client *c);
/* {"jsonrpc":"2.0","id":1,"method":METHOD,"params":{PARAMS}} and a newline, allocated. */
__attribute__((format(printf, 3, 4))) char *request_text(size_t *ret_len, const char *method,
							 const char *params, ...);
/* Sends one and waits for its result, which it returns as text. */
__attribute__((format(printf, 4, 5))) const char *
client_call(struct client *c, int pass_fd, const char *method, const char *params, ...);
/* The integer behind "name": in a reply; it ends the program if there is none. */
uint64_t reply_number(const char *reply, const char *name);

/* --- many clients (load.c) ---------------------------------------------------------------------
 */

struct load {
	const char *socket;
	unsigned clients, depth; /* requests of each that are not answered yet */
	uint64_t duration_ns;
	/* Requests, taken in turns by all clients. */
	char **requests;
	size_t *lengths;
	size_t request_count;
};

struct load_result {
	uint64_t replies, elapsed_ns;
	size_t reply_bytes; /* of the last */
	uint32_t p50_ns, p99_ns, max_ns;
};

void load_run(const struct load *l, struct load_result *ret);

/* --- results (report.c) --------------------------------------------------------------------------
 */

/* Values of one thing, one a round. */
struct series {
	double *values;
	size_t count;
};

void series_add(struct series *s, double v);
double series_median(const struct series *s);
void series_free(struct series *s);
/* The value below which so many hundredths of n sorted ones lie. */
uint32_t percentile(const uint32_t *sorted, size_t n, unsigned hundredths);
int compare_u32(const void *a, const void *b);

void report_begin(const struct bench *b);
void report_end(void);
/* {"name": NAME, "unit": UNIT, "median", "min", "max", "rounds": [...]}; takes the series. */
void report(const char *unit, struct series *s, const char *name, ...)
	__attribute__((format(printf, 3, 4)));

/* --- the parts
 * ------------------------------------------------------------------------------------- */

void bench_requests(const struct bench *b); /* requests.c */
void bench_remaps(const struct bench *b);   /* remaps.c */
void bench_boot(const struct bench *b);	    /* boot.c */
void bench_many(const struct bench *b);	    /* many.c */

#endif
