/* SPDX-License-Identifier: MIT */
/*
 * fork in programs with threads: the child can allocate and free whatever it finds, sees the parent's memory as it was,
 * and neither side sees the other's writes.
 */
#include "harness/test.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

enum { THREADS = 3, OBJECTS = 32 };

static _Atomic bool stop;
static _Atomic unsigned long churned;

static size_t random_size(uint64_t *random)
{
	const uint64_t dice = test_random(random);

	return (dice >> 8) % ((dice & 63) == 0 ? 400000 : (dice & 7) == 0 ? 20000 : 500) + 1;
}

/* Allocates and frees for ever, so that fork meets it anywhere. */
static void *churn(void *seed)
{
	uint64_t random = (uintptr_t)seed;
	void *p[OBJECTS] = { NULL };

	while (!atomic_load(&stop)) {
		const unsigned i = (unsigned)(test_random(&random) % OBJECTS);

		free(p[i]);
		p[i] = malloc(random_size(&random));
		*(char *)p[i] = 1;
		atomic_fetch_add_explicit(&churned, 1, memory_order_relaxed);
	}
	for (int i = 0; i < OBJECTS; i++)
		free(p[i]);
	return NULL;
}

static void start(pthread_t *threads, int n)
{
	atomic_store(&stop, false);
	for (int i = 0; i < n; i++)
		EXPECT_EQ(pthread_create(&threads[i], NULL, churn, (void *)(uintptr_t)(test_seed + (unsigned)i)), 0);
}

