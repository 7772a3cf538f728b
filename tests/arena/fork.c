/* SPDX-License-Identifier: MIT */
/* fork: neither side dies of a dry pool, neither sees the other's writes, both can go on allocating. */
#include "arena/child.h"
#include "arena/fake_pool.h"
#include "arena/real_pool.h"

#include <pthread.h>
#include <sys/mman.h>

#include "base/bits.h"

enum { H = ASH_ARENA_H, POOL_PAGES = 8 };

static const struct ash_zonelist *start(enum ash_huge_policy huge, enum ash_fork_policy policy)
{
	struct ash_arena_config config = test_config();

	config.huge = huge;
	config.fork = policy;
	config.quiet = true;
	EXPECT_EQ(ash_arena_init(&config), 0);
	return ash_zonelist_for(-1);
}

static struct ash_run run(const struct ash_zonelist *zl, size_t nr)
{
	struct ash_run r = { NULL, 0, false };

	EXPECT_EQ(ash_run_alloc(zl, nr, 0, ASH_MT_UNMOVABLE, &r), 0);
	return r;
}

static unsigned arena_of(const struct ash_run *r)
{
	return (unsigned)(ash_frame_index(r->addr) >> ash_registry.span_frame_shift);
}

static void fill(const struct ash_run *r, uint64_t mark)
{
	uint64_t *p = r->addr;

	for (size_t i = 0; i < r->nr_frames * 512; i++)
		p[i] = mark + i;
}

static bool holds(const struct ash_run *r, uint64_t mark)
{
	const uint64_t *p = r->addr;

	for (size_t i = 0; i < r->nr_frames * 512; i++) {
		if (p[i] != mark + i)
			return false;
	}
	return true;
}

/* fork with the handlers around it, as the preload registers them. */
static pid_t fork_with_handlers(void)
{
	pid_t pid;

	fflush(stdout);
	ash_arena_fork_prepare(false);
	pid = fork();
	if (pid == 0)
		ash_arena_fork_child();
	else
		ash_arena_fork_parent();
	return pid;
}

