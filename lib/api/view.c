/* SPDX-License-Identifier: MIT */
/* What `ashlar stat` looks for in a process (base/view.h). Nothing reads it inside. */
#include "base/view.h"

#include "arena/arena.h"
#include "base/compiler.h"
#include "heap/heap.h"
#include "page/view.h"

extern const struct ash_view ash_view;

ASH_EXPORT const struct ash_view ash_view = {
	.magic = ASH_VIEW_MAGIC,
	.arenas = &ash_arena_view,
	.heaps = &ash_heap_view,
	.zone = ash_zone_view,
	.nodes = &ash_node_view,
	.spills = &ash_spill_view,
};
