/* SPDX-License-Identifier: MIT */
/* The engine's operations on ranges: isolation, contiguous ranges, and the mover that the model is to the zone. */
#include "model/engine.h"

#define NR_FRAMES(m) ((m)->config.nr_frames)
#define PB_ORDER(m) ((m)->config.geometry.pageblock_order)
#define NR_BUSY 4

struct range {
	ash_pfn_t start, nr;
	enum ash_isolate_mode mode;
	bool in_span;
};

/* Now and then a range reaches out of the span: that must be refused as invalid. */
static struct range range_of(const struct model *m, const struct model_op *op)
{
	struct range r = {
		.start = op->a % NR_FRAMES(m),
		.nr = 1 + op->b % NR_FRAMES(m),
		.mode = (enum ash_isolate_mode)(op->order % 3),
	};

	r.in_span = r.nr <= NR_FRAMES(m) - r.start;
	return r;
}

/* M8: may this pageblock be isolated, as far as its frames inside [start, end) and its own state go? */
static bool block_isolatable(const struct model *m, ash_pfn_t block, enum ash_isolate_mode mode)
{
	const ash_pfn_t first = block << PB_ORDER(m), size = 1u << PB_ORDER(m);

	if (size > NR_FRAMES(m) - first)
		return false;
	for (ash_pfn_t pfn = first; pfn < first + size; pfn++) {
		if (m->owner[pfn] == MODEL_OFFLINE)
			return false;
	}
	if (m->types[block] & MODEL_PB_ISOLATED)
		return false;
	return (m->types[block] & MODEL_PB_TYPE) != ASH_MT_CMA || mode == ASH_ISOLATE_CMA;
}

static bool may_leave(const struct model *m, unsigned mt)
{
	return mt == ASH_MT_MOVABLE || (mt == ASH_MT_RECLAIMABLE && m->config.shrinks);
}

static bool isolatable(const struct model *m, const struct range *r)
{
	const ash_pfn_t end = r->start + r->nr;

	for (ash_pfn_t block = r->start >> PB_ORDER(m); block <= (end - 1) >> PB_ORDER(m); block++) {
		if (!block_isolatable(m, block, r->mode))
			return false;
	}
	for (ash_pfn_t i = 0; i < m->nr_grants; i++) {
		const struct model_grant *g = &m->grants[i];

		if (!may_leave(m, g->mt) && g->pfn < end && g->pfn + g->nr > r->start)
			return false;
	}
	return true;
}

/* Whether a frame that nobody owns stands behind a grant as its guard. */
static bool guarded(const struct model *m, ash_pfn_t pfn)
{
	const ash_pfn_t head = m->config.guard_order > 0 ? ash_frame_head(m->zone, pfn) : ASH_PFN_NONE;

	return head != ASH_PFN_NONE && ash_word_state(ash_frame_load(m->zone->frames, head)) == ASH_FRAME_GUARD;
}

static bool unowned(const struct model *m, ash_pfn_t start, ash_pfn_t nr)
{
	for (ash_pfn_t pfn = start; pfn < start + nr; pfn++) {
		if (m->owner[pfn] != MODEL_UNOWNED || guarded(m, pfn))
			return false;
	}
	return true;
}

static void mark(struct model *m, const struct range *r, bool isolated)
{
	for (ash_pfn_t block = r->start >> PB_ORDER(m); block <= (r->start + r->nr - 1) >> PB_ORDER(m); block++) {
		if (isolated)
			m->types[block] |= MODEL_PB_ISOLATED | MODEL_PB_CACHED;
		else
			m->types[block] &= (uint8_t) ~(MODEL_PB_ISOLATED | MODEL_PB_CACHED);
	}
}

int model_isolate(struct model *m, const struct model_op *op)
{
	const struct range r = range_of(m, op);
	struct ash_busy entries[NR_BUSY];
	struct ash_busy_list busy = { entries, NR_BUSY, 0 };
	const int expected = !r.in_span ? -ASH_EINVAL : isolatable(m, &r) ? 0 : -ASH_EBUSY;
	const int result = m->config.target->isolate(m->zone, r.start, r.nr, r.mode, &busy);

	if (result != expected && !(m->fault.fired && result == -ASH_EBUSY)) {
		model_fail(m, "M8: isolating succeeded where it may not, or failed where it may", r.start, r.nr,
			   (unsigned long)-result);
		return result;
	}
	if (result == -ASH_EBUSY && busy.nr == 0 && !m->fault.fired)
		model_fail(m, "M8: a range was refused without a reason", r.start, r.nr, 0);
	if (result == 0)
		mark(m, &r, true);
	return result;
}

