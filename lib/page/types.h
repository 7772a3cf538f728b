/* SPDX-License-Identifier: MIT */
/*
 * The vocabulary of the page core: pfn, order, migratetype, geometry, frame.
 *
 * Meanings are Linux's (include/linux/mmzone.h); lib/page/README.md defines each word.
 */
#ifndef ASH_PAGE_TYPES_H
#define ASH_PAGE_TYPES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* Index of a frame in its zone's span; 2^32 frames of 4 KiB are 16 TiB, the most one zone can hold. */
typedef uint32_t ash_pfn_t;
#define ASH_PFN_NONE ((ash_pfn_t)UINT32_MAX)

#define ASH_PAGEBLOCK_ORDER 9 /* 2 MiB of 4 KiB frames */
#define ASH_MAX_ORDER 18      /* 1 GiB of 4 KiB frames */
#define ASH_NR_ORDERS (ASH_MAX_ORDER + 1)

/* The order is the kernel's: U, M, R are the mergeable "pcp types"; HIGHATOMIC == number of pcp types. */
enum ash_migratetype {
	ASH_MT_UNMOVABLE,
	ASH_MT_MOVABLE,
	ASH_MT_RECLAIMABLE,
	ASH_MT_HIGHATOMIC,
	ASH_MT_CMA,
	ASH_MT_ISOLATE, /* what a reader is told while a block's isolate bit is set; never stored as a type */
	ASH_MT_NR,
};
#define ASH_MT_PCPTYPES ASH_MT_HIGHATOMIC

/* Negative errno values the core returns; the numbers are Linux's, so a hosted caller passes them on. */
enum ash_page_error {
	ASH_EINTR = 4,
	ASH_EAGAIN = 11,
	ASH_ENOMEM = 12,
	ASH_EBUSY = 16,
	ASH_EINVAL = 22,
	ASH_ENOSPC = 28,
};

/* A zone parameter: (pageblock_order, max_order), pageblock_order <= max_order <= ASH_MAX_ORDER. */
struct ash_geometry {
	uint8_t pageblock_order;
	uint8_t max_order;
};

/* Allocation flags (gfp-like). */
enum ash_alloc_flags {
	ASH_ALLOC_NOFRAGMENT = 1u << 0, /* claim whole blocks only, never steal (kernel ALLOC_NOFRAGMENT) */
	ASH_ALLOC_TRYLOCK = 1u << 1,    /* never wait for a lock: signal handlers (kernel ALLOC_TRYLOCK) */
	ASH_ALLOC_CMA = 1u << 2,        /* a MOVABLE request may borrow CMA frames (kernel ALLOC_CMA) */
	ASH_ALLOC_HIGHATOMIC = 1u << 3, /* may use the HIGHATOMIC reserve and the watermark reserves */
};

/*
 * Beside the flags: the request could as well have been served by the n zones above this one, so that this zone keeps
 * its reserve against such from it (ash_zone_set_lowmem_reserve(); kernel: highest_zoneidx).
 */
#define ASH_LOWMEM_ZONES 4
#define ASH_ALLOC_ABOVE_SHIFT 4
#define ASH_ALLOC_FROM_ABOVE(n) ((unsigned)(n) << ASH_ALLOC_ABOVE_SHIFT)

#endif
