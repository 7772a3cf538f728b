/* SPDX-License-Identifier: MIT */
/* glibc's windows into malloc tell of this heap, and of what the program does to it. */
#include "harness/test.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

#include "common.h"

enum { N = 2000 };
static void *held[N];

static size_t hold(size_t size, int n)
{
	for (int i = 0; i < n; i++) {
		held[i] = malloc(size);
		memset(held[i], 1, size);
	}
	return size * (size_t)n;
}

static void let_go(int n)
{
	for (int i = 0; i < n; i++) {
		free(held[i]);
		held[i] = NULL;
	}
}

static size_t in_use(void)
{
	const struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

TEST(mallinfo2_grows_with_every_allocation)
{
	static const size_t sizes[] = { 16, 100, 160, 800, 3000 };

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		for (int i = 0; i < 100; i++) {
			const size_t before = mallinfo2().uordblks;

			held[i] = malloc(sizes[s]);
			EXPECT_GE(mallinfo2().uordblks, before + sizes[s]);
		}
		for (int i = 0; i < 100; i++) {
			const size_t before = mallinfo2().uordblks;

			free(held[i]);
			/* glibc counts its fast and per-thread bins as in use. */
			if (under_ashlar())
				EXPECT_LE(mallinfo2().uordblks, before - sizes[s]);
		}
	}
}

TEST(in_use_follows_large_objects_both_ways)
{
	static const size_t sizes[] = { 200000, 3 << 20, 20 << 20 };

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		const size_t before = in_use();

		hold(sizes[s], 3);
		EXPECT_GE(in_use(), before + 3 * sizes[s]);
		EXPECT_LE(in_use(), before + 3 * sizes[s] + (1u << 20));
		let_go(3);
		EXPECT_LE(in_use(), before + 1000);
	}
}

TEST(mallinfo2_adds_up)
{
	struct mallinfo2 m;

	hold(1000, N);
	m = mallinfo2();
	EXPECT_GT(m.arena, 0);
	EXPECT_GE(m.arena, m.uordblks);
	EXPECT_LE(m.uordblks + m.fordblks, m.arena + m.hblkhd + (8u << 20));
	EXPECT_GE(m.fordblks, m.keepcost > m.arena ? 0 : m.keepcost);
	let_go(N);
}

TEST(mallinfo_is_mallinfo2_in_ints)
{
	struct mallinfo2 m2;
	struct mallinfo m;

	m2 = mallinfo2();
	m = mallinfo();
	EXPECT_EQ(m.uordblks, (int)m2.uordblks);
	EXPECT_EQ(m.arena, (int)m2.arena);
	EXPECT_EQ(m.hblkhd, (int)m2.hblkhd);
	EXPECT_EQ(m.keepcost, (int)m2.keepcost);
}

static size_t resident_bytes(void)
{
	long pages = 0;
	FILE *statm = fopen("/proc/self/statm", "r");

	EXPECT_EQ(fscanf(statm, "%*d %ld", &pages), 1);
	fclose(statm);
	return (size_t)pages << 12;
}

TEST(trim_says_whether_it_released)
{
	size_t resident[3];

	malloc_trim(0);
	malloc_trim(0);
	EXPECT_EQ(malloc_trim(0), 0);
	for (int i = 0; i < 3; i++) {
		if (i == 1)
			hold(20000, N);
		if (i == 2) {
			let_go(N);
			EXPECT_EQ(malloc_trim(0), 1);
		}
		resident[i] = resident_bytes();
	}
	printf("# resident before, full, trimmed: %zu %zu %zu KiB\n", resident[0] >> 10, resident[1] >> 10,
	       resident[2] >> 10);
	if (under_hugetlb())
		return; /* hugetlb pages do not count as resident */
	EXPECT_GE(resident[1], resident[0] + 20000ul * N / 10 * 9);
	EXPECT_LE(resident[2], resident[0] + (6u << 20));
}

TEST(trim_gives_back_what_lies_between_survivors)
{
	enum { NR = 40000, SIZE = 1000, KEEP_EVERY = 64 };
	static unsigned char *block[NR];
	size_t full, trimmed;

	for (unsigned i = 0; i < NR; i++) {
		block[i] = malloc(SIZE);
		memset(block[i], (int)(i / KEEP_EVERY % 251), SIZE);
	}
	full = resident_bytes();
	for (unsigned i = 0; i < NR; i++)
		if (i % KEEP_EVERY != 0)
			free(block[i]);
	EXPECT(malloc_trim(0) == 1 || under_hugetlb());
	trimmed = resident_bytes();
	printf("# resident full, trimmed: %zu %zu KiB\n", full >> 10, trimmed >> 10);
	for (unsigned i = 0; i < NR; i += KEEP_EVERY) {
		for (unsigned k = 0; k < SIZE; k++)
			EXPECT_EQ(block[i][k], i / KEEP_EVERY % 251);
		free(block[i]);
	}
	/* A page in sixteen of each slab has a survivor. */
	if (!under_hugetlb())
		EXPECT_LE(trimmed, full - (size_t)NR * SIZE / 2);
}

