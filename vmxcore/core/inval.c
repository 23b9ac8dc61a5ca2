/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Deciding on invalidations, and the protocol that carries them out; see inval.h. */
#include "core/as_internal.h"
#include "core/vcpu_internal.h"

const struct inval_reason_info inval_reason_info[INVAL_REASON_COUNT] = {
#define INVAL_REASON(NAME, shown, need_, text_, section_) \
	[INVAL_REASON_##NAME] = {                         \
		.name = (shown), .text = (text_), .section = (section_), .need = (need_)},
#include "core/inval_reasons.def"
#undef INVAL_REASON
};

/* --- the decision ------------------------------------------------------------------------- */

/* Bits whose change is looked at one by one; the rest of an entry is ignored by the
 * processor (or belongs to features that core never enables). */
struct inval_facts {
	bool present, misconfigured, leaf;
	uint64_t addr;
	uint64_t type; /* memory type and ignore PAT */
	uint64_t allow;
	uint64_t accessed, dirty;
};

static struct inval_facts facts_of(const struct inval_change *c, uint64_t entry)
{
	const struct ept_rules rules = {
		.maxphyaddr = c->maxphyaddr,
		.exec_only = c->exec_only,
		.mode_based_exec = c->mode_based_exec,
		.page_2m = true,
		.page_1g = true,
	};
	struct inval_facts f = {0};

	f.present = ept_present(entry, c->mode_based_exec);
	if (!f.present)
		return f;
	f.misconfigured = ept_misconfigured(&rules, entry, c->level);
	f.leaf = ept_is_leaf(entry, c->level);
	f.addr = f.leaf ? ept_leaf_addr(entry, c->level) : entry & EPT_ADDR;
	f.type = f.leaf ? entry & (EPT_MEMTYPE | EPT_IGNORE_PAT) : 0;
	f.allow = entry & (EPT_RWX | (c->mode_based_exec ? EPT_USER_X : 0));
	if (c->accessed_dirty) {
		f.accessed = entry & EPT_A;
		f.dirty = f.leaf ? entry & EPT_D : 0;
	}
	return f;
}

/* One question after the other, the most telling first: the first that holds is the reason. */
static enum inval_reason reason_for(const struct inval_change *c, uint64_t before, uint64_t after)
{
	struct inval_facts o = facts_of(c, before), n = facts_of(c, after);
	uint64_t lost = o.allow & ~n.allow, gained = n.allow & ~o.allow;

	if (before == after)
		return INVAL_REASON_NO_CHANGE;
	if (!o.present)
		return INVAL_REASON_WAS_NOT_PRESENT;
	if (o.misconfigured)
		return INVAL_REASON_WAS_MISCONFIGURED;
	if (!n.present)
		return INVAL_REASON_UNMAPPED;
	if (n.misconfigured)
		return INVAL_REASON_BECAME_MISCONFIGURED;
	if (o.leaf != n.leaf)
		return INVAL_REASON_PAGE_SIZE_CHANGED;
	if (o.addr != n.addr)
		return o.leaf ? INVAL_REASON_LEAF_ADDRESS_CHANGED
			      : INVAL_REASON_TABLE_ADDRESS_CHANGED;
	if (o.type != n.type)
		return INVAL_REASON_MEMORY_TYPE_CHANGED;
	if (lost & EPT_RWX)
		return INVAL_REASON_PERMISSION_REMOVED;
	if (lost)
		return INVAL_REASON_USER_EXECUTE_REMOVED;
	if (o.dirty & ~n.dirty)
		return INVAL_REASON_DIRTY_CLEARED;
	if (o.accessed & ~n.accessed)
		return INVAL_REASON_ACCESSED_CLEARED;
	if (gained)
		return INVAL_REASON_PERMISSION_ADDED;
	if (o.accessed != n.accessed || o.dirty != n.dirty)
		return INVAL_REASON_AD_SET;
	if ((before ^ after) & EPT_SUPPRESS_VE)
		return INVAL_REASON_SUPPRESS_VE;
	return INVAL_REASON_SOFTWARE_BITS;
}

static struct inval_decision decision_for(enum inval_reason reason)
{
	enum inval_need need = inval_reason_info[reason].need;

