/* SPDX-License-Identifier: MIT */
/*
 * How much a pcp takes from the zone, gives back to it, and keeps. Kernel: nr_pcp_alloc, nr_pcp_free, nr_pcp_high,
 * decay_pcp_high.
 *
 * Who only allocates, or only frees, wants the zone lock seldom: every refill without a free before it asks for twice
 * as much as the last, and every shrink without an allocation gives more. Who has done so will do it the other way
 * round soon: the high mark rises by what was asked for, so that the frees that follow stay in the cache. Below the
 * zone's high watermark there is nothing to be kept, and the mark falls.
 *
 * The counters are looked at where a pcp meets the zone and nowhere else: a hit knows nothing of this.
 */
#include "page/pcp.h"
#include "page/watermark.h"

#define BATCH_BYTES_MAX (256u << 10)
#define FRAME_BYTES 4096u

#define HIGH_FRACTION 8 /* of the zone, for all pcps together (kernel: MIN_PERCPU_PAGELIST_HIGH_FRACTION) */
#define FACTOR_MAX 5    /* kernel: PCP_BATCH_SCALE_MAX */

/* Pieces of one refill: a row of them costs some nanoseconds each, under the zone lock. */
#define REFILL_PIECES 256

/*
 * A pcp may keep an eighth of its zone, but not in any number of pieces: what leaves is what has been there longest, a
 * chain of frames of which each must be read to find the next. Much longer than this it no longer fits into the cache.
 */
#define HIGH_PIECES 4096u

static uint32_t load(const _Atomic uint32_t *p)
{
	return atomic_load_explicit(p, memory_order_relaxed);
}

static uint64_t load64(const _Atomic uint64_t *p)
{
	return atomic_load_explicit(p, memory_order_relaxed);
}

static void store(_Atomic uint32_t *p, uint32_t value)
{
	atomic_store_explicit(p, value, memory_order_relaxed);
}

/* Where low is above high, because both have just changed, high counts. */
static uint32_t clamp(uint32_t value, uint32_t low, uint32_t high)
{
	if (value < low)
		value = low;
	return value > high ? high : value;
}

ASH_EARLY void ash_pcp_resize(struct ash_zone *z)
{
	const uint64_t present = ash_counter_read(&z->present);
	uint64_t batch = present >> 12, high = z->nr_cpus > 0 ? present / HIGH_FRACTION / z->nr_cpus : 0;
	uint32_t value = 1;

	if (batch > BATCH_BYTES_MAX / FRAME_BYTES)
		batch = BATCH_BYTES_MAX / FRAME_BYTES;
	if (batch > 1) {
		batch += batch / 2;
		/* One less than a power of two, so that refills do not march in step with power-of-two users. */
		value = (1u << (31u - (unsigned)__builtin_clz((uint32_t)batch))) - 1;
	}
	if (high < 4 * value)
		high = 4 * value;
	if (z->pcp_disabled > 0)
		value = 1, high = 0;
	store(&z->pcp_batch, value);
	store(&z->pcp_high_min, high < 4 * value ? (uint32_t)high : 4 * value);
	store(&z->pcp_high_max, (uint32_t)high);
}

uint32_t ash_pcp_high(const struct ash_zone *z, const struct ash_pcp *pcp)
{
	return clamp(load(&pcp->tune.high), load(&z->pcp_high_min), load(&z->pcp_high_max));
}

/* Free memory is short of the high watermark: what lies in a cache is missed elsewhere. */
static bool zone_below_high(const struct ash_zone *z)
{
	const uint64_t high = load64(&z->wmark[ASH_WMARK_HIGH]);

	return high != 0 && ash_counter_read(&z->free) < high;
}

