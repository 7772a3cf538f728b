/* SPDX-License-Identifier: MIT */
/*
 * Frame metadata: who holds a frame, said by the head of the piece that covers it.
 *
 * A piece is 2^order naturally aligned frames with one state. Only its first frame, the head, says so; every other
 * frame of the piece is ASH_FRAME_NONE, as is a frame that is offline. Pieces never overlap. So a gigabyte is taken or
 * given back by writing a handful of words, fresh zero-filled metadata means "offline" without being touched, and the
 * piece that covers any frame is found in at most max_order + 1 steps (ash_frame_head).
 *
 * Who may write: the shape of the pieces (which frames are heads, of what order) changes only under the zone lock.
 * A head may go between USED and PCP under the lock of the pcp alone; therefore the word is atomic, and a holder of the
 * zone lock may rely on a head's order but not on its being USED or PCP. Where a USED piece may be marked MOVING while
 * its owner frees it, both change the word by ash_frame_change() and one of them learns that the other was first. The
 * links belong to the list the piece is on and to that list's lock.
 */
#ifndef ASH_PAGE_FRAME_H
#define ASH_PAGE_FRAME_H

#include "page/types.h"

enum ash_frame_state {
	ASH_FRAME_NONE,  /* offline, or not the head of its piece */
	ASH_FRAME_BUDDY, /* free, on the freelist of its order and of its pageblock's type */
	ASH_FRAME_USED,  /* allocated */
	ASH_FRAME_PCP,   /* free, on a pcp list */
	ASH_FRAME_HELD,  /* free, but taken off the lists by the core: being reported, captured for a request */
	ASH_FRAME_DEFERRED, /* freed where no lock could be waited for; on the deferred list */
	ASH_FRAME_GUARD,    /* kept out of reach behind an allocation, on no list (harden.c) */
};

/* All of the piece is known to read as zero and to cost no memory until touched. Of BUDDY and PCP pieces. */
#define ASH_FRAME_ZEROED 0x80u /* the top bit of the word: a grant is told by a shift */

/* Of a USED piece: its owner has let the core isolate it for a move; and freed it since. */
#define ASH_FRAME_MOVING 0x02u
#define ASH_FRAME_FREE_PENDING 0x04u

struct ash_frame {
	ash_pfn_t next, prev;  /* links of the list the piece is on; undefined otherwise */
	_Atomic uint32_t word; /* state | order << 8 | migratetype << 16 | flags << 24 */
	uint32_t private;      /* USED: the owner's; BUDDY: see freelist.h, "zeroed" */
};
ASH_BUILD_ASSERT(sizeof(struct ash_frame) == 16, "0.4 % of 4 KiB frames");

/*
 * Where a frame's entry is in the table: after every 2^ASH_FRAME_SKEW_ORDER entries a cache line is left out. The heads
 * of large pieces are at equal distances that are powers of two; in a table without gaps they would all want the same
 * few sets of the caches: those of order 9 would share 16 of 2048 sets of a second level of 2 MiB. The gaps shift each
 * stretch of the table, as long as one way of such a cache, against the one before. Tests have them closer.
 */
#ifndef ASH_FRAME_SKEW_ORDER
#define ASH_FRAME_SKEW_ORDER 13
#endif
#define ASH_FRAME_SKEW 4 /* entries of a cache line */

ASH_INLINE size_t ash_frame_entry(size_t pfn)
{
	return pfn + (pfn >> ASH_FRAME_SKEW_ORDER) * ASH_FRAME_SKEW;
}

/* frames: a pointer to struct ash_frame, const or not. */
#define ash_frame_at(frames, pfn) (&(frames)[ash_frame_entry(pfn)])

/* The migratetype is the list's for BUDDY, the request's for USED and PCP. */
ASH_INLINE uint32_t ash_frame_word(enum ash_frame_state state, unsigned order, unsigned mt, unsigned flags)
{
	return (uint32_t)state | (uint32_t)order << 8 | (uint32_t)mt << 16 | (uint32_t)flags << 24;
}

ASH_INLINE enum ash_frame_state ash_word_state(uint32_t word)
{
	return (enum ash_frame_state)(word & 0xff);
}

ASH_INLINE unsigned ash_word_order(uint32_t word)
{
	return word >> 8 & 0xff;
}

ASH_INLINE enum ash_migratetype ash_word_type(uint32_t word)
{
	return (enum ash_migratetype)(word >> 16 & 0xff);
}

ASH_INLINE unsigned ash_word_flags(uint32_t word)
{
	return word >> 24;
}

ASH_INLINE bool ash_word_zeroed(uint32_t word)
{
	return (word >> 24 & ASH_FRAME_ZEROED) != 0;
}

/* Those bits of the word that say: allocated, of this order, and nothing going on with it. */
#define ASH_FRAME_PLAIN 0xff00ffffu

/* Relaxed: whoever needs more than a hint holds the lock that orders the writes. */
ASH_INLINE uint32_t ash_frame_load(const struct ash_frame *frames, ash_pfn_t pfn)
{
	return atomic_load_explicit(&ash_frame_at(frames, pfn)->word, memory_order_relaxed);
}

ASH_INLINE void ash_frame_store(struct ash_frame *frames, ash_pfn_t pfn, uint32_t word)
{
	atomic_store_explicit(&ash_frame_at(frames, pfn)->word, word, memory_order_relaxed);
}

/*
 * Change a word from *seen, or learn in *seen what it is now. A release, because a free noted in the word hands over
 * the frames; an acquire for whoever takes them.
 */
ASH_INLINE bool ash_frame_change(struct ash_frame *frames, ash_pfn_t pfn, uint32_t *seen, uint32_t word)
{
	return atomic_compare_exchange_strong_explicit(&ash_frame_at(frames, pfn)->word, seen, word,
						       memory_order_acq_rel, memory_order_acquire);
}

/* The largest order at which a piece starting at pfn and not reaching past end is naturally aligned. pfn < end. */
ASH_INLINE unsigned ash_piece_order(ash_pfn_t pfn, ash_pfn_t end, unsigned max_order)
{
	const unsigned order = 31u ^ (unsigned)__builtin_clz(end - pfn);
	const unsigned align = (unsigned)__builtin_ctz(pfn | 1u << max_order);

	return order < align ? order : align;
}

#endif
