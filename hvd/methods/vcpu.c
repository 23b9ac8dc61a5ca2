// SPDX-License-Identifier: MIT
/* vcpu.get, vcpu.set, vcpu.inject, vmcs.get; tlb.flush, tlb.invalidate */
#include "hvd/call.h"
#include <stdio.h>
#include <string.h>

_Static_assert((int)PROTO_INVEPT_ALL == ENGINE_INVEPT_ALL &&
		       (int)PROTO_INVVPID_ADDRESS + ENGINE_INVVPID_ADDRESS ==
			       ENGINE_INVVPID_ADDRESS &&
		       (int)PROTO_INVVPID_KEEP_GLOBAL + ENGINE_INVVPID_ADDRESS ==
			       ENGINE_INVVPID_KEEP_GLOBAL,
	       "types of invalidations");
_Static_assert((int)PROTO_REGISTER_GENERAL == ENGINE_REGISTER_GENERAL &&
		       (int)PROTO_REGISTER_STATE == ENGINE_REGISTER_STATE &&
		       PROTO_REGISTERS_MAX == ENGINE_MAX_REGISTERS,
	       "registers");
_Static_assert((int)PROTO_EVENT_INTERRUPT == ENGINE_EVENT_INTERRUPT &&
		       (int)PROTO_EVENT_NMI == ENGINE_EVENT_NMI &&
		       (int)PROTO_EVENT_EXCEPTION == ENGINE_EVENT_EXCEPTION,
	       "kinds of events");

#define VECTOR_NMI 2

static void no_memory(struct call *c)
{
	call_failf(c, PROTO_ERROR_NO_MEMORY, "", "out of memory for the reply");
}

/* What the engine wrote into an array of its; it may fill all of that. */
#define TEXT(c, array) proto_strndup(&(c)->arena, array, strnlen(array, sizeof(array)))

/* --- invalidations by hand -------------------------------------------------------------- */

static void describe_invalidated(struct call *c, const struct engine_invalidated *in,
				 struct proto_invalidated *out)
{
	const uint64_t *gva = c->state;

	*out = (struct proto_invalidated){
		.processor = in->processor,
		.instruction = TEXT(c, in->instruction),
		.type = TEXT(c, in->type),
	};
	if (in->ep4ta)
		PROTO_SET(out, ep4ta, in->ep4ta);
	if (in->vpid)
		PROTO_SET(out, vpid, in->vpid);
	if (gva)
		PROTO_SET(out, gva, *gva);
	if (!in->observable)
		return;
	out->dropped = (struct proto_tlb_cache){.i1 = in->dropped_i1,
						.d1 = in->dropped_d1,
						.l2 = in->dropped_l2,
						.psc = in->dropped_psc,
						.gpa = in->dropped_gpa};
	out->has_dropped = true;
}

static void on_invalidated(struct call *c, const struct engine_event *ev)
{
	const struct engine_invalidated *in = ev->payload;
	const size_t n = ev->payload_bytes / sizeof(*in);
	struct proto_invalidations result = {
		.vm = c->vm->name,
		.executed = proto_alloc(&c->arena, n, sizeof(*result.executed)),
		.executed_count = n,
	};

	if (!result.executed) {
		no_memory(c);
		return;
	}
	for (size_t i = 0; i < n; i++)
		describe_invalidated(c, &in[i], &result.executed[i]);
	call_reply(c, &result);
}

static void invalidate(struct call *c, const char *vm, const uint32_t *processor,
		       const struct engine_invalidate_req *what)
{
	struct engine_request req = {.op = ENGINE_INVALIDATE};

	if (processor && *processor >= c->hvd->engine_info.processors) {
		call_failf(c, PROTO_ERROR_NOT_FOUND, "processor", "%u: there are %u processors",
			   *processor, c->hvd->engine_info.processors);
		return;
	}
	if (!call_find_vm(c, vm))
		return;
	req.vm = c->vm->id;
	req.u.invalidate = *what;
	req.u.invalidate.processor = processor ? *processor : ENGINE_ANY_PROCESSOR;
	call_submit(c, &req, NULL, 0, NULL, 0, on_invalidated);
}

void method_tlb_flush(struct call *c)
{
	const struct proto_flush_params *p = c->params;
	const struct engine_invalidate_req what = {.kind = p->type};

	invalidate(c, p->vm, p->has_processor ? &p->processor : NULL, &what);
}

void method_tlb_invalidate(struct call *c)
{
	struct proto_invalidate_params *p = c->params;
	const struct engine_invalidate_req what = {
		.gva = p->gva,
		.kind = ENGINE_INVVPID_ADDRESS + p->type,
		.vcpu = p->vcpu,
		.vpid = p->has_vpid ? p->vpid : 0,
	};

	if (p->type == PROTO_INVVPID_ADDRESS && !p->has_gva) {
		call_failf(c, PROTO_ERROR_MISSING_PARAMETER, "gva", "individual-address needs it");
		return;
	}
	if (p->type != PROTO_INVVPID_ADDRESS && p->has_gva) {
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "gva",
			   "goes with individual-address only");
		return;
	}
	if (p->type == PROTO_INVVPID_ALL && p->has_vpid) {
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "vpid", "all-context takes none");
		return;
	}
	c->state = p->has_gva ? &p->gva : NULL;
	invalidate(c, p->vm, p->has_processor ? &p->processor : NULL, &what);
}

/* --- registers ---------------------------------------------------------------------------- */

