/* SPDX-License-Identifier: MIT */
/*
 * Free page reporting: free memory is shown to the embedder, one buddy at a time, so that it can give the memory behind
 * it back to the system. Kernel: mm/page_reporting.c.
 *
 * The buddy is off the lists meanwhile (state HELD), so the system call runs without a lock. It comes back to the tail,
 * zeroed if the system took the memory: nothing is reported twice, because only resident buddies are ever shown.
 */
#include "page/buddy.h"

int ash_zone_report_begin(struct ash_zone *z, unsigned min_order, ash_pfn_t *pfn, unsigned *order)
{
	int err = -ASH_ENOSPC;

	ash_zone_lock(z);
	for (unsigned o = z->max_order + 1u; err != 0 && o-- > min_order;) {
		for (unsigned mt = 0; mt < ASH_MT_ISOLATE; mt++) {
			/* The resident list's tail: what would be used last. */
			const ash_pfn_t last = z->freelist[o][mt].last[0];

			if (last == ASH_PFN_NONE)
				continue;
			ash_freelist_del(z, last, o, (enum ash_migratetype)mt);
			ash_frame_store(z->frames, last, ash_frame_word(ASH_FRAME_HELD, o, mt, 0));
			*pfn = last;
			*order = o;
			err = 0;
			break;
		}
	}
	ash_zone_unlock(z);
	return err;
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
