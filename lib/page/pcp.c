/* SPDX-License-Identifier: MIT */
/* The per-CPU page caches. Kernel: rmqueue_pcplist, rmqueue_bulk, free_frozen_page_commit, free_pcppages_bulk. */
#include "page/pcp.h"

#include "page/deferred.h"
#include "page/fallback.h"
#include "page/reserve.h"

/*
 * Pieces freed in one zone lock hold: some ten microseconds of it. Four times fewer made frees in random order by two
 * threads dearer by a third, who then met at the lock four times as often.
 */
#define SHRINK_PIECES 256

#define LINE 64 /* bytes, of the caches */
#define REFILL_AHEAD 12 /* of a row, this many heads are on their way while one is written */

/*
 * Of how many orders the buddies of a piece are looked at ahead, whatever is found there; and of as many more, where it
 * will merge so far.
 */
#define PREFETCH_ORDERS 2

static ash_pfn_t lower(ash_pfn_t a, ash_pfn_t b)
{
	return a < b ? a : b;
}

void ash_pcp_lock(struct ash_zone *z, struct ash_pcp *pcp)
{
	ash_lock(&pcp->lock, z->lock_ops);
	if (!z->pcp_biased)
		return;
	z->ops->barrier();
	while (atomic_load_explicit(&pcp->busy, memory_order_acquire) != 0)
		ash_cpu_relax();
}

/* A row of pieces out of the smallest buddy of the type, or one by the rules of fallback. Returns how many; 0: none. */
static unsigned take(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags, unsigned nr,
		     enum ash_rmqueue_mode *mode, struct ash_taken *taken)
{
	if (*mode == ASH_RMQUEUE_NORMAL && !(flags & ASH_ALLOC_CMA)) {
		const unsigned n = ash_buddy_take_row(z, order, mt, nr, taken);

		if (n > 0)
			return n;
	}
	*taken = ash_rmqueue(z, order, mt, flags, mode);
	return taken->pfn != ASH_PFN_NONE;
}

/*
 * What a holder of the zone lock will write is in the cache of whoever held it last. It is asked for at once and not
 * one line by one; but not before the lock is held, or it would be taken away from who is writing it.
 */
static void prefetch_lists(struct ash_zone *z, unsigned index)
{
	const struct ash_freelist *l = z->freelist[index % ASH_PCP_COLUMNS];

	ash_prefetch_write(&z->nonempty);
	ash_prefetch_write(&z->free);
	for (unsigned order = index / ASH_PCP_COLUMNS; order <= z->max_order; order += LINE / sizeof(*l))
		ash_prefetch_write(&l[order]);
}

/* Up to nr pieces in one zone lock hold, in the order the lists give them. The pcp's list is empty. */
static void refill(struct ash_zone *z, struct ash_pcp *pcp, unsigned order, enum ash_migratetype mt, unsigned flags,
		   unsigned nr)
{
	const unsigned index = ash_pcp_index(order, mt);
	enum ash_rmqueue_mode mode = ASH_RMQUEUE_NORMAL;
	ash_pfn_t frames = 0;

	if (flags & ASH_ALLOC_TRYLOCK) {
		if (!ash_lock_try(&z->lock))
			return;
	} else {
		ash_zone_lock(z);
	}
	prefetch_lists(z, index);
	while (nr > 0) {
		struct ash_taken taken;
		const unsigned n = take(z, order, mt, flags, nr, &mode, &taken);
		const bool zeroed = taken.zeroed == ash_zeroed_full(z, order);
		const uint32_t word = ash_frame_word(ASH_FRAME_PCP, order, mt, zeroed ? ASH_FRAME_ZEROED : 0);

		if (n == 0)
			break;
		for (unsigned i = 0; i < n; i++) {
			ash_prefetch_write(ash_frame_at(z->frames, taken.pfn + ((i + REFILL_AHEAD) << order)));
			ash_pcp_append(z, pcp, index, taken.pfn + (i << order), word);
		}
		nr -= n;
		frames += (ash_pfn_t)n << order;
	}
	ash_zone_unlock(z);
	ash_pcp_appended(pcp, frames);
}

/* 0 is disabled: see ash_zone_pcp_disable(). Whoever is inside after its drain sees that. */
static bool switched_off(const struct ash_zone *z)
{
	return atomic_load_explicit(&z->pcp_high_max, memory_order_relaxed) == 0;
}

