/* SPDX-License-Identifier: MIT */
/* The numbers of a zone, for a reader in another process (base/view.h). In frames. */
#include "page/view.h"

#include "page/zone_struct.h"

const struct ash_view_field ash_zone_view[] = {
	ASH_VIEW(struct ash_zone, free),
	ASH_VIEW(struct ash_zone, free_blocks),
	ASH_VIEW(struct ash_zone, free_zeroed),
	{ .name = "" },
};
