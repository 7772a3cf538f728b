/* SPDX-License-Identifier: MIT */
/* Size classes: which sizes small objects have, and how a request finds its class. Data in sizeclass.def. */
#ifndef ASH_HEAP_SIZECLASS_H
#define ASH_HEAP_SIZECLASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bits.h"
#include "base/compiler.h"

#define ASH_SIZE_CLASS(size, below, order) ASH_CLASS_OF_##size,
enum ash_size_class {
#include "heap/sizeclass.def"
	ASH_NR_CLASSES,
};
#undef ASH_SIZE_CLASS

ASH_BUILD_ASSERT(ASH_NR_CLASSES <= 64, "a class fits six bits of a tag with room to tell it from an owner");

#define ASH_FAST_MAX 1024u   /* classes reached by the inline path's table */
#define ASH_SMALL_MAX 65536u /* largest slab object; above are large runs */

struct ash_class {
	uint32_t size;       /* bytes per object */
	uint16_t capacity;   /* objects per slab */
	uint16_t cache_max;  /* objects a thread's bin holds before it gives them back to their slabs */
	uint16_t carve;      /* objects made at once from a slab's untouched tail */
	uint8_t slab_order;  /* a slab is 2^slab_order frames, naturally aligned */
	uint8_t colours;     /* in how many places of a slab its first object may be */
	uint16_t keep_min;   /* bytes to which realloc shrinks an object in place */
	uint16_t step;       /* bytes between these places; 0: there is one */
};
ASH_BUILD_ASSERT(sizeof(struct ash_class) == 16, "realloc in place indexes classes by a shift");
extern ASH_HIDDEN const struct ash_class ash_classes[ASH_NR_CLASSES];

/*
 * Slabs are naturally aligned, so that the i-th objects of all slabs would lie on the same few sets of a cache, and
 * what a program looks at first of each of many objects would not fit in it. What a slab loses at its end is at its
 * beginning as well, in turns (slab colouring, Bonwick 1994). By the golden ratio, slabs in a row have places far from
 * each other, and all places. number: the slab's, among those of its order.
 */
ASH_INLINE size_t ash_class_colour(const struct ash_class *c, size_t number)
{
	const uint32_t turn = (uint32_t)number * 2654435769u;

	return (size_t)((uint64_t)turn * c->colours >> 32) * c->step;
}

/* Every object of the class lies on a multiple of align, a power of two up to a page. */
ASH_INLINE bool ash_class_aligned(const struct ash_class *c, size_t align)
{
	return ((c->size | c->step) & (align - 1)) == 0;
}

/*
 * What an object takes of an outbox's credit, << 32, less one: so the credit's low half counts objects. A batch is at
 * most this many bytes and this many objects.
 */
#define ASH_OUTBOX_BYTES 24576
#define ASH_OUTBOX_COUNT 96
extern ASH_HIDDEN const int64_t ash_class_cost[ASH_NR_CLASSES];
/*
 * How many addresses an object has room for behind its two links, on its way home, as they stand in its link:
 * << ASH_CARRIED_SHIFT. At most ASH_CARRIED_MAX.
 */
#define ASH_CARRIED_MAX 15
#define ASH_CARRIED_SHIFT 56
extern ASH_HIDDEN const uint64_t ash_class_carries[ASH_NR_CLASSES];

extern ASH_HIDDEN const uint8_t ash_class_by_8[ASH_FAST_MAX / 8 + 1];
extern ASH_HIDDEN const uint8_t ash_class_by_256[ASH_SMALL_MAX / 256 + 1];

/* size <= ASH_FAST_MAX */
ASH_INLINE unsigned ash_class_fast(size_t size)
{
	return ash_class_by_8[(size + 7) / 8];
}

/* size <= ASH_SMALL_MAX */
ASH_INLINE unsigned ash_class_of(size_t size)
{
	return size <= ASH_FAST_MAX ? ash_class_fast(size) : ash_class_by_256[(size + 255) / 256];
}

#endif
