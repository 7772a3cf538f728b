/* SPDX-License-Identifier: MIT */
/*
 * pcp: a cache of small free pieces in front of the zone, one per CPU (or per whatever the embedder numbers so).
 *
 * A list per order 0..10 and pcp type, and in front of each a magazine, which is all that a hit touches. Pieces here
 * are not free to the zone: they are in state PCP, and no list type is remembered with them. When they go back, the
 * type of their pageblock is read under the zone lock; a block converted or isolated meanwhile gets its own back. CMA
 * and HIGHATOMIC pieces ride the MOVABLE list until then; a piece of a block seen isolated bypasses the cache. The
 * kernel's lists end at order 3 and have one more for pageblocks; the orders between and one above are here because a
 * pair costs a twentieth of what splitting and merging costs (docs/benchmarks.md). They are asked of the zone one at a
 * time to begin with. pcp_tune.c decides how much goes in and out at once, and how much stays.
 *
 * The pcp lock is only ever tried on the way in: whoever meets it held goes to the zone instead of waiting. Drains
 * wait.
 *
 * Where every slot has one owner at a time (config.pcp_owned) and the embedder can make all CPUs pass a barrier, the
 * owner does not take the lock but raises a flag, `busy`, and looks whether a drainer holds the lock. A drainer takes
 * the lock, sends the barrier, and waits for the flag to fall. After the barrier either the drainer sees the flag or
 * the owner sees the lock: Dekker's argument, the owner's fence being paid by the drainer. A signal handler that
 * interrupts its own thread's section finds the flag up and goes to the zone.
 */
#ifndef ASH_PAGE_PCP_H
#define ASH_PAGE_PCP_H

#include "page/buddy.h"

#define ASH_PCP_MAX_ORDER 10
#define ASH_PCP_BATCH_ORDER 3 /* up to here the pcp is kept filled, a batch at a time */
#define ASH_PCP_COLUMNS 4     /* the pcp types and one that stays empty: a shift on the way to a list */
#define ASH_PCP_LISTS ((ASH_PCP_MAX_ORDER + 1) * ASH_PCP_COLUMNS)

/*
 * The hot end of a list: an array, so that a hit reads and writes one frame, the head of the piece itself. One word
 * says all of its state, so that a hit changes one word:
 *
 *      bit 0-7   pieces here           bit 8-15  room: how many there may be            bit 16-   pieces taken by users
 *
 * A hit is a free while there is room, or an allocation while there is a piece. Room is lent by the pcp out of what is
 * below its high mark (`charged`), and only in places that are no hit; without room every free comes by there. So this
 * one comparison stands for all that a free must ask: whether the pcp is full, being emptied, or switched off.
 */
#define ASH_MAGAZINE_PIECES 14 /* with the state, a cache line */
struct ash_magazine {
	_Atomic uint64_t state;
	_Atomic uint32_t pfn[ASH_MAGAZINE_PIECES]; /* the hottest last */
};

#define ASH_MAGAZINE_ROOM 0x100u
#define ASH_MAGAZINE_TAKEN 0x10000u

/* What is behind the magazine: a piece is named by its pfn plus 1, so that zero-filled is empty. */
struct ash_pcp_list {
	uint32_t first, last; /* hot, cold; last means something only while first is not 0 */
};

/*
 * How a pcp adapts to its traffic (pcp_tune.c). Written by whoever is inside; high is read by anyone. All in frames but
 * alloc_factor. Zero-filled means: to be decided at the first use.
 */
struct ash_pcp_tune {
	_Atomic uint32_t high;      /* what is freed beyond it goes on to the zone */
	uint32_t free_count;        /* freed lately, and not allocated again */
	unsigned alloc_factor;      /* refills in a row without a free between them */
	uint64_t in_seen, out_seen; /* by its users, when it was last looked at */
};

/* All counts are in frames, written by whoever is inside. What was freed by users follows from the others. */
struct ash_pcp {
	struct ash_magazine magazine[ASH_PCP_LISTS];
	struct ash_lock lock;
	_Atomic uint32_t busy; /* the owner is inside; biased zones only */
	/*
	 * listed and the room of all magazines: never less than what is inside. A single word, for those who are not
	 * inside.
	 */
	_Atomic uint32_t charged;
	_Atomic uint32_t listed;    /* on the lists */
	_Atomic uint64_t open;      /* bit i: the state of magazine i is not 0 */
	uint64_t refilled, drained; /* from and to the zone */
	uint64_t taken;             /* by users, as far as the magazines no longer say */
	struct ash_pcp_tune tune;
	struct ash_pcp_list list[ASH_PCP_LISTS];
} ASH_ALIGNED(64);
ASH_BUILD_ASSERT(ASH_PCP_LISTS <= 64, "a bit of open for each");

