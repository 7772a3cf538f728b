/* SPDX-License-Identifier: MIT */
/* Watermarks and their boost. */
#include "page/watermark.h"

#include "page/reserve.h"

/* kernel: min_free_kbytes is between these, watermark_boost_factor is 15000 / 10000. */
#define MIN_FREE_KIB 128u
#define MAX_FREE_KIB 262144u

/* The largest r with r * r <= n. */
static uint64_t isqrt(uint64_t n)
{
	uint64_t r = 0;

	for (uint64_t bit = (uint64_t)1 << 31; bit != 0; bit >>= 1) {
		if ((r + bit) * (r + bit) <= n)
			r += bit;
	}
	return r;
}

uint64_t ash_watermark_default_min(uint64_t frames)
{
	uint64_t kib = isqrt(16 * (frames * 4));

	if (kib < MIN_FREE_KIB)
		kib = MIN_FREE_KIB;
	if (kib > MAX_FREE_KIB)
		kib = MAX_FREE_KIB;
	return kib / 4;
}

uint64_t ash_lowmem_reserve(const uint64_t *managed, unsigned i, unsigned j, unsigned ratio)
{
	uint64_t above = 0;

	for (unsigned k = i + 1; k <= j; k++)
		above += managed[k];
	return ratio == 0 ? 0 : above / ratio;
}

static void store(_Atomic uint64_t *p, uint64_t value)
{
	atomic_store_explicit(p, value, memory_order_relaxed);
}

static uint64_t load(const _Atomic uint64_t *p)
{
	return atomic_load_explicit(p, memory_order_relaxed);
}

ASH_EARLY void ash_reserve_resize(struct ash_zone *z)
{
	const uint64_t min = load(&z->wmark[ASH_WMARK_MIN]);
	uint64_t gap = ash_counter_read(&z->present) * z->wmark_scale / 10000;

	if (gap < min / 4)
		gap = min / 4;
	if (min == 0)
		gap = 0;
	store(&z->wmark[ASH_WMARK_LOW], min + gap);
	store(&z->wmark[ASH_WMARK_HIGH], min + 2 * gap);
	store(&z->wmark_boost, 0);
}

void ash_zone_set_watermarks(struct ash_zone *z, uint64_t min, unsigned scale)
{
	ash_zone_lock(z);
	store(&z->wmark[ASH_WMARK_MIN], min);
	z->wmark_scale = scale;
	ash_reserve_resize(z);
	ash_zone_unlock(z);
}

void ash_zone_set_lowmem_reserve(struct ash_zone *z, const uint64_t reserve[ASH_LOWMEM_ZONES])
{
	ash_zone_lock(z);
	for (unsigned i = 0; i < ASH_LOWMEM_ZONES; i++)
		store(&z->lowmem_reserve[i], reserve != NULL ? reserve[i] : 0);
	ash_zone_unlock(z);
}

void ash_zone_watermarks(struct ash_zone *z, struct ash_watermarks *out)
{
	ash_zone_lock(z);
	for (unsigned i = 0; i < ASH_WMARK_NR; i++)
		out->mark[i] = load(&z->wmark[i]);
	out->boost = load(&z->wmark_boost);
	out->reserved_highatomic = z->reserved_highatomic;
	for (unsigned i = 0; i < ASH_LOWMEM_ZONES; i++)
		out->lowmem_reserve[i] = load(&z->lowmem_reserve[i]);
	ash_zone_unlock(z);
}

static bool has_buddy(struct ash_zone *z, unsigned order, unsigned flags)
{
	for (unsigned mt = 0; mt < ASH_MT_ISOLATE; mt++) {
		if (mt == ASH_MT_HIGHATOMIC && !(flags & ASH_ALLOC_HIGHATOMIC))
			continue;
		if (mt == ASH_MT_CMA && !(flags & ASH_ALLOC_CMA))
			continue;
		/* A racy look, as the rest of the check is. */
		if (ash_freelist_orders(z, (enum ash_migratetype)mt) >> order != 0)
			return true;
	}
	return false;
}

