/* SPDX-License-Identifier: MIT */
/*
 * Which nodes a buffer comes from that names none: what the policy says that the heap would go by. A policy that
 * spreads memory spreads buffers, each of which lies on one node: a device wants to know which.
 */
#include <errno.h>

#include "dma/dma.h"
#include "dma/internal.h"
#include "os/policy.h"

static _Atomic(ash_dma_policy_fn *) policy_source;
static _Atomic unsigned turn;

void ash_dma_policy_source(ash_dma_policy_fn *source)
{
	atomic_store_explicit(&policy_source, source, memory_order_relaxed);
}

static unsigned weight_of(const struct ash_policy *p, unsigned node)
{
	return (p->nodes >> node & 1) == 0 ? 0 : ash_max(p->weight[node], 1u);
}

/* Whose turn it is. */
static int next_of(const struct ash_policy *p)
{
	unsigned n = atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed), cycle = 0, node = 0;

	for (unsigned i = 0; i < ASH_NODES_MAX; i++)
		cycle += weight_of(p, i);
	for (n %= cycle; n >= weight_of(p, node); node++)
		n -= weight_of(p, node);
	return (int)node;
}

static int nearest_of(uint64_t nodes, int here)
{
	int best = -1, distance[ASH_NODES_MAX];

	if ((nodes >> here & 1) != 0)
		return here;
	ash_numa_topology()->distances(here, distance);
	for (; nodes != 0; nodes &= nodes - 1) {
		const int node = (int)ash_ctz(nodes);

		if (best < 0 || distance[node] < distance[best])
			best = node;
	}
	return best;
}

/* Of the nodes that somebody named, those that have arenas; -EINVAL: none, or this is no policy. */
static int read_own(const struct ash_policy *own, struct ash_policy *p)
{
	*p = *own;
	if (!ash_policy_valid(p) || p->reserved != 0)
		return -EINVAL;
	for (uint64_t nodes = p->nodes; nodes != 0; nodes &= nodes - 1) {
		if (ash_dma_place((int)ash_ctz(nodes)) == ASH_DMA_NO_PLACE)
			p->nodes &= ~(nodes & -nodes);
	}
	return p->nodes == 0 && own->nodes != 0 ? -EINVAL : 0;
}

/* own: of the request; NULL or DEFAULT: none. -EINVAL: it is none that can be. */
int ash_dma_choose(int node, const struct ash_policy *own, uint64_t *nodes)
{
	ash_dma_policy_fn *const source = atomic_load_explicit(&policy_source, memory_order_relaxed);
	const int here = node == ASH_NODE_LOCAL ? ash_numa_current() : node;
	struct ash_policy p = { .mode = ASH_POLICY_LOCAL };

	*nodes = UINT64_MAX;
	if (own != NULL && own->mode == ASH_POLICY_DEFAULT)
		own = NULL;
	/* Until it is set up, whether there are several is not known. */
	if (node != ASH_NODE_LOCAL || (source == NULL && own == NULL) || ash_dma_setup() < 0)
		return here;
	if (own != NULL && read_own(own, &p) < 0)
		return -EINVAL;
	if (!ash_dma.bind)
		return here;
	if (own == NULL)
		source(&p);
	if (p.nodes == 0)
		return here;
	if (p.mode == ASH_POLICY_BIND)
		*nodes = p.nodes;
	return p.mode >= ASH_POLICY_INTERLEAVE ? next_of(&p) : nearest_of(p.nodes, here);
}
