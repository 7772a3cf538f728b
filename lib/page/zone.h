/* SPDX-License-Identifier: MIT */
/*
 * A zone: a span of frames of one node with one kind of backing, one lock, its own free areas.
 *
 * The core owns no memory and calls no operating system. The embedder supplies the frame table (one struct ash_frame
 * per frame of the span), the pageblock table (one byte-wide atomic word per pageblock), the pcp array, and the ops.
 * All-zero metadata means "offline", so a table in fresh anonymous memory is ready without being touched, and
 * initialising a zone of any size is O(1).
 *
 * Every function that can fail returns 0 or a negative ash_page_error and, when it fails, leaves the zone as it was.
 */
#ifndef ASH_PAGE_ZONE_H
#define ASH_PAGE_ZONE_H

#include "base/lock.h"
#include "page/types.h"

struct ash_frame;
struct ash_zone;
struct ash_pcp;
struct ash_mover_ops;
struct ash_shrinker_ops;
struct ash_fault;

/* What the embedder supplies to a zone besides memory. Any member may be NULL. */
struct ash_zone_ops {
	struct ash_lock_ops lock; /* how to wait for the zone and pcp locks */
	/* A broken promise (double free, corrupted list): report; the core traps when this returns. */
	void (*bug)(const struct ash_zone *z, const char *what, ash_pfn_t pfn, unsigned long a, unsigned long b);
	/*
	 * Make every CPU that runs a thread of this process pass a full memory barrier (membarrier, PRIVATE_EXPEDITED).
	 * With it and pcp_owned, the owner of a pcp slot needs no atomic read-modify-write.
	 */
	void (*barrier)(void);
	const struct ash_mover_ops *mover; /* for the zone's MOVABLE frames, page/mover.h; NULL: nothing can move */
	const struct ash_shrinker_ops *shrinker; /* for its RECLAIMABLE frames; NULL: they stay */
	/*
	 * Asked without locks before each piece that is moved or dropped out of a range (contig.h, offline.h, cma.h):
	 * true ends the call with -ASH_EINTR, everything in service again (kernel: a pending signal).
	 */
	bool (*interrupted)(struct ash_zone *z);
	struct ash_fault *fault;           /* base/fault.h; used by builds with ASH_CHECKS only */
	/* The 4096 bytes of a frame, for the layers of struct ash_hardening that read or write them. Any context. */
	void *(*frame_addr)(const struct ash_zone *z, ash_pfn_t pfn);
	/* Make frames inaccessible, or accessible again. Called without locks, from where the frees are. */
	void (*guard)(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr, bool on);
	/* Who is allocating or freeing just now: an instruction, a number of a stored stack; for hardening.owners. */
	uintptr_t (*caller)(struct ash_zone *z);
};

/* Who had a frame last. */
struct ash_frame_owner {
	uintptr_t allocated_by, freed_by; /* ops->caller's */
	ash_pfn_t first, nr;              /* the allocation it was part of; nr 0: never allocated */
	uint8_t mt;                       /* enum ash_migratetype it was asked for as */
	bool live;                        /* not freed since */
};

/*
 * Layers against the misuse of memory, each off when zero. A zone with any of them but the shuffle has no fast path.
 * What is found is reported through ops->bug with the frame, and the first and last byte in it that changed.
 */
struct ash_hardening {
	bool poison;        /* what is freed is overwritten with 0xaa; what is allocated must still be so (or zeroed) */
	bool init_on_alloc; /* what is allocated reads as zero */
	bool init_on_free;  /* what is freed is overwritten with zeroes; not beside poison */
	bool shuffle;       /* buddies of shuffle_order and above come in an order that shuffle_seed decides */
	uint8_t shuffle_order;
	uint8_t guard_order; /* what is left of 2^guard_order frames behind an allocation becomes guards; 0: none */
	uint64_t shuffle_seed;
	struct ash_frame_owner *owners; /* NULL, or nr_frames entries, zero-filled: every allocation and free is told */
};

struct ash_zone_config {
	ash_pfn_t nr_frames;              /* span: pfns [0, nr_frames); need not be a whole number of pageblocks */
	struct ash_geometry geometry;
	struct ash_frame *frames;         /* ash_frames_size(nr_frames) bytes, zero-filled */
	_Atomic uint8_t *pageblocks;      /* ash_zone_nr_pageblocks() entries, zero-filled */
	struct ash_pcp *pcps;             /* nr_cpus entries, zero-filled; may be NULL with nr_cpus == 0 */
	unsigned nr_cpus;
	bool defrag_mode;                 /* see ash_zone_alloc_compact() */
	/*
	 * NULL, or ash_zone_nr_superblocks() entries, zero-filled: then requests that cannot move claim pageblocks
	 * where such memory is already, if there are any, so that other spans of 2^max_order frames stay free of it.
	 */
	uint32_t *tainted;
	struct ash_hardening hardening;
	bool pcp_owned;                   /* no two threads ever use one pcp slot at the same time */
	const struct ash_zone_ops *ops;   /* may be NULL */
	void *owner;                      /* for the embedder */
};