	/* An EPTP's own mappings are all that a change of its entries can make stale. */
	return (struct inval_decision){
		.need = need,
		.instruction = need == INVAL_NONE ? INVAL_INSN_NONE : INVAL_INSN_INVEPT_SINGLE,
		.reason = reason,
	};
}

struct inval_decision inval_decide(const struct inval_change *c)
{
	struct inval_decision d = decision_for(reason_for(c, c->old_entry, c->new_entry));
	enum inval_reason reason;

	if (c->pending_entry == 0 || d.need == INVAL_REQUIRED)
		return d;
	/* The cached translation may be the older one: is it right under the new entry? */
	reason = INVAL_REASON_PENDING;
	if (c->pending_entry != INVAL_PENDING_UNKNOWN) {
		reason = reason_for(c, c->pending_entry, c->new_entry);
		if (inval_reason_info[reason].need == INVAL_REQUIRED)
			reason = INVAL_REASON_PENDING;
	}
	return inval_join(d, decision_for(reason));
}

struct inval_decision inval_join(struct inval_decision a, struct inval_decision b)
{
	if (a.need != b.need)
		return a.need > b.need ? a : b;
	/* Equal need: the later row of the table, whichever comes first. */
	return a.reason >= b.reason ? a : b;
}

/* --- instructions --------------------------------------------------------------------------- */

/* Counters of INVEPT by cause; ENTRIES, the first of all, stands for none. */
static const enum core_stat invept_causes[CORE_CAUSE_COUNT] = {
	[CORE_CAUSE_CHANGE] = CORE_STAT_INVEPT_CAUSE_CHANGE,
	[CORE_CAUSE_SHOOTDOWN] = CORE_STAT_INVEPT_CAUSE_SHOOTDOWN,
	[CORE_CAUSE_DEFERRED] = CORE_STAT_INVEPT_CAUSE_DEFERRED,
	[CORE_CAUSE_FIRST_USE] = CORE_STAT_INVEPT_CAUSE_FIRST_USE,
	[CORE_CAUSE_REQUEST] = CORE_STAT_INVEPT_CAUSE_REQUEST,
};

/* what: the rest of the record. */
static void trace_executed(struct core_cpu *cpu, const struct inval_origin *origin,
			   struct core_trace_record *what)
{
	if (origin->trace == NULL || !core_trace_wants(origin->trace, CORE_TRACE_INVALIDATION, 0))
		return;
	what->kind = CORE_TRACE_INVALIDATION;
	what->processor = (uint16_t)cpu->id;
	what->vcpu = origin->vcpu;
	what->cause = (uint8_t)origin->cause;
	core_trace_add(origin->trace, what);
}

static int invept(struct core_cpu *cpu, enum hw_invept_type type, uint64_t eptp,
		  const struct inval_origin *origin)
{
	bool single = type == HW_INVEPT_SINGLE;
	struct hw_invept_desc desc = {.eptp = single ? eptp : 0};
	struct core_trace_record r = {
		.insn = single ? CORE_TRACE_INVEPT_SINGLE : CORE_TRACE_INVEPT_ALL,
		.ep4ta = single ? core_ep4ta(eptp) : 0,
		.vpid = origin->vpid,
	};
	enum core_stat cause = invept_causes[origin->cause];

	if (hw_invept(cpu->hw, type, &desc) != HW_SUCCEED)
		return -EIO;
	core_stat_add(&cpu->stats, single ? CORE_STAT_INVEPT_SINGLE : CORE_STAT_INVEPT_ALL, 1);
	if (cause != CORE_STAT_ENTRIES)
		core_stat_add(&cpu->stats, cause, 1);
	trace_executed(cpu, origin, &r);
	return 0;
}

int inval_invept(struct core_cpu *cpu, uint64_t eptp, const struct inval_origin *origin)
{
	bool single = cpu->core->caps.invept_single;

	return invept(cpu, single ? HW_INVEPT_SINGLE : HW_INVEPT_ALL, eptp, origin);
}

int inval_invept_all(struct core_cpu *cpu, const struct inval_origin *origin)
{
	return invept(cpu, HW_INVEPT_ALL, 0, origin);
}

