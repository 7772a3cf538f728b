/* SPDX-License-Identifier: MIT */
/*
 * The distribution of single malloc and free calls in steady state: random replacement in a full table, each call
 * timed by the time-stamp counter (the clock elsewhere), every value kept in a log-linear histogram of 32 steps to a
 * doubling, so that percentiles are within 3 %.
 *
 * Each new object has the size that was freed one step before, at random as that is: were it drawn anew, the number of
 * objects of a size would wander, and every allocator would have to grow for each new maximum, however long it has run.
 *
 * live= objects, ops= replacements measured after as many for warm-up, size= fixed size (0: mixed), cdf=1 prints every
 * step. Prints percentiles in nanoseconds, the cost of the timing itself (which they contain), and the page faults and
 * system time of the measured part.
 */
#include <sys/resource.h>

#include "bench.h"

#define SUB_BITS 5
#define STEPS (64 << SUB_BITS)

struct histogram {
	uint64_t count[STEPS], total, max;
};

static struct histogram malloc_times, free_times, empty_times;
static double ns_per_tick = 1;

static inline uint64_t ticks(void)
{
#if defined(__x86_64__)
	unsigned aux;

	return __builtin_ia32_rdtscp(&aux);
#else
	return bench_now();
#endif
}

static void prepare(void)
{
	const uint64_t t0 = ticks(), n0 = bench_now();

	/* Their pages are not to be touched first by what is measured. */
	memset(&malloc_times, 0, sizeof(malloc_times));
	memset(&free_times, 0, sizeof(free_times));
	memset(&empty_times, 0, sizeof(empty_times));
	while (bench_now() - n0 < 20000000)
		;
	ns_per_tick = (double)(bench_now() - n0) / (double)(ticks() - t0);
}

static inline unsigned step_of(uint64_t value)
{
	unsigned log;

	if (value < 1u << SUB_BITS)
		return (unsigned)value;
	log = 63 - (unsigned)__builtin_clzll(value) - SUB_BITS;
	return ((log + 1) << SUB_BITS) + (unsigned)((value >> log) & ((1u << SUB_BITS) - 1));
}

/* The smallest value of a step. */
static uint64_t step_value(unsigned step)
{
	const unsigned log = step >> SUB_BITS;

	if (log == 0)
		return step;
	return ((uint64_t)(step & ((1u << SUB_BITS) - 1)) | 1u << SUB_BITS) << (log - 1);
}

static inline void record(struct histogram *h, uint64_t value)
{
	h->count[step_of(value)]++;
	h->total++;
	h->max = value > h->max ? value : h->max;
}

static double percentile(const struct histogram *h, double share)
{
	const uint64_t wanted = (uint64_t)(share * (double)h->total);
	uint64_t seen = 0;

	for (unsigned i = 0; i < STEPS; i++) {
		seen += h->count[i];
		if (seen > wanted)
			return (double)step_value(i) * ns_per_tick;
	}
	return (double)h->max * ns_per_tick;
}

static void print(const char *name, const struct histogram *h, bool cdf)
{
	uint64_t seen = 0;

	printf("%s p50 %.1f p90 %.1f p99 %.1f p99.9 %.1f p99.99 %.1f max %.1f ns of %llu\n", name, percentile(h, 0.5),
	       percentile(h, 0.9), percentile(h, 0.99), percentile(h, 0.999), percentile(h, 0.9999),
	       (double)h->max * ns_per_tick, (unsigned long long)h->total);
	for (unsigned i = 0; cdf && i < STEPS; i++) {
		if (h->count[i] == 0)
			continue;
		seen += h->count[i];
		printf("cdf %s %.1f %.8f\n", name, (double)step_value(i) * ns_per_tick,
		       (double)seen / (double)h->total);
	}
}

int main(int argc, char **argv)
{
	const size_t live = bench_arg(argc, argv, "live", 100000), fixed = bench_arg(argc, argv, "size", 0);
	const uint64_t ops = bench_arg(argc, argv, "ops", 5000000);
	uint64_t state = bench_arg(argc, argv, "seed", 1), start;
	struct rusage before, after;
	size_t next;
	struct {
		void *p;
		size_t size;
	} *objects = calloc(live, sizeof(*objects));

	if (objects == NULL || live == 0 || ops == 0)
		bench_die("nothing to do");
	prepare();
	for (size_t i = 0; i < live; i++) {
		objects[i].size = fixed != 0 ? fixed : bench_size(&state);
		objects[i].p = bench_malloc(objects[i].size);
	}
	next = fixed != 0 ? fixed : bench_size(&state);
	start = bench_now();
	getrusage(RUSAGE_SELF, &before);
	for (uint64_t n = 0; n < 2 * ops; n++) {
		const size_t i = bench_random(&state) % live, size = next;
		uint64_t t0, t1, t2, t3;
		void *p;

		if (n == ops)
			getrusage(RUSAGE_SELF, &before);
		bench_check(objects[i].p, objects[i].size);
		next = objects[i].size;
		t0 = ticks();
		free(objects[i].p);
		t1 = ticks();
		p = malloc(size);
		t2 = ticks();
		t3 = ticks();
		if (p == NULL)
			bench_die("malloc(%zu) failed", size);
		bench_fill(p, size);
		objects[i].p = p;
		objects[i].size = size;
		if (n >= ops) {
			record(&free_times, t1 - t0);
			record(&malloc_times, t2 - t1);
			record(&empty_times, t3 - t2);
		}
	}
	getrusage(RUSAGE_SELF, &after);
	print("malloc", &malloc_times, bench_arg(argc, argv, "cdf", 0) != 0);
	print("free", &free_times, bench_arg(argc, argv, "cdf", 0) != 0);
	print("timer", &empty_times, false);
	printf("steady %ld faults %ld us system\n", after.ru_minflt - before.ru_minflt,
	       (after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000 + after.ru_stime.tv_usec -
		       before.ru_stime.tv_usec);
	for (size_t i = 0; i < live; i++)
		bench_free(objects[i].p, objects[i].size);
	free(objects);
	bench_report("latency", 2 * ops, start);
	return 0;
}
