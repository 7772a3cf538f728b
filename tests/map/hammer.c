/* SPDX-License-Identifier: MIT */
/*
 * Threads that map, fill, check, hand to the kernel and unmap, all at once, while recycling goes on under them. Nothing
 * may be lost, found where it was not put, or refused.
 *
 * Each kind of use lasts beyond the munmap where the kernel lets it: reads of a file that are in flight, pages in a pipe,
 * children of fork. A page that is recycled while somebody still refers to it shows as a word that nobody put there.
 *
 * With ashlar another thread takes contiguous ranges out of the arenas meanwhile, as fast as it goes.
 *
 * usage: as any test program; ASH_TEST_LONG=1 makes it a minute. Run it under the preload with map:on.
 */
#include "harness/test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PB ((size_t)2 << 20)
enum { RW = PROT_READ | PROT_WRITE, ANON = MAP_PRIVATE | MAP_ANONYMOUS, PAGE = 4096, FILE_BYTES = 4 << 20 };

static atomic_bool stop;
static atomic_ulong wrong, refused, rounds[8];

/* The lines of /proc/self/maps that [p, p + bytes) and what adjoins it are in. Allocates nothing: also for handlers. */
static void print_maps(const void *p, size_t bytes)
{
	static char text[1 << 18];
	const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	size_t got = 0, start, end;
	ssize_t n;

	while (fd >= 0 && got < sizeof(text) - 1 && (n = read(fd, text + got, sizeof(text) - 1 - got)) > 0)
		got += (size_t)n;
	text[got] = '\0';
	close(fd);
	for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		if (sscanf(line, "%zx-%zx", &start, &end) == 2 && start <= (uintptr_t)p + bytes && end >= (uintptr_t)p)
			printf("#     %s\n", line);
	}
}

/* What was asked, what came of it and what is mapped there. One complaint at a time, and not too many. */
static void complain(atomic_ulong *count, const char *what, const void *p, size_t bytes, long long got, long long want)
{
	static atomic_flag busy = ATOMIC_FLAG_INIT;
	const int error = errno;

	if (atomic_fetch_add(count, 1) >= 5 || atomic_flag_test_and_set(&busy))
		return;
	printf("# %s at %p, %zu bytes: %016llx, expected %016llx, errno %d, thread %ld of process %d\n", what, p, bytes, got,
	       want, error, syscall(SYS_gettid), getpid());
	print_maps(p, bytes);
	(void)fflush(stdout);
	atomic_flag_clear(&busy);
}

static void expect_word(const uint64_t *p, uint64_t want)
{
	const uint64_t got = *(const volatile uint64_t *)p;

	if (got != want)
		complain(&wrong, "a word", p, 8, (long long)got, (long long)want);
}

static void expect_result(const char *what, const void *p, size_t bytes, long long got, long long want)
{
	if (got != want)
		complain(&refused, what, p, bytes, got, want);
}

static uint64_t *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, RW, ANON, -1, 0);

	if (p == MAP_FAILED) {
		complain(&refused, "mmap", NULL, bytes, -1, 0);
		return NULL;
	}
	return p;
}

static void unmap(void *p, size_t bytes)
{
	expect_result("munmap", p, bytes, munmap(p, bytes), 0);
}

static void fill(uint64_t *p, size_t bytes, uint64_t with)
{
	for (size_t i = 0; i < bytes / 8; i += PAGE / 8)
		p[i] = with + i;
}

static void check(const uint64_t *p, size_t bytes, uint64_t with)
{
	for (size_t i = 0; i < bytes / 8; i += PAGE / 8)
		expect_word(&p[i], with == 0 ? 0 : with + i);
}

static void *mapper(void *arg)
{
	uint64_t state = (uintptr_t)arg, tag = (uintptr_t)arg << 48;

	for (; !stop; tag += 1ul << 24) {
		const size_t bytes = PB * (1 + test_random(&state) % 4) + PAGE * (test_random(&state) % 3);
		const size_t cut = PAGE * (test_random(&state) % (bytes / PAGE));
		uint64_t *p = map(bytes);

		if (p == NULL)
			continue;
		check(p, bytes, 0);
		fill(p, bytes, tag);
		if (test_random(&state) % 4 == 0 && cut > 0) {
			unmap(p, cut);
			check((uint64_t *)((char *)p + cut), bytes - cut, tag + cut / 8);
			unmap((char *)p + cut, bytes - cut);
		} else if (test_random(&state) % 4 == 0) {
			void *moved = mremap(p, bytes, bytes + PB, MREMAP_MAYMOVE);

			if (moved == MAP_FAILED) {
				complain(&refused, "mremap", p, bytes, -1, (long long)bytes + PB);
				unmap(p, bytes);
				continue;
			}
			check(moved, bytes, tag);
			unmap(moved, bytes + PB);
		} else {
			check(p, bytes, tag);
			unmap(p, bytes);
		}
		rounds[0]++;
	}
	return NULL;
}

