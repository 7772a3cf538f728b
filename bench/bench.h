/* SPDX-License-Identifier: MIT */
/*
 * What every workload shares: arguments, a clock, a generator, and the marks that make a benchmark a test as well.
 *
 * A workload takes key=value arguments, does its work with plain malloc and free, and ends with bench_report(), which
 * prints one line "workload ops seconds". Every live object carries a mark of its own in its first and last bytes;
 * bench_free() checks it. An allocator that hands out one byte twice, or loses one, ends the program with status 1.
 */
#ifndef ASH_BENCH_BENCH_H
#define ASH_BENCH_BENCH_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline uint64_t bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* xorshift64*: the same sequence everywhere; never seed it with 0. */
static inline uint64_t bench_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1du;
}

static inline const char *bench_arg_string(int argc, char **argv, const char *key, const char *def)
{
	const size_t len = strlen(key);

	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], key, len) == 0 && argv[i][len] == '=')
			return argv[i] + len + 1;
	return def;
}

static inline uint64_t bench_arg(int argc, char **argv, const char *key, uint64_t def)
{
	const char *value = bench_arg_string(argc, argv, key, NULL);

	return value != NULL ? strtoull(value, NULL, 0) : def;
}

__attribute__((noreturn, format(printf, 1, 2))) static inline void bench_die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	_Exit(1);
}

static inline uint64_t bench_mark(const void *p, size_t size)
{
	return ((uint64_t)(uintptr_t)p * 0x9e3779b97f4a7c15u) ^ size;
}

/* A byte in every page of [p, p + size), as a program that uses its memory would; the marks are left alone. */
static inline void bench_touch(void *p, size_t size)
{
	for (size_t i = 64; i + 8 < size; i += 4096)
		((volatile char *)p)[i] = 1;
}

/* Marks the first and the last eight bytes (one word if they overlap; single bytes below eight). */
static inline void bench_fill(void *p, size_t size)
{
	const uint64_t mark = bench_mark(p, size);

	if (size >= 8) {
		memcpy(p, &mark, 8);
		memcpy((char *)p + (size >= 16 ? size - 8 : 0), &mark, 8);
	} else {
		memset(p, (int)(mark & 0xff), size);
	}
}

static inline void bench_check(const void *p, size_t size)
{
	const uint64_t mark = bench_mark(p, size);
	bool good = true;

	if (size >= 8)
		good = memcmp(p, &mark, 8) == 0 && memcmp((const char *)p + (size >= 16 ? size - 8 : 0), &mark, 8) == 0;
	else
		for (size_t i = 0; i < size; i++)
			good = good && ((const unsigned char *)p)[i] == (mark & 0xff);
	if (!good)
		bench_die("memory at %p (%zu bytes) lost its contents", p, size);
}

static inline void *bench_malloc(size_t size)
{
	void *p = malloc(size);

	if (p == NULL)
		bench_die("malloc(%zu) failed", size);
	if ((uintptr_t)p % 16 != 0 && size >= 16)
		bench_die("malloc(%zu) gave the misaligned %p", size, p);
	bench_fill(p, size);
	bench_touch(p, size);
	return p;
}

static inline void bench_free(void *p, size_t size)
{
	bench_check(p, size);
	free(p);
}

/*
 * A size as programs ask for them: most are small, a tail is not. The steps follow the usual shape of measured
 * programs (half at most 64 bytes, nine tenths at most 512), not any one of them.
 */
static inline size_t bench_size(uint64_t *state)
{
	const uint64_t r = bench_random(state) >> 16;
	const unsigned pick = r & 1023;
	const uint64_t spread = r >> 10;

	if (pick < 512)
		return 8 + spread % 57;
	if (pick < 768)
		return 65 + spread % 128;
	if (pick < 928)
		return 193 + spread % 320;
	if (pick < 1000)
		return 513 + spread % 1536;
	if (pick < 1020)
		return 2049 + spread % 14336;
	return 16385 + spread % 49152;
}

static inline void bench_report(const char *workload, uint64_t ops, uint64_t start)
{
	if (ops == 0)
		bench_die("%s did nothing", workload);
	printf("%s %llu ops %.6f s\n", workload, (unsigned long long)ops, (double)(bench_now() - start) * 1e-9);
}

#endif