int model_unisolate(struct model *m, const struct model_op *op)
{
	struct range r = range_of(m, op);

	if (!r.in_span)
		r.nr = NR_FRAMES(m) - r.start;
	m->config.target->unisolate(m->zone, r.start, r.nr);
	mark(m, &r, false);
	return 0;
}

int model_test_range(struct model *m, const struct model_op *op)
{
	const struct range r = range_of(m, op);
	bool isolated = true;
	int result;

	if (!r.in_span)
		return 0;
	result = m->config.target->test_range(m->zone, r.start, r.nr, NULL);
	for (ash_pfn_t pfn = r.start; pfn < r.start + r.nr; pfn++)
		isolated = isolated && model_isolated(m, pfn);
	if (result == 0 && !(isolated && unowned(m, r.start, r.nr)))
		model_fail(m, "M8: a range passes for isolated and free", r.start, r.nr, isolated);
	if (result != 0 && isolated && unowned(m, r.start, r.nr) && m->stats.pcp == 0)
		model_fail(m, "M8: an isolated and free range does not pass for one", r.start, r.nr, isolated);
	return result;
}

/* --- Contiguous ranges --- */

bool model_nothing_moving(struct model *m)
{
	for (ash_pfn_t i = 0; i < m->nr_grants; i++) {
		if (m->grants[i].moving)
			return model_fail(m, "M9: a grant was isolated and neither moved nor put back",
					  m->grants[i].pfn, m->grants[i].nr, 0);
	}
	return true;
}

static void own_range(struct model *m, const struct range *r, const struct ash_page_grant *grant, unsigned mt,
		      struct model_grant *got)
{
	*got = (struct model_grant){ .pfn = r->start, .nr = r->nr, .order = MODEL_ORDER_RUN, .mt = (uint8_t)mt };
	if (model_take(m, r->start, r->nr, 0, grant->zeroed))
		model_grant_add(m, r->start, r->nr, MODEL_ORDER_RUN, (uint8_t)mt);
}

int model_contig(struct model *m, const struct model_op *op, struct model_grant *got)
{
	const struct range r = range_of(m, op);
	struct ash_busy entries[NR_BUSY];
	struct ash_busy_list busy = { entries, NR_BUSY, 0 };
	struct ash_page_grant grant = { .pfn = ASH_PFN_NONE };
	const bool legal = r.in_span && isolatable(m, &r), clear = legal && unowned(m, r.start, r.nr);
	int result;

	m->mover_mode = op->flags % MODEL_MOVER_MODES;
	result = m->config.target->contig(m->zone, r.start, r.nr, op->mt, r.mode, &grant, &busy);
	if (!model_nothing_moving(m))
		return result;
	if (result != 0) {
		if (clear && !m->fault.fired)
			model_fail(m, "M7: a range of free frames was refused", r.start, r.nr, (unsigned long)-result);
		if (r.in_span && busy.nr == 0 && !m->fault.fired)
			model_fail(m, "M8: a range was refused without a reason", r.start, r.nr, 0);
		return result;
	}
	if (!legal || grant.pfn != r.start)
		model_fail(m, "M8: a contiguous range was taken that may not be", r.start, r.nr, grant.pfn);
	else
		own_range(m, &r, &grant, op->mt, got);
	return 0;
}

/* Limits and a boundary from the bits of b: each absent more often than not. */
static struct ash_contig_request request_of(const struct model *m, const struct model_op *op)
{
	struct ash_contig_request q = {
		.nr = 1 + op->a % NR_FRAMES(m),
		.align_order = op->order,
		.mt = (enum ash_migratetype)op->mt,
	};

	if ((op->b & 3) == 0)
		q.low = (op->b >> 8) % NR_FRAMES(m);
	if ((op->b & 12) == 0)
		q.high = q.low + (op->b >> 16) % NR_FRAMES(m);
	if ((op->b & 48) == 0)
		q.boundary_order = (uint8_t)(1 + (op->b >> 24) % 7);
	return q;
}

static bool fits(const struct ash_contig_request *q, ash_pfn_t pfn, ash_pfn_t high)
{
	if (pfn < q->low || pfn >= high || q->nr > high - pfn || (pfn & ((1u << q->align_order) - 1)))
		return false;
	return q->boundary_order == 0 || pfn >> q->boundary_order == (pfn + q->nr - 1) >> q->boundary_order;
}

/* M7: is there a place for the request that needs nothing moved? */
static bool place_exists(const struct model *m, const struct ash_contig_request *q, ash_pfn_t high)
{
	if (NR_FRAMES(m) > 256 || q->nr > NR_FRAMES(m))
		return false;
	for (ash_pfn_t pfn = 0; pfn <= NR_FRAMES(m) - q->nr; pfn++) {
		const struct range r = { pfn, q->nr, ASH_ISOLATE_OTHER, true };

		if (fits(q, pfn, high) && unowned(m, pfn, q->nr) && isolatable(m, &r))
			return true;
	}
	return false;
}

