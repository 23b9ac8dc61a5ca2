/* SPDX-License-Identifier: MIT */
/* Bad requests: each has its error, names its field, and changes nothing. */
#include "contract/cases.h"

#include "contract/guests.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define SPARE 5u
#define RAM (16 * MIB)

/* --- creating ----------------------------------------------------------------------------- */

#define CREATE(name, ...)                            \
	static void name(struct engine_vm_create *p) \
	{                                            \
		__VA_ARGS__;                         \
	}

CREATE(memory_odd, p->memory_bytes = 16 * MIB + 1)
CREATE(memory_small, p->memory_bytes = MIB - 4096)
CREATE(memory_huge, p->memory_bytes = UINT64_C(1) << 60)
CREATE(vcpus_none, p->vcpus = 0)
CREATE(vcpus_many, p->vcpus = ENGINE_MAX_VCPUS + 1)
CREATE(processor_far, p->processor[0] = 64)
CREATE(page_odd, p->ept_page_bytes = 8192)
CREATE(page_far, p->ept_page_bytes = UINT64_C(1) << 39)
CREATE(format_bad, p->image_format = 9)
CREATE(load_far, p->load_gpa = RAM)
CREATE(load_edge, p->load_gpa = RAM - 4)
CREATE(format_auto, p->image_format = ENGINE_IMAGE_AUTO)
CREATE(format_multiboot, p->image_format = ENGINE_IMAGE_MULTIBOOT)
CREATE(format_elf, p->image_format = ENGINE_IMAGE_ELF64)
CREATE(cmdline_flat, strcpy(p->cmdline, "quiet"))

static const struct {
	const char *name;
	void (*change)(struct engine_vm_create *p);
	int err;
	enum engine_field field;
} creates[] = {
	{"memory_odd", memory_odd, -EINVAL, ENGINE_FIELD_MEMORY},
	{"memory_small", memory_small, -EINVAL, ENGINE_FIELD_MEMORY},
	{"memory_huge", memory_huge, -ENOMEM, ENGINE_FIELD_MEMORY},
	{"vcpus_none", vcpus_none, -EINVAL, ENGINE_FIELD_VCPUS},
	{"vcpus_many", vcpus_many, -EINVAL, ENGINE_FIELD_VCPUS},
	{"processor_far", processor_far, -EINVAL, ENGINE_FIELD_PROCESSOR},
	{"page_odd", page_odd, -EINVAL, ENGINE_FIELD_EPT_PAGE},
	{"page_far", page_far, -EINVAL, ENGINE_FIELD_EPT_PAGE},
	{"format_bad", format_bad, -EINVAL, ENGINE_FIELD_IMAGE},
	{"load_far", load_far, -ERANGE, ENGINE_FIELD_LOAD_GPA},
	{"load_edge", load_edge, -ERANGE, ENGINE_FIELD_LOAD_GPA},
	{"format_auto", format_auto, -EINVAL, ENGINE_FIELD_IMAGE},
	{"format_multiboot", format_multiboot, -EINVAL, ENGINE_FIELD_IMAGE},
	{"format_elf", format_elf, -EINVAL, ENGINE_FIELD_IMAGE},
	{"cmdline_flat", cmdline_flat, -ENOTSUP, ENGINE_FIELD_CMDLINE},
};

static void refused(const char *name, const struct engine_event *ev, int err,
		    enum engine_field field)
{
	if (ev->error.code != err || ev->error.field != (uint32_t)field || !ev->error.text[0])
		fail_msg("%s: %d, field %s: \"%s\"", name, ev->error.code,
			 engine_field_name(ev->error.field), ev->error.text);
	assert_int_equal(ev->payload_bytes, 0);
}

static void bad_create(struct contract *c)
{
	int fd = file_of(guest_hello, sizeof(guest_hello));
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(creates); i++) {
		struct engine_request req = vm_request();
		struct engine_event ev;

		req.u.create.has_image = 1;
		creates[i].change(&req.u.create);
		ev = call(c, &req, NULL, 0, &fd, 1);
		refused(creates[i].name, &ev, creates[i].err, creates[i].field);
		assert_int_equal(ev.vm, 0);
	}
	close(fd);
}

