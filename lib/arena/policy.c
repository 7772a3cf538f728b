/* SPDX-License-Identifier: MIT */
/*
 * Policies: which arenas memory comes from, and what the kernel is told about theirs.
 *
 * LOCAL and PREFERRED are an order of the nodes' own arenas: a zonelist. The other modes let the kernel choose page by
 * page among several nodes, so memory under them is of no one node, and each different policy in use has a pair of
 * arenas of its own, bound to it by mbind. So has the task's own policy (numactl, set_mempolicy), which binds nothing:
 * where the kernel puts a page that nothing was said about is what that policy says. Since a task can give itself one at
 * any time, it is asked for whenever frames are wanted (a tenth of a microsecond, and only where there are several nodes).
 *
 * Weights that the program gives are ours to keep, since the kernel has one set of weights for everybody: pageblocks are
 * bound one after the other as the arena grows.
 */
#include <errno.h>
#include <string.h>

#include "arena/internal.h"

const struct ash_zonelist ash_zonelist_by_node;

const struct ash_policy *ash_arena_policy(unsigned slot)
{
	return slot < ash_arenas.nr_nodes ? NULL : &ash_arenas.numa->policies[slot - ash_arenas.nr_nodes];
}

static bool has_weights(const struct ash_policy *p)
{
	bool any = false;

	for (unsigned node = 0; node < ASH_NODES_MAX; node++)
		any |= p->weight[node] != 0;
	return any;
}

bool ash_arena_is_pieced(const struct ash_arena *a)
{
	return a->policy != NULL && a->policy->mode == ASH_POLICY_WEIGHTED_INTERLEAVE && has_weights(a->policy);
}

static unsigned weight_of(const struct ash_policy *p, unsigned node)
{
	return (p->nodes >> node & 1) == 0 ? 0 : ash_max(p->weight[node], 1u);
}

/* Whose turn the nth piece of an arena is, and how many pieces from it on are of the same node. */
static unsigned turn_of(const struct ash_policy *p, size_t n, size_t *in_a_row)
{
	unsigned cycle = 0, node = 0;

	for (unsigned i = 0; i < ASH_NODES_MAX; i++)
		cycle += weight_of(p, i);
	for (n %= cycle; n >= weight_of(p, node); node++)
		n -= weight_of(p, node);
	*in_a_row = weight_of(p, node) - n;
	return node;
}

/* Preferred, not bound: a full node must not be the end of interleaving. */
static int place_pieces(const struct ash_arena *a, char *at, size_t offset, size_t bytes, size_t piece)
{
	while (bytes > 0) {
		struct ash_policy p = { .mode = ASH_POLICY_PREFERRED };
		size_t in_a_row, some;
		int err;

		p.nodes = 1ull << turn_of(a->policy, offset / piece, &in_a_row);
		some = ash_min(bytes, in_a_row * piece - offset % piece);
		err = ash_policy_apply(at, some, &p);
		if (err < 0)
			return err;
		at += some;
		offset += some;
		bytes -= some;
	}
	return 0;
}

int ash_arena_place(const struct ash_arena *a, void *addr, size_t offset, size_t bytes, size_t page)
{
	struct ash_policy own = { .mode = a->kind == ASH_ARENA_T ? ASH_POLICY_PREFERRED : ASH_POLICY_BIND };

	if (ash_arena_is_pieced(a))
		return place_pieces(a, addr, offset, bytes, ash_max(page, ASH_PB_BYTES));
	if (a->policy != NULL)
		return a->policy->mode == ASH_POLICY_DEFAULT ? 0 : ash_policy_apply(addr, bytes, a->policy);
	if (!ash_arenas.bind)
		return 0;
	own.nodes = 1ull << a->node;
	return ash_policy_apply(addr, bytes, &own);
}

/* Caller holds the setup turn. -ENOSPC: no slot is left. */
static int slot_of(const struct ash_policy *p)
{
	struct ash_numa *n = ash_arenas.numa;

	for (unsigned i = 0; i < n->nr_policies; i++) {
		if (memcmp(&n->policies[i], p, sizeof(*p)) == 0)
			return (int)i;
	}
	if (n->nr_policies == ASH_POLICY_SLOTS)
		return -ENOSPC;
	n->policies[n->nr_policies] = *p;
	return (int)n->nr_policies++;
}

