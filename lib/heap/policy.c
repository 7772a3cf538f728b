/* SPDX-License-Identifier: MIT */
/* Where a process's, a thread's and a first-class heap's memory comes from; the policies themselves are arena's. */
#include <errno.h>

#include "heap/heap_internal.h"

int ash_heap_set_process_policy(const struct ash_policy *policy)
{
	return ash_heaps_boot() ? ash_arena_set_policy(policy) : -ENOMEM;
}

/* What the thread caches is of its old policy: it goes back at once, and the next allocation is of the new one. */
int ash_heap_set_thread_policy(const struct ash_policy *policy)
{
	const struct ash_zonelist *zonelist;
	struct ash_heap *h;
	int err = ash_heaps_boot() ? ash_zonelist_of_policy(policy, &zonelist) : -ENOMEM;

	if (err < 0)
		return err;
	h = ash_heap_get();
	if (h == NULL)
		return -ENOMEM;
	ash_heap_thread_policy = zonelist;
	(void)ash_heap_move(h);
	ash_heap_settle();
	return 0;
}

/* Without a policy of its own it is the creating thread's, whatever that has. */
struct ash_heap *ash_heap_new_policy(const struct ash_policy *policy, int *err)
{
	const struct ash_zonelist *zonelist = NULL;
	struct ash_heap *h;

	*err = ash_heaps_boot() ? ash_zonelist_of_policy(policy, &zonelist) : -ENOMEM;
	if (*err < 0)
		return NULL;
	if (zonelist == NULL)
		zonelist = ash_heap_thread_zonelist();
	else if (zonelist == &ash_zonelist_by_node)
		zonelist = ash_zonelist_for(ASH_NODE_CURRENT);
	h = ash_heap_create_structure(true, zonelist);
	*err = h != NULL ? 0 : -ENOMEM;
	return h;
}
