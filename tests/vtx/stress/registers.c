/* SPDX-License-Identifier: MIT */
/*
 * Registers at random, most of them nearly right: whatever the device accepts, the processor
 * enters with (but for page-directory-pointer entries, which only the entry looks at), and
 * what the device then shows of it, it accepts again.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include "guest_regs.h"
#include "rig.h"
#include "say.h"
#include "stress.h"

#define TRIES 3000u
#define BUDGET_TICKS 3000u
#define PDPTES 2u /* the exit qualification of such a failure */

/* Where a change is likely to matter, and how wide it is. */
static const struct {
	uint16_t offset, bytes;
} places[] = {
#define PLACE(member)                                                                             \
	{                                                                                         \
		offsetof(struct vmxcore_regs, member), sizeof(((struct vmxcore_regs *)0)->member) \
	}
	PLACE(rip),
	PLACE(rflags),
	PLACE(cr0),
	PLACE(cr3),
	PLACE(cr4),
	PLACE(efer),
	PLACE(dr6),
	PLACE(dr7),
	PLACE(pat),
	PLACE(fmask),
	PLACE(kernel_gs_base),
	PLACE(sysenter_cs),
	PLACE(sysenter_esp),
	PLACE(gdtr_base),
	PLACE(gdtr_limit),
	PLACE(idtr_limit),
	PLACE(interruptibility),
	PLACE(activity),
	PLACE(rflags),
	PLACE(cr0),
	PLACE(cr4),
	PLACE(efer),
#undef PLACE
};

/* A bit flipped, or a value that has a meaning somewhere. */
static uint64_t draw_value(uint64_t old, uint64_t *random)
{
	static const uint64_t values[] = {
		0,
		1,
		2,
		0x202,
		0x302,
		0x20202,
		0x10,
		0x11,
		0x33,
		0x80000011,
		0x20,
		0xb0,
		0x500,
		0x100,
		0xd00,
		0x7000,
		0x8000,
		0xffff,
		0xffffffff,
		0x100000000,
		0x93,
		0x9b,
		0xf3,
		0xc093,
		0xc09b,
		0xa09b,
		0x10000,
		0x8b,
		0x83,
		UINT64_C(0xffff800000000000),
		UINT64_C(0x0000800000000000),
		UINT64_C(0x0007040600070406),
	};

	if (rig_draw(random) % 2)
		return old ^ UINT64_C(1) << rig_draw(random) % 64;
	return values[rig_draw(random) % (sizeof(values) / sizeof(values[0]))];
}

static void change_segment(struct vmxcore_segment *s, uint64_t *random)
{
	switch (rig_draw(random) % 4) {
	case 0:
		s->base = draw_value(s->base, random);
		break;
	case 1:
		s->limit = (uint32_t)draw_value(s->limit, random);
		break;
	case 2:
		s->sel = (uint16_t)draw_value(s->sel, random);
		break;
	default:
		s->ar = (uint32_t)draw_value(s->ar, random);
	}
}

static void change_something(struct vmxcore_regs *r, uint64_t *random)
{
	const unsigned count = sizeof(places) / sizeof(places[0]);
	unsigned i = (unsigned)(rig_draw(random) % (count + 12));
	uint64_t value = 0;
	char *at;

	if (i >= count) {
		change_segment(&r->seg[i % 8], random);
		return;
	}
	at = (char *)r + places[i].offset;
	memcpy(&value, at, places[i].bytes);
	value = draw_value(value, random);
	memcpy(at, &value, places[i].bytes);
}

/*
 * The emulator asks for one thing that the manual doesn't ("Checks on Guest Segment
 * Registers"): that the RPL of CS be its DPL.
 */
static void suit_emulator(struct vmxcore_regs *r)
{
	struct vmxcore_segment *cs = &r->seg[1];

	if (!(r->rflags & 1u << 17))
		cs->sel = (uint16_t)((cs->sel & ~3u) | (cs->ar >> 5 & 3));
}

