/* SPDX-License-Identifier: MIT */
/* A picture of the pageblocks of another process's zone. */
#ifndef ASHLAR_TOOLS_STAT_MAP_H
#define ASHLAR_TOOLS_STAT_MAP_H

#include "remote.h"

/* Where a zone's tables are in the process, and the address that its first frame stands for. */
struct zone_place {
	uint64_t start, frames, pageblocks, nr_frames;
	unsigned pageblock_order;
};

/* false: the process is gone, or these are no tables. */
bool stat_map_print(const struct remote *r, const struct zone_place *z);
void stat_map_print_legend(void);

#endif
