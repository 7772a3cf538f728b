/* SPDX-License-Identifier: MIT */
/*
 * NUMA policies: from which nodes memory comes. Modes and their meanings are those of set_mempolicy(2).
 *
 * A policy is looked for in this order, the first that is not ASH_POLICY_DEFAULT counts: the first-class heap's, the
 * thread's, the process's (option "policy" or ash_policy_set_process()), the task's own as the kernel knows it
 * (numactl, set_mempolicy), ASH_POLICY_LOCAL. The task's cpuset is obeyed under every policy.
 *
 * It decides about the heap, about mappings (ashlar/map.h, and the program's own under option map) and about buffers
 * for devices that name no node (ashlar/dma.h). What a first-class heap is to objects, a policy of its own is to a
 * mapping (ash_map_policy()) and to a buffer or a pool of buffers (attr.policy). A buffer lies on one node whole: those
 * of an interleaving policy take turns, and one that is bound and cannot be had there is refused. Mappings are
 * interleaved with the system's weights only.
 *
 * A policy decides about memory taken from then on. What is in a thread's caches when it changes goes back first; what
 * the program holds stays where it is (ash_migrate() moves it). That the task's own policy has changed is found when a
 * thread wants more than its caches hold and what was freed before; under the preload at once, where it is done by
 * libnuma or by set_mempolicy(). ash_policy_set_thread(NULL) is how a program linked with the library has it found at
 * once.
 *
 * Nodes that come to be allowed, or to have memory, while the process runs are used within a second or so of its
 * wanting memory: those that were there when it started, and eight more.
 *
 * On a machine with one node, or where the kernel does not permit NUMA calls, that node is node 0 or the only one
 * allowed, every policy that names it is in effect already, and nothing here costs anything.
 *
 * Thread safety: all of it may be called from any thread, and nothing from a signal handler. set_mempolicy(2), which is
 * not ours, may be called from one: the thread's next call finds out.
 */
#ifndef ASHLAR_POLICY_H
#define ASHLAR_POLICY_H

#include <ashlar/heap.h>
#include <ashlar/types.h>

ASH_API_BEGIN

enum ash_policy_mode {
	ASH_POLICY_DEFAULT,             /* none at this level: the next one's */
	ASH_POLICY_LOCAL,               /* of the node the thread runs on, then of those nearest to it */
	ASH_POLICY_BIND,                /* of these nodes only; where they are full the kernel ends a process, as under
					   numactl --membind, but hugetlb pages are refused first */
	ASH_POLICY_PREFERRED,           /* of one node, then of those nearest to it */
	ASH_POLICY_PREFERRED_MANY,      /* of these nodes, then of others (Linux 5.15; before, of the first of them) */
	ASH_POLICY_INTERLEAVE,          /* page by page of these nodes in turn */
	ASH_POLICY_WEIGHTED_INTERLEAVE, /* the same in proportion to weights */
	ASH_POLICY_MODES
};

#define ASH_POLICY_NODES 64 /* node numbers below this can be named */

struct ash_policy {
	uint32_t mode;     /* enum ash_policy_mode */
	uint32_t reserved; /* 0 */
	uint64_t nodes;    /* one bit per node; 0 for DEFAULT and LOCAL, one bit for PREFERRED */
	/*
	 * WEIGHTED_INTERLEAVE: pageblocks in a row from each node. All 0: the system's weights and page by page
	 * (/sys/kernel/mm/mempolicy/weighted_interleave, Linux 6.9; before, as INTERLEAVE).
	 */
	uint8_t weight[ASH_POLICY_NODES];
};

/*
 * Make a policy from text, as option "policy" takes it: default, local, or one of bind, preferred, preferred-many,
 * interleave and weighted-interleave followed by =NODES. NODES is numactl(8)'s list: 0,2-3; all; !1 (all but); +0 (the
 * first that the cpuset allows); after a node of weighted-interleave *WEIGHT may follow: 0*3,1. Where a comma ends the
 * value (ASHLAR_CONF) a slash stands for it.
 * 0; -EINVAL: not such a text, or one that leaves no node; -ERANGE: a node that the process may not use.
 */
ASH_API int ash_policy_parse(struct ash_policy *policy, const char *text);

/*
 * The policy of the process, for all threads without one of their own, or of the calling thread. Copied. NULL:
 * ASH_POLICY_DEFAULT.
 * 0; -EINVAL: not a policy, or none of its nodes may be used; -ENOSPC: more different policies than a process can have
 * (31, or 7 or 15 where nodes and memory are so large that address space is scarce; DEFAULT, LOCAL and PREFERRED do not
 * count, equal ones count once, and none is ever taken off the count); -ENOMEM.
 */
ASH_API int ash_policy_set_process(const struct ash_policy *policy);
ASH_API int ash_policy_set_thread(const struct ash_policy *policy);

/* As ash_heap_create(), with a policy. NULL: errno EINVAL, ENOSPC or ENOMEM, as above. */
ASH_API struct ash_heap *ash_heap_create_policy(const struct ash_policy *policy) ASH_API_MUST_USE;

/*
 * Move the pages that [p, p + bytes) lies on to a node, under the program's feet: whoever touches one meanwhile waits.
 * Any memory will do, ashlar's or not. Whole pages move, and whole huge pages, with whatever else lies in them; pages
 * that are not in memory stay so. hugetlb pages need free ones in the node's pool.
 * 0: all that are in memory are on node. -EBUSY: some are not: pinned, shared, or no room there. -EINVAL: the range
 * goes beyond the last address. -EPERM, -ENOSYS: the kernel does not permit it; -ENODEV: no such node; -EACCES: one
 * that the cpuset does not allow.
 */
ASH_API int ash_migrate(const void *p, size_t bytes, int node);

/*
 * Move a first-class heap to a node: all its memory as by ash_migrate(), and what it takes from now on comes from
 * there, as under ASH_POLICY_PREFERRED. Memory moved returns to where it was when the heap gives it back.
 * 0; -EBUSY: some pages stayed, the rest is as said; -EINVAL: not a node that the process may use; errors of
 * ash_migrate(), after which new memory comes from where it came from before.
 */
ASH_API int ash_heap_move_node(struct ash_heap *heap, int node);

ASH_API_END

#endif
