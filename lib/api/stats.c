/* SPDX-License-Identifier: MIT */
/* The public snapshots: <ashlar/stats.h>. */
#include <ashlar/stats.h>
#include <errno.h>
#include <string.h>

#include "arena/arena.h"
#include "base/bits.h"
#include "heap/heap.h"

ASH_BUILD_ASSERT((int)ASH_BACKED_KINDS == (int)ASH_BACKING_NR, "the public and the internal kinds of backing agree");
ASH_BUILD_ASSERT((int)ASH_BACKED_THP == (int)ASH_BACKING_THP, "... in their order");
ASH_BUILD_ASSERT(ASH_FRAME_BYTES == ASH_PAGE_SIZE, "a frame is a base page");

/* Every snapshot begins with these two words. */
struct header {
	uint32_t version, size;
};

static int check(const void *out, size_t size)
{
	return out == NULL || size < sizeof(struct header) ? -EINVAL : 0;
}

/* Copy as much of the snapshot as the caller has room for; what it knows and we do not reads as 0. */
static void hand_out(void *out, size_t size, const void *from, size_t known)
{
	const size_t bytes = ash_min(size, known);
	const struct header header = { .version = ASH_STATS_VERSION, .size = (uint32_t)bytes };

	memset(out, 0, size);
	memcpy(out, from, bytes);
	memcpy(out, &header, sizeof(header));
}

static uint64_t free_frames(const struct ash_arena_stats *a)
{
	return a->zone.free + a->zone.pcp + a->returned;
}

int ash_stats_read(struct ash_stats *stats, size_t size)
{
	const int error = check(stats, size);
	struct ash_arena_stats a;
	struct ash_heap_stats h;
	struct ash_stats s;

	if (error != 0)
		return error;
	ash_heap_stats(&h);
	s = (struct ash_stats){
		.live_bytes = h.large_bytes + h.slab_bytes - ash_min(h.slab_bytes, h.slab_free_bytes),
		.cached_bytes = h.slab_free_bytes,
		.reserved_bytes = (uint64_t)ash_nr_frames() << ASH_PAGE_SHIFT,
		.large_count = h.large_count,
		.remote_frees = h.remote_frees,
		.foreign_frees = h.foreign_frees,
		.heaps = (uint32_t)h.heaps,
	};
	for (unsigned i = 0; i < ash_registry.nr_spans; i++) {
		if (!ash_arena_stats(i, &a))
			continue;
		s.arenas++;
		s.online_bytes += (uint64_t)a.online << ASH_PAGE_SHIFT;
		s.peak_online_bytes += (uint64_t)a.peak_online << ASH_PAGE_SHIFT;
		s.free_bytes += free_frames(&a) << ASH_PAGE_SHIFT;
		s.absent_bytes += (a.returned + a.free_absent) << ASH_PAGE_SHIFT;
		s.fallbacks += a.fallbacks;
	}
	hand_out(stats, size, &s, sizeof(s));
	return 0;
}

int ash_arena_info_read(unsigned index, struct ash_arena_info *info, size_t size)
{
	const int error = check(info, size);
	struct ash_arena_stats a;
	struct ash_arena_info i;

	if (error != 0)
		return error;
	if (index >= ash_registry.nr_spans)
		return -ERANGE;
	if (!ash_arena_stats(index, &a))
		return -ENOENT;
	i = (struct ash_arena_info){
		.node = a.node,
		.hugetlb = a.kind == ASH_ARENA_H,
		.start = a.start,
		.span_bytes = a.span_bytes,
		.online_bytes = (uint64_t)a.online << ASH_PAGE_SHIFT,
		.peak_online_bytes = (uint64_t)a.peak_online << ASH_PAGE_SHIFT,
		.free_bytes = free_frames(&a) << ASH_PAGE_SHIFT,
		.absent_bytes = (a.returned + a.free_absent) << ASH_PAGE_SHIFT,
		.grows = a.grows,
		.returned_pageblocks = a.returned_blocks,
	};
	for (unsigned kind = 0; kind < ASH_BACKING_NR; kind++)
		i.backed_bytes[kind] = (uint64_t)a.backed[kind] << ASH_PAGE_SHIFT;
	hand_out(info, size, &i, sizeof(i));
	return 0;
}

int ash_page_info_read(const void *p, struct ash_page_info *info, size_t size)
{
	const int error = check(info, size);
	const size_t frame = ash_frame_index(p);
	struct ash_arena_stats a;
	struct ash_page_info i;

	if (error != 0)
		return error;
	if (frame >= ash_nr_frames())
		return -ENOENT;
	i = (struct ash_page_info){
		.arena = (uint32_t)(frame >> ash_registry.span_frame_shift),
		.pfn = frame & (((uint64_t)1 << ash_registry.span_frame_shift) - 1),
		.frame = (uintptr_t)ash_frame_address(frame),
	};
	if (!ash_arena_stats(i.arena, &a))
		return -ENOENT;
	i.node = a.node;
	hand_out(info, size, &i, sizeof(i));
	return 0;
}
