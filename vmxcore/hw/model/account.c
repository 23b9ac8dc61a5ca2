/* SPDX-License-Identifier: MIT */
/*
 * Accounts: who is charged. The executor counts lookups and instructions; what it
 * has counted since the last time goes to the current account at each exit and
 * each change of account.
 *
 * INVEPT and INVVPID run in root operation, where no vCPU is current. They count
 * for every account that last ran here under a tag they cover, found by hash: one
 * processor may have run 70,000 of them.
 */
#include "hw/model/processor.h"

#include <assert.h>
#include <stdlib.h>

static unsigned hash(uint64_t v)
{
	return (unsigned)((v * UINT64_C(0x9e3779b97f4a7c15)) >> 54) % ACCOUNT_BUCKETS;
}

void account_drain(struct hw_cpu *cpu)
{
	struct model_account *a = cpu->account;
	uint64_t fetch, data;
	struct x86_counts now;

	x86_get_counts(cpu->x86, &now);
	fetch = now.fetch_lookups - cpu->drained.fetch_lookups;
	data = now.data_lookups - cpu->drained.data_lookups;
	/* Each call of translate() is one lookup that the executor counted. */
	assert(fetch >= cpu->fetch_not_l1 && data >= cpu->data_not_l1);
	a->retired += now.retired - cpu->drained.retired;
	a->fetch_lookups += fetch;
	a->fetch_hits_l1 += fetch - cpu->fetch_not_l1;
	a->data_lookups += data;
	a->data_hits_l1 += data - cpu->data_not_l1;
	cpu->fetch_not_l1 = 0;
	cpu->data_not_l1 = 0;
	cpu->drained = now;
}

/* --- the index -------------------------------------------------------------------- */

static void unchain(struct account_link *l)
{
	if (l->prev_vpid) {
		*l->prev_vpid = l->next_vpid;
		if (l->next_vpid)
			l->next_vpid->prev_vpid = l->prev_vpid;
		*l->prev_space = l->next_space;
		if (l->next_space)
			l->next_space->prev_space = l->prev_space;
	}
	l->prev_vpid = NULL;
	l->prev_space = NULL;
}

static void chain(struct account_index *index, struct account_link *l)
{
	struct account_link **vpid = &index->by_vpid[hash(l->vpid)];
	struct account_link **space = &index->by_space[hash(l->space)];

	l->next_vpid = *vpid;
	l->prev_vpid = vpid;
	if (*vpid)
		(*vpid)->prev_vpid = &l->next_vpid;
	*vpid = l;
	l->next_space = *space;
	l->prev_space = space;
	if (*space)
		(*space)->prev_space = &l->next_space;
	*space = l;
}

static struct account_link *find_link(struct hw_cpu *cpu, const struct model_account *account)
{
	struct account_link *l = cpu->index.by_account[hash((uintptr_t)account)];

	while (l && l->account != account)
		l = l->next_account;
	return l;
}

/* NULL when memory is exhausted: INVEPT and INVVPID then don't count for this account. */
static struct account_link *add_link(struct hw_cpu *cpu, struct model_account *account)
{
	struct account_link **bucket = &cpu->index.by_account[hash((uintptr_t)account)];
	struct account_link *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->account = account;
	l->next = cpu->index.all;
	cpu->index.all = l;
	if (l->next)
		l->next->prev = &l->next;
	l->prev = &cpu->index.all;
	l->next_account = *bucket;
	*bucket = l;
	return l;
}

static void remove_link(struct hw_cpu *cpu, struct account_link *l)
{
	struct account_link **at = &cpu->index.by_account[hash((uintptr_t)l->account)];

	while (*at != l)
		at = &(*at)->next_account;
	*at = l->next_account;
	unchain(l);
	*l->prev = l->next;
	if (l->next)
		l->next->prev = l->prev;
	free(l);
}

void model_cpu_set_account(struct hw_cpu *cpu, struct model_account *account)
{
	if (!account)
		account = &cpu->own;
	if (account == cpu->account)
		return;
	account_drain(cpu);
	cpu->account = account;
	cpu->link = NULL;
	if (account == &cpu->own)
		return;
	cpu->link = find_link(cpu, account);
	if (!cpu->link)
		cpu->link = add_link(cpu, account);
}

void account_tag(struct hw_cpu *cpu, uint16_t vpid, uint64_t space)
{
	struct account_link *l = cpu->link;

	if (!l || (l->prev_vpid && l->vpid == vpid && l->space == space))
		return;
	unchain(l);
	l->vpid = vpid;
	l->space = space;
	chain(&cpu->index, l);
}

void account_count_invept(struct hw_cpu *cpu, bool single, uint64_t space)
{
	struct account_link *l;

	if (!single) {
		for (l = cpu->index.all; l; l = l->next)
			l->account->ops_invept_all++;
		return;
	}
	for (l = cpu->index.by_space[hash(space)]; l; l = l->next_space) {
		if (l->space == space)
			l->account->ops_invept_single++;
	}
}

void account_count_invvpid(struct hw_cpu *cpu, bool all, uint16_t vpid)
{
	struct account_link *l;

	if (all) {
		for (l = cpu->index.all; l; l = l->next)
			l->account->ops_invvpid += l->prev_vpid && l->vpid != 0;
		return;
	}
	for (l = cpu->index.by_vpid[hash(vpid)]; l; l = l->next_vpid) {
		if (l->vpid == vpid)
			l->account->ops_invvpid++;
	}
}

void model_account_forget(struct model *m, struct model_account *account)
{
	for (unsigned i = 0; i < m->cpus; i++) {
		struct hw_cpu *cpu = m->cpu[i];
		struct account_link *l = find_link(cpu, account);

		if (!l)
			continue;
		if (cpu->account == account)
			model_cpu_set_account(cpu, NULL);
		tlb_change_owner(&cpu->tlb, account, &cpu->own);
		remove_link(cpu, l);
	}
}

void account_fini(struct hw_cpu *cpu)
{
	struct account_link *next;

	for (struct account_link *l = cpu->index.all; l; l = next) {
		next = l->next;
		remove_link(cpu, l);
	}
}

/* --- unimplemented instructions --------------------------------------------------- */

void account_unimplemented(void *env, const char *mnemonic, uint64_t rip)
{
	struct hw_cpu *cpu = env;
	struct model_account *a = cpu->account;
	struct model_unimplemented *row;

	for (uint32_t i = 0; i < a->unimplemented_count; i++) {
		if (strncmp(a->unimplemented[i].mnemonic, mnemonic, sizeof(row->mnemonic) - 1) ==
		    0) {
			a->unimplemented[i].count++;
			return;
		}
	}
	if (a->unimplemented_count == MODEL_UNIMPLEMENTED_MAX) {
		a->unimplemented_other++;
		return;
	}
	row = &a->unimplemented[a->unimplemented_count++];
	*row = (struct model_unimplemented){.count = 1, .first_rip = rip};
	for (size_t i = 0; i < sizeof(row->mnemonic) - 1 && mnemonic[i]; i++)
		row->mnemonic[i] = mnemonic[i];
}
