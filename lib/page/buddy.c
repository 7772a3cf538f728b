/* SPDX-License-Identifier: MIT */
/*
 * Split and merge.
 *
 * Merging below pageblock order never looks at types: both halves are in one block. From pageblock order up, two
 * buddies merge when their types are equal, or when both are mergeable; then the result has the type of the piece being
 * freed and every block of the absorbed buddy is retyped, all of them, not just its first (the kernel's bug of 6.10 to
 * 6.19 where max_order - pageblock_order >= 2).
 *
 * Merging happens only when something is freed. Free neighbours that could merge but were put side by side by a
 * conversion stay as they are.
 */
#include "page/buddy.h"

/* How much of the half (pfn, order) of a larger piece is zeroed. */
static unsigned zeroed_part(const struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned zeroed)
{
	/* A part of a pageblock, whole or in turn a part: all or nothing. */
	if (order < z->pageblock_order)
		return zeroed;
	if (zeroed == 0 || zeroed == ash_zeroed_full(z, order + 1))
		return zeroed / 2;
	return ash_pageblock_count_zeroed(z, pfn, order);
}

unsigned ash_buddy_carve(struct ash_zone *z, ash_pfn_t head, unsigned order, ash_pfn_t pfn, unsigned want,
			 enum ash_migratetype mt, unsigned zeroed)
{
	/* Heads, so that a row of small allocations comes in ascending address order. */
	while (order > want) {
		const ash_pfn_t middle = head + ash_order_frames(--order);
		const bool low = pfn < middle;
		const unsigned given = zeroed_part(z, low ? middle : head, order, zeroed);

		ash_freelist_add(z, low ? middle : head, order, mt, given, ASH_LIST_HEAD);
		zeroed = order < z->pageblock_order ? given : zeroed - given;
		if (!low)
			head = middle;
	}
	return zeroed;
}

ASH_EARLY struct ash_taken ash_buddy_take(struct ash_zone *z, ash_pfn_t pfn, unsigned want, unsigned order,
					  enum ash_migratetype mt)
{
	const unsigned zeroed = ash_freelist_del(z, pfn, order, mt);

	/* Pieces come in ascending order: the head of the next but one is the line to be missed soon. */
	ash_prefetch_write(ash_frame_at(z->frames, pfn + 2 * ash_order_frames(want)));
	return (struct ash_taken){ pfn, ash_buddy_carve(z, pfn, order, pfn, want, mt, zeroed) };
}

ASH_EARLY struct ash_taken ash_buddy_take_smallest(struct ash_zone *z, unsigned order, enum ash_migratetype mt)
{
	const uint32_t orders = ash_freelist_orders(z, mt) >> order << order;
	unsigned found;

	if (orders == 0)
		return (struct ash_taken){ ASH_PFN_NONE, 0 };
	found = (unsigned)__builtin_ctz(orders);
	return ash_buddy_take(z, ash_freelist_first(z, found, mt), order, found, mt);
}

unsigned ash_buddy_take_row(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned nr,
			    struct ash_taken *taken)
{
	const uint32_t orders = ash_freelist_orders(z, mt) >> order << order;
	ash_pfn_t pfn, rest, end;
	unsigned found, zeroed;

	if (orders == 0)
		return 0;
	found = (unsigned)__builtin_ctz(orders);
	pfn = ash_freelist_first(z, found, mt);
	zeroed = ash_frame_at(z->frames, pfn)->private;
	/* No row out of a buddy whose pageblocks are not all alike. */
	if (found == order || nr == 1 || (zeroed != 0 && zeroed != ash_zeroed_full(z, found))) {
		*taken = ash_buddy_take(z, pfn, order, found, mt);
		return 1;
	}
	if (nr > 1u << (found - order))
		nr = 1u << (found - order);
	zeroed = ash_freelist_del(z, pfn, found, mt);
	*taken = (struct ash_taken){ pfn, zeroed != 0 ? ash_zeroed_full(z, order) : 0 };
	end = pfn + ash_order_frames(found);
	/* What splitting would have left: a buddy per order at most, the lists of these orders being empty. */
	for (rest = pfn + ((ash_pfn_t)nr << order); rest < end;) {
		const unsigned o = ash_piece_order(rest, end, z->max_order);

		ash_freelist_add(z, rest, o, mt, zeroed != 0 ? ash_zeroed_full(z, o) : 0, ASH_LIST_HEAD);
		rest += ash_order_frames(o);
	}
	ash_prefetch_write(ash_frame_at(z->frames, pfn + ((ash_pfn_t)nr << order)));
	return nr;
}

