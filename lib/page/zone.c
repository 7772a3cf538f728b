/* SPDX-License-Identifier: MIT */
/* A zone as a whole: set-up, bringing frames online, locks for fork, statistics. */
#include "page/deferred.h"
#include "page/harden.h"
#include "page/isolate.h"
#include "page/pcp.h"
#include "page/reserve.h"
#include "page/watermark.h"

ASH_EARLY size_t ash_zone_struct_size(void)
{
	return sizeof(struct ash_zone);
}

ASH_EARLY size_t ash_frames_size(size_t nr_frames)
{
	return ash_frame_entry(nr_frames) * sizeof(struct ash_frame);
}

size_t ash_pcp_struct_size(void)
{
	return sizeof(struct ash_pcp);
}

void *ash_zone_owner(const struct ash_zone *z)
{
	return z->owner;
}

size_t ash_zone_nr_pageblocks(ash_pfn_t nr_frames, struct ash_geometry geometry)
{
	return ((size_t)nr_frames + ((size_t)1 << geometry.pageblock_order) - 1) >> geometry.pageblock_order;
}

bool ash_zone_may_wait(struct ash_zone *z)
{
	return ash_lock_may_wait(&z->lock, z->ops != NULL ? &z->ops->lock : NULL);
}

size_t ash_zone_nr_superblocks(ash_pfn_t nr_frames, struct ash_geometry geometry)
{
	return ((size_t)nr_frames + ((size_t)1 << geometry.max_order) - 1) >> geometry.max_order;
}

void ash_zone_bug(const struct ash_zone *z, const char *what, ash_pfn_t pfn, unsigned long a, unsigned long b)
{
	if (z->ops != NULL && z->ops->bug != NULL)
		z->ops->bug(z, what, pfn, a, b);
	__builtin_trap();
}

static uint8_t lowest(unsigned a, unsigned b, unsigned c)
{
	if (a > b)
		a = b;
	return (uint8_t)(a < c ? a : c);
}

static bool hardening_possible(const struct ash_zone_config *config)
{
	const struct ash_hardening *h = &config->hardening;
	const bool touches = h->poison || h->init_on_alloc || h->init_on_free;

	return (!touches || (config->ops != NULL && config->ops->frame_addr != NULL)) &&
	       h->guard_order <= config->geometry.pageblock_order && h->shuffle_order <= config->geometry.max_order;
}

static ASH_EARLY void harden(struct ash_zone *z, const struct ash_hardening *h)
{
	z->hardening = *h;
	z->hardened = h->poison || h->init_on_alloc || h->init_on_free || h->guard_order > 0 || h->owners != NULL;
	z->guard_order = h->guard_order;
	z->shuffle_order = h->shuffle ? h->shuffle_order : UINT8_MAX;
	z->plain_order = z->guard_order == 0 && !h->shuffle ? z->pageblock_order : 0;
	z->shuffle_state = h->shuffle_seed != 0 ? h->shuffle_seed : 1;
}

ASH_EARLY int ash_zone_init(struct ash_zone *z, const struct ash_zone_config *config)
{
	const struct ash_geometry g = config->geometry;

	if (g.max_order > ASH_MAX_ORDER || g.pageblock_order > g.max_order || config->nr_frames == 0 ||
	    config->nr_frames == ASH_PFN_NONE || config->frames == NULL || config->pageblocks == NULL ||
	    (config->nr_cpus > 0 && config->pcps == NULL) || !hardening_possible(config))
		return -ASH_EINVAL;
	*z = (struct ash_zone){
		.nr_frames = config->nr_frames,
		.pageblock_order = g.pageblock_order,
		.max_order = g.max_order,
		.pcp_max_order = lowest(g.pageblock_order + 1u, g.max_order, ASH_PCP_MAX_ORDER),
		.pcp_hit_order = lowest(g.pageblock_order, g.max_order, ASH_PCP_MAX_ORDER),
		.frames = config->frames,
		.pageblocks = config->pageblocks,
		.pcps = config->pcps,
		.nr_cpus = config->nr_cpus,
		.ops = config->ops,
		.fault = config->ops != NULL ? config->ops->fault : NULL,
		.owner = config->owner,
		.defrag_mode = config->defrag_mode,
		.tainted = config->tainted,
	};
	harden(z, &config->hardening);
	z->pcp_biased = config->pcp_owned && config->ops != NULL && config->ops->barrier != NULL;
	z->hit_cpus = z->pcp_biased && !z->hardened ? z->nr_cpus : 0;
	atomic_store_explicit(&z->cma_borrower, ASH_MT_NR, memory_order_relaxed);
	/* With a mover, what is MOVABLE (of the types asked for, the odd one) is freed with more care. */
	z->plain_mask = ASH_FRAME_PLAIN;
	if (config->ops != NULL && config->ops->mover != NULL)
		z->plain_mask |= ash_frame_word(ASH_FRAME_NONE, 0, ASH_MT_MOVABLE, 0);
	if (config->ops != NULL && config->ops->lock.wait != NULL && config->ops->lock.wake != NULL)
		z->lock_ops = &config->ops->lock;
	ash_freelist_init(z);
	ash_pcp_resize(z);
	return 0;
}

