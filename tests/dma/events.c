/* SPDX-License-Identifier: MIT */
/*
 * Listeners: each hears, of each range, that it comes and that it goes, in order and once; whatever it does meanwhile,
 * and whoever does what at the same time.
 */
#include "arena/child.h"
#include "dma/witness.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

enum { KNOWN_MAX = 4096, THREADS = 3, ROUNDS = 150 };

/* A table as a listener keeps it: what it was told of and not yet told the end of. */
struct table {
	pthread_mutex_t lock;
	struct {
		char *va;
		size_t bytes;
		bool asked;
	} known[KNOWN_MAX];
	unsigned nr;
	size_t bytes;
	_Atomic unsigned wrong; /* what it heard that it should not have heard then */
	_Atomic unsigned calls;
};

/* [va, va + bytes) out of the table: of the ranges there, the parts inside it. Returns the bytes found; asked as it
 * was. */
static size_t take_out(struct table *t, char *va, size_t bytes)
{
	size_t found = 0;

	for (unsigned i = 0; i < t->nr; i++) {
		char *from = t->known[i].va, *to = from + t->known[i].bytes;
		char *const low = from > va ? from : va, *const high = to < va + bytes ? to : va + bytes;

		if (low >= high)
			continue;
		found += (size_t)(high - low);
		t->known[i--] = t->known[--t->nr];
		if (from < low) {
			t->known[t->nr].va = from;
			t->known[t->nr++].bytes = (size_t)(low - from);
		}
		if (high < to) {
			t->known[t->nr].va = high;
			t->known[t->nr++].bytes = (size_t)(to - high);
		}
	}
	t->bytes -= found;
	return found;
}

static void put_in(struct table *t, char *va, size_t bytes)
{
	t->known[t->nr].va = va;
	t->known[t->nr++].bytes = bytes;
	t->bytes += bytes;
}

static int keep(enum ash_dma_event event, void *va, size_t bytes, void *arg)
{
	struct table *t = arg;
	size_t there;

	atomic_fetch_add(&t->calls, 1);
	pthread_mutex_lock(&t->lock);
	there = take_out(t, va, bytes);
	/* It comes where nothing is known, and all else is of what is. */
	if (there != (event == ASH_DMA_EVENT_MAPPED ? 0 : bytes) || t->nr >= KNOWN_MAX - 2) {
		printf("# event %d of %zu bytes at %p: %zu known\n", (int)event, bytes, va, there);
		atomic_fetch_add(&t->wrong, 1);
	}
	if (event != ASH_DMA_EVENT_UNMAPPED && t->nr < KNOWN_MAX - 2)
		put_in(t, va, bytes);
	pthread_mutex_unlock(&t->lock);
	/* It is there, whatever happens. */
	(void)__atomic_load_n((char *)va, __ATOMIC_RELAXED);
	return 0;
}

static struct table table = { .lock = PTHREAD_MUTEX_INITIALIZER };

static char *get(size_t bytes, unsigned flags)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;

	attr.flags = flags;
	return ash_dma_alloc(bytes, &attr);
}

static void *foreign(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EXPECT(p != MAP_FAILED);
	return p;
}

/* A listener that stops in its first call until it is let on. */
static struct {
	_Atomic bool armed, stopped, let_on, over;
} gate;

static int stop_once(enum ash_dma_event event, void *va, size_t bytes, void *arg)
{
	(void)event;
	(void)va;
	(void)bytes;
	(void)arg;
	if (atomic_exchange(&gate.armed, false)) {
		atomic_store(&gate.stopped, true);
		while (!atomic_load(&gate.let_on))
			sched_yield();
		atomic_store(&gate.over, true);
	}
	return 0;
}

static void *grow(void *arg)
{
	return ash_dma_alloc((size_t)(uintptr_t)arg, NULL);
}

static void wait_for(_Atomic bool *flag)
{
	while (!atomic_load(flag))
		sched_yield();
}

