/* SPDX-License-Identifier: MIT */
/*
 * Control: what a process does once at its start, its first allocation and its end. Called by preload and the library.
 *
 * No function here calls malloc, stdio or getenv.
 */
#ifndef ASH_CTL_CTL_H
#define ASH_CTL_CTL_H

#include "base/compiler.h"
#include "ctl/options.h"

/*
 * Read the options and set up the arenas: what ash_heap_boot points to. 0 or the error of ash_arena_init(). Idempotent;
 * two threads that race set up the same thing. errno is kept.
 */
ASH_MUST_USE int ash_ctl_boot(void);

/*
 * From the preloaded object's first constructor: a process whose mappings are to be served has arenas before it
 * allocates. Who set no option of ours pays for a look at the environment.
 */
void ash_ctl_start(void);

/* Around fork, in the parent before it and in both after it: no other thread is reading the options meanwhile. */
void ash_ctl_fork_prepare(void);
void ash_ctl_fork_done(void);

/* The options in effect: the defaults until ash_ctl_boot() has run. */
void ash_ctl_options(struct ash_options *out);

/* When ash_ctl_boot() ran, by ash_clock_ms(); 0 before. */
uint64_t ash_ctl_boot_ms(void);

/*
 * The process ends: write the report if the options ask for one. To be called once, from the last destructor or exit
 * handler that the caller has, in the process that booted or a fork of it; never from a signal handler.
 */
void ash_ctl_exit(void);

#endif
