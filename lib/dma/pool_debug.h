/* SPDX-License-Identifier: MIT */
/*
 * What debug pools check: an object that is put is one that was got; nobody wrote behind an object, nor into one that
 * is free. A broken promise is said in one line, and the process stops. For other pools all of these do nothing.
 */
#ifndef ASH_DMA_POOL_DEBUG_H
#define ASH_DMA_POOL_DEBUG_H

#include "dma/pool.h"

/* Bytes behind each object that are watched. */
size_t ash_dma_debug_extra(const struct ash_dma_pool *pool);
/* A slab comes: its objects are free. Pool lock; before the slab is entered. */
ASH_MUST_USE int ash_dma_debug_slab(struct ash_dma_pool *pool, char *start, size_t n);
void ash_dma_debug_slab_end(const struct ash_dma_pool *pool, struct ash_dma_slab *slab);
void ash_dma_debug_get(struct ash_dma_pool *pool, char *p);
void ash_dma_debug_put(struct ash_dma_pool *pool, char *p);

#endif
