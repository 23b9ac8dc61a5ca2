/* SPDX-License-Identifier: MIT */
/*
 * Guest state that VM entry would refuse is refused when it is set, by the field's name, and
 * nothing changes; so are events. What only an entry can find out is told by it.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include "guest_regs.h"
#include "layout.h"
#include "say.h"
#include "stress.h"

#define BUDGET_TICKS 20000u
#define NOT_CANONICAL UINT64_C(0x0001000000000000)
#define BEYOND_32 (UINT64_C(1) << 32)

/* --- registers ------------------------------------------------------------------------------ */

struct broken {
	enum guest_mode mode;
	uint16_t offset, bytes;
	uint64_t value;
	const char *field;
};

#define REG(mode, member, value, field)                                          \
	{                                                                        \
		MODE_##mode, offsetof(struct vmxcore_regs, member),              \
			sizeof(((struct vmxcore_regs *)0)->member), value, field \
	}

enum { ES, CS, SS, DS, FS, GS, LDTR, TR };

static const struct broken rows[] = {
	REG(PROTECTED, cr0, 0x80000010, "cr0"), /* PG without PE */
	REG(PROTECTED, cr0, BEYOND_32 | 0x11, "cr0"),
	REG(PROTECTED, efer, 0x400, "efer"), /* LMA without LME */
	REG(PROTECTED, efer, 0x2, "efer"),
	REG(LONG, efer, 0x100, "efer"), /* LME and PG without LMA */
	REG(PROTECTED, cr4, 0x80000000, "cr4"),
	REG(PROTECTED, cr4, 0x20000, "cr4"), /* PCIDE outside IA-32e mode */
	REG(PROTECTED, cr4, 0x2000, "cr4"),  /* VMXE */
	REG(LONG, cr4, 0, "cr4"),	     /* no PAE in IA-32e mode */
	REG(LONG, cr3, UINT64_C(1) << 60, "cr3"),
	REG(PROTECTED, dr7, BEYOND_32, "dr7"),
	REG(PROTECTED, dr6, BEYOND_32, "dr6"),
	REG(PROTECTED, pat, 0x02, "pat"),
	REG(PROTECTED, pat, UINT64_C(0x0800000000000000), "pat"),
	REG(PROTECTED, sysenter_cs, BEYOND_32, "sysenter_cs"),
	REG(PROTECTED, sysenter_esp, NOT_CANONICAL, "sysenter_esp"),
	REG(PROTECTED, sysenter_eip, NOT_CANONICAL, "sysenter_eip"),
	REG(PROTECTED, lstar, NOT_CANONICAL, "lstar"),
	REG(PROTECTED, cstar, NOT_CANONICAL, "cstar"),
	REG(PROTECTED, fmask, BEYOND_32, "fmask"),
	REG(PROTECTED, kernel_gs_base, NOT_CANONICAL, "kernel_gs_base"),
	REG(PROTECTED, tsc_aux, BEYOND_32, "tsc_aux"),
	REG(PROTECTED, seg[TR].sel, 4, "tr.sel"), /* in the LDT */
	REG(PROTECTED, seg[LDTR].sel, 4, "ldtr.sel"),
	REG(PROTECTED, seg[TR].base, NOT_CANONICAL, "tr.base"),
	REG(PROTECTED, seg[FS].base, NOT_CANONICAL, "fs.base"),
	REG(LONG, seg[GS].base, NOT_CANONICAL, "gs.base"),
	REG(PROTECTED, seg[LDTR].base, NOT_CANONICAL, "ldtr.base"),
	REG(PROTECTED, seg[CS].base, BEYOND_32, "cs.base"),
	REG(PROTECTED, seg[SS].base, BEYOND_32, "ss.base"),
	REG(LONG, seg[DS].base, BEYOND_32, "ds.base"),
	REG(PROTECTED, seg[ES].base, BEYOND_32, "es.base"),
	REG(VIRTUAL_8086, seg[CS].base, 0x10, "cs.base"), /* not the selector's */
	REG(VIRTUAL_8086, seg[GS].sel, 1, "gs.base"),
	REG(VIRTUAL_8086, seg[CS].limit, 0xfffe, "cs.limit"),
	REG(VIRTUAL_8086, seg[SS].limit, 0x1ffff, "ss.limit"),
	REG(VIRTUAL_8086, seg[DS].limit, 0, "ds.limit"),
	REG(VIRTUAL_8086, seg[ES].limit, 0, "es.limit"),
	REG(VIRTUAL_8086, seg[FS].limit, 0, "fs.limit"),
	REG(VIRTUAL_8086, seg[GS].limit, 0, "gs.limit"),
	REG(VIRTUAL_8086, seg[SS].ar, 0x93, "ss.ar"),
	REG(PROTECTED, seg[CS].ar, 0xc01b, "cs.ar"),  /* not present */
	REG(PROTECTED, seg[CS].ar, 0xc09a, "cs.ar"),  /* not accessed */
	REG(PROTECTED, seg[CS].ar, 0x1c09b, "cs.ar"), /* unusable */
	REG(PROTECTED, seg[CS].ar, 0x409b, "cs.ar"),  /* its limit needs G */
	REG(PROTECTED, seg[CS].limit, 0xffff0, "cs.ar"),
	REG(LONG, seg[CS].ar, 0xe09b, "cs.ar"), /* L and D */
	REG(PROTECTED, seg[SS].ar, 0xc091, "ss.ar"),
	REG(PROTECTED, seg[DS].ar, 0xc083, "ds.ar"), /* a system segment */
	REG(PROTECTED, seg[ES].ar, 0xc092, "es.ar"),
	REG(PROTECTED, seg[FS].ar, 0xc193, "fs.ar"), /* a reserved bit */
	REG(PROTECTED, seg[GS].ar, 0xc099, "gs.ar"), /* execute-only */
	REG(PROTECTED, seg[TR].ar, 0x89, "tr.ar"),   /* not busy */
	REG(PROTECTED, seg[TR].ar, 0x1008b, "tr.ar"),
	REG(LONG, seg[TR].ar, 0x83, "tr.ar"), /* 16-bit */
	REG(PROTECTED, seg[LDTR].ar, 0x8b, "ldtr.ar"),
	REG(PROTECTED, gdtr_base, NOT_CANONICAL, "gdtr_base"),
	REG(PROTECTED, idtr_base, NOT_CANONICAL, "idtr_base"),
	REG(PROTECTED, gdtr_limit, 0x10000, "gdtr_limit"),
	REG(PROTECTED, idtr_limit, 0x10000, "idtr_limit"),
	REG(PROTECTED, rip, BEYOND_32, "rip"),
	REG(LONG, rip, NOT_CANONICAL, "rip"),
	REG(PROTECTED, rflags, 0, "rflags"),
	REG(PROTECTED, rflags, 0xa, "rflags"),
	REG(LONG, rflags, 0x20002, "rflags"), /* VM in IA-32e mode */
	REG(PROTECTED, activity, 4, "activity"),
	REG(VIRTUAL_8086, activity, 1, "activity"), /* HLT is for privilege level 0 */
	REG(PROTECTED, interruptibility, 3, "interruptibility"),
	REG(PROTECTED, interruptibility, 0x20, "interruptibility"),
};

