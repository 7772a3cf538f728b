/* SPDX-License-Identifier: MIT */
/*
 * Slabs: frame runs cut into objects of one class, and the traffic between them and the arenas.
 *
 * A slab's state is its descriptor, out of line; the only thing ever written into an object is the link of a free
 * one. Slabs that nobody uses any more are kept by order, up to a share of the heap, because a load that empties and
 * refills a class would otherwise take the zone lock for every slab; the rest goes back to the arena at once.
 */
#include "heap/heap_internal.h"

/* Empty slabs kept: this many frames and an eighth of the heap's slabs, but no more than so many. */
#define EMPTY_KEEP_FRAMES 128
#define EMPTY_KEEP_SHIFT 3
#define EMPTY_KEEP_MAX 1024

/* Another heap's slab is worth taking when this share of it is to be had; so many of a list are looked at. */
enum { ROOM_SHARE = 4, ROOM_LOOKS = 4 };

struct ash_slab *ash_slabs;

void ash_slab_link_all(struct ash_heap *h, struct ash_slab *s)
{
	s->all_prev = NULL;
	s->all_next = h->all;
	if (h->all != NULL)
		h->all->all_prev = s;
	h->all = s;
}

void ash_slab_unlink_all(struct ash_heap *h, struct ash_slab *s)
{
	if (s->all_prev != NULL)
		s->all_prev->all_next = s->all_next;
	else
		h->all = s->all_next;
	if (s->all_next != NULL)
		s->all_next->all_prev = s->all_prev;
}

/*
 * The first is the next to use. It stays the first if it is lower in memory: so objects gather at low addresses, and
 * slabs above have a chance to become empty.
 */
static void slab_link_partial(struct ash_heap *h, struct ash_slab *s)
{
	struct ash_slab *after = h->partial[s->cls];
	struct ash_slab **link = &h->partial[s->cls];

	if (after == NULL || ash_slab_frame(s) < ash_slab_frame(after))
		after = NULL;
	else
		link = &after->next;
	s->prev = after;
	s->next = *link;
	if (s->next != NULL)
		s->next->prev = s;
	*link = s;
	s->partial = true;
}

ASH_EARLY void ash_slab_unlink_partial(struct ash_heap *h, struct ash_slab *s)
{
	if (s->prev != NULL)
		s->prev->next = s->next;
	else
		h->partial[s->cls] = s->next;
	if (s->next != NULL)
		s->next->prev = s->prev;
	s->partial = false;
}

static void slab_set_tags(const struct ash_slab *s, unsigned order, uint32_t tag)
{
	const size_t frame = ash_slab_frame(s);

	for (size_t i = 0; i < (size_t)1 << order; i++)
		ash_tag_store(frame + i, tag);
}

/* Of a heap's partly used slabs of a class one with much room, among the first few; NULL: none. */
struct ash_slab *ash_slab_with_room(const struct ash_heap *h, unsigned cls)
{
	const uint32_t capacity = ash_classes[cls].capacity;
	struct ash_slab *s = h->partial[cls];

	for (unsigned i = 0; s != NULL && i < ROOM_LOOKS; s = s->next, i++)
		if ((s->nr_free + capacity - s->carved) * ROOM_SHARE >= capacity)
			return s;
	return NULL;
}

/* None of the slab's objects is in from's bins. Those alive are freed to their new owner from now on; see remote.c. */
void ash_slab_change_owner(struct ash_slab *s, struct ash_heap *from, struct ash_heap *to)
{
	const unsigned order = ash_classes[s->cls].slab_order;

	ash_slab_unlink_partial(from, s);
	ash_slab_unlink_all(from, s);
	from->slab_frames -= (uint64_t)1 << order;
	s->owner = to;
	slab_set_tags(s, order, to->tag | s->cls);
	ash_slab_link_all(to, s);
	slab_link_partial(to, s);
	to->slab_frames += (uint64_t)1 << order;
}

/* Give a slab's frames back to the arena. Whatever lists it was on, it is on no more. */
void ash_slab_release(struct ash_heap *h, struct ash_slab *s)
{
	const unsigned order = ash_classes[s->cls].slab_order;

	slab_set_tags(s, order, 0);
	ash_slab_unlink_all(h, s);
	h->slab_frames -= (uint64_t)1 << order;
	if (ASH_UNLIKELY(h->moved))
		ash_run_come_home(ash_frame_address(ash_slab_frame(s)), (size_t)1 << order);
	ash_run_free(ash_frame_address(ash_slab_frame(s)), (size_t)1 << order);
}

