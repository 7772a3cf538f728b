/* SPDX-License-Identifier: MIT */
/*
 * What only the preloaded object does when a process starts: make ready for mappings that come before the first
 * allocation, and say so where it cannot be of use.
 *
 * A program built with a sanitizer brings its own malloc. Linked statically it comes before us in the search order and
 * simply wins; linked dynamically it cannot run behind any allocator's preload: gcc's AddressSanitizer refuses to
 * start, its ThreadSanitizer dies before anything here is run. Nothing is ours to do but to tell why ashlar has no
 * effect. (Valgrind replaces malloc inside every object, ours included.)
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"
#include "ctl/ctl.h"

/* What libc's pthread_atfork() tells our handlers by; the object is linked without the crt files that define it. */
extern const void *const __dso_handle ASH_HIDDEN;
const void *const __dso_handle = &__dso_handle;

extern ASH_WEAK void __asan_init(void);
extern ASH_WEAK void __tsan_init(void);
extern ASH_WEAK void __msan_init(void);

static ASH_CONSTRUCTOR void preload_start(void)
{
	static const char text[] =
		"ashlar: this program is built with a sanitizer, which has a malloc of its own: standing aside\n";

	if (ASH_LIKELY(__asan_init == NULL && __tsan_init == NULL && __msan_init == NULL)) {
		ash_ctl_start();
		return;
	}
	syscall(SYS_write, STDERR_FILENO, text, sizeof(text) - 1);
}
