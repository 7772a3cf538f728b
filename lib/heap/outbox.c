/* SPDX-License-Identifier: MIT */
/*
 * Frees by a thread that does not own the object: the sender's side.
 *
 * The object goes home, so that a slab is touched by its owner alone, needs no lock, and two threads never share a
 * cache line they did not share before. It is collected in an outbox per destination (the push is inline, in fast.h); a
 * full outbox is put before the owner's remote list, a list of such batches (batch.h), with one compare-and-swap. The
 * owner takes the whole list with one exchange when a bin runs dry and it has nothing taken left (remote.c).
 *
 * Memory order: the splice is a release (the links and the program's own last writes to the object), the owner's
 * exchange an acquire. Between an owner that becomes an orphan and a sender, both sides store and then load with
 * sequential consistency, so that at least one of them sees the other and drains (ash_heap_thread_exit).
 *
 * First-class heaps get their objects at once, unbatched: ash_heap_reset() must find every object freed before it.
 */
#include "heap/batch.h"
#include "heap/fast.h"

/*
 * Whether an object on a list of others has one word only. The tag of a large run, which it may be, has no class in it.
 * What carries something is spared the look.
 */
static bool is_tiny(const struct ash_object *o)
{
	return o->link >> ASH_CARRIED_SHIFT == 0 &&
	       (ash_tag_load(ash_frame_index(o)) & (ASH_TAG_LARGE | ASH_TAG_CLASS_MASK)) == ASH_CLASS_OF_8;
}

static void splice(struct ash_heap *h, struct ash_batch b)
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

/* Put a batch, freed by the calling thread, on h's remote list. With ash_heaps.lock held h is no orphan. */
static void send(struct ash_heap *h, struct ash_batch b)
{
	splice(h, b);
	if (ASH_UNLIKELY(atomic_load_explicit(&h->state, memory_order_seq_cst) == ASH_HEAP_ORPHAN))
		ash_heaps_orphan_drain(h);
}

void ash_remote_send_one(struct ash_heap *h, struct ash_object *o)
{
	o->link = ASH_BATCH_END;
	send(h, (struct ash_batch){ o, o });
}

static void outbox_send(struct ash_heap *self, struct ash_outbox *box)
{
	struct ash_batch b = { (struct ash_object *)box->head, box->tail };
	struct ash_heap *h = ash_heap_by_tag(box->differs ^ (uint32_t)self->tag);

	b.head->link -= (uintptr_t)(box->end - box->at) << ASH_CARRIED_SHIFT;
	self->remote_frees += (uint32_t)box->credit;
	box->differs = 0;
	box->keeps = 0;
	box->credit = 0;
	send(h, b);
}

void ash_remote_flush(struct ash_heap *self)
{
	for (unsigned i = 0; i < ASH_OUTBOXES; i++)
		if (self->outbox[i].differs != 0)
			outbox_send(self, &self->outbox[i]);
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

	(void)ash_owner_of_freed(head, tag); /* which ends the program if it was freed twice */
	tail->next = NULL;
	while (head != NULL) {
		struct ash_object *next = head->next;

		if (!ash_outbox_push(self, head, differs)) {
			if (box->differs != 0)
				outbox_send(self, box);
			outbox_start(box, head, differs);
		}
		head = next;
	}
}

/* While h takes nothing home, as many objects as an outbox holds may be kept instead (ash_outbox_keep()). */
static void outbox_close(struct ash_heap *self, struct ash_outbox *box, const struct ash_heap *h)
{
	if (ASH_LIKELY(!ash_remote_is_long(h)) || !ash_heap_is_near(self, box->tail))
		return;
	box->differs |= ASH_OUTBOX_CLOSED;
	box->keeps = ASH_OUTBOX_COUNT;
	self->keeps_others = true;
}

/*
 * tag: the object's; a slab's, of an owner that is not self. A full outbox goes first, so an object always finds one. A
 * closed one takes what was not kept. Who only consumes, or has full bins, closes none, and does not look at each
 * object; who has kept half as many as might be has use for more.
 */
void ash_remote_free(struct ash_heap *self, struct ash_object *o, uint32_t tag)
{
	const uint32_t differs = tag ^ (uint32_t)self->tag;
	struct ash_heap *h = ash_heap_by_tag(tag);
	struct ash_outbox *box = ash_outbox_of(self, differs);
	const bool closed = (differs ^ box->differs ^ ASH_OUTBOX_CLOSED) < ASH_NR_CLASSES;
	bool use = closed && box->keeps <= ASH_OUTBOX_COUNT / 2;

	if (h->first_class) {
		ash_remote_send_one(h, o);
		return;
	}
	if (closed)
		box->differs ^= ASH_OUTBOX_CLOSED;
	if (!closed || !ash_outbox_push(self, o, differs)) {
		if (box->differs != 0)
			outbox_send(self, box);
		outbox_start(box, o, differs);
		use = use || ash_heap_has_use(self, tag & ASH_TAG_CLASS_MASK);
	}
	if (box->keeps != 0)
		box->differs |= ASH_OUTBOX_CLOSED;
	else if (use)
		outbox_close(self, box, h);
}
