/* SPDX-License-Identifier: MIT */
/*
 * A limit on address space that the process gives itself when the reservation is there already, and counts.
 *
 * What would have been left out of the reservation under that limit goes: spans without an arena, what arenas have not
 * come to beyond their share, and the metadata of both. Arenas end earlier from then on, as they do where they are cut
 * to fit at the start (init.c). What was ever online stays, used or not.
 *
 * What has been unmapped may be somebody else's mapping at once, so nothing is unmapped twice, and the registry ends
 * before it where it can. Between spans in use it cannot: a mapping there has the tags of frames that were never given
 * out.
 */
#include "arena/internal.h"
#include "os/process.h"

static size_t first_of(unsigned index)
{
	return (size_t)index << ash_registry.span_frame_shift;
}

/* Of an arena, once it may grow by most more. */
static ash_pfn_t frames_after(const struct ash_arena *a, size_t most)
{
	const size_t end = atomic_load_explicit(&a->end, memory_order_relaxed);

	return (ash_pfn_t)ash_min(ash_align_up(end, ASH_PB_FRAMES) + most, ash_arena_frames(a));
}

static void cut_arena(struct ash_arena *a, ash_pfn_t nr)
{
	const ash_pfn_t had = ash_arena_frames(a), reach = ash_meta_reach(a, nr);

	if (nr == had)
		return;
	atomic_store_explicit(&a->nr_frames, nr, memory_order_relaxed);
	(void)ash_vmem_unmap(ash_arena_address(a, nr), (size_t)(had - nr) << ASH_PAGE_SHIFT);
	ash_meta_cut(a->index, reach, a->tabled);
	a->tabled = reach;
}

static void cut_span(unsigned index, size_t total)
{
	const size_t first = first_of(index);
	const size_t nr = ash_min((size_t)1 << ash_registry.span_frame_shift, total - first);

	(void)ash_vmem_unmap(ash_frame_address(first), nr << ASH_PAGE_SHIFT);
	ash_meta_cut(index, 0, nr);
}

/* What belongs to no span. */
static void cut_rest(size_t total)
{
	const size_t slack = (size_t)ash_arenas.slack_frames << ASH_PAGE_SHIFT;

	ash_meta_cut_end();
	if (slack > 0)
		(void)ash_vmem_unmap(ash_frame_address(total), slack);
}

/* Arenas may grow by most frames each and not be made any more. */
static void cut(size_t most)
{
	const size_t total = ash_nr_frames();
	size_t usable = 0, nr = 0, tabled = 0;

	for (unsigned i = 0; i < ash_registry.nr_spans; i++) {
		const struct ash_arena *a = ash_arena_peek(i);

		if (a == NULL)
			continue;
		nr = first_of(i) + frames_after(a, most);
		tabled = first_of(i) + ash_meta_reach(a, frames_after(a, most));
		usable += frames_after(a, most);
	}
	/* Before what is beyond it can be anybody else's. */
	__atomic_store_n(&ash_registry.nr_frames, nr, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < ash_registry.nr_spans; i++) {
		struct ash_arena *a = ash_arena_peek(i);

		if (a != NULL)
			cut_arena(a, frames_after(a, most));
		else if (!ash_arenas.fitted)
			cut_span(i, total);
	}
	if (!ash_arenas.fitted)
		cut_rest(total);
	ash_arenas.fitted = true;
	ash_meta_cut_common(tabled, usable);
}

/* Frames that are reserved and not online, and of how many arenas. */
static size_t growth_left(unsigned *nr_arenas)
{
	size_t n = 0;

	*nr_arenas = 0;
	for (unsigned i = 0; i < ash_registry.nr_spans; i++) {
		const struct ash_arena *a = ash_arena_peek(i);

		if (a == NULL)
			continue;
		n += ash_arena_frames(a) - atomic_load_explicit(&a->end, memory_order_relaxed);
		(*nr_arenas)++;
	}
	return n << ASH_PAGE_SHIFT;
}

static size_t whole_pageblocks(size_t bytes)
{
	return ash_align_down(bytes, ASH_PB_BYTES) >> ASH_PAGE_SHIFT;
}

/* The share of the whole limit first, as at a start, which is as if nothing else were mapped; then of what is left. */
static void fit(size_t limit)
{
	size_t mapped, growth;
	unsigned nr_arenas;

	cut(whole_pageblocks(ash_arenas_share(limit)));
	mapped = ash_process_mapped();
	growth = growth_left(&nr_arenas);
	if (mapped == 0)
		return;
	mapped -= ash_min(growth, mapped);
	cut(whole_pageblocks(ash_arenas_share(limit - ash_min(mapped, limit)) / nr_arenas));
}

void ash_arena_fit(size_t limit)
{
	size_t mapped;

	if (!ash_arena_ready() || !ash_process_is_registered())
		return;
	ash_arenas_take_turns();
	mapped = ash_process_mapped();
	if (mapped == 0)
		mapped = ash_nr_frames() << ASH_PAGE_SHIFT;
	if (mapped > limit)
		fit(limit);
	ash_arenas_end_turns();
}
