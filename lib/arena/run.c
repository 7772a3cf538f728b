/* SPDX-License-Identifier: MIT */
/*
 * Runs: from the free frames of the first arena of a zonelist that has them, or else that can grow them.
 *
 * In each arena, in turn: free frames, without spoiling another type's pageblocks (NOFRAGMENT); new memory; and only
 * when the arena can grow no more, the leftovers of other types. So mixing of types happens under pressure only, as in
 * the kernel, where ALLOC_NOFRAGMENT is dropped last.
 */
#include <errno.h>

#include "arena/internal.h"
#include "page/mover.h"

static struct ash_arena *arena_of(const void *addr, ash_pfn_t *pfn)
{
	*pfn = (ash_pfn_t)(ash_frame_index(addr) & (((size_t)1 << ash_registry.span_frame_shift) - 1));
	return ash_arena_of(addr);
}

static ASH_EARLY int take_or_grow(struct ash_arena *a, size_t nr, unsigned align_order, enum ash_migratetype mt,
				  bool small_only, struct ash_page_grant *grant)
{
	const ash_pfn_t end = atomic_load_explicit(&a->end, memory_order_relaxed);
	/* One pageblock has to be shared by all types. */
	const unsigned flags = end > ASH_PB_FRAMES ? ASH_ALLOC_NOFRAGMENT : 0;
	const uint32_t growths = atomic_load_explicit(&a->growths, memory_order_acquire);
	int err;

	if (nr > ash_arena_frames(a))
		return -ENOMEM;
	err = ash_zone_alloc_run(a->zone, (ash_pfn_t)nr, align_order, mt, flags, grant);
	if (err == 0)
		return 0;
	if (ash_arenas.bind)
		ash_nodes_look();
	ash_arena_take_turn(a);
	/* Whoever had the turn before may have brought enough for two. */
	if (atomic_load_explicit(&a->growths, memory_order_relaxed) != growths)
		err = ash_zone_alloc_run(a->zone, (ash_pfn_t)nr, align_order, mt, flags, grant);
	if (err < 0)
		err = ash_arena_grow(a, nr, align_order, mt, small_only, grant);
	ash_arena_end_turn(a);
	if (err < 0 && flags != 0)
		err = ash_zone_alloc_run(a->zone, (ash_pfn_t)nr, align_order, mt, 0, grant);
	return err;
}

static ASH_EARLY int arena_alloc(struct ash_arena *a, size_t nr, unsigned align_order, enum ash_migratetype mt,
				 bool small_only, struct ash_page_grant *grant)
{
	const int err = take_or_grow(a, nr, align_order, mt, small_only, grant);

	if (err == 0)
		ash_arena_note_low(a);
	return err;
}

/*
 * While the process is small, its memory comes from the base-page start of the T arena beside the H arena it asked for:
 * a tool that allocates a few hundred kilobytes takes nothing from a pool.
 */
static int start_alloc(struct ash_arena *h, size_t nr, unsigned align_order, enum ash_migratetype mt,
		       struct ash_page_grant *grant, struct ash_arena **from)
{
	struct ash_arena *t;
	int err;

	if (atomic_load_explicit(&ash_arenas.past_start, memory_order_relaxed) || nr > ASH_PB_FRAMES ||
	    align_order > ASH_PAGEBLOCK_ORDER)
		return -ENOMEM;
	t = ash_arena_get(h->index & ~1u);
	if (t == NULL || ash_start_frames(t) == 0)
		return -ENOMEM;
	err = arena_alloc(t, nr, align_order, mt, true, grant);
	if (err == 0)
		*from = t;
	else
		atomic_store_explicit(&ash_arenas.past_start, true, memory_order_relaxed);
	return err;
}

bool ash_arena_is_base_start(const void *addr)
{
	const struct ash_arena *a = ash_arena_of(addr);

	return (uintptr_t)addr - a->start < (uintptr_t)ash_start_frames(a) << ASH_PAGE_SHIFT &&
	       ash_arenas.config.huge != ASH_HUGE_NONE &&
	       atomic_load_explicit(&a->promote_due, memory_order_relaxed) != ASH_PROMOTED;
}

static void grant_run(const struct ash_arena *a, const struct ash_page_grant *grant, size_t nr, struct ash_run *out)
{
	out->addr = ash_arena_address(a, grant->pfn);
	out->nr_frames = nr;
	out->zeroed = grant->zeroed;
}

/* The index in zl of the arena that granted the run, or -ENOMEM. */
static int alloc_from(const struct ash_zonelist *zl, size_t nr_frames, unsigned align_order, enum ash_migratetype mt,
		      struct ash_run *out)
{
	struct ash_page_grant grant;

