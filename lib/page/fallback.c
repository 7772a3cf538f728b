/* SPDX-License-Identifier: MIT */
/* Fallbacks. Kernel: __rmqueue, __rmqueue_claim, __rmqueue_steal, try_to_claim_block, find_suitable_fallback. */
#include "page/fallback.h"

#include "page/reserve.h"

#define NR_FALLBACKS (ASH_MT_PCPTYPES - 1)

/* How many free buddies a request looks at, in search of one beside what cannot move either. */
#define TAINTED_LIMIT 256

/* Most preferred first. HIGHATOMIC, CMA and ISOLATE fall back to nothing and nothing falls back to them. */
static const uint8_t fallbacks[ASH_MT_PCPTYPES][NR_FALLBACKS] = {
	[ASH_MT_UNMOVABLE] = { ASH_MT_RECLAIMABLE, ASH_MT_MOVABLE },
	[ASH_MT_MOVABLE] = { ASH_MT_RECLAIMABLE, ASH_MT_UNMOVABLE },
	[ASH_MT_RECLAIMABLE] = { ASH_MT_UNMOVABLE, ASH_MT_MOVABLE },
};

static const struct ash_taken nothing = { ASH_PFN_NONE, 0 };

/*
 * Is a free buddy of this order worth an attempt at its block? From half the pageblock order on it is, for there will
 * be more free beside it. Smaller ones only for UNMOVABLE and RECLAIMABLE: leaving those scattered over MOVABLE blocks
 * is what fragments memory for good, the other way round it is harmless.
 */
static bool should_try_claim(const struct ash_zone *z, unsigned order, enum ash_migratetype mt)
{
	return order >= z->pageblock_order / 2 || mt == ASH_MT_UNMOVABLE || mt == ASH_MT_RECLAIMABLE;
}

static bool find_fallback(const struct ash_zone *z, unsigned order, enum ash_migratetype mt, enum ash_migratetype *from)
{
	for (unsigned i = 0; i < NR_FALLBACKS; i++) {
		*from = (enum ash_migratetype)fallbacks[mt][i];
		if (ash_freelist_orders(z, *from) >> order & 1)
			return true;
	}
	return false;
}

bool ash_fallback_exists(const struct ash_zone *z, unsigned order, enum ash_migratetype mt)
{
	enum ash_migratetype from;

	for (; order <= z->max_order; order++) {
		if (should_try_claim(z, order, mt) && find_fallback(z, order, mt, &from))
			return true;
	}
	return false;
}

ASH_EARLY bool ash_fallback_block_claimable(const struct ash_zone *z, ash_pfn_t pfn, enum ash_migratetype mt)
{
	struct ash_pageblock_count n;
	ash_pfn_t alike = 0;

	if (!ash_pageblock_count_whole(z, pfn, &n))
		return false;
	if (mt == ASH_MT_MOVABLE)
		alike = n.used[ASH_MT_MOVABLE];
	else if (ash_pageblock_type(z, pfn) == ASH_MT_MOVABLE)
		alike = n.online - n.free - n.used[ASH_MT_MOVABLE];
	/* Between UNMOVABLE and RECLAIMABLE nobody can tell whose the frames are. */
	return (uint64_t)n.free + alike >= (ash_pageblock_frames(z) + 1) / 2;
}

static ASH_EARLY struct ash_taken try_to_claim(struct ash_zone *z, ash_pfn_t pfn, unsigned have, unsigned order,
					       enum ash_migratetype mt, enum ash_migratetype from)
{
	const ash_pfn_t block = ash_pageblock_start(z, pfn);
	struct ash_taken taken;

	if (have >= z->pageblock_order) {
		/* Legal order 2: delete with the old type, retype every block, add the rest with the new one. */
		taken.zeroed = ash_freelist_del(z, pfn, have, from);
		taken.pfn = pfn;
		ash_pageblock_set_type_range(z, pfn, have, mt);
		taken.zeroed = ash_buddy_carve(z, pfn, have, pfn, order, mt, taken.zeroed);
		z->extfrag_claim++;
		return taken;
	}
	ash_reserve_boost(z);
	if (!ash_fallback_block_claimable(z, pfn, mt))
		return nothing;
	/* Legal order 1: everything that can refuse is behind us; move, then retype. */
	ash_buddy_move_block(z, block, from, mt);
	ash_pageblock_set_type(z, block, mt);
	z->extfrag_claim++;
	/* Not necessarily the buddy that led here: the block may hold a smaller one that is enough. */
	return ash_buddy_take_smallest(z, order, mt);
}

