/* SPDX-License-Identifier: MIT */
/* The boot hook of a program that supplies none: an archive member of its own, so that a definition elsewhere wins. */
#include "heap/heap.h"

int (*ash_heap_boot)(void);
