/* SPDX-License-Identifier: MIT */
/*
 * First-class heaps: memory that is freed together.
 *
 * A heap is a set of objects with its own slabs and runs. Objects of two heaps never share a frame, so a heap can be
 * emptied at once, at a cost in proportion to its frames and not to its objects. Use one per request, per document,
 * per connection; objects need not be freed one by one.
 *
 * Thread safety: a heap belongs to whoever calls it, one thread at a time; two threads that allocate from one heap
 * serialise their calls themselves. Different heaps are independent. Objects may be used and freed by any thread. After
 * fork() the child has its own copy of every heap, usable where no thread of the parent was inside a call on it.
 */
#ifndef ASHLAR_HEAP_H
#define ASHLAR_HEAP_H

#include <ashlar/types.h>

ASH_API_BEGIN

struct ash_heap;

/*
 * A new, empty heap whose memory comes from NUMA node node, or from nodes near it when that is full; ASH_NODE_LOCAL:
 * from the creating thread's. The caller owns it and ends it with ash_heap_destroy().
 * NULL: errno ENOMEM; EINVAL: the node is below -1.
 */
ASH_API struct ash_heap *ash_heap_create(int node) ASH_API_MUST_USE;

/*
 * size bytes of heap, uninitialised, aligned to 16, or to 8 where size is 8 or less; size 0 gives a unique pointer. It
 * lives until ash_free() of it, ash_heap_reset() or ash_heap_destroy(), whichever comes first. ash_realloc() may move
 * it out of heap: where it does, the new object is like one of ash_malloc().
 * NULL: errno ENOMEM.
 */
ASH_API void *ash_heap_alloc(struct ash_heap *heap, size_t size) ASH_API_MALLOC ASH_API_SIZE(2);

/* As ash_heap_alloc(), reading as zero. */
ASH_API void *ash_heap_zalloc(struct ash_heap *heap, size_t size) ASH_API_MALLOC ASH_API_SIZE(2);

/*
 * As ash_heap_alloc(), at a multiple of align, which is a power of two.
 * NULL: errno EINVAL (align is no power of two), ENOMEM; the most that align can be is that of ash_aligned_alloc().
 */
ASH_API void *ash_heap_aligned_alloc(struct ash_heap *heap, size_t align, size_t size) ASH_API_MALLOC ASH_API_ALIGN(2)
	ASH_API_SIZE(3);

/* End every object of heap and give its memory back; the heap stays, empty. */
ASH_API void ash_heap_reset(struct ash_heap *heap);

/* End every object of heap and the heap. NULL: nothing happens. */
ASH_API void ash_heap_destroy(struct ash_heap *heap);

ASH_API_END

#endif
