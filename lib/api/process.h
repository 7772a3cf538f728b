/* SPDX-License-Identifier: MIT */
/*
 * What a shared object that carries the heap does for its process besides allocating: it boots the heap at the first
 * allocation, holds the locks over fork, and writes the report at the end. Its constructor and destructor live in
 * process.c, so that they are linked wherever the heap is.
 */
#ifndef ASH_API_PROCESS_H
#define ASH_API_PROCESS_H

#include "heap/heap.h"

/* Where pointers go that are not ours. Defined by whoever links the heap: library.c, or the preloaded object. */
extern const struct ash_foreign_ops ash_process_foreign;

#endif
