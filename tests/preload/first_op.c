/* SPDX-License-Identifier: MIT */
/*
 * Each symbol of the malloc surface as the very first call into malloc, in each place where a program may first need
 * memory. The program runs itself once per pair, so that nothing allocated before: it uses write(2), not stdio, and
 * the harness only in the parent.
 *
 * usage as a child: first_op --call PLACE SYMBOL
 */
#include "harness/test.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

#define WEAK __attribute__((weak))
/* Names that some C libraries lack, or export without declaring. */
void free_sized(void *p, size_t size) WEAK;
void free_aligned_sized(void *p, size_t align, size_t size) WEAK;
void cfree(void *p) WEAK;
void *__libc_malloc(size_t size) WEAK;
void *__libc_calloc(size_t n, size_t size) WEAK;
void *__libc_realloc(void *p, size_t size) WEAK;
void *__libc_reallocarray(void *p, size_t n, size_t size) WEAK;
void __libc_free(void *p) WEAK;
void __libc_cfree(void *p) WEAK;
void *__libc_memalign(size_t align, size_t size) WEAK;
void *__libc_valloc(size_t size) WEAK;
void *__libc_pvalloc(size_t size) WEAK;
int __posix_memalign(void **p, size_t align, size_t size) WEAK;
void *_Znwm(size_t size) WEAK;
void *_Znam(size_t size) WEAK;
void *_ZnwmRKSt9nothrow_t(size_t size, const void *tag) WEAK;
void *_ZnamRKSt9nothrow_t(size_t size, const void *tag) WEAK;
void *_ZnwmSt11align_val_t(size_t size, size_t align) WEAK;
void *_ZnamSt11align_val_t(size_t size, size_t align) WEAK;
void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const void *tag) WEAK;
void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const void *tag) WEAK;
void _ZdlPv(void *p) WEAK;
void _ZdaPv(void *p) WEAK;
void _ZdlPvm(void *p, size_t size) WEAK;
void _ZdaPvm(void *p, size_t size) WEAK;
void _ZdlPvRKSt9nothrow_t(void *p, const void *tag) WEAK;
void _ZdaPvRKSt9nothrow_t(void *p, const void *tag) WEAK;
void _ZdlPvSt11align_val_t(void *p, size_t align) WEAK;
void _ZdaPvSt11align_val_t(void *p, size_t align) WEAK;
void _ZdlPvmSt11align_val_t(void *p, size_t size, size_t align) WEAK;
void _ZdaPvmSt11align_val_t(void *p, size_t size, size_t align) WEAK;
void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *p, size_t align, const void *tag) WEAK;
void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *p, size_t align, const void *tag) WEAK;

enum { SIZE = 200, ALIGN = 64, ABSENT = 77 };

/* Writes all of what it got, ends it with `end`, and says whether it was right. */
static bool used(void *p, size_t size, size_t align, void (*end)(void *))
{
	if (p == NULL || (uintptr_t)p % align != 0)
		return false;
	memset(p, 0x77, size);
	end(p);
	return true;
}