/* The child's verdict: 0 good; else how it ended. */
static int verdict(pid_t pid)
{
	int status = 0;

	if (waitpid(pid, &status, 0) != pid)
		return 1000;
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void child_allocates(const struct ash_zonelist *zl)
{
	struct ash_run r;

	for (unsigned i = 0; i < 8; i++) {
		if (ash_run_alloc(zl, 300, 0, ASH_MT_UNMOVABLE, &r) < 0)
			_exit(20);
		memset(r.addr, 1, 300 * ASH_PAGE_SIZE);
		if (i % 2 == 0)
			ash_run_free(r.addr, 300);
	}
}

static void expect_zones_in_child(void)
{
	for (unsigned i = 0; i < ash_arena_count(); i++) {
		struct ash_zone_fault fault;

		if (ash_arena_zone(i) != NULL && ash_zone_check(ash_arena_zone(i), &fault) != 0)
			_exit(21);
	}
}

CHILD_TEST(ordinary_memory_is_copied_on_write_and_costs_no_call)
{
	const struct ash_zonelist *zl = start(ASH_HUGE_AUTO, ASH_FORK_COPY);
	struct ash_run r = run(zl, 2000);
	unsigned calls;
	pid_t pid;

	fill(&r, 1);
	fake_on();
	calls = fake.total;
	pid = fork_with_handlers();
	if (pid == 0) {
		if (!holds(&r, 1))
			_exit(10);
		fill(&r, 2);
		child_allocates(zl);
		expect_zones_in_child();
		_exit(0);
	}
	EXPECT_EQ(fake.total, calls);
	fake_off();
	EXPECT_EQ(verdict(pid), 0);
	EXPECT(holds(&r, 1));
	(void)run(zl, 100);
	check_zones();
}

/* What both sides do under every policy and pool: write everything, see only their own. */
static void both_write_everything(const struct ash_zonelist *zl, const struct ash_run *runs, unsigned n)
{
	int to_child[2];
	pid_t pid;
	char c = 0;

	for (unsigned i = 0; i < n; i++)
		fill(&runs[i], 1000 * i);
	EXPECT_EQ(pipe(to_child), 0);
	pid = fork_with_handlers();
	if (pid == 0) {
		/* Only after the parent has written: it may have taken pages from us. */
		if (read(to_child[0], &c, 1) != 1)
			_exit(9);
		for (unsigned i = 0; i < n; i++) {
			if (!holds(&runs[i], 1000 * i))
				_exit(10);
			fill(&runs[i], 77 + i);
		}
		for (unsigned i = 0; i < n; i++) {
			if (!holds(&runs[i], 77 + i))
				_exit(11);
			ash_run_free(runs[i].addr, runs[i].nr_frames);
		}
		child_allocates(zl);
		expect_zones_in_child();
		_exit(0);
	}
	for (unsigned i = 0; i < n; i++) {
		EXPECT(holds(&runs[i], 1000 * i));
		fill(&runs[i], 55 + i);
	}
	EXPECT_EQ(write(to_child[1], &c, 1), 1);
	EXPECT_EQ(verdict(pid), 0);
	for (unsigned i = 0; i < n; i++)
		EXPECT(holds(&runs[i], 55 + i));
	check_zones();
}

POOL_TEST(with_a_dry_pool_copy_lets_both_write_everything, POOL_PAGES)
{
	const struct ash_zonelist *zl = start(ASH_HUGE_2M, ASH_FORK_COPY);
	struct ash_run runs[POOL_PAGES];
	struct ash_arena_stats s;

	for (unsigned i = 0; i < POOL_PAGES; i++)
		runs[i] = run(zl, 512 + (i == 0));
	EXPECT_EQ(arena_of(&runs[0]), H);
	EXPECT(real_pool_settles(0));
	EXPECT(ash_arena_stats(H, &s));
	EXPECT_EQ(s.backed[ASH_BACKING_HUGETLB_2M], POOL_PAGES * 512);
	both_write_everything(zl, runs, POOL_PAGES);
	/* And once more: the first fork left nothing behind. */
	both_write_everything(zl, runs, POOL_PAGES);
	EXPECT(ash_arena_stats(H, &s));
	EXPECT_EQ(s.backed[ASH_BACKING_HUGETLB_2M], POOL_PAGES * 512);
}

POOL_TEST(copy_works_with_free_and_returned_pageblocks_too, POOL_PAGES)
{
	const struct ash_zonelist *zl = start(ASH_HUGE_2M, ASH_FORK_COPY);
	struct ash_run runs[3];

	runs[0] = run(zl, 2 * 512);
	runs[1] = run(zl, 3 * 512);
	runs[2] = run(zl, 2 * 512);
	ash_run_free(runs[1].addr, runs[1].nr_frames);
	EXPECT_GT(ash_arena_trim(), 0);
	runs[1] = run(zl, 512);
	ash_run_free(runs[0].addr, 512);
	runs[0].addr = (char *)runs[0].addr + ASH_MIB(2);
	runs[0].nr_frames = 512;
	both_write_everything(zl, runs, 3);
	/* The pageblocks set aside for the fork are free again. */
	for (unsigned i = 0; i < 3; i++)
		ash_run_free(runs[i].addr, runs[i].nr_frames);
	ash_arena_trim();
	EXPECT(real_pool_settles(POOL_PAGES));
	check_zones();
}

POOL_TEST(grandchildren_are_safe_too, POOL_PAGES)
{
	const struct ash_zonelist *zl = start(ASH_HUGE_2M, ASH_FORK_COPY);
	struct ash_run r = run(zl, 4 * 512);
	pid_t pid;

	fill(&r, 3);
	pid = fork_with_handlers();
	if (pid == 0) {
		struct ash_arena_stats s;
		pid_t grandchild;

		if (!ash_arena_stats(H, &s) || s.backed[ASH_BACKING_HUGETLB_2M] != 0 ||
		    s.backed[ASH_BACKING_THP] != s.online)
			_exit(30);
		fill(&r, 4);
		/* New hugetlb memory in a child whose old has become ordinary. */
		child_allocates(zl);
		grandchild = fork_with_handlers();
		if (grandchild == 0) {
			if (!holds(&r, 4))
				_exit(31);
			fill(&r, 5);
			child_allocates(zl);
			expect_zones_in_child();
			_exit(0);
		}
		if (verdict(grandchild) != 0)
			_exit(32);
		_exit(holds(&r, 4) ? 0 : 33);
	}
	EXPECT_EQ(verdict(pid), 0);
	EXPECT(holds(&r, 3));
}

/* Who cannot wait for the handler gets its memory before: once, in the child only. */
POOL_TEST(a_child_can_have_its_memory_before_the_handler_runs, POOL_PAGES)
{
	const struct ash_zonelist *zl = start(ASH_HUGE_2M, ASH_FORK_COPY);
	struct ash_run r = run(zl, 4 * 512);
	pid_t pid;

	fill(&r, 3);
	EXPECT(!ash_arena_fork_copied());
	EXPECT(!ash_arena_fork_rescue());
	ash_arena_fork_prepare(false);
	EXPECT(ash_arena_fork_copied());
	EXPECT(!ash_arena_fork_rescue());
	pid = fork();
	if (pid == 0) {
		if (!ash_arena_fork_rescue() || ash_arena_fork_rescue() || ash_arena_fork_copied() || !holds(&r, 3))
			_exit(40);
		fill(&r, 4);
		ash_arena_fork_child();
		if (!holds(&r, 4))
			_exit(41);
		child_allocates(zl);
		expect_zones_in_child();
		_exit(0);
	}
	EXPECT(!ash_arena_fork_rescue());
	ash_arena_fork_parent();
	EXPECT(!ash_arena_fork_copied());
	EXPECT_EQ(verdict(pid), 0);
	EXPECT(holds(&r, 3));
	check_zones();
}

/* The only thread, interrupted inside: what it held it holds in both processes, and gives back when it goes on. */
POOL_TEST(a_thread_alone_may_fork_with_locks_of_its_own, POOL_PAGES)
{
	const struct ash_zonelist *zl = start(ASH_HUGE_2M, ASH_FORK_COPY);
	struct ash_run r = run(zl, 3 * 512), back = run(zl, 2 * 512);
	struct ash_arena_stats s;
	pid_t pid;

	fill(&r, 3);
	ash_run_free(back.addr, back.nr_frames);
	EXPECT_GT(ash_arena_trim(), 0);
	EXPECT(ash_arena_stats(H, &s));
	EXPECT_EQ(s.returned, 2 * 512);
	ash_zone_lock_all(ash_arena_zone(H));
	ash_arena_fork_prepare(true);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		ash_arena_fork_child();
		ash_zone_unlock_all(ash_arena_zone(H));
		/* What was with the pool is still to be proved, and can be. */
		if (!holds(&r, 3) || !ash_arena_stats(H, &s) || s.returned != 2 * 512)
			_exit(42);
		fill(&r, 4);
		back = run(zl, 2 * 512);
		fill(&back, 5);
		if (arena_of(&back) != H || !holds(&back, 5) || !holds(&r, 4))
			_exit(43);
		child_allocates(zl);
		expect_zones_in_child();
		_exit(0);
	}
	ash_arena_fork_parent();
	ash_zone_unlock_all(ash_arena_zone(H));
	EXPECT_EQ(verdict(pid), 0);
	EXPECT(holds(&r, 3));
	check_zones();
}