bool ash_pcp_alloc(struct ash_zone *z, struct ash_pcp *pcp, unsigned order, enum ash_migratetype mt, unsigned flags,
		   struct ash_page_grant *grant)
{
	const unsigned index = ash_pcp_index(order, mt);
	struct ash_magazine *m = &pcp->magazine[index];
	bool ok;

	if (!ash_pcp_enter(z, pcp))
		return false;
	if (ash_magazine_nr(ash_magazine_state(m)) == 0) {
		if (pcp->list[index].first == 0 && ash_reserve_may_alloc(z, ash_order_frames(order), flags)) {
			/* What is lent to magazines is not to be filled twice. */
			ash_pcp_close(pcp);
			refill(z, pcp, order, mt, flags, ash_pcp_tune_refill(z, pcp, order));
		}
		ash_pcp_load(z, pcp, index);
	}
	ok = ash_magazine_nr(ash_magazine_state(m)) > 0;
	if (ok)
		ash_magazine_pop(z, m, ash_magazine_state(m), order, mt, grant);
	/* The room of what has just gone would make a hit of the next free. */
	if (switched_off(z))
		ash_pcp_close(pcp);
	ash_pcp_leave(z, pcp);
	return ok;
}

struct outgoing_piece {
	ash_pfn_t pfn;
	uint8_t order, flags; /* enum ash_free_flags */
};

/*
 * A batch on its way to the zone: the pieces as they were cached, and what they make where they are each other's
 * buddies.
 */
struct outgoing {
	unsigned nr, nr_merged;
	ash_pfn_t frames;
	struct outgoing_piece piece[SHRINK_PIECES], merged[SHRINK_PIECES];
};

/*
 * Who frees a row, in either direction, frees buddies one after the other: they are put together before the zone lock
 * is taken. Nothing is written for that: the frames' words change under the lock only.
 */
static void outgoing_add(const struct ash_zone *z, struct outgoing *out, struct outgoing_piece p)
{
	out->piece[out->nr++] = p;
	out->frames += ash_order_frames(p.order);
	while (out->nr_merged > 0 && p.order < z->max_order) {
		const struct outgoing_piece *last = &out->merged[out->nr_merged - 1];

		if (last->order != p.order || (last->pfn ^ p.pfn) != ash_order_frames(p.order) ||
		    (p.order >= z->pageblock_order && last->flags != p.flags))
			break;
		p = (struct outgoing_piece){ last->pfn & p.pfn, (uint8_t)(p.order + 1), last->flags & p.flags };
		out->nr_merged--;
	}
	out->merged[out->nr_merged++] = p;
}

/* From the cold ends, list `index` first, each list until it is empty, until there are enough frames. Inside. */
static void gather(struct ash_zone *z, struct ash_pcp *pcp, unsigned index, uint32_t frames, struct outgoing *out)
{
	const uint32_t inside = ash_pcp_frames(pcp);

	if (frames > inside)
		frames = inside;
	out->nr = out->nr_merged = 0;
	out->frames = 0;
	while (out->frames < frames && out->nr < SHRINK_PIECES) {
		const unsigned order = index / ASH_PCP_COLUMNS;
		const uint32_t missing = ((frames - out->frames - 1) >> order) + 1;
		ash_pfn_t pfn[32];
		const unsigned room = lower(SHRINK_PIECES - out->nr, ASH_ARRAY_LEN(pfn));
		const unsigned n = ash_pcp_take_cold(z, pcp, index, lower(missing, room), pfn);

		if (n == 0)
			index = index + 1 < ASH_PCP_LISTS ? index + 1 : 0;
		for (unsigned i = 0; i < n; i++) {
			const unsigned flags = ash_word_zeroed(ash_frame_load(z->frames, pfn[i])) ? ASH_FREE_ZEROED : 0;

			outgoing_add(z, out, (struct outgoing_piece){ pfn[i], (uint8_t)order, (uint8_t)flags });
		}
	}
	pcp->drained += out->frames;
}

/*
 * Freed in random order, a piece misses the cache several times: at the buddies it may merge with, at that of the order
 * after, which is asked whether the next merge is likely, and at their neighbours on their lists, which lie anywhere. A
 * batch has its misses together instead of one by one, and before the zone lock is taken: first the heads of the
 * buddies that are looked at in any case, and then what follows from what is there. Without the lock all of this is a
 * guess, and links may be changing: they only say which lines to ask for.
 */
