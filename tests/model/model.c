/* SPDX-License-Identifier: MIT */
/* The engine: applies one operation to the zone and to the model, and compares what can be compared at that point. */
#include "model/engine.h"
#include "page/pcp.h"

void *memset(void *, int, size_t);

const struct model_target model_core = {
	.alloc = ash_zone_alloc,
	.free = ash_zone_free,
	.alloc_run = ash_zone_alloc_run,
	.free_run = ash_zone_free_run,
	.extend_run = ash_zone_extend_run,
	.report_begin = ash_zone_report_begin_max,
	.report_end = ash_zone_report_end,
	.drain = ash_zone_drain,
	.free_trylock = ash_zone_free_trylock,
	.offline = ash_zone_offline,
	.compact = ash_zone_compact,
	.alloc_compact = ash_zone_alloc_compact,
	.pcp_disable = ash_zone_pcp_disable,
	.pcp_enable = ash_zone_pcp_enable,
	.free_tail = ash_zone_free_tail,
	.online = ash_zone_online,
	.isolate = ash_zone_isolate_range,
	.unisolate = ash_zone_unisolate_range,
	.test_range = ash_zone_test_range_isolated,
	.contig = ash_zone_alloc_contig_range,
	.contig_find = ash_zone_alloc_contig,
};

#define NR_FRAMES(m) ((m)->config.nr_frames)
#define MAX_ORDER(m) ((m)->config.geometry.max_order)

bool model_fail(struct model *m, const char *what, ash_pfn_t pfn, unsigned long a, unsigned long b)
{
	if (m->error.what == NULL) {
		m->error.what = what;
		m->error.pfn = pfn;
		m->error.a = a;
		m->error.b = b;
		m->error.step = m->counts.steps;
	}
	return false;
}

/* --- Layout --- */

/* One walk serves both the measuring pass (base == NULL) and the laying out. */
static size_t layout(const struct model_config *c, char *base, struct model *m, struct ash_zone_config *zc)
{
	const size_t nr_blocks = ash_zone_nr_pageblocks(c->nr_frames, c->geometry);
	const size_t sizes[] = {
		sizeof(struct model),
		ash_zone_struct_size(),
		ash_frames_size(c->nr_frames),
		nr_blocks,
		ash_pcp_struct_size() * c->nr_cpus,
		sizeof(uint32_t) * c->nr_frames,
		c->nr_frames,
		nr_blocks,
		sizeof(struct model_grant) * c->nr_frames,
		c->tainted_first ? sizeof(uint32_t) * ash_zone_nr_superblocks(c->nr_frames, c->geometry) : 0,
	};
	size_t at[ASH_ARRAY_LEN(sizes)], end = 0;

	for (unsigned i = 0; i < ASH_ARRAY_LEN(sizes); i++) {
		at[i] = end;
		end += ash_align_up(sizes[i], 64);
	}
	if (base == NULL)
		return end;
	memset(base, 0, end);
	m->config = *c;
	m->nr_pageblocks = nr_blocks;
	m->zone = (void *)(base + at[1]);
	zc->frames = (void *)(base + at[2]);
	zc->pageblocks = m->pageblocks = (void *)(base + at[3]);
	zc->pcps = c->nr_cpus > 0 ? (void *)(base + at[4]) : NULL;
	m->owner = (void *)(base + at[5]);
	m->dirty = (void *)(base + at[6]);
	m->types = (void *)(base + at[7]);
	m->grants = (void *)(base + at[8]);
	zc->tainted = c->tainted_first ? (void *)(base + at[9]) : NULL;
	return end;
}

size_t model_size(const struct model_config *config)
{
	return layout(config, NULL, NULL, NULL);
}

static void own_online(struct model *m, ash_pfn_t start, ash_pfn_t nr, bool zeroed)
{
	for (ash_pfn_t pfn = start; pfn < start + nr; pfn++) {
		m->owner[pfn] = MODEL_UNOWNED;
		m->dirty[pfn] = !zeroed;
	}
	m->nr_online += nr;
	m->nr_unowned += nr;
}

static bool pass_fault_point(struct ash_fault *base, const char *point)
{
	struct model_fault *f = ASH_CONTAINER_OF(base, struct model_fault, base);

	if (f->fired)
		return false;
	f->point = point;
	if (f->passed++ != f->at)
		return false;
	f->fired = true;
	return true;
}

