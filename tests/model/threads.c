/* SPDX-License-Identifier: MIT */
/*
 * Threads on one zone, each with a ledger of what it owns.
 *
 * A frame's payload is a plain word that its owner writes when it is granted and wipes before it frees: two owners at
 * once are seen by value, and under ThreadSanitizer a hand-over that is not ordered by the zone's locks is seen as a
 * race. ash_zone_check takes every lock, so the invariants are checked while the others run. More threads than pcps and
 * than CPUs, waiting by futex: contention, sharing and preemption are the normal case.
 */
#include "base/bits.h"
#include "harness/test.h"
#include "model/hosted.h"
#include "page/pcp.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NR_THREADS 4
#define NR_HELD 48
#define NR_MAIL 8

struct held {
	ash_pfn_t pfn, nr;
	unsigned order; /* MODEL_ORDER_RUN: a run */
	enum ash_migratetype mt;
};

struct stress {
	struct ash_zone *z;
	uint32_t *payload;
	ash_pfn_t nr_frames;
	unsigned nr_cpus, max_order;
	bool owned; /* each thread has a pcp slot of its own, locked without atomics */
	uint64_t rounds;
	pthread_mutex_t mail_lock;
	struct held mail[NR_MAIL]; /* grants on their way to a thread that will free them */
	_Atomic(const char *) failure;
	_Atomic unsigned long failed_pfn;
	_Atomic uint64_t grants, refusals, checks;
};

struct worker {
	pthread_t thread;
	struct stress *s;
	uint32_t id;
	uint64_t rng;
	struct held held[NR_HELD];
	unsigned nr_held;
};

static void on_bug(const struct ash_zone *z, const char *what, ash_pfn_t pfn, unsigned long a, unsigned long b)
{
	(void)z;
	fprintf(stderr, "the core reports a bug: %s (pfn %u, %lu, %lu)\n", what, pfn, a, b);
	abort();
}

static void barrier(void)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0)
		abort();
}

static struct ash_zone_ops ops = { .bug = on_bug, .barrier = barrier };

static void fail(struct stress *s, const char *what, unsigned long pfn)
{
	const char *none = NULL;

	if (atomic_compare_exchange_strong(&s->failure, &none, what))
		atomic_store(&s->failed_pfn, pfn);
}

/* --- One worker --- */

static void granted(struct worker *w, struct held h)
{
	struct stress *s = w->s;

	if (h.pfn >= s->nr_frames || h.nr > s->nr_frames - h.pfn) {
		fail(s, "a grant outside the span", h.pfn);
		return;
	}
	for (ash_pfn_t pfn = h.pfn; pfn < h.pfn + h.nr; pfn++) {
		if (s->payload[pfn] != 0)
			fail(s, "a granted frame has an owner", pfn);
		s->payload[pfn] = w->id;
	}
	w->held[w->nr_held++] = h;
	atomic_fetch_add_explicit(&s->grants, 1, memory_order_relaxed);
}

static void release(struct worker *w, struct held h, uint32_t owner, unsigned cpu)
{
	struct stress *s = w->s;

	for (ash_pfn_t pfn = h.pfn; pfn < h.pfn + h.nr; pfn++) {
		if (s->payload[pfn] != owner)
			fail(s, "an owned frame was given to somebody else", pfn);
		s->payload[pfn] = 0;
	}
	if (h.order == MODEL_ORDER_RUN)
		ash_zone_free_run(s->z, h.pfn, h.nr);
	else
		ash_zone_free(s->z, h.pfn, h.order, cpu);
}

