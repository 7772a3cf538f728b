/* SPDX-License-Identifier: MIT */
/*
 * The page core alone, on simulated frames: only metadata is touched. See patterns.h.
 *
 *      bench_page [frames-log2, 20] [threads, 1] [lowest order, 0] [highest, 18] [rounds, 7]
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/futex.h>
#include <linux/membarrier.h>

#include "page/zone.h"

static struct ash_zone *zone;

static uint64_t bench_get(unsigned order, unsigned cpu)
{
	struct ash_page_grant g;

	if (ash_zone_alloc(zone, order, ASH_MT_MOVABLE, 0, cpu, &g) != 0)
		abort();
	return g.pfn;
}

static void bench_put(uint64_t pfn, unsigned order, unsigned cpu)
{
	ash_zone_free(zone, (ash_pfn_t)pfn, order, cpu);
}

static void bench_settle(void)
{
	ash_zone_drain(zone);
}

#include "patterns.h"

/* On huge pages where there are such, as a kernel maps its own. */
static void *zalloc(size_t bytes)
{
	const size_t huge = (size_t)2 << 20, size = (bytes + huge - 1) & ~(huge - 1);
	void *p = aligned_alloc(huge, size);

	if (p == NULL)
		abort();
	madvise(p, size, MADV_HUGEPAGE);
	return memset(p, 0, bytes);
}

static void barrier_all(void)
{
	syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

/* Waiting in the kernel, as a process does: spinning on a preempted holder would measure the scheduler. */
static void lock_wait(_Atomic uint32_t *word, uint32_t value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void lock_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static unsigned argument(int argc, char **argv, int i, unsigned otherwise)
{
	return i < argc ? (unsigned)strtoul(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
	const size_t frames = (size_t)1 << argument(argc, argv, 1, 20);
	const unsigned threads = argument(argc, argv, 2, 1);
	const struct ash_geometry geometry = { ASH_PAGEBLOCK_ORDER, ASH_MAX_ORDER };
	struct ash_zone_config c = { .nr_frames = (ash_pfn_t)frames, .geometry = geometry, .nr_cpus = threads };
	static struct ash_zone_ops ops = { .lock = { lock_wait, lock_wake }, .barrier = barrier_all };

	if (threads == 0 || threads > BENCH_MAX_THREADS)
		return 1;
	/* Without the system call the pcps are locked by atomics. */
	c.pcp_owned = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
	c.ops = &ops;
	c.frames = zalloc(frames * ash_frame_struct_size());
	c.pageblocks = zalloc(ash_zone_nr_pageblocks(c.nr_frames, geometry));
	c.pcps = zalloc(threads * ash_pcp_struct_size());
	zone = zalloc(ash_zone_struct_size());
	if (ash_zone_init(zone, &c) != 0 || ash_zone_online(zone, 0, c.nr_frames, false) != 0)
		return 1;
	bench_patterns(frames, zalloc(frames / 2 * sizeof(uint64_t)), argument(argc, argv, 3, 0),
		       argument(argc, argv, 4, ASH_MAX_ORDER), threads, argument(argc, argv, 5, 7));
	return 0;
}
