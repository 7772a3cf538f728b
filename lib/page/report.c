/* SPDX-License-Identifier: MIT */
/*
 * Free page reporting: free memory is shown to the embedder, one buddy at a time, so that it can give the memory behind
 * it back to the system. Kernel: mm/page_reporting.c.
 *
 * The buddy is off the lists meanwhile (state HELD), so the system call runs without a lock. It comes back to the tail,
 * zeroed if the system took the memory: nothing is reported twice, because only resident buddies are ever shown.
 */
#include "page/buddy.h"

/*
 * The largest aligned part of the buddy, of min_order to max_order (or pageblock order, if that is more), of which no
 * pageblock is zeroed; there is a resident one.
 */
static void resident_part(const struct ash_zone *z, ash_pfn_t head, unsigned order, unsigned min_order,
			  unsigned max_order, ash_pfn_t *pfn, unsigned *part_order)
{
	ash_pfn_t b = head;

	if (ash_frame_at(z->frames, head)->private == 0) {
		*pfn = head;
		*part_order = order < max_order ? order : max_order;
		return;
	}
	while (ash_pageblock_zeroed(z, b))
		b += ash_pageblock_frames(z);
	*part_order = min_order > z->pageblock_order ? min_order : z->pageblock_order;
	while (*part_order < order && *part_order < max_order &&
	       ash_pageblock_count_zeroed(z, ash_order_start(b, *part_order + 1), *part_order + 1) == 0)
		++*part_order;
	*pfn = ash_order_start(b, *part_order);
}

/* Of buddies of at most from_order. */
static int report_begin(struct ash_zone *z, unsigned from_order, unsigned min_order, unsigned max_order, ash_pfn_t *pfn,
			unsigned *order)
{
	int err = -ASH_ENOSPC;

	ash_zone_lock(z);
	for (unsigned o = from_order + 1u; err != 0 && o-- > min_order;) {
		for (unsigned t = 0; err != 0 && t < ASH_MT_ISOLATE; t++) {
			const enum ash_migratetype mt = (enum ash_migratetype)t;
			/* The resident list's tail: what would be used last. */
			const ash_pfn_t head = z->freelist[mt][o].last[0];
			unsigned zeroed;

			if (head == ASH_PFN_NONE)
				continue;
			resident_part(z, head, o, min_order, max_order, pfn, order);
			zeroed = ash_freelist_del(z, head, o, mt);
			ash_buddy_carve(z, head, o, *pfn, *order, mt, zeroed);
			ash_frame_store(z->frames, *pfn, ash_frame_word(ASH_FRAME_HELD, *order, mt, 0));
			err = 0;
		}
	}
	ash_zone_unlock(z);
	return err;
}

int ash_zone_report_begin_max(struct ash_zone *z, unsigned min_order, unsigned max_order, ash_pfn_t *pfn,
			      unsigned *order)
{
	return report_begin(z, z->max_order, min_order, max_order, pfn, order);
}

int ash_zone_report_begin_small(struct ash_zone *z, unsigned min_order, ash_pfn_t *pfn, unsigned *order)
{
	const unsigned most = z->pageblock_order - 1u;

	return z->pageblock_order == 0 ? -ASH_ENOSPC : report_begin(z, most, min_order, most, pfn, order);
}

int ash_zone_report_begin(struct ash_zone *z, unsigned min_order, ash_pfn_t *pfn, unsigned *order)
{
	return ash_zone_report_begin_max(z, min_order, z->max_order, pfn, order);
}

void ash_zone_report_end(struct ash_zone *z, ash_pfn_t pfn, unsigned order, bool zeroed)
{
	uint32_t word;

	if (pfn >= z->nr_frames)
		ash_zone_bug(z, "end of a report that was not begun", pfn, order, z->nr_frames);
	ash_zone_lock(z);
	word = ash_frame_load(z->frames, pfn);
	if ((word & 0xffff) != ash_frame_word(ASH_FRAME_HELD, order, 0, 0)) {
		ash_zone_unlock(z);
		ash_zone_bug(z, "end of a report that was not begun", pfn, word, order);
	}
	ash_frame_store(z->frames, pfn, 0);
	ash_buddy_free(z, pfn, order, ASH_FREE_TAIL | (zeroed ? ASH_FREE_ZEROED : 0));
	ash_zone_unlock(z);
}
