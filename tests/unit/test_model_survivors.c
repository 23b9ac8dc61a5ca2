/* SPDX-License-Identifier: MIT */
/*
 * What survives an invalidation, exactly. The processor's caches are filled, by guests'
 * accesses or entry by entry under random tags; one operation runs as a guest or a VMM
 * runs it; then each entry that was there must be there still, or be gone, as the rules
 * below say of its tags. They are the manual's rules, row by row, with the least that
 * each demands; nothing of the code under test takes part in the judgement.
 *
 * Sources: SDM volume 3, "Operations that Invalidate TLBs and Paging-Structure Caches",
 * "Operations that Invalidate Cached Mappings".
 */
#include "unit/test_model_survivors.h"

/* --- the rules ------------------------------------------------------------------ */

enum whose { NONE, CURRENT, NAMED, ZERO, NONZERO, ANY };
enum spaces { LINEAR_TOO, COMBINED, COMBINED_NAMED, COMBINED_CURRENT };
enum globals { LIKE_OTHERS, UNDER_ANY_PCID, KEPT };
enum extent { NOTHING, ADDRESS, EVERYTHING };

/* In the order of the rows below. */
struct rule {
	const char *name;
	/* linear and combined mappings */
	enum whose vpid, pcid;
	enum globals globals; /* translations; paging-structure entries are never global */
	enum spaces spaces;
	enum extent leaf, psc;
	/* guest-physical mappings */
	enum extent physical;
	enum whose physical_space;
};

static const struct rule rules[] = {
	/* VM entries and exits where VPID is on, VMXON, VMXOFF; EPT misconfigurations; whatever
	 * faults, fails or exits instead of being done. */
	[R_NOTHING] = {.name = "nothing"},

	/* "Operations that Invalidate Cached Mappings" */
	[R_TRANSITION] = {"VMX transitions, VPID off", ZERO, ANY, LIKE_OTHERS, LINEAR_TOO,
			  EVERYTHING, EVERYTHING, NOTHING, NONE},
	[R_INVVPID_0] = {"INVVPID, individual address", NAMED, ANY, LIKE_OTHERS, LINEAR_TOO,
			 ADDRESS, ADDRESS, NOTHING, NONE},
	[R_INVVPID_1] = {"INVVPID, single context", NAMED, ANY, LIKE_OTHERS, LINEAR_TOO, EVERYTHING,
			 EVERYTHING, NOTHING, NONE},
	[R_INVVPID_2] = {"INVVPID, all contexts", NONZERO, ANY, LIKE_OTHERS, LINEAR_TOO, EVERYTHING,
			 EVERYTHING, NOTHING, NONE},
	[R_INVVPID_3] = {"INVVPID, single context, retaining globals", NAMED, ANY, KEPT, LINEAR_TOO,
			 EVERYTHING, EVERYTHING, NOTHING, NONE},
	[R_INVEPT_1] = {"INVEPT, single context", ANY, ANY, LIKE_OTHERS, COMBINED_NAMED, EVERYTHING,
			EVERYTHING, EVERYTHING, NAMED},
	[R_INVEPT_2] = {"INVEPT, all contexts", ANY, ANY, LIKE_OTHERS, COMBINED, EVERYTHING,
			EVERYTHING, EVERYTHING, ANY},

	/* "Operations that Invalidate TLBs and Paging-Structure Caches"; under the current
	 * VPID and, of combined mappings, every EP4TA */
	[R_INVLPG] = {"INVLPG", CURRENT, CURRENT, UNDER_ANY_PCID, LINEAR_TOO, ADDRESS, EVERYTHING,
		      NOTHING, NONE},
	[R_INVPCID_0] = {"INVPCID, individual address", CURRENT, NAMED, KEPT, LINEAR_TOO, ADDRESS,
			 ADDRESS, NOTHING, NONE},
	[R_INVPCID_1] = {"INVPCID, single context", CURRENT, NAMED, KEPT, LINEAR_TOO, EVERYTHING,
			 EVERYTHING, NOTHING, NONE},
	[R_INVPCID_2] = {"INVPCID, all with globals", CURRENT, ANY, LIKE_OTHERS, LINEAR_TOO,
			 EVERYTHING, EVERYTHING, NOTHING, NONE},
	[R_INVPCID_3] = {"INVPCID, all but globals", CURRENT, ANY, KEPT, LINEAR_TOO, EVERYTHING,
			 EVERYTHING, NOTHING, NONE},
	[R_CR3_ZERO] = {"MOV to CR3, PCIDE=0", CURRENT, ZERO, KEPT, LINEAR_TOO, EVERYTHING,
			EVERYTHING, NOTHING, NONE},
	[R_CR3_NAMED] = {"MOV to CR3, PCIDE=1, bit 63 clear", CURRENT, NAMED, KEPT, LINEAR_TOO,
			 EVERYTHING, EVERYTHING, NOTHING, NONE},
	[R_ALL_PCIDS] = {"MOV to CR0 (PG), CR4 (PGE, PCIDE)", CURRENT, ANY, LIKE_OTHERS, LINEAR_TOO,
			 EVERYTHING, EVERYTHING, NOTHING, NONE},
	[R_THIS_PCID] = {"MOV to CR4 (PAE, SMEP)", CURRENT, CURRENT, LIKE_OTHERS, LINEAR_TOO,
			 EVERYTHING, EVERYTHING, NOTHING, NONE},
	/* A global translation answers under the current PCID whichever it was made under: if
	 * it stayed, the same access would fault on it for ever. */
	[R_PAGE_FAULT] = {"page fault", CURRENT, CURRENT, UNDER_ANY_PCID, LINEAR_TOO, ADDRESS,
			  ADDRESS, NOTHING, NONE},
	[R_VIOLATION] = {"EPT violation", CURRENT, CURRENT, UNDER_ANY_PCID, COMBINED_CURRENT,
			 ADDRESS, ADDRESS, ADDRESS, CURRENT},
};

