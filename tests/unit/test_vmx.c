// SPDX-License-Identifier: MIT
/*
 * The vmx engine over a device that is a fake: what probing says, what a configuration may
 * ask for, and that whatever fails on the way leaves nothing behind.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <vmxcore/engine.h>

#include "fake_device.h"

#define PATIENCE_MS 60000
#define MIB (UINT64_C(1) << 20)

static const struct fake_device good = {
	.info = {.abi = VMXCORE_ABI,
		 .capabilities = VMXCORE_CAP_EPT_2M | VMXCORE_CAP_EPT_AD | VMXCORE_CAP_VPID,
		 .processors = 4,
		 .max_vcpus_per_vm = 64,
		 .max_slots_per_vm = 1024,
		 .max_operations = 65536,
		 .max_slot_bytes = UINT64_C(1) << 40,
		 .invalidations = 0x3f,
		 .vpid_limit = 65535},
};

/* --- probing ------------------------------------------------------------------------------ */

static struct engine_info probe(void)
{
	struct engine_info info;

	for (size_t i = 0; i < engine_count(); i++) {
		assert_int_equal(engine_probe(i, &info), 0);
		if (strcmp(info.name, "vmx") == 0)
			return info;
	}
	fail_msg("there is no engine vmx");
	return info;
}

struct probe_case {
	const char *what;
	bool no_vmx;
	int open_error, info_error;
	uint32_t abi;  /* 0: this one */
	unsigned mode; /* of the device's file; 0: it can't be asked for */
	const char *reason, *advice;
};

static const struct probe_case probe_cases[] = {
	{"no VT-x", .no_vmx = true, .reason = "no vmx flag", .advice = "enable VT-x"},
	{"no module", .open_error = -ENOENT, .reason = "/dev/vmxcore is missing",
	 .advice = "modprobe vmxcore"},
	{"a node without a module", .open_error = -ENXIO, .reason = "nothing stands behind",
	 .advice = "modprobe vmxcore"},
	{"too many files", .open_error = -EMFILE, .reason = "too many open files",
	 .advice = "LimitNOFILE"},
	{"no permission, no group", .open_error = -EACCES, .mode = 0600,
	 .reason = "user root's and group root's, mode 0600",
	 .advice = "run it as user root, or let"},
	{"no permission, a group", .open_error = -EACCES, .mode = 0660, .reason = "mode 0660",
	 .advice = "member of group root"},
	{"no permission, no look", .open_error = -EPERM, .reason = "may not open /dev/vmxcore",
	 .advice = "permissions"},
	{"another error", .open_error = -ELOOP, .reason = "opening /dev/vmxcore: ", .advice = ""},
	{"a newer module", .abi = 7, .reason = "speaks ABI 7, this daemon ABI 1",
	 .advice = "of one version"},
	{"an older module", .info_error = -ENOTTY, .reason = "does not know this daemon's ABI 1",
	 .advice = "of one version"},
	{"KVM runs", .info_error = -EBUSY, .reason = "in use by another hypervisor",
	 .advice = "stop its VMs"},
	{"switched off", .info_error = -ENODEV, .reason = "the firmware has VT-x switched off",
	 .advice = "firmware's setup"},
	{"an old processor", .info_error = -ENOTSUP, .reason = "lacks a VMX control",
	 .advice = "INVEPT"},
	{"VMXON fails", .info_error = -EIO, .reason = "VMXON failed", .advice = "log"},
	{"shutting down", .info_error = -ESHUTDOWN, .reason = "on its way down", .advice = ""},
	{"something else", .info_error = -EFAULT, .reason = "asking /dev/vmxcore: ", .advice = ""},
};

static void use_case(const struct probe_case *c)
{
	struct fake_device f = good;

	f.no_vmx = c->no_vmx;
	f.open_error = c->open_error;
	f.stat_error = c->mode ? 0 : -EACCES;
	f.stat.st_mode = S_IFCHR | c->mode;
	f.info.abi = c->abi ? c->abi : VMXCORE_ABI;
	f.fail_cmd = VMXCORE_GET_INFO;
	f.fail_error = c->info_error;
	fake_device_use(&f);
}