/* One line each: name, whether the C library may lack it, and the call. */
#define SYMBOLS                                                                                                        \
	X(malloc, used(malloc(SIZE), SIZE, 16, free))                                                                  \
	X(calloc, used(calloc(2, SIZE), 2 * SIZE, 16, free))                                                           \
	X(realloc, used(realloc(OPAQUE(NULL), SIZE), SIZE, 16, free))                                                  \
	X(free, (free(OPAQUE(NULL)), true))                                                                            \
	X(reallocarray, used(reallocarray(NULL, 2, SIZE), 2 * SIZE, 16, free))                                         \
	X(posix_memalign, posix_memalign(&out, ALIGN, SIZE) == 0 && used(out, SIZE, ALIGN, free))                      \
	X(aligned_alloc, used(aligned_alloc(ALIGN, SIZE), SIZE, ALIGN, free))                                          \
	X(memalign, used(memalign(ALIGN, SIZE), SIZE, ALIGN, free))                                                    \
	X(valloc, used(valloc(SIZE), SIZE, 4096, free))                                                                \
	X(pvalloc, used(pvalloc(SIZE), 4096, 4096, free))                                                              \
	X(malloc_usable_size, malloc_usable_size(OPAQUE(NULL)) == 0)                                                   \
	X(free_sized, (free_sized(NULL, 0), true))                                                                     \
	X(free_aligned_sized, (free_aligned_sized(NULL, 16, 0), true))                                                 \
	X(cfree, (cfree(NULL), true))                                                                                  \
	X(malloc_trim, malloc_trim(0) >= 0)                                                                            \
	X(mallopt, mallopt(M_TOP_PAD, 1 << 16) == 1)                                                                   \
	X(mallinfo, mallinfo().uordblks >= 0)                                                                          \
	X(mallinfo2, mallinfo2().uordblks < SIZE_MAX / 2)                                                              \
	X(malloc_stats, (malloc_stats(), true))                                                                        \
	X(malloc_info, malloc_info(0, stderr) == 0)                                                                    \
	X(__libc_malloc, used(__libc_malloc(SIZE), SIZE, 16, free))                                                    \
	X(__libc_calloc, used(__libc_calloc(2, SIZE), 2 * SIZE, 16, free))                                             \
	X(__libc_realloc, used(__libc_realloc(NULL, SIZE), SIZE, 16, free))                                            \
	X(__libc_reallocarray, used(__libc_reallocarray(NULL, 2, SIZE), 2 * SIZE, 16, free))                           \
	X(__libc_free, (__libc_free(NULL), true))                                                                      \
	X(__libc_cfree, (__libc_cfree(NULL), true))                                                                    \
	X(__libc_memalign, used(__libc_memalign(ALIGN, SIZE), SIZE, ALIGN, free))                                      \
	X(__libc_valloc, used(__libc_valloc(SIZE), SIZE, 4096, free))                                                  \
	X(__libc_pvalloc, used(__libc_pvalloc(SIZE), 4096, 4096, free))                                                \
	X(__posix_memalign, __posix_memalign(&out, ALIGN, SIZE) == 0 && used(out, SIZE, ALIGN, free))                  \
	X(_Znwm, used(_Znwm(SIZE), SIZE, 16, _ZdlPv))                                                                  \
	X(_Znam, used(_Znam(SIZE), SIZE, 16, _ZdaPv))                                                                  \
	X(_ZnwmRKSt9nothrow_t, used(_ZnwmRKSt9nothrow_t(SIZE, ""), SIZE, 16, _ZdlPv))                                  \
	X(_ZnamRKSt9nothrow_t, used(_ZnamRKSt9nothrow_t(SIZE, ""), SIZE, 16, _ZdaPv))                                  \
	X(_ZnwmSt11align_val_t, used(_ZnwmSt11align_val_t(SIZE, ALIGN), SIZE, ALIGN, _ZdlPv))                          \
	X(_ZnamSt11align_val_t, used(_ZnamSt11align_val_t(SIZE, ALIGN), SIZE, ALIGN, _ZdaPv))                          \
	X(_ZnwmSt11align_val_tRKSt9nothrow_t,                                                                          \
	  used(_ZnwmSt11align_val_tRKSt9nothrow_t(SIZE, ALIGN, ""), SIZE, ALIGN, _ZdlPv))                              \
	X(_ZnamSt11align_val_tRKSt9nothrow_t,                                                                          \
	  used(_ZnamSt11align_val_tRKSt9nothrow_t(SIZE, ALIGN, ""), SIZE, ALIGN, _ZdaPv))                              \
	X(_ZdlPv, (_ZdlPv(NULL), true))                                                                                \
	X(_ZdaPv, (_ZdaPv(NULL), true))                                                                                \
	X(_ZdlPvm, (_ZdlPvm(_Znwm(SIZE), SIZE), true))                                                                 \
	X(_ZdaPvm, (_ZdaPvm(_Znam(SIZE), SIZE), true))                                                                 \
	X(_ZdlPvRKSt9nothrow_t, (_ZdlPvRKSt9nothrow_t(_Znwm(SIZE), ""), true))                                         \
	X(_ZdaPvRKSt9nothrow_t, (_ZdaPvRKSt9nothrow_t(_Znam(SIZE), ""), true))                                         \
	X(_ZdlPvSt11align_val_t, (_ZdlPvSt11align_val_t(_ZnwmSt11align_val_t(SIZE, ALIGN), ALIGN), true))              \
	X(_ZdaPvSt11align_val_t, (_ZdaPvSt11align_val_t(_ZnamSt11align_val_t(SIZE, ALIGN), ALIGN), true))              \
	X(_ZdlPvmSt11align_val_t, (_ZdlPvmSt11align_val_t(_ZnwmSt11align_val_t(SIZE, ALIGN), SIZE, ALIGN), true))      \
	X(_ZdaPvmSt11align_val_t, (_ZdaPvmSt11align_val_t(_ZnamSt11align_val_t(SIZE, ALIGN), SIZE, ALIGN), true))      \
	X(_ZdlPvSt11align_val_tRKSt9nothrow_t,                                                                         \
	  (_ZdlPvSt11align_val_tRKSt9nothrow_t(_ZnwmSt11align_val_t(SIZE, ALIGN), ALIGN, ""), true))                   \
	X(_ZdaPvSt11align_val_tRKSt9nothrow_t,                                                                         \
	  (_ZdaPvSt11align_val_tRKSt9nothrow_t(_ZnamSt11align_val_t(SIZE, ALIGN), ALIGN, ""), true))