/* How many entries of an operation's cases stayed and went. */
struct seen {
	uint64_t stayed, went, cases;
};

/* --- the judgement -------------------------------------------------------------- */

static bool is_psc(unsigned id)
{
	return id == TLB_PSC_PML4 || id == TLB_PSC_PDPT || id == TLB_PSC_PD;
}

static bool is_whose(enum whose whose, uint16_t tag, uint16_t current, uint16_t named)
{
	switch (whose) {
	case CURRENT:
		return tag == current;
	case NAMED:
		return tag == named;
	case ZERO:
		return tag == 0;
	case NONZERO:
		return tag != 0;
	case ANY:
		return true;
	default:
		return false;
	}
}

static bool under(uint64_t eptp, const struct tlb_entry *e)
{
	return eptp != 0 && (e->space & TLB_SPACE_EPT) && e->space >> 12 == eptp >> 12;
}

static bool space_goes(const struct rule *rule, const struct scene *s, const struct tlb_entry *e)
{
	switch (rule->spaces) {
	case COMBINED:
		return (e->space & TLB_SPACE_EPT) != 0;
	case COMBINED_NAMED:
		return under(s->named.eptp, e);
	case COMBINED_CURRENT:
		return under(s->now.eptp, e);
	default:
		return true;
	}
}

/* A fragment is of its whole page ("Details of TLB Use"). */
static bool covers(const struct tlb_entry *e, uint64_t address)
{
	uint64_t own = UINT64_C(1) << e->shift, page = UINT64_C(1) << e->guest_shift;
	uint64_t size = e->guest_shift != 0 && page > own ? page : own;
	uint64_t start = e->linear - e->linear % size;

	return address >= start && address - start < size;
}

static bool goes(const struct rule *rule, const struct scene *s, unsigned id,
		 const struct tlb_entry *e)
{
	bool global = !is_psc(id) && (e->flags & TLB_GLOBAL);
	enum extent extent = is_psc(id) ? rule->psc : rule->leaf;

	if (id == TLB_GPA) {
		if (rule->physical == NOTHING ||
		    (rule->physical_space == CURRENT && !under(s->now.eptp, e)) ||
		    (rule->physical_space == NAMED && !under(s->named.eptp, e)))
			return false;
		return rule->physical == EVERYTHING || covers(e, s->gpa);
	}
	if (extent == NOTHING || !is_whose(rule->vpid, e->vpid, s->now.vpid, s->named.vpid) ||
	    !space_goes(rule, s, e))
		return false;
	if (global && rule->globals == KEPT)
		return false;
	if (!(global && rule->globals == UNDER_ANY_PCID) &&
	    !is_whose(rule->pcid, e->pcid, s->now.pcid, s->named.pcid))
		return false;
	return extent == EVERYTHING || covers(e, s->linear);
}

