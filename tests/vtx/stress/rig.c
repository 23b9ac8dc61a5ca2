/* SPDX-License-Identifier: MIT */
/* See rig.h. */
#include "rig.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "say.h"
#include "stats.h"

#define BUDGET_TICKS 3000000u
#define PAGE_BYTES 4096u
#define MEMORY_WAIT_MS 20000

enum { SLOT_RAM, SLOT_PAGES };

extern const uint8_t worker[];
extern const uint32_t worker_bytes;

uint64_t rig_draw(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* --- memory ------------------------------------------------------------------------------- */

static volatile uint32_t *ram_word(struct rig *r, uint32_t gpa)
{
	return (volatile uint32_t *)(r->ram + gpa);
}

static volatile uint32_t *own_word(struct rig *r, unsigned index, uint32_t offset)
{
	return ram_word(r, OWN_GPA(index) + offset);
}

static volatile uint32_t *page_word(struct rig *r, uint32_t number, uint32_t offset)
{
	return (volatile uint32_t *)(r->pages + number % PAGES * PAGE_BYTES + offset);
}

static uint8_t *shared_memory(const char *name, size_t bytes)
{
	int fd = memfd_create(name, MFD_CLOEXEC);
	void *p = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)bytes) == 0)
		p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	return p == MAP_FAILED ? NULL : p;
}

static int add_slot(struct rig *r, uint32_t number, uint8_t *at, uint64_t bytes)
{
	struct vmxcore_slot s = {.slot = number, .address = (uintptr_t)at, .size_bytes = bytes};

	return ioctl(r->vm, VMXCORE_ADD_SLOT, &s);
}

static int apply(struct rig *r, const struct vmxcore_map_op *ops, uint32_t count)
{
	struct vmxcore_apply a = {.operations = (uintptr_t)ops, .count = count};
	int err = ioctl(r->vm, VMXCORE_APPLY, &a);

	r->interrupts += a.change.processors_interrupted;
	return err;
}

static struct vmxcore_map_op map_op(uint32_t slot, uint64_t gpa, uint64_t bytes, uint64_t offset)
{
	return (struct vmxcore_map_op){.kind = VMXCORE_MAP,
				       .gpa = gpa,
				       .size_bytes = bytes,
				       .offset_bytes = offset,
				       .slot = slot,
				       .prot = 7,
				       .memtype = 6};
}

/* 4 MiB pages: identity for the first 8 MiB; a table for the area of its own. */
static void make_tables(struct rig *r, unsigned index)
{
	uint32_t at = OWN_GPA(index);

	*ram_word(r, at + OWN_DIRECTORY) = 0x83;
	*ram_word(r, at + OWN_DIRECTORY + 4) = 0x400083;
	*ram_word(r, at + OWN_DIRECTORY + (OWN_GVA >> 22) * 4) = (at + OWN_TABLE) | 3;
	*ram_word(r, at + OWN_TABLE) = at | 3;
	*own_word(r, index, OWN_INDEX) = index;
}

/* --- life ------------------------------------------------------------------------------------ */

static int open_vcpu(struct rig *r, unsigned index)
{
	struct vmxcore_create_vcpu c = {.index = index};
	struct rig_vcpu *v = &r->vcpus[index];
	struct vmxcore_set_regs s = {0};
	struct vmxcore_regs *regs = &s.regs;

	*v = (struct rig_vcpu){.rig = r, .index = index};
	v->fd = ioctl(r->vm, VMXCORE_CREATE_VCPU, &c);
	if (v->fd < 0 || ioctl(v->fd, VMXCORE_GET_REGS, regs) < 0)
		return -1;
	make_tables(r, index);
	for (unsigned i = 0; i < 6; i++)
		regs->seg[i] =
			(struct vmxcore_segment){.sel = 0x10, .limit = UINT32_MAX, .ar = 0xc093};
	regs->seg[1] = (struct vmxcore_segment){.sel = 8, .limit = UINT32_MAX, .ar = 0xc09b};
	regs->cr0 = 0x80000011;
	regs->cr3 = OWN_GPA(index) + OWN_DIRECTORY;
	regs->cr4 = 0x10; /* PSE */
	regs->rip = CODE_GPA;
	regs->rflags = 0x202;
	regs->gpr[7] = index;
	return ioctl(v->fd, VMXCORE_SET_REGS, &s);
}

static int open_vm(struct rig *r)
{
	struct vmxcore_create_vm c = {.flags = VMXCORE_VM_VPID | VMXCORE_VM_ACCESSED_DIRTY};
	struct vmxcore_map_op ops[2] = {map_op(SLOT_RAM, 0, RAM_BYTES, 0),
					map_op(SLOT_PAGES, PAGE_GPA, PAGE_BYTES, 0)};

	r->ram = shared_memory("ram", RAM_BYTES);
	r->pages = shared_memory("pages", PAGES * PAGE_BYTES);
	r->vm = ioctl(r->dev, VMXCORE_CREATE_VM, &c);
	if (!r->ram || !r->pages || r->vm < 0 || add_slot(r, SLOT_RAM, r->ram, RAM_BYTES) < 0 ||
	    add_slot(r, SLOT_PAGES, r->pages, PAGES * PAGE_BYTES) < 0)
		return -1;
	memcpy(r->ram + CODE_GPA, worker, worker_bytes);
	return apply(r, ops, 2);
}