size_t ash_zone_struct_size(void);
/*
 * Of the table of frames of a zone with so many of them. Also where in it the entries from that frame on begin: those
 * of frames [a, b) lie between the sizes for a and for b, and nowhere else.
 */
size_t ash_frames_size(size_t nr_frames);
size_t ash_pcp_struct_size(void);
/* What the embedder passed as config.owner. */
void *ash_zone_owner(const struct ash_zone *z);
size_t ash_zone_nr_pageblocks(ash_pfn_t nr_frames, struct ash_geometry geometry);
/* Superblocks: naturally aligned spans of 2^max_order frames, a gigabyte by default. */
size_t ash_zone_nr_superblocks(ash_pfn_t nr_frames, struct ash_geometry geometry);

ASH_MUST_USE int ash_zone_init(struct ash_zone *z, const struct ash_zone_config *config);

/*
 * Bring frames [start, start + nr) into the zone as free MOVABLE memory (kernel: online_pages). The range must be
 * offline. It may begin or end inside a pageblock, as a zone edge does. zeroed: the frames are known to read as zero
 * and to cost no memory until touched. -ASH_EINVAL: out of span or already online.
 */
ASH_MUST_USE int ash_zone_online(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, bool zeroed);

/*
 * The same, but its whole pageblocks stay isolated: nothing is allocated from them before ash_zone_unisolate_range(),
 * so that the embedder can make ready what belongs to the range. Frames in a pageblock that the range does not fill are
 * free at once.
 */
ASH_MUST_USE int ash_zone_online_isolated(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, bool zeroed);

/* What an allocation gives besides the pfn. */
struct ash_page_grant {
	ash_pfn_t pfn;
	bool zeroed; /* every frame is known to read as zero */
};

/*
 * Allocate 2^order naturally aligned frames (kernel: alloc_pages). cpu is the pcp slot to use (an index below
 * nr_cpus) or ASH_CPU_NONE to bypass the pcp, which caches pieces of up to two pageblocks. -ASH_ENOMEM: no such run, or
 * what is kept for others (watermark.h) forbids it.
 */
#define ASH_CPU_NONE UINT32_MAX
ASH_MUST_USE int ash_zone_alloc(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags,
				unsigned cpu, struct ash_page_grant *grant);
void ash_zone_free(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned cpu);

/*
 * As ash_zone_free(), but never waits: for signal handlers. What cannot be put on a list now is put there by the next
 * ordinary free or drain. The allocating side is ASH_ALLOC_TRYLOCK.
 */
void ash_zone_free_trylock(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned cpu);

/*
 * Allocate a run of exactly nr frames, nr of any value up to 2^max_order, aligned to 2^align_order frames: from
 * the smallest buddy that holds it, the tail given back at once (kernel: alloc_pages_exact). Where none of a partly
 * used pageblock is in memory and nr is no power of two, neighbouring free buddies in partly used pageblocks are looked
 * for first. Runs above 2^max_order are taken from neighbouring free buddies when there are such.
 */
ASH_MUST_USE int ash_zone_alloc_run(struct ash_zone *z, ash_pfn_t nr, unsigned align_order, enum ash_migratetype mt,
				    unsigned flags, struct ash_page_grant *grant);

/* Free any whole or part of allocated runs: frames [pfn, pfn + nr), all allocated (kernel: free_contig_range). */
void ash_zone_free_run(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr);

/* The same of frames that read as zero and cost no memory, as ash_zone_online() brings them. */
void ash_zone_free_run_zeroed(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr);

/*
 * Whether the zone's lock can be had within some microseconds. What interrupted its own thread inside this zone (a
 * signal handler) is told false: it would wait for itself.
 */
bool ash_zone_may_wait(struct ash_zone *z);

/*
 * Take exactly the free frames [pfn, pfn + nr) for a run that ends at pfn, so that it grows in place. All or nothing;
 * -ASH_EBUSY when any of them is not free (or lies in a pageblock that mt may not take). zeroed as in a grant.
 */
ASH_MUST_USE int ash_zone_extend_run(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr, enum ash_migratetype mt,
				     bool *zeroed);

/* Start of the free memory that reaches up to end without a gap: frames [result, end) are on freelists, just now. */
ash_pfn_t ash_zone_free_tail(struct ash_zone *z, ash_pfn_t end);

/*
 * Free page reporting (kernel: mm/page_reporting.c): pull one free, resident (not zeroed) piece of at least min_order
 * off the lists so that its memory can be returned to the system without a lock held; then put it back.
 * -ASH_ENOSPC: none left. report_end(zeroed = true) says the frames now read as zero and cost no memory.
 */
ASH_MUST_USE int ash_zone_report_begin(struct ash_zone *z, unsigned min_order, ash_pfn_t *pfn, unsigned *order);
/*
 * The same for at most 2^max_order frames at a time, min_order <= max_order: the rest of a larger buddy stays listed.
 */