/* A wait that no handler but the stopping of the whole process interrupts (job control, a machine kept quiet). */
static long wait_for_read(aio_context_t context, struct io_event *done)
{
	long n;

	do
		n = syscall(SYS_io_getevents, context, 1, 1, done, NULL);
	while (n < 0 && errno == EINTR);
	return n;
}

/* A device writes into memory that is unmapped meanwhile: nobody else may get the page before it is done. */
static void *reader(void *arg)
{
	const int fd = *(const int *)arg;
	aio_context_t context = 0;

	if (syscall(SYS_io_setup, 4, &context) != 0)
		return NULL;
	while (!stop) {
		uint64_t *p = map(PB), *q;
		struct iocb io = { .aio_fildes = (uint32_t)fd, .aio_lio_opcode = IOCB_CMD_PREAD, .aio_nbytes = PB,
				   .aio_buf = (uintptr_t)p, .aio_offset = 0 };
		struct iocb *list = &io;
		struct io_event done;

		if (p == NULL)
			continue;
		memset(p, 0, PB);
		expect_result("io_submit", p, PB, syscall(SYS_io_submit, context, 1, &list), 1);
		unmap(p, PB);
		q = map(PB);
		if (q == NULL)
			continue;
		check(q, PB, 0);
		fill(q, PB, 77);
		expect_result("io_getevents", p, PB, wait_for_read(context, &done), 1);
		expect_result("the read in flight", p, PB, done.res, (long long)PB);
		check(q, PB, 77);
		/* And one that stays: what was read is there. */
		expect_result("pread", q, PB, pread(fd, q, PB, 0), (long long)PB);
		check(q, PB, 99);
		unmap(q, PB);
		rounds[1]++;
	}
	syscall(SYS_io_destroy, context);
	return NULL;
}

static void *piper(void *arg)
{
	uint64_t words[PAGE / 8], tag = 1ul << 60;
	int fd[2];

	(void)arg;
	if (pipe(fd) != 0)
		return NULL;
	for (; !stop; tag += 1ul << 20) {
		uint64_t *p = map(PB), *q;
		struct iovec v = { p, 8 * PAGE };

		if (p == NULL)
			continue;
		fill(p, PB, tag);
		expect_result("vmsplice", p, PB, vmsplice(fd[1], &v, 1, 0), 8 * PAGE);
		unmap(p, PB);
		q = map(PB);
		if (q == NULL)
			continue;
		fill(q, PB, ~tag);
		for (unsigned i = 0; i < 8; i++) {
			expect_result("read of a page in the pipe", q, PB, read(fd[0], words, PAGE), PAGE);
			expect_word(words, tag + i * PAGE / 8);
		}
		/* write(2) from one mapping, read(2) into another. */
		expect_result("write", q, PB, write(fd[1], (char *)q + PAGE, 4 * PAGE), 4 * PAGE);
		expect_result("read", q, PB, read(fd[0], q, 4 * PAGE), 4 * PAGE);
		expect_word(q, ~tag + PAGE / 8);
		unmap(q, PB);
		rounds[2]++;
	}
	close(fd[0]);
	close(fd[1]);
	return NULL;
}

static void *forker(void *arg)
{
	uint64_t tag = 1ul << 40;

	(void)arg;
	for (; !stop; tag += 1ul << 20) {
		uint64_t *p = map(2 * PB);
		int status = 0;
		pid_t pid;

		if (p == NULL)
			continue;
		fill(p, 2 * PB, tag);
		pid = fork();
		expect_result("fork", p, 2 * PB, pid < 0, 0);
		if (pid == 0) {
			wrong = refused = 0;
			check(p, 2 * PB, tag);
			fill(p, 2 * PB, ~tag);
			unmap(p, PB);
			check(p + PB / 8, PB, ~tag + PB / 8);
			_exit(wrong == 0 && refused == 0 ? 0 : 1);
		}
		/* While it looks, its memory is unmapped here, and what was it is used again. */
		check(p, 2 * PB, tag);
		unmap(p, 2 * PB);
		p = map(2 * PB);
		if (p == NULL)
			continue;
		fill(p, 2 * PB, 5);
		if (pid > 0)
			expect_result("waitpid", p, 2 * PB, waitpid(pid, &status, 0), pid);
		if (status != 0)
			complain(&wrong, "a child's status", p, 2 * PB, status, 0);
		check(p, 2 * PB, 5);
		unmap(p, 2 * PB);
		rounds[3]++;
	}
	return NULL;
}

/*
 * Comes anywhere, also inside malloc and inside mmap. The next comes a millisecond after this one is done: a timer that
 * did not wait would leave no time for anything else where this takes longer.
 */
static const struct itimerspec next_signal = { { 0, 0 }, { 0, 1000000 } };
static timer_t timer;