bool rig_open(struct rig *r, int dev, unsigned vcpus, uint64_t seed)
{
	memset(r, 0, sizeof(*r));
	r->dev = dev;
	r->random = seed | 1;
	if (open_vm(r) < 0)
		goto fail;
	while (r->vcpu_count < vcpus) {
		if (open_vcpu(r, r->vcpu_count) < 0)
			goto fail;
		r->vcpu_count++;
	}
	return true;

fail:
	say("FAILED: a VM can't be made: %s", strerror(errno));
	rig_close(r);
	return false;
}

void rig_close(struct rig *r)
{
	for (unsigned i = 0; i < VCPUS_MAX; i++) {
		if (r->vcpus[i].rig && r->vcpus[i].fd >= 0)
			close(r->vcpus[i].fd);
	}
	if (r->vm > 0)
		close(r->vm);
	if (r->ram)
		munmap(r->ram, RAM_BYTES);
	if (r->pages)
		munmap(r->pages, PAGES * PAGE_BYTES);
}

/* --- vCPU threads ----------------------------------------------------------------------------- */

bool rig_pin(pid_t tid, unsigned long mask)
{
	return syscall(SYS_sched_setaffinity, tid, sizeof(mask), &mask) >= 0;
}

/* A run was refused: false ends the thread. */
static bool run_failed(struct rig_vcpu *v, int error)
{
	if (error == EINTR) {
		v->interrupted++;
	} else if (error == ENODEV) {
		/* This processor is on its way out: another one, then. */
		v->no_device++;
		usleep(1000);
	} else {
		v->error = error;
		return false;
	}
	return true;
}

/* An exit that is this program's: false ends the thread. */
static bool run_ended(struct rig_vcpu *v, const struct vmxcore_run *run)
{
	bool page = run->gpa >= PAGE_GPA && run->gpa < PAGE_GPA + PAGE_BYTES;

	if (run->reason == VMXCORE_EXIT_BUDGET) {
		v->budgets++;
		return true;
	}
	/* In the middle of a change in steps. */
	if (run->reason == VMXCORE_EXIT_EPT_DENIED && page) {
		v->held++;
		sched_yield();
		return true;
	}
	v->ended = run->reason == VMXCORE_EXIT_IO && run->io_port == END_PORT;
	v->unexpected = !v->ended;
	v->last = *run;
	return false;
}

