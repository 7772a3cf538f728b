/* SPDX-License-Identifier: MIT */
/*
 * Growing: bringing memory online at the end of an arena, and taking the run it was brought for.
 *
 * A T arena commits address space and leaves faulting to the first touch. Its first pageblock is committed in halves
 * and not asked to be huge: a mapping shorter than a pageblock cannot be, so a small process has base pages without a
 * single madvise. What follows wants huge pages, and once the process has clearly outgrown its start, that too is made
 * huge, so that nearly all of a grown heap is.
 *
 * An H arena maps and populates hugetlb pages (huge.c): exactly what is needed, and never more than a sixteenth of what
 * is in use beyond it.
 *
 * Charge, commit, cover the metadata, online, take: each step undone if a later one fails, except that committed
 * address space that is not online costs nothing but its overcommit charge, and is uncommitted.
 */
#include <errno.h>

#include "arena/internal.h"
#include "os/clock.h"
#include "os/huge.h"

#define SPARE_MIN ASH_PB_BYTES
#define SPARE_MAX ASH_MIB(8)
#define SHARED_FRAMES 64u /* runs up to this many leave room in their pageblock for other threads' */
enum { T_SPARE_SHARE = 8, H_SPARE_SHARE = 16, DRY_MS = 1000, TAKE_TRIES = 8 };

bool ash_arena_charge(size_t bytes)
{
	const size_t limit = ash_arenas.config.limit;
	size_t now = atomic_fetch_add_explicit(&ash_arenas.online_bytes, bytes, memory_order_relaxed) + bytes;

	if (limit == 0 || now <= limit)
		return true;
	ash_arena_uncharge(bytes);
	return false;
}

void ash_arena_uncharge(size_t bytes)
{
	(void)atomic_fetch_sub_explicit(&ash_arenas.online_bytes, bytes, memory_order_relaxed);
}

/* Statistics have one writer, the holder of the growth turn. */
static void count_online(struct ash_arena *a, size_t nr, enum ash_backing backing)
{
	const size_t online = atomic_load_explicit(&a->online, memory_order_relaxed) + nr;

	atomic_store_explicit(&a->online, online, memory_order_relaxed);
	if (online > atomic_load_explicit(&a->peak_online, memory_order_relaxed))
		atomic_store_explicit(&a->peak_online, online, memory_order_relaxed);
	(void)atomic_fetch_add_explicit(&a->backed[backing], nr, memory_order_relaxed);
	(void)atomic_fetch_add_explicit(&a->grows, 1, memory_order_relaxed);
	(void)atomic_fetch_add_explicit(&a->growths, 1, memory_order_release);
}

ASH_EARLY int ash_arena_online(struct ash_arena *a, ash_pfn_t first, ash_pfn_t end, enum ash_backing backing)
{
	int err = ash_meta_cover(a, end);

	if (err == 0)
		err = ash_zone_online(a->zone, first, end - first, true);
	if (err < 0)
		return err;
	/* Only H arenas ask what backs a pageblock; the table's first page is worth saving a small process. */
	for (ash_pfn_t pfn = first; a->kind == ASH_ARENA_H && pfn < end; pfn += ASH_PB_FRAMES)
		atomic_store_explicit(&a->backing[pfn >> ASH_PAGEBLOCK_ORDER], (uint8_t)(1 + backing),
				      memory_order_relaxed);
	/* Whoever sees it without the turn (ash_run_word) finds the frames' metadata there. */
	atomic_store_explicit(&a->end, end, memory_order_release);
	count_online(a, end - first, backing);
	return 0;
}

