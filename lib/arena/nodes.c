/* SPDX-License-Identifier: MIT */
/*
 * Nodes and zonelists: which nodes the process may use, and in which order a thread of each looks for memory.
 *
 * Nothing of /proc or /sys is read while a process starts, except on a machine that has, or may get, more than one
 * node. There as many nodes have slots as are there, and some more, whether they may be used or not, because that may
 * change: a cpuset is made wider or narrower, a node is given memory, or comes to be. A slot is address space; which
 * node has it is settled when the node may be used for the first time. The set of usable nodes is looked at again once
 * a second at most, on the slow paths of whoever passes. When it has changed, zonelists are built anew, heaps find that
 * theirs is not the one any more (heap/thread.c), and free memory goes back to the system: it may have been moved with
 * the cpuset. What changes and changes back between two looks is not seen: memory that came meanwhile stays where it
 * is.
 *
 * The kernel answers for the thread that asks. Threads may be in cpusets of their own, and one that is created while a
 * node comes to be may never be told of it: whose look it is decides then, and the nodes seem to come and go for ever.
 * So what comes back is looked at less and less often, and a list that there has been before is used again.
 */
#include <errno.h>

#include "arena/internal.h"
#include "os/clock.h"

enum { DISTANCE_UNKNOWN = 255, LOOK_MS = 1000, LOOK_MS_MAX = 64000, NODES_TO_COME = 8 };

static bool several(uint64_t mask)
{
	return (mask & (mask - 1)) != 0;
}

static unsigned count(uint64_t mask)
{
	unsigned n = 0;

	for (; mask != 0; mask &= mask - 1)
		n++;
	return n;
}

bool ash_arena_is_several(void)
{
	return ash_arenas.bind;
}

bool ash_wants_hugetlb(void)
{
	return ash_arenas.config.huge == ASH_HUGE_2M || ash_arenas.config.huge == ASH_HUGE_1G;
}

/* One arena pair, which binds nothing. node is what it is called. */
void ash_nodes_use_one(int node)
{
	ash_arenas.bind = false;
	ash_arenas.nodes[0] = (int16_t)node;
	ash_arenas.nr_node_slots = 1;
	ash_arenas.nr_policy_slots = 0;
	atomic_store_explicit(&ash_arenas.nr_nodes, 1, memory_order_relaxed);
}

/* Allowed ones without memory are of use to nobody; when none seems to have any, the kernel has not told. */
static uint64_t with_memory(uint64_t allowed, const struct ash_numa_topology *t)
{
	const uint64_t some = several(allowed) ? allowed & t->with_memory() : 0;

	return some != 0 ? some : allowed;
}

static bool has_slot(unsigned node)
{
	const unsigned nr = ash_nr_nodes();
	unsigned i = 0;

	while (i < nr && ash_arenas.nodes[i] != (int)node)
		i++;
	return i < nr;
}

/* Slots for those of nodes that have none yet: those that have one then. With the setup turn held, or nobody to share
 * it. */
static uint64_t give_slots(uint64_t nodes)
{
	uint64_t have = 0;

	for (; nodes != 0; nodes &= nodes - 1) {
		const unsigned node = ash_ctz(nodes), nr = ash_nr_nodes();

		if (!has_slot(node)) {
			if (nr == ash_arenas.nr_node_slots)
				continue;
			ash_arenas.nodes[nr] = (int16_t)node;
			atomic_store_explicit(&ash_arenas.nr_nodes, nr + 1, memory_order_release);
		}
		have |= 1ull << node;
	}
	return have;
}

/* For the nodes that are there now and those that may come, within reason. What the kernel does not tell of is not
 * there. */
static unsigned slots_for(uint64_t nodes, uint64_t possible)
{
	const unsigned now = count(nodes), all = count(nodes | possible);

	if (all <= now + NODES_TO_COME)
		return all;
	return ash_max(count(nodes | ash_numa_online()), now + NODES_TO_COME);
}

