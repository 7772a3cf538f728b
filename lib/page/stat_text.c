/* SPDX-License-Identifier: MIT */
/* The kernel's text forms. The widths and words are those of mm/vmstat.c, since scripts read them. */
#include "page/stat.h"

struct text {
	char *buf;
	size_t size, length;
};

static void put_char(struct text *t, char c)
{
	if (t->length + 1 < t->size)
		t->buf[t->length] = c;
	t->length++;
}

/* Right-aligned in width, or left-aligned in -width. */
static void put_string(struct text *t, const char *s, int width)
{
	int length = 0;

	while (s[length] != '\0')
		length++;
	for (int i = length; i < width; i++)
		put_char(t, ' ');
	for (int i = 0; i < length; i++)
		put_char(t, s[i]);
	for (int i = length; i < -width; i++)
		put_char(t, ' ');
}

static void put_number(struct text *t, uint64_t n, int width)
{
	char digits[21];
	unsigned i = sizeof(digits) - 1;

	digits[i] = '\0';
	do {
		digits[--i] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	put_string(t, digits + i, width);
}

static size_t finish(struct text *t)
{
	if (t->size > 0)
		t->buf[t->length < t->size ? t->length : t->size - 1] = '\0';
	return t->length;
}

static void put_zone(struct text *t, unsigned node, int node_width, const char *zone)
{
	put_string(t, "Node ", 0);
	put_number(t, node, node_width);
	put_string(t, ", zone ", 0);
	put_string(t, zone, 8);
}

static void put_numbers(struct text *t, const uint64_t *n, unsigned nr, int width)
{
	for (unsigned i = 0; i < nr; i++) {
		put_number(t, n[i], width);
		put_char(t, ' ');
	}
	put_char(t, '\n');
}

size_t ash_stat_buddyinfo(const struct ash_zone_stats *s, unsigned max_order, unsigned node, const char *zone,
			  char *buf, size_t size)
{
	struct text t = { buf, size, 0 };
	uint64_t nr[ASH_NR_ORDERS] = { 0 };

	put_zone(&t, node, 0, zone);
	put_char(&t, ' ');
	for (unsigned order = 0; order <= max_order; order++) {
		for (unsigned mt = 0; mt < ASH_MT_NR; mt++)
			nr[order] += s->nr_free[order][mt];
	}
	put_numbers(&t, nr, max_order + 1, 6);
	return finish(&t);
}

static void put_orders(struct text *t, unsigned pageblock_order, unsigned max_order)
{
	put_string(t, "Page block order: ", 0);
	put_number(t, pageblock_order, 0);
	put_string(t, "\nPages per block:  ", 0);
	put_number(t, (uint64_t)1 << pageblock_order, 0);
	put_string(t, "\n\n", 0);
	put_string(t, "Free pages count per migrate type at order", -43);
	put_char(t, ' ');
	for (unsigned order = 0; order <= max_order; order++) {
		put_number(t, order, 6);
		put_char(t, ' ');
	}
	put_char(t, '\n');
}

static void put_free(struct text *t, const struct ash_zone_stats *s, unsigned max_order, unsigned node,
		     const char *zone)
{
	for (unsigned mt = 0; mt < ASH_MT_NR; mt++) {
		put_zone(t, node, 4, zone);
		put_string(t, ", type ", 0);
		put_string(t, ash_migratetype_name((enum ash_migratetype)mt), 12);
		put_char(t, ' ');
		for (unsigned order = 0; order <= max_order; order++) {
			put_number(t, s->nr_free[order][mt], 6);
			put_char(t, ' ');
		}
		put_char(t, '\n');
	}
}

static void put_types(struct text *t, const char *title)
{
	put_char(t, '\n');
	put_string(t, title, -23);
	for (unsigned mt = 0; mt < ASH_MT_NR; mt++) {
		put_string(t, ash_migratetype_name((enum ash_migratetype)mt), 12);
		put_char(t, ' ');
	}
	put_char(t, '\n');
}

size_t ash_stat_pagetypeinfo_part(enum ash_pagetypeinfo_part part, const struct ash_zone_stats *s,
				  unsigned pageblock_order, unsigned max_order, unsigned node, const char *zone,
				  char *buf, size_t size)
{
	struct text t = { buf, size, 0 };

	switch (part) {
	case ASH_PAGETYPEINFO_ORDERS:
		put_orders(&t, pageblock_order, max_order);
		break;
	case ASH_PAGETYPEINFO_FREE:
		put_free(&t, s, max_order, node, zone);
		break;
	case ASH_PAGETYPEINFO_TYPES:
		put_types(&t, "Number of blocks type ");
		break;
	case ASH_PAGETYPEINFO_BLOCKS:
		put_zone(&t, node, 0, zone);
		put_char(&t, ' ');
		put_numbers(&t, s->pageblocks, ASH_MT_NR, 12);
		break;
	}
	return finish(&t);
}

size_t ash_stat_pagetypeinfo(const struct ash_zone_stats *s, unsigned pageblock_order, unsigned max_order,
			     unsigned node, const char *zone, char *buf, size_t size)
{
	size_t length = 0;

	for (unsigned part = ASH_PAGETYPEINFO_ORDERS; part <= ASH_PAGETYPEINFO_BLOCKS; part++)
		length += ash_stat_pagetypeinfo_part((enum ash_pagetypeinfo_part)part, s, pageblock_order, max_order,
						     node, zone, length < size ? buf + length : NULL,
						     length < size ? size - length : 0);
	return length;
}

/* "name value" with the name left-aligned in width. */
static void put_line(struct text *t, const char *indent, const char *name, int width, uint64_t value)
{
	put_string(t, indent, 0);
	put_string(t, name, -width);
	put_char(t, ' ');
	put_number(t, value, 0);
	put_char(t, '\n');
}

static void put_pageset(struct text *t, unsigned cpu, const struct ash_pcp_stats *p)
{
	static const char indent[] = "              ";

	put_string(t, "    cpu: ", 0);
	put_number(t, cpu, 0);
	put_char(t, '\n');
	put_line(t, indent, "count:   ", 9, p->count);
	put_line(t, indent, "high:    ", 9, p->high);
	put_line(t, indent, "batch:   ", 9, p->batch);
	put_line(t, indent, "high_min:", 9, p->high_min);
	put_line(t, indent, "high_max:", 9, p->high_max);
}

size_t ash_stat_mixed(const uint64_t *mixed, unsigned node, const char *zone, char *buf, size_t size)
{
	struct text t = { buf, size, 0 };

	if (mixed == NULL) {
		put_types(&t, "Number of mixed blocks ");
	} else {
		put_zone(&t, node, 0, zone);
		put_char(&t, ' ');
		put_numbers(&t, mixed, ASH_MT_NR, 12);
	}
	return finish(&t);
}

static void put_protection(struct text *t, const struct ash_watermarks *w)
{
	put_string(t, "        protection: (", 0);
	for (unsigned i = 0; i < ASH_LOWMEM_ZONES; i++) {
		put_string(t, i > 0 ? ", " : "", 0);
		put_number(t, w->lowmem_reserve[i], 0);
	}
	put_string(t, ")\n", 0);
}

size_t ash_stat_zoneinfo(const struct ash_zone_stats *s, const struct ash_watermarks *w,
			 const struct ash_pcp_stats *pcps, unsigned nr_cpus, unsigned node, const char *zone,
			 char *buf, size_t size)
{
	static const char indent[] = "        ";
	struct text t = { buf, size, 0 };

	put_zone(&t, node, 0, zone);
	put_char(&t, '\n');
	put_line(&t, "  ", "pages free    ", 14, s->free);
	put_line(&t, indent, "boost", 8, w->boost);
	put_line(&t, indent, "min", 8, w->mark[ASH_WMARK_MIN]);
	put_line(&t, indent, "low", 8, w->mark[ASH_WMARK_LOW]);
	put_line(&t, indent, "high", 8, w->mark[ASH_WMARK_HIGH]);
	put_line(&t, indent, "spanned", 8, s->spanned);
	put_line(&t, indent, "present", 8, s->present);
	put_line(&t, indent, "managed", 8, s->present);
	put_line(&t, indent, "cma", 8, s->cma);
	put_protection(&t, w);
	put_line(&t, "      ", "nr_free_pages", 12, s->free);
	put_line(&t, "      ", "nr_free_pages_blocks", 12, s->free_blocks);
	put_line(&t, "      ", "nr_free_cma", 12, s->free_cma);
	put_string(&t, "  pagesets\n", 0);
	for (unsigned cpu = 0; cpu < nr_cpus; cpu++)
		put_pageset(&t, cpu, &pcps[cpu]);
	put_line(&t, "  ", "start_pfn:          ", 20, 0);
	return finish(&t);
}

size_t ash_stat_vmstat(const struct ash_zone_stats *s, char *buf, size_t size)
{
	const struct {
		const char *name;
		uint64_t value;
	} lines[] = {
		{ "nr_free_pages", s->free },
		{ "nr_free_pages_blocks", s->free_blocks },
		{ "nr_free_cma", s->free_cma },
		{ "pgalloc_normal", s->pgalloc },
		{ "pgfree", s->pgfree },
		{ "pgmigrate_success", s->pgmigrate_success },
		{ "pgmigrate_fail", s->pgmigrate_fail },
		{ "compact_migrate_scanned", s->compact_migrate_scanned },
		{ "compact_free_scanned", s->compact_free_scanned },
		{ "compact_isolated", s->compact_isolated },
		{ "compact_stall", s->compact_stall },
		{ "compact_fail", s->compact_fail },
		{ "compact_success", s->compact_success },
		{ "compact_daemon_migrate_scanned", s->compact_daemon_migrate_scanned },
		{ "compact_daemon_free_scanned", s->compact_daemon_free_scanned },
		{ "cma_alloc_success", s->cma_alloc_success },
		{ "cma_alloc_fail", s->cma_alloc_fail },
	};
	struct text t = { buf, size, 0 };

	for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		put_line(&t, "", lines[i].name, 0, lines[i].value);
	return finish(&t);
}
