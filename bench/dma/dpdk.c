/* SPDX-License-Identifier: MIT */
/*
 * DMA memory: ashlar beside DPDK, in one process, on the same huge pages, taking turns.
 *
 * usage: bench-dma-dpdk [first ashlar|dpdk]      with "first": the time from main to the first buffer of a fresh
 * process
 *
 * Each figure is the median of ROUNDS interleaved rounds, in nanoseconds of processor time per operation. Needs a pool
 * of 2 MiB pages (bench/dma/run reserves one) and, for physical addresses, root.
 */
#include <ashlar/dma.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_mempool.h>
#include <rte_memzone.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 9, PAIRS = 20000, BURST = 64, OBJECTS = 8192, BULK = 32, HOLES = 40000 };

/* Processor time, so that other work on the machine counts little; the start is told in wall time. */
static clockid_t clock_used = CLOCK_THREAD_CPUTIME_ID;

static double now(void)
{
	struct timespec t;

	clock_gettime(clock_used, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int start_dpdk(int prealloc)
{
	static char *words[] = { (char *)"dma", (char *)"--in-memory", (char *)"--no-pci", (char *)"--no-telemetry",
				 (char *)"--log-level=1", (char *)"-l", (char *)"0", (char *)"-m", (char *)"128",
				 (char *)"--socket-limit", (char *)"128", NULL };

	/* Memory from the start: without -m, DPDK gives pages back at every free that empties one. */
	return rte_eal_init(prealloc ? 11 : 7, words);
}

static void *ashlar_get(size_t size)
{
	return ash_dma_alloc(size, NULL);
}

static void ashlar_put(void *p)
{
	(void)ash_dma_free(p);
}

static void *dpdk_get(size_t size)
{
	return rte_malloc(NULL, size, 64);
}

static void dpdk_put(void *p)
{
	rte_free(p);
}

struct side {
	void *(*get)(size_t size);
	void (*put)(void *p);
};
static const struct side sides[2] = { { ashlar_get, ashlar_put }, { dpdk_get, dpdk_put } };

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(v[0]), by_value);
	return v[ROUNDS / 2];
}

/* Bursts of allocations, then their ends: a pair's cost. */
static double pairs(const struct side *s, size_t size)
{
	const unsigned n = size >= 1 << 20 ? PAIRS / 100 : PAIRS;
	void *p[BURST];
	const double start = now();

	for (unsigned i = 0; i < n / BURST; i++) {
		for (unsigned k = 0; k < BURST; k++) {
			p[k] = s->get(size);
			if (p[k] == NULL) {
				fprintf(stderr, "no memory for %zu bytes\n", size);
				exit(1);
			}
		}
		for (unsigned k = 0; k < BURST; k++)
			s->put(p[k]);
	}
	return (now() - start) / (n / BURST * BURST);
}

static void row(const char *what, double ashlar, double dpdk)
{
	printf("%-56s %10.1f %10.1f %8.2f\n", what, ashlar, dpdk, dpdk / ashlar);
}

static void compare_sizes(void)
{
	static const size_t sizes[] = { 64, 256, 1024, 2048, 4096, 16384, 65536, 262144, 1048576 };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		double t[2][ROUNDS];
		char what[64];

		for (unsigned r = 0; r < ROUNDS; r++) {
			for (unsigned s = 0; s < 2; s++)
				t[s][r] = pairs(&sides[s], sizes[i]);
		}
		snprintf(what, sizeof(what), "alloc + free %zu bytes", sizes[i]);
		row(what, median(t[0]), median(t[1]));
	}
}

static void compare_pools(void)
{
	struct ash_dma_pool *a = ash_dma_pool_create("bench", 2048, OBJECTS, 0, NULL);
	struct rte_mempool *d = rte_mempool_create("bench", OBJECTS, 2048, 256, 0, NULL, NULL, NULL, NULL, 0, 0);
	double one[2][ROUNDS], bulk[2][ROUNDS];
	void *p[BULK];

	if (a == NULL || d == NULL) {
		fprintf(stderr, "no memory for the pools\n");
		exit(1);
	}
	for (unsigned r = 0; r < ROUNDS; r++) {
		double start = now();

		for (unsigned i = 0; i < 20 * PAIRS; i++)
			ash_dma_pool_put(a, ash_dma_pool_get(a));
		one[0][r] = (now() - start) / (20 * PAIRS);
		start = now();
		for (unsigned i = 0; i < 20 * PAIRS; i++) {
			(void)!rte_mempool_get(d, p);
			rte_mempool_put(d, p[0]);
		}
		one[1][r] = (now() - start) / (20 * PAIRS);
		start = now();
		for (unsigned i = 0; i < PAIRS; i++) {
			(void)!ash_dma_pool_get_bulk(a, p, BULK);
			ash_dma_pool_put_bulk(a, p, BULK);
		}
		bulk[0][r] = (now() - start) / PAIRS / BULK;
		start = now();
		for (unsigned i = 0; i < PAIRS; i++) {
			(void)!rte_mempool_get_bulk(d, p, BULK);
			rte_mempool_put_bulk(d, p, BULK);
		}
		bulk[1][r] = (now() - start) / PAIRS / BULK;
	}
	row("pool get + put", median(one[0]), median(one[1]));
	row("pool get + put, 32 at once, each", median(bulk[0]), median(bulk[1]));
}

