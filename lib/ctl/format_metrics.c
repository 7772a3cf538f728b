/* SPDX-License-Identifier: MIT */
/*
 * JSON and Prometheus from the same tables of metrics, so that they cannot drift apart: a metric is a 64-bit field of
 * the snapshot with a name, a unit and a sentence.
 *
 * JSON:        {"ashlar": {"version", "process": {...}, "options": {...}, "arenas": [...], "heap": {...}, "map": {...},
 * "dma": {...}}} Prometheus:  ashlar_<group>_<name>_<unit>, labels node and arena, and order, migratetype, backing
 * where they apply
 */
#include "ctl/formats.h"
#include "page/stat.h"

#include <stddef.h>

enum unit { PLAIN, BYTES, FRAMES, MILLISECONDS, MICROSECONDS };

/* No pointers: a table of them would be relocated, hence written, at the start of every process. */
struct metric {
	char name[24], help[84];
	enum unit unit;
	bool counter;
	size_t offset;
};

#define GAUGE(type, member, n, u, h)                                                                                   \
	{                                                                                                              \
		n, h, u, false, offsetof(struct type, member)                                                          \
	}
#define COUNTER(type, member, n, u, h)                                                                                 \
	{                                                                                                              \
		n, h, u, true, offsetof(struct type, member)                                                           \
	}

static const struct metric process_metrics[] = {
	GAUGE(ash_snapshot, uptime_ms, "uptime", MILLISECONDS, "Time since the first allocation."),
	COUNTER(ash_snapshot, usage.user_us, "cpu_user", MICROSECONDS, "CPU time in user mode."),
	COUNTER(ash_snapshot, usage.system_us, "cpu_system", MICROSECONDS, "CPU time in the kernel."),
	COUNTER(ash_snapshot, usage.minor_faults, "minor_faults", PLAIN, "Page faults served without I/O."),
	COUNTER(ash_snapshot, usage.major_faults, "major_faults", PLAIN, "Page faults that needed I/O."),
	GAUGE(ash_snapshot, usage.peak_rss, "peak_rss", BYTES, "Largest resident set, hugetlb pages not included."),
};

static const struct metric arena_metrics[] = {
	GAUGE(ash_arena_stats, span_bytes, "span", BYTES, "Address space of the arena."),
	GAUGE(ash_arena_stats, online, "online", FRAMES, "Memory that the arena manages."),
	GAUGE(ash_arena_stats, peak_online, "peak_online", FRAMES, "Most memory that the arena has managed."),
	COUNTER(ash_arena_stats, grows, "grows", PLAIN, "Times the arena took memory from the system."),
	COUNTER(ash_arena_stats, returned_blocks, "returned_pageblocks", PLAIN, "Pageblocks given back to the system."),
	COUNTER(ash_arena_stats, fallbacks, "fallbacks", PLAIN, "Times a better kind of page could not be had."),
	GAUGE(ash_arena_stats, zone.free, "free", FRAMES, "NR_FREE_PAGES: memory on the free lists."),
	GAUGE(ash_arena_stats, zone.free_blocks, "free_pageblocks", FRAMES,
	      "NR_FREE_PAGES_BLOCKS: free memory in whole pageblocks."),
	GAUGE(ash_arena_stats, zone.free_zeroed, "free_zeroed", FRAMES, "Free whole pageblocks known to read as zero."),
	GAUGE(ash_arena_stats, zone.pcp, "pcp", FRAMES, "Memory in per-CPU page lists."),
	GAUGE(ash_arena_stats, zone.free_cma, "free_cma", FRAMES, "NR_FREE_CMA_PAGES."),
	GAUGE(ash_arena_stats, zone.isolated, "isolated_pageblocks", PLAIN, "nr_isolate_pageblock."),
	COUNTER(ash_arena_stats, zone.pgalloc, "pgalloc_pages", PLAIN, "Frames allocated."),
	COUNTER(ash_arena_stats, zone.pgfree, "pgfree_pages", PLAIN, "Frames freed."),
	COUNTER(ash_arena_stats, zone.extfrag_claim, "extfrag_claim", PLAIN,
		"Pageblocks claimed for another migratetype."),
	COUNTER(ash_arena_stats, zone.extfrag_steal, "extfrag_steal", PLAIN,
		"Pages taken from another migratetype's pageblock."),
};

