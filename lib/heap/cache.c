/* SPDX-License-Identifier: MIT */
/*
 * Between bins and slabs: refill when a bin is empty, flush when it is full.
 *
 * A refill takes a slab's whole free list in one step, however long, so it costs the same for one object as for a
 * thousand; the links were written when the objects were freed. A flush gives every object of the bin back, so that
 * the next refill is again one step; it is the only place where a free touches slab descriptors.
 */
#include "heap/fast.h"

#define CARVE_GROWTH 2u

/* Make the next few objects of a slab's untouched tail, in address order: the more, the more it has made already. */
static unsigned slab_carve(struct ash_slab *s, const struct ash_class *c, struct ash_object **list)
{
	const uint32_t more = (uint32_t)ash_min(ash_max(c->carve, s->carved), CARVE_GROWTH * c->carve);
	const unsigned nr = (unsigned)ash_min(more, c->capacity - s->carved);
	char *first = (char *)ash_frame_address(ash_slab_frame(s)) + (size_t)s->carved * c->size;
	struct ash_object *o = (struct ash_object *)first;

	for (unsigned i = 1; i < nr; i++) {
		struct ash_object *next = (struct ash_object *)(first + (size_t)i * c->size);

		o->next = next;
		o = next;
	}
	o->next = NULL;
	*list = (struct ash_object *)first;
	s->carved += nr;
	return nr;
}

/* An object of class cls for h, and more of them in its bin; NULL when there is no memory. */
void *ash_bin_refill(struct ash_heap *h, unsigned cls)
{
	const struct ash_class *c = &ash_classes[cls];
	struct ash_bin *bin = &h->bins[cls];
	struct ash_slab *s;
	unsigned nr;

	if (ash_remote_drain(h) && bin->head != NULL)
		return ash_bin_pop(bin);

	s = h->partial[cls];
	if (s == NULL) {
		s = ash_slab_create(h, cls);
		if (s == NULL)
			return NULL;
	}
	if (s->free != NULL) {
		bin->head = s->free;
		nr = s->nr_free;
		s->free = NULL;
		s->nr_free = 0;
	} else {
		nr = slab_carve(s, c, &bin->head);
	}
	if (s->carved == c->capacity)
		ash_slab_unlink_partial(h, s);
	/* However much came, half a bin of frees must fit before the next flush. */
	bin->extra = nr > c->cache_max / 2u ? (int32_t)(nr - c->cache_max / 2u) : 0;
	bin->room = (int32_t)c->cache_max + bin->extra - (int32_t)nr;
	return ash_bin_pop(bin);
}

void ash_bin_flush(struct ash_heap *h, unsigned cls)
{
	const unsigned slab_shift = ASH_PAGE_SHIFT + ash_classes[cls].slab_order;
	const uint32_t capacity = ash_classes[cls].capacity;
	struct ash_bin *bin = &h->bins[cls];
	struct ash_object *o = bin->head;

	bin->head = NULL;
	bin->room = ash_classes[cls].cache_max;
	bin->extra = 0;
	/*
	 * Neighbours in the bin are often of one slab, and linked already: they go home as one list. After a double free the
	 * bin is a ring; no more than a slab holds is looked at before ash_slab_put() finds out.
	 */
	while (o != NULL) {
		struct ash_object *head = o, *next = o->next;
		uint32_t nr = 1;

		for (; next != NULL && ((uintptr_t)next ^ (uintptr_t)head) >> slab_shift == 0 && nr <= capacity; nr++) {
			o = next;
			next = o->next;
		}
		ash_slab_put(h, cls, head, o, nr);
		o = next;
	}
}

/* For a thread that ends: the objects stay of which many are little memory, for the next thread to start with. */
void ash_heap_flush_bigger(struct ash_heap *h, uint32_t bytes)
{
	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++)
		if (h->bins[cls].head != NULL && ash_bin_held(&h->bins[cls], cls) * ash_classes[cls].size > bytes)
			ash_bin_flush(h, cls);
}

/* The cold end of a free: errno is the caller's, and the arena may make system calls. */
void ash_bin_overflow(struct ash_heap *h, struct ash_bin *bin)
{
	ash_bin_flush(h, (unsigned)(bin - h->bins));
	ash_arena_decay();
}

void ash_heap_flush(struct ash_heap *h)
{
	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++)
		ash_bin_flush(h, cls);
}
