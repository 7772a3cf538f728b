/* SPDX-License-Identifier: MIT */
/* Runs of any length: allocate, grow in place, free whole or in part. */
#include "page/run.h"

#include "page/deferred.h"
#include "page/fallback.h"
#include "page/harden.h"
#include "page/migrate.h"
#include "page/pcp.h"
#include "page/reserve.h"

/* Pieces freed in one zone lock hold. */
#define FREE_BATCH 64

/* Free buddies of an order, used before or not, that a search for a gap looks at. */
#define GAP_LOOKS 8

/* Pieces looked at in one zone lock hold. */
#define CHECK_BATCH 1024

/* How many free buddies a search for a run above max_order looks at before it gives up. */
#define SEARCH_LIMIT 1024

void ash_run_mark_used(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, enum ash_migratetype mt)
{
	while (start < end) {
		const unsigned order = ash_piece_order(start, end, z->max_order);

		ash_frame_store(z->frames, start, ash_frame_word(ASH_FRAME_USED, order, mt, 0));
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
	ash_buddy_free_range(z, head, start, flags);
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
	ash_buddy_free_range(z, rest, taken->pfn + ash_order_frames(order), keep);
	return true;
}

/* Whether word is that of a free buddy in a partly used pageblock of type mt. */
static bool is_gap_piece(const struct ash_zone *z, uint32_t word, enum ash_migratetype mt)
{
	return ash_word_state(word) == ASH_FRAME_BUDDY && ash_word_type(word) == mt &&
	       ash_word_order(word) < z->pageblock_order;
}

/* The free piece that ends at pfn, a border of pieces, in a partly used pageblock of type mt; ASH_PFN_NONE: none. */
static ash_pfn_t gap_piece_below(const struct ash_zone *z, ash_pfn_t pfn, enum ash_migratetype mt)
{
	ash_pfn_t head;
	uint32_t word;

	/*
	 * It is as large as pfn is aligned, at most. The first head met, going down, is that of the piece in question,
	 * since pieces do not overlap.
	 */
	for (unsigned order = 0; order < z->pageblock_order; order++) {
		if (pfn == 0 || (pfn & (ash_order_frames(order) - 1)) != 0)
			break;
		head = pfn - ash_order_frames(order);
		word = ash_frame_load(z->frames, head);

		if (ash_word_state(word) != ASH_FRAME_NONE)
			return is_gap_piece(z, word, mt) && ash_word_order(word) == order ? head : ASH_PFN_NONE;
	}
	return ASH_PFN_NONE;
}

/* The gap around pfn, the head of a free buddy: up from there and then down, until it is `enough`. */
static void gap_around(const struct ash_zone *z, ash_pfn_t pfn, enum ash_migratetype mt, ash_pfn_t enough,
		       ash_pfn_t *start, ash_pfn_t *end)
{
	uint32_t word = ash_frame_load(z->frames, pfn);
	ash_pfn_t head = pfn;

	*end = pfn;
	do {
		*end += ash_order_frames(ash_word_order(word));
		word = *end < z->nr_frames ? ash_frame_load(z->frames, *end) : 0;
	} while (*end - pfn < enough && is_gap_piece(z, word, mt));
	do {
		*start = head;
		head = *end - head < enough ? gap_piece_below(z, head, mt) : ASH_PFN_NONE;
	} while (head != ASH_PFN_NONE);
}

/*
 * From neighbouring free buddies in partly used pageblocks, each too small for the run. Where runs come and go whose
 * lengths are no powers of two, much of the room that they leave is like this, and without it they would have fresh
 * memory time and again. A gap that holds the run, of more than half of 2^order frames, has a whole buddy of a quarter
 * of that at least: so those of the two orders below lead to every gap that has no buddy for the run by itself. Of the
 * few that are looked at the shortest is taken; what is in memory goes before what is not.
 */
static bool take_gap(struct ash_zone *z, ash_pfn_t nr, unsigned order, unsigned align_order, enum ash_migratetype mt,
		     struct ash_taken *taken)
{
	const ash_pfn_t align = ash_order_frames(align_order), enough = 2 * ash_order_frames(order);
	ash_pfn_t best = ASH_PFN_NONE;

	taken->pfn = ASH_PFN_NONE;
	for (unsigned i = 0; i < 4 && taken->pfn == ASH_PFN_NONE; i++) {
		ash_pfn_t pfn = z->freelist[mt][order - 1 - i % 2].first[i / 2];

		for (unsigned looked = 0; pfn != ASH_PFN_NONE && looked < GAP_LOOKS && best > nr; looked++) {
			ash_pfn_t start, end, at;

			gap_around(z, pfn, mt, enough, &start, &end);
			at = (start + align - 1) & ~(align - 1);
			if (at < end && end - at >= nr && end - start < best) {
				taken->pfn = at;
				best = end - start;
			}
			pfn = ash_frame_at(z->frames, pfn)->next;
		}
	}
	if (taken->pfn == ASH_PFN_NONE)
		return false;
	taken->zeroed = ash_run_take(z, taken->pfn, taken->pfn + nr, mt);
	ash_run_mark_used(z, taken->pfn, taken->pfn + nr, mt);
	return true;
}

/*
 * Whether a gap may serve better than a buddy: not while a buddy of a partly used pageblock is to be had that is in
 * memory, for a search costs more. A guard is behind the run in the same one.
 */
static bool may_take_gap(const struct ash_zone *z, ash_pfn_t nr, unsigned order, enum ash_migratetype mt)
{
	if (order < 2 || order > z->pageblock_order || nr == ash_order_frames(order) || z->guard_order != 0)
		return false;
	for (; order < z->pageblock_order; order++)
		if (z->freelist[mt][order].first[0] != ASH_PFN_NONE)
			return false;
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

static bool alloc_run(struct ash_zone *z, ash_pfn_t nr, unsigned align_order, enum ash_migratetype mt, unsigned flags,
		      struct ash_taken *taken)
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
	if (may_take_gap(z, nr, order, mt))
		ok = take_gap(z, nr, order, align_order, mt, taken);
	if (!ok && order <= z->max_order)
		ok = take_one_buddy(z, nr, order, mt, flags, taken);
	if (!ok && nr > ash_pageblock_frames(z))
		ok = take_neighbours(z, nr, align_order, mt, flags, taken);
	if (ok)
		z->pgalloc += nr;
	ash_zone_unlock(z);
	return ok;
}

int ash_zone_alloc_run(struct ash_zone *z, ash_pfn_t nr, unsigned align_order, enum ash_migratetype mt, unsigned flags,
		       struct ash_page_grant *grant)
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

/* Goes over the next CHECK_BATCH pieces from *start on. false: *start is now a frame that is not in a USED piece. */
static bool next_used(const struct ash_zone *z, ash_pfn_t *start, ash_pfn_t end)
{
	for (unsigned n = 0; n < CHECK_BATCH && *start < end; n++) {
		const ash_pfn_t head = ash_frame_head(z, *start);
		uint32_t word;

		if (head == ASH_PFN_NONE)
			return false;
		word = ash_frame_load(z->frames, head);
		if (ash_word_state(word) != ASH_FRAME_USED || (word >> 24 & ASH_FRAME_FREE_PENDING))
			return false;
		/* A piece being moved can be freed as a whole only. */
		if ((word >> 24 & ASH_FRAME_MOVING) &&
		    (head < *start || end - head < ash_order_frames(ash_word_order(word))))
			return false;
		*start = head + ash_order_frames(ash_word_order(word));
	}
	return true;
}

/*
 * Whether [start, end) is all USED; else *bad is a frame that is not. Holds the zone lock on return, not all the time.
 */
static bool all_used(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, ash_pfn_t *bad)
{
	bool again = false;

	*bad = start;
	while (next_used(z, bad, end)) {
		if (*bad >= end && !again)
			return true;
		if (*bad >= end)
			break;
		/* What is the caller's stays so while the lock is open. */
		again = true;
		ash_zone_unlock(z);
		ash_zone_lock(z);
	}
	if (*bad < end)
		return false;
	/* Except that a move of the piece that sticks out at the start may have begun, and then it may not be cut. */
	*bad = start;
	return ash_frame_head(z, start) == start || next_used(z, bad, start + 1);
}

/* Make pfn the head of its USED piece, or of none: cut the piece that covers it so that a piece border is at pfn. */
static void cut_used(struct ash_zone *z, ash_pfn_t pfn)
{
	const ash_pfn_t head = pfn < z->nr_frames ? ash_frame_head(z, pfn) : ASH_PFN_NONE;
	ash_pfn_t end;
	uint32_t word;

	if (head == ASH_PFN_NONE || head == pfn)
		return;
	word = ash_frame_load(z->frames, head);
	end = head + ash_order_frames(ash_word_order(word));
	ash_run_mark_used(z, head, pfn, ash_word_type(word));
	ash_run_mark_used(z, pfn, end, ash_word_type(word));
}

/* Free pieces from start on until the batch is used up; both borders are piece borders. Returns where it stopped. */
static ash_pfn_t free_pieces(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, unsigned flags)
{
	for (unsigned n = 0; n < FREE_BATCH && start < end; n++) {
		const uint32_t word = ash_frame_load(z->frames, start);
		const unsigned order = ash_word_order(word);

		if (ASH_UNLIKELY(word >> 24 & ASH_FRAME_MOVING)) {
			/* Completed when the move is over; next_used() has refused a second free. */
			ash_migrate_note_free(z, start);
		} else {
			ash_frame_store(z->frames, start, 0);
			ash_buddy_free(z, start, order, flags);
			z->pgfree += ash_order_frames(order);
		}
		start += ash_order_frames(order);
	}
	return start;
}

/* Take the lock to free [pfn, end), all of which must be allocated. */
static void lock_used(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t end)
{
	ash_pfn_t bad;

	ash_zone_lock(z);
	ash_deferred_drain(z);
	if (ASH_UNLIKELY(!all_used(z, pfn, end, &bad))) {
		ash_zone_unlock(z);
		ash_zone_bug(z, "free of frames that are not allocated", bad, pfn, end - pfn);
	}
}

static void free_run(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr, unsigned flags)
{
	const ash_pfn_t end = pfn + nr;

	if (ASH_UNLIKELY((uint64_t)pfn + nr > z->nr_frames))
		ash_zone_bug(z, "free of foreign frames", pfn, nr, z->nr_frames);
	lock_used(z, pfn, end);
	if (ash_hardened(z)) {
		/* The frames are the caller's until they are freed: filling them needs no lock. */
		ash_zone_unlock(z);
		ash_harden_free(z, pfn, nr, (flags & ASH_FREE_ZEROED) != 0);
		lock_used(z, pfn, end);
	}
	if (nr > 0) {
		cut_used(z, pfn);
		cut_used(z, end);
	}
	while (pfn < end) {
		pfn = free_pieces(z, pfn, end, flags);
		if (pfn < end) {
			/* The rest is still the caller's: nobody else may touch it while the lock is open. */
			ash_zone_unlock(z);
			ash_zone_lock(z);
		}
	}
	ash_zone_unlock(z);
}

void ash_zone_free_run(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr)
{
	free_run(z, pfn, nr, 0);
}

void ash_zone_free_run_zeroed(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr)
{
	free_run(z, pfn, nr, ASH_FREE_ZEROED | ASH_FREE_TAIL);
}
