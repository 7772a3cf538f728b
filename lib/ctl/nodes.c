/* SPDX-License-Identifier: MIT */
/*
 * Placement, for statistics: what was asked of each node, and where the memory is by the kernel's word.
 *
 * Counts are of runs as they were handed out; what was found is from up to 4096 evenly spread pages of each arena, each
 * standing for as many as lie between two.
 */
#include "ctl/formats.h"

#include "os/huge.h"

static void add_arena(const struct ash_snapshot_arena *a, const struct ash_placement *where,
		      struct ash_snapshot_node nodes[ASH_POLICY_NODES])
{
	for (int node = 0; node < ASH_POLICY_NODES; node++) {
		const uint64_t found = (uint64_t)where->on[node] * where->step;

		nodes[node].in_memory += found;
		if (a->stats.node >= 0 && node != a->stats.node)
			nodes[a->stats.node].strayed += found;
		if (a->policy != NULL && a->policy->mode >= ASH_POLICY_INTERLEAVE &&
		    (a->policy->nodes >> node & 1) != 0)
			nodes[node].interleave_hit += found;
	}
}

static void take_pools(struct ash_snapshot_node *n)
{
	struct ash_huge_pool pool;

	if (ash_huge_pool(n->node, ASH_HUGE_2M_SHIFT, &pool) == 0) {
		n->pool_2m = pool.total;
		n->pool_2m_free = pool.free;
	}
	if (ash_huge_pool(n->node, ASH_HUGE_1G_SHIFT, &pool) == 0) {
		n->pool_1g = pool.total;
		n->pool_1g_free = pool.free;
	}
}

/* By node number first; those with nothing to tell are then left out. */
void ash_snapshot_take_nodes(struct ash_snapshot *s)
{
	if (ash_registry.nr_spans <= ASH_ARENA_KINDS)
		return;
	for (unsigned i = 0; i < s->nr_arenas; i++) {
		struct ash_placement where;
		const int err = ash_arena_where(s->arenas[i].index, &where);

		if (err == 0)
			add_arena(&s->arenas[i], &where, s->nodes);
		else
			s->placement_error = err;
	}
	for (int node = 0; node < ASH_POLICY_NODES; node++) {
		struct ash_snapshot_node *n = &s->nodes[s->nr_nodes];
		struct ash_numastat stat;
		const bool counted = ash_numastat((unsigned)node, &stat);

		*n = s->nodes[node];
		if (!counted && n->in_memory == 0)
			continue;
		n->node = node;
		n->numa_hit = stat.hit;
		n->numa_miss = stat.miss;
		n->numa_foreign = stat.foreign;
		n->local_node = stat.local;
		n->other_node = stat.other;
		take_pools(n);
		s->nr_nodes++;
	}
	s->nr_spills = ash_spills(s->spills, ASH_SNAPSHOT_SPILLS);
}
