/* SPDX-License-Identifier: MIT */
/*
 * The C library wants memory in the child before any handler of fork has run, and SIGSEGV is borrowed to give it (on
 * hugetlb pages). Whatever else SIGSEGV is for stays as it is: crashes, the program's handlers, stacks and masks.
 */
#include "harness/test.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "common.h"

enum { BALLAST = 24, BALLAST_BYTES = 1 << 20, NOWHERE = 0x1230, STACK_BYTES = 1 << 18 };

static _Atomic bool stop;
static char *ballast[BALLAST];

/* Past the start that is base pages, and enough to make the fork last. */
static void take_ballast(void)
{
	for (unsigned i = 0; i < BALLAST; i++) {
		ballast[i] = malloc(BALLAST_BYTES);
		fill(ballast[i], BALLAST_BYTES, i);
	}
}

static bool ballast_is_whole(void)
{
	for (unsigned i = 0; i < BALLAST; i++)
		if (differs(ballast[i], BALLAST_BYTES, i) != BALLAST_BYTES)
			return false;
	return true;
}

static void free_ballast(void)
{
	for (unsigned i = 0; i < BALLAST; i++)
		free(ballast[i]);
}

/* How a child that runs fn ends, as waitpid(2) says it. */
static int ends(int (*fn)(void))
{
	int status = -1;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		alarm(HANG_SECONDS);
		_exit(fn());
	}
	EXPECT_EQ(waitpid(child, &status, 0), child);
	return status;
}

