/* SPDX-License-Identifier: MIT */
/*
 * Compiler words: the only home of __attribute__ and of the builtins whose spelling differs between compilers.
 */
#ifndef ASH_BASE_COMPILER_H
#define ASH_BASE_COMPILER_H

#include <stdbool.h>
#include <stdint.h>

#define ASH_LIKELY(x) __builtin_expect(!!(x), 1)
#define ASH_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ASH_INLINE static inline __attribute__((always_inline))
#define ASH_NOINLINE __attribute__((noinline))
#define ASH_COLD __attribute__((noinline, cold))
/* Begins at a cache line: else what is added elsewhere moves malloc's and free's few lines, and a program's speed. */
#define ASH_HOT __attribute__((hot, aligned(64)))
#define ASH_NORETURN __attribute__((noreturn))
#define ASH_MUST_USE __attribute__((warn_unused_result))
#define ASH_UNUSED __attribute__((unused))
#define ASH_WEAK __attribute__((weak))
#define ASH_ALIGNED(n) __attribute__((aligned(n)))
/* A further name of a function defined in the same file, with all its attributes where the compiler can copy them. */
#if __has_attribute(copy)
#define ASH_ALIAS(of) __attribute__((alias(#of), copy(of)))
#else
#define ASH_ALIAS(of) __attribute__((alias(#of)))
#endif
/* A function that races on purpose, for hints: ThreadSanitizer is not to look. Linux: data_race(). */
#define ASH_RACES ASH_NOINLINE __attribute__((no_sanitize("thread")))
/* Placed beside the constructors: what every process runs, the shortest too, shares their page. */
#define ASH_AT_START __attribute__((section(".text.startup")))
#define ASH_CONSTRUCTOR ASH_AT_START __attribute__((constructor))
#define ASH_DESTRUCTOR ASH_AT_START __attribute__((destructor))
/*
 * Placed behind these, with malloc and free: what every process runs that allocates a little. Of a file the kernel maps
 * the 64 KiB around what is touched, and each such stretch is 10 microseconds of a process's start and end.
 */
#define ASH_EARLY __attribute__((section(".text.hot")))
/* For a function that is only called where the processor has these instructions. */
#define ASH_TARGET(instructions) __attribute__((target(instructions)))
#define ASH_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define ASH_FALLTHROUGH __attribute__((fallthrough))

/* Marks what a shared object exports; everything else is built with -fvisibility=hidden. */
#define ASH_EXPORT __attribute__((visibility("default")))
/* On the declaration of a variable shared between files of the library: reached without the GOT. */
#define ASH_HIDDEN __attribute__((visibility("hidden")))

/*
 * Initial-exec TLS: one instruction to reach, no __tls_get_addr (which may call malloc). Keep the sum of such
 * variables under 64 bytes: a dlopen'ed library takes them from glibc's small static surplus.
 */
#define ASH_TLS static __thread __attribute__((tls_model("initial-exec")))
#define ASH_TLS_EXTERN extern __thread __attribute__((tls_model("initial-exec")))
#define ASH_TLS_DEFINE __thread __attribute__((tls_model("initial-exec")))

/* A hint that the cache line will be written soon; harmless on any address. */
ASH_INLINE void ash_prefetch_write(const void *p)
{
	/* gcc makes of the builtin, for x86-64 in general, one that asks for reading only. */
#if defined(__x86_64__)
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

/*
 * Whether *n is below zero once it is counted down: two instructions, of which clang by itself makes five, and gcc
 * three where n is indexed.
 */
ASH_INLINE bool ash_count_down(int32_t *n)
{
#if defined(__x86_64__)
	bool below;

	__asm__("decl %0" : "+m"(*n), "=@ccs"(below));
	return below;
#else
	return --*n < 0;
#endif
}

#define ASH_BUILD_ASSERT(cond, text) _Static_assert(cond, text)
#define ASH_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define ASH_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-__builtin_offsetof(type, member)))

/* Stores to what p points at are done by now, also when nothing in the program reads them. */
ASH_INLINE void ash_keep_stores(const void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}

/* The same pointer, from which the compiler derives no other address than is written: one addition, not three. */
ASH_INLINE void *ash_opaque(void *p)
{
	__asm__("" : "+r"(p));
	return p;
}

ASH_INLINE void ash_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" ::: "memory");
#endif
}

#endif
