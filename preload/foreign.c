/* SPDX-License-Identifier: MIT */
/*
 * Pointers that are not ours. They come from the C library's own malloc: a plugin opened with RTLD_DEEPBIND binds to
 * it past us, and so does code that looked the function up in libc by name.
 *
 * The functions are looked up after us in the search order (RTLD_NEXT), which gives libc's, or those of an allocator
 * that was preloaded behind us. That happens at the first foreign pointer and not before: start-up stays clear of the
 * dynamic linker's locks, and most processes never see a foreign pointer. No lock of ours is held here, and the
 * look-up may allocate, which comes back to us and ends. A foreign pointer met by the same thread inside that look-up
 * (or where there is nothing behind us) is left alone: it leaks.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>

#include "base/compiler.h"
#include "api/process.h"

static _Atomic(void (*)(void *)) real_free;
static _Atomic(void *(*)(void *, size_t)) real_realloc;
static _Atomic(size_t (*)(void *)) real_usable;

ASH_TLS bool looking_up;

/* Racing threads find the same addresses; release pairs with the acquire of real_free, which is written last. */
static bool find(void)
{
	if (ASH_LIKELY(atomic_load_explicit(&real_free, memory_order_acquire) != NULL))
		return true;
	if (looking_up)
		return false;
	looking_up = true;

	const int saved = errno;
	void *const free_symbol = dlsym(RTLD_NEXT, "free");
	void *const realloc_symbol = dlsym(RTLD_NEXT, "realloc");
	void *const usable_symbol = dlsym(RTLD_NEXT, "malloc_usable_size");

	errno = saved;
	looking_up = false;
	if (free_symbol == NULL || realloc_symbol == NULL || usable_symbol == NULL)
		return false;
	atomic_store_explicit(&real_realloc, (void *(*)(void *, size_t))realloc_symbol, memory_order_relaxed);
	atomic_store_explicit(&real_usable, (size_t (*)(void *))usable_symbol, memory_order_relaxed);
	atomic_store_explicit(&real_free, (void (*)(void *))free_symbol, memory_order_release);
	return true;
}

static void foreign_free(void *p)
{
	if (find())
		atomic_load_explicit(&real_free, memory_order_relaxed)(p);
}

static void *foreign_realloc(void *p, size_t size)
{
	if (!find()) {
		errno = ENOMEM;
		return NULL;
	}
	return atomic_load_explicit(&real_realloc, memory_order_relaxed)(p, size);
}

static size_t foreign_usable(const void *p)
{
	return find() ? atomic_load_explicit(&real_usable, memory_order_relaxed)((void *)(uintptr_t)p) : 0;
}

const struct ash_foreign_ops ash_process_foreign = {
	.free = foreign_free,
	.realloc = foreign_realloc,
	.usable = foreign_usable,
};