/* Whether every frame of [start, end), which lies in one pageblock, is offline. */
static bool block_part_offline(const struct ash_zone *z, ash_pfn_t start, ash_pfn_t end)
{
	if (start >= atomic_load_explicit(&z->reach, memory_order_relaxed) ||
	    !(ash_pageblock_word(z, start) & ASH_PB_ONLINE))
		return true;
	if (ash_frame_head(z, start) != ASH_PFN_NONE)
		return false;
	for (; start < end; start++) {
		if (ash_word_state(ash_frame_load(z->frames, start)) != ASH_FRAME_NONE)
			return false;
	}
	return true;
}

static bool range_offline(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end)
{
	bool offline = true;

	while (offline && start < end) {
		const ash_pfn_t stop = end - start > ash_order_frames(z->max_order) ?
					       start + ash_order_frames(z->max_order) : end;

		ash_zone_lock(z);
		while (offline && start < stop) {
			const ash_pfn_t block_end = ash_pageblock_end(z, start);
			const ash_pfn_t part_end = block_end < stop ? block_end : stop;

			offline = block_part_offline(z, start, part_end);
			start = part_end;
		}
		ash_zone_unlock(z);
	}
	return offline;
}

ASH_EARLY int ash_zone_online_isolated(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, bool zeroed)
{
	const ash_pfn_t from = start, end = start + nr;

	if (nr == 0 || (uint64_t)start + nr > z->nr_frames || !range_offline(z, start, end))
		return -ASH_EINVAL;
	if (ash_hardened(z) && !zeroed)
		ash_harden_online(z, start, nr);
	/* One piece per lock hold: at most 2^max_order frames, which are a few hundred pageblock words. */
	while (start < end) {
		const unsigned order = ash_piece_order(start, end, z->max_order);
		const ash_pfn_t piece_end = start + ash_order_frames(order);

		ash_zone_lock(z);
		if (piece_end > atomic_load_explicit(&z->reach, memory_order_relaxed))
			atomic_store_explicit(&z->reach, piece_end, memory_order_relaxed);
		for (ash_pfn_t b = ash_pageblock_start(z, start); b < piece_end; b += ash_pageblock_frames(z)) {
			if (ash_pageblock_word(z, b) & ASH_PB_ONLINE)
				continue;
			ash_pageblock_set_online(z, b, ASH_MT_MOVABLE);
			if (b >= from && end - b >= ash_pageblock_frames(z))
				ash_pageblock_set_isolated(z, b, true);
		}
		ash_counter_add(&z->present, ash_order_frames(order));
		ash_buddy_free(z, start, order, ASH_FREE_TAIL | (zeroed ? ASH_FREE_ZEROED : 0));
		ash_zone_unlock(z);
		start = piece_end;
	}
	ash_zone_lock(z);
	ash_pcp_resize(z);
	ash_reserve_resize(z);
	ash_zone_unlock(z);
	return 0;
}

ASH_EARLY int ash_zone_online(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, bool zeroed)
{
	const int err = ash_zone_online_isolated(z, start, nr, zeroed);

	if (err != 0)
		return err;
	/* Last, so that no request sees a part of the range (kernel: online_pages). */
	ash_zone_unisolate_range(z, start, nr);
	if (z->hardening.shuffle)
		ash_shuffle_range(z, start, start + nr);
	return 0;
}

ASH_EARLY bool ash_zone_reclaim_own(struct ash_zone *z, enum ash_migratetype mt)
{
	bool held = atomic_load_explicit(&z->deferred, memory_order_relaxed) != 0;

	for (unsigned i = 0; !held && i < z->nr_cpus; i++)
		held = ash_pcp_charged(&z->pcps[i]) > 0;
	if (held)
		ash_zone_drain(z);
	return ash_zone_unreserve_highatomic(z, mt, false) || held;
}

void ash_zone_drain(struct ash_zone *z)
{
	if (atomic_load_explicit(&z->deferred, memory_order_relaxed) != 0) {
		ash_zone_lock(z);
		ash_deferred_drain(z);
		ash_zone_unlock(z);
	}
	for (unsigned i = 0; i < z->nr_cpus; i++) {
		if (ash_pcp_charged(&z->pcps[i]) > 0)
			ash_pcp_drain(z, &z->pcps[i]);
	}
}

void ash_zone_lock_all(struct ash_zone *z)
{
	for (unsigned i = 0; i < z->nr_cpus; i++)
		ash_pcp_lock(z, &z->pcps[i]);
	ash_zone_lock(z);
}

