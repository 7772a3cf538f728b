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

const struct ash_view_list ash_arena_view = { .array = ash_arenas.arenas, .nr = &ash_registry.nr_spans,
					      .fields = fields };

static const struct ash_view_field node_fields[] = {
	ASH_VIEW(struct ash_node_counts, hit),
	ASH_VIEW(struct ash_node_counts, miss),
	ASH_VIEW(struct ash_node_counts, foreign),
	ASH_VIEW(struct ash_node_counts, local),
	ASH_VIEW(struct ash_node_counts, other),
	{ .name = "" },
};

ASH_BUILD_ASSERT(offsetof(struct ash_numa, counted) == 0, "whoever follows the pointer finds the array");

const struct ash_view_list ash_node_view = {
	.array = &ash_arenas.numa,
	.nr = &ash_arenas.nr_counted,
	.fields = node_fields,
	.indirect = 1,
};

static const struct ash_view_field spill_fields[] = {
	ASH_VIEW(struct ash_spill_count, key),
	ASH_VIEW(struct ash_spill_count, runs),
	ASH_VIEW(struct ash_spill_count, frames),
	{ .name = "" },
};

const struct ash_view_list ash_spill_view = {
	.array = &ash_arenas.spills,
	.nr = &ash_arenas.nr_spills,
	.fields = spill_fields,
	.indirect = 1,
};
