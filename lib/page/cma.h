/* SPDX-License-Identifier: MIT */
/*
 * CMA: named areas whose pageblocks lend their free frames to MOVABLE requests (ASH_ALLOC_CMA) and get them back,
 * empty, when a contiguous buffer is wanted. Kernel: mm/cma.c.
 *
 * An area is up to ASH_CMA_RANGES ranges of whole pageblocks, each with a bitmap of 2^order_per_bit frames per bit that
 * says what has been given out as buffers. The area and its bitmaps are the caller's memory. All functions are
 * thread-safe except init and destroy; they wait for locks and call movers, which must not call back into the area.
 */
#ifndef ASH_PAGE_CMA_H
#define ASH_PAGE_CMA_H

#include "base/lock.h"
#include "page/isolate.h"

#define ASH_CMA_RANGES 8

struct ash_cma_range {
	ash_pfn_t base, count;
	unsigned long *bitmap;
};

struct ash_cma {
	struct ash_zone *zone;
	const char *name; /* the caller's string */
	unsigned order_per_bit, nr_ranges;
	struct ash_cma_range range[ASH_CMA_RANGES];
	struct ash_lock lock; /* the bitmaps and what follows */
	uint64_t count, available;
	uint64_t alloc_success, alloc_fail, pages_success, pages_fail, pages_released;
};

/* As the kernel shows an area (/sys/kernel/mm/cma/NAME, and maxchunk of debugfs). In frames, but for the first two. */
struct ash_cma_stats {
	uint64_t alloc_success, alloc_fail; /* calls */
	uint64_t total_pages, available_pages;
	uint64_t alloc_pages_success, alloc_pages_fail, release_pages_success;
	uint64_t maxchunk; /* the longest row that no buffer has, lent or not */
};

/* Bytes of bitmap for a range of this many frames. */
size_t ash_cma_bitmap_bytes(ash_pfn_t count, unsigned order_per_bit);

/* order_per_bit must not exceed the zone's pageblock order. */
ASH_MUST_USE int ash_cma_init(struct ash_cma *cma, struct ash_zone *z, const char *name, unsigned order_per_bit);

/*
 * Make [base, base + count), whole online pageblocks, part of the area; what is in them is moved out first. bitmap is
 * zero-filled. -ASH_EBUSY, -ASH_ENOMEM as ash_zone_alloc_contig_range(); -ASH_EINVAL; -ASH_ENOSPC: no range left.
 */
ASH_MUST_USE int ash_cma_add_range(struct ash_cma *cma, ash_pfn_t base, ash_pfn_t count, unsigned long *bitmap,
				   struct ash_busy_list *busy);

/* Turn the area's blocks into MOVABLE ones. -ASH_EBUSY: buffers are out, or a borrower cannot be moved. */
ASH_MUST_USE int ash_cma_destroy(struct ash_cma *cma, struct ash_busy_list *busy);

/*
 * nr frames aligned to 2^align_order, not across two ranges. A busy place is passed over for the next aligned one.
 * -ASH_ENOMEM: no place; -ASH_EBUSY: there were places, but what is in them cannot be moved; -ASH_EINTR: the zone's
 * ops->interrupted says so.
 */
ASH_MUST_USE int ash_cma_alloc(struct ash_cma *cma, ash_pfn_t nr, unsigned align_order, ash_pfn_t *pfn,
			       struct ash_busy_list *busy);

/* false, nothing done: [pfn, pfn + nr) is not inside one range of the area. */
bool ash_cma_release(struct ash_cma *cma, ash_pfn_t pfn, ash_pfn_t nr);

/* Each figure is a moment old by itself. */
void ash_cma_stats(struct ash_cma *cma, struct ash_cma_stats *out);

#endif
