/* SPDX-License-Identifier: MIT */
/*
 * Statistics: one snapshot of the process, six ways to write it.
 *
 * A snapshot is taken arena by arena, each consistent in itself under its lock; between them the process runs on.
 * Neither taking nor writing one calls malloc or stdio. Thread-safe; not async-signal-safe.
 */
#ifndef ASH_CTL_STATS_H
#define ASH_CTL_STATS_H

#include "arena/arena.h"
#include "ctl/options.h"
#include "ctl/writer.h"
#include "heap/heap.h"
#include "map/map.h"
#include "os/process.h"

/* Arenas that a snapshot has room for: two per node. More are counted in nr_arenas_left_out. */
#define ASH_SNAPSHOT_ARENAS 32

struct ash_snapshot_arena {
	unsigned index;
	struct ash_arena_stats stats;
	size_t resident[ASH_BACKING_NR]; /* bytes, by the kernel's accounting */
	int resident_error;              /* 0, or why there are none */
};

struct ash_snapshot {
	int pid;
	struct ash_process_name name;
	uint64_t uptime_ms; /* since ash_ctl_boot() */
	struct ash_process_usage usage;
	struct ash_options options;
	const char *degraded; /* "" when never */
	struct ash_heap_stats heap;
	struct ash_map_stats map;
	unsigned nr_arenas, nr_arenas_left_out;
	struct ash_snapshot_arena arenas[ASH_SNAPSHOT_ARENAS];
};

/* A snapshot in memory of its own, straight from the system; NULL when there is none. */
struct ash_snapshot *ash_snapshot_take(void);
void ash_snapshot_drop(struct ash_snapshot *s);

void ash_snapshot_write(struct ash_writer *w, const struct ash_snapshot *s, enum ash_stats_format format);

/* Take, write and drop: 0, -ENOMEM, or the error of the writer. Finishes the writer. */
ASH_MUST_USE int ash_stats_write(struct ash_writer *w, enum ash_stats_format format);

#endif
