// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The ring of trace records; see trace.h for what makes it safe. */
#include "core/trace.h"

#define KINDS_MASK ((1u << CORE_TRACE_KINDS) - 1)
/* Records copied before others get the lock. */
#define RECORDS_PER_HOLD 32u

void core_trace_init(struct core_trace *t)
{
	memset(t, 0, sizeof(*t));
	plat_lock_init(&t->lock);
}

void core_trace_fini(struct core_trace *t)
{
	plat_store(&t->kinds, 0);
	plat_free(t->ring);
	t->ring = NULL;
}

/* The lock is held. Returns the ring that was there. */
static struct core_trace_record *replace(struct core_trace *t,
					 const struct core_trace_settings *settings,
					 struct core_trace_record *ring)
{
	bool every = (settings->exits[0] | settings->exits[1]) == 0;
	struct core_trace_record *old = t->ring;

	t->settings = *settings;
	t->ring = ring;
	t->first = 0;
	t->count = 0;
	t->seq = 0;
	t->told = 0;
	plat_store(&t->exits[0], every ? UINT64_MAX : settings->exits[0]);
	plat_store(&t->exits[1], every ? UINT64_MAX : settings->exits[1]);
	plat_store(&t->kinds, settings->kinds);
	return old;
}

int core_trace_replace(struct core_trace *t, const struct core_trace_settings *settings,
		       uint64_t *ret_untold)
{
	static const struct core_trace_settings off;
	struct core_trace_record *ring = NULL, *old;

	if (settings == NULL || settings->kinds == 0)
		settings = &off;
	if (settings->kinds & ~KINDS_MASK)
		return -EINVAL;
	if (settings->kinds != 0) {
		if (settings->records == 0 || settings->records > CORE_TRACE_MAX_RECORDS)
			return -EINVAL;
		ring = plat_calloc(settings->records, sizeof(*ring));
		if (ring == NULL)
			return -ENOMEM;
	}
	plat_lock(&t->lock);
	*ret_untold = t->seq - t->told;
	old = replace(t, settings, ring);
	plat_unlock(&t->lock);
	plat_free(old);
	return 0;
}

int core_trace_set(struct core_trace *t, const struct core_trace_settings *settings)
{
	uint64_t untold;

	return core_trace_replace(t, settings, &untold);
}

/* --- recording ----------------------------------------------------------------------------- */

/* The lock is held: what core_trace_wants() said before may be out of date. */
static bool asked_for(const struct core_trace *t, const struct core_trace_record *r)
{
	uint32_t vcpu = t->settings.vcpu;

	return core_trace_wants(t, r->kind, r->exit_reason) &&
	       (vcpu == CORE_TRACE_NO_VCPU || vcpu == r->vcpu);
}

void core_trace_add(struct core_trace *t, const struct core_trace_record *record)
{
	const struct core_trace_settings *s = &t->settings;
	struct core_trace_record *to;
	uint64_t seq;

	plat_lock(&t->lock);
	if (!asked_for(t, record))
		goto out;
	seq = t->seq++;
	if (t->count == s->records)
		goto out;
	to = &t->ring[(t->first + t->count) % s->records];
	*to = *record;
	to->seq = seq;
	to->guest_time = s->guest_time ? s->guest_time(s->ctx) : 0;
	t->count++;
out:
	plat_unlock(&t->lock);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* The lock is held. */
static size_t take_some(struct core_trace *t, struct core_trace_record *ret, size_t max)
{
	size_t n = 0;

	if (max > RECORDS_PER_HOLD)
		max = RECORDS_PER_HOLD;
	while (n < max && t->count != 0) {
		ret[n++] = t->ring[t->first];
		t->first = (t->first + 1) % t->settings.records;
		t->count--;
	}
	if (n != 0)
		t->told = ret[n - 1].seq + 1;
	return n;
}

size_t core_trace_read(struct core_trace *t, struct core_trace_record *ret, size_t max,
		       uint64_t *ret_lost)
{
	uint64_t told;
	size_t n, some;

	plat_lock(&t->lock);
	told = t->told;
	if (t->count == 0)
		t->told = t->seq; /* what was lost is told now, and once */
	n = take_some(t, ret, max);
	*ret_lost = (n != 0 ? ret[0].seq : t->told) - told;
	plat_unlock(&t->lock);
	for (some = n; some != 0 && n < max; n += some) {
		plat_lock(&t->lock);
		some = take_some(t, &ret[n], max - n);
		plat_unlock(&t->lock);
	}
	return n;
}

uint64_t core_trace_untold(struct core_trace *t)
{
	uint64_t n;

	plat_lock(&t->lock);
	n = t->seq - t->told;
	plat_unlock(&t->lock);
	return n;
}

size_t core_trace_waiting(struct core_trace *t, uint64_t *ret_seq)
{
	size_t n;

	plat_lock(&t->lock);
	n = t->count;
	*ret_seq = t->seq;
	plat_unlock(&t->lock);
	return n;
}
