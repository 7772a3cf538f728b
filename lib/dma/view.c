/* SPDX-License-Identifier: MIT */
/* The figures of buffers for devices, for a reader in another process (base/view.h). */
#include "base/view.h"

#include "dma/internal.h"
#include "page/view.h"

static const struct ash_view_field arena_fields[] = {
	ASH_VIEW(struct ash_dma_arena, zone),
	ASH_VIEW(struct ash_dma_arena, node),
	ASH_VIEW(struct ash_dma_arena, kind),
	ASH_VIEW(struct ash_dma_arena, online),
	ASH_VIEW(struct ash_dma_arena, growths),
	{ .name = "" },
};

static const struct ash_view_list arenas = {
	.array = ash_dma.arenas,
	.nr = &ash_dma.nr_arenas,
	.fields = arena_fields,
};

static const struct ash_view_field figure_fields[] = {
	ASH_VIEW_ARRAY(struct ash_dma_figures, backed, ASH_DMA_PAGES_BASE),
	ASH_VIEW(struct ash_dma_figures, pinned),
	ASH_VIEW(struct ash_dma_figures, known),
	ASH_VIEW(struct ash_dma_figures, pools),
	ASH_VIEW(struct ash_dma_figures, pool_bytes),
	ASH_VIEW(struct ash_dma_figures, objects),
	ASH_VIEW(struct ash_dma_figures, object_bytes),
	ASH_VIEW(struct ash_dma_figures, reserves),
	ASH_VIEW(struct ash_dma_figures, reserved),
	ASH_VIEW(struct ash_dma_figures, reserved_out),
	ASH_VIEW(struct ash_dma_figures, registered),
	ASH_VIEW(struct ash_dma_figures, iova),
	ASH_VIEW_ARRAY(struct ash_dma_figures, refused, ASH_DMA_REASONS),
	{ .name = "" },
};

static const void *const figures_at[] = { &ash_dma.figures };
static const uint32_t one = 1, parts = ASH_DMA_COUNT_PARTS;

static const struct ash_view_list figures = { .array = figures_at, .nr = &one, .fields = figure_fields };

static const struct ash_view_field count_fields[] = {
	ASH_VIEW_ARRAY(struct ash_dma_count, level, ASH_DMA_LEVELS),
	{ .name = "" },
};

static const void *const counts_at[ASH_DMA_COUNT_PARTS] = {
	&ash_dma.count[0], &ash_dma.count[1], &ash_dma.count[2], &ash_dma.count[3], &ash_dma.count[4],
	&ash_dma.count[5], &ash_dma.count[6], &ash_dma.count[7], &ash_dma.count[8], &ash_dma.count[9],
	&ash_dma.count[10], &ash_dma.count[11], &ash_dma.count[12], &ash_dma.count[13],
	&ash_dma.count[14], &ash_dma.count[15],
};

static const struct ash_view_list buffers = { .array = counts_at, .nr = &parts, .fields = count_fields };

extern const struct ash_dma_view ash_dma_view;

ASH_EXPORT const struct ash_dma_view ash_dma_view = {
	.magic = ASH_VIEW_MAGIC,
	.arenas = &arenas,
	.figures = &figures,
	.buffers = &buffers,
	.zone = ash_zone_view,
};