void ash_zone_unlock_all(struct ash_zone *z)
{
	ash_zone_unlock(z);
	for (unsigned i = z->nr_cpus; i-- > 0;)
		ash_unlock(&z->pcps[i].lock, z->lock_ops);
}

bool ash_zone_locks_held(const struct ash_zone *z)
{
	bool held = ash_lock_is_held(&z->lock);

	for (unsigned i = 0; i < z->nr_cpus; i++)
		held |= ash_lock_is_held(&z->pcps[i].lock) ||
			atomic_load_explicit(&z->pcps[i].busy, memory_order_relaxed) != 0;
	return held;
}

void ash_zone_stats(struct ash_zone *z, struct ash_zone_stats *out)
{
	*out = (struct ash_zone_stats){ 0 };
	for (unsigned i = 0; i < z->nr_cpus; i++) {
		struct ash_pcp *pcp = &z->pcps[i];

		ash_pcp_lock(z, pcp);
		out->pcp += ash_pcp_frames(pcp);
		out->pgalloc += ash_pcp_taken(pcp);
		out->pgfree += ash_pcp_given(pcp);
		ash_unlock(&pcp->lock, z->lock_ops);
	}
	ash_zone_lock(z);
	out->spanned = z->nr_frames;
	out->present = ash_counter_read(&z->present);
	out->free = ash_counter_read(&z->free);
	out->free_blocks = ash_counter_read(&z->free_blocks);
	out->free_zeroed = ash_counter_read(&z->free_zeroed);
	out->free_cma = ash_counter_read(&z->free_cma);
	out->cma = z->cma;
	out->isolated = ash_counter_read(&z->nr_isolate);
	for (unsigned mt = 0; mt < ASH_MT_NR; mt++) {
		out->pageblocks[mt] = z->nr_blocks[mt];
		for (unsigned order = 0; order <= z->max_order; order++)
			out->nr_free[order][mt] = z->freelist[mt][order].nr;
	}
	out->pgalloc += z->pgalloc;
	out->pgfree += z->pgfree;
	out->extfrag_claim = z->extfrag_claim;
	out->extfrag_steal = z->extfrag_steal;
	out->pgmigrate_success = z->pgmigrate_success;
	out->pgmigrate_fail = z->pgmigrate_fail;
	out->free_highatomic = ash_counter_read(&z->free_highatomic);
	out->guard = ash_counter_read(&z->guard);
	out->compact_migrate_scanned = z->compact.migrate_scanned;
	out->compact_free_scanned = z->compact.free_scanned;
	out->compact_isolated = z->compact.isolated;
	out->compact_daemon_migrate_scanned = z->compact.daemon_migrate_scanned;
	out->compact_daemon_free_scanned = z->compact.daemon_free_scanned;
	out->compact_stall = z->compact.stall;
	out->compact_fail = z->compact.fail;
	out->compact_success = z->compact.success;
	out->tainted = z->nr_tainted;
	out->cma_alloc_success = z->cma_alloc_success;
	out->cma_alloc_fail = z->cma_alloc_fail;
	ash_zone_unlock(z);
}

void ash_zone_pcp_stats(const struct ash_zone *z, unsigned cpu, struct ash_pcp_stats *out)
{
	*out = (struct ash_pcp_stats){
		.count = ash_pcp_frames(&z->pcps[cpu]),
		.high = ash_pcp_high(z, &z->pcps[cpu]),
		.high_min = atomic_load_explicit(&z->pcp_high_min, memory_order_relaxed),
		.high_max = atomic_load_explicit(&z->pcp_high_max, memory_order_relaxed),
		.batch = atomic_load_explicit(&z->pcp_batch, memory_order_relaxed),
	};
}

void ash_zone_count_mixed(struct ash_zone *z, uint64_t mixed[ASH_MT_NR])
{
	for (unsigned mt = 0; mt < ASH_MT_NR; mt++)
		mixed[mt] = 0;
	for (uint64_t b = 0; b < z->nr_frames; b += ash_pageblock_frames(z)) {
		struct ash_pageblock_count n;
		enum ash_migratetype mt;
		bool foreign = false;

		ash_zone_lock(z);
		ash_pageblock_count(z, (ash_pfn_t)b, &n);
		mt = ash_pageblock_type(z, (ash_pfn_t)b);
		ash_zone_unlock(z);
		for (unsigned t = 0; t < ASH_MT_PCPTYPES; t++)
			foreign |= n.used[t] > 0 && t != (unsigned)mt;
		mixed[mt == ASH_MT_CMA ? ASH_MT_MOVABLE : mt] += foreign;
	}
}

ASH_EARLY struct ash_zone_free ash_zone_free_now(const struct ash_zone *z)
{
	return (struct ash_zone_free){ .free = ash_counter_read(&z->free),
				       .blocks = ash_counter_read(&z->free_blocks),
				       .zeroed = ash_counter_read(&z->free_zeroed) };
}