static uint64_t dropped_sum(const struct model_account *a)
{
	return a->dropped_transition + a->dropped_mov_cr3 + a->dropped_mov_cr0_cr4 +
	       a->dropped_invlpg + a->dropped_invpcid + a->dropped_page_fault +
	       a->dropped_ept_violation + a->dropped_invept_single + a->dropped_invept_all +
	       a->dropped_invvpid;
}

static void complain(const struct scene *s, const struct op *op, unsigned seed, unsigned id,
		     const struct tlb_entry *e, const char *what)
{
	fail_msg("%s (%s), case %u: an entry %s: array %u linear %#llx size 2^%u of 2^%u vpid %u "
		 "pcid %u space %#llx%s; current vpid %u pcid %u eptp %#llx; named vpid %u pcid %u "
		 "eptp %#llx linear %#llx gpa %#llx",
		 op->name, rules[op->rule].name, seed, what, id, (unsigned long long)e->linear,
		 e->shift, e->guest_shift, e->vpid, e->pcid, (unsigned long long)e->space,
		 e->flags & TLB_GLOBAL ? " global" : "", s->now.vpid, s->now.pcid,
		 (unsigned long long)s->now.eptp, s->named.vpid, s->named.pcid,
		 (unsigned long long)s->named.eptp, (unsigned long long)s->linear,
		 (unsigned long long)s->gpa);
}

/* What the operation's own exit does besides. */
static bool goes_by_exit(const struct scene *s, const struct op *op, unsigned id,
			 const struct tlb_entry *e)
{
	return op->where != IN_ROOT && (op->exits || op->where != IN_GUEST) && s->now.vpid == 0 &&
	       goes(&rules[R_TRANSITION], s, id, e);
}

static bool same(const struct tlb_entry *a, const struct tlb_entry *b)
{
	return a->linear == b->linear && a->host == b->host && a->gpa == b->gpa &&
	       a->space == b->space && a->owner == b->owner && a->vpid == b->vpid &&
	       a->pcid == b->pcid && a->shift == b->shift && a->guest_shift == b->guest_shift &&
	       a->flags == b->flags;
}

static void judge(struct scene *s, const struct op *op, unsigned seed, struct seen *seen)
{
	uint64_t leaves_gone = 0;

	for (unsigned id = 0, slot = 0; id < TLB_ARRAYS; id++) {
		for (uint32_t i = 0; i < s->r.cpu->tlb.array[id].count; i++, slot++) {
			const struct tlb_entry *e = &s->before.entry[slot];
			bool held = s->after.held[slot], leave;

			if (!s->before.held[slot]) {
				if (held)
					complain(s, op, seed, id, &s->after.entry[slot], "came");
				continue;
			}
			leave = goes(&rules[op->rule], s, id, e) || goes_by_exit(s, op, id, e);
			if (held && leave)
				complain(s, op, seed, id, e, "stayed");
			if (!held && !leave)
				complain(s, op, seed, id, e, "went");
			if (held && !same(e, &s->after.entry[slot]))
				complain(s, op, seed, id, e, "changed");
			seen->went += leave;
			seen->stayed += !leave;
			leaves_gone += leave && id <= TLB_L2_1G;
		}
	}
	/* Each translation is counted once, as dropped. */
	assert_int_equal(s->dropped, leaves_gone);
}

/* --- running one ---------------------------------------------------------------- */

#define ACCESSES 8u

struct run {
	struct scene *s;
	const struct op *op;
	uint64_t walks;
};

/* Full caches, in the guest or outside, just before the operation. */
static void before(void *ctx)
{
	struct run *run = ctx;
	struct scene *s = run->s;
	struct gpa_map map;

	if (run->op->where == IN_GUEST || run->op->where == EXIT) {
		const struct tlb_tags *t = &s->r.cpu->mmu.tags;

		assert_int_equal(t->vpid, s->now.vpid);
		assert_int_equal(t->pcid, s->now.pcid);
		assert_true((t->space & ~TLB_SPACE_UNPAGED) ==
			    (s->now.eptp ? (s->now.eptp & EPT_ADDR_MASK) | TLB_SPACE_EPT : 0));
	}
	if (!s->by_guests)
		scene_fill_by_hand(s);
	if (run->op->prepare)
		run->op->prepare(s);
	/* Loading PDPTEs translates CR3: its guest-physical mapping is there before. */
	if (run->op->needs_ept && run->op->mode != LONG)
		assert_int_equal(gpa_translate(s->r.cpu, s->root_legacy, EPT_R, &map), GPA_OK);
	scene_look(s, &s->before);
	s->dropped = dropped_sum(&s->r.account);
}

