/* SPDX-License-Identifier: MIT */
/* Served mappings: what comes back warm, what is refused, what a failure leaves behind. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "arena/child.h"
#include "unit/os/fake_sys.h"

#include "map/internal.h"
#include "map/map.h"
#include "os/vmem.h"

#define PB ((size_t)2 << 20)
enum { RW = PROT_READ | PROT_WRITE, ANON = MAP_PRIVATE | MAP_ANONYMOUS };

static bool is_move(long nr, long a, long b, long c, long d)
{
	(void)nr, (void)a, (void)c, (void)d;
	return (b & 0xffff) == ((UFFDIO << 8) | 5);
}

/* Base pages: that there are huge ones is not to be counted on. */
static void start_with(enum ash_huge_policy huge)
{
	struct ash_arena_config config = test_config();

	config.decay_ms = UINT32_MAX;
	config.huge = huge;
	EXPECT_EQ(ash_arena_init(&config), 0);
	ash_map_enable(true);
}

static struct ash_map_stats stats(void)
{
	struct ash_map_stats s;

	ash_map_stats(&s);
	return s;
}

static char *map(size_t bytes)
{
	const long ret = ash_map_mmap(NULL, bytes, RW, ANON, -1, 0);

	EXPECT(ret > 0);
	return (char *)ret;
}

/* Serving, or the test is over: the kernel may be older than 6.8, or under a filter. */
static void start(void)
{
	start_with(ASH_HUGE_NONE);
	EXPECT_EQ(ash_map_munmap(map(PB), PB), 0);
	if (stats().state == ASH_MAP_REFUSED)
		SKIP("this kernel does not move pages");
	EXPECT_EQ(stats().state, ASH_MAP_SERVING);
}

static bool is_all(const char *p, size_t bytes, char c)
{
	return p[0] == c && memcmp(p, p + 1, bytes - 1) == 0;
}

/* Nothing is left in a mapping's name, and the zone's books agree. */
static void expect_clean(void)
{
	struct ash_zone_fault fault;

	EXPECT_EQ(stats().slots, 0);
	EXPECT_EQ(ash_zone_check(ash_arena_zone(ASH_ARENA_T), &fault), 0);
}

CHILD_TEST(pages_come_back_warm_and_read_as_zero)
{
	char *p;

	start();
	p = map(8 * PB);
	EXPECT(is_all(p, 8 * PB, 0));
	memset(p, 1, 8 * PB);
	EXPECT_EQ(ash_map_munmap(p, 8 * PB), 0);
	EXPECT_EQ(stats().harvested, 8);
	p = map(8 * PB);
	EXPECT_EQ(stats().lent, 8);
	EXPECT(is_all(p, 8 * PB, 0));
	EXPECT_EQ(ash_map_munmap(p, 8 * PB), 0);
	EXPECT_EQ(stats().refused, 0);
	expect_clean();
}

/* Those are wiped by other stores (lend.c). */
CHILD_TEST(large_mappings_read_as_zero_too)
{
	char *p;

	start();
	for (unsigned i = 0; i < 2; i++) {
		p = map(64 * PB);
		EXPECT(is_all(p, 64 * PB, 0));
		memset(p, 1, 64 * PB);
		EXPECT_EQ(ash_map_munmap(p, 64 * PB), 0);
	}
	EXPECT_GE(stats().lent, 32);
	expect_clean();
}

static size_t huge_bytes(const void *p)
{
	size_t start, end, kib, sum = 0;
	char line[512];
	bool mine = false;
	FILE *f = fopen("/proc/self/smaps", "r");

	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%zx-%zx ", &start, &end) == 2)
			mine = start <= (uintptr_t)p && (uintptr_t)p < end;
		else if (mine && sscanf(line, "AnonHugePages: %zu kB", &kib) == 1)
			sum += kib << 10;
	}
	(void)fclose(f);
	return sum;
}

