/* SPDX-License-Identifier: MIT */
/*
 * Policies: which arenas memory comes from, and what the kernel is told about theirs.
 *
 * LOCAL and PREFERRED are an order of the nodes' own arenas: a zonelist. The other modes let the kernel choose page by
 * page among several nodes, so memory under them is of no one node, and each different policy in use has a pair of
 * arenas of its own, bound to it by mbind. So memory that was bound once is never handed out under another policy.
 *
 * The task's own policy (numactl, set_mempolicy) is one of these, too. Since a task can give itself one at any time, it
 * is asked for whenever frames are wanted (a tenth of a microsecond, and only where there are several nodes), and a
 * thread that has one is asked each time it needs more than its caches hold. One that our words cannot tell, or that
 * comes when all slots are taken, has arenas that are bound to nothing: where the kernel puts a page that nothing was
 * said about is what that policy says.
 *
 * Weights that the program gives are ours to keep, since the kernel has one set of weights for everybody: pageblocks
 * are bound one after the other as the arena grows.
 */
#include <errno.h>
#include <string.h>

#include "arena/internal.h"

const struct ash_zonelist ash_zonelist_by_node;

ASH_EARLY const struct ash_policy *ash_arena_policy(unsigned slot)
{
	return slot < ash_arenas.nr_node_slots ? NULL : &ash_arenas.numa->policies[slot - ash_arenas.nr_node_slots];
}

static bool has_weights(const struct ash_policy *p)
{
	bool any = false;

	for (unsigned node = 0; node < ASH_NODES_MAX; node++)
		any |= p->weight[node] != 0;
	return any;
}

ASH_EARLY bool ash_arena_is_pieced(const struct ash_arena *a)
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

/* The number of a policy, or nr_policies. */
static unsigned find_slot(const struct ash_policy *p)
{
	const struct ash_numa *n = ash_arenas.numa;
	const unsigned nr = atomic_load_explicit(&n->nr_policies, memory_order_acquire);
	unsigned i = 0;

	while (i < nr && memcmp(&n->policies[i], p, sizeof(*p)) != 0)
		i++;
	return i;
}

/* Caller holds the setup turn. -ENOSPC: no slot is left. */
static int make_list(const struct ash_policy *p, const struct ash_zonelist **out)
{
	struct ash_numa *n = ash_arenas.numa;
	const unsigned nr = atomic_load_explicit(&n->nr_policies, memory_order_relaxed), slot = find_slot(p);

	if (slot == nr) {
		if (nr >= ash_arenas.nr_policy_slots)
			return -ENOSPC;
		n->policies[nr] = *p;
		atomic_store_explicit(&n->nr_policies, nr + 1, memory_order_release);
	}
	*out = ash_zonelist_at(ASH_NODES_MAX + slot);
	return *out != NULL ? 0 : -ENOMEM;
}

static int list_of(const struct ash_policy *p, bool have_turn, const struct ash_zonelist **out)
{
	struct ash_numa *n = ash_arenas.numa;
	const unsigned slot = find_slot(p);
	int err;

	*out = slot < ASH_POLICY_SLOTS ? atomic_load_explicit(&n->zonelists[ASH_NODES_MAX + slot], memory_order_acquire)
				       : NULL;
	if (*out != NULL)
		return 0;
	if (!have_turn)
		ash_lock(&ash_arenas.setup, &ash_futex_ops);
	err = make_list(p, out);
	if (!have_turn)
		ash_unlock(&ash_arenas.setup, &ash_futex_ops);
	return err;
}

int ash_zonelist_of_policy(const struct ash_policy *policy, const struct ash_zonelist **out)
{
	const uint64_t usable = atomic_load_explicit(&ash_arenas.usable, memory_order_relaxed);
	struct ash_policy p = *policy;

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
	if (ash_arenas.numa == NULL)
		*out = ash_arenas.zonelist;
	else if (p.mode == ASH_POLICY_PREFERRED)
		*out = ash_zonelist_for((int)ash_ctz(p.nodes));
	else
		return list_of(&p, false, out);
	return 0;
}

/* The task's policy as one of ours; false: it has none. What cannot be told is DEFAULT, which binds nothing. */
static bool tasks_policy(struct ash_policy *p)
{
	const int err = ash_policy_of_task(p);

	if (err == 0 && p->mode == ASH_POLICY_DEFAULT)
		return false;
	p->nodes &= atomic_load_explicit(&ash_arenas.usable, memory_order_relaxed);
	if (err < 0 || p->nodes == 0)
		*p = (struct ash_policy){ .mode = ASH_POLICY_DEFAULT };
	return true;
}

/* zl: where there is no memory for the list. */
static const struct ash_zonelist *tasks_list(const struct ash_policy *p, bool have_turn, const struct ash_zonelist *zl)
{
	static const struct ash_policy unbound = { .mode = ASH_POLICY_DEFAULT };
	const struct ash_zonelist *own;

	if (p->mode == ASH_POLICY_PREFERRED) {
		own = have_turn ? ash_zonelist_at(ash_ctz(p->nodes)) : ash_zonelist_for((int)ash_ctz(p->nodes));
		return own != NULL ? own : zl;
	}
	if (list_of(p, have_turn, &own) == 0 || list_of(&unbound, have_turn, &own) == 0)
		return own;
	return zl;
}

