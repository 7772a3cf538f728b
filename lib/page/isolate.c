/* SPDX-License-Identifier: MIT */
/*
 * Isolation of pageblocks.
 *
 * The block to isolate may lie anywhere in a larger free buddy: head, middle or tail. Everything then happens in one
 * lock hold: the buddy leaves its list with the type it has, the bit of the one block is flipped, and the parts are
 * added back, each with its own type. Flipping first would make the removal look on the wrong list; leaving the buddy
 * whole would leave the isolated block allocatable through the buddy's head; cutting it in two pieces instead of around
 * the block would take a neighbour along or merge the isolation away again.
 */
#include "page/isolate.h"

#include "base/fault.h"
#include "page/buddy.h"
#include "page/migrate.h"

void ash_busy_add(struct ash_busy_list *busy, ash_pfn_t pfn, ash_pfn_t nr, enum ash_busy_reason why)
{
	if (busy == NULL)
		return;
	if (busy->nr < busy->capacity)
		busy->entry[busy->nr] = (struct ash_busy){ pfn, nr, why };
	busy->nr++;
}

static ash_pfn_t find_large_buddy(const struct ash_zone *z, ash_pfn_t pfn)
{
	const ash_pfn_t head = ash_frame_head(z, pfn);

	if (head == ASH_PFN_NONE || ash_word_state(ash_frame_load(z->frames, head)) != ASH_FRAME_BUDDY)
		return pfn;
	return head;
}

ash_pfn_t ash_zone_find_large_buddy(struct ash_zone *z, ash_pfn_t pfn)
{
	ash_pfn_t head;

	if (pfn >= z->nr_frames)
		return pfn;
	ash_zone_lock(z);
	head = find_large_buddy(z, pfn);
	ash_zone_unlock(z);
	return head;
}

/* Flip one block's isolate bit with its free frames. Under the zone lock. */
static void flip_block(struct ash_zone *z, ash_pfn_t block, bool isolate)
{
	const ash_pfn_t head = find_large_buddy(z, block);
	const uint32_t word = ash_frame_load(z->frames, head);
	const bool whole = ash_word_state(word) == ASH_FRAME_BUDDY && ash_word_order(word) >= z->pageblock_order;

	if (whole && (ash_word_order(word) > z->pageblock_order || !isolate)) {
		/* Legal order 3: delete with the type of the head, flip, and free the block as what it now is. */
		const enum ash_migratetype mt = ash_pageblock_type(z, head);
		const unsigned zeroed = ash_freelist_del(z, head, ash_word_order(word), mt);

		ash_buddy_carve(z, head, ash_word_order(word), block, z->pageblock_order, mt, zeroed);
		ash_pageblock_set_isolated(z, block, isolate);
		ash_buddy_free_one(z, block, z->pageblock_order, ash_pageblock_type(z, block),
				   ASH_FREE_KEEP | (isolate ? 0 : ASH_FREE_TAIL));
	} else {
		/* Legal order 1, the bit standing for the type. */
		const enum ash_migratetype stored = ash_pageblock_stored_type(z, block);

		ash_buddy_move_block(z, block, isolate ? stored : ASH_MT_ISOLATE, isolate ? ASH_MT_ISOLATE : stored);
		ash_pageblock_set_isolated(z, block, isolate);
	}
}

/* Whether [start, end), inside one block, holds what could not be moved out; adds it to the list. */
static bool has_unmovable(const struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, enum ash_isolate_mode mode,
			  struct ash_busy_list *busy)
{
	bool found = false;

	if (ash_pageblock_type(z, start) == ASH_MT_CMA && mode != ASH_ISOLATE_CMA) {
		ash_busy_add(busy, start, end - start, ASH_BUSY_RESERVED);
		return true;
	}
	while (start < end) {
		const ash_pfn_t head = ash_frame_head(z, start);
		const uint32_t word = head == ASH_PFN_NONE ? 0 : ash_frame_load(z->frames, head);
		const ash_pfn_t piece_end =
			head == ASH_PFN_NONE ? start + 1 : head + ash_order_frames(ash_word_order(word));
		const ash_pfn_t stop = piece_end < end ? piece_end : end;

		if (ash_word_state(word) == ASH_FRAME_USED && !ash_migrate_possible(z, ash_word_type(word))) {
			ash_busy_add(busy, start, stop - start, ASH_BUSY_UNMOVABLE);
			found = true;
		}
		start = stop;
	}
	return found;
}

/* The part of a range that lies in one block, looked at under the zone lock: may the block be isolated for it? */
static bool block_refuses(const struct ash_zone *z, ash_pfn_t block, ash_pfn_t start, ash_pfn_t end,
			  enum ash_isolate_mode mode, struct ash_busy_list *busy)
{
	const ash_pfn_t block_end = ash_pageblock_end(z, block);
	struct ash_pageblock_count n;

	if (!ash_pageblock_count_whole(z, block, &n)) {
		ash_busy_add(busy, block, block_end - block, ASH_BUSY_OFFLINE);
		return true;
	}
	if (ash_pageblock_type(z, block) == ASH_MT_ISOLATE) {
		ash_busy_add(busy, block, block_end - block, ASH_BUSY_ISOLATED);
		return true;
	}
	return has_unmovable(z, block < start ? start : block, block_end < end ? block_end : end, mode, busy);
}

static int isolate_block(struct ash_zone *z, ash_pfn_t block, ash_pfn_t start, ash_pfn_t end,
			 enum ash_isolate_mode mode, struct ash_busy_list *busy)
{
	int err = -ASH_EBUSY;

