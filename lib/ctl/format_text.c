/* SPDX-License-Identifier: MIT */
/*
 * The report for people. It answers, in this order: did I get what I asked for; what did I ask for; what stands behind
 * each arena by the kernel's own accounting; how the page allocator and the heap are doing; what the process cost.
 *
 * "In memory" is what /proc/self/smaps says is resident, never what was asked of the kernel.
 */
#include "ctl/formats.h"
#include "page/stat.h"

#include <errno.h>
#include <string.h>

#define LABEL "  %-11s"

/* "12.0 MiB", or "-" for nothing, so that what is there stands out. */
static void write_cell(struct ash_writer *w, uint64_t bytes)
{
	ash_write(w, " %10s", bytes == 0 ? "-" : ash_size_text(bytes).text);
}

static void write_arena_name(struct ash_writer *w, const struct ash_snapshot_arena *a)
{
	char name[16] = "task";

	if (a->policy == NULL)
		ash_write(w, LABEL "node %-3d %s ", "", a->stats.node, ash_arena_kind_names[a->stats.kind]);
	else if (a->policy->mode != ASH_POLICY_DEFAULT)
		ash_policy_write(a->policy, ',', name, 9);
	if (a->policy != NULL)
		ash_write(w, LABEL "%-8s %s ", "", name, ash_arena_kind_names[a->stats.kind]);
}

struct backing_totals {
	uint64_t bytes[ASH_BACKING_NR], all, huge;
	int error; /* of the last arena without figures */
};

static struct backing_totals totals_of(const struct ash_snapshot *s)
{
	struct backing_totals t = { 0 };

	for (unsigned i = 0; i < s->nr_arenas; i++) {
		if (s->arenas[i].resident_error != 0)
			t.error = s->arenas[i].resident_error;
		for (unsigned b = 0; b < ASH_BACKING_NR; b++)
			t.bytes[b] += s->arenas[i].resident[b];
	}
	for (unsigned b = 0; b < ASH_BACKING_NR; b++)
		t.all += t.bytes[b];
	t.huge = t.all - t.bytes[ASH_BACKING_BASE];
	return t;
}

/*
 * A program may have most of its memory from elsewhere: from mmap, as those that pool small objects themselves do. The
 * two peaks need not be of one moment, so their difference is the least that it can have been. Said where it is a tenth
 * of the process, and more than what any program has in code and tables.
 */
static void write_outside(struct ash_writer *w, const struct ash_snapshot *s)
{
	uint64_t ordinary = 0, outside;

	for (unsigned i = 0; i < s->nr_arenas; i++)
		if (s->arenas[i].stats.kind == ASH_ARENA_T)
			ordinary += s->arenas[i].stats.peak_online * ASH_PAGE_SIZE;
	outside = s->usage.peak_rss - ash_min(s->usage.peak_rss, ordinary);
	if (outside < ASH_MIB(32) || outside < s->usage.peak_rss / 10)
		return;
	ash_write(w, "  At its peak the process had %s or more beside the heap: mappings of its own, stacks, files.\n",
		  ash_size_text(outside).text);
}

/* No arena ever asked for anything but base pages. */
static bool within_small_start(const struct ash_snapshot *s)
{
	uint64_t huge = 0;

	for (unsigned i = 0; i < s->nr_arenas; i++)
		for (unsigned kind = 0; kind < ASH_BACKING_NR; kind++)
			huge += kind != ASH_BACKING_BASE ? s->arenas[i].stats.backed[kind] : 0;
	return huge == 0 && s->options.arena.huge != ASH_HUGE_NONE;
}

static void write_headline(struct ash_writer *w, const struct ash_snapshot *s, const struct backing_totals *t)
{
	if (s->nr_arenas == 0) {
		ash_write(w, "  The process has taken no memory from ashlar.\n");
	} else if (t->error != 0 && t->all == 0) {
		ash_write(w, "  What backs the heap is not known: the kernel's accounting cannot be read (errno %d).\n",
			  -t->error);
	} else if (t->all == 0) {
		ash_write(w, "  None of the heap is in memory.\n");
	} else {
		ash_write(w, "  %u %% of the heap is on huge pages: ", (unsigned)(t->huge * 100 / t->all));
		ash_write(w, "%s of ", ash_size_text(t->huge).text);
		ash_write(w, "%s in memory.\n", ash_size_text(t->all).text);
		if (t->huge == 0 && within_small_start(s))
			ash_write(w, "  It is within the small start, which is base pages (small_start:%s, "
				     "and more while much of that is untouched).\n",
				  ash_size_text(s->options.arena.small_start).text);
	}
	write_outside(w, s);
	if (s->degraded[0] != '\0') {
		ash_write(w, "  Degraded: ");
		ash_write_clean(w, s->degraded, strlen(s->degraded), 400);
		ash_write(w, "\n");
	}
	ash_write(w, "\n");
}