/* A guard in the place of the buddy belongs to what is being freed, and ends with it. */
static bool absorb_guard(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned *zeroed)
{
	const ash_pfn_t buddy = pfn ^ ash_order_frames(order);

	if (ASH_LIKELY(order >= z->guard_order) || buddy >= z->nr_frames ||
	    ash_frame_load(z->frames, buddy) != ash_frame_word(ASH_FRAME_GUARD, order, 0, 0))
		return false;
	ash_frame_store(z->frames, buddy, 0);
	ash_counter_add(&z->guard, -(uint64_t)ash_order_frames(order));
	*zeroed = 0;
	return true;
}

/* Absorb the free buddy of (pfn, order) if the types allow it. */
static bool absorb_buddy(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt, unsigned *zeroed)
{
	const ash_pfn_t buddy = pfn ^ ash_order_frames(order);
	enum ash_migratetype buddy_mt = mt;
	unsigned absorbed;

	if (order >= z->pageblock_order) {
		buddy_mt = ash_pageblock_type(z, buddy);
		if (buddy_mt != mt && (!ash_mt_mergeable(buddy_mt) || !ash_mt_mergeable(mt)))
			return false;
	}
	/* Legal order 2: delete with the old type, then retype all the blocks, and only then add. */
	absorbed = ash_freelist_del(z, buddy, order, buddy_mt);
	if (buddy_mt != mt)
		ash_pageblock_set_type_range(z, buddy, order, mt);
	*zeroed = order < z->pageblock_order ? *zeroed & absorbed : *zeroed + absorbed;
	return true;
}

static bool merge_one(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt, unsigned *zeroed)
{
	if (ash_buddy_is_free(z, pfn, order) ? !absorb_buddy(z, pfn, order, mt, zeroed) :
					       !absorb_guard(z, pfn, order, zeroed))
		return false;
	/* Whole again: from here on the pageblock bit carries it. */
	if (order + 1 == z->pageblock_order)
		ash_pageblock_set_zeroed(z, ash_pageblock_start(z, pfn), z->pageblock_order, *zeroed);
	return true;
}

/*
 * Hand a buddy that has just reached the order that a compacting request waits for to that request. It never touches a
 * list and is not counted as free. Less than a pageblock must be of the request's own type, or it would be a steal;
 * whole blocks are retyped as a claim does. Kernel: compaction_capture.
 */
static ASH_NOINLINE bool captured(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt,
				  unsigned zeroed)
{
	struct ash_capture *c = z->capture;

	if (order != c->order || c->pfn != ASH_PFN_NONE || !ash_mt_mergeable(mt) ||
	    (mt != c->mt && order < z->pageblock_order))
		return false;
	/* Legal order 2: it is on no list. */
	if (mt != c->mt) {
		ash_pageblock_set_type_range(z, pfn, order, c->mt);
		z->extfrag_claim++;
	}
	/* Not USED before the request has it: what is allocated may be asked to move. */
	ash_frame_store(z->frames, pfn, ash_frame_word(ASH_FRAME_HELD, order, c->mt, 0));
	c->pfn = pfn;
	c->zeroed = zeroed == ash_zeroed_full(z, order);
	return true;
}

static unsigned zeroed_by_flags(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned flags)
{
	const bool zeroed = (flags & ASH_FREE_ZEROED) != 0;

	if (order < z->pageblock_order)
		return (flags & ASH_FREE_KEEP) ? ash_pageblock_zeroed(z, pfn) : zeroed;
	if (flags & ASH_FREE_KEEP)
		return ash_pageblock_count_zeroed(z, pfn, order);
	ash_pageblock_set_zeroed(z, pfn, order, zeroed);
	return zeroed ? ash_zeroed_full(z, order) : 0;
}

/* From any order on, and with all that may be going on in a zone. */
static void free_and_merge(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt, unsigned zeroed,
			   unsigned flags)
{
	enum ash_list_end end = (flags & ASH_FREE_TAIL) ? ASH_LIST_TAIL : ASH_LIST_HEAD;

	if (ASH_UNLIKELY(z->capture != NULL) && captured(z, pfn, order, mt, zeroed))
		return;
	while (order < z->max_order && merge_one(z, pfn, order, mt, &zeroed)) {
		pfn = ash_order_start(pfn, order + 1);
		order++;
		if (ASH_UNLIKELY(z->capture != NULL) && captured(z, pfn, order, mt, zeroed))
			return;
	}
	/*
	 * To the tail when the next merge is likely: the buddy of the pair this piece belongs to is free already, so
	 * the longer this one stays unused, the sooner a larger piece forms (kernel: buddy_merge_likely).
	 */
	if (order + 1 < z->max_order && ash_buddy_is_free(z, ash_order_start(pfn, order + 1), order + 1))
		end = ASH_LIST_TAIL;
	if (ASH_UNLIKELY(order >= z->shuffle_order) && !(flags & ASH_FREE_TAIL))
		end = ash_shuffle_end(z);
	ash_freelist_add(z, pfn, order, mt, zeroed, end);
}

