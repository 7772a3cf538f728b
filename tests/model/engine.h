/* SPDX-License-Identifier: MIT */
/* What the files of the engine share. */
#ifndef ASH_TESTS_MODEL_ENGINE_H
#define ASH_TESTS_MODEL_ENGINE_H

#include "base/bits.h"
#include "model/model.h"
#include "page/pageblock.h"

/* Always returns false; the first error stays. */
bool model_fail(struct model *m, const char *what, ash_pfn_t pfn, unsigned long a, unsigned long b);

/* M1 and M2 for frames the zone has just handed out; they become dirty, since an owner writes. */
bool model_take(struct model *m, ash_pfn_t pfn, ash_pfn_t nr, unsigned align_order, bool zeroed);
struct model_grant *model_grant_add(struct model *m, ash_pfn_t pfn, ash_pfn_t nr, uint8_t order, uint8_t mt);
void model_grant_drop(struct model *m, struct model_grant *g);
struct model_grant *model_grant_at(struct model *m, ash_pfn_t pfn); /* NULL: none begins there */
void model_disown(struct model *m, ash_pfn_t pfn, ash_pfn_t nr);

/* Operations on ranges (range.c); got receives what was granted, if anything was. */
int model_isolate(struct model *m, const struct model_op *op);
int model_unisolate(struct model *m, const struct model_op *op);
int model_test_range(struct model *m, const struct model_op *op);
int model_contig(struct model *m, const struct model_op *op, struct model_grant *got);
int model_contig_find(struct model *m, const struct model_op *op, struct model_grant *got);
int model_offline(struct model *m, const struct model_op *op);
int model_compact(struct model *m, const struct model_op *op);
bool model_nothing_moving(struct model *m);
extern const struct ash_mover_ops model_mover;
extern const struct ash_shrinker_ops model_shrinker;

/* Types (check.c). model_isolated: by the model, not by the zone. */
void model_see_types(struct model *m);
bool model_check_types(struct model *m, const struct model_op *op, const struct model_grant *got);

/* How often a mover or the shrinker changed something, or may have. */
ASH_INLINE uint64_t model_upsets(const struct model *m)
{
	return m->counts.moves + m->counts.putbacks + m->counts.drops;
}

ASH_INLINE bool model_isolated(const struct model *m, ash_pfn_t pfn)
{
	return (m->types[pfn >> m->config.geometry.pageblock_order] & MODEL_PB_ISOLATED) != 0;
}

ASH_INLINE bool model_owned(const struct model *m, ash_pfn_t pfn)
{
	return m->owner[pfn] != MODEL_UNOWNED && m->owner[pfn] < MODEL_REPORTED;
}

#endif