/* So that its first pageblock, too, is one that can be recycled. */
CHILD_TEST(a_mapping_of_any_size_begins_on_a_boundary)
{
	char *p[8];

	start();
	for (unsigned i = 0; i < 8; i++) {
		p[i] = map((1 + i % 3) * PB + i * 4096);
		EXPECT_EQ((uintptr_t)p[i] % PB, 0);
		memset(p[i], 1, PB);
	}
	EXPECT_EQ(stats().slots, 1 + 2 + 3 + 1 + 2 + 3 + 1 + 2);
	for (unsigned i = 0; i < 8; i++) {
		EXPECT_EQ(ash_map_munmap(p[i], (1 + i % 3) * PB + i * 4096), 0);
		EXPECT_EQ(madvise(p[i], (1 + i % 3) * PB + i * 4096, MADV_NORMAL), -1);
	}
	expect_clean();
}

/* The pages behind a mapping that was cut to size cannot be unmapped when the kernel has no more mappings to give. */
CHILD_TEST(a_mapping_that_cannot_be_cut_is_where_the_kernel_likes)
{
	char *p;

	start();
	fake_on();
	fake_fail(__NR_munmap, NULL, 0, 1, -ENOMEM);
	p = map(PB + 4096);
	fake_off();
	memset(p, 1, PB + 4096);
	EXPECT_EQ(ash_map_munmap(p, PB + 4096), 0);
	fake_on();
	fake_fail(__NR_munmap, NULL, 0, 2, -ENOMEM);
	p = map(PB + 4096);
	fake_off();
	memset(p, 1, PB + 4096);
	EXPECT_EQ(ash_map_munmap(p, PB + 4096), 0);
	expect_clean();
}

CHILD_TEST(huge_pages_come_back_huge)
{
	uint64_t harvested;
	size_t huge;
	char *p;

	start_with(ASH_HUGE_AUTO);
	p = map(16 * PB);
	memset(p, 1, 16 * PB);
	huge = huge_bytes(p);
	if (huge < 8 * PB || stats().state == ASH_MAP_REFUSED)
		SKIP("few huge pages are to be had, or the kernel does not move them");
	EXPECT_EQ(ash_map_munmap(p, 16 * PB), 0);
	harvested = stats().harvested;
	EXPECT_GE(harvested, huge / PB);
	p = map(16 * PB);
	/* Not all: some slots may be of the kind that was never used. */
	EXPECT_GE(stats().lent, harvested / 2);
	EXPECT_EQ(huge_bytes(p), stats().lent * PB);
	EXPECT(is_all(p, 16 * PB, 0));
}

/* Where page tables of base pages have been, a huge page comes to pieces: such a pageblock is no slot while there are
 * others. */
CHILD_TEST(the_base_page_start_has_no_slots)
{
	struct ash_zonelist zl;
	struct ash_run r[2];
	char *p;

	start_with(ASH_HUGE_AUTO);
	ash_zonelist_ordinary(&zl, -1);
	EXPECT_EQ(ash_run_alloc(&zl, 512, 9, ASH_MT_UNMOVABLE, &r[0]), 0);
	/* It would go on if it were not used. */
	memset(r[0].addr, 1, PB);
	EXPECT_EQ(ash_run_alloc(&zl, 512, 9, ASH_MT_UNMOVABLE, &r[1]), 0);
	EXPECT(ash_arena_is_base_start(r[0].addr));
	EXPECT(!ash_arena_is_base_start(r[1].addr));
	ash_run_free(r[0].addr, 512);
	p = map(PB);
	if (stats().state == ASH_MAP_REFUSED)
		SKIP("this kernel does not move pages");
	EXPECT_EQ(stats().slots, 1);
	EXPECT_EQ(stats().lent, 0);
	EXPECT(is_all(p, PB, 0));
	EXPECT_EQ(ash_run_alloc(&zl, 512, 9, ASH_MT_UNMOVABLE, &r[0]), 0);
	EXPECT(ash_arena_is_base_start(r[0].addr));
	EXPECT_EQ(ash_map_munmap(p, PB), 0);
	expect_clean();
}

CHILD_TEST(a_mapping_that_was_not_touched_gives_and_takes_nothing)
{
	struct ash_map_stats before;
	char *p;

	start();
	before = stats();
	p = map(32 * PB);
	EXPECT_EQ(stats().slots, 32);
	EXPECT_EQ(ash_map_munmap(p, 32 * PB), 0);
	EXPECT_EQ(stats().harvested, before.harvested);
	expect_clean();
}