static void probing_says_why_not(void **state)
{
	const struct engine_config cfg = {0};
	struct engine *e;

	(void)state;
	for (size_t i = 0; i < sizeof(probe_cases) / sizeof(*probe_cases); i++) {
		const struct probe_case *c = &probe_cases[i];
		struct engine_info info;

		use_case(c);
		info = probe();
		if (info.available || !strstr(info.reason, c->reason) ||
		    !strstr(info.advice, c->advice) || (*info.advice && !*c->advice))
			fail_msg("%s: available %u, \"%s\", \"%s\"", c->what, info.available,
				 info.reason, info.advice);
		assert_int_equal(engine_open("vmx", &cfg, &e), -ENODEV);
		assert_int_equal(fake_device_counts().open, 0);
		assert_int_equal(fake_device_counts().misused, 0);
	}
}

static void probing_says_what_there_is(void **state)
{
	struct engine_info info;

	(void)state;
	fake_device_use(&good);
	info = probe();
	assert_int_equal(info.available, 1);
	assert_string_equal(info.reason, "VT-x by /dev/vmxcore");
	assert_string_equal(info.advice, "");
	assert_int_equal(info.capabilities, ENGINE_CAP_EPT_4K | ENGINE_CAP_EPT_2M |
						    ENGINE_CAP_EPT_AD | ENGINE_CAP_VPID);
	assert_int_equal(info.processors, 0);
	assert_int_equal(info.max_vcpus_per_vm, 64);
	assert_true(info.max_memory_bytes >= 16 * MIB);
	assert_string_equal(info.tlb_geometry, "");
	assert_int_equal(fake_device_counts().open, 0);
}

/* --- opening ---------------------------------------------------------------------------------
 */

static const struct {
	const char *what;
	struct engine_config cfg;
	int error;
	uint32_t processors;
} configs[] = {
	{"nothing asked for", {0}, 0, 4},
	{"as the daemon does", {.processors = 2, .vpid_limit = 65535, .tlb = "skylake"}, 0, 2},
	{"soft's own wishes", {.seed = 7, .scatter = 1, .quantum = 1000}, 0, 4},
	{"all processors", {.processors = 4}, 0, 4},
	{"too many processors", {.processors = 5}, -EINVAL, 0},
	{"hooks", {.unsafe_hooks = 1}, -EINVAL, 0},
	{"a TLB", {.tlb = "none"}, -EINVAL, 0},
	{"a limit that is not the module's", {.vpid_limit = 5}, -EINVAL, 0},
};

static void a_configuration_has_to_fit(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(configs) / sizeof(*configs); i++) {
		struct engine_info info;
		struct engine *e = NULL;
		int err;

		fake_device_use(&good);
		err = engine_open("vmx", &configs[i].cfg, &e);
		if (err != configs[i].error)
			fail_msg("%s: %d", configs[i].what, err);
		if (!err) {
			engine_get_info(e, &info);
			assert_int_equal(info.processors, configs[i].processors);
			assert_int_equal(fake_device_counts().open, 1);
			engine_close(e);
		}
		assert_int_equal(fake_device_counts().open, 0);
	}
}

static void a_limit_of_the_module_may_be_named(void **state)
{
	const struct engine_config cfg = {.vpid_limit = 5};
	struct fake_device f = good;
	struct engine *e = NULL;

	(void)state;
	f.info.vpid_limit = 5;
	fake_device_use(&f);
	assert_int_equal(engine_open("vmx", &cfg, &e), 0);
	engine_close(e);
	assert_int_equal(fake_device_counts().open, 0);
}

/* --- requests -------------------------------------------------------------------------------- */

static struct engine *open_good(const struct engine_config *cfg)
{
	static const struct engine_config none;
	struct engine *e = NULL;

	fake_device_use(&good);
	assert_int_equal(engine_open("vmx", cfg ? cfg : &none, &e), 0);
	return e;
}

/* Waits for an event of the type; the others go. */
static struct engine_event await(struct engine *e, enum engine_event_type type)
{
	struct pollfd p = {.fd = engine_event_fd(e), .events = POLLIN};
	struct engine_event ev;

