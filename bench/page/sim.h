/* SPDX-License-Identifier: MIT */
/*
 * A zone of simulated frames: the metadata is real, the frames it speaks of are not there. Owners are simulated too: a
 * table of pieces, which the mover keeps up to date, so that everything can be checked and freed after any move.
 */
#ifndef BENCH_SIM_H
#define BENCH_SIM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>
#include <linux/membarrier.h>

#include "page/mover.h"
#include "page/zone.h"

/* Which request of the owner's a piece answers; a frame's private word is its index in the table. */
struct sim_piece {
	ash_pfn_t pfn;
	uint8_t order;
	bool movable;
};

static struct ash_zone *zone;
static struct sim_piece *sim_piece;
static uint64_t sim_moved;                    /* frames */
static char *sim_memory;                      /* what moves are copied in, or NULL */
static const size_t sim_memory_size = 256u << 20; /* more than the caches hold: 2^16 places, which the frames share */

static inline void sim_fail(const char *what)
{
	fprintf(stderr, "bench: %s\n", what);
	exit(1);
}

/* On huge pages where there are such, as a kernel maps its own metadata. */
static inline void *sim_zalloc(size_t bytes)
{
	const size_t huge = (size_t)2 << 20, size = (bytes + huge - 1) & ~(huge - 1);
	void *p = aligned_alloc(huge, size);

	if (p == NULL)
		sim_fail("no memory");
	madvise(p, size, MADV_HUGEPAGE);
	return memset(p, 0, bytes);
}

static inline double sim_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static inline uint64_t sim_random(uint64_t *rng)
{
	*rng ^= *rng << 13, *rng ^= *rng >> 7, *rng ^= *rng << 17;
	return *rng;
}

static inline void sim_barrier(void)
{
	syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

/* Waiting in the kernel, as a process does: spinning on a preempted holder would measure the scheduler. */
static inline void sim_wait(_Atomic uint32_t *word, uint32_t value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static inline void sim_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static inline int sim_isolate(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	const struct sim_piece *p = &sim_piece[ash_zone_private(z, pfn)];

	return p->movable && p->pfn == pfn && p->order == order ? 0 : -ASH_EBUSY;
}

/* Scattered, so that frames at equal distances do not share. */
static inline char *sim_place(ash_pfn_t pfn)
{
	return sim_memory + ((size_t)(pfn * 2654435761u >> 16) << 12);
}

static inline int sim_migrate(struct ash_zone *z, ash_pfn_t dst, ash_pfn_t src, unsigned order)
{
	for (ash_pfn_t i = 0; sim_memory != NULL && i < (ash_pfn_t)1 << order; i++)
		memcpy(sim_place(dst + i), sim_place(src + i), 4096);
	sim_piece[ash_zone_private(z, src)].pfn = dst;
	sim_moved += (uint64_t)1 << order;
	return 0;
}

static inline void sim_putback(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	(void)z, (void)pfn, (void)order;
}

enum { SIM_OWNERS = 1, SIM_DEFRAG = 2, SIM_TAINTED = 4 };

/* A zone of 2^log2 frames, online; with the table of pieces and a mover if there are to be owners. */
static inline void sim_open(unsigned log2, unsigned nr_cpus, unsigned options)
{
	static const struct ash_mover_ops mover = { sim_isolate, sim_migrate, sim_putback };
	static struct ash_zone_ops ops = { .lock = { sim_wait, sim_wake }, .barrier = sim_barrier };
	const struct ash_geometry geometry = { ASH_PAGEBLOCK_ORDER, ASH_MAX_ORDER };
	const size_t frames = (size_t)1 << log2;
	struct ash_zone_config c = { .nr_frames = (ash_pfn_t)frames, .geometry = geometry, .nr_cpus = nr_cpus };

	if (log2 < ASH_PAGEBLOCK_ORDER || log2 > 30)
		sim_fail("a zone has 2^9 to 2^30 frames");
	ops.mover = options & SIM_OWNERS ? &mover : NULL;
	c.ops = &ops;
	c.defrag_mode = (options & SIM_DEFRAG) != 0;
	if (options & SIM_TAINTED)
		c.tainted = sim_zalloc(ash_zone_nr_superblocks(c.nr_frames, geometry) * sizeof(*c.tainted));
	/* Without the system call the pcps are locked by atomics. */
	c.pcp_owned = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
	c.frames = sim_zalloc(ash_frames_size(frames));
	c.pageblocks = sim_zalloc(ash_zone_nr_pageblocks(c.nr_frames, geometry));
	c.pcps = sim_zalloc(nr_cpus * ash_pcp_struct_size());
	sim_piece = options & SIM_OWNERS ? sim_zalloc(frames * sizeof(*sim_piece)) : NULL;
	zone = sim_zalloc(ash_zone_struct_size());
	if (ash_zone_init(zone, &c) != 0 || ash_zone_online(zone, 0, c.nr_frames, false) != 0)
		sim_fail("no zone");
}

static inline void sim_own(uint32_t id, ash_pfn_t pfn, unsigned order, bool movable)
{
	sim_piece[id] = (struct sim_piece){ pfn, (uint8_t)order, movable };
	ash_zone_set_private(zone, pfn, id);
}

/* Every invariant of the zone, and that every piece is where its owner was told. */
static inline void sim_check(void)
{
	struct ash_zone_fault fault;

	if (ash_zone_check(zone, &fault) != 0) {
		fprintf(stderr, "bench: invariant %d at frame %u: %s\n", fault.invariant, fault.pfn, fault.what);
		exit(1);
	}
}

static inline unsigned sim_argument(int argc, char **argv, int i, unsigned otherwise)
{
	return i < argc ? (unsigned)strtoul(argv[i], NULL, 10) : otherwise;
}

#endif