/* Past its start a T arena wants huge pages, and is told once for the whole span; policy "none" wants none anywhere. */
static void t_advise(struct ash_arena *a, ash_pfn_t end)
{
	const bool none = ash_arenas.config.huge == ASH_HUGE_NONE;
	const ash_pfn_t from = none ? 0 : ash_start_frames(a);

	if (a->huge_advised || end <= from || end <= ASH_PB_FRAMES / 2)
		return;
	a->huge_advised = true;
	if (ash_start_may_ask(a))
		(void)ash_vmem_name((void *)a->start, (size_t)ash_arena_frames(a) << ASH_PAGE_SHIFT, "ashlar");
	(void)ash_vmem_advise(ash_arena_address(a, from), (size_t)(ash_arena_frames(a) - from) << ASH_PAGE_SHIFT,
			      none ? ASH_VMEM_NOHUGE : ASH_VMEM_HUGE);
}

/* THP asked for by name and switched off: said once; under strict, refused. */
static bool thp_refused(struct ash_arena *a, ash_pfn_t new_end)
{
	if (ash_arenas.config.huge != ASH_HUGE_THP || a->huge_advised || new_end <= ash_start_frames(a) ||
	    ash_thp_mode() != ASH_THP_NEVER)
		return false;
	ash_degrade_note(a, ASH_BACKING_THP,
			 (size_t)(new_end - atomic_load_explicit(&a->end, memory_order_relaxed)) << ASH_PAGE_SHIFT,
			 ASH_BACKING_BASE);
	return ash_arenas.config.strict;
}

static enum ash_backing t_backing(const struct ash_arena *a, ash_pfn_t first)
{
	return first < ash_start_frames(a) || ash_arenas.config.huge == ASH_HUGE_NONE ? ASH_BACKING_BASE
										      : ASH_BACKING_THP;
}

/*
 * Two threads with runs in one fresh pageblock would fault at the same time, and both clear a huge page, one of them in
 * vain. So it is there before anybody can have a part of it: a touch, where the kernel may still choose base pages. It
 * clears a huge page towards the byte that is touched; downwards, from the last page to the first, takes twice as long
 * as upwards.
 */
static void t_touch(struct ash_arena *a, ash_pfn_t first, ash_pfn_t end)
{
	if (ash_arenas.config.huge != ASH_HUGE_NONE && first >= ash_start_frames(a) && end - first == ASH_PB_FRAMES)
		*(volatile char *)ash_arena_address(a, end - 1) = 0;
}

/* Commit and online [end, new_end). touch: what it is for is short. */
static ASH_EARLY int t_extend(struct ash_arena *a, ash_pfn_t new_end, bool touch)
{
	const ash_pfn_t end = atomic_load_explicit(&a->end, memory_order_relaxed);
	const size_t bytes = (size_t)(new_end - end) << ASH_PAGE_SHIFT;
	void *addr = ash_arena_address(a, end);
	ash_pfn_t cut = end;
	int err = 0;

	if (thp_refused(a, new_end) || !ash_arena_charge(bytes))
		return -ENOMEM;
	t_advise(a, new_end);
	if (ash_vmem_commit(addr, bytes) < 0) {
		ash_arena_uncharge(bytes);
		return -ENOMEM;
	}
	if (ASH_UNLIKELY(ash_arena_is_pieced(a)))
		(void)!ash_arena_place(a, addr, (uintptr_t)addr - a->start, bytes, ASH_PAGE_SIZE);
	if (touch)
		t_touch(a, end, new_end);
	if (end < ash_start_frames(a) && new_end > ash_start_frames(a)) {
		cut = ash_start_frames(a);
		err = ash_arena_online(a, end, cut, ASH_BACKING_BASE);
	}
	if (err == 0)
		err = ash_arena_online(a, cut, new_end, t_backing(a, cut));
	if (err < 0) {
		/* The first part may be online already; the rest goes back to being address space. */
		cut = atomic_load_explicit(&a->end, memory_order_relaxed);
		(void)ash_vmem_reset(ash_arena_address(a, cut), (size_t)(new_end - cut) << ASH_PAGE_SHIFT);
		ash_arena_uncharge((size_t)(new_end - cut) << ASH_PAGE_SHIFT);
	}
	return err;
}

