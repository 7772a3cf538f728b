/* SPDX-License-Identifier: MIT */
/* The checks of M3 to M6: pageblock types, sums, and the invariant walker. */
#include "model/engine.h"

/* What a reader is told: ISOLATE while the bit is set. */
static unsigned type_now(const struct model *m, size_t block)
{
	return ash_pageblock_type(m->zone, (ash_pfn_t)(block << m->config.geometry.pageblock_order));
}

static unsigned stored_now(const struct model *m, size_t block)
{
	return ash_pageblock_stored_type(m->zone, (ash_pfn_t)(block << m->config.geometry.pageblock_order));
}

void model_see_types(struct model *m)
{
	for (size_t i = 0; i < m->nr_pageblocks; i++)
		m->types[i] = (uint8_t)stored_now(m, i);
}

static bool mergeable(unsigned type)
{
	return type < ASH_MT_PCPTYPES;
}

/* M3: may a request (mt, flags) be served from a pageblock of this type? */
static bool may_serve(const struct model *m, const struct model_op *op, unsigned mt, size_t block)
{
	/*
	 * A frame in a pcp keeps the type of its list while its pageblock is claimed by another; CMA and HIGHATOMIC
	 * frames ride the MOVABLE list; UNMOVABLE and RECLAIMABLE share the list of pageblock order.
	 */
	const bool through_pcp = op->code == MODEL_ALLOC && op->cpu < m->config.nr_cpus;
	const bool contig = op->code == MODEL_CONTIG || op->code == MODEL_CONTIG_FIND;
	const unsigned type = type_now(m, block);

	if (type == ASH_MT_ISOLATE)
		return through_pcp && (m->types[block] & MODEL_PB_CACHED);
	if (type == mt || contig)
		return true;
	switch (type) {
	case ASH_MT_UNMOVABLE:
	case ASH_MT_MOVABLE:
	case ASH_MT_RECLAIMABLE:
		return !(op->flags & ASH_ALLOC_NOFRAGMENT) || through_pcp;
	case ASH_MT_CMA:
		return mt == ASH_MT_MOVABLE && ((op->flags & ASH_ALLOC_CMA) || through_pcp);
	case ASH_MT_HIGHATOMIC:
		return (op->flags & ASH_ALLOC_HIGHATOMIC) || (mt == ASH_MT_MOVABLE && through_pcp);
	default:
		return false;
	}
}

static bool check_grant_types(struct model *m, const struct model_op *op, const struct model_grant *got)
{
	const unsigned pb = m->config.geometry.pageblock_order;

	for (ash_pfn_t block = got->pfn >> pb; block <= (got->pfn + got->nr - 1) >> pb; block++) {
		if (!may_serve(m, op, got->mt, block))
			return model_fail(m, "M3: a grant lies in a pageblock its type may not use", got->pfn, got->mt,
					  type_now(m, block));
		m->counts.steals += type_now(m, block) != got->mt;
	}
	return true;
}

static bool wholly_unowned(const struct model *m, size_t block)
{
	const unsigned pb = m->config.geometry.pageblock_order;
	const size_t end = ash_min((block + 1) << pb, m->config.nr_frames);

	for (size_t pfn = block << pb; pfn < end; pfn++) {
		if (m->owner[pfn] != MODEL_UNOWNED)
			return false;
	}
	return true;
}

/* M4: the two legal ways in which a type changes are a claim by an allocation and a merge of whole free pageblocks. */
static bool may_change(const struct model *m, const struct model_op *op, const struct model_grant *got, size_t block,
		       unsigned from, unsigned to)
{
	const bool contig = op->code == MODEL_CONTIG || op->code == MODEL_CONTIG_FIND;
	const ash_pfn_t pfn = (ash_pfn_t)(block << m->config.geometry.pageblock_order);

	if (op->code == MODEL_GO_OFFLINE && m->owner[pfn] == MODEL_OFFLINE)
		return true;
	/* Such an allocation makes the pageblocks it is served from HIGHATOMIC; a failing one gives a block back. */
	if (to == ASH_MT_HIGHATOMIC && mergeable(from))
		return got->nr > 0 && (op->flags & ASH_ALLOC_HIGHATOMIC) &&
		       block >= got->pfn >> m->config.geometry.pageblock_order &&
		       block <= (got->pfn + got->nr - 1) >> m->config.geometry.pageblock_order;
	if (from == ASH_MT_HIGHATOMIC && mergeable(to))
		return m->disturbed;
	/* An offline pageblock reads as type 0. */
	if (op->code == MODEL_ONLINE && to == ASH_MT_MOVABLE)
		return true;
	if (!mergeable(from) || !mergeable(to))
		return false;
	/*
	 * Frees on the way may merge pageblocks that are then allocated from; a contiguous range itself claims nothing.
	 */
	if (m->disturbed || (!contig && got->nr > 0 && to == got->mt))
		return true;
	return wholly_unowned(m, block);
}

/* M8 and M4 for one pageblock. */
static bool check_type(struct model *m, const struct model_op *op, const struct model_grant *got, size_t block)
{
	const ash_pfn_t pfn = (ash_pfn_t)(block << m->config.geometry.pageblock_order);
	const unsigned from = m->types[block] & MODEL_PB_TYPE, to = stored_now(m, block);
	const bool isolated = (m->types[block] & MODEL_PB_ISOLATED) != 0;

	if ((type_now(m, block) == ASH_MT_ISOLATE) != isolated)
		return model_fail(m, "M8: a pageblock is isolated that should not be, or the other way round", pfn,
				  type_now(m, block), isolated);
	if (from == to)
		return true;
	if (isolated)
		return model_fail(m, "M8: the type of an isolated pageblock changed", pfn, from, to);
	if (!may_change(m, op, got, block, from, to))
		return model_fail(m, "M4: a pageblock changed its type unasked", pfn, from, to);
	m->counts.reserves += to == ASH_MT_HIGHATOMIC;
	if (got->nr > 0)
		m->counts.claims++;
	else
		m->counts.merges++;
	m->types[block] = (uint8_t)((m->types[block] & ~MODEL_PB_TYPE) | to);
	return true;
}

