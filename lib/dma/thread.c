/* SPDX-License-Identifier: MIT */
/*
 * Numbers for threads. A number goes back when its thread ends; the next thread that gets it finds the caches as they
 * were left, so nothing has to be flushed and nothing is lost.
 */
#include <pthread.h>
#include <string.h>

#include "dma/pool.h"

ASH_TLS_DEFINE uint32_t ash_dma_thread;

static struct {
	struct ash_lock lock;
	uint64_t used[ASH_DMA_THREADS / 64];
	pthread_key_t key;
	bool key_made;
} numbers;

static void thread_ends(void *value)
{
	const uint32_t number = (uint32_t)(uintptr_t)value;

	/* Other destructors may still use pools: without a number that works. */
	ash_dma_thread = 0;
	ash_lock(&numbers.lock, &ash_futex_ops);
	numbers.used[number / 64] &= ~(1ull << (number % 64));
	ash_unlock(&numbers.lock, &ash_futex_ops);
}

static uint32_t take_number(void)
{
	numbers.used[0] |= 1;
	for (unsigned i = 0; i < ASH_ARRAY_LEN(numbers.used); i++) {
		if (numbers.used[i] != UINT64_MAX) {
			const uint32_t bit = ash_ctz(~numbers.used[i]);

			numbers.used[i] |= 1ull << bit;
			return i * 64 + bit;
		}
	}
	return 0;
}

void ash_dma_thread_number(void)
{
	uint32_t number = 0;

	ash_lock(&numbers.lock, &ash_futex_ops);
	if (!numbers.key_made)
		numbers.key_made = pthread_key_create(&numbers.key, thread_ends) == 0;
	if (numbers.key_made)
		number = take_number();
	ash_unlock(&numbers.lock, &ash_futex_ops);
	/* A number that would not come back is not given out. */
	if (number != 0 && pthread_setspecific(numbers.key, (void *)(uintptr_t)number) == 0)
		ash_dma_thread = number;
	else if (number != 0)
		thread_ends((void *)(uintptr_t)number);
}

void ash_dma_threads_forget(void)
{
	if (ash_dma_thread != 0)
		(void)pthread_setspecific(numbers.key, NULL);
	ash_dma_thread = 0;
	numbers.lock = (struct ash_lock)ASH_LOCK_INIT;
	memset(numbers.used, 0, sizeof(numbers.used));
}
