/* SPDX-License-Identifier: MIT */
/* What the first allocation of a process asks of the kernel: counted, since every process that allocates pays it. */
#include "arena/child.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include "heap/heap.h"
#include "os/sys.h"

enum { RANGES = 16 };
static struct {
	unsigned all, nr;
	struct { uintptr_t start, end; } writable[RANGES];
} calls;

static long count(long nr, long a, long b, long c, long d, long e, long f)
{
	calls.all++;
	if (nr == __NR_mprotect && c == (PROT_READ | PROT_WRITE) && calls.nr < RANGES) {
		calls.writable[calls.nr].start = (uintptr_t)a;
		calls.writable[calls.nr++].end = (uintptr_t)(a + b);
	}
	return ash_sys_kernel(nr, a, b, c, d, e, f);
}

static const struct ash_sys_ops counting = { .call = count };

/* The resident pages of what was made writable, and how many aligned stretches of 2^shift bytes they are in. */
static unsigned resident(unsigned shift, unsigned *pages)
{
	static unsigned char there[4096];
	uintptr_t seen[RANGES * 4];
	unsigned nr = 0;

	*pages = 0;
	for (unsigned i = 0; i < calls.nr; i++) {
		const uintptr_t start = calls.writable[i].start;
		const size_t frames = (calls.writable[i].end - start) >> ASH_PAGE_SHIFT;

		EXPECT_LE(frames, sizeof(there));
		EXPECT_EQ(mincore((void *)start, frames << ASH_PAGE_SHIFT, there), 0);
		for (size_t k = 0; k < frames; k++) {
			const uintptr_t at = (start + (k << ASH_PAGE_SHIFT)) >> shift;
			unsigned j = 0;

			if ((there[k] & 1) == 0)
				continue;
			++*pages;
			while (j < nr && seen[j] != at)
				j++;
			EXPECT_LT(j, RANGES * 4);
			if (j == nr)
				seen[nr++] = at;
		}
	}
	return nr;
}

/*
 * Nodes, memory; the reservation, and of the metadata two advices; writable: one stretch of slabs, tables per
 * pageblock, what is bumped first, which the heaps' table is part of, and tags; readable: the other tags; writable:
 * frames and the first half pageblock.
 */
CHILD_TEST(a_first_allocation_is_nine_calls_and_few_page_tables)
{
	unsigned pages;
	void *p;

	ash_sys_hook = &counting;
	p = ash_heap_malloc(1);
	ash_sys_hook = NULL;
	EXPECT(p != NULL);
	if (ash_arena_is_several())
		SKIP("several nodes, or more to come, are asked for");
	EXPECT_EQ(calls.nr, 3);
	EXPECT_EQ(calls.all, 9);
	/* Unless there is a lot: the metadata but for the frames in one stretch of 2 MiB, all in a gigabyte. */
	if (ash_registry.nr_frames >> 18 <= 300) {
		EXPECT_LE(resident(21, &pages), 3);
		EXPECT_LE(resident(30, &pages), 2);
		EXPECT_LE(pages, 7);
	}
	check_zones();
}