static void *vcpu_thread(void *arg)
{
	struct rig_vcpu *v = arg;
	struct vmxcore_run run;
	bool more;

	__atomic_store_n(&v->tid, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	do {
		run = (struct vmxcore_run){.budget_ticks = BUDGET_TICKS};
		if (ioctl(v->fd, VMXCORE_RUN, &run) < 0)
			more = run_failed(v, errno);
		else
			more = run_ended(v, &run);
	} while (more);
	return NULL;
}

bool rig_start(struct rig *r, const unsigned long *masks)
{
	for (unsigned i = 0; i < r->vcpu_count; i++) {
		struct rig_vcpu *v = &r->vcpus[i];

		if (pthread_create(&v->thread, NULL, vcpu_thread, v) != 0) {
			say("FAILED: no thread for a vCPU");
			return false;
		}
		v->started = true;
		while (__atomic_load_n(&v->tid, __ATOMIC_ACQUIRE) == 0)
			sched_yield();
		if (masks && masks[i])
			rig_pin(v->tid, masks[i]);
	}
	return true;
}

void rig_stop(struct rig *r)
{
	*ram_word(r, STOP_GPA) = 1;
	for (unsigned i = 0; i < r->vcpu_count; i++) {
		if (r->vcpus[i].started)
			pthread_join(r->vcpus[i].thread, NULL);
		r->vcpus[i].started = false;
	}
}

bool rig_goes_on(struct rig *r, uint32_t rounds)
{
	uint32_t start[VCPUS_MAX];
	unsigned there = 0;

	for (unsigned i = 0; i < r->vcpu_count; i++)
		start[i] = *own_word(r, i, OWN_ROUNDS);
	for (unsigned ms = 0; ms < MEMORY_WAIT_MS; ms++) {
		there = 0;
		for (unsigned i = 0; i < r->vcpu_count; i++)
			there += *own_word(r, i, OWN_ROUNDS) - start[i] >= rounds;
		if (there == r->vcpu_count)
			return true;
		usleep(1000);
	}
	say("FAILED: only %u of %u vCPUs go on", there, r->vcpu_count);
	return false;
}

/* --- changes ------------------------------------------------------------------------------------
 */

/* A page that went must not be written any more. */
static void check_writes(struct rig *r, uint32_t number)
{
	for (unsigned i = 0; i < r->vcpu_count; i++)
		r->stale_writes +=
			*page_word(r, number, WRITES_OFFSET + 4 * i) != r->noted[number % PAGES][i];
}

static void note_writes(struct rig *r, uint32_t number)
{
	for (unsigned i = 0; i < r->vcpu_count; i++)
		r->noted[number % PAGES][i] = *page_word(r, number, WRITES_OFFSET + 4 * i);
}

static struct vmxcore_map_op page_op(uint32_t kind, uint32_t prot, uint64_t offset)
{
	struct vmxcore_map_op op = map_op(SLOT_PAGES, PAGE_GPA, PAGE_BYTES, offset);

	op.kind = kind;
	op.prot = prot;
	return op;
}

/* By one remap, or by an unmap and a map in one; or read-only before and after. */
static int exchange(struct rig *r, uint64_t offset)
{
	struct vmxcore_map_op remap = page_op(VMXCORE_REMAP, 0, offset);
	struct vmxcore_map_op two[2] = {page_op(VMXCORE_UNMAP, 0, 0),
					page_op(VMXCORE_MAP, 7, offset)};
	struct vmxcore_map_op shut = page_op(VMXCORE_PROTECT, 1, 0);
	struct vmxcore_map_op open = page_op(VMXCORE_PROTECT, 7, 0);

	switch (rig_draw(&r->random) % 8) {
	case 0:
		return apply(r, two, 2);
	case 1:
		if (apply(r, &shut, 1) < 0 || apply(r, &remap, 1) < 0)
			return -1;
		return apply(r, &open, 1);
	default:
		return apply(r, &remap, 1);
	}
}

bool rig_change(struct rig *r)
{
	uint32_t next = r->number + 1;

	if (next >= PAGES)
		check_writes(r, next);
	*page_word(r, next, 0) = next;
	if (exchange(r, (uint64_t)(next % PAGES) * PAGE_BYTES) < 0) {
		say("FAILED: change %u is refused: %s", next, strerror(errno));
		return false;
	}
	*ram_word(r, BOUND_GPA) = next;
	note_writes(r, r->number);
	r->number = next;
	r->changes++;
	return true;
}

/* --- what came of it -------------------------------------------------------------------------- */

static uint64_t vcpu_stat(struct rig_vcpu *v, unsigned stat)
{
	uint64_t values[STAT_COUNT] = {0};
	struct vmxcore_vcpu_stats s = {.values = (uintptr_t)values, .count = STAT_COUNT};

	return ioctl(v->fd, VMXCORE_VCPU_STATS, &s) < 0 ? 0 : values[stat];
}

uint64_t rig_processor_stat(struct rig *r, unsigned processor, unsigned stat)
{
	uint64_t values[STAT_COUNT] = {0};
	struct vmxcore_stats s = {
		.values = (uintptr_t)values, .count = STAT_COUNT, .processor = processor};

	return ioctl(r->vm, VMXCORE_STATS, &s) < 0 ? 0 : values[stat];
}

void rig_sum(struct rig *r, struct rig_sums *ret)
{
	*ret = (struct rig_sums){0};
	for (unsigned i = 0; i < r->vcpu_count; i++) {
		struct rig_vcpu *v = &r->vcpus[i];

		ret->rounds += *own_word(r, i, OWN_ROUNDS);
		ret->stale_reads += *own_word(r, i, OWN_STALE);
		ret->strange += *own_word(r, i, OWN_STRANGE);
		ret->no_device += v->no_device;
		ret->held += v->held;
		ret->moves += vcpu_stat(v, STAT_VMCS_MIGRATIONS);
		ret->failed += v->error != 0 || v->unexpected;
	}
}

static void say_failed(const char *name, const struct rig_vcpu *v)
{
	const struct vmxcore_run *l = &v->last;

	if (v->error)
		say("%s: FAILED: vCPU %u: a run was refused: %s", name, v->index,
		    strerror(v->error));
	if (v->unexpected)
		say("%s: FAILED: vCPU %u: reason %u, exit 0x%x, error %u, qualification 0x%llx, "
		    "rip 0x%llx, gpa 0x%llx",
		    name, v->index, l->reason, l->exit_reason, l->insn_error,
		    (unsigned long long)l->qualification, (unsigned long long)l->rip,
		    (unsigned long long)l->gpa);
}

bool rig_sound(struct rig *r, const char *name)
{
	struct rig_sums s;

	for (uint32_t n = r->number < PAGES ? 0 : r->number - PAGES + 1; n < r->number; n++)
		check_writes(r, n);
	rig_sum(r, &s);
	for (unsigned i = 0; i < r->vcpu_count; i++) {
		say_failed(name, &r->vcpus[i]);
		if (*own_word(r, i, OWN_STALE))
			say("%s: FAILED: vCPU %u read page %u, which %u had replaced", name, i,
			    *own_word(r, i, OWN_STALE_NUMBER), *own_word(r, i, OWN_STALE_BOUND));
	}
	if (s.strange)
		say("%s: FAILED: a vCPU saw another's memory %llu times", name,
		    (unsigned long long)s.strange);
	if (r->stale_writes)
		say("%s: FAILED: %llu writes into pages that had been replaced", name,
		    (unsigned long long)r->stale_writes);
	return s.stale_reads == 0 && s.strange == 0 && r->stale_writes == 0 && s.failed == 0;
}
