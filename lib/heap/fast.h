/* SPDX-License-Identifier: MIT */
/*
 * The fast paths: what malloc and free cost when all goes well. Inlined into the exported symbols.
 *
 * No lock, no atomic read-modify-write, no system call, no write outside the object, its bin and nothing else. Budget:
 * malloc at most 20 instructions, free at most 22, counted from the exported symbol's entry (tests/golden keeps it).
 */
#ifndef ASH_HEAP_FAST_H
#define ASH_HEAP_FAST_H

#include "heap/heap_internal.h"

/* The out-of-line halves; tail-called. */
void *ash_heap_malloc_slow(size_t size);
void ash_heap_free_slow(void *p);

ASH_INLINE void *ash_bin_pop(struct ash_bin *bin)
{
	struct ash_object *o = bin->head;

	if (ASH_LIKELY(o != NULL)) {
		bin->head = o->next;
		bin->room++;
	}
	return o;
}

/* NULL: not on the fast path; for callers with a slow path of their own around ash_heap_malloc_slow(). */
ASH_INLINE void *ash_fast_malloc_try(size_t size)
{
	return ASH_LIKELY(size <= ASH_FAST_MAX) ? ash_bin_pop(&ash_heap_self->bins[ash_class_fast(size)]) : NULL;
}

ASH_INLINE void *ash_fast_malloc(size_t size)
{
	void *p = ash_fast_malloc_try(size);

	return ASH_LIKELY(p != NULL) ? p : ash_heap_malloc_slow(size);
}

ASH_INLINE void ash_bin_push(struct ash_heap *h, unsigned cls, struct ash_object *o)
{
	struct ash_bin *bin = &h->bins[cls];

	o->next = bin->head;
	bin->head = o;
	if (ASH_UNLIKELY(--bin->room < 0))
		ash_bin_overflow(h, cls);
}

ASH_INLINE void ash_fast_free(void *p)
{
	const size_t frame = ash_frame_index(p);

	if (ASH_LIKELY(frame < ash_registry.nr_frames)) {
		struct ash_heap *h = ash_heap_self;
		const uint32_t cls = ash_tag_load(frame) ^ h->tag;

		if (ASH_LIKELY(cls < ASH_NR_CLASSES)) {
			ash_bin_push(h, cls, p);
			return;
		}
	}
	ash_heap_free_slow(p);
}

#endif