/*
 * The page kind and the strictness always, anything else only where somebody chose it. Nothing of the report itself:
 * who reads it has it.
 */
static void write_asked(struct ash_writer *w, const struct ash_snapshot *s)
{
	static const char *const sources[] = { "default", "ASHLAR_CONF", "environment" };

	ash_write(w, LABEL, "asked for");
	for (unsigned i = 0; i < ASH_OPTION_NR; i++) {
		const unsigned source = s->options.source[i];

		if (i >= ASH_OPTION_INDEX_report && i <= ASH_OPTION_INDEX_report_file)
			continue;
		if (source == ASH_SOURCE_DEFAULT && i != ASH_OPTION_INDEX_huge && i != ASH_OPTION_INDEX_strict)
			continue;
		ash_write(w, "%s%s:", i > 0 ? "  " : "", ash_options_table[i].key);
		ash_options_write_value(w, &s->options, i);
		ash_write(w, " (%s)", sources[source]);
	}
	ash_write(w, "\n\n");
}

static void write_backing(struct ash_writer *w, const struct ash_snapshot *s, const struct backing_totals *t)
{
	ash_write(w, LABEL "%-11s %10s %10s %10s %10s %10s\n", "backed by", "arena", "in memory", "1 GiB", "2 MiB",
		  "THP", "base");
	for (unsigned i = 0; i < s->nr_arenas; i++) {
		const struct ash_snapshot_arena *a = &s->arenas[i];
		uint64_t all = 0;

		write_arena_name(w, a);
		if (a->resident_error != 0) {
			ash_write(w, "  not known (errno %d)\n", -a->resident_error);
			continue;
		}
		for (unsigned b = 0; b < ASH_BACKING_NR; b++)
			all += a->resident[b];
		write_cell(w, all);
		for (unsigned b = 0; b < ASH_BACKING_NR; b++)
			write_cell(w, a->resident[b]);
		ash_write(w, "\n");
	}
	if (s->nr_arenas > 1) {
		ash_write(w, LABEL "%-11s", "", "all");
		write_cell(w, t->all);
		for (unsigned b = 0; b < ASH_BACKING_NR; b++)
			write_cell(w, t->bytes[b]);
		ash_write(w, "\n");
	}
	if (s->nr_arenas_left_out > 0)
		ash_write(w, LABEL "(%u more arenas not shown)\n", "", s->nr_arenas_left_out);
	ash_write(w, "\n");
}

static void write_arenas(struct ash_writer *w, const struct ash_snapshot *s)
{
	ash_write(w, LABEL "%-11s %10s %10s %10s %10s %10s %10s\n", "arenas", "arena", "online", "peak", "free",
		  "grown", "returned", "fallbacks");
	for (unsigned i = 0; i < s->nr_arenas; i++) {
		const struct ash_arena_stats *a = &s->arenas[i].stats;

		write_arena_name(w, &s->arenas[i]);
		write_cell(w, (uint64_t)a->online * ASH_PAGE_SIZE);
		write_cell(w, (uint64_t)a->peak_online * ASH_PAGE_SIZE);
		write_cell(w, (a->zone.free + a->zone.pcp) * ASH_PAGE_SIZE);
		ash_write(w, " %9llux %10llu %10llu\n", (unsigned long long)a->grows,
			  (unsigned long long)a->returned_blocks, (unsigned long long)a->fallbacks);
	}
	ash_write(w, "\n" LABEL "%-11s", "pageblocks", "arena");
	for (unsigned mt = 0; mt < ASH_MT_NR; mt++)
		ash_write(w, " %11s", ash_migratetype_name((enum ash_migratetype)mt));
	ash_write(w, "\n");
	for (unsigned i = 0; i < s->nr_arenas; i++) {
		write_arena_name(w, &s->arenas[i]);
		for (unsigned mt = 0; mt < ASH_MT_NR; mt++)
			ash_write(w, " %11llu", (unsigned long long)s->arenas[i].stats.zone.pageblocks[mt]);
		ash_write(w, "\n");
	}
	ash_write(w, "\n");
}