	ash_zone_lock(z);
	if (!block_refuses(z, block, start, end, mode, busy) && !ASH_FAULT(z->fault, "isolate block")) {
		flip_block(z, block, true);
		err = 0;
	}
	ash_zone_unlock(z);
	return err;
}

/* After a refusal by one block: what else is in the way, as far as there is room to say so. */
static void list_others(struct ash_zone *z, ash_pfn_t refused, ash_pfn_t start, ash_pfn_t end,
			enum ash_isolate_mode mode, struct ash_busy_list *busy)
{
	ash_pfn_t block = ash_pageblock_start(z, start);

	for (; busy != NULL && busy->nr < busy->capacity && block < end; block += ash_pageblock_frames(z)) {
		ash_zone_lock(z);
		if (block != refused)
			(void)block_refuses(z, block, start, end, mode, busy);
		ash_zone_unlock(z);
	}
}

/* A free buddy of several isolated blocks, all inside the range, is freed as a whole. Returns where it ends. */
static ash_pfn_t flip_buddy(struct ash_zone *z, ash_pfn_t head, unsigned order)
{
	const ash_pfn_t end = head + ash_order_frames(order);

	/* Legal order 3, for all blocks at once. */
	ash_freelist_del(z, head, order, ASH_MT_ISOLATE);
	for (ash_pfn_t b = head; b < end; b += ash_pageblock_frames(z))
		ash_pageblock_set_isolated(z, b, false);
	ash_buddy_free(z, head, order, ASH_FREE_KEEP | ASH_FREE_TAIL);
	return end;
}

static ASH_EARLY void unisolate_blocks(struct ash_zone *z, ash_pfn_t block, ash_pfn_t end)
{
	while (block < end) {
		uint32_t word;

		ash_zone_lock(z);
		word = ash_frame_load(z->frames, block);
		if (ash_pageblock_type(z, block) != ASH_MT_ISOLATE) {
			block += ash_pageblock_frames(z);
		} else if (ash_word_state(word) == ASH_FRAME_BUDDY && ash_word_order(word) > z->pageblock_order &&
			   end - block >= ash_order_frames(ash_word_order(word))) {
			block = flip_buddy(z, block, ash_word_order(word));
		} else {
			flip_block(z, block, false);
			block += ash_pageblock_frames(z);
		}
		ash_zone_unlock(z);
	}
}

int ash_zone_isolate_range(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, enum ash_isolate_mode mode,
			   struct ash_busy_list *busy)
{
	const ash_pfn_t end = start + nr, size = ash_pageblock_frames(z);
	ash_pfn_t first, last, block;
	int err;

	if (nr == 0 || (uint64_t)start + nr > z->nr_frames)
		return -ASH_EINVAL;
	first = ash_pageblock_start(z, start);
	last = ash_pageblock_start(z, end - 1);
	/* The borders first: they are what somebody else's range or a straddling buddy can share with us. */
	block = first;
	err = isolate_block(z, first, start, end, mode, busy);
	if (err == 0 && first != last) {
		block = last;
		err = isolate_block(z, last, start, end, mode, busy);
		if (err != 0)
			unisolate_blocks(z, first, first + size);
	}
	for (ash_pfn_t b = first + size; err == 0 && b < last; b += size) {
		block = b;
		err = isolate_block(z, b, start, end, mode, busy);
		if (err == 0)
			continue;
		/* Exactly what was done here: the block that refused may be another isolator's. */
		unisolate_blocks(z, first, b);
		unisolate_blocks(z, last, last + size);
	}
	if (err != 0)
		list_others(z, block, start, end, mode, busy);
	return err;
}

ASH_EARLY void ash_zone_unisolate_range(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr)
{
	if (nr > 0 && (uint64_t)start + nr <= z->nr_frames)
		unisolate_blocks(z, ash_pageblock_start(z, start), start + nr);
}

/* One frame range of the same covering piece, or of no piece, looked at for ash_zone_test_range_isolated(). */
static bool report_busy(const struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, ash_pfn_t head,
			struct ash_busy_list *busy)
{
	const uint32_t word = head == ASH_PFN_NONE ? 0 : ash_frame_load(z->frames, head);
	enum ash_busy_reason why = ASH_BUSY_TRANSIENT;

	if (ash_word_state(word) == ASH_FRAME_BUDDY && ash_pageblock_type(z, start) == ASH_MT_ISOLATE)
		return false;
	if (ash_word_state(word) == ASH_FRAME_NONE)
		why = ASH_BUSY_OFFLINE;
	else if (ash_word_state(word) == ASH_FRAME_USED)
		why = ash_migrate_possible(z, ash_word_type(word)) ? ASH_BUSY_PINNED : ASH_BUSY_UNMOVABLE;
	ash_busy_add(busy, start, nr, why);
	return true;
}

int ash_zone_test_range_isolated(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, struct ash_busy_list *busy)
{
	const ash_pfn_t end = start + nr;
	int err = 0;

	if (nr == 0 || (uint64_t)start + nr > z->nr_frames)
		return -ASH_EINVAL;
	while (start < end) {
		const ash_pfn_t block_end = ash_pageblock_end(z, start);
		const ash_pfn_t stop = block_end < end ? block_end : end;

		/* A block per lock hold; within it, a piece per step. */
		ash_zone_lock(z);
		while (start < stop) {
			const ash_pfn_t head = ash_frame_head(z, start);
			ash_pfn_t next = start + 1;

			if (head != ASH_PFN_NONE)
				next = head + ash_order_frames(ash_word_order(ash_frame_load(z->frames, head)));
			if (next > stop)
				next = stop;
			if (report_busy(z, start, next - start, head, busy))
				err = -ASH_EBUSY;
			start = next;
		}
		ash_zone_unlock(z);
	}
	return err;
}