/* All that a library does with a lock of its listener's held, while that listener is in the middle of a call. */
static void do_everything(void)
{
	char *const there = get(KIB(8), 0), *const more = get(MIB(6), 0), *const shared = get(MIB(2), ASH_DMA_SHARED);
	struct ash_dma_stats stats = { .size = sizeof(stats) };
	void *const mine = foreign(KIB(64));

	EXPECT(there != NULL && more != NULL && shared != NULL);
	EXPECT_GE(ash_dma_register(mine, KIB(64)), 0);
	EXPECT_EQ(ash_dma_stats_read(&stats), 0);
	EXPECT_GT(present(), MIB(8));
	EXPECT_EQ(ash_dma_free(there) | ash_dma_free(more) | ash_dma_free(shared), 0);
	EXPECT_EQ(ash_dma_unregister(mine, 0), 0);
	EXPECT_GT(ash_dma_trim(), 0);
	EXPECT_EQ(ash_dma_events_register(keep, &table), 0);
	EXPECT_EQ(ash_dma_events_unregister(keep, &table), 0);
	EXPECT_GE(ash_dma_verify(), -ENODATA);
}

CHILD_TEST(while_a_listener_is_called_nothing_is_locked)
{
	pthread_t thread;
	void *p;

	EXPECT(get(KIB(4), 0) != NULL);
	EXPECT_EQ(ash_dma_events_register(stop_once, NULL), 0);
	atomic_store(&gate.armed, true);
	EXPECT_EQ(pthread_create(&thread, NULL, grow, (void *)MIB(5)), 0);
	wait_for(&gate.stopped);
	do_everything();
	EXPECT(!atomic_load(&gate.over));
	atomic_store(&gate.let_on, true);
	EXPECT_EQ(pthread_join(thread, &p), 0);
	EXPECT(p != NULL);
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_EQ(ash_dma_events_unregister(stop_once, NULL), 0);
	EXPECT_EQ(table.wrong, 0);
	EXPECT_EQ(table.bytes, 0);
}

static void *leave(void *arg)
{
	const int err = ash_dma_events_unregister(stop_once, NULL);

	(void)arg;
	/* Whoever has left is in no call. */
	return err == 0 && atomic_load(&gate.over) ? NULL : &gate;
}

CHILD_TEST(who_has_left_is_in_no_call)
{
	const struct timespec moment = { 0, 20000000 };
	pthread_t grower, leaver;
	void *p, *wrong;

	EXPECT_EQ(ash_dma_events_register(stop_once, NULL), 0);
	atomic_store(&gate.armed, true);
	EXPECT_EQ(pthread_create(&grower, NULL, grow, (void *)MIB(5)), 0);
	wait_for(&gate.stopped);
	EXPECT_EQ(pthread_create(&leaver, NULL, leave, NULL), 0);
	nanosleep(&moment, NULL);
	atomic_store(&gate.let_on, true);
	EXPECT_EQ(pthread_join(leaver, &wrong) | pthread_join(grower, &p), 0);
	EXPECT(wrong == NULL);
	EXPECT(p != NULL);
}

static void *trim(void *arg)
{
	(void)arg;
	(void)ash_dma_trim();
	return NULL;
}

static void *let_on_soon(void *arg)
{
	const struct timespec moment = { 0, 20000000 };

	(void)arg;
	nanosleep(&moment, NULL);
	atomic_store(&gate.let_on, true);
	return NULL;
}

/* Memory that is being told of when a listener comes is known to it when its registration returns. */
CHILD_TEST(who_has_come_knows_what_another_had_in_hand)
{
	pthread_t trimmer, opener;
	char *p = get(MIB(6), 0);

	EXPECT(p != NULL);
	EXPECT_EQ(ash_dma_events_register(stop_once, NULL), 0);
	EXPECT_EQ(ash_dma_free(p), 0);
	atomic_store(&gate.armed, true);
	EXPECT_EQ(pthread_create(&trimmer, NULL, trim, NULL), 0);
	wait_for(&gate.stopped);
	/* Somebody takes the memory that is about to go: it stays. */
	p = get(MIB(6), ASH_DMA_NO_GROW);
	EXPECT(p != NULL);
	EXPECT_EQ(pthread_create(&opener, NULL, let_on_soon, NULL), 0);
	EXPECT_EQ(ash_dma_events_register(keep, &table), 0);
	EXPECT_GE(table.bytes, MIB(6));
	EXPECT_EQ(pthread_join(trimmer, NULL) | pthread_join(opener, NULL), 0);
	EXPECT_EQ(table.bytes, present());
	EXPECT_EQ(table.wrong, 0);
	memset(p, 1, MIB(6));
	EXPECT_EQ(ash_dma_free(p), 0);
}

