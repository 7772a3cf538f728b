/* SPDX-License-Identifier: MIT */
/*
 * Behind a filter that ends who makes another system call than malloc is known to make: that of glibc, and what it
 * takes to read a file. A program that is small when it goes there grows later.
 */
#include "harness/test.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

/* Of malloc, of reading a file, of threads that meet, and of the end. */
static const unsigned known[] = {
	SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_openat, SYS_read, SYS_close,
	SYS_clock_gettime, SYS_rt_sigprocmask, SYS_futex, SYS_sched_yield, SYS_write, SYS_exit, SYS_exit_group,
};
enum { KNOWN = sizeof(known) / sizeof(known[0]) };

static int filter(void)
{
	struct sock_filter code[KNOWN + 3];
	struct sock_fprog program = { KNOWN + 3, code };

	code[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < KNOWN; i++)
		code[1 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, known[i], KNOWN - i, 0);
	code[KNOWN + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	code[KNOWN + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) : -1;
}

enum { BLOCKS = 3000, CANNOT = 77 };

/* From some kilobytes to 130 MiB, up and down, twice. */
static void grow(void)
{
	char *block[BLOCKS];

	for (int round = 0; round < 2; round++) {
		char *large = malloc(4 << 20);

		for (unsigned i = 0; i < BLOCKS; i++)
			memset(block[i] = malloc(i * 37 % 30000 + 1), 1, i * 37 % 30000 + 1);
		memset(large, 1, 4 << 20);
		large = realloc(large, 64 << 20);
		memset(large, 2, 64 << 20);
		free(calloc(1, 16 << 20));
		free(memalign(2 << 20, 2 << 20));
		for (unsigned i = 0; i < BLOCKS; i++)
			free(block[i]);
		free(large);
		(void)malloc_trim(0);
	}
}

static void *grow_in_a_thread(void *start)
{
	(void)pthread_barrier_wait(start);
	grow();
	return NULL;
}

/* What a child that fn is called in ends with. */
static int status_of(void (*fn)(void))
{
	const pid_t child = fork();
	int status = -1;

	if (child == 0) {
		fn();
		_exit(0);
	}
	EXPECT_EQ(waitpid(child, &status, 0), child);
	return status;
}

static void grow_behind_it(void)
{
	free(OPAQUE(malloc(100)));
	if (filter() != 0)
		_exit(CANNOT);
	grow();
}

/* A filter is a thread's, and of those that it makes. */
static void grow_with_a_thread_behind_it(void)
{
	pthread_barrier_t start;
	pthread_t t;

	if (pthread_barrier_init(&start, NULL, 2) != 0 || pthread_create(&t, NULL, grow_in_a_thread, &start) != 0)
		_exit(1);
	if (filter() != 0)
		_exit(CANNOT);
	(void)pthread_barrier_wait(&start);
	grow();
	(void)pthread_join(t, NULL);
}

static void make_another_call(void)
{
	if (filter() != 0)
		_exit(CANNOT);
	(void)syscall(SYS_getppid);
}

static void skip_without_filters(void)
{
	const int status = status_of(make_another_call);

	if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT)
		SKIP("system calls cannot be filtered here");
	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

TEST(a_small_heap_grows_behind_a_filter)
{
	skip_without_filters();
	EXPECT_EQ(status_of(grow_behind_it), 0);
}

TEST(threads_grow_on_both_sides_of_a_filter)
{
	skip_without_filters();
	EXPECT_EQ(status_of(grow_with_a_thread_behind_it), 0);
}
