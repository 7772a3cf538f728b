/* SPDX-License-Identifier: MIT */
/* The snapshot: taken from every layer below, written by the formats. */
#include "ctl/stats.h"

#include <errno.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/formats.h"
#include "os/clock.h"
#include "os/vmem.h"

/*
 * Buffers for devices are the API library's alone (docs/decisions/015-one-dma-state.md), and a layer that no layer here
 * knows. The linker leaves this NULL where there is no such library in the process; under the preload it is the one
 * that the program was linked with.
 */
extern ASH_WEAK int ash_dma_stats_read(struct ash_dma_stats *stats);

static void take_dma(struct ash_snapshot *s)
{
	s->dma.size = sizeof(s->dma);
	s->has_dma = ash_dma_stats_read != NULL && ash_dma_stats_read(&s->dma) == 0 && s->dma.arenas > 0;
}

static void take_process(struct ash_snapshot *s)
{
	s->pid = ash_process_id();
	s->name = ash_process_name();
	s->uptime_ms = ash_clock_ms() - ash_ctl_boot_ms();
	if (ash_process_usage(&s->usage) != 0)
		memset(&s->usage, 0, sizeof(s->usage));
}

static void take_arenas(struct ash_snapshot *s)
{
	for (unsigned i = 0; i < ash_registry.nr_spans; i++) {
		struct ash_snapshot_arena *a = &s->arenas[s->nr_arenas];

		if (s->nr_arenas == ASH_SNAPSHOT_ARENAS) {
			struct ash_arena_stats unused;

			s->nr_arenas_left_out += ash_arena_stats(i, &unused);
			continue;
		}
		if (!ash_arena_stats(i, &a->stats))
			continue;
		a->index = i;
		a->policy = ash_arena_policy_of(i);
		a->resident_error = ash_arena_actual(i, a->resident);
		if (a->resident_error != 0)
			memset(a->resident, 0, sizeof(a->resident));
		s->nr_arenas++;
	}
}

struct ash_snapshot *ash_snapshot_take(void)
{
	struct ash_snapshot *s;
	void *memory;

	if (ash_vmem_map(ash_align_up(sizeof(*s), ASH_PAGE_SIZE), &memory) != 0)
		return NULL;
	s = memory;
	ash_ctl_options(&s->options);
	s->degraded = "";
	take_process(s);
	take_dma(s);
	if (!ash_arena_ready())
		return s;
	s->degraded = ash_arena_degraded();
	ash_heap_stats(&s->heap);
	ash_map_stats(&s->map);
	take_arenas(s);
	ash_snapshot_take_nodes(s);
	return s;
}

void ash_snapshot_drop(struct ash_snapshot *s)
{
	ash_vmem_unmap(s, ash_align_up(sizeof(*s), ASH_PAGE_SIZE));
}

void ash_snapshot_write(struct ash_writer *w, const struct ash_snapshot *s, enum ash_stats_format format)
{
	static void (*const write[ASH_STATS_FORMATS])(struct ash_writer *, const struct ash_snapshot *) = {
		[ASH_STATS_TEXT] = ash_format_text,
		[ASH_STATS_JSON] = ash_format_json,
		[ASH_STATS_PROMETHEUS] = ash_format_prometheus,
		[ASH_STATS_XML] = ash_format_malloc_info,
		[ASH_STATS_BUDDYINFO] = ash_format_buddyinfo,
		[ASH_STATS_PAGETYPEINFO] = ash_format_pagetypeinfo,
	};

	write[format](w, s);
}

int ash_stats_write(struct ash_writer *w, enum ash_stats_format format)
{
	struct ash_snapshot *s = ash_snapshot_take();
	int err;

	if (s == NULL)
		return -ENOMEM;
	ash_snapshot_write(w, s, format);
	err = ash_writer_finish(w);
	ash_snapshot_drop(s);
	return err;
}