static int exit_of(pid_t child)
{
	int status;

	if (child < 0 || waitpid(child, &status, 0) != child)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* Waits until SIGSEGV is somebody else's, while forks go on in another thread; where that never is, for a moment
 * only. */
static void await_window(void (*own)(int))
{
	struct sigaction now;

	for (int i = under_hugetlb() ? 400000 : 1000; i > 0; i--) {
		sigaction(SIGSEGV, NULL, &now);
		if (now.sa_handler != own)
			return;
	}
}

static void crash(void)
{
	*(volatile int *)OPAQUE((uintptr_t)NOWHERE) = 1;
}

static void *crashes_within_the_window(void *own)
{
	await_window((void (*)(int))(uintptr_t)own);
	crash();
	return NULL;
}

static int crash_while_another_forks(void)
{
	pthread_t thread;

	take_ballast();
	pthread_create(&thread, NULL, crashes_within_the_window, SIG_DFL);
	for (;;) {
		const pid_t child = fork();

		if (child == 0)
			_exit(0);
		waitpid(child, NULL, 0);
	}
}

TEST(a_true_crash_of_another_thread_kills_as_ever)
{
	const int status = ends(crash_while_another_forks);

	EXPECT(WIFSIGNALED(status));
	EXPECT_EQ(WTERMSIG(status), SIGSEGV);
}

static sigjmp_buf back;
static _Atomic unsigned handled;

/* Called as the program asked for it: on the right stack, with the right address, with the right mask. */
static void on_crash(int number, siginfo_t *info, void *context)
{
	sigset_t mask;
	stack_t stack;

	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	sigaltstack(NULL, &stack);
	if (number != SIGSEGV || info->si_addr != (void *)NOWHERE || context == NULL)
		_exit(51);
	if (sigismember(&mask, SIGUSR2) != 1 || sigismember(&mask, SIGSEGV) != 1 || sigismember(&mask, SIGUSR1) != 0)
		_exit(52);
	if ((stack.ss_flags & SS_ONSTACK) == 0)
		_exit(53);
	handled++;
	siglongjmp(back, 1);
}

static void handle_crashes(void)
{
	struct sigaction action = { .sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGUSR2);
	sigaction(SIGSEGV, &action, NULL);
}

static void *crashes_and_recovers(void *unused)
{
	static char memory[STACK_BYTES];
	const stack_t stack = { .ss_sp = memory, .ss_size = sizeof(memory) };

	(void)unused;
	sigaltstack(&stack, NULL);
	for (volatile unsigned round = 0; round < 20; round++) {
		if (sigsetjmp(back, 1) == 0) {
			await_window((void (*)(int))(uintptr_t)on_crash);
			crash();
			_exit(54);
		}
	}
	atomic_store(&stop, true);
	return NULL;
}

static int recover_while_another_forks(void)
{
	struct sigaction now;
	pthread_t thread;

	take_ballast();
	handle_crashes();
	atomic_store(&stop, false);
	pthread_create(&thread, NULL, crashes_and_recovers, NULL);
	while (!atomic_load(&stop)) {
		const pid_t child = fork();

		if (child == 0)
			_exit(ballast_is_whole() ? 0 : 3);
		if (exit_of(child) != 0)
			return 4;
	}
	pthread_join(thread, NULL);
	sigaction(SIGSEGV, NULL, &now);
	return handled == 20 && now.sa_sigaction == on_crash && ballast_is_whole() ? 0 : 5;
}

TEST(a_handler_of_the_program_gets_the_crashes_of_its_threads)
{
	EXPECT_EQ(ends(recover_while_another_forks), 0);
}

/* A crash in the child, which fork has served already, is a crash. */
static int child_crashes(void)
{
	take_ballast();
	for (int i = 0; i < 3; i++) {
		const pid_t child = fork();

		if (child == 0)
			crash();
		if (exit_of(child) != 1000 + SIGSEGV)
			return 2;
	}
	return 0;
}

TEST(a_crash_of_the_child_kills_it)
{
	EXPECT_EQ(ends(child_crashes), 0);
}

static void unused_handler(int number)
{
	(void)number;
}

static bool same_action(const struct sigaction *a, const struct sigaction *b)
{
	for (int i = 1; i < 32; i++)
		if (sigismember(&a->sa_mask, i) != sigismember(&b->sa_mask, i))
			return false;
	return a->sa_handler == b->sa_handler && a->sa_flags == b->sa_flags;
}

static bool same_stack(const stack_t *a, const stack_t *b)
{
	return a->ss_flags == b->ss_flags && ((a->ss_flags & SS_DISABLE) != 0 || a->ss_sp == b->ss_sp);
}

/* 0: action and alternate stack are, in parent and child, what they were. */
static int fork_keeps(const struct sigaction *action)
{
	struct sigaction before, after;
	stack_t stack_before, stack_after;
	pid_t child;

	sigaction(SIGSEGV, action, NULL);
	sigaction(SIGSEGV, NULL, &before);
	sigaltstack(NULL, &stack_before);
	child = fork();
	sigaction(SIGSEGV, NULL, &after);
	sigaltstack(NULL, &stack_after);
	if (child == 0)
		_exit(same_action(&before, &after) && same_stack(&stack_before, &stack_after) ? 0 : 1);
	if (!same_action(&before, &after) || !same_stack(&stack_before, &stack_after))
		return 2;
	return exit_of(child);
}

static int keep_actions(void)
{
	struct sigaction actions[4] = {
		{ .sa_handler = SIG_DFL },
		{ .sa_handler = SIG_IGN },
		{ .sa_handler = unused_handler, .sa_flags = SA_RESTART | SA_NODEFER | SA_RESETHAND },
		{ .sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK },
	};
	const stack_t stack = { .ss_sp = malloc(STACK_BYTES), .ss_size = STACK_BYTES };

	take_ballast();
	sigaddset(&actions[2].sa_mask, SIGUSR1);
	for (int i = 0; i < 8; i++) {
		if (i == 4)
			sigaltstack(&stack, NULL);
		if (fork_keeps(&actions[i % 4]) != 0)
			return 10 + i;
	}
	return 0;
}

TEST(fork_keeps_the_action_for_crashes_on_both_sides)
{
	EXPECT_EQ(ends(keep_actions), 0);
}

/* A SIGSEGV that somebody sends is a signal like any other: it waits for fork to end, and its handler may allocate. */
static _Atomic unsigned sent, received;

static void on_sent(int number)
{
	(void)number;
	free(realloc(malloc(1000), 300000));
	received++;
}

static void *sends(void *to)
{
	while (!atomic_load(&stop)) {
		await_window(on_sent);
		pthread_kill(*(pthread_t *)to, SIGSEGV);
		sent++;
		while (received < sent && !atomic_load(&stop))
			usleep(50);
	}
	return NULL;
}

static int fork_while_one_sends(void)
{
	struct sigaction action = { .sa_handler = on_sent, .sa_flags = SA_RESTART };
	pthread_t thread, self = pthread_self();

	take_ballast();
	sigaction(SIGSEGV, &action, NULL);
	atomic_store(&stop, false);
	pthread_create(&thread, NULL, sends, &self);
	for (int round = 0; round < 12; round++) {
		const pid_t child = fork();

		if (child == 0)
			_exit(ballast_is_whole() ? 0 : 3);
		if (exit_of(child) != 0)
			return 4;
	}
	while (received < 2)
		usleep(100);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	usleep(1000);
	return received == sent ? 0 : 5;
}

TEST(a_signal_that_is_sent_waits_for_fork_to_end)
{
	if (!under_ashlar())
		SKIP("glibc 2.36 itself may hang when a handler allocates in the middle of its fork");
	EXPECT_EQ(ends(fork_while_one_sends), 0);
}

/* The lock of stdio's list is the last that the library gives back in fork, and it takes this function for it. */
void _IO_list_unlock(void);

static void (*list_unlock)(void);
static _Atomic bool raise_before_unlock;
static _Atomic unsigned too_early;

__attribute__((constructor)) static void find_list_unlock(void)
{
	*(void **)&list_unlock = dlsym(RTLD_NEXT, "_IO_list_unlock");
}

void _IO_list_unlock(void)
{
	if (atomic_exchange(&raise_before_unlock, false)) {
		raise(SIGSEGV);
		too_early = received;
	}
	list_unlock();
}

static void *does_nothing(void *arg)
{
	return arg;
}

static int fork_and_send_before_its_end(void)
{
	struct sigaction action = { .sa_handler = on_sent };
	pthread_t thread;
	pid_t child;

	take_ballast();
	pthread_create(&thread, NULL, does_nothing, NULL);
	pthread_join(thread, NULL);
	sigaction(SIGSEGV, &action, NULL);
	atomic_store(&raise_before_unlock, true);
	child = fork();
	if (child == 0)
		_exit(0);
	if (exit_of(child) != 0)
		return 4;
	if (atomic_load(&raise_before_unlock))
		return 5;
	return too_early == 0 && received == 1 ? 0 : 6;
}

/* The program's action is back by then, but not yet the locks that its handler may need. */
TEST(a_signal_that_is_sent_waits_for_the_last_lock_of_fork)
{
	if (!under_ashlar())
		SKIP("it is the library's fork that takes the lock of stdio's list by its name");
	EXPECT_EQ(ends(fork_and_send_before_its_end), 0);
}

/* fork of many threads at once, with streams in use all the while. */
static void *use_streams(void *path)
{
	while (!atomic_load(&stop)) {
		FILE *f = fopen(path, "r");
		char *line = NULL;
		size_t room = 0;

		if (f == NULL || getline(&line, &room, f) < 0)
			_exit(60);
		free(line);
		fclose(f);
	}
	return NULL;
}

static void *forks(void *unused)
{
	(void)unused;
	for (int round = 0; round < 6; round++) {
		const pid_t child = fork();

		if (child == 0) {
			FILE *f = fopen("/proc/self/stat", "r");
			char word[32] = "";
			const bool good = f != NULL && fscanf(f, "%31s", word) == 1 && fclose(f) == 0;

			_exit(good && atoi(word) == getpid() && ballast_is_whole() ? 0 : 3);
		}
		if (exit_of(child) != 0)
			_exit(61);
	}
	return NULL;
}

static int fork_from_many_threads_with_streams(void)
{
	enum { FORKERS = 3, READERS = 3 };
	pthread_t threads[FORKERS + READERS];

	take_ballast();
	atomic_store(&stop, false);
	for (int i = 0; i < FORKERS + READERS; i++)
		pthread_create(&threads[i], NULL, i < FORKERS ? forks : use_streams, "/proc/self/status");
	for (int i = 0; i < FORKERS + READERS; i++) {
		if (i == FORKERS)
			atomic_store(&stop, true);
		pthread_join(threads[i], NULL);
	}
	return ballast_is_whole() ? 0 : 2;
}

TEST(many_threads_fork_while_others_use_streams)
{
	EXPECT_EQ(ends(fork_from_many_threads_with_streams), 0);
}

/* A coroutine whose stack is a block from malloc: the child comes back from fork into memory that it does not have. */
static ucontext_t main_context, coroutine;
static int coroutine_result;

static void forks_on_this_stack(void)
{
	volatile int local = 77;
	const pid_t child = fork();

	if (child == 0)
		_exit(local == 77 && ballast_is_whole() ? 0 : 3);
	local++;
	coroutine_result = exit_of(child) == 0 && local == 78 ? 0 : 2;
}

static int fork_on_a_stack_from_malloc(void)
{
	take_ballast();
	getcontext(&coroutine);
	coroutine.uc_stack.ss_sp = malloc(STACK_BYTES);
	coroutine.uc_stack.ss_size = STACK_BYTES;
	coroutine.uc_link = &main_context;
	makecontext(&coroutine, forks_on_this_stack, 0);
	coroutine_result = 1;
	swapcontext(&main_context, &coroutine);
	return coroutine_result;
}

TEST(fork_on_a_stack_that_malloc_gave)
{
	EXPECT_EQ(ends(fork_on_a_stack_from_malloc), 0);
}

TEST(the_ballast_is_hugetlb_where_the_test_says_so)
{
	unsigned long bytes = 0;
	char line[256];
	FILE *f;

	if (!under_hugetlb())
		SKIP("ordinary pages");
	take_ballast();
	f = fopen("/proc/self/status", "r");
	EXPECT(f != NULL);
	while (fgets(line, sizeof(line), f) != NULL)
		(void)sscanf(line, "HugetlbPages: %lu kB", &bytes);
	fclose(f);
	free_ballast();
	EXPECT_GT(bytes, 0);
}