static const struct metric heap_metrics[] = {
	GAUGE(ash_heap_stats, heaps, "thread_heaps", PLAIN, "Thread heaps alive."),
	GAUGE(ash_heap_stats, orphans, "orphaned_heaps", PLAIN, "Thread heaps without a thread."),
	GAUGE(ash_heap_stats, slab_bytes, "slab", BYTES,
	      "Memory in slabs, and in large runs kept for the next request."),
	GAUGE(ash_heap_stats, slab_free_bytes, "slab_free", BYTES, "Of these, what no object uses."),
	GAUGE(ash_heap_stats, large_bytes, "large", BYTES, "Memory in large runs."),
	GAUGE(ash_heap_stats, large_count, "large_runs", PLAIN, "Large runs alive."),
	COUNTER(ash_heap_stats, foreign_frees, "foreign_frees", PLAIN, "Frees of memory that is not ashlar's."),
	COUNTER(ash_heap_stats, remote_frees, "remote_frees", PLAIN, "Frees by another thread than the heap's."),
};

static const struct metric map_metrics[] = {
	COUNTER(ash_map_stats, calls, "served", PLAIN, "Mappings of the program's own that were served."),
	GAUGE(ash_map_stats, slots, "pageblocks", PLAIN, "Pageblocks of served mappings."),
	COUNTER(ash_map_stats, lent, "lent_pageblocks", PLAIN, "Warm pageblocks given to mappings."),
	COUNTER(ash_map_stats, harvested, "harvested_pageblocks", PLAIN, "Pageblocks whose pages came back at munmap."),
	COUNTER(ash_map_stats, exchanged, "exchanged_pageblocks", PLAIN,
		"Pageblocks that mappings were given for others, so that ranges became free."),
	COUNTER(ash_map_stats, refused, "refused_pageblocks", PLAIN,
		"Pageblocks whose pages the kernel would not move."),
};

static const struct metric dma_metrics[] = {
	GAUGE(ash_dma_stats, memory_bytes, "memory", BYTES, "Memory of the arenas for devices."),
	GAUGE(ash_dma_stats, backed_bytes[0], "1g", BYTES, "Of it on hugetlb pages of 1 GiB."),
	GAUGE(ash_dma_stats, backed_bytes[1], "2m", BYTES, "Of it on hugetlb pages of 2 MiB."),
	GAUGE(ash_dma_stats, backed_bytes[2], "thp", BYTES, "Of it on transparent huge pages."),
	GAUGE(ash_dma_stats, backed_bytes[3], "base", BYTES, "Of it on base pages."),
	GAUGE(ash_dma_stats, free_bytes, "free", BYTES, "Of it in nobody's hands, reserves not counted."),
	GAUGE(ash_dma_stats, pinned_bytes, "pinned", BYTES, "Of it with a long-term pin of the kernel."),
	GAUGE(ash_dma_stats, known_bytes, "known", BYTES, "Of it with known physical addresses."),
	GAUGE(ash_dma_stats, longest_run_bytes, "longest_run", BYTES, "Longest physically contiguous run."),
	GAUGE(ash_dma_stats, reserved_bytes, "reserved", BYTES, "Memory of named reserves."),
	GAUGE(ash_dma_stats, reserved_free_bytes, "reserved_free", BYTES, "Of it not out as buffers."),
	GAUGE(ash_dma_stats, registered_bytes, "registered", BYTES, "Memory of others registered for devices."),
	COUNTER(ash_dma_stats, grows, "grows", PLAIN, "Times that memory came."),
	COUNTER(ash_dma_stats, failures, "failures", PLAIN, "Requests refused."),
	GAUGE(ash_dma_stats, buffers[ASH_DMA_VIRTUAL], "virtual_buffers", PLAIN,
	      "Buffers that are contiguous in address only."),
	GAUGE(ash_dma_stats, buffer_bytes[ASH_DMA_VIRTUAL], "virtual_buffer", BYTES, "Their size."),
	GAUGE(ash_dma_stats, buffers[ASH_DMA_SEGMENTS], "segments_buffers", PLAIN,
	      "Buffers in several segments of known address."),
	GAUGE(ash_dma_stats, buffer_bytes[ASH_DMA_SEGMENTS], "segments_buffer", BYTES, "Their size."),
	GAUGE(ash_dma_stats, buffers[ASH_DMA_PHYSICAL], "physical_buffers", PLAIN,
	      "Buffers that are physically contiguous."),
	GAUGE(ash_dma_stats, buffer_bytes[ASH_DMA_PHYSICAL], "physical_buffer", BYTES, "Their size."),
	GAUGE(ash_dma_stats, pools, "pools", PLAIN, "Pools, the library's own included."),
	GAUGE(ash_dma_stats, pool_bytes, "pool", BYTES, "Memory of their slabs."),
	GAUGE(ash_dma_stats, objects, "objects", PLAIN, "Objects that can be moved or dropped."),
	GAUGE(ash_dma_stats, object_bytes, "object", BYTES, "Their size."),
	GAUGE(ash_dma_stats, iova_bytes, "iova", BYTES, "Mapped for devices behind IOMMUs."),
	COUNTER(ash_dma_stats, refused[ASH_DMA_BAD_REQUEST], "refused_bad", PLAIN,
		"Requests refused: they contradict themselves."),
	COUNTER(ash_dma_stats, refused[ASH_DMA_NO_MEMORY], "refused_memory", PLAIN, "Requests refused: no memory."),
	COUNTER(ash_dma_stats, refused[ASH_DMA_NOT_CONTIGUOUS], "refused_contiguous", PLAIN,
		"Requests refused: no long run."),
	COUNTER(ash_dma_stats, refused[ASH_DMA_OVER_LIMIT], "refused_limit", PLAIN,
		"Requests refused: none below the address limit."),
	COUNTER(ash_dma_stats, refused[ASH_DMA_HIDDEN], "refused_hidden", PLAIN,
		"Requests refused: they need hidden addresses."),
};

