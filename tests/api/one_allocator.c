/* SPDX-License-Identifier: MIT */
/*
 * A program that is linked with libashlar and calls malloc too. Under the preload both are one allocator; without it
 * they are two, and ashlar's functions still take every pointer.
 */
#include "harness/test.h"

#include <ashlar/ashlar.h>
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>

static bool preloaded(void)
{
	const char *preload = getenv("LD_PRELOAD");

	return preload != NULL && strstr(preload, "ashlar-preload") != NULL;
}

static bool is_ours(const void *p)
{
	struct ash_page_info info;

	return ash_page_info_read(p, &info, sizeof(info)) == 0;
}

TEST(under_the_preload_malloc_and_ash_malloc_share_a_reservation)
{
	void *a = ash_malloc(100), *m = malloc(100);
	struct ash_page_info ai, mi;
	struct ash_arena_info arena;

	if (!preloaded())
		SKIP("no preload");
	EXPECT_EQ(ash_page_info_read(a, &ai, sizeof(ai)), 0);
	EXPECT_EQ(ash_page_info_read(m, &mi, sizeof(mi)), 0);
	EXPECT_EQ(ai.arena, mi.arena);
	EXPECT_EQ(ash_arena_info_read(ai.arena, &arena, sizeof(arena)), 0);
	EXPECT_GE((uintptr_t)a, arena.start);
	EXPECT_LT((uintptr_t)a - arena.start, arena.span_bytes);
	EXPECT_LT((uintptr_t)m - arena.start, arena.span_bytes);
	free(a);
	ash_free(m);
}

/* Proof by reuse: what one function frees, the other hands out. */
TEST(under_the_preload_there_is_one_cache)
{
	void *p;

	if (!preloaded())
		SKIP("no preload");
	p = ash_malloc(200);
	free(p);
	EXPECT_EQ((intptr_t)malloc(200), (intptr_t)p);
	p = malloc(300);
	ash_free(p);
	EXPECT_EQ((intptr_t)ash_malloc(300), (intptr_t)p);
}

TEST(under_the_preload_the_library_is_not_the_one_that_answers)
{
	Dl_info info;

	EXPECT(dladdr((void *)(uintptr_t)ash_malloc, &info) != 0);
	if (preloaded())
		EXPECT(strstr(info.dli_fname, "libashlar-preload.so") != NULL);
	else
		EXPECT(strstr(info.dli_fname, "libashlar-preload.so") == NULL);
}

TEST(without_the_preload_malloc_is_the_c_librarys)
{
	void *a = ash_malloc(100), *m = malloc(100);

	if (preloaded())
		SKIP("preloaded");
	EXPECT(is_ours(a));
	EXPECT(!is_ours(m));
	ash_free(a);
	free(m);
}

TEST(ash_functions_take_pointers_of_malloc)
{
	for (size_t size = 1; size < (4u << 20); size = size * 5 + 3) {
		char *p = malloc(size);

		memset(p, 0x42, size);
		EXPECT_GE(ash_usable_size(p), size);
		p = ash_realloc(p, size * 2);
		EXPECT(p != NULL);
		EXPECT_EQ(p[0], 0x42);
		EXPECT_EQ(p[size - 1], 0x42);
		ash_free(p);
		ash_free(strdup("text"));
	}
}

TEST(the_malloc_shaped_functions_work)
{
	static const size_t sizes[] = { 0, 1, 100, 5000, 100000, 3 << 20 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		unsigned char *p = ash_malloc(sizes[i]), *z = ash_calloc(2, sizes[i]),
			      *a = ash_aligned_alloc(256, sizes[i]);

		EXPECT(p != NULL && z != NULL && a != NULL);
		EXPECT(is_ours(p) && is_ours(z) && is_ours(a));
		EXPECT_EQ((uintptr_t)a % 256, 0);
		for (size_t j = 0; j < 2 * sizes[i]; j++)
			EXPECT_EQ(z[j], 0);
		EXPECT_GE(ash_usable_size(p), sizes[i]);
		memset(p, 1, ash_usable_size(p));
		ash_free_sized(p, sizes[i]);
		ash_free(z);
		ash_free(a);
	}
	ash_free(NULL);
	EXPECT_EQ(ash_usable_size(NULL), 0);
	errno = 0;
	EXPECT(ash_malloc(SIZE_MAX / 2 + 1) == NULL);
	EXPECT_EQ(errno, ENOMEM);
	errno = 0;
	EXPECT(ash_aligned_alloc(24, 10) == NULL);
	EXPECT_EQ(errno, EINVAL);
}

TEST(the_version_is_that_of_the_headers)
{
	char text[32];

	snprintf(text, sizeof(text), "%d.%d.%d", ASH_VERSION_MAJOR, ASH_VERSION_MINOR, ASH_VERSION_PATCH);
	EXPECT_STREQ(ash_version_string(), text);
	EXPECT_EQ(ash_version(), ASH_VERSION_MAJOR * 10000 + ASH_VERSION_MINOR * 100 + ASH_VERSION_PATCH);
}
