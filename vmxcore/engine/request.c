/* SPDX-License-Identifier: MIT */
/* The shape of each request, and the names of what engine.h numbers. */
#include "engine/kind.h"

/* Bytes of payload and number of descriptors that this request must bring; false: the
 * counts that they follow from are out of bounds. */
struct shape {
	size_t payload, fds;
};

static bool shape_create(const struct engine_request *req, struct shape *ret)
{
	const struct engine_vm_create *c = &req->u.create;

	if (c->has_image > 1 || c->modules > ENGINE_MAX_MODULES)
		return false;
	ret->fds = c->has_image + c->modules;
	return memchr(c->cmdline, '\0', sizeof(c->cmdline)) != NULL;
}

static bool shape_slot_add(const struct engine_request *req, struct shape *ret)
{
	ret->fds = req->u.slot_add.kind == ENGINE_SLOT_FILE;
	return true;
}

static bool shape_apply(const struct engine_request *req, struct shape *ret)
{
	ret->payload = req->u.apply.count * sizeof(struct engine_map_op);
	return req->u.apply.count >= 1 && req->u.apply.count <= ENGINE_MAX_OPS;
}

static bool shape_write(const struct engine_request *req, struct shape *ret)
{
	ret->payload = req->u.mem.size_bytes;
	return req->u.mem.size_bytes <= ENGINE_MAX_DATA;
}

static bool shape_vcpu_set(const struct engine_request *req, struct shape *ret)
{
	ret->payload = req->u.vcpu.count * sizeof(struct engine_register);
	return req->u.vcpu.count <= ENGINE_MAX_REGISTERS;
}

static bool shape_vmcs_get(const struct engine_request *req, struct shape *ret)
{
	(void)ret;
	return memchr(req->u.vmcs.field, '\0', sizeof(req->u.vmcs.field)) != NULL;
}

/* As in ENGINE_MEM_WRITE, the size stands in the request. */
static bool shape_input(const struct engine_request *req, struct shape *ret)
{
	ret->payload = req->u.console_write.size_bytes;
	return ret->payload <= ENGINE_MAX_INPUT;
}

static bool shape_plain(const struct engine_request *req, struct shape *ret)
{
	(void)req;
	(void)ret;
	return true;
}

static bool (*const shapes[ENGINE_OP_COUNT])(const struct engine_request *, struct shape *) = {
	[ENGINE_VM_CREATE] = shape_create,   [ENGINE_VM_START] = shape_plain,
	[ENGINE_VM_PAUSE] = shape_plain,     [ENGINE_VM_RESUME] = shape_plain,
	[ENGINE_VM_STOP] = shape_plain,	     [ENGINE_VM_DELETE] = shape_plain,
	[ENGINE_VM_INFO] = shape_plain,	     [ENGINE_SLOT_ADD] = shape_slot_add,
	[ENGINE_SLOT_LIST] = shape_plain,    [ENGINE_MEM_APPLY] = shape_apply,
	[ENGINE_MEM_READ] = shape_plain,     [ENGINE_MEM_WRITE] = shape_write,
	[ENGINE_WALK] = shape_plain,	     [ENGINE_VPID_LIST] = shape_plain,
	[ENGINE_TLB_STATS] = shape_plain,    [ENGINE_TLB_ENTRIES] = shape_plain,
	[ENGINE_STATS] = shape_plain,	     [ENGINE_CONSOLE_READ] = shape_plain,
	[ENGINE_MAPPING_LIST] = shape_plain, [ENGINE_DIRTY] = shape_plain,
	[ENGINE_SLOT_REMOVE] = shape_plain,  [ENGINE_VM_RESET] = shape_plain,
	[ENGINE_INVALIDATE] = shape_plain,   [ENGINE_VCPU_GET] = shape_plain,
	[ENGINE_VCPU_SET] = shape_vcpu_set,  [ENGINE_VCPU_INJECT] = shape_plain,
	[ENGINE_VMCS_GET] = shape_vmcs_get,  [ENGINE_CONSOLE_WRITE] = shape_input,
	[ENGINE_TRACE_SET] = shape_plain,    [ENGINE_TRACE_READ] = shape_plain,
};

