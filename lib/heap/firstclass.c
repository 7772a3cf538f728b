/* SPDX-License-Identifier: MIT */
/*
 * First-class heaps: the same structure as a thread's heap, owned by the program.
 *
 * One thread at a time may allocate from, reset or destroy such a heap (as with a stdio stream used unlocked); any
 * thread may free an object of it at any time, and that object goes home over the remote list at once. Reset gives
 * every slab and run back without looking at objects, so it costs by slabs, not by objects.
 */
#include "heap/heap_internal.h"

struct ash_heap *ash_heap_new(int node)
{
	return ash_heaps_boot() ? ash_heap_create_structure(true, ash_zonelist_for(node)) : NULL;
}

void *ash_heap_new_alloc(struct ash_heap *h, size_t align, size_t size, bool zero)
{
	return ash_heap_alloc_from(h, align, size, zero);
}

/* Everything allocated from h is gone; h is as new. */
void ash_heap_new_reset(struct ash_heap *h)
{
	/* What was freed to us meanwhile lies in slabs that go now; what the caches hold, too. */
	atomic_store_explicit(&h->batches, 0, memory_order_relaxed);
	atomic_store_explicit(&h->remote, 0, memory_order_relaxed);
	atomic_store_explicit(&h->home, 0, memory_order_relaxed);
	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++) {
		h->bins.head[cls] = NULL;
		h->bins.room[cls] = ash_classes[cls].cache_max;
		h->bins.extra[cls] = 0;
		h->partial[cls] = NULL;
		h->borrowed[cls] = 0;
	}
	for (unsigned i = 0; i < ASH_SLAB_ORDERS; i++)
		h->empty[i] = NULL;
	h->empty_frames = 0;
	while (h->all != NULL) {
		if (h->all->cls == ASH_SLAB_LARGE)
			ash_large_release(h, h->all);
		else
			ash_slab_release(h, h->all);
	}
	h->moved = false;
	ash_arena_decay();
}

void ash_heap_new_destroy(struct ash_heap *h)
{
	ash_heap_new_reset(h);
	ash_heaps_lock();
	atomic_store_explicit(&h->state, ASH_HEAP_FREE, memory_order_relaxed);
	h->orphan_next = ash_heaps.free;
	ash_heaps.free = h;
	ash_heaps_unlock();
}