static void join(pthread_t *threads, int n)
{
	atomic_store(&stop, true);
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

/* In the child: the parent's objects are whole and can be freed, and new ones of all sizes can be had. */
static int child_works(char **objects, const size_t *size)
{
	uint64_t random = test_seed;

	alarm(HANG_SECONDS);
	for (unsigned i = 0; i < OBJECTS; i++) {
		if (differs(objects[i], size[i], i) != size[i])
			return 10;
		if (i % 3 == 0) {
			objects[i] = realloc(objects[i], size[i] + 5000);
			if (objects[i] == NULL || differs(objects[i], size[i], i) != size[i])
				return 11;
		}
		memset(objects[i], 0xcc, size[i]);
		free(objects[i]);
	}
	for (int i = 0; i < 300; i++) {
		const size_t bytes = random_size(&random);
		char *p = calloc(1, bytes);

		if (p == NULL || nonzero(p, bytes) != bytes)
			return 12;
		memset(p, 1, bytes);
		if (i % 2 == 0)
			free(p);
	}
	return 0;
}

/* 0, or what was wrong; a child that hangs ends by its alarm. */
static int fork_once(char **objects, const size_t *size)
{
	int status;
	const pid_t child = fork();

	if (child < 0)
		return 100 + errno;
	if (child == 0)
		_exit(child_works(objects, size));
	/* Written while the child may still read its own copy. */
	for (unsigned i = 0; i < OBJECTS; i++)
		objects[i][0] ^= 0x80;
	if (waitpid(child, &status, 0) != child)
		return 200;
	for (unsigned i = 0; i < OBJECTS; i++) {
		objects[i][0] ^= (char)0x80;
		if (differs(objects[i], size[i], i) != size[i])
			return 201;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void make_objects(char **objects, size_t *size, uint64_t seed)
{
	for (unsigned i = 0; i < OBJECTS; i++) {
		size[i] = random_size(&seed);
		objects[i] = malloc(size[i]);
		EXPECT(objects[i] != NULL);
		fill(objects[i], size[i], i);
	}
}

static void free_objects(char **objects)
{
	for (unsigned i = 0; i < OBJECTS; i++)
		free(objects[i]);
}

TEST(fork_in_a_program_with_one_thread)
{
	char *objects[OBJECTS];
	size_t size[OBJECTS];

	for (unsigned round = 0; round < 20; round++) {
		make_objects(objects, size, test_seed + round);
		EXPECT_EQ(fork_once(objects, size), 0);
		free_objects(objects);
	}
}

TEST(fork_while_threads_allocate)
{
	pthread_t threads[THREADS];
	char *objects[OBJECTS];
	size_t size[OBJECTS];
	unsigned long before;

	make_objects(objects, size, test_seed);
	start(threads, THREADS);
	before = atomic_load(&churned);
	/* At least until the threads have had their turn in between. */
	for (int round = 0; round < 60 || atomic_load(&churned) == before; round++)
		EXPECT_EQ(fork_once(objects, size), 0);
	join(threads, THREADS);
	free_objects(objects);
}

static void *fork_from_thread(void *result)
{
	char *objects[OBJECTS];
	size_t size[OBJECTS];
	uint64_t seed = (uintptr_t)result;

	*(int *)result = 0;
	for (unsigned i = 0; i < OBJECTS; i++) {
		size[i] = random_size(&seed);
		objects[i] = malloc(size[i]);
		fill(objects[i], size[i], i);
	}
	for (int round = 0; round < 12 && *(int *)result == 0; round++)
		*(int *)result = fork_once(objects, size);
	free_objects(objects);
	return NULL;
}

TEST(fork_from_many_threads_at_once)
{
	enum { FORKERS = 4 };
	pthread_t threads[THREADS], forkers[FORKERS];
	int results[FORKERS];

	start(threads, THREADS);
	for (int i = 0; i < FORKERS; i++)
		EXPECT_EQ(pthread_create(&forkers[i], NULL, fork_from_thread, &results[i]), 0);
	for (int i = 0; i < FORKERS; i++)
		pthread_join(forkers[i], NULL);
	join(threads, THREADS);
	for (int i = 0; i < FORKERS; i++)
		EXPECT_EQ(results[i], 0);
}

TEST(the_child_of_a_threaded_program_can_have_threads)
{
	pthread_t threads[THREADS];

	start(threads, THREADS);
	for (int round = 0; round < 20; round++) {
		int status;
		const pid_t child = fork();

		if (child == 0) {
			pthread_t own[THREADS];

			alarm(HANG_SECONDS);
			for (int i = 0; i < THREADS; i++)
				if (pthread_create(&own[i], NULL, churn, (void *)(uintptr_t)(i + 1)) != 0)
					_exit(1);
			usleep(2000);
			atomic_store(&stop, true);
			for (int i = 0; i < THREADS; i++)
				pthread_join(own[i], NULL);
			_exit(0);
		}
		EXPECT_EQ(waitpid(child, &status, 0), child);
		EXPECT_EQ(status, 0);
	}
	join(threads, THREADS);
}

TEST(children_fork_children)
{
	char *objects[OBJECTS];
	size_t size[OBJECTS];
	int status;
	pid_t child;

	make_objects(objects, size, test_seed);
	child = fork();
	if (child == 0) {
		alarm(HANG_SECONDS);
		for (int depth = 0; depth < 8; depth++) {
			const pid_t next = fork();

			if (next < 0)
				_exit(3);
			if (next > 0) {
				waitpid(next, &status, 0);
				_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 4);
			}
			free(malloc(100000));
		}
		_exit(child_works(objects, size));
	}
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0);
	free_objects(objects);
}

/* Streams have locks that fork, readers and fflush(NULL) take in orders of their own. */
static void *read_lines(void *path)
{
	FILE *f = fopen(path, "r");

	while (f != NULL && !atomic_load(&stop)) {
		char *line = NULL;
		size_t room = 0;

		rewind(f);
		if (getline(&line, &room, f) < 0)
			abort();
		free(line);
	}
	fclose(f);
	return NULL;
}

static void *flush_all(void *unused)
{
	while (!atomic_load(&stop)) {
		fflush(NULL);
		usleep(200);
	}
	return NULL;
}

TEST(fork_while_threads_use_streams)
{
	enum { READERS = 4 };
	pthread_t threads[READERS + 1];
	/* In memory: whatever becomes of the test, nothing is left behind. */
	const int fd = memfd_create("lines", 0);
	static char line[50000];
	char path[32];

	EXPECT_GE(fd, 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	memset(line, 'x', sizeof(line));
	EXPECT_EQ(write(fd, line, sizeof(line)), (ssize_t)sizeof(line));
	atomic_store(&stop, false);
	alarm(HANG_SECONDS);
	for (int i = 0; i <= READERS; i++)
		EXPECT_EQ(pthread_create(&threads[i], NULL, i < READERS ? read_lines : flush_all, path), 0);
	for (int round = 0; round < 25; round++) {
		int status;
		const pid_t child = fork();

		if (child == 0)
			_exit(17);
		EXPECT_EQ(waitpid(child, &status, 0), child);
		EXPECT_EQ(WEXITSTATUS(status), 17);
	}
	alarm(0);
	join(threads, READERS + 1);
	close(fd);
}

/* A child may signal its parent before the parent has come out of fork; the handler forks and allocates. */
static _Atomic unsigned signals;

static void fork_in_handler(int number)
{
	const int saved = errno;
	const pid_t child = fork();

	if (child == 0)
		_exit(0);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	signals++;
	errno = saved;
}

TEST(a_signal_handler_may_fork_while_its_thread_forks)
{
	struct sigaction action = { .sa_handler = fork_in_handler }, before;
	const pid_t parent = getpid();

	if (!under_ashlar())
		SKIP("glibc 2.36 itself may hang in a program that has had threads");
	EXPECT_EQ(sigaction(SIGUSR1, &action, &before), 0);
	for (int round = 0; round < 50; round++) {
		int status;
		const pid_t child = fork();

		if (child == 0) {
			kill(parent, SIGUSR1);
			_exit(0);
		}
		while (waitpid(child, &status, 0) < 0)
			EXPECT_EQ(errno, EINTR);
		EXPECT_EQ(status, 0);
	}
	EXPECT_GE(signals, 1);
	sigaction(SIGUSR1, &before, NULL);
}

/* The same, but the child comes back from the handler and goes on with what it interrupted. */
static volatile bool child_goes_on;

static void fork_in_handler_and_return(int number)
{
	const int saved = errno;
	const pid_t child = fork();
	int status = 0;

	if (child == 0) {
		child_goes_on = true;
		alarm(HANG_SECONDS);
		return;
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (status != 0)
		_exit(40 + (WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status)));
	signals++;
	errno = saved;
}

/*
 * In a program of its own, so that there is one thread and never was another: the handler interrupts malloc wherever it
 * is, also where memory is given back and taken again.
 */
static int churn_with_forking_handler(bool returns, unsigned forks)
{
	struct sigaction action = { .sa_handler = returns ? fork_in_handler_and_return : fork_in_handler };
	const struct itimerval often = { { 0, 700 }, { 0, 700 } };
	char *p[OBJECTS] = { NULL };
	size_t size[OBJECTS] = { 0 };
	uint64_t random = test_seed;

	action.sa_flags = SA_RESTART;
	signals = 0;
	sigaction(SIGPROF, &action, NULL);
	setitimer(ITIMER_PROF, &often, NULL);
	alarm(HANG_SECONDS);
	for (unsigned left = 200; signals < forks && left > 0; left -= child_goes_on) {
		const unsigned i = (unsigned)(test_random(&random) % OBJECTS);

		if (differs(p[i], size[i], i) != size[i])
			return 2;
		free(p[i]);
		size[i] = random_size(&random) * 3;
		p[i] = malloc(size[i]);
		fill(p[i], size[i], i);
		if (test_random(&random) % 64 == 0)
			malloc_trim(0);
	}
	return 0;
}

__attribute__((constructor(101))) static void child_of_the_tests_below(void)
{
	const char *how = getenv("ASH_TEST_CHURN");

	if (how != NULL)
		_exit(strcmp(how, "returns") == 0 ? churn_with_forking_handler(true, 60) :
						    churn_with_forking_handler(false, 150));
}

static int churn_elsewhere(const char *how)
{
	int status;
	const pid_t child = fork();

	if (child == 0) {
		setenv("ASH_TEST_CHURN", how, 1);
		execl("/proc/self/exe", "fork", (char *)NULL);
		_exit(52);
	}
	EXPECT_EQ(waitpid(child, &status, 0), child);
	return status;
}

TEST(a_signal_handler_may_fork_while_its_thread_allocates)
{
	EXPECT_EQ(churn_elsewhere("exits"), 0);
}

TEST(a_child_may_go_on_with_the_allocation_that_its_fork_interrupted)
{
	EXPECT_EQ(churn_elsewhere("returns"), 0);
}

/* The mask of blocked signals comes back as it was, on both sides. */
TEST(fork_keeps_the_signal_mask)
{
	sigset_t set, now;
	int status;
	pid_t child;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &set, NULL), 0);
	child = fork();
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	if (child == 0)
		_exit(sigismember(&now, SIGUSR2) == 1 && sigismember(&now, SIGUSR1) == 0 ? 0 : 1);
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(sigismember(&now, SIGUSR2), 1);
	EXPECT_EQ(sigismember(&now, SIGUSR1), 0);
	sigemptyset(&set);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
}

/* Handlers that allocate: registered by the program, hence run outside the allocator's own. */
static void *handler_memory;
static unsigned handlers_run;

static void handler_allocates(void)
{
	free(handler_memory);
	handler_memory = malloc(30000);
	memset(handler_memory, 1, 30000);
	free(malloc(300));
	handlers_run++;
}

TEST(fork_handlers_of_the_program_may_allocate)
{
	pthread_t threads[THREADS];
	char *objects[OBJECTS];
	size_t size[OBJECTS];

	EXPECT_EQ(pthread_atfork(handler_allocates, handler_allocates, handler_allocates), 0);
	make_objects(objects, size, test_seed);
	start(threads, THREADS);
	for (int round = 0; round < 25; round++)
		EXPECT_EQ(fork_once(objects, size), 0);
	join(threads, THREADS);
	EXPECT_EQ(handlers_run, 50);
	free_objects(objects);
}