static const struct metric node_metrics[] = {
	GAUGE(ash_snapshot_node, in_memory, "in_memory", FRAMES, "Memory found on the node (move_pages, sampled)."),
	GAUGE(ash_snapshot_node, strayed, "strayed", FRAMES, "Memory of the node's arenas found on other nodes."),
	COUNTER(ash_snapshot_node, numa_hit, "numa_hit", FRAMES, "Taken from the node as asked."),
	COUNTER(ash_snapshot_node, numa_miss, "numa_miss", FRAMES, "Taken from the node though another was asked."),
	COUNTER(ash_snapshot_node, numa_foreign, "numa_foreign", FRAMES, "Asked of the node and taken from another."),
	GAUGE(ash_snapshot_node, interleave_hit, "interleave_hit", FRAMES, "Interleaved memory found on the node."),
	COUNTER(ash_snapshot_node, local_node, "local_node", FRAMES, "Taken from the node by threads that ran there."),
	COUNTER(ash_snapshot_node, other_node, "other_node", FRAMES,
		"Taken from the node by threads that ran elsewhere."),
	GAUGE(ash_snapshot_node, pool_2m, "pool_2m_pages", PLAIN, "2 MiB pages in the node's pool."),
	GAUGE(ash_snapshot_node, pool_2m_free, "pool_2m_free_pages", PLAIN, "Of these free."),
	GAUGE(ash_snapshot_node, pool_1g, "pool_1g_pages", PLAIN, "1 GiB pages in the node's pool."),
	GAUGE(ash_snapshot_node, pool_1g_free, "pool_1g_free_pages", PLAIN, "Of these free."),
};

static const char *unit_suffix(enum unit unit)
{
	static const char *const suffixes[] = { "", "_bytes", "_bytes", "_seconds", "_seconds" };

	return suffixes[unit];
}

static void write_value(struct ash_writer *w, const struct metric *m, const void *base)
{
	const uint64_t v = *(const uint64_t *)(const void *)((const char *)base + m->offset);

	switch (m->unit) {
	case FRAMES:
		ash_write(w, "%llu", (unsigned long long)v * ASH_PAGE_SIZE);
		break;
	case MILLISECONDS:
		ash_write(w, "%llu.%03u", (unsigned long long)v / 1000, (unsigned)(v % 1000));
		break;
	case MICROSECONDS:
		ash_write(w, "%llu.%06u", (unsigned long long)v / 1000000, (unsigned)(v % 1000000));
		break;
	case PLAIN:
	case BYTES:
		ash_write(w, "%llu", (unsigned long long)v);
		break;
	}
}

static void json_metrics(struct ash_writer *w, const struct metric *m, size_t n, const void *base)
{
	for (size_t i = 0; i < n; i++) {
		ash_write(w, "%s\"%s%s\":", i > 0 ? "," : "", m[i].name, unit_suffix(m[i].unit));
		write_value(w, &m[i], base);
	}
}

