/* SPDX-License-Identifier: MIT */
/* Events of mappings and of the heap's memory, as <ashlar/map.h> promises them. */
#include "harness/test.h"

#include <ashlar/ashlar.h>
#include <ashlar/contig.h>
#include <ashlar/map.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PB ((size_t)2 << 20)
enum { MOST = 64 };

/* What a listener hears of a range, and what it answers. */
struct ear {
	char *addr;
	size_t bytes;
	int answer;
	atomic_uint nr;
	struct {
		enum ash_map_event event;
		char *addr;
		size_t bytes;
	} heard[MOST];
};

static int listen(enum ash_map_event event, void *addr, size_t bytes, void *arg)
{
	struct ear *e = arg;
	unsigned n;

	/* Everything here may be called from here. */
	free(malloc(100000));
	if ((char *)addr >= e->addr + e->bytes || (char *)addr + bytes <= e->addr)
		return 0;
	n = atomic_fetch_add(&e->nr, 1);
	if (n < MOST) {
		e->heard[n].event = event;
		e->heard[n].addr = addr;
		e->heard[n].bytes = bytes;
	}
	return event == ASH_MAP_EVENT_UNMAPPING ? e->answer : 0;
}

static void expect_heard(struct ear *e, unsigned i, enum ash_map_event event, const void *addr, size_t bytes)
{
	EXPECT_GT(e->nr, i);
	EXPECT_EQ(e->heard[i].event, event);
	EXPECT_EQ((uintptr_t)e->heard[i].addr, (uintptr_t)addr);
	EXPECT_EQ(e->heard[i].bytes, bytes);
}

TEST(what_is_unmapped_is_told_before_and_after)
{
	struct ear e = { .answer = 0 };
	char *p = ash_map(4 * PB);

	e.addr = p;
	e.bytes = 4 * PB;
	EXPECT_EQ(ash_map_events_register(listen, &e), 0);
	memset(p, 1, 4 * PB);
	EXPECT_EQ(ash_unmap(p, PB + 1), 0);
	expect_heard(&e, 0, ASH_MAP_EVENT_UNMAPPING, p, PB + 4096);
	expect_heard(&e, 1, ASH_MAP_EVENT_UNMAPPED, p, PB + 4096);
	/* No range at all, and nothing is told. */
	EXPECT_EQ(ash_unmap(p + 1, PB), -EINVAL);
	EXPECT_EQ(ash_unmap(p, 0), -EINVAL);
	EXPECT_EQ(e.nr, 2);
	EXPECT_EQ(ash_unmap(p + 2 * PB, 2 * PB), 0);
	expect_heard(&e, 3, ASH_MAP_EVENT_UNMAPPED, p + 2 * PB, 2 * PB);
	EXPECT_EQ(ash_map_events_unregister(listen, &e), 0);
	EXPECT_EQ(ash_map_events_unregister(listen, &e), -ENOENT);
	EXPECT_EQ(ash_unmap(p, 2 * PB), 0);
	EXPECT_EQ(e.nr, 4);
}

TEST(a_refusal_keeps_the_mapping_and_the_others_know)
{
	struct ear first = { .answer = 0 }, second = { .answer = 1 };
	char *p = ash_map(2 * PB);

	first.addr = second.addr = p;
	first.bytes = second.bytes = 2 * PB;
	EXPECT_EQ(ash_map_events_register(listen, &first), 0);
	EXPECT_EQ(ash_map_events_register(listen, &second), 0);
	memset(p, 7, 2 * PB);
	EXPECT_EQ(ash_unmap(p, 2 * PB), -EBUSY);
	EXPECT_EQ(first.nr, 2);
	expect_heard(&first, 1, ASH_MAP_EVENT_STAYS, p, 2 * PB);
	EXPECT_EQ(second.nr, 1);
	EXPECT_EQ(p[PB], 7);
	EXPECT(ash_remap(p, 2 * PB, 64 * PB) == NULL);
	EXPECT_EQ(errno, EBUSY);
	/* To shrink takes the end only. */
	second.addr = p;
	second.bytes = PB;
	EXPECT(ash_remap(p, 2 * PB, PB) == p);
	expect_heard(&first, 4, ASH_MAP_EVENT_UNMAPPING, p + PB, PB);
	expect_heard(&first, 5, ASH_MAP_EVENT_UNMAPPED, p + PB, PB);
	EXPECT_EQ(second.nr, 2);
	second.answer = 0;
	EXPECT_EQ(ash_unmap(p, PB), 0);
	expect_heard(&second, 3, ASH_MAP_EVENT_UNMAPPED, p, PB);
	EXPECT_EQ(ash_map_events_unregister(listen, &second), 0);
	EXPECT_EQ(ash_map_events_unregister(listen, &first), 0);
}

