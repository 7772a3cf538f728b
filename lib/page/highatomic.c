/* SPDX-License-Identifier: MIT */
/*
 * The HIGHATOMIC reserve: whole pageblocks kept for requests above order 0 that may not wait. A block joins when such a
 * request has been served from it, and leaves when others run dry. Kernel: reserve_highatomic_pageblock,
 * unreserve_highatomic_pageblock.
 */
#include "page/reserve.h"
#include "page/watermark.h"

/* At most one percent of the zone, in whole blocks; none where a block is more than that. */
static uint64_t reserve_max(const struct ash_zone *z)
{
	const uint64_t percent = ash_counter_read(&z->present) / 100, block = ash_pageblock_frames(z);

	return percent < block ? 0 : (percent + block - 1) & ~(block - 1);
}

void ash_reserve_highatomic(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	const ash_pfn_t block = ash_pageblock_start(z, pfn);
	const enum ash_migratetype mt = ash_pageblock_type(z, pfn);
	struct ash_pageblock_count n;

	if (z->reserved_highatomic >= reserve_max(z) || !ash_mt_mergeable(mt))
		return;
	if (order >= z->pageblock_order) {
		/* Allocated as a whole: nothing of it is on a list. */
		ash_pageblock_set_type_range(z, pfn, order, ASH_MT_HIGHATOMIC);
		z->reserved_highatomic += ash_order_frames(order);
		return;
	}
	if (!ash_pageblock_count_whole(z, block, &n))
		return;
	/* Legal order 1. */
	ash_buddy_move_block(z, block, mt, ASH_MT_HIGHATOMIC);
	ash_pageblock_set_type(z, block, ASH_MT_HIGHATOMIC);
	z->reserved_highatomic += ash_pageblock_frames(z);
}

ASH_EARLY bool ash_reserve_unreserve(struct ash_zone *z, enum ash_migratetype mt, bool force)
{
	const uint32_t orders = ash_freelist_orders(z, ASH_MT_HIGHATOMIC);
	uint64_t frames = ash_pageblock_frames(z);
	ash_pfn_t pfn;
	unsigned order;

	if (orders == 0 || (!force && z->reserved_highatomic <= frames))
		return false;
	order = (unsigned)__builtin_ctz(orders);
	pfn = ash_freelist_first(z, order, ASH_MT_HIGHATOMIC);
	if (order < z->pageblock_order) {
		/* Legal order 1. */
		pfn = ash_pageblock_start(z, pfn);
		ash_buddy_move_block(z, pfn, ASH_MT_HIGHATOMIC, mt);
		ash_pageblock_set_type(z, pfn, mt);
	} else {
		/*
		 * Legal order 2; freed and not just added, for its neighbours may be free and of the new type.
		 * Unmerged, the next isolation of either would merge them when it is undone.
		 */
		ash_freelist_del(z, pfn, order, ASH_MT_HIGHATOMIC);
		ash_pageblock_set_type_range(z, pfn, order, mt);
		ash_buddy_free(z, pfn, order, ASH_FREE_KEEP | ASH_FREE_TAIL);
		frames = ash_order_frames(order);
	}
	ASH_ZONE_ASSERT(z, z->reserved_highatomic >= frames, "more unreserved than reserved", pfn,
			z->reserved_highatomic, frames);
	z->reserved_highatomic -= frames;
	return true;
}

ASH_EARLY bool ash_zone_unreserve_highatomic(struct ash_zone *z, enum ash_migratetype mt, bool force)
{
	bool done;

	if (!ash_mt_mergeable(mt))
		return false;
	ash_zone_lock(z);
	done = ash_reserve_unreserve(z, mt, force);
	ash_zone_unlock(z);
	return done;
}