static bool refused(struct guest *g, const struct broken *b)
{
	struct vmxcore_set_regs good = {0}, bad;
	struct vmxcore_regs after;

	if (ioctl(g->vcpu, VMXCORE_GET_REGS, &good.regs) < 0)
		return false;
	guest_set_mode(&good.regs, b->mode);
	if (ioctl(g->vcpu, VMXCORE_SET_REGS, &good) < 0) {
		say("fields: FAILED: mode %u is refused: %s", b->mode, good.field);
		return false;
	}
	bad = good;
	memcpy((char *)&bad.regs + b->offset, &b->value, b->bytes);
	if (ioctl(g->vcpu, VMXCORE_SET_REGS, &bad) == 0 || errno != EINVAL ||
	    strcmp(bad.field, b->field) != 0) {
		say("fields: FAILED: %s 0x%llx in mode %u: \"%s\"", b->field,
		    (unsigned long long)b->value, b->mode, bad.field);
		return false;
	}
	if (ioctl(g->vcpu, VMXCORE_GET_REGS, &after) == 0 &&
	    memcmp(&after, &good.regs, sizeof(after)) == 0)
		return true;
	say("fields: FAILED: %s was refused and something changed", b->field);
	return false;
}

/* --- events -------------------------------------------------------------------------------- */

#define VALID 0x80000000u
#define ERROR_CODE 0x800u
#define TYPE(n) ((n) << 8)

static const struct vmxcore_event bad_events[] = {
	{.info = TYPE(0u) | 32},	 /* not valid */
	{.info = VALID | 1u << 12 | 32}, /* reserved bits */
	{.info = VALID | 1u << 30 | 32},
	{.info = VALID | TYPE(1u) | 32},	      /* a type that is none */
	{.info = VALID | TYPE(7u)},		      /* other events: MTF, which core has not */
	{.info = VALID | TYPE(2u) | 3},		      /* an NMI has vector 2 */
	{.info = VALID | TYPE(3u) | 32},	      /* an exception's are below 32 */
	{.info = VALID | TYPE(3u) | 13},	      /* #GP has an error code */
	{.info = VALID | TYPE(3u) | ERROR_CODE | 6},  /* #UD has none */
	{.info = VALID | TYPE(0u) | ERROR_CODE | 32}, /* nor has an interrupt */
	{.info = VALID | TYPE(3u) | ERROR_CODE | 13, .error_code = 0x8000},
	{.info = VALID | TYPE(4u) | 0x80, .insn_length = 16},
	{.info = VALID | TYPE(5u) | 3, .insn_length = 1},  /* INT1 is vector 1 */
	{.info = VALID | TYPE(6u) | 14, .insn_length = 1}, /* INT3 and INTO */
	{.info = VALID | 32, .pad = 1},
};

