/* SPDX-License-Identifier: MIT */
/*
 * The table from addresses to slots: two levels over the 47 bits of user addresses, made where it is used.
 *
 * An entry changes hands by one atomic exchange, so two threads never own one slot. What the table says is believed
 * only as far as a mistake is harmless: see map.h.
 */
#include "map/internal.h"

enum { LEAF_SHIFT = 13, LEAVES = 1 << 13 };
#define LEAF_ENTRIES ((size_t)1 << LEAF_SHIFT)

typedef _Atomic uint32_t leaf_entry;

static _Atomic(_Atomic(leaf_entry *) *) top;

/* Racing threads may each make one; the memory of those that come second is lost, a few kilobytes, once. */
static _Atomic(leaf_entry *) *get_top(bool create)
{
	_Atomic(leaf_entry *) *t = atomic_load_explicit(&top, memory_order_acquire);
	_Atomic(leaf_entry *) *made;

	if (t != NULL || !create)
		return t;
	made = ash_meta_alloc(LEAVES * sizeof(*made));
	if (made == NULL || atomic_compare_exchange_strong_explicit(&top, &t, made, memory_order_acq_rel,
								    memory_order_acquire))
		return made;
	return t;
}

static leaf_entry *entry_of(size_t block, bool create)
{
	_Atomic(leaf_entry *) *const t = get_top(create);
	leaf_entry *leaf = NULL, *made;

	if (t == NULL || block >> LEAF_SHIFT >= LEAVES)
		return NULL;
	leaf = atomic_load_explicit(&t[block >> LEAF_SHIFT], memory_order_acquire);
	if (leaf == NULL && create) {
		made = ash_meta_alloc(LEAF_ENTRIES * sizeof(*made));
		if (made == NULL || atomic_compare_exchange_strong_explicit(&t[block >> LEAF_SHIFT], &leaf, made,
									    memory_order_acq_rel, memory_order_acquire))
			leaf = made;
	}
	return leaf != NULL ? &leaf[block & (LEAF_ENTRIES - 1)] : NULL;
}

static uint32_t slot_in(uint32_t entry)
{
	return entry != ASH_TRACK_PINNED ? entry : 0;
}

uint32_t ash_track_set(size_t block, uint32_t slot)
{
	leaf_entry *const e = entry_of(block, true);

	/* Before the slot can be found here. */
	ash_run_set_word(ash_slot_address(slot), (uint32_t)block);
	return e != NULL ? slot_in(atomic_exchange_explicit(e, slot, memory_order_acq_rel)) : UINT32_MAX;
}

uint32_t ash_track_get(size_t block)
{
	leaf_entry *const e = entry_of(block, false);

	return e != NULL ? atomic_load_explicit(e, memory_order_acquire) : 0;
}

/* Release: whoever takes the slot out finds it emptied. */
bool ash_track_exchange(size_t block, uint32_t old, uint32_t slot)
{
	leaf_entry *const e = entry_of(block, false);

	return e != NULL && atomic_compare_exchange_strong_explicit(e, &old, slot, memory_order_acq_rel,
								    memory_order_relaxed);
}

uint32_t ash_track_take(size_t block)
{
	leaf_entry *const e = entry_of(block, false);

	if (e == NULL || atomic_load_explicit(e, memory_order_relaxed) == 0)
		return 0;
	return slot_in(atomic_exchange_explicit(e, 0, memory_order_acq_rel));
}

size_t ash_track_next(size_t block, size_t end)
{
	const size_t last = ash_min(end, (size_t)LEAVES << LEAF_SHIFT);

	if (get_top(false) == NULL)
		return end;
	while (block < last) {
		leaf_entry *const e = entry_of(block, false);

		if (e == NULL)
			block = ash_align_up(block + 1, LEAF_ENTRIES);
		else if (atomic_load_explicit(e, memory_order_relaxed) != 0)
			return block;
		else
			block++;
	}
	return end;
}
