/* SPDX-License-Identifier: MIT */
/* A vCPU's registers and VMCS, and events for it. */
#include "engine/vmm.h"

#include "core/vmcs.h"

#include <inttypes.h>
#include <stdio.h>

/* "Guest Non-Register State" */
enum { ACTIVITY_ACTIVE, ACTIVITY_HLT, ACTIVITY_SHUTDOWN, ACTIVITY_WAIT_FOR_SIPI };

#define STATE(x) (UINT32_C(1) << ENGINE_STATE_##x)

/* --- registers ---------------------------------------------------------------------------- */

/* Every register of struct core_regs, under the name that core's checks use for it. */
static const struct reg {
	const char *name;
	size_t offset;
	uint32_t bytes;
	uint32_t group;
} regs[] = {
#define REG(name, member, group)                                                            \
	{name, offsetof(struct core_regs, member), sizeof(((struct core_regs *)0)->member), \
	 ENGINE_REGISTER_##group},
#define SEGMENT(name, n)                          \
	REG(name ".sel", seg[n].sel, SEGMENT)     \
	REG(name ".base", seg[n].base, SEGMENT)   \
	REG(name ".limit", seg[n].limit, SEGMENT) \
	REG(name ".ar", seg[n].ar, SEGMENT)
	/* clang-format off */
	REG("rax", gp.r[HW_RAX], GENERAL)
	REG("rbx", gp.r[HW_RBX], GENERAL)
	REG("rcx", gp.r[HW_RCX], GENERAL)
	REG("rdx", gp.r[HW_RDX], GENERAL)
	REG("rsi", gp.r[HW_RSI], GENERAL)
	REG("rdi", gp.r[HW_RDI], GENERAL)
	REG("rbp", gp.r[HW_RBP], GENERAL)
	REG("rsp", rsp, GENERAL)
	REG("r8", gp.r[HW_R8], GENERAL)
	REG("r9", gp.r[HW_R9], GENERAL)
	REG("r10", gp.r[HW_R10], GENERAL)
	REG("r11", gp.r[HW_R11], GENERAL)
	REG("r12", gp.r[HW_R12], GENERAL)
	REG("r13", gp.r[HW_R13], GENERAL)
	REG("r14", gp.r[HW_R14], GENERAL)
	REG("r15", gp.r[HW_R15], GENERAL)
	REG("rip", rip, GENERAL)
	REG("rflags", rflags, GENERAL)
	REG("cr0", cr0, CONTROL)
	REG("cr2", gp.cr2, CONTROL)
	REG("cr3", cr3, CONTROL)
	REG("cr4", cr4, CONTROL)
	REG("efer", efer, CONTROL)
	SEGMENT("cs", CORE_CS)
	SEGMENT("ds", CORE_DS)
	SEGMENT("es", CORE_ES)
	SEGMENT("fs", CORE_FS)
	SEGMENT("gs", CORE_GS)
	SEGMENT("ss", CORE_SS)
	SEGMENT("tr", CORE_TR)
	SEGMENT("ldtr", CORE_LDTR)
	REG("gdtr_base", gdtr_base, SEGMENT)
	REG("gdtr_limit", gdtr_limit, SEGMENT)
	REG("idtr_base", idtr_base, SEGMENT)
	REG("idtr_limit", idtr_limit, SEGMENT)
	REG("dr0", gp.dr[0], DEBUG)
	REG("dr1", gp.dr[1], DEBUG)
	REG("dr2", gp.dr[2], DEBUG)
	REG("dr3", gp.dr[3], DEBUG)
	REG("dr6", gp.dr6, DEBUG)
	REG("dr7", dr7, DEBUG)
	REG("pat", pat, MSR)
	REG("star", star, MSR)
	REG("lstar", lstar, MSR)
	REG("cstar", cstar, MSR)
	REG("fmask", fmask, MSR)
	REG("kernel_gs_base", kernel_gs_base, MSR)
	REG("tsc_aux", tsc_aux, MSR)
	REG("sysenter_cs", sysenter_cs, MSR)
	REG("sysenter_esp", sysenter_esp, MSR)
	REG("sysenter_eip", sysenter_eip, MSR)
	REG("activity", activity, STATE)
	REG("interruptibility", interruptibility, STATE)
/* clang-format on */
#undef SEGMENT
#undef REG
};

_Static_assert(VMX_ARRAY_SIZE(regs) <= ENGINE_MAX_REGISTERS, "registers of a request");

/* Little-endian, as the processor that this runs on. */
static uint64_t reg_value(const struct core_regs *r, const struct reg *reg)
{
	uint64_t v = 0;

	memcpy(&v, (const char *)r + reg->offset, reg->bytes);
	return v;
}

/* NULL, and the error is in the reply. */
static struct vmm_vcpu *find_vcpu(const struct vmm_vm *vm, uint32_t i, struct vmm_reply *reply)
{
	if (i < vm->vcpu_count)
		return &vm->vcpus[i];
	vmm_fail(reply, -EINVAL, ENGINE_FIELD_VCPU, vm->vcpu_count - 1, "vcpu %u: the last is %u",
		 i, vm->vcpu_count - 1);
	return NULL;
}

/* It is held. */
static int list_regs(struct vmm_vcpu *v, struct vmm_reply *reply)
{
	struct engine_register *out = vmm_payload(reply, VMX_ARRAY_SIZE(regs), sizeof(*out));
	struct core_regs r;
	size_t i;
	int err;

	if (!out)
		return -ENOMEM;
	err = v->vm->machine->backend->get_regs(v, &r);
	if (err)
		return err;
	for (i = 0; i < VMX_ARRAY_SIZE(regs); i++) {
		snprintf(out[i].name, sizeof(out[i].name), "%s", regs[i].name);
		out[i].value = reg_value(&r, &regs[i]);
		out[i].bits = regs[i].bytes * 8;
		out[i].group = regs[i].group;
	}
	return 0;
}

int vmm_vcpu_get(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		 struct vmm_reply *reply)
{
	struct vmm_vcpu *v = find_vcpu(vm, rq->req.u.vcpu.vcpu, reply);
	int err;

	(void)s;
	if (!v)
		return reply->error.code;
	vmm_hold(v);
	err = list_regs(v, reply);
	vmm_release(v);
	return err;
}

static const struct reg *find_reg(const char *name, size_t size)
{
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(regs); i++)
		if (strncmp(regs[i].name, name, size) == 0)
			return &regs[i];
	return NULL;
}

