/* SPDX-License-Identifier: MIT */
/*
 * Hours of churn in seconds: buffers of many sizes come and go for many lifetimes of the arena's memory, beside objects
 * that can be moved and a cache that can be dropped, and every now and then a long run is wanted, which must be had.
 */
#include "arena/child.h"
#include "dma/witness.h"

#include <time.h>

enum {
	STEPS = 60000,
	WANT_EVERY = 500,
	BUFFERS = 600,       /* about 8 MiB */
	MOVABLE = 1200,      /* about 18 MiB */
	MOVABLE_MOST = 1800, /* about 28 MiB: with the others 42 MiB of 64 */
	CACHED = 400,        /* about 6 MiB */
};
#define ARENA MIB(64)
#define LONG_RUN MIB(16)

struct thing {
	unsigned char *at;
	size_t bytes;
	unsigned char mark;
};
static struct thing buffer[BUFFERS], movable[MOVABLE_MOST], cached[CACHED];
static unsigned char *arena;
static unsigned moves, drops, wanted, refused, needlessly;
static uint64_t turned_over, spent, worst;

static unsigned draw(void)
{
	static uint64_t state;

	if (state == 0)
		state = test_seed;
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(state >> 33);
}

static int on_move(void *to, void *from, size_t bytes, void *arg)
{
	struct thing *t = arg;

	memcpy(to, from, bytes);
	t->at = to;
	moves++;
	return 0;
}

static int on_drop(void *p, size_t bytes, void *arg)
{
	struct thing *t = arg;

	(void)bytes;
	t->at = NULL;
	drops++;
	return ash_dma_free(p);
}

static void check(const struct thing *t)
{
	EXPECT_EQ(t->at[0], t->mark);
	EXPECT_EQ(t->at[t->bytes - 1], t->mark);
}

static size_t end(struct thing *t)
{
	if (t->at == NULL)
		return 0;
	check(t);
	EXPECT_EQ(ash_dma_free(t->at), 0);
	t->at = NULL;
	return t->bytes;
}

static void begin(struct thing *t, const struct ash_dma_object_ops *ops)
{
	static struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;

	attr.flags = ASH_DMA_NO_GROW;
	/* Small ones by far the most, as everywhere. */
	t->bytes = ops == NULL ? KIB(4) * (1 + draw() % 4 * (draw() % 4)) : KIB(4) << draw() % 4;
	t->mark = (unsigned char)draw();
	if (ops == NULL)
		t->at = ash_dma_alloc(t->bytes, &attr);
	else
		t->at = ash_dma_alloc_object(t->bytes, ops, t, ASH_NODE_LOCAL, ASH_DMA_NO_GROW);
	if (t->at != NULL)
		memset(t->at, t->mark, t->bytes);
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* In the order of addresses; those that are not there last. */
static int by_address(const void *a, const void *b)
{
	const uintptr_t x = (uintptr_t)((const struct thing *)a)->at - 1,
			y = (uintptr_t)((const struct thing *)b)->at - 1;

	return (x > y) - (x < y);
}

/* The longest stretch of the arena without a buffer, which never moves. */
static size_t longest_without_buffers(const unsigned char *arena)
{
	static struct thing sorted[BUFFERS];
	const unsigned char *from = arena;
	size_t longest = 0;

	memcpy(sorted, buffer, sizeof(sorted));
	qsort(sorted, BUFFERS, sizeof(sorted[0]), by_address);
	for (unsigned i = 0; i < BUFFERS && sorted[i].at != NULL; i++) {
		longest = (size_t)(sorted[i].at - from) > longest ? (size_t)(sorted[i].at - from) : longest;
		from = sorted[i].at + sorted[i].bytes;
	}
	return (size_t)(arena + ARENA - from) > longest ? (size_t)(arena + ARENA - from) : longest;
}

static void churn(unsigned nr_movable)
{
	static const struct ash_dma_object_ops mover = { on_move, NULL }, dropper = { NULL, on_drop };
	struct thing *t = &buffer[draw() % BUFFERS];

	turned_over += end(t);
	begin(t, NULL);
	t = &movable[draw() % nr_movable];
	turned_over += end(t);
	begin(t, &mover);
	t = &cached[draw() % CACHED];
	if (t->at == NULL)
		begin(t, &dropper);
}

/* A long run is wanted, used if it is had, and ended. */
static void want(unsigned nr_movable)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	const uint64_t start = now_us();
	uint64_t took;
	void *p;

	attr.flags = ASH_DMA_NO_GROW;
	p = ash_dma_alloc(LONG_RUN, &attr);
	took = now_us() - start;
	spent += took;
	worst = took > worst ? took : worst;
	wanted++;
	refused += p == NULL;
	if (p != NULL)
		memset(p, 0xff, LONG_RUN);
	else if (longest_without_buffers(arena) >= LONG_RUN)
		needlessly++;
	for (unsigned k = 0; k < nr_movable; k++) {
		if (movable[k].at != NULL)
			check(&movable[k]);
	}
	EXPECT_EQ(ash_dma_free(p), 0);
}

static void hours(unsigned nr_movable)
{
	arena = ash_dma_alloc(ARENA, NULL);
	EXPECT(arena != NULL);
	EXPECT_EQ(ash_dma_free(arena), 0);
	for (unsigned i = 1; i <= STEPS; i++) {
		churn(nr_movable);
		if (i % WANT_EVERY == 0)
			want(nr_movable);
	}
	printf("# %llu times the arena's %zu MiB turned over; %u runs of %zu MiB wanted, %u refused, "
	       "%llu us each, %llu at worst; %u objects moved, %u dropped\n",
	       (unsigned long long)(turned_over / ARENA), ARENA >> 20, wanted, LONG_RUN >> 20, refused,
	       (unsigned long long)(spent / wanted), (unsigned long long)worst, moves, drops);
	/* There is not so much free memory in one piece as is wanted: somebody had to give way. */
	EXPECT_GT(moves + drops, 0);
}

CHILD_TEST(long_runs_are_there_after_hours_of_churn)
{
	hours(MOVABLE);
	EXPECT_EQ(refused, 0);
}

/* Two thirds full. Nothing but a buffer in every stretch that would be long enough is a reason to refuse. */
CHILD_TEST(a_long_run_is_refused_only_where_buffers_leave_no_room_for_it)
{
	hours(MOVABLE_MOST);
	EXPECT_EQ(needlessly, 0);
}