/* Where a T arena is to end when it must hold everything below need_end. */
static ASH_EARLY ash_pfn_t t_round(const struct ash_arena *a, size_t need_end, bool spare)
{
	const size_t online = atomic_load_explicit(&a->online, memory_order_relaxed) << ASH_PAGE_SHIFT;
	const size_t nr = need_end - atomic_load_explicit(&a->end, memory_order_relaxed);
	size_t extra = ash_max(ash_min(online / T_SPARE_SHARE, SPARE_MAX), SPARE_MIN) >> ASH_PAGE_SHIFT;

	if (need_end <= ash_start_frames(a)) {
		/* The start grows by halves of a pageblock; but a run of several can end in whole ones only. */
		return (ash_pfn_t)ash_align_up(need_end, nr > ASH_PB_FRAMES ? ASH_PB_FRAMES : ASH_PB_FRAMES / 2);
	}
	if (!spare)
		extra = 0;
	need_end = ash_max(need_end, ash_align_down(atomic_load_explicit(&a->end, memory_order_relaxed) + extra,
						    ASH_PB_FRAMES));
	return (ash_pfn_t)ash_min(ash_align_up(need_end, ASH_PB_FRAMES), ash_arena_frames(a));
}

static int t_grow_to(struct ash_arena *a, size_t need_end)
{
	/* What is touched is taken pageblock by pageblock. */
	const bool touch = need_end - atomic_load_explicit(&a->end, memory_order_relaxed) <= SHARED_FRAMES;
	bool first_huge;
	int err;

	if (need_end > ash_arena_frames(a))
		return -ENOMEM;
	ash_start_new_turn(a);
	first_huge = ash_start_extend(a, need_end, touch);
	err = t_extend(a, t_round(a, need_end, !touch), touch);
	if (err < 0 && !touch)
		err = t_extend(a, t_round(a, need_end, false), touch);
	if (first_huge && err == 0)
		(void)ash_vmem_advise((void *)a->start, ASH_PB_BYTES, ASH_VMEM_COLLAPSE);
	return err;
}

/* Pages of 2^page_shift bytes for everything below need_end, with a sixteenth of what is in use to spare if it can
 * be. */
static int h_extend(struct ash_arena *a, size_t need_end, unsigned page_shift)
{
	const size_t page = (size_t)1 << (page_shift - ASH_PAGE_SHIFT);
	const size_t first = ash_align_up(atomic_load_explicit(&a->end, memory_order_relaxed), page);
	const size_t nr = ash_align_up(need_end, page) - first;
	const size_t extra =
		ash_align_down(atomic_load_explicit(&a->online, memory_order_relaxed) / H_SPARE_SHARE, page);

	if (need_end > ash_arena_frames(a) || first + nr > ash_arena_frames(a))
		return -ENOMEM;
	if (extra > nr && first + extra <= ash_arena_frames(a) &&
	    ash_hugetlb_online(a, (ash_pfn_t)first, (ash_pfn_t)extra, page_shift) == 0)
		return 0;
	return ash_hugetlb_online(a, (ash_pfn_t)first, (ash_pfn_t)nr, page_shift);
}

/* A dry pool is not asked again for a while: a refusal costs several system calls. */
static bool known_dry(const struct ash_arena *a, size_t nr)
{
	return nr >= a->dry_frames && a->dry_frames > 0 && ash_clock_ms() < a->dry_until;
}

static void note_dry(struct ash_arena *a, size_t nr)
{
	a->dry_frames = (ash_pfn_t)nr;
	a->dry_until = ash_clock_ms() + DRY_MS;
}

