/* SPDX-License-Identifier: MIT */
/*
 * The fast paths: what malloc and free cost when all goes well. Inlined into the exported symbols.
 *
 * No lock, no atomic read-modify-write, no system call, no write outside the object and its bin or outbox. Budget:
 * malloc at most 20 instructions, free at most 22, of another thread's object 40, counted from the exported symbol's
 * entry (tests/golden/instructions and, for clang, tests/bench/clang.py keep it).
 */
#ifndef ASH_HEAP_FAST_H
#define ASH_HEAP_FAST_H

#include <string.h>

#include "heap/heap_internal.h"

/* The out-of-line halves; tail-called. */
void *ash_heap_malloc_slow(size_t size);
void ash_heap_free_slow(void *p);
void ash_heap_free_other(void *p, uint32_t differs, struct ash_heap *self);

ASH_INLINE void *ash_bin_pop(struct ash_heap *h, unsigned cls)
{
	struct ash_object *o = h->bins.head[cls];

	if (ASH_LIKELY(o != NULL)) {
		struct ash_object *next = o->next;

		h->bins.head[cls] = next;
		h->bins.room[cls]++;
		/* In a large working set the next object's link is where the next call would wait. */
		__builtin_prefetch(next, 1);
	}
	return o;
}

/* NULL: not on the fast path; for callers with a slow path of their own around ash_heap_malloc_slow(). */
ASH_INLINE void *ash_fast_malloc_try(size_t size)
{
	return ASH_LIKELY(size <= ASH_FAST_MAX) ? ash_bin_pop(ash_heap_self, ash_class_fast(size)) : NULL;
}

ASH_INLINE void *ash_fast_malloc(size_t size)
{
	void *p = ash_fast_malloc_try(size);

	return ASH_LIKELY(p != NULL) ? p : ash_heap_malloc_slow(size);
}

ASH_INLINE void ash_bin_push(struct ash_heap *h, size_t cls, struct ash_object *o)
{
	struct ash_object *head = h->bins.head[cls];

	/* The one double free that costs a comparison and no memory access: of what was freed last. */
	if (ASH_UNLIKELY(head == o)) {
		ash_bin_double_free(o);
		return;
	}
	o->next = head;
	h->bins.head[cls] = o;
	if (ASH_UNLIKELY(ash_count_down(&h->bins.room[cls])))
		ash_bin_overflow(h, (unsigned)cls);
}

/*
 * align: a power of two. Up to a page, where classes divide each doubling by 4 or 8, the class of a multiple of align
 * is itself a multiple of align.
 */
ASH_INLINE void *ash_fast_aligned(size_t align, size_t size)
{
	const size_t rounded = ash_align_up(size, align);

	/* Of a size or an alignment near the top of the range, the sum wraps to less than size. */
	if (ASH_LIKELY(rounded - 1 < ASH_FAST_MAX && rounded >= size)) {
		void *p = ash_bin_pop(ash_heap_self, ash_class_fast(rounded));

		if (ASH_LIKELY(p != NULL))
			return p;
	}
	return ash_heap_aligned(align, size);
}

/* Short ones are cleared here: entering memset costs as much as clearing a cache line. */
#define ASH_CLEAR_INLINE 64
ASH_INLINE void *ash_fast_calloc(size_t n, size_t size)
{
	size_t bytes;
	char *p;

	if (ASH_UNLIKELY(__builtin_mul_overflow(n, size, &bytes)))
		return ash_heap_calloc(n, size);
	p = ash_fast_malloc_try(bytes);
	if (ASH_UNLIKELY(p == NULL))
		return ash_heap_calloc(n, size);
	if (bytes > ASH_CLEAR_INLINE)
		return memset(p, 0, bytes);
	/* Sizes of the other classes are multiples of 16. */
	if (bytes <= 8)
		return memset(p, 0, 8);
	memset(p, 0, 16);
	if (bytes > 16)
		memset(p + 16, 0, 16);
	if (bytes > 32)
		memset(p + 32, 0, 16);
	if (bytes > 48)
		memset(p + 48, 0, 16);
	return p;
}

/*
 * A run in the range of sizes that slabs have too keeps room to grow, as their objects do, which nothing cuts off while
 * half of it is used; a longer one is exact.
 */
