/* SPDX-License-Identifier: MIT */
/* Futex wait and wake; see sync.h. */
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

#include "os/sync.h"
#include "os/sys.h"

/* All outcomes (woken, value changed, signal) mean the same to a lock: look again. */
void ash_futex_wait(_Atomic uint32_t *word, uint32_t value)
{
	(void)ash_sys(__NR_futex, (long)word, FUTEX_WAIT_PRIVATE, (long)value, 0, 0, 0);
}

void ash_futex_wake(_Atomic uint32_t *word)
{
	(void)ash_sys(__NR_futex, (long)word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

void ash_futex_wake_all(_Atomic uint32_t *word)
{
	(void)ash_sys(__NR_futex, (long)word, FUTEX_WAKE_PRIVATE, INT_MAX, 0, 0, 0);
}

const struct ash_lock_ops ash_futex_ops = { .wait = ash_futex_wait, .wake = ash_futex_wake };

void ash_nap(void)
{
	const struct timespec while_others_run = { .tv_nsec = 20000 };

	(void)ash_sys(__NR_nanosleep, (long)&while_others_run, 0, 0, 0, 0, 0);
}

int ash_gettid(void)
{
	return (int)ash_sys(__NR_gettid, 0, 0, 0, 0, 0, 0);
}
