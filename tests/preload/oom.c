/* SPDX-License-Identifier: MIT */
/* Out of memory, under an address-space limit: an answer, never a crash, and all is well when memory is back. */
#include "harness/test.h"

#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

/* Bytes of address space this process has. */
static size_t address_space(void)
{
	FILE *statm = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	EXPECT(statm != NULL);
	EXPECT_EQ(fscanf(statm, "%lu", &pages), 1);
	fclose(statm);
	return pages << 12;
}

/* Run body in a child limited to `more` bytes of address space beyond what it has; its status. */
static int limited(size_t more, int (*body)(void))
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		const size_t limit = address_space() + more;
		const struct rlimit rlimit = { limit, limit };

		if (setrlimit(RLIMIT_AS, &rlimit) != 0)
			_exit(50);
		alarm(60);
		_exit(body());
	}
	if (waitpid(child, &status, 0) != child)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

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

/* The arenas' address space is reserved beforehand: RLIMIT_AS stops only what is reserved, so a data limit does it. */
static int limit_data_and(int (*body)(void))
{
	const struct rlimit rlimit = { 96u << 20, 96u << 20 };

	return setrlimit(RLIMIT_DATA, &rlimit) != 0 ? 51 : body();
}

static int data_small(void)
{
	return limit_data_and(exhaust_small);
}

static int data_medium(void)
{
	return limit_data_and(exhaust_medium);
}

static int data_large(void)
{
	return limit_data_and(exhaust_large);
}

TEST(a_data_limit_ends_in_enomem)
{
	EXPECT_EQ(limited((size_t)1 << 40, data_small), 0);
	EXPECT_EQ(limited((size_t)1 << 40, data_medium), 0);
	EXPECT_EQ(limited((size_t)1 << 40, data_large), 0);
}

/* The limit is there before the process starts, as under ulimit -v: whatever is reserved has to fit. */
static int run_limited(size_t bytes, const char *what)
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		const struct rlimit rlimit = { bytes, bytes };

		if (setrlimit(RLIMIT_AS, &rlimit) != 0)
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
	alarm(60);
	_exit(what[0] == 's' ? exhaust_small() : what[0] == 'm' ? exhaust_medium() : exhaust_large());
}

TEST(an_address_space_limit_ends_in_enomem)
{
	static const size_t limits[] = { 64u << 20, 150u << 20, 400u << 20 };

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		EXPECT_EQ(run_limited(limits[i], "small"), 0);
		EXPECT_EQ(run_limited(limits[i], "medium"), 0);
		EXPECT_EQ(run_limited(limits[i], "large"), 0);
	}
}