/*
 * Whether this thread has a policy of its own, which only it can change: asked for again when that is so or is not
 * known. It may change it in a signal handler, between our asking and our noting the answer: hence the count.
 */
static ASH_TLS_DEFINE volatile bool no_task_policy;
static ASH_TLS_DEFINE volatile unsigned task_policy_changes;

void ash_task_policy_changed(void)
{
	task_policy_changes++;
	no_task_policy = false;
}

const struct ash_zonelist *ash_zonelist_yield(const struct ash_zonelist *zl)
{
	struct ash_policy p;
	unsigned before;
	bool none;

	if (!zl->yields || !atomic_load_explicit(&ash_arenas.numa->may_yield, memory_order_relaxed))
		return zl;
	before = task_policy_changes;
	none = !tasks_policy(&p);
	no_task_policy = none;
	if (task_policy_changes != before)
		no_task_policy = false;
	return none ? zl : tasks_list(&p, false, zl);
}

const struct ash_zonelist *ash_zonelist_by_task(const struct ash_zonelist *zl)
{
	return ASH_LIKELY(no_task_policy) ? zl : ash_zonelist_yield(zl);
}

static ASH_TLS_DEFINE const struct ash_zonelist *threads_zonelist;

ASH_EARLY const struct ash_zonelist *ash_zonelist_of_thread(void)
{
	const struct ash_zonelist *own = threads_zonelist;

	if (ASH_LIKELY(own == NULL))
		return ash_zonelist_for(-1);
	return own == &ash_zonelist_by_node ? ash_zonelist_for(ASH_NODE_CURRENT) : own;
}

int ash_arena_set_thread_policy(const struct ash_policy *policy)
{
	const struct ash_zonelist *zl;
	int err = ash_zonelist_of_policy(policy, &zl);

	if (err == 0) {
		threads_zonelist = zl;
		ash_task_policy_changed();
	}
	return err;
}

static void describe(const struct ash_zonelist *zl, struct ash_policy *out)
{
	*out = (struct ash_policy){ .mode = ASH_POLICY_LOCAL };
	if (zl == &ash_zonelist_by_node)
		return;
	if (zl->home >= ASH_NODES_MAX)
		*out = ash_arenas.numa->policies[zl->home - ASH_NODES_MAX];
	else
		*out = (struct ash_policy){ .mode = ASH_POLICY_PREFERRED, .nodes = 1ull << zl->home };
}

bool ash_arena_policy_now(struct ash_policy *out)
{
	const struct ash_zonelist *zl = threads_zonelist;

	*out = (struct ash_policy){ .mode = ASH_POLICY_LOCAL };
	if (ash_arenas.numa == NULL)
		return false;
	if (zl == NULL)
		zl = atomic_load_explicit(&ash_arenas.numa->process_zonelist, memory_order_acquire);
	if (zl != NULL) {
		describe(zl, out);
		return true;
	}
	if (!atomic_load_explicit(&ash_arenas.numa->may_yield, memory_order_relaxed))
		return true;
	if (!tasks_policy(out))
		out->mode = ASH_POLICY_LOCAL;
	return false;
}

static void set_policy(const struct ash_policy *policy, const struct ash_zonelist *zl)
{
	atomic_store_explicit(&ash_arenas.numa->may_yield, policy->mode == ASH_POLICY_DEFAULT, memory_order_relaxed);
	atomic_store_explicit(&ash_arenas.numa->process_zonelist, zl == &ash_zonelist_by_node ? NULL : zl,
			      memory_order_release);
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
ASH_EARLY const struct ash_zonelist *ash_zonelist_first(void)
{
	struct ash_policy p = ash_arenas.config.policy;
	const struct ash_zonelist *zl = NULL;

	if (ash_arenas.numa == NULL)
		return ash_arenas.zonelist;
	atomic_store_explicit(&ash_arenas.numa->nr_policies, 1, memory_order_relaxed);
	p.nodes &= atomic_load_explicit(&ash_arenas.usable, memory_order_relaxed);
	if (p.mode == ASH_POLICY_PREFERRED && p.nodes != 0)
		zl = ash_zonelist_at(ash_ctz(p.nodes));
	else if (p.mode > ASH_POLICY_LOCAL && p.nodes != 0)
		(void)!list_of(&p, true, &zl);
	set_policy(&p, zl);
	if (zl == NULL && p.mode == ASH_POLICY_DEFAULT && tasks_policy(&p))
		zl = tasks_list(&p, true, ash_arenas.zonelist);
	return zl != NULL ? zl : ash_arenas.zonelist;
}

uint64_t ash_arena_nodes_of(const void *addr)
{
	const unsigned slot = (unsigned)(ash_frame_index(addr) >> ash_registry.span_frame_shift) / ASH_ARENA_KINDS;
	const struct ash_policy *p;

	if (!ash_arenas.bind)
		return UINT64_MAX;
	p = ash_arena_policy(slot);
	if (p == NULL)
		return 1ull << ash_arenas.nodes[slot];
	return p->mode == ASH_POLICY_DEFAULT || p->mode == ASH_POLICY_PREFERRED_MANY ? UINT64_MAX : p->nodes;
}