static void prefetch_buddies(const struct ash_zone *z, const struct outgoing_piece *p, unsigned nr)
{
	for (; nr > 0; nr--, p++) {
		for (unsigned order = p->order; order < (unsigned)p->order + PREFETCH_ORDERS; order++) {
			const ash_pfn_t head = ash_order_start(p->pfn, order);

			ash_prefetch_write(ash_frame_at(z->frames, head ^ ash_order_frames(order)));
		}
	}
}

static ASH_RACES void prefetch_neighbours(const struct ash_zone *z, const struct outgoing_piece *p, unsigned nr)
{
	const ash_pfn_t last = z->nr_frames - 1;

	for (; nr > 0; nr--, p++) {
		ash_pfn_t merges = ~(ash_pfn_t)0;

		/*
		 * By arithmetic, not by a branch that nobody could guess: where the piece does not merge so far, its
		 * own lines and links are asked for, which are here, or lead nowhere in particular.
		 */
		for (unsigned order = p->order; order < (unsigned)p->order + PREFETCH_ORDERS; order++) {
			const ash_pfn_t head = ash_order_start(p->pfn, order), buddy = head ^ ash_order_frames(order);
			const unsigned then = order + PREFETCH_ORDERS;
			const ash_pfn_t later = ash_order_start(p->pfn, then) ^ ash_order_frames(then);
			const struct ash_frame *f;
			ash_pfn_t next, prev;

			merges &= -(ash_pfn_t)ash_buddy_is_free(z, head, order);
			f = ash_frame_at(z->frames, p->pfn ^ ((p->pfn ^ buddy) & merges));
			next = __atomic_load_n(&f->next, __ATOMIC_RELAXED);
			prev = __atomic_load_n(&f->prev, __ATOMIC_RELAXED);
			ash_prefetch_write(ash_frame_at(z->frames, lower(next, last)));
			ash_prefetch_write(ash_frame_at(z->frames, lower(prev, last)));
			ash_prefetch_write(ash_frame_at(z->frames, p->pfn ^ ((p->pfn ^ later) & merges)));
		}
	}
}

/* Pieces that no list holds any more, in the order given. Under the zone lock. */
static void free_pieces(struct ash_zone *z, const struct outgoing_piece *p, unsigned nr)
{
	for (; nr > 0; nr--, p++) {
		/* The block's type is asked now and here; what the pcp thought of it does not count. */
		if (ASH_LIKELY(p->order < z->pageblock_order))
			ash_buddy_free_one(z, p->pfn, p->order, ash_pageblock_type(z, p->pfn), p->flags);
		else
			ash_buddy_free(z, p->pfn, p->order, p->flags);
	}
}

/* Free up to a batch of frames in one zone lock hold. Inside. */
static void shrink(struct ash_zone *z, struct ash_pcp *pcp, unsigned index, uint32_t frames)
{
	struct outgoing out;

	gather(z, pcp, index, frames, &out);
	prefetch_buddies(z, out.merged, out.nr_merged);
	prefetch_neighbours(z, out.merged, out.nr_merged);
	ash_zone_lock(z);
	prefetch_lists(z, index);
	ash_deferred_drain(z);
	for (unsigned i = 0; i < out.nr; i++)
		ash_frame_store(z->frames, out.piece[i].pfn, 0);
	/* A request that waits for a buddy of some order must see it form. */
	if (ASH_LIKELY(z->capture == NULL))
		free_pieces(z, out.merged, out.nr_merged);
	else
		free_pieces(z, out.piece, out.nr);
	ash_zone_unlock(z);
}

/*
 * Whether the piece is allocated and nothing is going on with it. One that a mover may be asked for becomes the pcp's
 * here and now, since the core may be about to mark it as moving.
 */
static bool take_from_owner(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	const uint32_t plain = ash_frame_word(ASH_FRAME_USED, order, 0, 0);
	uint32_t word = ash_frame_load(z->frames, pfn);

	if ((word & z->plain_mask) == plain)
		return true;
	return (word & ASH_FRAME_PLAIN) == plain &&
	       ash_frame_change(z->frames, pfn, &word, ash_frame_word(ASH_FRAME_PCP, order, 0, 0));
}

