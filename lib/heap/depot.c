/* SPDX-License-Identifier: MIT */
/*
 * A thread's depot: full bins put aside as they are, for when the bin runs dry.
 *
 * To give objects back to slabs, their list has to be walked, link by link, which takes longer than freeing them did. A
 * bin that is full becomes a magazine instead (Bonwick and Adams 2001, with a depot per thread, so without its lock)
 * and comes back whole: a load that frees much and then allocates as much, walks nothing.
 *
 * A magazine's first object has the way to the next magazine, its second their number. What is in a depot keeps its
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

/* All of nr objects in a full bin but the one freed last, which is there for the next malloc. false: the depot is
 * full. */
bool ash_depot_put(struct ash_heap *h, unsigned cls, uint32_t nr)
{
	struct ash_bin *bin = &h->bins[cls];
	struct ash_depot *depot = &h->depot[cls];
	struct ash_object *last = bin->head, *first = last->next;
	const uint64_t bytes = (uint64_t)(nr - 1) * ash_classes[cls].size;

	if (!has_room(h, depot, nr, bytes) || nr < 3 || first == NULL || first->next == NULL)
		return false;
	first->magazine = depot->first;
	first->next->nr = nr - 1;
	depot->first = first;
	depot->nr += nr - 1;
	h->depot_bytes += bytes;
	last->next = NULL;
	bin->extra = 0;
	bin->room = (int32_t)ash_classes[cls].cache_max - 1;
	return true;
}

static struct ash_object *take(struct ash_heap *h, unsigned cls, uint32_t *nr)
{
	struct ash_depot *depot = &h->depot[cls];
	struct ash_object *first = depot->first;

	*nr = (uint32_t)first->next->nr;
	depot->first = first->magazine;
	depot->nr -= *nr;
	h->depot_bytes -= (uint64_t)*nr * ash_classes[cls].size;
	return first;
}

/* Into a bin that is empty. false: there is no magazine. */
bool ash_depot_take(struct ash_heap *h, unsigned cls)
{
	const uint32_t max = ash_classes[cls].cache_max;
	struct ash_bin *bin = &h->bins[cls];
	uint32_t nr;

	if (h->depot[cls].first == NULL)
		return false;
	bin->head = take(h, cls, &nr);
	bin->extra = nr > max ? (int32_t)(nr - max) : 0;
	bin->room = (int32_t)max + bin->extra - (int32_t)nr;
	return true;
}

/* Up to so many magazines of a class go to their slabs. How many did. */
uint32_t ash_depot_drain(struct ash_heap *h, unsigned cls, uint32_t most)
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