static void on_signal(int signal)
{
	const int saved = errno;
	uint64_t *p = map(PB);

	(void)signal;
	if (p != NULL) {
		expect_word(p, 0);
		*p = 3;
		unmap(p, PB);
	}
	rounds[4]++;
	(void)timer_settime(timer, 0, &next_signal, NULL);
	errno = saved;
}

static void *allocator(void *arg)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	void *objects[64] = { NULL };
	uint64_t state = 5;

	(void)arg;
	event._sigev_un._tid = (int)syscall(SYS_gettid);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || timer_settime(timer, 0, &next_signal, NULL) != 0)
		return NULL;
	while (!stop) {
		const unsigned i = test_random(&state) % 64;
		uint64_t *p = realloc(objects[i], 8 + test_random(&state) % (test_random(&state) % 64 == 0 ? 3 * PB : 9000));

		if (p != NULL)
			*p = state;
		objects[i] = p;
		p = map(PB);
		if (p != NULL) {
			expect_word(p, 0);
			*p = 9;
			unmap(p, PB);
		}
		rounds[5]++;
	}
	timer_delete(timer);
	for (unsigned i = 0; i < 64; i++)
		free(objects[i]);
	return NULL;
}

/* Where the allocator gives ranges out of memory in use: as many as there can be, of all sizes. */
extern void *ash_contig_alloc(size_t bytes, size_t alignment, int node) __attribute__((weak));
extern int ash_contig_free(void *p) __attribute__((weak));

static void *taker(void *arg)
{
	uint64_t state = 11;
	char *held[4] = { NULL };

	(void)arg;
	while (!stop && ash_contig_alloc != NULL) {
		const size_t bytes = PB * (1 + test_random(&state) % 12);
		char **p = &held[test_random(&state) % 4];

		if (ash_contig_free(*p) != 0)
			complain(&refused, "ash_contig_free", *p, PB, -1, 0);
		*p = ash_contig_alloc(bytes, 0, -1);
		for (size_t at = 0; *p != NULL && at < bytes; at += PB)
			(*p)[at] = 7;
		rounds[6] += *p != NULL;
	}
	for (unsigned i = 0; i < 4 && ash_contig_free != NULL; i++)
		(void)ash_contig_free(held[i]);
	return NULL;
}

static int make_file(void)
{
	char path[] = "/var/tmp/ash-hammer-XXXXXX";
	int fd = mkstemp(path), direct;
	uint64_t *p = aligned_alloc(PAGE, FILE_BYTES);

	if (fd < 0 || p == NULL)
		return -1;
	memset(p, 0, FILE_BYTES);
	fill(p, FILE_BYTES, 99);
	direct = open(path, O_RDONLY | O_DIRECT);
	(void)unlink(path);
	if (write(fd, p, FILE_BYTES) != FILE_BYTES || fsync(fd) != 0)
		direct = -1;
	free(p);
	close(fd);
	return direct;
}

/* Whether a range can be had out of what the others use is not to be counted on; all else must have happened. */
static bool each_has_had_a_round(bool reads)
{
	return rounds[0] > 0 && (rounds[1] > 0 || !reads) && rounds[2] > 0 && rounds[3] > 0 && rounds[4] > 0 && rounds[5] > 0;
}

TEST(recycling_loses_nothing)
{
	static void *(*const uses[])(void *) = { mapper, mapper, reader, piper, forker, allocator, taker };
	enum { NR = sizeof(uses) / sizeof(uses[0]) };
	const unsigned seconds = getenv("ASH_TEST_LONG") != NULL ? 60 : 2;
	int fd = make_file();
	pthread_t threads[NR];

	signal(SIGUSR1, on_signal);
	if (fd < 0)
		printf("# no file for direct reads: they are left out\n");
	for (unsigned i = 0; i < NR; i++) {
		void *arg = uses[i] == reader ? (void *)&fd : (void *)(uintptr_t)(i + 1);

		EXPECT_EQ(pthread_create(&threads[i], NULL, uses[i] == reader && fd < 0 ? mapper : uses[i], arg), 0);
	}
	sleep(seconds);
	/* On a busy machine some of them may not have come that far: as long as it takes, within reason. */
	for (unsigned i = 0; i < 60000 && !each_has_had_a_round(fd >= 0); i++)
		usleep(10000);
	stop = true;
	for (unsigned i = 0; i < NR; i++)
		EXPECT_EQ(pthread_join(threads[i], NULL), 0);
	printf("# rounds: %lu mapped, %lu direct reads, %lu pipes, %lu forks, %lu signals, %lu allocations, %lu ranges\n",
	       rounds[0], rounds[1], rounds[2], rounds[3], rounds[4], rounds[5], rounds[6]);
	EXPECT_EQ(wrong, 0);
	EXPECT_EQ(refused, 0);
	EXPECT(each_has_had_a_round(fd >= 0));
}
