/* SPDX-License-Identifier: MIT */
/*
 * C++ operators new and delete, exported under their mangled names without linking a C++ library.
 *
 * libstdc++'s operators would reach our malloc by themselves; these are here because they save that hop.
 *
 * Out of memory. What operator new must do then (call the new-handler and try again, or throw std::bad_alloc) is the
 * C++ library's own business, so the request is handed to its operator new: that calls malloc, which is ours and fails
 * again or not, and handles the rest. It is looked up when first needed: behind us in the search order, or among
 * the libraries opened later, where the search order does not reach. The exception passes through our frames, so this
 * file is compiled with -fexceptions. A program without any C++ library that calls operator new cannot be told by an
 * exception, nor may it get NULL: it ends with a line on stderr.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/compiler.h"
#include "heap/fast.h"
#include "heap/heap.h"

typedef void *(*new_function)(size_t size);
typedef void *(*new_aligned_function)(size_t size, size_t align);

/* std::nothrow_t is passed by reference and never looked at. */
struct nothrow;

static void *runtime_symbol(const char *name)
{
	static const char *const libraries[] = { "libstdc++.so.6", "libc++.so.1", "libc++abi.so.1" };
	void *symbol = dlsym(RTLD_NEXT, name);

	for (size_t i = 0; symbol == NULL && i < ASH_ARRAY_LEN(libraries); i++) {
		void *const handle = dlopen(libraries[i], RTLD_LAZY | RTLD_NOLOAD);

		if (handle == NULL)
			continue;
		symbol = dlsym(handle, name);
		dlclose(handle);
	}
	return symbol;
}

static ASH_NORETURN void no_runtime(void)
{
	static const char text[] = "ashlar: operator new: out of memory, and no C++ library to throw std::bad_alloc\n";

	syscall(SYS_write, STDERR_FILENO, text, sizeof(text) - 1);
	abort();
}

static ASH_COLD void *new_failed(size_t size)
{
	const new_function forward = (new_function)runtime_symbol("_Znwm");

	if (forward == NULL)
		no_runtime();
	return forward(size);
}

static ASH_COLD void *new_aligned_failed(size_t size, size_t align)
{
	const new_aligned_function forward = (new_aligned_function)runtime_symbol("_ZnwmSt11align_val_t");

	if (forward == NULL)
		return new_failed(SIZE_MAX);
	return forward(size, align);
}

/* The nothrow forms of the C++ library call its handlers too and turn the exception into NULL: they must be its own. */
static ASH_COLD void *new_nothrow_failed(size_t size, const struct nothrow *tag)
{
	void *(*const forward)(size_t, const struct nothrow *) =
		(void *(*)(size_t, const struct nothrow *))runtime_symbol("_ZnwmRKSt9nothrow_t");

	return forward == NULL ? NULL : forward(size, tag);
}

static ASH_COLD void *new_aligned_nothrow_failed(size_t size, size_t align, const struct nothrow *tag)
{
	void *(*const forward)(size_t, size_t, const struct nothrow *) =
		(void *(*)(size_t, size_t, const struct nothrow *))runtime_symbol("_ZnwmSt11align_val_tRKSt9nothrow_t");

	return forward == NULL ? NULL : forward(size, align, tag);
}

/* new */
void *_Znwm(size_t size);
void *_ZnwmRKSt9nothrow_t(size_t size, const struct nothrow *tag);
void *_ZnwmSt11align_val_t(size_t size, size_t align);
void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const struct nothrow *tag);

static ASH_NOINLINE void *new_slow(size_t size)
{
	void *const p = ash_heap_malloc_slow(size);

	return ASH_LIKELY(p != NULL) ? p : new_failed(size);
}

ASH_EXPORT ASH_HOT void *_Znwm(size_t size)
{
	void *const p = ash_fast_malloc_try(size);

	return ASH_LIKELY(p != NULL) ? p : new_slow(size);
}

ASH_EXPORT void *_ZnwmRKSt9nothrow_t(size_t size, const struct nothrow *tag)
{
	void *const p = ash_fast_malloc(size);

	return ASH_LIKELY(p != NULL) ? p : new_nothrow_failed(size, tag);
}

ASH_EXPORT void *_ZnwmSt11align_val_t(size_t size, size_t align)
{
	void *const p = ash_is_pow2(align) ? ash_fast_aligned(align, size) : NULL;

	return ASH_LIKELY(p != NULL) ? p : new_aligned_failed(size, align);
}

ASH_EXPORT void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const struct nothrow *tag)
{
	void *const p = ash_is_pow2(align) ? ash_fast_aligned(align, size) : NULL;

	return ASH_LIKELY(p != NULL) ? p : new_aligned_nothrow_failed(size, align, tag);
}

/* delete */
void _ZdlPv(void *p);
void _ZdlPvm(void *p, size_t size);
void _ZdlPvRKSt9nothrow_t(void *p, const struct nothrow *tag);
void _ZdlPvSt11align_val_t(void *p, size_t align);
void _ZdlPvmSt11align_val_t(void *p, size_t size, size_t align);
void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *p, size_t align, const struct nothrow *tag);

ASH_EXPORT ASH_HOT void _ZdlPv(void *p)
{
	ash_fast_free(p);
}

ASH_EXPORT void _ZdlPvm(void *p, size_t size)
{
	ash_fast_free(p);
}

ASH_EXPORT void _ZdlPvRKSt9nothrow_t(void *p, const struct nothrow *tag)
{
	ash_fast_free(p);
}

ASH_EXPORT void _ZdlPvSt11align_val_t(void *p, size_t align)
{
	ash_fast_free(p);
}

ASH_EXPORT void _ZdlPvmSt11align_val_t(void *p, size_t size, size_t align)
{
	ash_fast_free(p);
}

ASH_EXPORT void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *p, size_t align, const struct nothrow *tag)
{
	ash_fast_free(p);
}

/* The array forms differ from the plain ones in name only. */
#define ALIAS(name, of) ASH_EXPORT extern __typeof__(of) name ASH_ALIAS(of)

ALIAS(_Znam, _Znwm);
ALIAS(_ZnamRKSt9nothrow_t, _ZnwmRKSt9nothrow_t);
ALIAS(_ZnamSt11align_val_t, _ZnwmSt11align_val_t);
ALIAS(_ZnamSt11align_val_tRKSt9nothrow_t, _ZnwmSt11align_val_tRKSt9nothrow_t);
ALIAS(_ZdaPv, _ZdlPv);
ALIAS(_ZdaPvm, _ZdlPvm);
ALIAS(_ZdaPvRKSt9nothrow_t, _ZdlPvRKSt9nothrow_t);
ALIAS(_ZdaPvSt11align_val_t, _ZdlPvSt11align_val_t);
ALIAS(_ZdaPvmSt11align_val_t, _ZdlPvmSt11align_val_t);
ALIAS(_ZdaPvSt11align_val_tRKSt9nothrow_t, _ZdlPvSt11align_val_tRKSt9nothrow_t);