static void write_heap(struct ash_writer *w, const struct ash_heap_stats *h)
{
	ash_write(w, LABEL "%s in slabs", "heap", ash_size_text(h->slab_bytes).text);
	ash_write(w, " (%s of it free), ", ash_size_text(h->slab_free_bytes).text);
	ash_write(w, "%s in %llu large runs\n", ash_size_text(h->large_bytes).text, (unsigned long long)h->large_count);
	ash_write(w, LABEL "%zu thread heaps, %zu of them without a thread; %llu remote frees, %llu foreign frees\n",
		  "", h->heaps, h->orphans, (unsigned long long)h->remote_frees, (unsigned long long)h->foreign_frees);
}

static void write_map(struct ash_writer *w, const struct ash_map_stats *m)
{
	switch (m->state) {
	case ASH_MAP_OFF:
		break;
	case ASH_MAP_REFUSED:
		ash_write(w, LABEL "asked for, and not served: %s (errno %d)\n", "mappings",
			  m->error == -EDQUOT ? "the kernel counts memory that is not touched" :
						"the kernel does not move pages for this process", -m->error);
		break;
	default:
		ash_write(w, LABEL "%llu served, %llu pageblocks in use; %llu came back at munmap, "
				"%llu given out again, %llu exchanged, %llu refused\n",
			  "mappings", (unsigned long long)m->calls, (unsigned long long)m->slots,
			  (unsigned long long)m->harvested, (unsigned long long)m->lent,
			  (unsigned long long)m->exchanged, (unsigned long long)m->refused);
	}
}

static void write_dma(struct ash_writer *w, const struct ash_dma_stats *d)
{
	static const char *const kinds[] = { "1 GiB", "2 MiB", "THP", "base" };

	ash_write(w, LABEL "%s", "dma", ash_size_text(d->memory_bytes).text);
	for (unsigned i = 0; i < ASH_ARRAY_LEN(kinds); i++) {
		if (d->backed_bytes[i] > 0)
			ash_write(w, ", %s on %s pages", ash_size_text(d->backed_bytes[i]).text, kinds[i]);
	}
	ash_write(w, "; %s free\n", ash_size_text(d->free_bytes).text);
	ash_write(w, LABEL "%s pinned, ", "", ash_size_text(d->pinned_bytes).text);
	ash_write(w, "%s of known address, longest run ", ash_size_text(d->known_bytes).text);
	ash_write(w, "%s; grown %llux, %llu refused\n", ash_size_text(d->longest_run_bytes).text,
		  (unsigned long long)d->grows, (unsigned long long)d->failures);
	if (d->reserves > 0) {
		ash_write(w, LABEL "%u reserves of %s, ", "", d->reserves, ash_size_text(d->reserved_bytes).text);
		ash_write(w, "%s of them free\n", ash_size_text(d->reserved_free_bytes).text);
	}
	if (d->registered_bytes > 0)
		ash_write(w, LABEL "%s of others registered\n", "", ash_size_text(d->registered_bytes).text);
}

static void write_process(struct ash_writer *w, const struct ash_snapshot *s)
{
	ash_write(w, LABEL "peak RSS %s without hugetlb; page faults: %llu minor, %llu major\n", "process",
		  ash_size_text(s->usage.peak_rss).text, (unsigned long long)s->usage.minor_faults,
		  (unsigned long long)s->usage.major_faults);
	ash_write(w, LABEL "%llu.%02u s CPU in user mode, %llu.%02u s in the kernel\n", "",
		  (unsigned long long)s->usage.user_us / 1000000, (unsigned)(s->usage.user_us % 1000000 / 10000),
		  (unsigned long long)s->usage.system_us / 1000000, (unsigned)(s->usage.system_us % 1000000 / 10000));
}

void ash_format_text(struct ash_writer *w, const struct ash_snapshot *s)
{
	const struct backing_totals t = totals_of(s);

	ash_write(w, "---- ashlar %s: ", ASH_VERSION_TEXT);
	ash_write_clean(w, s->name.text, strlen(s->name.text), sizeof(s->name.text));
	ash_write(w, ", process %d, after %llu.%02u s ----\n", s->pid, (unsigned long long)s->uptime_ms / 1000,
		  (unsigned)(s->uptime_ms % 1000 / 10));
	write_headline(w, s, &t);
	write_asked(w, s);
	if (s->nr_arenas > 0) {
		write_backing(w, s, &t);
		write_arenas(w, s);
		ash_format_text_nodes(w, s);
		write_heap(w, &s->heap);
		write_map(w, &s->map);
	}
	if (s->has_dma)
		write_dma(w, &s->dma);
	write_process(w, s);
	ash_write(w, "----\n");
}
