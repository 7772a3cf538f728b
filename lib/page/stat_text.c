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
		length += ash_stat_pagetypeinfo_part((enum ash_pagetypeinfo_part)part, s, pageblock_order, max_order, node, zone,
						     length < size ? buf + length : NULL, length < size ? size - length : 0);
	return length;
}
