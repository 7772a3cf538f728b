/* SPDX-License-Identifier: MIT */
/*
 * A call at the end of each thread: the only place of the library that uses pthread keys.
 *
 * The call comes in the second round of thread-specific data destructors, after C++ thread_local destructors and the
 * first destructor of every key, so that what those allocate and free still finds a live heap. A thread may arm it as
 * late as in the second round itself; what runs after the call must do without.
 */
#ifndef ASH_OS_THREAD_H
#define ASH_OS_THREAD_H

#include "base/compiler.h"

/*
 * Have fn called when the calling thread ends. fn is the same for the whole process. Arm once per thread; may be armed
 * again from within fn's round. glibc may call calloc in here (keys above 31 need a second-level table), so the
 * caller's own heap must be usable already. -ENOMEM or -EAGAIN: no key to be had, fn will not be called for this
 * thread.
 */
ASH_MUST_USE int ash_thread_on_exit(void (*fn)(void));

/* Around fork, in the parent before it and in both after it: no other thread is in the middle of the above. */
void ash_thread_fork_prepare(void);
void ash_thread_fork_done(void);

#endif
