/* SPDX-License-Identifier: MIT */
/*
 * What an order-0 pair costs, allocate and free through the pcp, and what a second thread adds.
 *
 *      bench_pair [rounds, 31] [frames-log2, 20]
 *
 * A round is three short turns: a thread alone on the first processor, alone on the second, and both at once; so what
 * is compared was measured within some milliseconds, whatever the machine's speed does in the long run. CSV, a line per
 * way (inline: the hit as an embedder's loop has it; called: ash_zone_alloc() and ash_zone_free()): nanoseconds of
 * processor time a pair, alone and together, the median of all rounds and the least; and how many times the work of one
 * the two do, as the median of the rounds' quotients with the bounds that a sign test gives it (95 %).
 */
#include <pthread.h>
#include <sched.h>

#include "page/hit.h"
#include "sim.h"

#define LAPS 31
#define LAP_PAIRS 32768u
#define MAX_ROUNDS 1001

enum way { INLINE, CALLED };

struct turn {
	enum way way;
	unsigned threads; /* that take part: how many must have begun, and ended */
	_Atomic unsigned begun, ended;
};

struct worker {
	pthread_t thread;
	struct turn *turn;
	unsigned cpu;
	double ns; /* a pair, in the lap in the middle */
};

static int ascending(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), ascending);
	return v[n / 2];
}

static void pairs_inline(unsigned cpu)
{
	struct ash_pcp *pcp = ash_hit_pcp(zone, cpu);

	if (pcp == NULL)
		sim_fail("no barrier across processors: no hits");
	for (unsigned i = 0; i < LAP_PAIRS; i++) {
		struct ash_page_grant hit, miss;
		ash_pfn_t pfn;

		if (ash_hit_alloc(zone, pcp, 0, ASH_MT_UNMOVABLE, &hit)) {
			pfn = hit.pfn;
		} else {
			if (ash_zone_alloc(zone, 0, ASH_MT_UNMOVABLE, 0, cpu, &miss) != 0)
				sim_fail("out of frames");
			pfn = miss.pfn;
		}
		if (!ash_hit_free(zone, pcp, pfn, 0))
			ash_zone_free(zone, pfn, 0, cpu);
	}
}

static void pairs_called(unsigned cpu)
{
	struct ash_page_grant g;

	for (unsigned i = 0; i < LAP_PAIRS; i++) {
		if (ash_zone_alloc(zone, 0, ASH_MT_UNMOVABLE, 0, cpu, &g) != 0)
			sim_fail("out of frames");
		ash_zone_free(zone, g.pfn, 0, cpu);
	}
}

static void lap(const struct worker *w)
{
	if (w->turn->way == INLINE)
		pairs_inline(w->cpu);
	else
		pairs_called(w->cpu);
}

/* Who begins first and who ends last works on unmeasured: all that is measured together ran together. */
static void *work(void *arg)
{
	struct worker *w = arg;
	struct turn *t = w->turn;
	double ns[LAPS];
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(w->cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	lap(w);
	t->begun++;
	while (t->begun < t->threads)
		lap(w);
	for (unsigned i = 0; i < LAPS; i++) {
		const double start = sim_now();

		lap(w);
		ns[i] = (sim_now() - start) / LAP_PAIRS;
	}
	t->ended++;
	while (t->ended < t->threads)
		lap(w);
	w->ns = median(ns, LAPS);
	return NULL;
}

/* Threads on the processors from first on; what each took is left in ns. */
static void run_turn(enum way way, unsigned first, unsigned threads, double *ns)
{
	struct turn t = { .way = way, .threads = threads };
	struct worker w[2];

	for (unsigned i = 0; i < threads; i++) {
		w[i] = (struct worker){ .turn = &t, .cpu = first + i };
		if (pthread_create(&w[i].thread, NULL, work, &w[i]) != 0)
			sim_fail("no thread");
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(w[i].thread, NULL);
		ns[i] = w[i].ns;
	}
}

/* The rank whose value, and the one as far from the other end, bound the median of n values with 95 %. From 0. */
static size_t sign_test_rank(size_t n)
{
	double p = 1, below = 0;
	size_t k = 0;

	for (size_t i = 0; i < n; i++)
		p /= 2;
	for (; k < n / 2; k++) {
		below += p;
		if (below > 0.025)
			break;
		p = p * (double)(n - k) / (double)(k + 1);
	}
	return k > 0 ? k - 1 : 0;
}

static void measure(enum way way, size_t rounds)
{
	static double alone[MAX_ROUNDS], both[MAX_ROUNDS], times[MAX_ROUNDS];
	const size_t rank = sign_test_rank(rounds);

	for (size_t i = 0; i < rounds; i++) {
		double one[2], two[2];

		run_turn(way, 0, 1, &one[0]);
		run_turn(way, 1, 1, &one[1]);
		run_turn(way, 0, 2, two);
		alone[i] = (one[0] + one[1]) / 2;
		both[i] = (two[0] + two[1]) / 2;
		/* What two do in a nanosecond, by what one does on the mean of both processors. */
		times[i] = 2 * (1 / two[0] + 1 / two[1]) / (1 / one[0] + 1 / one[1]);
	}
	const double a = median(alone, rounds), b = median(both, rounds), t = median(times, rounds);

	printf("%s,%zu,%.2f,%.2f,%.2f,%.2f,%.3f,%.3f,%.3f\n", way == INLINE ? "inline" : "called", rounds, a, alone[0],
	       b, both[0], t, times[rank], times[rounds - 1 - rank]);
}

int main(int argc, char **argv)
{
	const unsigned rounds = sim_argument(argc, argv, 1, 31), log2 = sim_argument(argc, argv, 2, 20);

	if (rounds == 0 || rounds > MAX_ROUNDS)
		sim_fail("1 to 1001 rounds");
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		sim_fail("two processors are needed");
	sim_open(log2, 2, 0);
	printf("way,rounds,alone ns,least,together ns,least,times,from,to\n");
	measure(INLINE, rounds);
	measure(CALLED, rounds);
	sim_check();
	return 0;
}