ASH_MUST_USE int ash_zone_report_begin_max(struct ash_zone *z, unsigned min_order, unsigned max_order, ash_pfn_t *pfn,
					   unsigned *order);
/* The same for what is free of pageblocks that are partly used: pieces of less than pageblock order. */
ASH_MUST_USE int ash_zone_report_begin_small(struct ash_zone *z, unsigned min_order, ash_pfn_t *pfn, unsigned *order);
void ash_zone_report_end(struct ash_zone *z, ash_pfn_t pfn, unsigned order, bool zeroed);

/* Give every pcp's frames back to the free areas (kernel: drain_all_pages). Those that had any begin anew to adapt. */
void ash_zone_drain(struct ash_zone *z);

/*
 * Lower the high marks that bursts have raised by an eighth, and give back what then is too much: for an embedder that
 * has something periodic, once a second or so (kernel: decay_pcp_high). Thread-safe; may wait for locks.
 */
void ash_zone_pcp_decay(struct ash_zone *z);

/* fork: hold and release every lock of the zone, in rank order, so that the child's copy is consistent. */
void ash_zone_lock_all(struct ash_zone *z);
void ash_zone_unlock_all(struct ash_zone *z);
/* Whether anybody is inside now. A thread that knows itself alone can only have interrupted itself there. */
bool ash_zone_locks_held(const struct ash_zone *z);

/* A snapshot for statistics, consistent under the zone lock; counters are named as the kernel's. */
struct ash_zone_stats {
	uint64_t spanned;     /* frames of the span, online or not */
	uint64_t present;     /* frames online */
	uint64_t free;        /* NR_FREE_PAGES: on non-isolate free lists */
	uint64_t free_blocks; /* NR_FREE_PAGES_BLOCKS: of these, in buddies of at least pageblock order */
	uint64_t free_zeroed; /* of these, in pageblocks known zero (not resident) */
	uint64_t pcp;         /* frames in pcp lists */
	uint64_t free_cma;
	uint64_t cma;         /* frames of CMA areas, free or not */
	uint64_t isolated;    /* nr_isolate_pageblock */
	uint64_t nr_free[ASH_NR_ORDERS][ASH_MT_NR];
	uint64_t pageblocks[ASH_MT_NR]; /* blocks per type, as /proc/pagetypeinfo counts them */
	uint64_t pgalloc, pgfree;       /* frames */
	uint64_t extfrag_claim, extfrag_steal;
	uint64_t pgmigrate_success, pgmigrate_fail; /* pieces */
	uint64_t free_highatomic;
	uint64_t compact_migrate_scanned, compact_free_scanned; /* frames */
	uint64_t compact_isolated;                              /* pieces */
	uint64_t compact_daemon_migrate_scanned, compact_daemon_free_scanned; /* of these, by proactive runs */
	uint64_t compact_stall, compact_fail, compact_success;  /* requests */
	uint64_t cma_alloc_success, cma_alloc_fail;             /* requests of the areas in this zone */
	uint64_t guard;   /* frames kept out of reach behind allocations */
	uint64_t tainted; /* superblocks with pageblocks of what cannot move; 0 without config.tainted */
};
void ash_zone_stats(struct ash_zone *z, struct ash_zone_stats *out);

/* Free frames, and of these whole pageblocks, zeroed or not: read without a lock, each a moment old by itself. */
struct ash_zone_free {
	uint64_t free, blocks, zeroed;
};
struct ash_zone_free ash_zone_free_now(const struct ash_zone *z);

/* One pcp slot just now, read without its lock: frames in it, and the marks it goes by. cpu is below nr_cpus. */
struct ash_pcp_stats {
	uint32_t count, high, batch;
	uint32_t high_min, high_max; /* what high moves between, as the traffic asks for it */
};
void ash_zone_pcp_stats(const struct ash_zone *z, unsigned cpu, struct ash_pcp_stats *out);

/* The invariant walker (I1-I9): 0 or the number of the first broken invariant, described in *fault. O(frames). */
struct ash_zone_fault {
	int invariant;
	ash_pfn_t pfn;
	const char *what;
	unsigned long a, b;
};
int ash_zone_check(struct ash_zone *z, struct ash_zone_fault *fault);

/*
 * Pageblocks per type that hold a frame allocated as another type, each counted once. As in the kernel's pagetypeinfo,
 * nothing is allocated as CMA: a CMA pageblock with anything in it is mixed, and counts as a MOVABLE one. O(frames), a
 * pageblock per lock hold.
 */
void ash_zone_count_mixed(struct ash_zone *z, uint64_t mixed[ASH_MT_NR]);

/* Who has or had a frame; false: unknown. A racy look, unless the caller owns the frame. */
bool ash_zone_frame_owner(const struct ash_zone *z, ash_pfn_t pfn, struct ash_frame_owner *out);

/* A hash over types, lists and counters: equal before and after a refused operation. */
uint64_t ash_zone_digest(struct ash_zone *z);

#endif