int model_contig_find(struct model *m, const struct model_op *op, struct model_grant *got)
{
	const struct ash_contig_request q = request_of(m, op);
	const ash_pfn_t high = q.high == 0 ? NR_FRAMES(m) : (ash_pfn_t)ash_min(q.high, NR_FRAMES(m));
	const bool exists = place_exists(m, &q, high);
	struct ash_page_grant grant = { .pfn = ASH_PFN_NONE };
	struct range r;
	int result;

	m->mover_mode = op->flags % MODEL_MOVER_MODES;
	result = m->config.target->contig_find(m->zone, &q, &grant, NULL);
	if (!model_nothing_moving(m))
		return result;
	if (result != 0) {
		const bool impossible = q.boundary_order > 0 && q.nr > 1u << q.boundary_order;

		if (exists && !m->fault.fired)
			model_fail(m, "M7: no place was found for a range though there is one", q.nr, q.align_order,
				   (unsigned long)-result);
		if ((result == -ASH_EINVAL) != impossible)
			model_fail(m, "M7: a request was taken for a contradiction, or the other way round", q.nr,
				   q.boundary_order, (unsigned long)-result);
		return result;
	}
	if (!fits(&q, grant.pfn, high))
		model_fail(m, "M1: a contiguous range breaks its limits", grant.pfn, q.nr, q.boundary_order);
	r = (struct range){ grant.pfn, q.nr, ASH_ISOLATE_OTHER, true };
	if (m->error.what == NULL)
		own_range(m, &r, &grant, op->mt, got);
	return 0;
}

/* --- Offlining and compaction --- */

int model_offline(struct model *m, const struct model_op *op)
{
	const ash_pfn_t size = 1u << PB_ORDER(m);
	struct range r = {
		.start = (ash_pfn_t)(op->a % m->nr_pageblocks) * size,
		.nr = (1 + op->b % 4) * size,
		.mode = ASH_ISOLATE_OFFLINE,
	};
	struct ash_busy entries[NR_BUSY];
	struct ash_busy_list busy = { entries, NR_BUSY, 0 };
	bool legal, clear, dirty = false, zeroed = false;
	int result;

	r.in_span = r.start + r.nr <= NR_FRAMES(m);
	legal = r.in_span && isolatable(m, &r);
	clear = legal && unowned(m, r.start, r.nr);
	m->mover_mode = op->flags % MODEL_MOVER_MODES;
	result = m->config.target->offline(m->zone, r.start, r.nr, &zeroed, &busy);
	if (!model_nothing_moving(m))
		return result;
	if (result != 0) {
		if (clear && !m->fault.fired)
			model_fail(m, "M7: free pageblocks could not be taken offline", r.start, r.nr,
				   (unsigned long)-result);
		if (r.in_span && busy.nr == 0 && !m->fault.fired)
			model_fail(m, "M8: a range was refused without a reason", r.start, r.nr, 0);
		return result;
	}
	if (!legal || !unowned(m, r.start, r.nr)) {
		model_fail(m, "M8: pageblocks were taken offline that may not be", r.start, r.nr, 0);
		return result;
	}
	for (ash_pfn_t pfn = r.start; pfn < r.start + r.nr; pfn++) {
		dirty = dirty || m->dirty[pfn];
		m->owner[pfn] = MODEL_OFFLINE;
	}
	if (zeroed && dirty)
		model_fail(m, "M2: pageblocks taken offline said to be zero hold a written frame", r.start, r.nr, 0);
	m->nr_online -= r.nr;
	m->nr_unowned -= r.nr;
	return 0;
}

int model_compact(struct model *m, const struct model_op *op)
{
	const unsigned order = op->order % (m->config.geometry.max_order + 2u);
	const bool all = order > m->config.geometry.max_order;
	struct ash_zone_stats now;
	bool any = all;

	m->mover_mode = op->b % MODEL_MOVER_MODES;
	if (op->flags % 4 == 3) {
		struct ash_proactive p = { .proactiveness = op->b % 101 };

		(void)ash_zones_compact_proactively(&p, &m->zone, 1, order);
		model_nothing_moving(m);
		return 0;
	}
	if (m->config.target->compact(m->zone, all ? ASH_COMPACT_ALL : order, op->mt,
				      (enum ash_compact_mode)(op->flags % 4), NULL) != ASH_COMPACT_SUCCESS)
		any = true;
	ash_zone_stats(m->zone, &now);
	for (unsigned o = order; o <= m->config.geometry.max_order; o++) {
		for (unsigned mt = 0; mt < ASH_MT_ISOLATE; mt++)
			any = any || now.nr_free[o][mt] > 0;
	}
	if (!any)
		model_fail(m, "M7: compaction claims a success that is nowhere", order, op->mt, op->flags);
	model_nothing_moving(m);
	return 0;
}