/* A listener that uses the library in every call, for memory that has to come first. */
static struct {
	void *got[16];
	unsigned nr, depth, deepest;
} user;

static int use(enum ash_dma_event event, void *va, size_t bytes, void *arg)
{
	int ret;

	user.depth++;
	user.deepest = user.depth > user.deepest ? user.depth : user.deepest;
	ret = keep(event, va, bytes, arg);
	if (user.nr < 16)
		user.got[user.nr++] = get(event == ASH_DMA_EVENT_MAPPED ? MIB(3) : KIB(64), 0);
	user.depth--;
	return ret;
}

CHILD_TEST(a_listener_may_allocate_and_hears_of_that_too)
{
	char *p;

	EXPECT(get(KIB(4), 0) != NULL);
	EXPECT_EQ(ash_dma_events_register(use, &table), 0);
	EXPECT_EQ(table.bytes, present());
	p = get(MIB(9), 0);
	EXPECT(p != NULL);
	EXPECT_GE(user.nr, 2);
	/* What came because of a call was told after it: calls do not nest without end. */
	EXPECT_EQ(user.deepest, 1);
	EXPECT_EQ(table.bytes, present());
	for (unsigned i = 0; i < user.nr; i++)
		EXPECT(user.got[i] != NULL);
	user.nr = 16;
	for (unsigned i = 0; i < 16; i++)
		EXPECT_EQ(ash_dma_free(user.got[i]), 0);
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_GT(ash_dma_trim(), MIB(9));
	EXPECT_EQ(table.bytes, present());
	EXPECT_EQ(ash_dma_events_unregister(use, &table), 0);
	EXPECT_EQ(table.wrong, 0);
	EXPECT_EQ(table.bytes, 0);
}

static void *mine;

/* Everything else: trims, registers memory and another listener, frees a shared buffer, leaves. */
static int meddle(enum ash_dma_event event, void *va, size_t bytes, void *arg)
{
	static char *shared;

	(void)arg;
	if (event != ASH_DMA_EVENT_MAPPED || user.nr++ != 1)
		return 0;
	(void)ash_dma_trim();
	shared = get(MIB(2), ASH_DMA_SHARED);
	if (shared == NULL || ash_dma_free(shared) != 0 || ash_dma_register(mine, KIB(16)) < 0 ||
	    ash_dma_events_register(keep, &table) != 0 || ash_dma_events_unregister(meddle, NULL) != 0)
		user.depth = 1;
	/* This one is in its caller's hand, who does not wait for himself. */
	if (ash_dma_translate(va, NULL) == ASH_DMA_UNKNOWN && bytes == 0)
		user.depth = 1;
	return 0;
}

CHILD_TEST(a_listener_may_leave_and_bring_another_in_its_own_call)
{
	char *p = get(KIB(4), 0);

	mine = foreign(KIB(16));
	EXPECT_EQ(ash_dma_events_register(meddle, NULL), 0);
	EXPECT_EQ(user.nr, 1);
	EXPECT(get(MIB(5), 0) != NULL);
	EXPECT_EQ(user.depth, 0);
	EXPECT_EQ(table.bytes, present() + KIB(16));
	EXPECT_EQ(ash_dma_events_unregister(meddle, NULL), -ENOENT);
	EXPECT(get(MIB(20), 0) != NULL);
	EXPECT_EQ(table.bytes, present() + KIB(16));
	/* It is gone for good: told of 2 MiB, of 6, of what it meddled with, and of no more. */
	EXPECT_LE(user.nr, 5);
	EXPECT_EQ(ash_dma_unregister(mine, 0), 0);
	EXPECT_EQ(ash_dma_events_unregister(keep, &table), 0);
	EXPECT_EQ(table.bytes, 0);
	EXPECT_EQ(table.wrong, 0);
	EXPECT_EQ(ash_dma_free(p), 0);
}

static int free_it(enum ash_dma_event event, void *va, size_t bytes, void *arg)
{
	(void)bytes;
	if (event == ASH_DMA_EVENT_UNMAPPING)
		*(int *)arg = ash_dma_free(va);
	return 0;
}

