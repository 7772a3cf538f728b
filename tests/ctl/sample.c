/* SPDX-License-Identifier: MIT */
/*
 * Prints a made-up snapshot in the format named by the first argument, for tests/ctl/formats.py, which knows its
 * values. "empty" as second argument: a process that has allocated nothing; "hostile": names full of what needs
 * escaping.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/formats.h"
#include "ctl/stats.h"

static void fill_arena(struct ash_snapshot_arena *a, unsigned index)
{
	a->index = index;
	a->stats.node = (int)index / 2;
	a->stats.kind = index % 2 == 0 ? ASH_ARENA_T : ASH_ARENA_H;
	a->stats.start = 0x7f0000000000 + ((uintptr_t)index << 36);
	a->stats.span_bytes = (size_t)1 << 36;
	a->stats.online = 1024 * (index + 1);
	a->stats.peak_online = 2048 * (index + 1);
	a->stats.grows = 3 + index;
	a->stats.returned_blocks = 4 + index;
	a->stats.fallbacks = 5 + index;
	a->stats.zone.present = a->stats.online;
	a->stats.zone.free = 100 + index;
	a->stats.zone.pgalloc = 123456789012;
	for (unsigned b = 0; b < ASH_BACKING_NR; b++) {
		a->stats.backed[b] = 10 * b + index;
		a->resident[b] = ((size_t)b + 1) << 20;
	}
	for (unsigned mt = 0; mt < ASH_MT_NR; mt++) {
		a->stats.zone.pageblocks[mt] = 1000 * index + mt;
		for (unsigned order = 0; order < ASH_NR_ORDERS; order++)
			a->stats.zone.nr_free[order][mt] = 100 * mt + order + index;
	}
}

static void fill(struct ash_snapshot *s)
{
	s->uptime_ms = 12345;
	s->usage = (struct ash_process_usage){
		.user_us = 1500000, .system_us = 250001, .minor_faults = 1234, .major_faults = 5, .peak_rss = 64 << 20
	};
	s->degraded = "";
	s->nr_arenas = 4;
	for (unsigned i = 0; i < s->nr_arenas; i++)
		fill_arena(&s->arenas[i], i);
	s->arenas[3].resident_error = -2;
	memset(s->arenas[3].resident, 0, sizeof(s->arenas[3].resident));
	s->nr_nodes = 2;
	for (unsigned i = 0; i < s->nr_nodes; i++)
		s->nodes[i] = (struct ash_snapshot_node){ .node = 3 * (int)i, .numa_hit = 10 + i, .numa_miss = 20 + i,
							  .numa_foreign = 30 + i, .local_node = 40 + i,
							  .other_node = 50 + i, .interleave_hit = 60 + i,
							  .in_memory = 70 + i, .strayed = 80 + i, .pool_2m = 90 + i,
							  .pool_2m_free = 9, .pool_1g = 2, .pool_1g_free = 1 };
	s->nr_spills = 1;
	s->spills[0] = (struct ash_spill){ .from = 3, .to = 0, .reason = ASH_SPILL_POOL, .runs = 2, .frames = 1024 };
	s->heap = (struct ash_heap_stats){ .heaps = 3,
					   .orphans = 1,
					   .slab_bytes = 30 << 20,
					   .slab_free_bytes = 1 << 20,
					   .large_bytes = 20 << 20,
					   .large_count = 12,
					   .foreign_frees = 7,
					   .remote_frees = 8,
					   .nr_classes = 3 };
	s->has_dma = true;
	s->dma = (struct ash_dma_stats){ .size = sizeof(s->dma),
					 .arenas = 2,
					 .reserves = 1,
					 .memory_bytes = 12 << 20,
					 .backed_bytes = { 0, 8 << 20, 4 << 20, 0 },
					 .free_bytes = 3 << 20,
					 .pinned_bytes = 12 << 20,
					 .known_bytes = 10 << 20,
					 .longest_run_bytes = 6 << 20,
					 .reserved_bytes = 2 << 20,
					 .reserved_free_bytes = 1 << 20,
					 .registered_bytes = 64 << 10,
					 .buffers = { 1, 2, 3 },
					 .buffer_bytes = { 4 << 20, 8 << 10, 12 << 10 },
					 .pools = 4,
					 .pool_bytes = 256 << 10,
					 .objects = 5,
					 .object_bytes = 20 << 10,
					 .iova_bytes = 10 << 20,
					 .refused = { 0, 0, 1, 0, 0, 0 },
					 .grows = 5,
					 .failures = 1 };
	for (unsigned i = 0; i < 3; i++) {
		s->heap.classes[i].size = 16 << i;
		s->heap.classes[i].slabs = i + 1;
		s->heap.classes[i].objects_total = 100 * (i + 1);
		s->heap.classes[i].objects_free = 10 * i;
	}
}

int main(int argc, char **argv)
{
	static struct ash_snapshot s;
	struct ash_writer w;
	int format = -1;

	ash_options_default(&s.options);
	for (unsigned i = 0; argc > 1 && i < ASH_STATS_FORMATS; i++) {
		if (ash_options_set(&s.options, ASH_OPTION_INDEX_report_format, argv[1], strlen(argv[1])) == 0)
			format = (int)s.options.report_format;
	}
	if (format < 0) {
		fprintf(stderr, "usage: sample FORMAT [empty|hostile]\n");
		return 2;
	}
	s.pid = 4242;
	s.degraded = "";
	strcpy(s.name.text, "sample");
	if (argc < 3 || strcmp(argv[2], "empty") != 0)
		fill(&s);
	if (argc > 2 && strcmp(argv[2], "hostile") == 0) {
		strcpy(s.name.text, "a\"b\\c\n<\x1b&\xff");
		s.degraded = "pool \"2M\"\n\x1b[31m node 0";
		strcpy(s.options.report_file, "/a\"\\\x01/b,c");
	}
	ash_writer_init_fd(&w, 1);
	if (format == ASH_STATS_TEXT)
		ash_format_text(&w, &s);
	else if (format == ASH_STATS_JSON)
		ash_format_json(&w, &s);
	else if (format == ASH_STATS_PROMETHEUS)
		ash_format_prometheus(&w, &s);
	else if (format == ASH_STATS_XML)
		ash_format_malloc_info(&w, &s);
	else if (format == ASH_STATS_BUDDYINFO)
		ash_format_buddyinfo(&w, &s);
	else
		ash_format_pagetypeinfo(&w, &s);
	return ash_writer_finish(&w) == 0 ? 0 : 1;
}