static void try_alloc(struct worker *w, uint64_t r, unsigned cpu)
{
	struct stress *s = w->s;
	const enum ash_migratetype mt = (enum ash_migratetype)(r % ASH_MT_PCPTYPES);
	const unsigned flags = (r >> 4) % 16 == 0 ? ASH_ALLOC_NOFRAGMENT : (r >> 4) % 16 == 1 ? ASH_ALLOC_TRYLOCK : 0;
	const unsigned order = ash_ctz((r >> 8 & 0xff) | 1u << s->max_order);
	const ash_pfn_t nr = 1 + (r >> 16) % 40;
	const bool run = (r >> 24) % 4 == 0;
	struct ash_page_grant grant;
	int result;

	if (w->nr_held == NR_HELD)
		return;
	if (run)
		result = ash_zone_alloc_run(s->z, nr, 0, mt, flags, &grant);
	else
		result = ash_zone_alloc(s->z, order, mt, flags, cpu, &grant);
	if (result == 0)
		granted(w, (struct held){ grant.pfn, run ? nr : 1u << order, run ? MODEL_ORDER_RUN : order, mt });
	else
		atomic_fetch_add_explicit(&s->refusals, 1, memory_order_relaxed);
}

static void try_free(struct worker *w, uint64_t r, unsigned cpu)
{
	struct held h;

	if (w->nr_held == 0)
		return;
	h = w->held[r % w->nr_held];
	w->held[r % w->nr_held] = w->held[w->nr_held - 1];
	w->nr_held--;
	release(w, h, w->id, cpu);
}

static void try_extend(struct worker *w, uint64_t r)
{
	struct stress *s = w->s;
	const ash_pfn_t nr = 1 + r % 8;
	struct held *h, more;
	bool zeroed;

	if (w->nr_held == 0 || w->nr_held == NR_HELD)
		return;
	h = &w->held[(r >> 8) % w->nr_held];
	if (h->order != MODEL_ORDER_RUN || ash_zone_extend_run(s->z, h->pfn + h->nr, nr, h->mt, &zeroed) != 0)
		return;
	more = (struct held){ h->pfn + h->nr, nr, MODEL_ORDER_RUN, h->mt };
	granted(w, more);
}

/* Leave a grant for another thread and free the one found there: a free by a thread that did not allocate. */
static void exchange_mail(struct worker *w, uint64_t r, unsigned cpu)
{
	struct stress *s = w->s;
	struct held out = { 0 }, in;

	if (w->nr_held > 0) {
		out = w->held[--w->nr_held];
		for (ash_pfn_t pfn = out.pfn; pfn < out.pfn + out.nr; pfn++)
			s->payload[pfn] = UINT32_MAX;
	}
	pthread_mutex_lock(&s->mail_lock);
	in = s->mail[r % NR_MAIL];
	s->mail[r % NR_MAIL] = out;
	pthread_mutex_unlock(&s->mail_lock);
	if (in.nr > 0)
		release(w, in, UINT32_MAX, cpu);
}

static void report_one(struct worker *w, uint64_t r)
{
	ash_pfn_t pfn;
	unsigned order;

	if (ash_zone_report_begin(w->s->z, 3, &pfn, &order) != 0)
		return;
	for (ash_pfn_t i = pfn; i < pfn + (1u << order); i++) {
		if (w->s->payload[i] != 0)
			fail(w->s, "a reported frame has an owner", i);
	}
	ash_zone_report_end(w->s->z, pfn, order, r & 1);
}

static void check_now(struct stress *s)
{
	struct ash_zone_fault fault = { 0 };

	if (ash_zone_check(s->z, &fault) != 0)
		fail(s, fault.what, fault.pfn);
	atomic_fetch_add_explicit(&s->checks, 1, memory_order_relaxed);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct stress *s = w->s;

	for (uint64_t i = 0; i < s->rounds && atomic_load_explicit(&s->failure, memory_order_relaxed) == NULL; i++) {
		const uint64_t r = model_random(&w->rng), what = r >> 56;
		const unsigned slot = s->owned ? w->id - 1 : (unsigned)((r >> 40) % s->nr_cpus);
		const unsigned cpu = (r >> 48) % 8 == 0 ? ASH_CPU_NONE : slot;

		if (what < 110)
			try_alloc(w, r, cpu);
		else if (what < 210)
			try_free(w, r, cpu);
		else if (what < 230)
			exchange_mail(w, r, cpu);
		else if (what < 248)
			try_extend(w, r);
		else if (what < 252)
			report_one(w, r);
		else if (what < 255)
			ash_zone_drain(s->z);
		else if ((r & 7) == 0)
			check_now(s);
	}
	while (w->nr_held > 0)
		try_free(w, 0, ASH_CPU_NONE);
	return NULL;
}