/* Give the pageblocks their first types, white-box: with every frame allocated there is nothing to move. */
static void write_types(struct model *m, const char *types)
{
	static const char letters[] = "UMRHC";
	struct ash_page_grant grant;
	ash_pfn_t n = 0;

	while (ash_zone_alloc(m->zone, 0, ASH_MT_MOVABLE, 0, ASH_CPU_NONE, &grant) == 0)
		m->grants[n++].pfn = grant.pfn;
	ash_zone_lock(m->zone);
	for (ash_pfn_t block = 0; types[block] != '\0'; block++) {
		unsigned mt = 0;

		while (letters[mt] != types[block])
			mt++;
		ash_pageblock_set_type(m->zone, block << m->config.geometry.pageblock_order, (enum ash_migratetype)mt);
	}
	ash_zone_unlock(m->zone);
	while (n > 0)
		ash_zone_free(m->zone, m->grants[--n].pfn, 0, ASH_CPU_NONE);
}

/* The engine runs on one thread. */
static void no_barrier(void)
{
}

/* Small zones have a batch of 1; a larger one brings the bulk paths into reach. */
static void set_batch(struct model *m)
{
	if (m->config.pcp_batch == 0 || m->pcp_off > 0)
		return;
	atomic_store_explicit(&m->zone->pcp_batch, m->config.pcp_batch, memory_order_relaxed);
	atomic_store_explicit(&m->zone->pcp_high_min, 4 * m->config.pcp_batch, memory_order_relaxed);
	atomic_store_explicit(&m->zone->pcp_high_max, (m->config.pcp_tuned ? 12 : 4) * m->config.pcp_batch,
			      memory_order_relaxed);
}

struct model *model_init(void *mem, const struct model_config *config)
{
	struct model *m = mem;
	struct ash_zone_config zc;

	memset(&zc, 0, sizeof(zc));
	(void)layout(config, mem, m, &zc);
	zc.nr_frames = config->nr_frames;
	zc.geometry = config->geometry;
	zc.nr_cpus = config->nr_cpus;
	if (config->ops != NULL)
		m->ops = *config->ops;
	m->ops.mover = &model_mover;
	m->ops.shrinker = config->shrinks ? &model_shrinker : NULL;
	m->ops.fault = &m->fault.base;
	if (m->ops.barrier == NULL)
		m->ops.barrier = no_barrier;
	zc.pcp_owned = config->pcp_owned;
	zc.hardening.guard_order = config->guard_order;
	m->fault.base.fail = pass_fault_point;
	m->fault.at = UINT64_MAX;
	zc.ops = &m->ops;
	zc.owner = m;
	if (m->config.target == NULL)
		m->config.target = &model_core;
	if (ash_zone_init(m->zone, &zc) != 0)
		return NULL;
	for (ash_pfn_t pfn = 0; pfn < NR_FRAMES(m); pfn++)
		m->owner[pfn] = MODEL_OFFLINE;
	if (config->online_nr > 0) {
		if (m->config.target->online(m->zone, config->online_start, config->online_nr, config->zeroed) != 0)
			return NULL;
		own_online(m, config->online_start, config->online_nr, config->zeroed);
	}
	if (config->types != NULL)
		write_types(m, config->types);
	set_batch(m);
	model_see_types(m);
	ash_zone_stats(m->zone, &m->stats);
	m->digest = ash_zone_digest(m->zone);
	return m;
}

void model_arm(struct model *m, uint64_t at)
{
	m->fault.at = at;
	m->fault.passed = 0;
	m->fault.fired = false;
}

/* --- Grants --- */

struct model_grant *model_grant_add(struct model *m, ash_pfn_t pfn, ash_pfn_t nr, uint8_t order, uint8_t mt)
{
	for (ash_pfn_t i = pfn; i < pfn + nr; i++)
		m->owner[i] = pfn + 1;
	m->grants[m->nr_grants] = (struct model_grant){ .pfn = pfn, .nr = nr, .order = order, .mt = mt };
	return &m->grants[m->nr_grants++];
}

