/* SPDX-License-Identifier: MIT */
/* Frames that change places: contents, memory, the kernel's mappings, and what happens where it cannot be done. */
#include "arena/child.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/bits.h"
#include "os/process.h"
#include "os/resident.h"
#include "os/uffd.h"

enum { PB = 512, PB_BYTES = PB << ASH_PAGE_SHIFT, BLOCKS_MAX = 32 };

static const struct ash_zonelist *start(void)
{
	struct ash_arena_config config = test_config();

	/* Or the first runs would be base pages. */
	config.small_start = 0;
	EXPECT_EQ(ash_arena_init(&config), 0);
	return ash_zonelist_for(-1);
}

static struct ash_run take(const struct ash_zonelist *zl, size_t blocks)
{
	struct ash_run r = { NULL, 0, false };

	EXPECT_EQ(ash_run_alloc(zl, blocks * PB, ASH_PAGEBLOCK_ORDER, ASH_MT_UNMOVABLE, &r), 0);
	return r;
}

static void mark(struct ash_run r, size_t blocks, unsigned seed)
{
	for (size_t i = 0; i < blocks * PB; i++)
		((volatile unsigned *)r.addr)[i * ASH_PAGE_SIZE / 4 + i % 1024] = (unsigned)i * 2654435761u + seed;
}

static bool marked(const void *addr, size_t first, size_t pages, unsigned seed)
{
	for (size_t i = first; i < first + pages; i++)
		if (((const volatile unsigned *)addr)[i * ASH_PAGE_SIZE / 4 + i % 1024] !=
		    (unsigned)i * 2654435761u + seed)
			return false;
	return true;
}

static size_t count(const void *addr, size_t blocks, enum ash_resident what)
{
	unsigned char is[BLOCKS_MAX];
	size_t n = 0;

	if (ash_resident_look(addr, blocks, is) < 0)
		SKIP("the kernel does not tell what is in memory (Linux 6.7, /proc)");
	for (size_t i = 0; i < blocks; i++)
		n += is[i] == what;
	return n;
}

/* Everything a move needs here: the kernel's call, and huge pages at the source. */
static void need_huge(struct ash_run r, size_t blocks)
{
	const int fd = ash_uffd_open();

	if (fd < 0)
		SKIP("pages cannot be moved here (userfaultfd, Linux 6.8)");
	ash_uffd_close(fd);
	if (count(r.addr, blocks, ASH_RESIDENT_HUGE) != blocks)
		SKIP("there were no huge pages");
}

