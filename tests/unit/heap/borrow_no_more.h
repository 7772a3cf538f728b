/* SPDX-License-Identifier: MIT */
/* For tests of what becomes of a class's own slabs: the calling thread's heap has had its first objects of every class,
 * which come from others (lib/heap/cache.c). */
#ifndef ASH_TESTS_UNIT_HEAP_BORROW_NO_MORE_H
#define ASH_TESTS_UNIT_HEAP_BORROW_NO_MORE_H

#include <string.h>

#include "heap/fast.h"

static inline void borrow_no_more(void)
{
	ash_heap_free(ash_heap_malloc(16));
	memset(ash_heap_self->borrowed, UINT8_MAX, sizeof(ash_heap_self->borrowed));
}

#endif