/* Puts one value among the registers; what VM entry says of it all comes later. */
static int put_reg(const struct engine_register *in, uint32_t index, struct core_regs *r,
		   struct vmm_reply *reply)
{
	const struct reg *reg = find_reg(in->name, sizeof(in->name));
	uint64_t max;

	reply->error.index = index;
	if (!reg)
		return vmm_fail(reply, -ENOENT, ENGINE_FIELD_REGISTERS, 0, "no register %.*s",
				(int)sizeof(in->name), in->name);
	max = reg->bytes == 8 ? UINT64_MAX : VMX_BIT(reg->bytes * 8) - 1;
	if (in->value > max)
		return vmm_fail(reply, -ERANGE, ENGINE_FIELD_REGISTERS, max,
				"%s: 0x%" PRIx64 ": it has %u bits", reg->name, in->value,
				reg->bytes * 8);
	memcpy((char *)r + reg->offset, &in->value, reg->bytes);
	reply->error.index = 0;
	return 0;
}

/* Which of the given registers VM entry would refuse; another one may clash with them. */
static int refuse_reg(const struct engine_register *in, uint32_t count, const char *name,
		      const struct core_regs *r, struct vmm_reply *reply)
{
	const struct reg *reg = find_reg(name, sizeof(in->name));
	uint32_t i;

	reply->error.index = UINT32_MAX;
	for (i = 0; i < count; i++)
		if (strncmp(in[i].name, name, sizeof(in[i].name)) == 0)
			reply->error.index = i;
	return vmm_fail(reply, -EINVAL, ENGINE_FIELD_REGISTERS, 0,
			"%s: VM entry would refuse 0x%" PRIx64 " with the other registers as "
			"they are",
			name, reg ? reg_value(r, reg) : 0);
}

/* It is held. */
static int change_regs(struct vmm_vcpu *v, const struct engine_register *in, uint32_t count,
		       struct vmm_reply *reply)
{
	const struct backend *b = v->vm->machine->backend;
	const char *refused = "";
	struct core_regs r;
	uint32_t i;
	int err = b->get_regs(v, &r);

