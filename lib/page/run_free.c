/* SPDX-License-Identifier: MIT */
/* Runs back to the lists, whole or in any parts. */
#include "page/run.h"

#include "page/deferred.h"
#include "page/harden.h"
#include "page/migrate.h"

/* Pieces freed in one zone lock hold. */
#define FREE_BATCH 64

/* Pieces looked at in one zone lock hold. */
#define CHECK_BATCH 1024

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