CHILD_TEST(only_what_was_asked_for_like_that_is_served)
{
	static const struct {
		size_t bytes;
		int prot, flags;
	} others[] = {
		{ PB - 1, RW, ANON },
		{ 4 * PB, PROT_READ, ANON },
		{ 4 * PB, RW | PROT_EXEC, ANON },
		{ 4 * PB, RW, MAP_SHARED | MAP_ANONYMOUS },
		{ 4 * PB, RW, ANON | MAP_NORESERVE },
		{ 4 * PB, RW, ANON | MAP_STACK },
		{ 4 * PB, RW, ANON | MAP_GROWSDOWN },
		{ 4 * PB, RW, ANON | MAP_LOCKED },
		{ 4 * PB, RW, ANON | MAP_32BIT },
	};
	uint64_t calls;

	start();
	calls = stats().calls;
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		const long ret = ash_map_mmap(NULL, others[i].bytes, others[i].prot, others[i].flags, -1, 0);

		EXPECT(ret > 0);
		EXPECT_EQ(ash_map_munmap((void *)ret, others[i].bytes), 0);
	}
	EXPECT_EQ(stats().calls, calls);
	expect_clean();
}

CHILD_TEST(a_cut_pageblock_is_the_kernels)
{
	char *p;

	start();
	p = map(4 * PB);
	memset(p, 1, 4 * PB);
	/* The hole cuts the first two blocks. */
	EXPECT_EQ(ash_map_munmap(p + PB - 4096, 8192), 0);
	EXPECT_EQ(stats().slots, 2);
	EXPECT(is_all(p, PB - 4096, 1) && is_all(p + PB + 4096, 3 * PB - 4096, 1));
	EXPECT_EQ(ash_map_munmap(p, 4 * PB), 0);
	EXPECT_EQ(stats().harvested, 2);
	expect_clean();
}

