/* SPDX-License-Identifier: MIT */
/* NUMA system calls; see numa.h. */
#include <errno.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "os/numa.h"
#include "os/sys.h"

/* The kernel wants room for all its possible nodes (MAX_NUMNODES is 1024 at most) and reads maxnode - 1 bits. */
enum { NODEMASK_WORDS = 16, NODEMASK_BITS = NODEMASK_WORDS * 64 };

uint64_t ash_numa_allowed(void)
{
	unsigned long mask[NODEMASK_WORDS] = { 0 };

	if (ash_sys(__NR_get_mempolicy, 0, (long)mask, NODEMASK_BITS, 0, MPOL_F_MEMS_ALLOWED, 0) < 0 || mask[0] == 0)
		return 1;
	return mask[0];
}

/* getcpu as a libc function goes through the vDSO; the system call is for a libc without it. */
int ash_numa_current(void)
{
	unsigned cpu, node = 0;

	if (getcpu(&cpu, &node) != 0 || node >= ASH_NODES_MAX)
		return 0;
	return (int)node;
}

bool ash_numa_has_policy(void)
{
	int mode = MPOL_DEFAULT;

	if (ash_sys(__NR_get_mempolicy, (long)&mode, 0, 0, 0, 0, 0) < 0)
		return false;
	return mode != MPOL_DEFAULT;
}

int ash_numa_bind(void *addr, size_t bytes, int node, enum ash_numa_bind how)
{
	unsigned long mask[NODEMASK_WORDS] = { 1ul << node };

	return (int)ash_sys(__NR_mbind, (long)addr, (long)bytes, how == ASH_NUMA_STRICT ? MPOL_BIND : MPOL_PREFERRED,
			    (long)mask, NODEMASK_BITS, 0);
}

int ash_numa_where(size_t n, void *const pages[], int nodes[])
{
	long ret = ash_sys(__NR_move_pages, 0, (long)n, (long)pages, 0, (long)nodes, 0);

	return ret < 0 ? (int)ret : 0;
}

static _Atomic(const struct ash_numa_topology *) topology; /* NULL: sysfs; release store pairs with acquire load */

const struct ash_numa_topology *ash_numa_topology(void)
{
	const struct ash_numa_topology *t = atomic_load_explicit(&topology, memory_order_acquire);

	return t != NULL ? t : &ash_numa_sysfs;
}

void ash_numa_topology_set(const struct ash_numa_topology *t)
{
	atomic_store_explicit(&topology, t, memory_order_release);
}