	for (i = 0; i < count && !err; i++)
		err = put_reg(&in[i], i, &r, reply);
	if (err)
		return err;
	/* Nothing here would ever bring it out of that. */
	if (r.activity == ACTIVITY_SHUTDOWN)
		return refuse_reg(in, count, "activity", &r, reply);
	err = b->set_regs(v, &r, &refused);
	if (err == -EINVAL)
		return refuse_reg(in, count, refused, &r, reply);
	if (err)
		return err;
	if (r.activity == ACTIVITY_WAIT_FOR_SIPI)
		v->run = VMM_VCPU_WAIT_SIPI;
	else if (v->run != VMM_VCPU_HALTED || r.activity == ACTIVITY_ACTIVE)
		vmm_wake(v);
	return 0;
}

/* Until it was held, a vCPU of a running VM could still end what the table of requests saw. */
static int check_state(const struct vmm_vm *vm, uint32_t states, struct vmm_reply *reply)
{
	if (states >> vm->state.state & 1)
		return 0;
	return vmm_fail(reply, -EBUSY, ENGINE_FIELD_STATE, 0, "the VM is %s meanwhile",
			engine_state_name(vm->state.state));
}

/* It is held. */
static int set_regs(struct vmm_vcpu *v, const struct queue_request *rq, struct vmm_reply *reply)
{
	const struct vmm_vm *vm = v->vm;
	int err = check_state(vm, STATE(PAUSED) | STATE(SHUTOFF), reply);

	if (err)
		return err;
	if (vm->state.state == ENGINE_STATE_SHUTOFF && vm->has_run)
		return vmm_fail(reply, -EBUSY, ENGINE_FIELD_STATE, 0,
				"the VM is shutoff: its next start makes all registers anew");
	err = change_regs(v, rq->payload, rq->req.u.vcpu.count, reply);
	return err ? err : list_regs(v, reply);
}

int vmm_vcpu_set(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		 struct vmm_reply *reply)
{
	const struct engine_vcpu_req *q = &rq->req.u.vcpu;
	struct vmm_vcpu *v = find_vcpu(vm, q->vcpu, reply);
	int err;

	(void)s;
	if (!v)
		return reply->error.code;
	if (q->count == 0)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_REGISTERS, 0, "no register is given");
	vmm_hold(v);
	err = set_regs(v, rq, reply);
	vmm_release(v);
	return err;
}

/* --- events ----------------------------------------------------------------------------------- */

/* "VM-Entry Interruption-Information Field" */
#define INFO_VALID (UINT32_C(1) << 31)
#define INFO_ERROR_CODE (UINT32_C(1) << 11)
#define INFO_TYPE_SHIFT 8
#define EXCEPTIONS 32u
#define VECTOR_NMI 2u

static const struct {
	uint32_t type;
	uint32_t first, last; /* vectors */
} event_kinds[] = {
	[ENGINE_EVENT_INTERRUPT] = {0, 0, 255},
	[ENGINE_EVENT_NMI] = {2, VECTOR_NMI, VECTOR_NMI},
	[ENGINE_EVENT_EXCEPTION] = {3, 0, EXCEPTIONS - 1},
};

static int check_event(const struct engine_inject *q, struct vmm_reply *reply)
{
	if (q->kind >= VMX_ARRAY_SIZE(event_kinds))
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_KIND, ENGINE_EVENT_EXCEPTION,
				"unknown kind of event %u", q->kind);
	if (q->vector < event_kinds[q->kind].first || q->vector > event_kinds[q->kind].last)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_VECTOR, event_kinds[q->kind].last,
				"vector %u: %u to %u are possible", q->vector,
				event_kinds[q->kind].first, event_kinds[q->kind].last);
	if (q->has_error_code > 1)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_ERROR_CODE, 1,
				"has_error_code must be 0 or 1");
	return 0;
}

