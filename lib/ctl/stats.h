/* SPDX-License-Identifier: MIT */
/*
 * Statistics: one snapshot of the process, six ways to write it.
 *
 * A snapshot is taken arena by arena, each consistent in itself under its lock; between them the process runs on.
 * Neither taking nor writing one calls malloc or stdio. Thread-safe; not async-signal-safe.
 */
#ifndef ASH_CTL_STATS_H
#define ASH_CTL_STATS_H

#include <ashlar/dma.h>

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
	const struct ash_policy *policy; /* what it is bound by; NULL: its node */
};

/* Where memory was to come from and where it is, on a machine with several nodes. Frames unless named otherwise. */
struct ash_snapshot_node {
	int node;
	uint64_t numa_hit, numa_miss, numa_foreign, local_node, other_node; /* struct ash_numastat, by runs */
	uint64_t interleave_hit; /* found here of memory interleaved over nodes, this one among them */
	uint64_t in_memory;      /* found here of all arenas' memory */
	uint64_t strayed;        /* of this node's own arenas, found elsewhere */
	uint64_t pool_2m, pool_2m_free, pool_1g, pool_1g_free; /* pages */
};
enum { ASH_SNAPSHOT_SPILLS = 32 };

struct ash_snapshot {
	int pid;
	struct ash_process_name name;
	uint64_t uptime_ms; /* since ash_ctl_boot() */
	struct ash_process_usage usage;
	struct ash_options options;
	const char *degraded; /* "" when never */
	struct ash_heap_stats heap;
	struct ash_map_stats map;
	bool has_dma; /* the process has the part of the library that buffers for devices come from */
	struct ash_dma_stats dma;
	unsigned nr_arenas, nr_arenas_left_out;
	struct ash_snapshot_arena arenas[ASH_SNAPSHOT_ARENAS];
	unsigned nr_nodes, nr_spills; /* 0 on one node */
	int placement_error;          /* 0, or why the kernel would not say where memory is */
	struct ash_snapshot_node nodes[ASH_POLICY_NODES];
	struct ash_spill spills[ASH_SNAPSHOT_SPILLS];
};

/* A snapshot in memory of its own, straight from the system; NULL when there is none. */
struct ash_snapshot *ash_snapshot_take(void);
void ash_snapshot_drop(struct ash_snapshot *s);

void ash_snapshot_write(struct ash_writer *w, const struct ash_snapshot *s, enum ash_stats_format format);

/* Take, write and drop: 0, -ENOMEM, or the error of the writer. Finishes the writer. */
ASH_MUST_USE int ash_stats_write(struct ash_writer *w, enum ash_stats_format format);

#endif
