/* SPDX-License-Identifier: MIT */
/* The scripted executor: x86.h, as far as hw/model uses it. See test_model_rig.h. */
#include "unit/test_model_rig.h"

#include <stdlib.h>

#define KEPT 8192u

struct kept {
	uint64_t page;
	uint32_t who, allow;
	bool fetch, ac;
	struct x86_xlate x;
};

struct x86_cpu {
	struct x86_state state;
	struct x86_fault fault;
	const struct x86_ops *ops;
	void *env;
	struct x86_counts counts;
	struct kept kept[KEPT];
	unsigned kept_count;
	bool attention;
	struct rig *rig;
	unsigned flushes;
};

struct x86_code {
	int unused;
};

/* Which rig drives the executor; tests use one at a time. */
static struct rig *current_rig;
void test_model_set_rig(struct rig *r);

void test_model_set_rig(struct rig *r)
{
	current_rig = r;
}

struct x86_code *x86_code_new(uint64_t pages)
{
	(void)pages;
	return calloc(1, sizeof(struct x86_code));
}

void x86_code_delete(struct x86_code *code)
{
	free(code);
}

void x86_code_invalidate(struct x86_code *code, uint64_t addr, uint64_t size)
{
	(void)code;
	(void)addr;
	(void)size;
}

struct x86_cpu *x86_cpu_new(const struct x86_ops *ops, void *env, struct x86_code *code)
{
	struct x86_cpu *cpu = calloc(1, sizeof(*cpu));

	(void)code;
	if (cpu) {
		cpu->ops = ops;
		cpu->env = env;
	}
	return cpu;
}

void x86_cpu_delete(struct x86_cpu *cpu)
{
	free(cpu);
}

struct x86_state *x86_state(struct x86_cpu *cpu)
{
	return &cpu->state;
}

struct x86_fault *x86_pending(struct x86_cpu *cpu)
{
	return &cpu->fault;
}

void x86_mode_changed(struct x86_cpu *cpu)
{
	(void)cpu;
}

void x86_front_flush(struct x86_cpu *cpu)
{
	cpu->kept_count = 0;
	cpu->flushes++;
}

void x86_front_drop(struct x86_cpu *cpu, const uint64_t *stamp)
{
	for (unsigned i = 0; i < cpu->kept_count;) {
		if (cpu->kept[i].x.stamp == stamp)
			cpu->kept[i] = cpu->kept[--cpu->kept_count];
		else
			i++;
	}
}

void x86_set_attention(struct x86_cpu *cpu, bool on)
{
	cpu->attention = on;
}

void x86_get_counts(struct x86_cpu *cpu, struct x86_counts *ret)
{
	*ret = cpu->counts;
}

uint64_t x86_data_clock(struct x86_cpu *cpu)
{
	return cpu->counts.data_lookups;
}

uint64_t x86_fetch_clock(struct x86_cpu *cpu)
{
	return cpu->counts.fetch_lookups;
}

/* Every feature that the model asks for. */
bool x86_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	(void)subleaf;
	regs[0] = 0;
	regs[1] = leaf == 7 ? 1u << 0 | 1u << 7 | 1u << 10 | 1u << 20 : 0;
	regs[2] = leaf == 1 ? 1u << 17 : 0;
	regs[3] = leaf == 1	       ? 0x0308a0deu | 1u << 3 | 1u << 17
		  : leaf == 0x80000001 ? 1u << 20 | 1u << 26 | 1u << 27 | 1u << 29
				       : 0;
	return leaf == 1 || leaf == 7 || leaf == 0x80000001;
}

/* --- running the script ----------------------------------------------------------- */

static uint32_t kind_bits(enum step_kind kind)
{
	static const uint32_t bits[] = {
		[STEP_READ] = X86_READ,
		[STEP_WRITE] = X86_WRITE,
		[STEP_RMW] = X86_READ | X86_WRITE,
		[STEP_FETCH] = X86_EXEC,
	};

	return bits[kind];
}

static enum x86_result access_page(struct x86_cpu *cpu, struct step *s)
{
	bool fetch = s->kind == STEP_FETCH, ac = (cpu->state.rflags & RFLAGS_AC) != 0;
	uint32_t kind = kind_bits(s->kind);
	uint64_t *clock = fetch ? &cpu->counts.fetch_lookups : &cpu->counts.data_lookups;
	struct x86_xlate x = {0};
	enum x86_result r;

	++*clock;
	for (unsigned i = 0; i < cpu->kept_count; i++) {
		struct kept *k = &cpu->kept[i];

		if (k->page != s->linear >> 12 || k->who != s->who || k->fetch != fetch ||
		    k->ac != ac || (k->allow & kind) != kind)
			continue;
		*k->x.stamp = *clock;
		s->hpa = k->x.hpa | (s->linear & 0xfff);
		return X86_OK;
	}
	r = cpu->ops->translate(cpu->env, s->linear, kind | s->who, &x);
	if (r != X86_OK)
		return r;
	s->hpa = x.hpa | (s->linear & 0xfff);
	if (x.stamp && cpu->kept_count < KEPT)
		cpu->kept[cpu->kept_count++] = (struct kept){.page = s->linear >> 12,
							     .who = s->who,
							     .allow = x.allow,
							     .fetch = fetch,
							     .ac = ac,
							     .x = x};
	return X86_OK;
}

static enum x86_result run_step(struct x86_cpu *cpu, struct step *s)
{
	struct x86_special_info info = {0};
	enum x86_result r;

	s->ran = true;
	if (s->kind == STEP_NOP)
		return X86_OK;
	if (s->kind == STEP_CALL) {
		s->call(s->ctx);
		return X86_OK;
	}
	cpu->state.insn_length = 3;
	if (s->kind == STEP_SPECIAL) {
		info = s->info;
		r = cpu->ops->special(cpu->env, s->what, &info);
		s->value = info.value;
	} else {
		r = access_page(cpu, s);
	}
	s->result = r;
	if (r == X86_FAULT) {
		s->fault = cpu->fault;
		if (s->fault.vector == VECTOR_PF)
			cpu->state.cr2 = s->fault.cr2;
		info = (struct x86_special_info){.fault = &s->fault};
		r = cpu->ops->special(cpu->env, X86_SP_EXCEPTION, &info);
	}
	return r;
}

enum x86_stop x86_run(struct x86_cpu *cpu, uint64_t max, uint64_t *ret_retired)
{
	struct rig *rig = current_rig;
	struct x86_special_info info = {0};

	for (*ret_retired = 0; *ret_retired < max;) {
		uint32_t shadow = cpu->state.interruptibility & 3;

		if (cpu->attention && cpu->ops->attention(cpu->env))
			return X86_STOP_ATTENTION;
		if (rig->step_next == rig->step_count) {
			cpu->state.insn_length = 3;
			cpu->ops->special(cpu->env, X86_SP_VMCALL, &info);
			return X86_STOP_EXIT;
		}
		if (run_step(cpu, &rig->steps[rig->step_next]) == X86_EXIT)
			return X86_STOP_EXIT;
		rig->step_next++;
		cpu->counts.retired++;
		++*ret_retired;
		cpu->state.interruptibility &= ~shadow;
		if (cpu->state.activity != ACTIVITY_ACTIVE)
			return X86_STOP_EXIT;
	}
	return X86_STOP_BUDGET;
}

enum x86_result x86_inject(struct x86_cpu *cpu, uint32_t info, uint32_t error, uint32_t length)
{
	struct rig *rig = current_rig;

	(void)cpu;
	rig->injections++;
	rig->injected = info;
	rig->injected_error = error;
	rig->injected_length = length;
	return X86_OK;
}
