/* SPDX-License-Identifier: MIT */
/* The public policies: <ashlar/policy.h>. */
#include <ashlar/policy.h>
#include <errno.h>
#include <string.h>

#include "arena/arena.h"
#include "heap/heap.h"
#include "os/numa.h"
#include "os/policy.h"

static const struct ash_policy none;

static int number_of(int node)
{
	return node == ASH_NODE_LOCAL ? ash_numa_current() : node;
}

int ash_policy_parse(struct ash_policy *policy, const char *text)
{
	return ash_policy_read(policy, text, strlen(text));
}

int ash_policy_set_process(const struct ash_policy *policy)
{
	return ash_heap_set_process_policy(policy != NULL ? policy : &none);
}

int ash_policy_set_thread(const struct ash_policy *policy)
{
	return ash_heap_set_thread_policy(policy != NULL ? policy : &none);
}

struct ash_heap *ash_heap_create_policy(const struct ash_policy *policy)
{
	int err;
	struct ash_heap *heap = ash_heap_new_policy(policy != NULL ? policy : &none, &err);

	if (heap == NULL)
		errno = -err;
	return heap;
}

int ash_heap_move_node(struct ash_heap *heap, int node)
{
	return ash_heap_new_move(heap, number_of(node));
}

int ash_migrate(const void *p, size_t bytes, int node)
{
	return ash_arena_migrate(p, bytes, number_of(node));
}
