/* SPDX-License-Identifier: MIT */
/* Mappings, as <ashlar/map.h> promises them. */
#include "harness/test.h"

#include <ashlar/map.h>
#include <ashlar/stats.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PB ((size_t)2 << 20)

static bool is_all(const char *p, size_t bytes, char c)
{
	return p[0] == c && memcmp(p, p + 1, bytes - 1) == 0;
}

TEST(mappings_are_zero_on_a_boundary_and_the_kernels)
{
	for (size_t bytes = 1; bytes < 40 * PB; bytes = bytes * 3 + 1) {
		char *p = ash_map(bytes);

		EXPECT(p != NULL);
		EXPECT_EQ((uintptr_t)p % PB, 0);
		EXPECT(is_all(p, bytes, 0));
		memset(p, 1, bytes);
		EXPECT_EQ(mprotect(p, 1, PROT_READ), 0);
		EXPECT_EQ(madvise(p, bytes, MADV_DONTNEED), 0);
		EXPECT(is_all(p, bytes, 0));
		EXPECT_EQ(ash_unmap(p, bytes), 0);
		EXPECT_EQ(madvise(p, bytes, MADV_NORMAL), -1);
		EXPECT_EQ(errno, ENOMEM);
	}
}

TEST(what_cannot_be_is_told)
{
	EXPECT(ash_map(0) == NULL);
	EXPECT_EQ(errno, EINVAL);
	EXPECT(ash_map(SIZE_MAX / 2) == NULL);
	EXPECT_EQ(errno, ENOMEM);
	EXPECT(ash_map_policy(PB, &(struct ash_policy){ .mode = ASH_POLICY_MODES }) == NULL);
	EXPECT_EQ(errno, EINVAL);
	EXPECT(ash_map_policy(PB, &(struct ash_policy){ .mode = ASH_POLICY_BIND, .nodes = 1ull << 63 }) == NULL);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(ash_unmap((char *)NULL + 1, 4096), -EINVAL);
	EXPECT_EQ(ash_unmap(NULL, 0), -EINVAL);
	EXPECT(ash_remap((char *)NULL + 4096, 4096, 8192) == NULL);
	EXPECT_EQ(errno, EFAULT);
}

TEST(remapped_contents_stay)
{
	char *p = ash_map(3 * PB);

	memset(p, 5, 3 * PB);
	p = ash_remap(p, 3 * PB, 9 * PB);
	EXPECT(p != NULL);
	EXPECT(is_all(p, 3 * PB, 5) && is_all(p + 3 * PB, 6 * PB, 0));
	p = ash_remap(p, 9 * PB, PB);
	EXPECT(p != NULL);
	EXPECT(is_all(p, PB, 5));
	EXPECT_EQ(ash_unmap(p, PB), 0);
}

/* The pages are in the pipe when the mapping is gone; what is mapped next must not be they. */
static bool pipe_keeps(bool pin, bool unpin)
{
	char *p, got[64];
	struct iovec v;
	int fd[2];

	p = ash_map(PB);
	memset(p, 7, PB);
	v = (struct iovec){ p, sizeof(got) };
	EXPECT_EQ(pipe(fd), 0);
	/* By system call: the preload knows of vmsplice. */
	EXPECT_EQ(syscall(SYS_vmsplice, fd[1], &v, 1, 0), sizeof(got));
	if (pin)
		ash_pin(p + 4096, 1);
	if (unpin)
		ash_unpin(p, PB);
	EXPECT_EQ(ash_unmap(p, PB), 0);
	for (unsigned i = 0; i < 4; i++) {
		p = ash_map(8 * PB);
		memset(p, 9, 8 * PB);
		EXPECT_EQ(ash_unmap(p, 8 * PB), 0);
	}
	EXPECT_EQ(read(fd[0], got, sizeof(got)), sizeof(got));
	close(fd[0]);
	close(fd[1]);
	return is_all(got, sizeof(got), 7);
}

static uint64_t managed(void)
{
	struct ash_stats s;

	EXPECT_EQ(ash_stats_read(&s, sizeof(s)), 0);
	return s.online_bytes;
}

TEST(what_was_not_pinned_costs_nothing_to_unpin)
{
	char *p = ash_map(4 * PB), *foreign = mmap(NULL, 64 * PB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t before;

	EXPECT(p != NULL && foreign != MAP_FAILED);
	ash_pin(p, 4 * PB);
	ash_unpin(p, 4 * PB);
	before = managed();
	ash_unpin(foreign, 64 * PB);
	ash_unpin(p, 4 * PB);
	ash_unpin(NULL, SIZE_MAX);
	EXPECT_EQ(managed(), before);
	EXPECT_EQ(munmap(foreign, 64 * PB), 0);
	EXPECT_EQ(ash_unmap(p, 4 * PB), 0);
}

TEST(pinned_pages_are_not_recycled)
{
	for (unsigned i = 0; i < 8; i++)
		EXPECT(pipe_keeps(true, false));
	/* And what is not pinned is: or the above says nothing. */
	if (pipe_keeps(false, false))
		SKIP("nothing is recycled here");
	EXPECT(!pipe_keeps(true, true));
}
