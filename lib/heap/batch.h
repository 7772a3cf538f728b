/* SPDX-License-Identifier: MIT */
/*
 * Batches: freed objects on their way home, as they are linked and how they are walked.
 *
 * One object in several is linked, and carries the addresses of the others, which nobody touches on their way (decision
 * 024). A batch goes from its head by their links to its tail, whose link has ASH_BATCH_END.
 *
 * A list of batches is linked through the first objects of each, in their second words. An object of the smallest class
 * has none: what comes behind a batch that begins with one stands in the link of its last object, and who walks it
 * knows when he is there. Such a list is one word: its first batch, with ASH_BATCH_TINY if that is of this kind, or 0.
 *
 * There is one walk, whoever takes a list and whatever is to be done with the objects; a carrier and what it carries
 * are handed over together.
 */
#ifndef ASH_HEAP_BATCH_H
#define ASH_HEAP_BATCH_H

#include "heap/heap_internal.h"

struct ash_batch {
	struct ash_object *head, *tail;
};

/* An object that is linked, and what stands in its link. */
struct ash_carrier {
	struct ash_object *o;
	uintptr_t next; /* the next of its batch, or ASH_BATCH_END and what it stands beside */
	uint32_t nr;    /* of addresses that it carries */
	bool in_one_slab; /* it carries any, and all lie with it in as much as the smallest slab has */
};

/* Somebody has written to what was free already, and it carried addresses. */
ASH_COLD ASH_NORETURN void ash_found_in_freed(const void *p);

/* An object's tag. */
ASH_INLINE uint32_t ash_tag_of_freed(const struct ash_object *o)
{
	const size_t frame = ash_frame_index(o);

	if (ASH_UNLIKELY(frame >= ash_nr_frames()))
		ash_found_in_freed(o);
	return ash_tag_load(frame);
}

/* A cached object keeps its slab from being given back, unless it was freed twice. */
ASH_INLINE struct ash_heap *ash_owner_of_freed(const struct ash_object *o, uint32_t tag)
{
	if (ASH_UNLIKELY((int32_t)tag <= 0))
		ash_heap_corrupt("double free", o);
	return ash_heap_by_tag(tag);
}

/* All that waits at h: a list of batches. */
ASH_INLINE uintptr_t ash_remote_take(struct ash_heap *h)
{
	if (atomic_load_explicit(&h->remote, memory_order_relaxed) == 0)
		return 0;
	/* First the count: a batch that comes between the two is not counted, and one too many would be for ever. */
	atomic_store_explicit(&h->batches, 0, memory_order_relaxed);
	return atomic_exchange_explicit(&h->remote, 0, memory_order_acquire);
}

/*
 * The first of the next batch; what stands behind it is read before the object is anybody's. NULL: there is none, or
 * none until a batch that begins with a tiny object has been walked to its end.
 */
ASH_INLINE struct ash_object *ash_next_batch(uintptr_t *batches)
{
	struct ash_object *o = (struct ash_object *)(*batches & ~ASH_BATCH_TINY);

	if (o == NULL)
		return NULL;
	if (ASH_UNLIKELY(ash_tag_of_freed(o) == 0))
		ash_found_in_freed(o);
	*batches = (*batches & ASH_BATCH_TINY) == 0 ? o->batch : 0;
	return o;
}

/* The object behind one of whose link this is, in its batch or, if there is to be one more, in the next. */
ASH_INLINE struct ash_object *ash_next_linked(uintptr_t next, uintptr_t *batches, bool one_more)
{
	if (ASH_LIKELY((next & ASH_BATCH_END) == 0))
		return (struct ash_object *)next;
	/* Nobody has known what comes behind a tiny batch, so nothing is lost. */
	if (next != ASH_BATCH_END)
		*batches = next & ~ASH_BATCH_END;
	return one_more ? ash_next_batch(batches) : NULL;
}

/* Only a slab's object carries others. */
ASH_INLINE bool ash_may_carry(uint32_t tag, uint32_t nr)
{
	if (ASH_LIKELY((int32_t)tag > 0))
		return nr <= ash_class_carries[tag & ASH_TAG_CLASS_MASK] >> ASH_CARRIED_SHIFT;
	return tag != 0 && nr == 0;
}

