/* SPDX-License-Identifier: MIT */
/*
 * Returning memory: free whole pageblocks that the process has shown it can do without.
 *
 * The decay time is that by which a process has given back what it does without. Heaps need some of it to empty their
 * caches; for five eighths of it an amount must have been free, whichever pageblocks that were, and those are returned
 * that the page core would use last. What was free is the least there was between two looks, and of all looks in that
 * time, so that a load that comes and goes keeps its memory however short its peaks are.
 *
 * There is no thread for this. Clients call ash_arena_decay() on slow paths; when nothing is due it is one clock read
 * and one load. System calls are made with no zone lock held: the page core holds the pageblocks out of reach
 * meanwhile.
 */
#include <string.h>

#include "arena/internal.h"
#include "os/clock.h"

#define BLOCKS_ALL SIZE_MAX
enum {
	PART_ORDER = 4,                 /* the least piece of a pageblock that is returned */
	PART_SHARE = 4,                 /* parts stay up to this share of what is used, */
	PART_KEEP = 2 * ASH_PB_FRAMES,  /* and so much */
	WAITED_OF_8 = 5,
	PAUSE_MAX = 6,                  /* what never goes is asked for every 2^this looks: about five decay times */
};

/* What a watcher or the kernel will not let go is held until the others have been looked at, or it would be found
 * again. */
struct refused {
	ash_pfn_t pfn[ASH_REFUSED_MAX];
	uint8_t order[ASH_REFUSED_MAX];
	unsigned nr;
};

/* Milliseconds between two looks. */
static uint64_t look_ms(void)
{
	return ash_max((uint64_t)ash_arenas.config.decay_ms * WAITED_OF_8 / 8 / (ASH_DECAY_SLOTS - 1), 1);
}

/* T: one held buddy after the other. MADV_DONTNEED frees whole huge pages and keeps the mapping. */
static size_t t_return(struct ash_arena *a, size_t max, bool *kept)
{
	struct refused refused = { 0 };
	size_t n = 0;

	while (n < max && refused.nr < ASH_REFUSED_MAX) {
		const unsigned most =
			ASH_PAGEBLOCK_ORDER + ash_log2_floor(ash_min(max - n, ASH_GIB_FRAMES / ASH_PB_FRAMES));
		ash_pfn_t pfn;
		unsigned order;
		bool gone = false;

		if (ash_zone_report_begin_max(a->zone, ASH_PAGEBLOCK_ORDER, most, &pfn, &order) < 0)
			break;
		if (ash_arena_ask(a, ash_arena_address(a, pfn), ASH_PAGE_SIZE << order)) {
			gone = ash_vmem_discard(ash_arena_address(a, pfn), ASH_PAGE_SIZE << order) == 0;
			ash_arena_tell(a, ash_arena_address(a, pfn), ASH_PAGE_SIZE << order, gone);
			*kept |= !gone;
		}
		if (!gone) {
			refused.pfn[refused.nr] = pfn;
			refused.order[refused.nr++] = (uint8_t)order;
			continue;
		}
		ash_zone_report_end(a->zone, pfn, order, true);
		n += (size_t)1 << (order - ASH_PAGEBLOCK_ORDER);
	}
	for (unsigned i = 0; i < refused.nr; i++)
		ash_zone_report_end(a->zone, refused.pfn[i], refused.order[i], false);
	(void)atomic_fetch_add_explicit(&a->returned_blocks, n, memory_order_relaxed);
	return n;
}

/*
 * T: free pieces of partly used pageblocks, in base pages, which splits their huge pages: what stands there is slower
 * to reach from now on, and to touch again. So only where it is much beside what is used, and no piece below 64 KiB.
 */
static size_t t_return_parts(struct ash_arena *a, size_t max)
{
	size_t n = 0;

	while (n < max) {
		ash_pfn_t pfn;
		unsigned order;
		bool gone;

		if (ash_zone_report_begin_small(a->zone, PART_ORDER, &pfn, &order) < 0)
			break;
		gone = ash_vmem_discard(ash_arena_address(a, pfn), ASH_PAGE_SIZE << order) == 0;
		ash_zone_report_end(a->zone, pfn, order, gone);
		if (!gone)
			break;
		n += (size_t)1 << order;
	}
	return n;
}

/*
 * After a fork an H arena may hold ordinary memory (fork.c); then it returns as T does.
 *
 * The kernel may let nothing go: never, as hugetlb before Linux 5.18 and 1 GiB pages, or for a time, as what mlock(2)
 * holds. It is asked again, after twice as many looks each time.
 */
