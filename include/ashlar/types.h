/* SPDX-License-Identifier: MIT */
/*
 * Words every ashlar header uses: linkage, attributes, and the error convention.
 *
 * Errors. Functions shaped like malloc return NULL and set errno. All other functions that can fail return 0 or a
 * negative errno value and leave errno alone. A call that fails changes nothing observable.
 *
 * Units. Sizes are bytes unless a name says frames; a frame is a base page of ASH_FRAME_BYTES bytes.
 *
 * Compatibility. Structures that the library fills carry their size: the caller passes the sizeof it was compiled
 * with, the library fills no more than that, and fields are only ever added at the end.
 */
#ifndef ASHLAR_TYPES_H
#define ASHLAR_TYPES_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) || defined(__clang__)
#define ASH_API __attribute__((visibility("default")))
#define ASH_API_MUST_USE __attribute__((warn_unused_result))
#define ASH_API_MALLOC __attribute__((malloc, warn_unused_result))
#define ASH_API_SIZE(arg) __attribute__((alloc_size(arg)))
#define ASH_API_SIZE2(arg1, arg2) __attribute__((alloc_size(arg1, arg2)))
#define ASH_API_ALIGN(arg) __attribute__((alloc_align(arg)))
#else
#define ASH_API
#define ASH_API_MUST_USE
#define ASH_API_MALLOC
#define ASH_API_SIZE(arg)
#define ASH_API_SIZE2(arg1, arg2)
#define ASH_API_ALIGN(arg)
#endif

#ifdef __cplusplus
#define ASH_API_BEGIN extern "C" {
#define ASH_API_END }
#else
#define ASH_API_BEGIN
#define ASH_API_END
#endif

#define ASH_FRAME_BYTES 4096     /* a frame: the base page */
#define ASH_PAGEBLOCK_BYTES (2 * 1024 * 1024) /* the unit that grows, shrinks and has a migratetype */

/* The calling thread's own NUMA node, wherever a function takes a node. */
#define ASH_NODE_LOCAL (-1)

#endif