ASH_EARLY void ash_buddy_free_one(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt,
				  unsigned flags)
{
	unsigned zeroed = zeroed_by_flags(z, pfn, order, flags);

	/*
	 * By far the most frees: nobody waits for a buddy, nothing is guarded or shuffled, and types are not looked at.
	 */
	if (ASH_LIKELY(order < z->plain_order && z->capture == NULL)) {
		if (ash_freelist_free(z, &pfn, order, mt, &zeroed,
				      (flags & ASH_FREE_TAIL) ? ASH_LIST_TAIL : ASH_LIST_HEAD))
			return;
		order = z->pageblock_order;
		ash_pageblock_set_zeroed(z, pfn, order, zeroed);
	}
	free_and_merge(z, pfn, order, mt, zeroed, flags);
}

ASH_EARLY void ash_buddy_free(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned flags)
{
	const ash_pfn_t end = pfn + ash_order_frames(order);

	/*
	 * While a piece of several blocks was allocated, some of them may have been isolated or converted. Then each
	 * block is freed as what it is now; merging puts together what belongs together.
	 */
	if (order <= z->pageblock_order || ash_pageblock_uniform(z, pfn, order)) {
		ash_buddy_free_one(z, pfn, order, ash_pageblock_type(z, pfn), flags);
		return;
	}
	for (; pfn < end; pfn += ash_pageblock_frames(z))
		ash_buddy_free_one(z, pfn, z->pageblock_order, ash_pageblock_type(z, pfn), flags);
}

/* A part of a pageblock, but not all of it. */
static void free_part(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, unsigned flags)
{
	const unsigned word = ash_pageblock_word(z, start);
	const enum ash_migratetype mt = ash_pageblock_word_type(word);
	const bool zeroed = (flags & ASH_FREE_KEEP) ? (word & ASH_PB_ZEROED) != 0 : (flags & ASH_FREE_ZEROED) != 0;
	const int whole = ash_freelist_free_part(z, start, end, mt, zeroed,
						 (flags & ASH_FREE_TAIL) ? ASH_LIST_TAIL : ASH_LIST_HEAD);

	if (whole < 0)
		return;
	start = ash_pageblock_start(z, start);
	ash_pageblock_set_zeroed(z, start, z->pageblock_order, whole != 0);
	free_and_merge(z, start, z->pageblock_order, mt, (unsigned)whole, flags);
}

ASH_EARLY void ash_buddy_free_range(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, unsigned flags)
{
	const ash_pfn_t block = ash_pageblock_frames(z);
	/* As in ash_buddy_free_one(): pieces need not be looked at one by one. */
	const bool plain = z->plain_order != 0 && z->capture == NULL;

	while (start < end) {
		const ash_pfn_t to_border = block - (start & (block - 1)), left = end - start;
		ash_pfn_t nr = to_border < left ? to_border : left;

		if (ASH_LIKELY(plain) && nr < block) {
			free_part(z, start, start + nr, flags);
		} else {
			const unsigned order = ash_piece_order(start, end, z->max_order);

			nr = ash_order_frames(order);
			ash_buddy_free(z, start, order, flags);
		}
		start += nr;
	}
}

void ash_buddy_move_block(struct ash_zone *z, ash_pfn_t pfn, enum ash_migratetype from, enum ash_migratetype to)
{
	const ash_pfn_t end = ash_pageblock_end(z, pfn);

	ASH_ZONE_ASSERT(z, pfn == ash_pageblock_start(z, pfn), "not the start of a pageblock", pfn, from, to);
	while (pfn < end) {
		const uint32_t word = ash_frame_load(z->frames, pfn);

		if (ash_word_state(word) == ASH_FRAME_BUDDY)
			ash_freelist_move(z, pfn, ash_word_order(word), from, to);
		/* NONE (offline, or inside a piece that begins before the block) has order 0: one step. */
		pfn += ash_order_frames(ash_word_order(word));
	}
}
