/* SPDX-License-Identifier: MIT */
/* A VM of memfds with one vCPU and a guest in it, and turns of it: see device.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device.h"
#include "say.h"

#define LOAD_GPA 0x100000u
#define TABLES_GPA 0xff0000u
#define BUDGET_TICKS 2000000u
#define COM1 0x3f8u
#define EXIT_PORT 0xf4u

/* --- making ------------------------------------------------------------------------------ */

static uint8_t *memory_file(const char *name, size_t size)
{
	int fd = (int)memfd_create(name, MFD_ALLOW_SEALING);
	void *p = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0)
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	return p == MAP_FAILED ? NULL : p;
}

int machine_add_slot(int vm, uint32_t number, void *memory, uint64_t size)
{
	struct vmxcore_slot s = {.slot = number, .address = (uintptr_t)memory, .size_bytes = size};

	return ioctl(vm, VMXCORE_ADD_SLOT, &s);
}

int machine_change(int vm, struct vmxcore_apply *a, const struct vmxcore_map_op *op)
{
	*a = (struct vmxcore_apply){.operations = (uintptr_t)op, .count = 1};
	return ioctl(vm, VMXCORE_APPLY, a);
}

static int map_ram(struct machine *m)
{
	const struct vmxcore_map_op op = {.kind = VMXCORE_MAP,
					  .size_bytes = RAM_BYTES,
					  .slot = SLOT_RAM,
					  .prot = 7,
					  .memtype = 6};
	struct vmxcore_apply a;

	return machine_change(m->vm, &a, &op);
}

static bool load(struct machine *m, const char *path)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, m->ram + LOAD_GPA, 1 << 20);

	if (fd >= 0)
		close(fd);
	return n > 0;
}

/* 4 GiB of identity in 2 MiB pages: PML4, PDPT and four page directories. */
static void make_tables(struct machine *m)
{
	uint64_t *table = (uint64_t *)(m->ram + TABLES_GPA);

	table[0] = (TABLES_GPA + 0x1000) | 3;
	for (uint64_t i = 0; i < 4; i++)
		table[512 + i] = (TABLES_GPA + 0x2000 + i * 0x1000) | 3;
	for (uint64_t i = 0; i < 4 * 512; i++)
		table[1024 + i] = i << 21 | 0x83;
}

/* As the loader starts them: flat segments; long mode with the tables above. */
static int set_registers(struct machine *m, bool long_mode)
{
	struct vmxcore_set_regs s = {0};
	struct vmxcore_regs *r = &s.regs;

	if (ioctl(m->vcpu, VMXCORE_GET_REGS, r) < 0)
		return -1;
	r->rip = LOAD_GPA;
	r->rflags = 2;
	r->cr0 = 0x11;
	for (int i = 0; i < 6; i++)
		r->seg[i] =
			(struct vmxcore_segment){.sel = 0x10, .limit = UINT32_MAX, .ar = 0xc093};
	r->seg[1] = (struct vmxcore_segment){.sel = 8, .limit = UINT32_MAX, .ar = 0xc09b};
	if (long_mode) {
		make_tables(m);
		r->cr0 = 0x80010033;
		r->cr3 = TABLES_GPA;
		r->cr4 = 0x20;
		r->efer = 0x500;
		r->seg[1].ar = 0xa09b;
		r->gpr[4] = TABLES_GPA;
	}
	return ioctl(m->vcpu, VMXCORE_SET_REGS, &s);
}

void machine_close(struct machine *m)
{
	if (m->vcpu > 0)
		close(m->vcpu);
	if (m->vm > 0)
		close(m->vm);
	if (m->ram)
		munmap(m->ram, RAM_BYTES);
	if (m->spare)
		munmap(m->spare, SPARE_BYTES);
}

bool machine_open(struct machine *m, int dev, const char *image, bool long_mode)
{
	struct vmxcore_create_vm c = {.flags = VMXCORE_VM_VPID | VMXCORE_VM_ACCESSED_DIRTY};
	struct vmxcore_create_vcpu v = {.index = 0};

	*m = (struct machine){.dev = dev};
	m->ram = memory_file("ram", RAM_BYTES);
	m->spare = memory_file("spare", SPARE_BYTES);
	m->vm = ioctl(dev, VMXCORE_CREATE_VM, &c);
	if (m->ram && m->spare && m->vm > 0 &&
	    machine_add_slot(m->vm, SLOT_RAM, m->ram, RAM_BYTES) == 0 &&
	    machine_add_slot(m->vm, SLOT_SPARE, m->spare, SPARE_BYTES) == 0 && map_ram(m) == 0 &&
	    (m->vcpu = ioctl(m->vm, VMXCORE_CREATE_VCPU, &v)) > 0 && load(m, image) &&
	    set_registers(m, long_mode) == 0)
		return true;
	say("device: %s: can't be made: %s", image, strerror(errno));
	machine_close(m);
	return false;
}

/* --- running -------------------------------------------------------------------------------- */

static void print(struct machine *m, char c)
{
	if (c != '\n' && m->line_len < sizeof(m->line) - 1) {
		m->line[m->line_len++] = c;
		return;
	}
	m->line[m->line_len] = '\0';
	m->line_len = 0;
	say("device: guest: %s", m->line);
	m->lines++;
}

/* What an IN reads: the transmitter is always empty. */
uint32_t machine_port_in(uint16_t port)
{
	return port == COM1 + 5 ? 0x60 : 0;
}

static void port_out(struct machine *m, const struct vmxcore_run *r)
{
	if (r->io_port == COM1)
		print(m, (char)r->io_value);
	if (r->io_port != EXIT_PORT)
		return;
	m->ended = true;
	m->status = r->io_value;
}

/* One turn: until its budget is used up, it ends, or something else happens. */
int machine_turn(struct machine *m, struct vmxcore_run *r)
{
	uint32_t complete = 0, value = 0;

	do {
		*r = (struct vmxcore_run){
			.budget_ticks = BUDGET_TICKS, .complete = complete, .io_in_value = value};
		if (ioctl(m->vcpu, VMXCORE_RUN, r) < 0)
			return -errno;
		complete = r->reason == VMXCORE_EXIT_IO;
		if (complete && r->io_in)
			value = machine_port_in(r->io_port);
		else if (complete)
			port_out(m, r);
	} while (complete && !m->ended);
	return 0;
}

void machine_run_to_end(struct machine *m, const char *name)
{
	struct vmxcore_run r;
	int err = 0;

	for (int i = 0; i < 200 && !m->ended && !err; i++)
		err = machine_turn(m, &r);
	say("device: %s ended with status 0x%x, error %d", name, m->status, err);
}

void *machine_runner(void *arg)
{
	struct machine *m = arg;
	struct vmxcore_run r;

	while (!m->ended && machine_turn(m, &r) == 0)
		;
	return NULL;
}
