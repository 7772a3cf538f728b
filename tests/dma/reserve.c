/* SPDX-License-Identifier: MIT */
/* Named reserves: set aside, lent, given back, found by name. */
#include "arena/child.h"
#include "dma/witness.h"

#include <pthread.h>

static void make(const char *name, size_t bytes)
{
	int err = ash_dma_reserve(name, bytes, NULL);

	if (err == -ENOMEM || err == -ENODATA)
		SKIP("no huge pages to be had, or no pins");
	EXPECT_EQ(err, 0);
}

static char *from(const char *name, size_t bytes)
{
	struct ash_dma_attr attr = wish(ASH_DMA_PHYSICAL);

	attr.reserve = name;
	return ash_dma_alloc(bytes, &attr);
}

static struct ash_dma_reserve_info seen;
static unsigned count;

static int on_reserve(const struct ash_dma_reserve_info *info, void *arg)
{
	(void)arg;
	seen = *info;
	count++;
	return 0;
}

static struct ash_dma_reserve_info look(unsigned want)
{
	count = 0;
	EXPECT_EQ(ash_dma_walk_reserves(on_reserve, NULL), 0);
	EXPECT_EQ(count, want);
	return seen;
}

CHILD_TEST(a_reserve_serves_whoever_knows_its_name)
{
	char *p, *q;

	make("ring", MIB(1));
	EXPECT_EQ(ash_dma_reserve("ring", MIB(1), NULL), -EEXIST);
	EXPECT_EQ(look(1).bytes, MIB(2));
	EXPECT_STREQ(seen.name, "ring");
	EXPECT_EQ(seen.free, MIB(2));
	p = from("ring", KIB(100));
	q = from("ring", MIB(1));
	EXPECT(p != NULL && q != NULL);
	EXPECT(p >= (char *)seen.start && q >= (char *)seen.start && p < (char *)seen.start + MIB(2));
	EXPECT_EQ(describe(q).nr_segments, 1);
	if (describe(q).phys_known)
		witness_agrees(q, MIB(1));
	EXPECT_EQ(look(1).free, MIB(1) - KIB(100));
	EXPECT(from("ring", MIB(1)) == NULL);
	EXPECT(from("rang", KIB(4)) == NULL);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(ash_dma_unreserve("ring"), -EBUSY);
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_EQ(ash_dma_free(p), -EINVAL);
	EXPECT_EQ(ash_dma_free(q), 0);
	EXPECT_EQ(look(1).free, MIB(2));
	/* What is reserved stays, also when nobody has any of it. */
	EXPECT_EQ(ash_dma_trim(), 0);
	EXPECT_EQ(ash_dma_unreserve("ring"), 0);
	EXPECT_EQ(ash_dma_unreserve("ring"), -ENOENT);
	(void)look(0);
	EXPECT_EQ(ash_dma_trim(), MIB(2));
}

CHILD_TEST(ordinary_buffers_do_not_use_it_up)
{
	struct ash_dma_attr attr = wish(ASH_DMA_VIRTUAL);
	char *p;

	make("kept", MIB(2));
	attr.flags = ASH_DMA_NO_GROW;
	EXPECT(ash_dma_alloc(4096, &attr) == NULL);
	p = from("kept", MIB(2));
	EXPECT(p != NULL);
	EXPECT_EQ(ash_dma_free(p), 0);
}

static unsigned char *object[300];

static int on_move(void *to, void *from_, size_t bytes, void *arg)
{
	memcpy(to, from_, bytes);
	*(void **)arg = to;
	return 0;
}

CHILD_TEST(while_idle_it_is_lent_and_borrowers_move_out)
{
	const struct ash_dma_object_ops movable = { on_move, NULL };
	unsigned lent = 0;
	char *p, *room;

	make("lent", MIB(2));
	for (unsigned i = 0; i < 300; i++) {
		/* No other memory is there: what is had is borrowed. */
		object[i] = ash_dma_alloc_object(4096, &movable, &object[i], ASH_NODE_LOCAL, ASH_DMA_NO_GROW);
		lent += object[i] != NULL;
		if (object[i] != NULL)
			memset(object[i], (int)i, 4096);
	}
	EXPECT_EQ(lent, 300);
	/* A place to move to, in the same arena. */
	room = ash_dma_alloc(MIB(1), NULL);
	EXPECT(room != NULL);
	if (describe(room).pages == ASH_DMA_PAGES_BASE)
		SKIP("no second huge page to be had");
	EXPECT_EQ(ash_dma_free(room), 0);
	p = from("lent", MIB(2));
	EXPECT(p != NULL);
	memset(p, 0xff, MIB(2));
	for (unsigned i = 0; i < 300; i++)
		EXPECT_EQ(object[i][i], (unsigned char)i);
}

CHILD_TEST(what_is_no_reserve_is_refused)
{
	EXPECT_EQ(ash_dma_reserve("", MIB(2), NULL), -EINVAL);
	EXPECT_EQ(ash_dma_reserve("a_name_of_more_than_thirty_one_characters", MIB(2), NULL), -EINVAL);
	EXPECT_EQ(ash_dma_reserve("x", 0, NULL), -EINVAL);
	EXPECT_EQ(ash_dma_unreserve("x"), -ENOENT);
}

enum { RIVALS = 6, RACES = 40 };
static pthread_barrier_t start;

static void *reserve_it(void *arg)
{
	(void)arg;
	pthread_barrier_wait(&start);
	return (void *)(intptr_t)ash_dma_reserve("wanted", MIB(2), NULL);
}

CHILD_TEST(of_several_who_want_one_name_one_has_it)
{
	pthread_t t[RIVALS];

	make("wanted", MIB(2));
	EXPECT_EQ(pthread_barrier_init(&start, NULL, RIVALS), 0);
	for (unsigned race = 0; race < RACES; race++) {
		unsigned won = 0, lost = 0, refused = 0;

		EXPECT_EQ(ash_dma_unreserve("wanted"), 0);
		for (unsigned i = 0; i < RIVALS; i++)
			EXPECT_EQ(pthread_create(&t[i], NULL, reserve_it, NULL), 0);
		for (unsigned i = 0; i < RIVALS; i++) {
			void *err;

			EXPECT_EQ(pthread_join(t[i], &err), 0);
			won += (intptr_t)err == 0;
			lost += (intptr_t)err == -EEXIST;
			refused += (intptr_t)err == -ENOMEM || (intptr_t)err == -ENODATA;
		}
		EXPECT_EQ(won + lost + refused, RIVALS);
		EXPECT_EQ(look(won).bytes, MIB(2));
		if (won == 0)
			SKIP("the kernel has no huge page any more");
		EXPECT_EQ(won, 1);
	}
	EXPECT_EQ(ash_dma_unreserve("wanted"), 0);
	EXPECT_GT(ash_dma_trim(), 0);
}
