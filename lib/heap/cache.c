/* SPDX-License-Identifier: MIT */
/*
 * Between bins and slabs: refill when a bin is empty, give back when it is full.
 *
 * A refill takes a slab's whole free list in one step, however long, so it costs the same for one object as for a
 * thousand; the links were written when the objects were freed. A flush is the only place where a free touches slab
 * descriptors; a bin that overflows gives a part of itself back.
 */
#include "heap/fast.h"

#include "os/clock.h"

#define CARVE_GROWTH 2u
#define OVERFLOW_BATCH 64u /* objects, at most */
#define BORROW_MAX 2048u   /* bytes */
#define STOCKED_SHARE 4u   /* of a bin */

/* Make the next few objects of a slab's untouched tail, in address order: the more, the more it has made already. */
static unsigned slab_carve(struct ash_slab *s, const struct ash_class *c, struct ash_object **list)
{
	const uint32_t more = (uint32_t)ash_min(ash_max(c->carve, s->carved), CARVE_GROWTH * c->carve);
	const unsigned nr = (unsigned)ash_min(more, c->capacity - s->carved);
	char *first = ash_slab_objects(s, c) + (size_t)s->carved * c->size;
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

/*
 * A heap's first objects of a class come from the class of the next power of two, as many as one page of their own
 * would hold: a small process has a few objects each of twenty sizes, and a page is a fault. It has room for them, and
 * is aligned as they are and more. Sizes of which few fit a page gain nothing. NULL: not any more, or no memory.
 */
static void *borrow(struct ash_heap *h, unsigned cls)
{
	const struct ash_class *c = &ash_classes[cls];
	const unsigned from = ash_class_of((size_t)1 << ash_log2_ceil(c->size));
	void *p;

	if (from == cls || c->size > BORROW_MAX || h->borrowed[cls] >= c->carve)
		return NULL;
	h->borrowed[cls]++;
	p = ash_bin_pop(h, from);
	return p != NULL ? p : ash_bin_refill(h, from);
}

/* Whether a slab has so much that nothing need come home first: or slabs would gather all there is, and be cold. */
static bool is_stocked(const struct ash_slab *s, const struct ash_class *c)
{
	return s != NULL && s->nr_free - s->nr_away > c->cache_max / STOCKED_SHARE;
}

/*
 * Some of what others freed comes home, and if that leaves nothing of the class but a new slab, more of it. Whether the
 * bin has any then.
 */
static bool bring_some(struct ash_heap *h, unsigned cls)
{
	while (ash_remote_drain_some(h) && h->bins.head[cls] == NULL)
		if (h->depot[cls].first != NULL || h->partial[cls] != NULL)
			break;
	return h->bins.head[cls] != NULL;
}

/* An object of class cls for h, and more of them in its bin; NULL when there is no memory. */
ASH_EARLY void *ash_bin_refill(struct ash_heap *h, unsigned cls)
{
	const struct ash_class *c = &ash_classes[cls];
	struct ash_slab *s;
	unsigned nr;

	h->refilled |= (uint64_t)1 << cls;
	if (ASH_UNLIKELY(h->sweep_skip-- == 0)) {
		(void)ash_heap_decay(h);
		/* A turn of sweeps brings home what others freed. */
		if (h->bins.head[cls] != NULL)
			return ash_bin_pop(h, cls);
	}
	if ((ash_remote_waits(h) && !is_stocked(h->partial[cls], c) && bring_some(h, cls)) || ash_depot_take(h, cls))
		return ash_bin_pop(h, cls);

	s = h->partial[cls];
	if (s == NULL) {
		void *p = borrow(h, cls);

		if (p == NULL && h->empty[c->slab_order - ASH_SLAB_MIN_ORDER] == NULL)
			p = ash_waiting_alloc(h, cls);
		if (p != NULL)
			return p;
		s = ash_slab_create(h, cls);
		if (s == NULL)
			return NULL;
	}
	if (s->free != NULL) {
		h->bins.head[cls] = s->free;
		nr = s->nr_free - s->nr_away;
		s->free = NULL;
		s->nr_free = s->nr_away;
		s->alone = 0;
	} else if (ASH_LIKELY(s->away == 0)) {
		nr = slab_carve(s, c, &h->bins.head[cls]);
	} else {
		nr = ash_slab_come_back(s, &h->bins.head[cls]);
		s->alone = 0;
	}
	if (s->carved == c->capacity && s->away == 0)
		ash_slab_unlink_partial(h, s);
	/* However much came, half a bin of frees must fit before the next flush. */
	h->bins.extra[cls] = nr > c->cache_max / 2u ? (int32_t)(nr - c->cache_max / 2u) : 0;
	h->bins.room[cls] = (int32_t)c->cache_max + h->bins.extra[cls] - (int32_t)nr;
	return ash_bin_pop(h, cls);
}

/*
 * How many objects from head on are linked one to the next within head's slab, up to most; *last is the last of them.
 * NULL differs from every object in the bits that name the slab. Nearly all that is freed comes through here: four at a
 * time.
 */
static uint32_t linked_in_slab(struct ash_object *head, uint32_t most, uintptr_t slab_bytes, struct ash_object **last)
{
	struct ash_object *o = head, *next = o->next;
	uint32_t nr = 1;

#define ONE_MORE()                                                                                                     \
	do {                                                                                                           \
		if (((uintptr_t)next ^ (uintptr_t)head) >= slab_bytes)                                                 \
			goto end;                                                                                      \
		o = next;                                                                                              \
		next = o->next;                                                                                        \
		nr++;                                                                                                  \
	} while (0)
	while (nr + 4 <= most) {
		ONE_MORE();
		ONE_MORE();
		ONE_MORE();
		ONE_MORE();
	}
	while (nr < most)
		ONE_MORE();
#undef ONE_MORE
end:
	*last = o;
	return nr;
}

ASH_EARLY struct ash_object *ash_list_give_back(struct ash_heap *h, unsigned cls, struct ash_object *head,
						uint32_t most)
{
	const uintptr_t slab_bytes = (uintptr_t)ASH_PAGE_SIZE << ash_classes[cls].slab_order;
	const uint32_t capacity = ash_classes[cls].capacity;

	/*
	 * Neighbours in a list are often of one slab, and linked already: they go home as one list. After a double free
	 * it is a ring; no more than a slab holds is looked at before ash_slab_put() finds out.
	 */
	while (head != NULL && most > 0) {
		struct ash_object *last, *next;
		const uint32_t nr = linked_in_slab(head, ash_min(most, capacity + 1u), slab_bytes, &last);

		next = last->next;
		if (ASH_LIKELY(((ash_tag_load(ash_frame_index(head)) ^ h->tag) & ~(size_t)ASH_TAG_CLASS_MASK) == 0))
			ash_slab_put(h, cls, head, last, nr);
		else
			ash_remote_give(h, head, last);
		most -= nr;
		head = next;
	}
	return head;
}

void ash_bin_flush(struct ash_heap *h, unsigned cls)
{
	(void)ash_depot_drain(h, cls, UINT32_MAX);
	(void)ash_list_give_back(h, cls, h->bins.head[cls], UINT32_MAX);
	h->bins.head[cls] = NULL;
	h->bins.room[cls] = ash_classes[cls].cache_max;
	h->bins.extra[cls] = 0;
	h->refilled &= ~((uint64_t)1 << cls);
}

/*
 * One bin after the other is emptied, and at the end of a turn the slabs and runs that are kept: or a heap that has
 * shrunk would hold on to objects all over the memory that it had at its largest. A bin in use pays a refill for it.
 * Several turns in a decay time, because what a bin gives back has most of one to wait, in the arena.
 */
enum { SWEEPS = 8, SWEEP_WORK = 65536 };

static void sweep(struct ash_heap *h, uint64_t now, uint32_t decay_ms)
{
	const uint64_t step = decay_ms / (SWEEPS * ASH_NR_CLASSES) + 1;
	int64_t work = SWEEP_WORK;
	uint64_t nr = h->sweep_due != 0 ? ash_min((now - h->sweep_due) / step + 1, ASH_NR_CLASSES) : 0;

	h->sweep_due = now + step;
	for (; nr > 0; nr--) {
		ash_bin_flush(h, h->sweep_class);
		ash_heap_thin(h, h->sweep_class, &work);
		if (++h->sweep_class < ASH_NR_CLASSES)
			continue;
		h->sweep_class = 0;
		(void)ash_remote_drain(h);
		ash_heap_thin_turn(h);
		ash_waiting_flush(h);
		ash_remote_flush(h);
		ash_heap_release_empty(h);
		ash_large_drop_kept(h);
	}
}

ASH_EARLY size_t ash_heap_decay(struct ash_heap *h)
{
	const uint32_t decay_ms = ash_arena_config()->decay_ms;
	const uint64_t now = decay_ms != UINT32_MAX ? ash_clock_ms() : 0;

	if (now >= h->sweep_due && !h->first_class && decay_ms != UINT32_MAX)
		sweep(h, now, decay_ms);
	return ash_arena_decay_at(now);
}

/* For a thread that ends: the objects stay of which many are little memory, for the next thread to start with. */
void ash_heap_flush_bigger(struct ash_heap *h, uint32_t bytes)
{
	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++)
		if (h->depot[cls].first != NULL || ash_bin_held(h, cls) * ash_classes[cls].size > bytes)
			ash_bin_flush(h, cls);
}