int engine_request_check(const struct engine_request *req, const void *payload,
			 size_t payload_bytes, const int *fds, size_t fd_count)
{
	struct shape shape = {0};

	if (req->op >= ENGINE_OP_COUNT || !shapes[req->op] || !shapes[req->op](req, &shape))
		return -EINVAL;
	if (payload_bytes != shape.payload || fd_count != shape.fds)
		return -EINVAL;
	if ((payload_bytes && !payload) || (fd_count && !fds))
		return -EINVAL;
	return 0;
}

static const char *const state_names[] = {
	[ENGINE_STATE_RUNNING] = "running",
	[ENGINE_STATE_PAUSED] = "paused",
	[ENGINE_STATE_SHUTOFF] = "shutoff",
	[ENGINE_STATE_CRASHED] = "crashed",
};

static const char *const reason_names[ENGINE_REASON_COUNT] = {
	[ENGINE_REASON_NONE] = "none",
	[ENGINE_REASON_CREATED] = "created",
	[ENGINE_REASON_STARTED] = "started",
	[ENGINE_REASON_USER] = "user",
	[ENGINE_REASON_EXITED] = "exited",
	[ENGINE_REASON_HALTED] = "halted",
	[ENGINE_REASON_EPT_DENIED] = "ept-denied",
	[ENGINE_REASON_TRIPLE_FAULT] = "triple-fault",
	[ENGINE_REASON_UNEXPECTED] = "unexpected",
	[ENGINE_REASON_ENTRY_FAILED] = "entry-failed",
	[ENGINE_REASON_INTERNAL] = "internal",
};

static const char *const field_names[ENGINE_FIELD_COUNT] = {
	[ENGINE_FIELD_NONE] = "",
	[ENGINE_FIELD_VM] = "vm",
	[ENGINE_FIELD_STATE] = "state",
	[ENGINE_FIELD_MEMORY] = "memory_bytes",
	[ENGINE_FIELD_VCPUS] = "vcpus",
	[ENGINE_FIELD_PROCESSOR] = "processors",
	[ENGINE_FIELD_IMAGE] = "image",
	[ENGINE_FIELD_MODULE] = "modules",
	[ENGINE_FIELD_CMDLINE] = "command_line",
	[ENGINE_FIELD_LOAD_GPA] = "load_gpa",
	[ENGINE_FIELD_EPT_PAGE] = "ept_page",
	[ENGINE_FIELD_SLOT] = "slot",
	[ENGINE_FIELD_KIND] = "kind",
	[ENGINE_FIELD_GPA] = "gpa",
	[ENGINE_FIELD_GVA] = "gva",
	[ENGINE_FIELD_SIZE] = "size_bytes",
	[ENGINE_FIELD_OFFSET] = "offset_bytes",
	[ENGINE_FIELD_PROT] = "prot",
	[ENGINE_FIELD_MEMTYPE] = "memtype",
	[ENGINE_FIELD_OPERATIONS] = "operations",
	[ENGINE_FIELD_VCPU] = "vcpu",
	[ENGINE_FIELD_FILE] = "file",
	[ENGINE_FIELD_VPID] = "vpid",
	[ENGINE_FIELD_REGISTERS] = "registers",
	[ENGINE_FIELD_VECTOR] = "vector",
	[ENGINE_FIELD_ERROR_CODE] = "error_code",
	[ENGINE_FIELD_FIELD] = "field",
};

static const char *name_of(const char *const *names, size_t count, uint32_t i)
{
	return i < count && names[i] ? names[i] : "unknown";
}

const char *engine_state_name(uint32_t state)
{
	return name_of(state_names, VMX_ARRAY_SIZE(state_names), state);
}

const char *engine_reason_name(uint32_t reason)
{
	return name_of(reason_names, VMX_ARRAY_SIZE(reason_names), reason);
}

const char *engine_field_name(uint32_t field)
{
	return name_of(field_names, VMX_ARRAY_SIZE(field_names), field);
}
