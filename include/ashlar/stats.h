/* SPDX-License-Identifier: MIT */
/*
 * Looking at the allocator: a snapshot of its totals, its arenas, and what lies at an address.
 *
 * Snapshots are taken without stopping anybody. Each figure was true at some moment during the call; sums of several
 * figures may be off by what other threads did meanwhile. Nothing here allocates.
 */
#ifndef ASHLAR_STATS_H
#define ASHLAR_STATS_H

#include <ashlar/types.h>

ASH_API_BEGIN

/* What backs memory, best first. */
enum ash_backed {
	ASH_BACKED_HUGETLB_1G,
	ASH_BACKED_HUGETLB_2M,
	ASH_BACKED_THP,
	ASH_BACKED_BASE,
	ASH_BACKED_KINDS
};

#define ASH_STATS_VERSION 1

struct ash_stats {
	uint32_t version;         /* ASH_STATS_VERSION of the library that filled it */
	uint32_t size;            /* bytes it filled */
	uint64_t live_bytes;      /* in use by the program, in whole objects */
	uint64_t cached_bytes;    /* in slabs and thread caches, free */
	uint64_t online_bytes;    /* memory the arenas manage */
	uint64_t peak_online_bytes; /* sum over arenas of each one's most */
	uint64_t free_bytes;      /* of online_bytes, in nobody's hands */
	uint64_t absent_bytes;    /* of free_bytes, given back to the system or not yet taken: no memory behind it */
	uint64_t reserved_bytes;  /* address space reserved for arenas: costs no memory */
	uint64_t large_count;     /* live large runs */
	uint64_t remote_frees;    /* objects freed by another thread than their heap's */
	uint64_t foreign_frees;   /* pointers to free that were not ours */
	uint64_t fallbacks;       /* times a kind of huge page could not be had */
	uint32_t arenas;          /* arenas in existence */
	uint32_t heaps;           /* thread heaps alive, those of ended threads included */
};

/*
 * Fill *stats, of which the caller knows size bytes (sizeof *stats). Fields beyond what the library knows read as 0.
 * 0; -EINVAL: stats is NULL or size is too small for version and size.
 */
ASH_API int ash_stats_read(struct ash_stats *stats, size_t size);

struct ash_arena_info {
	uint32_t version;        /* as in struct ash_stats */
	uint32_t size;
	int32_t node;            /* NUMA node */
	/* 1: its memory is hugetlb pages; 0: ordinary memory, THP where the kernel gives them */
	uint32_t hugetlb;
	uint64_t start;          /* first address of its span */
	uint64_t span_bytes;     /* address space it may grow into */
	uint64_t online_bytes;
	uint64_t peak_online_bytes;
	uint64_t free_bytes;     /* of online_bytes */
	uint64_t absent_bytes;   /* of free_bytes, as in struct ash_stats */
	uint64_t backed_bytes[ASH_BACKED_KINDS]; /* online_bytes by the backing asked for */
	uint64_t grows, returned_pageblocks;
};

/*
 * Fill *info for the arena at index, counting from 0. Indices have holes: an absent arena is -ENOENT, an index
 * past the last possible one -ERANGE, which ends a loop.
 * 0; -EINVAL as above; -ENOENT; -ERANGE.
 */
ASH_API int ash_arena_info_read(unsigned index, struct ash_arena_info *info, size_t size);

struct ash_page_info {
	uint32_t version;        /* as in struct ash_stats */
	uint32_t size;
	uint32_t arena;          /* index for ash_arena_info_read() */
	int32_t node;
	uint64_t pfn;            /* frame number in its arena */
	uint64_t frame;          /* address of the frame */
};

/*
 * Which arena and frame p lies in; p need not be the start of an object nor be allocated. Takes
 * the arena's lock for a moment.
 * 0; -EINVAL as above; -ENOENT: p is not in ashlar's reservation (another allocator's, a stack, a mapping).
 */
ASH_API int ash_page_info_read(const void *p, struct ash_page_info *info, size_t size);

ASH_API_END

#endif
