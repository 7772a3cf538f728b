/* SPDX-License-Identifier: MIT */
/* Where a process's, a thread's and a first-class heap's memory comes from, and goes; the policies are arena's. */
#include <errno.h>

#include "heap/heap_internal.h"

int ash_heap_set_process_policy(const struct ash_policy *policy)
{
	return ash_heaps_boot() ? ash_arena_set_policy(policy) : -ENOMEM;
}

/* What the thread caches is of its old policy: it goes back at once, and the next allocation is of the new one. */
int ash_heap_set_thread_policy(const struct ash_policy *policy)
{
	struct ash_heap *h;
	int err;

	h = ash_heap_get();
	if (h == NULL)
		return -ENOMEM;
	err = ash_arena_set_thread_policy(policy);
	if (err == 0)
		(void)ash_heap_move(h);
	ash_heap_settle();
	return err;
}

/* What the thread caches goes back with its next call: this one may be a signal handler's. On one node nothing is to
 * do. */
void ash_heap_task_policy_changed(void)
{
	ash_task_policy_changed();
	if (ash_arena_is_several())
		ash_heap_leave();
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
		zonelist = ash_zonelist_of_thread();
	else if (zonelist == &ash_zonelist_by_node)
		zonelist = ash_zonelist_for(ASH_NODE_CURRENT);
	h = ash_heap_create_structure(true, zonelist);
	*err = h != NULL ? 0 : -ENOMEM;
	return h;
}

static int move_runs(struct ash_heap *h, int node)
{
	int result = 0;

	for (const struct ash_slab *s = h->all; s != NULL; s = s->all_next) {
		const uint32_t tag = ash_tag_load(ash_slab_frame(s));
		const size_t nr = s->cls == ASH_SLAB_LARGE ? tag & ASH_TAG_FRAMES_MASK
							   : (size_t)1 << ash_classes[s->cls].slab_order;
		const int err = ash_arena_migrate(ash_frame_address(ash_slab_frame(s)), nr << ASH_PAGE_SHIFT, node);

		if (err < 0 && err != -EBUSY)
			return err;
		result = err < 0 ? err : result;
	}
	return result;
}

/* Should the kernel change its mind half-way, what has been moved goes home when it is freed, like all the rest. */
int ash_heap_new_move(struct ash_heap *h, int node)
{
	const struct ash_policy preferred = { .mode = ASH_POLICY_PREFERRED, .nodes = 1ull << (node & 63) };
	const struct ash_zonelist *zonelist;
	int err = node < 0 || node >= ASH_POLICY_NODES ? -EINVAL : ash_zonelist_of_policy(&preferred, &zonelist);

	if (err < 0)
		return err;
	h->moved |= h->all != NULL;
	err = move_runs(h, node);
	if (err == 0 || err == -EBUSY)
		h->zonelist = zonelist;
	return err;
}