CHILD_TEST(a_mapping_that_moves_takes_its_slots_along)
{
	char *p, *to;
	long ret;

	start();
	p = map(4 * PB);
	memset(p, 1, 4 * PB);
	to = (char *)ash_map_mmap(NULL, 8 * PB, PROT_NONE, ANON, -1, 0);
	ret = ash_map_mremap(p, 4 * PB, 4 * PB, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	EXPECT_EQ(ret, (long)to);
	EXPECT_EQ(stats().slots, 4);
	EXPECT(is_all(to, 4 * PB, 1));
	EXPECT_EQ(ash_map_mremap(to, 4 * PB, PB, 0, NULL), (long)to);
	EXPECT_EQ(stats().slots, 1);
	EXPECT_EQ(ash_map_munmap(to, 8 * PB), 0);
	EXPECT_EQ(stats().harvested, 1);
	expect_clean();
}

CHILD_TEST(a_mapping_put_over_another_ends_its_slots)
{
	char *p;

	start();
	p = map(4 * PB);
	memset(p, 1, 4 * PB);
	EXPECT_EQ(ash_map_mmap(p + PB, 2 * PB, PROT_READ, ANON | MAP_FIXED, -1, 0), (long)(p + PB));
	EXPECT_EQ(stats().slots, 2);
	EXPECT(is_all(p, PB, 1) && is_all(p + PB, 2 * PB, 0) && is_all(p + 3 * PB, PB, 1));
	EXPECT_EQ(ash_map_munmap(p, 4 * PB), 0);
	expect_clean();
}

CHILD_TEST(a_refused_munmap_leaves_every_byte)
{
	char *p;

	start();
	p = map(6 * PB);
	for (unsigned i = 0; i < 6; i++)
		memset(p + i * PB, 1 + (int)i, PB);
	fake_on();
	fake_fail(__NR_munmap, NULL, 0, 2, -ENOMEM);
	EXPECT_EQ(ash_map_munmap(p, 6 * PB), -ENOMEM);
	fake_off();
	for (unsigned i = 0; i < 6; i++)
		EXPECT(is_all(p + i * PB, PB, 1 + (char)i));
	EXPECT_EQ(stats().slots, 6);
	EXPECT_EQ(ash_map_munmap(p, 6 * PB), 0);
	expect_clean();
}

static char *neighbour_at;

/* Another thread's mapping comes to lie behind ours while pages are lent to it, is like ours in all, and is touched. */
static bool neighbour_comes(long nr, long a, long b, long c, long d, long e, long *ret)
{
	(void)a, (void)c, (void)d, (void)e, (void)ret;
	if (nr != __NR_ioctl || !is_move(nr, a, b, c, d) || neighbour_at == NULL)
		return false;
	if (mmap(neighbour_at, PB, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == neighbour_at) {
		(void)madvise(neighbour_at, PB, MADV_HUGEPAGE);
		(void)ash_vmem_name(neighbour_at, PB, "ashlar map");
		*neighbour_at = 1;
	}
	neighbour_at = NULL;
	return false;
}

/*
 * The kernel's mapping is one, whatever happens beside it: where only a part was registered, the rest went over to the
 * neighbour, for good, and an mremap of the whole found two mappings (EFAULT).
 */
CHILD_TEST(a_mapping_is_whole_although_its_neighbour_came_while_pages_were_lent)
{
	const size_t bytes = 2 * PB + 3 * 4096;
	char *p, *around;

	start_with(ASH_HUGE_AUTO);
	p = map(2 * PB);
	if (stats().state == ASH_MAP_REFUSED)
		SKIP("this kernel does not move pages");
	memset(p, 1, 2 * PB);
	EXPECT_EQ(ash_map_munmap(p, 2 * PB), 0);
	around = mmap(NULL, 8 * PB, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	EXPECT(around != MAP_FAILED);
	around = (char *)(((uintptr_t)around + PB - 1) & -PB);
	EXPECT_EQ(munmap(around, 6 * PB), 0);
	fake_on();
	fake.front = neighbour_comes;
	neighbour_at = around + bytes;
	p = (char *)ash_map_mmap(around, bytes, RW, ANON, -1, 0);
	fake_off();
	EXPECT_EQ((uintptr_t)p, (uintptr_t)around);
	if (neighbour_at != NULL)
		SKIP("nothing was lent: few huge pages are to be had");
	EXPECT(is_all(p, bytes, 0));
	/* Growing: since Linux 6.17 several mappings may be moved together where their size stays. */
	EXPECT_GT(ash_map_mremap(p, bytes, bytes + PB, MREMAP_MAYMOVE, NULL), 0);
}

static pid_t inheritor;

/* A fork that no handler hears of, while pages move: the child has the descriptor for as long as it likes. */
static bool child_comes(long nr, long a, long b, long c, long d, long e, long *ret)
{
	(void)e, (void)ret;
	if (nr != __NR_ioctl || !is_move(nr, a, b, c, d) || inheritor != 0)
		return false;
	inheritor = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
	if (inheritor == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return false;
}

static void end_inheritor(void)
{
	EXPECT(inheritor > 0);
	EXPECT_EQ(kill(inheritor, SIGKILL), 0);
	EXPECT_EQ(waitpid(inheritor, NULL, 0), inheritor);
	inheritor = 0;
}

/* By the kernel, for which a page that is missing in a registered range is an error; a thread would wait for ever. */
static bool can_be_written(char *p)
{
	const int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	const bool can = read(zero, p, 8) == 8;

	close(zero);
	return can;
}

CHILD_TEST(a_child_that_has_the_descriptor_keeps_nothing_registered)
{
	char *p, *slot;

	start();
	p = map(PB);
	memset(p, 1, PB);
	EXPECT_EQ(ash_map_munmap(p, PB), 0);
	fake_on();
	fake.front = child_comes;
	p = map(4 * PB);
	fake_off();
	EXPECT(can_be_written(p + 3 * PB));
	end_inheritor();
	EXPECT_EQ(ash_map_munmap(p, 4 * PB), 0);

	/* And what takes pages back: where a slot's pages went, when they are lent again, memory is missing. */
	p = map(PB);
	memset(p, 1, PB);
	slot = ash_slot_address(ash_track_get((uintptr_t)p / PB));
	fake_on();
	fake.front = child_comes;
	EXPECT_EQ(ash_map_munmap(p, PB), 0);
	fake_off();
	EXPECT_EQ(ash_vmem_discard(slot, PB), 0);
	EXPECT(can_be_written(slot));
	end_inheritor();
}

/* A piece that cannot be unmapped alone may be unmapped as part of the whole. */
CHILD_TEST(pieces_that_fail_are_asked_for_as_a_whole)
{
	char *p;

	start();
	p = map(2 * PB);
	memset(p, 1, 2 * PB);
	fake_on();
	fake_fail(__NR_munmap, NULL, 0, 1, -ENOMEM);
	EXPECT_EQ(ash_map_munmap(p, 2 * PB), 0);
	fake_off();
	EXPECT_EQ(madvise(p, 2 * PB, MADV_NORMAL), -1);
	expect_clean();
}

/* Pinned for I/O, shared with a child, locked: the kernel says no, and the pages go where they always went. */
CHILD_TEST(pages_that_may_not_move_are_unmapped_like_any)
{
	char *p;

	start();
	p = map(3 * PB);
	memset(p, 1, 3 * PB);
	fake_on();
	fake_fail(__NR_ioctl, is_move, 0, UINT_MAX, -EBUSY);
	EXPECT_EQ(ash_map_munmap(p, 3 * PB), 0);
	fake_off();
	EXPECT_EQ(stats().harvested, 0);
	EXPECT_EQ(stats().refused, 3);
	expect_clean();
}

CHILD_TEST(warm_pages_that_cannot_be_lent_go_to_the_system)
{
	char *p;

	start();
	p = map(3 * PB);
	memset(p, 1, 3 * PB);
	EXPECT_EQ(ash_map_munmap(p, 3 * PB), 0);
	fake_on();
	fake_fail(__NR_ioctl, is_move, 0, UINT_MAX, -EINVAL);
	p = map(3 * PB);
	fake_off();
	EXPECT_EQ(stats().lent, 0);
	EXPECT(is_all(p, 3 * PB, 0));
	memset(p, 1, 3 * PB);
	/* Their slots are empty, so that the pages can come back. */
	EXPECT_EQ(ash_map_munmap(p, 3 * PB), 0);
	EXPECT_EQ(stats().harvested, 6);
	expect_clean();
}

CHILD_TEST(without_userfaultfd_the_kernel_serves)
{
	char *p;

	start_with(ASH_HUGE_NONE);
	fake_on();
	fake_fail(__NR_userfaultfd, NULL, 0, UINT_MAX, -EPERM);
	p = map(4 * PB);
	memset(p, 1, 4 * PB);
	EXPECT_EQ(ash_map_munmap(p, 4 * PB), 0);
	fake_off();
	EXPECT_EQ(stats().state, ASH_MAP_REFUSED);
	EXPECT_EQ(stats().error, -EPERM);
	EXPECT_EQ(stats().calls, 0);
	expect_clean();
}

CHILD_TEST(where_untouched_memory_is_counted_the_kernel_serves)
{
	start_with(ASH_HUGE_NONE);
	fake_on();
	fake_file("/proc/sys/vm/overcommit_memory", "2\n");
	(void)map(4 * PB);
	fake_off();
	if (stats().error == -EINVAL || stats().error == -ENOSYS)
		SKIP("this kernel does not move pages");
	EXPECT_EQ(stats().state, ASH_MAP_REFUSED);
	EXPECT_EQ(stats().error, -EDQUOT);
}

/* A handler that interrupted its own thread inside the allocator. */
CHILD_TEST(under_a_held_lock_the_kernel_serves)
{
	struct ash_zone *z;
	uint64_t calls;
	char *p, *q;

	start();
	p = map(2 * PB);
	memset(p, 1, 2 * PB);
	calls = stats().calls;
	z = ash_arena_zone(ASH_ARENA_T);
	ash_zone_lock_all(z);
	q = map(2 * PB);
	EXPECT_EQ(ash_map_munmap(p, 2 * PB), 0);
	ash_zone_unlock_all(z);
	EXPECT_EQ(stats().calls, calls);
	EXPECT_EQ(stats().slots, 0);
	EXPECT(is_all(q, 2 * PB, 0));
	EXPECT_EQ(ash_map_munmap(q, 2 * PB), 0);
	expect_clean();
}

CHILD_TEST(what_went_past_us_does_no_harm)
{
	char *p;

	start();
	p = map(4 * PB);
	memset(p, 1, 4 * PB);
	EXPECT_EQ(ash_vmem_unmap(p, 4 * PB), 0);
	/* Others' memory is where the table says that slots are: read-only, shared, and none. */
	EXPECT_EQ(ash_vmem_call_mmap(p, PB, PROT_READ, ANON | MAP_FIXED, -1, 0), (long)p);
	EXPECT_EQ(ash_vmem_call_mmap(p + PB, PB, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0), (long)(p + PB));
	memset(p + PB, 2, PB);
	EXPECT_EQ(ash_map_munmap(p, 4 * PB), 0);
	EXPECT_EQ(stats().harvested, 0);
	expect_clean();
}

CHILD_TEST(released_pages_are_not_reused)
{
	struct iovec v;
	char *p, got[64];
	int fd[2];

	start();
	p = map(PB);
	memset(p, 7, PB);
	EXPECT_EQ(pipe(fd), 0);
	v = (struct iovec){ p, sizeof(got) };
	EXPECT_EQ(vmsplice(fd[1], &v, 1, 0), sizeof(got));
	ash_map_release(p, sizeof(got));
	EXPECT_EQ(ash_map_munmap(p, PB), 0);
	p = map(PB);
	memset(p, 9, PB);
	EXPECT_EQ(read(fd[0], got, sizeof(got)), sizeof(got));
	EXPECT(is_all(got, sizeof(got), 7));
	EXPECT_EQ(ash_map_munmap(p, PB), 0);
	expect_clean();
}

CHILD_TEST(a_child_of_fork_has_its_own)
{
	char *p;
	int status;
	pid_t pid;

	start();
	p = map(4 * PB);
	memset(p, 1, 4 * PB);
	pid = fork();
	if (pid == 0) {
		bool ok = is_all(p, 4 * PB, 1);

		memset(p, 2, 4 * PB);
		ok = ok && ash_map_munmap(p, 4 * PB) == 0;
		p = (char *)ash_map_mmap(NULL, 4 * PB, RW, ANON, -1, 0);
		_exit(ok && is_all(p, 4 * PB, 0) ? 0 : 1);
	}
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	EXPECT(is_all(p, 4 * PB, 1));
	EXPECT_EQ(ash_map_munmap(p, 4 * PB), 0);
	expect_clean();
}

/* Memory that was unmapped is the system's after the decay time, as freed memory is. */
CHILD_TEST(warm_pages_decay)
{
	size_t bytes[ASH_BACKING_NR];
	char *p;

	start();
	p = map(16 * PB);
	memset(p, 1, 16 * PB);
	EXPECT_EQ(ash_map_munmap(p, 16 * PB), 0);
	EXPECT_EQ(ash_arena_actual(ASH_ARENA_T, bytes), 0);
	EXPECT_GE(bytes[ASH_BACKING_THP] + bytes[ASH_BACKING_BASE], 16 * PB);
	(void)ash_arena_trim();
	EXPECT_EQ(ash_arena_actual(ASH_ARENA_T, bytes), 0);
	EXPECT_LT(bytes[ASH_BACKING_THP] + bytes[ASH_BACKING_BASE], 4 * PB);
}

/* The kernel's mappings are as many as the program's: one for each of its own, however its pages came and went. */
CHILD_TEST(no_mapping_is_added)
{
	enum { NR = 64 };
	char *p[NR], line[512];
	unsigned before = 0, after = 0;
	FILE *f;

	start();
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < NR; i++) {
			p[i] = map(PB);
			memset(p[i], 1, PB);
		}
		f = fopen("/proc/self/maps", "r");
		for (after = 0; fgets(line, sizeof(line), f) != NULL;)
			after++;
		(void)fclose(f);
		if (round == 0)
			before = after;
		for (unsigned i = 0; i < NR; i += 1 + round % 2)
			EXPECT_EQ(ash_map_munmap(p[i], PB), 0);
	}
	EXPECT_LE(after, before + 2 + NR / 2);
}
