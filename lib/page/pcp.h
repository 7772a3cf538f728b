/* SPDX-License-Identifier: MIT */
/*
 * pcp: a cache of small free pieces in front of the zone, one per CPU (or per whatever the embedder numbers so).
 *
 * A list per order 0..3 and pcp type, and two for pageblock order (MOVABLE and the others). Pieces here are not free to
 * the zone: they are in state PCP, and no list type is remembered with them. When they go back, the type of their
 * pageblock is read under the zone lock; a block converted or isolated meanwhile gets its own back. CMA and HIGHATOMIC
 * pieces ride the MOVABLE list until then; a piece of a block seen isolated bypasses the cache.
 *
 * The pcp lock is only ever tried on the way in: whoever meets it held goes to the zone instead of waiting. Drains wait.
 */
#ifndef ASH_PAGE_PCP_H
#define ASH_PAGE_PCP_H

#include "page/buddy.h"

#define ASH_PCP_MAX_ORDER 3
#define ASH_PCP_BLOCK_LISTS ((ASH_PCP_MAX_ORDER + 1) * ASH_MT_PCPTYPES)
#define ASH_PCP_LISTS (ASH_PCP_BLOCK_LISTS + 2)

/* Zero-filled is empty: first and last mean something only while nr is not 0. */
struct ash_pcp_list {
	ash_pfn_t first, last;
	uint32_t nr; /* pieces */
};

struct ash_pcp {
	struct ash_lock lock;
	_Atomic uint32_t frames; /* written under the lock, read by anyone */
	uint64_t pgalloc, pgfree;
	struct ash_pcp_list list[ASH_PCP_LISTS];
} ASH_ALIGNED(64);

ASH_INLINE bool ash_pcp_order_allowed(const struct ash_zone *z, unsigned order)
{
	return order <= ASH_PCP_MAX_ORDER || order == z->pageblock_order;
}

ASH_INLINE uint32_t ash_pcp_frames(const struct ash_pcp *pcp)
{
	return atomic_load_explicit(&pcp->frames, memory_order_relaxed);
}

/* false: the pcp is busy, empty and the zone has nothing for it either; *taken is then untouched. */
bool ash_pcp_alloc(struct ash_zone *z, struct ash_pcp *pcp, unsigned order, enum ash_migratetype mt, unsigned flags,
		   struct ash_taken *taken);

/* false: not a piece for the pcp now; the caller frees it to the zone. The head is USED and checked. */
bool ash_pcp_free(struct ash_zone *z, struct ash_pcp *pcp, ash_pfn_t pfn, unsigned order);

/* Give everything back, a batch per zone lock hold. */
void ash_pcp_drain(struct ash_zone *z, struct ash_pcp *pcp);

/* Batch and high mark for the number of frames now present (kernel: zone_batchsize). */
void ash_pcp_resize(struct ash_zone *z);

/* A racy sum, good enough to decide whether a drain is worth it. */
uint64_t ash_pcp_total(const struct ash_zone *z);

#endif