/* A child's H arena has ordinary pageblocks among its hugetlb ones; both go back. */
POOL_TEST(a_child_returns_what_it_was_given_and_what_it_took, POOL_PAGES)
{
	const struct ash_zonelist *zl = start(ASH_HUGE_2M, ASH_FORK_COPY);
	struct ash_run r = run(zl, 4 * 512);
	pid_t pid;

	fill(&r, 3);
	pid = fork_with_handlers();
	if (pid == 0) {
		struct ash_run own = run(zl, 3 * 512);
		struct ash_arena_stats s;

		fill(&own, 4);
		if (arena_of(&own) != H || !real_pool_settles(POOL_PAGES - 4 - 3))
			_exit(44);
		ash_run_free(r.addr, r.nr_frames);
		ash_run_free(own.addr, own.nr_frames);
		if (ash_arena_trim() != 7 * ASH_MIB(2) || !real_pool_settles(POOL_PAGES - 4))
			_exit(45);
		if (!ash_arena_stats(H, &s) || s.returned != 7 * 512)
			_exit(46);
		child_allocates(zl);
		expect_zones_in_child();
		_exit(0);
	}
	EXPECT_EQ(verdict(pid), 0);
	EXPECT(holds(&r, 3));
}

/* The negative of the promise: without the copy this very load kills the child, so the tests above can fail. */
POOL_TEST(without_the_copy_a_dry_pool_kills_the_child, POOL_PAGES)
{
	const struct ash_zonelist *zl = start(ASH_HUGE_2M, ASH_FORK_COW);
	struct ash_run r = run(zl, POOL_PAGES * 512);
	int to_child[2];
	char c = 0;
	pid_t pid;

	EXPECT_EQ(arena_of(&r), H);
	fill(&r, 1);
	EXPECT_EQ(pipe(to_child), 0);
	pid = fork_with_handlers();
	if (pid == 0) {
		if (read(to_child[0], &c, 1) != 1)
			_exit(9);
		fill(&r, 2);
		_exit(0);
	}
	/* The pool has promised the parent its pages: it may write while the child holds on to them. */
	fill(&r, 3);
	EXPECT_EQ(write(to_child[1], &c, 1), 1);
	EXPECT_EQ(verdict(pid), -SIGBUS);
	EXPECT(holds(&r, 3));
}

