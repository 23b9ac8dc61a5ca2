// SPDX-License-Identifier: MIT
#include "x86_rig.h"

static enum x86_result page_fault(struct x86_rig *r, uint64_t linear, uint32_t access, bool present)
{
	uint32_t error = (present ? 1u : 0) | (access & X86_WRITE ? 2u : 0) |
			 (access & X86_USER ? 4u : 0) | (access & X86_EXEC ? 16u : 0);

	*x86_pending(r->cpu) =
		(struct x86_fault){.vector = 14, .has_error = true, .error = error, .cr2 = linear};
	return X86_FAULT;
}

static enum x86_result rig_translate(void *env, uint64_t linear, uint32_t access,
				     struct x86_xlate *ret)
{
	struct x86_rig *r = env;
	uint64_t page = (linear - r->base) >> 12;
	bool fetch = access & X86_EXEC;
	uint32_t perm;

	r->translates[fetch]++;
	if (r->on_translate)
		r->on_translate(r, linear, access);
	if (page >= RIG_PAGES || !r->perm[page])
		return page_fault(r, linear, access, false);
	perm = r->perm[page];
	if (perm & RIG_EXIT)
		return X86_EXIT;
	if ((fetch && !(perm & RIG_X)) || ((access & X86_READ) && !(perm & RIG_R)) ||
	    ((access & X86_WRITE) && !(perm & RIG_W)) || ((access & X86_USER) && !(perm & RIG_U)))
		return page_fault(r, linear, access, true);
	ret->hpa = (uint64_t)r->frame[page] << 12;
	ret->host = perm & RIG_DEVICE ? NULL : r->mem + ret->hpa;
	ret->stamp = perm & RIG_NO_KEEP ? NULL : &r->stamp[fetch][page];
	ret->allow =
		fetch ? X86_EXEC : ((perm & RIG_R ? X86_READ : 0) | (perm & RIG_W ? X86_WRITE : 0));
	if (ret->stamp)
		*ret->stamp = fetch ? x86_fetch_clock(r->cpu) : x86_data_clock(r->cpu);
	return X86_OK;
}

static enum x86_result rig_mmio(void *env, uint64_t gpa, void *buf, unsigned size, bool write)
{
	struct x86_rig *r = env;

	(void)gpa;
	if (r->device_exit)
		return X86_EXIT;
	if (write) {
		r->device_writes++;
		r->device_last = 0;
		memcpy(&r->device_last, buf, size);
	} else {
		r->device_reads++;
		memcpy(buf, &r->device_value, size);
	}
	return X86_OK;
}

static enum x86_result rig_special(void *env, enum x86_special what, struct x86_special_info *info)
{
	struct x86_rig *r = env;
	struct x86_state *s = x86_state(r->cpu);

	if (r->logged < VMX_ARRAY_SIZE(r->log)) {
		r->log[r->logged].what = what;
		r->log[r->logged].info = *info;
		r->log[r->logged].vectoring = s->vectoring_info;
		if (info->fault)
			r->log[r->logged].fault = *info->fault;
		r->logged++;
	}
	if (r->exit_on[what] || (what == X86_SP_EXCEPTION && r->exit_exceptions))
		return X86_EXIT;
	if (r->on_special)
		r->on_special(r, what, info);
	switch (what) {
	case X86_SP_HLT:
		s->activity = 1;
		break;
	case X86_SP_RDTSC:
	case X86_SP_RDTSCP:
		info->value = r->tsc;
		break;
	case X86_SP_CR_READ:
		info->value = info->reg == 0   ? s->cr0
			      : info->reg == 2 ? s->cr2
			      : info->reg == 3 ? s->cr3
			      : info->reg == 4 ? s->cr4
					       : s->cr8;
		break;
	case X86_SP_CR_WRITE:
		*(info->reg == 0   ? &s->cr0
		  : info->reg == 2 ? &s->cr2
		  : info->reg == 3 ? &s->cr3
		  : info->reg == 4 ? &s->cr4
				   : &s->cr8) = info->value;
		break;
	case X86_SP_DR_READ:
		info->value = s->dr[info->reg];
		break;
	case X86_SP_DR_WRITE:
		s->dr[info->reg] = info->value;
		break;
	default:
		break;
	}
	return X86_OK;
}

