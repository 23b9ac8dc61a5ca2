// SPDX-License-Identifier: MIT
/*
 * The fast tables in front of the TLB. An entry lives until its table slot is
 * reused, or the TLB behind it drops the translation (x86_front_drop), which finds
 * all entries of one translation through a chain keyed by the stamp pointer: a
 * large page has one stamp and many entries.
 */
#include "x86/front.h"
#include "x86/code.h"

static unsigned bucket_of(const uint64_t *stamp)
{
	uint64_t h = (uint64_t)(uintptr_t)stamp >> 3;

	return (unsigned)((h * UINT64_C(0x9e3779b97f4a7c15)) >> 56) & (X86_BUCKETS - 1);
}

/* A tag that no address mapped to this slot can match. */
static uint64_t tag_none(unsigned index)
{
	return (uint64_t)(index ^ 1) << 12;
}

static void slot_link(struct x86_cpu *cpu, unsigned n, uint64_t *stamp)
{
	struct x86_slot *s = &cpu->slots[n];
	uint16_t *head = &cpu->buckets[bucket_of(stamp)];

	s->stamp = stamp;
	s->prev = 0;
	s->next = *head;
	if (*head)
		cpu->slots[*head - 1].prev = (uint16_t)(n + 1);
	*head = (uint16_t)(n + 1);
}

static void slot_clear(struct x86_cpu *cpu, unsigned n)
{
	struct x86_slot *s = &cpu->slots[n];
	unsigned i = n % X86_FRONT_SLOTS;

	if (!s->stamp)
		return;
	if (s->prev)
		cpu->slots[s->prev - 1].next = s->next;
	else
		cpu->buckets[bucket_of(s->stamp)] = s->next;
	if (s->next)
		cpu->slots[s->next - 1].prev = s->prev;
	s->stamp = NULL;

	if (n < X86_FRONT_TABLES * X86_FRONT_SLOTS) {
		struct x86_front *f = &cpu->fronts[n / X86_FRONT_SLOTS][i];

		f->rtag = f->wtag = tag_none(i);
		return;
	}
	n -= X86_FRONT_TABLES * X86_FRONT_SLOTS;
	i = n % X86_IFRONT_SLOTS;
	cpu->ifronts[n / X86_IFRONT_SLOTS][i].tag = tag_none(i);
	if (cpu->page && cpu->islot == n) {
		cpu->todo |= X86_TODO_PAGE;
		x86_leave_block(cpu);
	}
}

void x86_front_init(struct x86_cpu *cpu)
{
	for (unsigned t = 0; t < X86_FRONT_TABLES; t++)
		for (unsigned i = 0; i < X86_FRONT_SLOTS; i++)
			cpu->fronts[t][i].rtag = cpu->fronts[t][i].wtag = tag_none(i);
	for (unsigned t = 0; t < 2; t++)
		for (unsigned i = 0; i < X86_IFRONT_SLOTS; i++)
			cpu->ifronts[t][i].tag = tag_none(i);
	cpu->front = cpu->fronts[X86_FRONT_SUPER];
	x86_page_none(cpu);
}

void x86_page_none(struct x86_cpu *cpu)
{
	cpu->page = NULL;
	cpu->rip_page = X86_RIP_PAGE_NONE;
	cpu->todo &= ~X86_TODO_PAGE;
}

void x86_front_flush(struct x86_cpu *cpu)
{
	for (unsigned b = 0; b < X86_BUCKETS; b++)
		while (cpu->buckets[b])
			slot_clear(cpu, cpu->buckets[b] - 1u);
}

void x86_front_drop(struct x86_cpu *cpu, const uint64_t *stamp)
{
	unsigned n = cpu->buckets[bucket_of(stamp)];

	while (n) {
		unsigned next = cpu->slots[n - 1].next;

		if (cpu->slots[n - 1].stamp == stamp)
			slot_clear(cpu, n - 1);
		n = next;
	}
}

void x86_front_protect(struct x86_cpu *cpu, uint64_t hpa)
{
	for (unsigned n = 0; n < X86_FRONT_TABLES * X86_FRONT_SLOTS; n++)
		if (cpu->slots[n].stamp && cpu->slots[n].hpa == hpa)
			cpu->fronts[n / X86_FRONT_SLOTS][n % X86_FRONT_SLOTS].wtag =
				tag_none(n % X86_FRONT_SLOTS);
}

