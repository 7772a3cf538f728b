/* SPDX-License-Identifier: MIT */
/*
 * Setting up the zone of a scenario and saying what it must look like afterwards, in the notation of the specification:
 * a free list is written "8:3 M, 16:4 M" (pfn:order type, ascending), the types of the pageblocks "UM*C" ('*':
 * isolated). The scene is built white-box: every frame is allocated, types and pieces are then written as wanted.
 *
 * Include harness/test.h first: the EXPECT macros here use it. The functions do not; a scene that cannot be set up
 * aborts.
 */
#ifndef ASH_TESTS_SCENARIO_SCENE_H
#define ASH_TESTS_SCENARIO_SCENE_H

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "page/mover.h"
#include "page/isolate.h"
#include "page/pageblock.h"

struct scene {
	struct ash_zone *z;
	void *mem;
	ash_pfn_t nr_frames;
	struct ash_zone_stats before; /* as of the last scene_mark */
	uint64_t digest;
	char text[1024];
};

/*
 * A zone of strlen(types) pageblocks from pfn 0, with frames [first, end) online (end 0: all) and allocated one by one,
 * as the type of their block (MOVABLE in C and H blocks). nr_cpus pcps. Closed by the next open.
 */
void scene_open_edge(struct scene *s, unsigned pageblock_order, unsigned max_order, const char *types,
		     ash_pfn_t first, ash_pfn_t end, unsigned nr_cpus);
void scene_open(struct scene *s, unsigned pageblock_order, unsigned max_order, const char *types);

/* The mover of the scenes opened from now on; NULL: none. */
extern const struct ash_mover_ops *scene_mover;

/* Changes what the scenes opened from now on are made with; NULL: nothing. */
extern void (*scene_config)(struct ash_zone_config *config, struct ash_zone_ops *ops);

/* Make the allocated frames [pfn, pfn + 2^order) one grant of this order and type. */
void scene_used(struct scene *s, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt);

/* Free frames that are allocated: a comma-separated list of pfn:order; what follows an item's order is ignored. */
void scene_free(struct scene *s, const char *list);

/* Remember counters and digest; scene_same: the digest is as it was. */
void scene_mark(struct scene *s);
bool scene_same(const struct scene *s);

/* The present state as text; valid until the next call. */
const char *scene_freelist(struct scene *s);
const char *scene_types(struct scene *s);
/* One list from head to tail: "12 4". Resident buddies come before zeroed ones. */
const char *scene_list(struct scene *s, unsigned order, enum ash_migratetype mt);

/* Size the pcps by hand. They have not been used yet, or have just been drained. */
void scene_pcp_marks(struct scene *s, uint32_t batch, uint32_t high_min, uint32_t high_max);

/* Allocate past the pcps; ASH_PFN_NONE when refused. */
ash_pfn_t scene_alloc(struct scene *s, unsigned order, enum ash_migratetype mt, unsigned flags);

struct ash_zone_stats scene_stats(struct scene *s);

/* The bug report that the last call inside EXPECT_BUG provoked; NULL: none. And its arguments. */
extern const char *scene_bug;
extern ash_pfn_t scene_bug_pfn;
extern unsigned long scene_bug_a, scene_bug_b;
extern jmp_buf scene_bug_return;
#define EXPECT_BUG(call)                                                                                               \
	do {                                                                                                           \
		scene_bug = NULL;                                                                                      \
		if (setjmp(scene_bug_return) == 0) {                                                                   \
			call;                                                                                          \
			TEST_FAIL("expected a bug report from %s", #call);                                             \
		}                                                                                                      \
	} while (0)

/* NULL when every invariant holds, or a sentence that says which does not. */
const char *scene_fault(struct scene *s);

/* Every invariant holds and the free lists and types are as written. */
#define EXPECT_STATE(s, freelist, types)                                                                               \
	do {                                                                                                           \
		const char *scene_fault_ = scene_fault(s);                                                             \
		if (scene_fault_ != NULL)                                                                              \
			TEST_FAIL("%s", scene_fault_);                                                                 \
		EXPECT_STREQ(scene_freelist(s), freelist);                                                             \
		EXPECT_STREQ(scene_types(s), types);                                                                   \
	} while (0)

#endif