static struct ash_slab *empty_pop(struct ash_heap *h, unsigned order)
{
	struct ash_slab **head = &h->empty[order - ASH_SLAB_MIN_ORDER];
	struct ash_slab *s = *head;

	if (s != NULL) {
		*head = s->next;
		h->empty_frames -= (uint64_t)1 << order;
	}
	return s;
}

void ash_heap_release_empty(struct ash_heap *h)
{
	for (unsigned order = ASH_SLAB_MIN_ORDER; order <= ASH_SLAB_MAX_ORDER; order++)
		for (struct ash_slab *s = empty_pop(h, order); s != NULL; s = empty_pop(h, order))
			ash_slab_release(h, s);
}

static void slab_start(struct ash_heap *h, struct ash_slab *s, unsigned cls)
{
	s->free = NULL;
	s->nr_free = 0;
	s->carved = 0;
	s->away = 0;
	s->nr_away = 0;
	s->alone = 0;
	s->cls = (uint8_t)cls;
	slab_link_partial(h, s);
}

static struct ash_slab *slab_from_arena(struct ash_heap *h, unsigned order)
{
	struct ash_slab *s;
	struct ash_run run;

	if (ash_run_alloc(h->zonelist, (size_t)1 << order, order, ASH_MT_UNMOVABLE, &run) != 0)
		return NULL;
	s = ash_slab_at(ash_frame_index(run.addr), order);
	s->cls = ASH_NR_CLASSES;
	s->owner = h;
	ash_slab_link_all(h, s);
	h->slab_frames += (uint64_t)1 << order;
	return s;
}

/* A slab with free or uncarved objects, at the head of its class's partial list; NULL when there is no memory. */
ASH_EARLY struct ash_slab *ash_slab_create(struct ash_heap *h, unsigned cls)
{
	const unsigned order = ash_classes[cls].slab_order;
	struct ash_slab *s = empty_pop(h, order);

	/* Before the heap grows, a little of what it has put aside; where it cannot grow, all. */
	if (s == NULL && h->depot_bytes != 0) {
		ash_depot_drain_some(h);
		s = empty_pop(h, order);
	}
	if (s == NULL) {
		s = ash_heap_take_slab(h, cls);
		if (s != NULL)
			return s;
		s = slab_from_arena(h, order);
	}
	while (s == NULL && h->depot_bytes != 0) {
		ash_depot_drain_some(h);
		s = empty_pop(h, order);
	}
	if (s == NULL)
		return NULL;
	if (s->cls != cls)
		slab_set_tags(s, order, h->tag | cls);
	slab_start(h, s, cls);
	return s;
}

/* A heap that shrinks may keep less with every slab that it gives back. */
static void empty_trim(struct ash_heap *h)
{
	const uint64_t keep = ash_min(EMPTY_KEEP_FRAMES + (h->slab_frames >> EMPTY_KEEP_SHIFT), EMPTY_KEEP_MAX);

	for (unsigned order = ASH_SLAB_MAX_ORDER; order >= ASH_SLAB_MIN_ORDER && h->empty_frames > keep;) {
		struct ash_slab *s = empty_pop(h, order);

		if (s != NULL)
			ash_slab_release(h, s);
		else
			order--;
	}
}

static ASH_EARLY ASH_NOINLINE void slab_became_empty(struct ash_heap *h, struct ash_slab *s)
{
	const unsigned order = ash_classes[s->cls].slab_order;
	struct ash_slab **head = &h->empty[order - ASH_SLAB_MIN_ORDER];

	ash_slab_unlink_partial(h, s);
	if (ASH_UNLIKELY(s->away != 0))
		ash_slab_forget_away(s);
	s->next = *head;
	*head = s;
	h->empty_frames += (uint64_t)1 << order;
	empty_trim(h);
}

/* Take nr linked objects back into their slab, which is one. The slab may be gone when this returns. */
ASH_EARLY void ash_slab_put(struct ash_heap *h, unsigned cls, struct ash_object *head, struct ash_object *tail,
			    uint32_t nr)
{
	struct ash_slab *s = ash_slab_of(head, cls);

	if (ASH_UNLIKELY(nr > s->carved - s->nr_free))
		ash_heap_corrupt("double free", head);
	tail->next = s->free;
	s->free = head;
	s->nr_free += nr;
	if (!s->partial)
		slab_link_partial(h, s);
	if (ASH_UNLIKELY(s->nr_free == s->carved))
		slab_became_empty(h, s);
}
