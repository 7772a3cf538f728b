/* SPDX-License-Identifier: MIT */
/*
 * The base-page start of a T arena: how far it reaches, and what becomes of it.
 *
 * A huge page makes 2 MiB resident for the first byte that is touched. A small process may leave most of what it takes
 * untouched: a slab for each size of each of its threads, a buffer made for more than there is. So the start,
 * small_start at first, goes on while much of what is given out is not touched: a pageblock at a time for short runs,
 * or for the length of a longer one. What is in memory the kernel is asked (mincore), seldom: when an arena outgrows
 * its start. What counts is what has come since the last look. What lay idle then may lie idle for ever, and base pages
 * have spared it already; they spare nothing where what is added now is used. Most of all lies idle where each of many
 * heaps has slabs of its own: beside one heap alone, the slabs have to be emptier for the start to go on.
 * It does not go on for a long run of a process that has asked for one that is zero: what is looked at before it is
 * written costs two faults a base page, and the kernel could only be asked when they have been taken.
 *
 * A start of one pageblock may also end in the middle of it, for a long run. That pageblock is made huge then, with the
 * little that it holds. Slabs are not looked at there: of the first of a process a page each has been touched.
 *
 * What was left in base pages is looked at again when the process has grown, and made huge where it has filled. All of
 * it is in the end, sparse or not.
 */
#include "arena/internal.h"
#include "os/process.h"
#include "os/resident.h"

#define START_MAX (ASH_MIB(16) >> ASH_PAGE_SHIFT) /* frames up to which the start may grow */
#define LONG_MAX (ASH_MIB(8) >> ASH_PAGE_SHIFT)   /* and of the longest run for which it does */
#define TELLING (ASH_KIB(128) >> ASH_PAGE_SHIFT)  /* frames given out that say how the process uses its memory */
#define HALF (ASH_PB_FRAMES / 2)                  /* what a T arena begins with */
#define OUTGROWN ASH_MIB(16) /* online in the whole process, when what has filled of the start is made huge, */
#define LARGE ASH_MIB(256)   /* and all of it */

ASH_EARLY void ash_start_init(struct ash_arena *a)
{
	const size_t frames = ash_min(ash_arenas.config.small_start >> ASH_PAGE_SHIFT, ash_arena_frames(a));

	atomic_store_explicit(&a->small_frames, (ash_pfn_t)frames, memory_order_relaxed);
	atomic_store_explicit(&a->promote_due, OUTGROWN, memory_order_relaxed);
}

ASH_EARLY void ash_start_new_turn(struct ash_arena *a)
{
	a->asks = ASH_ASKS_UNKNOWN;
}

bool ash_start_may_ask(struct ash_arena *a)
{
	if (a->asks == ASH_ASKS_UNKNOWN)
		a->asks = ash_process_filtered() ? ASH_ASKS_NOT : ASH_ASKS;
	return a->asks == ASH_ASKS;
}

void ash_arena_note_shared(void)
{
	atomic_store_explicit(&ash_arenas.shared, true, memory_order_relaxed);
}

void ash_arena_note_zeroed(void)
{
	atomic_store_explicit(&ash_arenas.zeroed, true, memory_order_relaxed);
}

/* How many of nr frames are in memory: all, where the kernel does not say. */
static size_t resident(const void *addr, size_t nr)
{
	size_t pages;

	return ash_resident_pages(addr, nr << ASH_PAGE_SHIFT, &pages) == 0 ? pages : nr;
}

/*
 * Much of what the arena has given out since it was looked at last has not been touched: more than half; or than a
 * quarter, where slabs of several heaps have filled the start.
 */
static bool is_sparse(struct ash_arena *a, size_t end, size_t used, bool is_short)
{
	const bool shared = atomic_load_explicit(&ash_arenas.shared, memory_order_relaxed);
	const size_t in_memory = ash_start_may_ask(a) ? resident((void *)a->start, end) : end;
	const size_t more = used - ash_min(used, a->seen_used);
	const size_t touched = in_memory - ash_min(in_memory, a->seen_resident);

	a->seen_used = (ash_pfn_t)used;
	a->seen_resident = (ash_pfn_t)in_memory;
	return touched * 4 < more * (is_short && shared ? 3 : 2);
}