/* Each type, the wider one that covers it where the processor lacks it, how it is told of. */
static const struct {
	size_t supported; /* offset in struct core_caps of a bool */
	enum hw_invvpid_type wider;
	enum core_stat stat;
	enum core_trace_insn insn;
} invvpid_types[] = {
	[HW_INVVPID_ADDRESS] = {offsetof(struct core_caps, invvpid_address), HW_INVVPID_SINGLE,
				CORE_STAT_INVVPID_ADDRESS, CORE_TRACE_INVVPID_ADDRESS},
	[HW_INVVPID_SINGLE] = {offsetof(struct core_caps, invvpid_single), HW_INVVPID_ALL,
			       CORE_STAT_INVVPID_SINGLE, CORE_TRACE_INVVPID_SINGLE},
	[HW_INVVPID_ALL] = {offsetof(struct core_caps, invvpid_all), HW_INVVPID_ALL,
			    CORE_STAT_INVVPID_ALL, CORE_TRACE_INVVPID_ALL},
	[HW_INVVPID_SINGLE_KEEP_GLOBAL] = {offsetof(struct core_caps, invvpid_keep_global),
					   HW_INVVPID_SINGLE, CORE_STAT_INVVPID_KEEP_GLOBAL,
					   CORE_TRACE_INVVPID_KEEP_GLOBAL},
};

static bool invvpid_supported(const struct core_cpu *cpu, enum hw_invvpid_type type)
{
	const char *caps = (const char *)&cpu->core->caps;
	bool supported;

	memcpy(&supported, caps + invvpid_types[type].supported, sizeof(supported));
	return supported;
}

static bool canonical(gva_t a)
{
	/* 57 bits: what any processor takes; 48-bit ones refuse some of these themselves. */
	return a.v >> 56 == 0 || a.v >> 56 == 0xff;
}

int inval_invvpid(struct core_cpu *cpu, enum hw_invvpid_type type, uint16_t vpid, gva_t linear,
		  const struct inval_origin *origin)
{
	struct hw_invvpid_desc desc = {0};
	struct core_trace_record r = {0};

	if (type != HW_INVVPID_ALL && vpid == 0)
		return -EINVAL;
	if (type == HW_INVVPID_ADDRESS && !canonical(linear))
		return -EINVAL;
	while (type != HW_INVVPID_ALL && !invvpid_supported(cpu, type))
		type = invvpid_types[type].wider;
	if (type != HW_INVVPID_ALL)
		desc.vpid = vpid;
	if (type == HW_INVVPID_ADDRESS)
		desc.linear = linear.v;
	if (hw_invvpid(cpu->hw, type, &desc) != HW_SUCCEED)
		return -EIO;
	core_stat_add(&cpu->stats, invvpid_types[type].stat, 1);
	r.insn = (uint8_t)invvpid_types[type].insn;
	r.vpid = (uint16_t)desc.vpid;
	r.gva = gva(desc.linear);
	r.gva_valid = type == HW_INVVPID_ADDRESS;
	trace_executed(cpu, origin, &r);
	return 0;
}

/* --- the protocol ----------------------------------------------------------------------------- */

/*
 * Two sides, as in Dekker's algorithm: each publishes, then a full barrier, then looks.
 *
 *	entering processor		changer
 *	in_guest, guest_epoch = odd	entries, generation++
 *	full barrier			full barrier
 *	look at the generation		look at guest_epoch and in_guest
 *
 * Whatever the order, the processor sees the new generation and flushes before it enters,
 * or the changer sees the processor in guest and waits until its epoch moves.
 */

void inval_space_init(struct inval_space *s, uint64_t eptp)
{
	memset(s, 0, sizeof(*s));
	s->eptp = eptp;
	s->generation = 1;
}

/* Why a processor that is behind flushes before it enters. */
static enum core_cause cause_behind(const struct inval_space *s, unsigned cpu, uint64_t seen)
{
	if (seen == 0)
		return CORE_CAUSE_FIRST_USE;
	return plat_load(&s->kicked[cpu]) > seen ? CORE_CAUSE_SHOOTDOWN : CORE_CAUSE_DEFERRED;
}

static VMX_NOINLINE void catch_up(struct core_cpu *cpu, struct core_as *as, uint64_t seen,
				  uint64_t generation)
{
	struct inval_space *s = &as->inval;
	const struct core_vcpu *v = cpu->loaded; /* that enters */
	const struct inval_origin origin = {
		.trace = as->trace,
		.vcpu = v ? v->index : CORE_TRACE_NO_VCPU,
		.vpid = v && v->vm->use_vpid ? v->tag.vpid : 0,
		.cause = cause_behind(s, cpu->id, seen),
	};

	if (inval_invept(cpu, s->eptp, &origin) == 0)
		plat_store(&s->seen[cpu->id], generation);
}

