/* SPDX-License-Identifier: MIT */
/* NUMA system calls; see numa.h. */
#include <errno.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "base/bits.h"
#include "os/numa.h"
#include "os/sys.h"

uint64_t ash_numa_mems_allowed(void)
{
	unsigned long mask[ASH_NODEMASK_WORDS] = { 0 };

	if (ash_sys(__NR_get_mempolicy, 0, (long)mask, ASH_NODEMASK_BITS, 0, MPOL_F_MEMS_ALLOWED, 0) < 0)
		return 0;
	return mask[0];
}

uint64_t ash_numa_allowed(void)
{
	const uint64_t mask = ash_numa_mems_allowed();

	return mask != 0 ? mask : 1;
}

/* getcpu as a libc function goes through the vDSO; the system call is for a libc without it. */
ASH_EARLY int ash_numa_current(void)
{
	unsigned cpu, node = 0;

	if (getcpu(&cpu, &node) != 0 || node >= ASH_NODES_MAX)
		return 0;
	return (int)node;
}

/* Room for less than nr_node_ids is refused; a mask of one bit, with none of it copied, is enough for one node. */
ASH_EARLY bool ash_numa_may_be_several(void)
{
	unsigned long mask[ASH_NODEMASK_WORDS] = { 0 };

	return ash_sys(__NR_get_mempolicy, 0, (long)mask, 1, 0, MPOL_F_MEMS_ALLOWED, 0) == -EINVAL;
}

int ash_numa_where(size_t n, void *const pages[], int nodes[])
{
	long ret = ash_sys(__NR_move_pages, 0, (long)n, (long)pages, 0, (long)nodes, 0);

	return ret < 0 ? (int)ret : 0;
}

int ash_numa_move(size_t n, void *const pages[], const int nodes[], int status[])
{
	long ret = ash_sys(__NR_move_pages, 0, (long)n, (long)pages, (long)nodes, (long)status, MPOL_MF_MOVE);

	return ret < 0 ? (int)ret : 0;
}

void ash_numa_unhide(void *first, size_t n, const int status[])
{
	enum { MADV_POPULATE_READ_NR = 22 };
	unsigned char there[256];
	size_t i = 0;

	while (i < n && status[i] != -EFAULT)
		i++;
	if (i == n || ash_sys(__NR_mincore, (long)first, (long)(n * ASH_PAGE_SIZE), (long)there, 0, 0, 0) < 0)
		return;
	for (; i < n; i++) {
		if (status[i] == -EFAULT && (there[i] & 1) != 0)
			(void)ash_sys(__NR_madvise, (long)first + (long)(i * ASH_PAGE_SIZE), ASH_PAGE_SIZE,
				      MADV_POPULATE_READ_NR, 0, 0, 0);
	}
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
