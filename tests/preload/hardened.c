/* SPDX-License-Identifier: MIT */
/* Misuse of memory that only the hardening layers see: run with ASHLAR_CONF=poison:yes,guard:64K. */
#include "harness/test.h"

#include <malloc.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

#define BIG ((size_t)200 << 10) /* 50 frames: 14 are left of four times 64 KiB */

static char said[1024];
static char *victim;

/* How fn ends in a child, as waitpid(2) says it; said: what it wrote to standard error. */
static int ends(void (*fn)(void))
{
	int status = -1, pipe_of[2];
	size_t used = 0;
	ssize_t n;
	pid_t child;

	EXPECT_EQ(pipe(pipe_of), 0);
	victim = malloc(BIG);
	EXPECT(victim != NULL);
	memset(victim, 1, BIG);
	child = fork();
	if (child == 0) {
		dup2(pipe_of[1], 2);
		close(pipe_of[1]);
		fn();
		_exit(0);
	}
	close(pipe_of[1]);
	while (used < sizeof(said) - 1 && (n = read(pipe_of[0], said + used, sizeof(said) - 1 - used)) > 0)
		used += (size_t)n;
	said[used] = '\0';
	close(pipe_of[0]);
	EXPECT_EQ(waitpid(child, &status, 0), child);
	free(victim);
	return status;
}

static void write_after_free(void)
{
	char *p = victim;

	free(p);
	((char *)OPAQUE(p))[3 * 4096 + 77] = 'x';
	for (int i = 0; i < 100; i++) {
		p = malloc(BIG);
		memset(p, 2, BIG);
	}
}

TEST(a_write_to_a_freed_block_is_named_at_its_next_allocation)
{
	char at[64];
	int status;

	if (!under_ashlar())
		SKIP("only the preload has these options");
	status = ends(write_after_free);
	EXPECT(WIFSIGNALED(status));
	snprintf(at, sizeof(at), "freed memory was written: at %p ", (void *)(victim + 3 * 4096));
	if (strstr(said, at) == NULL || strstr(said, ", 0x4d, 0x4d") == NULL)
		TEST_FAIL("expected \"%s\", got \"%s\"", at, said);
}

static void overrun(void)
{
	victim[malloc_usable_size(victim) - 1] = 1;
	((char *)OPAQUE(victim))[malloc_usable_size(victim)] = 1;
}

TEST(a_write_past_a_block_faults)
{
	int status;

	if (!under_ashlar())
		SKIP("only the preload has these options");
	status = ends(overrun);
	EXPECT(WIFSIGNALED(status));
	EXPECT_EQ(WTERMSIG(status), SIGSEGV);
}

static void use_well(void)
{
	for (unsigned i = 0; i < 3000; i++) {
		const size_t size = (i * 7919u % 120 + 1) << 12;
		unsigned char *p = i % 2 == 0 ? malloc(size) : calloc(1, size), *q;

		if (i % 2 == 1 && (p[0] != 0 || p[size - 1] != 0))
			_exit(1);
		memset(p, (int)i, size);
		q = realloc(p, size + 5000);
		if (q[0] != (unsigned char)i || q[size - 1] != (unsigned char)i)
			_exit(2);
		q = realloc(q, size / 2);
		free(q);
	}
}

/* Blocks shrink and grow into their guards' places, and zeroed memory is zero. */
TEST(good_programs_notice_nothing)
{
	EXPECT_EQ(ends(use_well), 0);
	EXPECT_STREQ(said, "");
}

/* Only with init_on_alloc: nothing of a block that is freed is in the one that takes its place. */
TEST(a_large_block_reads_as_zero)
{
	const char *conf = getenv("ASHLAR_CONF");

	if (!under_ashlar() || conf == NULL || strstr(conf, "init_on_alloc:yes") == NULL)
		SKIP("only the preload has this option");
	for (unsigned round = 0; round < 50; round++) {
		const size_t size = BIG + (size_t)round * 8192;
		unsigned char *p = malloc(size);

		EXPECT(p != NULL);
		for (size_t i = 0; i < size; i++) {
			if (p[i] != 0)
				TEST_FAIL("byte %zu of %zu is %u in round %u", i, size, p[i], round);
		}
		memset(p, 0xa5, malloc_usable_size(p));
		free(p);
	}
}
