/* SPDX-License-Identifier: MIT */
/*
 * CMA areas. The bitmap is claimed first, under the area's lock, then the frames are emptied without it; a place that
 * turns out busy is unclaimed and the search goes on behind it.
 */
#include "page/cma.h"

#include "page/contig.h"
#include "page/pageblock.h"

#define WORD_BITS (8 * sizeof(unsigned long))

/* How often a place is tried again because another caller has its pageblock isolated at that moment. */
#define ISOLATED_TRIES 64

static ash_pfn_t range_bits(const struct ash_cma *cma, ash_pfn_t frames)
{
	return (ash_pfn_t)(((uint64_t)frames + ash_order_frames(cma->order_per_bit) - 1) >> cma->order_per_bit);
}

size_t ash_cma_bitmap_bytes(ash_pfn_t count, unsigned order_per_bit)
{
	const size_t bits = ((size_t)count >> order_per_bit) + 1;

	return (bits + WORD_BITS - 1) / WORD_BITS * sizeof(unsigned long);
}

int ash_cma_init(struct ash_cma *cma, struct ash_zone *z, const char *name, unsigned order_per_bit)
{
	if (order_per_bit > z->pageblock_order)
		return -ASH_EINVAL;
	*cma = (struct ash_cma){ .zone = z, .name = name, .order_per_bit = order_per_bit };
	return 0;
}

/* The blocks are allocated as a whole, so none of their frames is on a list: retype, then give them to the lists. */
static void convert_and_free(struct ash_zone *z, ash_pfn_t base, ash_pfn_t count, enum ash_migratetype mt)
{
	ash_zone_lock(z);
	for (ash_pfn_t b = base; b - base < count; b += ash_pageblock_frames(z))
		ash_pageblock_set_type(z, b, mt);
	z->cma += mt == ASH_MT_CMA ? count : -(uint64_t)count;
	atomic_store_explicit(&z->cma_borrower, z->nr_blocks[ASH_MT_CMA] > 0 ? ASH_MT_MOVABLE : ASH_MT_NR,
			      memory_order_relaxed);
	ash_zone_unlock(z);
	ash_zone_free_run(z, base, count);
}

int ash_cma_add_range(struct ash_cma *cma, ash_pfn_t base, ash_pfn_t count, unsigned long *bitmap,
		      struct ash_busy_list *busy)
{
	struct ash_zone *z = cma->zone;
	struct ash_page_grant grant;
	int err;

	if (count == 0 || ((base | count) & (ash_pageblock_frames(z) - 1)) != 0)
		return -ASH_EINVAL;
	if (cma->nr_ranges == ASH_CMA_RANGES)
		return -ASH_ENOSPC;
	err = ash_zone_alloc_contig_range(z, base, count, ASH_MT_MOVABLE, ASH_ISOLATE_OTHER, &grant, busy);
	if (err != 0)
		return err;
	convert_and_free(z, base, count, ASH_MT_CMA);
	ash_lock(&cma->lock, z->lock_ops);
	cma->range[cma->nr_ranges++] = (struct ash_cma_range){ base, count, bitmap };
	cma->count += count;
	cma->available += count;
	ash_unlock(&cma->lock, z->lock_ops);
	return 0;
}

int ash_cma_destroy(struct ash_cma *cma, struct ash_busy_list *busy)
{
	struct ash_zone *z = cma->zone;
	struct ash_page_grant grant;
	unsigned taken = 0;
	int err = cma->available == cma->count ? 0 : -ASH_EBUSY;

	/* All ranges out of service first, so that a refusal finds every one of them still CMA. */
	while (err == 0 && taken < cma->nr_ranges) {
		const struct ash_cma_range *r = &cma->range[taken];

		err = ash_zone_alloc_contig_range(z, r->base, r->count, ASH_MT_MOVABLE, ASH_ISOLATE_CMA, &grant, busy);
		taken += err == 0;
	}
	for (unsigned i = 0; i < taken; i++) {
		const struct ash_cma_range *r = &cma->range[i];

		if (err == 0)
			convert_and_free(z, r->base, r->count, ASH_MT_MOVABLE);
		else
			ash_zone_free_run(z, r->base, r->count);
	}
	if (err == 0)
		*cma = (struct ash_cma){ .zone = z, .name = cma->name, .order_per_bit = cma->order_per_bit };
	return err;
}

static bool bit_set(const unsigned long *bitmap, uint64_t bit)
{
	return bitmap[bit / WORD_BITS] >> (bit % WORD_BITS) & 1;
}

static void write_bits(unsigned long *bitmap, uint64_t start, uint64_t nr, bool value)
{
	for (uint64_t bit = start; bit < start + nr; bit++) {
		if (value)
			bitmap[bit / WORD_BITS] |= 1ul << (bit % WORD_BITS);
		else
			bitmap[bit / WORD_BITS] &= ~(1ul << (bit % WORD_BITS));
	}
}

/* First bit at or after start where nr clear bits begin and the frame is aligned; `end` when there is none. */
static uint64_t find_clear(const struct ash_cma *cma, const struct ash_cma_range *r, uint64_t start, uint64_t nr,
			   unsigned align_order)
{
	const uint64_t end = range_bits(cma, r->count), align = (uint64_t)1 << align_order;

	while (start + nr <= end) {
		const uint64_t pfn = r->base + (start << cma->order_per_bit);
		uint64_t n = 0;

		if ((pfn & (align - 1)) != 0) {
			start = (((pfn + align - 1) & ~(align - 1)) - r->base + ash_order_frames(cma->order_per_bit) -
				 1) >> cma->order_per_bit;
			continue;
		}
		while (n < nr && !bit_set(r->bitmap, start + n))
			n++;
		if (n == nr)
			return start;
		start += n + 1;
	}
	return end;
}