static const char *const names[] = {
#define X(name, call) #name,
	SYMBOLS
#undef X
};
#define NR_NAMES (sizeof(names) / sizeof(names[0]))

static void finish(int status)
{
	_exit(status);
}

/* The process's one call: its place ends the process with 0 (right), 1 (wrong) or ABSENT. */
static int perform(const char *symbol)
{
	void *out = NULL;

#define X(name, call)                                                                                                  \
	if (strcmp(symbol, #name) == 0)                                                                                \
		return OPAQUE((void *)name) == NULL ? ABSENT : (call) ? 0 : 1;
	SYMBOLS
#undef X
	return 2;
}

static const char *wanted_place = "", *wanted_symbol = "";
static pthread_key_t key;

static bool wanted(const char *place)
{
	return strcmp(wanted_place, place) == 0;
}

static void *in_thread(void *unused)
{
	finish(perform(wanted_symbol));
	return NULL;
}

static void in_key_destructor(void *unused)
{
	finish(perform(wanted_symbol));
}

static void *with_key(void *unused)
{
	pthread_setspecific(key, &key);
	return NULL;
}

static void at_exit(void)
{
	finish(perform(wanted_symbol));
}

/* Constructors get the program's arguments from glibc. */
__attribute__((constructor(101))) static void before_all(int argc, char **argv)
{
	if (argc < 4 || strcmp(argv[1], "--call") != 0)
		return;
	wanted_place = argv[2];
	wanted_symbol = argv[3];
	if (wanted("constructor"))
		finish(perform(wanted_symbol));
	if (wanted("atexit")) {
		atexit(at_exit);
		exit(9);
	}
	if (wanted("fork")) {
		int status = 0;
		const pid_t child = fork();

		if (child == 0)
			finish(perform(wanted_symbol));
		waitpid(child, &status, 0);
		finish(WIFEXITED(status) ? WEXITSTATUS(status) : 3);
	}
	if (wanted("thread") || wanted("key-destructor")) {
		pthread_t thread;

		pthread_key_create(&key, in_key_destructor);
		pthread_create(&thread, NULL, wanted("thread") ? in_thread : with_key, NULL);
		pthread_join(thread, NULL);
		finish(4);
	}
}

/* Runs this program for one pair; the child's output goes away, its status comes back. */
static int run(const char *place, const char *symbol)
{
	int status;
	const pid_t child = fork();

	if (child == 0) {
		const int null = open("/dev/null", O_WRONLY);

		dup2(null, 1);
		dup2(null, 2);
		execl("/proc/self/exe", "first_op", "--call", place, symbol, (char *)NULL);
		_exit(6);
	}
	if (waitpid(child, &status, 0) != child)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void matrix(const char *place)
{
	unsigned present = 0;

	for (size_t i = 0; i < NR_NAMES; i++) {
		const int status = run(place, names[i]);

		if (status == ABSENT && !under_ashlar())
			continue;
		if (status != 0)
			TEST_FAIL("%s first called in %s: status %d", names[i], place, status);
		present++;
	}
	printf("# %u symbols in %s\n", present, place);
	EXPECT_GE(present, 20);
	if (under_ashlar())
		EXPECT_EQ(present, NR_NAMES);
}

TEST(first_in_a_constructor)
{
	matrix("constructor");
}

TEST(first_in_a_thread)
{
	matrix("thread");
}

TEST(first_in_a_thread_specific_destructor)
{
	matrix("key-destructor");
}

TEST(first_in_an_exit_handler)
{
	matrix("atexit");
}

TEST(first_in_a_forked_child)
{
	matrix("fork");
}

TEST(a_place_that_is_unknown_fails)
{
	EXPECT_NE(run("nowhere", "malloc"), 0);
	EXPECT_NE(run("constructor", "no_such_symbol"), 0);
}
