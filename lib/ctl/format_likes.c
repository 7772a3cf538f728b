/* SPDX-License-Identifier: MIT */
/*
 * Look-alikes, so that existing readers work unchanged: /proc/buddyinfo and /proc/pagetypeinfo in the kernel's columns
 * (mm/vmstat.c: frag_show_print, pagetypeinfo_showfree_print, pagetypeinfo_showblockcount_print), and the XML of
 * glibc's malloc_info(3). An arena is a zone of its node, named T or H.
 */
#include "ctl/formats.h"

const char *const ash_arena_kind_names[ASH_ARENA_KINDS] = { [ASH_ARENA_T] = "T", [ASH_ARENA_H] = "H" };

const char *const ash_backing_names[ASH_BACKING_NR] = {
	[ASH_BACKING_HUGETLB_1G] = "1G",
	[ASH_BACKING_HUGETLB_2M] = "2M",
	[ASH_BACKING_THP] = "THP",
	[ASH_BACKING_BASE] = "base",
};

const char *const ash_migratetype_names[ASH_MT_NR] = {
	[ASH_MT_UNMOVABLE] = "Unmovable",   [ASH_MT_MOVABLE] = "Movable", [ASH_MT_RECLAIMABLE] = "Reclaimable",
	[ASH_MT_HIGHATOMIC] = "HighAtomic", [ASH_MT_CMA] = "CMA",         [ASH_MT_ISOLATE] = "Isolate",
};

void ash_format_buddyinfo(struct ash_writer *w, const struct ash_snapshot *s)
{
	for (unsigned i = 0; i < s->nr_arenas; i++) {
		const struct ash_arena_stats *a = &s->arenas[i].stats;

		ash_write(w, "Node %d, zone %8s ", a->node, ash_arena_kind_names[a->kind]);
		for (unsigned order = 0; order < ASH_NR_ORDERS; order++) {
			uint64_t nr = 0;

			for (unsigned mt = 0; mt < ASH_MT_NR; mt++)
				nr += a->zone.nr_free[order][mt];
			ash_write(w, "%6llu ", (unsigned long long)nr);
		}
		ash_write(w, "\n");
	}
}

static void write_free_counts(struct ash_writer *w, const struct ash_arena_stats *a)
{
	for (unsigned mt = 0; mt < ASH_MT_NR; mt++) {
		ash_write(w, "Node %4d, zone %8s, type %12s ", a->node, ash_arena_kind_names[a->kind],
			  ash_migratetype_names[mt]);
		for (unsigned order = 0; order < ASH_NR_ORDERS; order++)
			ash_write(w, "%6llu ", (unsigned long long)a->zone.nr_free[order][mt]);
		ash_write(w, "\n");
	}
}

void ash_format_pagetypeinfo(struct ash_writer *w, const struct ash_snapshot *s)
{
	ash_write(w, "Page block order: %d\nPages per block:  %lu\n\n%-43s ", ASH_PAGEBLOCK_ORDER,
		  1ul << ASH_PAGEBLOCK_ORDER, "Free pages count per migrate type at order");
	for (int order = 0; order < ASH_NR_ORDERS; order++)
		ash_write(w, "%6d ", order);
	ash_write(w, "\n");
	for (unsigned i = 0; i < s->nr_arenas; i++)
		write_free_counts(w, &s->arenas[i].stats);
	ash_write(w, "\n%-23s", "Number of blocks type ");
	for (unsigned mt = 0; mt < ASH_MT_NR; mt++)
		ash_write(w, "%12s ", ash_migratetype_names[mt]);
	ash_write(w, "\n");
	for (unsigned i = 0; i < s->nr_arenas; i++) {
		const struct ash_arena_stats *a = &s->arenas[i].stats;

		ash_write(w, "Node %d, zone %8s ", a->node, ash_arena_kind_names[a->kind]);
		for (unsigned mt = 0; mt < ASH_MT_NR; mt++)
			ash_write(w, "%12llu ", (unsigned long long)a->zone.pageblocks[mt]);
		ash_write(w, "\n");
	}
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
		/* Free pageblocks known to be zero have no memory behind them: the system has it, or never gave it. */
		t.free_bytes += (a->zone.free - a->zone.free_zeroed) * ASH_PAGE_SIZE;
		t.online += (a->online - a->returned - a->zone.free_zeroed) * ASH_PAGE_SIZE;
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