/* The frames behind bits just claimed. Waits a little for whoever else works in the same pageblock. */
static int empty_place(struct ash_cma *cma, ash_pfn_t pfn, ash_pfn_t nr, struct ash_busy_list *busy)
{
	for (unsigned i = 0;; i++) {
		struct ash_busy first;
		struct ash_busy_list local = { &first, 1, 0 };
		struct ash_page_grant grant;
		const int err = ash_zone_alloc_contig_range(cma->zone, pfn, nr, ASH_MT_UNMOVABLE, ASH_ISOLATE_CMA,
							    &grant, &local);

		if (err != -ASH_EBUSY || local.nr == 0 || first.why != ASH_BUSY_ISOLATED || i == ISOLATED_TRIES) {
			if (err != 0 && local.nr > 0)
				ash_busy_add(busy, first.pfn, first.nr, first.why);
			return err;
		}
		ash_cpu_relax();
	}
}

static int alloc_in_range(struct ash_cma *cma, struct ash_cma_range *r, ash_pfn_t nr, unsigned align_order,
			  ash_pfn_t *pfn, struct ash_busy_list *busy)
{
	const struct ash_lock_ops *ops = cma->zone->lock_ops;
	const uint64_t bits = range_bits(cma, nr);
	uint64_t at = 0;
	int err = -ASH_ENOMEM;

	for (;;) {
		ash_lock(&cma->lock, ops);
		at = nr > cma->available ? range_bits(cma, r->count) : find_clear(cma, r, at, bits, align_order);
		if (at == range_bits(cma, r->count)) {
			ash_unlock(&cma->lock, ops);
			return err;
		}
		write_bits(r->bitmap, at, bits, true);
		cma->available -= nr;
		ash_unlock(&cma->lock, ops);

		*pfn = r->base + (ash_pfn_t)(at << cma->order_per_bit);
		err = empty_place(cma, *pfn, nr, busy);
		if (err == 0)
			return 0;
		ash_lock(&cma->lock, ops);
		write_bits(r->bitmap, at, bits, false);
		cma->available += nr;
		ash_unlock(&cma->lock, ops);
		if (err != -ASH_EBUSY)
			return err;
		at++;
	}
}

int ash_cma_alloc(struct ash_cma *cma, ash_pfn_t nr, unsigned align_order, ash_pfn_t *pfn, struct ash_busy_list *busy)
{
	int err = -ASH_ENOMEM;

	if (nr == 0 || align_order > 31)
		return -ASH_EINVAL;
	/* The next range only after a place in this one was busy or there was none. */
	for (unsigned i = 0; i < cma->nr_ranges && err != 0 && err != -ASH_EINTR; i++) {
		const int e = alloc_in_range(cma, &cma->range[i], nr, align_order, pfn, busy);

		err = e == -ASH_ENOMEM ? err : e;
	}
	ash_lock(&cma->lock, cma->zone->lock_ops);
	*(err == 0 ? &cma->alloc_success : &cma->alloc_fail) += 1;
	*(err == 0 ? &cma->pages_success : &cma->pages_fail) += nr;
	ash_unlock(&cma->lock, cma->zone->lock_ops);
	ash_zone_lock(cma->zone);
	*(err == 0 ? &cma->zone->cma_alloc_success : &cma->zone->cma_alloc_fail) += 1;
	ash_zone_unlock(cma->zone);
	return err;
}

bool ash_cma_release(struct ash_cma *cma, ash_pfn_t pfn, ash_pfn_t nr)
{
	for (unsigned i = 0; i < cma->nr_ranges && nr > 0; i++) {
		const struct ash_cma_range *r = &cma->range[i];

		if (pfn < r->base || pfn - r->base >= r->count)
			continue;
		if (nr > r->count - (pfn - r->base))
			return false;
		ash_zone_free_run(cma->zone, pfn, nr);
		ash_lock(&cma->lock, cma->zone->lock_ops);
		write_bits(r->bitmap, (pfn - r->base) >> cma->order_per_bit, range_bits(cma, nr), false);
		cma->available += nr;
		cma->pages_released += nr;
		ash_unlock(&cma->lock, cma->zone->lock_ops);
		return true;
	}
	return false;
}

/* The longest row of clear bits of a range, in bits. Under the area's lock. */
static uint64_t longest_clear(const struct ash_cma *cma, const struct ash_cma_range *r)
{
	uint64_t longest = 0, n = 0;

	for (uint64_t bit = 0; bit < range_bits(cma, r->count); bit++) {
		n = bit_set(r->bitmap, bit) ? 0 : n + 1;
		longest = n > longest ? n : longest;
	}
	return longest;
}

void ash_cma_stats(struct ash_cma *cma, struct ash_cma_stats *out)
{
	const struct ash_lock_ops *ops = cma->zone->lock_ops;

	ash_lock(&cma->lock, ops);
	*out = (struct ash_cma_stats){
		.total_pages = cma->count,
		.available_pages = cma->available,
		.alloc_success = cma->alloc_success,
		.alloc_fail = cma->alloc_fail,
		.alloc_pages_success = cma->pages_success,
		.alloc_pages_fail = cma->pages_fail,
		.release_pages_success = cma->pages_released,
	};
	ash_unlock(&cma->lock, ops);
	/* A range per lock hold: looking through a large bitmap takes its time. */
	for (unsigned i = 0; i < cma->nr_ranges; i++) {
		uint64_t frames;

		ash_lock(&cma->lock, ops);
		frames = longest_clear(cma, &cma->range[i]) << cma->order_per_bit;
		ash_unlock(&cma->lock, ops);
		out->maxchunk = frames > out->maxchunk ? frames : out->maxchunk;
	}
}