/* What the users of this pcp have done since it last met the zone, as it does now with pieces of this order. */
static void note_traffic(const struct ash_zone *z, struct ash_pcp *pcp, unsigned order)
{
	const uint64_t freed = ash_pcp_given(pcp), allocated = ash_pcp_taken(pcp);
	const uint64_t batch = load(&z->pcp_batch), least = (uint64_t)1 << order;
	const uint64_t most = (batch > least ? batch : least) << FACTOR_MAX;
	struct ash_pcp_tune *t = &pcp->tune;
	uint64_t count = t->free_count;

	if (allocated != t->out_seen)
		count /= 2;
	if (freed != t->in_seen)
		t->alloc_factor = 0;
	count += freed - t->in_seen;
	t->free_count = (uint32_t)(count < most ? count : most);
	t->in_seen = freed;
	t->out_seen = allocated;
}

/* The highest mark that traffic of this order can bring about. */
static uint32_t highest(const struct ash_zone *z, unsigned order)
{
	const uint32_t high = load(&z->pcp_high_max), pieces = HIGH_PIECES << order;

	return clamp(pieces, load(&z->pcp_high_min), high);
}

unsigned ash_pcp_tune_refill(struct ash_zone *z, struct ash_pcp *pcp, unsigned order)
{
	const uint32_t batch = load(&z->pcp_batch), min = load(&z->pcp_high_min), max = load(&z->pcp_high_max);
	struct ash_pcp_tune *t = &pcp->tune;
	const unsigned least = order == 0 || order > ASH_PCP_BATCH_ORDER ? 1 : 2; /* a pair, unless pairs are large */
	uint32_t high = ash_pcp_high(z, pcp), pieces, room;

	note_traffic(z, pcp, order);
	store(&t->high, high);
	if (batch <= 1 || max == 0)
		return 1;
	pieces = clamp(batch >> order, least, batch);
	if (min == max)
		return pieces;
	pieces <<= t->alloc_factor;
	/* With a larger cache the zone would not have been asked. */
	if (!zone_below_high(z)) {
		high = clamp(high + (pieces << order), high, highest(z, order) > high ? highest(z, order) : high);
		store(&t->high, high);
	}
	room = high - clamp(ash_pcp_frames(pcp), 0, high);
	if (room > batch && pieces << order <= room - batch && pieces < REFILL_PIECES) {
		if (t->alloc_factor < FACTOR_MAX)
			t->alloc_factor++;
		return pieces;
	}
	return clamp((room > batch ? room - batch : batch) >> order, least, REFILL_PIECES);
}

uint32_t ash_pcp_tune_shrink(struct ash_zone *z, struct ash_pcp *pcp, unsigned order)
{
	const uint32_t batch = load(&z->pcp_batch), min = load(&z->pcp_high_min), max = load(&z->pcp_high_max);
	struct ash_pcp_tune *t = &pcp->tune;
	uint32_t high = ash_pcp_high(z, pcp);

	note_traffic(z, pcp, order);
	if (min != max && zone_below_high(z)) {
		high = high - min > t->free_count ? high - t->free_count : min;
	} else if (min != max && high < t->free_count + batch) {
		/* Large enough for what is freed in one go. */
		const uint32_t limit = highest(z, order);

		high = clamp(t->free_count + batch, high, limit > high ? limit : high);
	}
	store(&t->high, high);
	/* Whether it was full before this piece: what it had room for stays, however large. */
	if (ash_pcp_frames(pcp) - ash_order_frames(order) < high)
		return 0;
	return min != max && high > 2 * batch ? clamp(t->free_count, batch, high - batch) : batch;
}

void ash_zone_pcp_decay(struct ash_zone *z)
{
	for (unsigned i = 0; i < z->nr_cpus; i++) {
		struct ash_pcp *pcp = &z->pcps[i];
		uint32_t high;

		if (load(&pcp->tune.high) <= load(&z->pcp_high_min))
			continue;
		ash_pcp_lock(z, pcp);
		/*
		 * The marks as they are now: whoever has set them to 0 meanwhile drains next, and relies on what it
		 * then leaves.
		 */
		high = ash_pcp_high(z, pcp);
		high = clamp(high - high / HIGH_FRACTION, load(&z->pcp_high_min), load(&z->pcp_high_max));
		store(&pcp->tune.high, high);
		ash_unlock(&pcp->lock, z->lock_ops);
		ash_pcp_trim(z, pcp, high);
	}
}