/* Caller holds the setup turn. */
static int zonelist_of_slot(const struct ash_policy *p, const struct ash_zonelist **out)
{
	const int slot = slot_of(p);

	*out = slot >= 0 ? ash_zonelist_at(ASH_NODES_MAX + (unsigned)slot) : NULL;
	return slot < 0 ? slot : *out != NULL ? 0 : -ENOMEM;
}

int ash_zonelist_of_policy(const struct ash_policy *policy, const struct ash_zonelist **out)
{
	const uint64_t usable = atomic_load_explicit(&ash_arenas.usable, memory_order_relaxed);
	struct ash_policy p = *policy;
	int err = 0;

	if (!ash_policy_valid(&p) || p.reserved != 0)
		return -EINVAL;
	*out = p.mode == ASH_POLICY_LOCAL ? &ash_zonelist_by_node : NULL;
	if (p.mode <= ASH_POLICY_LOCAL)
		return 0;
	p.nodes &= usable;
	if (p.nodes == 0)
		return -EINVAL;
	if (ash_arenas.numa == NULL && (usable & (usable - 1)) != 0)
		return -ENOSPC;
	if (ash_arenas.numa == NULL) {
		*out = ash_arenas.zonelist;
	} else if (p.mode == ASH_POLICY_PREFERRED) {
		*out = ash_zonelist_for((int)ash_ctz(p.nodes));
	} else {
		ash_lock(&ash_arenas.setup, &ash_futex_ops);
		err = zonelist_of_slot(&p, out);
		ash_unlock(&ash_arenas.setup, &ash_futex_ops);
	}
	return err;
}

/* Caller holds the setup turn. NULL: all slots are taken, or there is no memory. */
static const struct ash_zonelist *make_tasks_zonelist(void)
{
	static const struct ash_policy the_tasks = { .mode = ASH_POLICY_DEFAULT };
	const struct ash_zonelist *zl;

	(void)!zonelist_of_slot(&the_tasks, &zl);
	atomic_store_explicit(&ash_arenas.numa->tasks_zonelist, zl, memory_order_release);
	return zl;
}

const struct ash_zonelist *ash_zonelist_yield(const struct ash_zonelist *zl)
{
	const struct ash_zonelist *own;

	if (!zl->yields || !atomic_load_explicit(&ash_arenas.numa->may_yield, memory_order_relaxed) || !ash_numa_has_policy())
		return zl;
	own = atomic_load_explicit(&ash_arenas.numa->tasks_zonelist, memory_order_acquire);
	if (own == NULL) {
		ash_lock(&ash_arenas.setup, &ash_futex_ops);
		own = make_tasks_zonelist();
		ash_unlock(&ash_arenas.setup, &ash_futex_ops);
	}
	return own != NULL ? own : zl;
}

static void set_policy(const struct ash_policy *policy, const struct ash_zonelist *zl)
{
	atomic_store_explicit(&ash_arenas.numa->may_yield, policy->mode == ASH_POLICY_DEFAULT, memory_order_relaxed);
	atomic_store_explicit(&ash_arenas.numa->process_zonelist, zl == &ash_zonelist_by_node ? NULL : zl, memory_order_release);
}

int ash_arena_set_policy(const struct ash_policy *policy)
{
	const struct ash_zonelist *zl;
	int err = ash_zonelist_of_policy(policy, &zl);

	if (err == 0 && ash_arenas.numa != NULL)
		set_policy(policy, zl);
	return err;
}

/* A policy that cannot be had is none: the options complained about it. */
const struct ash_zonelist *ash_zonelist_first(void)
{
	struct ash_policy p = ash_arenas.config.policy;
	const struct ash_zonelist *zl = NULL;

	if (ash_arenas.numa == NULL)
		return ash_arenas.zonelist;
	p.nodes &= atomic_load_explicit(&ash_arenas.usable, memory_order_relaxed);
	if (p.mode == ASH_POLICY_PREFERRED && p.nodes != 0)
		zl = ash_zonelist_at(ash_ctz(p.nodes));
	else if (p.mode > ASH_POLICY_LOCAL && p.nodes != 0)
		(void)!zonelist_of_slot(&p, &zl);
	set_policy(&p, zl);
	if (zl == NULL && p.mode == ASH_POLICY_DEFAULT && ash_numa_has_policy())
		zl = make_tasks_zonelist();
	return zl != NULL ? zl : ash_arenas.zonelist;
}