POOL_TEST(with_pages_to_spare_cow_is_right, 2 * POOL_PAGES)
{
	const struct ash_zonelist *zl = start(ASH_HUGE_2M, ASH_FORK_COW);
	struct ash_run r = run(zl, 6 * 512);

	EXPECT_EQ(arena_of(&r), H);
	both_write_everything(zl, &r, 1);
}

static _Atomic bool stop;

static void *keep_writing(void *arg)
{
	const struct ash_run *r = arg;

	for (uint64_t i = 0; !stop; i++) {
		for (size_t at = 0; at < r->nr_frames * 512; at += 512)
			((volatile uint64_t *)r->addr)[at] = i;
	}
	return NULL;
}

POOL_TEST(other_threads_may_write_all_the_while, POOL_PAGES)
{
	const struct ash_zonelist *zl = start(ASH_HUGE_2M, ASH_FORK_COPY);
	struct ash_run mine = run(zl, 3 * 512), theirs = run(zl, 5 * 512);
	pthread_t t;

	EXPECT(real_pool_settles(0));
	stop = false;
	fill(&mine, 9);
	pthread_create(&t, NULL, keep_writing, &theirs);
	for (unsigned i = 0; i < 20; i++) {
		pid_t pid = fork_with_handlers();

		if (pid == 0) {
			if (!holds(&mine, 9))
				_exit(10);
			fill(&mine, 10);
			fill(&theirs, 11);
			_exit(holds(&theirs, 11) ? 0 : 11);
		}
		EXPECT_EQ(verdict(pid), 0);
	}
	stop = true;
	pthread_join(t, NULL);
	EXPECT(holds(&mine, 9));
}