	for (;;) {
		while (engine_next_event(e, &ev) == -EAGAIN)
			if (poll(&p, 1, PATIENCE_MS) != 1)
				fail_msg("no event came");
		if (ev.type == (uint32_t)type)
			return ev;
		engine_event_release(&ev);
	}
}

static struct engine_event call(struct engine *e, const struct engine_request *req, const int *fds,
				size_t fd_count)
{
	struct engine_event ev;

	assert_int_equal(engine_submit(e, req, NULL, 0, fds, fd_count), 0);
	ev = await(e, ENGINE_EVENT_COMPLETION);
	assert_int_equal(ev.op, req->op);
	engine_event_release(&ev);
	return ev;
}

static struct engine_event op(struct engine *e, uint64_t vm, enum engine_op what)
{
	const struct engine_request req = {.op = what, .vm = vm};

	return call(e, &req, NULL, 0);
}

/* With an image, so that it can be started. */
static struct engine_event create(struct engine *e, uint32_t vcpus, uint32_t processor)
{
	struct engine_request req = {.op = ENGINE_VM_CREATE};
	struct engine_event ev;
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "\xf4", 1), 1);
	req.u.create = (struct engine_vm_create){.memory_bytes = 4 * MIB,
						 .vcpus = vcpus,
						 .use_vpid = 1,
						 .image_format = ENGINE_IMAGE_FLAT,
						 .has_image = 1};
	for (uint32_t i = 0; i < vcpus; i++)
		req.u.create.processor[i] = processor;
	ev = call(e, &req, &fd, 1);
	close(fd);
	return ev;
}

static const struct {
	const char *what;
	unsigned long cmd;
	unsigned after;
	int error;
	const char *text;
} failures[] = {
	{"no VM", VMXCORE_CREATE_VM, 0, -ENOMEM, "the kernel is out of memory"},
	{"KVM has VMX", VMXCORE_CREATE_VM, 0, -EBUSY, "in use by another hypervisor"},
	{"KVM has VMX, what to do", VMXCORE_CREATE_VM, 0, -EBUSY, "stop its VMs"},
	{"no VMX any more", VMXCORE_CREATE_VM, 0, -EIO, "VMXON failed"},
	{"no CPUID", VMXCORE_SET_CPUID, 0, -ENOMEM, ""},
	{"no EPTP", VMXCORE_VM_INFO, 0, -EFAULT, ""},
	{"nothing pinned", VMXCORE_ADD_SLOT, 0, -EPERM, "LimitMEMLOCK="},
	{"no vCPU", VMXCORE_CREATE_VCPU, 0, -ENOMEM, ""},
	{"no third vCPU", VMXCORE_CREATE_VCPU, 2, -EMFILE, ""},
	{"no registers", VMXCORE_SET_REGS, 0, -EINVAL, ""},
	{"nothing mapped", VMXCORE_APPLY, 0, -ENOMEM, ""},
};

static void what_fails_leaves_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
		struct engine *e = open_good(NULL);
		struct engine_event ev;

		fake_device_fail(failures[i].cmd, failures[i].error, failures[i].after);
		ev = create(e, 3, ENGINE_ANY_PROCESSOR);
		if (ev.error.code != failures[i].error || !strstr(ev.error.text, failures[i].text))
			fail_msg("%s: %d, \"%s\"", failures[i].what, ev.error.code, ev.error.text);
		if (fake_device_counts().open != 1)
			fail_msg("%s: %u descriptors are left", failures[i].what,
				 fake_device_counts().open - 1);
		/* And the engine goes on. */
		fake_device_fail(0, 0, 0);
		ev = create(e, 3, ENGINE_ANY_PROCESSOR);
		assert_int_equal(ev.error.code, 0);
		assert_int_equal(fake_device_counts().open, 1 + 1 + 3);
		engine_close(e);
		assert_int_equal(fake_device_counts().open, 0);
		assert_int_equal(fake_device_counts().misused, 0);
	}
}