TEST(what_moves_is_told_of_where_it_was)
{
	struct ear e = { .answer = 0 };
	char *p = ash_map(PB), *to;

	e.addr = p;
	e.bytes = PB;
	*p = 3;
	EXPECT_EQ(ash_map_events_register(listen, &e), 0);
	to = ash_remap(p, PB, 256 * PB);
	EXPECT(to != NULL);
	EXPECT_EQ(*to, 3);
	expect_heard(&e, 0, ASH_MAP_EVENT_UNMAPPING, p, PB);
	expect_heard(&e, 1, to == p ? ASH_MAP_EVENT_STAYS : ASH_MAP_EVENT_UNMAPPED, p, PB);
	EXPECT_EQ(ash_map_events_unregister(listen, &e), 0);
	EXPECT_EQ(ash_unmap(to, 256 * PB), 0);
}

/* Whoever asks by free() hears nothing; trimming asks, is refused, asks again. */
TEST(memory_of_the_heap_does_not_go_unheard)
{
	struct ear e = { .answer = 1 };
	char *p = ash_malloc(64 * PB);
	unsigned heard;

	EXPECT(p != NULL);
	memset(p, 1, 64 * PB);
	e.addr = p;
	e.bytes = 64 * PB;
	EXPECT_EQ(ash_map_events_register(listen, &e), 0);
	for (unsigned i = 0; i < 1000; i++)
		ash_free(ash_malloc(1 + i * 997 % 100000));
	ash_free(p);
	EXPECT_EQ(e.nr, 0);
	(void)ash_trim();
	heard = e.nr;
	EXPECT_GT(heard, 0);
	for (unsigned i = 0; i < heard && i < MOST; i++)
		EXPECT_EQ(e.heard[i].event, ASH_MAP_EVENT_UNMAPPING);
	e.answer = 0;
	e.nr = 0;
	EXPECT_GT(ash_arena_shrink(64 * PB), 0);
	EXPECT_GT(e.nr, 1);
	expect_heard(&e, 0, ASH_MAP_EVENT_UNMAPPING, e.heard[0].addr, e.heard[0].bytes);
	expect_heard(&e, 1, ASH_MAP_EVENT_UNMAPPED, e.heard[0].addr, e.heard[0].bytes);
	EXPECT_EQ(ash_map_events_unregister(listen, &e), 0);
}

/* Copied, so that a registration of the new place holds, too. */
TEST(a_block_that_grows_keeps_its_contents)
{
	struct ear e = { .answer = 0 };
	char *p = ash_malloc(8 * PB), *wall = ash_malloc(PB);

	EXPECT_EQ(ash_map_events_register(listen, &e), 0);
	memset(p, 4, 8 * PB);
	p = ash_realloc(p, 64 * PB);
	EXPECT(p != NULL);
	EXPECT(p[0] == 4 && memcmp(p, p + 1, 8 * PB - 1) == 0);
	ash_free(p);
	ash_free(wall);
	EXPECT_EQ(ash_map_events_unregister(listen, &e), 0);
}

static atomic_bool inside, release, ended;
static void *blocking_at;

static int block(enum ash_map_event event, void *addr, size_t bytes, void *arg)
{
	(void)bytes, (void)arg;
	if (event != ASH_MAP_EVENT_UNMAPPING || addr != blocking_at)
		return 0;
	inside = true;
	while (!release)
		usleep(1000);
	return 0;
}

static void *unmapper(void *arg)
{
	return (void *)(intptr_t)ash_unmap(arg, PB);
}

static void *unregisterer(void *arg)
{
	const int ret = ash_map_events_unregister(block, arg);

	ended = true;
	return (void *)(intptr_t)ret;
}

/* While one thread is in a listener: fork goes on, its child is rid of the listener, and the parent waits for the
 * thread. */
