/* SPDX-License-Identifier: MIT */
/* Runs of any length: allocate, grow in place. run_gap.c: from gaps; run_free.c: whole or in part back. */
#include "page/run.h"

#include "page/fallback.h"
#include "page/harden.h"
#include "page/reserve.h"

/* How many free buddies a search for a run above max_order looks at before it gives up. */
#define SEARCH_LIMIT 1024

void ash_run_mark_used(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, enum ash_migratetype mt)
{
	const unsigned max_order = z->max_order;
	struct ash_frame *frames = z->frames;

	while (start < end) {
		const unsigned order = ash_piece_order(start, end, max_order);

		ash_frame_store(frames, start, ash_frame_word(ASH_FRAME_USED, order, mt, 0));
		start += ash_order_frames(order);
	}
}

static bool block_takeable(const struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt,
			   unsigned flags)
{
	const enum ash_migratetype have = ash_pageblock_type(z, pfn);

	if (have == mt)
		return true;
	if (!ash_mt_mergeable(have) || !ash_mt_mergeable(mt))
		return false;
	if (order >= z->pageblock_order)
		return true;
	return !(flags & ASH_ALLOC_NOFRAGMENT) && ash_fallback_block_claimable(z, pfn, mt);
}

bool ash_run_takeable(const struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, enum ash_migratetype mt,
		      unsigned flags)
{
	ash_pfn_t checked = ASH_PFN_NONE;

	while (start < end) {
		const ash_pfn_t head = ash_frame_head(z, start);
		uint32_t word;

		if (head == ASH_PFN_NONE)
			return false;
		word = ash_frame_load(z->frames, head);
		if (ash_word_state(word) != ASH_FRAME_BUDDY)
			return false;
		/* Once per block: the half rule counts the whole of it. */
		if (ash_pageblock_start(z, start) != checked &&
		    !block_takeable(z, start, ash_word_order(word), mt, flags))
			return false;
		checked = ash_pageblock_start(z, start);
		start = head + ash_order_frames(ash_word_order(word));
	}
	return true;
}

/* Whether every block that [start, end) touches has its zeroed bit set. */
static bool blocks_zeroed(const struct ash_zone *z, ash_pfn_t start, ash_pfn_t end)
{
	for (; start < end; start = ash_pageblock_end(z, start)) {
		if (!ash_pageblock_zeroed(z, start))
			return false;
	}
	return true;
}

/* The part of a buddy of whole blocks that lies in [start, end): its blocks become mt, the rest goes back as it was. */
static bool take_from_large(struct ash_zone *z, ash_pfn_t head, unsigned order, ash_pfn_t start, ash_pfn_t end,
			    enum ash_migratetype mt)
{
	const enum ash_migratetype from = ash_pageblock_type(z, head);

	/* Legal order 2: off the list with the old type, retype, and only then add what is left over. */
	ash_freelist_del(z, head, order, from);
	if (from != mt) {
		for (ash_pfn_t b = ash_pageblock_start(z, start); b < end; b = ash_pageblock_end(z, b))
			ash_pageblock_set_type(z, b, mt);
		z->extfrag_claim++;
	}
	ash_buddy_free_range(z, head, start, ASH_FREE_KEEP);
	ash_buddy_free_range(z, end, head + ash_order_frames(order), ASH_FREE_KEEP);
	return blocks_zeroed(z, start, end);
}

static bool take_from_small(struct ash_zone *z, ash_pfn_t head, unsigned order, ash_pfn_t start, ash_pfn_t end,
			    enum ash_migratetype mt)
{
	const enum ash_migratetype from = ash_pageblock_type(z, head);
	unsigned flags;

	if (from != mt) {
		/* Legal order 1. */
		ash_buddy_move_block(z, ash_pageblock_start(z, head), from, mt);
		ash_pageblock_set_type(z, head, mt);
		z->extfrag_claim++;
	}
	flags = ash_freelist_del(z, head, order, mt) ? ASH_FREE_ZEROED : 0;
	/* Most are taken whole. */
	if (start > head)
		ash_buddy_free_range(z, head, start, flags);
	if (end < head + ash_order_frames(order))
		ash_buddy_free_range(z, end, head + ash_order_frames(order), flags);
	return flags != 0;
}

bool ash_run_take(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, enum ash_migratetype mt)
{
	bool zeroed = true;

	while (start < end) {
		const ash_pfn_t head = ash_frame_head(z, start);
		const unsigned order = ash_word_order(ash_frame_load(z->frames, head));
		const ash_pfn_t piece_end = head + ash_order_frames(order);
		const ash_pfn_t part_end = piece_end < end ? piece_end : end;

		if (order >= z->pageblock_order)
			zeroed &= take_from_large(z, head, order, start, part_end, mt);
		else
			zeroed &= take_from_small(z, head, order, start, part_end, mt);
		start = part_end;
	}
	return zeroed;
}

/* From one buddy of the smallest order that holds the run. taken->zeroed becomes 0 or 1 for the run as a whole. */
static bool take_one_buddy(struct ash_zone *z, ash_pfn_t nr, unsigned order, enum ash_migratetype mt, unsigned flags,
			   struct ash_taken *taken)
{
	enum ash_rmqueue_mode mode = ASH_RMQUEUE_NORMAL;
	unsigned keep = ASH_FREE_KEEP;
	ash_pfn_t end, rest;