static void rig_unimplemented(void *env, const char *mnemonic, uint64_t rip)
{
	struct x86_rig *r = env;

	(void)rip;
	r->unimplemented++;
	strncpy(r->mnemonic, mnemonic, sizeof(r->mnemonic) - 1);
}

static bool rig_attention(void *env)
{
	struct x86_rig *r = env;

	r->attention_asked++;
	return r->attention;
}

const struct x86_ops rig_ops = {
	.translate = rig_translate,
	.mmio = rig_mmio,
	.special = rig_special,
	.unimplemented = rig_unimplemented,
	.attention = rig_attention,
};

void rig_reset(struct x86_rig *r, bool mode64)
{
	struct x86_state *s = x86_state(r->cpu);
	uint32_t code = mode64 ? 0xa09b : 0xc09b;

	memset(s, 0, sizeof(*s));
	s->cr0 = 0x80010031;
	s->cr4 = 0x20;
	s->efer = mode64 ? 0xd01 : 0;
	s->rflags = 2;
	s->rip = 0x1000;
	s->gpr[X86_RSP] = 0x80000;
	for (unsigned i = 0; i < X86_LDTR; i++)
		s->seg[i] = (struct x86_seg){.limit = 0xffffffff, .ar = 0xc093, .sel = 0x10};
	s->seg[X86_CS].ar = code;
	s->seg[X86_CS].sel = 8;
	s->seg[X86_LDTR].ar = 0x10000;
	s->seg[X86_TR] = (struct x86_seg){.limit = 103, .ar = 0x8b};
	x86_mode_changed(r->cpu);
}

struct x86_rig *rig_new(bool mode64, bool cached)
{
	struct x86_rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->mem = aligned_alloc(4096, RIG_BYTES);
	assert_non_null(r->mem);
	memset(r->mem, 0, RIG_BYTES);
	for (uint32_t i = 0; i < RIG_PAGES; i++) {
		r->perm[i] = RIG_R | RIG_W | RIG_X | RIG_U;
		r->frame[i] = i;
	}
	r->code = cached ? x86_code_new(RIG_PAGES) : NULL;
	r->cpu = x86_cpu_new(&rig_ops, r, r->code);
	assert_non_null(r->cpu);
	rig_reset(r, mode64);
	return r;
}

void rig_delete(struct x86_rig *r)
{
	x86_cpu_delete(r->cpu);
	x86_code_delete(r->code);
	free(r->mem);
	free(r);
}

static uint8_t *at(struct x86_rig *r, uint64_t linear)
{
	uint64_t off = linear - r->base;

	assert_true(off < RIG_BYTES);
	return r->mem + ((uint64_t)r->frame[off >> 12] << 12) + (off & 4095);
}

void rig_put(struct x86_rig *r, uint64_t linear, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		*at(r, linear + i) = ((const uint8_t *)bytes)[i];
		if (r->code)
			x86_code_invalidate(r->code, (uint64_t)(at(r, linear + i) - r->mem), 1);
	}
}

uint64_t rig_get(struct x86_rig *r, uint64_t linear, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size; i++)
		v |= (uint64_t)*at(r, linear + i) << (8 * i);
	return v;
}

void rig_set(struct x86_rig *r, uint64_t linear, unsigned size, uint64_t v)
{
	rig_put(r, linear, &v, size);
}

uint64_t rig_run(struct x86_rig *r, uint64_t max, enum x86_stop stop)
{
	uint64_t retired = 12345;

	assert_int_equal(x86_run(r->cpu, max, &retired), stop);
	return retired;
}

void rig_drop(struct x86_rig *r, uint64_t linear)
{
	uint64_t page = (linear - r->base) >> 12;

	x86_front_drop(r->cpu, &r->stamp[0][page]);
	x86_front_drop(r->cpu, &r->stamp[1][page]);
}