static void a_slot_that_is_not_pinned_is_none(void **state)
{
	struct engine *e = open_good(NULL);
	struct engine_event ev = create(e, 1, ENGINE_ANY_PROCESSOR);
	struct engine_request req = {.op = ENGINE_SLOT_ADD, .vm = ev.vm};
	int fd = memfd_create("slot", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(ftruncate(fd, 4096), 0);
	req.u.slot_add =
		(struct engine_slot_add){.size_bytes = 4096, .slot = 7, .kind = ENGINE_SLOT_FILE};
	fake_device_fail(VMXCORE_ADD_SLOT, -EFAULT, 0);
	ev = call(e, &req, &fd, 1);
	assert_int_equal(ev.error.code, -EOPNOTSUPP);
	assert_non_null(strstr(ev.error.text, "memfd"));
	/* Its number is free again. */
	fake_device_fail(0, 0, 0);
	ev = call(e, &req, &fd, 1);
	assert_int_equal(ev.error.code, 0);
	req = (struct engine_request){.op = ENGINE_SLOT_REMOVE, .vm = req.vm};
	req.u.slot_remove.slot = 7;
	ev = call(e, &req, NULL, 0);
	assert_int_equal(ev.error.code, 0);
	assert_int_equal(fake_device_counts().removed_slots, 1);
	close(fd);
	engine_close(e);
	assert_int_equal(fake_device_counts().open, 0);
}

/* --- running ---------------------------------------------------------------------------------- */

static void a_pause_takes_it_out(void **state)
{
	struct engine *e = open_good(NULL);
	struct engine_event ev = create(e, 2, ENGINE_ANY_PROCESSOR);
	uint64_t vm = ev.vm;

	(void)state;
	for (int i = 0; i < 20; i++) {
		unsigned runs = fake_device_counts().runs;

		ev = op(e, vm, i ? ENGINE_VM_RESUME : ENGINE_VM_START);
		assert_int_equal(ev.error.code, 0);
		assert_int_equal(ev.state.state, ENGINE_STATE_RUNNING);
		/* vCPU 0 alone: the others wait for a start-up IPI. */
		fake_device_await_runs(runs + 1);
		ev = op(e, vm, ENGINE_VM_PAUSE);
		assert_int_equal(ev.error.code, 0);
	}
	ev = op(e, vm, ENGINE_VM_RESUME);
	assert_int_equal(ev.error.code, 0);
	/* It runs when the engine goes. */
	engine_close(e);
	assert_int_equal(fake_device_counts().open, 0);
	assert_int_equal(fake_device_counts().misused, 0);
	assert_true(fake_device_counts().kicks > 0);
}

static struct engine_state_info crash(struct engine *e, uint64_t vm)
{
	struct engine_event ev = op(e, vm, ENGINE_VM_START);

	assert_int_equal(ev.error.code, 0);
	while (ev.state.state != ENGINE_STATE_CRASHED)
		ev = await(e, ENGINE_EVENT_STATE);
	return ev.state;
}

/* Where it may run, what VMXCORE_RUN says, and what comes of it. */
static const struct {
	const char *what;
	uint32_t processor;
	int error;
	uint32_t absent_from;
	const char *report;
	unsigned binds;
	uint32_t bind[4];
} lost[] = {
	{"floating",
	 ENGINE_ANY_PROCESSOR,
	 -ENODEV,
	 0,
	 "no processor that it may run on",
	 4,
	 {0, 1, 2, 3}},
	{"pinned", 2, -ENODEV, 0, "its processor 2 is not in VMX operation", 1, {2}},
	{"pinned to one that is gone", 3, 0, 3, "its processor 3 is not in VMX operation", 1, {3}},
	{"a defect", ENGINE_ANY_PROCESSOR, -EFAULT, 0, "Bad address (error 14)", 0, {0}},
};

static void one_that_cannot_run_ends_its_vm(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(lost) / sizeof(*lost); i++) {
		struct fake_device f = good;
		struct engine *e = NULL;
		struct engine_state_info st;
		struct fake_counts counts;
		uint64_t vm;

		f.absent_from = lost[i].absent_from;
		fake_device_use(&f);
		assert_int_equal(engine_open("vmx", &(struct engine_config){0}, &e), 0);
		vm = create(e, 1, lost[i].processor).vm;
		fake_device_fail(VMXCORE_RUN, lost[i].error, 0);
		st = crash(e, vm);
		if (st.reason != ENGINE_REASON_INTERNAL || !strstr(st.report, lost[i].report))
			fail_msg("%s: reason %u, \"%s\"", lost[i].what, st.reason, st.report);
		counts = fake_device_counts();
		if (counts.binds != lost[i].binds ||
		    memcmp(counts.bind, lost[i].bind, counts.binds * sizeof(*counts.bind)) != 0)
			fail_msg("%s: bound %u times, first to %u", lost[i].what, counts.binds,
				 counts.bind[0]);
		/* It can be tried again. */
		st = crash(e, vm);
		assert_int_equal(st.reason, ENGINE_REASON_INTERNAL);
		engine_close(e);
		assert_int_equal(fake_device_counts().open, 0);
		assert_int_equal(fake_device_counts().misused, 0);
	}
}