/*
 * A buddy of whole pageblocks in a superblock that something unmovable has tainted already, largest first: the next
 * contiguous gigabyte is worth more than the tidiness of a spoilt one. Kernel: discussed as superpageblocks, not
 * merged.
 */
static struct ash_taken claim_tainted(struct ash_zone *z, unsigned order, enum ash_migratetype mt)
{
	const unsigned min_order = order > z->pageblock_order ? order : z->pageblock_order;
	unsigned looked = 0;

	for (unsigned o = z->max_order; o-- > min_order;) {
		for (unsigned i = 0; i < NR_FALLBACKS * 2; i++) {
			const enum ash_migratetype from = (enum ash_migratetype)fallbacks[mt][i / 2];
			ash_pfn_t pfn = z->freelist[from][o].first[i % 2];

			for (; pfn != ASH_PFN_NONE; pfn = ash_frame_at(z->frames, pfn)->next) {
				if (++looked > TAINTED_LIMIT)
					return nothing;
				if (z->tainted[pfn >> z->max_order] > 0)
					return try_to_claim(z, pfn, o, order, mt, from);
			}
		}
	}
	return nothing;
}

static struct ash_taken claim(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags)
{
	unsigned min_order = order;

	if (z->tainted != NULL && ash_mt_taints(mt) && z->nr_tainted > 0) {
		const struct ash_taken taken = claim_tainted(z, order, mt);

		if (taken.pfn != ASH_PFN_NONE)
			return taken;
	}
	/* NOFRAGMENT converts whole free blocks only. */
	if ((flags & ASH_ALLOC_NOFRAGMENT) && min_order < z->pageblock_order)
		min_order = z->pageblock_order;
	for (unsigned o = z->max_order + 1u; o-- > min_order;) {
		enum ash_migratetype from;
		struct ash_taken taken;

		/* Lower orders can only be less worth a claim. */
		if (!should_try_claim(z, o, mt))
			break;
		if (!find_fallback(z, o, mt, &from))
			continue;
		taken = try_to_claim(z, ash_freelist_first(z, o, from), o, order, mt, from);
		if (taken.pfn != ASH_PFN_NONE)
			return taken;
	}
	return nothing;
}

static struct ash_taken steal(struct ash_zone *z, unsigned order, enum ash_migratetype mt)
{
	for (unsigned o = order; o <= z->max_order; o++) {
		enum ash_migratetype from;

		if (!find_fallback(z, o, mt, &from))
			continue;
		z->extfrag_steal++;
		return ash_buddy_take(z, ash_freelist_first(z, o, from), order, o, from);
	}
	return nothing;
}

ASH_EARLY struct ash_taken ash_rmqueue(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags,
				       enum ash_rmqueue_mode *mode)
{
	const bool cma = mt == ASH_MT_MOVABLE && (flags & ASH_ALLOC_CMA);
	struct ash_taken taken;

	/* Keep CMA and the rest evenly used: when most of what is free is CMA, lend that first. */
	if (cma && ash_counter_read(&z->free_cma) > ash_counter_read(&z->free) / 2) {
		taken = ash_buddy_take_smallest(z, order, ASH_MT_CMA);
		if (taken.pfn != ASH_PFN_NONE)
			return taken;
	}
	switch (*mode) {
	case ASH_RMQUEUE_NORMAL:
		taken = ash_buddy_take_smallest(z, order, mt);
		if (taken.pfn != ASH_PFN_NONE)
			return taken;
		ASH_FALLTHROUGH;
	case ASH_RMQUEUE_CMA:
		if (cma) {
			taken = ash_buddy_take_smallest(z, order, ASH_MT_CMA);
			if (taken.pfn != ASH_PFN_NONE) {
				*mode = ASH_RMQUEUE_CMA;
				return taken;
			}
		}
		ASH_FALLTHROUGH;
	case ASH_RMQUEUE_CLAIM:
		taken = claim(z, order, mt, flags);
		if (taken.pfn != ASH_PFN_NONE) {
			/* The claim refilled the own lists. */
			*mode = ASH_RMQUEUE_NORMAL;
			return taken;
		}
		ASH_FALLTHROUGH;
	case ASH_RMQUEUE_STEAL:
		if (flags & ASH_ALLOC_NOFRAGMENT)
			break;
		taken = steal(z, order, mt);
		if (taken.pfn != ASH_PFN_NONE) {
			*mode = ASH_RMQUEUE_STEAL;
			return taken;
		}
	}
	return nothing;
}