/* Of the runs for which the start goes on. */
static size_t longest(void)
{
	return atomic_load_explicit(&ash_arenas.zeroed, memory_order_relaxed) ? ASH_PB_FRAMES - 1 : LONG_MAX;
}

/*
 * Whether a run of nr frames is to be on base pages still. at_half: it is a long one that does not fit beside what the
 * first half of a pageblock holds. If it is shorter than that, it fills its part of a huge page well enough.
 */
static bool goes_on(struct ash_arena *a, size_t end, size_t nr, bool is_short, bool at_half)
{
	const size_t used = end - ash_min(end, ash_zone_free_now(a->zone).free);

	if (used < TELLING)
		return true;
	return !(at_half && nr < HALF) && is_sparse(a, end, used, is_short);
}

ASH_EARLY bool ash_start_extend(struct ash_arena *a, size_t need_end, bool is_short)
{
	const size_t end = atomic_load_explicit(&a->end, memory_order_relaxed), start = ash_start_frames(a);
	const size_t start_end = ash_align_up(need_end, ASH_PB_FRAMES), nr = need_end - end;
	const bool at_half = start == ASH_PB_FRAMES && end == HALF && !is_short;

	if (start == 0 || need_end <= (at_half ? HALF : start) || a->huge_advised || ash_arenas.config.strict ||
	    ash_wants_hugetlb() || ash_arenas.config.huge == ASH_HUGE_NONE)
		return false;
	if (start_end > ash_min(START_MAX, ash_arena_frames(a)) || nr > longest())
		return false;
	if (goes_on(a, end, nr, is_short, at_half)) {
		atomic_store_explicit(&a->small_frames, (ash_pfn_t)start_end, memory_order_relaxed);
		return false;
	}
	if (at_half)
		atomic_store_explicit(&a->small_frames, 0, memory_order_relaxed);
	return at_half;
}

/* Make huge what is full of it, but for an eighth; whether that is all. Best effort: less than all of a pageblock may
 * be. */
static bool collapse_full(const struct ash_arena *t, ash_pfn_t end)
{
	const bool looks = !ash_process_filtered();
	bool all = true;

	for (ash_pfn_t pfn = 0; pfn < end; pfn += ASH_PB_FRAMES) {
		void *const addr = ash_arena_address(t, pfn);

		if (!looks || resident(addr, ASH_PB_FRAMES) * 8 >= ASH_PB_FRAMES * 7)
			(void)ash_vmem_advise(addr, ASH_PB_BYTES, ASH_VMEM_COLLAPSE);
		else
			all = false;
	}
	return all;
}

/*
 * By who has a growth turn: a's, which is the T arena's or that of the H arena beside it. A start that still grows is
 * small, or mostly untouched.
 */
ASH_EARLY void ash_start_promote(const struct ash_arena *a)
{
	struct ash_arena *t = ash_arena_peek(a->index & ~1u);
	const size_t online = atomic_load_explicit(&ash_arenas.online_bytes, memory_order_relaxed);
	size_t due, next;
	ash_pfn_t end;

	if (t == NULL || ash_arenas.config.huge == ASH_HUGE_NONE || (t == a && !a->huge_advised))
		return;
	due = atomic_load_explicit(&t->promote_due, memory_order_relaxed);
	end = atomic_load_explicit(&t->small_frames, memory_order_relaxed);
	if (online < due || end == 0 || atomic_load_explicit(&t->end, memory_order_relaxed) < end)
		return;
	next = online >= LARGE ? ASH_PROMOTED : online * 2;
	if (!atomic_compare_exchange_strong_explicit(&t->promote_due, &due, next, memory_order_relaxed,
						     memory_order_relaxed))
		return;
	if (collapse_full(t, end) || next == ASH_PROMOTED) {
		(void)ash_vmem_advise((void *)t->start, (size_t)end << ASH_PAGE_SHIFT, ASH_VMEM_HUGE);
		atomic_store_explicit(&t->promote_due, ASH_PROMOTED, memory_order_relaxed);
	}
}
