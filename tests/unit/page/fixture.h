/* SPDX-License-Identifier: MIT */
/* A zone in malloc'ed metadata, with a bug handler that returns to the test. */
#ifndef ASH_TESTS_UNIT_PAGE_FIXTURE_H
#define ASH_TESTS_UNIT_PAGE_FIXTURE_H

#include "harness/test.h"

#include "page/zone.h"

struct fixture {
	struct ash_zone *z;
	struct ash_frame *frames;
	_Atomic uint8_t *pageblocks;
	struct ash_pcp *pcps;
	struct ash_zone_ops ops;
};

static jmp_buf bug_return;
static const char *bug_what;

static inline void on_bug(const struct ash_zone *z ASH_UNUSED, const char *what, ash_pfn_t pfn ASH_UNUSED,
			  unsigned long a ASH_UNUSED, unsigned long b ASH_UNUSED)
{
	bug_what = what;
	longjmp(bug_return, 1);
}

/* Run a statement that must be refused as a caller's mistake. */
#define EXPECT_BUG(statement)                                                                                          \
	do {                                                                                                           \
		bug_what = NULL;                                                                                       \
		if (setjmp(bug_return) == 0) {                                                                         \
			statement;                                                                                     \
		}                                                                                                      \
		EXPECT(bug_what != NULL);                                                                              \
	} while (0)

static inline void *zalloc(size_t n, size_t size)
{
	void *p = aligned_alloc(64, (n * size + 63) / 64 * 64);

	if (p == NULL)
		abort();
	return memset(p, 0, n * size);
}

static inline void fixture_init(struct fixture *f, ash_pfn_t nr_frames, unsigned pageblock_order, unsigned max_order,
				unsigned nr_cpus)
{
	const struct ash_geometry g = { (uint8_t)pageblock_order, (uint8_t)max_order };
	struct ash_zone_config config = { .nr_frames = nr_frames, .geometry = g, .nr_cpus = nr_cpus };

	memset(f, 0, sizeof(*f));
	f->ops.bug = on_bug;
	config.ops = &f->ops;
	config.frames = f->frames = zalloc(1, ash_frames_size(nr_frames));
	config.pageblocks = f->pageblocks = zalloc(ash_zone_nr_pageblocks(nr_frames, g), 1);
	config.pcps = f->pcps = nr_cpus > 0 ? zalloc(nr_cpus, ash_pcp_struct_size()) : NULL;
	f->z = zalloc(1, ash_zone_struct_size());
	EXPECT_EQ(ash_zone_init(f->z, &config), 0);
}

static inline void fixture_check(struct fixture *f)
{
	struct ash_zone_fault fault = { 0 };

	if (ash_zone_check(f->z, &fault) != 0)
		TEST_FAIL("I%d broken at pfn %u: %s (%lu, %lu)", fault.invariant, fault.pfn, fault.what, fault.a,
			  fault.b);
}

static inline void fixture_end(struct fixture *f)
{
	fixture_check(f);
	free(f->z);
	free(f->frames);
	free((void *)(uintptr_t)f->pageblocks);
	free(f->pcps);
}

#define CPU_NONE ASH_CPU_NONE

static inline ash_pfn_t alloc_pages(struct fixture *f, unsigned order, enum ash_migratetype mt)
{
	struct ash_page_grant g = { 0 };

	return ash_zone_alloc(f->z, order, mt, 0, CPU_NONE, &g) == 0 ? g.pfn : ASH_PFN_NONE;
}

static inline struct ash_zone_stats stats(struct fixture *f)
{
	struct ash_zone_stats s;

	ash_zone_stats(f->z, &s);
	return s;
}

#endif
