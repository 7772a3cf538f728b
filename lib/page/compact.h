/* SPDX-License-Identifier: MIT */
/*
 * Compaction: movable pieces from the low end of a zone go into free frames at its high end, until a large enough buddy
 * has formed or the two scanners meet. Kernel: mm/compaction.c.
 *
 * The migrate scanner goes up pageblock by pageblock, the free scanner down; where they stopped is remembered for the
 * next run, and blocks that gave nothing are skipped until a run has met. Thread-safe; calls movers; waits for locks.
 * Two runs at once only get in each other's way.
 */
#ifndef ASH_PAGE_COMPACT_H
#define ASH_PAGE_COMPACT_H

#include "page/zone.h"

enum ash_compact_mode {
	ASH_COMPACT_ASYNC, /* only blocks of the request's own type; gives up a 2^order range at its first failure */
	ASH_COMPACT_SYNC,  /* any block that was not found empty-handed before */
	ASH_COMPACT_FULL,  /* every block, from the ends; wholly free blocks may be filled */
};

enum ash_compact_result {
	ASH_COMPACT_SUCCESS,  /* a buddy for the request exists, or a claimable one of another type */
	ASH_COMPACT_COMPLETE, /* the scanners met; there is none */
	ASH_COMPACT_UNSUITABLE, /* too little is free, or what is missing is memory and not contiguity */
};

/* For ash_zone_compact(): no particular order, run until the scanners meet. */
#define ASH_COMPACT_ALL ASH_NR_ORDERS

struct ash_compact_stats {
	uint64_t migrate_scanned, free_scanned; /* frames looked at */
	uint64_t moved, failed;                 /* pieces */
};

/* stats may be NULL; it is added to. */
enum ash_compact_result ash_zone_compact(struct ash_zone *z, unsigned order, enum ash_migratetype mt,
					 enum ash_compact_mode mode, struct ash_compact_stats *stats);

/*
 * ash_zone_alloc() with direct compaction: as it is, after an asynchronous run, after a synchronous one; failed
 * synchronous runs defer later attempts of this order and above. During a run the first buddy of exactly this order
 * that some free completes is captured for the request. In a zone in defrag mode (config.defrag_mode) no attempt
 * fragments a pageblock until compaction has failed; then, once, it may (kernel: vm.defrag_mode).
 */
ASH_MUST_USE int ash_zone_alloc_compact(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags,
					struct ash_page_grant *grant);

/*
 * Deferral, exponential: after n failures in a row (at most 6 count) 2^n - 1 attempts are skipped. Orders below the
 * lowest that failed are never skipped; a success starts anew.
 */
bool ash_zone_compact_deferred(struct ash_zone *z, unsigned order);
void ash_zone_compact_defer(struct ash_zone *z, unsigned order);
void ash_zone_compact_defer_reset(struct ash_zone *z, unsigned order, bool allocated);

/*
 * Proactive compaction: done ahead of need, so that the next request for 2^order frames finds them. The score is how
 * many percent of the free frames are outside buddies of the order; of several zones, weighted by their size.
 */
unsigned ash_zone_fragmentation_score(struct ash_zone *z, unsigned order);
unsigned ash_zones_fragmentation_score(struct ash_zone *const zones[], unsigned nr, unsigned order);

struct ash_proactive {
	unsigned proactiveness; /* 0 (never) to 100; the kernel's default is 20 */
	unsigned skip;          /* of the next calls, because the last run gained nothing */
};

/*
 * One turn of the background loop, every half second in the kernel, not while memory is being reclaimed. When the
 * zones' score is above 100 - p + min(10, (100 - p) / 2), each zone is compacted until its own is at most 100 - p. A
 * run after which the score is no lower makes the next 63 calls do nothing. Whether there was a run. p belongs to one
 * thread.
 */
bool ash_zones_compact_proactively(struct ash_proactive *p, struct ash_zone *const zones[], unsigned nr,
				   unsigned order);

/*
 * Take the free buddy headed by pfn off the lists (kernel: __isolate_free_page). Its order, or -ASH_EBUSY: there is
 * none, or the min watermark forbids it. A buddy of at least half a pageblock turns its mergeable blocks MOVABLE, for
 * that is what it is about to be filled with. An isolated one always succeeds.
 */
int ash_zone_isolate_free_page(struct ash_zone *z, ash_pfn_t pfn);
/* Put it back, to the tail. */
void ash_zone_putback_free_page(struct ash_zone *z, ash_pfn_t pfn, unsigned order);

#endif
