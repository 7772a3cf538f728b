/* SPDX-License-Identifier: MIT */
/*
 * ashlar: memory from huge-page arenas. This header is the malloc-shaped part and includes all the others.
 *
 * Link with -lashlar (pkg-config ashlar). A program that links the library and also runs under
 * libashlar-preload.so has one allocator: the preloaded object exports these functions too, with the same version,
 * and comes first. Then ash_malloc() and malloc() are the same heap and either free serves both. Without the preload
 * malloc() stays the C library's, and ash_free(), ash_realloc() and ash_usable_size() hand pointers that are not
 * ashlar's on to free(), realloc() and malloc_usable_size(); the reverse, free() of an ashlar pointer, is an error
 * there.
 *
 * Everything here may be called from any thread, and before main, in constructors and destructors, in atexit handlers
 * and in thread-specific destructors. Nothing here is async-signal-safe. After fork() in a program with threads
 * everything here works in the child.
 */
#ifndef ASHLAR_ASHLAR_H
#define ASHLAR_ASHLAR_H

#include <ashlar/heap.h>
#include <ashlar/policy.h>
#include <ashlar/stats.h>
#include <ashlar/types.h>

#define ASH_VERSION_MAJOR 0
#define ASH_VERSION_MINOR 1
#define ASH_VERSION_PATCH 0

ASH_API_BEGIN

/*
 * Version of the library that answers, as major * 10000 + minor * 100 + patch and as text. Under the preload that is
 * the preloaded object, which may differ from the headers compiled against. The text is static.
 */
ASH_API unsigned ash_version(void);
ASH_API const char *ash_version_string(void);

/*
 * size bytes, uninitialised, aligned to 16, or to 8 where size is 8 or less. size 0 gives a unique pointer that must be
 * freed. The caller owns it and ends it with ash_free(), ash_free_sized() or ash_realloc(), from any thread.
 * NULL: errno ENOMEM (no memory, or size above PTRDIFF_MAX). Semantics: malloc of C17 7.22.3.4.
 */
ASH_API void *ash_malloc(size_t size) ASH_API_MALLOC ASH_API_SIZE(1);

/* As ash_malloc(n * size), reading as zero. NULL with ENOMEM also when n * size overflows. Semantics: C17 7.22.3.2. */
ASH_API void *ash_calloc(size_t n, size_t size) ASH_API_MALLOC ASH_API_SIZE2(1, 2);

/*
 * Change the size of p to size bytes; the bytes up to the smaller of old and new size stay. The answer may be p or
 * another address; p is gone unless the call failed. p NULL: as ash_malloc(). size 0 with p not NULL: frees p and
 * returns NULL, as glibc does.
 * NULL: errno ENOMEM, and p is as before; never where size is no more than ash_usable_size(p), and not 0. Semantics:
 * C17 7.22.3.5 and glibc.
 */
ASH_API void *ash_realloc(void *p, size_t size) ASH_API_MUST_USE ASH_API_SIZE(2);

/*
 * size bytes at a multiple of align, which is a power of two; size need not be a multiple of it.
 * NULL: errno EINVAL (align is no power of two), ENOMEM (no memory, or align above 1 GiB, or above 2 to 64 MiB under a
 * limit on address space). Semantics: aligned_alloc of C17 7.22.3.1 as glibc 2.38 has it.
 */
ASH_API void *ash_aligned_alloc(size_t align, size_t size) ASH_API_MALLOC ASH_API_ALIGN(1) ASH_API_SIZE(2);

/* End p, which any allocation function here gave. NULL: nothing happens. errno is preserved. */
ASH_API void ash_free(void *p);

/*
 * As ash_free(p); size is what p was asked for. p must come from ash_malloc(), ash_calloc() or ash_realloc(), not from
 * ash_aligned_alloc(). Semantics: free_sized of C23 7.24.3.4.
 */
ASH_API void ash_free_sized(void *p, size_t size);

/* Bytes usable at p: at least what was asked for. All of them may be used, and ash_realloc() keeps them. NULL: 0. */
ASH_API size_t ash_usable_size(const void *p);

/*
 * Give memory that nobody uses back to the system: caches of the calling thread and of ended threads, parts of
 * their slabs (4 to 16 KiB each) on which nothing is alive, then every free pageblock. Returns the bytes given back.
 * Takes time in proportion to them and to the objects of small sizes; meant for quiet moments.
 */
ASH_API size_t ash_trim(void);

ASH_API_END

#endif