/* What is no usable file. */
static void bad_files(struct contract *c)
{
	struct engine_request req = vm_request();
	struct engine_event ev;
	int pipes[2], fds[2], empty = file_of("", 0), good = file_of(guest_hello, 4);

	req.u.create.has_image = 1;
	ev = call(c, &req, NULL, 0, &empty, 1);
	refused("empty", &ev, -EINVAL, ENGINE_FIELD_IMAGE);
	assert_int_equal(pipe(pipes), 0);
	ev = call(c, &req, NULL, 0, pipes, 1);
	refused("pipe", &ev, -EINVAL, ENGINE_FIELD_IMAGE);
	fds[0] = good;
	fds[1] = empty;
	req.u.create.modules = 1;
	ev = call(c, &req, NULL, 0, fds, 2);
	refused("empty module", &ev, -EINVAL, ENGINE_FIELD_MODULE);
	fds[1] = good;
	ev = call(c, &req, NULL, 0, fds, 2);
	refused("flat with module", &ev, -ENOTSUP, ENGINE_FIELD_MODULE);
	close(empty);
	close(good);
	close(pipes[0]);
	close(pipes[1]);
}

/* --- slots ------------------------------------------------------------------------------------ */

static const struct {
	struct engine_slot_add add;
	int err;
	enum engine_field field;
} slots[] = {
	{{.slot = 0, .size_bytes = 4096}, -EEXIST, ENGINE_FIELD_SLOT},
	{{.slot = SPARE, .size_bytes = 4096}, -EEXIST, ENGINE_FIELD_SLOT},
	{{.slot = 9, .size_bytes = 0}, -EINVAL, ENGINE_FIELD_SIZE},
	{{.slot = 9, .size_bytes = 100}, -EINVAL, ENGINE_FIELD_SIZE},
	{{.slot = 9, .size_bytes = UINT64_C(1) << 60}, -ENOMEM, ENGINE_FIELD_SIZE},
	{{.slot = 9, .size_bytes = 4096, .kind = 7}, -EINVAL, ENGINE_FIELD_KIND},
};

static uint64_t vm_with_spare(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = vm_new(c, &req, guest_hello, sizeof(guest_hello));

	slot_add(c, vm, SPARE, MIB);
	return vm;
}

static void bad_slots(struct contract *c)
{
	uint64_t vm = vm_with_spare(c);
	struct engine_request req = {.op = ENGINE_SLOT_ADD, .vm = vm};
	int file = file_of(guest_hello, sizeof(guest_hello)), plain = open("/dev/null", O_RDWR);
	struct engine_event ev;
	char name[16];
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(slots); i++) {
		snprintf(name, sizeof(name), "slot row %zu", i);
		req.u.slot_add = slots[i].add;
		ev = call(c, &req, NULL, 0, NULL, 0);
		refused(name, &ev, slots[i].err, slots[i].field);
	}
	req.u.slot_add =
		(struct engine_slot_add){.slot = 9, .size_bytes = 4096, .kind = ENGINE_SLOT_FILE};
	ev = call(c, &req, NULL, 0, &file, 1);
	refused("short file", &ev, -EFBIG, ENGINE_FIELD_FILE);
	assert_int_equal(ftruncate(file, 8192), 0);
	req.u.slot_add.file_offset = 100;
	ev = call(c, &req, NULL, 0, &file, 1);
	refused("odd offset", &ev, -EINVAL, ENGINE_FIELD_OFFSET);
	close(file);
	close(plain);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* A memfd is the guest's memory and its owner's at once; it can't be cut short any more. */
