/* SPDX-License-Identifier: MIT */
/*
 * Frees by a thread that does not own the object.
 *
 * The object goes home, so that a slab is touched by its owner alone, needs no lock, and two threads never share a
 * cache line they did not share before. It is collected in an outbox per destination (the push is inline, in fast.h); a
 * full outbox is put before the owner's remote list, a list of such batches, with one compare-and-swap. The owner takes
 * the whole list with one exchange when a bin runs dry and it has nothing taken left.
 *
 * What that costs are cache lines. An object that is freed lies in its owner's cache, as a rule, and one that is linked
 * into a batch is taken from there and fetched back. So one object in several is linked, and carries the addresses of
 * the others, which nobody touches on their way. An owner brings home a bounded part of what it has taken at a time, so
 * that its lines are still in the cache when they are handed out, and what its bins have no room for goes to slabs,
 * which put together again what has come in any order (decision 024).
 *
 * The list of batches is linked through the first objects of each, in their second words. An object of the smallest
 * class has none: what comes behind a batch that begins with one stands in the link of its last object, and who walks
 * it knows when he is there.
 *
 * An owner that does not run takes nothing home, and with more threads than processors many do not: others would free
 * to it all that they have, and grow new slabs for what they allocate. So who has a batch for a heap where many wait
 * keeps for himself what he has room for, up to three quarters of his bins, of classes that he allocates himself. Those
 * objects are still their owner's: a bin that is emptied gives them to him.
 *
 * Memory order: the splice is a release (the links and the program's own last writes to the object), the owner's
 * exchange an acquire. Between an owner that becomes an orphan and a sender, both sides store and then load with
 * sequential consistency, so that at least one of them sees the other and drains (ash_heap_thread_exit).
 *
 * A slab may be taken from an orphan while objects of it are on their way there. So whoever brings an object home reads
 * its tag again, and sends on what has moved. It reads the new owner's or a later one's: a slab is taken under
 * ash_heaps.lock, and the old owner has been an orphan then, which nobody acts for without that lock.
 *
 * First-class heaps get their objects at once, unbatched: ash_heap_reset() must find every object freed before it.
 */
#include "heap/fast.h"

#define BATCHES_MANY 4u /* up to 96 KiB */
#define KEEP_FREE 4     /* of a bin, for what its thread frees of its own */

/* From head by their links to tail, whose link has ASH_BATCH_END. */
struct batch {
	struct ash_object *head, *tail;
};

/*
 * Whether an object on a list of others has one word only. The tag of a large run, which it may be, has no class in it.
 * What carries something is spared the look.
 */
static bool is_tiny(const struct ash_object *o)
{
	return o->link >> ASH_CARRIED_SHIFT == 0 &&
	       (ash_tag_load(ash_frame_index(o)) & (ASH_TAG_LARGE | ASH_TAG_CLASS_MASK)) == ASH_CLASS_OF_8;
}

static void splice(struct ash_heap *h, struct batch b)
{
	const bool tiny = is_tiny(b.head);
	const uintptr_t batch = (uintptr_t)b.head | (tiny ? ASH_BATCH_TINY : 0), beside = tiny ? b.tail->link : 0;
	uintptr_t *const before = tiny ? &b.tail->link : &b.head->batch;
	uintptr_t old = atomic_load_explicit(&h->remote, memory_order_relaxed);

	(void)atomic_fetch_add_explicit(&h->batches, 1, memory_order_relaxed);
	do {
		*before = beside | old;
	} while (!atomic_compare_exchange_weak_explicit(&h->remote, &old, batch, memory_order_seq_cst,
							memory_order_relaxed));
}

/* Put a batch, freed by the calling thread, on h's remote list. */
static void send(struct ash_heap *h, struct batch b)
{
	splice(h, b);
	if (ASH_UNLIKELY(atomic_load_explicit(&h->state, memory_order_seq_cst) == ASH_HEAP_ORPHAN))
		ash_heaps_orphan_drain(h);
}

void ash_remote_send_one(struct ash_heap *h, struct ash_object *o)
{
	o->link = ASH_BATCH_END;
	send(h, (struct batch){ o, o });
}

/*
 * What an object carries, and the next of its batch or ASH_BATCH_END and what it stands beside: to be read before the
 * object or one of those is anybody's.
 */
struct load {
	uintptr_t next;
	uint32_t nr;
};

static struct load load_of(const struct ash_object *o)
{
	return (struct load){ o->link & ASH_LINK_MASK, (uint32_t)(o->link >> ASH_CARRIED_SHIFT) };
}