static unsigned events_refused(struct guest *g)
{
	unsigned n = 0;

	for (unsigned i = 0; i < sizeof(bad_events) / sizeof(bad_events[0]); i++) {
		struct vmxcore_event e = bad_events[i];

		if (ioctl(g->vcpu, VMXCORE_INJECT, &e) == 0 || errno != EINVAL)
			say("fields: FAILED: event %u (0x%x) is accepted", i, e.info);
		else
			n++;
	}
	return n;
}

/* --- entries that fail -------------------------------------------------------------------------
 */

static bool set_mode(struct guest *g, enum guest_mode mode)
{
	struct vmxcore_set_regs s = {0};

	if (ioctl(g->vcpu, VMXCORE_GET_REGS, &s.regs) < 0)
		return false;
	guest_set_mode(&s.regs, mode);
	return ioctl(g->vcpu, VMXCORE_SET_REGS, &s) == 0;
}

static bool run_is(struct guest *g, const char *what, uint32_t reason, uint32_t exit_reason,
		   uint32_t insn_error)
{
	struct vmxcore_run r = {.budget_ticks = BUDGET_TICKS};
	int err = ioctl(g->vcpu, VMXCORE_RUN, &r);

	say("fields: %s: reason %u, exit reason 0x%x, VM-instruction error %u, qualification %llu",
	    what, r.reason, r.exit_reason, r.insn_error, (unsigned long long)r.qualification);
	return err == 0 && r.reason == reason && r.exit_reason == exit_reason &&
	       r.insn_error == insn_error;
}

/* An exception with an error code, queued for protected mode, doesn't go into real mode. */
static bool fails_by_controls(struct guest *g)
{
	struct vmxcore_event e = {.info = VALID | TYPE(3u) | ERROR_CODE | 13};

	if (!set_mode(g, MODE_PROTECTED) || ioctl(g->vcpu, VMXCORE_INJECT, &e) < 0 ||
	    !set_mode(g, MODE_REAL))
		return false;
	if (!run_is(g, "an error code in real mode", VMXCORE_EXIT_ENTRY_FAILED, 0, 7))
		return false;
	/* It stays queued; back in protected mode it goes in, and finds no handler. */
	return set_mode(g, MODE_PROTECTED) &&
	       run_is(g, "and in protected mode", VMXCORE_EXIT_TRIPLE_FAULT, 2, 0);
}

/* Page-directory-pointer entries with a reserved bit */
static bool fails_by_guest_state(struct guest *g)
{
	struct vmxcore_set_regs s = {0};
	const uint64_t pdpte = 0x2 | 1;

	if (ioctl(g->vcpu, VMXCORE_GET_REGS, &s.regs) < 0)
		return false;
	guest_set_mode(&s.regs, MODE_PROTECTED);
	s.regs.cr0 = 0x80000011;
	s.regs.cr4 = 0x20;
	s.regs.cr3 = 0x7000;
	memcpy(g->ram + s.regs.cr3, &pdpte, sizeof(pdpte));
	if (ioctl(g->vcpu, VMXCORE_SET_REGS, &s) < 0)
		return false;
	return run_is(g, "a reserved bit in a PDPTE", VMXCORE_EXIT_ENTRY_FAILED, 0x80000021, 0) &&
	       set_mode(g, MODE_PROTECTED) &&
	       run_is(g, "and without it", VMXCORE_EXIT_BUDGET, 52, 0);
}

bool stress_fields(int dev, uint64_t seed)
{
	const unsigned count = sizeof(rows) / sizeof(rows[0]);
	const unsigned events = sizeof(bad_events) / sizeof(bad_events[0]);
	unsigned fields = 0, refused_events;
	struct guest g;
	bool ok;

	(void)seed;
	if (!guest_open(&g, dev))
		return false;
	for (unsigned i = 0; i < count; i++)
		fields += refused(&g, &rows[i]);
	say("fields: %u of %u broken fields refused by name, nothing changed", fields, count);
	ok = set_mode(&g, MODE_PROTECTED);
	refused_events = events_refused(&g);
	say("fields: %u of %u broken events refused", refused_events, events);
	ok = run_is(&g, "after all that", VMXCORE_EXIT_BUDGET, 52, 0) && ok;
	ok = fails_by_controls(&g) && ok;
	guest_close(&g);
	if (!guest_open(&g, dev))
		return false;
	ok = fails_by_guest_state(&g) && ok;
	guest_close(&g);
	return ok && fields == count && refused_events == events;
}