ASH_INLINE bool ash_run_keeps(size_t nr, size_t size)
{
	const size_t need = ash_bytes_to_pages(size);

	return need == nr || (need < nr && nr <= ASH_SMALL_MAX >> ASH_PAGE_SHIFT && need * 2 >= nr);
}

/*
 * In place: a slab's object whose class holds size, and of which at least half is used; or a run to which nothing
 * happens. Of NULL it is malloc, by which some programs allocate all they have.
 */
ASH_INLINE void *ash_fast_realloc(void *p, size_t size)
{
	const size_t frame = ash_frame_index(p);

	if (ASH_LIKELY(frame < ash_nr_frames())) {
		const uint32_t tag = ash_tag_load(frame);

		if (ASH_LIKELY((int32_t)tag > 0)) {
			const struct ash_class *c = &ash_classes[tag & ASH_TAG_CLASS_MASK];

			if (size <= c->size && size >= c->keep_min)
				return p;
		} else if ((tag & ASH_TAG_LARGE) != 0 && ash_run_keeps(tag & ASH_TAG_FRAMES_MASK, size)) {
			return p;
		}
	} else if (p == NULL) {
		return ash_fast_malloc(size);
	}
	return ash_heap_realloc(p, size);
}

/* The object is linked into the batch, and what is pushed next it carries the addresses of, if it has room for any. */
ASH_INLINE void ash_outbox_carry(struct ash_outbox *box, struct ash_object *o, unsigned cls)
{
	const uint64_t carries = ash_class_carries[cls];

	o->link = box->head | carries;
	box->head = (uintptr_t)o;
	if (carries != 0) {
		box->at = o->carried;
		box->end = o->carried + (carries >> ASH_CARRIED_SHIFT);
	}
}

/* Where objects wait whose tag XOR self's is this. The bits that say so are brought to bytes by one shift. */
ASH_INLINE struct ash_outbox *ash_outbox_of(struct ash_heap *self, uint32_t differs)
{
	const uint32_t bits = differs & (ASH_OUTBOXES - 1) << ASH_TAG_OWNER_SHIFT;

	ASH_BUILD_ASSERT(sizeof(struct ash_outbox) << 2 == 1u << ASH_TAG_OWNER_SHIFT, "as the shift below");
	return (struct ash_outbox *)((char *)self->outbox + (bits >> 2));
}

/*
 * Add an object, whose tag XOR self's is differs, to the outbox on its owner's way, if it has one and there is room for
 * one object more. An object that another carries the address of is not touched.
 */
ASH_INLINE bool ash_outbox_push(struct ash_heap *self, struct ash_object *o, uint32_t differs)
{
	struct ash_outbox *box = ash_outbox_of(self, differs);
	const size_t cls = differs ^ box->differs;
	int64_t credit;

	/* Of an empty outbox, and of a large run, whose tag has no class in it, too. */
	if (ASH_UNLIKELY(cls >= ASH_NR_CLASSES))
		return false;
	credit = box->credit - ash_class_cost[cls];
	if (ASH_UNLIKELY(credit < 0))
		return false;
	box->credit = credit;
	if (ASH_LIKELY(box->at != box->end))
		*box->at++ = o;
	else
		ash_outbox_carry(box, o, (unsigned)cls);
	return true;
}

/* Where its owner takes nothing home: into a bin, if self has use for it. */
ASH_INLINE bool ash_outbox_keep(struct ash_heap *self, struct ash_object *o, uint32_t differs)
{
	struct ash_outbox *box = ash_outbox_of(self, differs);
	const size_t cls = (size_t)(differs ^ box->differs) - ASH_OUTBOX_CLOSED;

	if (cls >= ASH_NR_CLASSES || box->keeps == 0 || !ash_heap_has_use(self, (unsigned)cls))
		return false;
	box->keeps--;
	ash_bin_push(self, cls, o);
	return true;
}

ASH_INLINE void ash_fast_free(void *p)
{
	const size_t frame = ash_frame_index(p);

	if (ASH_LIKELY(frame < ash_nr_frames())) {
		struct ash_heap *h = ash_heap_self;
		const size_t cls = ash_tag_load(frame) ^ h->tag;

		if (ASH_LIKELY(cls < ASH_NR_CLASSES))
			ash_bin_push(h, cls, p);
		else
			ash_heap_free_other(p, cls, h);
		return;
	}
	ash_heap_free_slow(p);
}

#endif
