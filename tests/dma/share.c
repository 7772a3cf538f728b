/* SPDX-License-Identifier: MIT */
/* Sharing: two processes, one memory; what a peer can and cannot do; what is left after a crash. */
#include "dma/own_pool.h"
#include "dma/witness.h"
#include "unit/os/fake_sys.h"

#include <linux/io_uring.h>
#include <linux/udmabuf.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

enum { KILLS = 8 };

static char *share(size_t bytes, unsigned flags)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	char *p;

	attr.flags = ASH_DMA_SHARED | flags;
	p = ash_dma_alloc(bytes, &attr);
	EXPECT(p != NULL);
	return p;
}

static int sockets[2];

/* The peer: what it receives it checks, answers, and ends. */
static void peer(void)
{
	size_t bytes = 0;
	char *p = ash_dma_receive(sockets[1], &bytes);

	EXPECT(p != NULL);
	EXPECT_EQ(bytes, MIB(4));
	EXPECT_EQ(p[MIB(3)], 0x21);
	p[MIB(3) + 1] = 0x22;
	if (witness_sees() && describe(p).phys_known != 0)
		witness_agrees(p, bytes);
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_EQ(ash_dma_free(p), -EINVAL);
}

CHILD_TEST(two_processes_have_the_same_memory)
{
	uint64_t offset = 1;
	size_t bytes = 0;
	pid_t pid;
	char *p;
	int status, fd;

	EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	pid = fork();
	if (pid == 0) {
		if (setjmp(test_abort) != 0)
			_exit(1);
		peer();
		_exit(0);
	}
	p = share(MIB(3) + 5, 0);
	EXPECT_EQ(describe(p).bytes, MIB(4));
	p[MIB(3)] = 0x21;
	EXPECT_EQ(ash_dma_send(sockets[0], p), 0);
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(p[MIB(3) + 1], 0x22);
	fd = ash_dma_export(p, &offset, &bytes);
	EXPECT(fd >= 0);
	EXPECT_EQ(offset, 0);
	EXPECT_EQ(bytes, MIB(4));
	EXPECT(ftruncate(fd, 0) != 0);
	EXPECT_EQ(ash_dma_free(p), 0);
	close(fd);
}

CHILD_TEST(what_could_be_taken_away_is_not_imported)
{
	const int fd = memfd_create("loose", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char *p;

	EXPECT_EQ(ftruncate(fd, MIB(2)), 0);
	EXPECT(ash_dma_import(fd, 0, MIB(2)) == NULL);
	EXPECT_EQ(errno, EPERM);
	EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	EXPECT(ash_dma_import(fd, 0, MIB(4)) == NULL);
	EXPECT_EQ(errno, EINVAL);
	EXPECT(ash_dma_import(fd, 4096, MIB(1)) == NULL);
	p = ash_dma_import(fd, 0, MIB(2));
	EXPECT(p != NULL);
	memset(p, 1, MIB(2));
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT(ash_dma_import(0, 0, MIB(2)) == NULL);
}

CHILD_TEST(only_shared_buffers_can_be_shared)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	uint64_t offset;
	size_t bytes;
	char *p = ash_dma_alloc(8192, &attr);

	EXPECT_EQ(ash_dma_export(p, &offset, &bytes), -EINVAL);
	EXPECT_EQ(ash_dma_send(0, p), -EINVAL);
	EXPECT_EQ(ash_dma_export_udmabuf(p), -EINVAL);
	attr.flags = ASH_DMA_SHARED;
	attr.level = ASH_DMA_PHYSICAL;
	EXPECT(ash_dma_alloc(8192, &attr) == NULL);
	attr = (struct ash_dma_attr)ASH_DMA_ATTR_INIT;
	attr.flags = ASH_DMA_INHERIT;
	EXPECT(ash_dma_alloc(8192, &attr) == NULL);
}

static char *handed_down;

static void use_handed_down(void)
{
	EXPECT_EQ(handed_down[5], 9);
	handed_down[6] = 10;
	EXPECT_EQ(ash_dma_free(handed_down), -EINVAL);
}

CHILD_TEST(a_child_has_it_only_if_asked_for)
{
	handed_down = share(MIB(2), 0);
	EXPECT_EQ(touch_signal(handed_down), SIGSEGV);
	EXPECT_EQ(ash_dma_free(handed_down), 0);
	handed_down = share(MIB(2), ASH_DMA_INHERIT);
	handed_down[5] = 9;
	EXPECT_EQ(child_status(use_handed_down), 0);
	EXPECT_EQ(handed_down[6], 10);
	EXPECT_EQ(ash_dma_free(handed_down), 0);
}

CHILD_TEST(places_of_freed_buffers_are_used_again)
{
	char *first = share(MIB(4), 0), *p;

	EXPECT_EQ(ash_dma_free(first), 0);
	for (unsigned i = 0; i < 50; i++) {
		p = share(MIB(4), 0);
		EXPECT(p == first);
		EXPECT_EQ(p[0], 0);
		memset(p, 1, MIB(4));
		EXPECT_EQ(ash_dma_free(p), 0);
	}
	/* What the zone has beside them is its own: a buffer of its frames never lies in a shared one. */
	p = share(MIB(2), 0);
	for (unsigned i = 0; i < 600; i++) {
		const char *q = ash_dma_alloc(4096, NULL);

		EXPECT(q != NULL && (q < p || q >= p + MIB(2)));
	}
}

