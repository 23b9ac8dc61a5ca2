/* SPDX-License-Identifier: MIT */
/* A vCPU's registers and events. It is held, or its own thread is here. */
#include "engine/vmx.h"

#include <assert.h>

static_assert(HW_GPR_COUNT == VMX_ARRAY_SIZE(((struct vmxcore_regs *)0)->gpr),
	      "general registers are numbered alike");
static_assert(CORE_SEG_COUNT == VMX_ARRAY_SIZE(((struct vmxcore_regs *)0)->seg),
	      "segments are numbered alike");
static_assert(CORE_ES == 0 && CORE_CS == 1 && CORE_SS == 2 && CORE_DS == 3 && CORE_FS == 4 &&
		      CORE_GS == 5 && CORE_LDTR == 6 && CORE_TR == 7,
	      "segments are in the order of struct vmxcore_regs");

/* --- what has the same name on both sides ------------------------------------------------- */

/* clang-format off */
#define PLAIN_REGISTERS(X)                                                                       \
	X(rip) X(rflags) X(cr0) X(cr3) X(cr4) X(dr7) X(efer) X(pat)                              \
	X(star) X(lstar) X(cstar) X(fmask) X(kernel_gs_base) X(tsc_aux)                          \
	X(sysenter_cs) X(sysenter_esp) X(sysenter_eip)                                           \
	X(gdtr_base) X(idtr_base) X(gdtr_limit) X(idtr_limit)                                    \
	X(interruptibility) X(activity)
/* clang-format on */

static void take_regs(struct core_regs *r, const struct vmxcore_regs *in)
{
	unsigned i;

	*r = (struct core_regs){0};
#define TAKE(name) r->name = in->name;
	PLAIN_REGISTERS(TAKE)
#undef TAKE
	for (i = 0; i < HW_GPR_COUNT; i++)
		r->gp.r[i] = in->gpr[i];
	r->rsp = in->gpr[HW_RSP];
	for (i = 0; i < VMX_ARRAY_SIZE(in->dr); i++)
		r->gp.dr[i] = in->dr[i];
	r->gp.cr2 = in->cr2;
	r->gp.dr6 = in->dr6;
	for (i = 0; i < CORE_SEG_COUNT; i++)
		r->seg[i] = (struct core_segment){.base = in->seg[i].base,
						  .limit = in->seg[i].limit,
						  .ar = in->seg[i].ar,
						  .sel = in->seg[i].sel};
}

static void fill_regs(struct vmxcore_regs *out, const struct core_regs *r)
{
	unsigned i;

	*out = (struct vmxcore_regs){.cr2 = r->gp.cr2, .dr6 = r->gp.dr6};
#define FILL(name) out->name = r->name;
	PLAIN_REGISTERS(FILL)
#undef FILL
	for (i = 0; i < HW_GPR_COUNT; i++)
		out->gpr[i] = r->gp.r[i];
	out->gpr[HW_RSP] = r->rsp;
	for (i = 0; i < VMX_ARRAY_SIZE(out->dr); i++)
		out->dr[i] = r->gp.dr[i];
	for (i = 0; i < CORE_SEG_COUNT; i++)
		out->seg[i] = (struct vmxcore_segment){.base = r->seg[i].base,
						       .limit = r->seg[i].limit,
						       .ar = r->seg[i].ar,
						       .sel = r->seg[i].sel};
}

/* --- an IN or OUT that waits for its end ---------------------------------------------------- */

/* The next run does it, unless somebody looks before. */
int vmx_complete_io(struct vmm_vcpu *v, uint32_t value)
{
	struct vmx_vcpu *b = vmx_vcpu_of(v);

	b->io_due = true;
	b->io_value = value;
	return 0;
}

int vmx_flush(struct vmx_vcpu *b)
{
	struct vmxcore_complete_io c = {.value = b->io_value};
	int err;

	if (!b->io_due)
		return 0;
	err = vmx_call(b->fd, VMXCORE_COMPLETE_IO, &c);
	if (!err)
		b->io_due = false;
	return err;
}

/* --- registers ---------------------------------------------------------------------------------
 */

int vmx_get_regs(struct vmm_vcpu *v, struct core_regs *ret)
{
	struct vmx_vcpu *b = vmx_vcpu_of(v);
	struct vmxcore_regs regs;
	int err = vmx_flush(b);

	if (!err)
		err = vmx_call(b->fd, VMXCORE_GET_REGS, &regs);
	if (!err)
		take_regs(ret, &regs);
	return err;
}

static int store_regs(struct vmx_vcpu *b, const struct core_regs *regs, uint32_t emulated,
		      const char **ret_field)
{
	struct vmxcore_set_regs s = {.emulated = emulated};
	int err = vmx_flush(b);

	if (err)
		return err;
	fill_regs(&s.regs, regs);
	err = vmx_call(b->fd, VMXCORE_SET_REGS, &s);
	if (err != -EINVAL || !ret_field)
		return err;
	memcpy(b->field, s.field, sizeof(b->field));
	b->field[sizeof(b->field) - 1] = '\0';
	*ret_field = b->field;
	return err;
}

int vmx_set_regs(struct vmm_vcpu *v, const struct core_regs *regs, const char **ret_field)
{
	return store_regs(vmx_vcpu_of(v), regs, 0, ret_field);
}

int vmx_complete_emulation(struct vmm_vcpu *v, const struct core_regs *regs)
{
	return store_regs(vmx_vcpu_of(v), regs, 1, NULL);
}

int vmx_inject(struct vmm_vcpu *v, const struct core_event *event)
{
	struct vmx_vcpu *b = vmx_vcpu_of(v);
	struct vmxcore_event e = {.info = event->info,
				  .error_code = event->error_code,
				  .insn_length = event->insn_length};
	int err = vmx_flush(b);

	return err ? err : vmx_call(b->fd, VMXCORE_INJECT, &e);
}

int vmx_vmcs_read(struct vmm_vcpu *v, uint32_t field, uint64_t *ret)
{
	struct vmx_vcpu *b = vmx_vcpu_of(v);
	struct vmxcore_vmcs_field f = {.encoding = field};
	int err = vmx_flush(b);

	if (!err)
		err = vmx_call(b->fd, VMXCORE_VMCS_READ, &f);
	if (!err)
		*ret = f.value;
	return err;
}

/* --- what can't be seen here -------------------------------------------------------------------
 */

bool vmx_retired(const struct vmm_vcpu *v, uint64_t *ret)
{
	(void)v;
	(void)ret;
	return false;
}

/* A processor tells a number, not which of the checks behind it. */
const char *vmx_entry_refused(struct vmm_vcpu *v)
{
	(void)v;
	return NULL;
}
