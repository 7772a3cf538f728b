/* SPDX-License-Identifier: MIT */
/*
 * Moving pages to another node under their addresses, by move_pages(2). It need not be an arena's memory.
 *
 * The kernel moves whole huge pages, with whatever else lies in them. What it answers page by page about tails of huge
 * pages that it has just moved is not to be relied on, so it is asked again where everything is. Pages that its own
 * balancing has hidden it does not move: they are mapped again first.
 */
#include <errno.h>

#include "arena/internal.h"

enum { BATCH = 256 };

static int move_batch(void *const pages[], unsigned n, int node, size_t *left)
{
	int nodes[BATCH], status[BATCH], err;

	for (unsigned i = 0; i < n; i++)
		nodes[i] = node;
	err = ash_numa_where(n, pages, status);
	if (err == 0) {
		ash_numa_unhide(pages[0], n, status);
		err = ash_numa_move(n, pages, nodes, status);
	}
	if (err == 0)
		err = ash_numa_where(n, pages, status);
	/* Pages that are not there are on no node, and will come from where the range is bound to. */
	for (unsigned i = 0; i < n && err == 0; i++)
		*left += status[i] >= 0 && status[i] != node;
	return err;
}

int ash_arena_migrate(const void *addr, size_t bytes, int node)
{
	uintptr_t page = ash_align_down((uintptr_t)addr, ASH_PAGE_SIZE);
	const uintptr_t end = (uintptr_t)addr + bytes;
	size_t left = 0;

	if (end < (uintptr_t)addr)
		return -EINVAL;
	while (page < end && bytes > 0) {
		void *pages[BATCH];
		unsigned n = 0;
		int err;

		for (; n < BATCH && page < end; page += ASH_PAGE_SIZE)
			pages[n++] = (void *)page;
		err = move_batch(pages, n, node, &left);
		if (err < 0)
			return err;
	}
	return left == 0 ? 0 : -EBUSY;
}

void ash_run_come_home(const void *addr, size_t nr_frames)
{
	const struct ash_arena *a = ash_arena_peek((unsigned)(ash_frame_index(addr) >> ash_registry.span_frame_shift));

	if (a->node >= 0)
		(void)ash_arena_migrate(addr, nr_frames << ASH_PAGE_SHIFT, a->node);
}
