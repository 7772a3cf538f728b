/* SPDX-License-Identifier: MIT */
/* Fragmentation indices and text forms. */
#include "page/stat.h"

struct free_info {
	uint64_t frames, buddies, suitable; /* suitable: how many pieces of the order the larger buddies make */
};

static struct free_info count_free(const struct ash_zone_stats *s, unsigned order)
{
	struct free_info n = { 0, 0, 0 };

	for (unsigned o = 0; o < ASH_NR_ORDERS; o++) {
		uint64_t nr = 0;

		for (unsigned mt = 0; mt < ASH_MT_NR; mt++)
			nr += s->nr_free[o][mt];
		n.buddies += nr;
		n.frames += nr << o;
		if (o >= order)
			n.suitable += nr << (o - order);
	}
	return n;
}

int ash_unusable_index(const struct ash_zone_stats *s, unsigned order)
{
	const struct free_info n = count_free(s, order);

	return n.frames == 0 ? 1000 : (int)((n.frames - (n.suitable << order)) * 1000 / n.frames);
}

int ash_fragmentation_index(const struct ash_zone_stats *s, unsigned order)
{
	const struct free_info n = count_free(s, order);

	if (n.buddies == 0)
		return 0;
	if (n.suitable > 0)
		return -1000;
	return 1000 - (int)((1000 + (n.frames * 1000 >> order)) / n.buddies);
}

unsigned ash_extfrag_for_order(const struct ash_zone_stats *s, unsigned order)
{
	const struct free_info n = count_free(s, order);

	return n.frames == 0 ? 0 : (unsigned)((n.frames - (n.suitable << order)) * 100 / n.frames);
}

const char *ash_migratetype_name(enum ash_migratetype mt)
{
	switch (mt) {
	case ASH_MT_UNMOVABLE:
		return "Unmovable";
	case ASH_MT_MOVABLE:
		return "Movable";
	case ASH_MT_RECLAIMABLE:
		return "Reclaimable";
	case ASH_MT_HIGHATOMIC:
		return "HighAtomic";
	case ASH_MT_CMA:
		return "CMA";
	case ASH_MT_ISOLATE:
		return "Isolate";
	default:
		return "?";
	}
}

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

size_t ash_stat_buddyinfo(const struct ash_zone_stats *s, unsigned max_order, unsigned node, const char *zone,
			  char *buf, size_t size)
{
	struct text t = { buf, size, 0 };

	put_zone(&t, node, 0, zone);
	put_char(&t, ' ');
	for (unsigned order = 0; order <= max_order; order++) {
		uint64_t nr = 0;

		for (unsigned mt = 0; mt < ASH_MT_NR; mt++)
			nr += s->nr_free[order][mt];
		put_number(&t, nr, 6);
		put_char(&t, ' ');
	}
	put_char(&t, '\n');
	return finish(&t);
}

size_t ash_stat_pagetypeinfo(const struct ash_zone_stats *s, unsigned pageblock_order, unsigned max_order,
			       unsigned node, const char *zone, char *buf, size_t size)
{
	struct text t = { buf, size, 0 };

	put_string(&t, "Page block order: ", 0);
	put_number(&t, pageblock_order, 0);
	put_string(&t, "\nPages per block:  ", 0);
	put_number(&t, (uint64_t)1 << pageblock_order, 0);
	put_string(&t, "\n\n", 0);
	put_string(&t, "Free pages count per migrate type at order", -43);
	put_char(&t, ' ');
	for (unsigned order = 0; order <= max_order; order++) {
		put_number(&t, order, 6);
		put_char(&t, ' ');
	}
	put_char(&t, '\n');
	for (unsigned mt = 0; mt < ASH_MT_NR; mt++) {
		put_zone(&t, node, 4, zone);
		put_string(&t, ", type ", 0);
		put_string(&t, ash_migratetype_name((enum ash_migratetype)mt), 12);
		put_char(&t, ' ');
		for (unsigned order = 0; order <= max_order; order++) {
			put_number(&t, s->nr_free[order][mt], 6);
			put_char(&t, ' ');
		}
		put_char(&t, '\n');
	}
	put_char(&t, '\n');
	put_string(&t, "Number of blocks type ", -23);
	for (unsigned mt = 0; mt < ASH_MT_NR; mt++) {
		put_string(&t, ash_migratetype_name((enum ash_migratetype)mt), 12);
		put_char(&t, ' ');
	}
	put_char(&t, '\n');
	put_zone(&t, node, 0, zone);
	put_char(&t, ' ');
	for (unsigned mt = 0; mt < ASH_MT_NR; mt++) {
		put_number(&t, s->pageblocks[mt], 12);
		put_char(&t, ' ');
	}
	put_char(&t, '\n');
	return finish(&t);
}
