/* SPDX-License-Identifier: MIT */
/* The numbers of a zone, for a reader in another process. */
#ifndef ASH_PAGE_VIEW_H
#define ASH_PAGE_VIEW_H

#include "base/compiler.h"
#include "base/view.h"

/*
 * free, free_blocks, free_zeroed, nr_frames: frames; pieces in pcps are not counted as free. frames, pageblocks: the
 * tables, as page/frame.h and page/pageblock.h describe them.
 */
extern ASH_HIDDEN const struct ash_view_field ash_zone_view[];

#endif
