/* SPDX-License-Identifier: MIT */
/* Moving one piece, with the owner's free in the middle of it allowed. */
#include "page/migrate.h"

#include "base/fault.h"
#include "page/buddy.h"
#include "page/mover.h"

#define MIGRATE_TRIES 5

/* How often a range is gone through before what is still allocated in it counts as busy. */
#define MIGRATE_PASSES 3

static uint32_t moving_bit(void)
{
	return (uint32_t)ASH_FRAME_MOVING << 24;
}

bool ash_migrate_possible(const struct ash_zone *z, enum ash_migratetype mt)
{
	/* Whether a MOVABLE piece has a mover shows when it is asked. */
	return mt == ASH_MT_MOVABLE || (mt == ASH_MT_RECLAIMABLE && z->ops != NULL && z->ops->shrinker != NULL);
}

/* Have a RECLAIMABLE piece dropped. That its owner agreed is no proof: it must be gone. */
static int drop_piece(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	uint32_t word;

	if (!ash_migrate_possible(z, ASH_MT_RECLAIMABLE) || ASH_FAULT(z->fault, "shrinker drop") ||
	    z->ops->shrinker->drop(z, pfn, order) != 0)
		return -ASH_EBUSY;
	ash_zone_lock(z);
	word = ash_frame_load(z->frames, pfn);
	ash_zone_unlock(z);
	return ash_word_state(word) == ASH_FRAME_USED ? -ASH_EBUSY : 0;
}

uint32_t ash_zone_private(const struct ash_zone *z, ash_pfn_t pfn)
{
	return __atomic_load_n(&ash_frame_at(z->frames, pfn)->private, __ATOMIC_RELAXED);
}

void ash_zone_set_private(struct ash_zone *z, ash_pfn_t pfn, uint32_t value)
{
	__atomic_store_n(&ash_frame_at(z->frames, pfn)->private, value, __ATOMIC_RELAXED);
}

ash_pfn_t ash_migrate_target_any(struct ash_zone *z, unsigned order, void *arg ASH_UNUSED)
{
	struct ash_page_grant g;

	return ash_zone_alloc(z, order, ASH_MT_MOVABLE, 0, ASH_CPU_NONE, &g) == 0 ? g.pfn : ASH_PFN_NONE;
}

bool ash_migrate_note_free(struct ash_zone *z, ash_pfn_t pfn)
{
	uint32_t word = ash_frame_load(z->frames, pfn);

	while (ash_word_flags(word) == ASH_FRAME_MOVING) {
		if (ash_frame_change(z->frames, pfn, &word, word | ash_frame_word(0, 0, 0, ASH_FRAME_FREE_PENDING)))
			return true;
	}
	return false;
}

/* Look at pfn and, once its owner has agreed, mark it. 0: *order is set and the piece is isolated. 1: nothing there. */
static int isolate_piece(struct ash_zone *z, ash_pfn_t pfn, unsigned *order)
{
	const struct ash_mover_ops *mover = z->ops != NULL ? z->ops->mover : NULL;
	uint32_t word;
	bool marked;

	ash_zone_lock(z);
	word = ash_frame_load(z->frames, pfn);
	ash_zone_unlock(z);
	*order = ash_word_order(word);
	if (ash_word_state(word) != ASH_FRAME_USED)
		return 1;
	if (ash_word_type(word) != ASH_MT_MOVABLE || (word & moving_bit()) || mover == NULL ||
	    ASH_FAULT(z->fault, "mover isolate") || mover->isolate(z, pfn, *order) != 0)
		return -ASH_EBUSY;
	ash_zone_lock(z);
	/* Its owner may be freeing it to a pcp just now, without this lock. */
	marked = ash_frame_change(z->frames, pfn, &word, word | moving_bit());
	ash_zone_unlock(z);
	if (marked)
		return 0;
	/* The owner agreed to something else than was seen: let go of it. */
	mover->putback(z, pfn, *order);
	return -ASH_EBUSY;
}

/* The move is over: src is an ordinary piece again. Returns whether its owner had freed it meanwhile. */
static bool finish(struct ash_zone *z, ash_pfn_t src, bool moved)
{
	uint32_t word;
	bool pending;

	ash_zone_lock(z);
	word = ash_frame_load(z->frames, src);
	/* A free that may not wait is noted without this lock. */
	while (!ash_frame_change(z->frames, src, &word, word & ~ash_frame_word(0, 0, 0, UINT8_MAX)))
		;
	pending = (ash_word_flags(word) & ASH_FRAME_FREE_PENDING) != 0;
	if (moved || pending)
		z->pgmigrate_success++;
	else
		z->pgmigrate_fail++;
	ash_zone_unlock(z);
	return pending;
}