/* Which table serves an access; X86_FRONT_TABLES: none. */
static unsigned table_of(const struct x86_cpu *cpu, uint32_t access)
{
	if (access & X86_IMPLICIT)
		return X86_FRONT_TABLES;
	if (cpu->front == cpu->fronts[X86_FRONT_NONE])
		return X86_FRONT_TABLES;
	if (access & X86_USER)
		return X86_FRONT_USER;
	if ((cpu->st.cr4 & X86_CR4_SMAP) && (cpu->st.rflags & X86_FL_AC))
		return X86_FRONT_SUPER_AC;
	return X86_FRONT_SUPER;
}

static void front_fill(struct x86_cpu *cpu, unsigned table, uint64_t page,
		       const struct x86_xlate *x)
{
	unsigned i = (page >> 12) & (X86_FRONT_SLOTS - 1), n = table * X86_FRONT_SLOTS + i;
	struct x86_front *f = &cpu->fronts[table][i];
	struct x86_slot *s = &cpu->slots[n];

	slot_clear(cpu, n);
	slot_link(cpu, n, x->stamp);
	s->page = page;
	s->hpa = x->hpa;
	s->allow = x->allow;
	f->host = x->host;
	f->stamp = x->stamp;
	if (x->allow & X86_READ)
		f->rtag = page;
	if ((x->allow & X86_WRITE) && !x86_code_flagged(cpu->code, x->hpa))
		f->wtag = page;
}

int64_t x86_front_lookup(struct x86_cpu *cpu, uint64_t va, uint32_t access, uint8_t **ret_host,
			 uint64_t *ret_hpa)
{
	uint32_t kind = access & (X86_READ | X86_WRITE);
	uint64_t page = va & VMX_PAGE_MASK;
	unsigned table = table_of(cpu, access), i = (page >> 12) & (X86_FRONT_SLOTS - 1);
	struct x86_xlate x = {0};
	int64_t st;

	cpu->data_clock++;
	if (table < X86_FRONT_TABLES) {
		struct x86_slot *s = &cpu->slots[table * X86_FRONT_SLOTS + i];

		if (s->stamp && s->page == page && (s->allow & kind) == kind) {
			struct x86_front *f = &cpu->fronts[table][i];

			*f->stamp = cpu->data_clock;
			*ret_host = f->host;
			*ret_hpa = s->hpa;
			if ((kind & X86_WRITE) && !x86_code_flagged(cpu->code, s->hpa))
				f->wtag = page;
			return 0;
		}
	}
	st = x86_status(cpu->ops->translate(cpu->env, va, access, &x));
	if (st)
		return st;
	*ret_host = x.host;
	*ret_hpa = x.hpa;
	if (x.stamp && x.host && table < X86_FRONT_TABLES)
		front_fill(cpu, table, page, &x);
	return 0;
}

static struct x86_ifront *ifront_at(struct x86_cpu *cpu, uint64_t page)
{
	return &cpu->ifronts[cpu->cpl == 3][(page >> 12) & (X86_IFRONT_SLOTS - 1)];
}

struct x86_ifront *x86_ifront_find(struct x86_cpu *cpu, uint64_t page)
{
	struct x86_ifront *f = ifront_at(cpu, page);

	return f->tag == page ? f : NULL;
}

struct x86_ifront *x86_ifront_fill(struct x86_cpu *cpu, uint64_t page, const struct x86_xlate *x)
{
	struct x86_ifront *f = ifront_at(cpu, page);
	unsigned n = X86_FRONT_TABLES * X86_FRONT_SLOTS + (unsigned)(f - &cpu->ifronts[0][0]);

	slot_clear(cpu, n);
	slot_link(cpu, n, x->stamp);
	cpu->slots[n].page = page;
	cpu->slots[n].hpa = x->hpa;
	f->tag = page;
	f->host = x->host;
	f->stamp = x->stamp;
	f->page = NULL;
	f->gen = 0;
	return f;
}
