/* SPDX-License-Identifier: MIT */
/* The numbers of a heap, for a reader in another process (base/view.h). */
#include "heap/heap_internal.h"

static const struct ash_view_field fields[] = {
	ASH_VIEW(struct ash_heap, slab_frames),
	ASH_VIEW(struct ash_heap, empty_frames),
	ASH_VIEW(struct ash_heap, large_frames),
	ASH_VIEW(struct ash_heap, large_count),
	ASH_VIEW(struct ash_heap, state),
	{ .name = "" },
};

const struct ash_view_list ash_heap_view = {
	.array = &ash_heaps.table,
	.nr = &ash_heaps.nr,
	.fields = fields,
	.indirect = 1,
	.last = 1,
};
