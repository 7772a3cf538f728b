/* SPDX-License-Identifier: MIT */
/*
 * NUMA by plain system calls: where we may allocate, where we run, where memory is to go and where it went.
 *
 * EPERM and ENOSYS (seccomp in containers, kernels without NUMA) read as a machine of one node, silently.
 */
#ifndef ASH_OS_NUMA_H
#define ASH_OS_NUMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* Node numbers below this are known to ashlar; a machine's higher ones are not used. */
enum { ASH_NODES_MAX = 64 };

/* The kernel wants room for all its possible nodes (MAX_NUMNODES is 1024 at most) and reads maxnode - 1 bits. */
enum { ASH_NODEMASK_WORDS = 16, ASH_NODEMASK_BITS = ASH_NODEMASK_WORDS * 64 };

/* Nodes the task's cpuset lets it allocate on, one bit each; 1 (node 0 only) when the kernel will not say. */
uint64_t ash_numa_allowed(void);
/* The same, but 0 when the kernel will not say. */
uint64_t ash_numa_mems_allowed(void);

/* The node of the CPU this thread runs on just now; 0 when unknown. Cheap (vDSO or rseq where libc has it). */
int ash_numa_current(void);

/*
 * More than one node can ever come to be here (nr_node_ids of the kernel): the cpuset may let us have others one day.
 * One system call, which on a machine with one node is the only one. False, too, where the kernel will not say.
 */
bool ash_numa_may_be_several(void);

/*
 * Bytes that a node (-1: the whole machine) could give without the kernel having to kill or swap: free memory and what
 * the file cache gives up easily. UINT64_MAX: unknown.
 */
uint64_t ash_numa_available(int node);

/* The nodes that pages[0..n) are on, as move_pages(2) tells: a node number, or a negative errno (-ENOENT: not
 * there). */
ASH_MUST_USE int ash_numa_where(size_t n, void *const pages[], int nodes[]);

/*
 * Pages that the kernel's balancing has unmapped, to see who will miss them, are -EFAULT to move_pages(2), as those are
 * that never were. Of n pages from first on, of which it has said status, the former are mapped again. n: at most 256.
 */
void ash_numa_unhide(void *first, size_t n, const int status[]);

/*
 * Move pages[0..n) to nodes[0..n), as move_pages(2): 0 even where some stay; status says of each where it is, or why
 * not. -EPERM, -ENOSYS; -ENODEV: no such node; -EACCES: one that the cpuset does not allow.
 */
ASH_MUST_USE int ash_numa_move(size_t n, void *const pages[], const int nodes[], int status[]);

/*
 * Topology: who has memory, and how far it is. Two sources with one face: sysfs (always there), and libnuma, which
 * whoever may call it installs. Both give the kernel's SLIT figures.
 */
struct ash_numa_topology {
	const char *source;
	uint64_t (*with_memory)(void); /* one bit per node; 0: unknown */
	/* From a node to each; 10 = the same node; 0: unknown. Distances need not be the same in both directions. */
	void (*distances)(int from, int distance[ASH_NODES_MAX]);
};
extern const struct ash_numa_topology ash_numa_sysfs;

/* Nodes that there can be, those that are there, and those with processors, by sysfs; 0: it does not say. */
uint64_t ash_numa_possible(void);
uint64_t ash_numa_online(void);
uint64_t ash_numa_with_cpus(void);

/* The source in use: sysfs until another was set. Thread-safe. t must live for ever. */
const struct ash_numa_topology *ash_numa_topology(void);
void ash_numa_topology_set(const struct ash_numa_topology *t);

/*
 * Switch to libnuma. Not part of the os archive, because only who links libnuma has it (numa_linked.c; the preload
 * object does not: docs/decisions/006-the-preload-reads-sysfs.md). It may call malloc: never from within the library,
 * only from a place where the heap is ready and no lock is held. 0, or -ENOSYS: libnuma says it is of no use here.
 */
ASH_MUST_USE int ash_numa_use_libnuma(void);

#endif