void model_grant_drop(struct model *m, struct model_grant *g)
{
	*g = m->grants[--m->nr_grants];
}

struct model_grant *model_grant_at(struct model *m, ash_pfn_t pfn)
{
	for (ash_pfn_t i = 0; i < m->nr_grants; i++) {
		if (m->grants[i].pfn == pfn)
			return &m->grants[i];
	}
	return NULL;
}

void model_disown(struct model *m, ash_pfn_t pfn, ash_pfn_t nr)
{
	for (ash_pfn_t i = pfn; i < pfn + nr; i++)
		m->owner[i] = MODEL_UNOWNED;
	m->nr_unowned += nr;
}

bool model_take(struct model *m, ash_pfn_t pfn, ash_pfn_t nr, unsigned align_order, bool zeroed)
{
	if (pfn >= NR_FRAMES(m) || nr > NR_FRAMES(m) - pfn)
		return model_fail(m, "M1: a grant reaches outside the span", pfn, nr, NR_FRAMES(m));
	if (pfn & ((1u << align_order) - 1))
		return model_fail(m, "M1: a grant is not aligned", pfn, nr, align_order);
	for (ash_pfn_t i = pfn; i < pfn + nr; i++) {
		if (m->owner[i] != MODEL_UNOWNED)
			return model_fail(m, "M1: a granted frame is owned, offline or reported", i, m->owner[i], pfn);
		if (zeroed && m->dirty[i])
			return model_fail(m, "M2: a grant said to read as zero holds a written frame", i, pfn, nr);
		m->dirty[i] = 1;
	}
	m->nr_unowned -= nr;
	return true;
}

/* --- Operations: each returns the call's result, and fails the model itself when the result cannot be right. --- */

/* M7: whether a list that such a request may use holds a buddy of at least this order, now that it has failed. */
static bool could_serve(struct model *m, unsigned order, unsigned mt, unsigned flags)
{
	struct ash_zone_stats now;

	if ((flags & ASH_ALLOC_TRYLOCK) || m->fault.fired)
		return false;
	ash_zone_stats(m->zone, &now);
	if (order < m->config.guard_order)
		order = m->config.guard_order;
	for (unsigned o = order; o <= MAX_ORDER(m); o++) {
		for (unsigned t = 0; t < ASH_MT_PCPTYPES; t++) {
			const bool whole = o >= m->config.geometry.pageblock_order;

			if (now.nr_free[o][t] > 0 && (t == mt || whole || !(flags & ASH_ALLOC_NOFRAGMENT)))
				return true;
		}
		if (mt == ASH_MT_MOVABLE && (flags & ASH_ALLOC_CMA) && now.nr_free[o][ASH_MT_CMA] > 0)
			return true;
	}
	return false;
}

static int do_alloc(struct model *m, const struct model_op *op, struct model_grant *got)
{
	const unsigned order = op->order % (MAX_ORDER(m) + 1u);
	const unsigned cpu = op->cpu < m->config.nr_cpus ? op->cpu : ASH_CPU_NONE;
	struct ash_page_grant grant = { .pfn = ASH_PFN_NONE };
	const int result = op->code == MODEL_ALLOC_COMPACT ?
				   m->config.target->alloc_compact(m->zone, order, op->mt, op->flags, &grant) :
				   m->config.target->alloc(m->zone, order, op->mt, op->flags, cpu, &grant);

	if (result != 0) {
		if (could_serve(m, order, op->mt, op->flags))
			model_fail(m, "M7: an allocation failed though a list it may use held a buddy", grant.pfn,
				   order,
				   op->mt);
		return result;
	}
	*got = (struct model_grant){ .pfn = grant.pfn, .nr = 1u << order, .order = (uint8_t)order, .mt = op->mt };
	if (model_take(m, got->pfn, got->nr, order, grant.zeroed))
		model_grant_add(m, got->pfn, got->nr, got->order, got->mt);
	return 0;
}

