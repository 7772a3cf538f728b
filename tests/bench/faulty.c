/* SPDX-License-Identifier: MIT */
/*
 * An allocator with one fault, for the negative tests of everything that claims to notice a bad allocator: the C
 * library's, spoilt as FAULTY says.
 *
 *   twice   now and then malloc hands out memory that is in use
 *   dirty   calloc does not clear
 *   lost    realloc does not copy what is larger than a word
 *   askew   posix_memalign ignores alignments above 16
 *   fat     a megabyte is touched at start
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *p);

static int faulty(const char *what)
{
	const char *fault = getenv("FAULTY");

	return fault != NULL && strcmp(fault, what) == 0;
}

__attribute__((visibility("default"))) void *malloc(size_t size)
{
	static __thread unsigned calls;
	static __thread void *last;
	static __thread size_t last_size;
	void *p;

	if (faulty("twice") && size <= last_size && ++calls % 128 == 0)
		return last;
	p = __libc_malloc(size);
	last = p;
	last_size = size;
	return p;
}

/* Nothing is given back under "twice": glibc would notice the double free before the program does. */
__attribute__((visibility("default"))) void free(void *p)
{
	if (!faulty("twice"))
		__libc_free(p);
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
	void *p = __libc_calloc(n, size);

	if (p != NULL && faulty("dirty") && n == 1)
		memset(p, 0xff, size);
	return p;
}

__attribute__((visibility("default"))) void *realloc(void *p, size_t size)
{
	if (p != NULL && size > 64 && faulty("lost")) {
		void *q = __libc_calloc(1, size);

		if (q != NULL)
			memcpy(q, p, 8);
		return q;
	}
	return __libc_realloc(p, size);
}

__attribute__((visibility("default"))) int posix_memalign(void **p, size_t align, size_t size)
{
	*p = faulty("askew") ? (char *)__libc_memalign(64, size + 16) + 16 : __libc_memalign(align, size);
	return *p != NULL ? 0 : ENOMEM;
}

static char fat[1 << 20];

__attribute__((constructor)) static void grow_fat(void)
{
	if (faulty("fat"))
		memset(fat, 1, sizeof(fat));
}