static void with_fewer_processors_each_stays_at_home(void **state)
{
	const struct engine_config two = {.processors = 2};
	struct engine *e = open_good(&two);
	uint64_t vm = create(e, 1, ENGINE_ANY_PROCESSOR).vm;
	struct engine_state_info st;

	(void)state;
	fake_device_fail(VMXCORE_RUN, -ENODEV, 0);
	st = crash(e, vm);
	assert_non_null(strstr(st.report, "its processor 0 is not in VMX operation"));
	assert_int_equal(fake_device_counts().binds, 1);
	engine_close(e);
}

/* --- IN and OUT --------------------------------------------------------------------------------
 */

#define COM1 0x3f8u
#define EXIT_PORT 0xf4u

/* The next run completes it: an IN gets what the port says. */
static void a_run_completes_the_last(void **state)
{
	static const struct vmxcore_run exits[] = {
		{.reason = VMXCORE_EXIT_IO, .io_port = COM1, .io_size = 1, .io_value = 'h'},
		{.reason = VMXCORE_EXIT_IO, .io_port = COM1 + 5, .io_size = 1, .io_in = 1},
	};
	struct engine *e = open_good(NULL);
	uint64_t vm = create(e, 1, ENGINE_ANY_PROCESSOR).vm;
	unsigned runs = fake_device_counts().runs;
	struct engine_event ev;

	(void)state;
	fake_device_exits(exits, 2);
	assert_int_equal(op(e, vm, ENGINE_VM_START).error.code, 0);
	fake_device_await_runs(runs + 3);
	assert_int_equal(fake_device_counts().completed_runs, 2);
	assert_int_equal(fake_device_counts().in_value, 0x60); /* the transmitter is empty */
	ev = op(e, vm, ENGINE_VM_PAUSE);
	assert_int_equal(ev.state.console_bytes, 1);
	assert_int_equal(op(e, vm, ENGINE_VM_INFO).error.code, 0);
	assert_int_equal(fake_device_counts().completions, 0);
	engine_close(e);
	assert_int_equal(fake_device_counts().misused, 0);
}