TEST(unregistering_waits_for_who_is_being_told)
{
	pthread_t threads[2];
	int status = -1;
	void *ret;
	pid_t pid;

	inside = release = ended = false;
	blocking_at = ash_map(PB);
	EXPECT_EQ(ash_map_events_register(block, NULL), 0);
	EXPECT_EQ(pthread_create(&threads[0], NULL, unmapper, blocking_at), 0);
	while (!inside)
		usleep(1000);
	pid = fork();
	if (pid == 0) {
		alarm(30);
		_exit(ash_map_events_unregister(block, NULL) == 0 && ash_trim() != 1 && ash_unmap(ash_map(PB), PB) == 0
			      ? 0
			      : 1);
	}
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(pthread_create(&threads[1], NULL, unregisterer, NULL), 0);
	usleep(50000);
	EXPECT(!ended);
	release = true;
	for (unsigned i = 0; i < 2; i++) {
		EXPECT_EQ(pthread_join(threads[i], &ret), 0);
		EXPECT_EQ((intptr_t)ret, 0);
	}
	EXPECT(ended);
}

TEST(no_more_listeners_than_there_are_places)
{
	static struct ear ears[17];

	for (unsigned i = 0; i < 16; i++)
		EXPECT_EQ(ash_map_events_register(listen, &ears[i]), 0);
	EXPECT_EQ(ash_map_events_register(listen, &ears[16]), -ENOSPC);
	EXPECT_EQ(ash_map_events_register(NULL, NULL), -EINVAL);
	for (unsigned i = 0; i < 16; i++)
		EXPECT_EQ(ash_map_events_unregister(listen, &ears[i]), 0);
}

/* The program's own calls: told, and not refused. */
TEST(what_the_program_does_is_told_under_the_preload)
{
	const int rw = PROT_READ | PROT_WRITE, anon = MAP_PRIVATE | MAP_ANONYMOUS;
	struct ear e = { .answer = 1 };
	const char *preload = getenv("LD_PRELOAD");
	char *p, *to;

	if (preload == NULL || strstr(preload, "ashlar") == NULL)
		SKIP("not under the preload");
	p = mmap(NULL, 8 * PB, rw, anon, -1, 0);
	EXPECT(p != MAP_FAILED);
	memset(p, 1, 8 * PB);
	e.addr = p;
	e.bytes = 8 * PB;
	EXPECT_EQ(ash_map_events_register(listen, &e), 0);
	EXPECT_EQ(madvise(p, 4096, MADV_DONTNEED), 0);
	expect_heard(&e, 0, ASH_MAP_EVENT_UNMAPPING, p, 4096);
	expect_heard(&e, 1, ASH_MAP_EVENT_UNMAPPED, p, 4096);
	EXPECT_EQ(madvise(p, PB, MADV_WILLNEED), 0);
	EXPECT(mmap(p + PB, PB, PROT_READ, anon | MAP_FIXED, -1, 0) == p + PB);
	expect_heard(&e, 3, ASH_MAP_EVENT_UNMAPPED, p + PB, PB);
	EXPECT(mmap(p + PB, PB, PROT_READ, anon | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED);
	EXPECT(mmap(p + PB, PB, PROT_READ, MAP_SHARED | MAP_FIXED, -1, 0) == MAP_FAILED);
	expect_heard(&e, 5, ASH_MAP_EVENT_STAYS, p + PB, PB);
	EXPECT_EQ(munmap(p + PB, PB), 0);
	expect_heard(&e, 7, ASH_MAP_EVENT_UNMAPPED, p + PB, PB);
	to = mremap(p + 4 * PB, PB, PB, MREMAP_MAYMOVE | MREMAP_FIXED, p + PB);
	EXPECT(to == p + PB);
	expect_heard(&e, 8, ASH_MAP_EVENT_UNMAPPING, p + PB, PB);
	expect_heard(&e, 9, ASH_MAP_EVENT_UNMAPPING, p + 4 * PB, PB);
	expect_heard(&e, 10, ASH_MAP_EVENT_UNMAPPED, p + 4 * PB, PB);
	expect_heard(&e, 11, ASH_MAP_EVENT_UNMAPPED, p + PB, PB);
	EXPECT(mremap(p, 4096, 4 * PB, 0) == MAP_FAILED);
	EXPECT_EQ(e.nr, 12);
	EXPECT_EQ(munmap(p, 8 * PB), 0);
	EXPECT_EQ(e.nr, 14);
	EXPECT_EQ(ash_map_events_unregister(listen, &e), 0);
}