static unsigned nr_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned n = 0;
	int c;

	EXPECT(f != NULL);
	while ((c = fgetc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

CHILD_TEST(huge_pages_move_and_leave_nothing_behind)
{
	const struct ash_zonelist *zl = start();
	const struct ash_run hold = take(zl, 4), from = take(zl, 8), to = take(zl, 12);

	memset(hold.addr, 1, hold.nr_frames * ASH_PAGE_SIZE);
	mark(from, 8, 1);
	EXPECT(to.zeroed);
	need_huge(from, 8);
	ash_run_move(to.addr, from.addr, 8, true);
	EXPECT_EQ(count(to.addr, 12, ASH_RESIDENT_HUGE), 8);
	EXPECT_EQ(count(from.addr, 8, ASH_RESIDENT_NONE), 8);
	EXPECT(marked(to.addr, 0, 8 * PB, 1));
	check_zones();
}

CHILD_TEST(what_was_at_the_target_changes_places)
{
	const struct ash_zonelist *zl = start();
	const struct ash_run hold = take(zl, 4), from = take(zl, 8), to = take(zl, 12);

	memset(hold.addr, 1, hold.nr_frames * ASH_PAGE_SIZE);
	mark(from, 8, 1);
	mark(to, 12, 2);
	need_huge(from, 8);
	need_huge(to, 12);
	ash_run_move(to.addr, from.addr, 8, false);
	EXPECT_EQ(count(to.addr, 12, ASH_RESIDENT_HUGE), 12);
	EXPECT_EQ(count(from.addr, 8, ASH_RESIDENT_HUGE), 8);
	EXPECT(marked(to.addr, 0, 8 * PB, 1));
	EXPECT(marked(to.addr, 8 * PB, 4 * PB, 2));
	check_zones();
}

/* The kernel moves nothing over the border of two mappings, which the end of a start on base pages may leave. */
CHILD_TEST(a_border_of_mappings_is_no_end)
{
	const struct ash_zonelist *zl = start();
	const struct ash_run from = take(zl, 16), to = take(zl, 16);

	mark(from, 16, 1);
	need_huge(from, 16);
	EXPECT_EQ(madvise(from.addr, PB_BYTES, MADV_DONTDUMP), 0);
	EXPECT_EQ(madvise((char *)to.addr + 11 * PB_BYTES, 5 * PB_BYTES, MADV_DONTDUMP), 0);
	ash_run_move(to.addr, from.addr, 16, true);
	EXPECT_EQ(count(to.addr, 16, ASH_RESIDENT_HUGE), 16);
	EXPECT_EQ(count(from.addr, 16, ASH_RESIDENT_NONE), 16);
	EXPECT(marked(to.addr, 0, 16 * PB, 1));
	check_zones();
}

/* Pageblocks that are not there, partly there, of base pages, at either side. */
CHILD_TEST(holes_and_base_pages_are_copied_or_left_out)
{
	const struct ash_zonelist *zl = start();
	const struct ash_run from = take(zl, 8), to = take(zl, 8);
	char *const f = from.addr, *const t = to.addr;

	mark(from, 8, 1);
	(void)madvise(f + 1 * PB_BYTES, PB_BYTES, MADV_DONTNEED);
	(void)madvise(f + 2 * PB_BYTES + 4096, 8192, MADV_DONTNEED);
	memset(t + 3 * PB_BYTES, 7, 3 * PB_BYTES);
	(void)madvise(t + 4 * PB_BYTES + 4096, 4096, MADV_DONTNEED);
	(void)madvise(f + 5 * PB_BYTES, PB_BYTES, MADV_DONTNEED);
	ash_run_move(t, f, 8, false);
	EXPECT(marked(t, 0, PB, 1));
	for (size_t i = 0; i < PB_BYTES; i += 4096) {
		EXPECT_EQ(t[PB_BYTES + i], 0);
		EXPECT_EQ(t[5 * PB_BYTES + i], 0);
	}
	EXPECT(marked(t, 2 * PB, 1, 1) && marked(t, 2 * PB + 3, PB - 3, 1));
	EXPECT_EQ(t[2 * PB_BYTES + 4096], 0);
	EXPECT(marked(t, 3 * PB, 2 * PB, 1) && marked(t, 6 * PB, 2 * PB, 1));
	check_zones();
}

/* Pages shared with a child cannot move: both see what they had. */
CHILD_TEST(after_a_fork_pages_are_copied)
{
	const struct ash_zonelist *zl = start();
	const struct ash_run from = take(zl, 4), to = take(zl, 4);
	int go[2], status = -1;
	char byte = 0;
	pid_t pid;

	mark(from, 4, 1);
	EXPECT_EQ(pipe(go), 0);
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		(void)!read(go[0], &byte, 1);
		_exit(marked(from.addr, 0, 4 * PB, 1) ? 0 : 1);
	}
	EXPECT_GT(pid, 0);
	ash_run_move(to.addr, from.addr, 4, true);
	EXPECT(marked(to.addr, 0, 4 * PB, 1));
	close(go[1]);
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	check_zones();
}

CHILD_TEST(without_descriptors_pages_are_copied)
{
	const struct ash_zonelist *zl = start();
	const struct ash_run from = take(zl, 4), to = take(zl, 4);
	const struct rlimit none = { 0, 0 };

	mark(from, 4, 1);
	EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
	ash_run_move(to.addr, from.addr, 4, true);
	EXPECT(marked(to.addr, 0, 4 * PB, 1));
}

/* A filter whose author has not heard of userfaultfd, and ends who calls what he has not heard of. */
static void filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_userfaultfd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		SKIP("system calls cannot be filtered here");
}

static void ask_for_a_descriptor(void)
{
	filter();
	(void)syscall(__NR_userfaultfd, 0);
}

CHILD_TEST(behind_a_filter_that_kills_pages_are_copied)
{
	const struct ash_zonelist *zl = start();
	const struct ash_run from = take(zl, 4), to = take(zl, 4), more = take(zl, 4);

	mark(from, 4, 1);
	EXPECT(!ash_process_filtered());
	/* It does kill. */
	if (child_status(ask_for_a_descriptor) != -SIGSYS)
		SKIP("system calls cannot be filtered here");
	/* Before the filter it may have been used. */
	ash_run_move(to.addr, from.addr, 4, true);
	filter();
	EXPECT(ash_process_filtered());
	ash_run_move(more.addr, to.addr, 4, true);
	EXPECT(marked(more.addr, 0, 4 * PB, 1));
	check_zones();
}

