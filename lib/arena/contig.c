/* SPDX-License-Identifier: MIT */
/*
 * Contiguous ranges out of arenas in use.
 *
 * The page core isolates a range, asks the owners of what is allocated there to move it or drop it, and takes what is
 * then free. Who the owners are is the clients' affair: they set one mover for all arenas, and give each of their
 * pieces a word that the mover is shown with it. Where no range can be emptied, the arena grows by one.
 *
 * One thread at a time empties ranges: the contig turn, which is before all other locks and is held over the owners'
 * functions. fork waits for it, since a child that is made in the middle of a move would have a zone in the middle of
 * one.
 */
#include <errno.h>

#include "arena/internal.h"
#include "page/compact.h"
#include "page/contig.h"
#include "page/mover.h"

static _Atomic(const struct ash_arena_mover *) mover;

void ash_arena_set_mover(const struct ash_arena_mover *m)
{
	atomic_store_explicit(&mover, m, memory_order_release);
}

static void *address(const struct ash_zone *z, ash_pfn_t pfn)
{
	return ash_arena_address(ash_zone_owner(z), pfn);
}

static int isolate(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	const struct ash_arena_mover *m = atomic_load_explicit(&mover, memory_order_acquire);

	return m != NULL ? m->isolate(address(z, pfn), order, ash_zone_private(z, pfn)) : -EBUSY;
}

static int migrate(struct ash_zone *z, ash_pfn_t dst, ash_pfn_t src, unsigned order)
{
	const struct ash_arena_mover *m = atomic_load_explicit(&mover, memory_order_acquire);

	return m->migrate(address(z, dst), address(z, src), order, ash_zone_private(z, src));
}

static void putback(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	const struct ash_arena_mover *m = atomic_load_explicit(&mover, memory_order_acquire);

	m->putback(address(z, pfn), order, ash_zone_private(z, pfn));
}

static int drop(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	const struct ash_arena_mover *m = atomic_load_explicit(&mover, memory_order_acquire);

	return m != NULL ? m->drop(address(z, pfn), order, ash_zone_private(z, pfn)) : -EBUSY;
}

const struct ash_mover_ops ash_arena_mover_ops = { .isolate = isolate, .migrate = migrate, .putback = putback };
const struct ash_shrinker_ops ash_arena_shrinker_ops = { .drop = drop };

/* A range of what is online in the ith arena of the list, emptied if need be. */
static int contig_from(const struct ash_zonelist *zl, unsigned i, size_t nr, unsigned align_order, struct ash_run *out)
{
	struct ash_arena *a = ash_arena_peek(zl->arena[i]);
	struct ash_page_grant grant;
	struct ash_contig_request r = {
		.nr = (ash_pfn_t)nr,
		.align_order = (uint8_t)align_order,
		.mt = ASH_MT_UNMOVABLE,
	};

	if (a == NULL || nr > ash_arena_frames(a))
		return -ENOMEM;
	r.high = atomic_load_explicit(&a->end, memory_order_relaxed);
	if (r.high < r.nr || ash_zone_alloc_contig(a->zone, &r, &grant, NULL) < 0)
		return -ENOMEM;
	*out = (struct ash_run){ ash_arena_address(a, grant.pfn), nr, grant.zeroed };
	if (ASH_UNLIKELY(ash_arenas.bind))
		ash_numastat_count(zl, i, nr);
	return 0;
}

int ash_run_alloc_contig(const struct ash_zonelist *zl, size_t nr_frames, unsigned align_order, struct ash_run *out)
{
	const struct ash_zonelist *from = zl;
	int err = -ENOMEM;

	if (nr_frames == 0)
		return -EINVAL;
	if (align_order > ash_arenas.align_order)
		return -ENOMEM;
	if (ASH_UNLIKELY(ash_arenas.bind))
		from = ash_zonelist_yield(zl);
	ash_lock(&ash_arenas.contig, &ash_futex_ops);
	for (unsigned i = 0; i < from->nr && err < 0; i++)
		err = contig_from(from, i, nr_frames, align_order, out);
	ash_unlock(&ash_arenas.contig, &ash_futex_ops);
	return err == 0 ? 0 : ash_run_alloc(zl, nr_frames, align_order, ASH_MT_UNMOVABLE, out);
}

void ash_arena_compact(void)
{
	ash_lock(&ash_arenas.contig, &ash_futex_ops);
	for (unsigned i = 0; i < ash_registry.nr_spans; i++) {
		struct ash_arena *a = ash_arena_peek(i);

		if (a != NULL)
			(void)ash_zone_compact(a->zone, ASH_COMPACT_ALL, ASH_MT_MOVABLE, ASH_COMPACT_FULL, NULL);
	}
	ash_unlock(&ash_arenas.contig, &ash_futex_ops);
}

void ash_arena_fork_hold_contig(void)
{
	ash_lock(&ash_arenas.contig, &ash_futex_ops);
}

void ash_arena_fork_release_contig(void)
{
	ash_unlock(&ash_arenas.contig, &ash_futex_ops);
}