/* --- The mover: every whole MOVABLE grant of one buddy can be moved, unless it is pinned --- */

static int mover_isolate(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	struct model *m = ash_zone_owner(z);
	struct model_grant *g = model_grant_at(m, pfn);

	if (pfn >= NR_FRAMES(m) || !model_owned(m, pfn)) {
		model_fail(m, "M9: a mover was asked for a frame that nobody owns", pfn, order, 0);
		return -ASH_EBUSY;
	}
	if (g == NULL || g->order == MODEL_ORDER_RUN)
		return -ASH_EBUSY;
	if (g->mt != ASH_MT_MOVABLE || g->order != order) {
		model_fail(m, "M9: a mover was asked for something else than a MOVABLE grant", pfn, g->mt, order);
		return -ASH_EBUSY;
	}
	if (g->pinned || g->moving)
		return -ASH_EBUSY;
	g->moving = true;
	return 0;
}

static int mover_migrate(struct ash_zone *z, ash_pfn_t dst, ash_pfn_t src, unsigned order)
{
	struct model *m = ash_zone_owner(z);
	struct model_grant *g = model_grant_at(m, src);

	if (g == NULL || !g->moving || g->order != order) {
		model_fail(m, "M9: a grant is migrated that was not isolated", src, dst, order);
		return -ASH_EBUSY;
	}
	if (m->mover_mode == MODEL_MOVER_HESITATES && !g->hesitated) {
		g->hesitated = true;
		return -ASH_EAGAIN;
	}
	g->hesitated = false;
	if (m->mover_mode == MODEL_MOVER_FAILS && (m->counts.moves + m->counts.putbacks) % 3 == 0)
		return -ASH_EBUSY;
	m->counts.moves++;
	if (m->mover_mode == MODEL_MOVER_FREES) {
		model_disown(m, g->pfn, g->nr);
		model_grant_drop(m, g);
		ash_zone_free(z, src, order, ASH_CPU_NONE);
		return (m->counts.moves & 1) ? 0 : -ASH_EBUSY;
	}
	if (m->error.op.code == MODEL_COMPACT && dst <= src)
		model_fail(m, "M9: compaction moved a piece down", src, dst, order);
	if (ash_pageblock_type(z, dst) == ASH_MT_ISOLATE)
		model_fail(m, "M9: a destination lies in an isolated pageblock", dst, src, order);
	if (!model_take(m, dst, g->nr, order, false))
		return -ASH_EBUSY;
	g = model_grant_at(m, src);
	model_disown(m, src, g->nr);
	g->moving = false;
	g->pfn = dst;
	for (ash_pfn_t i = dst; i < dst + g->nr; i++)
		m->owner[i] = dst + 1;
	return 0;
}

static void mover_putback(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	struct model *m = ash_zone_owner(z);
	struct model_grant *g = model_grant_at(m, pfn);

	m->counts.putbacks++;
	if (g == NULL || !g->moving || g->order != order)
		model_fail(m, "M9: something is put back that was not isolated", pfn, order, 0);
	else
		g->moving = g->hesitated = false;
}

const struct ash_mover_ops model_mover = {
	.isolate = mover_isolate,
	.migrate = mover_migrate,
	.putback = mover_putback,
};

/* --- The shrinker: a RECLAIMABLE grant goes as a whole, whichever piece was asked for, unless it is pinned --- */

static int shrinker_drop(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	struct model *m = ash_zone_owner(z);
	struct model_grant *g = pfn < NR_FRAMES(m) && model_owned(m, pfn) ? model_grant_at(m, m->owner[pfn] - 1) : NULL;

	if (g == NULL || g->mt != ASH_MT_RECLAIMABLE) {
		model_fail(m, "M9: a shrinker was asked for something else than a RECLAIMABLE grant", pfn, order,
			   g == NULL ? ASH_MT_NR : g->mt);
		return -ASH_EBUSY;
	}
	if (g->pinned || (m->mover_mode == MODEL_MOVER_FAILS && model_upsets(m) % 3 == 0))
		return -ASH_EBUSY;
	if (m->mover_mode == MODEL_MOVER_HESITATES && !g->hesitated) {
		g->hesitated = true;
		return 0;
	}
	m->counts.drops++;
	if (g->order == MODEL_ORDER_RUN)
		m->config.target->free_run(z, g->pfn, g->nr);
	else
		m->config.target->free(z, g->pfn, g->order, ASH_CPU_NONE);
	model_disown(m, g->pfn, g->nr);
	model_grant_drop(m, g);
	return 0;
}

const struct ash_shrinker_ops model_shrinker = { .drop = shrinker_drop };
