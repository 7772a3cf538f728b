/* SPDX-License-Identifier: MIT */
/* Runs from gaps: neighbouring free buddies of partly used pageblocks (docs/decisions/022-runs-use-gaps.md). */
#include "page/run.h"

/* Free buddies of an order, used before or not, that a search for a gap looks at. */
#define GAP_LOOKS 8

/* Whether word is that of a free buddy in a partly used pageblock of type mt. */
static bool is_gap_piece(const struct ash_zone *z, uint32_t word, enum ash_migratetype mt)
{
	return ash_word_state(word) == ASH_FRAME_BUDDY && ash_word_type(word) == mt &&
	       ash_word_order(word) < z->pageblock_order;
}

/* The free piece that ends at pfn, a border of pieces, in a partly used pageblock of type mt; ASH_PFN_NONE: none. */
static ash_pfn_t gap_piece_below(const struct ash_zone *z, ash_pfn_t pfn, enum ash_migratetype mt)
{
	const struct ash_frame *frames = z->frames;
	unsigned order = z->pageblock_order - 1u;
	uint32_t word;

	if (pfn == 0)
		return ASH_PFN_NONE;
	/*
	 * It is as large as pfn is aligned, at most; and a head is its head if it ends at pfn. The large are looked for
	 * first, because the pieces of a gap grow towards its middle.
	 */
	if (order > (unsigned)__builtin_ctz(pfn))
		order = (unsigned)__builtin_ctz(pfn);
	word = ash_frame_word(ASH_FRAME_BUDDY, order, mt, 0);
	for (ash_pfn_t nr = ash_order_frames(order); nr > 0; nr /= 2) {
		if ((ash_frame_load(frames, pfn - nr) & 0xffffff) == word)
			return pfn - nr;
		word -= ash_frame_word(ASH_FRAME_NONE, 1, 0, 0);
	}
	return ASH_PFN_NONE;
}

/*
 * The gap around pfn, the head of a free buddy: up from there and then down, until it is `enough`, or will not come to
 * nr. From the largest pieces of a gap down to its low end each is larger than all below it together.
 */
static void gap_around(const struct ash_zone *z, ash_pfn_t pfn, enum ash_migratetype mt, ash_pfn_t nr, ash_pfn_t enough,
		       ash_pfn_t *start, ash_pfn_t *end)
{
	uint32_t word = ash_frame_load(z->frames, pfn);
	ash_pfn_t last = ash_order_frames(ash_word_order(word));

	*start = *end = pfn;
	do {
		*end += ash_order_frames(ash_word_order(word));
		word = *end < z->nr_frames ? ash_frame_load(z->frames, *end) : 0;
	} while (*end - pfn < enough && is_gap_piece(z, word, mt));
	while (*end - *start < enough) {
		const ash_pfn_t below = gap_piece_below(z, *start, mt), frames = *start - below;

		if (below == ASH_PFN_NONE || (frames <= last && *end - below + frames <= nr))
			break;
		last = frames;
		*start = below;
	}
}

ASH_EARLY bool ash_run_take_gap(struct ash_zone *z, ash_pfn_t nr, unsigned order, unsigned align_order,
				enum ash_migratetype mt, struct ash_taken *taken)
{
	const ash_pfn_t align = ash_order_frames(align_order), enough = 2 * ash_order_frames(order);
	ash_pfn_t best = ASH_PFN_NONE;

	taken->pfn = ASH_PFN_NONE;
	for (unsigned i = 0; i < 4 && taken->pfn == ASH_PFN_NONE; i++) {
		ash_pfn_t pfn = z->freelist[mt][order - 1 - i % 2].first[i / 2];

		for (unsigned looked = 0; pfn != ASH_PFN_NONE && looked < GAP_LOOKS && best > nr; looked++) {
			ash_pfn_t start, end, at;

			gap_around(z, pfn, mt, nr, enough, &start, &end);
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
 * A buddy in memory costs no search. But of one that a run little more than half fills, nothing that is left serves the
 * next such run.
 */
ASH_EARLY bool ash_run_may_take_gap(const struct ash_zone *z, ash_pfn_t nr, unsigned order, enum ash_migratetype mt)
{
	if (order < 2 || order > z->pageblock_order || nr == ash_order_frames(order) || z->guard_order != 0)
		return false;
	if (nr * 8 <= ash_order_frames(order) * 5)
		return true;
	for (; order < z->pageblock_order; order++)
		if (z->freelist[mt][order].first[0] != ASH_PFN_NONE)
			return false;
	return true;
}