static void after(void *ctx)
{
	struct run *run = ctx;

	scene_look(run->s, &run->s->after);
	run->s->dropped = dropped_sum(&run->s->r.account) - run->s->dropped;
	run->walks = run->s->r.account.walks;
}

/* Would a lookup under the current tags find a translation among those that survived? */
static bool served(const struct scene *s, const struct step *access)
{
	bool fetch = access->kind == STEP_FETCH;

	for (unsigned id = 0, slot = 0; id <= TLB_L2_1G; id++) {
		bool level1_other = fetch ? id >= TLB_D1_4K && id <= TLB_D1_1G : id <= TLB_I1_2M;

		for (uint32_t i = 0; i < s->r.cpu->tlb.array[id].count; i++, slot++) {
			const struct tlb_entry *e = &s->after.entry[slot];

			if (s->after.held[slot] && !level1_other && e->vpid == s->now.vpid &&
			    (e->pcid == s->now.pcid || (e->flags & TLB_GLOBAL)) &&
			    (s->now.eptp ? under(s->now.eptp, e) : e->space == 0) &&
			    access->linear >> e->shift == e->linear >> e->shift)
				return true;
		}
	}
	return false;
}

/* What the guest does: accesses, the operation, and one of the accesses again. */
struct script {
	struct step step[ACCESSES + 6];
	size_t count, op, probe;
};

static void add(struct script *script, struct step step)
{
	assert_true(script->count < VMX_ARRAY_SIZE(script->step));
	script->step[script->count++] = step;
}

/*
 * An access that faults or exits walks on its way there. It does so once before, so that
 * the second time finds nothing new to cache.
 */
static void warm_up(struct scene *s, const struct op *op, struct step access, struct script *script)
{
	if (!s->by_guests || access.kind == STEP_SPECIAL || access.kind == STEP_NOP)
		return;
	if (op->exits)
		assert_int_equal(rig_run(&s->r, &access, 1), op->exits - 1);
	else
		add(script, access);
}

static void write_script(struct scene *s, const struct op *op, struct run *run,
			 struct script *script)
{
	struct step step = {.kind = STEP_NOP};
	bool accesses = s->by_guests && op->mode == LONG;

	if (op->step)
		op->step(s, op, &step);
	warm_up(s, op, step, script);
	if (op->operand == HERE_EPT_READ_ONLY && scene_random(s) % 2)
		add(script, (struct step){.kind = STEP_READ, .linear = s->linear});
	for (unsigned i = 0; i < ACCESSES && accesses; i++)
		add(script, scene_access(s));
	add(script, (struct step){.kind = STEP_CALL, .call = before, .ctx = run});
	script->op = script->count;
	add(script, step);
	if (op->exits || op->where == EXIT)
		return;
	add(script, (struct step){.kind = STEP_CALL, .call = after, .ctx = run});
	if (accesses && op->same_tags) {
		script->probe = script->count;
		add(script, script->step[script->op - 2]);
	}
}

static void run_in_guest(struct scene *s, const struct op *op, struct run *run)
{
	struct script script = {.count = 0};
	const struct step *step;
	unsigned reason;

	write_script(s, op, run, &script);
	step = &script.step[script.op];
	reason = rig_run(&s->r, script.step, script.count);
	if (reason != (op->exits ? op->exits - 1 : EXIT_VMCALL))
		fail_msg("%s: exit reason %u", op->name, reason);
	assert_true(step->ran);
	if (!op->exits)
		assert_int_equal(step->result, op->faults ? X86_FAULT : X86_OK);
	if (op->exits == BY(EXIT_EPT_VIOLATION) || op->exits == BY(EXIT_EPT_MISCONFIG))
		assert_true(rig_get(&s->r, VMCS_GUEST_PHYSICAL_ADDRESS) == s->gpa);
	/* The executor's front was told, and what survived is used. */
	if (script.probe != 0)
		assert_int_equal(s->r.account.walks - run->walks,
				 !served(s, &script.step[script.probe]));
	if (op->exits || op->where == EXIT)
		after(run);
}

