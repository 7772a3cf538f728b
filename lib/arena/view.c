/* SPDX-License-Identifier: MIT */
/* The numbers of an arena, for a reader in another process (base/view.h). Frames, unless arena.h says otherwise. */
#include "arena/internal.h"

static const struct ash_view_field fields[] = {
	ASH_VIEW(struct ash_arena, zone),
	ASH_VIEW(struct ash_arena, start),
	ASH_VIEW(struct ash_arena, nr_frames),
	ASH_VIEW(struct ash_arena, node),
	ASH_VIEW(struct ash_arena, kind),
	ASH_VIEW(struct ash_arena, online),
	ASH_VIEW(struct ash_arena, peak_online),
	ASH_VIEW(struct ash_arena, returned),
	ASH_VIEW_ARRAY(struct ash_arena, backed, ASH_BACKING_NR),
	ASH_VIEW(struct ash_arena, grows),
	ASH_VIEW(struct ash_arena, returned_blocks),
	ASH_VIEW(struct ash_arena, fallbacks),
	{ .name = "" },
};

const struct ash_view_list ash_arena_view = { .array = ash_arenas.arenas, .nr = &ash_registry.nr_spans, .fields = fields };