void inval_enter(struct core_cpu *cpu, struct core_as *as)
{
	struct inval_space *s = &as->inval;
	uint64_t seen = plat_load(&s->seen[cpu->id]), generation;

	plat_store(&cpu->in_guest, as);
	plat_store_release(&cpu->guest_epoch, cpu->guest_epoch + 1);
	plat_mb();
	/* Acquire: entries written before this generation are seen by walks after the flush. */
	generation = plat_load_acquire(&s->generation);
	if (seen != generation)
		catch_up(cpu, as, seen, generation);
}

enum reach {
	REACH_NEVER,	/* has not used the space */
	REACH_IN_GUEST, /* may be using stale translations now */
	REACH_LATER,	/* flushes before its next use, or has already */
};

/* How cpu stands to a change of generation `generation`; *ret_epoch for REACH_IN_GUEST. */
static enum reach reach_of(struct core_as *as, struct core_cpu *cpu, uint64_t generation,
			   uint64_t *ret_epoch)
{
	uint64_t epoch = plat_load_acquire(&cpu->guest_epoch);
	uint64_t seen = plat_load(&as->inval.seen[cpu->id]);

	/*
	 * in_guest is read after the epoch: if the processor has left meanwhile and entered
	 * another space, it is not ours to wait for; if it entered this one again, it has seen
	 * the generation, and the epoch has moved already.
	 */
	if ((epoch & 1) && plat_load(&cpu->in_guest) == as && seen < generation) {
		*ret_epoch = epoch;
		return REACH_IN_GUEST;
	}
	return seen == 0 ? REACH_NEVER : REACH_LATER;
}

void inval_publish(struct core_as *as, struct core_cpu *this_cpu, struct inval_reach *ret)
{
	struct core *core = as->core;
	struct inval_space *s = &as->inval;
	const struct inval_origin origin = {
		.trace = as->trace, .vcpu = CORE_TRACE_NO_VCPU, .cause = CORE_CAUSE_CHANGE};
	uint64_t epochs[CORE_MAX_CPUS];
	uint64_t generation, waiting = 0;

	*ret = (struct inval_reach){0};
	plat_mb();
	generation = plat_fetch_add(&s->generation, 1) + 1;
	plat_mb();
	if (this_cpu && plat_load(&s->seen[this_cpu->id]) != 0 &&
	    inval_invept(this_cpu, s->eptp, &origin) == 0) {
		plat_store(&s->seen[this_cpu->id], generation);
		ret->issued = 1;
	}
	for (unsigned i = 0; i < core->nr_cpus; i++) {
		enum reach reach;

		if (this_cpu && i == this_cpu->id)
			continue;
		reach = reach_of(as, &core->cpus[i], generation, &epochs[i]);
		if (reach == REACH_IN_GUEST) {
			plat_store(&s->kicked[i], generation);
			plat_cpu_kick(core->plat, i);
			waiting |= VMX_BIT(i);
			ret->interrupted++;
		} else if (reach == REACH_LATER) {
			ret->deferred++;
		}
	}
	for (unsigned i = 0; i < core->nr_cpus; i++) {
		if (!(waiting & VMX_BIT(i)))
			continue;
		while (plat_load_acquire(&core->cpus[i].guest_epoch) == epochs[i])
			plat_cpu_relax();
	}
}

void inval_preview(struct core_as *as, struct core_cpu *this_cpu, struct inval_reach *ret)
{
	struct core *core = as->core;
	uint64_t next = plat_load(&as->inval.generation) + 1, epoch;

	*ret = (struct inval_reach){0};
	if (this_cpu && plat_load(&as->inval.seen[this_cpu->id]) != 0)
		ret->issued = 1;
	for (unsigned i = 0; i < core->nr_cpus; i++) {
		enum reach reach;

		if (this_cpu && i == this_cpu->id)
			continue;
		reach = reach_of(as, &core->cpus[i], next, &epoch);
		ret->interrupted += reach == REACH_IN_GUEST;
		ret->deferred += reach == REACH_LATER;
	}
}