/* Where no run follows, who looks at the vCPU finds it after the instruction, once. */
static void a_look_completes_the_last(void **state)
{
	static const struct vmxcore_run end = {
		.reason = VMXCORE_EXIT_IO, .io_port = EXIT_PORT, .io_size = 1, .io_value = 5};
	struct engine *e = open_good(NULL);
	uint64_t vm = create(e, 1, ENGINE_ANY_PROCESSOR).vm;
	struct engine_event ev;

	(void)state;
	fake_device_exits(&end, 1);
	ev = op(e, vm, ENGINE_VM_START);
	while (ev.state.state != ENGINE_STATE_SHUTOFF)
		ev = await(e, ENGINE_EVENT_STATE);
	assert_int_equal(ev.state.exit_status, 5);
	assert_int_equal(fake_device_counts().completions, 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(op(e, vm, ENGINE_VM_INFO).error.code, 0);
	assert_int_equal(fake_device_counts().completions, 1);
	assert_int_equal(fake_device_counts().completed_runs, 0);
	engine_close(e);
}

/* --- holding -----------------------------------------------------------------------------------
 */

/* What is to be done to one that runs may come after the VM's end, which it brought about. */
static void what_is_held_is_looked_at_again(void **state)
{
	struct engine *e = open_good(NULL);
	struct engine_request req = {.op = ENGINE_VCPU_INJECT, .vm = create(e, 1, 0).vm};
	unsigned runs = fake_device_counts().runs;
	struct engine_event ev;

	(void)state;
	req.u.inject = (struct engine_inject){.kind = ENGINE_EVENT_INTERRUPT, .vector = 32};
	fake_device_exit_at_kick(VMXCORE_EXIT_TRIPLE_FAULT);
	assert_int_equal(op(e, req.vm, ENGINE_VM_START).error.code, 0);
	fake_device_await_runs(runs + 1);
	ev = call(e, &req, NULL, 0);
	assert_int_equal(ev.error.code, -EBUSY);
	assert_int_equal(ev.error.field, ENGINE_FIELD_STATE);
	assert_non_null(strstr(ev.error.text, "crashed"));
	ev = op(e, req.vm, ENGINE_VM_INFO);
	assert_int_equal(ev.error.code, 0);
	assert_int_equal(ev.state.state, ENGINE_STATE_CRASHED);
	assert_int_equal(ev.state.reason, ENGINE_REASON_TRIPLE_FAULT);
	/* Nobody counts its instructions. */
	assert_true(ev.state.guest_time == UINT64_MAX);
	engine_close(e);
	assert_int_equal(fake_device_counts().misused, 0);
}

/* --- invalidations by hand ----------------------------------------------------------------------
 */

static const struct {
	const char *what;
	uint32_t processor;
	int fails, error;
	const char *text;
	size_t executed;
} by_hand[] = {
	{"where it runs", ENGINE_ANY_PROCESSOR, 0, 0, "", 1},
	{"there", 1, 0, 0, "", 1},
	{"nowhere: its processor is offline", ENGINE_ANY_PROCESSOR, -ENODEV, 0, "", 0},
	{"on one that is offline", 1, -ENODEV, -ENODATA, "processor 1 is offline", 0},
	{"on none", 4, 0, -EINVAL, "the last is 3", 0},
	{"refused", ENGINE_ANY_PROCESSOR, -EIO, -EIO, "", 0},
};

static void an_offline_processor_holds_nothing(void **state)
{
	struct engine *e = open_good(NULL);
	struct engine_request req = {.op = ENGINE_INVALIDATE, .vm = create(e, 1, 0).vm};

	(void)state;
	for (size_t i = 0; i < sizeof(by_hand) / sizeof(*by_hand); i++) {
		struct engine_event ev;

		req.u.invalidate = (struct engine_invalidate_req){
			.kind = ENGINE_INVEPT_SINGLE, .processor = by_hand[i].processor};
		fake_device_fail(VMXCORE_INVALIDATE, by_hand[i].fails, 0);
		assert_int_equal(engine_submit(e, &req, NULL, 0, NULL, 0), 0);
		ev = await(e, ENGINE_EVENT_COMPLETION);
		if (ev.error.code != by_hand[i].error || !strstr(ev.error.text, by_hand[i].text) ||
		    ev.payload_bytes != by_hand[i].executed * sizeof(struct engine_invalidated))
			fail_msg("%s: %d, \"%s\", %lu bytes", by_hand[i].what, ev.error.code,
				 ev.error.text, (unsigned long)ev.payload_bytes);
		engine_event_release(&ev);
	}
	engine_close(e);
}

/* --- notices ---------------------------------------------------------------------------------- */

/* Runs through the generations; returns those that were told, up to the event that ends it. */
static size_t told(struct engine *e, const uint64_t *generations, unsigned count, uint64_t *ret)
{
	uint64_t vm = create(e, 1, ENGINE_ANY_PROCESSOR).vm;
	unsigned runs = fake_device_counts().runs;
	struct engine_event ev;
	size_t n = 0;

	fake_device_generations(generations);
	assert_int_equal(op(e, vm, ENGINE_VM_START).error.code, 0);
	fake_device_await_runs(runs + count + 1);
	while (engine_next_event(e, &ev) == 0) {
		if (ev.type == ENGINE_EVENT_NOTICE)
			ret[n++] = ev.notice.generation;
		assert_true(n <= count);
		engine_event_release(&ev);
	}
	assert_int_equal(op(e, vm, ENGINE_VM_STOP).error.code, 0);
	assert_int_equal(op(e, vm, ENGINE_VM_DELETE).error.code, 0);
	return n;
}

/* The one that is met first is no news; after the last VM they may count from 1 again. */
static void generations_are_told(void **state)
{
	static const struct {
		uint64_t generations[6];
		unsigned count;
		uint64_t told; /* the latest; 0: none */
	} cases[] = {
		{{7, 7, 7}, 3, 0},    {{1, 1, 2}, 3, 2}, {{1}, 1, 0},
		{{3, 4, 4, 5}, 4, 5}, {{5, 5}, 2, 0},
	};
	struct engine *e = open_good(NULL);
	uint64_t seen[6];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		size_t n = told(e, cases[i].generations, cases[i].count, seen);

		/* Of several that wait, there is the latest only. */
		assert_int_equal(n, cases[i].told != 0);
		if (n)
			assert_int_equal(seen[n - 1], cases[i].told);
	}
	engine_close(e);
	assert_int_equal(fake_device_counts().open, 0);
}

