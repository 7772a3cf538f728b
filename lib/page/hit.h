/* SPDX-License-Identifier: MIT */
/*
 * The hit: one piece out of a pcp's magazine, or into it, without the zone and without an atomic read-modify-write.
 *
 * ash_zone_alloc() and ash_zone_free() try these first. Whoever is in a hurry has them inline: what is constant there
 * is not tested, and the pcp is looked up once. false means no more than "no hit": call the function then.
 */
#ifndef ASH_PAGE_HIT_H
#define ASH_PAGE_HIT_H

#include "page/pcp.h"

/* The slot for hits by its one owner, or NULL where there can be none, as in a zone that is hardened. Constant. */
ASH_INLINE struct ash_pcp *ash_hit_pcp(const struct ash_zone *z, unsigned cpu)
{
	return cpu < z->hit_cpus ? &z->pcps[cpu] : NULL;
}

/* A request without flags that matter here: not for CMA memory, nor for the HIGHATOMIC reserve. mt is a pcp type. */
ASH_INLINE bool ash_hit_alloc(struct ash_zone *z, struct ash_pcp *pcp, unsigned order, enum ash_migratetype mt,
			      struct ash_page_grant *grant)
{
	struct ash_magazine *m;
	uint64_t state;

	/* CMA frames ride the MOVABLE lists: who may not have them must not look there. */
	if (ASH_UNLIKELY(order > z->pcp_max_order ||
			 (mt == ASH_MT_MOVABLE && atomic_load_explicit(&z->cma_borrower, memory_order_relaxed) == mt)))
		return false;
	m = ash_pcp_magazine(pcp, ash_pcp_index(order, mt));
	if (ASH_UNLIKELY(!ash_pcp_enter_biased(pcp)))
		return false;
	state = ash_magazine_state(m);
	if (ASH_LIKELY(ash_magazine_nr(state) > 0))
		ash_magazine_pop(z, m, state, order, mt, grant);
	ash_pcp_leave_biased(pcp);
	return ASH_LIKELY(ash_magazine_nr(state) > 0);
}

ASH_INLINE bool ash_hit_free(struct ash_zone *z, struct ash_pcp *pcp, ash_pfn_t pfn, unsigned order)
{
	enum ash_migratetype mt;
	struct ash_magazine *m;
	struct ash_frame *f;
	uint64_t state;
	uint32_t word;
	bool room;

	if (ASH_UNLIKELY(order > z->pcp_hit_order || pfn >= z->nr_frames))
		return false;
	f = ash_frame_at(z->frames, pfn);
	mt = ash_pageblock_word_pcp_type(ash_pageblock_word(z, pfn));
	word = atomic_load_explicit(&f->word, memory_order_relaxed) & z->plain_mask;
	/* A head that is plainly used, of this order, is aligned and inside: no more needs checking. */
	if (ASH_UNLIKELY(word != ash_frame_word(ASH_FRAME_USED, order, 0, 0) || !ash_mt_mergeable(mt) ||
			 !ash_pcp_enter_biased(pcp)))
		return false;
	m = ash_pcp_magazine(pcp, ash_pcp_index(order, mt));
	state = ash_magazine_state(m);
	room = ASH_LIKELY(ash_magazine_nr(state) < ash_magazine_room(state));
	if (room)
		ash_magazine_push(m, state, pfn, f, (word | ASH_FRAME_PCP) + ((uint32_t)mt << 16));
	ash_pcp_leave_biased(pcp);
	return room;
}

#endif