int ash_migrate_piece(struct ash_zone *z, ash_pfn_t pfn, ash_migrate_target *target, void *arg,
		      enum ash_busy_reason *why)
{
	unsigned order;
	ash_pfn_t dst;
	bool pending;
	int err = isolate_piece(z, pfn, &order);

	*why = ASH_BUSY_PINNED;
	if (err != 0)
		return err > 0 ? 0 : err;
	dst = ASH_FAULT(z->fault, "migration target") ? ASH_PFN_NONE : target(z, order, arg);
	err = -ASH_ENOMEM;
	if (dst != ASH_PFN_NONE) {
		/*
		 * Before the owner can know dst: once it does, it may free it, and what is free has no word of an
		 * owner.
		 */
		ash_zone_set_private(z, dst, ash_zone_private(z, pfn));
		err = -ASH_EAGAIN;
		for (unsigned i = 0; i < MIGRATE_TRIES && err == -ASH_EAGAIN; i++)
			err = ASH_FAULT(z->fault, "migrate") ? -ASH_EBUSY : z->ops->mover->migrate(z, dst, pfn, order);
		if (err != 0)
			err = -ASH_EBUSY;
	} else {
		*why = ASH_BUSY_NO_MEMORY;
	}
	pending = finish(z, pfn, err == 0);
	/*
	 * Nobody finds dst, and src only its owner, who no longer has it or freed it: the ordinary free is good enough.
	 */
	if (dst != ASH_PFN_NONE && (err != 0 || pending))
		ash_zone_free(z, dst, order, ASH_CPU_NONE);
	if (err == 0 || pending)
		ash_zone_free(z, pfn, order, ASH_CPU_NONE);
	else
		z->ops->mover->putback(z, pfn, order);
	return pending ? 0 : err;
}

uint32_t ash_migrate_look(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t stop, ash_pfn_t *head, ash_pfn_t *next)
{
	uint32_t word = 0;

	ash_zone_lock(z);
	*head = ash_frame_head(z, pfn);
	if (*head != ASH_PFN_NONE)
		word = ash_frame_load(z->frames, *head);
	ash_zone_unlock(z);
	*next = *head == ASH_PFN_NONE ? pfn + 1 : *head + ash_order_frames(ash_word_order(word));
	if (*next > stop)
		*next = stop;
	return word;
}

/* One allocated piece of a range that is being emptied. */
static int empty_piece(struct ash_zone *z, ash_pfn_t head, uint32_t word, enum ash_busy_reason *why)
{
	if (!ash_migrate_possible(z, ash_word_type(word))) {
		/* It was not here when the block was isolated: it came out of a pcp since. */
		*why = ASH_BUSY_UNMOVABLE;
		return -ASH_EBUSY;
	}
	*why = ASH_BUSY_PINNED;
	if (ash_word_type(word) == ASH_MT_RECLAIMABLE)
		return drop_piece(z, head, ash_word_order(word));
	return ash_migrate_piece(z, head, ash_migrate_target_any, NULL, why);
}

static bool interrupted(struct ash_zone *z)
{
	return z->ops != NULL && z->ops->interrupted != NULL && z->ops->interrupted(z);
}

int ash_migrate_range(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, struct ash_busy_list *busy)
{
	int err = 0;

	for (unsigned pass = 0; pass < MIGRATE_PASSES; pass++) {
		const bool last = pass == MIGRATE_PASSES - 1;
		ash_pfn_t head, next;

		err = 0;
		for (ash_pfn_t pfn = start; pfn < end; pfn = next) {
			const uint32_t word = ash_migrate_look(z, pfn, end, &head, &next);
			enum ash_busy_reason why;
			int failed;

			if (ash_word_state(word) != ASH_FRAME_USED)
				continue;
			/* Asked before each piece: how long a move takes is its owner's business. */
			if (interrupted(z))
				return -ASH_EINTR;
			failed = empty_piece(z, head, word, &why);
			/*
			 * Without room there is no point in going on; anything else may have changed by the next pass.
			 */
			if (failed != 0 && (last || failed == -ASH_ENOMEM))
				ash_busy_add(busy, pfn, next - pfn, why);
			if (failed == -ASH_ENOMEM)
				return failed;
			if (failed != 0)
				err = failed;
		}
		if (err == 0)
			return 0;
	}
	return err;
}