static int do_alloc_run(struct model *m, const struct model_op *op, struct model_grant *got)
{
	const unsigned align_order = op->order % (MAX_ORDER(m) + 1u);
	const ash_pfn_t nr = 1 + op->a % NR_FRAMES(m);
	struct ash_page_grant grant = { .pfn = ASH_PFN_NONE };
	const int result = m->config.target->alloc_run(m->zone, nr, align_order, op->mt, op->flags, &grant);
	const unsigned order = (unsigned)ash_max(ash_log2_ceil(nr), align_order);

	if (result != 0) {
		if (order <= MAX_ORDER(m) && could_serve(m, order, op->mt, op->flags))
			model_fail(m, "M7: a run failed though a list it may use held a buddy", nr, order, op->mt);
		return result;
	}
	*got = (struct model_grant){ .pfn = grant.pfn, .nr = nr, .order = MODEL_ORDER_RUN, .mt = op->mt };
	if (model_take(m, got->pfn, got->nr, align_order, grant.zeroed))
		model_grant_add(m, got->pfn, got->nr, got->order, got->mt);
	return 0;
}

static int do_free(struct model *m, const struct model_op *op)
{
	struct model_grant *g = &m->grants[op->a % m->nr_grants];
	const unsigned cpu = op->cpu < m->config.nr_cpus ? op->cpu : ASH_CPU_NONE;

	if (g->order == MODEL_ORDER_RUN)
		m->config.target->free_run(m->zone, g->pfn, g->nr);
	else if (op->code == MODEL_FREE_TRYLOCK)
		m->config.target->free_trylock(m->zone, g->pfn, g->order, cpu);
	else
		m->config.target->free(m->zone, g->pfn, g->order, cpu);
	model_disown(m, g->pfn, g->nr);
	model_grant_drop(m, g);
	return 0;
}

static int do_free_part(struct model *m, const struct model_op *op)
{
	struct model_grant *slot = &m->grants[op->a % m->nr_grants];
	const struct model_grant g = *slot;
	const ash_pfn_t skip = op->b % g.nr;
	const ash_pfn_t nr = 1 + op->b / g.nr % (g.nr - skip);
	const ash_pfn_t tail = g.nr - skip - nr;

	m->config.target->free_run(m->zone, g.pfn + skip, nr);
	model_disown(m, g.pfn + skip, nr);
	model_grant_drop(m, slot);
	if (skip > 0)
		model_grant_add(m, g.pfn, skip, MODEL_ORDER_RUN, g.mt);
	if (tail > 0)
		model_grant_add(m, g.pfn + skip + nr, tail, MODEL_ORDER_RUN, g.mt);
	return 0;
}

static int do_extend(struct model *m, const struct model_op *op, struct model_grant *got)
{
	struct model_grant *slot = &m->grants[op->a % m->nr_grants];
	const struct model_grant g = *slot;
	const ash_pfn_t end = g.pfn + g.nr;
	bool zeroed = false;
	ash_pfn_t nr;
	int result;

	if (end == NR_FRAMES(m))
		return 0;
	nr = 1 + op->b % ash_min(NR_FRAMES(m) - end, (size_t)1 << MAX_ORDER(m));
	result = m->config.target->extend_run(m->zone, end, nr, g.mt, &zeroed);
	if (result != 0)
		return result;
	*got = (struct model_grant){ .pfn = end, .nr = nr, .order = MODEL_ORDER_RUN, .mt = g.mt };
	if (model_take(m, end, nr, 0, zeroed)) {
		model_grant_drop(m, slot);
		model_grant_add(m, g.pfn, g.nr + nr, MODEL_ORDER_RUN, g.mt);
	}
	return 0;
}

static int do_report_begin(struct model *m, const struct model_op *op)
{
	const unsigned min_order = op->order % (MAX_ORDER(m) + 1u);
	const unsigned more = (op->b & 1) ? op->b >> 1 & 7 : MAX_ORDER(m);
	const unsigned max_order = (unsigned)ash_min(min_order + more, MAX_ORDER(m));
	struct model_report r = { ASH_PFN_NONE, 0 };
	int result;

	if (m->nr_reports == MODEL_MAX_REPORTS)
		return 0;
	result = m->config.target->report_begin(m->zone, min_order, max_order, &r.pfn, &r.order);
	if (result != 0)
		return result;
	/* Less than a pageblock is not told apart as resident. */
	if (r.order < min_order || r.order > ash_max(max_order, m->config.geometry.pageblock_order))
		return model_fail(m, "M1: a reported buddy is smaller or larger than asked", r.pfn, r.order, min_order);
	if (!model_take(m, r.pfn, 1u << r.order, r.order, false))
		return 0;
	if (model_isolated(m, r.pfn))
		return model_fail(m, "M3: an isolated pageblock was reported", r.pfn, r.order, 0);
	for (ash_pfn_t i = r.pfn; i < r.pfn + (1u << r.order); i++)
		m->owner[i] = MODEL_REPORTED;
	m->reports[m->nr_reports++] = r;
	return 0;
}

