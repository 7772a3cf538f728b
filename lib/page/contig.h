/* SPDX-License-Identifier: MIT */
/*
 * Contiguous ranges out of a zone in use: isolate, drain, move away what is movable, take what is then free, give back
 * the rest. Kernel: alloc_contig_range, alloc_contig_pages.
 *
 * The pageblocks that the range touches are out of service during the call and come back with their own types; the
 * frames taken keep the type of their pageblock. Whatever happens, isolation ends before the call returns. Thread-safe;
 * calls movers and waits for locks, so not for signal handlers. Frames are freed with ash_zone_free_run(), in any
 * parts.
 */
#ifndef ASH_PAGE_CONTIG_H
#define ASH_PAGE_CONTIG_H

#include "page/isolate.h"

/*
 * Take exactly [start, start + nr). mt is what the new owner's frames are (UNMOVABLE: they stay; MOVABLE: their mover
 * knows them). 0, -ASH_EBUSY with what was in the way, -ASH_ENOMEM when there was no room to move to (busy tells of
 * which frames), -ASH_EINVAL for a range out of the span, -ASH_EINTR where ops->interrupted says so. On failure no
 * frame is lost or isolated; movable frames may have been moved.
 */
ASH_MUST_USE int ash_zone_alloc_contig_range(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr,
					     enum ash_migratetype mt, enum ash_isolate_mode mode,
					     struct ash_page_grant *grant, struct ash_busy_list *busy);

struct ash_contig_request {
	ash_pfn_t nr;
	ash_pfn_t low, high;     /* only inside [low, high); high 0: the end of the zone */
	uint8_t align_order;     /* the first frame is a multiple of 2^align_order */
	uint8_t boundary_order;  /* the range crosses no multiple of 2^boundary_order; 0: no such limit */
	enum ash_migratetype mt;
};

/*
 * Find and take a range: one that is free already if there is one, else one that can be emptied, preferably of pieces
 * of less than a pageblock (kernel: of ranges without huge pages). -ASH_ENOMEM: no range could be had; -ASH_EINVAL: the
 * request contradicts itself; -ASH_EINTR as above. busy: what was in the way of the last range looked at.
 */
ASH_MUST_USE int ash_zone_alloc_contig(struct ash_zone *z, const struct ash_contig_request *request,
				       struct ash_page_grant *grant, struct ash_busy_list *busy);

#endif
