/* SPDX-License-Identifier: MIT */
/*
 * The operation language: what can be done to a zone, as data.
 *
 * Every test of the page core that is not a hand-written scenario speaks it: random runs, exhaustive exploration, the
 * static program without a libc, fuzzing and thread stress. An operation is total: whatever its fields hold, it means
 * something for every state of the zone (a grant is picked modulo the live grants, a length modulo what fits), so any
 * list of operations, and any part of a list, is a valid test. That is what makes shrinking a failure trivial.
 */
#ifndef ASH_TESTS_MODEL_OP_H
#define ASH_TESTS_MODEL_OP_H

#include <stdint.h>

enum model_code {
	MODEL_ALLOC,        /* order, mt, flags, cpu */
	MODEL_ALLOC_RUN,    /* a = frames, order = alignment order, mt, flags */
	MODEL_FREE,         /* grant a, as it was granted; cpu */
	MODEL_FREE_PART,    /* of grant a, b picks the first frame and the length */
	MODEL_EXTEND,       /* grant a by b frames */
	MODEL_REPORT_BEGIN, /* order = smallest order to pull; b & 1: at most b >> 1 orders more */
	MODEL_REPORT_END,   /* report a; flags & 1: the frames now read as zero */
	MODEL_DRAIN,
	MODEL_ONLINE,      /* a = first frame, b = frames; flags & 1: zeroed */
	MODEL_ISOLATE,     /* a = first frame, b = frames, order = mode */
	MODEL_UNISOLATE,   /* a = first frame, b = frames */
	MODEL_TEST_RANGE,  /* a = first frame, b = frames: is it isolated and free? */
	MODEL_CONTIG,      /* a = first frame, b = frames, mt, order = mode */
	MODEL_CONTIG_FIND, /* a = frames, order = alignment, b = limits and boundary, mt */
	MODEL_FREE_TAIL,   /* a = end: where does the free memory before it begin? */
	MODEL_FREE_TRYLOCK,  /* grant a, as a signal handler frees it; cpu */
	MODEL_GO_OFFLINE,    /* a = first pageblock, b = pageblocks */
	/*
	 * order (above the largest: everything), mt, flags = mode (3: proactive, b also how much), b = how the mover
	 * behaves
	 */
	MODEL_COMPACT,
	MODEL_ALLOC_COMPACT, /* order, mt, flags; b = how the mover behaves */
	MODEL_PCP_OFF,       /* until MODEL_PCP_ON */
	MODEL_PCP_ON,
	MODEL_PIN,           /* grant a: its mover refuses from now on, or no longer */
	MODEL_NR_CODES,
};

struct model_op {
	uint8_t code; /* enum model_code */
	uint8_t order;
	uint8_t mt;
	uint8_t flags; /* enum ash_alloc_flags, or the operation's own */
	uint32_t cpu;
	uint32_t a, b;
};

#endif
