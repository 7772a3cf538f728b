/* SPDX-License-Identifier: MIT */
/*
 * The kernel's fragmentation figures and text forms, from a snapshot of a zone. Kernel: mm/vmstat.c.
 *
 * Pure functions of the snapshot: no locks, no allocation, usable anywhere.
 */
#ifndef ASH_PAGE_STAT_H
#define ASH_PAGE_STAT_H

#include "page/watermark.h"

/* Thousandths of the free memory that a request of this order cannot use; 1000 when nothing is free. */
int ash_unusable_index(const struct ash_zone_stats *s, unsigned order);

/*
 * Why a request of this order fails: towards 0 for lack of memory, towards 1000 because of fragmentation; -1000 when it
 * would not fail; 0 when nothing is free.
 */
int ash_fragmentation_index(const struct ash_zone_stats *s, unsigned order);

/* Percent of free memory outside buddies of this order and above; 0 when nothing is free. Drives proactive work. */
unsigned ash_extfrag_for_order(const struct ash_zone_stats *s, unsigned order);

/*
 * One line of /proc/buddyinfo, and all of /proc/pagetypeinfo for one zone, for orders 0 to max_order. They return the
 * length the text has, as snprintf does; buf is always terminated when size is not 0.
 */
size_t ash_stat_buddyinfo(const struct ash_zone_stats *s, unsigned max_order, unsigned node, const char *zone,
			  char *buf, size_t size);
size_t ash_stat_pagetypeinfo(const struct ash_zone_stats *s, unsigned pageblock_order, unsigned max_order,
			     unsigned node, const char *zone, char *buf, size_t size);

/*
 * The same in parts, for several zones: ORDERS once, FREE for each zone, TYPES once, BLOCKS for each zone. s, node and
 * zone are not looked at by ORDERS and TYPES. No part is longer than ASH_PAGETYPEINFO_PART bytes, zone names of 8
 * letters and the terminating 0 included.
 */
enum ash_pagetypeinfo_part {
	ASH_PAGETYPEINFO_ORDERS,
	ASH_PAGETYPEINFO_FREE,
	ASH_PAGETYPEINFO_TYPES,
	ASH_PAGETYPEINFO_BLOCKS,
};
#define ASH_PAGETYPEINFO_PART (ASH_MT_NR * (64u + ASH_NR_ORDERS * 21u))
size_t ash_stat_pagetypeinfo_part(enum ash_pagetypeinfo_part part, const struct ash_zone_stats *s,
				  unsigned pageblock_order, unsigned max_order, unsigned node, const char *zone,
				  char *buf, size_t size);

/*
 * What the kernel ends /proc/pagetypeinfo with where it knows the owners of pages: a title (mixed NULL; node and zone
 * are not looked at), and for each zone what ash_zone_count_mixed() found.
 */
size_t ash_stat_mixed(const uint64_t *mixed, unsigned node, const char *zone, char *buf, size_t size);

/*
 * A zone's part of /proc/zoneinfo, and the lines of /proc/vmstat that a zone has, with the kernel's names and meanings:
 * promo and the counters of what there is not in a process are left out, and all that is present is managed.
 */
size_t ash_stat_zoneinfo(const struct ash_zone_stats *s, const struct ash_watermarks *w,
			 const struct ash_pcp_stats *pcps, unsigned nr_cpus, unsigned node, const char *zone,
			 char *buf, size_t size);
size_t ash_stat_vmstat(const struct ash_zone_stats *s, char *buf, size_t size);

/* The kernel's name of a migratetype ("Unmovable", ...). */
const char *ash_migratetype_name(enum ash_migratetype mt);

#endif