/* An object's tag. Somebody may have written to what was free already, and it carried addresses. */
static uint32_t tag_of(const struct ash_object *o)
{
	const size_t frame = ash_frame_index(o);

	if (ASH_UNLIKELY(frame >= ash_registry.nr_frames))
		ash_heap_corrupt("an object was written to after it was freed, and this found in it", o);
	return ash_tag_load(frame);
}

/* A cached object keeps its slab from being given back, unless it was freed twice. */
static struct ash_heap *owner_of(const struct ash_object *o, uint32_t tag)
{
	if (ASH_UNLIKELY((int32_t)tag <= 0))
		ash_heap_corrupt("double free", o);
	return ash_heap_by_tag(tag);
}

/* Who allocates nothing of a class has no use for its objects, and would keep them from their owner. */
static bool has_use(const struct ash_heap *self, unsigned cls)
{
	return (self->refilled >> cls & 1) != 0 && self->bins[cls].room > ash_classes[cls].cache_max / KEEP_FREE;
}

/* Whether self has use for the object, which is in its bin then. */
static bool keep_one(struct ash_heap *self, struct ash_object *o)
{
	const unsigned cls = tag_of(o) & ASH_TAG_CLASS_MASK;

	if (!has_use(self, cls))
		return false;
	self->keeps_others = true;
	ash_bin_push(self, cls, o);
	return true;
}

/*
 * Of a batch that was not sent what self has use for goes into its bins. What is left, each object for itself; a head
 * of NULL: nothing. Not inline: it is seldom, and every batch would pay for the registers that it needs.
 */
static ASH_NOINLINE struct batch keep_some(struct ash_heap *self, struct ash_object *o)
{
	struct batch left = { NULL, NULL };
	struct load l;

	do {
		l = load_of(o);
		for (uint32_t i = 0; i <= l.nr; i++) {
			struct ash_object *one = i < l.nr ? o->carried[i] : o;

			if (keep_one(self, one))
				continue;
			one->link = left.head != NULL ? (uintptr_t)left.head : ASH_BATCH_END;
			left.tail = left.head != NULL ? left.tail : one;
			left.head = one;
		}
		o = (struct ash_object *)l.next;
	} while (l.next != ASH_BATCH_END);
	return left;
}

static bool is_long(const struct ash_heap *h)
{
	return atomic_load_explicit(&h->batches, memory_order_relaxed) >= BATCHES_MANY;
}

/*
 * Whether a batch that begins with o is worth a look. Who only consumes has no use for it, and does not look at each
 * object.
 */
static bool may_keep(const struct ash_heap *self, const struct ash_heap *h, const struct ash_object *o)
{
	return ASH_UNLIKELY(is_long(h)) && has_use(self, ash_tag_load(ash_frame_index(o)) & ASH_TAG_CLASS_MASK) &&
	       ash_heap_is_near(self, o);
}

/* keep: what comes back to self's bins is welcome there. */
static void outbox_send(struct ash_heap *self, struct ash_outbox *box, bool keep)
{
	struct batch b = { (struct ash_object *)box->head, box->tail };
	struct ash_heap *h = ash_heap_by_tag(box->differs ^ (uint32_t)self->tag);

	b.head->link -= (uintptr_t)(box->end - box->at) << ASH_CARRIED_SHIFT;
	self->remote_frees += (uint32_t)box->credit;
	box->differs = 0;
	box->credit = 0;
	if (keep && may_keep(self, h, b.head))
		b = keep_some(self, b.head);
	if (b.head != NULL)
		send(h, b);
}

void ash_remote_flush(struct ash_heap *self)
{
	for (unsigned i = 0; i < ASH_OUTBOXES; i++)
		if (self->outbox[i].differs != 0)
			outbox_send(self, &self->outbox[i], false);
}

static void outbox_start(struct ash_outbox *box, struct ash_object *o, uint32_t differs)
{
	const unsigned cls = differs & ASH_TAG_CLASS_MASK;

	box->differs = differs & ~ASH_TAG_CLASS_MASK;
	box->credit = ((int64_t)ASH_OUTBOX_BYTES << 32) - ash_class_cost[cls];
	box->head = ASH_BATCH_END;
	box->tail = o;
	box->at = box->end = NULL;
	ash_outbox_carry(box, o, cls);
}

