/* SPDX-License-Identifier: MIT */
/* ashlar stat: what a running process has for devices. */
#ifndef ASHLAR_TOOLS_STAT_DMA_H
#define ASHLAR_TOOLS_STAT_DMA_H

#include "remote.h"

/* false: the process is gone. Nothing is printed where it has had no such buffers. */
bool stat_dma_print(const struct remote *r);
/* A member of an object, with a comma before it. */
bool stat_dma_print_json(const struct remote *r);

#endif