/* The owner's way in; false: somebody is inside. */
ASH_INLINE bool ash_pcp_enter_biased(struct ash_pcp *pcp)
{
	/* Only for who interrupted the owner inside: nobody else writes it. */
	if (ASH_UNLIKELY(atomic_load_explicit(&pcp->busy, memory_order_relaxed) != 0))
		return false;
	atomic_store_explicit(&pcp->busy, 1, memory_order_relaxed);
	/* The hardware half of this fence is the drainer's barrier. */
	atomic_signal_fence(memory_order_seq_cst);
	if (ASH_LIKELY(atomic_load_explicit(&pcp->lock.word, memory_order_acquire) == ASH_LOCK_FREE))
		return true;
	atomic_store_explicit(&pcp->busy, 0, memory_order_release);
	return false;
}

ASH_INLINE void ash_pcp_leave_biased(struct ash_pcp *pcp)
{
	atomic_store_explicit(&pcp->busy, 0, memory_order_release);
}

ASH_INLINE bool ash_pcp_enter(struct ash_zone *z, struct ash_pcp *pcp)
{
	return z->pcp_biased ? ash_pcp_enter_biased(pcp) : ash_lock_try(&pcp->lock);
}

ASH_INLINE void ash_pcp_leave(struct ash_zone *z, struct ash_pcp *pcp)
{
	if (z->pcp_biased)
		ash_pcp_leave_biased(pcp);
	else
		ash_unlock(&pcp->lock, z->lock_ops);
}

/* Everybody else's way in; waits. Left with ash_unlock(). */
void ash_pcp_lock(struct ash_zone *z, struct ash_pcp *pcp);

ASH_INLINE bool ash_pcp_order_allowed(const struct ash_zone *z, unsigned order)
{
	/* A piece with guards behind it is no use to anybody else. */
	return order <= z->pcp_max_order && order >= z->guard_order;
}

ASH_INLINE unsigned ash_magazine_nr(uint64_t state)
{
	return (uint8_t)state;
}

ASH_INLINE unsigned ash_magazine_room(uint64_t state)
{
	return (uint8_t)(state >> 8);
}

ASH_INLINE uint64_t ash_magazine_state(const struct ash_magazine *m)
{
	return atomic_load_explicit(&m->state, memory_order_relaxed);
}

ASH_INLINE void ash_magazine_set(struct ash_magazine *m, uint64_t state)
{
	atomic_store_explicit(&m->state, state, memory_order_relaxed);
}

/* For a hit, which reads state and slots of it. */
ASH_INLINE struct ash_magazine *ash_pcp_magazine(struct ash_pcp *pcp, unsigned index)
{
	return ash_opaque(&pcp->magazine[index]);
}

ASH_INLINE unsigned ash_pcp_index(unsigned order, enum ash_migratetype mt)
{
	return order * ASH_PCP_COLUMNS + (unsigned)mt;
}

/* The hottest piece of a magazine that is not empty; state is its. Inside. */
ASH_INLINE void ash_magazine_pop(struct ash_zone *z, struct ash_magazine *m, uint64_t state, unsigned order,
				 enum ash_migratetype mt, struct ash_page_grant *grant)
{
	const ash_pfn_t pfn = atomic_load_explicit(&m->pfn[ash_magazine_nr(state) - 1], memory_order_relaxed);
	struct ash_frame *f = ash_frame_at(z->frames, pfn);
	const uint32_t word = atomic_load_explicit(&f->word, memory_order_relaxed);

	ASH_ZONE_ASSERT(z, (word & 0xffffff) == ash_frame_word(ASH_FRAME_PCP, order, mt, 0),
			"pcp holds a foreign piece", pfn, word, order);
	ash_magazine_set(m, state + ASH_MAGAZINE_TAKEN - 1);
	atomic_store_explicit(&f->word, ash_frame_word(ASH_FRAME_USED, order, mt, 0), memory_order_relaxed);
	*grant = (struct ash_page_grant){ pfn, ash_word_zeroed(word) };
}

