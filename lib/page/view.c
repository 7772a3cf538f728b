/* SPDX-License-Identifier: MIT */
/* The numbers of a zone, for a reader in another process (base/view.h). In frames; and the places of its tables. */
#include "page/view.h"

#include "page/zone_struct.h"

const struct ash_view_field ash_zone_view[] = {
	ASH_VIEW(struct ash_zone, free),
	ASH_VIEW(struct ash_zone, free_blocks),
	ASH_VIEW(struct ash_zone, free_zeroed),
	ASH_VIEW(struct ash_zone, nr_frames),
	ASH_VIEW(struct ash_zone, pageblock_order),
	ASH_VIEW(struct ash_zone, frames),
	ASH_VIEW(struct ash_zone, pageblocks),
	{ .name = "" },
};
