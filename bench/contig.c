/* SPDX-License-Identifier: MIT */
/*
 * Contiguous ranges out of a live process: mappings that fill full= percent of total= MiB after churn= of them came and
 * went, half of which another thread writes and checks all the time; then want= MiB taken and given back rounds= times,
 * with other mappings in between. Run it with ASHLAR_LIMIT=TOTAL, so that a range
 * cannot be had by growing. Linked with the library; touch=0 leaves the mappings untouched.
 *
 * Prints ranges had of those asked for, the times that these took, and those that writes to the mappings took, while
 * ranges were taken and while the churn went on.
 */
#include <ashlar/contig.h>
#include <ashlar/map.h>
#include <pthread.h>
#include <stdatomic.h>

#include "bench.h"
#include "stalls.h"

#define PB ((size_t)2 << 20)
enum { MOST = 8192, PAGES_PER_PB = 512 };

static struct {
	uint64_t *p;
	size_t blocks;
} mapping[MOST];
static size_t nr, live_blocks;
static size_t fixed; /* the first of them stay, for the writer */
static uint64_t rng = 88172645463325252u;
static bool touch;

static atomic_bool stop;
static _Atomic size_t phase; /* 0: nothing is taken; 1: ranges are */
static struct stalls writes[2], ranges;

static uint64_t word_of(const uint64_t *p)
{
	return (uintptr_t)p * 0x9e3779b97f4a7c15u | 1;
}

static void fill(uint64_t *p, size_t blocks)
{
	for (size_t i = 0; touch && i < blocks * PB / 8; i += 4096 / 8)
		p[i] = word_of(&p[i]);
}

static bool add(void)
{
	const size_t blocks = 1 + bench_random(&rng) % (bench_random(&rng) % 8 == 0 ? 32 : 4);

	if (nr == MOST)
		return false;
	mapping[nr].p = ash_map(blocks * PB);
	if (mapping[nr].p == NULL)
		return false;
	mapping[nr].blocks = blocks;
	fill(mapping[nr++].p, blocks);
	live_blocks += blocks;
	return true;
}

static void drop(void)
{
	const size_t i = fixed + bench_random(&rng) % (nr - fixed);

	for (size_t w = 0; touch && w < mapping[i].blocks * PB / 8; w += 4096 / 8) {
		if (mapping[i].p[w] != word_of(&mapping[i].p[w]))
			bench_die("a word is wrong");
	}
	if (ash_unmap(mapping[i].p, mapping[i].blocks * PB) != 0)
		bench_die("unmap");
	live_blocks -= mapping[i].blocks;
	mapping[i] = mapping[--nr];
}

/* As full as before with other mappings, so that the next range has to be emptied again. */
static void stir(size_t most)
{
	const size_t before = nr;

	while (nr > fixed && nr + 8 > before)
		drop();
	while (live_blocks < most && add())
		;
	while (live_blocks > most)
		drop();
}

/* Writes all over what stays. */
static void *writer(void *arg)
{
	uint64_t state = 5;

	(void)arg;
	while (!stop) {
		const size_t at = phase, i = bench_random(&state) % fixed;
		uint64_t *p = mapping[i].p + bench_random(&state) % (mapping[i].blocks * PAGES_PER_PB) * (4096 / 8),
			 start, took;

		start = bench_now();
		if (*(volatile uint64_t *)p != word_of(p))
			bench_die("a word is wrong");
		*(volatile uint64_t *)p = word_of(p);
		took = bench_now() - start;
		stalls_add(&writes[at], took);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const size_t total = bench_arg(argc, argv, "total", 1024) * (1 << 20) / PB,
		     full = bench_arg(argc, argv, "full", 80);
	const size_t want = bench_arg(argc, argv, "want", 64) << 20, rounds = bench_arg(argc, argv, "rounds", 50);
	const size_t churn = bench_arg(argc, argv, "churn", 20000);
	size_t had = 0;
	uint64_t start;
	pthread_t thread;

	touch = bench_arg(argc, argv, "touch", 1) != 0;
	for (size_t i = 0; i < churn; i++) {
		while (live_blocks >= total * full / 100)
			drop();
		if (!add())
			bench_die("%zu mappings of %zu pageblocks: no more", nr, live_blocks);
	}
	stir(total * full / 100);
	fixed = nr / 2;
	if (touch && pthread_create(&thread, NULL, writer, NULL) != 0)
		bench_die("no thread");
	for (size_t i = 0; i < rounds; i++) {
		void *p;

		phase = 1;
		start = bench_now();
		p = ash_contig_alloc(want, 0, ASH_NODE_LOCAL);
		start = bench_now() - start;
		phase = 0;
		stalls_add(&ranges, start);
		had += p != NULL;
		/* Somebody uses it, and it is in the way of the next until it is freed. */
		if (p != NULL)
			memset(p, 1, 4096);
		if (ash_contig_free(p) != 0)
			bench_die("a range that cannot be freed");
		stir(total * full / 100);
	}
	stop = true;
	if (touch)
		pthread_join(thread, NULL);
	printf("%zu of %zu MiB in %zu mappings; %zu MiB taken: %zu of %zu times\n", live_blocks * 2, total * 2, nr,
	       want >> 20, had, rounds);
	stalls_print("ranges", &ranges);
	if (touch) {
		stalls_print("writes while ranges were taken", &writes[1]);
		stalls_print("writes else", &writes[0]);
	}
	return had == rounds ? 0 : 1;
}
