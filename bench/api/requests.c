// SPDX-License-Identifier: MIT
/*
 * Requests a second, and how long each takes, with 1, 16 and 64 clients that have one or
 * sixteen requests in flight; and the same of a server that only answers lines with lines.
 */
#include "api.h"
#include <stdio.h>
#include <stdlib.h>

/* What is asked for. vm.list is answered by hvd alone; the others go through the engine. */
static const struct {
	const char *name, *method, *params;
} kinds[] = {
	{"vm.list", "vm.list", ""},
	{"vm.get", "vm.get", "\"vm\":\"vm\""},
	{"memory.read", "memory.read", "\"vm\":\"vm\",\"gpa\":\"0x1000\",\"size_bytes\":8"},
	{"memory.remap", "memory.remap",
	 "\"vm\":\"vm\",\"gpa\":\"0x1000\",\"size_bytes\":4096,\"slot\":\"ram\","
	 "\"offset_bytes\":8192"},
};

static const unsigned client_counts[] = {1, 16, 64};
static const unsigned depths[] = {1, 16};

struct row {
	struct series rate, p50, p99, max, cpu;
};

static void one_round(const struct bench *b, const struct server *s, struct load *l,
		      struct row *row)
{
	const uint64_t cpu = server_cpu_ns(s);
	struct load_result r;

	l->socket = s->socket;
	l->duration_ns = b->quick ? 20000000 : 1000000000;
	load_run(l, &r);
	series_add(&row->rate, (double)r.replies * 1e9 / (double)r.elapsed_ns);
	series_add(&row->p50, r.p50_ns / 1e3);
	series_add(&row->p99, r.p99_ns / 1e3);
	series_add(&row->max, r.max_ns / 1e3);
	series_add(&row->cpu, (double)(server_cpu_ns(s) - cpu) / 1e3 / (double)r.replies);
}

static void report_row(struct row *row, const char *who, const char *kind, const struct load *l)
{
#define REPORT(unit, member, what)                                                           \
	report(unit, &row->member, "%s %s clients=%u depth=%u " what, who, kind, l->clients, \
	       l->depth)
	REPORT("requests a second", rate, "rate");
	REPORT("us", p50, "latency p50");
	REPORT("us", p99, "latency p99");
	REPORT("us", max, "latency max");
	REPORT("us of server CPU a request", cpu, "cpu");
#undef REPORT
}

/* Round by round, first one and then the other: what the host does meanwhile falls on both. */
static void beside_echo(const struct bench *b, const struct server *hvd, const struct server *echo,
			struct load *l, const char *kind)
{
	struct row own = {0}, peer = {0};

	for (unsigned i = 0; i < b->rounds; i++) {
		one_round(b, hvd, l, &own);
		one_round(b, echo, l, &peer);
	}
	report_row(&own, "hvd", kind, l);
	report_row(&peer, "echo", kind, l);
}

static void measure_kind(const struct bench *b, const struct server *hvd, size_t k)
{
	size_t len, reply_bytes;
	char *text = request_text(&len, kinds[k].method, "%s", kinds[k].params);
	struct load l = {.requests = &text, .lengths = &len, .request_count = 1};
	struct load_result r;
	struct server echo;

	l.socket = hvd->socket;
	l.clients = l.depth = 1;
	l.duration_ns = 1000000;
	load_run(&l, &r);
	reply_bytes = r.reply_bytes;
	server_start_echo(b, &echo, reply_bytes);
	for (size_t c = 0; c < sizeof(client_counts) / sizeof(*client_counts); c++) {
		for (size_t d = 0; d < sizeof(depths) / sizeof(*depths); d++) {
			l.clients = client_counts[c];
			l.depth = depths[d];
			beside_echo(b, hvd, &echo, &l, kinds[k].name);
		}
	}
	server_stop(&echo);
	free(text);
}

void bench_requests(const struct bench *b)
{
	struct server hvd;
	struct client c;

	server_start(b, &hvd, NULL);
	client_open(&c, hvd.socket);
	client_call(&c, -1, "vm.create", "\"name\":\"vm\",\"memory_bytes\":16777216");
	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
		measure_kind(b, &hvd, k);
	client_close(&c);
	server_stop(&hvd);
}