/* It is held. */
static int inject(struct vmm_vcpu *v, const struct engine_inject *q, struct vmm_reply *reply)
{
	const struct core_event event = {
		.info = INFO_VALID | event_kinds[q->kind].type << INFO_TYPE_SHIFT | q->vector |
			(q->has_error_code ? INFO_ERROR_CODE : 0),
		.error_code = q->has_error_code ? q->error_code : 0,
	};
	int err = check_state(v->vm, STATE(RUNNING) | STATE(PAUSED), reply);

	if (err)
		return err;
	if (v->run == VMM_VCPU_WAIT_SIPI)
		return vmm_fail(reply, -ENODATA, ENGINE_FIELD_VCPU, 0,
				"vcpu %u waits for a start-up IPI: it takes no events", q->vcpu);
	err = v->vm->machine->backend->inject(v, &event);
	if (err == -EBUSY)
		return vmm_fail(reply, err, ENGINE_FIELD_VCPU, 0,
				"vcpu %u has an event queued already", q->vcpu);
	if (err == -EINVAL)
		return vmm_fail(reply, err, ENGINE_FIELD_ERROR_CODE, 0,
				"%s vector %u with%s error code is none that VM entry takes now",
				q->kind == ENGINE_EVENT_EXCEPTION ? "exception" : "an event of",
				q->vector, q->has_error_code ? " this" : "out an");
	if (!err && v->run == VMM_VCPU_HALTED)
		vmm_wake(v);
	return err;
}

int vmm_vcpu_inject(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		    struct vmm_reply *reply)
{
	const struct engine_inject *q = &rq->req.u.inject;
	struct vmm_vcpu *v = find_vcpu(vm, q->vcpu, reply);
	int err;

	(void)s;
	if (!v)
		return reply->error.code;
	err = check_event(q, reply);
	if (err)
		return err;
	vmm_hold(v);
	err = inject(v, q, reply);
	vmm_release(v);
	return err;
}

/* --- the VMCS ------------------------------------------------------------------------------ */

/* It is held. */
static int read_field(struct vmm_vcpu *v, int index, struct engine_vmcs_field *out)
{
	const struct vmcs_field_info *info = &vmcs_field_info[index];
	uint64_t value;
	int err = v->vm->machine->backend->vmcs_read(v, info->encoding, &value);

	if (err)
		return err;
	*out = (struct engine_vmcs_field){
		.value = value,
		.encoding = info->encoding,
		.width = (uint8_t)info->width,
		.type = (uint8_t)info->type,
	};
	snprintf(out->name, sizeof(out->name), "%s", info->name);
	snprintf(out->text, sizeof(out->text), "%s", info->doc);
	return 0;
}

static int never_ran(uint32_t vcpu, struct vmm_reply *reply)
{
	return vmm_fail(reply, -ENODATA, ENGINE_FIELD_VCPU, 0,
			"vcpu %u has not run since its VM was made or started: its VMCS is empty",
			vcpu);
}

static int read_one(struct vmm_vcpu *v, const char *name, struct vmm_reply *reply)
{
	int index = vmcs_field_by_name(name), err;
	struct engine_vmcs_field *out;

	if (index < 0)
		return vmm_fail(reply, -ENOENT, ENGINE_FIELD_FIELD, 0, "no VMCS field %s", name);
	out = vmm_payload(reply, 1, sizeof(*out));
	if (!out)
		return -ENOMEM;
	err = read_field(v, index, out);
	if (err == -ENODATA)
		return never_ran(v->index, reply);
	if (err == -EINVAL)
		return vmm_fail(reply, -ENOTSUP, ENGINE_FIELD_FIELD, 0,
				"the processor has no VMCS field %s", name);
	return err;
}

static int read_all(struct vmm_vcpu *v, struct vmm_reply *reply)
{
	struct engine_vmcs_field *out = vmm_payload(reply, VMCS_FIELD_COUNT, sizeof(*out));
	size_t n = 0;
	int i, err;

	if (!out)
		return -ENOMEM;
	for (i = 0; i < VMCS_FIELD_COUNT; i++) {
		err = read_field(v, i, &out[n]);
		if (err == -ENODATA)
			return never_ran(v->index, reply);
		if (err && err != -EINVAL)
			return err;
		n += !err;
	}
	reply->payload_bytes = n * sizeof(*out);
	return 0;
}

int vmm_vmcs_get(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		 struct vmm_reply *reply)
{
	const struct engine_vmcs_req *q = &rq->req.u.vmcs;
	struct vmm_vcpu *v = find_vcpu(vm, q->vcpu, reply);
	int err;

	(void)s;
	if (!v)
		return reply->error.code;
	vmm_hold(v);
	err = q->field[0] ? read_one(v, q->field, reply) : read_all(v, reply);
	vmm_release(v);
	return err;
}
