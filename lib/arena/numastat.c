/* SPDX-License-Identifier: MIT */
/*
 * Placement by node: what was asked, what was had, and where it really is.
 *
 * Runs are counted when they are handed out, by the arena they came from; that is what ashlar decided. What the kernel
 * made of it, it is asked for when somebody reads the statistics.
 */
#include <errno.h>

#include "arena/internal.h"

enum { SAMPLES = 4096, QUERY = 256 };

static void add(_Atomic uint64_t *to, uint64_t nr)
{
	(void)atomic_fetch_add_explicit(to, nr, memory_order_relaxed);
}

static void note_spill(int from, int to, enum ash_spill_reason reason, size_t nr)
{
	struct ash_numa *numa = ash_arenas.numa;
	const uint32_t key = ash_spill_key(from, to, reason);

	for (unsigned i = 0; i < ASH_SPILLS; i++) {
		uint32_t seen = 0;

		if (atomic_compare_exchange_strong_explicit(&numa->spills[i].key, &seen, key, memory_order_relaxed,
							    memory_order_relaxed) ||
		    seen == key || i == ASH_SPILLS - 1) {
			add(&numa->spills[i].runs, 1);
			add(&numa->spills[i].frames, nr);
			return;
		}
	}
}

/* Why the first arena's node did not give it. */
static enum ash_spill_reason why_not_first(const struct ash_zonelist *zl, size_t nr)
{
	const size_t limit = ash_arenas.config.limit;

	if (limit != 0 &&
	    atomic_load_explicit(&ash_arenas.online_bytes, memory_order_relaxed) + nr * ASH_PAGE_SIZE > limit)
		return ASH_SPILL_LIMIT;
	return zl->arena[0] % ASH_ARENA_KINDS == ASH_ARENA_H && ash_arenas.config.strict ? ASH_SPILL_POOL
											  : ASH_SPILL_SPACE;
}

int ash_arena_node_of(unsigned index)
{
	const unsigned slot = index / ASH_ARENA_KINDS;
	const struct ash_policy *p = ash_arena_policy(slot);

	if (p == NULL)
		return slot < ash_nr_nodes() ? ash_arenas.nodes[slot] : -1;
	return p->mode == ASH_POLICY_BIND && (p->nodes & (p->nodes - 1)) == 0 ? (int)ash_ctz(p->nodes) : -1;
}

void ash_numastat_count(const struct ash_zonelist *zl, unsigned i, size_t nr)
{
	struct ash_numa *numa = ash_arenas.numa;
	const int asked = ash_arena_node_of(zl->arena[0]), got = ash_arena_node_of(zl->arena[i]);
	const int here = ash_numa_current();

	if (got < 0)
		return;
	if (zl->why != ASH_SPILL_NONE)
		note_spill(zl->home, got, (enum ash_spill_reason)zl->why, nr);
	else if (asked != got)
		note_spill(asked, got, why_not_first(zl, nr), nr);
	else if (here != got && !zl->yields)
		note_spill(here, got, ASH_SPILL_POLICY, nr);
	if (asked == got) {
		add(&numa->counts[got].hit, nr);
	} else {
		add(&numa->counts[got].miss, nr);
		add(&numa->counts[asked].foreign, nr);
	}
	add(here == got ? &numa->counts[got].local : &numa->counts[got].other, nr);
}

bool ash_numastat(unsigned node, struct ash_numastat *out)
{
	const struct ash_numa *numa = ash_arenas.numa;

	*out = (struct ash_numastat){ 0 };
	if (numa == NULL || node >= ASH_NODES_MAX)
		return false;
	*out = (struct ash_numastat){
		.hit = atomic_load_explicit(&numa->counts[node].hit, memory_order_relaxed),
		.miss = atomic_load_explicit(&numa->counts[node].miss, memory_order_relaxed),
		.foreign = atomic_load_explicit(&numa->counts[node].foreign, memory_order_relaxed),
		.local = atomic_load_explicit(&numa->counts[node].local, memory_order_relaxed),
		.other = atomic_load_explicit(&numa->counts[node].other, memory_order_relaxed),
	};
	return out->hit + out->miss + out->foreign != 0;
}

unsigned ash_spills(struct ash_spill out[], unsigned max)
{
	const struct ash_numa *numa = ash_arenas.numa;
	unsigned n = 0;

	for (; numa != NULL && n < ASH_SPILLS && n < max; n++) {
		const uint32_t key = atomic_load_explicit(&numa->spills[n].key, memory_order_relaxed);

		if (key == 0)
			break;
		out[n] = ash_spill_of(key, atomic_load_explicit(&numa->spills[n].runs, memory_order_relaxed),
				      atomic_load_explicit(&numa->spills[n].frames, memory_order_relaxed));
	}
	return n;
}

const struct ash_policy *ash_arena_policy_of(unsigned index)
{
	return index < ash_registry.nr_spans ? ash_arena_policy(index / ASH_ARENA_KINDS) : NULL;
}

static void tally(const int nodes[], unsigned n, struct ash_placement *out)
{
	for (unsigned i = 0; i < n; i++) {
		if (nodes[i] >= 0 && nodes[i] < ASH_NODES_MAX) {
			out->on[nodes[i]]++;
			out->sampled++;
		}
	}
}

int ash_arena_where(unsigned index, struct ash_placement *out)
{
	const struct ash_arena *a = index < ash_registry.nr_spans ? ash_arena_peek(index) : NULL;
	void *pages[QUERY];
	int nodes[QUERY], err = 0;
	size_t end, pfn = 0;

	if (a == NULL)
		return -ENOENT;
	end = atomic_load_explicit(&a->end, memory_order_relaxed);
	*out = (struct ash_placement){ .step = ash_max((end + SAMPLES - 1) / SAMPLES, 1) };
	while (pfn < end && err == 0) {
		unsigned n = 0;

		for (; n < QUERY && pfn < end; pfn += out->step)
			pages[n++] = ash_arena_address(a, (ash_pfn_t)pfn);
		err = ash_numa_where(n, pages, nodes);
		if (err == 0)
			tally(nodes, n, out);
	}
	return err;
}