static void json_options(struct ash_writer *w, const struct ash_options *o)
{
	for (unsigned i = 0; i < ASH_OPTION_NR; i++) {
		ash_write(w, "%s\"%s\":", i > 0 ? "," : "", ash_options_table[i].key);
		if (ash_options_table[i].kind == ASH_OPTION_PATH) {
			ash_write_json_string(w, (const char *)o + ash_options_table[i].offset);
			continue;
		}
		ash_write(w, "\"");
		ash_options_write_value(w, o, i);
		ash_write(w, "\"");
	}
}

static void json_free_areas(struct ash_writer *w, const struct ash_zone_stats *z)
{
	ash_write(w, ",\"free_areas\":{");
	for (unsigned mt = 0; mt < ASH_MT_NR; mt++) {
		ash_write(w, "%s\"%s\":[", mt > 0 ? "," : "", ash_migratetype_name((enum ash_migratetype)mt));
		for (unsigned order = 0; order < ASH_NR_ORDERS; order++)
			ash_write(w, "%s%llu", order > 0 ? "," : "", (unsigned long long)z->nr_free[order][mt]);
		ash_write(w, "]");
	}
	ash_write(w, "},\"pageblocks\":{");
	for (unsigned mt = 0; mt < ASH_MT_NR; mt++)
		ash_write(w, "%s\"%s\":%llu", mt > 0 ? "," : "", ash_migratetype_name((enum ash_migratetype)mt),
			  (unsigned long long)z->pageblocks[mt]);
	ash_write(w, "}");
}

static void json_arena(struct ash_writer *w, const struct ash_snapshot_arena *a)
{
	ash_write(w, "{\"index\":%u,\"node\":%d,\"arena\":\"%s\",\"start\":\"0x%llx\",", a->index, a->stats.node,
		  ash_arena_kind_names[a->stats.kind], (unsigned long long)a->stats.start);
	if (a->policy != NULL) {
		ash_write(w, "\"policy\":\"");
		ash_write_arena_node(w, a);
		ash_write(w, "\",");
	}
	json_metrics(w, arena_metrics, ASH_ARRAY_LEN(arena_metrics), &a->stats);
	ash_write(w, ",\"asked_bytes\":{");
	for (unsigned b = 0; b < ASH_BACKING_NR; b++)
		ash_write(w, "%s\"%s\":%llu", b > 0 ? "," : "", ash_backing_names[b],
			  (unsigned long long)a->stats.backed[b] * ASH_PAGE_SIZE);
	ash_write(w, "},\"resident_bytes\":");
	if (a->resident_error != 0) {
		ash_write(w, "null,\"resident_errno\":%d", -a->resident_error);
	} else {
		for (unsigned b = 0; b < ASH_BACKING_NR; b++)
			ash_write(w, "%s\"%s\":%llu", b > 0 ? "," : "{", ash_backing_names[b],
				  (unsigned long long)a->resident[b]);
		ash_write(w, "}");
	}
	json_free_areas(w, &a->stats.zone);
	ash_write(w, "}");
}

static void json_classes(struct ash_writer *w, const struct ash_heap_stats *h)
{
	ash_write(w, ",\"classes\":[");
	for (unsigned i = 0; i < h->nr_classes; i++)
		ash_write(w, "%s{\"size\":%u,\"slabs\":%llu,\"objects\":%llu,\"free\":%llu}", i > 0 ? "," : "",
			  h->classes[i].size, (unsigned long long)h->classes[i].slabs,
			  (unsigned long long)h->classes[i].objects_total,
			  (unsigned long long)h->classes[i].objects_free);
	ash_write(w, "]");
}

static void json_nodes(struct ash_writer *w, const struct ash_snapshot *s)
{
	ash_write(w, ",\"nodes\":[");
	for (unsigned i = 0; i < s->nr_nodes; i++) {
		ash_write(w, "%s{\"node\":%d,", i > 0 ? "," : "", s->nodes[i].node);
		json_metrics(w, node_metrics, ASH_ARRAY_LEN(node_metrics), &s->nodes[i]);
		ash_write(w, "}");
	}
	ash_write(w, "],\"spills\":[");
	for (unsigned i = 0; i < s->nr_spills; i++)
		ash_write(w, "%s{\"from\":%d,\"to\":%d,\"reason\":\"%s\",\"runs\":%llu,\"spilled_bytes\":%llu}",
			  i > 0 ? "," : "", s->spills[i].from, s->spills[i].to, ash_spill_names[s->spills[i].reason],
			  (unsigned long long)s->spills[i].runs,
			  (unsigned long long)s->spills[i].frames * ASH_PAGE_SIZE);
	ash_write(w, "]");
}

