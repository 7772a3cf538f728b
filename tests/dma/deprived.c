/* SPDX-License-Identifier: MIT */
/*
 * Processes that may do little: system calls that are refused, limits of nothing, peers that lie. Buffers are had or
 * refused with an errno; nobody dies of a signal, and memory that is there can be used and ended.
 */
#include "arena/child.h"
#include "dma/witness.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/memfd.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* From now on a system call fails with an errno. */
static bool refuse(int number, int error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* Of each kind one, as far as they are to be had. How many were. */
static unsigned use_what_there_is(void)
{
	static const size_t sizes[] = { 100, KIB(4), KIB(100), MIB(2), MIB(5) };
	unsigned had = 0;

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (uint32_t flags = 0; flags <= ASH_DMA_SHARED; flags += ASH_DMA_SHARED) {
			struct ash_dma_error error = { .size = sizeof(error) };
			struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
			size_t len = SIZE_MAX;
			char text[512], *p;

			attr.flags = flags;
			attr.error = &error;
			p = ash_dma_alloc(sizes[i], &attr);
			if (p == NULL) {
				EXPECT(errno == ENOMEM || errno == ENODATA);
				EXPECT_GT(ash_dma_explain(&error, text, sizeof(text)), 0);
				continue;
			}
			had++;
			memset(p, 0x5a, sizes[i]);
			(void)ash_dma_translate(p, &len);
			EXPECT_GT(len, 0);
			EXPECT_GT(ash_dma_segments(p, sizes[i], NULL, 0), 0);
			EXPECT_EQ((unsigned char)p[sizes[i] - 1], 0x5a);
			EXPECT_EQ(ash_dma_free(p), 0);
		}
	}
	(void)ash_dma_verify();
	(void)ash_dma_trim();
	return had;
}

static int refused_call, refused_with;

static void use_without_a_call(void)
{
	if (!refuse(refused_call, refused_with))
		SKIP("no seccomp here");
	printf("# without call %d (errno %d): %u of 10 buffers\n", refused_call, refused_with, use_what_there_is());
}

/* As a sandbox has it, before the first buffer or after. */
static void use_then_lose_a_call(void)
{
	char *p = ash_dma_alloc(KIB(64), NULL);

	EXPECT(p != NULL);
	memset(p, 1, KIB(64));
	use_without_a_call();
	EXPECT_EQ(p[KIB(64) - 1], 1);
	EXPECT_EQ(ash_dma_free(p), 0);
}

TEST(a_system_call_that_is_refused_is_no_death)
{
	static const int calls[] = { SYS_io_uring_setup, SYS_io_uring_register, SYS_mremap, SYS_mbind, SYS_madvise,
				     SYS_mlock, SYS_openat, SYS_pread64, SYS_memfd_create, SYS_ftruncate, SYS_fcntl,
				     SYS_getcpu, SYS_get_mempolicy, SYS_prctl };
	static const int errors[] = { EPERM, ENOSYS };

	for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		for (unsigned k = 0; k < 2; k++) {
			int status;

			refused_call = calls[i];
			refused_with = errors[k];
			status = child_status(use_without_a_call);
			if (status == 0)
				status = child_status(use_then_lose_a_call);
			if (status == 77)
				SKIP("no seccomp here");
			if (status != 0)
				TEST_FAIL("call %d refused with %d: status %d", refused_call, refused_with, status);
		}
	}
}

static void use_with_limits_of_nothing(void)
{
	const struct rlimit none = { 0, 0 }, few = { 3, 3 };

	EXPECT_EQ(setrlimit(RLIMIT_MEMLOCK, &none), 0);
	EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
	/* A container may know no other user. */
	if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)
		SKIP("root, and nobody else to be");
	printf("# nothing may be locked or opened: %u of 10 buffers\n", use_what_there_is());
}

CHILD_TEST(limits_of_nothing_are_no_death)
{
	use_with_limits_of_nothing();
}

CHILD_TEST(little_address_space_is_no_death)
{
	const struct rlimit small = { MIB(512), MIB(512) };

	EXPECT_EQ(setrlimit(RLIMIT_AS, &small), 0);
	printf("# in 512 MiB of addresses: %u of 10 buffers\n", use_what_there_is());
}

static int memory_file(uint64_t bytes, unsigned flags, unsigned seals)
{
	const int fd = (int)syscall(SYS_memfd_create, "peer", flags | MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0 || fcntl(fd, F_ADD_SEALS, seals) != 0)
		return -1;
	return fd;
}

static void expect_not_imported(int fd, uint64_t offset, uint64_t bytes)
{
	errno = 0;
	if (ash_dma_import(fd, offset, bytes) != NULL)
		TEST_FAIL("%llu at %llu were imported", (unsigned long long)bytes, (unsigned long long)offset);
	if (errno == 0 || errno == EFAULT)
		TEST_FAIL("%llu at %llu: errno %d", (unsigned long long)bytes, (unsigned long long)offset, errno);
}