void ash_remote_give(struct ash_heap *self, struct ash_object *head, struct ash_object *tail)
{
	const uint32_t tag = ash_tag_load(ash_frame_index(head)), differs = tag ^ (uint32_t)self->tag;
	struct ash_outbox *box = ash_outbox_of(self, differs);

	(void)owner_of(head, tag); /* which ends the program if it was freed twice */
	tail->next = NULL;
	while (head != NULL) {
		struct ash_object *next = head->next;

		if (!ash_outbox_push(self, head, differs)) {
			if (box->differs != 0)
				outbox_send(self, box, false);
			outbox_start(box, head, differs);
		}
		head = next;
	}
}

/* tag: the object's; a slab's, of an owner that is not self. A full outbox goes first, so an object always finds
 * one. */
void ash_remote_free(struct ash_heap *self, struct ash_object *o, uint32_t tag)
{
	const uint32_t differs = tag ^ (uint32_t)self->tag;
	struct ash_heap *h = ash_heap_by_tag(tag);
	struct ash_outbox *box = ash_outbox_of(self, differs);

	if (h->first_class) {
		ash_remote_send_one(h, o);
		return;
	}
	if (box->differs != 0)
		outbox_send(self, box, true);
	outbox_start(box, o, differs);
}

/* The list of batches: 0 or its first, to be given to next_batch(). */
static uintptr_t remote_take(struct ash_heap *h)
{
	if (atomic_load_explicit(&h->remote, memory_order_relaxed) == 0)
		return 0;
	/* First the count: a batch that comes between the two is not counted, and one too many would be for ever. */
	atomic_store_explicit(&h->batches, 0, memory_order_relaxed);
	return atomic_exchange_explicit(&h->remote, 0, memory_order_acquire);
}

/* To its bin, or to its slab if the bin is full: a bin that overflowed would be walked once more. */
static void bring_home(struct ash_heap *h, struct ash_object *o)
{
	const uint32_t tag = tag_of(o);
	const size_t cls = tag ^ h->tag;

	if (ASH_UNLIKELY(cls >= ASH_NR_CLASSES)) {
		if ((tag & ASH_TAG_LARGE) != 0)
			ash_large_release(h, ash_slab_at(ash_frame_index(o), ASH_SLAB_MIN_ORDER));
		else
			ash_remote_send_one(owner_of(o, tag), o);
	} else if (h->bins[cls].room > 0) {
		ash_bin_push(h, cls, o);
	} else {
		ash_slab_put(h, (unsigned)cls, o, o, 1);
	}
}

/*
 * The first of the next batch; what stands behind it is read before the object is anybody's. NULL: there is none, or
 * none until a batch that begins with a tiny object has been walked to its end.
 */
static struct ash_object *next_batch(uintptr_t *batches)
{
	struct ash_object *o = (struct ash_object *)(*batches & ~ASH_BATCH_TINY);

	if (o != NULL)
		*batches = (*batches & ASH_BATCH_TINY) == 0 ? o->batch : 0;
	return o;
}

/* The object behind one of whose link this is, in its batch or, if there is to be one more, in the next. */
static struct ash_object *next_object(uintptr_t next, uintptr_t *batches, bool one_more)
{
	if (ASH_LIKELY((next & ASH_BATCH_END) == 0))
		return (struct ash_object *)next;
	/* Nobody has known what comes behind a tiny batch, so nothing is lost. */
	if (next != ASH_BATCH_END)
		*batches = next & ~ASH_BATCH_END;
	return one_more ? next_batch(batches) : NULL;
}

/* An object and what it carries, which come home together; in one slab, if they are in as much as the smallest has. */
struct group {
	struct ash_object *o;
	struct load load;
	bool in_one_slab;
};

static struct group group_of(struct ash_object *o)
{
	struct group g = { .o = o, .load = load_of(o) };
	uintptr_t differs = 0;

	__builtin_prefetch((void *)(g.load.next & ~(ASH_BATCH_END | ASH_BATCH_TINY)), 1);
	for (uint32_t i = 0; i < g.load.nr; i++)
		differs |= (uintptr_t)o->carried[i] ^ (uintptr_t)o;
	g.in_one_slab = g.load.nr != 0 && differs >> (ASH_PAGE_SHIFT + ASH_SLAB_MIN_ORDER) == 0;
	/* Of sizes in turns it costs more than it gains. */
	if (g.in_one_slab)
		for (uint32_t i = 0; i < g.load.nr; i++)
			__builtin_prefetch(o->carried[i], 1);
	return g;
}