static size_t return_blocks(struct ash_arena *a, size_t max)
{
	const bool hugetlb = a->kind == ASH_ARENA_H && ash_arena_has_hugetlb(a);
	bool kept = false;
	const size_t n = hugetlb ? ash_hugetlb_return(a, max, &kept) : t_return(a, max, &kept);

	if (!kept || n > 0)
		a->kept = 0;
	else if (a->kept < PAUSE_MAX)
		a->kept++;
	a->pause = a->kept > 0 ? 1u << a->kept : 0;
	return n;
}

/* In H even zeroed ones cost memory: they are populated. */
static uint32_t resident_blocks(struct ash_arena *a, const struct ash_zone_free *now)
{
	const bool all = a->kind == ASH_ARENA_H && ash_arena_has_hugetlb(a);
	/* The counts are of different moments. */
	const uint64_t zeroed = all ? 0 : ash_min(now->zeroed, now->blocks);

	return (uint32_t)((now->blocks - zeroed) / ASH_PB_FRAMES);
}

static uint32_t part_frames(const struct ash_zone_free *now)
{
	return (uint32_t)(now->free - ash_min(now->blocks, now->free));
}

bool ash_run_discard(void *addr, size_t nr_frames)
{
	struct ash_arena *a = ash_arena_of(addr);
	bool done = false;

	if (!ash_lock_try(&a->growth))
		return false;
	if (!ash_arena_is_watched() && !(a->kind == ASH_ARENA_H && ash_arena_has_hugetlb(a)))
		done = ash_vmem_discard(addr, nr_frames << ASH_PAGE_SHIFT) == 0;
	ash_arena_end_turn(a);
	return done;
}

void ash_run_note_discarded(const void *addr, int64_t nr_frames)
{
	(void)atomic_fetch_add_explicit(&ash_arena_of(addr)->discarded, nr_frames, memory_order_relaxed);
}

uint32_t ash_arena_free_resident(struct ash_arena *a)
{
	const struct ash_zone_free now = ash_zone_free_now(a->zone);

	return resident_blocks(a, &now);
}

/* Of two threads at once one may be forgotten: a peak is many allocations. */
static void note_least(_Atomic uint32_t *low, uint32_t now)
{
	if (now < atomic_load_explicit(low, memory_order_relaxed))
		atomic_store_explicit(low, now, memory_order_relaxed);
}

ASH_EARLY void ash_arena_note_low(struct ash_arena *a)
{
	const struct ash_zone_free now = ash_zone_free_now(a->zone);

	note_least(&a->low_blocks, resident_blocks(a, &now));
	note_least(&a->low_parts, part_frames(&now));
}

/* The least since the last look, and a new beginning. */
static uint32_t take_least(_Atomic uint32_t *low, uint32_t now)
{
	return (uint32_t)ash_min(atomic_exchange_explicit(low, UINT32_MAX, memory_order_relaxed), now);
}

/*
 * The least of all samples, with a new one. One is entered for each time between looks that went by unseen too: nothing
 * was freed or allocated on a slow path meanwhile.
 */
static uint32_t sample(uint32_t samples[ASH_DECAY_SLOTS], uint32_t now, uint64_t looks)
{
	uint32_t low = now;

	for (looks = ash_min(looks, ASH_DECAY_SLOTS); looks > 0; looks--) {
		memmove(&samples[1], &samples[0], (ASH_DECAY_SLOTS - 1) * sizeof(samples[0]));
		samples[0] = looks > 1 ? (uint32_t)ash_min(samples[1], now) : now;
	}
	for (unsigned i = 0; i < ASH_DECAY_SLOTS; i++)
		low = (uint32_t)ash_min(low, samples[i]);
	return low;
}

/* From now on a smaller amount counts as free all the time. */
static void lower(uint32_t samples[ASH_DECAY_SLOTS], size_t n)
{
	for (unsigned i = 0; i < ASH_DECAY_SLOTS; i++)
		samples[i] -= (uint32_t)ash_min(samples[i], n);
}

/*
 * Of the free frames of partly used pageblocks, in excess of what is worth keeping, those that nobody needed for so
 * long go. What went is free as before: it is counted apart, and of that no more can still be without memory than was
 * free at the least.
 */
