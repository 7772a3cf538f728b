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

static bool heads_piece(const struct ash_zone *z, ash_pfn_t pfn)
{
	return ash_word_state(ash_frame_load(z->frames, pfn)) != ASH_FRAME_NONE;
}

/* Whether a piece whose word is not plainly USED may be freed all the same: one being moved, as a whole and once. */
static bool freeable(uint32_t word, bool whole)
{
	return ash_word_state(word) == ASH_FRAME_USED && !(ash_word_flags(word) & ASH_FRAME_FREE_PENDING) && whole;
}

/* Goes over the next CHECK_BATCH pieces from *start on. false: *start is now a frame that is not in a USED piece. */
static bool next_used(const struct ash_zone *z, ash_pfn_t *start, ash_pfn_t end)
{
	ash_pfn_t at = *start, head = at;

	if (at >= end)
		return true;
	if (ASH_UNLIKELY(!heads_piece(z, at)))
		head = ash_frame_head(z, at);
	if (ASH_UNLIKELY(head == ASH_PFN_NONE))
		return false;
	for (unsigned n = CHECK_BATCH; n > 0 && at < end; n--) {
		const uint32_t word = ash_frame_load(z->frames, head);
		const ash_pfn_t frames = ash_order_frames(ash_word_order(word));

		*start = at;
		if (ASH_UNLIKELY((word & 0xff0000ff) != ash_frame_word(ASH_FRAME_USED, 0, 0, 0)) &&
		    !freeable(word, head >= at && end - head >= frames))
			return false;
		/* Behind a piece is the head of another, or what is offline. */
		at = head = head + frames;
	}
	*start = at;
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

/* pfn heads nothing: cut the USED piece that covers it, if one does, so that a piece border is there. */
static ASH_NOINLINE void cut_used(struct ash_zone *z, ash_pfn_t pfn)
{
	const ash_pfn_t head = ash_frame_head(z, pfn);
	ash_pfn_t end;
	uint32_t word;

	if (head == ASH_PFN_NONE)
		return;
	word = ash_frame_load(z->frames, head);
	end = head + ash_order_frames(ash_word_order(word));
	ash_run_mark_used(z, head, pfn, ash_word_type(word));
	ash_run_mark_used(z, pfn, end, ash_word_type(word));
}

/* The frames head nothing any more. */
static void free_row(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, unsigned flags)
{
	ash_buddy_free_range(z, start, end, flags);
	z->pgfree += end - start;
}

/* Free pieces from start on until the batch is used up; both borders are piece borders. Returns where it stopped. */
static ash_pfn_t free_pieces(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, unsigned flags)
{
	/* Which buddies form on the way matters to a request that waits for one: it is told of each piece. */
	const bool one_by_one = z->capture != NULL;
	struct ash_frame *frames = z->frames;
	ash_pfn_t row = start;

	/* What stands in a row is freed as one: most of its pieces merge with each other, or not at all. */
	for (unsigned n = FREE_BATCH; n > 0 && start < end; n--) {
		const uint32_t word = ash_frame_load(frames, start);
		const ash_pfn_t next = start + ash_order_frames(ash_word_order(word));

		if (ASH_UNLIKELY(word >> 24 & ASH_FRAME_MOVING)) {
			free_row(z, row, start, flags);
			/* Completed when the move is over; next_used() has refused a second free. */
			ash_migrate_note_free(z, start);
			row = next;
		} else {
			ash_frame_store(frames, start, 0);
			if (ASH_UNLIKELY(one_by_one)) {
				free_row(z, start, next, flags);
				row = next;
			}
		}
		start = next;
	}
	free_row(z, row, start, flags);
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
	if (nr > 0 && !heads_piece(z, pfn))
		cut_used(z, pfn);
	if (nr > 0 && end < z->nr_frames && !heads_piece(z, end))
		cut_used(z, end);
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