static void run_entry(struct scene *s, struct run *run)
{
	struct step look = {.kind = STEP_CALL, .call = after, .ctx = run};

	before(run);
	assert_int_equal(rig_run(&s->r, &look, 1), EXIT_VMCALL);
}

static void choose(struct scene *s, const struct op *op)
{
	s->by_guests = op->fill == BY_GUESTS || (op->fill == ANY_FILL && scene_random(s) % 2);
	s->now = scene_tags(s);
	s->named = scene_tags(s);
	if (!(op->cr4 & CR4_PCIDE))
		s->now.pcid = 0;
	if (op->needs_ept && s->now.eptp == 0)
		s->now.eptp = PICK(s, s->eptp);
	if (op->small_ept)
		s->now.eptp = s->eptp[SCENE_EPT_4K];
	s->linear = scene_linear(s);
	s->gpa = scene_gpa(s);
}

static void run_case(struct scene *s, const struct op *op, unsigned seed, struct seen *seen)
{
	struct run run = {.s = s, .op = op};

	s->random = seed * 2654435761u + 1;
	if (!s->r.cpu->vmx_on)
		assert_int_equal(hw_vmxon(s->r.cpu, hpa(s->r.cpu->vmxon_region)), HW_SUCCEED);
	scene_clear(s);
	choose(s, op);
	if (s->by_guests)
		scene_fill_by_guests(s);
	scene_guest(s, op->mode, op->cr4, &s->now);
	rig_set_bits(&s->r, VMCS_PROC_CONTROLS, op->proc, 0);
	rig_set(&s->r, VMCS_EXCEPTION_BITMAP, op->exceptions);
	rig_set(&s->r, VMCS_CR4_MASK, op->cr4_mask);
	if (op->where == IN_ROOT) {
		before(&run);
		op->run(s, op);
		after(&run);
	} else if (op->where == ENTRY) {
		run_entry(s, &run);
	} else {
		run_in_guest(s, op, &run);
	}
	judge(s, op, seed, seen);
	seen->cases++;
}

/* --- processors ----------------------------------------------------------------- */

/* One set each, and room for all: nothing that a walk fills displaces anything. */
static const struct model_tlb_geometry roomy = {
	.name = "roomy",
	.itlb_4k = {128, 128},
	.itlb_2m = {64, 64},
	.dtlb_4k = {128, 128},
	.dtlb_2m = {64, 64},
	.dtlb_1g = {32, 32},
	.stlb = {256, 256},
	.stlb_1g = {32, 32},
	.psc_pml4 = {64, 64},
	.psc_pdpt = {64, 64},
	.psc_pd = {64, 64},
	.gpa_cache = {512, 512},
};

/* No arrays for large pages: all is held in pieces. */
static const struct model_tlb_geometry pieces = {
	.name = "pieces",
	.itlb_4k = {128, 128},
	.dtlb_4k = {128, 128},
	.stlb = {512, 512},
	.psc_pml4 = {64, 64},
	.psc_pdpt = {64, 64},
	.psc_pd = {64, 64},
	.gpa_cache = {512, 512},
};

static void survivors(const struct model_tlb_geometry *geometry, bool room, unsigned rounds)
{
	struct scene s;
	uint64_t cases = 0;

	scene_create(&s, geometry);
	for (size_t i = 0; i < survivor_op_count; i++) {
		const struct op *op = &survivor_ops[i];
		struct seen seen = {0};

		if (op->fill == BY_GUESTS && !room)
			continue;
		for (unsigned n = 0; n < rounds; n++)
			run_case(&s, op, (unsigned)i * 1000 + n, &seen);
		/* A rule that nothing came under was not tried. */
		assert_true(seen.stayed > 0);
		assert_true((seen.went > 0) == (op->rule != R_NOTHING || op->exits ||
						op->where == ENTRY || op->where == EXIT));
		cases += seen.cases;
	}
	print_message("%s: %llu cases\n", geometry->name, (unsigned long long)cases);
	scene_destroy(&s);
}

static void roomy_caches(void **state)
{
	(void)state;
	survivors(&roomy, true, 100);
}

static void large_pages_in_pieces(void **state)
{
	(void)state;
	survivors(&pieces, true, 50);
}

static void caches_of_many_sets(void **state)
{
	(void)state;
	survivors(&model_tlb_skylake, false, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(roomy_caches),
		cmocka_unit_test(large_pages_in_pieces),
		cmocka_unit_test(caches_of_many_sets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
