/* SPDX-License-Identifier: MIT */
/* The size class tables, made by the compiler from sizeclass.def. */
#include "heap/sizeclass.h"

/* A bin holds up to 32 KiB, at least 4 objects, at most 256: enough to hide a slab's lists behind the fast path. */
#define BIN_BYTES 32768
#define BIN_MIN 4
#define BIN_MAX 256
#define CLAMP(n, lo, hi) ((n) < (lo) ? (lo) : (n) > (hi) ? (hi) : (n))

/* Untouched memory is carved a base page at a time, so that a small process touches no more than it uses. */
#define CARVE(size) CLAMP(4096 / (size), 1, 512)

/*
 * Places of the first object are a cache line apart. Sizes that the inline path of aligned requests knows stay as
 * aligned as they are by themselves.
 */
#define LOWEST_BIT(size) ((size) & -(size))
#define STEP(size) ((size) <= ASH_FAST_MAX ? CLAMP(LOWEST_BIT((size) | ASH_FAST_MAX), 64, ASH_FAST_MAX) : 64)
#define COLOURS(size, order) ((4096 << (order)) % (size) / STEP(size) + 1)

#define ASH_SIZE_CLASS(bytes, below, order)                                                                            \
	[ASH_CLASS_OF_##bytes] = { .size = (bytes),                                                                    \
				   .capacity = (4096u << (order)) / (bytes),                                           \
				   .cache_max = CLAMP(BIN_BYTES / (bytes), BIN_MIN, BIN_MAX),                          \
				   .carve = CARVE(bytes),                                                              \
				   .slab_order = (order),                                                              \
				   .colours = COLOURS(bytes, order),                                                   \
				   .step = COLOURS(bytes, order) > 1 ? STEP(bytes) : 0,                                \
				   .keep_min = (bytes) <= 64 ? 1 : (bytes) / 2 },
const struct ash_class ash_classes[ASH_NR_CLASSES] = {
#include "heap/sizeclass.def"
};
#undef ASH_SIZE_CLASS

#define ASH_SIZE_CLASS(bytes, below, order)                                                                            \
	[ASH_CLASS_OF_##bytes] =                                                                                       \
		((int64_t)CLAMP(bytes, ASH_OUTBOX_BYTES / ASH_OUTBOX_COUNT, ASH_OUTBOX_BYTES) << 32) - 1,
const int64_t ash_class_cost[ASH_NR_CLASSES] = {
#include "heap/sizeclass.def"
};
#undef ASH_SIZE_CLASS

#define ASH_SIZE_CLASS(bytes, below, order)                                                                            \
	[ASH_CLASS_OF_##bytes] = (uint64_t)CLAMP((bytes) / 8 - 2, 0, ASH_CARRIED_MAX) << ASH_CARRIED_SHIFT,
const uint64_t ash_class_carries[ASH_NR_CLASSES] = {
#include "heap/sizeclass.def"
};
#undef ASH_SIZE_CLASS

/*
 * A class covers the table indices above the one of the class below. Where a table does not reach, the class is given
 * an empty range at index 0, which class 8 overwrites: it stands last.
 */
#define FAST(size) ((size) <= ASH_FAST_MAX)
#define FIRST_8(below, size) (FAST(size) ? (below) / 8 + 1 : 0)
#define LAST_8(size) (FAST(size) ? (size) / 8 : 0)

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init" /* index 0, on purpose: see above */
#ifdef __clang__
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#endif

#define ASH_SIZE_CLASS(size, below, order) [FIRST_8(below, size)... LAST_8(size)] = ASH_CLASS_OF_##size,
const uint8_t ash_class_by_8[ASH_FAST_MAX / 8 + 1] = {
#include "heap/sizeclass.def"
	[0] = ASH_CLASS_OF_8,
};
#undef ASH_SIZE_CLASS

#define FIRST_256(below, size) (FAST(size) ? 0 : (below) / 256 + 1)
#define LAST_256(size) (FAST(size) ? 0 : (size) / 256)

/* Indices up to 4 belong to sizes that the other table serves. */
#define ASH_SIZE_CLASS(size, below, order) [FIRST_256(below, size)... LAST_256(size)] = ASH_CLASS_OF_##size,
const uint8_t ash_class_by_256[ASH_SMALL_MAX / 256 + 1] = {
#include "heap/sizeclass.def"
};
#undef ASH_SIZE_CLASS

#pragma GCC diagnostic pop