/*
 * Whether an object, and the nr that it carries within 64 KiB, are objects of their slab. differs: the bits in which
 * their addresses do. Of a power of two these tell. Of other sizes: the inverse times a multiple of the size has the
 * quotient above 32 bits, and of what is none, no quotient is right.
 */
ASH_INLINE bool ash_carries_objects(const struct ash_object *o, uint32_t nr, uintptr_t differs, unsigned cls)
{
	const struct ash_class *c = &ash_classes[cls];
	const uint64_t inverse = (uint64_t)(UINT32_MAX / c->size) + 1;
	const char *first;
	bool all = true;

	if ((c->size & (c->size - 1)) == 0)
		return ((differs | (uintptr_t)o) & (c->size - 1)) == 0;
	first = ash_slab_objects(ash_slab_of(o, cls), c);
	for (uint32_t i = 0; i <= nr; i++) {
		const uint64_t at = (uint64_t)((const char *)(i < nr ? o->carried[i] : o) - first);
		const uint64_t index = at * inverse >> 32;

		all &= index < c->capacity && index * c->size == at;
	}
	return all;
}

/* To be read before the object or one that it carries is anybody's. */
ASH_INLINE struct ash_carrier ash_carrier_of(struct ash_object *o)
{
	const uint32_t tag = ash_tag_of_freed(o), cls = tag & ASH_TAG_CLASS_MASK;
	struct ash_carrier c = {
		.o = o, .next = o->link & ASH_LINK_MASK, .nr = (uint32_t)(o->link >> ASH_CARRIED_SHIFT)
	};
	uintptr_t differs = 0;

	if (ASH_UNLIKELY(c.next == 0 || !ash_may_carry(tag, c.nr)))
		ash_found_in_freed(o);
	__builtin_prefetch((void *)(c.next & ~(ASH_BATCH_END | ASH_BATCH_TINY)), 1);
	for (uint32_t i = 0; i < c.nr; i++)
		differs |= (uintptr_t)o->carried[i] ^ (uintptr_t)o;
	c.in_one_slab = c.nr != 0 && differs >> (ASH_PAGE_SHIFT + ASH_SLAB_MIN_ORDER) == 0;
	if (!c.in_one_slab)
		return c;
	if (ASH_UNLIKELY(!ash_carries_objects(o, c.nr, differs, cls)))
		ash_found_in_freed(o);
	/* Of sizes in turns it costs more than it gains. */
	for (uint32_t i = 0; i < c.nr; i++)
		__builtin_prefetch(o->carried[i], 1);
	return c;
}

/*
 * Whole batches of a list, one after the other, until so many objects have come: each carrier goes to `use`, which may
 * do with it and with what it carries as it likes. What is left of the list. Always a carrier ahead, whose lines are on
 * their way meanwhile.
 */
ASH_INLINE uintptr_t ash_batches_walk(uintptr_t batches, uint32_t objects,
				      void (*use)(void *arg, const struct ash_carrier *c), void *arg)
{
	struct ash_object *o = ash_next_batch(&batches);
	struct ash_carrier ahead;

	if (o != NULL)
		ahead = ash_carrier_of(o);
	while (o != NULL) {
		const struct ash_carrier c = ahead;

		objects -= (uint32_t)ash_min(c.nr + 1, objects);
		o = ash_next_linked(c.next, &batches, objects > 0);
		if (o != NULL)
			ahead = ash_carrier_of(o);
		use(arg, &c);
	}
	return batches;
}

#define ASH_BATCHES_ONE 1u          /* objects: the first batch to its end */
#define ASH_BATCHES_ALL UINT32_MAX

/* For who has no use for what lies together: in the order in which they were freed, as far as it is known. */
ASH_INLINE void ash_carrier_each(const struct ash_carrier *c, void (*use)(void *arg, struct ash_object *o), void *arg)
{
	for (uint32_t i = 0; i < c->nr; i++)
		use(arg, c->o->carried[i]);
	use(arg, c->o);
}

#endif
