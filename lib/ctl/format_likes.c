/* SPDX-License-Identifier: MIT */
/*
 * Look-alikes, so that existing readers work unchanged: /proc/buddyinfo and /proc/pagetypeinfo as lib/page writes them,
 * and the XML of glibc's malloc_info(3). An arena is a zone of its node, named T or H.
 */
#include "ctl/formats.h"
#include "page/stat.h"

const char *const ash_arena_kind_names[ASH_ARENA_KINDS] = { [ASH_ARENA_T] = "T", [ASH_ARENA_H] = "H" };

const char *const ash_backing_names[ASH_BACKING_NR] = {
	[ASH_BACKING_HUGETLB_1G] = "1G",
	[ASH_BACKING_HUGETLB_2M] = "2M",
	[ASH_BACKING_THP] = "THP",
	[ASH_BACKING_BASE] = "base",
};

/* Longest: 19 orders of at most 20 digits. */
#define LINE_BYTES 512

void ash_format_buddyinfo(struct ash_writer *w, const struct ash_snapshot *s)
{
	for (unsigned i = 0; i < s->nr_arenas; i++) {
		const struct ash_arena_stats *a = &s->arenas[i].stats;
		char line[LINE_BYTES];

		ash_stat_buddyinfo(&a->zone, ASH_MAX_ORDER, (unsigned)a->node, ash_arena_kind_names[a->kind], line,
				   sizeof(line));
		ash_write(w, "%s", line);
	}
}

static void write_part(struct ash_writer *w, enum ash_pagetypeinfo_part part, const struct ash_arena_stats *a)
{
	char text[ASH_PAGETYPEINFO_PART];

	ash_stat_pagetypeinfo_part(part, &a->zone, ASH_PAGEBLOCK_ORDER, ASH_MAX_ORDER, (unsigned)a->node,
				   ash_arena_kind_names[a->kind], text, sizeof(text));
	ash_write(w, "%s", text);
}

void ash_format_pagetypeinfo(struct ash_writer *w, const struct ash_snapshot *s)
{
	write_part(w, ASH_PAGETYPEINFO_ORDERS, &s->arenas[0].stats);
	for (unsigned i = 0; i < s->nr_arenas; i++)
		write_part(w, ASH_PAGETYPEINFO_FREE, &s->arenas[i].stats);
	write_part(w, ASH_PAGETYPEINFO_TYPES, &s->arenas[0].stats);
	for (unsigned i = 0; i < s->nr_arenas; i++)
		write_part(w, ASH_PAGETYPEINFO_BLOCKS, &s->arenas[i].stats);
}

/* What malloc_info says of a heap: free memory by size, and what the system has given. Bytes. */
struct totals {
	unsigned long long free_count, free_bytes, large_count, large_bytes, online, peak;
};

static struct totals totals_of(const struct ash_snapshot *s)
{
	struct totals t = { .large_count = s->heap.large_count, .large_bytes = s->heap.large_bytes };

	for (unsigned i = 0; i < s->heap.nr_classes; i++) {
		t.free_count += s->heap.classes[i].objects_free;
		t.free_bytes += s->heap.classes[i].objects_free * s->heap.classes[i].size;
	}
	for (unsigned i = 0; i < s->nr_arenas; i++) {
		const struct ash_arena_stats *a = &s->arenas[i].stats;

		for (unsigned order = 0; order < ASH_NR_ORDERS; order++) {
			for (unsigned mt = 0; mt < ASH_MT_NR; mt++)
				t.free_count += a->zone.nr_free[order][mt];
		}
		t.free_bytes += (a->zone.free - a->free_absent) * ASH_PAGE_SIZE;
		t.online += (a->online - a->returned - a->free_absent) * ASH_PAGE_SIZE;
		t.peak += a->peak_online * ASH_PAGE_SIZE;
	}
	return t;
}

static void write_totals(struct ash_writer *w, const struct totals *t, bool mmap_line)
{
	ash_write(w,
		  "<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
		  "<total type=\"rest\" count=\"%llu\" size=\"%llu\"/>\n",
		  t->free_count, t->free_bytes);
	if (mmap_line)
		ash_write(w, "<total type=\"mmap\" count=\"%llu\" size=\"%llu\"/>\n", t->large_count, t->large_bytes);
	ash_write(w,
		  "<system type=\"current\" size=\"%llu\"/>\n<system type=\"max\" size=\"%llu\"/>\n"
		  "<aspace type=\"total\" size=\"%llu\"/>\n<aspace type=\"mprotect\" size=\"%llu\"/>\n",
		  t->online, t->peak, t->online, t->online);
}

void ash_format_malloc_info(struct ash_writer *w, const struct ash_snapshot *s)
{
	const struct totals t = totals_of(s);
	unsigned from = 1;

	ash_write(w, "<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n");
	for (unsigned i = 0; i < s->heap.nr_classes; i++) {
		const unsigned size = s->heap.classes[i].size;
		const unsigned long long count = s->heap.classes[i].objects_free;

		if (count > 0)
			ash_write(w, "  <size from=\"%u\" to=\"%u\" total=\"%llu\" count=\"%llu\"/>\n", from, size,
				  count * size, count);
		from = size + 1;
	}
	ash_write(w, "</sizes>\n");
	write_totals(w, &t, false);
	ash_write(w, "</heap>\n");
	write_totals(w, &t, true);
	ash_write(w, "</malloc>\n");
}