static int do_report_end(struct model *m, const struct model_op *op)
{
	struct model_report *slot = &m->reports[op->a % m->nr_reports];
	const struct model_report r = *slot;
	const bool zeroed = op->flags & 1;

	m->config.target->report_end(m->zone, r.pfn, r.order, zeroed);
	model_disown(m, r.pfn, 1u << r.order);
	for (ash_pfn_t i = r.pfn; zeroed && i < r.pfn + (1u << r.order); i++)
		m->dirty[i] = 0;
	*slot = m->reports[--m->nr_reports];
	return 0;
}

static int do_online(struct model *m, const struct model_op *op)
{
	const ash_pfn_t start = op->a % NR_FRAMES(m);
	const ash_pfn_t nr = 1 + op->b % NR_FRAMES(m);
	bool legal = nr <= NR_FRAMES(m) - start;
	int result;

	for (ash_pfn_t i = start; legal && i < start + nr; i++)
		legal = m->owner[i] == MODEL_OFFLINE;
	result = m->config.target->online(m->zone, start, nr, op->flags & 1);
	if ((result == 0) != legal && !m->fault.fired)
		model_fail(m, "M7: online of an offline range failed, or of another range succeeded", start, nr,
			   (unsigned long)-result);
	else if (result == 0)
		own_online(m, start, nr, op->flags & 1);
	return result;
}

static int do_free_tail(struct model *m, const struct model_op *op)
{
	const ash_pfn_t end = 1 + op->a % NR_FRAMES(m);
	const ash_pfn_t told = m->config.target->free_tail(m->zone, end);
	ash_pfn_t start = end;

	while (start > 0) {
		const ash_pfn_t head = ash_frame_head(m->zone, start - 1);

		if (head == ASH_PFN_NONE || ash_word_state(ash_frame_load(m->zone->frames, head)) != ASH_FRAME_BUDDY)
			break;
		start--;
	}
	if (told != start)
		model_fail(m, "M5: free memory begins elsewhere than the zone says", end, told, start);
	return 0;
}

static int do_pin(struct model *m, const struct model_op *op)
{
	struct model_grant *g = &m->grants[op->a % m->nr_grants];

	g->pinned = !g->pinned;
	return 0;
}

static int do_pcp(struct model *m, bool off)
{
	if (off && m->pcp_off < 3) {
		m->config.target->pcp_disable(m->zone);
		m->pcp_off++;
	} else if (!off && m->pcp_off > 0) {
		m->config.target->pcp_enable(m->zone);
		m->pcp_off--;
	}
	return 0;
}

static int apply(struct model *m, const struct model_op *op, struct model_grant *got)
{
	switch ((enum model_code)op->code) {
	case MODEL_ALLOC_COMPACT:
		m->mover_mode = op->b % MODEL_MOVER_MODES;
		ASH_FALLTHROUGH;
	case MODEL_ALLOC:
		return do_alloc(m, op, got);
	case MODEL_ALLOC_RUN:
		return do_alloc_run(m, op, got);
	case MODEL_FREE_TRYLOCK:
	case MODEL_FREE:
		return m->nr_grants > 0 ? do_free(m, op) : 0;
	case MODEL_FREE_PART:
		return m->nr_grants > 0 ? do_free_part(m, op) : 0;
	case MODEL_EXTEND:
		return m->nr_grants > 0 ? do_extend(m, op, got) : 0;
	case MODEL_REPORT_BEGIN:
		return do_report_begin(m, op);
	case MODEL_REPORT_END:
		return m->nr_reports > 0 ? do_report_end(m, op) : 0;
	case MODEL_DRAIN:
		m->config.target->drain(m->zone);
		return 0;
	case MODEL_ONLINE:
		return do_online(m, op);
	case MODEL_ISOLATE:
		return model_isolate(m, op);
	case MODEL_UNISOLATE:
		return model_unisolate(m, op);
	case MODEL_TEST_RANGE:
		return model_test_range(m, op);
	case MODEL_CONTIG:
		return model_contig(m, op, got);
	case MODEL_CONTIG_FIND:
		return model_contig_find(m, op, got);
	case MODEL_GO_OFFLINE:
		return model_offline(m, op);
	case MODEL_COMPACT:
		return model_compact(m, op);
	case MODEL_PCP_OFF:
	case MODEL_PCP_ON:
		return do_pcp(m, op->code == MODEL_PCP_OFF);
	case MODEL_FREE_TAIL:
		return do_free_tail(m, op);
	case MODEL_PIN:
		return m->nr_grants > 0 ? do_pin(m, op) : 0;
	case MODEL_NR_CODES:
		break;
	}
	model_fail(m, "no such operation", 0, op->code, 0);
	return 0;
}