ASH_EARLY void ash_nodes_find(void)
{
	uint64_t nodes = 1, possible = 0;

	if (ash_numa_may_be_several()) {
		nodes = with_memory(ash_numa_allowed(), ash_numa_topology());
		possible = ash_numa_possible();
	}
	atomic_store_explicit(&ash_arenas.usable, nodes, memory_order_relaxed);
	if (!several(nodes | possible)) {
		ash_nodes_use_one((int)ash_ctz(nodes));
		return;
	}
	ash_arenas.bind = true;
	ash_arenas.nr_node_slots = slots_for(nodes, possible);
	ash_arenas.nr_policy_slots = ASH_POLICY_SLOTS;
	atomic_store_explicit(&ash_arenas.nr_nodes, 0, memory_order_relaxed);
	(void)give_slots(nodes);
}

static bool is_usable(unsigned slot)
{
	return (atomic_load_explicit(&ash_arenas.usable, memory_order_relaxed) >> ash_arenas.nodes[slot] & 1) != 0;
}

/*
 * Usable slots by distance from a node, which need not have one: how many. Among equally distant ones the kernel's
 * rules hold (find_next_best_node in mm/page_alloc.c): nodes without processors first, then those with higher numbers
 * than the node itself. Its last rule, the one least in use by other nodes' lists, depends on the order in which it
 * built them.
 */
static unsigned order_slots(int from, uint8_t order[])
{
	const unsigned nr_nodes = ash_nr_nodes();
	const uint64_t with_cpus = ash_numa_with_cpus();
	int distance[ASH_NODES_MAX], to[ASH_NODES_MAX];
	unsigned nr = 0;

	ash_numa_topology()->distances(from, to);
	for (unsigned i = 0; i < nr_nodes; i++) {
		const int node = ash_arenas.nodes[i];
		unsigned at = nr;
		int d = to[node] != 0 ? to[node] : DISTANCE_UNKNOWN;

		if (!is_usable(i))
			continue;
		/* Slots are in no order, and equal distances are in that of the nodes' numbers. */
		d = node == from ? 0 : (d + (node < from) + (int)(with_cpus >> node & 1)) * ASH_NODES_MAX + node;
		for (; at > 0 && distance[at - 1] > d; at--) {
			distance[at] = distance[at - 1];
			order[at] = order[at - 1];
		}
		distance[at] = d;
		order[at] = (uint8_t)i;
		nr++;
	}
	return nr;
}

static void zonelist_add(struct ash_zonelist *zl, unsigned slot, enum ash_arena_kind kind)
{
	const unsigned index = slot * ASH_ARENA_KINDS + kind;

	if (index < ash_registry.nr_spans)
		zl->arena[zl->nr++] = (uint16_t)index;
}

/* The ladder of a slot. Strictness leaves out the rungs below hugetlb. */
static void zonelist_add_slot(struct ash_zonelist *zl, unsigned slot)
{
	if (ash_wants_hugetlb())
		zonelist_add(zl, slot, ASH_ARENA_H);
	if (!ash_wants_hugetlb() || !ash_arenas.config.strict)
		zonelist_add(zl, slot, ASH_ARENA_T);
}

/* A policy's own arenas, or the ladder of the nearest node, then of the next. */
static void zonelist_fill(struct ash_zonelist *zl, unsigned home)
{
	uint8_t order[ASH_NODES_MAX] = { 0 };
	unsigned nr = 1;

	if (home >= ASH_NODES_MAX)
		order[0] = (uint8_t)(ash_arenas.nr_node_slots + home - ASH_NODES_MAX);
	else
		nr = order_slots((int)home, order);
	for (unsigned i = 0; i < nr; i++)
		zonelist_add_slot(zl, order[i]);
}

/* For statistics: why a list begins with another node than its own. */
static enum ash_spill_reason why_elsewhere(unsigned home)
{
	if (home >= ASH_NODES_MAX || (atomic_load_explicit(&ash_arenas.usable, memory_order_relaxed) >> home & 1) != 0)
		return ASH_SPILL_NONE;
	return (ash_numa_topology()->with_memory() >> home & 1) != 0 ? ASH_SPILL_CPUSET : ASH_SPILL_MEMORYLESS;
}

