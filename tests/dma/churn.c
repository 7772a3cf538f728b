/* SPDX-License-Identifier: MIT */
/*
 * Hours of churn in seconds: buffers of many sizes come and go for many lifetimes of the arena's memory, beside objects that
 * can be moved and a cache that can be dropped, and every now and then a long run is wanted, which must be had.
 */
#include "arena/child.h"
#include "dma/witness.h"

#include <time.h>

enum {
	STEPS = 60000,
	WANT_EVERY = 500,
	BUFFERS = 600,  /* about 8 MiB */
	MOVABLE = 1200, /* about 18 MiB */
	CACHED = 400,   /* about 6 MiB */
};
#define ARENA MIB(64)
#define LONG_RUN MIB(16)

struct thing {
	unsigned char *at;
	size_t bytes;
	unsigned char mark;
};
static struct thing buffer[BUFFERS], movable[MOVABLE], cached[CACHED];
static unsigned moves, drops;

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

CHILD_TEST(long_runs_are_there_after_hours_of_churn)
{
	static const struct ash_dma_object_ops mover = { on_move, NULL }, dropper = { NULL, on_drop };
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	struct ash_dma_error error = { .size = sizeof(error) };
	unsigned wanted = 0, refused = 0;
	uint64_t turned_over = 0, spent = 0, worst = 0;
	char text[400], *p = ash_dma_alloc(ARENA, NULL);

	EXPECT(p != NULL);
	EXPECT_EQ(ash_dma_free(p), 0);
	attr.flags = ASH_DMA_NO_GROW;
	attr.error = &error;
	for (unsigned i = 0; i < STEPS; i++) {
		struct thing *t = &buffer[draw() % BUFFERS];

		turned_over += end(t);
		begin(t, NULL);
		t = &movable[draw() % MOVABLE];
		turned_over += end(t);
		begin(t, &mover);
		t = &cached[draw() % CACHED];
		if (t->at == NULL)
			begin(t, &dropper);
		if (i % WANT_EVERY != WANT_EVERY - 1)
			continue;
		const uint64_t start = now_us();
		p = ash_dma_alloc(LONG_RUN, &attr);
		const uint64_t took = now_us() - start;

		spent += took;
		worst = took > worst ? took : worst;
		wanted++;
		if (p == NULL && refused++ == 0) {
			(void)ash_dma_explain(&error, text, sizeof(text));
			printf("# step %u: %s\n", i, text);
		}
		if (p != NULL)
			memset(p, 0xff, LONG_RUN);
		for (unsigned k = 0; k < MOVABLE; k++) {
			if (movable[k].at != NULL)
				check(&movable[k]);
		}
		EXPECT_EQ(ash_dma_free(p), 0);
	}
	printf("# %llu times the arena's %zu MiB turned over; %u runs of %zu MiB wanted, %u refused, %llu us each, %llu at worst; "
	       "%u objects moved, %u dropped\n", (unsigned long long)(turned_over / ARENA), ARENA >> 20, wanted, LONG_RUN >> 20,
	       refused, (unsigned long long)(spent / wanted), (unsigned long long)worst, moves, drops);
	EXPECT_EQ(refused, 0);
	/* There is not so much free memory in one piece as is wanted: somebody had to give way. */
	EXPECT_GT(moves + drops, 0);
}