	for (unsigned i = 0; i < zl->nr; i++) {
		struct ash_arena *a = ash_arena_get(zl->arena[i]);
		int err = -ENOMEM;

		if (a == NULL)
			continue;
		if (a->kind == ASH_ARENA_H)
			err = start_alloc(a, nr_frames, align_order, mt, &grant, &a);
		if (err < 0)
			err = arena_alloc(a, nr_frames, align_order, mt, false, &grant);
		if (err == 0) {
			grant_run(a, &grant, nr_frames, out);
			return (int)i;
		}
	}
	return -ENOMEM;
}

ASH_EARLY int ash_run_alloc(const struct ash_zonelist *zl, size_t nr_frames, unsigned align_order,
			    enum ash_migratetype mt, struct ash_run *out)
{
	int which;

	if (nr_frames == 0)
		return -EINVAL;
	if (align_order > ash_arenas.align_order)
		return -ENOMEM;
	if (ASH_UNLIKELY(ash_arenas.bind))
		zl = ash_zonelist_yield(zl);
	which = alloc_from(zl, nr_frames, align_order, mt, out);
	if (which < 0)
		return which;
	if (ASH_UNLIKELY(ash_arenas.bind))
		ash_numastat_count(zl, (unsigned)which, nr_frames);
	return 0;
}

void ash_run_free(void *addr, size_t nr_frames)
{
	ash_pfn_t pfn;
	struct ash_arena *a = arena_of(addr, &pfn);

	ash_zone_free_run(a->zone, pfn, (ash_pfn_t)nr_frames);
}

void ash_run_free_zeroed(void *addr, size_t nr_frames)
{
	ash_pfn_t pfn;
	struct ash_arena *a = arena_of(addr, &pfn);

	ash_zone_free_run_zeroed(a->zone, pfn, (ash_pfn_t)nr_frames);
}

uint32_t ash_run_word(const void *addr)
{
	ash_pfn_t pfn;
	struct ash_arena *a = arena_of(addr, &pfn);

	return a != NULL && pfn < atomic_load_explicit(&a->end, memory_order_acquire) ? ash_zone_private(a->zone, pfn)
										      : 0;
}

void ash_run_set_word(const void *addr, uint32_t word)
{
	ash_pfn_t pfn;
	struct ash_arena *a = arena_of(addr, &pfn);

	ash_zone_set_private(a->zone, pfn, word);
}

void ash_pageblock_free_trylock(void *addr)
{
	ash_pfn_t pfn;
	struct ash_arena *a = arena_of(addr, &pfn);

	ash_zone_free_trylock(a->zone, pfn, ASH_PAGEBLOCK_ORDER, ASH_CPU_NONE);
}

/* The locks that a request may come to, outermost first; none of them is waited for here. */
bool ash_arena_may_wait(void)
{
	if (!ash_lock_may_wait(&ash_arenas.setup, &ash_futex_ops))
		return false;
	for (unsigned i = ASH_ARENA_T; i < ash_registry.nr_spans; i += ASH_ARENA_KINDS) {
		struct ash_arena *a = ash_arena_peek(i);

		if (a != NULL && (!ash_lock_may_wait(&a->growth, &ash_futex_ops) || !ash_zone_may_wait(a->zone)))
			return false;
	}
	return true;
}

/*
 * Nothing is brought online for a run that is hemmed in: all that is online behind it must be free. When another thread
 * takes some of it before us, the caller finds the run hemmed in after all, and the arena has grown a little early.
 */
static int extend_past_end(struct ash_arena *a, ash_pfn_t from, ash_pfn_t to, enum ash_migratetype mt, bool *zeroed)
{
	if (ash_zone_free_tail(a->zone, atomic_load_explicit(&a->end, memory_order_relaxed)) > from)
		return -EBUSY;
	if (ash_arena_grow_to(a, to) < 0)
		return -EBUSY;
	return ash_zone_extend_run(a->zone, from, to - from, mt, zeroed);
}

int ash_run_extend(void *addr, size_t old_nr, size_t new_nr, enum ash_migratetype mt, bool *zeroed)
{
	ash_pfn_t pfn;
	struct ash_arena *a = arena_of(addr, &pfn);
	int err;

	if (new_nr <= old_nr || new_nr > ash_arena_frames(a) - pfn)
		return -EBUSY;
	if (pfn + new_nr <= atomic_load_explicit(&a->end, memory_order_relaxed))
		return ash_zone_extend_run(a->zone, (ash_pfn_t)(pfn + old_nr), (ash_pfn_t)(new_nr - old_nr), mt,
					   zeroed);
	ash_arena_take_turn(a);
	if (pfn + new_nr <= atomic_load_explicit(&a->end, memory_order_relaxed))
		err = ash_zone_extend_run(a->zone, (ash_pfn_t)(pfn + old_nr), (ash_pfn_t)(new_nr - old_nr), mt, zeroed);
	else
		err = extend_past_end(a, (ash_pfn_t)(pfn + old_nr), (ash_pfn_t)(pfn + new_nr), mt, zeroed);
	ash_arena_end_turn(a);
	return err;
}
