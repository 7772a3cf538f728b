/* SPDX-License-Identifier: MIT */
/*
 * A thread's depot: full bins put aside as they are, for when the bin runs dry.
 *
 * To give objects back to slabs, their list has to be walked, link by link, which takes longer than freeing them did. A
 * bin that is full becomes a magazine instead (Bonwick and Adams 2001, with a depot per thread, so without its lock)
 * and comes back whole: a load that frees much and then allocates as much, walks nothing.
 *
 * The way to the next magazine and the number of objects are 64 bits, which stand in the links of a magazine's first
 * four objects, 16 in each above the address: the smallest objects have no other room. What is in a depot keeps its
 * slabs from becoming empty. Therefore a depot is bounded by a share of its heap, some of it goes to slabs before the
 * heap grows, and it is emptied with its bin: by the sweep of a decay time, a trim, the thread's end.
 */
#include "heap/heap_internal.h"

#define DEPOT_MIN_BYTES ((uint64_t)256 << 10)
#define DEPOT_MAX_BYTES ((uint64_t)4 << 20)
#define DEPOT_SHARE 4        /* of the heap's slabs */
#define DEPOT_OBJECTS 32768u /* of a class: who empties it walks them all, and some thread's malloc waits meanwhile */

static bool has_room(const struct ash_heap *h, const struct ash_depot *depot, uint32_t nr, uint64_t bytes)
{
	const uint64_t share = (h->slab_frames << ASH_PAGE_SHIFT) / DEPOT_SHARE;

	return h->depot_bytes + bytes <= ash_min(ash_max(share, DEPOT_MIN_BYTES), DEPOT_MAX_BYTES) &&
	       depot->nr + nr <= DEPOT_OBJECTS && !h->first_class;
}

enum { STOWED_IN = 4, STOWED_BITS = 16 };
ASH_BUILD_ASSERT(DEPOT_OBJECTS <= UINT16_MAX, "the number of a magazine's objects is stowed in 16 bits");

/* In the objects behind last. false: there are too few. */
static bool stow(struct ash_object *last, uint64_t what)
{
	struct ash_object *of[STOWED_IN], *o = last;

	for (unsigned i = 0; i < STOWED_IN; i++) {
		o = o->next;
		if (o == NULL)
			return false;
		of[i] = o;
	}
	/* In a ring, as a second free makes it, one would be written to twice, which nobody could read again. */
	if (ASH_UNLIKELY(o == of[0] || o == of[1] || o == of[2] || o == last))
		ash_heap_corrupt("double free", o);
	for (unsigned i = 0; i < STOWED_IN; i++)
		of[i]->link |= what >> (i * STOWED_BITS) << ASH_LINK_BITS;
	return true;
}

static ASH_COLD ASH_NORETURN void spoilt(const struct ash_object *o)
{
	ash_heap_corrupt("double free, or write to a freed object", o);
}

/* What was stowed in the links, which are links again. */
static uint64_t unstow(struct ash_object *first)
{
	struct ash_object *o = first;
	uint64_t what = 0;

	for (unsigned i = 0; i < STOWED_IN; i++) {
		if (ASH_UNLIKELY(ash_is_foreign(o)))
			spoilt(first);
		what = what >> STOWED_BITS | (o->link & ~ASH_LINK_MASK);
		o->link &= ASH_LINK_MASK;
		o = o->next;
	}
	return what;
}

/* All of nr objects in a full bin but the one freed last, which is there for the next malloc. false: the depot is
 * full. */
bool ash_depot_put(struct ash_heap *h, unsigned cls, uint32_t nr)
{
	struct ash_depot *depot = &h->depot[cls];
	struct ash_object *last = h->bins.head[cls], *first = last->next;
	const uint64_t bytes = (uint64_t)(nr - 1) * ash_classes[cls].size;

	if (!has_room(h, depot, nr, bytes))
		return false;
	if (!stow(last, (uint64_t)(nr - 1) << ASH_LINK_BITS | (uintptr_t)depot->first))
		return false;
	depot->first = first;
	depot->nr += nr - 1;
	h->depot_bytes += bytes;
	last->next = NULL;
	h->bins.extra[cls] = 0;
	h->bins.room[cls] = (int32_t)ash_classes[cls].cache_max - 1;
	return true;
}

static struct ash_object *take(struct ash_heap *h, unsigned cls, uint32_t *nr)
{
	struct ash_depot *depot = &h->depot[cls];
	struct ash_object *first = depot->first;
	const uint64_t what = unstow(first);

	*nr = (uint32_t)(what >> ASH_LINK_BITS);
	depot->first = (struct ash_object *)(what & ASH_LINK_MASK);
	if (ASH_UNLIKELY(*nr < STOWED_IN || *nr > depot->nr || (depot->first == NULL) != (*nr == depot->nr)))
		spoilt(first);
	depot->nr -= *nr;
	h->depot_bytes -= (uint64_t)*nr * ash_classes[cls].size;
	return first;
}

/* Into a bin that is empty. false: there is no magazine. */
ASH_EARLY bool ash_depot_take(struct ash_heap *h, unsigned cls)
{
	const uint32_t max = ash_classes[cls].cache_max;
	uint32_t nr;

	if (h->depot[cls].first == NULL)
		return false;
	h->bins.head[cls] = take(h, cls, &nr);
	h->bins.extra[cls] = nr > max ? (int32_t)(nr - max) : 0;
	h->bins.room[cls] = (int32_t)max + h->bins.extra[cls] - (int32_t)nr;
	return true;
}

/* Up to so many magazines of a class go to their slabs. How many did. */
ASH_EARLY uint32_t ash_depot_drain(struct ash_heap *h, unsigned cls, uint32_t most)
{
	uint32_t done = 0, nr;

	for (; done < most && h->depot[cls].first != NULL; done++)
		(void)ash_list_give_back(h, cls, take(h, cls, &nr), UINT32_MAX);
	return done;
}

/* Before the heap grows: one class after the other gives so much that it is no long wait. */
void ash_depot_drain_some(struct ash_heap *h)
{
	enum { MAGAZINES = 8 };
	uint32_t done = 0;

	for (unsigned i = 0; i < ASH_NR_CLASSES && h->depot_bytes != 0 && done < MAGAZINES; i++) {
		done += ash_depot_drain(h, h->depot_class, MAGAZINES - done);
		if (h->depot[h->depot_class].first == NULL)
			h->depot_class = (uint8_t)((h->depot_class + 1u) % ASH_NR_CLASSES);
	}
}
