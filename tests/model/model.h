/* SPDX-License-Identifier: MIT */
/*
 * The reference model of a zone, and the engine that runs operations on the real zone and on the model side by side.
 *
 * The model knows what an invariant walker cannot: who owns each frame. It has no buddies, no lists and no policy, so
 * it shares no idea, and no mistake, with the code under test. After every operation the engine asks:
 *
 *   M1  a grant lies in the span, is aligned, and overlaps no owned, offline or reported frame;
 *   M2  a grant said to be zeroed holds no frame that was ever written since it last read as zero;
 *   M3  a grant lies in pageblocks its migratetype and flags permit, and never in an isolated one;
 *   M4  pageblock types change only as the operation may change them (claim by an allocation, merge by a free);
 *   M5  every frame is in exactly one place: free + pcp + owned + reported + offline are the span, and the zone's
 *       counters are the sums of its lists;
 *   M6  ash_zone_check finds every invariant kept;
 *   M7  an operation that failed left the digest as it was (an allocation may have drained the pcps, a contiguous
 *       range may have moved grants), and had a reason to fail;
 *   M8  isolation is what was asked, no more and no less, and a pageblock's type survives it;
 *   M9  a mover is called as promised: for whole grants of MOVABLE frames only, with a fresh destination, and each
 *       isolate ends in one migrate or putback; a shrinker for what is allocated as RECLAIMABLE only.
 *
 * Freestanding, so that tests/bare can run it with no libc: the memory is the caller's, errors are values.
 */
#ifndef ASH_TESTS_MODEL_MODEL_H
#define ASH_TESTS_MODEL_MODEL_H

#include "base/fault.h"
#include "model/op.h"
#include "page/contig.h"
#include "page/compact.h"
#include "page/mover.h"
#include "page/offline.h"

/* The calls under test. Negative tests put a wrapper that misbehaves in place of one of them. */
struct model_target {
	int (*alloc)(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags, unsigned cpu,
		     struct ash_page_grant *grant);
	void (*free)(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned cpu);
	int (*alloc_run)(struct ash_zone *z, ash_pfn_t nr, unsigned align_order, enum ash_migratetype mt,
			 unsigned flags, struct ash_page_grant *grant);
	void (*free_run)(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr);
	int (*extend_run)(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr, enum ash_migratetype mt, bool *zeroed);
	int (*report_begin)(struct ash_zone *z, unsigned min_order, unsigned max_order, ash_pfn_t *pfn,
			    unsigned *order);
	void (*report_end)(struct ash_zone *z, ash_pfn_t pfn, unsigned order, bool zeroed);
	void (*drain)(struct ash_zone *z);
	void (*free_trylock)(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned cpu);
	int (*offline)(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, bool *zeroed, struct ash_busy_list *busy);
	enum ash_compact_result (*compact)(struct ash_zone *z, unsigned order, enum ash_migratetype mt,
					   enum ash_compact_mode mode, struct ash_compact_stats *stats);
	int (*alloc_compact)(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags,
			     struct ash_page_grant *grant);
	void (*pcp_disable)(struct ash_zone *z);
	void (*pcp_enable)(struct ash_zone *z);
	ash_pfn_t (*free_tail)(struct ash_zone *z, ash_pfn_t end);
	int (*online)(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, bool zeroed);
	int (*isolate)(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, enum ash_isolate_mode mode,
		       struct ash_busy_list *busy);
	void (*unisolate)(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr);
	int (*test_range)(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, struct ash_busy_list *busy);
	int (*contig)(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, enum ash_migratetype mt,
		      enum ash_isolate_mode mode, struct ash_page_grant *grant, struct ash_busy_list *busy);
	int (*contig_find)(struct ash_zone *z, const struct ash_contig_request *request, struct ash_page_grant *grant,
			   struct ash_busy_list *busy);
};
extern const struct model_target model_core;

/* Values of owner[pfn]; any other value is 1 + the first pfn of the grant that owns the frame. */
#define MODEL_UNOWNED 0u
#define MODEL_OFFLINE UINT32_MAX
#define MODEL_REPORTED (UINT32_MAX - 1)

#define MODEL_PB_TYPE 0x0fu
#define MODEL_PB_ISOLATED 0x10u
#define MODEL_PB_CACHED 0x20u /* isolated, and a pcp may still hold frames that it had before */

#define MODEL_ORDER_RUN 0xff /* order of a grant that is freed as a run */
#define MODEL_MAX_REPORTS 4

struct model_grant {
	ash_pfn_t pfn, nr;
	uint8_t order;
	uint8_t mt;
	bool pinned; /* its mover refuses */
	bool moving; /* between the mover's isolate and migrate or putback */
	bool hesitated;
};

