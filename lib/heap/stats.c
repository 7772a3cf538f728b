/* SPDX-License-Identifier: MIT */
/*
 * What the heap holds, read from the outside: counters of running threads are read without stopping them, so sums may
 * be off by what happens meanwhile; a quiescent process gets exact figures.
 */
#include "heap/heap_internal.h"

#include <string.h>

/* By the tag's class: the descriptor may have another user by now, and its numbers be those of another class. */
static void slab_stats(const struct ash_slab *s, unsigned cls, struct ash_heap_stats *out)
{
	const struct ash_class *c = &ash_classes[cls];
	const size_t carved = ash_min(s->carved, c->capacity);
	const uint64_t unused = ash_min(s->nr_free, carved) + c->capacity - carved;

	out->classes[cls].slabs++;
	out->classes[cls].objects_total += c->capacity;
	out->classes[cls].objects_free += unused;
	out->slab_free_bytes += unused * c->size;
}

/* Every slab by its tag's own evidence: descriptors of a running thread's list cannot be followed safely. */
static void slabs_scan(struct ash_heap_stats *out)
{
	const size_t step = (size_t)1 << ASH_SLAB_MIN_ORDER;

	for (unsigned i = 0; i < ash_arena_count(); i++) {
		struct ash_arena_stats arena;
		size_t first;

		if (!ash_arena_stats(i, &arena))
			continue;
		first = ash_frame_index((const void *)arena.start);
		for (size_t f = first; f < first + arena.peak_online; f += step) {
			const uint32_t tag = ash_tag_load(f), cls = tag & ASH_TAG_CLASS_MASK;

			if (tag == 0 || (tag & ASH_TAG_LARGE) != 0 || cls >= ASH_NR_CLASSES)
				continue;
			if ((f & (((size_t)1 << ash_classes[cls].slab_order) - 1)) == 0)
				slab_stats(ash_slab_at(f, ASH_SLAB_MIN_ORDER), cls, out);
		}
	}
}

static void bins_scan(const struct ash_heap *h, struct ash_heap_stats *out)
{
	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++) {
		/* Below 0 in the middle of a refill, which writes the two numbers it is made of one after the other. */
		const int32_t in_bin = (int32_t)ash_bin_held(h, cls);
		const uint64_t held = (in_bin > 0 ? (uint64_t)in_bin : 0) + h->depot[cls].nr;

		out->classes[cls].objects_free += held;
		out->slab_free_bytes += held * ash_classes[cls].size;
	}
}

void ash_heap_stats(struct ash_heap_stats *out)
{
	int64_t large_frames = 0, large_count = 0;

	memset(out, 0, sizeof(*out));
	out->nr_classes = ASH_NR_CLASSES;
	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++)
		out->classes[cls].size = ash_classes[cls].size;
	if (!ash_arena_ready() || ash_slabs == NULL)
		return;
	ash_heaps_lock();
	for (uint32_t owner = 1; owner <= ash_heaps.nr; owner++) {
		const struct ash_heap *h = atomic_load_explicit(&ash_heaps.table[owner], memory_order_relaxed);
		const uint32_t state = atomic_load_explicit(&h->state, memory_order_relaxed);

		out->heaps += state == ASH_HEAP_ACTIVE || state == ASH_HEAP_ORPHAN;
		out->orphans += state == ASH_HEAP_ORPHAN;
		out->slab_bytes += (h->slab_frames + h->kept.frames) << ASH_PAGE_SHIFT;
		out->slab_free_bytes += (uint64_t)h->kept.frames << ASH_PAGE_SHIFT;
		out->remote_frees += h->remote_frees;
		large_frames += h->large_frames;
		large_count += h->large_count;
		bins_scan(h, out);
	}
	ash_heaps_unlock();
	slabs_scan(out);
	out->large_bytes = (size_t)(large_frames < 0 ? 0 : large_frames) << ASH_PAGE_SHIFT;
	out->large_count = (uint64_t)(large_count < 0 ? 0 : large_count);
	out->foreign_frees = atomic_load_explicit(&ash_heaps.foreign_frees, memory_order_relaxed);
}
