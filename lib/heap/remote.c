/* SPDX-License-Identifier: MIT */
/*
 * Frees by a thread that does not own the object.
 *
 * The object goes home, so that slabs stay with one owner, need no lock, and two threads never share a cache line they
 * did not share before. It is collected in an outbox per destination (the push is inline, in fast.h); a full outbox is
 * put before the owner's remote list, a list of such batches, with one compare-and-swap. The owner takes the whole list
 * with one exchange when a bin runs dry. Each of its objects is a miss in the sender's cache, and only behind it stands
 * where the next one is; so the owner walks several batches at once.
 *
 * Memory order: the splice is a release (the links and the program's own last writes to the object), the owner's
 * exchange an acquire. Between an owner that becomes an orphan and a sender, both sides store and then load with
 * sequential consistency, so that at least one of them sees the other and drains (ash_heap_thread_exit).
 *
 * First-class heaps get their objects at once, unbatched: ash_heap_reset() must find every object freed before it.
 */
#include "heap/fast.h"

/* Put a batch, freed by the calling thread, linked and ended by NULL, on h's remote list. */
static void send(struct ash_heap *h, struct ash_object *head)
{
	struct ash_object *old = atomic_load_explicit(&h->remote, memory_order_relaxed);

	do {
		head->batch = old;
	} while (!atomic_compare_exchange_weak_explicit(&h->remote, &old, head, memory_order_seq_cst,
							memory_order_relaxed));
	if (ASH_UNLIKELY(atomic_load_explicit(&h->state, memory_order_seq_cst) == ASH_HEAP_ORPHAN))
		ash_heaps_orphan_drain(h);
}

void ash_remote_send_one(struct ash_heap *h, struct ash_object *o)
{
	o->next = NULL;
	send(h, o);
}

static void outbox_send(struct ash_heap *self, struct ash_outbox *box)
{
	struct ash_object *head = box->head;
	const uint32_t owner = box->tag >> ASH_TAG_OWNER_SHIFT;

	self->remote_frees += (uint32_t)box->credit;
	box->tag = 0;
	box->credit = 0;
	send(ash_heaps.table[owner], head);
}

void ash_remote_flush(struct ash_heap *self)
{
	for (unsigned i = 0; i < ASH_OUTBOXES; i++)
		if (self->outbox[i].tag != 0)
			outbox_send(self, &self->outbox[i]);
}

/* tag: the object's; a slab's, of an owner that is not self. A full outbox goes first, so an object always finds one. */
void ash_remote_free(struct ash_heap *self, struct ash_object *o, uint32_t tag)
{
	const uint32_t owner = tag >> ASH_TAG_OWNER_SHIFT;
	struct ash_outbox *box = &self->outbox[owner % ASH_OUTBOXES];

	if (ash_heaps.table[owner]->first_class) {
		ash_remote_send_one(ash_heaps.table[owner], o);
		return;
	}
	if (box->tag != 0)
		outbox_send(self, box);
	box->tag = owner << ASH_TAG_OWNER_SHIFT;
	box->credit = ((int64_t)ASH_OUTBOX_BYTES << 32) - ash_class_cost[tag & ASH_TAG_CLASS_MASK];
	box->head = o;
	o->next = NULL;
}

static struct ash_object *remote_take(struct ash_heap *h)
{
	if (atomic_load_explicit(&h->remote, memory_order_relaxed) == NULL)
		return NULL;
	return atomic_exchange_explicit(&h->remote, NULL, memory_order_acquire);
}

static void bring_home(struct ash_heap *h, struct ash_object *o)
{
	const uint32_t tag = ash_tag_load(ash_frame_index(o));

	if (ASH_UNLIKELY((tag & ASH_TAG_LARGE) != 0))
		ash_large_release(h, ash_slab_at(ash_frame_index(o), ASH_SLAB_MIN_ORDER));
	else
		ash_bin_push(h, tag & ASH_TAG_CLASS_MASK, o);
}

/* The first of the next batch; what stands behind it is read before the object is anybody's. */
static struct ash_object *next_batch(struct ash_object **batches)
{
	struct ash_object *o = *batches;

	if (o != NULL)
		*batches = o->batch;
	return o;
}

enum { LANES = 8 }; /* batches walked at once: 2 and 4 were slower, more than 8 are seldom there */

/* Bring home what others freed, into the bins. True when there was anything. */
bool ash_remote_drain(struct ash_heap *h)
{
	struct ash_object *batches = remote_take(h), *lane[LANES];
	unsigned walked;

	if (ASH_LIKELY(batches == NULL))
		return false;
	for (unsigned i = 0; i < LANES; i++)
		lane[i] = next_batch(&batches);
	do {
		walked = 0;
		for (unsigned i = 0; i < LANES; i++) {
			struct ash_object *o = lane[i];

			if (o == NULL)
				continue;
			lane[i] = o->next;
			if (o->next == NULL)
				lane[i] = next_batch(&batches);
			__builtin_prefetch(lane[i], 1);
			bring_home(h, o);
			walked++;
		}
	} while (walked > 0);
	return true;
}

/* The same for a heap that has no thread and no use for bins. */
void ash_remote_drain_to_slabs(struct ash_heap *h)
{
	struct ash_object *batches = remote_take(h), *o;

	while ((o = next_batch(&batches)) != NULL) {
		while (o != NULL) {
			struct ash_object *next = o->next;

			ash_slab_put(h, ash_tag_load(ash_frame_index(o)) & ASH_TAG_CLASS_MASK, o, o, 1);
			o = next;
		}
	}
}