/* The part of the check that is arithmetic. have: free frames less all but one of the request's. */
static bool above_mark(struct ash_zone *z, int64_t have, bool single, enum ash_wmark mark, unsigned flags,
		       uint64_t reserve)
{
	const bool atomic = (flags & ASH_ALLOC_HIGHATOMIC) != 0;
	int64_t min = (int64_t)load(&z->wmark[mark]);

	/* The reserve for the urgent ignores a boost that only wants more order. */
	if (!(atomic && single && mark == ASH_WMARK_MIN))
		min += (int64_t)load(&z->wmark_boost);
	/* Not the size of the reserve but what of it is free: the rest is nobody's to count. */
	if (!atomic)
		have -= (int64_t)ash_counter_read(&z->free_highatomic);
	if (!(flags & ASH_ALLOC_CMA))
		have -= (int64_t)ash_counter_read(&z->free_cma);
	if (atomic) {
		min -= min / 2;
		min -= min / 4;
	}
	return have > min + (int64_t)reserve;
}

bool ash_zone_watermark_ok(struct ash_zone *z, unsigned order, enum ash_wmark mark, unsigned flags, uint64_t reserve,
			   uint64_t free_frames)
{
	const int64_t have = (int64_t)free_frames - (int64_t)(ash_order_frames(order) - 1);

	return above_mark(z, have, order == 0, mark, flags, reserve) && (order == 0 || has_buddy(z, order, flags));
}

ASH_EARLY bool ash_reserve_may_alloc(struct ash_zone *z, ash_pfn_t nr, unsigned flags)
{
	const uint64_t reserve = ash_reserve_lowmem(z, flags);
	int64_t have;

	/* Where there are no marks the count is not read: another processor has just written it. */
	if (load(&z->wmark[ASH_WMARK_MIN]) == 0 && reserve == 0)
		return true;
	have = (int64_t)ash_counter_read(&z->free) - (int64_t)(nr - 1);
	return above_mark(z, have, nr == 1, ASH_WMARK_MIN, flags, reserve);
}

uint64_t ash_reserve_lowmem(const struct ash_zone *z, unsigned flags)
{
	return load(&z->lowmem_reserve[flags >> ASH_ALLOC_ABOVE_SHIFT & (ASH_LOWMEM_ZONES - 1)]);
}

ASH_EARLY void ash_reserve_boost(struct ash_zone *z)
{
	const uint64_t block = ash_pageblock_frames(z), high = load(&z->wmark[ASH_WMARK_HIGH]);
	uint64_t boost = load(&z->wmark_boost) + block, max = high + high / 2;

	/* A zone of a few blocks would be all reserve. */
	if (high == 0 || 4 * block > ash_counter_read(&z->present))
		return;
	if (max < block)
		max = block;
	store(&z->wmark_boost, boost < max ? boost : max);
}

enum ash_background ash_zone_background(struct ash_zone *z)
{
	if (!ash_zone_watermark_ok(z, 0, ASH_WMARK_HIGH, ASH_ALLOC_CMA, 0, ash_counter_read(&z->free)))
		return ASH_BACKGROUND_TRIM;
	if (z->defrag_mode &&
	    !ash_zone_watermark_ok(z, 0, ASH_WMARK_HIGH, ASH_ALLOC_CMA, 0, ash_counter_read(&z->free_blocks)))
		return ASH_BACKGROUND_COMPACT;
	return ASH_BACKGROUND_NOTHING;
}

uint64_t ash_zone_end_boost(struct ash_zone *z)
{
	uint64_t boost;

	ash_zone_lock(z);
	boost = load(&z->wmark_boost);
	store(&z->wmark_boost, 0);
	ash_zone_unlock(z);
	return boost;
}
