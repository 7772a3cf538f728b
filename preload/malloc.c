/* SPDX-License-Identifier: MIT */
/*
 * The malloc family, as glibc exports it, C23's additions and the __libc_ names that old programs call.
 *
 * Rules of argument and errno, where the standards leave room, are glibc's, but for one:
 *
 *   malloc, calloc, realloc   above PTRDIFF_MAX, or overflow: NULL, ENOMEM; the old object of realloc stays
 *   realloc(p, 0)             frees p, returns NULL, errno untouched
 *   aligned_alloc             alignment 0 or not a power of two: NULL, EINVAL (glibc 2.38); size need not be a multiple
 *   memalign                  alignment is rounded up to a power of two; above half the address space: NULL, EINVAL
 *   posix_memalign            alignment not a power-of-two multiple of sizeof(void *): EINVAL returned; *memptr is
 *                             written on success alone
 *   alignments above 1 GiB    NULL, ENOMEM: an arena is not aligned to more (glibc maps twice as much and cuts it)
 *   valloc, pvalloc           at a page; pvalloc rounds the size up, and what cannot be rounded is ENOMEM
 *   free and its kin          errno untouched
 *
 * Every symbol works as the first call of a process or a thread: the heap boots itself below the slow path.
 *
 * Tools that put other functions in the place of malloc's know these by their names (Valgrind), but not all of them:
 * reallocarray and pvalloc, which are not known, call what is, or free() would get what its malloc did not give.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/compiler.h"
#include "heap/fast.h"
#include "heap/heap.h"

/* glibc 2.36 declares neither; C23 does. */
void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t align, size_t size);
void cfree(void *p);

ASH_EXPORT ASH_HOT void *malloc(size_t size)
{
	return ash_fast_malloc(size);
}

ASH_EXPORT ASH_HOT void free(void *p)
{
	ash_fast_free(p);
}

ASH_EXPORT ASH_EARLY void *calloc(size_t n, size_t size)
{
	return ash_fast_calloc(n, size);
}

ASH_EXPORT ASH_EARLY ASH_NOINLINE void *realloc(void *p, size_t size)
{
	return ash_fast_realloc(p, size);
}

ASH_EXPORT ASH_EARLY void *reallocarray(void *p, size_t n, size_t size)
{
	size_t bytes;

	if (ASH_UNLIKELY(__builtin_mul_overflow(n, size, &bytes))) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, bytes);
}

ASH_EXPORT ASH_EARLY void *aligned_alloc(size_t align, size_t size)
{
	if (ASH_UNLIKELY(!ash_is_pow2(align))) {
		errno = EINVAL;
		return NULL;
	}
	return ash_fast_aligned(align, size);
}

/* align: no power of two. */
static ASH_COLD void *memalign_above(size_t align, size_t size)
{
	if (align > SIZE_MAX / 2 + 1) {
		errno = EINVAL;
		return NULL;
	}
	return ash_heap_aligned(align == 0 ? 1 : (size_t)1 << ash_log2_ceil(align), size);
}

ASH_EXPORT void *memalign(size_t align, size_t size)
{
	return ASH_LIKELY(ash_is_pow2(align)) ? ash_fast_aligned(align, size) : memalign_above(align, size);
}

ASH_EXPORT int posix_memalign(void **memptr, size_t align, size_t size)
{
	void *p;

	if (ASH_UNLIKELY(!ash_is_pow2(align) || align < sizeof(void *)))
		return EINVAL;
	p = ash_fast_aligned(align, size);
	if (ASH_UNLIKELY(p == NULL))
		return ENOMEM; /* errno says so too, as glibc's does; some programs read it there */
	*memptr = p;
	return 0;
}

ASH_EXPORT ASH_NOINLINE void *valloc(size_t size)
{
	return ash_heap_aligned(ASH_PAGE_SIZE, size);
}

ASH_EXPORT void *pvalloc(size_t size)
{
	if (ASH_UNLIKELY(size > ASH_MAX_REQUEST)) {
		errno = ENOMEM;
		return NULL;
	}
	return valloc(ash_align_up(size, ASH_PAGE_SIZE));
}

ASH_EXPORT size_t malloc_usable_size(void *p)
{
	return ash_heap_usable(p);
}

ASH_EXPORT void free_sized(void *p, size_t size)
{
	ash_fast_free(p);
}

ASH_EXPORT void free_aligned_sized(void *p, size_t align, size_t size)
{
	ash_fast_free(p);
}

#define ALIAS(name, of) ASH_EXPORT extern __typeof__(of) name ASH_ALIAS(of)

ALIAS(cfree, free);
ALIAS(__libc_malloc, malloc);
ALIAS(__libc_calloc, calloc);
ALIAS(__libc_realloc, realloc);
ALIAS(__libc_reallocarray, reallocarray);
ALIAS(__libc_free, free);
ALIAS(__libc_cfree, free);
ALIAS(__libc_memalign, memalign);
ALIAS(__libc_valloc, valloc);
ALIAS(__libc_pvalloc, pvalloc);
ALIAS(__posix_memalign, posix_memalign);