bool model_check_types(struct model *m, const struct model_op *op, const struct model_grant *got)
{
	if (got->nr > 0 && !check_grant_types(m, op, got))
		return false;
	for (size_t block = 0; block < m->nr_pageblocks; block++) {
		if (!check_type(m, op, got, block))
			return false;
	}
	return true;
}

/* M5: the zone's counters against its own lists, and its lists against the model's owners. */
static bool check_sums(struct model *m)
{
	const struct ash_zone_stats *s = &m->stats;
	uint64_t free = 0, free_blocks = 0, isolated = 0;

	for (unsigned order = 0; order <= m->config.geometry.max_order; order++) {
		for (unsigned mt = 0; mt < ASH_MT_NR; mt++) {
			const uint64_t frames = s->nr_free[order][mt] << order;

			if (mt == ASH_MT_ISOLATE) {
				isolated += frames;
				continue;
			}
			free += frames;
			free_blocks += order >= m->config.geometry.pageblock_order ? frames : 0;
		}
	}
	if (m->config.types == NULL &&
	    m->zone->reserved_highatomic != s->pageblocks[ASH_MT_HIGHATOMIC] << m->config.geometry.pageblock_order &&
	    s->isolated == 0)
		return model_fail(m, "M5: the HIGHATOMIC reserve is not its pageblocks", 0,
				  m->zone->reserved_highatomic,
				  s->pageblocks[ASH_MT_HIGHATOMIC]);
	if (m->pcp_off > 0 && s->pcp > 0)
		return model_fail(m, "M5: a pcp that is switched off holds frames", 0, s->pcp, m->pcp_off);
	if (m->zone->pcp_disabled != m->pcp_off)
		return model_fail(m, "M5: pcps are switched off more often than on", 0, m->zone->pcp_disabled,
				  m->pcp_off);
	if (s->present != m->nr_online)
		return model_fail(m, "M5: present is not what was onlined", 0, s->present, m->nr_online);
	if (s->free != free)
		return model_fail(m, "M5: NR_FREE_PAGES is not the sum of the lists", 0, s->free, free);
	if (s->free_blocks != free_blocks)
		return model_fail(m, "M5: NR_FREE_PAGES_BLOCKS is not the sum of the lists", 0, s->free_blocks,
				  free_blocks);
	if (free + isolated + s->pcp + s->guard != m->nr_unowned)
		return model_fail(m, "M5: free and pcp frames are not the unowned frames", 0,
				  free + isolated + s->pcp + s->guard, m->nr_unowned);
	return true;
}

/* A guard stands behind what is left of a grant, in use or just being reported, in the same 2^guard_order frames. */
static bool belongs_to_a_grant(const struct model *m, ash_pfn_t head)
{
	for (ash_pfn_t pfn = ash_order_start(head, m->config.guard_order); pfn < head; pfn++) {
		if (m->owner[pfn] != MODEL_UNOWNED)
			return true;
	}
	return false;
}

/* Does the model agree with what the head of the piece at pfn says of one of its frames? */
static bool frame_agrees(const struct model *m, ash_pfn_t pfn, ash_pfn_t head, uint32_t word)
{
	switch (ash_word_state(word)) {
	case ASH_FRAME_BUDDY:
	case ASH_FRAME_PCP:
		return m->owner[pfn] == MODEL_UNOWNED && !(ash_word_zeroed(word) && m->dirty[pfn]);
	case ASH_FRAME_GUARD:
		return m->owner[pfn] == MODEL_UNOWNED && head > 0 && belongs_to_a_grant(m, head);
	case ASH_FRAME_HELD:
		return m->owner[pfn] == MODEL_REPORTED && !(ash_word_zeroed(word) && m->dirty[pfn]);
	case ASH_FRAME_USED:
		/* A piece never holds frames of two grants. */
		return m->owner[pfn] != MODEL_UNOWNED && m->owner[pfn] < MODEL_REPORTED &&
		       m->owner[pfn] == m->owner[head];
	default:
		return m->owner[pfn] == MODEL_OFFLINE;
	}
}

/* M5 frame by frame: a sum cannot see one frame lost while another is counted twice. */
static bool check_frames(struct model *m)
{
	const struct ash_frame *frames = m->zone->frames;

	for (ash_pfn_t head = 0; head < m->config.nr_frames;) {
		const uint32_t word = ash_frame_load(frames, head);
		const uint64_t end = (uint64_t)head + ash_order_frames(ash_word_order(word));

		if (end > m->config.nr_frames)
			return model_fail(m, "M5: a piece reaches past the span", head, word, end);
		for (ash_pfn_t pfn = head; pfn < end; pfn++) {
			if (!frame_agrees(m, pfn, head, word))
				return model_fail(m, "M5: the zone and the model disagree on who has a frame", pfn,
						  word, m->owner[pfn]);
		}
		head = (ash_pfn_t)end;
	}
	return true;
}

bool model_check(struct model *m)
{
	struct ash_zone_fault fault = { 0 };

	m->counts.checks++;
	ash_zone_stats(m->zone, &m->stats);
	if (!check_sums(m) || !check_frames(m))
		return false;
	if (ash_zone_check(m->zone, &fault) == 0)
		return true;
	m->error.invariant = fault.invariant;
	return model_fail(m, fault.what, fault.pfn, fault.a, fault.b);
}
