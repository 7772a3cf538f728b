/* SPDX-License-Identifier: MIT */
/* What the layer above supplies (lib/api/process.c), for programs that have none. */
#include "heap/heap.h"

int (*ash_heap_boot)(void);
const struct ash_foreign_ops *const ash_heap_foreign;
