/* SPDX-License-Identifier: MIT */
/* What the layers above tell lib/dma; what it does is <ashlar/dma.h>. */
#ifndef ASH_DMA_DMA_H
#define ASH_DMA_DMA_H

#include <ashlar/policy.h>

/*
 * Who knows the policy that the calling thread's memory goes by: writes it, with nodes that may be used; LOCAL when
 * there is none. Called where there are several nodes, for buffers that name none, with no lock held. Without a source
 * all are local.
 */
typedef void ash_dma_policy_fn(struct ash_policy *policy);
void ash_dma_policy_source(ash_dma_policy_fn *source);

#endif