/* --- The tests --- */

static struct ash_zone *open_zone(struct stress *s, struct hosted_world *world, struct ash_geometry geometry,
				  ash_pfn_t nr_frames, unsigned nr_cpus)
{
	const struct model_config config = { .geometry = geometry, .nr_frames = nr_frames, .online_nr = nr_frames,
					     .nr_cpus = nr_cpus, .pcp_owned = s->owned, .pcp_batch = 7 };

	hosted_open(world, &config);
	ops.lock = hosted_lock_ops;
	world->config.ops = &ops;
	EXPECT(hosted_reset(world));
	s->z = world->m->zone;
	EXPECT_EQ(s->z->pcp_biased, s->owned);
	s->nr_frames = nr_frames;
	s->nr_cpus = nr_cpus;
	s->max_order = geometry.max_order;
	return s->z;
}

static void expect_whole(struct stress *s)
{
	struct ash_zone_stats stats;

	ash_zone_drain(s->z);
	check_now(s);
	if (atomic_load(&s->failure) != NULL)
		TEST_FAIL("%s (pfn %lu)", atomic_load(&s->failure), atomic_load(&s->failed_pfn));
	ash_zone_stats(s->z, &stats);
	EXPECT_EQ(stats.free, s->nr_frames);
	EXPECT_EQ(stats.pcp, 0);
}

static void run_threads(bool owned)
{
	static struct worker workers[NR_THREADS];
	static struct stress s;
	struct hosted_world world;

	memset(&s, 0, sizeof(s));
	s.owned = owned;
	open_zone(&s, &world, (struct ash_geometry){ 4, 6 }, 512, owned ? NR_THREADS : 2);
	s.rounds = hosted_long() ? 5000000 : 100000;
	s.payload = calloc(s.nr_frames, sizeof(*s.payload));
	EXPECT(s.payload != NULL);
	pthread_mutex_init(&s.mail_lock, NULL);
	for (uint32_t i = 0; i < NR_THREADS; i++) {
		workers[i] = (struct worker){ .s = &s, .id = i + 1, .rng = test_seed * 1000 + i + 1 };
		EXPECT_EQ(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < NR_THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < NR_MAIL; i++) {
		if (s.mail[i].nr > 0)
			release(&workers[0], s.mail[i], UINT32_MAX, ASH_CPU_NONE);
	}
	printf("# %llu grants, %llu refusals, %llu checks under way\n", (unsigned long long)s.grants,
	       (unsigned long long)s.refusals, (unsigned long long)s.checks);
	expect_whole(&s);
	EXPECT_GT(s.grants, s.rounds / 2);
	EXPECT_GT(s.refusals, 0);
	EXPECT_GT(s.checks, 10);
	free(s.payload);
	hosted_close(&world);
}

TEST(threads_with_ledgers)
{
	run_threads(false);
}

/* Drains by other threads against owners that lock without atomics. */
TEST(threads_that_own_their_pcps)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0)
		SKIP("this kernel has no expedited membarrier");
	run_threads(true);
}

/*
 * The narrowest part of the same: an owner that does nothing but hits, against a drainer that does nothing but drain.
 * Each time both were inside, the counts of the pcp come apart.
 */

struct drainer {
	struct stress s;
	_Atomic bool stop;
	_Atomic uint64_t drains;
};