static void *churn(void *arg)
{
	const struct ash_zonelist *zl = arg;

	while (!stop) {
		struct ash_run r;

		if (ash_run_alloc(zl, 40, 0, ASH_MT_UNMOVABLE, &r) == 0)
			ash_run_free(r.addr, 40);
		if (ash_run_alloc(zl, 3000, 0, ASH_MT_UNMOVABLE, &r) == 0)
			ash_run_free(r.addr, 3000);
		ash_arena_trim();
	}
	return NULL;
}

/* The child's locks are at rest whatever the parent's other threads were doing. */
CHILD_TEST(a_child_of_a_busy_process_can_allocate_at_once)
{
	const struct ash_zonelist *zl = start(ASH_HUGE_AUTO, ASH_FORK_COPY);
	pthread_t t[3];

	stop = false;
	for (unsigned i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, churn, (void *)(uintptr_t)zl);
	for (unsigned i = 0; i < 40; i++) {
		pid_t pid = fork_with_handlers();

		if (pid == 0) {
			alarm(HANG_SECONDS);
			child_allocates(zl);
			expect_zones_in_child();
			_exit(0);
		}
		EXPECT_EQ(verdict(pid), 0);
	}
	stop = true;
	for (unsigned i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	check_zones();
}

CHILD_TEST(fork_before_set_up_is_harmless)
{
	pid_t pid = fork_with_handlers();

	if (pid == 0) {
		child_allocates(start(ASH_HUGE_AUTO, ASH_FORK_COPY));
		_exit(0);
	}
	EXPECT_EQ(verdict(pid), 0);
	EXPECT(!ash_arena_ready());
}

/* When there is no memory for the copy the fork goes on as the kernel does it, and says so. */
CHILD_TEST(no_memory_for_the_copy_is_told_and_survived)
{
	const struct ash_zonelist *zl;
	struct ash_run r;
	pid_t pid;

	fake_pool_on(20, 0);
	zl = start(ASH_HUGE_2M, ASH_FORK_COPY);
	r = run(zl, 4 * 512);
	fill(&r, 1);
	fake_fail(__NR_mmap, NULL, 0, UINT_MAX, -ENOMEM);
	pid = fork_with_handlers();
	if (pid == 0) {
		if (!holds(&r, 1))
			_exit(10);
		fill(&r, 2);
		_exit(0);
	}
	EXPECT(strstr(fake.log, "fork: no memory to copy huge pages to") != NULL);
	EXPECT_EQ(verdict(pid), 0);
	EXPECT(holds(&r, 1));
	check_zones();
}

POOL_TEST(real_pages_are_hugetlb_and_go_back_by_trim, POOL_PAGES)
{
	const struct ash_zonelist *zl = start(ASH_HUGE_2M, ASH_FORK_COPY);
	struct ash_run r = run(zl, 4 * 512);
	size_t bytes[ASH_BACKING_NR];

	EXPECT_EQ(arena_of(&r), H);
	EXPECT(real_pool_settles(POOL_PAGES - 4));
	EXPECT_EQ(ash_arena_actual(H, bytes), 0);
	EXPECT_EQ(bytes[ASH_BACKING_HUGETLB_2M], ASH_MIB(8));
	EXPECT_EQ(bytes[ASH_BACKING_BASE] + bytes[ASH_BACKING_THP], 0);
	fill(&r, 1);
	ash_run_free(r.addr, r.nr_frames);
	EXPECT_EQ(ash_arena_trim(), ASH_MIB(8));
	EXPECT(real_pool_settles(POOL_PAGES));
	r = run(zl, 4 * 512);
	EXPECT_EQ(arena_of(&r), H);
	EXPECT_EQ(*(uint64_t *)r.addr, 0);
	fill(&r, 2);
	r = run(zl, 20 * 512);
	EXPECT_NE(arena_of(&r), H);
	fill(&r, 3);
	EXPECT(strstr(ash_arena_degraded(), "no 2 MiB huge pages") != NULL);
	check_zones();
}
