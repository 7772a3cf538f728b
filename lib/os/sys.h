/* SPDX-License-Identifier: MIT */
/*
 * The one door to the kernel: every system call that lib/ makes goes through ash_sys().
 *
 * Calls are made with the bare instruction, not libc's wrappers: errno is the program's (free() must preserve it), the
 * wrappers may be interposed by us, and some of ours run before libc is relocated. Results are the kernel's own: a
 * value, or a negative errno.
 *
 * Tests replace the door (ash_sys_hook) and so can make any call fail, show another /sys, or turn the clock.
 */
#ifndef ASH_OS_SYS_H
#define ASH_OS_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct ash_sys_ops {
	/* nr is a __NR_ constant; a hook passes on what it does not fake with ash_sys_kernel(). */
	long (*call)(long nr, long a, long b, long c, long d, long e, long f);
	/* Milliseconds of a monotonic clock; NULL: the real one. */
	uint64_t (*now_ms)(void);
};

/* NULL outside tests. Set only while no other thread is inside the library. */
extern const struct ash_sys_ops *ash_sys_hook;

/* The system call instruction; one implementation per architecture (sys_<cpu>.c). */
long ash_sys_kernel(long nr, long a, long b, long c, long d, long e, long f);

ASH_INLINE long ash_sys(long nr, long a, long b, long c, long d, long e, long f)
{
	if (ASH_UNLIKELY(ash_sys_hook != NULL) && ash_sys_hook->call != NULL)
		return ash_sys_hook->call(nr, a, b, c, d, e, f);
	return ash_sys_kernel(nr, a, b, c, d, e, f);
}

#endif