	*taken = ash_rmqueue(z, order, mt, flags, &mode);
	if (taken->pfn == ASH_PFN_NONE)
		return false;
	end = taken->pfn + nr;
	rest = ash_guard_end(z, end);
	ash_run_mark_used(z, taken->pfn, end, mt);
	if (ASH_UNLIKELY(rest != end))
		ash_guard_mark(z, end, rest);
	if (order < z->pageblock_order)
		keep = taken->zeroed ? ASH_FREE_ZEROED : 0;
	else
		taken->zeroed = blocks_zeroed(z, taken->pfn, end);
	if (nr < ash_order_frames(order))
		ash_buddy_free_range(z, rest, taken->pfn + ash_order_frames(order), keep);
	return true;
}

/*
 * From free buddies that happen to be neighbours. Every run that is long enough to need this covers a buddy of at least
 * pageblock order from its first frame, so those are the starts that are tried, largest first.
 */
static bool take_neighbours(struct ash_zone *z, ash_pfn_t nr, unsigned align_order, enum ash_migratetype mt,
			    unsigned flags, struct ash_taken *taken)
{
	unsigned looked = 0;

	for (unsigned order = z->max_order + 1u; order-- > z->pageblock_order;) {
		for (unsigned t = 0; t < ASH_MT_PCPTYPES * 2; t++) {
			ash_pfn_t pfn = z->freelist[t / 2][order].first[t % 2];

			for (; pfn != ASH_PFN_NONE; pfn = ash_frame_at(z->frames, pfn)->next) {
				if (++looked > SEARCH_LIMIT)
					return false;
				if ((pfn & (ash_order_frames(align_order) - 1)) != 0 || z->nr_frames - pfn < nr ||
				    !ash_run_takeable(z, pfn, pfn + nr, mt, flags))
					continue;
				taken->pfn = pfn;
				taken->zeroed = ash_run_take(z, pfn, pfn + nr, mt);
				ash_run_mark_used(z, pfn, pfn + nr, mt);
				return true;
			}
		}
	}
	return false;
}

static ASH_EARLY bool alloc_run(struct ash_zone *z, ash_pfn_t nr, unsigned align_order, enum ash_migratetype mt,
				unsigned flags, struct ash_taken *taken)
{
	unsigned order = nr == 1 ? 0 : 32u - (unsigned)__builtin_clz(nr - 1);
	bool ok = false;

	if (order < align_order)
		order = align_order;
	if (order < z->guard_order)
		order = z->guard_order;
	if (!ash_reserve_may_alloc(z, nr, flags))
		return false;
	if ((flags & ASH_ALLOC_TRYLOCK) && !ash_lock_try(&z->lock))
		return false;
	if (!(flags & ASH_ALLOC_TRYLOCK))
		ash_zone_lock(z);
	if (ash_run_may_take_gap(z, nr, order, mt))
		ok = ash_run_take_gap(z, nr, order, align_order, mt, taken);
	if (!ok && order <= z->max_order)
		ok = take_one_buddy(z, nr, order, mt, flags, taken);
	if (!ok && nr > ash_pageblock_frames(z))
		ok = take_neighbours(z, nr, align_order, mt, flags, taken);
	if (ok)
		z->pgalloc += nr;
	ash_zone_unlock(z);
	return ok;
}

ASH_EARLY int ash_zone_alloc_run(struct ash_zone *z, ash_pfn_t nr, unsigned align_order, enum ash_migratetype mt,
				 unsigned flags, struct ash_page_grant *grant)
{
	struct ash_taken taken;
	bool ok;

	if (nr == 0 || align_order > z->max_order || !ash_mt_mergeable(mt))
		return -ASH_EINVAL;
	if (nr > z->nr_frames)
		return -ASH_ENOMEM;
	ok = alloc_run(z, nr, align_order, mt, flags, &taken);
	if (!ok && !(flags & ASH_ALLOC_TRYLOCK) && ash_zone_reclaim_own(z, mt))
		ok = alloc_run(z, nr, align_order, mt, flags, &taken);
	if (!ok)
		return -ASH_ENOMEM;
	*grant = (struct ash_page_grant){ taken.pfn, taken.zeroed };
	if (ash_hardened(z))
		grant->zeroed = ash_harden_alloc(z, grant->pfn, nr, mt, grant->zeroed);
	return 0;
}

int ash_zone_extend_run(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr, enum ash_migratetype mt, bool *zeroed)
{
	int err = -ASH_EBUSY;

	if (nr == 0 || !ash_mt_mergeable(mt))
		return -ASH_EINVAL;
	if ((uint64_t)pfn + nr > z->nr_frames)
		return -ASH_EBUSY;
	ash_zone_lock(z);
	if (ash_run_takeable(z, pfn, pfn + nr, mt, 0)) {
		*zeroed = ash_run_take(z, pfn, pfn + nr, mt);
		ash_run_mark_used(z, pfn, pfn + nr, mt);
		z->pgalloc += nr;
		err = 0;
	}
	ash_zone_unlock(z);
	if (err == 0 && ash_hardened(z))
		*zeroed = ash_harden_alloc(z, pfn, nr, mt, *zeroed);
	return err;
}

ash_pfn_t ash_zone_free_tail(struct ash_zone *z, ash_pfn_t end)
{
	ash_zone_lock(z);
	while (end > 0) {
		const ash_pfn_t head = ash_frame_head(z, end - 1);

		if (head == ASH_PFN_NONE || ash_word_state(ash_frame_load(z->frames, head)) != ASH_FRAME_BUDDY)
			break;
		end = head;
	}
	ash_zone_unlock(z);
	return end;
}