static int h_grow_to(struct ash_arena *a, size_t need_end)
{
	const bool want_1g = ash_arenas.config.huge == ASH_HUGE_1G;
	const size_t nr = need_end - atomic_load_explicit(&a->end, memory_order_relaxed);
	int err_1g = -ENOMEM, err = -ENOMEM;

	if (need_end > ash_arena_frames(a) || known_dry(a, nr))
		return -ENOMEM;
	if (want_1g)
		err_1g = err = h_extend(a, need_end, ASH_HUGE_1G_SHIFT);
	if (err < 0 && !(want_1g && ash_arenas.config.strict))
		err = h_extend(a, need_end, ASH_HUGE_2M_SHIFT);
	/* A refusal of option "limit" (-EDQUOT) is not the pool's. */
	if (want_1g && err_1g == -ENOMEM)
		ash_degrade_note(a, ASH_BACKING_HUGETLB_1G, nr << ASH_PAGE_SHIFT,
				 err == 0 ? ASH_BACKING_HUGETLB_2M : ASH_BACKING_THP);
	else if (err == -ENOMEM)
		ash_degrade_note(a, ASH_BACKING_HUGETLB_2M, nr << ASH_PAGE_SHIFT, ASH_BACKING_THP);
	if (err < 0)
		note_dry(a, nr);
	return err < 0 ? -ENOMEM : 0;
}

ASH_EARLY int ash_arena_grow_to(struct ash_arena *a, size_t end)
{
	int err = a->kind == ASH_ARENA_T ? t_grow_to(a, end) : h_grow_to(a, end);

	if (err == 0)
		ash_start_promote(a);
	return err;
}

/*
 * Runs longer than a pageblock, or aligned to more than one, are taken where they were made room for, because the page
 * core finds them by buddies of a power of two, which is more than the run. Others go through its freelists, which pack
 * them by type.
 */
static bool taken_exactly(size_t nr, unsigned align_order)
{
	return nr > ASH_PB_FRAMES || align_order > ASH_PAGEBLOCK_ORDER;
}

static int take(struct ash_arena *a, size_t at, size_t nr, unsigned align_order, enum ash_migratetype mt,
		struct ash_page_grant *grant)
{
	int err = ash_zone_alloc_run(a->zone, (ash_pfn_t)nr, align_order, mt, 0, grant);

	if (err == 0 || !taken_exactly(nr, align_order))
		return err;
	err = ash_zone_extend_run(a->zone, (ash_pfn_t)at, (ash_pfn_t)nr, mt, &grant->zeroed);
	if (err == 0)
		grant->pfn = (ash_pfn_t)at;
	return err;
}

/* The first frame of memory still to come at which the run can lie. */
static size_t run_start(const struct ash_arena *a, size_t nr, unsigned align_order, bool again)
{
	const size_t end = atomic_load_explicit(&a->end, memory_order_relaxed);
	unsigned order = align_order;

	if (taken_exactly(nr, align_order)) {
		/* Whole pageblocks: the free part of a shared one may be of a type that is not to be taken. */
		const size_t tail = again ? end : ash_zone_free_tail(a->zone, (ash_pfn_t)end);

		return ash_align_up(ash_align_up(tail, ASH_PB_FRAMES), (size_t)1 << order);
	}
	if (order < ash_log2_ceil(nr))
		order = ash_log2_ceil(nr);
	return ash_align_up(end, (size_t)1 << order);
}

ASH_EARLY int ash_arena_grow(struct ash_arena *a, size_t nr, unsigned align_order, enum ash_migratetype mt,
			     bool small_only, struct ash_page_grant *grant)
{
	int err = -ENOMEM;

	/* Others take from the zone at the same time, so what was brought online may be gone: then more is brought. */
	for (unsigned i = 0; i < TAKE_TRIES; i++) {
		const size_t at = run_start(a, nr, align_order, i > 0);

		if (small_only && at + nr > ash_start_frames(a))
			return -ENOMEM;
		/* The free tail may hold it already, where it is less than the buddy that was looked for. */
		if (at + nr <= atomic_load_explicit(&a->end, memory_order_relaxed) ||
		    (a->kind == ASH_ARENA_H && ash_hugetlb_reprove(a, nr, align_order) == 0))
			err = 0;
		else
			err = ash_arena_grow_to(a, at + nr);
		if (err < 0)
			return err;
		err = take(a, at, nr, align_order, mt, grant);
		if (err == 0)
			return 0;
	}
	return -ENOMEM;
}