/* A file of any size costs its owner nothing: it must not cost the importer its memory. */
CHILD_TEST(a_peers_file_that_promises_too_much_is_refused)
{
	const unsigned sealed = F_SEAL_SHRINK | F_SEAL_GROW;
	struct rusage before, after;

	EXPECT_EQ(getrusage(RUSAGE_SELF, &before), 0);
	for (unsigned bits = 34; bits < 46; bits++) {
		const int fd = memory_file((uint64_t)1 << bits, 0, sealed);

		if (fd < 0)
			continue;
		if ((uint64_t)1 << bits > (uint64_t)sysconf(_SC_PHYS_PAGES) * 4096)
			expect_not_imported(fd, 0, (uint64_t)1 << bits);
		expect_not_imported(fd, (uint64_t)1 << bits, MIB(2));
		expect_not_imported(fd, MIB(2), (uint64_t)1 << bits);
		expect_not_imported(fd, MIB(1), MIB(2));
		expect_not_imported(fd, 0, MIB(1));
		expect_not_imported(fd, UINT64_MAX - MIB(2) + 1, MIB(2));
		close(fd);
	}
	EXPECT_EQ(getrusage(RUSAGE_SELF, &after), 0);
	EXPECT_LE(after.ru_maxrss - before.ru_maxrss, 64 << 10);
}

CHILD_TEST(what_is_no_sealed_file_in_memory_is_refused)
{
	int pair[2], fd = memory_file(MIB(4), 0, 0);

	expect_not_imported(-1, 0, MIB(2));
	expect_not_imported(0, 0, MIB(2));
	expect_not_imported(fd, 0, MIB(2));
	EXPECT_EQ(ftruncate(fd, 0), 0);
	EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	expect_not_imported(fd, 0, MIB(2));
	close(fd);
	fd = memory_file(MIB(4), 0, F_SEAL_SHRINK | F_SEAL_WRITE);
	expect_not_imported(fd, 0, MIB(2));
	close(fd);
	EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	expect_not_imported(pair[0], 0, MIB(2));
	/* A message without a descriptor, and none at all. */
	EXPECT_EQ(write(pair[1], "0123456789abcdef", 16), 16);
	EXPECT(ash_dma_receive(pair[0], NULL) == NULL);
	close(pair[1]);
	EXPECT(ash_dma_receive(pair[0], NULL) == NULL);
	EXPECT(ash_dma_receive(-1, NULL) == NULL);
}

static struct ash_dma_pool *parents_pool;
static void *parents_object, *parents_buffer;

static void end_what_is_the_parents(void)
{
	struct ash_dma_pool_info info = { .size = sizeof(info) };

	EXPECT_EQ(ash_dma_pool_info_read(parents_pool, &info), 0);
	EXPECT_EQ(ash_dma_free(parents_buffer), -EINVAL);
	EXPECT_EQ(ash_dma_pool_destroy(parents_pool), 0);
	EXPECT_EQ(ash_dma_unreserve("parents"), -ENOENT);
	parents_pool = ash_dma_pool_create("childs", 64, 0, 0, NULL);
	EXPECT(parents_pool != NULL);
	memset(ash_dma_pool_get(parents_pool), 1, 64);
}

CHILD_TEST(a_child_can_end_what_is_its_parents_and_harms_nobody)
{
	parents_pool = ash_dma_pool_create("parents", 64, 0, 0, NULL);
	parents_buffer = ash_dma_alloc(KIB(8), NULL);
	EXPECT(parents_pool != NULL && parents_buffer != NULL);
	EXPECT_EQ(ash_dma_reserve("parents", MIB(2), NULL), 0);
	parents_object = ash_dma_pool_get(parents_pool);
	ash_dma_pool_put(parents_pool, parents_object);
	EXPECT_EQ(child_status(end_what_is_the_parents), 0);
	parents_object = ash_dma_pool_get(parents_pool);
	memset(parents_object, 2, 64);
	ash_dma_pool_put(parents_pool, parents_object);
	EXPECT_EQ(ash_dma_pool_destroy(parents_pool), 0);
	EXPECT_EQ(ash_dma_free(parents_buffer), 0);
	EXPECT_EQ(ash_dma_unreserve("parents"), 0);
}

enum { RACERS = 4, ROUNDS = 2000 };
static _Atomic(char *) prey;
static _Atomic unsigned ended;
static pthread_barrier_t barrier;

static void *end_it_too(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&barrier);
		if (ash_dma_free(prey) == 0)
			atomic_fetch_add(&ended, 1);
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

/* One of them ends it, whatever it is. */
CHILD_TEST(of_many_who_end_one_buffer_one_does)
{
	pthread_t t[RACERS];

	EXPECT_EQ(pthread_barrier_init(&barrier, NULL, RACERS + 1), 0);
	for (unsigned i = 0; i < RACERS; i++)
		EXPECT_EQ(pthread_create(&t[i], NULL, end_it_too, NULL), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		prey = ash_dma_alloc((size_t)64 << i % 8, NULL);
		EXPECT(prey != NULL);
		atomic_store(&ended, 0);
		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
		EXPECT_EQ(ended, 1);
	}
	for (unsigned i = 0; i < RACERS; i++)
		EXPECT_EQ(pthread_join(t[i], NULL), 0);
}
