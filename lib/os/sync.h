/* SPDX-License-Identifier: MIT */
/* Sleeping and waking on a lock word (futex(2), private), and who is asking. */
#ifndef ASH_OS_SYNC_H
#define ASH_OS_SYNC_H

#include "base/lock.h"

/* For every lock of a hosted process: waiters sleep in the kernel. */
void ash_futex_wait(_Atomic uint32_t *word, uint32_t value);
void ash_futex_wake(_Atomic uint32_t *word);
void ash_futex_wake_all(_Atomic uint32_t *word);
extern const struct ash_lock_ops ash_futex_ops;

/* Sleep for some 20 us: for who waits for a few instructions of others, who may be of a lower priority on this
 * processor. */
void ash_nap(void);

/* The kernel's number of the calling thread; a system call. */
int ash_gettid(void);

#endif