static void reply_registers(struct call *c, const struct engine_event *ev, uint32_t vcpu)
{
	const struct engine_register *in = ev->payload;
	const size_t n = ev->payload_bytes / sizeof(*in);
	struct proto_registers result = {
		.vm = c->vm->name,
		.vcpu = vcpu,
		.registers = proto_alloc(&c->arena, n, sizeof(*result.registers)),
		.registers_count = n,
	};

	if (!result.registers) {
		no_memory(c);
		return;
	}
	for (size_t i = 0; i < n; i++)
		result.registers[i] = (struct proto_register){
			.name = TEXT(c, in[i].name),
			.value = in[i].value,
			.bits = in[i].bits,
			.group = in[i].group,
		};
	call_reply(c, &result);
}

static void on_registers(struct call *c, const struct engine_event *ev)
{
	const struct proto_vcpu_params *p = c->params;

	reply_registers(c, ev, p->vcpu);
}

void method_vcpu_get(struct call *c)
{
	const struct proto_vcpu_params *p = c->params;
	struct engine_request req = {.op = ENGINE_VCPU_GET};

	if (!call_find_vm(c, p->vm))
		return;
	req.vm = c->vm->id;
	req.u.vcpu.vcpu = p->vcpu;
	call_submit(c, &req, NULL, 0, NULL, 0, on_registers);
}

/* A register's error names the item of the list, and its name or its value. */
static void on_set(struct call *c, const struct engine_event *ev)
{
	const struct proto_vcpu_set_params *p = c->params;
	struct proto_error err;

	if (!ev->error.code) {
		reply_registers(c, ev, p->vcpu);
		return;
	}
	call_error_from_engine(c, &ev->error, &err);
	if (ev->error.field == ENGINE_FIELD_REGISTERS && ev->error.index < p->registers_count)
		snprintf(err.field, sizeof(err.field), "registers[%u].%s", ev->error.index,
			 ev->error.code == -ENOENT ? "name" : "value");
	call_fail(c, &err);
}

void method_vcpu_set(struct call *c)
{
	const struct proto_vcpu_set_params *p = c->params;
	struct engine_request req = {.op = ENGINE_VCPU_SET};
	struct engine_register *regs;

	if (!p->registers_count) {
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "registers", "one at least is needed");
		return;
	}
	regs = proto_alloc(&c->arena, p->registers_count, sizeof(*regs));
	if (!regs) {
		no_memory(c);
		return;
	}
	if (!call_find_vm(c, p->vm))
		return;
	for (size_t i = 0; i < p->registers_count; i++) {
		snprintf(regs[i].name, sizeof(regs[i].name), "%s", p->registers[i].name);
		regs[i].value = p->registers[i].value;
	}
	req.vm = c->vm->id;
	req.u.vcpu.vcpu = p->vcpu;
	req.u.vcpu.count = (uint32_t)p->registers_count;
	call_submit_raw(c, &req, regs, p->registers_count * sizeof(*regs), NULL, 0, on_set);
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_injected(struct call *c, const struct engine_event *ev)
{
	const struct proto_inject_params *p = c->params;
	struct proto_injected result = {
		.vm = c->vm->name,
		.vcpu = p->vcpu,
		.kind = p->kind,
		.vector = p->has_vector ? p->vector : VECTOR_NMI,
	};

	(void)ev;
	if (p->has_error_code)
		PROTO_SET(&result, error_code, p->error_code);
	call_reply(c, &result);
}

void method_vcpu_inject(struct call *c)
{
	const struct proto_inject_params *p = c->params;
	struct engine_request req = {.op = ENGINE_VCPU_INJECT};

	if (!p->has_vector && p->kind != PROTO_EVENT_NMI) {
		call_failf(c, PROTO_ERROR_MISSING_PARAMETER, "vector", "only an NMI needs none");
		return;
	}
	if (p->has_error_code && p->kind != PROTO_EVENT_EXCEPTION) {
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "error_code", "only exceptions have one");
		return;
	}
	if (!call_find_vm(c, p->vm))
		return;
	req.vm = c->vm->id;
	req.u.inject = (struct engine_inject){
		.vcpu = p->vcpu,
		.kind = p->kind,
		.vector = p->has_vector ? p->vector : VECTOR_NMI,
		.has_error_code = p->has_error_code,
		.error_code = p->has_error_code ? p->error_code : 0,
	};
	call_submit(c, &req, NULL, 0, NULL, 0, on_injected);
}

/* --- the VMCS ------------------------------------------------------------------------------ */

static void on_vmcs(struct call *c, const struct engine_event *ev)
{
	const struct proto_vmcs_params *p = c->params;
	const struct engine_vmcs_field *in = ev->payload;
	const size_t n = ev->payload_bytes / sizeof(*in);
	struct proto_vmcs result = {
		.vm = c->vm->name,
		.vcpu = p->vcpu,
		.fields = proto_alloc(&c->arena, n, sizeof(*result.fields)),
		.fields_count = n,
	};

	if (!result.fields) {
		no_memory(c);
		return;
	}
	for (size_t i = 0; i < n; i++)
		result.fields[i] = (struct proto_vmcs_field){
			.name = TEXT(c, in[i].name),
			.value = in[i].value,
			.encoding = in[i].encoding,
			.width = in[i].width,
			.type = in[i].type,
			.doc = TEXT(c, in[i].text),
		};
	call_reply(c, &result);
}

void method_vmcs_get(struct call *c)
{
	const struct proto_vmcs_params *p = c->params;
	struct engine_request req = {.op = ENGINE_VMCS_GET};

	if (!call_find_vm(c, p->vm))
		return;
	req.vm = c->vm->id;
	req.u.vmcs.vcpu = p->vcpu;
	if (p->has_field)
		snprintf(req.u.vmcs.field, sizeof(req.u.vmcs.field), "%s", p->field);
	call_submit(c, &req, NULL, 0, NULL, 0, on_vmcs);
}