static bool is_pae(const struct vmxcore_regs *r)
{
	return r->cr0 >> 31 & 1 && r->cr4 & 0x20 && !(r->efer & 0x400);
}

struct tally {
	unsigned accepted, entered, malformed, wrong;
};

static void say_wrong(struct tally *t, const char *what, const struct vmxcore_regs *r,
		      const struct vmxcore_run *run)
{
	t->wrong++;
	say("registers: FAILED: %s: reason %u, exit 0x%x, error %u, qualification %llu", what,
	    run->reason, run->exit_reason, run->insn_error, (unsigned long long)run->qualification);
	say("registers: cr0 0x%llx cr3 0x%llx cr4 0x%llx efer 0x%llx rflags 0x%llx rip 0x%llx "
	    "dr7 0x%llx int 0x%x act %u",
	    (unsigned long long)r->cr0, (unsigned long long)r->cr3, (unsigned long long)r->cr4,
	    (unsigned long long)r->efer, (unsigned long long)r->rflags, (unsigned long long)r->rip,
	    (unsigned long long)r->dr7, r->interruptibility, r->activity);
	for (unsigned i = 0; i < 8; i++)
		say("registers: segment %u: 0x%x 0x%llx 0x%x 0x%x", i, r->seg[i].sel,
		    (unsigned long long)r->seg[i].base, r->seg[i].limit, r->seg[i].ar);
}

/* What the device shows, it takes. */
static void check_shown(struct guest *g, const struct vmxcore_run *run, struct tally *t)
{
	struct vmxcore_set_regs s = {0};

	if (ioctl(g->vcpu, VMXCORE_GET_REGS, &s.regs) == 0 &&
	    ioctl(g->vcpu, VMXCORE_SET_REGS, &s) == 0)
		return;
	say_wrong(t, s.field[0] ? s.field : "registers as shown are refused", &s.regs, run);
}

static void try(struct guest *g, const struct vmxcore_regs *start, uint64_t *random,
		struct tally *t)
{
	struct vmxcore_run run = {.budget_ticks = BUDGET_TICKS};
	struct vmxcore_set_regs s = {.regs = *start};

	guest_set_mode(&s.regs, (enum guest_mode)(rig_draw(random) % MODE_COUNT));
	for (uint64_t n = 1 + rig_draw(random) % 4; n > 0; n--)
		change_something(&s.regs, random);
	suit_emulator(&s.regs);
	if (ioctl(g->vcpu, VMXCORE_SET_REGS, &s) < 0)
		return;
	t->accepted++;
	if (ioctl(g->vcpu, VMXCORE_RUN, &run) < 0) {
		if (errno != EINTR)
			say_wrong(t, strerror(errno), &s.regs, &run);
	} else if (run.reason != VMXCORE_EXIT_ENTRY_FAILED) {
		t->entered++;
		check_shown(g, &run, t);
	} else if (is_pae(&s.regs) && run.exit_reason == 0x80000021 &&
		   run.qualification == PDPTES) {
		t->malformed++;
	} else {
		say_wrong(t, "accepted, and not entered with", &s.regs, &run);
	}
}

bool stress_registers(int dev, uint64_t seed)
{
	struct vmxcore_regs start;
	struct tally t = {0};
	struct guest g;

	seed |= 1;
	if (!guest_open(&g, dev))
		return false;
	if (ioctl(g.vcpu, VMXCORE_GET_REGS, &start) < 0)
		t.wrong++;
	for (unsigned i = 0; i < TRIES && t.wrong < 5; i++)
		try(&g, &start, &seed, &t);
	say("registers: of %u at random more than a tenth accepted: %s; accepted and refused by VM "
	    "entry %u",
	    TRIES, t.accepted > TRIES / 10 ? "yes" : "no", t.wrong);
	say("registers: %u accepted, %u entered with, %u malformed PDPTEs", t.accepted, t.entered,
	    t.malformed);
	guest_close(&g);
	return t.wrong == 0 && t.accepted > TRIES / 10;
}
