/* SPDX-License-Identifier: MIT */
/*
 * The patterns a page allocator is measured with, those of the LLFree paper (Wrenger et al., USENIX ATC 2023, 5.2):
 *
 *      bulk    every thread allocates its share of half the memory, then frees it, last first
 *      random  the same, the pieces of all threads shuffled together before they are freed
 *      repeat  with half the memory allocated, every thread allocates and frees one piece, over and over
 *
 * Whoever includes this file has defined what is measured, so that two allocators can be driven by the same loops:
 *
 *      static uint64_t bench_get(unsigned order, unsigned cpu);            a piece; does not return when there is none
 *      static void bench_put(uint64_t pfn, unsigned order, unsigned cpu);
 *      static void bench_settle(void);                                     between measurements, with nothing allocated
 *
 * Printed is one line per round: pattern, order, threads, round, and in nanoseconds per piece the processor time of
 * allocating and of freeing and the wall time of both. repeat has all of its time in the first column.
 */
#ifndef BENCH_PATTERNS_H
#define BENCH_PATTERNS_H

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BENCH_MAX_THREADS 64

/* Operations of one round: enough for the clock, few enough that some rounds meet no disturbance. */
#define BENCH_ROUND_PIECES 65536u
#define BENCH_ROUND_LAPS 256

enum bench_pattern { BENCH_BULK, BENCH_RANDOM, BENCH_REPEAT, BENCH_PATTERNS };

static const char *const bench_pattern_names[] = { "bulk", "random", "repeat" };

struct bench_run {
	enum bench_pattern pattern;
	unsigned order, threads;
	size_t share; /* pieces of each thread */
	uint64_t *pfn;
	pthread_barrier_t barrier;
};

struct bench_worker {
	pthread_t thread;
	unsigned cpu;
	struct bench_run *run;
	double get, put, wall; /* nanoseconds, of all laps */
	size_t pieces;
};

static double bench_now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void bench_pin(unsigned cpu)
{
	cpu_set_t set, all;

	sched_getaffinity(0, sizeof(all), &all);
	if (!CPU_ISSET(cpu, &all))
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void bench_shuffle(uint64_t *pfn, size_t n)
{
	uint64_t rng = 88172645463325252u;

	for (size_t i = n; i > 1; i--) {
		rng ^= rng << 13, rng ^= rng >> 7, rng ^= rng << 17;
		const size_t k = rng % i;
		const uint64_t t = pfn[i - 1];

		pfn[i - 1] = pfn[k];
		pfn[k] = t;
	}
}

static void bench_fill(struct bench_worker *w, uint64_t *pfn, size_t n)
{
	const struct bench_run *r = w->run;

	for (size_t i = 0; i < n; i++)
		pfn[i] = bench_get(r->order, w->cpu);
}

/* Last first for bulk; shuffled pieces in any direction are the same. */
static void bench_empty(struct bench_worker *w, const uint64_t *pfn, size_t n)
{
	const struct bench_run *r = w->run;

	for (size_t i = n; i-- > 0;)
		bench_put(pfn[i], r->order, w->cpu);
}

static void bench_lap(struct bench_worker *w, uint64_t *pfn)
{
	struct bench_run *r = w->run;
	double cpu, wall;

	pthread_barrier_wait(&r->barrier);
	wall = bench_now(CLOCK_MONOTONIC), cpu = bench_now(CLOCK_THREAD_CPUTIME_ID);
	bench_fill(w, pfn, r->share);
	w->get += bench_now(CLOCK_THREAD_CPUTIME_ID) - cpu, w->wall += bench_now(CLOCK_MONOTONIC) - wall;
	pthread_barrier_wait(&r->barrier);
	if (r->pattern == BENCH_RANDOM && w->cpu == 0)
		bench_shuffle(r->pfn, r->share * r->threads);
	pthread_barrier_wait(&r->barrier);
	wall = bench_now(CLOCK_MONOTONIC), cpu = bench_now(CLOCK_THREAD_CPUTIME_ID);
	bench_empty(w, pfn, r->share);
	w->put += bench_now(CLOCK_THREAD_CPUTIME_ID) - cpu, w->wall += bench_now(CLOCK_MONOTONIC) - wall;
	w->pieces += r->share;
}

static void bench_repeat(struct bench_worker *w, uint64_t *pfn)
{
	struct bench_run *r = w->run;
	double cpu, wall;

	bench_fill(w, pfn, r->share);
	pthread_barrier_wait(&r->barrier);
	wall = bench_now(CLOCK_MONOTONIC), cpu = bench_now(CLOCK_THREAD_CPUTIME_ID);
	for (unsigned i = 0; i < BENCH_ROUND_PIECES; i++)
		bench_put(bench_get(r->order, w->cpu), r->order, w->cpu);
	w->get = bench_now(CLOCK_THREAD_CPUTIME_ID) - cpu, w->wall = bench_now(CLOCK_MONOTONIC) - wall;
	w->pieces = BENCH_ROUND_PIECES;
	pthread_barrier_wait(&r->barrier);
	bench_empty(w, pfn, r->share);
}

static void *bench_work(void *arg)
{
	struct bench_worker *w = arg;
	struct bench_run *r = w->run;
	uint64_t *pfn = r->pfn + w->cpu * r->share;
	unsigned laps = 0;

	bench_pin(w->cpu);
	if (r->pattern == BENCH_REPEAT) {
		bench_repeat(w, pfn);
		return NULL;
	}
	/* Large pieces are few: go round until the clock can tell, as far as waiting for each other allows. */
	do {
		bench_lap(w, pfn);
	} while (w->pieces < BENCH_ROUND_PIECES && ++laps < BENCH_ROUND_LAPS);
	return NULL;
}

static void bench_round(struct bench_run *r, unsigned round)
{
	struct bench_worker w[BENCH_MAX_THREADS] = { 0 };
	double get = 0, put = 0, wall = 0;

	pthread_barrier_init(&r->barrier, NULL, r->threads);
	for (unsigned i = 0; i < r->threads; i++) {
		w[i].cpu = i, w[i].run = r;
		pthread_create(&w[i].thread, NULL, bench_work, &w[i]);
	}
	for (unsigned i = 0; i < r->threads; i++) {
		pthread_join(w[i].thread, NULL);
		get += w[i].get / (double)w[i].pieces / r->threads;
		put += w[i].put / (double)w[i].pieces / r->threads;
		wall += w[i].wall / (double)w[i].pieces / r->threads;
	}
	pthread_barrier_destroy(&r->barrier);
	printf("%s,%u,%u,%u,%.2f,%.2f,%.2f\n", bench_pattern_names[r->pattern], r->order, r->threads, round, get, put,
	       wall);
	bench_settle();
}

/* All patterns on a zone of that many frames; the array of pieces is the caller's and has room for half of them. */
static void bench_patterns(size_t frames, uint64_t *pfn, unsigned low, unsigned high, unsigned threads, unsigned rounds)
{
	struct bench_run r = { .threads = threads, .pfn = pfn };

	for (r.order = low; r.order <= high; r.order++) {
		r.share = frames / 2 / threads >> r.order;
		if (r.share == 0)
			break;
		for (unsigned p = 0; p < BENCH_PATTERNS; p++) {
			r.pattern = (enum bench_pattern)p;
			for (unsigned round = 0; round < rounds; round++)
				bench_round(&r, round);
		}
	}
}

#endif