static void file_slot(struct contract *c)
{
	uint64_t vm = vm_with_spare(c);
	struct engine_request req = {.op = ENGINE_SLOT_ADD, .vm = vm};
	struct engine_map_op o = {.kind = ENGINE_MAP,
				  .gpa = 0x40000000,
				  .size_bytes = 4096,
				  .slot = 9,
				  .prot = 3,
				  .memtype = 6};
	int fd = file_of(guest_hello, sizeof(guest_hello));
	uint8_t got[sizeof(guest_hello)];
	struct engine_event ev;

	assert_int_equal(ftruncate(fd, 12288), 0);
	req.u.slot_add =
		(struct engine_slot_add){.slot = 9, .size_bytes = 8192, .kind = ENGINE_SLOT_FILE};
	ev = call(c, &req, NULL, 0, &fd, 1);
	assert_int_equal(ev.error.code, 0);
	apply_ok(c, vm, &o, 0, NULL);
	gpa_read(c, vm, 0x40000000, got, sizeof(got));
	assert_memory_equal(got, guest_hello, sizeof(got));
	gpa_write(c, vm, 0x40000100, "shared", 6);
	assert_int_equal(pread(fd, got, 6, 0x100), 6);
	assert_memory_equal(got, "shared", 6);
	assert_int_equal(ftruncate(fd, 0), -1);
	close(fd);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* A plain file is shared, too. When its owner cuts it short, what is gone reads as zeros. */
static void plain_file(struct contract *c)
{
	uint64_t vm = vm_with_spare(c);
	struct engine_request req = {.op = ENGINE_SLOT_ADD, .vm = vm};
	struct engine_map_op o = {.kind = ENGINE_MAP,
				  .gpa = 0x40000000,
				  .size_bytes = 8192,
				  .slot = 9,
				  .prot = 3,
				  .memtype = 6};
	char path[] = "/tmp/contract-XXXXXX";
	int fd = mkstemp(path);
	struct engine_event ev;
	uint8_t got[8];

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(ftruncate(fd, 8192), 0);
	assert_int_equal(pwrite(fd, "first", 5, 0), 5);
	assert_int_equal(pwrite(fd, "second", 6, 4096), 6);
	req.u.slot_add =
		(struct engine_slot_add){.slot = 9, .size_bytes = 8192, .kind = ENGINE_SLOT_FILE};
	ev = call(c, &req, NULL, 0, &fd, 1);
	assert_int_equal(ev.error.code, 0);
	apply_ok(c, vm, &o, 0, NULL);
	gpa_read(c, vm, 0x40001000, got, 6);
	assert_memory_equal(got, "second", 6);
	assert_int_equal(ftruncate(fd, 4096), 0);
	gpa_read(c, vm, 0x40001000, got, 6);
	assert_memory_equal(got, "\0\0\0\0\0\0", 6);
	gpa_write(c, vm, 0x40001000, "alive", 5);
	gpa_read(c, vm, 0x40001000, got, 5);
	assert_memory_equal(got, "alive", 5);
	gpa_read(c, vm, 0x40000000, got, 5);
	assert_memory_equal(got, "first", 5);
	close(fd);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* --- mappings ------------------------------------------------------------------------------ */

static const struct {
	struct engine_map_op op;
	int err;
	enum engine_field field;
	uint64_t existing_first, existing_last; /* -EEXIST, -ENOENT */
	uint32_t slot;
} maps[] = {
	{{.kind = ENGINE_MAP, .gpa = 0, .size_bytes = 4096, .slot = SPARE, .prot = 7, .memtype = 6},
	 -EEXIST,
	 ENGINE_FIELD_GPA,
	 0,
	 RAM - 1,
	 0},
	{{.kind = ENGINE_MAP,
	  .gpa = RAM - 4096,
	  .size_bytes = 8192,
	  .slot = SPARE,
	  .prot = 7,
	  .memtype = 6},
	 -EEXIST,
	 ENGINE_FIELD_GPA,
	 0,
	 RAM - 1,
	 0},
	{{.kind = ENGINE_UNMAP, .gpa = RAM - 4096, .size_bytes = 8192},
	 -ENOENT,
	 ENGINE_FIELD_GPA,
	 RAM,
	 RAM + 4095,
	 0},
	{{.kind = ENGINE_PROTECT, .gpa = 0x80000000, .size_bytes = 4096, .prot = 1},
	 -ENOENT,
	 ENGINE_FIELD_GPA,
	 0x80000000,
	 0x80000fff,
	 0},
	{{.kind = ENGINE_REMAP, .gpa = RAM, .size_bytes = 4096, .slot = SPARE},
	 -ENOENT,
	 ENGINE_FIELD_GPA,
	 RAM,
	 RAM + 4095,
	 0},
	{{.kind = ENGINE_MAP, .gpa = RAM, .size_bytes = 4096, .slot = 77, .prot = 7, .memtype = 6},
	 -ENOENT,
	 ENGINE_FIELD_SLOT,
	 0,
	 0,
	 0},
	{{.kind = 9, .gpa = RAM, .size_bytes = 4096}, -EINVAL, ENGINE_FIELD_KIND, 0, 0, 0},
	{{.kind = ENGINE_MAP,
	  .gpa = RAM + 1,
	  .size_bytes = 4096,
	  .slot = SPARE,
	  .prot = 7,
	  .memtype = 6},
	 -EINVAL,
	 ENGINE_FIELD_GPA,
	 0,
	 0,
	 0},
	{{.kind = ENGINE_MAP,
	  .gpa = RAM,
	  .size_bytes = 3072,
	  .slot = SPARE,
	  .prot = 7,
	  .memtype = 6},
	 -EINVAL,
	 ENGINE_FIELD_SIZE,
	 0,
	 0,
	 0},
	{{.kind = ENGINE_UNMAP, .gpa = 0, .size_bytes = 0}, -EINVAL, ENGINE_FIELD_SIZE, 0, 0, 0},
	{{.kind = ENGINE_MAP,
	  .gpa = RAM,
	  .size_bytes = 4096,
	  .slot = SPARE,
	  .offset_bytes = 5,
	  .prot = 7,
	  .memtype = 6},
	 -EINVAL,
	 ENGINE_FIELD_OFFSET,
	 0,
	 0,
	 0},
	{{.kind = ENGINE_MAP,
	  .gpa = RAM,
	  .size_bytes = 4096,
	  .slot = SPARE,
	  .prot = 8,
	  .memtype = 6},
	 -EINVAL,
	 ENGINE_FIELD_PROT,
	 0,
	 0,
	 0},
	{{.kind = ENGINE_MAP,
	  .gpa = RAM,
	  .size_bytes = 4096,
	  .slot = SPARE,
	  .prot = 2,
	  .memtype = 6},
	 -EINVAL,
	 ENGINE_FIELD_PROT,
	 0,
	 0,
	 0},
	{{.kind = ENGINE_MAP,
	  .gpa = RAM,
	  .size_bytes = 4096,
	  .slot = SPARE,
	  .prot = 7,
	  .memtype = 2},
	 -EINVAL,
	 ENGINE_FIELD_MEMTYPE,
	 0,
	 0,
	 0},
	{{.kind = ENGINE_MAP,
	  .gpa = RAM,
	  .size_bytes = 4096,
	  .slot = SPARE,
	  .offset_bytes = MIB,
	  .prot = 7,
	  .memtype = 6},
	 -ERANGE,
	 ENGINE_FIELD_OFFSET,
	 0,
	 0,
	 0},
};

static void bad_maps(struct contract *c)
{
	uint64_t vm = vm_with_spare(c), written = stat_of(c, vm, "ept_written");
	struct engine_error e;
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(maps); i++) {
		int err = apply(c, vm, &maps[i].op, 0, NULL, &e);

		if (err != maps[i].err || e.field != (uint32_t)maps[i].field || !e.text[0])
			fail_msg("row %zu: %d, field %s: %s", i, err, engine_field_name(e.field),
				 e.text);
		if (e.existing_first != maps[i].existing_first ||
		    e.existing_last != maps[i].existing_last || e.slot != maps[i].slot)
			fail_msg("row %zu: 0x%lx-0x%lx slot %u", i, (unsigned long)e.existing_first,
				 (unsigned long)e.existing_last, e.slot);
	}
	assert_int_equal(stat_of(c, vm, "ept_written"), written);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* Far ends of the address space: refused, whatever the field, and the engine goes on. */
static void far_maps(struct contract *c)
{
	static const uint64_t gpas[] = {UINT64_C(1) << 46, UINT64_C(1) << 48, UINT64_C(1) << 52,
					UINT64_C(1) << 63, ~UINT64_C(4095)};
	uint64_t vm = vm_with_spare(c);
	struct engine_error e;
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(gpas); i++) {
		struct engine_map_op o = {.kind = ENGINE_MAP,
					  .gpa = gpas[i],
					  .size_bytes = 8192,
					  .slot = SPARE,
					  .prot = 7,
					  .memtype = 6};

		assert_true(apply(c, vm, &o, 0, NULL, &e) < 0);
		assert_true(e.field == ENGINE_FIELD_GPA || e.field == ENGINE_FIELD_SIZE);
		o.kind = ENGINE_UNMAP;
		o.size_bytes = ~UINT64_C(4095);
		assert_true(apply(c, vm, &o, 0, NULL, &e) < 0);
	}
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* --- memory and looking -------------------------------------------------------------------- */

static const struct {
	struct engine_mem_io io;
	int err;
	enum engine_field field;
} reads[] = {
	{{.address = 0, .size_bytes = 0}, -EINVAL, ENGINE_FIELD_SIZE},
	{{.address = 0, .size_bytes = ENGINE_MAX_DATA + 1}, -EINVAL, ENGINE_FIELD_SIZE},
	{{.address = RAM, .size_bytes = 1}, -EFAULT, ENGINE_FIELD_GPA},
	{{.address = RAM - 1, .size_bytes = 2}, -EFAULT, ENGINE_FIELD_GPA},
	{{.address = UINT64_MAX, .size_bytes = 2}, -ERANGE, ENGINE_FIELD_GPA},
	{{.address = 0, .size_bytes = 1, .kind = 3}, -EINVAL, ENGINE_FIELD_KIND},
	{{.address = 0, .size_bytes = 1, .kind = ENGINE_ADDR_GVA, .vcpu = 1},
	 -EINVAL,
	 ENGINE_FIELD_VCPU},
	{{.address = 0, .size_bytes = 1, .kind = ENGINE_ADDR_SLOT, .slot = 9},
	 -ENOENT,
	 ENGINE_FIELD_SLOT},
	{{.address = MIB, .size_bytes = 1, .kind = ENGINE_ADDR_SLOT, .slot = SPARE},
	 -ERANGE,
	 ENGINE_FIELD_OFFSET},
	{{.address = UINT64_MAX, .size_bytes = 1, .kind = ENGINE_ADDR_SLOT, .slot = SPARE},
	 -ERANGE,
	 ENGINE_FIELD_OFFSET},
};

static void bad_reads(struct contract *c)
{
	uint64_t vm = vm_with_spare(c);
	struct engine_request req = {.op = ENGINE_MEM_READ, .vm = vm};
	struct engine_event ev;
	char name[16];
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(reads); i++) {
		snprintf(name, sizeof(name), "read row %zu", i);
		req.u.mem = reads[i].io;
		ev = call(c, &req, NULL, 0, NULL, 0);
		refused(name, &ev, reads[i].err, reads[i].field);
	}
	req = (struct engine_request){.op = ENGINE_WALK, .vm = vm};
	req.u.walk.access = 3;
	ev = call(c, &req, NULL, 0, NULL, 0);
	refused("walk access", &ev, -EINVAL, ENGINE_FIELD_PROT);
	req.u.walk = (struct engine_walk_req){.access = 1, .vcpu = 1};
	ev = call(c, &req, NULL, 0, NULL, 0);
	refused("walk vcpu", &ev, -EINVAL, ENGINE_FIELD_VCPU);
	req = (struct engine_request){.op = ENGINE_TLB_ENTRIES, .vm = vm};
	req.u.tlb_entries.processor = 99;
	ev = call(c, &req, NULL, 0, NULL, 0);
	refused("entries", &ev, -EINVAL, ENGINE_FIELD_PROCESSOR);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

static void no_vm(struct contract *c)
{
	struct engine_request req;
	struct engine_event ev;
	uint32_t k;

	for (k = ENGINE_VM_START; k < ENGINE_OP_COUNT; k++) {
		struct engine_map_op o = {0};

		req = (struct engine_request){.op = k, .vm = 999};
		req.u.mem.size_bytes = 0;
		if (k == ENGINE_MEM_APPLY)
			req.u.apply.count = 1;
		ev = call(c, &req, k == ENGINE_MEM_APPLY ? &o : NULL,
			  k == ENGINE_MEM_APPLY ? sizeof(o) : 0, NULL, 0);
		refused("no VM", &ev, -ENOENT, ENGINE_FIELD_VM);
	}
}

/* --- submitting ---------------------------------------------------------------------------- */

static void malformed(struct contract *c)
{
	struct engine_request req = {0};
	struct engine_map_op o = {0};
	int fd = -1;

	assert_int_equal(engine_submit(c->engine, &req, NULL, 0, NULL, 0), -EINVAL);
	req.op = ENGINE_OP_COUNT;
	assert_int_equal(engine_submit(c->engine, &req, NULL, 0, NULL, 0), -EINVAL);
	req.op = UINT32_MAX;
	assert_int_equal(engine_submit(c->engine, &req, NULL, 0, NULL, 0), -EINVAL);
	req.op = ENGINE_VM_START;
	assert_int_equal(engine_submit(c->engine, &req, &o, 1, NULL, 0), -EINVAL);
	assert_int_equal(engine_submit(c->engine, &req, NULL, 0, &fd, 1), -EINVAL);
	req.op = ENGINE_MEM_APPLY;
	assert_int_equal(engine_submit(c->engine, &req, NULL, 0, NULL, 0), -EINVAL);
	req.u.apply.count = 2;
	assert_int_equal(engine_submit(c->engine, &req, &o, sizeof(o), NULL, 0), -EINVAL);
	req.u.apply.count = UINT32_MAX;
	assert_int_equal(engine_submit(c->engine, &req, &o, sizeof(o), NULL, 0), -EINVAL);
	req = (struct engine_request){.op = ENGINE_MEM_WRITE};
	req.u.mem.size_bytes = 8;
	assert_int_equal(engine_submit(c->engine, &req, &o, 4, NULL, 0), -EINVAL);
	assert_int_equal(engine_submit(c->engine, &req, NULL, 8, NULL, 0), -EINVAL);
	req = vm_request();
	req.u.create.has_image = 1;
	assert_int_equal(engine_submit(c->engine, &req, NULL, 0, NULL, 0), -EINVAL);
	/* A descriptor that is none. */
	assert_int_equal(engine_submit(c->engine, &req, NULL, 0, &fd, 1), -EINVAL);
	req.u.create.modules = 17;
	assert_int_equal(engine_submit(c->engine, &req, NULL, 0, &fd, 1), -EINVAL);
	req = vm_request();
	memset(req.u.create.cmdline, 'a', sizeof(req.u.create.cmdline));
	assert_int_equal(engine_submit(c->engine, &req, NULL, 0, NULL, 0), -EINVAL);
}

/* As many requests as fit; each has one completion, in order; then there is room again. */
static void queue_full(struct contract *c)
{
	struct engine_request req = {.op = ENGINE_VPID_LIST};
	uint64_t sent = 0, got = 0;
	struct engine_event ev;
	int round;

	for (round = 0; round < 3; round++) {
		for (;;) {
			int err;

			req.token = sent;
			err = engine_submit(c->engine, &req, NULL, 0, NULL, 0);
			if (err) {
				assert_int_equal(err, -EAGAIN);
				break;
			}
			sent++;
			assert_true(sent - got <= 4096);
		}
		assert_int_equal(sent - got, 4096);
		while (got < sent) {
			struct pollfd p = {.fd = engine_event_fd(c->engine), .events = POLLIN};

			assert_int_equal(poll(&p, 1, 60000), 1);
			while (engine_next_event(c->engine, &ev) == 0) {
				assert_int_equal(ev.type, ENGINE_EVENT_COMPLETION);
				assert_int_equal(ev.token, got);
				got++;
				engine_event_release(&ev);
			}
			/* Empty: not readable, or events came meanwhile. */
		}
	}
	{
		struct pollfd p = {.fd = engine_event_fd(c->engine), .events = POLLIN};

		assert_int_equal(poll(&p, 1, 0), 0);
	}
}

static void table(struct contract *c)
{
	const struct engine_config cfg = {0}, many = {.processors = 65}, bad_tlb = {.tlb = "huge"};
	struct engine_info info;
	struct engine *e;
	bool found = false;
	size_t i;

	for (i = 0; i < engine_count(); i++) {
		assert_int_equal(engine_probe(i, &info), 0);
		assert_true(info.name[0] && info.reason[0]);
		/* One that isn't available says why, and does not open. */
		if (!info.available) {
			assert_int_equal(engine_open(info.name, &cfg, &e), -ENODEV);
			assert_true(info.advice[0] != '\0');
		}
		found |= strcmp(info.name, c->name) == 0 && info.available;
	}
	assert_true(found);
	assert_int_equal(engine_probe(engine_count(), &info), -EINVAL);
	assert_int_equal(engine_open("none", &cfg, &e), -ENOENT);
	assert_int_equal(engine_open(c->name, &many, &e), -EINVAL);
	assert_int_equal(engine_open(c->name, &bad_tlb, &e), -EINVAL);
	assert_string_equal(engine_state_name(ENGINE_STATE_CRASHED), "crashed");
	assert_string_equal(engine_reason_name(ENGINE_REASON_EPT_DENIED), "ept-denied");
	assert_string_equal(engine_field_name(ENGINE_FIELD_GPA), "gpa");
	assert_string_equal(engine_state_name(99), "unknown");
}

const struct contract_case request_cases[] = {
	{"bad_create", bad_create, 0},
	{"bad_files", bad_files, 0},
	{"bad_slots", bad_slots, 0},
	{"file_slot", file_slot, 0},
	{"plain_file", plain_file, 0},
	{"bad_maps", bad_maps, 0},
	{"far_maps", far_maps, 0},
	{"bad_reads", bad_reads, 0},
	{"no_vm", no_vm, 0},
	{"malformed", malformed, 0},
	{"queue_full", queue_full, 0},
	{"table", table, 0},
	{NULL, NULL, 0},
};
