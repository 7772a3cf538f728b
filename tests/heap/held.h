/* SPDX-License-Identifier: MIT */
/* What heaps hold in caches without the program's having it: bins, outboxes, kept runs, empty slabs. Of quiet heaps
 * only. */
#ifndef ASH_TESTS_HEAP_HELD_H
#define ASH_TESTS_HEAP_HELD_H

#include "heap/heap_internal.h"

/* Bytes. */
static inline size_t heap_held(const struct ash_heap *h)
{
	size_t bytes = (h->empty_frames + h->kept.frames) << ASH_PAGE_SHIFT;

	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++)
		bytes += (size_t)ash_bin_held(h, cls) * ash_classes[cls].size;
	for (unsigned i = 0; i < ASH_OUTBOXES; i++)
		bytes += h->outbox[i].differs != 0;
	return bytes;
}

struct held {
	unsigned heaps;
	size_t bytes, most; /* of all of them, of one */
};

/* Heaps of a home that no thread has. */
static inline struct held orphans_held(unsigned home)
{
	struct held held = { 0, 0, 0 };

	for (const struct ash_heap *h = ash_heaps.orphans[home]; h != NULL; h = h->orphan_next) {
		const size_t bytes = heap_held(h);

		held.heaps++;
		held.bytes += bytes;
		held.most = bytes > held.most ? bytes : held.most;
	}
	return held;
}

#endif