/* --- the processor's own counters ------------------------------------------------------------ */

/* -1: null. */
static int64_t counter(struct engine *e, uint64_t vm, const char *name)
{
	const struct engine_request req = {.op = ENGINE_STATS, .vm = vm};
	const struct engine_stat *s;
	struct engine_event ev;
	int64_t value = -2;

	assert_int_equal(engine_submit(e, &req, NULL, 0, NULL, 0), 0);
	ev = await(e, ENGINE_EVENT_COMPLETION);
	assert_int_equal(ev.error.code, 0);
	s = ev.payload;
	for (size_t i = 0; i < ev.payload_bytes / sizeof(*s); i++)
		if (strcmp(s[i].name, name) == 0)
			value = s[i].observable ? (int64_t)s[i].value : -1;
	engine_event_release(&ev);
	if (value == -2)
		fail_msg("there is no counter %s", name);
	return value;
}

/* They go on over starts, which make the module's vCPUs anew; what can't be seen is null. */
static void events_are_counted_where_they_can_be(void **state)
{
	struct engine *e = open_good(NULL);
	uint64_t vm = create(e, 1, ENGINE_ANY_PROCESSOR).vm;

	(void)state;
	assert_int_equal(counter(e, vm, "hw.dtlb_load_misses"), -1);
	assert_int_equal(counter(e, vm, "hw.ept_walk_cycles"), -1);
	fake_device_events(VMXCORE_EVENT_DTLB_LOAD_MISSES);
	assert_int_equal(counter(e, vm, "hw.dtlb_load_misses"), 100);
	assert_int_equal(counter(e, vm, "hw.ept_walk_cycles"), -1);
	for (int64_t starts = 1; starts <= 3; starts++) {
		assert_int_equal(op(e, vm, ENGINE_VM_START).error.code, 0);
		assert_int_equal(counter(e, vm, "hw.dtlb_load_misses"), 100 * starts);
		assert_int_equal(op(e, vm, ENGINE_VM_STOP).error.code, 0);
	}
	fake_device_events(0);
	engine_close(e);
	assert_int_equal(fake_device_counts().misused, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(probing_says_why_not),
		cmocka_unit_test(probing_says_what_there_is),
		cmocka_unit_test(a_configuration_has_to_fit),
		cmocka_unit_test(a_limit_of_the_module_may_be_named),
		cmocka_unit_test(what_fails_leaves_nothing),
		cmocka_unit_test(a_slot_that_is_not_pinned_is_none),
		cmocka_unit_test(a_pause_takes_it_out),
		cmocka_unit_test(one_that_cannot_run_ends_its_vm),
		cmocka_unit_test(with_fewer_processors_each_stays_at_home),
		cmocka_unit_test(a_run_completes_the_last),
		cmocka_unit_test(a_look_completes_the_last),
		cmocka_unit_test(what_is_held_is_looked_at_again),
		cmocka_unit_test(an_offline_processor_holds_nothing),
		cmocka_unit_test(generations_are_told),
		cmocka_unit_test(events_are_counted_where_they_can_be),
	};

	return cmocka_run_group_tests_name("vmx", tests, NULL, NULL);
}
