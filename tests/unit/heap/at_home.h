/* SPDX-License-Identifier: MIT */
/* How many free objects a heap has: for tests of what comes home to it. */
#ifndef ASH_TESTS_UNIT_HEAP_AT_HOME_H
#define ASH_TESTS_UNIT_HEAP_AT_HOME_H

#include "heap/heap_internal.h"

static inline uint32_t free_in_slabs(const struct ash_heap *h, unsigned cls)
{
	uint32_t nr = 0;

	for (const struct ash_slab *s = h->all; s != NULL; s = s->all_next)
		nr += s->cls == cls ? s->nr_free : 0;
	return nr;
}

/* In its bin, put aside, and in slabs. */
static inline uint32_t free_of_class(const struct ash_heap *h, unsigned cls)
{
	return ash_bin_held(h, cls) + h->depot[cls].nr + free_in_slabs(h, cls);
}

#endif