static void decay_parts(struct ash_arena *a, uint64_t looks)
{
	const struct ash_zone_free now = ash_zone_free_now(a->zone);
	const size_t online = atomic_load_explicit(&a->online, memory_order_relaxed);
	const int64_t discarded = atomic_load_explicit(&a->discarded, memory_order_relaxed);
	const size_t not_used = now.free + (discarded > 0 ? (size_t)discarded : 0);
	const size_t keep = ash_max((online - ash_min(not_used, online)) / PART_SHARE, PART_KEEP);
	const uint32_t least = take_least(&a->low_parts, part_frames(&now));
	uint32_t low;
	size_t n;

	a->parts_gone = (uint32_t)ash_min(a->parts_gone, least);
	low = sample(a->parts_low, least - a->parts_gone, looks);
	if (low <= keep)
		return;
	n = t_return_parts(a, low - keep);
	a->parts_gone += (uint32_t)n;
	lower(a->parts_low, n);
}

static ASH_EARLY size_t decay_arena(struct ash_arena *a, uint64_t looks)
{
	uint32_t low;
	size_t n;

	/* Growing matters more, and whoever grows has use for what we would return. */
	if (!ash_lock_try(&a->growth))
		return 0;
	if (ash_arena_is_watched()) {
		ash_arena_end_turn(a);
		return 0;
	}
	low = sample(a->free_low, take_least(&a->low_blocks, ash_arena_free_resident(a)), looks);
	a->pause -= (uint32_t)ash_min(a->pause, looks);
	n = low > 0 && a->pause == 0 ? return_blocks(a, low) : 0;
	if (a->kind == ASH_ARENA_T)
		decay_parts(a, looks);
	lower(a->free_low, n);
	ash_arena_end_turn(a);
	return n;
}

static size_t all_arenas(size_t (*fn)(struct ash_arena *a, uint64_t arg), uint64_t arg)
{
	size_t n = 0;

	for (unsigned i = 0; i < ash_registry.nr_spans; i++) {
		struct ash_arena *a = ash_arena_peek(i);

		if (a != NULL)
			n += fn(a, arg);
	}
	return n * ASH_PB_BYTES;
}

size_t ash_arena_decay(void)
{
	const uint32_t decay_ms = ash_arenas.config.decay_ms;

	return ash_arena_decay_at(decay_ms != 0 && decay_ms != UINT32_MAX ? ash_clock_ms() : 0);
}

ASH_EARLY size_t ash_arena_decay_at(uint64_t now)
{
	const uint32_t decay_ms = ash_arenas.config.decay_ms;
	uint64_t due = atomic_load_explicit(&ash_arenas.decay_due, memory_order_relaxed);
	uint64_t looks;

	if (decay_ms == UINT32_MAX || !ash_arena_ready() || ash_arena_is_watched())
		return 0;
	if (decay_ms == 0)
		return ash_arena_trim();
	if (now < due)
		return 0;
	/* By the clock, not by when somebody passes: seldom passing makes no time longer. */
	looks = due != 0 ? 1 + (now - due) / look_ms() : 1;
	/* One thread looks; the others have better things to do. */
	if (!atomic_compare_exchange_strong_explicit(&ash_arenas.decay_due, &due,
						     (due != 0 ? due : now) + looks * look_ms(), memory_order_relaxed,
						     memory_order_relaxed))
		return 0;
	if (ash_arenas.bind)
		ash_nodes_look();
	return all_arenas(decay_arena, looks);
}

/*
 * asks: the contig turn is held, so that a watcher can be asked; who has come just now without it cannot. Not more than
 * is free now: a watcher may free.
 */
static size_t trim_arena(struct ash_arena *a, uint64_t asks)
{
	size_t n = 0;

	ash_zone_drain(a->zone);
	ash_arena_take_turn(a);
	if (asks != 0)
		n = return_blocks(a, ash_arena_free_resident(a));
	else if (!ash_arena_is_watched())
		n = return_blocks(a, BLOCKS_ALL);
	ash_arena_end_turn(a);
	return n;
}

/* Where questions are asked, by one thread at a time; and not by who is being asked. */
size_t ash_arena_trim(void)
{
	size_t n;

	if (!ash_arena_is_watched())
		return all_arenas(trim_arena, 0);
	if (!ash_lock_try(&ash_arenas.contig))
		return 0;
	n = all_arenas(trim_arena, 1);
	ash_unlock(&ash_arenas.contig, &ash_futex_ops);
	return n;
}
