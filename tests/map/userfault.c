/* SPDX-License-Identifier: MIT */
/*
 * A program that fills its own mappings by userfaultfd(2): what it has not touched has no page, wherever the mapping's
 * memory comes from. Run without and with the preload.
 */
#include "harness/test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BYTES ((size_t)8 << 20)
enum { PAGE = 4096, USER_MODE_ONLY = 1 };

#include "warm.h"

TEST(a_fresh_mapping_has_no_page)
{
	static char page[PAGE] __attribute__((aligned(4096)));
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	const int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY);

	if (fd < 0)
		SKIP("no userfaultfd here");
	warm_up();
	EXPECT_EQ(ioctl(fd, UFFDIO_API, &api), 0);
	for (unsigned round = 0; round < 3; round++) {
		char *p = map();

		range.range.start = (uintptr_t)p;
		range.range.len = BYTES;
		EXPECT_EQ(ioctl(fd, UFFDIO_REGISTER, &range), 0);
		for (size_t at = 0; at < BYTES; at += PAGE) {
			struct uffdio_copy copy = { .dst = (uintptr_t)p + at, .src = (uintptr_t)page, .len = PAGE };

			page[0] = (char)(1 + at / PAGE % 100);
			/* EEXIST: there is one. */
			EXPECT_EQ(ioctl(fd, UFFDIO_COPY, &copy), 0);
			EXPECT_EQ(p[at], page[0]);
		}
		EXPECT_EQ(munmap(p, BYTES), 0);
		warm_up();
	}
	close(fd);
}

/* What is no request of ours goes through, with its answer and its errno. */
TEST(other_requests_are_the_kernels)
{
	int fd[2], waiting = 0;

	EXPECT_EQ(pipe(fd), 0);
	EXPECT_EQ(write(fd[1], "four", 4), 4);
	EXPECT_EQ(ioctl(fd[0], FIONREAD, &waiting), 0);
	EXPECT_EQ(waiting, 4);
	errno = 0;
	EXPECT_EQ(ioctl(fd[0], UFFDIO_API, &waiting), -1);
	EXPECT_EQ(errno, ENOTTY);
	EXPECT_EQ(ioctl(-1, FIONREAD, &waiting), -1);
	EXPECT_EQ(errno, EBADF);
	close(fd[0]);
	close(fd[1]);
}