/*
 * The cold end of a free: errno is the caller's, and the arena may make system calls. What goes is a bounded number of
 * the objects freed last, because their links are still in the cache. The rest stays, so that a load that frees and
 * allocates at random is not back here, or in a refill, a moment later. Of what a refill brought beyond half a bin, and
 * what came home from other threads, twice as many go as may come before the next time.
 */
void ash_bin_overflow(struct ash_heap *h, unsigned cls)
{
	const uint32_t max = ash_classes[cls].cache_max, batch = ash_min(max / 2, OVERFLOW_BATCH), keep = max - batch;
	const uint32_t held = ash_bin_held(h, cls), gone = ash_min(held - keep, 2 * batch), left = held - gone;

	if (!ash_depot_put(h, cls, held)) {
		h->bins.head[cls] = ash_list_give_back(h, cls, h->bins.head[cls], gone);
		h->bins.extra[cls] = left > keep ? (int32_t)(left - keep) : 0;
		h->bins.room[cls] = (int32_t)(max - left) + h->bins.extra[cls];
	}
	(void)ash_heap_decay(h);
}

void ash_bin_double_free(const void *p)
{
	ash_heap_corrupt("double free", p);
}

void ash_heap_flush(struct ash_heap *h)
{
	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++)
		ash_bin_flush(h, cls);
}
