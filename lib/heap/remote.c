/* SPDX-License-Identifier: MIT */
/*
 * Frees by a thread that does not own the object: the owner's side.
 *
 * What a free by another thread costs are cache lines. An object that is freed lies in its owner's cache, as a rule,
 * and one that is linked into a batch is taken from there and fetched back: so one in several is (batch.h). An owner
 * brings home a bounded part of what it has taken at a time, so that its lines are still in the cache when they are
 * handed out, and what its bins have no room for goes to slabs, which put together again what has come in any order
 * (decision 024).
 *
 * A slab may be taken from an orphan while objects of it are on their way there. So whoever brings an object home reads
 * its tag again, and sends on what has moved. It reads the new owner's or a later one's: a slab is taken under
 * ash_heaps.lock, and the old owner has been an orphan then, which nobody acts for without that lock.
 */
#include "heap/batch.h"
#include "heap/fast.h"

void ash_found_in_freed(const void *p)
{
	ash_heap_corrupt("an object was written to after it was freed, and this found in it", p);
}

/* To its bin, or to its slab if the bin is full: a bin that overflowed would be walked once more. */
void ash_remote_bring_home(struct ash_heap *h, struct ash_object *o)
{
	const uint32_t tag = ash_tag_of_freed(o);
	const size_t cls = tag ^ h->tag;

	if (ASH_UNLIKELY(cls >= ASH_NR_CLASSES)) {
		if ((tag & ASH_TAG_LARGE) != 0)
			ash_large_release(h, ash_slab_at(ash_frame_index(o), ASH_SLAB_MIN_ORDER));
		else
			ash_remote_send_one(ash_owner_of_freed(o, tag), o);
	} else if (h->bins.room[cls] > 0) {
		ash_bin_push(h, cls, o);
	} else {
		ash_slab_put(h, (unsigned)cls, o, o, 1);
	}
}

static void bring_home(void *h, struct ash_object *o)
{
	ash_remote_bring_home(h, o);
}

static void bring_carrier_home(void *arg, const struct ash_carrier *c)
{
	struct ash_heap *h = arg;
	struct ash_object *o = c->o;
	const size_t cls = ash_tag_of_freed(o) ^ h->tag;

	if (c->in_one_slab && cls < ASH_NR_CLASSES && h->bins.room[cls] <= 0) {
		/* In the order in which they were freed, which is often that of their addresses. */
		for (uint32_t i = 0; i < c->nr; i++)
			o->carried[i]->next = i + 1 < c->nr ? o->carried[i + 1] : o;
		ash_slab_put(h, (unsigned)cls, o->carried[0], o, c->nr + 1);
		return;
	}
	ash_carrier_each(c, bring_home, h);
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

	if (batches == 0)
		batches = ash_remote_take(h);
	if (batches == 0)
		return false;
	batches = ash_batches_walk(batches, ASH_REMOTE_SOME, bring_carrier_home, h);
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
static void bring_to_slab(void *unused, struct ash_object *o)
{
	const uint32_t tag = ash_tag_of_freed(o);
	struct ash_heap *h = ash_owner_of_freed(o, tag);

	(void)unused;
	if (ASH_UNLIKELY(atomic_load_explicit(&h->state, memory_order_relaxed) != ASH_HEAP_ORPHAN)) {
		ash_remote_send_one(h, o);
		return;
	}
	ash_slab_put(h, tag & ASH_TAG_CLASS_MASK, o, o, 1);
	if (h->empty_frames != 0)
		ash_heap_release_empty(h);
}

static void bring_carrier_to_slabs(void *arg, const struct ash_carrier *c)
{
	ash_carrier_each(c, bring_to_slab, arg);
}

/* The same for an orphan, which has no use for bins; with ash_heaps.lock held. */
void ash_remote_drain_to_slabs(struct ash_heap *h)
{
	(void)ash_batches_walk(ash_remote_take(h), ASH_BATCHES_ALL, bring_carrier_to_slabs, NULL);
}
