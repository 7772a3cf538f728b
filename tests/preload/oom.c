/* SPDX-License-Identifier: MIT */
/* Out of memory, under an address-space limit: an answer, never a crash, and all is well when memory is back. */
#include "harness/test.h"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

enum { MOST = 1 << 20 };
static void *held[MOST];

/* Allocates until it cannot, checks the answer, frees all, and can allocate again. */
static int exhaust(size_t size, bool touch)
{
	int n = 0;

	errno = 0;
	while (n < MOST && (held[n] = malloc(size)) != NULL) {
		if (touch)
			memset(held[n], 0x11, size);
		n++;
	}
	if (n == MOST)
		return 2;
	if (errno != ENOMEM)
		return 3;
	errno = 0;
	if (calloc(1, size) != NULL || errno != ENOMEM)
		return 4;
	errno = 0;
	if (n > 0 && (realloc(held[0], size * 4 + (64u << 20)) != NULL || errno != ENOMEM))
		return 5;
	if (touch && n > 0 && *(unsigned char *)held[0] != 0x11)
		return 6;
	for (int i = 0; i < n; i++)
		free(held[i]);
	held[0] = malloc(size);
	if (held[0] == NULL)
		return 7;
	memset(held[0], 1, size);
	free(held[0]);
	return n == 0 ? 8 : 0;
}

static int exhaust_small(void)
{
	return exhaust(400, true);
}

static int exhaust_medium(void)
{
	return exhaust(20000, true);
}

static int exhaust_large(void)
{
	return exhaust(3 << 20, true);
}

/* The limit is there before the process starts, as under ulimit -v or -d: whatever is reserved has to fit. */
static int run_limited(int resource, size_t bytes, const char *what)
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		const struct rlimit rlimit = { bytes, bytes };

		if (setrlimit(resource, &rlimit) != 0)
			_exit(50);
		setenv("ASH_TEST_EXHAUST", what, 1);
		execl("/proc/self/exe", "oom", (char *)NULL);
		_exit(52);
	}
	if (waitpid(child, &status, 0) != child)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

__attribute__((constructor(101))) static void child_of_run_limited(void)
{
	const char *what = getenv("ASH_TEST_EXHAUST");

	if (what == NULL)
		return;
	alarm(HANG_SECONDS);
	_exit(what[0] == 's' ? exhaust_small() : what[0] == 'm' ? exhaust_medium() : exhaust_large());
}

static void exhaust_under(int resource, size_t bytes)
{
	static const char *const what[] = { "small", "medium", "large" };

	for (int i = 0; i < 3; i++) {
		const int status = run_limited(resource, bytes, what[i]);

		if (status != 0)
			TEST_FAIL("%s objects under a limit of %zu MiB: status %d", what[i], bytes >> 20, status);
	}
}

TEST(an_address_space_limit_ends_in_enomem)
{
	/* A large object finds no two free pageblocks in the half of it that is not for hugetlb. */
	if (!under_hugetlb())
		exhaust_under(RLIMIT_AS, 32u << 20);
	exhaust_under(RLIMIT_AS, 64u << 20);
	exhaust_under(RLIMIT_AS, 150u << 20);
	exhaust_under(RLIMIT_AS, 400u << 20);
}

TEST(a_data_limit_ends_in_enomem)
{
	exhaust_under(RLIMIT_DATA, 48u << 20);
	exhaust_under(RLIMIT_DATA, 300u << 20);
}

static void *nothing(void *arg)
{
	return arg;
}

/* Bytes that are mapped and can be accessed: what is only reserved is left out. */
static size_t mapped(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long from, to;
	char line[512], access;
	size_t n = 0;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%lx-%lx %c", &from, &to, &access) == 3 && access == 'r')
			n += to - from;
	}
	if (f != NULL)
		fclose(f);
	return n;
}

static int by_setrlimit(const struct rlimit *limit)
{
	return setrlimit(RLIMIT_AS, limit);
}

