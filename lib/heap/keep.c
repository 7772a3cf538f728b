/* SPDX-License-Identifier: MIT */
/*
 * Others' objects that a thread keeps for itself, instead of sending them home.
 *
 * An owner that does not run takes nothing home, and with more threads than processors many do not: others would free
 * to it all that they have, and grow new slabs for what they allocate. So who frees to a heap where many batches wait
 * keeps for himself what he has room for, up to three quarters of his bins, of classes that he allocates himself: at
 * once (ash_outbox_keep()), because such an object comes by again each time that it is freed. So does who has taken
 * what waited elsewhere (waiting.c). Those objects are still their owner's: a bin that is emptied gives them to him.
 */
#include "heap/batch.h"
#include "heap/fast.h"

/* Whether self has use for the object, which is in its bin then. */
static bool keep_one(struct ash_heap *self, struct ash_object *o)
{
	const unsigned cls = ash_tag_of_freed(o) & ASH_TAG_CLASS_MASK;

	if (!ash_heap_has_use(self, cls))
		return false;
	self->keeps_others = true;
	ash_bin_push(self, cls, o);
	return true;
}

uintptr_t ash_remote_take_long(const struct ash_heap *self, struct ash_heap *h)
{
	const uintptr_t first = atomic_load_explicit(&h->remote, memory_order_relaxed);
	const uintptr_t left = atomic_load_explicit(&h->home, memory_order_relaxed);

	if (ash_remote_is_long(h) && ash_heap_is_near(self, (const void *)first))
		return ash_remote_take(h);
	return ash_heap_is_near(self, (const void *)left) ? ash_batches_take(&h->home) : 0;
}

static void use_one(void *arg, struct ash_object *o)
{
	struct ash_heap *self = arg;

	if ((ash_tag_of_freed(o) ^ self->tag) < ASH_NR_CLASSES)
		ash_remote_bring_home(self, o);
	else if (!keep_one(self, o))
		ash_remote_give(self, o, o);
}

static void use_carrier(void *self, const struct ash_carrier *c)
{
	ash_carrier_each(c, use_one, self);
}

uintptr_t ash_remote_use_batch(struct ash_heap *self, uintptr_t batches)
{
	return ash_batches_walk(batches, ASH_BATCHES_ONE, use_carrier, self);
}
