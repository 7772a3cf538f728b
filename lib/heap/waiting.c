/* SPDX-License-Identifier: MIT */
/*
 * What waits at owners that do not run is used by who needs memory.
 *
 * A thread that has allocated much for another and does not run now, or has nothing to allocate, takes nothing home of
 * what the other frees to it. The other would bring new memory for what it allocates itself, beside as much that is
 * free. So before a heap grows by a slab, it takes all that waits at another heap of its node, or that its owner has
 * taken and not walked, and walks some batches until it has an object of its class: what it has use for goes into its
 * bins, as others' objects do (keep.c), and the rest to its owners. What has not been walked is spare, until the next
 * time; and another heap in need may take it from there, its owner too.
 *
 * Small objects, of which a slab has many, are not worth a walk: larson with more threads than processors would take a
 * twentieth longer. Of each larger size there are few in some batches. Where there is none of the class, one that is up
 * to half as large again costs less than a slab would that holds a dozen.
 */
#include "heap/fast.h"

enum { HEAP_LOOKS = 8, WALKED_BATCHES = 16 };

/* What waits at h, or is spare there; 0: nothing, or nothing for self. */
static uintptr_t take_from(const struct ash_heap *self, struct ash_heap *h)
{
	const uintptr_t spare = atomic_load_explicit(&h->spare, memory_order_relaxed);
	uintptr_t batches;

	/* The objects of a first-class heap are for its next reset. What is a thread's never becomes one. */
	if (atomic_load_explicit(&h->first_class, memory_order_relaxed))
		return 0;
	batches = ash_remote_take_long(self, h);
	return batches == 0 && ash_heap_is_near(self, (const void *)spare) ? ash_batches_take(&h->spare) : batches;
}

static uintptr_t take_from_another(struct ash_heap *self)
{
	for (unsigned i = 0; i < HEAP_LOOKS; i++) {
		struct ash_heap *h;
		uintptr_t batches;

		self->looked = self->looked + 1 < ash_heaps.max ? self->looked + 1 : 1;
		h = atomic_load_explicit(&ash_heaps.table[self->looked], memory_order_acquire);
		batches = h != NULL && h != self ? take_from(self, h) : 0;
		if (batches != 0)
			return batches;
		if (h == NULL)
			self->looked = 0; /* behind the last heap there is */
	}
	return 0;
}

static void *pop_larger(struct ash_heap *self, unsigned cls)
{
	const struct ash_class *c = &ash_classes[cls];
	const uint32_t bits = c->size | c->step, align = bits & -bits;

	for (cls++; cls < ASH_NR_CLASSES && ash_classes[cls].size <= c->size + c->size / 2; cls++)
		if (self->bins.head[cls] != NULL && ash_class_aligned(&ash_classes[cls], align))
			return ash_bin_pop(self, cls);
	return NULL;
}

ASH_EARLY void *ash_waiting_alloc(struct ash_heap *self, unsigned cls)
{
	uintptr_t batches;

	if (ash_classes[cls].size <= ASH_FAST_MAX || self->first_class)
		return NULL;
	batches = ash_batches_take(&self->spare);
	if (batches == 0)
		batches = take_from_another(self);
	if (batches == 0)
		return NULL;
	for (unsigned i = 0; i < WALKED_BATCHES && batches != 0 && self->bins.head[cls] == NULL; i++)
		batches = ash_remote_use_batch(self, batches);
	/* Nobody else makes it anything but 0. Who takes it reads what this thread wrote on its way here. */
	if (batches != 0)
		atomic_store_explicit(&self->spare, batches, memory_order_release);
	return self->bins.head[cls] != NULL ? ash_bin_pop(self, cls) : pop_larger(self, cls);
}

void ash_waiting_flush(struct ash_heap *self)
{
	uintptr_t batches = ash_batches_take(&self->spare);

	while (batches != 0)
		batches = ash_remote_use_batch(self, batches);
}