/* On top of a magazine that has room; f is the head's frame, word what it shall say. Inside. */
ASH_INLINE void ash_magazine_push(struct ash_magazine *m, uint64_t state, ash_pfn_t pfn, struct ash_frame *f,
				  uint32_t word)
{
	_Atomic uint32_t *slot = &m->pfn[ash_magazine_nr(state)];

	/*
	 * Who takes a piece and gives it back finds the slot as it was. Not to write it is what makes this a matter of
	 * instructions: the next to read the slot would wait for the store, twenty cycles.
	 */
	if (atomic_load_explicit(slot, memory_order_relaxed) != pfn)
		atomic_store_explicit(slot, pfn, memory_order_relaxed);
	ash_magazine_set(m, state + 1);
	atomic_store_explicit(&f->word, word, memory_order_relaxed);
}

/* pcp_stock.c: what is where in a pcp. For who is inside, but where it says otherwise. */

/* Frames inside. Read by somebody who is not inside it is a figure, no more. */
uint32_t ash_pcp_frames(const struct ash_pcp *pcp);

/* Frames allocated, and freed, by users of this pcp so far. */
uint64_t ash_pcp_taken(const struct ash_pcp *pcp);
uint64_t ash_pcp_given(const struct ash_pcp *pcp);

/* For anyone, and never less than what has been inside all the time; 0 after a drain. */
ASH_INLINE uint32_t ash_pcp_charged(const struct ash_pcp *pcp)
{
	return atomic_load_explicit(&pcp->charged, memory_order_relaxed);
}

/* Take back the room that no piece uses: from now on no free is a hit, and charged is exact. */
void ash_pcp_close(struct ash_pcp *pcp);

/* A piece that has come from the zone, behind all others: so allocations come in the order the buddy lists gave. */
void ash_pcp_append(struct ash_zone *z, struct ash_pcp *pcp, unsigned index, ash_pfn_t pfn, uint32_t word);
/* So many frames were appended. */
void ash_pcp_appended(struct ash_pcp *pcp, uint32_t frames);

/* Fill a magazine that is empty from its list. */
void ash_pcp_load(struct ash_zone *z, struct ash_pcp *pcp, unsigned index);

/* Have room in a magazine: up to the high mark if there is that much, for one piece in any case. */
void ash_pcp_make_room(struct ash_zone *z, struct ash_pcp *pcp, unsigned index);

/* Take up to nr pieces from the cold end of list and magazine. Returns how many, in pfn. */
unsigned ash_pcp_take_cold(struct ash_zone *z, struct ash_pcp *pcp, unsigned index, unsigned nr, ash_pfn_t *pfn);

/* With a refill if need be. false: the pcp is busy, or empty and the zone has nothing for it, or may not give it. */
bool ash_pcp_alloc(struct ash_zone *z, struct ash_pcp *pcp, unsigned order, enum ash_migratetype mt, unsigned flags,
		   struct ash_page_grant *grant);

/* pcp_tune.c, both for who is inside: how many pieces to ask the zone for, 1 or more; how many frames to give to it. */
unsigned ash_pcp_tune_refill(struct ash_zone *z, struct ash_pcp *pcp, unsigned order);
uint32_t ash_pcp_tune_shrink(struct ash_zone *z, struct ash_pcp *pcp, unsigned order);

/*
 * With a bulk free if the pcp is over its high mark afterwards. false: not a piece for the pcp now; the caller frees it
 * to the zone. The head is inside the zone; a piece that is not plainly allocated is never one for the pcp.
 */
bool ash_pcp_free(struct ash_zone *z, struct ash_pcp *pcp, ash_pfn_t pfn, unsigned order);

/* As ash_pcp_free(), but never gives anything on to the zone: the pcp may stand above its high mark for a while. */
bool ash_pcp_free_trylock(struct ash_zone *z, struct ash_pcp *pcp, ash_pfn_t pfn, unsigned order);

/* Give everything back, a batch per zone lock hold; or what is more than high. Without the pcp's lock. */
void ash_pcp_drain(struct ash_zone *z, struct ash_pcp *pcp);
void ash_pcp_trim(struct ash_zone *z, struct ash_pcp *pcp, uint32_t high);

/* The mark it goes by, within those of the zone now. */
uint32_t ash_pcp_high(const struct ash_zone *z, const struct ash_pcp *pcp);

/*
 * Batch and high marks for the number of frames now present (kernel: zone_batchsize, zone_highsize). Under the zone
 * lock.
 */
void ash_pcp_resize(struct ash_zone *z);

/* Of all pcps: exact if they are all locked. */
uint64_t ash_pcp_total(const struct ash_zone *z);

#endif
