/* SPDX-License-Identifier: MIT */
/*
 * Isolation: put pageblocks out of reach of every allocation while their frames are being emptied.
 *
 * An isolated block keeps its type; its free frames stand on the ISOLATE lists and do not count as free, and what is
 * freed into it joins them. Not synchronised with the pcps: a frame that was already cached can still be allocated
 * once. ash_zone_drain() after isolating, or ash_zone_pcp_disable() around it, closes that gap. Kernel:
 * mm/page_isolation.c. Thread-safe; may wait for locks.
 */
#ifndef ASH_PAGE_ISOLATE_H
#define ASH_PAGE_ISOLATE_H

#include "page/zone.h"

/* What isolating is for decides what counts as movable. */
enum ash_isolate_mode {
	ASH_ISOLATE_OTHER,
	ASH_ISOLATE_CMA,     /* CMA blocks are movable for their own allocator only */
	ASH_ISOLATE_OFFLINE,
};

/* Why a frame was in the way. */
enum ash_busy_reason {
	ASH_BUSY_UNMOVABLE,   /* allocated as what cannot move */
	ASH_BUSY_PINNED,      /* movable, but its mover refused or failed */
	ASH_BUSY_NO_MEMORY,   /* movable, but there is no frame to move it to */
	ASH_BUSY_ISOLATED,    /* somebody else is emptying this pageblock */
	ASH_BUSY_OFFLINE,     /* not there, or the pageblock is partly not there */
	ASH_BUSY_RESERVED,    /* in a CMA area */
	ASH_BUSY_TRANSIENT,   /* cached or held for a moment: trying again may help */
};

struct ash_busy {
	ash_pfn_t pfn, nr;
	enum ash_busy_reason why;
};

/*
 * The caller's array. nr counts what was found, also past capacity; once the array is full, no further pageblock is
 * looked at for its sake. Functions that take one accept NULL, and add to what is in it already.
 */
struct ash_busy_list {
	struct ash_busy *entry;
	unsigned capacity, nr;
};

/*
 * Isolate every pageblock that [start, start + nr) touches. -ASH_EBUSY, everything as before: a block is already
 * isolated, partly offline, or holds something unmovable inside the range; busy says of what first refused, and then of
 * all others in ascending order. -ASH_EINVAL: nr is 0 or out of the span.
 */
ASH_MUST_USE int ash_zone_isolate_range(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, enum ash_isolate_mode mode,
					struct ash_busy_list *busy);

/* End the isolation of every isolated pageblock that the range touches; types come back by themselves. */
void ash_zone_unisolate_range(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr);

/* 0: every frame of the range is free and in an isolated block. -ASH_EBUSY with the frames in the way. */
ASH_MUST_USE int ash_zone_test_range_isolated(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr,
					      struct ash_busy_list *busy);

/*
 * The first frame of the free buddy that covers pfn and starts before it, or pfn when there is none. The answer is
 * good only as long as nothing else uses the zone.
 */
ash_pfn_t ash_zone_find_large_buddy(struct ash_zone *z, ash_pfn_t pfn);

/* For the other files of lib/page: append to a list that may be NULL. */
void ash_busy_add(struct ash_busy_list *busy, ash_pfn_t pfn, ash_pfn_t nr, enum ash_busy_reason why);

#endif
