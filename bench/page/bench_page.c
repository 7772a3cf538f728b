/* SPDX-License-Identifier: MIT */
/*
 * The page core alone: pairs, bulk, repeat and random patterns per order (the patterns of the LLFree paper), on
 * simulated frames: only metadata is touched.
 *
 *      bench_page [frames-log2, default 20] [threads, default 1]
 *
 * Columns: ns per allocate+free pair, the median of several rounds.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>
#include <linux/membarrier.h>

#include "page/zone.h"

#define ROUNDS 7
#define PAIRS (1u << 20)

static struct ash_zone *zone;
static pthread_barrier_t barrier;

struct worker {
	pthread_t thread;
	unsigned cpu, order, pattern, share;
	double ns[ROUNDS];
};

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void *zalloc(size_t bytes)
{
	void *p = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);

	if (p == NULL)
		abort();
	return memset(p, 0, bytes);
}

static void barrier_all(void)
{
	syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

/* Waiting in the kernel, as a process does: spinning on a preempted holder would measure the scheduler. */
static void lock_wait(_Atomic uint32_t *word, uint32_t value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void lock_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static ash_pfn_t get(const struct worker *w)
{
	struct ash_page_grant g;

	if (ash_zone_alloc(zone, w->order, ASH_MT_UNMOVABLE, 0, w->cpu, &g) != 0) {
		fprintf(stderr, "bench_page: out of frames\n");
		exit(1);
	}
	return g.pfn;
}

static size_t run_repeat(const struct worker *w)
{
	for (unsigned i = 0; i < PAIRS; i++)
		ash_zone_free(zone, get(w), w->order, w->cpu);
	return PAIRS;
}

/* Allocate a share of the zone, free it in the given order. */
static size_t run_bulk(const struct worker *w, bool shuffle)
{
	const size_t n = w->share;
	ash_pfn_t *pfn = zalloc(n * sizeof(*pfn));
	uint64_t rng = 88172645463325252u + w->cpu;

	for (size_t i = 0; i < n; i++)
		pfn[i] = get(w);
	for (size_t i = n; shuffle && i > 1; i--) {
		rng ^= rng << 13, rng ^= rng >> 7, rng ^= rng << 17;
		const size_t k = rng % i;
		const ash_pfn_t t = pfn[i - 1];

		pfn[i - 1] = pfn[k];
		pfn[k] = t;
	}
	for (size_t i = 0; i < n; i++)
		ash_zone_free(zone, pfn[i], w->order, w->cpu);
	free(pfn);
	return n;
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (unsigned r = 0; r < ROUNDS; r++) {
		size_t pairs;
		double t;

		pthread_barrier_wait(&barrier);
		t = now_ns();
		pairs = w->pattern == 0 ? run_repeat(w) : run_bulk(w, w->pattern == 2);
		w->ns[r] = (now_ns() - t) / (double)pairs;
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double measure(unsigned order, unsigned pattern, unsigned threads, size_t frames)
{
	struct worker w[64] = { 0 };
	double sum = 0;

	pthread_barrier_init(&barrier, NULL, threads);
	for (unsigned i = 0; i < threads; i++) {
		w[i].cpu = i;
		w[i].order = order;
		w[i].pattern = pattern;
		w[i].share = (unsigned)((frames >> order) / threads * 3 / 4);
		if (w[i].share > PAIRS)
			w[i].share = PAIRS;
		pthread_create(&w[i].thread, NULL, work, &w[i]);
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(w[i].thread, NULL);
		qsort(w[i].ns, ROUNDS, sizeof(double), compare);
		sum += w[i].ns[ROUNDS / 2];
	}
	pthread_barrier_destroy(&barrier);
	ash_zone_drain(zone);
	return sum / threads;
}

int main(int argc, char **argv)
{
	const size_t frames = (size_t)1 << (argc > 1 ? atoi(argv[1]) : 20);
	const unsigned threads = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
	const struct ash_geometry geometry = { ASH_PAGEBLOCK_ORDER, ASH_MAX_ORDER };
	struct ash_zone_config c = { .nr_frames = (ash_pfn_t)frames, .geometry = geometry, .nr_cpus = threads };
	static struct ash_zone_ops ops = { .lock = { lock_wait, lock_wake }, .barrier = barrier_all };

	/* Without the system call the pcps are locked by atomics. */
	c.pcp_owned = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
	c.ops = &ops;

	c.frames = zalloc(frames * ash_frame_struct_size());
	c.pageblocks = zalloc(ash_zone_nr_pageblocks(c.nr_frames, geometry));
	c.pcps = zalloc(threads * ash_pcp_struct_size());
	zone = zalloc(ash_zone_struct_size());
	if (threads > 64 || ash_zone_init(zone, &c) != 0 || ash_zone_online(zone, 0, c.nr_frames, false) != 0)
		return 1;
	printf("%zu frames, %u thread(s), ns per allocate+free pair (repeat, bulk, random)\n", frames, threads);
	for (unsigned order = 0; order <= ASH_MAX_ORDER; order++) {
		if ((frames >> order) / threads < 2)
			break;
		printf("order %2u  %8.1f %8.1f %8.1f\n", order, measure(order, 0, threads, frames),
		       measure(order, 1, threads, frames), measure(order, 2, threads, frames));
	}
	return 0;
}