void ash_format_json(struct ash_writer *w, const struct ash_snapshot *s)
{
	ash_write(w, "{\"ashlar\":{\"version\":\"%s\",\"process\":{\"pid\":%d,\"name\":", ASH_VERSION_TEXT, s->pid);
	ash_write_json_string(w, s->name.text);
	ash_write(w, ",");
	json_metrics(w, process_metrics, ASH_ARRAY_LEN(process_metrics), s);
	ash_write(w, "},\"options\":{");
	json_options(w, &s->options);
	ash_write(w, "},\"degraded\":");
	ash_write_json_string(w, s->degraded);
	ash_write(w, ",\"arenas_left_out\":%u,\"arenas\":[", s->nr_arenas_left_out);
	for (unsigned i = 0; i < s->nr_arenas; i++) {
		ash_write(w, "%s", i > 0 ? "," : "");
		json_arena(w, &s->arenas[i]);
	}
	ash_write(w, "]");
	json_nodes(w, s);
	ash_write(w, ",\"heap\":{");
	json_metrics(w, heap_metrics, ASH_ARRAY_LEN(heap_metrics), &s->heap);
	json_classes(w, &s->heap);
	ash_write(w, "},\"map\":{");
	json_metrics(w, map_metrics, ASH_ARRAY_LEN(map_metrics), &s->map);
	ash_write(w, "}");
	if (s->has_dma) {
		ash_write(w, ",\"dma\":{");
		json_metrics(w, dma_metrics, ASH_ARRAY_LEN(dma_metrics), &s->dma);
		ash_write(w, "}");
	}
	ash_write(w, "}}\n");
}

static void prom_head(struct ash_writer *w, const char *group, const struct metric *m)
{
	const char *total = m->counter ? "_total" : "";

	ash_write(w, "# HELP ashlar_%s_%s%s%s %s\n", group, m->name, unit_suffix(m->unit), total, m->help);
	ash_write(w, "# TYPE ashlar_%s_%s%s%s %s\n", group, m->name, unit_suffix(m->unit), total,
		  m->counter ? "counter" : "gauge");
}

static void prom_group(struct ash_writer *w, const char *group, const struct metric *m, size_t n, const void *base)
{
	for (size_t i = 0; i < n; i++) {
		prom_head(w, group, &m[i]);
		ash_write(w, "ashlar_%s_%s%s%s ", group, m[i].name, unit_suffix(m[i].unit),
			  m[i].counter ? "_total" : "");
		write_value(w, &m[i], base);
		ash_write(w, "\n");
	}
}

static void prom_labels(struct ash_writer *w, const struct ash_snapshot_arena *a)
{
	ash_write(w, "{node=\"");
	ash_write_arena_node(w, a);
	ash_write(w, "\",arena=\"%s\"", ash_arena_kind_names[a->stats.kind]);
}

static void prom_arenas(struct ash_writer *w, const struct ash_snapshot *s)
{
	for (size_t m = 0; m < ASH_ARRAY_LEN(arena_metrics); m++) {
		prom_head(w, "arena", &arena_metrics[m]);
		for (unsigned i = 0; i < s->nr_arenas; i++) {
			ash_write(w, "ashlar_arena_%s%s%s", arena_metrics[m].name, unit_suffix(arena_metrics[m].unit),
				  arena_metrics[m].counter ? "_total" : "");
			prom_labels(w, &s->arenas[i]);
			ash_write(w, "} ");
			write_value(w, &arena_metrics[m], &s->arenas[i].stats);
			ash_write(w, "\n");
		}
	}
}

/* The families with one more label than node and arena. */
static void prom_backing(struct ash_writer *w, const struct ash_snapshot *s)
{
	static const struct metric asked = { "asked", "Online memory by the backing it was taken as.", BYTES, false,
					     0 };
	static const struct metric resident = { "resident", "Memory by what really backs it (/proc/self/smaps).", BYTES,
						false, 0 };

	prom_head(w, "arena", &asked);
	for (unsigned i = 0; i < s->nr_arenas; i++) {
		for (unsigned b = 0; b < ASH_BACKING_NR; b++) {
			ash_write(w, "ashlar_arena_asked_bytes");
			prom_labels(w, &s->arenas[i]);
			ash_write(w, ",backing=\"%s\"} %llu\n", ash_backing_names[b],
				  (unsigned long long)s->arenas[i].stats.backed[b] * ASH_PAGE_SIZE);
		}
	}
	prom_head(w, "arena", &resident);
	for (unsigned i = 0; i < s->nr_arenas; i++) {
		for (unsigned b = 0; b < ASH_BACKING_NR && s->arenas[i].resident_error == 0; b++) {
			ash_write(w, "ashlar_arena_resident_bytes");
			prom_labels(w, &s->arenas[i]);
			ash_write(w, ",backing=\"%s\"} %llu\n", ash_backing_names[b],
				  (unsigned long long)s->arenas[i].resident[b]);
		}
	}
}

