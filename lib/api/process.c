/* SPDX-License-Identifier: MIT */
/* The process around the heap: boot and end. */
#include "api/process.h"

#include <pthread.h>

#include "api/fork.h"
#include "base/compiler.h"
#include "ctl/ctl.h"

/* The first allocation of the process arrives here, whoever makes it and however early. */
int (*ash_heap_boot)(void) = ash_ctl_boot;
const struct ash_foreign_ops *const ash_heap_foreign = &ash_process_foreign;

/*
 * glibc's pthread_atfork() is this call, in an archive that the linker would put at the far end of the object, on a
 * page that nothing else at start needs.
 */
#ifdef __GLIBC__
extern int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), const void *dso);
extern const void *const __dso_handle ASH_HIDDEN;
#define register_atfork(prepare, parent, child) __register_atfork(prepare, parent, child, __dso_handle)
#else
#define register_atfork(prepare, parent, child) pthread_atfork(prepare, parent, child)
#endif

/*
 * Allocation works before this has run; only fork in a program with threads needs it. Handlers registered before ours
 * would run while we hold our locks, and may allocate: therefore the preloaded object is linked with -z initfirst,
 * which makes this the first constructor of the process.
 */
static ASH_CONSTRUCTOR void process_start(void)
{
	/* Fails only where there is no memory for the list of handlers: then fork is what it was without us. */
	(void)register_atfork(ash_fork_prepare, ash_fork_parent, ash_fork_child);
}

/* Allocation works after this, too. */
static ASH_DESTRUCTOR void process_end(void)
{
	ash_ctl_exit();
}