static void compare_translation(void)
{
	char *a = ash_dma_alloc(1 << 20, NULL), *d = rte_malloc(NULL, 1 << 20, 64);
	double t[2][ROUNDS], whole[2][ROUNDS];
	volatile uint64_t sink = 0;

	for (unsigned r = 0; r < ROUNDS; r++) {
		double start = now();

		for (unsigned i = 0; i < 20 * PAIRS; i++)
			sink += ash_dma_translate(a + (i * 4096 & 0xfffff), NULL);
		t[0][r] = (now() - start) / (20 * PAIRS);
		start = now();
		for (unsigned i = 0; i < 20 * PAIRS; i++)
			sink += rte_malloc_virt2iova(d);
		t[1][r] = (now() - start) / (20 * PAIRS);
		whole[0][r] = t[0][r];
		start = now();
		for (unsigned i = 0; i < PAIRS / 20; i++)
			sink += rte_mem_virt2phy(d + (i * 4096 & 0xfffff));
		whole[1][r] = (now() - start) / (PAIRS / 20);
	}
	row("translate (rte_malloc_virt2iova, start of a buffer only)", median(t[0]), median(t[1]));
	row("translate any address (rte_mem_virt2phy)", median(whole[0]), median(whole[1]));
}

/* Bytes of memory that n objects of a size take, per byte asked for. */
static size_t added;

static int add_run(const struct ash_dma_run *run, void *arg)
{
	(void)arg;
	added += run->len;
	return 0;
}

static size_t ashlar_bytes(void)
{
	added = 0;
	(void)ash_dma_walk_runs(add_run, NULL);
	return added;
}

static void compare_overhead(void)
{
	static const size_t sizes[] = { 64, 1024, 4096 };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const size_t n = (16u << 20) / sizes[i];
		struct rte_malloc_socket_stats before, after;
		const size_t had = ashlar_bytes();
		void **a = calloc(2 * n, sizeof(*a)), **d = a + n;
		char what[64];

		rte_malloc_get_socket_stats(0, &before);
		for (size_t k = 0; k < n; k++) {
			a[k] = ash_dma_alloc(sizes[i], NULL);
			d[k] = rte_malloc(NULL, sizes[i], 64);
		}
		rte_malloc_get_socket_stats(0, &after);
		snprintf(what, sizeof(what), "bytes used per object of %zu", sizes[i]);
		row(what, (double)(ashlar_bytes() - had) / (double)n,
		    (double)(after.heap_allocsz_bytes - before.heap_allocsz_bytes) / (double)n);
		for (size_t k = 0; k < n; k++) {
			(void)ash_dma_free(a[k]);
			rte_free(d[k]);
		}
		free(a);
		(void)ash_dma_trim();
	}
}

/* The largest physically contiguous buffer after 4 KiB objects have filled the memory and every second has gone. */
static void *object[HOLES];

static int on_move(void *to, void *from, size_t bytes, void *arg)
{
	memcpy(to, from, bytes);
	*(void **)arg = to;
	return 0;
}

static size_t ashlar_largest(void)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;

	attr.level = ASH_DMA_PHYSICAL;
	attr.flags = ASH_DMA_NO_GROW;
	for (size_t bytes = 64 << 20; bytes >= 4096; bytes -= bytes > 1 << 20 ? 1 << 20 : 4096) {
		void *p = ash_dma_alloc(bytes, &attr);

		if (p != NULL) {
			(void)ash_dma_free(p);
			return bytes;
		}
	}
	return 0;
}

static size_t dpdk_largest(void)
{
	for (size_t bytes = 64 << 20; bytes >= 4096; bytes -= bytes > 1 << 20 ? 1 << 20 : 4096) {
		const struct rte_memzone *z = rte_memzone_reserve("largest", bytes, 0, RTE_MEMZONE_IOVA_CONTIG);

		if (z != NULL) {
			rte_memzone_free(z);
			return bytes;
		}
	}
	return 0;
}

static void compare_fragmentation(void)
{
	static const struct ash_dma_object_ops movable = { on_move, NULL };
	static void *theirs[HOLES];
	unsigned n = 0, m = 0;
	double ours;

	(void)ash_dma_trim();
	while (n < HOLES && (object[n] = ash_dma_alloc_object(4096, &movable, &object[n], 0, 0)) != NULL)
		n++;
	for (unsigned i = 0; i < n; i += 2)
		(void)ash_dma_free(object[i]);
	ours = (double)ashlar_largest() / 1024;
	while (m < HOLES && (theirs[m] = rte_malloc(NULL, 4096, 64)) != NULL)
		m++;
	for (unsigned i = 0; i < m; i += 2)
		rte_free(theirs[i]);
	printf("%-56s %10.0f %10.0f\n", "largest contiguous after fragmentation, KiB", ours,
	       (double)dpdk_largest() / 1024);
}

static int first(const char *who)
{
	double start;
	char *p;

	clock_used = CLOCK_MONOTONIC;
	start = now();

	if (strcmp(who, "ashlar") == 0) {
		p = ash_dma_alloc(2048, NULL);
	} else {
		if (start_dpdk(0) < 0)
			return 1;
		p = rte_malloc(NULL, 2048, 64);
	}
	if (p == NULL)
		return 1;
	p[0] = 1;
	printf("%.0f\n", (now() - start) / 1000);
	fflush(stdout);
	_Exit(0);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "first") == 0)
		return first(argv[2]);
	if (start_dpdk(1) < 0) {
		fprintf(stderr, "DPDK does not start: %s\n", rte_strerror(rte_errno));
		return 1;
	}
	printf("%-56s %10s %10s %8s\n", "ns (or what is said)", "ashlar", "DPDK", "ratio");
	compare_overhead();
	compare_sizes();
	compare_pools();
	compare_translation();
	compare_fragmentation();
	return 0;
}