CHILD_TEST(what_a_call_is_about_cannot_be_ended_in_it)
{
	char *p = get(MIB(2), ASH_DMA_SHARED);
	int got = 1;

	EXPECT_EQ(ash_dma_events_register(free_it, &got), 0);
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_EQ(got, -EBUSY);
	EXPECT_EQ(ash_dma_free(p), -EINVAL);
}

static int nothing(enum ash_dma_event event, void *va, size_t bytes, void *arg)
{
	(void)event;
	(void)va;
	(void)bytes;
	(void)arg;
	return 0;
}

CHILD_TEST(there_are_so_many_and_no_more)
{
	static char names[32];

	EXPECT(get(KIB(4), 0) != NULL);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 32; i++)
			EXPECT_EQ(ash_dma_events_register(nothing, &names[i]), 0);
		EXPECT_EQ(ash_dma_events_register(nothing, NULL), -ENOSPC);
		for (unsigned i = 0; i < 32; i++)
			EXPECT_EQ(ash_dma_events_unregister(nothing, &names[(i * 7 + round) % 32]), 0);
		EXPECT_EQ(ash_dma_events_unregister(nothing, names), -ENOENT);
	}
}

/* Everything at once. */
static _Atomic bool done;
static _Atomic unsigned trouble;

static unsigned draw(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(*state >> 33);
}

static void *churn(void *arg)
{
	uint64_t state = (uintptr_t)arg + test_seed;
	void *const own = mmap(NULL, KIB(64), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *held[4] = { NULL };

	for (unsigned i = 0; i < ROUNDS; i++) {
		const unsigned n = draw(&state) % 4;

		if (ash_dma_free(held[n]) != 0)
			atomic_fetch_add(&trouble, 1);
		held[n] = get(1 + draw(&state) % MIB(4), draw(&state) % 5 == 0 ? ASH_DMA_SHARED : 0);
		if (held[n] != NULL)
			__atomic_store_n(held[n], 1, __ATOMIC_RELAXED);
		if (draw(&state) % 4 == 0)
			(void)ash_dma_trim();
		if (draw(&state) % 4 == 0 && ash_dma_register(own, KIB(64)) >= 0 && ash_dma_unregister(own, 0) != 0)
			atomic_fetch_add(&trouble, 1);
	}
	for (unsigned n = 0; n < 4; n++) {
		if (ash_dma_free(held[n]) != 0)
			atomic_fetch_add(&trouble, 1);
	}
	return NULL;
}

/* Comes and goes; each time it has to know everything, and in the end nothing. */
static void *come_and_go(void *arg)
{
	struct table *t = arg;

	while (!atomic_load(&done)) {
		if (ash_dma_events_register(keep, t) != 0 || ash_dma_events_unregister(keep, t) != 0 || t->bytes != 0)
			atomic_fetch_add(&trouble, 1);
	}
	return NULL;
}

CHILD_TEST(everything_at_once)
{
	static struct table visitors[2] = { { .lock = PTHREAD_MUTEX_INITIALIZER },
					    { .lock = PTHREAD_MUTEX_INITIALIZER } };
	pthread_t churners[THREADS], guests[2];

	EXPECT_EQ(ash_dma_events_register(keep, &table), 0);
	for (unsigned i = 0; i < 2; i++)
		EXPECT_EQ(pthread_create(&guests[i], NULL, come_and_go, &visitors[i]), 0);
	for (unsigned i = 0; i < THREADS; i++)
		EXPECT_EQ(pthread_create(&churners[i], NULL, churn, (void *)(uintptr_t)(i + 1)), 0);
	for (unsigned i = 0; i < THREADS; i++)
		EXPECT_EQ(pthread_join(churners[i], NULL), 0);
	atomic_store(&done, true);
	for (unsigned i = 0; i < 2; i++) {
		EXPECT_EQ(pthread_join(guests[i], NULL), 0);
		EXPECT_EQ(visitors[i].wrong, 0);
		EXPECT_EQ(visitors[i].bytes, 0);
	}
	EXPECT_EQ(trouble, 0);
	EXPECT_EQ(table.bytes, present());
	(void)ash_dma_trim();
	EXPECT_EQ(table.bytes, present());
	EXPECT_EQ(ash_dma_events_unregister(keep, &table), 0);
	EXPECT_EQ(table.bytes, 0);
	EXPECT_EQ(table.wrong, 0);
}