TEST(mallopt_accepts_what_glibc_documents)
{
	EXPECT_EQ(mallopt(M_CHECK_ACTION, 1), 1);
	EXPECT_EQ(mallopt(M_MMAP_MAX, 64 * 1024), 1);
	EXPECT_EQ(mallopt(M_MMAP_THRESHOLD, 64 * 1024), 1);
	EXPECT_EQ(mallopt(M_MXFAST, 0), 1);
	EXPECT_EQ(mallopt(M_MXFAST, 100000), 0);
	EXPECT_EQ(mallopt(M_PERTURB, 0), 1);
	EXPECT_EQ(mallopt(M_TOP_PAD, 64 * 1024), 1);
	EXPECT_EQ(mallopt(M_TRIM_THRESHOLD, 128 * 1024), 1);
	EXPECT_EQ(mallopt(M_ARENA_MAX, 2), 1);
	EXPECT_EQ(mallopt(M_ARENA_TEST, 2), 1);
	if (under_ashlar())
		EXPECT_EQ(mallopt(4711, 1), 0);
}

/* Runs body with file descriptor 2 going to a pipe; what arrived. */
static char *stderr_of(void (*body)(void))
{
	static char text[65536];
	const int saved = dup(2);
	int ends[2];
	ssize_t n;

	EXPECT_EQ(pipe(ends), 0);
	fcntl(ends[1], F_SETPIPE_SZ, (int)sizeof(text));
	dup2(ends[1], 2);
	close(ends[1]);
	body();
	fflush(stderr);
	dup2(saved, 2);
	close(saved);
	n = read(ends[0], text, sizeof(text) - 1);
	close(ends[0]);
	text[n < 0 ? 0 : n] = 0;
	return text;
}

TEST(malloc_stats_prints_glibcs_lines)
{
	static const char *const lines[] = { "Arena 0:\n", "system bytes     = ", "in use bytes     = ",
					     "Total (incl. mmap):\n", "max mmap regions = ", "max mmap bytes   = " };
	const char *text;
	size_t used = 0;

	hold(3000, 1000);
	text = stderr_of(malloc_stats);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (strstr(text, lines[i]) == NULL)
			TEST_FAIL("no \"%s\" in:\n%s", lines[i], text);
	EXPECT_EQ(sscanf(strstr(text, "in use bytes"), "in use bytes = %zu", &used), 1);
	EXPECT_GE(used, 3000 * 1000);
	let_go(1000);
}

static char info[1 << 20];

static const char *malloc_info_text(void)
{
	FILE *f = fmemopen(info, sizeof(info), "w");

	EXPECT(f != NULL);
	EXPECT_EQ(malloc_info(0, f), 0);
	fclose(f);
	return info;
}

/* Well-formed as far as tags go: every element is closed in its order, every attribute quoted. */
static void expect_balanced(const char *text)
{
	char stack[16][32];
	int depth = 0;
	unsigned elements = 0;

	for (const char *p = strchr(text, '<'); p != NULL; p = strchr(p + 1, '<')) {
		const char *end = strchr(p, '>');
		char name[32];

		EXPECT(end != NULL);
		EXPECT_EQ(sscanf(p + 1 + (p[1] == '/'), "%31[a-z]", name), 1);
		if (p[1] == '/') {
			EXPECT_GT(depth, 0);
			EXPECT_STREQ(stack[--depth], name);
		} else if (end[-1] != '/') {
			EXPECT_LT(depth, 16);
			strcpy(stack[depth++], name);
		}
		elements++;
	}
	EXPECT_EQ(depth, 0);
	EXPECT_GE(elements, 10);
}

TEST(malloc_info_has_glibcs_shape)
{
	static const char *const parts[] = {
		"<malloc version=\"1\">", "<heap nr=\"0\">", "<sizes>", "</sizes>", "<total type=\"fast\" count=\"",
		"<total type=\"rest\" count=\"", "<system type=\"current\" size=\"", "<system type=\"max\" size=\"",
		"<aspace type=\"total\" size=\"", "<aspace type=\"mprotect\" size=\"", "</heap>",
		"<total type=\"mmap\" count=\"", "</malloc>",
	};
	const char *text = malloc_info_text();

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strstr(text, parts[i]) == NULL)
			TEST_FAIL("no %s in:\n%s", parts[i], text);
	EXPECT_EQ(strncmp(text, "<malloc version=\"1\">", 20), 0);
	expect_balanced(text);
}

TEST(malloc_info_grows_with_the_heap)
{
	unsigned long long before = 0, after = 0;
	const char *last;

	malloc_trim(0);
	for (int i = 0; i < 2; i++) {
		const char *text;

		if (i == 1)
			hold(30000, N);
		text = malloc_info_text();
		last = strrchr(text, 'c'); /* the process's totals are the last ones */
		while (last > text && strncmp(last, "current\" size=\"", 15) != 0)
			last--;
		EXPECT_EQ(sscanf(last, "current\" size=\"%llu", i == 0 ? &before : &after), 1);
	}
	EXPECT_GE(after, before + 30000ull * N / 10 * 9);
	let_go(N);
}

TEST(malloc_info_refuses_options)
{
	EXPECT_EQ(malloc_info(1, stdout), EINVAL);
}

/* A reader of a stream that allocates while it writes, in many threads at once. */
static void *look(void *unused)
{
	for (int i = 0; i < 200; i++) {
		FILE *f = fopen("/dev/null", "w");

		malloc_info(0, f);
		fclose(f);
		if (mallinfo2().arena == 0)
			return f;
		free(malloc(5000));
	}
	return NULL;
}

TEST(windows_open_while_threads_allocate)
{
	pthread_t threads[4];
	void *wrong;

	for (int i = 0; i < 4; i++)
		EXPECT_EQ(pthread_create(&threads[i], NULL, look, NULL), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], &wrong);
		EXPECT(wrong == NULL);
	}
}