/*
 * Push if the blocks' type, as seen without a lock, lets it be cached. Returns the list, or ASH_PCP_LISTS; inside then.
 * *full: the pcp stood at its high mark before.
 */
static unsigned enter_and_push(struct ash_zone *z, struct ash_pcp *pcp, ash_pfn_t pfn, unsigned order, bool *full)
{
	enum ash_migratetype mt = ash_pageblock_type(z, pfn);
	const uint32_t frames = ash_order_frames(order);
	struct ash_magazine *m;
	uint32_t high;
	uint64_t state;

	/* A hint only: a block isolated after this look keeps one cached piece until the isolator's drain. */
	if (mt == ASH_MT_ISOLATE)
		return ASH_PCP_LISTS;
	if (order > z->pageblock_order && !ash_pageblock_uniform(z, pfn, order))
		return ASH_PCP_LISTS;
	if (mt >= ASH_MT_PCPTYPES)
		mt = ASH_MT_MOVABLE;
	if (!ash_pcp_enter(z, pcp))
		return ASH_PCP_LISTS;
	if (switched_off(z) || !take_from_owner(z, pfn, order)) {
		ash_pcp_leave(z, pcp);
		return ASH_PCP_LISTS;
	}
	m = &pcp->magazine[ash_pcp_index(order, mt)];
	state = ash_magazine_state(m);
	*full = false;
	if (ash_magazine_nr(state) == ash_magazine_room(state)) {
		high = atomic_load_explicit(&pcp->tune.high, memory_order_relaxed);
		if (ash_pcp_charged(pcp) + frames > high)
			ash_pcp_close(pcp);
		*full = ash_pcp_charged(pcp) >= high;
		ash_pcp_make_room(z, pcp, ash_pcp_index(order, mt));
		state = ash_magazine_state(m);
	}
	ash_magazine_push(m, state, pfn, ash_frame_at(z->frames, pfn), ash_frame_word(ASH_FRAME_PCP, order, mt, 0));
	return ash_pcp_index(order, mt);
}

bool ash_pcp_free(struct ash_zone *z, struct ash_pcp *pcp, ash_pfn_t pfn, unsigned order)
{
	bool full;
	const unsigned index = enter_and_push(z, pcp, pfn, order, &full);

	if (index == ASH_PCP_LISTS)
		return false;
	if (full) {
		const uint32_t frames = ash_pcp_tune_shrink(z, pcp, order);

		if (frames > 0)
			shrink(z, pcp, index, frames);
	}
	ash_pcp_leave(z, pcp);
	return true;
}

bool ash_pcp_free_trylock(struct ash_zone *z, struct ash_pcp *pcp, ash_pfn_t pfn, unsigned order)
{
	bool full;

	if (enter_and_push(z, pcp, pfn, order, &full) == ASH_PCP_LISTS)
		return false;
	ash_pcp_leave(z, pcp);
	return true;
}

void ash_pcp_drain(struct ash_zone *z, struct ash_pcp *pcp)
{
	const uint32_t batch = atomic_load_explicit(&z->pcp_batch, memory_order_relaxed);
	bool more;

	do {
		ash_pcp_lock(z, pcp);
		/* Whoever goes in next decides anew, by the marks of the zone as they are then. */
		atomic_store_explicit(&pcp->tune.high, 0, memory_order_relaxed);
		pcp->tune.alloc_factor = pcp->tune.free_count = 0;
		ash_pcp_close(pcp);
		shrink(z, pcp, 0, batch);
		more = ash_pcp_frames(pcp) > 0;
		ash_unlock(&pcp->lock, z->lock_ops);
	} while (more);
}

void ash_pcp_trim(struct ash_zone *z, struct ash_pcp *pcp, uint32_t high)
{
	const uint32_t batch = atomic_load_explicit(&z->pcp_batch, memory_order_relaxed);
	bool more;

	do {
		ash_pcp_lock(z, pcp);
		ash_pcp_close(pcp);
		if (ash_pcp_frames(pcp) > high)
			shrink(z, pcp, 0, batch);
		more = ash_pcp_frames(pcp) > high;
		ash_unlock(&pcp->lock, z->lock_ops);
	} while (more);
}
