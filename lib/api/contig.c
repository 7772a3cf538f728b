/* SPDX-License-Identifier: MIT */
/* The public names of contiguous ranges and of memory that gives way: <ashlar/contig.h>. */
#include <ashlar/contig.h>
#include <errno.h>

#include "arena/arena.h"
#include "heap/heap.h"
#include "map/map.h"

/* The word of a contiguous run: this, and how many pageblocks it has. Slots' words are smaller, objects' larger. */
#define WORD_CONTIG (1u << 30)

static void *alloc(size_t bytes, size_t alignment, int node, int *err)
{
	const size_t nr = bytes / ASH_PAGEBLOCK_BYTES + (bytes % ASH_PAGEBLOCK_BYTES != 0);
	struct ash_run run;

	if (alignment == 0)
		alignment = ASH_PAGEBLOCK_BYTES;
	*err = -EINVAL;
	if (bytes == 0 || (alignment & (alignment - 1)) != 0 || alignment > ASH_GIB(1) || node < ASH_NODE_LOCAL)
		return NULL;
	*err = -ENOMEM;
	if (nr >= WORD_CONTIG >> ASH_PAGEBLOCK_ORDER || ash_heap_boot() < 0)
		return NULL;
	ash_map_use_mover();
	if (ash_run_alloc_contig(ash_zonelist_for(node), nr << ASH_PAGEBLOCK_ORDER,
				 ash_log2_floor(ash_max(alignment, (size_t)ASH_PAGEBLOCK_BYTES) >> ASH_PAGE_SHIFT),
				 &run) < 0)
		return NULL;
	ash_run_set_word(run.addr, WORD_CONTIG | (uint32_t)nr);
	return run.addr;
}

void *ash_contig_alloc(size_t bytes, size_t alignment, int node)
{
	int err;
	void *p = alloc(bytes, alignment, node, &err);

	if (p == NULL)
		errno = -err;
	return p;
}

int ash_contig_free(void *p)
{
	const uint32_t word =
		p == NULL || ash_is_foreign(p) || (uintptr_t)p % ASH_PAGEBLOCK_BYTES != 0 ? 0 : ash_run_word(p);

	if (p == NULL)
		return 0;
	if (word >> 30 != WORD_CONTIG >> 30)
		return -EINVAL;
	ash_run_set_word(p, 0);
	ash_run_free(p, (size_t)(word - WORD_CONTIG) << ASH_PAGEBLOCK_ORDER);
	return 0;
}

size_t ash_arena_shrink(size_t bytes)
{
	size_t given;

	if (!ash_arena_ready())
		return 0;
	given = ash_heap_trim();
	if (given >= bytes)
		return given;
	(void)ash_object_purge(bytes - given);
	given += ash_arena_trim();
	if (given >= bytes)
		return given;
	ash_arena_compact();
	return given + ash_arena_trim();
}

void *ash_movable_alloc(size_t bytes, const struct ash_movable_ops *ops, void *arg)
{
	const struct ash_object_ops inner = { ops->isolate, ops->migrate, ops->putback, ops->drop };
	int err = ash_heap_boot();
	void *p = err == 0 ? ash_object_alloc(bytes, &inner, arg, &err) : NULL;

	if (p == NULL)
		errno = -err;
	return p;
}

int ash_movable_free(void *p)
{
	return p == NULL ? 0 : ash_object_free(p);
}
