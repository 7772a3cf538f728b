/* SPDX-License-Identifier: MIT */
/*
 * Threads that map, fill, check, hand to the kernel and unmap, all at once, while recycling goes on under them. Nothing
 * may be lost, found where it was not put, or refused.
 *
 * Each kind of use lasts beyond the munmap where the kernel lets it: reads of a file that are in flight, pages in a
 * pipe, children of fork. A page that is recycled while somebody still refers to it shows as a word that nobody put
 * there.
 *
 * With ashlar another thread takes contiguous ranges out of the arenas meanwhile, as fast as it goes.
 *
 * usage: as any test program; ASH_TEST_LONG=1 makes it a minute. Run it under the preload with map:on.
 */
#include "harness/test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
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
static atomic_ulong wrong, refused, rounds[12];

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
	printf("# %s at %p, %zu bytes: %016llx, expected %016llx, errno %d, thread %ld of process %d\n", what, p, bytes,
	       got, want, error, syscall(SYS_gettid), getpid());
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
		uint64_t *p =
			realloc(objects[i], 8 + test_random(&state) % (test_random(&state) % 64 == 0 ? 3 * PB : 9000));

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

/* An io_uring of one request at a time. */
struct ring {
	int fd;
	unsigned char *rings;
	struct io_uring_sqe *sqe;
	struct io_uring_params params;
};

static bool ring_open(struct ring *r)
{
	size_t bytes;

	memset(r, 0, sizeof(*r));
	r->fd = (int)syscall(SYS_io_uring_setup, 1, &r->params);
	if (r->fd < 0 || (r->params.features & IORING_FEAT_SINGLE_MMAP) == 0)
		return false;
	bytes = r->params.cq_off.cqes + r->params.cq_entries * sizeof(struct io_uring_cqe);
	if (bytes < r->params.sq_off.array + r->params.sq_entries * sizeof(uint32_t))
		bytes = r->params.sq_off.array + r->params.sq_entries * sizeof(uint32_t);
	r->rings = mmap(NULL, bytes, RW, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQ_RING);
	r->sqe = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQES);
	return r->rings != MAP_FAILED && r->sqe != MAP_FAILED;
}

/* Returns before it is done. */
static void ring_read(struct ring *r, int fd, void *p, bool fixed)
{
	_Atomic uint32_t *const tail = (_Atomic uint32_t *)(void *)(r->rings + r->params.sq_off.tail);

	memset(r->sqe, 0, sizeof(*r->sqe));
	r->sqe->opcode = fixed ? IORING_OP_READ_FIXED : IORING_OP_READ;
	r->sqe->fd = fd;
	r->sqe->addr = (uintptr_t)p;
	r->sqe->len = PB;
	*(uint32_t *)(void *)(r->rings + r->params.sq_off.array) = 0;
	atomic_fetch_add(tail, 1);
	expect_result("io_uring_enter", p, PB, syscall(SYS_io_uring_enter, r->fd, 1, 0, 0, NULL, 0), 1);
}

/* What the request came to. */
static long ring_wait(struct ring *r)
{
	_Atomic uint32_t *const head = (_Atomic uint32_t *)(void *)(r->rings + r->params.cq_off.head);
	_Atomic uint32_t *const tail = (_Atomic uint32_t *)(void *)(r->rings + r->params.cq_off.tail);
	const struct io_uring_cqe *cqes = (const void *)(r->rings + r->params.cq_off.cqes);
	long res;

	while (atomic_load(tail) == atomic_load(head))
		(void)syscall(SYS_io_uring_enter, r->fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
	res = cqes[atomic_load(head) & (r->params.cq_entries - 1)].res;
	atomic_fetch_add(head, 1);
	return res;
}

/* As the direct reads, in flight while their memory goes; and into a registered buffer that is long unmapped. */
static void *ringer(void *arg)
{
	const int fd = *(const int *)arg;
	struct ring r;

	if (!ring_open(&r)) {
		printf("# no io_uring: left out\n");
		return NULL;
	}
	while (!stop) {
		uint64_t *p = map(PB), *q;
		struct iovec v = { p, PB };
		bool fixed;

		if (p == NULL)
			continue;
		memset(p, 0, PB);
		fixed = rounds[7] % 2 == 0 && syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_BUFFERS, &v, 1) == 0;
		ring_read(&r, fd, p, fixed);
		if (rounds[7] % 4 < 2) {
			expect_result("a read by io_uring", p, PB, ring_wait(&r), (long long)PB);
			check(p, PB, 99);
			ring_read(&r, fd, p, fixed);
		}
		unmap(p, PB);
		q = map(PB);
		if (q != NULL)
			fill(q, PB, 78);
		expect_result("a read by io_uring in flight", p, PB, ring_wait(&r), (long long)PB);
		if (fixed) {
			ring_read(&r, fd, p, true);
			expect_result("a read into what is unmapped", p, PB, ring_wait(&r), (long long)PB);
		}
		if (q != NULL) {
			check(q, PB, 78);
			unmap(q, PB);
		}
		if (fixed)
			expect_result("unregistering buffers", p, PB,
				      syscall(SYS_io_uring_register, r.fd, IORING_UNREGISTER_BUFFERS, NULL, 0), 0);
		rounds[7]++;
	}
	close(r.fd);
	return NULL;
}

