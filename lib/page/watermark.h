/* SPDX-License-Identifier: MIT */
/*
 * Watermarks: how much of a zone must stay free for whom. Kernel: __setup_per_zone_wmarks, __zone_watermark_ok.
 *
 *      high   background work may stop         low   background work should start
 *      min    ordinary requests stop here; HIGHATOMIC requests go to 3/8 of it
 *
 * A zone starts without watermarks: every free frame may be had. They count in frames. All functions are thread-safe.
 */
#ifndef ASH_PAGE_WATERMARK_H
#define ASH_PAGE_WATERMARK_H

#include "page/zone.h"

enum ash_wmark { ASH_WMARK_MIN, ASH_WMARK_LOW, ASH_WMARK_HIGH, ASH_WMARK_NR };

/* What the kernel's min_free_kbytes comes to for this many frames of 4 KiB. */
uint64_t ash_watermark_default_min(uint64_t frames);

/*
 * Set min, and low and high above it by the larger of min / 4 and present * scale / 10000 each (kernel:
 * watermark_scale_factor, 10). min 0 turns watermarks off. Ends a boost. What comes online or goes offline later moves
 * low and high, and ends a boost too.
 */
void ash_zone_set_watermarks(struct ash_zone *z, uint64_t min, unsigned scale);

struct ash_watermarks {
	uint64_t mark[ASH_WMARK_NR]; /* without the boost */
	uint64_t boost;
	uint64_t reserved_highatomic; /* frames in HIGHATOMIC blocks */
	uint64_t lowmem_reserve[ASH_LOWMEM_ZONES];
};
void ash_zone_watermarks(struct ash_zone *z, struct ash_watermarks *out);

/*
 * What zone i keeps from requests that could as well have come from the zones above it, up to j (kernel:
 * lowmem_reserve[j], setup_per_zone_lowmem_reserve): one frame for every ratio of what those manage. managed: frames of
 * each zone, the lowest first, of which those up to j are read. ratio 0, or j not above i: nothing.
 */
uint64_t ash_lowmem_reserve(const uint64_t *managed, unsigned i, unsigned j, unsigned ratio);

/*
 * From now on, requests with ASH_ALLOC_FROM_ABOVE(n) leave reserve[n] frames free beyond the min watermark, with or
 * without watermarks; reserve[0] is for requests that have no other zone, and is 0 in the kernel. NULL: none.
 */
void ash_zone_set_lowmem_reserve(struct ash_zone *z, const uint64_t reserve[ASH_LOWMEM_ZONES]);

/*
 * Would the zone, with `free` frames free, satisfy this order above this mark? flags are ash_alloc_flags; reserve is
 * what is kept for requests that have no other zone (ash_lowmem_reserve()). With order > 0 a large enough buddy of some
 * usable type must exist as well.
 */
bool ash_zone_watermark_ok(struct ash_zone *z, unsigned order, enum ash_wmark mark, unsigned flags, uint64_t reserve,
			   uint64_t free);

/*
 * What background work is due (kernel: pgdat_balanced and what kswapd leaves to kcompactd). TRIM: less than the high
 * mark is free, so have caches and shrinkers give memory back. COMPACT, in a zone in defrag mode: enough is free, but
 * not in whole pageblocks, and trimming more would not help.
 */
enum ash_background { ASH_BACKGROUND_NOTHING, ASH_BACKGROUND_TRIM, ASH_BACKGROUND_COMPACT };
enum ash_background ash_zone_background(struct ash_zone *z);

/*
 * External fragmentation raises the marks for a while, so that background work frees whole pageblocks ahead of need
 * (kernel: boost_watermark). That work ends the boost and learns how large it was.
 */
uint64_t ash_zone_end_boost(struct ash_zone *z);

/*
 * Give one reserved HIGHATOMIC pageblock back, as mt, and say whether there was one. The last one is kept unless force.
 * Reserving happens by itself, when an allocation with ASH_ALLOC_HIGHATOMIC and order > 0 succeeds.
 */
bool ash_zone_unreserve_highatomic(struct ash_zone *z, enum ash_migratetype mt, bool force);

#endif