static int by_setrlimit64(const struct rlimit *limit)
{
	const struct rlimit64 limit64 = { limit->rlim_cur, limit->rlim_max };

	return setrlimit64(RLIMIT_AS, &limit64);
}

static int by_prlimit(const struct rlimit *limit)
{
	struct rlimit old;

	return prlimit(0, RLIMIT_AS, limit, &old) != 0 || old.rlim_cur != RLIM_INFINITY;
}

static int by_prlimit64(const struct rlimit *limit)
{
	const struct rlimit64 limit64 = { limit->rlim_cur, limit->rlim_max };

	return prlimit64(getpid(), RLIMIT_AS, &limit64, NULL);
}

/* In a child: with a thread and a library of its own, and no more memory than the limit. */
static int live_under_a_limit_of_ones_own(int (*set)(const struct rlimit *))
{
	const size_t bytes = mapped() + (512u << 20);
	const struct rlimit rlimit = { bytes, RLIM_INFINITY };
	pthread_t t;
	char *p;

	errno = E2BIG;
	if (set(&rlimit) != 0 || errno != E2BIG)
		return 1;
	if (pthread_create(&t, NULL, nothing, NULL) != 0 || pthread_join(t, NULL) != 0)
		return 2;
	if (dlopen(getenv("ASH_TEST_PLUGIN"), RTLD_NOW) == NULL)
		return 3;
	p = OPAQUE(malloc(100u << 20));
	if (p == NULL)
		return 4;
	memset(p, 1, 100u << 20);
	errno = 0;
	if (OPAQUE(malloc(1u << 30)) != NULL || errno != ENOMEM)
		return 5;
	free(p);
	return exhaust(3 << 20, true);
}

TEST(a_limit_that_a_program_sets_itself_leaves_room_for_what_it_maps)
{
	int (*const ways[])(const struct rlimit *) = { by_setrlimit, by_setrlimit64, by_prlimit, by_prlimit64 };

	if (getenv("ASH_TEST_PLUGIN") == NULL)
		SKIP("no library to load");
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		int status = -1;
		pid_t child;

		fflush(stdout);
		child = fork();
		if (child == 0)
			_exit(live_under_a_limit_of_ones_own(ways[i]));
		EXPECT_EQ(waitpid(child, &status, 0), child);
		EXPECT_EQ(status, 0);
	}
}

TEST(limits_are_refused_as_the_kernel_does)
{
	const struct rlimit crossed = { 2, 1 }, fine = { RLIM_INFINITY, RLIM_INFINITY };
	struct rlimit old;

	errno = 0;
	EXPECT(setrlimit(RLIMIT_AS, &crossed) == -1 && errno == EINVAL);
	errno = 0;
	EXPECT(setrlimit((__rlimit_resource_t)1000, &fine) == -1 && errno == EINVAL);
	errno = 0;
	EXPECT(prlimit(0, RLIMIT_AS, OPAQUE((struct rlimit *)1), NULL) == -1 && errno == EFAULT);
	errno = 0;
	EXPECT(prlimit(-1, RLIMIT_AS, NULL, &old) == -1 && errno == ESRCH);
	EXPECT_EQ(prlimit(0, RLIMIT_AS, NULL, &old), 0);
}

/* Of others a limit is not ours, and a child of vfork has its parent's memory. */
TEST(a_limit_of_another_process_takes_nothing_from_this_one)
{
	const struct rlimit limit = { 64u << 20, RLIM_INFINITY };
	int status = -1;
	pid_t child;
	char *p;

	fflush(stdout);
	child = fork();
	if (child == 0)
		_exit(pause());
	EXPECT_EQ(prlimit(child, RLIMIT_AS, &limit, NULL), 0);
	EXPECT_EQ(kill(child, SIGKILL), 0);
	EXPECT_EQ(waitpid(child, &status, 0), child);
	child = vfork();
	if (child == 0)
		_exit(setrlimit(RLIMIT_AS, &limit) != 0);
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0);
	p = OPAQUE(malloc(512u << 20));
	EXPECT(p != NULL);
	free(p);
}
