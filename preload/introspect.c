/* SPDX-License-Identifier: MIT */
/*
 * glibc's windows into malloc: mallinfo, mallinfo2, malloc_stats, malloc_info, malloc_trim and mallopt, in glibc's
 * shapes, filled with what they would mean here:
 *
 *      glibc                    here
 *      heap ("arena")           slabs and what is free in the arenas
 *      mmapped block            large run
 *      fast bin                 free object in a slab or a thread's cache
 *      top, keepcost            free whole pageblocks: what malloc_trim can give back
 */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "arena/arena.h"
#include "base/bits.h"
#include "base/compiler.h"
#include "ctl/stats.h"
#include "ctl/writer.h"
#include "heap/heap.h"

struct totals {
	size_t system;     /* bytes the arenas manage that have memory behind them; metadata not counted */
	size_t releasable; /* ... in free whole pageblocks */
	size_t free_runs;  /* ... free */
	size_t free_buddies; /* ... and in how many pieces */
	struct ash_heap_stats heap;
};

static void read_totals(struct totals *t)
{
	struct ash_arena_stats a;

	memset(t, 0, sizeof(*t));
	for (unsigned i = 0; i < ash_arena_count(); i++) {
		if (!ash_arena_stats(i, &a))
			continue;
		t->system += (a.online - a.returned - a.free_absent) << ASH_PAGE_SHIFT;
		t->releasable += (a.zone.free_blocks - a.free_absent) << ASH_PAGE_SHIFT;
		t->free_runs += (a.zone.free - a.free_absent + a.zone.pcp) << ASH_PAGE_SHIFT;
		for (unsigned order = 0; order < ASH_NR_ORDERS; order++)
			for (unsigned mt = 0; mt < ASH_MT_NR; mt++)
				t->free_buddies += a.zone.nr_free[order][mt];
	}
	ash_heap_stats(&t->heap);
}

static size_t free_objects(const struct totals *t)
{
	size_t n = 0;

	for (unsigned i = 0; i < t->heap.nr_classes; i++)
		n += t->heap.classes[i].objects_free;
	return n;
}

ASH_EXPORT struct mallinfo2 mallinfo2(void)
{
	struct totals t;

	read_totals(&t);
	return (struct mallinfo2){
		.arena = t.system - ash_min(t.system, t.heap.large_bytes),
		.ordblks = t.free_buddies,
		.smblks = free_objects(&t),
		.hblks = t.heap.large_count,
		.hblkhd = t.heap.large_bytes,
		.fsmblks = t.heap.slab_free_bytes,
		.uordblks = t.heap.slab_bytes - ash_min(t.heap.slab_bytes, t.heap.slab_free_bytes),
		.fordblks = t.heap.slab_free_bytes + t.free_runs,
		.keepcost = t.releasable,
	};
}

/* The old form holds ints: figures beyond them wrap, as glibc's do. */
ASH_EXPORT struct mallinfo mallinfo(void)
{
	const struct mallinfo2 m = mallinfo2();

	return (struct mallinfo){
		.arena = (int)m.arena,
		.ordblks = (int)m.ordblks,
		.smblks = (int)m.smblks,
		.hblks = (int)m.hblks,
		.hblkhd = (int)m.hblkhd,
		.fsmblks = (int)m.fsmblks,
		.uordblks = (int)m.uordblks,
		.fordblks = (int)m.fordblks,
		.keepcost = (int)m.keepcost,
	};
}

/* To file descriptor 2, by a raw write: neither stdio's lock nor a cancellation point. */
ASH_EXPORT void malloc_stats(void)
{
	const struct mallinfo2 m = mallinfo2();
	struct ash_writer w;
	struct totals t;

	read_totals(&t);
	ash_writer_init_fd(&w, STDERR_FILENO);
	ash_write(&w,
		  "Arena 0:\n"
		  "system bytes     = %10zu\n"
		  "in use bytes     = %10zu\n"
		  "Total (incl. mmap):\n"
		  "system bytes     = %10zu\n"
		  "in use bytes     = %10zu\n"
		  "max mmap regions = %10" PRIu64 "\n"
		  "max mmap bytes   = %10zu\n",
		  m.arena, m.uordblks, t.system, m.uordblks + m.hblkhd, t.heap.large_count, t.heap.large_bytes);
	(void)!ash_writer_finish(&w);
}

static int write_to_file(void *context, const char *bytes, size_t n)
{
	return fwrite(bytes, 1, n, context) == n ? 0 : -EIO;
}

ASH_EXPORT int malloc_info(int options, FILE *out)
{
	struct ash_writer w;

	if (options != 0)
		return EINVAL;
	ash_writer_init(&w, write_to_file, out);
	return -ash_stats_write(&w, ASH_STATS_XML);
}

/* pad is how much glibc keeps at the top of its heap; memory here returns by pageblock and has no top. */
ASH_EXPORT int malloc_trim(size_t pad)
{
	return ash_heap_trim() != 0;
}

/*
 * The parameters glibc knows shape structures that do not exist here, or (M_PERTURB, M_CHECK_ACTION) ask for
 * debugging aids that glibc itself treats as hints. They are accepted with the values glibc accepts and change
 * nothing; what glibc does not know is refused, where glibc would say yes.
 */
ASH_EXPORT int mallopt(int param, int value)
{
	const int largest_fast_bin = 80 * (int)sizeof(size_t) / 4;
	const int largest_threshold = 32 << 20;

	switch (param) {
	case M_MXFAST:
		return value >= 0 && value <= largest_fast_bin;
	case M_MMAP_THRESHOLD:
		return value >= 0 && value <= largest_threshold;
	case M_ARENA_TEST:
	case M_ARENA_MAX:
		return value > 0;
	case M_TRIM_THRESHOLD:
	case M_TOP_PAD:
	case M_MMAP_MAX:
	case M_CHECK_ACTION:
	case M_PERTURB:
		return 1;
	default:
		return 0;
	}
}
