/* SPDX-License-Identifier: MIT */
/*
 * What a program tells the kernel of where its memory is to be, which libnuma tells it by these names.
 *
 * set_mempolicy: a thread that gives itself a policy is not to have memory from our caches that was had under another.
 * Who makes the system call by itself is heard of when frames are wanted the next time.
 *
 * mbind: a mapping that is served may have pages before it was touched, and they go where the fault would have gone.
 */
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"
#include "heap/heap.h"
#include "map/map.h"

long set_mempolicy(int mode, const unsigned long *nodes, unsigned long max_node);
long mbind(void *addr, unsigned long bytes, int mode, const unsigned long *nodes, unsigned long max_node,
	   unsigned flags);

ASH_EXPORT long set_mempolicy(int mode, const unsigned long *nodes, unsigned long max_node)
{
	const long ret = syscall(SYS_set_mempolicy, mode, nodes, max_node);

	if (ret == 0)
		ash_heap_task_policy_changed();
	return ret;
}

ASH_EXPORT long mbind(void *addr, unsigned long bytes, int mode, const unsigned long *nodes, unsigned long max_node,
		      unsigned flags)
{
	if (mode != MPOL_DEFAULT && ash_map_serves(addr, bytes))
		flags |= MPOL_MF_MOVE;
	return syscall(SYS_mbind, addr, bytes, mode, nodes, max_node, flags);
}