static void prom_free_areas(struct ash_writer *w, const struct ash_snapshot *s)
{
	static const struct metric areas = { "free_area_buddies", "Free buddies by order and migratetype.", PLAIN,
					     false, 0 };
	static const struct metric blocks = { "pageblocks", "Pageblocks by migratetype.", PLAIN, false, 0 };

	prom_head(w, "arena", &areas);
	for (unsigned i = 0; i < s->nr_arenas; i++) {
		for (unsigned n = 0; n < ASH_NR_ORDERS * ASH_MT_NR; n++) {
			ash_write(w, "ashlar_arena_free_area_buddies");
			prom_labels(w, &s->arenas[i]);
			ash_write(w, ",order=\"%u\",migratetype=\"%s\"} %llu\n", n / ASH_MT_NR,
				  ash_migratetype_name((enum ash_migratetype)(n % ASH_MT_NR)),
				  (unsigned long long)s->arenas[i].stats.zone.nr_free[n / ASH_MT_NR][n % ASH_MT_NR]);
		}
	}
	prom_head(w, "arena", &blocks);
	for (unsigned i = 0; i < s->nr_arenas; i++) {
		for (unsigned mt = 0; mt < ASH_MT_NR; mt++) {
			ash_write(w, "ashlar_arena_pageblocks");
			prom_labels(w, &s->arenas[i]);
			ash_write(w, ",migratetype=\"%s\"} %llu\n", ash_migratetype_name((enum ash_migratetype)mt),
				  (unsigned long long)s->arenas[i].stats.zone.pageblocks[mt]);
		}
	}
}

/* A family without samples is none. */
static void prom_nodes(struct ash_writer *w, const struct ash_snapshot *s)
{
	static const struct metric spilled = { "spilled", "Asked of one node and taken from another, by why.", BYTES,
					       true, 0 };

	for (size_t m = 0; m < ASH_ARRAY_LEN(node_metrics) && s->nr_nodes > 0; m++) {
		prom_head(w, "node", &node_metrics[m]);
		for (unsigned i = 0; i < s->nr_nodes; i++) {
			ash_write(w, "ashlar_node_%s%s%s{node=\"%d\"} ", node_metrics[m].name,
				  unit_suffix(node_metrics[m].unit), node_metrics[m].counter ? "_total" : "",
				  s->nodes[i].node);
			write_value(w, &node_metrics[m], &s->nodes[i]);
			ash_write(w, "\n");
		}
	}
	if (s->nr_spills > 0)
		prom_head(w, "node", &spilled);
	for (unsigned i = 0; i < s->nr_spills; i++)
		ash_write(w, "ashlar_node_spilled_bytes_total{from=\"%d\",to=\"%d\",reason=\"%s\"} %llu\n",
			  s->spills[i].from, s->spills[i].to, ash_spill_names[s->spills[i].reason],
			  (unsigned long long)s->spills[i].frames * ASH_PAGE_SIZE);
}

void ash_format_prometheus(struct ash_writer *w, const struct ash_snapshot *s)
{
	ash_write(w, "# HELP ashlar_info The process and its allocator.\n# TYPE ashlar_info gauge\n");
	ash_write(w, "ashlar_info{version=\"%s\",pid=\"%d\",name=", ASH_VERSION_TEXT, s->pid);
	ash_write_json_string(w, s->name.text);
	ash_write(w, "} 1\n");
	prom_group(w, "process", process_metrics, ASH_ARRAY_LEN(process_metrics), s);
	prom_group(w, "heap", heap_metrics, ASH_ARRAY_LEN(heap_metrics), &s->heap);
	prom_group(w, "map", map_metrics, ASH_ARRAY_LEN(map_metrics), &s->map);
	if (s->has_dma)
		prom_group(w, "dma", dma_metrics, ASH_ARRAY_LEN(dma_metrics), &s->dma);
	prom_arenas(w, s);
	prom_backing(w, s);
	prom_free_areas(w, s);
	prom_nodes(w, s);
}