static void *drain_forever(void *arg)
{
	struct drainer *d = arg;

	while (!atomic_load_explicit(&d->stop, memory_order_relaxed)) {
		ash_zone_drain(d->s.z);
		atomic_fetch_add_explicit(&d->drains, 1, memory_order_relaxed);
	}
	return NULL;
}

TEST(an_owner_against_a_drainer)
{
	static struct drainer d;
	const unsigned rounds = hosted_long() ? 3000000 : 300000;
	struct hosted_world world;
	pthread_t thread;

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0)
		SKIP("this kernel has no expedited membarrier");
	memset(&d, 0, sizeof(d));
	d.s.owned = true;
	open_zone(&d.s, &world, (struct ash_geometry){ 4, 5 }, 64, 1);
	EXPECT_EQ(pthread_create(&thread, NULL, drain_forever, &d), 0);
	for (unsigned i = 0; i < rounds || atomic_load_explicit(&d.drains, memory_order_relaxed) < 1000; i++) {
		struct ash_page_grant a, b;

		EXPECT_EQ(ash_zone_alloc(d.s.z, 0, ASH_MT_MOVABLE, 0, 0, &a), 0);
		EXPECT_EQ(ash_zone_alloc(d.s.z, 0, ASH_MT_MOVABLE, 0, 0, &b), 0);
		ash_zone_free(d.s.z, a.pfn, 0, 0);
		ash_zone_free(d.s.z, b.pfn, 0, 0);
		if (i % 1024 == 0)
			check_now(&d.s);
	}
	atomic_store(&d.stop, true);
	pthread_join(thread, NULL);
	printf("# %u rounds against %llu drains\n", rounds, (unsigned long long)d.drains);
	expect_whole(&d.s);
	hosted_close(&world);
}

/* T23 ([C 55612e80e722]): one thread frees a piece of no pcp order while another converts its pageblock. */

struct convert {
	struct stress s;
	_Atomic uint64_t conversions;
	_Atomic bool stop;
};

static void *convert_forever(void *arg)
{
	struct convert *c = arg;
	struct ash_zone *z = c->s.z;

	while (!atomic_load_explicit(&c->stop, memory_order_relaxed)) {
		enum ash_migratetype from;

		ash_zone_lock(z);
		from = ash_pageblock_type(z, 0);
		ash_buddy_move_block(z, 0, from, from == ASH_MT_MOVABLE ? ASH_MT_UNMOVABLE : ASH_MT_MOVABLE);
		ash_pageblock_set_type(z, 0, from == ASH_MT_MOVABLE ? ASH_MT_UNMOVABLE : ASH_MT_MOVABLE);
		ash_zone_unlock(z);
		c->conversions++;
	}
	return NULL;
}

TEST(T23_free_against_conversion)
{
	static struct convert c;
	struct hosted_world world;
	pthread_t thread;
	const unsigned rounds = hosted_long() ? 10000000 : 100000;
	struct ash_page_grant grant;

	memset(&c, 0, sizeof(c));
	open_zone(&c.s, &world, (struct ash_geometry){ 5, 5 }, 32, 1);
	EXPECT_EQ(pthread_create(&thread, NULL, convert_forever, &c), 0);
	/* On a busy machine the other thread may not have run at all by then. */
	for (unsigned i = 0; i < rounds || c.conversions <= 100; i++) {
		EXPECT_EQ(ash_zone_alloc(c.s.z, 4, ASH_MT_MOVABLE, 0, 0, &grant), 0);
		ash_zone_free(c.s.z, grant.pfn, 4, 0);
		if (i % 64 == 0)
			check_now(&c.s);
	}
	atomic_store(&c.stop, true);
	pthread_join(thread, NULL);
	printf("# %u frees against %llu conversions\n", rounds, (unsigned long long)c.conversions);
	expect_whole(&c.s);
	EXPECT_GT(c.conversions, 100);
	hosted_close(&world);
}