static void die_with_buffers(void)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;

	(void)share(MIB(6), 0);
	for (unsigned i = 0; i < 5; i++)
		EXPECT(ash_dma_alloc(MIB(2), &attr) != NULL);
	kill(getpid(), SIGKILL);
}

TEST(a_crash_leaves_no_page_behind)
{
	const char *why = real_pool_get(16);
	bool whole = true;

	if (why != NULL)
		SKIP(why);
	for (unsigned i = 0; i < KILLS && whole; i++)
		whole = child_status(die_with_buffers) == -SIGKILL && real_pool_settles(16);
	real_pool_give_back();
	EXPECT(whole);
}

static struct udmabuf_create asked;

static bool udmabuf_front(long nr, long a, long b, long c, long d, long e, long *ret)
{
	(void)a;
	(void)d;
	(void)e;
	if (nr == __NR_openat && strcmp((const char *)b, "/dev/udmabuf") == 0) {
		*ret = open("/dev/null", O_RDWR);
		return true;
	}
	if (nr == __NR_ioctl && b == (long)UDMABUF_CREATE) {
		asked = *(const struct udmabuf_create *)c;
		*ret = 4711;
		return true;
	}
	return false;
}

CHILD_TEST(a_dma_buf_is_asked_for_as_the_driver_wants_it)
{
	char *p = share(MIB(2), 0);

	fake_on();
	fake.front = udmabuf_front;
	EXPECT_EQ(ash_dma_export_udmabuf(p), 4711);
	EXPECT_EQ(asked.size, MIB(2));
	EXPECT_EQ(asked.offset, 0);
	EXPECT_EQ(asked.flags, UDMABUF_FLAGS_CLOEXEC);
	EXPECT_EQ(fcntl((int)asked.memfd, F_GET_SEALS) & F_SEAL_SHRINK, F_SEAL_SHRINK);
	fake_off();
	EXPECT_EQ(ash_dma_free(p), 0);
}

CHILD_TEST(a_real_dma_buf_is_the_same_memory)
{
	char *p, *seen;
	int fd;

	if (access("/dev/udmabuf", R_OK | W_OK) != 0)
		SKIP("this kernel has no /dev/udmabuf, or it is not for us");
	p = share(MIB(4), 0);
	memset(p, 0x5a, MIB(4));
	fd = ash_dma_export_udmabuf(p);
	EXPECT(fd >= 0);
	seen = mmap(NULL, MIB(4), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	EXPECT(seen != MAP_FAILED);
	EXPECT_EQ(seen[MIB(3)], 0x5a);
	seen[MIB(2) + 5] = 0x33;
	EXPECT_EQ(p[MIB(2) + 5], 0x33);
	/* Who imported it keeps the memory beyond the end of the buffer. */
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_EQ(seen[MIB(2) + 5], 0x33);
	munmap(seen, MIB(4));
	close(fd);
}

static unsigned made;

static bool file_front(long nr, long a, long b, long c, long d, long e, long *ret)
{
	(void)a;
	(void)b;
	(void)d;
	(void)e;
	(void)ret;
	made += (nr == __NR_openat && (c & O_CREAT) != 0) || nr == __NR_mknodat || nr == __NR_linkat ||
		nr == __NR_symlinkat || nr == __NR_mkdirat;
	return false;
}

/* What has no name cannot be left behind. */
CHILD_TEST(no_file_is_ever_made)
{
	struct ash_dma_pool *pool;
	char *p, *q;

	fake_on();
	fake.front = file_front;
	p = share(MIB(4), 0);
	q = ash_dma_alloc(MIB(3), NULL);
	pool = ash_dma_pool_create("files", 100, 0, 0, NULL);
	EXPECT(q != NULL && pool != NULL);
	(void)ash_dma_reserve("files", MIB(2), NULL);
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_EQ(ash_dma_free(q), 0);
	EXPECT_EQ(ash_dma_pool_destroy(pool), 0);
	EXPECT_GT(fake.total, 10);
	EXPECT_EQ(made, 0);
	fake_off();
}

CHILD_TEST(buffers_are_an_io_urings_fixed_buffers)
{
	struct io_uring_params params = { .flags = 0 };
	const int ring = (int)syscall(SYS_io_uring_setup, 4, &params);
	void *buffers[2];
	int err;

	if (ring < 0)
		SKIP("no io_uring here");
	buffers[0] = ash_dma_alloc(MIB(1), NULL);
	buffers[1] = share(MIB(2), 0);
	err = ash_dma_uring_register(ring, buffers, 2);
	if (err == -ENOMEM)
		SKIP("RLIMIT_MEMLOCK does not allow fixed buffers of 3 MiB");
	EXPECT_EQ(err, 0);
	EXPECT_EQ(ash_dma_uring_register(ring, buffers, 2), -EBUSY);
	EXPECT_EQ(ash_dma_uring_unregister(ring), 0);
	EXPECT_EQ(ash_dma_uring_unregister(ring), -ENXIO);
	buffers[1] = &params;
	EXPECT_EQ(ash_dma_uring_register(ring, buffers, 2), -EINVAL);
	EXPECT_EQ(ash_dma_uring_register(ring, buffers, 0), -EINVAL);
}