/* What an operation may do besides its own work: empty the pcps for an allocation, move grants for a range. */
static bool may_have_changed(const struct model *m, const struct model_op *op, bool had_pcp, uint64_t upsets)
{
	const bool allocates =
		op->code == MODEL_ALLOC || op->code == MODEL_ALLOC_RUN || op->code == MODEL_ALLOC_COMPACT;
	const bool drains = allocates || op->code == MODEL_CONTIG || op->code == MODEL_CONTIG_FIND ||
			    op->code == MODEL_GO_OFFLINE;

	return (drains && had_pcp && m->stats.pcp == 0) || model_upsets(m) != upsets ||
	       (allocates && m->zone->reserved_highatomic < m->reserved) || op->code == MODEL_COMPACT;
}

bool model_step(struct model *m, const struct model_op *op)
{
	const uint64_t upsets = model_upsets(m);
	const bool had_pcp = m->stats.pcp > 0;
	struct model_grant got = { .nr = 0 };
	uint64_t digest;
	int result;

	if (m->error.what != NULL)
		return false;
	m->error.op = *op;
	m->counts.steps++;
	result = apply(m, op, &got);
	if (m->error.what != NULL)
		return false;
	ash_zone_stats(m->zone, &m->stats);
	m->disturbed = may_have_changed(m, op, had_pcp, upsets);
	m->reserved = m->zone->reserved_highatomic;
	set_batch(m);
	if (!model_check_types(m, op, &got))
		return false;
	digest = ash_zone_digest(m->zone);
	if (result != 0 && digest != m->digest && !m->disturbed)
		return model_fail(m, "M7: a failed operation changed the zone", 0, (unsigned long)-result, 0);
	m->digest = digest;
	for (size_t block = 0; m->stats.pcp == 0 && block < m->nr_pageblocks; block++)
		m->types[block] &= (uint8_t)~MODEL_PB_CACHED;
	if (result != 0)
		m->counts.refused[op->code]++;
	else
		m->counts.done[op->code]++;
	return m->counts.steps % ash_max(m->config.check_every, 1) != 0 || model_check(m);
}

bool model_finish(struct model *m)
{
	struct model_op op = { .code = MODEL_UNISOLATE, .cpu = ASH_CPU_NONE, .b = NR_FRAMES(m) - 1 };

	if (!model_step(m, &op))
		return false;
	op.code = MODEL_PCP_ON;
	while (m->pcp_off > 0) {
		if (!model_step(m, &op))
			return false;
	}
	op.code = MODEL_FREE;
	while (m->nr_grants > 0) {
		if (!model_step(m, &op))
			return false;
	}
	op.code = MODEL_REPORT_END;
	while (m->nr_reports > 0) {
		if (!model_step(m, &op))
			return false;
	}
	op.code = MODEL_DRAIN;
	if (!model_step(m, &op) || !model_check(m))
		return false;
	if (m->stats.pcp != 0 || m->nr_unowned != m->nr_online)
		return model_fail(m, "M5: frames are missing after everything was freed", 0, m->nr_unowned,
				  m->nr_online);
	if (m->stats.isolated != 0)
		return model_fail(m, "M8: pageblocks are isolated after all were un-isolated", 0, m->stats.isolated, 0);
	return true;
}
