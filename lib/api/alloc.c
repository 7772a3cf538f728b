/* SPDX-License-Identifier: MIT */
/* The public names of the heap: <ashlar/ashlar.h> and <ashlar/heap.h>. */
#include <ashlar/ashlar.h>
#include <errno.h>

#include "base/bits.h"
#include "base/compiler.h"
#include "heap/fast.h"
#include "heap/heap.h"

#define TEXT(x) #x
#define VERSION_TEXT(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

unsigned ash_version(void)
{
	return ASH_VERSION_MAJOR * 10000 + ASH_VERSION_MINOR * 100 + ASH_VERSION_PATCH;
}

const char *ash_version_string(void)
{
	return VERSION_TEXT(ASH_VERSION_MAJOR, ASH_VERSION_MINOR, ASH_VERSION_PATCH);
}

void *ash_malloc(size_t size)
{
	return ash_fast_malloc(size);
}

void *ash_calloc(size_t n, size_t size)
{
	return ash_fast_calloc(n, size);
}

void *ash_realloc(void *p, size_t size)
{
	return ash_fast_realloc(p, size);
}

void *ash_aligned_alloc(size_t align, size_t size)
{
	if (ASH_UNLIKELY(!ash_is_pow2(align))) {
		errno = EINVAL;
		return NULL;
	}
	return ash_fast_aligned(align, size);
}

void ash_free(void *p)
{
	ash_fast_free(p);
}

void ash_free_sized(void *p, size_t size)
{
	ash_fast_free(p);
}

size_t ash_usable_size(const void *p)
{
	return ash_heap_usable(p);
}

size_t ash_trim(void)
{
	return ash_heap_trim();
}

struct ash_heap *ash_heap_create(int node)
{
	if (node < ASH_NODE_LOCAL) {
		errno = EINVAL;
		return NULL;
	}
	return ash_heap_new(node);
}

void *ash_heap_alloc(struct ash_heap *heap, size_t size)
{
	return ash_heap_new_alloc(heap, 1, size, false);
}

void *ash_heap_zalloc(struct ash_heap *heap, size_t size)
{
	return ash_heap_new_alloc(heap, 1, size, true);
}

void *ash_heap_aligned_alloc(struct ash_heap *heap, size_t align, size_t size)
{
	if (ASH_UNLIKELY(!ash_is_pow2(align))) {
		errno = EINVAL;
		return NULL;
	}
	return ash_heap_new_alloc(heap, align, size, false);
}

void ash_heap_reset(struct ash_heap *heap)
{
	ash_heap_new_reset(heap);
}

void ash_heap_destroy(struct ash_heap *heap)
{
	if (heap != NULL)
		ash_heap_new_destroy(heap);
}