static bool zonelist_equal(const struct ash_zonelist *a, const struct ash_zonelist *b)
{
	bool equal = a->nr == b->nr && a->why == b->why;

	for (unsigned i = 0; equal && i < a->nr; i++)
		equal = a->arena[i] == b->arena[i];
	return equal;
}

/* Lists are never freed, since anybody may be walking one: all that a home has had are linked, the newest first. */
static const struct ash_zonelist *zonelist_build(unsigned home, bool local)
{
	_Atomic(const struct ash_zonelist *) *at =
		local ? &ash_arenas.numa->local_zonelists[home] : &ash_arenas.numa->zonelists[home];
	const struct ash_zonelist **had =
		local ? &ash_arenas.numa->had_local_zonelists[home] : &ash_arenas.numa->had_zonelists[home];
	struct ash_zonelist now = { .home = (uint16_t)home, .yields = local, .why = (uint8_t)why_elsewhere(home) };
	const struct ash_zonelist *zl = *had;
	struct ash_zonelist *new;

	zonelist_fill(&now, home);
	while (zl != NULL && !zonelist_equal(zl, &now))
		zl = zl->had_before;
	if (zl == NULL) {
		new = ash_meta_alloc(sizeof(*new));
		if (new == NULL)
			return NULL;
		*new = now;
		new->had_before = *had;
		zl = *had = new;
	}
	atomic_store_explicit(at, zl, memory_order_release);
	return zl;
}

const struct ash_zonelist *ash_zonelist_at(unsigned home)
{
	const struct ash_zonelist *zl = atomic_load_explicit(&ash_arenas.numa->zonelists[home], memory_order_acquire);

	return zl != NULL ? zl : zonelist_build(home, false);
}

const struct ash_zonelist *ash_zonelist_local(unsigned node)
{
	const struct ash_zonelist *zl =
		atomic_load_explicit(&ash_arenas.numa->local_zonelists[node], memory_order_acquire);

	return zl != NULL ? zl : zonelist_build(node, true);
}

static void publish_counts(void)
{
	for (unsigned node = 0; node < ASH_NODES_MAX; node++)
		ash_arenas.numa->counted[node] = &ash_arenas.numa->counts[node];
	ash_arenas.nr_counted = ASH_NODES_MAX;
	for (unsigned i = 0; i < ASH_SPILLS; i++)
		ash_arenas.numa->spill_list[i] = &ash_arenas.numa->spills[i];
	ash_arenas.spills = ash_arenas.numa->spill_list;
	ash_arenas.nr_spills = ASH_SPILLS;
}

ASH_EARLY int ash_nodes_start(void)
{
	const unsigned here = (unsigned)ash_numa_current();
	struct ash_zonelist *only;

	if (ash_arenas.bind) {
		ash_arenas.numa = ash_meta_alloc(sizeof(*ash_arenas.numa));
		if (ash_arenas.numa != NULL)
			publish_counts();
		ash_arenas.zonelist = ash_arenas.numa != NULL ? ash_zonelist_local(here) : NULL;
		return ash_arenas.zonelist != NULL ? 0 : -ENOMEM;
	}
	only = ash_meta_alloc(sizeof(*only));
	ash_arenas.zonelist = only;
	if (only == NULL)
		return -ENOMEM;
	zonelist_add_slot(only, 0);
	return 0;
}

static const struct ash_zonelist *get(_Atomic(const struct ash_zonelist *) *at, int node,
				      const struct ash_zonelist *(*make)(unsigned node))
{
	const struct ash_zonelist *zl = atomic_load_explicit(at, memory_order_acquire);

	if (ASH_LIKELY(zl != NULL))
		return zl;
	ash_lock(&ash_arenas.setup, &ash_futex_ops);
	zl = make((unsigned)node);
	ash_unlock(&ash_arenas.setup, &ash_futex_ops);
	return zl != NULL ? zl : ash_arenas.zonelist;
}

static ASH_NOINLINE const struct ash_zonelist *one_of_several(int node)
{
	struct ash_numa *n = ash_arenas.numa;
	const struct ash_zonelist *zl;

	if (node == -1) {
		zl = atomic_load_explicit(&n->process_zonelist, memory_order_acquire);
		if (zl != NULL)
			return zl;
		node = ash_numa_current();
		return ash_zonelist_by_task(get(&n->local_zonelists[node], node, ash_zonelist_local));
	}
	if (node < 0 || node >= ASH_NODES_MAX)
		node = ash_numa_current();
	return get(&n->zonelists[node], node, ash_zonelist_at);
}

