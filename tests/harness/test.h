/* SPDX-License-Identifier: MIT */
/*
 * A small C test harness: tests register themselves, run in source order, print TAP-like lines and a closing line
 *
 *      <program>: N passed, N failed, N skipped
 *
 * Exit status: 0 all passed, 77 nothing ran but skips (reason printed), 1 otherwise (also when no test was found).
 * Arguments: substrings of test names select tests; --list lists them; --seed N sets test_seed (printed when set by
 * chance). A failed EXPECT ends its test (longjmp) after printing both sides.
 */
#ifndef ASH_TESTS_HARNESS_TEST_H
#define ASH_TESTS_HARNESS_TEST_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For alarm(2) in a child that may hang: against that alone, however busy the machine is. */
#define HANG_SECONDS 500

struct test_case {
	const char *name, *file;
	int line;
	void (*run)(void);
	struct test_case *next;
};

static struct test_case *test_first, **test_last = &test_first;
static jmp_buf test_abort;
static const char *test_skip_reason = "";
static uint64_t test_seed = 1;

#define TEST(id)                                                                                                       \
	static void test_##id(void);                                                                                   \
	static struct test_case test_case_##id = { #id, __FILE__, __LINE__, test_##id, NULL };                         \
	__attribute__((constructor)) static void test_register_##id(void)                                              \
	{                                                                                                              \
		*test_last = &test_case_##id;                                                                          \
		test_last = &test_case_##id.next;                                                                      \
	}                                                                                                              \
	static void test_##id(void)

#define TEST_FAIL(...)                                                                                                 \
	do {                                                                                                           \
		printf("# %s:%d: ", __FILE__, __LINE__);                                                               \
		printf(__VA_ARGS__);                                                                                   \
		printf("\n");                                                                                          \
		longjmp(test_abort, 1);                                                                                \
	} while (0)

#define SKIP(reason)                                                                                                   \
	do {                                                                                                           \
		test_skip_reason = (reason);                                                                           \
		longjmp(test_abort, 2);                                                                                \
	} while (0)

#define EXPECT(cond)                                                                                                   \
	do {                                                                                                           \
		if (!(cond))                                                                                           \
			TEST_FAIL("expected %s", #cond);                                                               \
	} while (0)

#define TEST_OP(a, op, b)                                                                                              \
	do {                                                                                                           \
		const long long test_a_ = (long long)(a), test_b_ = (long long)(b);                                    \
		if (!(test_a_ op test_b_))                                                                             \
			TEST_FAIL("expected %s %s %s, got %lld and %lld", #a, #op, #b, test_a_, test_b_);              \
	} while (0)

#define EXPECT_EQ(a, b) TEST_OP(a, ==, b)
#define EXPECT_NE(a, b) TEST_OP(a, !=, b)
#define EXPECT_LT(a, b) TEST_OP(a, <, b)
#define EXPECT_LE(a, b) TEST_OP(a, <=, b)
#define EXPECT_GT(a, b) TEST_OP(a, >, b)
#define EXPECT_GE(a, b) TEST_OP(a, >=, b)
#define EXPECT_STREQ(a, b)                                                                                             \
	do {                                                                                                           \
		const char *test_a_ = (a), *test_b_ = (b);                                                             \
		if (strcmp(test_a_, test_b_) != 0)                                                                     \
			TEST_FAIL("expected %s == %s, got \"%s\" and \"%s\"", #a, #b, test_a_, test_b_);               \
	} while (0)

/* xorshift64*: small, seedable, the same everywhere. */
static inline uint64_t test_random(uint64_t *state)
{
	uint64_t x = *state ? *state : 0x9e3779b97f4a7c15u;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1du;
}

static bool test_selected(const struct test_case *t, int argc, char **argv)
{
	bool any = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--seed") == 0) {
			i++;
			continue;
		}
		if (argv[i][0] == '-')
			continue;
		any = true;
		if (strstr(t->name, argv[i]) != NULL)
			return true;
	}
	return !any;
}

int main(int argc, char **argv)
{
	volatile unsigned passed = 0, failed = 0, skipped = 0; /* survive longjmp */

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--list") == 0) {
			for (const struct test_case *t = test_first; t != NULL; t = t->next)
				puts(t->name);
			return 0;
		}
		if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
			test_seed = strtoull(argv[i + 1], NULL, 0);
	}
	printf("# seed %llu\n", (unsigned long long)test_seed);
	for (const struct test_case *t = test_first; t != NULL; t = t->next) {
		if (!test_selected(t, argc, argv))
			continue;
		switch (setjmp(test_abort)) {
		case 0:
			t->run();
			passed++;
			printf("ok %s\n", t->name);
			break;
		case 1:
			failed++;
			printf("not ok %s (%s:%d)\n", t->name, t->file, t->line);
			break;
		default:
			skipped++;
			printf("ok %s # SKIP %s\n", t->name, test_skip_reason);
		}
	}
	printf("%s: %u passed, %u failed, %u skipped\n", argv[0], passed, failed, skipped);
	if (failed > 0 || passed + skipped == 0)
		return 1;
	return passed == 0 ? 77 : 0;
}

#endif