struct model_report {
	ash_pfn_t pfn;
	unsigned order;
};

/* The shrinker does likewise. */
enum model_mover_mode {
	MODEL_MOVER_WORKS,
	MODEL_MOVER_HESITATES, /* asks for another try, then works; a shrinker says it dropped what it did not */
	MODEL_MOVER_FAILS,     /* refuses to migrate what it let be isolated */
	MODEL_MOVER_FREES,     /* the owner frees the piece while it is being moved */
	MODEL_MOVER_MODES,
};

/* Why the run stopped. what == NULL: nothing is wrong. */
struct model_error {
	const char *what;
	int invariant; /* of ash_zone_check, when that is what failed */
	ash_pfn_t pfn;
	unsigned long a, b;
	uint64_t step;
	struct model_op op;
};

struct model_config {
	struct ash_geometry geometry;
	ash_pfn_t nr_frames;
	ash_pfn_t online_start, online_nr; /* what is online at the start */
	unsigned nr_cpus;
	unsigned pcp_batch; /* instead of what the size of the zone gives; 0: that */
	bool pcp_tuned;     /* with it: the high marks move, up to three times the lowest */
	bool pcp_owned;
	bool tainted_first; /* count tainted superblocks and claim there */
	uint8_t guard_order;
	bool zeroed;
	bool movable;                    /* most requests are for MOVABLE memory */
	bool shrinks;                    /* RECLAIMABLE grants have a shrinker */
	const char *types;               /* letters U M R H C, one per pageblock; NULL: all MOVABLE */
	const struct ash_zone_ops *ops;  /* lock and bug; the mover and the fault points are the model's */
	const struct model_target *target; /* NULL: the core itself */
	unsigned check_every;              /* steps between full checks; 0 or 1: every step */
};

struct model_counts {
	uint64_t steps;
	uint64_t done[MODEL_NR_CODES], refused[MODEL_NR_CODES];
	uint64_t checks;
	uint64_t claims, steals, merges; /* type changes seen by M3 and M4 */
	uint64_t moves, putbacks, drops;
	uint64_t reserves; /* pageblocks that became HIGHATOMIC */
};

/* Fails the at-th fault point that is passed, counted from 0. */
struct model_fault {
	struct ash_fault base;
	uint64_t at, passed;
	bool fired;
	const char *point; /* the last that was passed until one fired */
};

struct model {
	struct model_config config;
	struct ash_zone_ops ops;
	struct model_fault fault;
	unsigned mover_mode; /* how the mover behaves in the present operation: enum model_mover_mode */
	struct ash_zone *zone;
	_Atomic uint8_t *pageblocks; /* the zone's own table */
	uint32_t *owner;
	uint8_t *dirty;
	uint8_t *types; /* per pageblock: the type under the isolate bit, and the MODEL_PB bits */
	struct model_grant *grants;
	ash_pfn_t nr_grants, nr_unowned, nr_online;
	size_t nr_pageblocks;
	struct model_report reports[MODEL_MAX_REPORTS];
	unsigned nr_reports;
	uint64_t digest;
	unsigned pcp_off;  /* how often more pcps were switched off than on */
	uint64_t reserved; /* frames in HIGHATOMIC pageblocks, as the zone counts them */
	bool disturbed; /* the present operation drained the pcps or moved grants on its way */
	struct ash_zone_stats stats; /* after the last step */
	struct model_error error;
	struct model_counts counts;
};

/* Bytes of memory model_init needs, struct model included. */
size_t model_size(const struct model_config *config);

/*
 * Lay out a model and its zone in mem (64-byte aligned, model_size bytes, any content), and online it. NULL: refused.
 */
struct model *model_init(void *mem, const struct model_config *config);

/* Run one operation on both. False: an error is in m->error and the model is spent. */
bool model_step(struct model *m, const struct model_op *op);

/* Every check that does not belong to one operation: M5, M6. False as above. */
bool model_check(struct model *m);

/* Free everything; true when the zone is then whole, empty and checked. */
bool model_finish(struct model *m);

/* xorshift64*; state must not be 0. */
uint64_t model_random(uint64_t *state);

/* A random operation, biased by phases of filling and emptying so that every degree of pressure is met. */
struct model_op model_random_op(const struct model *m, uint64_t *rng);

/* That many random operations, and the end. False as above. */
bool model_run(struct model *m, unsigned nr, uint64_t seed);

/* A lie to plant in a target: every third grant repeats the one before it. */
int model_alloc_twice(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags, unsigned cpu,
		      struct ash_page_grant *grant);

/* Arm the at-th fault point from now on; UINT64_MAX: none. Works where the core was built with ASH_CHECKS. */
void model_arm(struct model *m, uint64_t at);

#endif