static void bring_group_home(struct ash_heap *h, const struct group *g)
{
	struct ash_object *o = g->o;
	const size_t cls = tag_of(o) ^ h->tag;

	if (g->in_one_slab && cls < ASH_NR_CLASSES && h->bins[cls].room <= 0) {
		/* In the order in which they were freed, which is often that of their addresses. */
		for (uint32_t i = 0; i < g->load.nr; i++)
			o->carried[i]->next = i + 1 < g->load.nr ? o->carried[i + 1] : o;
		ash_slab_put(h, (unsigned)cls, o->carried[0], o, g->load.nr + 1);
		return;
	}
	for (uint32_t i = 0; i < g->load.nr; i++)
		bring_home(h, o->carried[i]);
	bring_home(h, o);
}

/*
 * Bring home some of what others freed: whole batches, until this many objects have come. One after the other, because
 * objects of a slab that were handed out in a row are freed in a row, as a rule, and stay together so. What is left
 * waits in h->home, untouched: to bring it home now is to have its cache lines twice. From there others may take it,
 * too (waiting.c). True when there was anything.
 */
bool ash_remote_drain_some(struct ash_heap *h)
{
	uintptr_t batches = ash_batches_take(&h->home);
	struct ash_object *o;
	struct group g;
	uint32_t nr = 0;

	if (batches == 0)
		batches = remote_take(h);
	o = next_batch(&batches);
	if (o == NULL)
		return false;
	/* Always a group ahead, whose lines are on their way meanwhile. */
	for (g = group_of(o); o != NULL;) {
		const struct group here = g;

		nr += here.load.nr + 1;
		o = next_object(here.load.next, &batches, nr < ASH_REMOTE_SOME);
		if (o != NULL)
			g = group_of(o);
		bring_group_home(h, &here);
	}
	/* Nobody else makes it anything but 0. Who takes it reads what its senders wrote. */
	if (batches != 0)
		atomic_store_explicit(&h->home, batches, memory_order_release);
	return true;
}

/* All of it. */
bool ash_remote_drain(struct ash_heap *h)
{
	bool any = false;

	while (ash_remote_drain_some(h))
		any = true;
	return any;
}

/* Under ash_heaps.lock, where no heap becomes an orphan or ceases to be one. */
static void bring_to_slab(struct ash_object *o)
{
	const uint32_t tag = tag_of(o);
	struct ash_heap *h = owner_of(o, tag);

	if (ASH_LIKELY(atomic_load_explicit(&h->state, memory_order_relaxed) == ASH_HEAP_ORPHAN)) {
		ash_slab_put(h, tag & ASH_TAG_CLASS_MASK, o, o, 1);
		if (h->empty_frames != 0)
			ash_heap_release_empty(h);
		return;
	}
	o->link = ASH_BATCH_END;
	splice(h, (struct batch){ o, o });
}

/* The same for an orphan, which has no use for bins; with ash_heaps.lock held. */
void ash_remote_drain_to_slabs(struct ash_heap *h)
{
	uintptr_t batches = remote_take(h);
	struct ash_object *o = next_batch(&batches);

	while (o != NULL) {
		const struct load l = load_of(o);
		struct ash_object *next = next_object(l.next, &batches, true);

		for (uint32_t i = 0; i < l.nr; i++)
			bring_to_slab(o->carried[i]);
		bring_to_slab(o);
		o = next;
	}
}

uintptr_t ash_remote_take_long(const struct ash_heap *self, struct ash_heap *h)
{
	const uintptr_t first = atomic_load_explicit(&h->remote, memory_order_relaxed);
	const uintptr_t left = atomic_load_explicit(&h->home, memory_order_relaxed);

	if (is_long(h) && ash_heap_is_near(self, (const void *)first))
		return remote_take(h);
	return ash_heap_is_near(self, (const void *)left) ? ash_batches_take(&h->home) : 0;
}

static void use_one(struct ash_heap *self, struct ash_object *o)
{
	if ((tag_of(o) ^ self->tag) < ASH_NR_CLASSES)
		bring_home(self, o);
	else if (!keep_one(self, o))
		ash_remote_give(self, o, o);
}

uintptr_t ash_remote_use_batch(struct ash_heap *self, uintptr_t batches)
{
	struct ash_object *o = next_batch(&batches);
	struct load l;

	do {
		l = load_of(o);
		for (uint32_t i = 0; i < l.nr; i++)
			use_one(self, o->carried[i]);
		use_one(self, o);
		o = (struct ash_object *)l.next;
	} while ((l.next & ASH_BATCH_END) == 0);
	/* Behind a batch that begins with a tiny object the next stands in its last link. */
	return l.next != ASH_BATCH_END ? l.next & ~ASH_BATCH_END : batches;
}
