/* SPDX-License-Identifier: MIT */
/*
 * The pageblock word: one byte per 2^pageblock_order frames that carries the block's migratetype and its bits.
 *
 *      bit 0-2  migratetype (never ISOLATE)       bit 4  isolated: readers are told ISOLATE
 *      bit 3    compaction skip hint              bit 5  online: some frame of the block is online
 *                                                 bit 6  zeroed; means something only while the block is wholly free
 *
 * Isolation is a bit beside the type and not a type, so that ending it restores what was there without being told
 * (Linux 6.17, "make MIGRATE_ISOLATE a standalone bit"). Words are written under the zone lock; readers without it get
 * one relaxed load and must re-read under the lock before they act on a list.
 */
#ifndef ASH_PAGE_PAGEBLOCK_H
#define ASH_PAGE_PAGEBLOCK_H

#include "page/zone_struct.h"

#define ASH_PB_TYPE 0x07u
#define ASH_PB_SKIP 0x08u
#define ASH_PB_ISOLATE 0x10u
#define ASH_PB_ONLINE 0x20u
#define ASH_PB_ZEROED 0x40u

ASH_INLINE ash_pfn_t ash_pageblock_frames(const struct ash_zone *z)
{
	return (ash_pfn_t)1 << z->pageblock_order;
}

ASH_INLINE ash_pfn_t ash_pageblock_start(const struct ash_zone *z, ash_pfn_t pfn)
{
	return pfn & ~(ash_pageblock_frames(z) - 1);
}

/* First pfn past the block, cut at the zone's end. */
ASH_INLINE ash_pfn_t ash_pageblock_end(const struct ash_zone *z, ash_pfn_t pfn)
{
	const uint64_t end = (uint64_t)ash_pageblock_start(z, pfn) + ash_pageblock_frames(z);

	return end < z->nr_frames ? (ash_pfn_t)end : z->nr_frames;
}

ASH_INLINE unsigned ash_pageblock_word(const struct ash_zone *z, ash_pfn_t pfn)
{
	return atomic_load_explicit(&z->pageblocks[pfn >> z->pageblock_order], memory_order_relaxed);
}

ASH_INLINE enum ash_migratetype ash_pageblock_word_type(unsigned word)
{
	return (word & ASH_PB_ISOLATE) ? ASH_MT_ISOLATE : (enum ash_migratetype)(word & ASH_PB_TYPE);
}

/* The type a reader is told: ISOLATE while the bit is set. */
ASH_INLINE enum ash_migratetype ash_pageblock_type(const struct ash_zone *z, ash_pfn_t pfn)
{
	return ash_pageblock_word_type(ash_pageblock_word(z, pfn));
}

/* A pcp type, or what is not mergeable: one comparison tells isolated, CMA and HIGHATOMIC blocks from all others. */
ASH_INLINE enum ash_migratetype ash_pageblock_word_pcp_type(unsigned word)
{
	return (enum ash_migratetype)(word & (ASH_PB_ISOLATE | ASH_PB_TYPE));
}

/* The type under the isolate bit. */
ASH_INLINE enum ash_migratetype ash_pageblock_stored_type(const struct ash_zone *z, ash_pfn_t pfn)
{
	return (enum ash_migratetype)(ash_pageblock_word(z, pfn) & ASH_PB_TYPE);
}

/* Only these may share a merged buddy, which then takes one type (kernel: migratetype_is_mergeable). */
ASH_INLINE bool ash_mt_mergeable(enum ash_migratetype mt)
{
	return mt < ASH_MT_PCPTYPES;
}

/* Whether memory of this type keeps its place for good (CMA is emptied on request, MOVABLE too). */
ASH_INLINE bool ash_mt_taints(enum ash_migratetype mt)
{
	return mt != ASH_MT_MOVABLE && mt != ASH_MT_CMA;
}

/* Caller holds the zone lock and has already moved the block's free buddies. The block must not be isolated. */
void ash_pageblock_set_type(struct ash_zone *z, ash_pfn_t pfn, enum ash_migratetype mt);

/* The same for every block of a buddy of at least pageblock order that is on no list. */
void ash_pageblock_set_type_range(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt);

/* A hint for compaction. Offline blocks are left alone. */
void ash_pageblock_set_skip(struct ash_zone *z, ash_pfn_t pfn, bool skip);

void ash_pageblock_set_isolated(struct ash_zone *z, ash_pfn_t pfn, bool isolated);

/* Mark a block online with the given type. It must be offline. */
void ash_pageblock_set_online(struct ash_zone *z, ash_pfn_t pfn, enum ash_migratetype mt);
void ash_pageblock_set_offline(struct ash_zone *z, ash_pfn_t pfn);

/* Whether every block of [pfn, pfn + 2^order) is told as the same type as the first. */
bool ash_pageblock_uniform(const struct ash_zone *z, ash_pfn_t pfn, unsigned order);

/* Blocks of [pfn, pfn + 2^order), order at least pageblock order, whose zeroed bit is set. */
unsigned ash_pageblock_count_zeroed(const struct ash_zone *z, ash_pfn_t pfn, unsigned order);
void ash_pageblock_set_zeroed(struct ash_zone *z, ash_pfn_t pfn, unsigned order, bool zeroed);

ASH_INLINE bool ash_pageblock_zeroed(const struct ash_zone *z, ash_pfn_t pfn)
{
	return (ash_pageblock_word(z, pfn) & ASH_PB_ZEROED) != 0;
}

/* What stands in one pageblock, counted piece by piece under the zone lock. */
struct ash_pageblock_count {
	ash_pfn_t free;    /* on the freelists */
	ash_pfn_t used[ASH_MT_NR]; /* allocated, by the type asked for */
	ash_pfn_t online;  /* less than a pageblock: the block straddles the edge of what is online */
};
void ash_pageblock_count(const struct ash_zone *z, ash_pfn_t pfn, struct ash_pageblock_count *out);
/* For who wants whole pageblocks only: false, and *out undefined, if part of it is offline or behind the zone's end. */
bool ash_pageblock_count_whole(const struct ash_zone *z, ash_pfn_t pfn, struct ash_pageblock_count *out);

#endif