static void futex_wait_while(_Atomic uint32_t *word, uint32_t value)
{
	while (atomic_load(word) == value)
		(void)syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void futex_set(_Atomic uint32_t *word, uint32_t value)
{
	atomic_store(word, value);
	(void)syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* The word of odd values is the other side's to answer; 100: it is over. */
enum { TURNS = 100 };

static void *answerer(void *arg)
{
	_Atomic uint32_t *const word = arg;

	for (uint32_t turn = 0; turn < TURNS; turn += 2) {
		futex_wait_while(word, turn);
		futex_set(word, turn + 2);
	}
	return NULL;
}

/* A wake-up that is lost leaves both waiting, until the test's time is up. */
static void *waiter(void *arg)
{
	pthread_t other;

	(void)arg;
	while (!stop) {
		char *p = (char *)map(3 * PB);
		_Atomic uint32_t *const word = (_Atomic uint32_t *)(void *)(p + PB + 64);

		if (p == NULL)
			continue;
		if (pthread_create(&other, NULL, answerer, (void *)(uintptr_t)word) == 0) {
			for (uint32_t turn = 0; turn < TURNS; turn += 2) {
				futex_set(word, turn + 1);
				futex_wait_while(word, turn + 1);
			}
			(void)pthread_join(other, NULL);
		}
		unmap(p, 3 * PB);
		rounds[8]++;
	}
	return NULL;
}

static void *lock_and_die(void *arg)
{
	(void)pthread_mutex_lock(arg);
	return NULL;
}

/* The kernel walks a list in the mapping when the thread that holds the lock ends. */
static void *robust(void *arg)
{
	pthread_mutexattr_t attr;
	pthread_t other;

	(void)arg;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	while (!stop) {
		char *p = (char *)map(PB);
		pthread_mutex_t *const mutex = (pthread_mutex_t *)(void *)(p + PAGE);

		if (p == NULL)
			continue;
		expect_result("pthread_mutex_init", p, PB, pthread_mutex_init(mutex, &attr), 0);
		if (pthread_create(&other, NULL, lock_and_die, mutex) == 0) {
			(void)pthread_join(other, NULL);
			expect_result("the lock of a dead thread", p, PB, pthread_mutex_lock(mutex), EOWNERDEAD);
			expect_result("pthread_mutex_consistent", p, PB, pthread_mutex_consistent(mutex), 0);
			expect_result("pthread_mutex_unlock", p, PB, pthread_mutex_unlock(mutex), 0);
		}
		(void)pthread_mutex_destroy(mutex);
		unmap(p, PB);
		rounds[9]++;
	}
	return NULL;
}

/* The new program's arguments are read out of a mapping. */
static void *execer(void *arg)
{
	(void)arg;
	while (!stop) {
		char *p = (char *)map(PB);
		char *argv[] = { "sh", "-c", p + PB - PAGE, NULL }, *environment[] = { NULL };
		int status = 0;
		pid_t pid;

		if (p == NULL)
			continue;
		strcpy(argv[2], "exit 42");
		pid = fork();
		if (pid == 0) {
			execve("/bin/sh", argv, environment);
			_exit(127);
		}
		expect_result("fork", p, PB, pid < 0, 0);
		unmap(p, PB);
		if (pid > 0) {
			expect_result("waitpid", p, PB, waitpid(pid, &status, 0), pid);
			expect_result("a program's status", p, PB, status, 42 << 8);
		}
		rounds[10]++;
	}
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
	return rounds[0] > 0 && (rounds[1] > 0 || !reads) && rounds[2] > 0 && rounds[3] > 0 && rounds[4] > 0 &&
	       rounds[5] > 0;
}

TEST(recycling_loses_nothing)
{
	static void *(*const uses[])(void *) = { mapper, mapper, reader, piper, forker, allocator, taker,
						ringer, waiter, robust, execer };
	enum { NR = sizeof(uses) / sizeof(uses[0]) };
	const unsigned seconds = getenv("ASH_TEST_LONG") != NULL ? 60 : 2;
	int fd = make_file();
	pthread_t threads[NR];

	signal(SIGUSR1, on_signal);
	if (fd < 0)
		printf("# no file for direct reads: they are left out\n");
	for (unsigned i = 0; i < NR; i++) {
		const bool reads = uses[i] == reader || uses[i] == ringer;
		void *arg = reads && fd >= 0 ? (void *)&fd : (void *)(uintptr_t)(i + 1);

		EXPECT_EQ(pthread_create(&threads[i], NULL, reads && fd < 0 ? mapper : uses[i], arg), 0);
	}
	sleep(seconds);
	/* On a busy machine some of them may not have come that far: as long as it takes, within reason. */
	for (unsigned i = 0; i < 60000 && !each_has_had_a_round(fd >= 0); i++)
		usleep(10000);
	stop = true;
	for (unsigned i = 0; i < NR; i++)
		EXPECT_EQ(pthread_join(threads[i], NULL), 0);
	printf("# rounds: %lu mapped, %lu direct reads, %lu pipes, %lu forks, %lu signals, "
	       "%lu allocations, %lu ranges\n",
	       rounds[0], rounds[1], rounds[2], rounds[3], rounds[4], rounds[5], rounds[6]);
	printf("# %lu by io_uring, %lu futexes, %lu robust locks, %lu programs\n", rounds[7], rounds[8], rounds[9],
	       rounds[10]);
	EXPECT_EQ(wrong, 0);
	EXPECT_EQ(refused, 0);
	EXPECT(each_has_had_a_round(fd >= 0));
}