ASH_EARLY const struct ash_zonelist *ash_zonelist_for(int node)
{
	return ASH_LIKELY(ash_arenas.numa == NULL) ? ash_arenas.zonelist : one_of_several(node);
}

/* A list that yields does so here, since what it yields to may have hugetlb rungs, too. */
void ash_zonelist_ordinary_of(struct ash_zonelist *out, const struct ash_zonelist *zl)
{
	if (ash_arenas.numa != NULL)
		zl = ash_zonelist_yield(zl);
	out->nr = 0;
	out->home = zl->home;
	out->yields = false;
	out->why = zl->why;
	for (unsigned i = 0; i < zl->nr; i++) {
		if (zl->arena[i] % ASH_ARENA_KINDS == ASH_ARENA_T)
			out->arena[out->nr++] = zl->arena[i];
	}
}

void ash_zonelist_ordinary(struct ash_zonelist *out, int node)
{
	ash_zonelist_ordinary_of(out, node == -1 ? ash_zonelist_of_thread() : ash_zonelist_for(node));
}

/* New lists for the nodes that have one, and for a process that prefers a node; policies' arenas are what they were. */
static void rebuild(uint64_t usable)
{
	struct ash_numa *n = ash_arenas.numa;
	const struct ash_zonelist *old = atomic_load_explicit(&n->process_zonelist, memory_order_relaxed);

	atomic_store_explicit(&ash_arenas.usable, usable, memory_order_relaxed);
	for (unsigned node = 0; node < ASH_NODES_MAX; node++) {
		if (atomic_load_explicit(&n->zonelists[node], memory_order_relaxed) != NULL)
			(void)zonelist_build(node, false);
		if (atomic_load_explicit(&n->local_zonelists[node], memory_order_relaxed) != NULL)
			(void)zonelist_build(node, true);
	}
	if (old != NULL)
		atomic_store_explicit(&n->process_zonelist, ash_zonelist_at(old->home), memory_order_release);
}

/* When to look again after usable was seen: later when it is not new but has only come back. */
static uint64_t pause_after(uint64_t usable)
{
	const struct ash_numa *n = ash_arenas.numa;

	if (usable == atomic_load_explicit(&ash_arenas.usable, memory_order_relaxed))
		return ash_max(n->look_pause / 2, LOOK_MS);
	return usable == n->usable_before ? ash_min(ash_max(n->look_pause, LOOK_MS) * 4, LOOK_MS_MAX) : LOOK_MS;
}

/* With the setup turn held, whoever looks. */
static bool follow(uint64_t usable, uint64_t now)
{
	struct ash_numa *n = ash_arenas.numa;
	const uint64_t before = atomic_load_explicit(&ash_arenas.usable, memory_order_relaxed);
	const uint64_t pause = pause_after(usable);
	const bool changed = usable != before;

	if (changed) {
		n->usable_before = before;
		rebuild(usable);
	}
	n->look_pause = pause;
	atomic_store_explicit(&n->look_due, now + pause, memory_order_relaxed);
	return changed;
}

void ash_nodes_look(void)
{
	struct ash_numa *n = ash_arenas.numa;
	uint64_t due = atomic_load_explicit(&n->look_due, memory_order_relaxed), usable;
	const uint64_t now = ash_clock_ms();
	bool changed;

	if (now < due || !atomic_compare_exchange_strong_explicit(&n->look_due, &due, now + LOOK_MS,
								  memory_order_relaxed, memory_order_relaxed))
		return;
	usable = with_memory(ash_numa_mems_allowed(), &ash_numa_sysfs);
	if (usable == 0)
		return;
	ash_lock(&ash_arenas.setup, &ash_futex_ops);
	usable = give_slots(usable);
	changed = usable != 0 && follow(usable, now);
	ash_unlock(&ash_arenas.setup, &ash_futex_ops);
	if (changed)
		(void)ash_arena_trim();
}
