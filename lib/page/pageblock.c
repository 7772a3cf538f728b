/* SPDX-License-Identifier: MIT */
/* Pageblock words, and the counts of blocks per type that change with them. */
#include "page/pageblock.h"

/* What a pageblock adds to its superblock's count. Isolation does not change what is in a block. */
static unsigned taint(unsigned word)
{
	return (word & ASH_PB_ONLINE) && ash_mt_taints((enum ash_migratetype)(word & ASH_PB_TYPE));
}

static void count_taint(struct ash_zone *z, ash_pfn_t pfn, unsigned old, unsigned word)
{
	uint32_t *n = &z->tainted[pfn >> z->max_order];

	if (taint(old) == taint(word))
		return;
	z->nr_tainted -= *n > 0;
	*n += taint(word) - taint(old);
	z->nr_tainted += *n > 0;
}

static ASH_EARLY void write_word(struct ash_zone *z, ash_pfn_t pfn, unsigned word)
{
	_Atomic uint8_t *p = &z->pageblocks[pfn >> z->pageblock_order];
	const unsigned old = atomic_load_explicit(p, memory_order_relaxed);

	ASH_ZONE_ASSERT_LOCKED(z);
	if (old & ASH_PB_ONLINE)
		z->nr_blocks[ash_pageblock_word_type(old)]--;
	if (word & ASH_PB_ONLINE)
		z->nr_blocks[ash_pageblock_word_type(word)]++;
	if (z->tainted != NULL)
		count_taint(z, pfn, old, word);
	atomic_store_explicit(p, (uint8_t)word, memory_order_relaxed);
}

void ash_pageblock_set_type(struct ash_zone *z, ash_pfn_t pfn, enum ash_migratetype mt)
{
	const unsigned word = ash_pageblock_word(z, pfn);

	ASH_ZONE_ASSERT(z, mt < ASH_MT_ISOLATE, "ISOLATE is a bit, not a type", pfn, mt, word);
	ASH_ZONE_ASSERT(z, !(word & ASH_PB_ISOLATE), "retyping an isolated pageblock", pfn, mt, word);
	write_word(z, pfn, (word & ~ASH_PB_TYPE) | (unsigned)mt);
}

void ash_pageblock_set_type_range(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt)
{
	const ash_pfn_t end = pfn + ash_order_frames(order);

	for (; pfn < end; pfn += ash_pageblock_frames(z))
		ash_pageblock_set_type(z, pfn, mt);
}

void ash_pageblock_set_skip(struct ash_zone *z, ash_pfn_t pfn, bool skip)
{
	const unsigned word = ash_pageblock_word(z, pfn);

	if ((word & ASH_PB_ONLINE) && ((word & ASH_PB_SKIP) != 0) != skip)
		write_word(z, pfn, word ^ ASH_PB_SKIP);
}

void ash_pageblock_set_isolated(struct ash_zone *z, ash_pfn_t pfn, bool isolated)
{
	const unsigned word = ash_pageblock_word(z, pfn);

	ASH_ZONE_ASSERT(z, ((word & ASH_PB_ISOLATE) != 0) != isolated, "isolate bit already so", pfn, isolated, word);
	write_word(z, pfn, word ^ ASH_PB_ISOLATE);
	ash_counter_add(&z->nr_isolate, isolated ? 1 : (uint64_t)-1);
}

ASH_EARLY void ash_pageblock_set_online(struct ash_zone *z, ash_pfn_t pfn, enum ash_migratetype mt)
{
	write_word(z, pfn, (unsigned)mt | ASH_PB_ONLINE);
}

void ash_pageblock_set_offline(struct ash_zone *z, ash_pfn_t pfn)
{
	if (ash_pageblock_word(z, pfn) & ASH_PB_ISOLATE)
		ash_counter_add(&z->nr_isolate, (uint64_t)-1);
	write_word(z, pfn, 0);
}

bool ash_pageblock_uniform(const struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	const ash_pfn_t end = pfn + ash_order_frames(order);
	const enum ash_migratetype mt = ash_pageblock_type(z, pfn);

	for (pfn += ash_pageblock_frames(z); pfn < end; pfn += ash_pageblock_frames(z)) {
		if (ash_pageblock_type(z, pfn) != mt)
			return false;
	}
	return true;
}

unsigned ash_pageblock_count_zeroed(const struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	const ash_pfn_t end = pfn + ash_order_frames(order);
	unsigned n = 0;

	for (; pfn < end; pfn += ash_pageblock_frames(z))
		n += ash_pageblock_zeroed(z, pfn);
	return n;
}

void ash_pageblock_set_zeroed(struct ash_zone *z, ash_pfn_t pfn, unsigned order, bool zeroed)
{
	const ash_pfn_t end = pfn + ash_order_frames(order);

	for (; pfn < end; pfn += ash_pageblock_frames(z)) {
		const unsigned word = ash_pageblock_word(z, pfn);

		if (((word & ASH_PB_ZEROED) != 0) != zeroed)
			write_word(z, pfn, word ^ ASH_PB_ZEROED);
	}
}

/*
 * Frames that are offline are passed one by one. So who has no use for a part of a pageblock does not want it counted:
 * a small process has one, and every claim of half of it is refused.
 */
static bool count(const struct ash_zone *z, ash_pfn_t pfn, bool whole, struct ash_pageblock_count *out)
{
	const ash_pfn_t start = ash_pageblock_start(z, pfn), end = ash_pageblock_end(z, pfn);
	ash_pfn_t head = ash_frame_head(z, start);

	*out = (struct ash_pageblock_count){ 0 };
	for (pfn = start; pfn < end; head = pfn) {
		const uint32_t word = head == ASH_PFN_NONE ? 0 : ash_frame_load(z->frames, head);
		const uint64_t piece_end = (uint64_t)head + ash_order_frames(ash_word_order(word));
		const ash_pfn_t next = piece_end < end ? (ash_pfn_t)piece_end : end;

		if (ash_word_state(word) == ASH_FRAME_NONE) {
			if (whole)
				return false;
			pfn++;
			continue;
		}
		out->online += next - pfn;
		if (ash_word_state(word) == ASH_FRAME_BUDDY)
			out->free += next - pfn;
		else if (ash_word_state(word) == ASH_FRAME_USED)
			out->used[ash_word_type(word)] += next - pfn;
		pfn = next;
	}
	/* The zone may end within a pageblock. */
	return out->online == ash_pageblock_frames(z);
}

void ash_pageblock_count(const struct ash_zone *z, ash_pfn_t pfn, struct ash_pageblock_count *out)
{
	(void)count(z, pfn, false, out);
}

ASH_EARLY bool ash_pageblock_count_whole(const struct ash_zone *z, ash_pfn_t pfn, struct ash_pageblock_count *out)
{
	return ash_pageblock_end(z, pfn) <= atomic_load_explicit(&z->reach, memory_order_relaxed) &&
	       count(z, pfn, true, out);
}
