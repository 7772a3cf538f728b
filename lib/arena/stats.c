/* SPDX-License-Identifier: MIT */
/* What arenas are and do, for whoever reports it. */
#include <errno.h>

#include "arena/internal.h"
#include "os/smaps.h"

unsigned ash_arena_count(void)
{
	return ash_registry.nr_spans;
}

struct ash_zone *ash_arena_zone(unsigned index)
{
	const struct ash_arena *a = index < ash_registry.nr_spans ? ash_arena_peek(index) : NULL;

	return a != NULL ? a->zone : NULL;
}

bool ash_arena_stats(unsigned index, struct ash_arena_stats *out)
{
	struct ash_arena *a = index < ash_registry.nr_spans ? ash_arena_peek(index) : NULL;

	if (a == NULL)
		return false;
	*out = (struct ash_arena_stats){
		.node = a->node,
		.kind = a->kind,
		.start = a->start,
		.span_bytes = (size_t)ash_arena_frames(a) << ASH_PAGE_SHIFT,
		.peak_online = atomic_load_explicit(&a->peak_online, memory_order_relaxed),
		.returned = (size_t)atomic_load_explicit(&a->returned, memory_order_relaxed) * ASH_PB_FRAMES,
		.grows = atomic_load_explicit(&a->grows, memory_order_relaxed),
		.returned_blocks = atomic_load_explicit(&a->returned_blocks, memory_order_relaxed),
		.fallbacks = atomic_load_explicit(&a->fallbacks, memory_order_relaxed),
	};
	for (unsigned i = 0; i < ASH_BACKING_NR; i++)
		out->backed[i] = atomic_load_explicit(&a->backed[i], memory_order_relaxed);
	/* Returned pageblocks before, all that is online after: so what is without memory is never more than all. */
	ash_zone_stats(a->zone, &out->zone);
	out->online = atomic_load_explicit(&a->online, memory_order_relaxed);
	out->free_absent = a->kind == ASH_ARENA_H && ash_arena_has_hugetlb(a) ? 0 : out->zone.free_zeroed;
	return true;
}

int ash_arena_actual(unsigned index, size_t bytes[ASH_BACKING_NR])
{
	const struct ash_arena *a = index < ash_registry.nr_spans ? ash_arena_peek(index) : NULL;
	struct ash_smaps s;
	int err;

	if (a == NULL)
		return -ENOENT;
	err = ash_smaps_read(a->start, a->start + ((uintptr_t)ash_arena_frames(a) << ASH_PAGE_SHIFT), &s);
	if (err < 0)
		return err;
	bytes[ASH_BACKING_HUGETLB_1G] = s.huge_1g;
	bytes[ASH_BACKING_HUGETLB_2M] = s.huge_2m;
	bytes[ASH_BACKING_THP] = s.thp;
	bytes[ASH_BACKING_BASE] = s.base;
	return 0;
}
