/* SPDX-License-Identifier: MIT */
/* Broken frees: what can be seen ends the program with one line that names it and SIGABRT, never with anything else. */
#include "harness/test.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

/* How fn ends in a child, as waitpid(2) says it, and what it wrote to standard error. */
static int ends(void (*fn)(void), char *said, size_t size)
{
	int status = -1, pipe_of[2];
	size_t used = 0;
	ssize_t n;
	pid_t child;

	EXPECT_EQ(pipe(pipe_of), 0);
	child = fork();
	if (child == 0) {
		dup2(pipe_of[1], 2);
		close(pipe_of[1]);
		fn();
		_exit(0);
	}
	close(pipe_of[1]);
	while (used < size - 1 && (n = read(pipe_of[0], said + used, size - 1 - used)) > 0)
		used += (size_t)n;
	said[used] = '\0';
	close(pipe_of[0]);
	EXPECT_EQ(waitpid(child, &status, 0), child);
	return status;
}

static void expect_abort(void (*fn)(void), const char *line)
{
	char said[512];
	const int status = ends(fn, said, sizeof(said));

	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
		TEST_FAIL("\"%s\": status %#x, said \"%s\"", line, (unsigned)status, said);
	if (under_ashlar() && (strncmp(said, "ashlar: ", 8) != 0 || strstr(said, line) == NULL))
		TEST_FAIL("expected \"%s\", got \"%s\"", line, said);
}

static void small_twice(void)
{
	void *p = malloc(40);

	free(p);
	free(OPAQUE(p));
}

static void *free_second_twice(void *objects)
{
	void **p = objects;

	free(p[0]);
	free(p[1]);
	free(OPAQUE(p[1]));
	return NULL;
}

static void small_twice_in_another_thread(void)
{
	void *p[] = { malloc(40), malloc(40) };
	pthread_t thread;

	pthread_create(&thread, NULL, free_second_twice, p);
	pthread_join(thread, NULL);
	/* Objects come home, and are looked at, when there is need of them. */
	malloc_trim(0);
}

static void *free_and_write(void *objects)
{
	uintptr_t **p = objects;

	free(p[0]);
	free(p[1]);
	/* Behind the two links of a free object; that of the second it was free to find is there. */
	((uintptr_t *)OPAQUE(p[0]))[2] = 0x6b6b6b6b6b6b6b60;
	return NULL;
}

static void written_to_on_its_way_home(void)
{
	void *p[] = { malloc(100), malloc(100) };
	pthread_t thread;

	pthread_create(&thread, NULL, free_and_write, p);
	pthread_join(thread, NULL);
	malloc_trim(0);
}

static void small_twice_and_an_end(void)
{
	/* So large that few are ever made, and more free ones than that stand out. */
	void *p = malloc(7000), *q = malloc(7000);

	free(p);
	free(q);
	free(OPAQUE(p));
	malloc_trim(0);
}

static void large_twice(void)
{
	void *p = malloc(3 << 20);

	free(p);
	free(OPAQUE(p));
}

static void inside_large(void)
{
	char *p = malloc(3 << 20);

	free(OPAQUE(p) + 8192);
}

/* Of ashlar's address space, and far from all that ever was in use. */
static void *far_away(void)
{
	return (char *)malloc(40) + (20ul << 30);
}

static void wild_free(void)
{
	free(OPAQUE(far_away()));
}

static void wild_realloc(void)
{
	if (realloc(OPAQUE(far_away()), 100) != NULL)
		_exit(3);
}

TEST(a_double_free_at_once_is_seen_at_once)
{
	expect_abort(small_twice, "double free: 0x");
}

TEST(a_double_free_of_a_large_block_is_seen)
{
	if (!under_ashlar())
		SKIP("glibc has unmapped it: a crash of another kind");
	expect_abort(large_twice, "free of an address that is not allocated: 0x");
}

TEST(other_double_frees_that_ashlar_sees)
{
	if (!under_ashlar())
		SKIP("of ashlar's own making");
	expect_abort(small_twice_in_another_thread, "double free: 0x");
	expect_abort(small_twice_and_an_end, "double free: 0x");
}

TEST(a_write_after_another_thread_s_free_that_ashlar_sees)
{
	if (!under_ashlar())
		SKIP("of ashlar's own making");
	expect_abort(written_to_on_its_way_home, "was written to after it was freed");
}

TEST(frees_of_what_was_never_handed_out_are_seen)
{
	if (!under_ashlar())
		SKIP("of ashlar's own making");
	expect_abort(inside_large, "free of an address that is not allocated: 0x");
	expect_abort(wild_free, "free of an address that is not allocated: 0x");
	expect_abort(wild_realloc, "realloc of an address that is not allocated: 0x");
}

static void nothing_wrong(void)
{
	void *p = malloc(40);

	free(p);
	p = malloc(40);
	free(p);
	EXPECT_EQ(malloc_usable_size(NULL), 0);
}

TEST(what_is_right_is_not_taken_for_wrong)
{
	char said[512];

	EXPECT_EQ(ends(nothing_wrong, said, sizeof(said)), 0);
	EXPECT_STREQ(said, "");
	/* Size unknown, as of anything that is not a block. */
	if (under_ashlar())
		EXPECT_EQ(malloc_usable_size(OPAQUE(far_away())), 0);
}