/* A part that the program has protected differently is another mapping of the kernel's. */
CHILD_TEST(across_mappings_of_the_kernel_pages_are_copied)
{
	const struct ash_zonelist *zl = start();
	const struct ash_run from = take(zl, 4), to = take(zl, 4);

	mark(from, 4, 1);
	EXPECT_EQ(mprotect((char *)from.addr + PB_BYTES, PB_BYTES, PROT_READ), 0);
	ash_run_move(to.addr, from.addr, 4, true);
	EXPECT(marked(to.addr, 0, 4 * PB, 1));
	check_zones();
}

CHILD_TEST(moves_do_not_cut_the_kernels_mapping)
{
	const struct ash_zonelist *zl = start();
	const struct ash_run hold = take(zl, 4);
	unsigned before;

	memset(hold.addr, 1, hold.nr_frames * ASH_PAGE_SIZE);
	ash_run_free(take(zl, 40).addr, 40 * PB);
	before = nr_maps();
	for (unsigned i = 0; i < 100; i++) {
		const size_t blocks = 1 + i % 7;
		const struct ash_run a = take(zl, blocks), b = take(zl, blocks + 2);

		mark(a, blocks, i);
		ash_run_move(b.addr, a.addr, blocks, b.zeroed);
		EXPECT(marked(b.addr, 0, blocks * PB, i));
		ash_run_free(b.addr, b.nr_frames);
	}
	EXPECT_LE(nr_maps(), before + 4);
	check_zones();
}

CHILD_TEST(a_new_run_is_filled_with_what_lies_idle)
{
	const struct ash_zonelist *zl = start();
	const struct ash_run hold = take(zl, 2), idle = take(zl, 6), wall = take(zl, 1);
	struct ash_run r;

	memset(hold.addr, 1, hold.nr_frames * ASH_PAGE_SIZE);
	memset(wall.addr, 1, wall.nr_frames * ASH_PAGE_SIZE);
	memset(idle.addr, 1, idle.nr_frames * ASH_PAGE_SIZE);
	need_huge(idle, 6);
	ash_run_free(idle.addr, idle.nr_frames);
	r = take(zl, 12);
	EXPECT_EQ(count(r.addr, 12, ASH_RESIDENT_NONE), 12);
	ash_run_fill(&r);
	EXPECT(!r.zeroed);
	EXPECT_EQ(count(idle.addr, 6, ASH_RESIDENT_NONE), 6);
	EXPECT_EQ(count(r.addr, 12, ASH_RESIDENT_HUGE), 6);
	check_zones();
	/* There is nothing more to be had. */
	r = take(zl, 4);
	ash_run_fill(&r);
	EXPECT(r.zeroed);
	check_zones();
}

enum { MOVERS = 3, MOVES = 30 };

static void *mover(void *arg)
{
	const struct ash_zonelist *zl = ash_zonelist_for(-1);
	const unsigned seed = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < MOVES; i++) {
		const size_t blocks = 1 + (i + seed) % 5;
		const struct ash_run a = take(zl, blocks);
		struct ash_run b;

		mark(a, blocks, seed + i);
		b = take(zl, blocks + 1);
		if (i % 3 == 0)
			ash_run_fill(&b);
		ash_run_move(b.addr, a.addr, blocks, b.zeroed);
		EXPECT(marked(b.addr, 0, blocks * PB, seed + i));
		ash_run_free(b.addr, b.nr_frames);
	}
	return NULL;
}

CHILD_TEST(threads_move_while_the_process_forks)
{
	pthread_t thread[MOVERS];

	(void)start();
	for (unsigned i = 0; i < MOVERS; i++)
		EXPECT_EQ(pthread_create(&thread[i], NULL, mover, (void *)(uintptr_t)(i * 1000 + 1)), 0);
	for (unsigned i = 0; i < 10; i++) {
		int status = -1;
		pid_t pid;

		ash_arena_fork_prepare(false);
		pid = fork();
		if (pid == 0) {
			ash_arena_fork_child();
			check_zones();
			_exit(0);
		}
		ash_arena_fork_parent();
		EXPECT_EQ(waitpid(pid, &status, 0), pid);
		EXPECT_EQ(status, 0);
	}
	for (unsigned i = 0; i < MOVERS; i++)
		EXPECT_EQ(pthread_join(thread[i], NULL), 0);
	check_zones();
}
